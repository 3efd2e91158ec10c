import { describe, expect, it } from 'vitest';
import { around, difference } from './difference';

function sides(lines: string[]): [string, string] {
  const of = (sign: string) =>
    lines
      .filter((line) => line[0] === ' ' || line[0] === sign)
      .map((line) => line.slice(1))
      .join('\n');
  return [of('-'), of('+')];
}

describe('difference', () => {
  it.each([
    ['', '', [' ']],
    ['a', 'a', [' a']],
    ['a\nb\nc', 'a\nc', [' a', '-b', ' c']],
    ['a\nc', 'a\nb\nc', [' a', '+b', ' c']],
    ['a\nb', 'a\nx', [' a', '-b', '+x']],
    ['a\na\na', 'a', [' a', '-a', '-a']],
    ['x\ny', 'y\nx', ['-x', ' y', '+x']],
  ])('%j → %j', (before, after, lines) => expect(difference(before, after)).toEqual(lines));

  it('has both texts in it, whatever they are', () => {
    let seed = 7;
    const next = (most: number) => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % most;
    };
    for (let round = 0; round < 500; round++) {
      const text = () => Array.from({ length: next(9) }, () => 'abc'[next(3)]).join('\n');
      const [before, after] = [text(), text()];
      expect(sides(difference(before, after))).toEqual([before, after]);
    }
  });

  it('says large texts as a whole', () => {
    const before = Array.from({ length: 3000 }, (_, at) => `a${at}`).join('\n');
    const after = Array.from({ length: 3000 }, (_, at) => `b${at}`).join('\n');
    expect(sides(difference(before, after))).toEqual([before, after]);
  });
});

describe('around', () => {
  it('leaves out what is far from every change', () => {
    const lines = [' 1', ' 2', ' 3', '-4', ' 5', ' 6', ' 7', ' 8', '+9'];
    expect(around(lines, 1)).toEqual(['…', ' 3', '-4', ' 5', '…', ' 8', '+9']);
    expect(around([' 1', ' 2'])).toEqual(['…']);
  });
});
