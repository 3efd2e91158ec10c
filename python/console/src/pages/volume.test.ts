import { describe, expect, it } from 'vitest';
import { summed } from './volume';

describe('what of a list can be summed', () => {
  const cases: [Record<string, string>, Record<string, string>, string, string[]][] = [
    [{}, {}, 'requests,errors', []],
    [{ model: 'a', provider: 'b' }, { model: 'a', provider: 'b' }, 'requests,errors', []],
    [{ model: 'a', key: '3' }, { model: 'a', key: '3' }, 'requests,errors', []],
    [{ app: 'x', team: '2' }, { app: 'x' }, 'requests,errors', ['team']],
    [{ app: 'x', model: 'a' }, { model: 'a' }, 'requests,errors', ['app']],
    [{ failed: 'true', model: 'a' }, { model: 'a' }, 'errors', []],
    [{ retried: 'true' }, {}, 'retried', []],
    [{ split: 's', arm: 'a' }, { arm: 's/a' }, 'requests,errors', []],
    [{ arm: 'acme/own/lab/echo' }, { arm: 'acme/own/lab/echo' }, 'requests,errors', []],
    [{ split: 's' }, {}, 'requests,errors', ['split']],
    [{ session: 's', end_user: 'u', least_usd: '1' }, {}, 'requests,errors', ['session', 'end_user', 'least_usd']],
  ];
  it.each(cases)('%o', (filters, query, metrics, without) => {
    const found = summed(filters);
    expect(found.query).toEqual(query);
    expect(found.metrics).toBe(metrics);
    expect(found.without.sort()).toEqual([...without].sort());
  });
});
