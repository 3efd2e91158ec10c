/** One model: where it is served, at what price, how well, and how to call it. */
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { get } from '../api/client';
import type { Endpoint, LatencyReply, Model, PriceHistory, SeriesReply } from '../api/types';
import { contextLength, count, duration, measured, percent, speed } from '../format/number';
import { useTitle } from '../shell/title';
import { instant, useBounds } from '../state/hooks';
import { Badge, Choose, Code, Facts, Name, Usd, ui } from '../ui/basics';
import { Chart, type Line } from '../ui/chart';
import { Loaded } from '../ui/states';
import { callIn, LANGUAGES } from './code';
import { NoTraffic, price } from './models';
import { axisMoney } from './overview';
import { Prices } from './price-history';
import { STEP_WORDS } from './steps';
import { useTraffic } from './traffic';

export function ModelPage() {
  const { _splat: id = '' } = useParams({ strict: false }) as { _splat?: string };
  const heading = useTitle(`Model ${id}`);
  const query = useQuery({
    queryKey: ['model', id],
    queryFn: async ({ signal }) =>
      await get<{ data: Model; prices: PriceHistory[] }>(
        `/admin/models/${id.split('/').map(encodeURIComponent).join('/')}`,
        {},
        signal,
      ),
    refetchInterval: 15_000,
    placeholderData: undefined,
  });
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          <Name>{id}</Name>
        </h1>
        <Link to="/models">All models</Link>
      </div>
      <Loaded query={query} height={400}>
        {({ data: model, prices }) => (
          <>
            <section className={ui.card}>
              {model.description && <p style={{ marginBottom: 8 }}>{model.description.slice(0, 600)}</p>}
              <Facts
                of={[
                  ['Name', <Name key="n">{model.name}</Name>],
                  model.aliases.length > 0 && [
                    'Aliases',
                    model.aliases.map((alias) => (
                      <div key={alias} className={ui.mono}>
                        <Name>{alias}</Name>
                      </div>
                    )),
                  ],
                  ['Context', model.context_length ? `${count(model.context_length)} tokens` : 'unknown'],
                  [
                    'Longest answer',
                    model.max_completion_tokens ? `${count(model.max_completion_tokens)} tokens` : 'unknown',
                  ],
                  ['Takes', model.input.join(', ')],
                  ['Gives', model.output.join(', ')],
                  ['Parameters', model.supported_parameters?.join(', ') || 'unknown'],
                  ['Reasoning', model.reasoning ? 'yes' : 'no'],
                  ['Released', model.created ? new Date(model.created * 1000).toISOString().slice(0, 10) : 'unknown'],
                  model.expires !== null && ['Ends', model.expires],
                  ['Stated in', model.source],
                  [
                    'Last 7 days',
                    <span key="u">
                      {count(model.requests_7d)} requests, <Usd usd={model.usd_7d} />
                    </span>,
                  ],
                ]}
              />
            </section>
            <Endpoints of={model} />
            <Prices of={prices} />
            <Use of={model.id} />
            <CallIt id={model.id} />
          </>
        )}
      </Loaded>
    </>
  );
}

function Endpoints({ of: model }: { of: Model }) {
  return (
    <section className={ui.card}>
      <h2>Endpoints, the preferred first</h2>
      <div className={ui.scroll} tabIndex={0} role="region" aria-label="Endpoints">
        <table className={ui.table}>
          <thead>
            <tr>
              <th scope="col">Provider</th>
              <th scope="col">State</th>
              <th scope="col" className={ui.num}>
                $ / M in
              </th>
              <th scope="col" className={ui.num}>
                $ / M out
              </th>
              <th scope="col" className={ui.num}>
                Cache read / write
              </th>
              <th scope="col" className={ui.num}>
                Context
              </th>
              <th scope="col" className={ui.num}>
                First token p50 / p90
              </th>
              <th scope="col" className={ui.num}>
                Speed p50 / p90
              </th>
              <th scope="col" className={ui.num}>
                Uptime 5 m / 30 m / 24 h
              </th>
              <th scope="col">Kind</th>
            </tr>
          </thead>
          <tbody>
            {model.endpoints.map((endpoint) => {
              const { health, prices } = endpoint;
              return (
                <tr key={endpoint.id}>
                  <td>
                    <Name>{endpoint.provider_name}</Name>
                    <div className={ui.muted}>
                      <Name>{[endpoint.upstream_model, endpoint.region].filter(Boolean).join(', ')}</Name>
                    </div>
                  </td>
                  <td>
                    <State of={endpoint} />
                  </td>
                  <td className={ui.num}>{price(prices.prompt)}</td>
                  <td className={ui.num}>
                    {price(prices.completion)}
                    {prices.conditions > 0 && <div className={ui.muted}>{prices.conditions} under conditions</div>}
                  </td>
                  <td className={ui.num}>
                    {price(prices.cache_read)} / {price(prices.cache_write)}
                  </td>
                  <td className={ui.num}>{contextLength(endpoint.context_length ?? model.context_length)}</td>
                  <td className={ui.num}>
                    {health?.first_token_ms ? (
                      `${measured(health.first_token_ms.p50)} / ${measured(health.first_token_ms.p90)}`
                    ) : (
                      <NoTraffic />
                    )}
                  </td>
                  <td className={ui.num}>
                    {health?.tokens_per_second ? (
                      `${speed(health.tokens_per_second.p50)} / ${speed(health.tokens_per_second.p90)}`
                    ) : (
                      <NoTraffic />
                    )}
                  </td>
                  <td className={ui.num}>
                    {[health?.uptime_5m, health?.uptime_30m, health?.uptime_1d]
                      .map((value) => (typeof value === 'number' ? `${value.toFixed(1)} %` : '—'))
                      .join(' / ')}
                  </td>
                  <td>
                    {[
                      endpoint.quantization,
                      endpoint.status !== 'ga' && endpoint.status,
                      endpoint.implicit_caching && 'caches by itself',
                      endpoint.tiers.length > 0 && `tiers: ${endpoint.tiers.join(', ')}`,
                    ]
                      .filter(Boolean)
                      .join(' · ')}
                    <div className={ui.muted}>{endpoint.dialects.join(', ')}</div>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

export function State({ of: { health } }: { of: Pick<Endpoint, 'health'> }) {
  if (!health) return <span className={ui.muted}>not used yet</span>;
  if (health.breaker === 'open') return <Badge look="bad">shut out</Badge>;
  if (health.breaker === 'due') return <Badge look="warn">one may try</Badge>;
  if (health.standing === 'down' || health.outage)
    return <Badge look="bad">{health.outage ? 'fails now' : 'down'}</Badge>;
  if (health.standing === 'degraded') return <Badge look="warn">degraded</Badge>;
  return <Badge look="good">works</Badge>;
}

function Use({ of: id }: { of: string }) {
  const bounds = useBounds();
  const ask = { model: id, to: bounds.to, zone: bounds.zone };
  const usage = useQuery({
    queryKey: ['series', 'model', id, bounds],
    queryFn: ({ signal }) =>
      get<SeriesReply>(
        '/admin/usage/series',
        { ...ask, from: instant(bounds.from), metrics: 'cost,requests,errors,error_share', group: 'provider' },
        signal,
      ),
    refetchInterval: bounds.refetchInterval,
  });
  const latency = useQuery({
    queryKey: ['latency', 'model', id, bounds],
    queryFn: ({ signal }) =>
      get<LatencyReply>(
        '/admin/usage/latency',
        { ...ask, from: instant(bounds.from), metric: 'ttft', p: '50', group: 'provider' },
        signal,
      ),
    refetchInterval: bounds.refetchInterval,
  });
  return (
    <section className={ui.card}>
      <div className={ui.cardHead}>
        <h2>Use</h2>
        <Link to="/requests" search={((before: object) => ({ ...before, model: id })) as never}>
          View requests
        </Link>
      </div>
      <Loaded query={usage} height={260}>
        {(data) =>
          data.totals.requests === 0 ? (
            <p className={ui.muted}>It was not called in this time.</p>
          ) : (
            <>
              <p>
                {count(Number(data.totals.requests))} requests, <Usd usd={String(data.totals.cost)} />,{' '}
                {percent(Number(data.totals.error_share))} failed.
              </p>
              <Chart
                label="Spend by provider"
                kind="stacked"
                per={STEP_WORDS[data.range.step] ?? ''}
                times={(data.series[0]?.points ?? []).map((point) => Date.parse(String(point[0])))}
                lines={data.series.map(
                  (one, index): Line => ({
                    id: one.id,
                    label: one.label,
                    color: index + 1,
                    values: one.points.map((point) => Number(point[1])),
                  }),
                )}
                format={(value) => (value === null ? '—' : axisMoney(value))}
              />
            </>
          )
        }
      </Loaded>
      <Loaded query={latency} height={220}>
        {(data) =>
          data.series.length === 0 ? null : (
            <Chart
              label="Median time to first token by provider"
              kind="lines"
              per={STEP_WORDS[data.range.step] ?? ''}
              times={(data.series[0]?.points ?? []).map((point) => Date.parse(String(point[0])))}
              lines={data.series.map(
                (one, index): Line => ({
                  id: one.id,
                  label: `${one.label} p50`,
                  color: index + 1,
                  values: one.points.map((point) => (typeof point[1] === 'number' ? point[1] : null)),
                }),
              )}
              format={duration}
            />
          )
        }
      </Loaded>
    </section>
  );
}

function CallIt({ id }: { id: string }) {
  const traffic = useTraffic();
  const [language, setLanguage] = useState('curl');
  return (
    <section className={ui.card}>
      <div className={ui.cardHead}>
        <h2>Call it</h2>
        <Choose label="Language" value={language} choices={LANGUAGES} onChange={setLanguage} />
      </div>
      <Code label={`A call in ${language}`}>
        {callIn(language, traffic.address, { model: id, messages: [{ role: 'user', content: 'Hello' }] })}
      </Code>
    </section>
  );
}
