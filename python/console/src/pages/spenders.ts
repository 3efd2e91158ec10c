/** Who spends: accounts, their teams, users and keys as one tree, with the limits of money of each and the one that fires first. */
import type { Account, Budget, Key, Team, User } from '../api/types';
import { nano } from '../format/money';
import type { Limited } from './limits';

export type Kind = 'account' | 'team' | 'user';
export type Spender = Account | Team | User;

export interface Everybody {
  accounts: readonly Account[];
  teams: readonly Team[];
  users: readonly User[];
  keys: readonly Key[];
  budgets: readonly Budget[];
}

/** What stops a call: a hard limit of somebody, or an account's prepaid credit. */
export interface Stop {
  kind: Budget['kind'] | 'credit';
  name: string;
  interval: Budget['interval'];
  left: bigint;
}

export interface Node {
  id: string;
  kind: Kind | 'key';
  name: string;
  depth: number;
  /** Names from the account down to whom it belongs to. */
  path: readonly string[];
  lines: readonly Budget[];
  /** Null: nothing of money stops it. */
  first: Stop | null;
  spender: Spender | null;
  key: Key | null;
}

/** Every node after the one it belongs to, by name; one whose owner is not shown hangs below the next that is. */
export function tree(of: Everybody): Node[] {
  const lines = new Map<string, Budget[]>();
  for (const line of of.budgets) {
    const id = `${line.kind}:${line.id}`;
    lines.set(id, [...(lines.get(id) ?? []), line]);
  }
  const ids = new Map<string, string>();
  for (const team of of.teams) ids.set(`team ${team.account} ${team.name}`, `team:${team.id}`);
  for (const user of of.users) ids.set(`user ${user.account} ${user.name}`, `user:${user.id}`);
  for (const account of of.accounts) ids.set(`account ${account.name}`, `account:${account.id}`);
  const owner = (account: string, team: string | null, user: string | null) =>
    (user && ids.get(`user ${account} ${user}`)) ||
    (team && ids.get(`team ${account} ${team}`)) ||
    ids.get(`account ${account}`) ||
    '';
  const below = new Map<string, Node[]>();
  const add = (parent: string, kind: Node['kind'], one: { id: number; name: string }, rest: Partial<Node>) => {
    const id = `${kind}:${one.id}`;
    const node = { id, kind, name: one.name, depth: 0, path: [], lines: lines.get(id) ?? [], first: null };
    below.set(parent, [...(below.get(parent) ?? []), { ...node, spender: null, key: null, ...rest }]);
  };
  for (const account of of.accounts) add('', 'account', account, { spender: account });
  for (const team of of.teams) add(owner(team.account, null, null), 'team', team, { spender: team });
  for (const user of of.users) add(owner(user.account, user.team, null), 'user', user, { spender: user });
  for (const key of of.keys) {
    const named = { id: key.id, name: key.name || key.label };
    add(owner(key.account, key.team, key.user), 'key', named, { key });
  }
  const found: Node[] = [];
  const walk = (parent: string, depth: number, path: readonly string[]) => {
    const children = [...(below.get(parent) ?? [])].sort(byKindAndName);
    for (const node of children) {
      found.push({ ...node, depth, path });
      walk(node.id, depth + 1, [...path, node.name]);
    }
  };
  walk('', 0, []);
  const stops = new Map(of.accounts.map((account) => [account.name, credit(account)]));
  return found.map((node) => {
    const stop = stops.get(accountOf(node));
    return { ...node, first: firstToFire(governing(node, lines, ids), stop) };
  });
}

const ORDER = ['account', 'team', 'user', 'key'];

function byKindAndName(a: Node, b: Node): number {
  return ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || a.name.localeCompare(b.name, 'en');
}

function accountOf(node: Node): string {
  if (node.key) return node.key.account;
  return node.spender && 'account' in node.spender ? node.spender.account : node.name;
}

/** The lines that its calls must fit: its own, and those of its user, team and account, whoever it hangs below. */
function governing(node: Node, lines: Map<string, Budget[]>, ids: Map<string, string>): Budget[] {
  const account = accountOf(node);
  const team = node.key?.team ?? (node.spender && 'team' in node.spender ? node.spender.team : null);
  const owners = [
    ids.get(`account ${account}`),
    team && ids.get(`team ${account} ${team}`),
    node.key?.user && ids.get(`user ${account} ${node.key.user}`),
  ];
  const of = new Set([node.id, ...owners.filter((id): id is string => !!id)]);
  return [...of].flatMap((id) => lines.get(id) ?? []);
}

function credit(account: Account): Stop | undefined {
  if (account.credit_left_usd === null) return undefined;
  return { kind: 'credit', name: account.name, interval: 'total', left: nano(account.credit_left_usd) };
}

/** The hard limit that has the least left. */
export function firstToFire(lines: readonly Budget[], credit?: Stop): Stop | null {
  let first = credit ?? null;
  for (const line of lines) {
    const left = nano(line.remaining_usd);
    if (!line.soft && (first === null || left < first.left))
      first = { kind: line.kind, name: line.name, interval: line.interval, left };
  }
  return first;
}

interface Called {
  id: number;
  name: string;
}

/** Where the API has it, or something of it. By its id, unless another is called like that: a name comes before an id. */
export function place(kind: Kind, of: Called, all: readonly Called[], part = ''): string {
  const id = String(of.id);
  const called = all.some((other) => other.name === id && other.id !== of.id);
  if (!called) return `/admin/${kind}s/${id}${part}`;
  const account = 'account' in of ? `?account=${encodeURIComponent(String(of.account))}` : '';
  return `/admin/${kind}s/${encodeURIComponent(of.name)}${part}${account}`;
}

/** The members of a body that differ from what was shown. */
export function differences(shown: Record<string, unknown>, wanted: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(shown[name])),
  );
}

type Spent = Pick<Spender, 'usage_usd' | 'usage_daily_usd' | 'usage_weekly_usd' | 'usage_monthly_usd'>;

/** The hard limits of a body that are used up already, as the page says them. */
export function usedUp(body: Pick<Limited, 'limit_usd' | 'limit_reset' | 'budgets'>, of: Spent): string[] {
  const spent: Record<string, string> = {
    daily: of.usage_daily_usd,
    weekly: of.usage_weekly_usd,
    monthly: of.usage_monthly_usd,
  };
  const own = body.limit_usd === null ? [] : [{ limit_usd: body.limit_usd, reset: body.limit_reset, soft: false }];
  return [...own, ...body.budgets]
    .filter((one) => !one.soft && nano(spent[one.reset ?? ''] ?? of.usage_usd) >= nano(one.limit_usd))
    .map((one) => `$${one.limit_usd} ${one.reset ?? 'in all'}`);
}
