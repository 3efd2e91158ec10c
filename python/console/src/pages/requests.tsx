/** "What happened to this call, and what is happening now?" A row per generation, its attempts inside, newest settled first. */
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useParams, useSearch } from '@tanstack/react-router';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { get, getCsv } from '../api/client';
import { useLive } from '../api/live';
import { keysQuery } from '../api/queries';
import { arrived, EMPTY, lost, released } from '../api/tail';
import type { Generation, RequestsPage as Page } from '../api/types';
import { duration, group as grouped, short } from '../format';
import { clock, day, precise } from '../format/time';
import { REQUEST_FILTERS } from '../router';
import { useShortcuts } from '../shell/keyboard';
import { useTitle } from '../shell/title';
import { instant, useBounds, useNarrow, useSetSearch, useZone } from '../state/hooks';
import { useNameOf } from '../state/names';
import { Button, buttonClass, Choose, classes, Name, TextField, Usd, ui } from '../ui/basics';
import { save } from '../ui/save';
import { Empty, FirstPage, Older, said, Without } from '../ui/states';
import { FirstCall } from './first-call';
import s from './requests.module.css';
import { Running } from './running';
import { Volume } from './volume';

const PAGE = 100;
type Filters = { [name in (typeof REQUEST_FILTERS)[number]]?: string };
const ROW_PX = 33;
const CARD_PX = 69;

export function RequestsPage() {
  const heading = useTitle('Requests');
  const { id: open } = useParams({ strict: false });
  const search = useSearch({ strict: false }) as Filters & { live?: string };
  const setSearch = useSetSearch();
  const navigate = useNavigate();
  const zone = useZone();
  const range = useBounds();
  const narrow = useNarrow();
  const filters = useMemo(
    () => Object.fromEntries(REQUEST_FILTERS.map((name) => [name, search[name]]).filter(([, value]) => value)),
    [search],
  ) as Filters;
  const isLive = search.live === 'on' && !range.to;

  const list = useInfiniteQuery({
    queryKey: ['requests', filters, range.from, range.to],
    initialPageParam: '',
    queryFn: ({ pageParam, signal }) =>
      get<Page>(
        '/admin/requests',
        { ...filters, from: instant(range.from), to: range.to, limit: PAGE, before: pageParam },
        signal,
      ),
    getNextPageParam: (page) => page.next ?? undefined,
    // What is being read is not moved by a refresh; the tail brings what is new.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  const pages = list.data?.pages;
  const [tail, setTail] = useState(EMPTY);
  const [held, setHeld] = useState(false);
  const scroller = useRef<HTMLDivElement>(null);
  const filtered = Object.keys(filters).length > 0;
  const shown = useRef(new Set<string>());
  const ask = useFitting(filters, (page) => {
    const fresh = page.data.filter((row) => !shown.current.has(row.id)).reverse();
    const missed = page.next !== null && fresh.length === page.data.length ? 1 : 0;
    setTail((before) => arrived(before, fresh, fresh.length + missed, isHeld()));
  });
  const state = useLive('requests', isLive, (name, data) => {
    if (name === 'requests' && 'rows' in data) {
      if (filtered) ask(Math.min(...data.rows.map((row) => Date.parse(row.settled_at))));
      else setTail((before) => arrived(before, data.rows, data.of, isHeld()));
    } else if (name === 'gap' && 'n' in data) setTail((before) => lost(before, data.n));
    else if (name === 'refetch') void list.refetch();
  });
  const isHeld = () => held || open !== undefined || (scroller.current?.scrollTop ?? 0) > 8;
  useEffect(() => {
    setTail(EMPTY);
    // A new question, a new list.
    void [filters, range.from, range.to];
  }, [filters, range.from, range.to]);
  useEffect(() => {
    if (!held && open === undefined) setTail((before) => (before.held.length ? released(before) : before));
  }, [held, open]);

  const rows = useMemo(() => {
    const known = new Set<string>();
    const all = [...tail.rows, ...(pages ?? []).flatMap((page) => page.data)];
    const once = all.filter((row) => !known.has(row.id) && known.add(row.id));
    shown.current = known;
    // What was asked for again may be newer than what came live before.
    return once.sort((a, b) => (a.settled_at < b.settled_at ? 1 : a.settled_at > b.settled_at ? -1 : 0));
  }, [tail.rows, pages]);
  const searchedTo = pages?.at(-1)?.searched_to;

  const go = useCallback(
    (id: string) => void navigate({ to: '/requests/$id', params: { id }, search: ((before: object) => before) as never }),
    [navigate],
  );
  const index = rows.findIndex((row) => row.id === open);
  const [marked, mark] = useState(-1);
  const at = index >= 0 ? index : marked;
  const move = (by: number) => {
    const next = Math.max(0, Math.min(rows.length - 1, at + by));
    const row = rows[next];
    if (!row) return;
    mark(next);
    if (open) go(row.id);
  };
  useShortcuts([
    { keys: 'j', says: 'Next row', run: () => move(1) },
    { keys: 'k', says: 'Row before', run: () => move(-1) },
    { keys: 'Enter', says: 'Open the row', run: () => rows[at] && go(rows[at].id) },
    {
      keys: 'Escape',
      says: 'Close what is open',
      run: () => open && void navigate({ to: '/requests', search: ((before: object) => before) as never }),
    },
    { keys: '.', says: 'Live or not', run: () => setSearch({ live: isLive ? undefined : 'on' }, true) },
  ]);

  const [exporting, setExporting] = useState('');
  const exportCsv = async () => {
    setExporting('…');
    try {
      save(
        'requests.csv',
        await getCsv('/admin/requests', { ...filters, from: instant(range.from), to: range.to, limit: 1000 }),
      );
      setExporting('');
    } catch (error) {
      setExporting(said(error));
    }
  };
  const listing = (
    <section className={s.list} aria-label="List of requests">
      <div className={ui.spread}>
        {open ? (
          <h2>Requests</h2>
        ) : (
          <h1 tabIndex={-1} ref={heading}>
            Requests
          </h1>
        )}
        <div className={ui.row}>
          {isLive && (
            <span className={ui.muted} role="status">
              {state === 'live' ? (held ? 'held' : 'live') : state === 'away' ? 'away, coming back' : 'connecting'}
              {tail.missed > 0 && `, ${filtered ? 'some' : grouped(tail.missed)} not shown`}
            </span>
          )}
          <Button
            look={isLive ? 'pressed' : 'plain'}
            aria-pressed={isLive}
            disabled={!!range.to}
            onClick={() => setSearch({ live: isLive ? undefined : 'on' }, true)}
          >
            Live
          </Button>
          <Button onClick={() => void exportCsv()} disabled={exporting === '…'} title="At most 1,000 rows">
            CSV
          </Button>
          {exporting.length > 1 && (
            <span className={ui.bad} role="alert">
              {exporting}
            </span>
          )}
        </div>
      </div>
      <FilterBar filters={filters} onChange={setSearch} />
      {!open && <Volume filters={filters} />}
      {!range.to && <Running wanted={filters} isLive={isLive} />}
      {tail.held.length > 0 && (
        <Button
          look="primary"
          onClick={() => {
            scroller.current?.scrollTo({ top: 0 });
            setHeld(false);
            setTail(released);
          }}
        >
          {tail.held.length} new {tail.held.length === 1 ? 'row' : 'rows'}
        </Button>
      )}
      <FirstPage list={list} height={400} />
      {pages && rows.length === 0 && !searchedTo && (
        <Empty
          title={filtered ? 'No request in this range fits these filters.' : 'No request was settled in this range.'}
        >
          {filtered ? (
            <Button onClick={() => setSearch(Object.fromEntries(REQUEST_FILTERS.map((name) => [name, undefined])))}>
              Without filters
            </Button>
          ) : (
            <FirstCall />
          )}
        </Empty>
      )}
      {rows.length > 0 && (
        <div onPointerEnter={() => isLive && setHeld(true)} onPointerLeave={() => setHeld(false)}>
          <Rows rows={rows} open={open} marked={at} zone={zone} narrow={narrow} scroller={scroller} onOpen={go} />
        </div>
      )}
      {pages && (
        <div className={ui.row}>
          {searchedTo && (
            <span role="status">
              Searched to {precise(Date.parse(searchedTo), zone)}, {rows.length} found.
            </span>
          )}
          <Older list={list}>{searchedTo ? 'Continue' : 'Older'}</Older>
        </div>
      )}
    </section>
  );
  return (
    <div className={classes(s.page, open && s.split)}>
      {(!open || !narrow) && listing}
      <Outlet />
    </div>
  );
}

/** So much later than others a row may be stored that was settled before them. */
const LATE_MS = 10_000;

/** Asks the gateway which of the requests settled since a moment fit the filters, one question at a time: a page knows neither all of its
 * filters nor all requests, of which only some come live where there are many. */
function useFitting(filters: Filters, hear: (page: Page) => void): (since: number) => void {
  const latest = useRef(hear);
  latest.current = hear;
  const asking = useRef<(since: number) => void>(() => {});
  useEffect(() => {
    const abort = new AbortController();
    let since = Number.POSITIVE_INFINITY;
    let busy = false;
    asking.current = async (at) => {
      since = Math.min(since, at);
      if (busy) return;
      busy = true;
      while (Number.isFinite(since) && !abort.signal.aborted) {
        const from = since;
        since = Number.POSITIVE_INFINITY;
        try {
          const query = { ...filters, from: new Date(from - LATE_MS).toISOString(), limit: PAGE };
          const page = await get<Page>('/admin/requests', query, abort.signal);
          if (!abort.signal.aborted) latest.current(page);
        } catch {
          // With the next rows it is asked again, from there on.
          since = Math.min(since, from);
          break;
        }
      }
      busy = false;
    };
    return () => abort.abort();
  }, [filters]);
  return (at) => asking.current(at);
}

/** Only what stands in the window is in the document. */
function Rows(props: {
  rows: Generation[];
  open: string | undefined;
  marked: number;
  zone: string;
  narrow: boolean;
  scroller: React.RefObject<HTMLDivElement | null>;
  onOpen: (id: string) => void;
}) {
  const { rows, narrow, scroller, marked } = props;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => (narrow ? CARD_PX : ROW_PX),
    overscan: 8,
    getItemKey: (index) => rows[index]?.id ?? index,
  });
  useLayoutEffect(() => {
    if (marked >= 0) virtual.scrollToIndex(marked, { align: 'auto' });
  }, [marked, virtual]);
  const items = virtual.getVirtualItems();
  const before = items[0]?.start ?? 0;
  const after = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  const today = day(Date.now(), props.zone);
  return (
    <div ref={scroller} className={s.scroller} tabIndex={0} role="region" aria-label="Requests, newest first">
      <table className={classes(ui.table, s.table)} aria-rowcount={rows.length + 1}>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Status</th>
            <th scope="col">Model</th>
            <th scope="col">Provider</th>
            <th scope="col">Key</th>
            <th scope="col" className={ui.num}>
              In / out
            </th>
            <th scope="col" className={ui.num}>
              Cost
            </th>
            <th scope="col" className={ui.num}>
              First token
            </th>
            <th scope="col" className={ui.num}>
              Total
            </th>
          </tr>
        </thead>
        <tbody>
          {before > 0 && <tr aria-hidden="true" style={{ height: before }} className={s.space} />}
          {items.map((item) => {
            const row = rows[item.index]!;
            return (
              <Row
                key={row.id}
                row={row}
                index={item.index}
                current={row.id === props.open || item.index === marked}
                today={today}
                zone={props.zone}
                onOpen={props.onOpen}
              />
            );
          })}
          {after > 0 && <tr aria-hidden="true" style={{ height: after }} className={s.space} />}
        </tbody>
      </table>
    </div>
  );
}

/** Kept as it is while the mark moves over the others. */
const Row = memo(function Row(props: {
  row: Generation;
  index: number;
  current: boolean;
  today: string;
  zone: string;
  onOpen: (id: string) => void;
}) {
  const { row, today, zone, onOpen } = props;
  const at = Date.parse(row.settled_at);
  return (
    <tr
      aria-rowindex={props.index + 2}
      className={classes(s.row, props.current && s.current)}
      onClick={() => onOpen(row.id)}
      onKeyDown={(event) => {
        if (event.key === 'Enter') onOpen(row.id);
      }}
    >
      <td className={ui.nowrap}>
        <Link
          to="/requests/$id"
          params={{ id: row.id }}
          search={((search: object) => search) as never}
          onClick={(event) => event.stopPropagation()}
        >
          <time dateTime={row.settled_at} title={precise(at, zone)}>
            {day(at, zone) !== today && `${day(at, zone)}, `}
            {clock(at, zone)}
          </time>
        </Link>
      </td>
      <td>
        <Status row={row} />
      </td>
      <td className={s.name}>
        <Name most={60}>{row.model || row.requested_model || '—'}</Name>
      </td>
      <td className={s.name}>
        <ProviderPath row={row} />
      </td>
      <td className={s.name}>{row.key.name ? <Name most={30}>{row.key.name}</Name> : '—'}</td>
      <td className={ui.num}>
        {short(promptTokens(row))} / {short(row.completion_tokens)}
      </td>
      <td className={ui.num}>
        <Usd usd={row.charged_usd} />
      </td>
      <td className={ui.num}>{row.content_us ? duration(row.content_us / 1000) : '—'}</td>
      <td className={ui.num}>{duration(row.total_us / 1000)}</td>
    </tr>
  );
});

/** How it ended, and at which attempt. */
export function Status({ row }: { row: Generation }) {
  const tries = row.attempts.filter((attempt) => !attempt.flags.includes('shadow')).length;
  const failed = row.outcome === 'failed';
  const look = failed ? ui.bad : row.outcome === 'completed' ? ui.good : ui.warn;
  const word = row.outcome === 'completed' ? 'ok' : failed ? (row.status || 'failed').toString() : row.outcome;
  return (
    <span className={look} title={row.error || undefined}>
      {word}
      {tries > 1 && ` ×${tries}`}
    </span>
  );
}

/** Who was asked, in order: "groq ✕ › lab". */
export function ProviderPath({ row }: { row: Generation }) {
  const tried = row.attempts.filter((attempt) => !attempt.flags.includes('shadow'));
  if (tried.length === 0) return row.provider ? <Name most={30}>{row.provider}</Name> : <>—</>;
  return (
    <>
      {tried.map((attempt, index) => (
        <span key={attempt.n}>
          {index > 0 && ' › '}
          <Name most={24}>{attempt.provider}</Name>
          {attempt.error && (
            <span className={ui.bad} title={attempt.error}>
              {' '}
              ✕<span className="sr-only"> failed: {attempt.error}</span>
            </span>
          )}
        </span>
      ))}
    </>
  );
}

export function promptTokens(row: Generation): number {
  return row.prompt_tokens + row.cache_read_tokens + row.cache_write_tokens + row.cache_write_1h_tokens;
}

const TEXTS: readonly [keyof Filters, string][] = [
  ['model', 'Model'],
  ['provider', 'Provider'],
  ['session', 'Session'],
  ['end_user', 'End user'],
  ['app', 'App'],
  ['error', 'Text of the error'],
  ['status', 'HTTP status'],
  ['least_usd', 'Cost at least ($)'],
  ['least_ms', 'Took at least (ms)'],
];

/** What has no field, and comes from links. */
const OTHERS: readonly [keyof Filters, string][] = [
  ['team', 'Team'],
  ['user', 'User'],
  ['split', 'Split'],
  ['arm', 'Arm'],
];

/** With a choice for each key: not drawn anew for every move among the rows. */
const FilterBar = memo(function FilterBar({
  filters,
  onChange,
}: {
  filters: Filters;
  onChange: (changes: Record<string, unknown>) => void;
}) {
  const navigate = useNavigate();
  const keys = useQuery(keysQuery);
  const [draft, setDraft] = useState<Filters>(filters);
  useEffect(() => setDraft(filters), [filters]);
  const [id, setId] = useState('');
  const kind = filters.failed ? 'failed' : filters.retried ? 'retried' : (filters.outcome ?? '');
  const set = [...TEXTS, ...OTHERS].filter(([name]) => filters[name]).length + (filters.key ? 1 : 0);
  const called: Filters = { ...filters, team: useNameOf('team', filters.team), user: useNameOf('user', filters.user) };
  return (
    <div className={ui.row}>
      <Without what="The keys to choose from" query={keys} />
      <form
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          const wanted = id.trim();
          if (wanted.startsWith('gen-'))
            void navigate({
              to: '/requests/$id',
              params: { id: wanted },
              search: ((before: object) => before) as never,
            });
          else onChange({ model: wanted || undefined });
        }}
      >
        <input
          type="search"
          className={ui.input}
          aria-label="Id of a generation, or a model"
          placeholder="gen-… or model"
          value={id}
          onChange={(event) => setId(event.target.value)}
        />
      </form>
      <Choose
        label="Outcome"
        value={kind}
        choices={[
          { value: '', label: 'Every outcome' },
          { value: 'completed', label: 'Completed' },
          { value: 'failed', label: 'Failed' },
          { value: 'retried', label: 'Tried again' },
          { value: 'cancelled', label: 'Cancelled' },
          { value: 'recovered', label: 'Recovered' },
          { value: 'void', label: 'Void' },
        ]}
        onChange={(value) =>
          onChange({
            failed: value === 'failed' ? 'true' : undefined,
            retried: value === 'retried' ? 'true' : undefined,
            outcome: value && value !== 'failed' && value !== 'retried' ? value : undefined,
          })
        }
      />
      <Choose
        label="Key"
        value={filters.key ?? ''}
        choices={[
          { value: '', label: 'Every key' },
          ...(keys.data ?? []).map((key) => ({ value: String(key.id), label: key.name || key.label })),
        ]}
        onChange={(value) => onChange({ key: value || undefined })}
      />
      <details className={s.filters}>
        <summary className={buttonClass()}>More filters{set > 0 && ` (${set} set)`}</summary>
        <form
          className={s.sheet}
          onSubmit={(event) => {
            event.preventDefault();
            onChange(Object.fromEntries(TEXTS.map(([name]) => [name, draft[name]?.trim() || undefined])));
            event.currentTarget.closest('details')?.removeAttribute('open');
          }}
        >
          {TEXTS.map(([name, label]) => (
            <TextField
              key={name}
              label={label}
              inputMode={name.startsWith('least') || name === 'status' ? 'decimal' : 'text'}
              value={draft[name] ?? ''}
              onChange={(event) => setDraft({ ...draft, [name]: event.target.value })}
            />
          ))}
          <p className={ui.hint}>
            Model, provider, session, end user and app search the whole table; the others walk back and say how far they
            came.
          </p>
          <div className={ui.row}>
            <Button type="submit" look="primary">
              Filter
            </Button>
            <Button onClick={() => onChange(Object.fromEntries(REQUEST_FILTERS.map((name) => [name, undefined])))}>
              Clear all
            </Button>
          </div>
        </form>
      </details>
      {[...TEXTS, ...OTHERS].filter(([name]) => filters[name]).map(([name, label]) => (
        <Button
          key={name}
          onClick={() => onChange({ [name]: undefined })}
          aria-label={`Remove the filter ${label} ${called[name]}`}
        >
          {label}: <Name most={30}>{called[name]!}</Name> ✕
        </Button>
      ))}
    </div>
  );
});
