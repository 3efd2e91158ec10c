/** What is around every page: navigation, range and zone, theme, account, keys, and the bar that says when the gateway is away. */
import { useIsFetching, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useRouterState } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { ApiError, Offline, onExpired, send } from '../api/client';
import { sessionQuery } from '../api/queries';
import type { Role, Session } from '../api/types';
import { clock } from '../format/time';
import icon from '../icon.svg';
import { keep } from '../pages/draft';
import { setupQuery } from '../pages/traffic';
import { SessionProvider, useMay, useNow, useZone } from '../state/hooks';
import { Button, Check, Name, ui } from '../ui/basics';
import { Dialog } from '../ui/dialog';
import { Menu } from '../ui/menu';
import { Empty, Failure, Skeleton, said } from '../ui/states';
import { keysAreOn, setKeys, shortcuts, useShortcuts } from './keyboard';
import { RangeControls } from './range';
import s from './shell.module.css';
import { setTheme, type Theme, theme } from './theme';
import { useTitle } from './title';

interface Place {
  to: string;
  label: string;
  key: string;
  role: Role;
}

const PAGES: readonly Place[] = [
  { to: '/', label: 'Overview', key: 'o', role: 'viewer' },
  { to: '/models', label: 'Models', key: 'm', role: 'viewer' },
  { to: '/playground', label: 'Playground', key: 'p', role: 'member' },
  { to: '/requests', label: 'Requests', key: 'r', role: 'viewer' },
  { to: '/keys', label: 'Keys', key: 'k', role: 'viewer' },
  { to: '/budgets', label: 'Budgets', key: 'b', role: 'viewer' },
  { to: '/routing', label: 'Routing', key: 't', role: 'viewer' },
  { to: '/providers', label: 'Providers', key: 'h', role: 'viewer' },
  { to: '/config', label: 'Configuration', key: 'c', role: 'admin' },
  { to: '/audit', label: 'Audit', key: 'a', role: 'admin' },
  { to: '/users', label: 'Users', key: 'u', role: 'admin' },
];
const START: Place = { to: '/start', label: 'First steps', key: 's', role: 'admin' };
/** So many stand in the bar of a telephone; the others behind "More". */
const BELOW = 5;

/** Pages whose figures are of a range. */
const RANGED = /^\/($|requests|models\/(?!compare)|keys\/.|audit)/;

export function Shell() {
  const session = useQuery(sessionQuery);
  const navigate = useNavigate();
  const here = useRouterState({ select: (state) => state.location.href });
  const loggedOut = session.error instanceof ApiError && session.error.status === 401;
  const latest = useRef(here);
  latest.current = here;
  const wasIn = useRef(false);
  wasIn.current ||= session.data !== undefined;
  useEffect(() => {
    const toLogin = () => {
      if (latest.current.startsWith('/login')) return;
      const search = { next: latest.current } as never;
      void navigate({ to: '/login', search, replace: true, state: { ended: wasIn.current } });
    };
    onExpired(toLogin);
    if (loggedOut) toLogin();
  }, [loggedOut, navigate]);
  if (session.data && !loggedOut) {
    return (
      <SessionProvider value={session.data}>
        <Frame session={session.data} />
      </SessionProvider>
    );
  }
  return (
    <div className={s.content}>
      {session.error && !loggedOut ? (
        <Failure error={session.error} retry={() => void session.refetch()} />
      ) : (
        <Skeleton height={320} />
      )}
    </div>
  );
}

function Frame({ session }: { session: Session }) {
  const at = useRouterState({ select: (state) => state.location.pathname });
  const [showsKeys, showKeys] = useState(false);
  const navigate = useNavigate();
  const may: Record<Role, boolean> = {
    viewer: true,
    member: useMay('member'),
    admin: useMay('admin'),
    owner: useMay('owner'),
  };
  const setup = useQuery({ ...setupQuery, enabled: may.admin, staleTime: 60_000 });
  const begins = setup.data !== undefined && !setup.data.done && !setup.data.dismissed;
  const places = [...(begins || at === START.to ? [START] : []), ...PAGES].filter((page) => may[page.role]);
  const below = [...places.filter((page) => page !== START), ...places.filter((page) => page === START)];
  useShortcuts([
    ...places.map((page) => ({
      keys: `g ${page.key}`,
      says: `Go to ${page.label}`,
      run: () => void navigate({ to: page.to }),
    })),
    {
      keys: '/',
      says: 'Search on this page',
      run: () => document.querySelector<HTMLInputElement>('main input[type=search]')?.focus(),
    },
    { keys: '?', says: 'This list', run: () => showKeys(true) },
  ]);
  const current = (to: string) => (to === '/' ? at === '/' : at === to || at.startsWith(`${to}/`));
  const links = places.map((page) => (
    <li key={page.to}>
      <Link to={page.to} className={s.link!} aria-current={current(page.to) ? 'page' : undefined} activeProps={{}}>
        {page.label}
      </Link>
    </li>
  ));
  return (
    <div className={s.frame}>
      <a className={s.skip} href="#content">
        To the content
      </a>
      <nav className={s.rail} aria-label="Pages">
        <Link to="/" className={s.brand!}>
          <img src={icon} alt="" />
          Fairlead
        </Link>
        <ul className={s.nav}>{links}</ul>
      </nav>
      <div className={s.main}>
        <header className={s.top}>
          {RANGED.test(at) && <RangeControls />}
          <Account session={session} onKeys={() => showKeys(true)} />
        </header>
        <OfflineBar />
        <Content />
      </div>
      <nav className={s.bottom} aria-label="Pages, below">
        {below.slice(0, BELOW).map((page) => (
          <Link
            key={page.to}
            to={page.to}
            className={s.link!}
            aria-current={current(page.to) ? 'page' : undefined}
            activeProps={{}}
          >
            {page.label}
          </Link>
        ))}
        {below.length > BELOW && (
          <Menu
            label="More pages"
            shown="More"
            items={below
              .slice(BELOW)
              .map((page) => ({ label: page.label, onPick: () => void navigate({ to: page.to }) }))}
          />
        )}
      </nav>
      <KeyList open={showsKeys} onClose={() => showKeys(false)} />
    </div>
  );
}

function Account({ session, onKeys }: { session: Session; onKeys: () => void }) {
  const client = useQueryClient();
  const navigate = useNavigate();
  const [chosen, choose] = useState<Theme>(theme);
  const [error, setError] = useState('');
  const pick = (next: Theme) => ({
    label: `${chosen === next ? '● ' : ''}${next === 'system' ? 'Theme of the system' : next === 'light' ? 'Light theme' : 'Dark theme'}`,
    onPick: () => {
      setTheme(next);
      choose(next);
    },
  });
  const logOut = async () => {
    try {
      await send('DELETE', '/admin/session');
      // What is on its way hears that nobody is logged in, which is as it should be.
      onExpired(() => {});
      forget(session.user_id);
      client.clear();
      await navigate({ to: '/login', search: {} as never });
    } catch (failed) {
      setError(said(failed));
    }
  };
  return (
    <>
      {error && (
        <span className={ui.bad} role="alert">
          {error}
        </span>
      )}
      <Menu
        label={`Account: ${session.user}, ${session.role}`}
        shown={
          <span>
            <Name most={24}>{session.user}</Name> <span className={ui.muted}>{session.role}</span>
          </span>
        }
        items={[
          pick('system'),
          pick('light'),
          pick('dark'),
          { label: 'Your log-ins', onPick: () => void navigate({ to: '/account' }) },
          { label: 'Keys of the keyboard', onPick: onKeys },
          { label: 'Log out', onPick: () => void logOut() },
        ]}
      />
    </>
  );
}

/** What was not sent or applied is nobody's any more. */
function forget(user: number): void {
  keep(user, null);
  try {
    sessionStorage.clear();
  } catch {
    // Then there is nothing in it.
  }
}

function KeyList({ open, onClose }: { open: boolean; onClose: () => void }) {
  const [on, set] = useState(keysAreOn);
  return (
    <Dialog open={open} onClose={onClose} title="Keys of the keyboard">
      <dl className={s.keys}>
        {(open ? shortcuts() : []).map((one) => (
          <div key={one.keys} style={{ display: 'contents' }}>
            <dt>
              <kbd>{one.keys}</kbd>
            </dt>
            <dd>{one.says}</dd>
          </div>
        ))}
      </dl>
      <Check
        label="Single keys do something"
        checked={on}
        onChange={(next) => {
          setKeys(next);
          set(next);
        }}
      />
      <div>
        <Button onClick={onClose}>Close</Button>
      </div>
    </Dialog>
  );
}

/** The page. While it waits for an answer to a new question, what stands there may be that of the question before: a line above says so.
 * It is an element of its own. `aria-busy` of the page would keep screen readers from all of it, and from what is wrong with the rest. */
function Content() {
  const awaited = useIsFetching({
    // What failed before says so itself while it is tried again.
    predicate: (query) => query.isActive() && query.state.data === undefined && query.state.errorUpdateCount === 0,
  });
  return (
    <main id="content" className={s.content} tabIndex={-1}>
      {awaited > 0 && <div className={s.awaited} role="progressbar" aria-label="Loading" />}
      <Outlet />
    </main>
  );
}

/** While the gateway does not answer: since when what is shown is old, and when it is asked again. */
function OfflineBar() {
  const client = useQueryClient();
  const zone = useZone();
  const [since, setSince] = useState<number | null>(null);
  const [retryAt, setRetryAt] = useState(0);
  const now = useNow(since !== null);
  const fetching = useIsFetching();
  const wait = useRef(1000);
  useEffect(() => {
    // The first render has nothing to learn from; `fetching` changes whenever an answer has come.
    void fetching;
    const all = client.getQueryCache().getAll();
    const away = all.some(
      (query) => query.state.error instanceof Offline || query.state.fetchFailureReason instanceof Offline,
    );
    if (!away) {
      setSince(null);
      wait.current = 1000;
    } else {
      setSince((before) => before ?? Math.max(0, ...all.map((query) => query.state.dataUpdatedAt)));
    }
  }, [client, fetching]);
  useEffect(() => {
    if (since === null) return;
    // Each answer, also a bad one, sets the next try.
    void fetching;
    const delay = wait.current * (0.75 + Math.random() / 2);
    wait.current = Math.min(wait.current * 2, 30_000);
    setRetryAt(Date.now() + delay);
    const timer = setTimeout(() => void client.refetchQueries({ type: 'active' }), delay);
    return () => clearTimeout(timer);
  }, [since, client, fetching]);
  if (since === null) return null;
  return (
    <div className={s.offline} role="status">
      The gateway does not answer. Last update {since ? clock(since, zone) : 'never'}, retry in{' '}
      {Math.max(0, Math.ceil((retryAt - now) / 1000))} s
    </div>
  );
}

export function NotFound() {
  const heading = useTitle('Not found');
  return (
    <main className={s.content}>
      <h1 tabIndex={-1} ref={heading}>
        Not found
      </h1>
      <Empty title="There is no page at this address.">
        <Link to="/">To the overview</Link>
      </Empty>
    </main>
  );
}

/** A page that could not go on. The rest of the console can. */
export function Stopped({ error, reset }: { error: unknown; reset: () => void }) {
  return (
    <div className={s.content}>
      <h1>This page stopped</h1>
      <Failure error={error} retry={reset} />
    </div>
  );
}
