/** Calls in progress, in a strip above the rows: each joins them when it is settled. */
import { useQuery } from '@tanstack/react-query';
import { get } from '../api/client';
import type { RunningPage } from '../api/types';
import { duration, group as grouped } from '../format';
import { classes, Name, ui } from '../ui/basics';
import { Without } from '../ui/states';
import s from './requests.module.css';

const LIVE_MS = 2000;
const QUIET_MS = 10_000;
/** So many are named; the others are counted. */
const MOST_SHOWN = 6;

interface Wanted {
  model?: string;
  provider?: string;
  key?: string;
}

export function Running({ wanted, isLive }: { wanted: Wanted; isLive: boolean }) {
  const running = useQuery({
    queryKey: ['requests', 'running'],
    queryFn: ({ signal }) => get<RunningPage>('/admin/requests/running', {}, signal),
    refetchInterval: isLive ? LIVE_MS : QUIET_MS,
  });
  const page = running.data;
  if (!page || running.error) return <Without what="Calls in progress" query={running} />;
  const rows = page.data.filter(
    (row) =>
      (!wanted.model || row.model === wanted.model) &&
      (!wanted.provider || row.provider === wanted.provider) &&
      (!wanted.key || String(row.key_id) === wanted.key),
  );
  const filtered = !!(wanted.model || wanted.provider || wanted.key);
  const total = filtered ? rows.length : page.total;
  if (total === 0) return null;
  const more = total - Math.min(rows.length, MOST_SHOWN);
  return (
    <section aria-label="Calls in progress" className={s.running}>
      <strong>{grouped(total)} running</strong>
      <ul>
        {rows.slice(0, MOST_SHOWN).map((row) => (
          <li key={row.id} title={`${row.id}, since ${row.started_at}, $${row.reserved_usd} held`}>
            <Name most={30}>{row.model}</Name> <span className={ui.muted}>at</span> <Name most={20}>{row.provider}</Name>
            {row.key.name && (
              <>
                {' '}
                <span className={ui.muted}>by</span> <Name most={20}>{row.key.name}</Name>
              </>
            )}{' '}
            <span className={classes(ui.muted, s.since)}>{duration(row.running_ms)}</span>
          </li>
        ))}
        {more > 0 && <li className={ui.muted}>{grouped(more)} more</li>}
      </ul>
    </section>
  );
}
