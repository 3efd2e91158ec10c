import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';
import { send, setCsrf } from '../api/client';
import { sessionQuery } from '../api/queries';
import type { Session } from '../api/types';
import { useTitle } from '../shell/title';
import { Button, TextField, ui } from '../ui/basics';
import { said } from '../ui/states';
import s from './login.module.css';

type Given = { token: string } | { code: string } | { name: string; password: string };

/** Where to go afterwards: a place on this port and nowhere else. */
export function place(next: string | undefined): string {
  return next && /^\/(?![/\\])/.test(next) && !next.startsWith('/login') ? next : '/';
}

export function LoginPage() {
  const { next } = useSearch({ strict: false }) as { next?: string };
  const navigate = useNavigate();
  const client = useQueryClient();
  const [way, setWay] = useState<'token' | 'password'>('token');
  const [token, setToken] = useState('');
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const heading = useTitle('Log in');
  const login = useMutation({
    mutationFn: (given: Given) => send<{ data: Session }>('POST', '/admin/session', given),
    onSuccess: async ({ data }) => {
      client.clear();
      setCsrf(data.csrf);
      client.setQueryData(sessionQuery.queryKey, data);
      await navigate({ href: place(next), replace: true });
    },
  });

  // The link that the start prints carries a code behind #, which no server and no log sees.
  const tried = useRef(false);
  const { mutate } = login;
  useEffect(() => {
    const code = /^#code=([A-Za-z0-9_-]{20,})$/.exec(location.hash)?.[1];
    if (!code || tried.current) return;
    tried.current = true;
    history.replaceState(history.state, '', location.pathname + location.search);
    mutate({ code });
  }, [mutate]);

  const submit = (event: { preventDefault: () => void }) => {
    event.preventDefault();
    login.mutate(way === 'token' ? { token } : { name, password });
  };
  return (
    <main className={s.page}>
      <form onSubmit={submit} className={s.box}>
        <strong>Fairlead</strong>
        <h1 tabIndex={-1} ref={heading}>
          Log in
        </h1>
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
          </>
        )}
        {login.error && (
          <div className={ui.alert} role="alert">
            {said(login.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="primary" disabled={login.isPending}>
            {login.isPending ? 'Logging in' : 'Log in'}
          </Button>
          <Button look="quiet" onClick={() => setWay(way === 'token' ? 'password' : 'token')}>
            {way === 'token' ? 'With name and password' : 'With the admin token'}
          </Button>
        </div>
      </form>
    </main>
  );
}
