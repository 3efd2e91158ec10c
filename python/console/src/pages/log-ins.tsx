/** Who is logged in, and ending that. Admins see everybody, others themselves. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { get, send } from '../api/client';
import type { LoginLine, Role } from '../api/types';
import { useWrite } from '../api/write';
import { useSession } from '../state/hooks';
import { At, Badge, Button, Name, ui } from '../ui/basics';
import { Empty, Loaded, said } from '../ui/states';

const WAYS: Record<LoginLine['way'], string> = {
  token: 'admin token',
  link: 'link of the start',
  password: 'password',
  oidc: 'provider',
};

export const RANKS: readonly Role[] = ['viewer', 'member', 'admin', 'owner'];

/** Whether a role is above that of whoever looks. */
export function useIsAbove(): (role: Role | null) => boolean {
  const { role: own } = useSession();
  return (role) => role !== null && RANKS.indexOf(role) > RANKS.indexOf(own);
}

/** `of`: those of one user; without it all that the viewer may see. */
export function LogIns({ of }: { of?: number }) {
  const client = useQueryClient();
  const isAbove = useIsAbove();
  const query = useQuery({
    queryKey: ['log-ins'],
    queryFn: async ({ signal }) => (await get<{ data: LoginLine[] }>('/admin/sessions', {}, signal)).data,
    refetchInterval: 30_000,
  });
  const end = useWrite({
    mutationFn: (id: number) => send('DELETE', `/admin/sessions/${id}`),
    onSettled: () => client.invalidateQueries({ queryKey: ['log-ins'] }),
  });
  return (
    <Loaded query={query} height={120}>
      {(all) => {
        const rows = of === undefined ? all : all.filter((one) => one.user_id === of);
        if (rows.length === 0) return <Empty title="Nobody is logged in with a cookie." />;
        return (
          <>
            {end.error && (
              <div className={ui.alert} role="alert">
                {said(end.error)}
              </div>
            )}
            <div className={ui.scroll} tabIndex={0} role="region" aria-label="Log-ins, the newest first">
              <table className={ui.table}>
                <thead>
                  <tr>
                    <th scope="col">Who</th>
                    <th scope="col">Since</th>
                    <th scope="col">Last seen</th>
                    <th scope="col">From</th>
                    <th scope="col">Ends</th>
                    <th scope="col">
                      <span className="sr-only">What to do</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {rows.map((one) => (
                    <tr key={one.id}>
                      <td>
                        <Name most={40}>{one.user}</Name> {one.current && <Badge look="good">this one</Badge>}
                        <div className={ui.muted}>
                          {one.role}, by {WAYS[one.way]}
                        </div>
                      </td>
                      <td className={ui.nowrap}>
                        <At at={one.created_at} />
                      </td>
                      <td className={ui.nowrap}>
                        <At at={one.seen_at} how="ago" />
                      </td>
                      <td>
                        <span className={ui.mono}>{one.address}</span>
                        <div className={ui.muted}>
                          <Name most={60}>{one.user_agent || '—'}</Name>
                        </div>
                      </td>
                      <td className={ui.nowrap}>
                        <At at={one.ends_at} />
                      </td>
                      <td>
                        {!one.current && (
                          <Button
                            aria-label={`End the log-in ${one.id} of ${one.user}`}
                            busy={end.isPending && end.variables === one.id}
                            disabled={isAbove(one.role) || end.isPending}
                            title={isAbove(one.role) ? `The role ${one.role} is above yours` : undefined}
                            onClick={() => end.mutate(one.id)}
                          >
                            End
                          </Button>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </>
        );
      }}
    </Loaded>
  );
}
