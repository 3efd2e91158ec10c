/** How many requests there were over the range of the list: from the sums, which know some of its filters. */
import { useQuery } from '@tanstack/react-query';
import { memo } from 'react';
import { get } from '../api/client';
import type { SeriesReply } from '../api/types';
import { count } from '../format/number';
import { instant, useBounds, useSetRange } from '../state/hooks';
import { fixed } from '../state/range';
import { ui } from '../ui/basics';
import { Chart } from '../ui/chart';
import { Loaded } from '../ui/states';
import { STEP_WORDS } from './steps';

type Filters = { readonly [name: string]: string | undefined };

export interface Asked {
  /** What the sums are asked. */
  query: Record<string, string>;
  /** What is counted: all, or those that failed or were tried again. */
  metrics: string;
  label: string;
  /** Filters of the list that the sums know nothing of. */
  without: string[];
}

const PLACE = ['model', 'provider'];
const ALONE = ['team', 'user', 'app', 'preset'];

/** What of a list's filters can be summed: model and provider together, with a key by days; any other alone. */
export function summed(filters: Filters): Asked {
  const { failed, retried, split, arm, ...rest } = filters;
  const given = Object.entries(rest).filter((entry): entry is [string, string] => !!entry[1]);
  const query: Record<string, string> = {};
  const without: string[] = [];
  if (arm) given.push(['arm', split ? `${split}/${arm}` : arm]);
  else if (split) without.push('split');
  const places = given.filter(([name]) => PLACE.includes(name) || name === 'key');
  const alone = given.filter(([name]) => ALONE.includes(name) || name === 'arm');
  for (const [name, value] of places.length > 0 ? places : alone.slice(0, 1)) query[name] = value;
  for (const [name] of given) if (!(name in query)) without.push(name);
  const metrics = failed ? 'errors' : retried ? 'retried' : 'requests,errors';
  return {
    query,
    metrics,
    label: failed ? 'Failed requests' : retried ? 'Requests that were tried again' : 'Requests',
    without,
  };
}

export const Volume = memo(function Volume({ filters }: { filters: Filters }) {
  const bounds = useBounds();
  const setRange = useSetRange();
  const asked = summed(filters);
  const usage = useQuery({
    queryKey: ['series', 'volume', asked.query, asked.metrics, bounds],
    queryFn: ({ signal }) =>
      get<SeriesReply>(
        '/admin/usage/series',
        { ...asked.query, metrics: asked.metrics, from: instant(bounds.from), to: bounds.to, zone: bounds.zone },
        signal,
      ),
    refetchInterval: bounds.refetchInterval,
  });
  return (
    <section aria-label="Volume">
      <Loaded query={usage} height={124}>
        {(data) => {
          const points = data.series[0]?.points ?? [];
          const total = Number(data.totals[asked.metrics.split(',')[0]!] ?? 0);
          const values = (at: number) => points.map((point) => Number(point[at] ?? 0));
          const all = values(1);
          const failed = values(2);
          const lines =
            asked.metrics === 'requests,errors'
              ? [
                  { id: 'ok', label: 'ended well', color: 1, values: all.map((one, at) => one - failed[at]!) },
                  { id: 'failed', label: 'failed', color: 2, values: failed },
                ]
              : [{ id: 'all', label: asked.label, color: asked.metrics === 'errors' ? 2 : 1, values: all }];
          return (
            <>
              {total > 0 && (
                <Chart
                  label={asked.label}
                  kind="stacked"
                  height={88}
                  per={STEP_WORDS[data.range.step] ?? ''}
                  times={points.map((point) => Date.parse(String(point[0])))}
                  lines={lines}
                  format={(value) => (value === null ? '—' : count(value))}
                  onZoom={(from, to) => setRange(fixed(from, to, bounds.zone))}
                />
              )}
              <p className={ui.hint}>
                {count(total)} {asked.label.toLowerCase()} in this range, drawn {STEP_WORDS[data.range.step]} of{' '}
                {data.range.zone}, from the sums.
                {asked.without.length > 0 &&
                  ` They know nothing of ${asked.without.map((name) => name.replaceAll('_', ' ')).join(', ')}: this is without.`}
              </p>
            </>
          );
        }}
      </Loaded>
    </section>
  );
});
