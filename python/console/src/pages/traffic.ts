import { useQuery } from '@tanstack/react-query';
import { get } from '../api/client';
import type { Model, Setup } from '../api/types';
import { useMay } from '../state/hooks';

export const modelsQuery = {
  queryKey: ['models'],
  queryFn: async ({ signal }: { signal: AbortSignal }) =>
    (await get<{ data: Model[] }>('/admin/models', {}, signal)).data,
};

export const setupQuery = {
  queryKey: ['setup'],
  queryFn: async ({ signal }: { signal: AbortSignal }) => (await get<{ data: Setup }>('/admin/setup', {}, signal)).data,
};

/** Where clients reach the gateway, as seen from this browser, and a model to begin with. */
export function useTraffic(): { address: string; model: string } {
  const may = useMay('admin');
  const setup = useQuery({ ...setupQuery, staleTime: 60_000, enabled: may });
  return { address: address(setup.data?.data_url, location.hostname), model: setup.data?.model ?? 'sim/echo' };
}

/** An address that the gateway listens on everywhere is shown by the name that the browser came by. */
export function address(traffic: string | null | undefined, host: string): string {
  if (!traffic) return 'http://127.0.0.1:8080';
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return traffic.replace('//0.0.0.0:', `//${name}:`).replace('//[::]:', `//${name}:`);
}
