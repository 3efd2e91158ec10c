/** Lines of two texts: `-` and the line where it is only in the first, `+` where only in the second, a space where in both. */

/** Beyond so many comparisons (some 20 ms) what differs is said as a whole. */
const MOST = 4_000_000;

export function difference(before: string, after: string): string[] {
  const [old, now] = [before.split('\n'), after.split('\n')];
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head++;
  let tail = 0;
  while (
    tail < old.length - head &&
    tail < now.length - head &&
    old[old.length - 1 - tail] === now[now.length - 1 - tail]
  )
    tail++;
  const [left, right] = [old.slice(head, old.length - tail), now.slice(head, now.length - tail)];
  return [
    ...old.slice(0, head).map((line) => ` ${line}`),
    ...middle(left, right),
    ...old.slice(old.length - tail).map((line) => ` ${line}`),
  ];
}

function middle(left: string[], right: string[]): string[] {
  if (left.length * right.length > MOST) return [...left.map((line) => `-${line}`), ...right.map((line) => `+${line}`)];
  const wide = right.length + 1;
  // How long what both have is, from here to the ends.
  const common = new Uint32Array((left.length + 1) * wide);
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      common[i * wide + j] =
        left[i] === right[j]
          ? common[(i + 1) * wide + j + 1]! + 1
          : Math.max(common[(i + 1) * wide + j]!, common[i * wide + j + 1]!);
    }
  }
  const lines: string[] = [];
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    if (i < left.length && j < right.length && left[i] === right[j]) {
      lines.push(` ${left[i]}`);
      i++;
      j++;
    } else if (
      j >= right.length ||
      (i < left.length && common[(i + 1) * wide + j]! >= common[i * wide + j + 1]!)
    ) {
      lines.push(`-${left[i++]}`);
    } else lines.push(`+${right[j++]}`);
  }
  return lines;
}

/** Those that differ, with a few around them; what is left out is said. */
export function around(lines: readonly string[], context = 3): string[] {
  const near = lines.map((_, at) =>
    lines.slice(Math.max(0, at - context), at + context + 1).some((line) => line[0] !== ' '),
  );
  const found: string[] = [];
  lines.forEach((line, at) => {
    if (near[at]) found.push(line);
    else if (at === 0 || near[at - 1]) found.push('…');
  });
  return found;
}
