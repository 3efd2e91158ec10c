import { useQuery } from '@tanstack/react-query';
import { get } from '../api/client';

interface Named {
  id: number;
  name: string;
  /** Of a key: what stands for the secret, for those without a name. */
  label?: string;
}

/** What stands in the URL by its id. */
export type Kind = 'key' | 'team' | 'user';

/** What it is called; its id until that is known, and where the viewer does not see it. Asked for only where there is an id. */
export function useNameOf(kind: Kind, id: string | undefined): string {
  const list = `${kind}s`;
  const query = useQuery({
    // The list of keys is the one of the other pages.
    queryKey: kind === 'key' ? [list] : [list, 'names'],
    queryFn: async ({ signal }) => (await get<{ data: Named[] }>(`/admin/${list}`, {}, signal)).data,
    staleTime: 60_000,
    enabled: id !== undefined,
  });
  const found = query.data?.find((one) => String(one.id) === id);
  return found?.name || found?.label || id || '';
}
