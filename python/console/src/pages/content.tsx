/** What a request asked and what it was told, where that is logged. That it was opened stands in the audit log, so it is not opened unasked. */
import { useNavigate } from '@tanstack/react-router';
import { get } from '../api/client';
import type { Content as Found, Generation } from '../api/types';
import { useWrite } from '../api/write';
import { useSession } from '../state/hooks';
import { Button, Code, ui } from '../ui/basics';
import { Empty, said } from '../ui/states';
import { again, keep, turns } from './prompt';

export function Content({ row }: { row: Generation }) {
  const open = useWrite({
    mutationFn: async () =>
      (await get<{ data: Found }>(`/admin/requests/${encodeURIComponent(row.id)}/content`)).data,
    // It is nowhere longer than it is looked at.
    gcTime: 0,
  });
  if (!row.flags.includes('content'))
    return <Empty title="Not kept: prompt and reply were not logged." />;
  return (
    <>
      {!open.data && (
        <Empty title="Prompt and reply were logged.">
          <p>The audit log notes who opens them. They go after the time that is configured, and with their key.</p>
          <Button onClick={() => open.mutate()} busy={open.isPending}>
            Open the content
          </Button>
        </Empty>
      )}
      {open.error && (
        <div className={ui.alert} role="alert">
          {said(open.error)}
        </div>
      )}
      {open.data && <Shown of={open.data} model={row.requested_model || row.model} />}
    </>
  );
}

function Shown({ of, model }: { of: Found; model: string }) {
  const navigate = useNavigate();
  const { user_id } = useSession();
  const asked = turns(of.input);
  const { draft, left } = again(asked);
  const { completion, reasoning, tool_calls } = of.output as {
    completion?: string | null;
    reasoning?: string | null;
    tool_calls?: unknown;
  };
  const cut = (part: 'input' | 'output') =>
    of.truncated.includes(part) && <p className={ui.warn}>It was longer than what is kept of it: the rest is cut off.</p>;
  return (
    <>
      <div className={ui.spread}>
        <h2>Asked</h2>
        <div className={ui.row}>
          {left > 0 && <span className={ui.muted}>The turns before the last have no place there.</span>}
          <Button
            onClick={() => {
              keep(user_id, draft);
              void navigate({ to: '/playground', search: { models: model } as never });
            }}
          >
            Ask it in the playground
          </Button>
        </div>
      </div>
      {cut('input')}
      {asked.map(({ role, text }, at) => (
        <div key={`${role} ${at}`}>
          <h3>{role}</h3>
          <Code label={`Said by ${role}`} wrap>
            {text}
          </Code>
        </div>
      ))}
      <h2>Told</h2>
      {cut('output')}
      {reasoning && (
        <div>
          <h3>Thoughts</h3>
          <Code label="Thoughts" wrap>
            {reasoning}
          </Code>
        </div>
      )}
      {completion ? (
        <Code label="The reply" wrap>
          {completion}
        </Code>
      ) : (
        <p className={ui.muted}>No text.</p>
      )}
      {!!tool_calls && (
        <div>
          <h3>Calls of tools</h3>
          <Code label="Calls of tools" wrap>
            {JSON.stringify(tool_calls, null, 2)}
          </Code>
        </div>
      )}
      {of.error && (
        <div>
          <h3>Error</h3>
          <Code label="The error" wrap>
            {JSON.stringify(of.error, null, 2)}
          </Code>
        </div>
      )}
    </>
  );
}
