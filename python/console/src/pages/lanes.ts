/** A run of the playground: its stream of events, and what becomes of each lane. */
import type { Generation } from '../api/types';

export interface Lane {
  model: string;
  state: 'waiting' | 'streaming' | 'done' | 'error' | 'stopped';
  text: string;
  reasoning: string;
  tools: string;
  provider: string | null;
  generation: string | null;
  error: string;
  settled: Generation | null;
}

export type RunEvent = { event: string; data: Record<string, unknown> };

export function lane(model: string): Lane {
  return {
    model,
    state: 'waiting',
    text: '',
    reasoning: '',
    tools: '',
    provider: null,
    generation: null,
    error: '',
    settled: null,
  };
}

/** The lanes after an event. What is not known is left alone: a later gateway may say more. */
export function told(lanes: readonly Lane[], { event, data }: RunEvent): Lane[] {
  const at = typeof data.lane === 'number' ? data.lane : -1;
  const before = lanes[at];
  if (!before) return [...lanes];
  const after = { ...before };
  const text = (value: unknown) => (typeof value === 'string' ? value : null);
  switch (event) {
    case 'head':
      after.state = 'streaming';
      after.provider = text(data.provider);
      after.generation = text(data.generation);
      break;
    case 'frame':
      framed(after, text(data.data) ?? '');
      break;
    case 'done':
      after.state = 'done';
      after.settled = (data.settled as Generation | null) ?? null;
      if (after.settled && after.settled.outcome === 'failed') {
        after.state = 'error';
        after.error ||= after.settled.error;
      }
      break;
    case 'stopped':
      after.state = 'stopped';
      after.generation = text(data.generation) ?? after.generation;
      break;
    case 'error': {
      after.state = 'error';
      const error = (data.error ?? {}) as Record<string, unknown>;
      after.error = `${data.status ?? ''} ${text(error.message) ?? 'it failed'}`.trim();
      after.generation = text(data.generation) ?? after.generation;
      break;
    }
  }
  return lanes.map((one, index) => (index === at ? after : one));
}

interface Delta {
  content?: string | null;
  reasoning?: string | null;
  reasoning_content?: string | null;
  tool_calls?: { function?: { name?: string; arguments?: string } }[];
}

/** A chunk of chat completions. */
function framed(into: Lane, data: string): void {
  if (data === '[DONE]' || !data) return;
  let chunk: { choices?: { delta?: Delta }[]; error?: { message?: string } };
  try {
    chunk = JSON.parse(data) as typeof chunk;
  } catch {
    return;
  }
  if (chunk.error?.message) into.error = chunk.error.message;
  const delta = chunk.choices?.[0]?.delta;
  if (!delta) return;
  into.text += delta.content ?? '';
  into.reasoning += delta.reasoning ?? delta.reasoning_content ?? '';
  for (const call of delta.tool_calls ?? [])
    into.tools += `${call.function?.name ? `${into.tools ? '\n' : ''}${call.function.name} ` : ''}${call.function?.arguments ?? ''}`;
}

/** Server-sent events of a body, as they come. Pieces may end anywhere, also within a character. */
export async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<RunEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let waiting = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      waiting += decoder.decode(value, { stream: true });
      let end = waiting.indexOf('\n\n');
      while (end >= 0) {
        const lines = waiting.slice(0, end).split('\n');
        waiting = waiting.slice(end + 2);
        const event = lines.find((line) => line.startsWith('event: '))?.slice(7);
        const data = lines
          .filter((line) => line.startsWith('data: '))
          .map((line) => line.slice(6))
          .join('\n');
        if (event && data) yield { event, data: JSON.parse(data) as Record<string, unknown> };
        end = waiting.indexOf('\n\n');
      }
    }
  } finally {
    // Leaving early ends the run, and with it its calls upstream.
    await reader.cancel().catch(() => {});
  }
}

/** What a run that was not begun must still be told; empty when it can begin. */
export function bodyOf(fields: {
  system: string;
  prompt: string;
  images: string[];
  temperature: string;
  topP: string;
  most: string;
  effort: string;
  tools: string;
  schema: string;
}): {
  body: Record<string, unknown>;
  wrong: string;
} {
  const body: Record<string, unknown> = {};
  const messages: unknown[] = [];
  if (fields.system.trim()) messages.push({ role: 'system', content: fields.system });
  if (!fields.prompt.trim() && fields.images.length === 0) return { body, wrong: 'A prompt is needed.' };
  const images = fields.images.map((url) => ({ type: 'image_url', image_url: { url } }));
  messages.push({
    role: 'user',
    content: images.length ? [{ type: 'text', text: fields.prompt }, ...images] : fields.prompt,
  });
  body.messages = messages;
  for (const [name, text, least, most] of [
    ['temperature', fields.temperature, 0, 2],
    ['top_p', fields.topP, 0, 1],
    ['max_tokens', fields.most, 1, 10_000_000],
  ] as const) {
    if (!text.trim()) continue;
    const value = Number(text);
    if (!Number.isFinite(value) || value < least || value > most)
      return { body, wrong: `${name}: a number from ${least} to ${most} is expected.` };
    body[name] = value;
  }
  if (fields.effort) body.reasoning_effort = fields.effort;
  for (const [name, text] of [
    ['tools', fields.tools],
    ['response_format', fields.schema],
  ] as const) {
    if (!text.trim()) continue;
    try {
      body[name] = JSON.parse(text);
    } catch (error) {
      return { body, wrong: `${name}: this is no JSON: ${error instanceof Error ? error.message : error}` };
    }
  }
  if (body.tools !== undefined && !Array.isArray(body.tools))
    return { body, wrong: 'tools: a list is expected, such as [{"type":"function","function":{"name":"…"}}].' };
  return { body, wrong: '' };
}
