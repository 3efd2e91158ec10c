/** Why a past request would go where it would go now, and what was decided then where the log of decisions has it. */
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { get } from '../api/client';
import type { Chosen, Generation, Recalled } from '../api/types';
import { count } from '../format/number';
import { Button, Facts, Name, ui } from '../ui/basics';
import { Loaded } from '../ui/states';
import { type Explanation, Explained } from './explained';

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
          {found.now !== null && <Explained of={found.now as Explanation} />}
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
