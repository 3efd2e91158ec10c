/** Whoever looks: the role, the own log-ins, the own password. */
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { send } from '../api/client';
import { useWrite } from '../api/write';
import { useTitle } from '../shell/title';
import { useSession } from '../state/hooks';
import { At, Button, Facts, Name, TextField, ui } from '../ui/basics';
import { said } from '../ui/states';
import { LogIns } from './log-ins';
import { PASSWORD_RULE, wrongPassword } from './user-form';

export function AccountPage() {
  const heading = useTitle('Your log-ins');
  const session = useSession();
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        Your log-ins
      </h1>
      <section className={ui.card}>
        <Facts
          of={[
            ['You are', <Name key="u">{session.user}</Name>],
            ['Role', session.role],
            ['Account', session.account ? <Name key="a">{session.account}</Name> : 'every account'],
            session.team !== null && ['Team', <Name key="t">{session.team}</Name>],
            ['This log-in ends', <At key="e" at={session.ends_at} />],
            ['Without a request', <At key="i" at={session.idle_ends_at} />],
          ]}
        />
      </section>
      <section className={ui.card}>
        <h2>Where you are logged in</h2>
        <LogIns of={session.user_id} />
      </section>
      {session.user_id !== 0 && <OwnPassword />}
    </>
  );
}

function OwnPassword() {
  const client = useQueryClient();
  const [current, setCurrent] = useState('');
  const [next, setNext] = useState('');
  const [tried, setTried] = useState(false);
  const change = useWrite({
    mutationFn: () => send('POST', '/admin/session/password', { current, new: next }),
    // What was typed is kept nowhere.
    gcTime: 0,
    onSuccess: async () => {
      setCurrent('');
      setNext('');
      setTried(false);
      await client.invalidateQueries({ queryKey: ['log-ins'] });
    },
  });
  return (
    <section className={ui.card}>
      <h2>Your password</h2>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (!wrongPassword(next)) change.mutate();
        }}
      >
        <TextField
          label="Present password"
          type="password"
          autoComplete="current-password"
          value={current}
          onChange={(event) => setCurrent(event.target.value)}
          hint="Whoever logs in through a provider alone has none; an admin sets the first."
        />
        <TextField
          label="New password"
          type="password"
          autoComplete="new-password"
          value={next}
          wrong={tried ? wrongPassword(next) : null}
          onChange={(event) => setNext(event.target.value)}
          hint={PASSWORD_RULE}
        />
        {change.error && (
          <div className={ui.alert} role="alert">
            {said(change.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" busy={change.isPending}>
            Change the password
          </Button>
          <span role="status">{change.isSuccess && 'It is changed. Your other log-ins have ended.'}</span>
        </div>
      </form>
    </section>
  );
}
