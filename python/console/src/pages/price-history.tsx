/** What each endpoint of a model has cost since when: steps over time, and the same as a table. */
import { useState } from 'react';
import type { PriceHistory } from '../api/types';
import { Badge, Choose, classes, Name, ui } from '../ui/basics';
import { colour } from '../ui/chart';
import chart from '../ui/chart.module.css';
import s from './models.module.css';

const KINDS = [
  { value: 'prompt', label: 'Dollars per million tokens in' },
  { value: 'completion', label: 'Dollars per million tokens out' },
  { value: 'cache_read', label: 'Dollars per million tokens from the cache' },
] as const;
type Kind = (typeof KINDS)[number]['value'];
const WIDTH = 720;
const HEIGHT = 200;
const LEFT = 64;
const BOTTOM = 24;
const DAY_MS = 86_400_000;

export interface Stepped {
  id: number;
  label: string;
  /** Moments and values from then on. */
  points: [number, number][];
}

/** The lines of a kind of price: endpoints with a dated one. A price without a date is not drawn. */
export function stepped(of: readonly PriceHistory[], kind: Kind): Stepped[] {
  return of
    .map((one) => ({
      id: one.endpoint,
      label: [one.provider_name, one.region].filter(Boolean).join(', '),
      points: one.steps.flatMap((step): [number, number][] => {
        const value = step.prices[kind] ?? step.prices.prompt;
        return step.from === null ? [] : [[Date.parse(step.from), Number(value)]];
      }),
    }))
    .filter((line) => line.points.length > 0);
}

export function Prices({ of: history }: { of: PriceHistory[] }) {
  const [kind, setKind] = useState<Kind>('prompt');
  const lines = stepped(history, kind);
  const changes = history.some((one) => one.steps.length > 1);
  return (
    <section className={ui.card} aria-label="Price history">
      <div className={ui.cardHead}>
        <h2>Price history</h2>
        {changes && (
          <Choose label="Price" value={kind} choices={KINDS} onChange={(value) => setKind(value as Kind)} />
        )}
      </div>
      {changes && lines.length > 0 ? (
        <Steps lines={lines} says={KINDS.find((one) => one.value === kind)!.label} />
      ) : (
        <p className={ui.muted}>No change of a price is known here: each has one.</p>
      )}
      <details className={chart.twin} open={!changes}>
        <summary>As a table</summary>
        <div tabIndex={0} role="region" aria-label="Prices as a table">
          <table className={ui.table}>
            <thead>
              <tr>
                <th scope="col">Provider</th>
                <th scope="col">From (UTC)</th>
                <th scope="col" className={ui.num}>
                  $ / M in
                </th>
                <th scope="col" className={ui.num}>
                  $ / M out
                </th>
                <th scope="col" className={ui.num}>
                  Cache read / write
                </th>
                <th scope="col">Stated by</th>
              </tr>
            </thead>
            <tbody>
              {history.flatMap((one) =>
                one.steps.map((step) => (
                  <tr key={`${one.endpoint} ${step.from}`}>
                    <td>
                      <Name>{one.provider_name}</Name>
                      {one.region && `, ${one.region}`}
                    </td>
                    <td className={ui.nowrap}>
                      {step.from ?? 'no date'} {step.in_force && <Badge look="good">in force</Badge>}
                    </td>
                    <td className={ui.num}>{step.prices.prompt}</td>
                    <td className={ui.num}>{step.prices.completion}</td>
                    <td className={ui.num}>
                      {step.prices.cache_read ?? '—'} / {step.prices.cache_write ?? '—'}
                    </td>
                    <td>
                      <Name most={60}>{step.source}</Name>
                      {step.checked && <span className={ui.muted}> seen {step.checked}</span>}
                    </td>
                  </tr>
                )),
              )}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

function Steps({ lines, says }: { lines: Stepped[]; says: string }) {
  const now = Date.now();
  const first = Math.min(now - 30 * DAY_MS, ...lines.map((line) => line.points[0]![0]));
  const end = Math.max(now, ...lines.map((line) => line.points.at(-1)![0] + 7 * DAY_MS));
  const most = Math.max(...lines.flatMap((line) => line.points.map((point) => point[1]))) * 1.1 || 1;
  const x = (at: number) => LEFT + ((at - first) / (end - first)) * (WIDTH - LEFT - 8);
  const y = (value: number) => 8 + (1 - value / most) * (HEIGHT - BOTTOM - 8);
  const marks = [0, 0.25, 0.5, 0.75, 1].map((part) => first + part * (end - first));
  return (
    <>
      <div className={ui.scroll} tabIndex={0} role="region" aria-label="Chart of prices">
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          className={s.plot}
          role="img"
          aria-label={`${says}, from day to day. The same as a table below.`}
        >
          {[0, 0.5, 1].map((part) => (
            <g key={part}>
              <line className={s.axis} x1={LEFT} x2={WIDTH - 8} y1={y(part * most)} y2={y(part * most)} />
              <text x={LEFT - 8} y={y(part * most) + 4} textAnchor="end">
                ${Number((part * most).toPrecision(2))}
              </text>
            </g>
          ))}
          {marks.map((at, index) => (
            <text
              key={at}
              x={x(at)}
              y={HEIGHT - 6}
              textAnchor={index === 0 ? 'start' : index === marks.length - 1 ? 'end' : 'middle'}
            >
              {new Date(at).toISOString().slice(0, 10)}
            </text>
          ))}
          {lines.map((line, index) => (
            <path
              key={line.id}
              d={path(line.points, end, x, y)}
              fill="none"
              stroke={colour(index + 1)}
              strokeWidth={2}
              strokeDasharray={index >= 6 ? '6 4' : undefined}
            >
              <title>{line.label}</title>
            </path>
          ))}
        </svg>
      </div>
      <div className={chart.key}>
        {lines.map((line, index) => (
          <span key={line.id}>
            <span className={chart.swatch} style={{ background: colour(index + 1) }} />
            <Name most={32}>{line.label}</Name>
          </span>
        ))}
        <span className={classes(ui.muted)}>{says}</span>
      </div>
    </>
  );
}

/** A line that goes sideways until the price changes, and then up or down. */
export function path(
  points: readonly [number, number][],
  end: number,
  x: (at: number) => number,
  y: (value: number) => number,
): string {
  const round = (value: number) => Math.round(value * 10) / 10;
  const parts = points.map(([at, value], index) =>
    index === 0 ? `M${round(x(at))} ${round(y(value))}` : `H${round(x(at))}V${round(y(value))}`,
  );
  return `${parts.join('')}H${round(x(end))}`;
}
