/** "What is in force, and is my change right?" The file, the values with their sources, and the files that there were. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useSearch } from '@tanstack/react-router';
import { useRef, useState } from 'react';
import { ApiError, ask, get, send } from '../api/client';
import type { Comparison, Config, ConfigValue, Kept, Problem } from '../api/types';
import { useWrite } from '../api/write';
import { count } from '../format/number';
import { useTitle } from '../shell/title';
import { useMay, useSession, useSetSearch } from '../state/hooks';
import { At, Badge, Button, Choose, Code, Copy, Facts, Name, ui } from '../ui/basics';
import { Changed } from '../ui/changed';
import { around, difference } from '../ui/difference';
import { Part } from '../ui/part';
import { Search } from '../ui/search';
import { Empty, Loaded, said } from '../ui/states';
import { Tabs } from '../ui/tabs';
import s from './config.module.css';
import { type Draft, keep, unfinished } from './draft';
import { LINE_PX, TomlBox, tooMuch } from './toml-box';
import { Problems, problemsOf } from './problems';

const KEY = ['config'];
const NOTHING: readonly Problem[] = [];

export function ConfigPage() {
  const heading = useTitle('Configuration');
  const client = useQueryClient();
  const { tab = 'file' } = useSearch({ strict: false }) as { tab?: string };
  const setSearch = useSetSearch();
  const may = useMay('admin');
  const { user_id: user } = useSession();
  const [draft, show] = useState(() => unfinished(user));
  const setDraft = (next: Draft | null) => {
    keep(user, next);
    show(next);
  };
  const query = useQuery({
    queryKey: KEY,
    queryFn: async ({ signal }) => (await get<{ data: Config }>('/admin/config', {}, signal)).data,
    refetchInterval: 15_000,
  });
  const reload = useWrite({
    mutationFn: () => send<{ data: { message: string } }>('POST', '/admin/reload', {}),
    onSettled: () => client.invalidateQueries(),
  });
  const putBack = (text: string) => {
    if (!query.data?.etag) return;
    setDraft({ text, base: query.data.text ?? '', etag: query.data.etag });
    setSearch({ tab: undefined, kept: undefined });
  };
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Configuration
        </h1>
        {may && (
          <Button
            onClick={() => reload.mutate()}
            busy={reload.isPending}
            title="Reads the file again and puts it in force"
          >
            Reload
          </Button>
        )}
      </div>
      {reload.data && !reload.error && (
        <div className={ui.note} role="status">
          {reload.data.data.message}
        </div>
      )}
      <Loaded query={query} height={480}>
        {(config) => (
          <>
            {config.failure ? (
              <div className={ui.alert} role="alert">
                <strong>
                  The last reload changed nothing (<At at={config.failure.at} />)
                </strong>
                <span>What was in force stays in force.</span>
                <Code label="Why the last reload failed" wrap copy={false}>
                  {config.failure.message}
                </Code>
              </div>
            ) : (
              reload.error && (
                <div className={ui.alert} role="alert">
                  {said(reload.error)}
                </div>
              )
            )}
            {config.changed_since && !config.failure && (
              <div className={ui.note} role="status">
                The file is another one than what is in force. Reload puts it in force.
              </div>
            )}
            {config.warnings.length > 0 && (
              <section className={ui.card}>
                <h2>Doubtful</h2>
                <Problems of={config.warnings} />
              </section>
            )}
            <Tabs
              label="Views of the configuration"
              value={tab}
              onChange={(id) => setSearch({ tab: id === 'file' ? undefined : id, kept: undefined })}
              tabs={[
                {
                  id: 'file',
                  label: 'File',
                  content: () => <Editor of={config} draft={draft} onDraft={setDraft} />,
                },
                { id: 'values', label: 'In force', content: () => <Values of={config.values} path={config.path} /> },
                {
                  id: 'history',
                  label: 'History',
                  content: () => <History of={config} onPutBack={config.etag ? putBack : null} />,
                },
              ]}
            />
          </>
        )}
      </Loaded>
    </>
  );
}

function Editor(props: { of: Config; draft: Draft | null; onDraft: (draft: Draft | null) => void }) {
  const { of: config, draft, onDraft } = props;
  const client = useQueryClient();
  const owner = useMay('owner');
  const area = useRef<HTMLTextAreaElement>(null);
  const written = useRef('');
  const text = draft?.text ?? config.text ?? '';
  const isEdited = draft !== null && draft.text !== draft.base;
  const validate = useWrite({
    mutationFn: async (wanted: string) =>
      (await ask<{ data: { ok: boolean; problems: Problem[] } }>('/admin/config/validate', { text: wanted }))
        .data,
  });
  const compare = useWrite({
    mutationFn: async (wanted: string) =>
      (await ask<{ data: Comparison }>('/admin/config/diff', { text: wanted })).data,
  });
  const apply = useWrite({
    mutationFn: (wanted: Draft) =>
      send<{ data: { message: string } }>('PUT', '/admin/config', { text: wanted.text }, wanted.etag),
    onSuccess: async () => {
      onDraft(null);
      // The file is another one, and so may be everything else.
      await client.invalidateQueries();
    },
  });
  const forget = () => {
    for (const each of [validate, compare, apply]) each.reset();
  };
  const edit = (next: string) => {
    forget();
    written.current = next;
    onDraft({ text: next, base: draft?.base ?? config.text ?? '', etag: draft?.etag ?? config.etag ?? '' });
  };
  const late = apply.error instanceof ApiError && apply.error.status === 412 ? apply.error : null;
  const problems = [
    ...(validate.data?.problems ?? compare.data?.problems ?? NOTHING),
    ...(late ? NOTHING : problemsOf(apply.error)),
  ];
  const toLine = (line: number, column: number) => {
    const box = area.current;
    if (!box) return;
    const lines = text.split('\n');
    const at = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    box.focus();
    box.setSelectionRange(at + column - 1, at + (lines[line - 1]?.length ?? 0));
    box.scrollTop = Math.max(0, (line - 5) * LINE_PX);
  };
  if (config.path === null) {
    return (
      <Empty title="There is no configuration file: everything is at its default.">
        <p>Write a fairlead.toml and start with --config, or put it into the folder where the gateway starts.</p>
      </Empty>
    );
  }
  if (config.text === null) {
    return <Empty title="The file is not shown here.">{config.why_not && <p>{config.why_not}</p>}</Empty>;
  }
  // What is written here was bounded when it came in.
  const long = text === written.current ? null : tooMuch(text);
  if (long) {
    return (
      <Empty title="The text is not shown here.">
        <p>{long} Edit it where it is, and reload.</p>
        {draft && <Button onClick={() => [forget(), onDraft(null)]}>Back to the file</Button>}
      </Empty>
    );
  }
  const busy = validate.isPending || compare.isPending || apply.isPending;
  const error = late ? null : (validate.error ?? compare.error ?? (problemsOf(apply.error).length ? null : apply.error));
  return (
    <>
      <p className={ui.muted}>
        <Name most={200}>{config.path}</Name>. Secrets in it are shown as «kept …» and put back when it is written.
        {!config.writable && config.why_not && ` ${config.why_not}.`}
        {config.writable && !owner && ' An owner may apply a change.'}
      </p>
      <TomlBox text={text} onEdit={edit} wrong={problems} area={area} />
      <div className={ui.row}>
        <Button onClick={() => [forget(), validate.mutate(text)]} busy={validate.isPending} disabled={busy}>
          Validate
        </Button>
        <Button onClick={() => [forget(), compare.mutate(text)]} busy={compare.isPending} disabled={busy}>
          Diff
        </Button>
        {config.writable ? (
          owner && (
            <Button
              look="primary"
              busy={apply.isPending}
              disabled={busy || !isEdited}
              onClick={() => {
                forget();
                if (draft) apply.mutate(draft);
              }}
            >
              Apply
            </Button>
          )
        ) : (
          <Copy text={text} />
        )}
        {draft && (
          <Button onClick={() => [forget(), onDraft(null)]} disabled={busy}>
            Back to the file
          </Button>
        )}
        {isEdited && <span className={ui.muted}>Not applied yet. It stays in this tab, also on other pages.</span>}
      </div>
      <div role="status" className={ui.stack}>
        {validate.data?.ok && problems.length === 0 && <span className={ui.good}>Nothing is wrong with it.</span>}
        {apply.data && <span className={ui.good}>{apply.data.data.message}</span>}
      </div>
      {error && (
        <div className={ui.alert} role="alert">
          {said(error)}
        </div>
      )}
      {late && draft && <Late error={late} draft={draft} onDraft={(next) => [forget(), onDraft(next)]} />}
      {problems.length > 0 && (
        <section className={ui.card}>
          <h2>
            {problems.some((one) => one.severity === 'error')
              ? 'It cannot be used: nothing was changed'
              : 'It can be used, and is doubtful'}
          </h2>
          <Problems of={problems} onLine={toLine} />
        </section>
      )}
      {compare.data?.ok && <Compared of={compare.data} />}
    </>
  );
}

/** Somebody else was faster: what they changed, and both ways on. */
function Late(props: { error: ApiError; draft: Draft; onDraft: (draft: Draft | null) => void }) {
  const client = useQueryClient();
  const [error, setError] = useState('');
  const theirs = (props.error.details.current as { text?: string | null } | null)?.text ?? null;
  const refetch = async () => {
    try {
      const { data } = await get<{ data: Config }>('/admin/config');
      client.setQueryData(KEY, data);
      return data;
    } catch (failed) {
      setError(said(failed));
      return null;
    }
  };
  const keep = async () => {
    const now = await refetch();
    if (now?.etag) props.onDraft({ text: props.draft.text, base: now.text ?? '', etag: now.etag });
  };
  const take = async () => {
    if (await refetch()) props.onDraft(null);
  };
  return (
    <div className={ui.alert} role="alert">
      <strong>The file was changed since you began. Nothing was written.</strong>
      {theirs !== null && (
        <Changed label="What was changed meanwhile" lines={around(difference(props.draft.base, theirs))} />
      )}
      {error && <span>{error}</span>}
      <div className={ui.row}>
        <Button onClick={() => void keep()}>Go on with my text</Button>
        <Button onClick={() => void take()}>Take the file as it is now</Button>
      </div>
    </div>
  );
}

function Compared({ of: found }: { of: Comparison }) {
  const groups = (['models', 'providers', 'keys'] as const).flatMap((name) =>
    (['added', 'removed', 'changed'] as const).map((how) => [`${name} ${how}`, found[name][how]] as const),
  );
  const isSame = found.values.length === 0 && found.lines.length === 0;
  const shown = (value: unknown) => (value === null || value === undefined ? '—' : JSON.stringify(value));
  return (
    <section className={ui.card} aria-label="What it would change">
      <h2>What it would change</h2>
      {isSame ? (
        <p className={ui.muted}>Nothing: it is what is in force.</p>
      ) : (
        <div className={ui.stack}>
          <Facts
            of={[
              ...groups.map(
                ([name, names]) => names.length > 0 && ([name, <Name key={name} most={1000}>{names.join(', ')}</Name>] as const),
              ),
              found.at_next_start.length > 0 && ['at the next start', found.at_next_start.join(', ')],
            ]}
          />
          {found.values.length === 0 ? (
            <p className={ui.muted}>No value: only comments and spaces.</p>
          ) : (
            <div className={ui.scroll} tabIndex={0} role="region" aria-label="Values that would change">
              <table className={ui.table}>
                <thead>
                  <tr>
                    <th scope="col">Setting</th>
                    <th scope="col">In force</th>
                    <th scope="col">Then</th>
                  </tr>
                </thead>
                <tbody>
                  {found.values.map((one) => (
                    <tr key={one.path}>
                      <td className={ui.mono}>
                        <Name most={200}>{one.path}</Name>
                      </td>
                      <td className={ui.mono}>
                        <Name most={200}>{shown(one.before)}</Name>
                      </td>
                      <td className={ui.mono}>
                        <Name most={200}>{shown(one.after)}</Name>
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
          <Changed label="Lines that would change" lines={found.lines} />
        </div>
      )}
    </section>
  );
}

const SOURCES: Record<ConfigValue['source'], string> = {
  default: 'default',
  file: 'file',
  env: 'environment',
  reference: 'another file',
  command: 'command line',
  database: 'database',
};

function sourceOf(value: ConfigValue, file: string): string {
  const line = value.line === null ? '' : `${file}:${value.line}`;
  if (value.source === 'env') return `environment ${value.reference?.slice('env:'.length)}, ${line}`;
  if (value.source === 'reference') return `${value.reference}, ${line}`;
  return value.source === 'file' ? line : SOURCES[value.source];
}

function Values({ of: values, path }: { of: readonly ConfigValue[]; path: string | null }) {
  const file = path?.split('/').pop() ?? '';
  const { q = '', source = '' } = useSearch({ strict: false }) as { q?: string; source?: string };
  const setSearch = useSetSearch();
  const wanted = q.toLowerCase();
  const rows = values.filter(
    (one) =>
      (source === '' || (source === 'set' ? one.source !== 'default' : one.source === source)) &&
      (one.path.toLowerCase().includes(wanted) || String(JSON.stringify(one.value)).toLowerCase().includes(wanted)),
  );
  return (
    <>
      <div className={ui.row}>
        <Search
          label="Search settings"
          placeholder="Setting or value"
          value={q}
          onSearch={(text) => setSearch({ q: text }, true)}
        />
        <Choose
          label="From where"
          value={source}
          choices={[
            { value: '', label: 'From everywhere' },
            { value: 'set', label: 'All but defaults' },
            ...Object.entries(SOURCES).map(([value, label]) => ({ value, label })),
          ]}
          onChange={(value) => setSearch({ source: value || undefined })}
        />
        <span className={ui.muted} role="status">
          {count(rows.length)} of {count(values.length)}
        </span>
      </div>
      {rows.length === 0 ? (
        <Empty title="No setting fits.">
          <Button onClick={() => setSearch({ q: undefined, source: undefined })}>Show all</Button>
        </Empty>
      ) : (
        <Part rows={rows}>
          {(part) => (
            <div className={ui.scroll} tabIndex={0} role="region" aria-label="Settings in force">
              <table className={`${ui.table} ${s.values}`}>
                <thead>
                  <tr>
                    <th scope="col">Setting</th>
                    <th scope="col">Value</th>
                    <th scope="col">From</th>
                  </tr>
                </thead>
                <tbody>
                  {part.map((one) => (
                    <tr key={one.path}>
                      <td className={ui.mono}>
                        <Name most={200}>{one.path}</Name>
                      </td>
                      <td className={ui.mono}>
                        {one.value === null ? (
                          <span className={ui.muted}>not set</span>
                        ) : (
                          <Name most={200}>{JSON.stringify(one.value)}</Name>
                        )}
                      </td>
                      <td>
                        {one.source === 'default' ? (
                          <span className={ui.muted}>default</span>
                        ) : (
                          <Name most={200}>{sourceOf(one, file)}</Name>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Part>
      )}
    </>
  );
}

function History({ of: config, onPutBack }: { of: Config; onPutBack: ((text: string) => void) | null }) {
  const { kept } = useSearch({ strict: false }) as { kept?: string };
  const setSearch = useSetSearch();
  const list = useQuery({
    queryKey: [...KEY, 'history'],
    queryFn: async ({ signal }) => (await get<{ data: Kept[] }>('/admin/config/history', {}, signal)).data,
  });
  const old = useQuery({
    queryKey: [...KEY, 'history', kept],
    enabled: kept !== undefined,
    placeholderData: undefined,
    queryFn: async ({ signal }) =>
      (
        await get<{ data: { id: string; text: string } }>(
          `/admin/config/history/${encodeURIComponent(kept ?? '')}`,
          {},
          signal,
        )
      ).data,
  });
  return (
    <>
      <Loaded query={list} height={160}>
        {(files) =>
          files.length === 0 ? (
            <Empty title="No file was replaced from here yet." />
          ) : (
            <div className={ui.scroll} tabIndex={0} role="region" aria-label="Files that were replaced">
              <table className={ui.table}>
                <thead>
                  <tr>
                    <th scope="col">Replaced</th>
                    <th scope="col" className={ui.num}>
                      Bytes
                    </th>
                    <th scope="col">
                      <span className="sr-only">Look at it</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {files.map((file) => (
                    <tr key={file.id}>
                      <td>
                        <At at={file.at} />
                      </td>
                      <td className={ui.num}>{count(file.bytes)}</td>
                      <td>
                        {file.id === kept ? (
                          <Badge>shown below</Badge>
                        ) : (
                          <Button onClick={() => setSearch({ kept: file.id })}>View</Button>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
      {kept !== undefined && (
        <Loaded query={old} height={320}>
          {(file) => (
            <section className={ui.card}>
              <div className={ui.cardHead}>
                <h2>
                  As it was until <At at={list.data?.find((one) => one.id === kept)?.at ?? null} />
                </h2>
                {onPutBack && <Button onClick={() => onPutBack(file.text)}>Put into the editor</Button>}
              </div>
              {config.text !== null && (
                <div className={ui.stack} style={{ gap: 8, marginBottom: 16 }}>
                  <h3>What changed since</h3>
                  <Changed
                    label="What changed since"
                    lines={around(difference(file.text, config.text))}
                  />
                </div>
              )}
              <h3>All of it</h3>
              <Code label="The old file">{file.text}</Code>
            </section>
          )}
        </Loaded>
      )}
    </>
  );
}
