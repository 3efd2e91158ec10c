/** First run: what is done comes from the server; each step has what to paste. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { send } from '../api/client';
import { useLive } from '../api/live';
import type { Generation, Setup } from '../api/types';
import { useWrite } from '../api/write';
import { useTitle } from '../shell/title';
import { At, Button, Choose, Code, classes, Name, Usd, ui } from '../ui/basics';
import { Loaded, said } from '../ui/states';
import { curl } from './first-call';
import { CreateKey } from './key-form';
import s from './start.module.css';
import { address, setupQuery } from './traffic';

export function StartPage() {
  const heading = useTitle('First steps');
  const setup = useQuery({ ...setupQuery, refetchInterval: 3000 });
  const client = useQueryClient();
  const [creating, create] = useState(false);
  const [seen, see] = useState<Generation | null>(null);
  useLive('requests', true, (name, data) => {
    if (name === 'requests' && 'rows' in data && data.rows.length > 0) {
      see(data.rows.at(-1) ?? null);
      void client.invalidateQueries({ queryKey: setupQuery.queryKey });
    }
  });
  const dismiss = useWrite({
    mutationFn: (dismissed: boolean) => send('PUT', '/admin/setup', { dismissed }),
    onSuccess: () => client.invalidateQueries({ queryKey: setupQuery.queryKey }),
  });
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        First steps
      </h1>
      <Loaded query={setup} height={480}>
        {(data) => {
          const at = address(data.data_url, location.hostname);
          const done = (name: string) => data.steps.some((step) => step.name === name && step.done);
          const says = (name: string) => data.steps.find((step) => step.name === name)?.says ?? '';
          const model = data.model ?? 'sim/echo';
          return (
            <>
              <ol className={s.steps}>
                <Step done={done('provider')} title="A provider" says={says('provider')}>
                  <p>
                    {data.simulator
                      ? 'The built-in simulator answers, so that nothing costs money. For a real provider set its key and start again:'
                      : 'Set the key of another provider in the environment and start again:'}
                  </p>
                  <Code label="A provider's key">{'OPENAI_API_KEY=… fairlead serve'}</Code>
                </Step>
                <Step done={done('key')} title="A key for clients" says={says('key')}>
                  <Button look={done('key') ? 'plain' : 'primary'} onClick={() => create(true)}>
                    Create a key
                  </Button>
                </Step>
                <Step
                  done={done('request')}
                  title="The first request"
                  says={data.first_request ? 'seen' : 'waiting for it…'}
                >
                  <Code label="A first request">{`export FAIRLEAD_API_KEY=…\n${curl(at, model)}`}</Code>
                  <p aria-live="polite">
                    {seen ? (
                      <>
                        Seen <At at={seen.settled_at} how="ago" />: <Name>{seen.model}</Name>,{' '}
                        <Usd usd={seen.charged_usd} />.{' '}
                        <Link to="/requests/$id" params={{ id: seen.id }}>
                          What happened
                        </Link>{' '}
                        · <Link to="/">Your chart</Link>
                      </>
                    ) : data.first_request ? (
                      <>
                        The newest ended <At at={data.first_request} how="ago" />. <Link to="/">Your chart</Link>
                      </>
                    ) : (
                      'It shows up here the moment it ends.'
                    )}
                  </p>
                </Step>
                <li className={s.step}>
                  <h2>Connect a client</h2>
                  <Clients at={at} model={model} />
                </li>
                <Step done={done('budget')} title="A limit of spending" says={says('budget')}>
                  <p>
                    Give a key a limit under <Link to="/keys">Keys</Link>, or an account, a team or a user one in
                    fairlead.toml.
                  </p>
                </Step>
              </ol>
              {dismiss.error && (
                <div className={ui.alert} role="alert">
                  {said(dismiss.error)}
                </div>
              )}
              <div>
                <Button onClick={() => dismiss.mutate(!data.dismissed)} busy={dismiss.isPending}>
                  {data.dismissed
                    ? 'Show this in the navigation again'
                    : data.done
                      ? 'Done: take this page out of the navigation'
                      : 'Skip the rest'}
                </Button>
              </div>
            </>
          );
        }}
      </Loaded>
      {creating && <CreateKey onClose={() => create(false)} />}
    </>
  );
}

function Step(props: {
  done: boolean;
  title: string;
  says: Setup['steps'][number]['says'];
  children: React.ReactNode;
}) {
  return (
    <li className={s.step}>
      <h2>
        <span className={classes(s.tick, props.done ? ui.good : ui.muted)} aria-hidden="true">
          {props.done ? '✓' : '○'}
        </span>{' '}
        {props.title} <span className="sr-only">{props.done ? '(done)' : '(to do)'}</span>
      </h2>
      <p className={ui.muted}>{props.says}</p>
      {props.children}
    </li>
  );
}

function Clients({ at, model }: { at: string; model: string }) {
  const [client, choose] = useState('claude');
  const lines: Record<string, string> = {
    claude: `export ANTHROPIC_BASE_URL=${at}\nexport ANTHROPIC_AUTH_TOKEN=$FAIRLEAD_API_KEY\nclaude --model ${model}`,
    codex: `# ~/.codex/config.toml\nmodel = "${model}"\nmodel_provider = "fairlead"\n\n[model_providers.fairlead]\nname = "Fairlead"\nbase_url = "${at}/v1"\nenv_key = "FAIRLEAD_API_KEY"\nwire_api = "responses"`,
    openai: `from openai import OpenAI\n\nclient = OpenAI(base_url="${at}/v1", api_key="…")`,
    anthropic: `from anthropic import Anthropic\n\nclient = Anthropic(base_url="${at}", api_key="…")`,
    openrouter: `# anything that takes OpenRouter's address\nOPENROUTER_BASE_URL=${at}/api/v1`,
  };
  return (
    <>
      <Choose
        label="Client"
        value={client}
        choices={[
          { value: 'claude', label: 'Claude Code' },
          { value: 'codex', label: 'Codex' },
          { value: 'openai', label: 'OpenAI SDK' },
          { value: 'anthropic', label: 'Anthropic SDK' },
          { value: 'openrouter', label: 'OpenRouter clients' },
        ]}
        onChange={choose}
      />
      <Code label="Lines to paste">{lines[client] ?? ''}</Code>
    </>
  );
}
