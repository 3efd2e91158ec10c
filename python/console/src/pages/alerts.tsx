/** What is told of, where to, and what was told; silence, and a test. The rules are fairlead.toml's. */
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { get, send } from '../api/client';
import type { AlertLine, AlertsPage, Tested } from '../api/types';
import { useWrite } from '../api/write';
import { At, Badge, Button, Choose, classes, Facts, Name, Usd, ui } from '../ui/basics';
import { Empty, FirstPage, Older, said } from '../ui/states';
import s from './budgets.module.css';

const KEY = ['alerts'];
const PAGE = 50;

export function AlertsTab() {
  const list = useInfiniteQuery({
    queryKey: KEY,
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      get<AlertsPage>('/admin/alerts', { limit: PAGE, before: pageParam || undefined }, signal),
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: 30_000,
  });
  const rules = list.data?.pages[0]?.rules;
  const rows = list.data?.pages.flatMap((page) => page.data) ?? [];
  return (
    <>
      <FirstPage list={list} height={320} />
      {rules && <Rules of={rules} />}
      {list.data && (
        <section className={ui.card} aria-labelledby="told">
          <h2 id="told">What was told</h2>
          {rows.length === 0 ? (
            <Empty title="No alert was raised yet.">
              <p>Each is raised once: of a budget at each threshold in each of its windows.</p>
            </Empty>
          ) : (
            <div className={ui.scroll} tabIndex={0} role="region" aria-label="Alerts, newest first">
              <table className={classes(ui.table, s.table)}>
                <thead>
                  <tr>
                    <th scope="col">Time</th>
                    <th scope="col">Kind</th>
                    <th scope="col">What</th>
                    <th scope="col">Sent</th>
                  </tr>
                </thead>
                <tbody>
                  {rows.map((row) => (
                    <tr key={row.id}>
                      <td className={ui.nowrap}>
                        <At at={row.at} />
                      </td>
                      <td>{row.kind.replaceAll('_', ' ')}</td>
                      <td>
                        <Name most={400}>{row.text}</Name>
                      </td>
                      <td>
                        <Sent of={row} />
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
        </section>
      )}
    </>
  );
}

function Sent({ of }: { of: AlertLine }) {
  if (of.deliveries.length === 0) return <span className={ui.muted}>to the log alone</span>;
  return of.deliveries.map((one) => (
    <div key={one.channel}>
      {one.channel}:{' '}
      {one.done_at ? (
        <>
          done <At at={one.done_at} />
        </>
      ) : (
        'is tried again'
      )}
      {one.attempts > 0 && <span className={ui.warn}> ({one.attempts} failed)</span>}
    </div>
  ));
}

function Rules({ of: rules }: { of: AlertsPage['rules'] }) {
  const client = useQueryClient();
  const [minutes, setMinutes] = useState('60');
  const silence = useWrite({
    mutationFn: (wanted: number) => send('PUT', '/admin/alerts/silence', { minutes: wanted }),
    onSettled: () => client.invalidateQueries({ queryKey: KEY }),
  });
  const test = useWrite({
    mutationFn: async () => (await send<{ data: Tested[] }>('POST', '/admin/alerts/test', {})).data,
  });
  const silent = rules.silenced_until !== null;
  const none = rules.channels.length === 0;
  return (
    <section className={ui.card} aria-labelledby="rules">
      <div className={ui.cardHead}>
        <h2 id="rules">Rules in force</h2>
        <Badge>read-only: fairlead.toml owns them</Badge>
      </div>
      <Facts
        of={[
          [
            'Budgets',
            rules.thresholds_percent.length ? `told at ${rules.thresholds_percent.join(' %, ')} % of each` : 'not told',
          ],
          [
            'Low credit',
            rules.low_balance_usd === null ? (
              'not told'
            ) : (
              <span key="l">
                told at a balance of <Usd usd={rules.low_balance_usd} /> or less, where credit is enforced
              </span>
            ),
          ],
          [
            'Unusual spend',
            rules.unusual_factor === null ? (
              'not told'
            ) : (
              <span key="u">
                told when an account’s day is {rules.unusual_factor} times the mean of the seven before, and{' '}
                <Usd usd={rules.unusual_usd} /> or more
              </span>
            ),
          ],
          [
            'Channels',
            none
              ? 'the log alone; [alerts] webhook_url or smtp names others'
              : rules.channels.map((channel) => (
                  <div key={channel.kind}>
                    {channel.kind}: <Name>{channel.to}</Name>
                  </div>
                )),
          ],
          [
            'State',
            silent ? (
              <span key="s" data-testid="silence">
                <Badge look="warn">silenced</Badge> until <At at={rules.silenced_until} />; what is raised stands below
                and in the log
              </span>
            ) : (
              <span key="s" data-testid="silence">
                <Badge look="good">on</Badge>
              </span>
            ),
          ],
        ]}
      />
      {(silence.error || test.error) && (
        <div className={ui.alert} role="alert">
          {said(silence.error ?? test.error)}
        </div>
      )}
      <div className={ui.row} style={{ marginTop: 12 }}>
        {silent ? (
          <Button onClick={() => silence.mutate(0)} busy={silence.isPending}>
            End the silence
          </Button>
        ) : (
          <>
            <Choose
              label="Silence for"
              value={minutes}
              choices={[
                { value: '60', label: '1 hour' },
                { value: '480', label: '8 hours' },
                { value: '1440', label: '1 day' },
                { value: '10080', label: '7 days' },
              ]}
              onChange={setMinutes}
            />
            <Button onClick={() => silence.mutate(Number(minutes))} busy={silence.isPending}>
              Silence
            </Button>
          </>
        )}
        <Button
          onClick={() => test.mutate()}
          busy={test.isPending}
          disabled={none}
          title={none ? 'There is no channel to test' : undefined}
        >
          Send a test
        </Button>
      </div>
      {test.data && (
        <ul className={ui.stack} style={{ gap: 4, marginTop: 12 }} aria-label="What became of the test" role="status">
          {test.data.map((one) => (
            <li key={one.channel}>
              {one.channel}: {one.delivered ? 'delivered' : <Name most={300}>{`failed: ${one.error ?? ''}`}</Name>}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
