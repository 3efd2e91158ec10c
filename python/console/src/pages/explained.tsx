/** What would be decided about a request, and why. */
import { ask } from '../api/client';
import { Code, Name, ui } from '../ui/basics';
import { lines } from './definition';

interface Candidate {
  model?: string;
  provider?: string;
  [name: string]: unknown;
}

export interface Explanation {
  candidates?: Candidate[];
  removed?: Candidate[];
  refusal?: string;
  [name: string]: unknown;
}

/** Asks. Nothing is sent to a provider. */
export async function explained(question: { body: unknown; key?: string }): Promise<Explanation> {
  return (await ask<{ data: Explanation }>('/admin/explain', question)).data;
}

export function Explained({ of }: { of: Explanation }) {
  return (
    <>
      {of.refusal && <p className={ui.warn}>{of.refusal}</p>}
      <Candidates title="In this order" rows={of.candidates ?? []} />
      <Candidates title="Left out" rows={of.removed ?? []} />
      <Code label="The whole answer">{lines(of)}</Code>
    </>
  );
}

function Candidates({ title, rows }: { title: string; rows: Candidate[] }) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) =>
    rows.every((row) => row[name] === null || typeof row[name] !== 'object'),
  );
  return (
    <div className={ui.scroll} tabIndex={0} role="region" aria-label={title}>
      <h3>
        {title} ({rows.length})
      </h3>
      {rows.length > 0 && (
        <table className={ui.table}>
          <thead>
            <tr>
              {names.map((name) => (
                <th scope="col" key={name}>
                  {name.replaceAll('_', ' ')}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, index) => (
              <tr key={`${row.provider} ${row.model} ${index}`}>
                {names.map((name) => (
                  <td key={name}>
                    {row[name] === null || row[name] === undefined ? '—' : <Name>{String(row[name])}</Name>}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
