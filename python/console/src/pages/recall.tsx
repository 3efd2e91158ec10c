/** Why a past request would go where it would go now, and what was decided then where the log of decisions has it. */
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { get } from '../api/client';
import type { Chosen, Generation, Recalled } from '../api/types';
import { count } from '../format/number';
import { Button, Code, Facts, Name, ui } from '../ui/basics';
import { Loaded } from '../ui/states';

interface Candidate {
  model?: string;
  provider?: string;
  [name: string]: unknown;
}
type Answer = { candidates?: Candidate[]; removed?: Candidate[]; refusal?: string; [name: string]: unknown };

export function Explain({ row }: { row: Generation }) {
  const query = useQuery({
    queryKey: ['explain', row.id],
    queryFn: async ({ signal }) =>
      (await get<{ data: Recalled }>(`/admin/requests/${encodeURIComponent(row.id)}/explain`, {}, signal)).data,
    placeholderData: undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
  return (
    <Loaded query={query} height={240}>
      {(found) => (
        <>
          <h2>Then</h2>
          <Decided of={found} row={row} />
          <div className={ui.spread}>
            <h2>Now</h2>
            <Button onClick={() => void query.refetch()} disabled={query.isFetching}>
              {query.isFetching ? 'Explaining' : 'Explain again now'}
            </Button>
          </div>
          <p className={ui.note}>
            What would be decided now for a request of the same shape: <Name>{String(found.asked.model)}</Name>, about{' '}
            {count(Number(found.asked.prompt_tokens))} tokens, {String(found.asked.dialect)},{' '}
            {found.asked.streamed ? 'streamed' : 'whole'}, with the same key. Prompts are not kept, so that tools, images
            and wishes of the body are not in it. Nothing is sent.
          </p>
          {found.refused !== null && (
            <div className={ui.alert} role="alert">
              It cannot be asked any more: {found.refused}
            </div>
          )}
          {found.now !== null && <Weighed answer={found.now as Answer} />}
        </>
      )}
    </Loaded>
  );
}

function Decided({ of: { then }, row }: { of: Recalled; row: Generation }) {
  if (then === null)
    return (
      <p className={ui.note}>
        What was decided then is not in the log of decisions: that is off, its record has made room for others, or
        nothing had to be decided. The attempts say who was asked.
      </p>
    );
  return (
    <Facts
      of={[
        ['Asked for', <Name key="n">{then.name}</Name>],
        ['First choice then', <Endpoint key="f" of={then.first} none="nobody could be asked" />],
        [
          'By the configuration of now',
          <span key="w">
            <Endpoint of={then.now} none={then.reason ?? 'nobody'} />,{' '}
            {then.same ? 'the same order to its last endpoint' : 'another order'}, with the health of that moment
          </span>,
        ],
        row.attempts.length > 0 && [
          'Asked in fact',
          row.attempts
            .filter((attempt) => !attempt.flags.includes('shadow'))
            .map((attempt) => attempt.provider)
            .join(' › '),
        ],
      ]}
    />
  );
}

function Endpoint({ of: place, none }: { of: Chosen | null; none: string }) {
  if (place === null) return <>{none}</>;
  if (!place.model) return <>endpoint {place.endpoint}</>;
  return (
    <>
      <Link to="/models/$" params={{ _splat: place.model }}>
        <Name most={60}>{place.model}</Name>
      </Link>{' '}
      at <Name most={40}>{place.provider}</Name>
      {place.service_tier && `, ${place.service_tier}`}
    </>
  );
}

function Weighed({ answer }: { answer: Answer }) {
  return (
    <>
      {answer.refusal && <p className={ui.warn}>{answer.refusal}</p>}
      <Candidates title="In this order" rows={answer.candidates ?? []} />
      <Candidates title="Left out" rows={answer.removed ?? []} />
      <Code label="The whole answer">{JSON.stringify(answer, null, 2)}</Code>
    </>
  );
}

function Candidates({ title, rows }: { title: string; rows: Candidate[] }) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) =>
    rows.every((row) => row[name] === null || typeof row[name] !== 'object'),
  );
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label={title}>
      <h3>
        {title} ({rows.length})
      </h3>
      {rows.length > 0 && (
        <table className={ui.table}>
          <thead>
            <tr>
              {names.map((name) => (
                <th scope="col" key={name}>
                  {name.replaceAll('_', ' ')}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={`${row.provider} ${row.model} ${index}`}>
                {names.map((name) => (
                  <td key={name}>
                    {row[name] === null || row[name] === undefined ? '—' : <Name>{String(row[name])}</Name>}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
