/** "What does this name do?" Presets and splits: what they say, what came of it, what they said before. */
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { get, send } from '../api/client';
import type { NameVersion, Split } from '../api/types';
import { useWrite } from '../api/write';
import { count, measured, percent } from '../format/number';
import { useTitle } from '../shell/title';
import { useMay, useSetSearch } from '../state/hooks';
import { At, Badge, Button, Code, Facts, Field, Name, Usd, ui } from '../ui/basics';
import { Changed } from '../ui/changed';
import { Cancel, Dialog } from '../ui/dialog';
import { around, difference } from '../ui/difference';
import { Empty, FirstPage, Loaded, Older, said } from '../ui/states';
import { Tabs } from '../ui/tabs';
import { lines } from './definition';
import { Explained, explained } from './explained';
import { type Kind, type Named, NameForm, ONE, pathOf } from './name-form';
import { Problems } from './problems';
import s from './routing.module.css';

const TITLES: Record<Kind, string> = { presets: 'Presets', splits: 'Splits' };

/** What requests say to mean it. */
function called(kind: Kind, name: string): string {
  return kind === 'presets' ? `@preset/${name}` : name;
}

export function RoutingPage() {
  const { tab, name } = useSearch({ strict: false }) as { tab?: string; name?: string };
  const kind: Kind = tab === 'splits' ? 'splits' : 'presets';
  const heading = useTitle(name ? `${ONE[kind]} ${name}` : 'Routing');
  const setSearch = useSetSearch();
  const may = useMay('admin');
  const [making, make] = useState(false);
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          {name ? <Name>{name}</Name> : 'Routing'}
        </h1>
        {!name && may && (
          <Button look="primary" onClick={() => make(true)}>
            Create {ONE[kind]}
          </Button>
        )}
      </div>
      {name ? (
        <One key={`${kind} ${name}`} kind={kind} name={name} />
      ) : (
        <Tabs
          label="Kinds of names"
          value={kind}
          onChange={(id) => setSearch({ tab: id === 'presets' ? undefined : id, name: undefined })}
          tabs={(['presets', 'splits'] as const).map((id) => ({
            id,
            label: TITLES[id],
            content: () => <All kind={id} onCreate={may ? () => make(true) : null} />,
          }))}
        />
      )}
      {making && (
        <NameForm
          kind={kind}
          of={null}
          onClose={() => make(false)}
          onDone={(made) => {
            make(false);
            setSearch({ name: made });
          }}
        />
      )}
    </>
  );
}

function All({ kind, onCreate }: { kind: Kind; onCreate: (() => void) | null }) {
  const query = useQuery({
    queryKey: [kind],
    queryFn: async ({ signal }) => (await get<{ data: Named[] }>(`/admin/${kind}`, {}, signal)).data,
    refetchInterval: 15_000,
    placeholderData: undefined,
  });
  return (
    <Loaded query={query} height={240}>
      {(all) =>
        all.length === 0 ? (
          <Empty title={kind === 'presets' ? 'There is no preset yet.' : 'There is no split yet.'}>
            <p>
              {kind === 'presets'
                ? 'A preset is a name for models with wishes and parameters: requests say @preset/NAME, and what it means can be changed here without changing them.'
                : 'A split is a name for several models, each for a share of the sessions: to try one against another.'}
            </p>
            {onCreate && (
              <Button look="primary" onClick={onCreate}>
                Create the first
              </Button>
            )}
          </Empty>
        ) : (
          <div className={ui.scroll} tabIndex={0} role="region" aria-label={TITLES[kind]}>
            <table className={ui.table}>
              <thead>
                <tr>
                  <th scope="col">Name</th>
                  <th scope="col">{kind === 'presets' ? 'Models' : 'Arms'}</th>
                  <th scope="col">From</th>
                  <th scope="col">Changed</th>
                </tr>
              </thead>
              <tbody>
                {all.map((one) => (
                  <tr key={one.name}>
                    <td>
                      <Link
                        to="/routing"
                        search={{ tab: kind === 'presets' ? undefined : kind, name: one.name } as never}
                      >
                        <Name>{called(kind, one.name)}</Name>
                      </Link>{' '}
                      {!one.in_force && <Badge look="bad">not in force</Badge>}
                    </td>
                    <td>
                      <Name most={200}>
                        {'models' in one
                          ? one.models.join(', ') || 'that of the request'
                          : one.arms
                              .filter((arm) => arm.weight !== null)
                              .map((arm) => `${arm.model} ${percent(arm.share ?? 0)}`)
                              .join(', ')}
                      </Name>
                    </td>
                    <td>{one.source === 'file' ? <Badge>fairlead.toml</Badge> : `version ${one.number}`}</td>
                    <td>
                      {one.updated_at ? <At at={one.updated_at} how="ago" /> : '—'}
                      {one.by && (
                        <>
                          {' '}
                          by <Name most={40}>{one.by}</Name>
                        </>
                      )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )
      }
    </Loaded>
  );
}

function One({ kind, name }: { kind: Kind; name: string }) {
  const admin = useMay('admin');
  const member = useMay('member');
  const query = useQuery({
    queryKey: [kind, name],
    queryFn: async ({ signal }) => (await get<{ data: Named }>(pathOf(kind, name), {}, signal)).data,
    refetchInterval: 15_000,
    placeholderData: undefined,
  });
  return (
    <>
      <div>
        <Link to="/routing" search={{ tab: kind === 'presets' ? undefined : kind } as never}>
          All {kind}
        </Link>
      </div>
      <Loaded query={query} height={320}>
        {(one) => (
          <>
            {!one.in_force && (
              <div className={ui.alert} role="alert">
                <strong>It is not in force: requests that name it are refused.</strong>
                <Problems of={one.problems} />
              </div>
            )}
            <section className={ui.card}>
              <div className={ui.cardHead}>
                <h2>What it says</h2>
                {one.source === 'file' ? (
                  <Badge>read-only: fairlead.toml owns it</Badge>
                ) : (
                  admin && <Actions kind={kind} of={one} />
                )}
              </div>
              <Facts
                of={[
                  ['Requests say', <Code key="c" label="What requests say">{called(kind, name)}</Code>],
                  one.number !== null && ['Version', String(one.number)],
                  'version' in one && one.version !== null && ['Hash in records', one.version],
                  one.updated_at !== null && ['Changed', <At key="u" at={one.updated_at} />],
                  one.by !== null && ['By', <Name key="b">{one.by}</Name>],
                  !!one.note && ['Note', <Name key="n" most={200}>{one.note}</Name>],
                ]}
              />
              <div style={{ marginTop: 12 }}>
                <Code label="Definition">{lines(one.definition)}</Code>
              </div>
              {one.in_force && one.problems.length > 0 && <Problems of={one.problems} />}
            </section>
            {'arms' in one && <ArmsOf split={one} />}
            {one.source === 'made' && admin && <Versions kind={kind} of={one} />}
            {member && one.in_force && <DryRun model={called(kind, name)} />}
          </>
        )}
      </Loaded>
    </>
  );
}

function Actions({ kind, of: one }: { kind: Kind; of: Named }) {
  const client = useQueryClient();
  const setSearch = useSetSearch();
  const [open, setOpen] = useState<'change' | 'delete' | null>(null);
  const remove = useWrite({
    mutationFn: () => send('DELETE', pathOf(kind, one.name), undefined, one.etag ?? '*'),
    onSuccess: async () => {
      setSearch({ name: undefined });
      client.removeQueries({ queryKey: [kind, one.name] });
      await client.invalidateQueries({ queryKey: [kind] });
    },
  });
  return (
    <div className={ui.row}>
      <Button onClick={() => setOpen('change')}>Change</Button>
      <Button look="danger" onClick={() => setOpen('delete')}>
        Delete
      </Button>
      {open === 'change' && (
        <NameForm kind={kind} of={one} onClose={() => setOpen(null)} onDone={() => setOpen(null)} />
      )}
      <Dialog open={open === 'delete'} onClose={() => setOpen(null)} title={`Delete this ${ONE[kind]}?`} busy={remove.isPending}>
        <p>
          Requests that say <Name>{called(kind, one.name)}</Name> are refused from then on. Its versions stay: when the
          name is made again they are there.
        </p>
        {remove.error && (
          <div className={ui.alert} role="alert">
            {said(remove.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button look="danger" onClick={() => remove.mutate()} busy={remove.isPending}>
            Delete it
          </Button>
          <Cancel onClick={() => setOpen(null)} />
        </div>
      </Dialog>
    </div>
  );
}

/** Of each arm what came of it; below a hundred requests that nothing can be said. */
function ArmsOf({ split }: { split: Split }) {
  const between = (low: number | null, high: number | null, how: (value: number) => string) =>
    low === null || high === null ? '' : `${how(low)} – ${how(high)}`;
  return (
    <section className={ui.card}>
      <h2>What came of each arm</h2>
      <p className={ui.muted}>
        Since ever, over all versions. Below a figure stands where the true one lies with 95 %.
      </p>
      <div className={ui.scroll} tabIndex={0} role="region" aria-label="Arms">
        <table className={ui.table}>
          <thead>
            <tr>
              <th scope="col">Model</th>
              <th scope="col" className={ui.num}>
                Share
              </th>
              <th scope="col" className={ui.num}>
                Requests
              </th>
              <th scope="col" className={ui.num}>
                Cost each
              </th>
              <th scope="col" className={ui.num}>
                First token, median
              </th>
              <th scope="col" className={ui.num}>
                Failed
              </th>
            </tr>
          </thead>
          <tbody>
            {split.arms.map((arm) => (
              <tr key={arm.model}>
                <td>
                  <Name>{arm.model}</Name>
                </td>
                <td className={ui.num}>{arm.share === null ? 'no longer' : percent(arm.share)}</td>
                <td className={ui.num}>
                  <Link to="/requests" search={{ arm: `${split.name}/${arm.model}` } as never}>
                    {count(arm.requests)}
                  </Link>
                </td>
                {arm.enough ? (
                  <>
                    <td className={ui.num}>
                      <Usd usd={arm.cost_per_request_usd} />
                    </td>
                    <td className={ui.num}>
                      {arm.first_token_p50_ms === null ? '—' : measured(arm.first_token_p50_ms)}
                      <div className={ui.muted}>{between(arm.first_token_low_ms, arm.first_token_high_ms, measured)}</div>
                    </td>
                    <td className={ui.num}>
                      {arm.failed_share === null ? '—' : percent(arm.failed_share)}
                      <div className={ui.muted}>{between(arm.failed_low, arm.failed_high, percent)}</div>
                    </td>
                  </>
                ) : (
                  <td colSpan={3} className={ui.muted}>
                    not enough data: {count(100 - arm.requests)} more requests
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface VersionPage {
  data: NameVersion[];
  next: number | null;
}

function Versions({ kind, of: one }: { kind: Kind; of: Named }) {
  const client = useQueryClient();
  const [compared, compare] = useState<NameVersion | null>(null);
  const list = useInfiniteQuery({
    // Another version in force is another list.
    queryKey: [kind, one.name, 'versions', one.etag],
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      get<VersionPage>(`${pathOf(kind, one.name)}/versions`, { before: pageParam || undefined }, signal),
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const activate = useWrite({
    mutationFn: (number: number) => send('POST', `${pathOf(kind, one.name)}/activate`, { number }, one.etag ?? '*'),
    onSuccess: () => compare(null),
    onSettled: () => client.invalidateQueries({ queryKey: [kind] }),
  });
  const rows = list.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <section className={ui.card}>
      <h2>Versions</h2>
      <FirstPage list={list} height={120} />
      {activate.error && (
        <div className={ui.alert} role="alert">
          {said(activate.error)}
        </div>
      )}
      {rows.length > 0 && (
        <div className={ui.scroll} tabIndex={0} role="region" aria-label="Versions">
          <table className={ui.table}>
            <thead>
              <tr>
                <th scope="col" className={ui.num}>
                  Version
                </th>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">Note</th>
                <th scope="col">
                  <span className="sr-only">What to do with it</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.number}>
                  <td className={ui.num}>{row.number}</td>
                  <td>
                    <At at={row.at} />
                  </td>
                  <td>
                    <Name most={40}>{row.by}</Name>
                  </td>
                  <td>
                    <Name most={200}>{row.note || '—'}</Name>
                  </td>
                  <td>
                    {row.in_force ? (
                      <Badge look="good">in force</Badge>
                    ) : (
                      <span className={ui.row}>
                        <Button onClick={() => compare(row)} aria-label={`Compare version ${row.number}`}>
                          Compare
                        </Button>
                        <Button
                          onClick={() => activate.mutate(row.number)}
                          busy={activate.isPending && activate.variables === row.number}
                          disabled={activate.isPending}
                          aria-label={`Activate version ${row.number}`}
                        >
                          Activate
                        </Button>
                      </span>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div className={ui.row}>
        <Older list={list} />
      </div>
      {compared && (
        <div className={ui.stack} style={{ gap: 8, marginTop: 16 }}>
          <h3>
            From version {compared.number} to what is in force, {one.number}
          </h3>
          <Changed
            label={`From version ${compared.number} to what is in force`}
            lines={around(difference(lines(compared.definition), lines(one.definition)), 100)}
          />
        </div>
      )}
    </section>
  );
}

/** Which endpoints a request would go to. */
function DryRun({ model }: { model: string }) {
  const [body, setBody] = useState(() =>
    JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }] }, null, 2),
  );
  const ask = useWrite({
    mutationFn: async () => {
      let asked: unknown;
      try {
        asked = JSON.parse(body);
      } catch (error) {
        throw new Error(`This is not JSON: ${error instanceof Error ? error.message : String(error)}`);
      }
      return explained({ body: asked });
    },
  });
  return (
    <section className={ui.card}>
      <h2>Dry run</h2>
      <div className={ui.stack}>
        <Field label="Body of a request" hint="Nothing is sent to a provider.">
          {(control) => (
            <textarea
              {...control}
              className={`${control.className} ${s.json}`}
              rows={7}
              spellCheck={false}
              value={body}
              onChange={(event) => setBody(event.target.value)}
            />
          )}
        </Field>
        <div>
          <Button onClick={() => ask.mutate()} busy={ask.isPending}>
            Where would it go?
          </Button>
        </div>
        {ask.error && (
          <div className={ui.alert} role="alert">
            {said(ask.error)}
          </div>
        )}
        {ask.data && <Explained of={ask.data} />}
      </div>
    </section>
  );
}
