import { useNavigate, useSearch } from '@tanstack/react-router';
import { createContext, useCallback, useContext, useEffect, useMemo, useState } from 'react';
import type { Role, Session } from '../api/types';
import { isZone, viewersZone } from '../format/time';
import { bounds, moves, type Range } from './range';

const SessionContext = createContext<Session | null>(null);
export const SessionProvider = SessionContext.Provider;

/** Who is logged in. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('no session around this');
  return session;
}

const RANKS: Role[] = ['viewer', 'member', 'admin', 'owner'];

/** Whether the viewer's role is at least this one. */
export function useMay(role: Role): boolean {
  const session = useContext(SessionContext);
  return session !== null && RANKS.indexOf(session.role) >= RANKS.indexOf(role);
}

/** The range of the URL. */
export function useRange(): Range {
  const { from, to, zone } = useSearch({ strict: false }) as Range;
  return useMemo(() => ({ from, to, zone }), [from, to, zone]);
}

export function useSetRange(): (range: Range) => void {
  const navigate = useNavigate();
  return useCallback(
    (range) => {
      void navigate({
        to: '.',
        search: (before: object) => ({ ...before, from: range.from, to: range.to, zone: range.zone }) as never,
      });
    },
    [navigate],
  );
}

/** The zone in which the page shows times: that of the URL, else the viewer's. */
export function useZone(): string {
  // Alone, so that nothing is drawn anew for another part of the URL.
  const zone = useSearch({ strict: false, select: (search) => (search as Range).zone });
  return zone && isZone(zone) ? zone : viewersZone();
}

/** What queries send of the range. A range that moves is asked for anew, aligned so that equal questions are equal. */
export function useBounds(): { from: string; to: string | undefined; zone: string; refetchInterval: number | false } {
  const range = useRange();
  const zone = useZone();
  return useMemo(() => {
    const moving = moves(range);
    const [first, end] = bounds(range, Date.now());
    return {
      from: range.from && !moving ? new Date(first).toISOString() : (range.from ?? '-24h'),
      to: moving ? undefined : new Date(end).toISOString(),
      zone,
      refetchInterval: moving ? 30_000 : false,
    };
  }, [range, zone]);
}

/** The instant for a `from` of `useBounds`, as of now. */
export function instant(from: string): string {
  return new Date(Math.floor(bounds({ from }, Date.now())[0] / 1000) * 1000).toISOString();
}

const listeners = new Set<() => void>();
let ticking: ReturnType<typeof setInterval> | undefined;

/** The present, every second while somebody looks. */
export function useNow(running = true): number {
  const [now, set] = useState(() => Date.now());
  useEffect(() => {
    if (!running) return;
    const tick = () => set(Date.now());
    listeners.add(tick);
    ticking ??= setInterval(() => {
      if (!document.hidden) for (const each of listeners) each();
    }, 1000);
    return () => {
      listeners.delete(tick);
      if (listeners.size === 0) {
        clearInterval(ticking);
        ticking = undefined;
      }
    };
  }, [running]);
  return now;
}

/** Whether the page is narrow, as on a telephone. */
export function useNarrow(): boolean {
  const [narrow, set] = useState(() => matchMedia('(max-width: 719px)').matches);
  useEffect(() => {
    const media = matchMedia('(max-width: 719px)');
    const changed = () => set(media.matches);
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, []);
  return narrow;
}

/** Sets some members of the URL's search; undefined takes one away. */
export function useSetSearch(): (changes: Record<string, unknown>, replace?: boolean) => void {
  const navigate = useNavigate();
  return useCallback(
    (changes, replace = false) => {
      void navigate({ to: '.', replace, search: (before: object) => ({ ...before, ...changes }) as never });
    },
    [navigate],
  );
}
