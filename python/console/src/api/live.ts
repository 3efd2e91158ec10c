/** One stream of events per page that is looked at, whoever listens on it. It comes back by itself, with what it missed where the gateway
 * still has that; where it has not, `refetch` tells listeners to ask for their lists again. */
import { useEffect, useRef, useSyncExternalStore } from 'react';
import type { Generation } from './types';

export interface Now {
  at: string;
  requests_per_second: number;
  errors_per_second: number;
  tokens_per_second: number;
  usd_per_second: string;
  in_flight: number;
  waiting: number;
}

export interface NewRequests {
  rows: Generation[];
  shown: number;
  of: number;
}

export interface Events {
  now: Now;
  requests: NewRequests;
  gap: { topic: string; n: number };
  refetch: { reason: 'restarted' | 'away' };
}

type Name = keyof Events;
type Listener = { topic: 'now' | 'requests'; hear: <N extends Name>(name: N, data: Events[N]) => void };
export type LiveState = 'off' | 'connecting' | 'live' | 'away';

const HIDDEN_MS = 10_000;
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

export class Live {
  private listeners = new Set<Listener>();
  private watchers = new Set<() => void>();
  private source: EventSource | undefined;
  private topics = '';
  private epoch = '';
  private lastId = '';
  private retry: ReturnType<typeof setTimeout> | undefined;
  private hiding: ReturnType<typeof setTimeout> | undefined;
  private wait = FIRST_RETRY_MS;
  state: LiveState = 'off';

  constructor(private open: (url: string) => EventSource) {}

  listen(listener: Listener): () => void {
    this.listeners.add(listener);
    this.tune();
    return () => {
      this.listeners.delete(listener);
      this.tune();
    };
  }

  watch = (changed: () => void): (() => void) => {
    this.watchers.add(changed);
    return () => this.watchers.delete(changed);
  };

  /** The page is shown or hidden. */
  visible(is: boolean): void {
    clearTimeout(this.hiding);
    if (is) this.tune();
    else this.hiding = setTimeout(() => this.close('off'), HIDDEN_MS);
  }

  /** Opens, changes or closes the stream so that it is what the listeners want. */
  private tune(): void {
    const topics = [...new Set([...this.listeners].map((one) => one.topic))].sort().join(',');
    if (topics === this.topics && (this.source || this.retry || !topics)) return;
    this.close('off');
    this.topics = topics;
    if (topics) this.connect();
  }

  private connect(): void {
    this.set('connecting');
    const last = this.lastId ? `&last_event_id=${encodeURIComponent(this.lastId)}` : '';
    const source = this.open(`/admin/events?topics=${this.topics}${last}`);
    this.source = source;
    source.addEventListener('hello', (event) => {
      const { epoch, resumed } = JSON.parse(event.data) as { epoch: string; resumed: boolean };
      if (this.lastId && !resumed) this.tell('refetch', { reason: epoch === this.epoch ? 'away' : 'restarted' });
      this.epoch = epoch;
      this.wait = FIRST_RETRY_MS;
      this.set('live');
    });
    for (const name of ['now', 'requests', 'gap'] as const) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) this.lastId = event.lastEventId;
        this.tell(name, JSON.parse(event.data) as never);
      });
    }
    source.addEventListener('end', () => this.later());
    source.onerror = () => this.later();
  }

  private later(): void {
    this.close('away');
    this.retry = setTimeout(
      () => {
        this.retry = undefined;
        if (this.topics) this.connect();
      },
      this.wait * (0.75 + Math.random() / 2),
    );
    this.wait = Math.min(this.wait * 2, LAST_RETRY_MS);
  }

  private close(state: LiveState): void {
    clearTimeout(this.retry);
    this.retry = undefined;
    this.source?.close();
    this.source = undefined;
    this.set(state);
  }

  private tell<N extends Name>(name: N, data: Events[N]): void {
    for (const listener of this.listeners) {
      if (
        name === 'refetch' ||
        name === listener.topic ||
        (name === 'gap' && (data as Events['gap']).topic === listener.topic)
      ) {
        listener.hear(name, data);
      }
    }
  }

  private set(state: LiveState): void {
    if (state === this.state) return;
    this.state = state;
    for (const changed of this.watchers) changed();
  }
}

export const live = new Live((url) => new EventSource(url));
if (typeof document !== 'undefined')
  document.addEventListener('visibilitychange', () => live.visible(!document.hidden));

/** Hears of a topic while `on`. */
export function useLive(topic: Listener['topic'], on: boolean, hear: Listener['hear']): LiveState {
  const latest = useRef(hear);
  latest.current = hear;
  useEffect(() => {
    if (!on) return;
    return live.listen({ topic, hear: (name, data) => latest.current(name, data) });
  }, [topic, on]);
  return useSyncExternalStore(live.watch, () => live.state);
}
