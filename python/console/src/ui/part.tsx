import { type ReactNode, useState } from 'react';
import { count } from '../format/number';
import { Button, ui } from './basics';

/** So many rows are drawn at once. */
const STEP = 50;
/** So many at most are drawn by one press: more would stop the page for seconds. */
const MOST = 2000;

/** The first rows of a long list, how many there are, and the others on request. */
export function Part<T>({ rows, children }: { rows: readonly T[]; children: (shown: T[]) => ReactNode }) {
  const [most, show] = useState(STEP);
  const left = rows.length - most;
  return (
    <>
      {children(rows.slice(0, most))}
      {left > 0 && (
        <div className={ui.row}>
          <span className={ui.muted}>
            {count(most)} of {count(rows.length)} are shown.
          </span>
          {(left > STEP || rows.length > MOST) && <Button onClick={() => show(most + STEP)}>{STEP} more</Button>}
          {rows.length <= MOST && (
            <Button onClick={() => show(Number.POSITIVE_INFINITY)}>Show all {count(rows.length)}</Button>
          )}
        </div>
      )}
    </>
  );
}
