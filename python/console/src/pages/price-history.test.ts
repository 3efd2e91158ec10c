import { describe, expect, it } from 'vitest';
import type { PriceHistory } from '../api/types';
import { path, stepped } from './price-history';

const prices = (prompt: string, cache_read: string | null = null) => ({
  prompt,
  completion: '2',
  cache_read,
  cache_write: null,
  cache_write_1h: null,
  reasoning: null,
  request_each: '0',
  web_search_each: '0',
  conditions: 0,
});
const one = (steps: [string | null, string][]): PriceHistory => ({
  endpoint: 7,
  provider: 'lab',
  provider_name: 'Lab',
  region: '',
  steps: steps.map(([from, prompt]) => ({ from, source: 'x', checked: null, in_force: false, prices: prices(prompt) })),
});

describe('prices over time', () => {
  it('has a point where each begins', () => {
    const [line] = stepped(
      [
        one([
          ['2026-01-01', '3'],
          ['2026-06-01', '1.5'],
        ]),
      ],
      'prompt',
    );
    expect(line?.points).toEqual([
      [Date.UTC(2026, 0, 1), 3],
      [Date.UTC(2026, 5, 1), 1.5],
    ]);
  });
  it('takes the usual price where the cache has none', () => {
    expect(stepped([one([['2026-01-01', '3']])], 'cache_read')[0]?.points[0]?.[1]).toBe(3);
  });
  it('draws nothing without a date', () => {
    expect(stepped([one([[null, '3']])], 'prompt')).toEqual([]);
  });
  it('goes sideways, then down', () => {
    const straight = (value: number) => value;
    expect(
      path(
        [
          [0, 3],
          [10, 1],
        ],
        20,
        straight,
        straight,
      ),
    ).toBe('M0 3H10V1H20');
  });
});
