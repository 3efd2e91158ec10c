import { expect, it } from 'vitest';
import type { Account, Budget, CreditEntry, Key, Standing, Team, User } from '../api/types';
import { exact } from '../format/money';
import { available, effect, type Movement, movementCall, movementMistakes } from './credits';
import { limitsBody, limitsDraft, limitsMistakes } from './limits';
import { creationBody, NEW_SCOPE, scopeBody, scopeDraft, scopeMistakes } from './scope-form';
import { differences, firstToFire, place, tree, usedUp } from './spenders';

const NONE = { limit_usd: null, limit_reset: null, rpm: null, tpm: null, max_concurrency: null, budgets: [] };
const TEAM = {
  ...NONE,
  id: 3,
  name: 'red',
  account: 'default',
  limit_usd: '10',
  limit_reset: 'monthly',
  rpm: 60,
  budgets: [{ limit_usd: '2', reset: 'daily', soft: true, spent_usd: '1', remaining_usd: '1' }],
  usage_usd: '9',
  usage_daily_usd: '1',
  usage_weekly_usd: '4',
  usage_monthly_usd: '8',
} as unknown as Team;

function line(kind: Budget['kind'], id: number, name: string, remaining: string, more: Partial<Budget> = {}): Budget {
  const owner = { account: 'default', team: null, user: null, source: 'made' };
  const rest = { ...owner, disabled: false, interval: 'day', soft: false };
  return { ...rest, kind, id, name, remaining_usd: remaining, ...more } as Budget;
}

it('sends back what it was shown', () => {
  const shown = {
    name: 'red',
    limit_usd: '10',
    limit_reset: 'monthly',
    budgets: [{ limit_usd: '2', reset: 'daily', soft: true }],
    rpm: 60,
    tpm: null,
    max_concurrency: null,
  };
  expect(scopeBody('team', scopeDraft(TEAM))).toEqual(shown);
  expect(differences(shown, scopeBody('team', scopeDraft(TEAM)))).toEqual({});
});

it('sends what was changed and nothing else, and null for what was cleared', () => {
  const shown = scopeBody('team', scopeDraft(TEAM));
  const changed = (draft: object) => differences(shown, scopeBody('team', { ...scopeDraft(TEAM), ...draft }));
  expect(changed({ limited: false })).toEqual({ limit_usd: null, limit_reset: null });
  expect(changed({ rpm: null })).toEqual({ rpm: null });
  expect(changed({ budgets: [] })).toEqual({ budgets: [] });
  expect(changed({ reset: '' })).toEqual({ limit_reset: null });
});

it('says whose a new one is', () => {
  const draft = { ...NEW_SCOPE, name: ' blue ', team: 'red' };
  expect(creationBody('user', draft)).toMatchObject({ name: 'blue', account: 'default', team: 'red', limit_usd: null });
  expect(creationBody('team', draft)).not.toHaveProperty('team');
  expect(creationBody('account', draft)).not.toHaveProperty('account');
});

it('does not take an empty field for no limit', () => {
  const draft = limitsDraft(TEAM);
  expect(limitsMistakes(draft)).toEqual({});
  expect(limitsMistakes({ ...draft, rpm: '' })).toHaveProperty('rpm');
  expect(limitsMistakes({ ...draft, limitUsd: '' })).toHaveProperty('limitUsd');
  const monthly = { limitUsd: '1', reset: 'monthly', soft: false };
  expect(limitsMistakes({ ...draft, budgets: [monthly, { ...monthly, soft: true }] })).toEqual({});
  expect(limitsMistakes({ ...draft, budgets: [monthly, { ...monthly, limitUsd: '2' }] })).toHaveProperty('budgets.1');
  expect(limitsMistakes({ ...draft, budgets: [{ ...monthly, limitUsd: 'x' }] })).toHaveProperty('budgets.0');
  expect(scopeMistakes({ ...NEW_SCOPE, name: ' ' })).toHaveProperty('name');
});

it('keeps every decimal of an amount', () => {
  const draft = { ...limitsDraft(TEAM), limitUsd: '123456789012.123456789' };
  expect(limitsMistakes(draft)).toEqual({});
  expect(limitsBody(draft).limit_usd).toBe('123456789012.123456789');
});

it('says which limits are used up by what was spent in their window', () => {
  const body = { limit_usd: '8', limit_reset: 'monthly', budgets: [{ limit_usd: '1', reset: 'daily', soft: true }] };
  expect(usedUp(body, TEAM)).toEqual(['$8 monthly']);
  expect(usedUp({ ...body, limit_usd: '8.000000001' }, TEAM)).toEqual([]);
  expect(usedUp({ limit_usd: '9', limit_reset: null, budgets: [] }, TEAM)).toEqual(['$9 in all']);
});

it('hangs each below whom it belongs to, and finds what fires first above it', () => {
  const account = { ...NONE, id: 1, name: 'default', credit_left_usd: '7' } as unknown as Account;
  const user = { ...NONE, id: 5, name: 'ann', account: 'default', team: 'red' } as unknown as User;
  const key = { ...NONE, id: 9, name: 'ci', account: 'default', team: 'red', user: 'ann' } as unknown as Key;
  const soft = line('account', 1, 'default', '1', { soft: true });
  const budgets = [line('team', 3, 'red', '2'), line('key', 9, 'ci', '3'), soft];
  const nodes = tree({ accounts: [account], teams: [TEAM], users: [user], keys: [key], budgets });
  expect(nodes.map((node) => [node.id, node.depth])).toEqual([
    ['account:1', 0],
    ['team:3', 1],
    ['user:5', 2],
    ['key:9', 3],
  ]);
  expect(nodes.map((node) => node.first?.kind)).toEqual(['credit', 'team', 'team', 'team']);
  expect(nodes[3]?.path).toEqual(['default', 'red', 'ann']);
  // The user is not shown to everybody; the budget above it still stops the key.
  const [, , alone] = tree({ accounts: [account], teams: [TEAM], users: [], keys: [key], budgets });
  expect([alone?.id, alone?.depth, alone?.first?.kind]).toEqual(['key:9', 2, 'team']);
});

it('takes the least that is left, and never a soft one', () => {
  expect(firstToFire([])).toBeNull();
  expect(firstToFire([line('key', 1, 'a', '0', { soft: true })])).toBeNull();
  const first = firstToFire([line('key', 1, 'a', '0.000000002'), line('team', 1, 'b', '0.000000001')]);
  expect([first?.kind, first?.left]).toEqual(['team', 1n]);
});

it('finds by id, unless another has this id for a name', () => {
  expect(place('team', TEAM, [TEAM])).toBe('/admin/teams/3');
  expect(place('team', TEAM, [TEAM, { id: 4, name: '3' }])).toBe('/admin/teams/red?account=default');
  expect(place('user', TEAM, [{ id: 4, name: '3' }], '/login')).toBe('/admin/users/red/login?account=default');
});

const STANDING = {
  account: 'default',
  credits_usd: '10',
  usage_usd: '3.000000001',
  balance_usd: '6.999999999',
  reserved_usd: '0.5',
} as Standing;
const ENTRY = { id: 4, account: 'default', left_usd: '2.5' } as CreditEntry;

it('moves credit by exactly the amount, under the name that the form began with', () => {
  const topup: Movement = { kind: 'topup', account: 'default' };
  const draft = { usd: ' 0.000000001 ', note: ' paid ', expires: '2030-01-01T00:00' };
  expect(movementCall(topup, draft, 'console-1')).toEqual([
    '/admin/credits',
    {
      kind: 'topup',
      account: 'default',
      usd: '0.000000001',
      note: 'paid',
      external_id: 'console-1',
      expires_at: '2030-01-01T00:00:00Z',
    },
  ]);
  expect(exact(available(STANDING))).toBe('$6.499999999');
  expect(exact(available(STANDING) + effect(topup, draft))).toBe('$6.5');
  const refund: Movement = { kind: 'refund', account: 'default', entry: ENTRY };
  expect(movementCall(refund, { ...draft, usd: '2' }, 'console-2')).toEqual([
    '/admin/credits/4/refund',
    { usd: '2', note: 'paid', external_id: 'console-2' },
  ]);
  expect(effect(refund, { ...draft, usd: '2' })).toBe(-2_000_000_000n);
});

it('says what is wrong with an amount before it is sent', () => {
  const draft = (usd: string) => ({ usd, note: '', expires: '' });
  const topup: Movement = { kind: 'topup', account: 'default' };
  for (const usd of ['', '0', '-1', '1e3', '0.0000000001'])
    expect(movementMistakes(topup, draft(usd))).toHaveProperty('usd');
  expect(movementMistakes({ ...topup, kind: 'adjustment' }, draft('-1'))).toEqual({});
  const refund: Movement = { kind: 'refund', account: 'default', entry: ENTRY };
  expect(movementMistakes(refund, draft('2.5'))).toEqual({});
  expect(movementMistakes(refund, draft('2.500000001'))).toHaveProperty('usd');
});
