/** Mistakes and doubts about what somebody wrote: where, what, and what was probably meant. */
import { ApiError } from '../api/client';
import type { Problem } from '../api/types';
import { Badge, Button, Name, ui } from '../ui/basics';

/** Those that a refusal names. */
export function problemsOf(error: unknown): Problem[] {
  return error instanceof ApiError && Array.isArray(error.details.problems) ? (error.details.problems as Problem[]) : [];
}

export function Problems({ of, onLine }: { of: readonly Problem[]; onLine?: (line: number, column: number) => void }) {
  return (
    <ul className={ui.stack} style={{ gap: 8 }} aria-label="What is wrong">
      {of.map((problem, at) => (
        <li key={`${problem.path} ${at}`}>
          <Badge look={problem.severity === 'error' ? 'bad' : 'warn'}>{problem.severity}</Badge>{' '}
          {problem.line !== null &&
            (onLine ? (
              <Button onClick={() => onLine(problem.line ?? 1, problem.column ?? 1)}>
                {`line ${problem.line}${problem.column === null ? '' : `, column ${problem.column}`}`}
              </Button>
            ) : (
              <span>line {problem.line}</span>
            ))}{' '}
          {problem.path && (
            <>
              <span className={ui.mono}>
                <Name most={200}>{problem.path}</Name>
              </span>
              {': '}
            </>
          )}
          <Name most={1000}>{problem.message}</Name>
          {problem.fix && (
            <>
              {' '}
              <strong>
                Write <Name>{problem.fix}</Name>.
              </strong>
            </>
          )}
        </li>
      ))}
    </ul>
  );
}
