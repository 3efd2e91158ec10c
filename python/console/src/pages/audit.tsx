/** Who changed what, newest first, with what it was before and after. */
import { useInfiniteQuery } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { get, getCsv } from '../api/client';
import type { AuditEntry } from '../api/types';
import { useTitle } from '../shell/title';
import { instant, useBounds, useMay, useSetSearch } from '../state/hooks';
import { At, Button, Name, TextField, ui } from '../ui/basics';
import { save } from '../ui/save';
import { Empty, FirstPage, Forbidden, Older, said } from '../ui/states';

interface Page {
  data: AuditEntry[];
  next: number | null;
}

interface Filters {
  actor?: string;
  action?: string;
  target_kind?: string;
  target_id?: string;
}

export function AuditPage() {
  const heading = useTitle('Audit');
  const { actor, action, target_kind, target_id } = useSearch({ strict: false }) as Filters;
  const setSearch = useSetSearch();
  const bounds = useBounds();
  const may = useMay('admin');
  const filters = { actor, action, target_kind, target_id };
  const [draft, setDraft] = useState({ actor: actor ?? '', action: action ?? '' });
  const [error, setError] = useState('');
  const list = useInfiniteQuery({
    queryKey: ['audit', filters, bounds.from, bounds.to],
    initialPageParam: 0,
    queryFn: ({ pageParam, signal }) =>
      get<Page>(
        '/admin/audit',
        { ...filters, from: instant(bounds.from), to: bounds.to, limit: 100, before: pageParam || undefined },
        signal,
      ),
    getNextPageParam: (page) => page.next ?? undefined,
    enabled: may,
  });
  const rows = list.data?.pages.flatMap((page) => page.data) ?? [];
  const filtered = Object.values(filters).some(Boolean);
  const exportCsv = async () => {
    try {
      save(
        'audit.csv',
        await getCsv('/admin/audit', { ...filters, from: instant(bounds.from), to: bounds.to, limit: 1000 }),
      );
      setError('');
    } catch (failed) {
      setError(said(failed));
    }
  };
  if (!may) {
    return (
      <>
        <h1 tabIndex={-1} ref={heading}>
          Audit
        </h1>
        <Forbidden needs="admin" />
      </>
    );
  }
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Audit
        </h1>
        <Button onClick={() => void exportCsv()} title="At most 1,000 rows">
          CSV
        </Button>
      </div>
      {error && (
        <div className={ui.alert} role="alert">
          {error}
        </div>
      )}
      <form
        className={ui.row}
        onSubmit={(event) => {
          event.preventDefault();
          setSearch({ actor: draft.actor.trim() || undefined, action: draft.action.trim() || undefined });
        }}
      >
        <TextField
          label="Who"
          value={draft.actor}
          onChange={(event) => setDraft({ ...draft, actor: event.target.value })}
        />
        <TextField
          label="What"
          placeholder="key.change"
          value={draft.action}
          onChange={(event) => setDraft({ ...draft, action: event.target.value })}
        />
        <Button type="submit">Filter</Button>
        {filtered && (
          <Button
            onClick={() => {
              setDraft({ actor: '', action: '' });
              setSearch({ actor: undefined, action: undefined, target_kind: undefined, target_id: undefined });
            }}
          >
            Without filters
          </Button>
        )}
      </form>
      <FirstPage list={list} height={320} />
      {list.data && rows.length === 0 && (
        <Empty title={filtered ? 'No change in this range fits.' : 'Nothing was changed in this range.'} />
      )}
      {rows.length > 0 && (
        <div className={ui.scroll} tabIndex={0} role="region" aria-label="Changes, newest first">
          <table className={ui.table}>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">What</th>
                <th scope="col">Of</th>
                <th scope="col">Before → after</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.id}>
                  <td className={ui.nowrap}>
                    <At at={row.at} />
                  </td>
                  <td>
                    <Name most={40}>{row.actor}</Name>
                    <div className={ui.muted}>{[row.role, row.address].filter(Boolean).join(', ')}</div>
                  </td>
                  <td className={ui.nowrap}>{row.action}</td>
                  <td>
                    {row.target_kind} <Name most={60}>{row.target || row.target_id}</Name>
                  </td>
                  <td className={ui.mono}>
                    <Changes of={row} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div className={ui.row}>
        <Older list={list} />
      </div>
    </>
  );
}

/** A line for each member that differs. */
function Changes({ of: { before, after } }: { of: AuditEntry }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const shown = (side: AuditEntry['before'], name: string) => {
    const value = (side as Record<string, unknown> | null)?.[name];
    return value === undefined ? '—' : JSON.stringify(value);
  };
  return names.map((name) => (
    <div key={name}>
      <Name most={200}>{`${name}: ${before ? `${shown(before, name)} → ` : ''}${shown(after, name)}`}</Name>
    </div>
  ));
}
