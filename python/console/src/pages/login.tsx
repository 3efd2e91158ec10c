import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useRouterState, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { ask, get, setCsrf } from '../api/client';
import { sessionQuery } from '../api/queries';
import type { Session, Ways } from '../api/types';
import { useWrite } from '../api/write';
import { plain } from '../format/text';
import { useTitle } from '../shell/title';
import { Button, Name, TextField, ui } from '../ui/basics';
import { said } from '../ui/states';
import s from './login.module.css';

/** What a provider sends the browser back with. */
interface Arrival {
  code: string;
  state: string;
  iss?: string | undefined;
}

type Given = { token: string } | { code: string } | { oidc: Arrival } | { name: string; password: string; account?: string };

interface Search extends Partial<Arrival> {
  next?: string;
  error?: string;
  error_description?: string;
}

const NEXT = 'fairlead.next';

/** Where to go on after a way over another origin. It is kept in the tab: the provider is not told. */
function remembered(): string | undefined {
  try {
    const next = sessionStorage.getItem(NEXT) ?? undefined;
    sessionStorage.removeItem(NEXT);
    return next;
  } catch {
    return undefined;
  }
}

function remember(next: string | undefined): void {
  try {
    sessionStorage.setItem(NEXT, next ?? '');
  } catch {
    // Then it goes on at the overview.
  }
}

/** Where to go afterwards: a place on this port and nowhere else. */
export function place(next: string | undefined): string {
  return next && /^\/(?![/\\])/.test(next) && !next.startsWith('/login') ? next : '/';
}

export function LoginPage() {
  const search = useSearch({ strict: false }) as Search;
  const navigate = useNavigate();
  const client = useQueryClient();
  const [way, setWay] = useState<'token' | 'password'>('token');
  const [token, setToken] = useState('');
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [account, setAccount] = useState('');
  const heading = useTitle('Log in');
  const login = useWrite({
    mutationFn: (given: Given) => ask<{ data: Session }>('/admin/session', given),
    onSuccess: async ({ data }) => {
      client.clear();
      setCsrf(data.csrf);
      client.setQueryData(sessionQuery.queryKey, data);
      await navigate({ href: place(search.next ?? remembered()), replace: true });
    },
  });
  const ways = useQuery({
    queryKey: ['ways'],
    queryFn: async ({ signal }) => (await get<{ data: Ways }>('/admin/login', {}, signal)).data,
  });
  const leave = useWrite({
    mutationFn: () => ask<{ data: { url: string } }>('/admin/login/oidc'),
    onSuccess: ({ data }) => {
      remember(search.next);
      if (/^https?:\/\//.test(data.url)) location.assign(data.url);
    },
  });
  const ended = useRouterState({ select: (state) => state.location.state.ended });
  const [denied] = useState(search.error ? `${search.error}: ${search.error_description ?? ''}` : '');

  // The link that the start prints carries a code behind #, which no server and no log sees. A provider's is behind ?, and good only
  // together with the cookie of this browser. Neither stays in the address.
  const tried = useRef(false);
  const { mutate } = login;
  useEffect(() => {
    if (tried.current) return;
    const link = /^#code=([A-Za-z0-9_-]{20,})$/.exec(location.hash)?.[1];
    const { code, state, iss, error } = search;
    if (link) mutate({ code: link });
    else if (code && state) mutate({ oidc: { code, state, ...(iss ? { iss } : {}) } });
    else if (!error) return;
    tried.current = true;
    history.replaceState(history.state, '', link ? location.pathname + location.search : location.pathname);
  }, [mutate, search]);

  const submit = (event: { preventDefault: () => void }) => {
    event.preventDefault();
    const within = account.trim() ? { account: account.trim() } : {};
    login.mutate(way === 'token' ? { token } : { name, password, ...within });
  };
  return (
    <main className={s.page}>
      <form onSubmit={submit} className={s.box}>
        <strong>Fairlead</strong>
        <h1 tabIndex={-1} ref={heading}>
          Log in
        </h1>
        {ended && (
          <p className={ui.note} role="alert">
            Your log-in has ended. Log in again to go on where you were.
          </p>
        )}
        {way === 'token' ? (
          <TextField
            key="token"
            label="Admin token"
            type="password"
            autoComplete="current-password"
            required
            value={token}
            onChange={(event) => setToken(event.target.value)}
            hint="Printed at the first start, beside a link that logs in by itself; or as [server] admin_token in fairlead.toml."
          />
        ) : (
          <>
            <TextField
              key="name"
              label="Name"
              autoComplete="username"
              required
              value={name}
              onChange={(event) => setName(event.target.value)}
            />
            <TextField
              key="password"
              label="Password"
              type="password"
              autoComplete="current-password"
              required
              value={password}
              onChange={(event) => setPassword(event.target.value)}
            />
            <TextField
              key="account"
              label="Account"
              value={account}
              onChange={(event) => setAccount(event.target.value)}
              hint="Only where several accounts have somebody of this name."
            />
          </>
        )}
        {(login.error || leave.error || denied) && (
          <div className={ui.alert} role="alert">
            {login.error || leave.error
              ? said(login.error ?? leave.error)
              : `The provider did not let you in. It says: ${plain(denied, 300)}`}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="primary" busy={login.isPending}>
            Log in
          </Button>
          <Button look="quiet" onClick={() => setWay(way === 'token' ? 'password' : 'token')}>
            {way === 'token' ? 'With name and password' : 'With the admin token'}
          </Button>
        </div>
        {ways.data?.oidc && (
          <Button onClick={() => leave.mutate()} busy={leave.isPending} disabled={login.isPending}>
            Log in with <Name most={60}>{ways.data.oidc}</Name>
          </Button>
        )}
      </form>
    </main>
  );
}
