/** Members of bodies and states, as pages call them and what they say. */
const NAMES: Record<string, string> = {
  limit_usd: 'Limit',
  limit_reset: 'Starts anew',
  budgets: 'Further budgets',
  rpm: 'Requests per minute',
  tpm: 'Tokens per minute',
  max_concurrency: 'At once',
  end_user: 'Each end user',
  name: 'Name',
  team: 'Team',
  user: 'User',
  role: 'Role',
  password: 'Password',
  subject: 'Subject at the provider',
  issuer: 'Provider',
  models: 'Models',
  expires_at: 'Expires',
  disabled: 'Disabled',
  label: 'Prefix',
  previous_until: 'Secret before, good until',
  strict_translation: 'Strict translation',
  strict_budget: 'Strict budget',
};

/** What a member of a body or a state is called on the page. */
export function nameInWords(member: string): string {
  return NAMES[member] ?? member;
}

/** What its value says. */
export function valueInWords(member: string, value: unknown): string {
  if (member === 'limit_reset') return value ? String(value) : 'never';
  if (member === 'limit_usd' || member === 'rpm' || member === 'tpm' || member === 'max_concurrency') {
    if (value === null || value === undefined) return 'No limit';
    return member === 'limit_usd' ? `$${String(value)}` : String(value);
  }
  if (member === 'budgets' && Array.isArray(value)) {
    const lines = (value as { limit_usd: string; reset: string | null; soft: boolean }[]).map(
      (one) => `$${one.limit_usd} ${one.reset ?? 'in all'}${one.soft ? ' (soft)' : ''}`,
    );
    return lines.join(', ') || 'none';
  }
  if (member === 'models' && Array.isArray(value)) return value.join(', ') || 'all';
  // Of a password there is a number of the times that it was set.
  if (member === 'password') return value ? 'another one' : 'none';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (value === null || value === undefined || value === '') return 'none';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** How often a limit begins anew, as said after its amount. */
export const EACH: Record<'day' | 'week' | 'month' | 'total', string> = {
  day: 'a day',
  week: 'a week',
  month: 'a month',
  total: 'in all',
};
