import { expect, it } from 'vitest';
import type { Key } from '../api/types';
import { bodyOf, changesOf, draftOf, mistakes } from './key-form';

const KEY = {
  name: 'ci',
  limit_usd: '5',
  limit_reset: 'daily',
  budgets: [{ limit_usd: '20', reset: 'monthly', soft: true, spent_usd: '1', remaining_usd: '19' }],
  models: ['sim/*', 'openai/gpt-5'],
  rpm: 60,
  tpm: null,
  max_concurrency: null,
  expires_at: null,
  team: 'infra',
  user: null,
  management: false,
  strict_translation: false,
  strict_budget: true,
} as unknown as Key;

it('sends back what it was shown', () => {
  expect(bodyOf(draftOf(KEY))).toEqual({
    name: 'ci',
    limit_usd: '5',
    limit_reset: 'daily',
    budgets: [{ limit_usd: '20', reset: 'monthly', soft: true }],
    models: ['sim/*', 'openai/gpt-5'],
    rpm: 60,
    tpm: null,
    max_concurrency: null,
    expires_at: null,
    strict_translation: false,
    strict_budget: true,
  });
});

it('takes a limit away when it is cleared, and does not keep it silently', () => {
  expect(bodyOf({ ...draftOf(KEY), limited: false, rpm: null })).toMatchObject({
    limit_usd: null,
    limit_reset: null,
    rpm: null,
  });
});

it('changes what was edited and nothing beside it', () => {
  const key = { ...KEY, expires_at: '2027-01-01T00:00:30.250Z' };
  const draft = draftOf(key);
  expect(changesOf(key, draft, true)).toEqual({});
  expect(changesOf(key, { ...draft, limitUsd: '9' }, true)).toEqual({ limit_usd: '9' });
  expect(changesOf(key, { ...draft, team: '' }, true)).toEqual({ team: '' });
  expect(changesOf(key, { ...draft, team: '', expires: '' }, false)).toEqual({ expires_at: null });
});

it('says what is wrong before it is sent', () => {
  const draft = draftOf(KEY);
  expect(mistakes(draft)).toEqual({});
  for (const limitUsd of ['', '-1', '1,5', '1e3', '0.0000000001'])
    expect(mistakes({ ...draft, limitUsd })).toHaveProperty('limitUsd');
  expect(mistakes({ ...draft, name: ' ', rpm: '0', tpm: '1.5' })).toMatchObject({
    name: expect.any(String),
    rpm: expect.any(String),
    tpm: expect.any(String),
  });
  expect(mistakes({ ...draft, limited: false, limitUsd: 'x' })).toEqual({});
});
