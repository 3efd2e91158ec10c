/** Making and changing presets and splits. What they say is judged by the gateway, as the file's are. */
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { get, send } from '../api/client';
import type { Preset, Split } from '../api/types';
import { useWrite } from '../api/write';
import { percent } from '../format/number';
import { Button, Field, TextField, ui } from '../ui/basics';
import { Changed } from '../ui/changed';
import { Cancel, Dialog } from '../ui/dialog';
import { around, difference } from '../ui/difference';
import { tooLate } from '../ui/edit';
import { said } from '../ui/states';
import { type ArmDraft, armDrafts, type Definition, lines, presetDraft, presetOf, shares, splitOf } from './definition';
import { Problems, problemsOf } from './problems';
import s from './routing.module.css';
import { modelsQuery } from './traffic';

export type Kind = 'presets' | 'splits';
export type Named = Preset | Split;

export const ONE: Record<Kind, string> = { presets: 'preset', splits: 'split' };

export function pathOf(kind: Kind, name: string): string {
  // Names of splits have slashes, which are the path's own.
  return `/admin/${kind}/${name.split('/').map(encodeURIComponent).join('/')}`;
}

/** Without `of`: a new one. `onDone` gets its name. */
export function NameForm(props: { kind: Kind; of: Named | null; onClose: () => void; onDone: (name: string) => void }) {
  const { kind } = props;
  const client = useQueryClient();
  const [of, setOf] = useState(props.of);
  const [name, setName] = useState(of?.name ?? '');
  const [note, setNote] = useState('');
  const [preset, setPreset] = useState(() => presetDraft(of?.definition ?? {}));
  const [arms, setArms] = useState<ArmDraft[]>(() =>
    of ? armDrafts(of.definition) : [
      { model: '', weight: '90' },
      { model: '', weight: '10' },
    ],
  );
  const save = useWrite({
    mutationFn: async (etag: string) => {
      const definition: Definition = kind === 'presets' ? presetOf(preset) : splitOf(arms);
      if (of) await send('PATCH', pathOf(kind, of.name), { definition, note }, etag);
      else await send('POST', `/admin/${kind}`, { name: name.trim(), definition, note });
      return name.trim();
    },
    onSuccess: async (made) => {
      await client.invalidateQueries({ queryKey: [kind] });
      props.onDone(made);
    },
  });
  const late = tooLate(save.error);
  const theirs = (late?.details.current as { definition?: Definition } | undefined)?.definition ?? {};
  const again = useWrite({
    mutationFn: async (name: string) => (await get<{ data: Named }>(pathOf(kind, name))).data,
    onSuccess: (now) => {
      setOf(now);
      setPreset(presetDraft(now.definition));
      setArms(armDrafts(now.definition));
      save.reset();
    },
  });
  const problems = late ? [] : problemsOf(save.error);
  const error = save.error && !late && problems.length === 0 ? said(save.error) : '';
  return (
    <Dialog
      open
      held
      busy={save.isPending}
      onClose={props.onClose}
      title={of ? `Change ${of.name}` : `New ${ONE[kind]}`}
    >
      <form
        className={ui.stack}
        onSubmit={(event) => {
          event.preventDefault();
          save.mutate(of?.etag ?? '*');
        }}
      >
        {!of && (
          <TextField
            label="Name"
            hint={kind === 'presets' ? 'Requests say @preset/NAME' : 'Requests say it as their model, such as acme/assistant'}
            required
            maxLength={200}
            value={name}
            onChange={(event) => setName(event.target.value)}
          />
        )}
        {kind === 'presets' ? (
          <PresetFields of={preset} onEdit={setPreset} />
        ) : (
          <Arms of={arms} onEdit={setArms} />
        )}
        <TextField
          label="Note"
          hint="Why, for whoever looks at the versions"
          maxLength={200}
          value={note}
          onChange={(event) => setNote(event.target.value)}
        />
        {error && (
          <div className={ui.alert} role="alert">
            {error}
          </div>
        )}
        {problems.length > 0 && (
          <div className={ui.alert} role="alert">
            <strong>Nothing was changed.</strong>
            <Problems of={problems} />
          </div>
        )}
        {late && (
          <div className={ui.alert} role="alert">
            <strong>Somebody else changed this {ONE[kind]} meanwhile. Nothing was overwritten.</strong>
            {of && (
              <Changed
                label="What was changed meanwhile"
                lines={around(difference(lines(of.definition), lines(theirs)), 100)}
              />
            )}
            {again.error && <span>{said(again.error)}</span>}
            <div className={ui.row}>
              <Button onClick={() => of && again.mutate(of.name)} busy={again.isPending}>
                Begin again with what is there
              </Button>
              <Button look="danger" onClick={() => save.mutate('*')} busy={save.isPending}>
                Save mine over it
              </Button>
            </div>
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="primary" busy={save.isPending} disabled={!!late}>
            {of ? 'Save' : 'Create'}
          </Button>
          <Cancel onClick={props.onClose} />
        </div>
      </form>
    </Dialog>
  );
}

function PresetFields(props: {
  of: { models: string; rest: string };
  onEdit: (draft: { models: string; rest: string }) => void;
}) {
  const { of, onEdit } = props;
  return (
    <>
      <Field
        label="Models"
        hint="One a line: the model, and those to fall back to. None: requests name one beside the preset."
      >
        {(control) => (
          <textarea
            {...control}
            rows={3}
            spellCheck={false}
            value={of.models}
            onChange={(event) => onEdit({ ...of, models: event.target.value })}
          />
        )}
      </Field>
      <Field label="Everything else" hint='JSON, such as { "provider": { "zdr": true }, "temperature": 0 }'>
        {(control) => (
          <textarea
            {...control}
            className={`${control.className} ${s.json}`}
            rows={8}
            spellCheck={false}
            value={of.rest}
            onChange={(event) => onEdit({ ...of, rest: event.target.value })}
          />
        )}
      </Field>
    </>
  );
}

function Arms({ of: arms, onEdit }: { of: ArmDraft[]; onEdit: (arms: ArmDraft[]) => void }) {
  const models = useQuery({ ...modelsQuery, staleTime: 60_000 });
  const parts = shares(arms);
  const set = (at: number, change: Partial<ArmDraft>) =>
    onEdit(arms.map((arm, index) => (index === at ? { ...arm, ...change } : arm)));
  return (
    <fieldset className={s.arms}>
      <legend className={ui.legend}>Arms</legend>
      <datalist id="known-models">
        {models.data?.map((model) => (
          <option key={model.id} value={model.id} />
        ))}
      </datalist>
      {arms.map((arm, at) => (
        // Rows have no other name than their place.
        <div key={`arm ${at}`} className={s.arm}>
          <TextField
            label={`Model ${at + 1}`}
            list="known-models"
            required
            value={arm.model}
            onChange={(event) => set(at, { model: event.target.value })}
          />
          <TextField
            label="Weight"
            inputMode="numeric"
            required
            value={arm.weight}
            hint={parts[at] === null ? '—' : percent(parts[at] ?? 0)}
            onChange={(event) => set(at, { weight: event.target.value })}
          />
          <Button
            aria-label={`Take away arm ${at + 1}`}
            disabled={arms.length < 2}
            onClick={() => onEdit(arms.filter((_, index) => index !== at))}
          >
            Take away
          </Button>
        </div>
      ))}
      <div>
        <Button onClick={() => onEdit([...arms, { model: '', weight: '' }])}>Add an arm</Button>
      </div>
    </fieldset>
  );
}
