/** How requests ended at an endpoint in the last day: a cell per half hour. Height says the same as colour. */
import type { Strip as Cells } from '../api/types';
import { count, percent } from '../format/number';
import { minutes } from '../format/time';
import { useZone } from '../state/hooks';
import { classes, ui } from '../ui/basics';
import s from './strip.module.css';

export type Look = 'none' | 'good' | 'warn' | 'bad';

/** Up to one in a hundred is good, up to one in five is not, more is bad. */
export function look(requests: number, failed: number): Look {
  if (requests === 0) return 'none';
  const share = failed / requests;
  return share <= 0.01 ? 'good' : share <= 0.2 ? 'warn' : 'bad';
}

const WORDS: Record<Look, string> = { none: 'no traffic', good: 'well', warn: 'partly', bad: 'badly' };

export function Strip({ of, name }: { of: Cells; name: string }) {
  const zone = useZone();
  const first = Date.parse(of.from);
  const all = of.requests.reduce((sum, one) => sum + one, 0);
  const failed = of.failed.reduce((sum, one) => sum + one, 0);
  const looks = of.requests.map((requests, at) => look(requests, of.failed[at] ?? 0));
  const worse = looks.filter((one) => one === 'bad' || one === 'warn').length;
  const says =
    all === 0
      ? 'no traffic in the last day'
      : `${percent((all - failed) / all)} of ${count(all)} requests ended well in the last day; ${worse} of 48 half hours were worse than that`;
  return (
    <span className={s.box}>
      <span className={s.strip} role="img" aria-label={`${name}: ${says}`}>
        {looks.map((one, at) => (
          <span
            key={first + at * of.step_ms}
            className={classes(s.cell, s[one])}
            title={`${minutes(first + at * of.step_ms, zone)}: ${
              one === 'none' ? WORDS.none : `${count(of.failed[at] ?? 0)} of ${count(of.requests[at] ?? 0)} failed`
            }`}
          />
        ))}
      </span>
      <span className={classes(ui.muted, s.sum)}>{all === 0 ? 'no traffic' : percent((all - failed) / all)}</span>
    </span>
  );
}
