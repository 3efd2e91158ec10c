import { expect, it } from 'vitest';
import { again, turns } from './prompt';

it.each([
  ['texts', { messages: [{ role: 'user', content: 'Hi' }] }, [{ role: 'user', text: 'Hi' }]],
  ['a list of parts', { messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, { text: 'b' }] }] }, [{ role: 'user', text: 'a\nb' }]],
  ["Gemini's parts", { messages: [{ role: 'system', content: { parts: [{ text: 'Be brief.' }] } }, { role: 'user', parts: [{ text: 'Hi' }] }] }, [{ role: 'system', text: 'Be brief.' }, { role: 'user', text: 'Hi' }]],
  ['an older prompt', { prompt: 'Once upon' }, [{ role: 'prompt', text: 'Once upon' }]],
])('%s are turns', (_, input, expected) => {
  expect(turns(input)).toEqual(expected);
});

it('shows what is not text as it is', () => {
  const image = { type: 'image_url', image_url: { url: 'data:,' } };
  const [turn] = turns({ messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, image] }] });
  expect(JSON.parse(turn!.text)).toEqual([{ type: 'text', text: 'a' }, image]);
  const [call] = turns({ messages: [{ role: 'assistant', content: null, tool_calls: [{ id: '1' }] }] });
  expect(JSON.parse(call!.text)).toEqual({ content: null, tool_calls: [{ id: '1' }] });
  expect(turns({ messages: [null] })).toEqual([{ role: 'unknown', text: '{}' }]);
});

it('asks the last turn again, and says how many have no place', () => {
  const { draft, left } = again([
    { role: 'system', text: 'a' },
    { role: 'user', text: 'b' },
    { role: 'assistant', text: 'c' },
    { role: 'developer', text: 'd' },
    { role: 'user', text: 'e' },
  ]);
  expect([draft.system, draft.prompt, left]).toEqual(['a\n\nd', 'e', 2]);
  expect(again([])).toEqual({ draft: expect.objectContaining({ system: '', prompt: '' }), left: 0 });
});
