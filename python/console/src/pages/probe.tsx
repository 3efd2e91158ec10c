/** A real request of a few tokens to a provider, and what came of it. */
import { useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { send } from '../api/client';
import type { Probe as Found } from '../api/types';
import { useWrite } from '../api/write';
import { duration } from '../format/number';
import { Button, Name, Usd, ui } from '../ui/basics';
import { said } from '../ui/states';

export interface Wanted {
  /** Of the provider. */
  slug: string;
  /** Absent: the one whose words cost least. */
  endpoint?: number;
}

/** Sends one when `wanted` is another, and says what came of it. */
export function Probe({ wanted, onClose }: { wanted: Wanted; onClose: () => void }) {
  const client = useQueryClient();
  const probe = useWrite({
    mutationFn: ({ slug, endpoint }: Wanted) =>
      send<{ data: Found }>(
        'POST',
        `/admin/providers/${encodeURIComponent(slug)}/probe`,
        endpoint === undefined ? {} : { endpoint },
      ),
    onSettled: () => client.invalidateQueries({ queryKey: ['providers'] }),
  });
  const { mutate } = probe;
  const sent = useRef<Wanted | null>(null);
  useEffect(() => {
    if (sent.current === wanted) return;
    sent.current = wanted;
    mutate(wanted);
  }, [wanted, mutate]);
  const found = probe.data?.data;
  return (
    <div className={ui.state} role="status">
      {probe.isPending && <span>Asking, with a request of a few tokens…</span>}
      {probe.error && <span className={ui.bad}>{said(probe.error)}</span>}
      {found && !probe.isPending && (
        <span>
          <strong className={found.ok ? ui.good : ui.bad}>{found.ok ? 'It answers' : `It fails: ${found.status}`}</strong>{' '}
          <Name most={60}>{found.model}</Name>, {duration(found.latency_ms)}, cost <Usd usd={found.charged_usd} />
          {found.error && (
            <>
              . <Name most={300}>{found.error}</Name>
            </>
          )}{' '}
          {found.generation && (
            <Link to="/requests/$id" params={{ id: found.generation }}>
              The request
            </Link>
          )}
        </span>
      )}
      {!probe.isPending && <Button onClick={onClose}>Close</Button>}
    </div>
  );
}
