import { describe, expect, it } from 'vitest';
import { armDrafts, lines, presetDraft, presetOf, shares, splitOf } from './definition';

describe('presets', () => {
  it.each([
    [{}],
    [{ model: 'acme/fast' }],
    [{ models: ['acme/fast', 'acme/slow:floor'], provider: { zdr: true }, temperature: 0 }],
    [{ system_prompt: 'Be "brief".\nTwo lines.', automatic_cache: true }],
    [{ system_prompt: '\u202egnp.exe \u200b \\u202e' }],
  ])('come back from their form as they are: %j', (definition) => {
    expect(presetOf(presetDraft(definition))).toEqual(definition);
  });

  it.each([
    ['{', 'not JSON'],
    ['[1]', 'object is expected'],
    ['null', 'object is expected'],
    ['{"model": "x"}', 'field above'],
  ])('say what is wrong with %s', (rest, message) => {
    expect(() => presetOf({ models: '', rest })).toThrow(message);
  });
});

describe('lines', () => {
  it('hide nothing and turn nothing', () => {
    expect(lines({ a: '\u202egnp' })).toBe('{\n  "a": "\\u202egnp"\n}');
  });
});

describe('splits', () => {
  it('come back from their form as they are', () => {
    const definition = { arms: [{ model: 'a/b', weight: 90 }, { model: 'c/d:free', weight: 0 }] };
    expect(splitOf(armDrafts(definition))).toEqual(definition);
    expect(splitOf([{ model: ' a/b ', weight: 'ten' }])).toEqual({ arms: [{ model: 'a/b', weight: 'ten' }] });
  });

  it.each([
    [['90', '10'], [0.9, 0.1]],
    [['1', '1', '2'], [0.25, 0.25, 0.5]],
    [['0', '0'], [null, null]],
    [['5', 'x'], [1, null]],
    [['5', '-1'], [1, null]],
  ])('have shares: %j', (weights, expected) => {
    expect(shares(weights.map((weight) => ({ model: 'a', weight })))).toEqual(expected);
  });
});
