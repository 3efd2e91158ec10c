/** "How do these answer, how fast, for how much?" One prompt to several models through one stream. */
import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { Offline, send, stream } from '../api/client';
import { keysQuery } from '../api/queries';
import { money, nano } from '../format/money';
import { count, duration, speed } from '../format/number';
import { plain } from '../format/text';
import { useTitle } from '../shell/title';
import { useMay, useNarrow, useSession, useSetSearch } from '../state/hooks';
import { Badge, Button, Choose, Code, Copy, classes, Field, Name, TextField, Usd, ui } from '../ui/basics';
import { Dialog } from '../ui/dialog';
import { Empty, Loaded, said, Without } from '../ui/states';
import { Tabs } from '../ui/tabs';
import { callIn, LANGUAGES } from './code';
import { bodyOf, events, type Lane, lane, told } from './lanes';
import { useEstimates } from './models';
import s from './playground.module.css';
import { type Draft, EMPTY, keep, kept } from './prompt';
import { modelsQuery, namesQuery, useTraffic } from './traffic';

const MOST_LANES = 6;
const MOST_IMAGE_BYTES = 700_000;
interface Search {
  models?: string;
  temperature?: string;
  top_p?: string;
  max?: string;
  effort?: string;
  key?: string;
}

const STEP_MS = 500;

/** With the next picture; for who wants less motion, in steps. What is returned takes it back. */
function soon(draw: () => void): () => void {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
    const timer = setTimeout(draw, STEP_MS);
    return () => clearTimeout(timer);
  }
  const frame = requestAnimationFrame(draw);
  return () => cancelAnimationFrame(frame);
}

export function PlaygroundPage() {
  const heading = useTitle('Playground');
  const search = useSearch({ strict: false }) as Search;
  const setSearch = useSetSearch();
  const models = useQuery({ ...modelsQuery, staleTime: 60_000 });
  const names = useQuery({ ...namesQuery, staleTime: 60_000 });
  const may = useMay('member');
  const mayAll = useMay('admin');
  const narrow = useNarrow();
  const traffic = useTraffic();
  const session = useSession();
  const keys = useQuery({ ...keysQuery, enabled: may });
  const mayPay = (keys.data ?? []).filter(
    (key) => !key.management && !key.disabled && (mayAll || key.user === session.user),
  );
  // It lives as long as the tab; the link has parameters and never text.
  const [draft, setDraft] = useState<Draft>(() => ({
    ...kept(session.user_id),
    ...Object.fromEntries(
      Object.entries({
        temperature: search.temperature,
        topP: search.top_p,
        most: search.max,
        effort: search.effort,
      }).filter(([, value]) => value),
    ),
  }));
  const [images, setImages] = useState<{ name: string; url: string }[]>([]);
  const [lanes, setLanes] = useState<Lane[]>([]);
  const [running, setRunning] = useState(false);
  const [error, setError] = useState('');
  const [ended, end] = useState(false);
  const [said_, say] = useState('');
  const [coding, code] = useState(false);
  const [language, setLanguage] = useState('curl');
  const [shown, show] = useState('0');
  const run = useRef<{ abort: AbortController; id: string } | null>(null);
  const picked = (search.models ?? '').split(',').filter(Boolean).slice(0, MOST_LANES);
  const set = (changes: Partial<Draft>) => setDraft((before) => ({ ...before, ...changes }));
  useEffect(() => keep(session.user_id, draft), [draft, session.user_id]);
  useEffect(() => () => run.current?.abort.abort(), []);

  const built = bodyOf({ ...draft, images: images.map((image) => image.url) });
  const promptTokens = String(Math.ceil((draft.system.length + draft.prompt.length) / 4) || '');
  // What a name will stand for is decided with each request.
  const priced = picked.filter((id) => !id.startsWith('@preset/') && !names.data?.includes(id));
  const least = useEstimates(priced, promptTokens, '0');
  const most = useEstimates(priced, promptTokens, draft.most && /^\d+$/.test(draft.most) ? draft.most : '4096');
  const total = (of: Map<string, bigint>) => priced.reduce((sum, id) => sum + (of.get(id) ?? 0n), 0n);

  const start = async () => {
    if (run.current) return;
    if (picked.length === 0) return setError('Pick a model first.');
    if (built.wrong) return setError(built.wrong);
    setError('');
    end(false);
    setRunning(true);
    say(`Sent to ${picked.length} ${picked.length === 1 ? 'model' : 'models'}`);
    setLanes(picked.map(lane));
    const abort = new AbortController();
    run.current = { abort, id: '' };
    let waiting: Lane[] = picked.map(lane);
    let notYet: (() => void) | null = null;
    const draw = () => {
      notYet = null;
      setLanes(waiting);
    };
    try {
      const body = await stream(
        '/admin/playground/runs',
        {
          lanes: picked.map((model) => ({ model, body: built.body })),
          ...(search.key ? { key_id: Number(search.key) } : {}),
        },
        abort.signal,
      );
      for await (const event of events(body)) {
        if (event.event === 'run' && typeof event.data.id === 'string') run.current = { abort, id: event.data.id };
        if (event.event === 'end') end(true);
        waiting = told(waiting, event);
        if (event.event === 'done' || event.event === 'error')
          say(`${picked[Number(event.data.lane)] ?? 'A lane'}: ${event.event === 'done' ? 'finished' : 'failed'}`);
        // One picture for all that came since the last.
        notYet ??= soon(draw);
      }
    } catch (failed) {
      // The stream was cut: that is a TypeError of the browser's.
      if (!abort.signal.aborted) setError(said(failed instanceof TypeError ? new Offline() : failed));
    } finally {
      notYet?.();
      setLanes(
        waiting.map((one) =>
          one.state === 'waiting' || one.state === 'streaming' ? { ...one, state: 'stopped' as const } : one,
        ),
      );
      setRunning(false);
      run.current = null;
    }
  };
  const stopLane = (at: number) => {
    if (run.current?.id)
      void send('DELETE', `/admin/playground/runs/${run.current.id}?lane=${at}`).catch((failed: unknown) =>
        setError(said(failed)),
      );
  };
  const attach = async (files: FileList | null) => {
    for (const file of files ?? []) {
      if (!file.type.startsWith('image/')) setError(`${file.name} is no image.`);
      else if (file.size > MOST_IMAGE_BYTES) setError(`${file.name} is larger than ${count(MOST_IMAGE_BYTES)} bytes.`);
      else {
        const url = await new Promise<string>((resolve, reject) => {
          const reader = new FileReader();
          reader.onload = () => resolve(String(reader.result));
          reader.onerror = () => reject(new Error(`${file.name} cannot be read`));
          reader.readAsDataURL(file);
        }).catch((failed: unknown) => {
          setError(said(failed));
          return null;
        });
        if (url) setImages((before) => [...before, { name: file.name, url }]);
      }
    }
  };
  const share = new URL(location.href);
  share.search = new URLSearchParams(
    Object.entries({
      models: picked.join(','),
      temperature: draft.temperature,
      top_p: draft.topP,
      max: draft.most,
      effort: draft.effort,
      key: search.key,
    }).filter((entry): entry is [string, string] => !!entry[1]),
  ).toString();

  if (!may)
    return (
      <>
        <h1 tabIndex={-1} ref={heading}>
          Playground
        </h1>
        <Empty title="Not for your role: a viewer sends no requests." />
      </>
    );
  const views = lanes.map((one, at) => <LaneView key={`${one.model} ${at}`} of={one} onStop={() => stopLane(at)} />);
  return (
    <>
      <div className={ui.spread}>
        <h1 tabIndex={-1} ref={heading}>
          Playground
        </h1>
        <div className={ui.row}>
          <Copy text={share.href} label="Share the settings" />
          <Button onClick={() => code(true)} disabled={picked.length === 0 || !!built.wrong}>
            Code
          </Button>
          <Button
            onClick={() => {
              run.current?.abort.abort();
              setDraft(EMPTY);
              setImages([]);
              setLanes([]);
              setError('');
              end(false);
            }}
          >
            Clear
          </Button>
        </div>
      </div>
      <p className={ui.hint}>
        {search.key
          ? 'Calls are billed to the key that you chose, within its limits.'
          : 'Calls are billed to a key named “playground”, which may spend $5 a day unless it is changed under Keys.'}
      </p>
      <div className={ui.row}>
        <Choose
          shown
          label="Paid by"
          value={search.key ?? ''}
          choices={[
            { value: '', label: 'my key “playground”' },
            ...mayPay.map((key) => ({ value: String(key.id), label: plain(key.name || key.label, 40) })),
            ...(search.key && !mayPay.some((key) => String(key.id) === search.key)
              ? [{ value: search.key, label: `key ${search.key}${keys.data ? ', which is not yours to use' : ''}` }]
              : []),
          ]}
          onChange={(key) => setSearch({ key: key || undefined }, true)}
        />
      </div>
      <Without what="The keys to choose from" query={keys} />
      <Without what="Presets and splits" query={names} />
      <Loaded query={models} height={32}>
        {(known) =>
          known.length === 0 ? (
            <Empty title="No model is offered." />
          ) : (
            <div className={ui.row}>
              {picked.map((id) => (
                <Button
                  key={id}
                  onClick={() => setSearch({ models: picked.filter((one) => one !== id).join(',') || undefined }, true)}
                  aria-label={`Without ${id}`}
                >
                  <Name most={40}>{id}</Name> ✕
                </Button>
              ))}
              {picked.length < MOST_LANES && (
                <Choose
                  label="Add a model"
                  value=""
                  choices={[
                    { value: '', label: picked.length ? 'Add another model' : 'Add a model' },
                    ...[...known.map((model) => model.id), ...(names.data ?? [])]
                      .filter((id) => !picked.includes(id))
                      .map((id) => ({ value: id, label: id })),
                  ]}
                  onChange={(value) => value && setSearch({ models: [...picked, value].join(',') }, true)}
                />
              )}
            </div>
          )
        }
      </Loaded>
      <form
        className={s.form}
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
        onKeyDown={(event) => {
          if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            void start();
          }
        }}
      >
        <Field label="System">
          {(control) => (
            <textarea
              {...control}
              rows={3}
              value={draft.system}
              onChange={(event) => set({ system: event.target.value })}
            />
          )}
        </Field>
        <Field label="Prompt">
          {(control) => (
            <textarea
              {...control}
              rows={3}
              value={draft.prompt}
              onChange={(event) => set({ prompt: event.target.value })}
            />
          )}
        </Field>
        <div className={classes(ui.row, s.wide)}>
          <TextField
            label="Temperature"
            inputMode="decimal"
            size={5}
            value={draft.temperature}
            onChange={(event) => set({ temperature: event.target.value })}
          />
          <TextField
            label="Top p"
            inputMode="decimal"
            size={5}
            value={draft.topP}
            onChange={(event) => set({ topP: event.target.value })}
          />
          <TextField
            label="Longest answer"
            inputMode="numeric"
            size={8}
            value={draft.most}
            onChange={(event) => set({ most: event.target.value })}
          />
          <Choose
            shown
            label="Effort"
            value={draft.effort}
            choices={['', 'none', 'minimal', 'low', 'medium', 'high'].map((value) => ({
              value,
              label: value || 'as usual',
            }))}
            onChange={(effort) => set({ effort })}
          />
          <Field label="Images">
            {(control) => (
              <input
                {...control}
                type="file"
                accept="image/*"
                multiple
                onChange={(event) => void attach(event.target.files)}
              />
            )}
          </Field>
        </div>
        {images.length > 0 && (
          <div className={classes(ui.row, s.wide)}>
            {images.map((image, at) => (
              <Button
                key={`${image.name} ${at}`}
                onClick={() => setImages(images.filter((one) => one !== image))}
                aria-label={`Without the image ${image.name}`}
              >
                <img src={image.url} alt="" className={s.thumb} /> <Name most={30}>{image.name}</Name> ✕
              </Button>
            ))}
          </div>
        )}
        <details className={s.wide} open={!!(draft.tools || draft.schema)}>
          <summary>Tools and schema, as JSON</summary>
          <div className={s.form}>
            <Field label="tools">
              {(control) => (
                <textarea
                  {...control}
                  rows={4}
                  spellCheck={false}
                  value={draft.tools}
                  onChange={(event) => set({ tools: event.target.value })}
                />
              )}
            </Field>
            <Field label="response_format">
              {(control) => (
                <textarea
                  {...control}
                  rows={4}
                  spellCheck={false}
                  value={draft.schema}
                  onChange={(event) => set({ schema: event.target.value })}
                />
              )}
            </Field>
          </div>
        </details>
        <div className={classes(ui.row, s.wide)}>
          <Button type="submit" look="primary" disabled={running}>
            {running ? 'Running' : 'Send'}
          </Button>
          {running && <Button onClick={() => run.current?.abort.abort()}>Stop all</Button>}
          <span className={ui.hint}>Ctrl + Enter sends.</span>
          <Without what="What it would cost" query={least.query} />
          {picked.length > 0 && least.costs && most.costs && draft.prompt && (
            <span className={ui.hint}>
              About {money(total(least.costs))} to {money(total(most.costs))}
              {priced.length < picked.length && ' without presets and splits'}
            </span>
          )}
        </div>
      </form>
      {error && (
        <div className={ui.alert} role="alert">
          {error}
        </div>
      )}
      {ended && (
        <div className={ui.alert} role="alert">
          <span>
            The run ended: its log-in is over, or has another role or team now. Copy what you need of it, and{' '}
            <Link to="/login" search={{ next: location.pathname + location.search }}>
              log in again
            </Link>
            .
          </span>
        </div>
      )}
      <span className="sr-only" aria-live="polite">
        {said_}
      </span>
      {narrow && lanes.length > 1 ? (
        <Tabs
          label="Lanes"
          value={shown}
          onChange={show}
          tabs={lanes.map((one, at) => ({ id: String(at), label: one.model.slice(0, 24), content: () => views[at] }))}
        />
      ) : (
        <div className={s.lanes}>{views}</div>
      )}
      <Dialog open={coding} onClose={() => code(false)} title="The same call">
        <Choose label="Language" value={language} choices={LANGUAGES} onChange={setLanguage} />
        {coding && (
          <Code label={`The call in ${language}`}>
            {callIn(language, traffic.address, { model: picked[0] ?? traffic.model, ...built.body })}
          </Code>
        )}
        <div>
          <Button onClick={() => code(false)}>Close</Button>
        </div>
      </Dialog>
    </>
  );
}

function LaneView({ of: one, onStop }: { of: Lane; onStop: () => void }) {
  const box = useRef<HTMLPreElement>(null);
  const follows = useRef(true);
  useLayoutEffect(() => {
    const at = box.current;
    // It follows the text only for who is at its end.
    if (at && follows.current && one.text) at.scrollTop = at.scrollHeight;
  }, [one.text]);
  const row = one.settled;
  const writing = row?.streamed && row.content_us ? row.total_us - row.content_us : 0;
  return (
    <section className={classes(ui.card, s.lane)} aria-label={`Answer of ${one.model}`}>
      <div className={ui.spread}>
        <h2>
          <Name most={40}>{one.model}</Name>
        </h2>
        {one.state === 'streaming' || one.state === 'waiting' ? (
          <Button onClick={onStop}>Stop</Button>
        ) : (
          <Badge look={one.state === 'done' ? 'good' : one.state === 'error' ? 'bad' : 'warn'}>{one.state}</Badge>
        )}
      </div>
      {one.reasoning && (
        <details>
          <summary>Thoughts</summary>
          <pre dir="auto" className={classes(ui.wrap, ui.muted)}>
            {one.reasoning}
          </pre>
        </details>
      )}
      <pre
        ref={box}
        dir="auto"
        tabIndex={0}
        role="region"
        aria-label={`Text of ${one.model}`}
        className={classes(s.text, ui.wrap)}
        onScroll={(event) => {
          const at = event.currentTarget;
          follows.current = at.scrollHeight - at.scrollTop - at.clientHeight < 24;
        }}
      >
        {one.text || (one.state === 'waiting' ? '…' : '')}
      </pre>
      {one.tools && (
        <pre dir="auto" className={classes(ui.code, ui.wrap)}>
          {one.tools}
        </pre>
      )}
      {one.error && <p className={ui.bad}>{one.error.slice(0, 2000)}</p>}
      {row && (
        <p className={s.figures}>
          {row.content_us ? duration(row.content_us / 1000) : '—'} to first ·{' '}
          {writing > 0 ? speed((row.completion_tokens * 1e6) / writing) : '—'} ·{' '}
          {count(row.prompt_tokens + row.cache_read_tokens)}/{count(row.completion_tokens)} tokens ·{' '}
          <Usd usd={nano(row.charged_usd)} /> · {row.finish_reason || row.outcome}
        </p>
      )}
      {one.generation && (
        <p className={ui.hint}>
          {one.provider && <Name>{one.provider}</Name>}{' '}
          <Link to="/requests/$id" params={{ id: one.generation }}>
            {one.generation}
          </Link>
        </p>
      )}
    </section>
  );
}
