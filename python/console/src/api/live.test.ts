import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Events, Live } from './live';
import { arrived, EMPTY, lost, MOST_ROWS, released } from './tail';
import type { Generation } from './types';

const row = (id: number) => ({ id: `gen-${id}` }) as Generation;
const ids = (rows: Generation[]) => rows.map((one) => one.id.slice(4)).join(' ');

describe('the newest rows', () => {
  it('are there once, newest first, whatever comes twice', () => {
    const tail = arrived(arrived(EMPTY, [row(1), row(2)], 2, false), [row(2), row(3)], 2, false);
    expect(ids(tail.rows)).toBe('3 2 1');
  });

  it('do not move while they are held, and none is lost', () => {
    const tail = arrived(arrived(EMPTY, [row(1)], 1, false), [row(2), row(3)], 2, true);
    expect([ids(tail.rows), ids(tail.held)]).toEqual(['1', '3 2']);
    expect(ids(released(tail).rows)).toBe('3 2 1');
    expect(ids(arrived(tail, [row(4)], 1, false).rows)).toBe('4 3 2 1');
  });

  it('say how many are not among them', () => {
    expect(lost(arrived(EMPTY, [row(1)], 12, false), 5).missed).toBe(16);
  });

  it('are bounded', () => {
    const many = Array.from({ length: MOST_ROWS + 50 }, (_, index) => row(index));
    expect(arrived(EMPTY, many, many.length, false).rows).toHaveLength(MOST_ROWS);
  });
});

class Source extends EventTarget {
  static all: Source[] = [];
  closed = false;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {
    super();
    Source.all.push(this);
  }
  close() {
    this.closed = true;
  }
  say(name: string, data: unknown, lastEventId = '') {
    this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data), lastEventId }));
  }
}

describe('the stream', () => {
  let heard: string[];
  const hear = <N extends keyof Events>(name: N, data: Events[N]) => void heard.push(`${name} ${JSON.stringify(data)}`);
  const fresh = () => new Live((url) => new Source(url) as unknown as EventSource);
  const last = () => Source.all.at(-1)!;

  beforeEach(() => {
    vi.useFakeTimers();
    Source.all = [];
    heard = [];
  });
  afterEach(() => vi.useRealTimers());

  it('is one for all who listen, and closed when nobody does', () => {
    const live = fresh();
    const stop = live.listen({ topic: 'now', hear });
    const stopToo = live.listen({ topic: 'now', hear });
    expect(Source.all).toHaveLength(1);
    const stopThree = live.listen({ topic: 'requests', hear });
    expect(last().url).toBe('/admin/events?topics=now,requests');
    stop();
    stopToo();
    stopThree();
    expect(Source.all.every((one) => one.closed)).toBe(true);
  });

  it('comes back where it left off', () => {
    const live = fresh();
    live.listen({ topic: 'requests', hear });
    last().say('hello', { epoch: 'aaaaaaaa', resumed: false });
    last().say('requests', { rows: [], shown: 0, of: 0 }, 'aaaaaaaa-7');
    last().onerror?.();
    expect(live.state).toBe('away');
    vi.advanceTimersByTime(1300);
    expect(last().url).toContain('last_event_id=aaaaaaaa-7');
    last().say('hello', { epoch: 'aaaaaaaa', resumed: true });
    expect(heard).toEqual(['requests {"rows":[],"shown":0,"of":0}']);
  });

  it('asks for everything again after a restart', () => {
    const live = fresh();
    live.listen({ topic: 'requests', hear });
    last().say('hello', { epoch: 'aaaaaaaa', resumed: false });
    last().say('requests', { rows: [], shown: 0, of: 0 }, 'aaaaaaaa-7');
    last().onerror?.();
    vi.advanceTimersByTime(1300);
    last().say('hello', { epoch: 'bbbbbbbb', resumed: false });
    expect(heard.at(-1)).toBe('refetch {"reason":"restarted"}');
  });

  it('waits longer each time, at most half a minute or so', () => {
    const live = fresh();
    live.listen({ topic: 'now', hear });
    for (let i = 0; i < 12; i++) {
      last().onerror?.();
      vi.advanceTimersByTime(38_000);
    }
    expect(Source.all).toHaveLength(13);
    last().onerror?.();
    vi.advanceTimersByTime(20_000);
    expect(Source.all).toHaveLength(13);
  });

  it('ends ten seconds after the page is hidden', () => {
    const live = fresh();
    live.listen({ topic: 'now', hear });
    live.visible(false);
    vi.advanceTimersByTime(9000);
    expect(last().closed).toBe(false);
    live.visible(true);
    vi.advanceTimersByTime(20_000);
    expect(Source.all).toHaveLength(1);
    live.visible(false);
    vi.advanceTimersByTime(11_000);
    expect(last().closed).toBe(true);
    live.visible(true);
    expect(Source.all).toHaveLength(2);
  });
});
