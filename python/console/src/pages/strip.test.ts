import { describe, expect, it } from 'vitest';
import { look } from './strip';

describe('a half hour', () => {
  it.each([
    [0, 0, 'none'],
    [1000, 10, 'good'],
    [1000, 11, 'warn'],
    [10, 2, 'warn'],
    [10, 3, 'bad'],
    [1, 1, 'bad'],
  ] as const)('%d requests, %d failed: %s', (requests, failed, expected) => {
    expect(look(requests, failed)).toBe(expected);
  });
});
