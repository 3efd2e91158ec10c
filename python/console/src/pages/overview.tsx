/** "What are we spending, is it healthy, what changed?" Four calls and one stream. */
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { memo, useCallback, useRef, useState } from 'react';
import { get, getCsv } from '../api/client';
import { type Now, useLive } from '../api/live';
import { budgetsQuery } from '../api/queries';
import type { Budget, ErrorsReply, LatencyReply, Series, SeriesReply } from '../api/types';
import { EACH } from '../format/members';
import { money, nano } from '../format/money';
import { change, changePoints, count, duration, percent, short, speed } from '../format/number';
import { plain } from '../format/text';
import { moment } from '../format/time';
import { useTitle } from '../shell/title';
import { instant, useBounds, useMay, useRange, useSetRange, useSetSearch, useZone } from '../state/hooks';
import { useNameOf } from '../state/names';
import { DEFAULT, fixed, label, moves } from '../state/range';
import { Button, Choose, classes, Meter, Name, Usd, ui } from '../ui/basics';
import { Chart, colour, type Line } from '../ui/chart';
import { save } from '../ui/save';
import { Empty, Loaded, said } from '../ui/states';
import { FirstCall } from './first-call';
import s from './overview.module.css';
import { STEP_WORDS } from './steps';

const GROUPS = ['model', 'provider', 'key', 'app', 'team', 'user', 'arm'] as const;
type Group = (typeof GROUPS)[number];
const NAMES: Record<Group, string> = {
  model: 'Models',
  provider: 'Providers',
  key: 'Keys',
  app: 'Apps',
  team: 'Teams',
  user: 'Users',
  arm: 'Arms of splits',
};
const ONE: Record<Group, string> = {
  model: 'Model',
  provider: 'Provider',
  key: 'Key',
  app: 'App',
  team: 'Team',
  user: 'User',
  arm: 'Arm',
};
const METRICS =
  'cost,requests,errors,prompt_tokens,completion_tokens,reasoning_tokens,cached_tokens,cache_saved,cached_share,error_share,tokens_per_second,retried';
const TOP = 8;

/** Ids of what stands for no single one: none, no key or team, names that came when there were too many. */
const NOBODYS = new Set(['', '0', '(others)']);

type Filter = { [name in Group]?: string };

export function OverviewPage() {
  const heading = useTitle('Overview');
  const search = useSearch({ strict: false }) as Filter & { group?: string; chart?: string };
  const setSearch = useSetSearch();
  const navigate = useNavigate();
  const range = useRange();
  const setRange = useSetRange();
  const bounds = useBounds();
  const group = (GROUPS as readonly string[]).includes(search.group ?? '') ? (search.group as Group) : 'model';
  const chart = search.chart === 'lines' || search.chart === 'share' ? search.chart : 'stacked';
  const filter: Filter = {};
  for (const name of GROUPS) if (search[name]) filter[name] = search[name]!;
  const called = useCalled(filter);
  const filtered = Object.keys(filter).length > 0;
  const ask = { ...filter, zone: bounds.zone, to: bounds.to };
  const usage = useQuery({
    queryKey: ['series', group, filter, bounds.from, bounds.to, bounds.zone],
    queryFn: ({ signal }) =>
      get<SeriesReply>(
        '/admin/usage/series',
        { ...ask, from: instant(bounds.from), metrics: METRICS, group, top: TOP, compare: 'previous' },
        signal,
      ),
    refetchInterval: bounds.refetchInterval,
  });
  // What latencies and errors are kept by.
  const ofPlace = !filter.key && !filter.app && !filter.team && !filter.user && !filter.arm;
  const latency = useQuery({
    queryKey: ['latency', filter, bounds.from, bounds.to, bounds.zone],
    queryFn: ({ signal }) =>
      get<LatencyReply>(
        '/admin/usage/latency',
        { ...ask, from: instant(bounds.from), metric: 'ttft', p: '50,90,99' },
        signal,
      ),
    refetchInterval: bounds.refetchInterval,
    enabled: ofPlace,
  });
  const errors = useQuery({
    queryKey: ['errors', filter, bounds.from, bounds.to, bounds.zone],
    queryFn: ({ signal }) => get<ErrorsReply>('/admin/usage/errors', { ...ask, from: instant(bounds.from) }, signal),
    refetchInterval: bounds.refetchInterval,
    enabled: ofPlace,
  });
  const budgets = useQuery({ ...budgetsQuery, refetchInterval: bounds.refetchInterval });
  const zoom = useCallback(
    (from: number, to: number) => setRange(fixed(from, to, range.zone)),
    [setRange, range.zone],
  );
  const [exported, setExported] = useState('');
  const exportCsv = async () => {
    try {
      save(
        'usage.csv',
        await getCsv('/admin/usage/series', { ...ask, from: instant(bounds.from), metrics: METRICS, group, top: 50 }),
      );
      setExported('');
    } catch (error) {
      setExported(said(error));
    }
  };
  const pick = (id: string, requests: boolean) => {
    if (requests)
      void navigate({
        to: '/requests',
        search: ((before: object) => ({
          ...before,
          ...requestFilter(filter),
          ...requestFilter({ [group]: id }),
        })) as never,
      });
    else if (id !== 'other') setSearch({ [group]: id });
  };
  // The same while the page lives: what changes with it is what a pick does, not what is drawn.
  const picks = useRef(pick);
  picks.current = pick;
  const onPick = useCallback((id: string, requests: boolean) => picks.current(id, requests), []);
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Overview
        </h1>
        <div className={ui.row}>
          {(Object.entries(called) as [Group, string][]).map(([name, value]) => (
            <Button
              key={name}
              onClick={() => setSearch({ [name]: undefined })}
              aria-label={`Remove the filter ${ONE[name]} ${plain(value, 200)}`}
            >
              {ONE[name]}: <Name most={30}>{value}</Name> ✕
            </Button>
          ))}
          <Link to="/requests" search={((before: object) => ({ ...before, ...requestFilter(filter) })) as never}>
            View requests
          </Link>
          <Button onClick={() => void exportCsv()}>CSV</Button>
          {exported && (
            <span className={ui.bad} role="alert">
              {exported}
            </span>
          )}
        </div>
      </div>
      <NowLine on={moves(range)} />
      <Loaded query={usage} height={560}>
        {(data) =>
          data.totals.requests === 0 && !filtered ? (
            <Empty
              title={`Nothing happened in ${moves(range) ? `the last ${label(range.from ?? DEFAULT)}` : 'this time'}.`}
            >
              <FirstCall />
            </Empty>
          ) : (
            <>
              <Tiles usage={data} latency={latency.data} />
              <div className={s.charts}>
                <section className={ui.card} aria-labelledby="spend">
                  <div className={ui.cardHead}>
                    <h2 id="spend">Spend</h2>
                    <div className={ui.row}>
                      <Choose
                        label="Split by"
                        value={group}
                        choices={GROUPS.map((value) => ({ value, label: `by ${value}` }))}
                        onChange={(value) => setSearch({ group: value === 'model' ? undefined : value })}
                      />
                      <Choose
                        label="Kind of chart"
                        value={chart}
                        choices={[
                          { value: 'stacked', label: 'Stacked' },
                          { value: 'lines', label: 'Lines' },
                          { value: 'share', label: 'Share' },
                        ]}
                        onChange={(value) => setSearch({ chart: value === 'stacked' ? undefined : value })}
                      />
                    </div>
                  </div>
                  <Spend data={data} kind={chart} onZoom={zoom} onPick={onPick} />
                </section>
                <section className={ui.card} aria-labelledby="errors">
                  <h2 id="errors">Errors by class</h2>
                  {ofPlace ? (
                    <Loaded query={errors} height={200}>
                      {(found) => <Errors data={found} />}
                    </Loaded>
                  ) : (
                    <NotKept what="Errors" />
                  )}
                </section>
                <section className={ui.card} aria-labelledby="ttft">
                  <h2 id="ttft">Time to first token</h2>
                  {ofPlace ? (
                    <Loaded query={latency} height={260}>
                      {(found) => <Latency data={found} onZoom={zoom} />}
                    </Loaded>
                  ) : (
                    <NotKept what="Latencies" />
                  )}
                </section>
                <section className={ui.card} aria-labelledby="risk">
                  <div className={ui.cardHead}>
                    <h2 id="risk">Budgets at risk</h2>
                    <Link to="/budgets">All budgets</Link>
                  </div>
                  <Loaded query={budgets} height={120}>
                    {(found) => <AtRisk budgets={found} />}
                  </Loaded>
                </section>
              </div>
              <section className={ui.card} aria-labelledby="top">
                <div className={ui.cardHead}>
                  <h2 id="top">{NAMES[group]}</h2>
                  <fieldset className={s.groups}>
                    <legend className="sr-only">Rank by</legend>
                    {GROUPS.map((value) => (
                      <Button
                        key={value}
                        look={value === group ? 'pressed' : 'quiet'}
                        aria-pressed={value === group}
                        onClick={() => setSearch({ group: value === 'model' ? undefined : value })}
                      >
                        {NAMES[value]}
                      </Button>
                    ))}
                  </fieldset>
                </div>
                <Ranking data={data} group={group} onPick={onPick} />
              </section>
            </>
          )
        }
      </Loaded>
    </>
  );
}

function NotKept({ what }: { what: string }) {
  return <p className={ui.muted}>{what} are kept by model and provider alone; remove the other filter to see them.</p>;
}

/** What the list of requests calls it. */
function requestFilter(filter: Filter): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(filter)) {
    if (value && value !== 'other' && !NOBODYS.has(value)) found[name] = value;
  }
  return found;
}

/** The filter in words: ids stay in the URL. */
function useCalled(filter: Filter): Filter {
  const called: Filter = {
    key: useNameOf('key', filter.key),
    team: useNameOf('team', filter.team),
    user: useNameOf('user', filter.user),
  };
  return Object.fromEntries(Object.entries(filter).map(([name, id]) => [name, called[name as Group] || id]));
}

/** As of this second, from the stream; of all accounts together, so for admins. */
function NowLine({ on: moving }: { on: boolean }) {
  const on = useMay('admin') && moving;
  const [now, set] = useState<Now | null>(null);
  const state = useLive('now', on, (name, data) => {
    if (name === 'now' && 'in_flight' in data) set(data);
  });
  if (!on) return null;
  return (
    <p className={classes(ui.muted, s.now)}>
      {now && state === 'live' ? (
        <>
          Now: {short(Math.round(now.requests_per_second * 10) / 10)} requests/s · {count(now.in_flight)} in flight ·{' '}
          {count(Math.round(now.tokens_per_second))} tok/s · {money(nano(now.usd_per_second))}/s
        </>
      ) : (
        `Now: ${state === 'away' ? 'the stream is away and comes back' : '…'}`
      )}
    </p>
  );
}

function num(value: unknown): number | null {
  return typeof value === 'number' ? value : typeof value === 'string' ? Number(value) : null;
}

type Better = 'up' | 'down' | null;

function Tile(props: {
  name: string;
  value: string;
  exact?: string | undefined;
  change: string;
  better: Better;
  note?: string;
}) {
  const direction = props.change.startsWith('up') ? 'up' : props.change.startsWith('down') ? 'down' : null;
  const look = direction && props.better ? (direction === props.better ? ui.good : ui.bad) : ui.muted;
  return (
    <div className={s.tile}>
      <dt>{props.name}</dt>
      <dd className={s.figure} title={props.exact}>
        {props.value}
      </dd>
      <dd className={s.note}>
        <span className={look}>{props.change || ' '}</span> {props.note}
      </dd>
    </div>
  );
}

const Tiles = memo(function Tiles({ usage, latency }: { usage: SeriesReply; latency: LatencyReply | undefined }) {
  const zone = useZone();
  const { totals: now, previous } = usage;
  // A time before anything was counted is nothing to compare with.
  const before = previous && previous.requests !== 0 ? previous : null;
  const of = (name: string) => num(now[name]);
  const moved = (name: string) => change(of(name), before && num(before[name]));
  const [p50, p90] = latency?.series[0]?.totals ?? [];
  const cost = nano(String(now.cost));
  // Null where the sums do not know the prices.
  const saved = typeof now.cache_saved === 'string' ? now.cache_saved : null;
  return (
    <>
      <dl className={s.tiles}>
        <Tile name="Spend" value={money(cost)} exact={`exactly $${now.cost}`} change={moved('cost')} better={null} />
        <Tile
          name="Requests"
          value={count(of('requests'))}
          change={moved('requests')}
          better={null}
          note={of('retried') ? `${count(of('retried'))} tried again` : ''}
        />
        <Tile
          name="Errors"
          value={percent(of('error_share'))}
          change={changePoints(of('error_share'), before && num(before.error_share))}
          better="down"
          note={`${count(of('errors'))} in all`}
        />
        <Tile
          name="Tokens in / out"
          value={`${short(of('prompt_tokens'))} / ${short(of('completion_tokens'))}`}
          change={moved('prompt_tokens')}
          better={null}
          note={of('reasoning_tokens') ? `${short(of('reasoning_tokens'))} thoughts` : ''}
        />
        <Tile
          name="Saved by caches"
          value={saved === null ? '—' : money(nano(saved))}
          exact={saved === null ? undefined : `exactly $${saved}, by present prices`}
          change={changePoints(of('cached_share'), before && num(before.cached_share))}
          better="up"
          note={`${percent(of('cached_share'))} of tokens in${saved === null ? '; dollars are summed by model and provider alone' : ''}`}
        />
        <Tile
          name="First token p50 / p90"
          value={`${duration(num(p50)).replace(/ ms$/, '')} / ${duration(num(p90))}`}
          change=""
          better="down"
          note={of('tokens_per_second') ? `then ${speed(of('tokens_per_second'))}` : ''}
        />
      </dl>
      <p className={ui.hint}>
        {moment(Date.parse(usage.range.from), zone)} to {moment(Date.parse(usage.range.to), zone)},{' '}
        {STEP_WORDS[usage.range.step]}, days of {usage.range.zone}.{' '}
        {before ? 'Changes are against the time before, as long.' : 'There is no time before to compare with.'}
      </p>
    </>
  );
});

/** Colours stay with a series while the page lives. */
function useColours(): (id: string) => number {
  const given = useRef(new Map<string, number>());
  return (id) => {
    if (id === 'other') return 7;
    let index = given.current.get(id);
    if (index === undefined) {
      index = given.current.size + 1;
      given.current.set(id, index);
    }
    // The seventh is for the rest.
    const slot = ((index - 1) % 8) + 1;
    return slot <= 6 ? slot : slot + 1;
  };
}

function all(data: SeriesReply): Series[] {
  return data.other ? [...data.series, data.other] : data.series;
}

const Spend = memo(function Spend(props: {
  data: SeriesReply;
  kind: 'stacked' | 'lines' | 'share';
  onZoom: (from: number, to: number) => void;
  onPick: (id: string, requests: boolean) => void;
}) {
  const { data, kind } = props;
  const colours = useColours();
  const at = data.metrics.indexOf('cost') + 1;
  const series = all(data);
  if (kind === 'share') {
    const total = Number(data.totals.cost);
    return (
      <ul className={s.bars}>
        {series.map((one) => (
          <li key={one.id}>
            <span>
              <Name most={40}>{one.label}</Name>
            </span>
            <span className={s.bar}>
              <span
                style={{
                  width: `${total ? (Number(one.totals.cost) / total) * 100 : 0}%`,
                  background: colour(colours(one.id)),
                }}
              />
            </span>
            <span className={ui.num}>{percent(total ? Number(one.totals.cost) / total : null)}</span>
            <span className={ui.num}>
              <Usd usd={String(one.totals.cost)} />
            </span>
          </li>
        ))}
      </ul>
    );
  }
  const times = (series[0]?.points ?? []).map((point) => Date.parse(String(point[0])));
  // The time before, as one line: buckets of it are not told apart, so its mean is drawn.
  const before =
    data.previous && data.previous.requests !== 0 && times.length > 0
      ? Number(data.previous.cost) / times.length
      : null;
  const lines: Line[] = series.map((one) => ({
    id: one.id,
    label: one.label || 'none',
    color: colours(one.id),
    values: one.points.map((point) => num(point[at])),
  }));
  if (before !== null && kind === 'lines')
    lines.push({
      id: 'before',
      label: 'Mean of the time before',
      color: 7,
      dash: [6, 4],
      width: 1,
      values: times.map(() => before),
    });
  return (
    <Chart
      label="Spend"
      times={times}
      lines={lines}
      kind={kind}
      per={STEP_WORDS[data.range.step] ?? ''}
      format={(value) => (value === null ? '—' : axisMoney(value))}
      onZoom={props.onZoom}
      onPick={props.onPick}
    />
  );
});

/** Dollars of a chart, which has lost the nanos to a number long before. */
export function axisMoney(value: number): string {
  return money(BigInt(Math.round(value * 1e9)));
}

const Errors = memo(function Errors({ data }: { data: ErrorsReply }) {
  const most = Math.max(1, ...data.data.map((line) => line.count));
  if (data.data.length === 0) return <p className={ui.good}>No errors in this time.</p>;
  return (
    <ul className={s.bars}>
      {data.data.slice(0, 10).map((line) => (
        <li key={line.error}>
          <Link to="/requests" search={((before: object) => ({ ...before, error: line.error })) as never}>
            <Name most={40}>{line.error}</Name>
          </Link>
          <span className={s.bar}>
            <span style={{ width: `${(line.count / most) * 100}%`, background: 'var(--bad)' }} />
          </span>
          <span className={ui.num}>{count(line.count)}</span>
        </li>
      ))}
    </ul>
  );
});

const FEW = 20;

const Latency = memo(function Latency({ data, onZoom }: { data: LatencyReply; onZoom: (from: number, to: number) => void }) {
  const one = data.series[0];
  if (!one) return <p className={ui.muted}>Nothing was streamed in this time.</p>;
  const times = one.points.map((point) => Date.parse(String(point[0])));
  const of = (at: number) => one.points.map((point) => num(point[at + 1]));
  const looks: Partial<Line>[] = [{ width: 2 }, { width: 1 }, { width: 1, dash: [2, 4] }];
  const lines: Line[] = data.percentiles.map((percentile, at) => ({
    id: `p${percentile}`,
    label: `p${percentile}`,
    color: at + 1,
    values: of(at),
    ...looks[at],
  }));
  const few = one.points.filter((point) => {
    const n = num(point.at(-1));
    return n !== null && n > 0 && n < FEW;
  }).length;
  return (
    <>
      <Chart
        label="Time to first token"
        times={times}
        lines={lines}
        kind="lines"
        per={STEP_WORDS[data.range.step] ?? ''}
        format={duration}
        onZoom={onZoom}
      />
      {few > 0 && (
        <p className={ui.hint}>
          {few} of {times.length} points are of fewer than {FEW} streams.
        </p>
      )}
    </>
  );
});

const RISKY = 0.8;
const MOST_RISKY = 5;

/** What is nearest to its limit, hard ones first, as the API sorts them. */
const AtRisk = memo(function AtRisk({ budgets }: { budgets: Budget[] }) {
  const risky = budgets.filter((one) => !one.disabled && (one.used_share ?? 1) >= RISKY);
  if (risky.length === 0) return <p className={ui.muted}>No budget is used up to 80 %.</p>;
  return (
    <ul className={s.risk}>
      {risky.slice(0, MOST_RISKY).map((one) => {
        const share = one.used_share ?? 1;
        return (
          <li key={`${one.kind} ${one.id} ${one.interval} ${one.soft}`}>
            <span>
              <Link to="/budgets" search={{ q: one.name } as never}>
                <Name most={40}>{one.name}</Name>
              </Link>{' '}
              <span className={ui.muted}>{one.kind}</span>
            </span>
            <Meter share={share} label={`${one.kind} ${one.name}: ${percent(share)} of the limit used`} />
            <span className={ui.num}>
              {percent(share)} of <Usd usd={one.limit_usd} /> {EACH[one.interval]}
              {one.soft && ', only told'}
            </span>
          </li>
        );
      })}
      {risky.length > MOST_RISKY && <li className={ui.muted}>and {count(risky.length - MOST_RISKY)} more</li>}
    </ul>
  );
});

const Ranking = memo(function Ranking(props: {
  data: SeriesReply;
  group: Group;
  onPick: (id: string, requests: boolean) => void;
}) {
  const { data, group } = props;
  const total = Number(data.totals.cost);
  if (data.series.length === 0) return <p className={ui.muted}>No {NAMES[group].toLowerCase()} in this time.</p>;
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label={`${NAMES[group]} by spend`}>
      <table className={classes(ui.table, s.ranking)}>
        <thead>
          <tr>
            <th scope="col">{NAMES[group]}</th>
            <th scope="col" className={ui.num}>
              Requests
            </th>
            <th scope="col" className={ui.num}>
              Tokens
            </th>
            <th scope="col" className={ui.num}>
              Spend
            </th>
            <th scope="col" className={ui.num}>
              Share
            </th>
            <th scope="col" className={ui.num}>
              Change
            </th>
            <th scope="col" className={ui.num}>
              Errors
            </th>
            <th scope="col" className={ui.num}>
              Speed
            </th>
          </tr>
        </thead>
        <tbody>
          {all(data).map((one) => {
            const t = one.totals;
            const isOther = data.other?.id === one.id && one === data.other;
            return (
              <tr key={one.id}>
                <td>
                  {isOther || NOBODYS.has(one.id) ? (
                    one.label || 'none'
                  ) : (
                    <>
                      <button type="button" className={s.link} onClick={() => props.onPick(one.id, false)}>
                        <Name most={60}>{one.label}</Name>
                      </button>{' '}
                      <button
                        type="button"
                        className={classes(s.link, ui.muted)}
                        onClick={() => props.onPick(one.id, true)}
                        aria-label={`Requests of ${one.label}`}
                      >
                        requests
                      </button>
                    </>
                  )}
                </td>
                <td className={ui.num}>{count(num(t.requests))}</td>
                <td className={ui.num}>{short((num(t.prompt_tokens) ?? 0) + (num(t.completion_tokens) ?? 0))}</td>
                <td className={ui.num}>
                  <Usd usd={String(t.cost)} />
                </td>
                <td className={ui.num}>{percent(total ? Number(t.cost) / total : null)}</td>
                <td className={ui.num}>
                  {data.previous?.requests ? change(num(t.cost), one.previous ? num(one.previous.cost) : 0) : '—'}
                </td>
                <td className={ui.num}>{percent(num(t.error_share))}</td>
                <td className={ui.num}>{speed(num(t.tokens_per_second))}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
});
