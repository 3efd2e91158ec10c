import { expect, it } from 'vitest';
import { room } from './chart';

it('has room for every label, and never less than for the usual ones', () => {
  expect(room(null)).toBe(64);
  expect(room(['$0', '$5'])).toBe(64);
  // Nine characters of 12 px, which 64 px cut off on the left.
  expect(room(['$0', '$0.000100'])).toBeGreaterThanOrEqual(9 * 7 + 8);
});
