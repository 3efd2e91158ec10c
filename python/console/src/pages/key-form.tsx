/** Making and changing keys. The secret of a new one is shown once and is kept nowhere but in the open dialog. */
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { get, send } from '../api/client';
import { keysQuery } from '../api/queries';
import type { Key, KeyMade } from '../api/types';
import { useWrite } from '../api/write';
import { plain } from '../format/text';
import { useMay } from '../state/hooks';
import { At, Button, Check, Choose, Code, Copy, classes, Field, TextField, ui } from '../ui/basics';
import { Cancel, Dialog } from '../ui/dialog';
import { Stale, tooLate } from '../ui/edit';
import { said } from '../ui/states';
import { curl } from './first-call';
import { type LimitsDraft, limitsBody, limitsDraft, limitsMistakes, RateFields, SpendingFields, UNLIMITED } from './limits';
import { differences } from './spenders';
import { useTraffic } from './traffic';

export interface Draft extends LimitsDraft {
  name: string;
  models: string;
  expires: string;
  team: string;
  user: string;
  management: boolean;
  strictTranslation: boolean;
  strictBudget: boolean;
}

const NEW: Draft = {
  ...UNLIMITED,
  name: '',
  limited: true,
  models: '',
  expires: '',
  team: '',
  user: '',
  management: false,
  strictTranslation: false,
  strictBudget: false,
};

export function draftOf(key: Key): Draft {
  return {
    ...limitsDraft(key),
    name: key.name,
    models: key.models.join('\n'),
    expires: key.expires_at ? key.expires_at.slice(0, 16) : '',
    team: key.team ?? '',
    user: key.user ?? '',
    management: key.management,
    strictTranslation: key.strict_translation,
    strictBudget: key.strict_budget,
  };
}

/** The body for the API. What is cleared is null, which takes a limit away; nothing is left out silently. */
export function bodyOf(draft: Draft): Record<string, unknown> {
  return {
    name: draft.name.trim(),
    ...limitsBody(draft),
    models: draft.models.split(/[\s,]+/).filter(Boolean),
    expires_at: draft.expires ? `${draft.expires}:00Z` : null,
    strict_translation: draft.strictTranslation,
    strict_budget: draft.strictBudget,
  };
}

/** What an edit sends: what it changes and nothing else, so that what somebody else changed beside it stays. Only admins say whose a key is. */
export function changesOf(key: Key, draft: Draft, mayAll: boolean): Record<string, unknown> {
  const whole = (of: Draft) => ({ ...bodyOf(of), ...(mayAll ? { team: of.team.trim(), user: of.user.trim() } : {}) });
  return differences(whole(draftOf(key)), whole(draft));
}

/** What is wrong with a draft, by field. */
export function mistakes(draft: Draft): Record<string, string> {
  return { ...(draft.name.trim() ? {} : { name: 'A name is needed.' }), ...limitsMistakes(draft) };
}

function Form(props: { draft: Draft; onChange: (draft: Draft) => void; isNew: boolean; showsMistakes: boolean }) {
  const { draft } = props;
  const set = (changes: Partial<Draft>) => props.onChange({ ...draft, ...changes });
  const wrong = props.showsMistakes ? mistakes(draft) : {};
  const mayAll = useMay('admin');
  return (
    <>
      <TextField
        label="Name"
        required
        value={draft.name}
        maxLength={200}
        wrong={wrong.name}
        onChange={(event) => set({ name: event.target.value })}
        hint="Who or what uses it."
      />
      <SpendingFields draft={draft} wrong={wrong} onChange={set} />
      <details open={!props.isNew}>
        <summary>Models, rates, expiry, owner</summary>
        <div className={ui.stack} style={{ paddingTop: 12 }}>
          <Field label="Models that it may use" hint="One in a line; * stands for anything, as in sim/*. Empty: all.">
            {(control) => (
              <textarea
                {...control}
                rows={3}
                spellCheck={false}
                value={draft.models}
                onChange={(event) => set({ models: event.target.value })}
              />
            )}
          </Field>
          <RateFields draft={draft} wrong={wrong} onChange={set} />
          <TextField
            label="Expires (UTC)"
            type="datetime-local"
            value={draft.expires}
            onChange={(event) => set({ expires: event.target.value })}
            hint="Empty: never."
          />
          {mayAll && (
            <div className={ui.row}>
              <TextField
                label="Team"
                value={draft.team}
                onChange={(event) => set({ team: event.target.value })}
                hint="Its name; empty for none."
              />
              <TextField
                label="User"
                value={draft.user}
                onChange={(event) => set({ user: event.target.value })}
                hint="Its name; empty for none."
              />
            </div>
          )}
          <Check
            label="Strict translation"
            hint="Refuses a request of which something would be lost in another dialect."
            checked={draft.strictTranslation}
            onChange={(strictTranslation) => set({ strictTranslation })}
          />
          <Check
            label="Strict budget"
            hint="Never a cent more than the limit, at the price of holding more back beforehand."
            checked={draft.strictBudget}
            onChange={(strictBudget) => set({ strictBudget })}
          />
          {mayAll && props.isNew && (
            <Check
              label="Management key"
              hint="Makes and changes keys of its account, and calls no model."
              checked={draft.management}
              onChange={(management) => set({ management })}
            />
          )}
        </div>
      </details>
    </>
  );
}

export function CreateKey({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const mayAll = useMay('admin');
  const [draft, setDraft] = useState(NEW);
  const [tried, setTried] = useState(false);
  const create = useWrite({
    mutationFn: () =>
      send<KeyMade>('POST', '/admin/keys', {
        ...bodyOf(draft),
        ...(mayAll ? { management: draft.management, team: draft.team.trim(), user: draft.user.trim() } : {}),
      }),
    // The secret lives as long as this dialog.
    gcTime: 0,
    onSuccess: () => client.invalidateQueries({ queryKey: keysQuery.queryKey }),
  });
  const close = () => {
    create.reset();
    onClose();
  };
  if (create.data) return <Secret made={create.data} onClose={close} />;
  return (
    <Dialog open onClose={close} title="Create key" busy={create.isPending}>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (Object.keys(mistakes(draft)).length === 0) create.mutate();
        }}
      >
        <Form draft={draft} onChange={setDraft} isNew showsMistakes={tried} />
        {create.error && (
          <div className={ui.alert} role="alert">
            {said(create.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="primary" busy={create.isPending}>
            Create
          </Button>
          <Cancel onClick={close} />
        </div>
      </form>
    </Dialog>
  );
}

const OVERLAPS = [
  { value: '0', label: 'at once' },
  { value: '3600', label: 'in an hour' },
  { value: '86400', label: 'in a day' },
  { value: '604800', label: 'in a week' },
];

/** Another secret for the same key; the present one is good for some time yet. */
export function RotateKey({ of: key, onClose }: { of: Key; onClose: () => void }) {
  const client = useQueryClient();
  const [overlap, setOverlap] = useState('86400');
  const rotate = useWrite({
    mutationFn: () =>
      send<KeyMade>('POST', `/admin/keys/${key.hash}/rotate`, { overlap_seconds: Number(overlap) }, key.etag),
    // The secret lives as long as this dialog.
    gcTime: 0,
    onSettled: () =>
      Promise.all([
        client.invalidateQueries({ queryKey: keysQuery.queryKey }),
        client.invalidateQueries({ queryKey: ['key', key.hash] }),
      ]),
  });
  const close = () => {
    rotate.reset();
    onClose();
  };
  if (rotate.data) return <Secret made={rotate.data} onClose={close} />;
  const lives = key.previous_until !== null && Date.parse(key.previous_until) > Date.now();
  return (
    <Dialog open onClose={close} title={`Another secret for ${plain(key.name || key.label, 60)}`} busy={rotate.isPending}>
      <p>
        The key stays: its limits, its use, its name. It gets a second secret, which is shown once. Until the present one
        stops both work, so that clients can change over one by one.
      </p>
      {lives && (
        <p className={ui.warn}>
          It was rotated not long ago: <span className={ui.mono}>{key.previous_label}</span>, good until{' '}
          <At at={key.previous_until} />, stops at once.
        </p>
      )}
      <Choose
        shown
        label={`The present secret (${key.label}) stops`}
        value={overlap}
        choices={OVERLAPS}
        onChange={setOverlap}
      />
      {rotate.error && (
        <div className={ui.alert} role="alert">
          {said(rotate.error)}
        </div>
      )}
      <div className={ui.row}>
        <Button look="primary" busy={rotate.isPending} onClick={() => rotate.mutate()}>
          Rotate
        </Button>
        <Cancel onClick={close} />
      </div>
    </Dialog>
  );
}

/** The one time that the secret is shown. */
function Secret({ made, onClose }: { made: KeyMade; onClose: () => void }) {
  const traffic = useTraffic();
  const [stored, setStored] = useState(false);
  return (
    <Dialog open onClose={onClose} title="Store this key now" held={!stored}>
      <p>It is shown this once. The gateway keeps a hash of it and cannot show it again.</p>
      <pre className={classes(ui.code, ui.wrap)} data-testid="secret">
        {made.key}
      </pre>
      <div className={ui.row}>
        <Copy text={made.key} label="Copy the key" />
      </div>
      {!made.data.management && (
        <>
          <h3>Try it</h3>
          <Code label="A request with it">{`export FAIRLEAD_API_KEY=${made.key}\n${curl(traffic.address, traffic.model)}`}</Code>
        </>
      )}
      <Check label="I stored it" checked={stored} onChange={setStored} />
      <div>
        <Button look="primary" disabled={!stored} onClick={onClose}>
          Close
        </Button>
      </div>
    </Dialog>
  );
}

export function EditKey({ of, onClose }: { of: Key; onClose: () => void }) {
  const client = useQueryClient();
  const mayAll = useMay('admin');
  const [key, setKey] = useState(of);
  const [draft, setDraft] = useState(() => draftOf(of));
  const [tried, setTried] = useState(false);
  const changes = changesOf(key, draft, mayAll);
  const unchanged = Object.keys(changes).length === 0;
  const change = useWrite({
    mutationFn: (etag: string) => send<{ data: Key }>('PATCH', `/admin/keys/${key.hash}`, changes, etag),
    onSuccess: async () => {
      await Promise.all([
        client.invalidateQueries({ queryKey: keysQuery.queryKey }),
        client.invalidateQueries({ queryKey: ['key', of.hash] }),
      ]);
      onClose();
    },
  });
  const stale = tooLate(change.error);
  return (
    <Dialog open onClose={onClose} title={`Change ${key.name || key.label}`} busy={change.isPending}>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (Object.keys(mistakes(draft)).length === 0) change.mutate(key.etag);
        }}
      >
        <Form draft={draft} onChange={setDraft} isNew={false} showsMistakes={tried} />
        {change.error && !stale && (
          <div className={ui.alert} role="alert">
            {said(change.error)}
          </div>
        )}
        {stale && (
          <Stale
            error={stale}
            what="key"
            onAgain={async () => {
              const { data } = await get<{ data: Key }>(`/admin/keys/${of.hash}`);
              setKey(data);
              setDraft(draftOf(data));
              change.reset();
            }}
            onOver={() => change.mutate('*')}
          />
        )}
        <div className={ui.row}>
          <Button
            type="submit"
            look="primary"
            busy={change.isPending}
            disabled={!!stale || unchanged}
            title={unchanged ? 'Nothing was changed' : undefined}
          >
            Save
          </Button>
          <Cancel onClick={onClose} />
        </div>
      </form>
    </Dialog>
  );
}
