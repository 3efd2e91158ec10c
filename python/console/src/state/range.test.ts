import { describe, expect, it } from 'vitest';
import { beside, bounds, fixed, label, moves, readRange } from './range';

const NOW = Date.UTC(2026, 10, 22, 12);
const HOUR = 3_600_000;

describe('a range in the URL', () => {
  it('is what the link says, and the usual one where that is nonsense', () => {
    expect(readRange({ from: '-7d', zone: 'Europe/Berlin' })).toEqual({ from: '-7d', zone: 'Europe/Berlin' });
    expect(readRange({ from: 'yesterday', to: 'x', zone: '<script>' })).toEqual({});
    expect(readRange({ from: 7, to: ['2026-01-01'] })).toEqual({});
    expect(readRange({ from: '-24h', to: '2026-11-22T00:00:00Z' })).toEqual({ from: '-24h' });
    expect(bounds({}, NOW)).toEqual([NOW - 24 * HOUR, NOW]);
  });

  it('survives the way through the URL', () => {
    const range = fixed(NOW - 5 * HOUR, NOW - HOUR, 'Asia/Kolkata');
    expect(readRange({ ...range })).toEqual(range);
    expect(bounds(range, NOW)).toEqual([NOW - 5 * HOUR, NOW - HOUR]);
    expect([moves(range), moves({}), moves({ from: '-1h' })]).toEqual([false, true, true]);
  });

  it('never runs backwards', () => {
    const [first, end] = bounds(fixed(NOW, NOW - HOUR), NOW);
    expect(first).toBeLessThan(end);
    expect(bounds({ from: '-0m' }, NOW)[0]).toBeLessThan(NOW);
  });

  it('steps beside itself and not into the future', () => {
    const before = beside({ from: '-24h' }, -1, NOW);
    expect(bounds(before, NOW)).toEqual([NOW - 48 * HOUR, NOW - 24 * HOUR]);
    expect(bounds(beside(before, 1, NOW), NOW)).toEqual([NOW - 24 * HOUR, NOW]);
    expect(bounds(beside({ from: '-24h' }, 1, NOW), NOW)).toEqual([NOW - 24 * HOUR, NOW]);
  });

  it('has a name', () => {
    expect(['-15m', '-1h', '-24h', '-7d', '-1y', '2026-01-01'].map(label)).toEqual([
      '15 minutes',
      '1 hour',
      '24 hours',
      '7 days',
      '1 year',
      'Custom',
    ]);
  });
});
