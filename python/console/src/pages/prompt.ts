/** What stands in the fields of the playground. It lives as long as the tab, until somebody logs out, and is nobody else's. */
const KEY = 'fairlead.playground.';
export const EMPTY = { system: '', prompt: '', temperature: '', topP: '', most: '', effort: '', tools: '', schema: '' };
export type Draft = typeof EMPTY;

export function kept(user: number): Draft {
  try {
    return { ...EMPTY, ...(JSON.parse(sessionStorage.getItem(KEY + user) ?? '{}') as Partial<Draft>) };
  } catch {
    return EMPTY;
  }
}

export function keep(user: number, draft: Draft): void {
  try {
    sessionStorage.setItem(KEY + user, JSON.stringify(draft));
  } catch {
    // Then it is gone with the page.
  }
}

export interface Turn {
  role: string;
  text: string;
}

/** The turns of a logged input, whatever dialect it was in: text as it is, anything else as JSON. */
export function turns(input: Readonly<Record<string, unknown>>): Turn[] {
  if (!Array.isArray(input.messages)) return [{ role: 'prompt', text: words(input.prompt ?? input) }];
  return input.messages.map((message: unknown) => {
    const { role, ...rest } = (message ?? {}) as Record<string, unknown>;
    const alone = Object.keys(rest).length === 1 ? (rest.content ?? rest.parts ?? rest) : rest;
    return { role: typeof role === 'string' ? role : 'unknown', text: words(alone) };
  });
}

/** Text, or the texts of parts where there is nothing but text in them. */
function words(of: unknown): string {
  if (typeof of === 'string') return of;
  const parts = Array.isArray(of) ? of : isRecord(of) && Array.isArray(of.parts) ? of.parts : null;
  const texts = parts?.map((part) => (isRecord(part) && typeof part.text === 'string' ? part.text : null));
  if (texts?.length && texts.every((text) => text !== null)) return texts.join('\n');
  return JSON.stringify(of, null, 2);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The fields for asking the same again: what the system said, and the last turn. `left`: so many turns have no place there. */
export function again(of: readonly Turn[]): { draft: Draft; left: number } {
  const system = of.filter(({ role }) => role === 'system' || role === 'developer');
  const others = of.filter((turn) => !system.includes(turn));
  const draft = { ...EMPTY, system: system.map(({ text }) => text).join('\n\n'), prompt: others.at(-1)?.text ?? '' };
  return { draft, left: Math.max(0, others.length - 1) };
}
