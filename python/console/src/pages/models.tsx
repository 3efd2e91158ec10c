/** "Which model for this job, at what price, how fast now?" */
import { type UseQueryResult, useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo } from 'react';
import { ask, get } from '../api/client';
import type { Endpoint, Estimate, Model } from '../api/types';
import { money, nano } from '../format/money';
import { contextLength, count, measured, speed } from '../format/number';
import { useTitle } from '../shell/title';
import { useSetSearch } from '../state/hooks';
import { Badge, Button, Check, Choose, classes, Name, TextField, Usd, ui } from '../ui/basics';
import { Part } from '../ui/part';
import { Search } from '../ui/search';
import { Empty, Loaded, Without } from '../ui/states';
import s from './models.module.css';

const SORTS = [
  ['requests', 'Own requests, 7 days'],
  ['name', 'Name'],
  ['price', 'Price in'],
  ['completion_price', 'Price out'],
  ['context', 'Context'],
  ['first_token', 'First token'],
  ['throughput', 'Speed'],
  ['newest', 'Newest'],
  ['this_prompt', 'This prompt'],
] as const;
const INPUTS = ['text', 'image', 'file', 'audio', 'video'];
export const MOST_PICKED = 6;
const SHOWN = 200;

interface Asked {
  q?: string;
  sort?: string;
  input?: string;
  tools?: string;
  json?: string;
  reasoning?: string;
  context?: string;
  provider?: string;
  picked?: string;
  prompt?: string;
  answer?: string;
}

export function ModelsPage() {
  const heading = useTitle('Models');
  const search = useSearch({ strict: false }) as Asked;
  const setSearch = useSetSearch();
  const navigate = useNavigate();
  const picked = (search.picked ?? '').split(',').filter(Boolean);
  const byPrompt = search.sort === 'this_prompt';
  const ask = {
    q: search.q,
    input: search.input,
    parameters:
      [search.tools && 'tools', search.json && 'response_format', search.reasoning && 'reasoning']
        .filter(Boolean)
        .join(',') || undefined,
    provider: search.provider,
    context: /^\d{1,9}$/.test(search.context ?? '') ? search.context : undefined,
    sort: SORTS.some(([value]) => value === search.sort) && !byPrompt ? search.sort : undefined,
  };
  const models = useQuery({
    queryKey: ['models', ask],
    queryFn: ({ signal }) => get<{ data: Model[]; total: number }>('/admin/models', ask, signal),
    refetchInterval: 15_000,
  });
  const shown = useMemo(() => models.data?.data.slice(0, SHOWN) ?? [], [models.data]);
  const { costs: estimates, query: estimating } = useEstimates(
    shown.map((model) => model.id),
    search.prompt,
    search.answer,
  );
  const rows = useMemo(() => {
    if (!byPrompt || !estimates) return shown;
    const cost = (model: Model) => estimates.get(model.id) ?? 1n << 62n;
    return [...shown].sort((a, b) => (cost(a) < cost(b) ? -1 : cost(a) > cost(b) ? 1 : 0));
  }, [shown, estimates, byPrompt]);
  const pick = (id: string, on: boolean) => {
    const next = on ? [...picked, id].slice(-MOST_PICKED) : picked.filter((one) => one !== id);
    setSearch({ picked: next.join(',') || undefined }, true);
  };
  const toggle = (name: string) => (on: boolean) => setSearch({ [name]: on ? 'true' : undefined }, true);
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        Models
      </h1>
      <div className={ui.row}>
        <Search
          label="Search models"
          placeholder="Id, name or alias"
          value={search.q ?? ''}
          onSearch={(text) => setSearch({ q: text }, true)}
        />
        <Choose
          label="Takes"
          value={search.input ?? ''}
          choices={[
            { value: '', label: 'Every input' },
            ...INPUTS.map((value) => ({ value, label: `takes ${value}` })),
          ]}
          onChange={(value) => setSearch({ input: value || undefined })}
        />
        <Choose
          label="Context at least"
          value={search.context ?? ''}
          choices={[
            { value: '', label: 'Any context' },
            ...[32_000, 128_000, 200_000, 1_000_000].map((value) => ({
              value: String(value),
              label: `at least ${contextLength(value)}`,
            })),
          ]}
          onChange={(value) => setSearch({ context: value || undefined })}
        />
        <Choose
          label="Sort by"
          value={search.sort ?? 'requests'}
          choices={SORTS.map(([value, label]) => ({ value, label }))}
          onChange={(value) => setSearch({ sort: value === 'requests' ? undefined : value })}
        />
        <Check label="tools" checked={!!search.tools} onChange={toggle('tools')} />
        <Check label="JSON" checked={!!search.json} onChange={toggle('json')} />
        <Check label="reasoning" checked={!!search.reasoning} onChange={toggle('reasoning')} />
      </div>
      <div className={ui.row}>
        <TextField
          label="A prompt of (tokens)"
          inputMode="numeric"
          size={9}
          value={search.prompt ?? ''}
          placeholder="1200"
          onChange={(event) => setSearch({ prompt: event.target.value || undefined }, true)}
        />
        <TextField
          label="with an answer of"
          inputMode="numeric"
          size={9}
          value={search.answer ?? ''}
          placeholder="400"
          onChange={(event) => setSearch({ answer: event.target.value || undefined }, true)}
        />
        <span className={ui.hint}>
          What such a call would cost stands beside each model; sort by “This prompt” to rank by it.
        </span>
      </div>
      {picked.length > 0 && (
        <div className={classes(ui.note, ui.row)}>
          <span>
            {picked.length} picked{picked.length === MOST_PICKED && ', the most there can be'}:
          </span>
          {picked.map((id) => (
            <Button key={id} onClick={() => pick(id, false)} aria-label={`Do not compare ${id}`}>
              <Name most={40}>{id}</Name> ✕
            </Button>
          ))}
          <Button
            look="primary"
            disabled={picked.length < 2}
            onClick={() =>
              void navigate({
                to: '/models/compare',
                search: ((before: Asked) => ({
                  ids: picked.join(','),
                  prompt: before.prompt,
                  answer: before.answer,
                })) as never,
              })
            }
          >
            Compare
          </Button>
        </div>
      )}
      <Without what="What the prompt would cost" query={estimating} />
      <Loaded query={models} height={480}>
        {(data) =>
          rows.length === 0 ? (
            data.total === 0 ? (
              <Empty title="No model is offered: no provider is configured.">
                <p>
                  Set a provider’s key in the environment, such as OPENAI_API_KEY, or add [providers.sim] to
                  fairlead.toml for the simulator.
                </p>
              </Empty>
            ) : (
              <Empty title={`None of the ${data.total} models fits.`}>
                <Button
                  onClick={() =>
                    setSearch({
                      q: undefined,
                      input: undefined,
                      tools: undefined,
                      json: undefined,
                      reasoning: undefined,
                      context: undefined,
                      provider: undefined,
                    })
                  }
                >
                  Show all
                </Button>
              </Empty>
            )
          ) : (
            <>
              <p className={ui.hint}>
                {rows.length < data.data.length ? `The first ${rows.length} of ${data.data.length}` : data.data.length}{' '}
                of {data.total} models. Prices are dollars per million tokens at the endpoint that is preferred. Speeds
                are of the last 30 minutes.
              </p>
              <Part rows={rows}>
                {(part) => <Table rows={part} estimates={estimates} picked={picked} onPick={pick} />}
              </Part>
            </>
          )
        }
      </Loaded>
    </>
  );
}

const MOST_AT_ONCE = 50;

/** What a prompt would cost at the cheapest endpoint of each model; undefined without a prompt. */
export function useEstimates(
  ids: string[],
  prompt: string | undefined,
  answer: string | undefined,
): { costs: Map<string, bigint> | undefined; query: UseQueryResult } {
  const tokens = (text: string | undefined) => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : null);
  const promptTokens = tokens(prompt);
  const query = useQuery({
    queryKey: ['estimate', ids, promptTokens, answer],
    enabled: promptTokens !== null && ids.length > 0,
    queryFn: async () => {
      const parts: string[][] = [];
      for (let at = 0; at < ids.length; at += MOST_AT_ONCE) parts.push(ids.slice(at, at + MOST_AT_ONCE));
      const replies = await Promise.all(
        parts.map((models) =>
          ask<{ data: Estimate[] }>('/admin/estimate', {
            models,
            prompt_tokens: promptTokens,
            completion_tokens: tokens(answer) ?? 0,
          }),
        ),
      );
      const cheapest = new Map<string, bigint>();
      for (const line of replies.flatMap((reply) => reply.data)) {
        const cost = nano(line.usd);
        const known = cheapest.get(line.model);
        if (known === undefined || cost < known) cheapest.set(line.model, cost);
      }
      return cheapest;
    },
  });
  return { costs: promptTokens === null ? undefined : query.data, query };
}

function Table(props: {
  rows: Model[];
  estimates: Map<string, bigint> | undefined;
  picked: string[];
  onPick: (id: string, on: boolean) => void;
}) {
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label="Models">
      <table className={classes(ui.table, s.table)}>
        <thead>
          <tr>
            <th scope="col">
              <span className="sr-only">Compare</span>
            </th>
            <th scope="col">Model</th>
            <th scope="col" className={ui.num}>
              $ / M in
            </th>
            <th scope="col" className={ui.num}>
              $ / M out
            </th>
            <th scope="col" className={ui.num}>
              Cache
            </th>
            <th scope="col" className={ui.num}>
              Context
            </th>
            <th scope="col" className={ui.num}>
              First token
            </th>
            <th scope="col" className={ui.num}>
              Speed
            </th>
            <th scope="col" className={ui.num}>
              Uptime, 24 h
            </th>
            <th scope="col" className={ui.num}>
              Requests, 7 d
            </th>
            <th scope="col" className={ui.num}>
              Spend, 7 d
            </th>
            {props.estimates && (
              <th scope="col" className={ui.num}>
                This prompt
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {props.rows.map((model) => {
            const first = model.endpoints[0];
            const best = fastest(model);
            return (
              <tr key={model.id}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Compare ${model.id}`}
                    checked={props.picked.includes(model.id)}
                    onChange={(event) => props.onPick(model.id, event.target.checked)}
                  />
                </td>
                <td>
                  <Link to="/models/$" params={{ _splat: model.id }}>
                    <Name most={60}>{model.id}</Name>
                  </Link>
                  <div className={ui.muted}>
                    {[
                      model.input.filter((kind) => kind !== 'text').join(', '),
                      model.reasoning && 'reasoning',
                      model.endpoints.length > 1 && `${model.endpoints.length} endpoints`,
                    ]
                      .filter(Boolean)
                      .join(' · ')}
                  </div>
                </td>
                <td className={ui.num}>{price(first?.prices.prompt)}</td>
                <td className={ui.num}>{price(first?.prices.completion)}</td>
                <td className={ui.num}>{price(first?.prices.cache_read)}</td>
                <td className={ui.num}>{contextLength(model.context_length)}</td>
                <td className={ui.num}>
                  {best?.health?.first_token_ms ? measured(best.health.first_token_ms.p50) : <NoTraffic />}
                </td>
                <td className={ui.num}>
                  {best?.health?.tokens_per_second ? speed(best.health.tokens_per_second.p50) : <NoTraffic />}
                </td>
                <td className={ui.num}>{uptime(model)}</td>
                <td className={ui.num}>{count(model.requests_7d)}</td>
                <td className={ui.num}>
                  <Usd usd={model.usd_7d} />
                </td>
                {props.estimates && (
                  <td className={ui.num}>
                    {props.estimates.has(model.id) ? money(props.estimates.get(model.id)!) : '—'}
                  </td>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

export function NoTraffic() {
  return <span className={ui.muted}>no traffic</span>;
}

/** Dollars per million as the API has them: null is the usual price, a negative one varies. */
export function price(usd: string | null | undefined): string {
  if (usd === null || usd === undefined) return '—';
  if (usd.startsWith('-')) return 'varies';
  const [whole = '0', part = ''] = usd.split('.');
  return part ? `${whole}.${part.padEnd(2, '0')}` : `${whole}`;
}

/** The endpoint with the shortest time to the first token that was measured. */
export function fastest(model: Model): Endpoint | undefined {
  const measured = model.endpoints.filter((endpoint) => endpoint.health?.first_token_ms);
  return measured.sort((a, b) => (a.health?.first_token_ms?.p50 ?? 0) - (b.health?.first_token_ms?.p50 ?? 0))[0];
}

function uptime(model: Model) {
  const known = model.endpoints
    .map((endpoint) => endpoint.health?.uptime_1d)
    .filter((value): value is number => typeof value === 'number');
  if (known.length > 0) return `${Math.max(...known).toFixed(1)} %`;
  const open = model.endpoints.some((endpoint) => endpoint.health && endpoint.health.breaker !== 'closed');
  return open ? <Badge look="bad">shut out</Badge> : <span className={ui.muted}>too little</span>;
}
