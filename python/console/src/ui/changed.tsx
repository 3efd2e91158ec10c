import { plain } from '../format/text';
import { classes, ui } from './basics';

/** Of a line, in characters. */
const MOST = 2000;

/** Lines with `+`, `-` or a space before them. The signs say it, colours repeat it. */
export function Changed({ lines, label }: { lines: readonly string[]; label: string }) {
  return (
    <pre dir="auto" tabIndex={0} role="region" aria-label={label} className={ui.code}>
      {lines.map((line, at) => (
        <span
          key={at}
          className={classes(line[0] === '+' && ui.good, line[0] === '-' && ui.bad)}
        >
          {`${plain(line, MOST)}\n`}
        </span>
      ))}
    </pre>
  );
}
