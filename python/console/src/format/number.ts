import { group } from './money';

/** A count: exact below a million, three digits above ("81.2M"). Null is unknown. */
export function count(value: number | null | undefined): string {
  if (value === null || value === undefined) return '—';
  const size = Math.abs(value);
  for (const [limit, unit] of [
    [999.5e9, 'T'],
    [999.5e6, 'B'],
    [1e6, 'M'],
  ] as const) {
    const one = unit === 'T' ? 1e12 : unit === 'B' ? 1e9 : 1e6;
    if (size >= limit) return `${digits3(value / one)}${unit}`;
  }
  return Number.isInteger(value) ? group(value) : digits3(value);
}

/** A count where there is little room: "1.2k", "128k", "81.2M". */
export function short(value: number | null | undefined): string {
  if (value === null || value === undefined) return '—';
  if (Math.abs(value) < 1000 || Math.abs(value) >= 999_950) return count(value);
  return `${digits3(value / 1000)}k`;
}

/** A length in tokens: "128k" of 128,000, and of 131,072 as well, which providers call so. */
export function contextLength(value: number | null | undefined): string {
  if (!value) return '—';
  if (value % 1024 === 0 && value % 1000 !== 0) {
    return value % (1024 * 1024) === 0 ? `${value / (1024 * 1024)}M` : `${value / 1024}k`;
  }
  return short(value);
}

/** Milliseconds: "412 ms", "4.62 s", "2 min 3 s". Null is unknown. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '—';
  if (ms < 10) return `${Number(ms.toPrecision(2))} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 2880
    ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
    : `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** A latency that was measured in whole milliseconds: one of none is below one. */
export function measured(ms: number): string {
  return ms < 1 ? '< 1 ms' : duration(ms);
}

/** A share of 1 as percent with one decimal; what is more than nothing is never 0.0 %. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return '—';
  if (share > 0 && share < 0.0005) return '< 0.1 %';
  if (share < 1 && share > 0.9995) return '> 99.9 %';
  return `${(share * 100).toFixed(1)} %`;
}

/** Tokens per second. */
export function speed(value: number | null | undefined): string {
  return value === null || value === undefined
    ? '—'
    : `${value < 10 ? value.toFixed(1) : group(Math.round(value))} tok/s`;
}

/** How a figure moved, in words: "up 12.4 %". Empty where there is nothing to compare with. */
export function change(now: number | null, before: number | null | undefined): string {
  if (now === null || before === null || before === undefined) return '';
  if (before === 0) return now === 0 ? 'as before' : 'new';
  const share = (now - before) / before;
  if (Math.abs(share) < 0.0005) return 'as before';
  const size =
    Math.abs(share) >= 10
      ? `${digits3(Math.abs(share) + (share > 0 ? 1 : 0))} ×`
      : `${(Math.abs(share) * 100).toFixed(1)} %`;
  return `${share > 0 ? 'up' : 'down'} ${size}`;
}

/** The same between two shares, in percentage points. */
export function changePoints(now: number | null, before: number | null | undefined): string {
  if (now === null || before === null || before === undefined) return '';
  const points = (now - before) * 100;
  return Math.abs(points) < 0.005 ? 'as before' : `${points > 0 ? 'up' : 'down'} ${Math.abs(points).toFixed(2)} pt`;
}

function digits3(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2).replace(/\.0+$|(\.\d*[1-9])0+$/, '$1');
}
