/** Making, changing and deleting accounts, teams and users. A change is shown, before and after, before it is made. */
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { get, send } from '../api/client';
import { useWrite } from '../api/write';
import { nameInWords, valueInWords } from '../format/members';
import { plain } from '../format/text';
import { Button, Choose, Facts, Name, TextField, ui } from '../ui/basics';
import { Cancel, Dialog } from '../ui/dialog';
import { DeleteNamed, Stale, tooLate } from '../ui/edit';
import { said } from '../ui/states';
import {
  type Limited,
  type LimitsDraft,
  limitsBody,
  limitsDraft,
  limitsMistakes,
  RateFields,
  SpendingFields,
  UNLIMITED,
} from './limits';
import { differences, type Everybody, type Kind, place, type Spender, usedUp } from './spenders';

export interface ScopeDraft extends LimitsDraft {
  name: string;
  /** Of a team or user; it stays what it is. */
  account: string;
  /** Of a user; empty for none. */
  team: string;
}

export const NEW_SCOPE: ScopeDraft = { ...UNLIMITED, name: '', account: 'default', team: '' };

export function scopeDraft(of: Spender): ScopeDraft {
  return {
    ...limitsDraft(of),
    name: of.name,
    account: 'account' in of ? of.account : '',
    team: 'team' in of ? (of.team ?? '') : '',
  };
}

/** What may be changed later, for the API. */
export function scopeBody(kind: Kind, draft: ScopeDraft): Record<string, unknown> {
  return { name: draft.name.trim(), ...(kind === 'user' ? { team: draft.team } : {}), ...limitsBody(draft) };
}

/** Making one says whose it is besides. */
export function creationBody(kind: Kind, draft: ScopeDraft): Record<string, unknown> {
  return { ...scopeBody(kind, draft), ...(kind === 'account' ? {} : { account: draft.account }) };
}

export function scopeMistakes(draft: ScopeDraft): Record<string, string> {
  return { ...(draft.name.trim() ? {} : { name: 'A name is needed.' }), ...limitsMistakes(draft) };
}

const HINTS: Record<Kind, string> = {
  account: 'What has credit of its own; its teams, users and keys spend it.',
  team: 'Whose users and keys share a budget.',
  user: 'A person; keys belong to one, and a log-in may.',
};

function Form(props: {
  kind: Kind;
  draft: ScopeDraft;
  of: Everybody;
  isNew: boolean;
  showsMistakes: boolean;
  onChange: (draft: ScopeDraft) => void;
}) {
  const { kind, draft } = props;
  const set = (changes: Partial<ScopeDraft>) => props.onChange({ ...draft, ...changes });
  const wrong = props.showsMistakes ? scopeMistakes(draft) : {};
  const teams = props.of.teams.filter((team) => team.account === draft.account);
  return (
    <>
      <TextField
        label="Name"
        required
        maxLength={200}
        value={draft.name}
        wrong={wrong.name}
        hint={HINTS[kind]}
        onChange={(event) => set({ name: event.target.value })}
      />
      {(kind === 'user' || (kind === 'team' && props.isNew)) && (
        <div className={ui.row}>
          {props.isNew && (
            <Choose
              shown
              label="Account"
              value={draft.account}
              choices={props.of.accounts.map(({ name }) => ({ value: name, label: plain(name) }))}
              onChange={(account) => set({ account, team: '' })}
            />
          )}
          {kind === 'user' && (
            <Choose
              shown
              label="Team"
              value={draft.team}
              choices={[
                { value: '', label: 'none' },
                ...teams.map(({ name }) => ({ value: name, label: plain(name) })),
              ]}
              onChange={(team) => set({ team })}
            />
          )}
        </div>
      )}
      <SpendingFields draft={draft} wrong={wrong} onChange={set} />
      <RateFields draft={draft} wrong={wrong} onChange={set} />
    </>
  );
}

export function CreateScope({ kind, of, onClose }: { kind: Kind; of: Everybody; onClose: () => void }) {
  const client = useQueryClient();
  const [draft, setDraft] = useState(NEW_SCOPE);
  const [tried, setTried] = useState(false);
  const create = useWrite({
    mutationFn: () => send('POST', `/admin/${kind}s`, creationBody(kind, draft)),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['budgets'] });
      onClose();
    },
  });
  return (
    <Dialog open onClose={onClose} title={`Create ${kind === 'account' ? 'an' : 'a'} ${kind}`} busy={create.isPending}>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (Object.keys(scopeMistakes(draft)).length === 0) create.mutate();
        }}
      >
        <Form kind={kind} draft={draft} of={of} isNew showsMistakes={tried} onChange={setDraft} />
        {create.error && (
          <div className={ui.alert} role="alert">
            {said(create.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="primary" busy={create.isPending}>
            Create
          </Button>
          <Cancel onClick={onClose} />
        </div>
      </form>
    </Dialog>
  );
}

export function EditScope(props: { kind: Kind; scope: Spender; of: Everybody; onClose: () => void }) {
  const { kind, of, onClose } = props;
  const client = useQueryClient();
  const at = place(kind, props.scope, of[`${kind}s`]);
  const [scope, setScope] = useState(props.scope);
  const [draft, setDraft] = useState(() => scopeDraft(props.scope));
  const [tried, setTried] = useState(false);
  const [reviewing, review] = useState(false);
  const shown = scopeBody(kind, scopeDraft(scope));
  const wanted = scopeBody(kind, draft);
  const changes = differences(shown, wanted);
  const change = useWrite({
    mutationFn: (etag: string) => send('PATCH', at, changes, etag),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['budgets'] });
      onClose();
    },
  });
  const stale = tooLate(change.error);
  const again = async () => {
    const { data } = await get<{ data: Spender }>(at);
    setScope(data);
    setDraft(scopeDraft(data));
    review(false);
    change.reset();
  };
  const full = reviewing ? usedUp(wanted as unknown as Limited, scope) : [];
  return (
    <Dialog open onClose={onClose} title={`Change the ${kind} ${plain(props.scope.name)}`} busy={change.isPending}>
      <form
        className={ui.stack}
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setTried(true);
          if (Object.keys(scopeMistakes(draft)).length > 0) return;
          if (reviewing) change.mutate(scope.etag);
          else review(true);
        }}
      >
        {reviewing ? (
          <>
            <p>This changes, from the next call on:</p>
            <Facts
              of={Object.entries(changes).map(
                ([name, value]) =>
                  [
                    nameInWords(name),
                    <Name key={name} most={300}>
                      {`${valueInWords(name, shown[name])} → ${valueInWords(name, value)}`}
                    </Name>,
                  ] as const,
              )}
            />
            {full.length > 0 && (
              <div className={ui.note} role="status">
                Used up already: {full.join(', ')}. Calls are refused at once.
              </div>
            )}
          </>
        ) : (
          <Form kind={kind} draft={draft} of={of} isNew={false} showsMistakes={tried} onChange={setDraft} />
        )}
        {change.error && !stale && (
          <div className={ui.alert} role="alert">
            {said(change.error)}
          </div>
        )}
        {stale && <Stale error={stale} what={kind} onAgain={again} onOver={() => change.mutate('*')} />}
        <div className={ui.row}>
          {reviewing ? (
            <>
              <Button type="submit" look="primary" busy={change.isPending} disabled={!!stale}>
                Save
              </Button>
              {!stale && (
                <Cancel
                  onClick={() => {
                    change.reset();
                    review(false);
                  }}
                >
                  Back
                </Cancel>
              )}
            </>
          ) : (
            <Button
              type="submit"
              look="primary"
              disabled={Object.keys(changes).length === 0}
              title={Object.keys(changes).length === 0 ? 'Nothing was changed' : undefined}
            >
              Review
            </Button>
          )}
          <Cancel onClick={onClose} />
        </div>
      </form>
    </Dialog>
  );
}

export function DeleteScope(props: { kind: Kind; scope: Spender; of: Everybody; onClose: () => void }) {
  const client = useQueryClient();
  const { kind, scope } = props;
  const remove = useWrite({
    mutationFn: () => send('DELETE', place(kind, scope, props.of[`${kind}s`]), undefined, scope.etag),
    onSuccess: props.onClose,
    // A name that came too late shows what is there now, too.
    onSettled: () => client.invalidateQueries({ queryKey: ['budgets'] }),
  });
  return (
    <DeleteNamed
      title={`Delete the ${kind} for good?`}
      name={scope.name}
      error={remove.error}
      pending={remove.isPending}
      onDelete={() => remove.mutate()}
      onClose={props.onClose}
    >
      <p>
        What it did stays in the books. While keys, or others, still belong to it, it cannot be deleted.
      </p>
    </DeleteNamed>
  );
}
