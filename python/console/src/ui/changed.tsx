import { classes, ui } from './basics';

/** Lines with `+`, `-` or a space before them. The signs say it, colours repeat it. */
export function Changed({ lines, label }: { lines: readonly string[]; label: string }) {
  return (
    <pre dir="auto" tabIndex={0} role="region" aria-label={label} className={ui.code}>
      {lines.map((line, at) => (
        <span
          key={at}
          className={classes(line[0] === '+' && ui.good, line[0] === '-' && ui.bad)}
        >
          {`${line}\n`}
        </span>
      ))}
    </pre>
  );
}
