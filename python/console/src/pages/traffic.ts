import { useQuery } from '@tanstack/react-query';
import { get } from '../api/client';
import type { Model } from '../api/types';
import { useMay } from '../state/hooks';

interface Status {
  data: { traffic?: string };
}

export const modelsQuery = {
  queryKey: ['models'],
  queryFn: async ({ signal }: { signal: AbortSignal }) =>
    (await get<{ data: Model[] }>('/admin/models', {}, signal)).data,
};

/** Where clients reach the gateway, as seen from this browser, and a model to begin with. */
export function useTraffic(): { address: string; model: string } {
  const may = useMay('admin');
  const status = useQuery({
    queryKey: ['status'],
    queryFn: ({ signal }) => get<Status>('/admin/status', {}, signal),
    enabled: may,
    staleTime: 300_000,
  });
  const models = useQuery({ ...modelsQuery, staleTime: 60_000 });
  const known = models.data ?? [];
  const model = known.find((one) => one.id === 'sim/echo')?.id ?? known[0]?.id ?? 'sim/echo';
  return { address: address(status.data?.data.traffic, location.hostname), model };
}

/** An address that the gateway listens on everywhere is shown by the name that the browser came by. */
export function address(traffic: string | undefined, host: string): string {
  if (!traffic) return 'http://127.0.0.1:8080';
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return traffic.replace('//0.0.0.0:', `//${name}:`).replace('//[::]:', `//${name}:`);
}
