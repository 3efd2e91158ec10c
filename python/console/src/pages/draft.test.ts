import { afterEach, expect, it } from 'vitest';
import { keep, unfinished } from './draft';

const DRAFT = { text: 'a = 2', base: 'a = 1', etag: '"x"' };

function asks(): boolean {
  return !dispatchEvent(new Event('beforeunload', { cancelable: true }));
}

afterEach(() => keep(0, null));

it('is there when one comes back', () => {
  expect(unfinished(7)).toBeNull();
  keep(7, DRAFT);
  expect(unfinished(7)).toEqual(DRAFT);
});

it('is asked about before the tab goes, as long as it differs from the file', () => {
  expect(asks()).toBe(false);
  keep(7, DRAFT);
  keep(7, { ...DRAFT, text: 'a = 3' });
  expect(asks()).toBe(true);
  keep(7, { ...DRAFT, text: DRAFT.base });
  expect(asks()).toBe(false);
  keep(7, DRAFT);
  keep(7, null);
  expect(asks()).toBe(false);
});

it("is nobody else's", () => {
  keep(7, DRAFT);
  expect(unfinished(8)).toBeNull();
  expect(unfinished(7)).toBeNull();
  expect(asks()).toBe(false);
});
