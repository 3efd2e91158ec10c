/** Lines and stacked bars over time. The only file that knows uPlot. */
import 'uplot/dist/uPlot.min.css';
import { useEffect, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import { day, minutes, moment } from '../format/time';
import { useThemeVersion } from '../shell/theme';
import { useZone } from '../state/hooks';
import { classes, Name, ui } from './basics';
import s from './chart.module.css';

export interface Line {
  id: string;
  label: string;
  /** Number of a category's colour, from 1. */
  color: number;
  values: (number | null)[];
  /** As the viewer reads it; by default the format of the chart. */
  width?: number;
  dash?: number[];
}

export interface ChartProps {
  label: string;
  /** Unix milliseconds at which buckets begin. */
  times: number[];
  lines: Line[];
  kind: 'lines' | 'stacked';
  format: (value: number | null) => string;
  /** Such as "per hour". */
  per: string;
  height?: number;
  onZoom?: (from: number, to: number) => void;
  /** A click on a name; with shift: without it. */
  onPick?: (id: string, without: boolean) => void;
}

const COLOURS = 7;

/** The colour of a category. Seven and eight are one and two again, hatched where areas are drawn. */
export function colour(index: number): string {
  return `var(--c${((index - 1) % COLOURS) + 1})`;
}

export function Chart(props: ChartProps) {
  const { times, lines, kind, height = 220 } = props;
  const place = useRef<HTMLDivElement>(null);
  const zone = useZone();
  const theme = useThemeVersion();
  const [asTable, showTable] = useState(false);
  const [tip, setTip] = useState<{ index: number; left: number } | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const data = useMemo(() => {
    const shown = kind === 'stacked' ? stacked(lines) : lines.map((line) => line.values);
    return [times.map((at) => at / 1000), ...shown] as uPlot.AlignedData;
  }, [times, lines, kind]);
  // A new chart where something else than figures changes.
  const shape = `${kind} ${lines.map((line) => `${line.id}:${line.color}:${line.dash}:${line.width}`).join(' ')} ${zone} ${theme} ${height}`;
  const plot = useRef<uPlot | null>(null);

  useEffect(() => {
    const box = place.current;
    if (!box) return;
    const of = inksOf(box);
    const axis = {
      stroke: of('--muted'),
      grid: { stroke: of('--hairline'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    const chart = new uPlot(
      {
        width: Math.max(120, box.clientWidth),
        height,
        // The label of a time at the right edge stands half beyond it.
        padding: [8, 22, 0, 0],
        legend: { show: false },
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
        cursor: {
          drag: { x: true, y: false, setScale: false },
          points: { show: kind === 'lines' },
          sync: { key: 'time' },
        },
        scales: {
          x: { range: (_u, least, most) => [least, most + lasting(latest.current.times)] },
          y: { range: (_u, _least, most) => [0, most > 0 ? most * 1.08 : 1] },
        },
        axes: [
          {
            ...axis,
            size: 32,
            values: (_u, splits, _axis, _space, incr) =>
              splits.map((at) =>
                incr >= 86_400
                  ? day(at * 1000, zone)
                  : minutes(at * 1000, zone) === '00:00'
                    ? day(at * 1000, zone)
                    : minutes(at * 1000, zone),
              ),
          },
          {
            ...axis,
            size: (_u, labels) => room(labels),
            values: (_u, splits) => splits.map((value) => latest.current.format(value)),
          },
        ],
        series: [
          {},
          ...lines.map((line) => {
            const ink = of(`--c${((line.color - 1) % COLOURS) + 1}`);
            return kind === 'stacked'
              ? {
                  stroke: ink,
                  fill: line.color > COLOURS ? hatched(ink) : ink,
                  width: 0,
                  paths: uPlot.paths.bars!({ size: [0.86, 64], align: 1 }),
                  points: { show: false },
                }
              : {
                  stroke: ink,
                  width: line.width ?? 2,
                  dash: line.dash ?? [],
                  spanGaps: false,
                  // uPlot would fill them with white.
                  points: {
                    show: true,
                    size: 5,
                    fill: ink,
                    filter: (u: uPlot, index: number) => alone(u.data[index]),
                  },
                };
          }),
        ],
        hooks: {
          setCursor: [
            (u) =>
              setTip(
                u.cursor.idx === null || u.cursor.idx === undefined || (u.cursor.left ?? -1) < 0
                  ? null
                  : { index: u.cursor.idx, left: u.cursor.left ?? 0 },
              ),
          ],
          setSelect: [
            (u) => {
              if (u.select.width > 6)
                latest.current.onZoom?.(
                  u.posToVal(u.select.left, 'x') * 1000,
                  u.posToVal(u.select.left + u.select.width, 'x') * 1000,
                );
              u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
        },
      },
      data,
      box,
    );
    plot.current = chart;
    const sized = new ResizeObserver(() => chart.setSize({ width: Math.max(120, box.clientWidth), height }));
    sized.observe(box);
    return () => {
      sized.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data), [data]);

  const ordered = lines;
  return (
    <div className={s.box}>
      <div
        ref={place}
        className={s.canvas}
        style={{ height }}
        role="img"
        aria-label={`${props.label}, ${props.per}. The same as a table below.`}
      />
      {tip && times[tip.index] !== undefined && (
        <div className={s.tip} style={tip.left > 240 ? { left: 8 } : { right: 8 }} aria-hidden="true">
          <div>
            {moment(times[tip.index]!, zone)} <span className={ui.muted}>{props.per}</span>
          </div>
          <table>
            <tbody>
              {ordered.map((line) => (
                <tr key={line.id}>
                  <td>
                    <span className={s.swatch} style={{ background: colour(line.color), display: 'inline-block' }} />
                  </td>
                  <td>
                    <Name most={28}>{line.label}</Name>
                  </td>
                  <td className={ui.num}>{props.format(line.values[tip.index] ?? null)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div className={s.key}>
        {ordered.map((line) => {
          const inside = (
            <>
              <span className={s.swatch} style={{ background: colour(line.color) }} />
              <Name most={32}>{line.label}</Name>
            </>
          );
          return props.onPick ? (
            <button
              key={line.id}
              type="button"
              title="Only this; with Shift the requests of it"
              onClick={(event) => props.onPick?.(line.id, event.shiftKey)}
            >
              {inside}
            </button>
          ) : (
            <span key={line.id}>{inside}</span>
          );
        })}
      </div>
      <details className={s.twin} open={asTable}>
        <summary
          onClick={(event) => {
            event.preventDefault();
            showTable(!asTable);
          }}
        >
          As a table
        </summary>
        {asTable && (
          <div tabIndex={0} role="region" aria-label={`${props.label} as a table`}>
            <table className={classes(ui.table)}>
              <thead>
                <tr>
                  <th scope="col">From ({props.per})</th>
                  {ordered.map((line) => (
                    <th scope="col" className={ui.num} key={line.id}>
                      <Name most={32}>{line.label}</Name>
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {times.map((at, index) => (
                  <tr key={at}>
                    <td>{moment(at, zone)}</td>
                    {ordered.map((line) => (
                      <td className={ui.num} key={line.id}>
                        {props.format(line.values[index] ?? null)}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </details>
    </div>
  );
}

/** Heights of bars that stand on each other. The tallest is drawn first, the others over it. */
export function stacked(lines: readonly { values: (number | null)[] }[]): (number | null)[][] {
  const length = lines[0]?.values.length ?? 0;
  const under = new Array<number>(length).fill(0);
  const tops: (number | null)[][] = [];
  for (let at = lines.length - 1; at >= 0; at--) {
    tops[at] = lines[at]!.values.map((value, index) => {
      under[index]! += value ?? 0;
      return under[index]!;
    });
  }
  return tops;
}

/** Pixels beside the chart for its labels, of which none is cut off: digits of 12 px are not wider than 7.3. */
export function room(labels: readonly string[] | null): number {
  return Math.max(64, Math.ceil(7.3 * Math.max(0, ...(labels ?? []).map((label) => label.length))) + 12);
}

/** How long the last bucket is, in seconds: as long as the one before. */
function lasting(times: number[]): number {
  return times.length > 1 ? (times.at(-1)! - times.at(-2)!) / 1000 : 60;
}

/** Values without a neighbour, which no line shows. */
export function alone(values: ArrayLike<number | null | undefined> | undefined): number[] {
  const found: number[] = [];
  for (let at = 0; at < (values?.length ?? 0); at++) {
    if (isNumber(values?.[at]) && !isNumber(values?.[at - 1]) && !isNumber(values?.[at + 1])) found.push(at);
  }
  return found;
}

function isNumber(value: number | null | undefined): boolean {
  return value !== null && value !== undefined;
}

/** Colours of the style sheet as a canvas takes them: those of the theme, also where the system forces its own on the rest. */
function inksOf(box: HTMLElement): (name: string) => string {
  const probe = document.createElement('i');
  probe.style.forcedColorAdjust = 'none';
  return (name) => {
    box.append(probe);
    probe.style.color = `var(${name})`;
    const ink = getComputedStyle(probe).color;
    probe.remove();
    return ink;
  };
}

function hatched(ink: string): CanvasPattern | string {
  const tile = document.createElement('canvas');
  tile.width = 6;
  tile.height = 6;
  const pen = tile.getContext('2d');
  if (!pen) return ink;
  pen.strokeStyle = ink;
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(0, 6);
  pen.lineTo(6, 0);
  pen.stroke();
  return pen.createPattern(tile, 'repeat') ?? ink;
}
