/** What a name stands for, as its form has it. */

import { plain } from '../format/text';

export type Definition = Record<string, unknown>;

export interface PresetDraft {
  /** A line each: the model, and those to fall back to. */
  models: string;
  /** All else, as JSON. */
  rest: string;
}

export interface ArmDraft {
  model: string;
  weight: string;
}

export function presetDraft(of: Definition): PresetDraft {
  const { model, models, ...rest } = of;
  const named = Array.isArray(models) ? models.map(String) : typeof model === 'string' ? [model] : [];
  return { models: named.join('\n'), rest: Object.keys(rest).length ? lines(rest) : '' };
}

/** Throws what is wrong with the JSON, in words. Everything else the gateway judges. */
export function presetOf(draft: PresetDraft): Definition {
  const models = draft.models
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  const named = models.length === 0 ? {} : models.length === 1 ? { model: models[0] } : { models };
  if (draft.rest.trim() === '') return named;
  let rest: unknown;
  try {
    rest = JSON.parse(draft.rest);
  } catch (error) {
    throw new Error(`This is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof rest !== 'object' || rest === null || Array.isArray(rest)) throw new Error('An object is expected: { … }');
  for (const name of ['model', 'models']) {
    if (name in rest) throw new Error(`"${name}" stands in the field above`);
  }
  return { ...named, ...rest };
}

export function armDrafts(of: Definition): ArmDraft[] {
  const arms = Array.isArray(of.arms) ? (of.arms as { model: unknown; weight: unknown }[]) : [];
  return arms.map((arm) => ({ model: String(arm.model), weight: String(arm.weight) }));
}

export function splitOf(arms: readonly ArmDraft[]): Definition {
  return { arms: arms.map((arm) => ({ model: arm.model.trim(), weight: whole(arm.weight) })) };
}

/** What is no number goes as it is: the gateway says what is wrong with it. */
function whole(text: string): unknown {
  const said = text.trim();
  return /^-?[0-9]{1,15}$/.test(said) ? Number(said) : said;
}

/** The share of each arm, null where weights are none. */
export function shares(arms: readonly ArmDraft[]): (number | null)[] {
  const weights = arms.map((arm) => whole(arm.weight));
  const sum = weights.reduce<number>((all, one) => (typeof one === 'number' && one > 0 ? all + one : all), 0);
  return weights.map((one) => (typeof one === 'number' && one >= 0 && sum > 0 ? one / sum : null));
}

/** As JSON, to read, copy and compare: what hides or turns text is written out, which JSON knows how to. */
export function lines(of: object): string {
  return plain(JSON.stringify(of, null, 2), Number.POSITIVE_INFINITY);
}
