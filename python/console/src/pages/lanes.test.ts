import { describe, expect, it } from 'vitest';
import { bodyOf, events, lane, type RunEvent, told } from './lanes';

const FIELDS = {
  system: '',
  prompt: 'Hi',
  images: [],
  temperature: '',
  topP: '',
  most: '',
  effort: '',
  tools: '',
  schema: '',
};
const frame = (at: number, delta: object) => ({
  event: 'frame',
  data: { lane: at, data: JSON.stringify({ choices: [{ delta }] }) },
});

describe('lanes', () => {
  it('take each what is theirs', () => {
    let lanes = [lane('a'), lane('b')];
    for (const event of [
      { event: 'head', data: { lane: 1, status: 200, generation: 'gen-1', provider: 'lab' } },
      frame(1, { reasoning: 'hm' }),
      frame(1, { content: 'Hel' }),
      { event: 'error', data: { lane: 0, status: 429, error: { message: 'slow down' } } },
      frame(1, { content: 'lo' }),
      frame(1, { tool_calls: [{ function: { name: 'f', arguments: '{"a"' } }] }),
      frame(1, { tool_calls: [{ function: { arguments: ':1}' } }] }),
      { event: 'frame', data: { lane: 1, data: '[DONE]' } },
      { event: 'frame', data: { lane: 7, data: 'x' } },
      { event: 'new', data: { lane: 1 } },
      { event: 'done', data: { lane: 1, settled: { outcome: 'completed' } } },
    ] as RunEvent[]) {
      lanes = told(lanes, event);
    }
    expect(lanes[0]).toMatchObject({ state: 'error', error: '429 slow down', text: '' });
    expect(lanes[1]).toMatchObject({
      state: 'done',
      text: 'Hello',
      reasoning: 'hm',
      tools: 'f {"a":1}',
      provider: 'lab',
      generation: 'gen-1',
    });
  });

  it('read events whatever the pieces', async () => {
    const bytes = new TextEncoder().encode(
      'event: run\ndata: {"id":"é🎉"}\n\n: alive\n\nevent: done\ndata: {"lane":0}\n\n',
    );
    for (const size of [1, 2, 3, 7, bytes.length]) {
      const stream = new ReadableStream<Uint8Array>({
        start(to) {
          for (let at = 0; at < bytes.length; at += size) to.enqueue(bytes.slice(at, at + size));
          to.close();
        },
      });
      const found: RunEvent[] = [];
      for await (const event of events(stream)) found.push(event);
      expect(found).toEqual([
        { event: 'run', data: { id: 'é🎉' } },
        { event: 'done', data: { lane: 0 } },
      ]);
    }
  });
});

describe('a body', () => {
  it('has what is said and nothing else', () => {
    expect(bodyOf(FIELDS)).toEqual({ body: { messages: [{ role: 'user', content: 'Hi' }] }, wrong: '' });
    expect(bodyOf({ ...FIELDS, temperature: '0', most: '5', tools: '[]', images: ['data:x'] }).body).toMatchObject({
      temperature: 0,
      max_tokens: 5,
      tools: [],
    });
  });

  it('is not made of nonsense', () => {
    for (const wrong of [
      { prompt: ' ' },
      { temperature: '3' },
      { topP: 'x' },
      { most: '0' },
      { tools: '{' },
      { tools: '{}' },
      { schema: 'x' },
    ]) {
      expect(bodyOf({ ...FIELDS, ...wrong }).wrong, JSON.stringify(wrong)).not.toBe('');
    }
  });
});
