/** The limits of a key, an account, a team or a user in a form: what may be spent, and how fast. */
import { useId } from 'react';
import { Button, Choose, TextField, ui } from '../ui/basics';

/** What replies have of limits. */
export interface Limited {
  limit_usd: string | null;
  limit_reset: string | null;
  rpm: number | null;
  tpm: number | null;
  max_concurrency: number | null;
  budgets: readonly { limit_usd: string; reset: string | null; soft: boolean }[];
}

export interface BudgetDraft {
  limitUsd: string;
  reset: string;
  soft: boolean;
}

/** Null is "No limit", which somebody has chosen; an empty field is a mistake. */
export interface LimitsDraft {
  limited: boolean;
  limitUsd: string;
  reset: string;
  budgets: readonly BudgetDraft[];
  rpm: string | null;
  tpm: string | null;
  concurrency: string | null;
}

export const UNLIMITED: LimitsDraft = {
  limited: false,
  limitUsd: '5',
  reset: 'daily',
  budgets: [],
  rpm: null,
  tpm: null,
  concurrency: null,
};

/** No two start anew as often and do the same: there are four times and two effects. */
const MOST_BUDGETS = 8;
const AMOUNT = /^\d{1,12}(\.\d{1,9})?$/;
const AMOUNT_WRONG = 'Dollars are expected, such as 5 or 0.25, with at most nine decimals.';
const RESETS = [
  { value: 'daily', label: 'every day (UTC)' },
  { value: 'weekly', label: 'every Monday (UTC)' },
  { value: 'monthly', label: 'every month (UTC)' },
  { value: '', label: 'never' },
] as const;
const RATES = [
  ['rpm', 'Requests per minute'],
  ['tpm', 'Tokens per minute'],
  ['concurrency', 'At once'],
] as const;

export function limitsDraft(of: Limited): LimitsDraft {
  const text = (value: number | null) => (value === null ? null : String(value));
  return {
    limited: of.limit_usd !== null,
    limitUsd: of.limit_usd ?? '5',
    reset: of.limit_reset ?? '',
    budgets: of.budgets.map((budget) => ({
      limitUsd: budget.limit_usd,
      reset: budget.reset ?? '',
      soft: budget.soft,
    })),
    rpm: text(of.rpm),
    tpm: text(of.tpm),
    concurrency: text(of.max_concurrency),
  };
}

/** The body for the API. What is cleared is null, which takes a limit away; nothing is left out silently. */
export function limitsBody(draft: LimitsDraft): Record<string, unknown> {
  const whole = (text: string | null) => (text === null ? null : Number(text.trim()));
  return {
    limit_usd: draft.limited ? draft.limitUsd.trim() : null,
    limit_reset: draft.limited && draft.reset ? draft.reset : null,
    budgets: draft.budgets.map((budget) => ({
      limit_usd: budget.limitUsd.trim(),
      reset: budget.reset || null,
      soft: budget.soft,
    })),
    rpm: whole(draft.rpm),
    tpm: whole(draft.tpm),
    max_concurrency: whole(draft.concurrency),
  };
}

/** What is wrong with a draft, by field; that of a budget is `budgets.0`. */
export function limitsMistakes(draft: LimitsDraft): Record<string, string> {
  const wrong: Record<string, string> = {};
  if (draft.limited && !AMOUNT.test(draft.limitUsd.trim())) wrong.limitUsd = AMOUNT_WRONG;
  const seen = new Set<string>();
  draft.budgets.forEach((budget, index) => {
    const kind = `${budget.reset} ${budget.soft}`;
    if (!AMOUNT.test(budget.limitUsd.trim())) wrong[`budgets.${index}`] = AMOUNT_WRONG;
    else if (seen.has(kind)) wrong[`budgets.${index}`] = 'Another budget starts anew as often and does the same.';
    seen.add(kind);
  });
  for (const [name] of RATES) {
    const text = draft[name];
    if (text !== null && !/^[1-9]\d{0,8}$/.test(text.trim()))
      wrong[name] = 'A whole number above 0 is expected, or No limit.';
  }
  return wrong;
}

interface Parts {
  draft: LimitsDraft;
  wrong: Record<string, string>;
  onChange: (changes: Partial<LimitsDraft>) => void;
}

/** The own limit, and further budgets beside it. */
export function SpendingFields({ draft, wrong, onChange }: Parts) {
  const group = useId();
  const budget = (index: number, changes: Partial<BudgetDraft>) =>
    onChange({ budgets: draft.budgets.map((one, at) => (at === index ? { ...one, ...changes } : one)) });
  return (
    <fieldset style={{ border: 0, padding: 0, margin: 0 }} className={ui.stack}>
      <legend className={ui.legend}>Spending</legend>
      <label className={ui.check}>
        <input type="radio" name={group} checked={draft.limited} onChange={() => onChange({ limited: true })} />
        <span>Limited</span>
      </label>
      {draft.limited && (
        <div className={ui.row}>
          <TextField
            label="Limit ($)"
            inputMode="decimal"
            value={draft.limitUsd}
            wrong={wrong.limitUsd}
            onChange={(event) => onChange({ limitUsd: event.target.value })}
          />
          <Choose
            shown
            label="Starts anew"
            value={draft.reset}
            choices={RESETS}
            onChange={(reset) => onChange({ reset })}
          />
        </div>
      )}
      <label className={ui.check}>
        <input type="radio" name={group} checked={!draft.limited} onChange={() => onChange({ limited: false })} />
        <span>No limit</span>
      </label>
      {draft.budgets.map((one, index) => (
        <fieldset key={index} style={{ border: 0, padding: 0, margin: 0 }} className={ui.row}>
          <legend className={ui.legend}>Further budget {index + 1}</legend>
          <TextField
            label={`Budget ${index + 1} ($)`}
            inputMode="decimal"
            value={one.limitUsd}
            wrong={wrong[`budgets.${index}`]}
            onChange={(event) => budget(index, { limitUsd: event.target.value })}
          />
          <Choose
            shown
            label={`Budget ${index + 1} starts anew`}
            value={one.reset}
            choices={RESETS}
            onChange={(reset) => budget(index, { reset })}
          />
          <Choose
            shown
            label={`When budget ${index + 1} is used up`}
            value={one.soft ? 'soft' : 'hard'}
            choices={[
              { value: 'hard', label: 'calls are refused (hard)' },
              { value: 'soft', label: 'it is only told (soft)' },
            ]}
            onChange={(kind) => budget(index, { soft: kind === 'soft' })}
          />
          <Button
            aria-label={`Remove budget ${index + 1}`}
            onClick={() => onChange({ budgets: draft.budgets.filter((_, at) => at !== index) })}
          >
            Remove
          </Button>
        </fieldset>
      ))}
      {draft.budgets.length < MOST_BUDGETS && (
        <div>
          <Button
            onClick={() => onChange({ budgets: [...draft.budgets, { limitUsd: '', reset: 'monthly', soft: false }] })}
          >
            Add a further budget
          </Button>
        </div>
      )}
    </fieldset>
  );
}

/** Requests and tokens per minute, and how many calls at once. */
export function RateFields({ draft, wrong, onChange }: Parts) {
  return (
    <div className={ui.row} style={{ alignItems: 'flex-start' }}>
      {RATES.map(([name, label]) => {
        const value = draft[name];
        return (
          <div key={name}>
            <TextField
              label={label}
              inputMode="numeric"
              disabled={value === null}
              placeholder={value === null ? 'No limit' : undefined}
              value={value ?? ''}
              wrong={wrong[name]}
              onChange={(event) => onChange({ [name]: event.target.value })}
            />
            <label className={ui.check} style={{ marginTop: 4 }}>
              <input
                type="checkbox"
                checked={value === null}
                onChange={(event) => onChange({ [name]: event.target.checked ? null : '' })}
              />
              <span>
                No limit<span className="sr-only"> of {label.toLowerCase()}</span>
              </span>
            </label>
          </div>
        );
      })}
    </div>
  );
}
