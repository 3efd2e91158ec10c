import { useQuery } from '@tanstack/react-query';
import { get } from '../api/client';
import type { Model, Preset, Setup, Split } from '../api/types';
import { useMay, useSession } from '../state/hooks';

const SIMULATED = 'sim/echo';

export const modelsQuery = {
  queryKey: ['models'],
  queryFn: async ({ signal }: { signal: AbortSignal }) =>
    (await get<{ data: Model[] }>('/admin/models', {}, signal)).data,
};

/** What stands for models: presets that name some, and splits, as requests say them. */
export const namesQuery = {
  queryKey: ['presets', 'and splits'],
  queryFn: async ({ signal }: { signal: AbortSignal }) => {
    const [presets, splits] = await Promise.all([
      get<{ data: Preset[] }>('/admin/presets', {}, signal),
      get<{ data: Split[] }>('/admin/splits', {}, signal),
    ]);
    return [
      ...presets.data.filter((one) => one.in_force && one.models.length > 0).map((one) => `@preset/${one.name}`),
      ...splits.data.filter((one) => one.in_force).map((one) => one.name),
    ];
  },
};

export const setupQuery = {
  queryKey: ['setup'],
  queryFn: async ({ signal }: { signal: AbortSignal }) => (await get<{ data: Setup }>('/admin/setup', {}, signal)).data,
};

/** Where clients reach the gateway, as seen from this browser, and a model to begin with: the simulator's, which costs nothing, where it is on. */
export function useTraffic(): { address: string; model: string } {
  const session = useSession();
  const models = useQuery({ ...modelsQuery, staleTime: 60_000, enabled: useMay('member') });
  const ids = models.data?.map((model) => model.id) ?? [];
  const model = ids.includes(SIMULATED) ? SIMULATED : (ids[0] ?? SIMULATED);
  return { address: address(session.data_url, location.hostname), model };
}

/** An address that the gateway listens on everywhere is shown by the name that the browser came by. */
export function address(traffic: string | null | undefined, host: string): string {
  if (!traffic) return 'http://127.0.0.1:8080';
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return traffic.replace('//0.0.0.0:', `//${name}:`).replace('//[::]:', `//${name}:`);
}
