/** The time that pages look at, as the URL has it: `from` is how far back ("-24h") or a moment, `to` a moment or absent for now. */

export interface Range {
  from?: string | undefined;
  to?: string | undefined;
  zone?: string | undefined;
}

export const PRESETS = ['-15m', '-1h', '-24h', '-7d', '-30d', '-90d', '-1y'] as const;
export const DEFAULT = '-24h';
const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, y: 365 * 86_400_000 };
const WORDS: Record<string, string> = { m: 'minutes', h: 'hours', d: 'days', y: 'year' };
const RELATIVE = /^-(\d{1,4})([mhdy])$/;

/** What of a URL's search is a range; the rest is dropped, so that a wrong link shows the usual range. */
export function readRange(search: Record<string, unknown>): Range {
  const range: Range = {};
  const { from, to, zone } = search;
  if (typeof from === 'string' && (RELATIVE.test(from) || moment(from) !== null)) range.from = from;
  if (typeof to === 'string' && moment(to) !== null && !RELATIVE.test(range.from ?? DEFAULT)) range.to = to;
  if (typeof zone === 'string' && /^[A-Za-z0-9_+\-/]{1,60}$/.test(zone)) range.zone = zone;
  return range;
}

/** Begin and end. A moving range ends now. */
export function bounds(range: Range, now: number): [number, number] {
  const from = range.from ?? DEFAULT;
  const length = lengthOf(from);
  if (length !== null) return [now - length, now];
  const first = moment(from) ?? now - UNIT_MS.d!;
  const end = range.to ? (moment(range.to) ?? now) : now;
  return first < end ? [first, end] : [end - 60_000, end];
}

/** Whether it moves with the time. */
export function moves(range: Range): boolean {
  return RELATIVE.test(range.from ?? DEFAULT);
}

/** The range beside it, as long: -1 before, 1 after, which never goes beyond now. */
export function beside(range: Range, direction: -1 | 1, now: number): Range {
  const [first, end] = bounds(range, now);
  const length = end - first;
  const from = direction < 0 ? first - length : Math.min(end, now - length);
  return fixed(from, from + length, range.zone);
}

export function fixed(from: number, to: number, zone?: string): Range {
  const range: Range = { from: new Date(from).toISOString(), to: new Date(to).toISOString() };
  if (zone) range.zone = zone;
  return range;
}

/** "24 hours", "7 days", "Custom". */
export function label(from: string): string {
  const found = RELATIVE.exec(from);
  if (!found) return 'Custom';
  const [, number = '1', unit = 'h'] = found;
  return `${number} ${number === '1' ? WORDS[unit]!.replace(/s$/, '') : unit === 'y' ? 'years' : WORDS[unit]}`;
}

function lengthOf(from: string): number | null {
  const found = RELATIVE.exec(from);
  return found ? Math.max(60_000, Number(found[1]) * UNIT_MS[found[2]!]!) : null;
}

function moment(text: string): number | null {
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return null;
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}
