import { expect, it } from 'vitest';
import { place } from './login';

it('goes on at a place of this port only', () => {
  expect(place('/requests/gen-1?from=-1h')).toBe('/requests/gen-1?from=-1h');
  for (const next of [
    undefined,
    '',
    '//evil.example',
    '/\\evil.example',
    'https://evil.example',
    'javascript:alert(1)',
    '/login?next=/login',
  ]) {
    expect(place(next), String(next)).toBe('/');
  }
});
