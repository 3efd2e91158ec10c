import { expect, it } from 'vitest';
import { callIn, python } from './code';

const BODY = { model: 'sim/echo', stream: false, stop: null, messages: [{ role: 'user', content: `It's "so"` }] };

it('quotes for a shell', () => {
  const text = callIn('curl', 'http://x', BODY);
  expect(text).toContain(`"It'\\''s \\"so\\""`);
  expect(text).toContain('$FAIRLEAD_API_KEY');
});

it('writes Python values', () => {
  expect(python(BODY)).toBe(
    `{"model": "sim/echo", "stream": False, "stop": None, "messages": [{"role": "user", "content": "It's \\"so\\""}]}`,
  );
});
