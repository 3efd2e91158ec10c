import { describe, expect, it, vi } from 'vitest';
import { exact, money, nano, usedOf } from './money';
import { change, changePoints, contextLength, count, duration, percent, short } from './number';
import { plain } from './text';
import { ago, clock, isZone, minutes, moment, precise, viewersZone } from './time';

describe('money', () => {
  it.each([
    ['0', '$0'],
    ['0.000000001', '< $0.000001'],
    ['0.000000999', '< $0.000001'],
    ['0.000001', '$0.00000100'],
    ['0.003112840', '$0.00311'],
    ['0.00873', '$0.00873'],
    ['0.0009999', '$0.00100'],
    ['0.9994', '$0.999'],
    ['0.9996', '$1.000'],
    ['1', '$1.000'],
    ['12.4312', '$12.431'],
    ['99.9994', '$99.999'],
    ['99.9996', '$100.00'],
    ['1284.065', '$1,284.07'],
    ['1234567.891', '$1,234,567.89'],
    ['-12.4312', '-$12.431'],
    ['-0.000000001', '> -$0.000001'],
  ])('shows %s as %s', (usd, shown) => {
    expect(money(nano(usd))).toBe(shown);
  });

  it('keeps every nano-dollar, however many dollars', () => {
    for (const usd of ['0', '0.000000001', '9007199254740993.000000001', '-3.5', '128.41']) {
      expect(exact(nano(usd))).toBe(usd.startsWith('-') ? `-$${usd.slice(1)}` : `$${usd}`);
    }
    let sum = 0n;
    for (let i = 0; i < 10_000; i++) sum += nano('0.1');
    expect(sum).toBe(nano('1000'));
  });

  it('is never further from what it shows than half of its last digit', () => {
    let seed = 7n;
    for (let i = 0; i < 5000; i++) {
      seed = (seed * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
      const value = seed % 10n ** (3n + (seed % 14n));
      if (value < 1000n) continue;
      const shown = money(value).replace(/[$,]/g, '');
      const decimals = shown.split('.')[1]?.length ?? 0;
      const off = nano(shown) - value;
      expect((off < 0n ? -off : off) * 2n <= 10n ** BigInt(9 - decimals), `${value} as ${shown}`).toBe(true);
    }
  });

  it.each(['', '1e-7', '1.', '.5', '0.0000000001', 'NaN', '1,000', ' 1'])('does not take %j for an amount', (text) => {
    expect(() => nano(text)).toThrow(RangeError);
  });

  it.each([
    // More nano-dollars than a number holds.
    ['10000000', '0.999999999', '9999999.000000001', 1],
    ['20000000000', '9999999999.999999999', '10000000000.000000001', 0.5],
    ['5', '5', '0', 0],
    ['5', '-1.5', '6.5', 1.3],
    ['0', '0', '0', 1],
  ])('of $%s with $%s left it is exactly $%s that is used', (limit, remaining, used, share) => {
    const found = usedOf(limit, remaining);
    expect(exact(found.used)).toBe(`$${used}`);
    expect(found.share).toBeCloseTo(share, 6);
  });
});

describe('numbers', () => {
  it.each([
    [0, '0'],
    [1204, '1,204'],
    [999_999, '999,999'],
    [81_234_567, '81.2M'],
    [6_000_000, '6M'],
    [999_950_000, '1B'],
    [1_500_000_000, '1.5B'],
  ])('counts %s as %s', (value, shown) => {
    expect(count(value)).toBe(shown);
  });

  it('tells unknown from zero', () => {
    expect([count(null), duration(null), percent(null), short(undefined)]).toEqual(['—', '—', '—', '—']);
    expect([count(0), duration(0), percent(0), short(0)]).toEqual(['0', '0 ms', '0.0 %', '0']);
  });

  it.each([
    [0.042, '0.042 ms'],
    [412.4, '412 ms'],
    [999.6, '1.00 s'],
    [4_620, '4.62 s'],
    [59_999, '1 min 0 s'],
    [123_000, '2 min 3 s'],
    [7_260_000, '2 h 1 min'],
    [180_000_000, '2 d 2 h'],
  ])('shows %s ms as %s', (ms, shown) => {
    expect(duration(ms)).toBe(shown);
  });

  it('says how figures moved', () => {
    expect(change(112.4, 100)).toBe('up 12.4 %');
    expect(change(50, 100)).toBe('down 50.0 %');
    expect(change(5, 0)).toBe('new');
    expect(change(0, 0)).toBe('as before');
    expect(change(5, null)).toBe('');
    expect(change(3000, 100)).toBe('up 30 ×');
    expect(changePoints(0.0031, 0.0039)).toBe('down 0.08 pt');
  });

  it('shows lengths as providers say them', () => {
    expect([131_072, 128_000, 1_048_576, 200_000, 8192, 0].map(contextLength)).toEqual([
      '128k',
      '128k',
      '1M',
      '200k',
      '8k',
      '—',
    ]);
  });
});

describe('time', () => {
  const at = Date.UTC(2026, 10, 22, 13, 2, 11, 123);

  it('is in the zone that is asked for', () => {
    expect(clock(at, 'Europe/Berlin')).toBe('14:02:11');
    expect(minutes(at, 'Asia/Kathmandu')).toBe('18:47');
    expect(moment(at, 'Pacific/Apia')).toBe('23 Nov 2026, 02:02:11');
    expect(precise(at, 'Asia/Kolkata')).toBe('22 Nov 2026, 18:32:11.123 GMT+5:30');
    expect(clock(Date.UTC(2026, 0, 1), 'UTC')).toBe('00:00:00');
  });

  it('is said in words', () => {
    expect([0, 30_000, 150_000, 7_200_000, 200_000_000].map((ms) => ago(at - ms, at))).toEqual([
      'now',
      '30 s ago',
      '2 min ago',
      '2 h ago',
      '2 d ago',
    ]);
    expect(ago(at + 90_000, at)).toBe('in 1 min');
  });
});

describe('text of anybody', () => {
  it('shows what would hide', () => {
    expect(plain('a\u202eb\u200bc\u0000')).toBe('a\\u202eb\\u200bc\\u0000');
    expect(plain('a\u{e0041}\u3164\u115f')).toBe('a\\u{e0041}\\u3164\\u115f');
    expect(plain('x'.repeat(300))).toBe(`${'x'.repeat(200)}…`);
    expect(plain('naïve 日本語 🎉')).toBe('naïve 日本語 🎉');
  });
});

it('the zone of the browser is asked for once for everything that is drawn', () => {
  const asked = vi.spyOn(Intl, 'DateTimeFormat');
  viewersZone();
  asked.mockClear();
  for (let at = 0; at < 100; at++) expect(isZone(viewersZone()) && isZone('Asia/Kathmandu')).toBe(true);
  expect(asked.mock.calls.length).toBeLessThan(2);
  asked.mockRestore();
  for (let at = 0; at < 2; at++) expect(isZone('Nowhere/At/All')).toBe(false);
});

it.each([
  ['a minute later', '2031-01-01', 60_000, 'Asia/Kathmandu'],
  ['within the minute', '2031-01-02', 59_999, 'UTC'],
  ['when the clock was set back', '2031-01-03', -1, 'Asia/Kathmandu'],
])('a viewer who travels has another zone: %s', (_, day, after, zone) => {
  vi.useFakeTimers({ now: new Date(day), toFake: ['Date'] });
  const of = vi.spyOn(Intl.DateTimeFormat.prototype, 'resolvedOptions');
  try {
    of.mockReturnValue({ timeZone: 'UTC' } as Intl.ResolvedDateTimeFormatOptions);
    expect(viewersZone()).toBe('UTC');
    of.mockReturnValue({ timeZone: 'Asia/Kathmandu' } as Intl.ResolvedDateTimeFormatOptions);
    vi.setSystemTime(Date.now() + after);
    expect(viewersZone()).toBe(zone);
  } finally {
    of.mockRestore();
    vi.useRealTimers();
  }
});
