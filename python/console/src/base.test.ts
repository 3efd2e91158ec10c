import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test('every token stands once, with its colours of both themes', () => {
  const names = [...readFileSync('src/base.css', 'utf8').matchAll(/^\s*(--[\w-]+):/gm)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(15);
  expect(names).toEqual([...new Set(names)]);
});
