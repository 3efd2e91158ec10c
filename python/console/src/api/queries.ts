import { keepPreviousData, QueryClient, queryOptions } from '@tanstack/react-query';
import { ApiError, get, setCsrf } from './client';
import type { Budget, Key, Session } from './types';

/** Old data stays while new data comes; only what may be well the next time is tried again. */
export const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      placeholderData: keepPreviousData,
      retry: (failures, error) => failures < 2 && !(error instanceof ApiError && error.status < 500),
      refetchIntervalInBackground: false,
      // Without any network the gateway may well be there: on this machine.
      networkMode: 'always',
    },
    // A change is made now or not at all, never by itself when the network is back.
    mutations: { networkMode: 'always' },
  },
});

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: async ({ signal }) => {
    const { data } = await get<{ data: Session }>('/admin/session', {}, signal);
    setCsrf(data.csrf);
    return data;
  },
  staleTime: 60_000,
  refetchInterval: 300_000,
});

export const keysQuery = queryOptions({
  queryKey: ['keys'],
  queryFn: async ({ signal }) => (await get<{ data: Key[] }>('/admin/keys', {}, signal)).data,
});

/** Every limit of money; what is nearest to its limit comes first. */
export const budgetsQuery = queryOptions({
  queryKey: ['budgets', 'lines'],
  queryFn: async ({ signal }) => (await get<{ data: Budget[] }>('/admin/budgets', {}, signal)).data,
});
