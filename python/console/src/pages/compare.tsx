/** Up to six models side by side: facts where they differ, price against speed. */
import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import type { Model } from '../api/types';
import { money } from '../format/money';
import { contextLength, count, duration, measured, speed } from '../format/number';
import { useTitle } from '../shell/title';
import { useSetSearch } from '../state/hooks';
import { Choose, classes, Name, ui } from '../ui/basics';
import { colour } from '../ui/chart';
import { Empty, Loaded, Without } from '../ui/states';
import { fastest, MOST_PICKED, price, useEstimates } from './models';
import s from './models.module.css';
import { modelsQuery } from './traffic';

export function ComparePage() {
  const heading = useTitle('Compare models');
  const {
    ids = '',
    prompt,
    answer,
    plot = 'speed',
  } = useSearch({ strict: false }) as { ids?: string; prompt?: string; answer?: string; plot?: string };
  const setSearch = useSetSearch();
  const wanted = ids.split(',').filter(Boolean).slice(0, MOST_PICKED);
  const models = useQuery({ ...modelsQuery, refetchInterval: 15_000 });
  const { costs, query: estimating } = useEstimates(wanted, prompt, answer);
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Compare models
        </h1>
        <Link
          to="/models"
          search={
            ((before: object) => ({ ...before, ids: undefined, plot: undefined, picked: wanted.join(',') })) as never
          }
        >
          Back to the list
        </Link>
      </div>
      <Loaded query={models} height={400}>
        {(all) => {
          const found = wanted
            .map((id) => all.find((model) => model.id === id))
            .filter((model): model is Model => !!model);
          const missing = wanted.filter((id) => !found.some((model) => model.id === id));
          if (found.length === 0)
            return (
              <Empty title="No model is picked.">
                <Link to="/models">Pick some in the list</Link>
              </Empty>
            );
          return (
            <>
              {missing.length > 0 && <p className={ui.warn}>Not offered any more: {missing.join(', ')}</p>}
              <Without what="What the prompt would cost" query={estimating} />
              <FactsTable models={found} estimates={costs} />
              <section className={ui.card}>
                <div className={ui.cardHead}>
                  <h2>Price against {plot === 'ttft' ? 'time to first token' : 'speed'}</h2>
                  <Choose
                    label="Plot against"
                    value={plot}
                    choices={[
                      { value: 'speed', label: 'Tokens per second' },
                      { value: 'ttft', label: 'First token' },
                    ]}
                    onChange={(value) => setSearch({ plot: value === 'speed' ? undefined : value })}
                  />
                </div>
                <Scatter models={found} by={plot === 'ttft' ? 'ttft' : 'speed'} />
              </section>
            </>
          );
        }}
      </Loaded>
    </>
  );
}

type Row = [string, (model: Model) => string];

function FactsTable({ models, estimates }: { models: Model[]; estimates: Map<string, bigint> | undefined }) {
  const rows: Row[] = [
    ['$ / M in', (model) => price(model.endpoints[0]?.prices.prompt)],
    ['$ / M out', (model) => price(model.endpoints[0]?.prices.completion)],
    ['$ / M from the cache', (model) => price(model.endpoints[0]?.prices.cache_read)],
    ...(estimates
      ? [['This prompt', (model: Model) => (estimates.has(model.id) ? money(estimates.get(model.id)!) : '—')] as Row]
      : []),
    ['Context', (model) => contextLength(model.context_length)],
    ['Longest answer', (model) => contextLength(model.max_completion_tokens)],
    ['Takes', (model) => model.input.join(', ')],
    ['Gives', (model) => model.output.join(', ')],
    ['Reasoning', (model) => (model.reasoning ? 'yes' : 'no')],
    [
      'Tools',
      (model) =>
        model.supported_parameters === null ? 'unknown' : model.supported_parameters.includes('tools') ? 'yes' : 'no',
    ],
    [
      'First token, p50',
      (model) =>
        fastest(model)?.health?.first_token_ms
          ? measured(fastest(model)?.health?.first_token_ms?.p50 ?? 0)
          : 'no traffic',
    ],
    [
      'Speed, p50',
      (model) =>
        fastest(model)?.health?.tokens_per_second
          ? speed(fastest(model)?.health?.tokens_per_second?.p50)
          : 'no traffic',
    ],
    ['Endpoints', (model) => model.endpoints.map((endpoint) => endpoint.provider).join(', ')],
    ['Requests, 7 days', (model) => count(model.requests_7d)],
  ];
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label="Facts side by side">
      <table className={ui.table}>
        <thead>
          <tr>
            <th scope="col">
              <span className="sr-only">Fact</span>
            </th>
            {models.map((model) => (
              <th scope="col" key={model.id}>
                <Link to="/models/$" params={{ _splat: model.id }}>
                  <Name most={40}>{model.id}</Name>
                </Link>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(([name, of]) => {
            const values = models.map(of);
            const differ = new Set(values).size > 1;
            return (
              <tr key={name}>
                <th scope="row">
                  {name}
                  {differ && <span className="sr-only"> (differs)</span>}
                </th>
                {values.map((value, index) => (
                  <td key={models[index]!.id} className={classes(differ && s.differs)}>
                    {value}
                  </td>
                ))}
              </tr>
            );
          })}
        </tbody>
      </table>
      <p className={ui.hint}>Marked rows differ.</p>
    </div>
  );
}

const WIDTH = 720;
const HEIGHT = 300;
const LEFT = 64;
const BOTTOM = 40;

/** Price of answers (logarithmic) across, speed upwards; the area is how often it is called. The table above has the same figures. */
function Scatter({ models, by }: { models: Model[]; by: 'speed' | 'ttft' }): ReactNode {
  const points = models
    .map((model, index) => ({
      model,
      index,
      price: Number(model.endpoints[0]?.prices.completion ?? 0),
      value:
        (by === 'speed'
          ? fastest(model)?.health?.tokens_per_second?.p50
          : fastest(model)?.health?.first_token_ms?.p50) ?? null,
    }))
    .filter((point): point is typeof point & { value: number } => point.value !== null && point.price > 0);
  const without = models.length - points.length;
  if (points.length === 0)
    return <p className={ui.muted}>None of them has both a price and traffic of the last 30 minutes.</p>;
  const prices = points.map((point) => Math.log10(point.price));
  const least = Math.floor(Math.min(...prices));
  const most = Math.max(least + 1, Math.ceil(Math.max(...prices)));
  const top = Math.max(...points.map((point) => point.value)) * 1.15 || 1;
  const x = (price: number) => LEFT + ((Math.log10(price) - least) / (most - least)) * (WIDTH - LEFT - 120);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 16);
  const requests = Math.max(1, ...points.map((point) => point.model.requests_7d));
  return (
    <>
      <div className={ui.scroll} tabIndex={0} role="region" aria-label="Plot">
        <svg
          viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
          className={s.plot}
          role="img"
          aria-label="Price of answers against speed; the table has the same figures"
        >
          {Array.from({ length: most - least + 1 }, (_, index) => least + index).map((power) => (
            <g key={power}>
              <line className={s.axis} x1={x(10 ** power)} x2={x(10 ** power)} y1={8} y2={HEIGHT - BOTTOM} />
              <text x={x(10 ** power)} y={HEIGHT - BOTTOM + 18} textAnchor="middle">
                ${10 ** power}
              </text>
            </g>
          ))}
          {[0, 0.5, 1].map((share) => (
            <g key={share}>
              <line className={s.axis} x1={LEFT} x2={WIDTH - 120} y1={y(top * share)} y2={y(top * share)} />
              <text x={LEFT - 8} y={y(top * share) + 4} textAnchor="end">
                {by === 'speed' ? Math.round(top * share) : duration(top * share)}
              </text>
            </g>
          ))}
          <text x={(WIDTH - 60) / 2} y={HEIGHT - 4} textAnchor="middle">
            $ per million tokens out
          </text>
          {points.map((point) => {
            const radius = 5 + 11 * Math.sqrt(point.model.requests_7d / requests);
            return (
              <g key={point.model.id}>
                <circle
                  cx={x(point.price)}
                  cy={y(point.value)}
                  r={radius}
                  fill={colour(point.index + 1)}
                  fillOpacity={0.75}
                />
                <text x={x(point.price) + radius + 4} y={y(point.value) + 4}>
                  {point.model.id.slice(0, 28)}
                </text>
              </g>
            );
          })}
        </svg>
      </div>
      {without > 0 && (
        <p className={ui.hint}>
          {without} without traffic or price {without === 1 ? 'is' : 'are'} not drawn.
        </p>
      )}
    </>
  );
}
