/** "Who may come in, as what, and who is in?" */
import { useQuery } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { get } from '../api/client';
import type { User } from '../api/types';
import { useTitle } from '../shell/title';
import { useMay, useSetSearch } from '../state/hooks';
import { Badge, Button, Name, Usd, ui } from '../ui/basics';
import { Part } from '../ui/part';
import { Search } from '../ui/search';
import { Empty, Forbidden, Loaded } from '../ui/states';
import { LogIns } from './log-ins';
import { CreateUser, EditLogin } from './user-form';

export function UsersPage() {
  const heading = useTitle('Users');
  const { q = '', user: opened } = useSearch({ strict: false }) as { q?: string; user?: string };
  const setSearch = useSetSearch();
  const mayChange = useMay('admin');
  const [adding, add] = useState(false);
  const users = useQuery({
    queryKey: ['users'],
    queryFn: async ({ signal }) => (await get<{ data: User[] }>('/admin/users', {}, signal)).data,
    enabled: mayChange,
  });
  const open = users.data?.find((one) => String(one.id) === opened);
  if (!mayChange) {
    return (
      <>
        <h1 tabIndex={-1} ref={heading}>
          Users
        </h1>
        <Forbidden needs="admin">Your own log-ins are in the menu with your name.</Forbidden>
      </>
    );
  }
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Users
        </h1>
        <Button look="primary" onClick={() => add(true)}>
          Add a user
        </Button>
      </div>
      <div className={ui.row}>
        <Search
          label="Search users by name, team or role"
          placeholder="Name, team, role"
          value={q}
          onSearch={(text) => setSearch({ q: text }, true)}
        />
      </div>
      <Loaded query={users} height={240}>
        {(all) => {
          const wanted = q.toLowerCase();
          const rows = all.filter((one) =>
            [one.name, one.team, one.role, one.account].some((text) => text?.toLowerCase().includes(wanted)),
          );
          if (all.length === 0) {
            return (
              <Empty title="There are no users yet: who comes in has the admin token.">
                <Button look="primary" onClick={() => add(true)}>
                  Add the first user
                </Button>
              </Empty>
            );
          }
          if (rows.length === 0) return <Empty title={`None of the ${all.length} users fits.`} />;
          return (
            <Part rows={rows}>
              {(part) => <Table rows={part} onOpen={(one) => setSearch({ user: String(one.id) })} />}
            </Part>
          );
        }}
      </Loaded>
      <section className={ui.card}>
        <h2>Who is logged in</h2>
        <LogIns />
      </section>
      {adding && <CreateUser all={users.data ?? []} onClose={() => add(false)} />}
      {open && <EditLogin key={open.id} of={open} all={users.data ?? []} onClose={() => setSearch({ user: undefined })} />}
    </>
  );
}

function Table({ rows, onOpen }: { rows: User[]; onOpen: (user: User) => void }) {
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label="Users">
      <table className={ui.table}>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">Role</th>
            <th scope="col">Logs in with</th>
            <th scope="col">Belongs to</th>
            <th scope="col" className={ui.num}>
              This month
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((one) => (
            <tr key={one.id}>
              <td>
                <Button look="quiet" onClick={() => onOpen(one)}>
                  <Name most={60}>{one.name}</Name>
                </Button>{' '}
                {one.source === 'file' && <Badge>from the file</Badge>}
              </td>
              <td>{one.role ?? <span className={ui.muted}>cannot log in</span>}</td>
              <td>
                {[one.has_password && 'password', one.has_oidc && 'provider'].filter(Boolean).join(', ') || (
                  <span className={ui.muted}>—</span>
                )}
              </td>
              <td>
                <Name most={60}>{[one.account, one.team].filter(Boolean).join(' › ')}</Name>
              </td>
              <td className={ui.num}>
                <Usd usd={one.usage_monthly_usd} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
