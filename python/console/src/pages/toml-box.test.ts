import { expect, test } from 'vitest';
import { lineCount, MOST_CHARACTERS, MOST_OF_A_LINE, tooMuch } from './toml-box';

test('what is too much says which line, or how much in all', () => {
  expect(tooMuch('')).toBe(null);
  expect(tooMuch('#\n'.repeat(MOST_CHARACTERS / 2))).toBe(null);
  expect(tooMuch('#\n'.repeat(MOST_CHARACTERS / 2 + 1))).toBe('It has 524,290 characters, and 524,288 are the most.');
  const line = 'x'.repeat(MOST_OF_A_LINE);
  expect(tooMuch(`${line}\n${line}\n\n${line}`)).toBe(null);
  expect(tooMuch(`a\n\n${line}x`)).toBe('Line 3 has 20,001 characters, and 20,000 are the most of a line.');
  expect(tooMuch(`a\n${line}x\nb`)).toBe('Line 2 has 20,001 characters, and 20,000 are the most of a line.');
});

test('lines are counted as an editor counts them', () => {
  for (const text of ['', 'a', 'a\n', '\n\n', 'a\nb']) expect(lineCount(text)).toBe(text.split('\n').length);
});
