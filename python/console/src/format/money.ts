/** Money is in whole nano-dollars, as BigInt, from the text of the reply to the text on the page. */
const DECIMALS = 9;
const DOLLAR = 10n ** 9n;

/** Nano-dollars of a decimal string such as "1.5" or "-0.000000001". Throws a RangeError on anything else, also on a tenth decimal. */
export function nano(usd: string): bigint {
  const found = /^(-?)(\d+)(?:\.(\d{1,9}))?$/.exec(usd);
  if (!found) throw new RangeError(`not an amount of dollars: ${usd.slice(0, 40)}`);
  const [, sign, whole = '0', part = ''] = found;
  const value = BigInt(whole) * DOLLAR + BigInt(part.padEnd(DECIMALS, '0'));
  return sign ? -value : value;
}

/** Every decimal there is, without zeros at the end: for copies, tooltips and exports. */
export function exact(value: bigint): string {
  const size = value < 0n ? -value : value;
  const part = (size % DOLLAR).toString().padStart(DECIMALS, '0').replace(/0+$/, '');
  return `${value < 0n ? '-' : ''}$${size / DOLLAR}${part ? `.${part}` : ''}`;
}

/** For reading: two decimals from $100, three from $1, below that three digits. What is more than nothing is never shown as $0. */
export function money(value: bigint): string {
  const sign = value < 0n ? '-' : '';
  const size = value < 0n ? -value : value;
  if (size === 0n) return '$0';
  if (size < 1000n) return `${sign === '-' ? '> -' : '< '}$0.000001`;
  if (rounded(size, 3) >= 100n * DOLLAR) return sign + dollars(rounded(size, 2), 2);
  if (rounded(size, 3) >= DOLLAR) return sign + dollars(rounded(size, 3), 3);
  // Three digits from the first that is not zero on.
  let decimals = DECIMALS - size.toString().length + 3;
  if (rounded(size, decimals).toString().length > size.toString().length) decimals -= 1;
  return sign + dollars(rounded(size, decimals), decimals);
}

/** What is used of a limit, to the nano-dollar, and its share: all of a limit of nothing. */
export function usedOf(limit: string, remaining: string): { used: bigint; share: number } {
  const whole = nano(limit);
  const used = whole - nano(remaining);
  return { used, share: whole > 0n ? Number(used) / Number(whole) : 1 };
}

/** The nearest nano-dollars with so many decimals, halves upwards. */
function rounded(size: bigint, decimals: number): bigint {
  const unit = 10n ** BigInt(DECIMALS - decimals);
  return ((size + unit / 2n) / unit) * unit;
}

function dollars(size: bigint, decimals: number): string {
  const part = (size % DOLLAR).toString().padStart(DECIMALS, '0').slice(0, decimals);
  return `$${group(size / DOLLAR)}.${part}`;
}

/** Thousands apart. */
export function group(whole: bigint | number): string {
  return whole.toString().replace(/\B(?=(\d{3})+$)/g, ',');
}
