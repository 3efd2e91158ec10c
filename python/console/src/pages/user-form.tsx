/** Making a user, and saying who may log in as what. */
import { useIsMutating, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { ApiError, get, send } from '../api/client';
import type { Role, User, UserLogin } from '../api/types';
import { useWrite } from '../api/write';
import { At, Button, Choose, Name, TextField, ui } from '../ui/basics';
import { Cancel, Dialog } from '../ui/dialog';
import { Stale, tooLate } from '../ui/edit';
import { Failure, Skeleton, said } from '../ui/states';
import { LogIns, RANKS, useIsAbove } from './log-ins';
import { place } from './spenders';

export const PASSWORD_RULE = '12 to 256 characters; any will do. A sentence is better than a riddle.';

/** What is wrong with a new password; null: nothing. */
export function wrongPassword(password: string): string | null {
  const characters = [...password].length;
  return characters < 12 || characters > 256 ? `It has ${characters} characters; 12 to 256 are expected.` : null;
}

/** The ETag of a log-in that is not there: somebody who made it meanwhile is not overwritten. */
const NONE = '""';

const MAY: Record<Role, string> = {
  viewer: 'viewer: looks at figures, models, and the keys and requests of the own team',
  member: 'member: and makes keys of its own, uses the playground',
  admin: 'admin: and sees and changes everything of all accounts',
  owner: 'owner: and writes the configuration',
};

function RoleField({ role, onChange }: { role: Role; onChange: (role: Role) => void }) {
  const isAbove = useIsAbove();
  return (
    <Choose
      shown
      label="Role"
      value={role}
      choices={RANKS.filter((one) => !isAbove(one)).map((one) => ({ value: one, label: MAY[one] }))}
      onChange={(value) => onChange(value as Role)}
    />
  );
}

export function CreateUser({ all, onClose }: { all: readonly User[]; onClose: () => void }) {
  const client = useQueryClient();
  const [name, setName] = useState('');
  const [team, setTeam] = useState('');
  const [role, setRole] = useState<Role>('viewer');
  const [password, setPassword] = useState('');
  const [tried, setTried] = useState(false);
  const [made, setMade] = useState<User | null>(null);
  const create = useWrite({
    mutationFn: async () => {
      // Tried again after the second step failed, the first is done.
      const user =
        made ?? (await send<{ data: User }>('POST', '/admin/users', { name: name.trim(), team: team.trim() })).data;
      setMade(user);
      await send('PUT', place('user', user, all, '/login'), { role, password }, '*');
    },
    gcTime: 0,
    onSuccess: onClose,
    onSettled: () => client.invalidateQueries({ queryKey: ['users'] }),
  });
  const wrong = { name: name.trim() ? null : 'A name is needed.', password: wrongPassword(password) };
  return (
    <Dialog open onClose={onClose} title="Add a user" busy={create.isPending}>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (!wrong.name && !wrong.password) create.mutate();
        }}
      >
        <TextField
          label="Name"
          value={name}
          maxLength={200}
          disabled={made !== null}
          wrong={tried ? wrong.name : null}
          onChange={(event) => setName(event.target.value)}
          hint="What the person logs in with."
        />
        <TextField
          label="Team"
          value={team}
          disabled={made !== null}
          onChange={(event) => setTeam(event.target.value)}
          hint="Its name; empty for none."
        />
        <RoleField role={role} onChange={setRole} />
        <TextField
          label="Password"
          type="password"
          autoComplete="new-password"
          value={password}
          wrong={tried ? wrong.password : null}
          onChange={(event) => setPassword(event.target.value)}
          hint={PASSWORD_RULE}
        />
        {create.error && (
          <div className={ui.alert} role="alert">
            {said(create.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="primary" busy={create.isPending}>
            Add
          </Button>
          <Cancel onClick={onClose} />
        </div>
      </form>
    </Dialog>
  );
}

/** A user's ways in. Nobody gives, takes or resets a role above the own one. */
export function EditLogin({ of: user, all, onClose }: { of: User; all: readonly User[]; onClose: () => void }) {
  const isAbove = useIsAbove();
  const path = place('user', user, all, '/login');
  const busy = useIsMutating({ mutationKey: [path] }) > 0;
  const query = useQuery({
    queryKey: ['login', user.id],
    queryFn: async ({ signal }) => {
      try {
        return (await get<{ data: UserLogin }>(path, {}, signal)).data;
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error;
      }
    },
    // What is edited does not move under the hands.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
    placeholderData: undefined,
  });
  return (
    <Dialog open onClose={onClose} title={`Log-in of ${user.name}`} busy={busy}>
      {query.error && <Failure error={query.error} retry={() => void query.refetch()} />}
      {query.data === undefined && !query.error && <Skeleton height={440} />}
      {query.data !== undefined &&
        (query.data && isAbove(query.data.role) ? (
          <p>
            <Name>{user.name}</Name> has the role {query.data.role}, which is above yours: an owner changes it.
          </p>
        ) : (
          <Form
            key={query.data?.etag ?? NONE}
            path={path}
            login={query.data}
            again={async () => {
              await query.refetch();
            }}
            onClose={onClose}
          />
        ))}
      <h3>Where it is logged in</h3>
      <LogIns of={user.id} />
      <div>
        <Cancel onClick={onClose}>Close</Cancel>
      </div>
    </Dialog>
  );
}

function Form(props: { path: string; login: UserLogin | null; again: () => Promise<void>; onClose: () => void }) {
  const { path, login } = props;
  const client = useQueryClient();
  const [role, setRole] = useState<Role>(login?.role ?? 'viewer');
  const [password, setPassword] = useState('');
  const [subject, setSubject] = useState(login?.subject ?? '');
  const [tried, setTried] = useState(false);
  const [sure, setSure] = useState(false);
  const done = async () => {
    await Promise.all([
      client.invalidateQueries({ queryKey: ['users'] }),
      client.invalidateQueries({ queryKey: ['log-ins'] }),
    ]);
    props.onClose();
  };
  const save = useWrite({
    mutationKey: [path],
    mutationFn: (etag: string) =>
      send(
        'PUT',
        path,
        {
          role,
          ...(password ? { password } : {}),
          ...(subject.trim() === (login?.subject ?? '') ? {} : { subject: subject.trim() || null }),
        },
        etag,
      ),
    gcTime: 0,
    onSuccess: done,
  });
  const remove = useWrite({
    mutationKey: [path],
    mutationFn: (etag: string) => send('DELETE', path, undefined, etag),
    onSuccess: done,
  });
  const error = save.error ?? remove.error;
  const stale = tooLate(error);
  const wrong = password ? wrongPassword(password) : null;
  return (
    <form
      className={ui.stack}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        setTried(true);
        if (!wrong) save.mutate(login?.etag ?? NONE);
      }}
    >
      {login ? (
        <p className={ui.muted}>
          Changed <At at={login.updated_at} how="ago" />.
        </p>
      ) : (
        <p>This user cannot log in yet.</p>
      )}
      <RoleField role={role} onChange={setRole} />
      <TextField
        label={login?.has_password ? 'New password' : 'Password'}
        type="password"
        autoComplete="new-password"
        value={password}
        wrong={tried ? wrong : null}
        onChange={(event) => setPassword(event.target.value)}
        hint={`${login?.has_password ? 'Empty: it stays as it is. A new one ends the log-ins of this user.' : 'Empty: none.'} ${PASSWORD_RULE}`}
      />
      <TextField
        label="Subject at the provider"
        value={subject}
        maxLength={255}
        onChange={(event) => setSubject(event.target.value)}
        hint="The sub that the provider of [oidc] knows this person by. The role is then what the provider says, from its next log-in on. Empty: nobody's."
      />
      {error && !stale && (
        <div className={ui.alert} role="alert">
          {said(error)}
        </div>
      )}
      {stale && (
        <Stale
          error={stale}
          what="log-in"
          mine={remove.error ? 'Delete it all the same' : undefined}
          onAgain={async () => {
            save.reset();
            remove.reset();
            await props.again();
          }}
          onOver={() => (remove.error ? remove.mutate('*') : save.mutate('*'))}
        />
      )}
      <div className={ui.row}>
        <Button type="submit" look="primary" busy={save.isPending} disabled={!!stale}>
          Save
        </Button>
        {login && !sure && (
          <Button look="danger" onClick={() => setSure(true)}>
            Delete the log-in
          </Button>
        )}
        {login && sure && (
          <Button look="danger" onClick={() => remove.mutate(login.etag)} busy={remove.isPending} disabled={!!stale}>
            Delete it: the user is logged out at once
          </Button>
        )}
      </div>
    </form>
  );
}
