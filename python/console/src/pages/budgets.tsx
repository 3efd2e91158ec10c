/** "How much is left, and who stops when?" The tree of budgets; for admins credit and alerts beside it. */
import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import { memo, useCallback, useMemo, useState } from 'react';
import { get } from '../api/client';
import { budgetsQuery, keysQuery, queries } from '../api/queries';
import type { Account, Budget, Team, User } from '../api/types';
import { EACH } from '../format/members';
import { count, percent } from '../format/number';
import { plain } from '../format/text';
import { day, minutes } from '../format/time';
import { useTitle } from '../shell/title';
import { useMay, useSetSearch, useZone } from '../state/hooks';
import { Badge, Button, Check, classes, Meter, Name, Usd, ui } from '../ui/basics';
import { Part } from '../ui/part';
import { Search } from '../ui/search';
import { Empty, Loaded } from '../ui/states';
import { Tabs } from '../ui/tabs';
import { AlertsTab } from './alerts';
import s from './budgets.module.css';
import { CreditsTab } from './credits';
import { CreateScope, DeleteScope, EditScope } from './scope-form';
import { type Everybody, type Kind, type Node, type Spender, type Stop, tree } from './spenders';

export function BudgetsPage() {
  const heading = useTitle('Budgets');
  const { tab = 'budgets' } = useSearch({ strict: false }) as { tab?: string };
  const setSearch = useSetSearch();
  const mayAll = useMay('admin');
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        Budgets
      </h1>
      {mayAll ? (
        <Tabs
          label="Parts of the page"
          value={tab}
          onChange={(id) => setSearch({ tab: id === 'budgets' ? undefined : id })}
          tabs={[
            { id: 'budgets', label: 'Budgets', content: () => <BudgetsTab /> },
            { id: 'credits', label: 'Credits', content: () => <CreditsTab /> },
            { id: 'alerts', label: 'Alerts', content: () => <AlertsTab /> },
          ]}
        />
      ) : tab === 'budgets' ? (
        <BudgetsTab />
      ) : (
        <Empty title="Not for your role">
          <p>Credits and alerts are for the roles admin and owner.</p>
          <Button onClick={() => setSearch({ tab: undefined })}>To the budgets</Button>
        </Empty>
      )}
    </>
  );
}

/** Five lists at once, so that the tree is of one moment. */
async function everybody({ signal }: { signal: AbortSignal }): Promise<Everybody> {
  const list = async <T,>(path: string) => (await get<{ data: T[] }>(path, {}, signal)).data;
  const [accounts, teams, users, keys, budgets] = await Promise.all([
    list<Account>('/admin/accounts'),
    list<Team>('/admin/teams'),
    list<User>('/admin/users'),
    queries.fetchQuery({ ...keysQuery, staleTime: 0 }),
    queries.fetchQuery({ ...budgetsQuery, staleTime: 0 }),
  ]);
  return { accounts, teams, users, keys, budgets };
}

function BudgetsTab() {
  const { q = '', keys } = useSearch({ strict: false }) as { q?: string; keys?: string };
  const setSearch = useSetSearch();
  const mayAll = useMay('admin');
  const [creating, create] = useState<Kind | null>(null);
  const query = useQuery({ queryKey: ['budgets', 'tree'], queryFn: everybody, refetchInterval: 15_000 });
  return (
    <>
      <div className={ui.spread}>
        <div className={ui.row}>
          <Search
            label="Search accounts, teams, users and keys by name"
            placeholder="Name"
            value={q}
            onSearch={(text) => setSearch({ q: text }, true)}
          />
          <Check
            label="All keys"
            checked={keys === 'all'}
            onChange={(all) => setSearch({ keys: all ? 'all' : undefined })}
          />
        </div>
        {mayAll && query.data && (
          <div className={ui.row}>
            <Button look="primary" onClick={() => create('team')}>
              Create team
            </Button>
            <Button onClick={() => create('user')}>Create user</Button>
            <Button onClick={() => create('account')}>Create account</Button>
          </div>
        )}
      </div>
      <Loaded query={query} height={400}>
        {(data) => <Tree of={data} search={q} allKeys={keys === 'all'} />}
      </Loaded>
      {creating && query.data && <CreateScope kind={creating} of={query.data} onClose={() => create(null)} />}
    </>
  );
}

/** Not drawn anew for a form that opens over it. */
const Tree = memo(function Tree({ of, search, allKeys }: { of: Everybody; search: string; allKeys: boolean }) {
  const mayAll = useMay('admin');
  const [open, setOpen] = useState<{ what: 'change' | 'delete'; kind: Kind; scope: Spender } | null>(null);
  const show = useCallback(
    (what: 'change' | 'delete', kind: Kind, scope: Spender) => setOpen({ what, kind, scope }),
    [],
  );
  const wanted = search.trim().toLowerCase();
  const all = useMemo(() => tree(of), [of]);
  const limited = (node: Node) => node.kind !== 'key' || allKeys || node.lines.length > 0;
  const fits = (node: Node) => (wanted ? node.name.toLowerCase().includes(wanted) : limited(node));
  const rows = all.filter(fits);
  const hidden = wanted ? 0 : all.length - rows.length;
  if (rows.length === 0) {
    return wanted ? (
      <Empty title="Nobody is called like that.">
        <p>The search is for the names of accounts, teams, users and keys.</p>
      </Empty>
    ) : (
      <Empty title="There is nobody with a budget that you see.">
        <p>Viewers and members see their own team, or themselves. An admin can give them a budget.</p>
      </Empty>
    );
  }
  return (
    <>
      <Part rows={rows}>
        {(part) => (
          <div className={ui.scroll} tabIndex={0} role="region" aria-label="Budgets: accounts, teams, users, keys">
            <table className={classes(ui.table, s.table)}>
              <thead>
                <tr>
                  <th scope="col">Who</th>
                  <th scope="col">Used / limit</th>
                  <th scope="col">First to fire</th>
                  <th scope="col">Rates</th>
                  {mayAll && (
                    <th scope="col">
                      <span className="sr-only">Change</span>
                    </th>
                  )}
                </tr>
              </thead>
              <tbody>
                {part.map((node) => (
                  <Row
                    key={node.id}
                    of={node}
                    flat={wanted !== ''}
                    onOpen={mayAll ? show : undefined}
                  />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Part>
      {hidden > 0 && (
        <p className={ui.muted}>
          {count(hidden)} {hidden === 1 ? 'key has' : 'keys have'} no limit of their own; All keys shows them.
        </p>
      )}
      {open?.what === 'change' && <EditScope {...open} of={of} onClose={() => setOpen(null)} />}
      {open?.what === 'delete' && <DeleteScope {...open} of={of} onClose={() => setOpen(null)} />}
    </>
  );
});

const Row = memo(function Row(props: {
  of: Node;
  flat: boolean;
  onOpen: ((what: 'change' | 'delete', kind: Kind, scope: Spender) => void) | undefined;
}) {
  const { of: node, onOpen } = props;
  const { spender, key } = node;
  const kind = node.kind === 'key' ? null : node.kind;
  const ofFile = key ? key.source === 'file' : !!spender && 'source' in spender && spender.source === 'file';
  const limits = key ?? spender;
  return (
    <tr data-kind={node.kind}>
      <td>
        <div className={s.who} data-depth={props.flat ? 0 : Math.min(node.depth, 3)}>
          <div>
            {key ? (
              <Link to="/keys/$hash" params={{ hash: key.hash }}>
                <Name most={50}>{node.name}</Name>
              </Link>
            ) : (
              <strong>
                <Name most={50}>{node.name}</Name>
              </strong>
            )}{' '}
            <span className={ui.muted}>{node.kind}</span> {ofFile && <Badge>fairlead.toml owns it</Badge>}{' '}
            {key?.disabled && <Badge look="warn">disabled</Badge>}
          </div>
          {props.flat && node.path.length > 0 && (
            <div className={ui.muted}>
              <Name most={80}>{node.path.join(' › ')}</Name>
            </div>
          )}
        </div>
      </td>
      <td>
        <div className={s.lines}>
          {node.lines.map((line) => (
            <Line key={`${line.interval} ${line.soft} ${line.limit_usd}`} of={line} />
          ))}
          {node.lines.length === 0 && (
            <span>
              <Usd usd={(key ?? spender!).usage_usd} /> in all{' '}
              <span className={ui.muted}>/ No limit</span>
            </span>
          )}
        </div>
      </td>
      <td data-name="First to fire">
        <First of={node} />
      </td>
      <td className={ui.muted} data-name="Rates">
        {limits && rates(limits)}
      </td>
      {onOpen && (
        <td>
          {kind && spender && !ofFile && (
            <div className={classes(ui.row, s.actions)}>
              <Button
                aria-label={`Change the ${kind} ${plain(node.name)}`}
                onClick={() => onOpen('change', kind, spender)}
              >
                Change
              </Button>
              <Button
                look="danger"
                aria-label={`Delete the ${kind} ${plain(node.name)}`}
                disabled={kind === 'account' && node.name === 'default'}
                title={
                  kind === 'account' && node.name === 'default' ? 'It is there from the start and stays' : undefined
                }
                onClick={() => onOpen('delete', kind, spender)}
              >
                Delete
              </Button>
            </div>
          )}
        </td>
      )}
    </tr>
  );
});

function Line({ of: line }: { of: Budget }) {
  const share = line.used_share ?? 1;
  return (
    <div className={s.line}>
      <span>
        <Usd usd={line.spent_usd} />{' '}
        <span className={ui.muted}>
          / <Usd usd={line.limit_usd} /> {EACH[line.interval]}
        </span>{' '}
        {percent(share)} {line.soft && <Badge>soft: only told</Badge>}
      </span>
      <Meter share={share} label={`Used of ${line.limit_usd} dollars ${EACH[line.interval]} of ${plain(line.name)}`} />
      <span className={ui.muted}>
        <Usd usd={line.remaining_usd} /> left, <Usd usd={line.reserved_usd} /> held for running calls;{' '}
        {line.resets_at ? (
          <>
            anew <Reset at={line.resets_at} />
          </>
        ) : (
          'never anew'
        )}
      </span>
    </div>
  );
}

/** When a window ends: windows are of UTC, and the viewer's clock may show another time. */
function Reset({ at }: { at: string }) {
  const zone = useZone();
  const ms = Date.parse(at);
  const utc = `${day(ms, 'UTC')}, ${minutes(ms, 'UTC')}`;
  const here = `${day(ms, zone)}, ${minutes(ms, zone)}`;
  return (
    <time dateTime={at}>
      {utc} UTC{here !== utc && ` (${here} ${zone})`}
    </time>
  );
}

function First({ of: node }: { of: Node }) {
  const { first } = node;
  if (node.key?.disabled) return <span className={ui.muted}>—</span>;
  if (!first) return <span className={ui.muted}>nothing: No limit</span>;
  return (
    <span className={first.left <= 0n ? ui.bad : undefined}>
      {stopInWords(first, node)}: <Usd usd={first.left} /> left{first.left <= 0n && ', calls are refused'}
    </span>
  );
}

function stopInWords(stop: Stop, node: Node): string {
  const name = plain(stop.name, 50);
  if (stop.kind === 'credit') return `credit of ${name}`;
  if (stop.kind === node.kind && stop.name === node.name) return `its own, ${EACH[stop.interval]}`;
  return `${stop.kind} ${name}, ${EACH[stop.interval]}`;
}

function rates(of: { rpm: number | null; tpm: number | null; max_concurrency: number | null }): string {
  const said = [
    of.rpm !== null && `${count(of.rpm)} requests/min`,
    of.tpm !== null && `${count(of.tpm)} tokens/min`,
    of.max_concurrency !== null && `${count(of.max_concurrency)} at once`,
  ].filter(Boolean);
  return said.join(', ') || 'No limit';
}
