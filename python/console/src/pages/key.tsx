/** One key: its limits against its windows, its use, and what was refused. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { get, send } from '../api/client';
import { keysQuery } from '../api/queries';
import type { Key, RequestsPage, SeriesReply } from '../api/types';
import { useWrite } from '../api/write';
import { usedOf } from '../format/money';
import { count, percent } from '../format/number';
import { useTitle } from '../shell/title';
import { instant, useBounds, useMay, useSession, useZone } from '../state/hooks';
import { At, Badge, Button, Facts, Meter, Name, Usd, ui } from '../ui/basics';
import { Chart } from '../ui/chart';
import { DeleteNamed } from '../ui/edit';
import { Failure, Loaded } from '../ui/states';
import { EditKey, RotateKey } from './key-form';
import { StateBadge } from './keys';
import { axisMoney } from './overview';
import { STEP_WORDS } from './steps';

export function KeyPage() {
  const { hash } = useParams({ strict: false }) as { hash: string };
  const query = useQuery({
    queryKey: ['key', hash],
    queryFn: async ({ signal }) =>
      (await get<{ data: Key }>(`/admin/keys/${encodeURIComponent(hash)}`, {}, signal)).data,
    refetchInterval: 15_000,
    placeholderData: undefined,
  });
  const heading = useTitle(query.data?.name ? `Key ${query.data.name}` : 'Key');
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          {query.data ? <Name>{query.data.name || query.data.label}</Name> : 'Key'}{' '}
          {query.data && <StateBadge of={query.data} />}
        </h1>
        {query.data && <Actions of={query.data} />}
      </div>
      <Loaded query={query} height={360}>
        {(key) => (
          <>
            <Limits of={key} />
            <Usage of={key} />
            <Refused of={key} />
            <section className={ui.card}>
              <h2>Facts</h2>
              <Facts
                of={[
                  [
                    'Prefix',
                    <span key="l" className={ui.mono}>
                      {key.label}
                    </span>,
                  ],
                  key.previous_until !== null && [
                    'Before it was rotated',
                    <span key="b">
                      <span className={ui.mono}>{key.previous_label}</span>,{' '}
                      {Date.parse(key.previous_until) > Date.now() ? 'good until' : 'which stopped'}{' '}
                      <At at={key.previous_until} />
                    </span>,
                  ],
                  ['Owner', <Name key="o">{[key.account, key.team, key.user].filter(Boolean).join(' › ')}</Name>],
                  ['Made', key.source === 'file' ? 'in fairlead.toml, which owns it' : 'while the gateway ran'],
                  ['Created', <At key="c" at={key.created_at} />],
                  ['Last used', key.last_used_at ? <At key="u" at={key.last_used_at} how="ago" /> : 'never'],
                  ['Expires', key.expires_at ? <At key="e" at={key.expires_at} /> : 'never'],
                  ['Models', key.models.length ? key.models.join(', ') : 'all'],
                  ['Requests per minute', key.rpm === null ? 'No limit' : count(key.rpm)],
                  ['Tokens per minute', key.tpm === null ? 'No limit' : count(key.tpm)],
                  ['At once', key.max_concurrency === null ? 'No limit' : count(key.max_concurrency)],
                  [
                    'Strict',
                    [key.strict_translation && 'translation', key.strict_budget && 'budget']
                      .filter(Boolean)
                      .join(', ') || 'no',
                  ],
                  [
                    'Id',
                    <span key="i" className={ui.mono}>
                      {key.hash}
                    </span>,
                  ],
                ]}
              />
            </section>
          </>
        )}
      </Loaded>
    </>
  );
}

const RESETS: Record<string, string> = {
  daily: 'each day, 00:00 UTC',
  weekly: 'each Monday, 00:00 UTC',
  monthly: 'on the first of a month, 00:00 UTC',
};

function Limits({ of: key }: { of: Key }) {
  const lines = [
    ...(key.limit_usd !== null
      ? [
          {
            limit_usd: key.limit_usd,
            remaining_usd: key.limit_remaining_usd ?? key.limit_usd,
            reset: key.limit_reset,
            soft: false,
            name: 'Limit of the key',
          },
        ]
      : []),
    ...key.budgets.map((budget) => ({ ...budget, name: budget.soft ? 'Soft budget: only tells' : 'Budget' })),
  ];
  return (
    <section className={ui.card}>
      <h2>Spending</h2>
      <Facts
        of={[
          ['Today', <Usd key="d" usd={key.usage_daily_usd} />],
          ['This week', <Usd key="w" usd={key.usage_weekly_usd} />],
          ['This month', <Usd key="m" usd={key.usage_monthly_usd} />],
          ['In all', <Usd key="t" usd={key.usage_usd} />],
          lines.length === 0 && ['Limit', 'No limit'],
        ]}
      />
      {lines.map((line, index) => {
        const { used, share } = usedOf(line.limit_usd, line.remaining_usd);
        return (
          <div key={`${line.name} ${index}`} className={ui.stack} style={{ marginTop: 12, gap: 4 }}>
            <span>
              {line.name}: <Usd usd={used} /> of <Usd usd={line.limit_usd} /> ({percent(share)}), starts anew{' '}
              {line.reset ? RESETS[line.reset] : 'never'}
            </span>
            <Meter share={share} label={line.name} />
          </div>
        );
      })}
    </section>
  );
}

function Usage({ of: key }: { of: Key }) {
  const bounds = useBounds();
  const query = useQuery({
    queryKey: ['series', 'key', key.id, bounds],
    queryFn: ({ signal }) =>
      get<SeriesReply>(
        '/admin/usage/series',
        { key: key.id, from: instant(bounds.from), to: bounds.to, zone: bounds.zone, metrics: 'cost,requests,errors' },
        signal,
      ),
    refetchInterval: bounds.refetchInterval,
  });
  return (
    <section className={ui.card}>
      <div className={ui.cardHead}>
        <h2>Use</h2>
        <Link to="/requests" search={((before: object) => ({ ...before, key: String(key.id) })) as never}>
          View requests
        </Link>
      </div>
      <div style={{ minHeight: 260 }}>
        <Loaded query={query} height={260}>
          {(data) =>
            data.totals.requests === 0 ? (
              <p className={ui.muted}>It was not used in this time.</p>
            ) : (
              <>
                <p>
                  {count(Number(data.totals.requests))} requests, <Usd usd={String(data.totals.cost)} />,{' '}
                  {count(Number(data.totals.errors))} failed.
                </p>
                <Chart
                  label="Spend of the key"
                  kind="stacked"
                  per={STEP_WORDS[data.range.step] ?? ''}
                  times={(data.series[0]?.points ?? []).map((point) => Date.parse(String(point[0])))}
                  lines={[
                    {
                      id: 'cost',
                      label: 'Spend',
                      color: 1,
                      values: (data.series[0]?.points ?? []).map((point) => Number(point[1])),
                    },
                  ]}
                  format={(value) => (value === null ? '—' : axisMoney(value))}
                />
              </>
            )
          }
        </Loaded>
      </div>
    </section>
  );
}

/** The newest calls that a limit stopped, and which one. */
function Refused({ of: key }: { of: Key }) {
  const query = useQuery({
    queryKey: ['refused', key.id],
    queryFn: ({ signal }) => get<RequestsPage>('/admin/requests', { key: key.id, failed: true, limit: 10 }, signal),
  });
  const zone = useZone();
  return (
    <section className={ui.card}>
      <h2>Newest failures</h2>
      <Loaded query={query} height={20}>
        {(page) =>
          page.data.length === 0 ? (
            <p className={ui.muted}>
              {page.searched_to ? 'None among the newest: the search stopped early.' : 'None.'} Calls that a limit refuses before they begin are in no list; the counters of /metrics have them.
            </p>
          ) : (
            <div className={ui.scroll} tabIndex={0} role="region" aria-label="Table">
              <table className={ui.table}>
                <thead>
                  <tr>
                    <th scope="col">When ({zone})</th>
                    <th scope="col">Status</th>
                    <th scope="col">Error</th>
                    <th scope="col">Model</th>
                  </tr>
                </thead>
                <tbody>
                  {page.data.map((row) => (
                    <tr key={row.id}>
                      <td>
                        <Link to="/requests/$id" params={{ id: row.id }}>
                          <At at={row.settled_at} />
                        </Link>
                      </td>
                      <td className={ui.bad}>{row.status || '—'}</td>
                      <td>
                        <Name most={120}>{row.error || '—'}</Name>
                      </td>
                      <td>
                        <Name>{row.model || row.requested_model}</Name>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
    </section>
  );
}

function Actions({ of: key }: { of: Key }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const session = useSession();
  const mayAll = useMay('admin');
  const may = mayAll || (session.role === 'member' && key.user === session.user);
  const [editing, edit] = useState(false);
  const [rotating, rotate] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const done = () =>
    Promise.all([
      client.invalidateQueries({ queryKey: keysQuery.queryKey }),
      client.invalidateQueries({ queryKey: ['key', key.hash] }),
    ]);
  const disable = useWrite({
    mutationFn: () => send('PATCH', `/admin/keys/${key.hash}`, { disabled: !key.disabled }, key.etag),
    onSettled: done,
  });
  const remove = useWrite({
    mutationFn: () => send('DELETE', `/admin/keys/${key.hash}`, undefined, key.etag),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: keysQuery.queryKey });
      await navigate({ to: '/keys' });
    },
  });
  if (key.source === 'file') return <Badge>fairlead.toml owns it: read-only here</Badge>;
  if (!may) return null;
  return (
    <div className={ui.row}>
      {disable.error && <Failure error={disable.error} />}
      <Button onClick={() => edit(true)}>Change</Button>
      <Button onClick={() => rotate(true)}>Rotate</Button>
      <Button
        onClick={() => disable.mutate()}
        busy={disable.isPending}
        disabled={key.disabled && !mayAll}
        title={key.disabled && !mayAll ? 'An admin enables it again' : undefined}
      >
        {key.disabled ? 'Enable' : 'Disable'}
      </Button>
      <Button
        look="danger"
        disabled={!key.disabled}
        title={key.disabled ? undefined : 'Disable it first: that can be undone'}
        onClick={() => setDeleting(true)}
      >
        Delete
      </Button>
      {editing && <EditKey of={key} onClose={() => edit(false)} />}
      {rotating && <RotateKey of={key} onClose={() => rotate(false)} />}
      {deleting && (
        <DeleteNamed
          title="Delete this key for good?"
          name={key.name}
          error={remove.error}
          pending={remove.isPending}
          onDelete={() => remove.mutate()}
          onClose={() => setDeleting(false)}
        >
          <p>
            It was last used {key.last_used_at ? <At at={key.last_used_at} how="ago" /> : 'never'}. What it did stays in
            the books. Clients that still have it get 401.
          </p>
        </DeleteNamed>
      )}
    </div>
  );
}
