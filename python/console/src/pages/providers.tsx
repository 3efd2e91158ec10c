/** "Who is sick, and is it us?" Every provider with its endpoints that were used, as attempts have found them. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { get, send } from '../api/client';
import type { Provider } from '../api/types';
import { useWrite } from '../api/write';
import { measured, speed } from '../format/number';
import { useTitle } from '../shell/title';
import { useMay } from '../state/hooks';
import { At, Badge, Button, Choose, Facts, Name, TextField, ui } from '../ui/basics';
import { Cancel, Dialog } from '../ui/dialog';
import { Empty, Loaded, said } from '../ui/states';
import { State } from './model';
import { NoTraffic } from './models';
import { Probe, type Wanted } from './probe';
import { Strip } from './strip';

type ProviderEndpoint = Provider['endpoints'][number];
const KEY = ['providers'];

export function ProvidersPage() {
  const heading = useTitle('Providers');
  const query = useQuery({
    queryKey: KEY,
    queryFn: async ({ signal }) => (await get<{ data: Provider[] }>('/admin/providers', {}, signal)).data,
    refetchInterval: 5_000,
  });
  return (
    <>
      <h1 tabIndex={-1} ref={heading}>
        Providers
      </h1>
      <Loaded query={query} height={400}>
        {(providers) =>
          providers.length === 0 ? (
            <Empty title="No provider is on.">
              <p>
                Set a provider’s key in the environment, such as OPENAI_API_KEY, or add [providers.sim] to fairlead.toml
                for the simulator.
              </p>
            </Empty>
          ) : (
            providers.map((provider) => <One key={provider.slug} of={provider} />)
          )
        }
      </Loaded>
    </>
  );
}

function One({ of: provider }: { of: Provider }) {
  const [aside, setAside] = useState<ProviderEndpoint | null>(null);
  const [probed, probe] = useState<Wanted | null>(null);
  const may = useMay('admin');
  const client = useQueryClient();
  const enable = useWrite({
    mutationFn: (id: number) => send('POST', `/admin/endpoints/${id}/enable`, {}),
    onSettled: () => client.invalidateQueries({ queryKey: KEY }),
  });
  return (
    <section className={ui.card} aria-label={provider.name}>
      <div className={ui.cardHead}>
        <h2>
          <Name>{provider.name}</Name>
        </h2>
        <div className={ui.row}>
          <Badge>read-only: fairlead.toml owns it</Badge>
          {may && (
            <Button
              onClick={() => probe({ slug: provider.slug })}
              title="A real request of a few tokens, billed to the key “probes”"
            >
              Probe
            </Button>
          )}
        </div>
      </div>
      {probed && <Probe wanted={probed} onClose={() => probe(null)} />}
      <Facts
        of={[
          [
            'Speaks',
            Object.entries(provider.dialects).map(([dialect, url]) => (
              <div key={dialect}>
                {dialect}: <Name>{url}</Name>
              </div>
            )),
          ],
          ['Keys', `${provider.keys} from ${provider.key_source}`],
          [
            'Models',
            <Link key="m" to="/models" search={{ provider: provider.slug } as never}>
              {provider.models}
            </Link>,
          ],
          provider.headquarters !== null && ['Seat', provider.headquarters],
        ]}
      />
      {enable.error && (
        <div className={ui.alert} role="alert">
          {said(enable.error)}
        </div>
      )}
      {provider.drained.length > 0 && (
        <ul className={ui.stack} style={{ gap: 8, margin: '12px 0' }}>
          {provider.drained.map((one) => (
            <li key={one.endpoint} className={ui.row}>
              <Badge look="warn">set aside</Badge>
              <Name>{one.model}</Name> until <At at={one.until} />{' '}
              {one.by !== null && (
                <>
                  by <Name>{one.by}</Name>{' '}
                </>
              )}
              {one.note && <Name most={200}>{one.note}</Name>}
              {may && (
                <Button
                  onClick={() => enable.mutate(one.endpoint)}
                  busy={enable.isPending && enable.variables === one.endpoint}
                  disabled={enable.isPending}
                >
                  Let in again
                </Button>
              )}
            </li>
          ))}
        </ul>
      )}
      {provider.endpoints.length === 0 ? (
        <p className={ui.muted}>None of its endpoints was used yet.</p>
      ) : (
        <div className={ui.scroll} tabIndex={0} role="region" aria-label={`Endpoints of ${provider.name}`}>
          <table className={ui.table}>
            <thead>
              <tr>
                <th scope="col">Model</th>
                <th scope="col">State</th>
                <th scope="col" className={ui.num}>
                  First token p50 / p90
                </th>
                <th scope="col" className={ui.num}>
                  Speed p50
                </th>
                <th scope="col" className={ui.num}>
                  Uptime 5 m / 30 m / 24 h
                  <div className={ui.muted}>ended well in the last day</div>
                </th>
                <th scope="col" className={ui.num}>
                  Keys ready
                </th>
                {may && (
                  <th scope="col">
                    <span className="sr-only">Probe, set aside</span>
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {provider.endpoints.map((endpoint) => {
                const { health } = endpoint;
                const isAside = provider.drained.some((one) => one.endpoint === endpoint.id);
                return (
                  <tr key={`${endpoint.id} ${endpoint.service_tier}`}>
                    <td>
                      <Link to="/models/$" params={{ _splat: endpoint.model }}>
                        <Name most={60}>{endpoint.model}</Name>
                      </Link>{' '}
                      {endpoint.service_tier && <Badge>{endpoint.service_tier}</Badge>}
                    </td>
                    <td>
                      <State of={endpoint} />
                    </td>
                    <td className={ui.num}>
                      {health?.first_token_ms ? (
                        `${measured(health.first_token_ms.p50)} / ${measured(health.first_token_ms.p90)}`
                      ) : (
                        <NoTraffic />
                      )}
                    </td>
                    <td className={ui.num}>
                      {health?.tokens_per_second ? speed(health.tokens_per_second.p50) : <NoTraffic />}
                    </td>
                    <td className={ui.num}>
                      {[health?.uptime_5m, health?.uptime_30m, health?.uptime_1d]
                        .map((value) => (typeof value === 'number' ? `${value.toFixed(1)} %` : '—'))
                        .join(' / ')}
                      <div>
                        <Strip of={endpoint.strip} name={endpoint.model} />
                      </div>
                    </td>
                    <td className={ui.num}>{health ? `${health.keys_ready} of ${health.keys}` : '—'}</td>
                    {may && (
                      <td className={ui.nowrap}>
                        {!isAside && (
                          <>
                            <Button
                              aria-label={`Probe ${endpoint.model}`}
                              onClick={() => probe({ slug: provider.slug, endpoint: endpoint.id })}
                            >
                              Probe
                            </Button>{' '}
                            <Button onClick={() => setAside(endpoint)}>Set aside</Button>
                          </>
                        )}
                      </td>
                    )}
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {aside && <SetAside of={aside} onClose={() => setAside(null)} />}
    </section>
  );
}

function SetAside({ of: endpoint, onClose }: { of: ProviderEndpoint; onClose: () => void }) {
  const client = useQueryClient();
  const [minutes, setMinutes] = useState('60');
  const [note, setNote] = useState('');
  const drain = useWrite({
    mutationFn: () => send('POST', `/admin/endpoints/${endpoint.id}/drain`, { minutes: Number(minutes), note }),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: KEY });
      onClose();
    },
  });
  return (
    <Dialog open onClose={onClose} title={`Send nothing to ${endpoint.model} here?`} busy={drain.isPending}>
      <p>What runs there goes on. After the time it is let in again by itself.</p>
      <form
        className={ui.stack}
        onSubmit={(event) => {
          event.preventDefault();
          drain.mutate();
        }}
      >
        <Choose
          shown
          label="For"
          value={minutes}
          choices={[
            { value: '15', label: '15 minutes' },
            { value: '60', label: '1 hour' },
            { value: '1440', label: '1 day' },
            { value: '10080', label: '7 days' },
          ]}
          onChange={setMinutes}
        />
        <TextField label="Why" value={note} maxLength={200} onChange={(event) => setNote(event.target.value)} />
        {drain.error && (
          <div className={ui.alert} role="alert">
            {said(drain.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="danger" busy={drain.isPending}>
            Set aside
          </Button>
          <Cancel onClick={onClose} />
        </div>
      </form>
    </Dialog>
  );
}
