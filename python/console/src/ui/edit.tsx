/** What edits have in common: the view of one that came too late, and deleting by typing the name. */
import { type ReactNode, useState } from 'react';
import { ApiError } from '../api/client';
import { nameInWords, valueInWords } from '../format/members';
import { plain } from '../format/text';
import { Button, Facts, Name, TextField, ui } from './basics';
import { Cancel, Dialog } from './dialog';
import { said } from './states';

/** An edit of something that somebody else changed meanwhile. */
export function tooLate(error: unknown): ApiError | null {
  return error instanceof ApiError && error.status === 412 ? error : null;
}

/** What is there now, and the two ways on. */
export function Stale(props: {
  error: ApiError;
  what: string;
  /** What doing it all the same is called. */
  mine?: string | undefined;
  onAgain: () => void | Promise<void>;
  onOver: () => void;
}) {
  const [failed, fail] = useState('');
  const again = async () => {
    try {
      await props.onAgain();
    } catch (error) {
      fail(said(error));
    }
  };
  const current = (props.error.details.current ?? {}) as Record<string, unknown>;
  return (
    <div className={ui.alert} role="alert">
      <strong>Somebody else changed this {props.what} meanwhile.</strong>
      {props.error.details.current ? (
        <>
          <span>It is now:</span>
          <Facts
            of={props.error.changed.map(
              (name) => [nameInWords(name), <Name key={name}>{valueInWords(name, current[name])}</Name>] as const,
            )}
          />
        </>
      ) : (
        <span>{said(props.error)}</span>
      )}
      {failed && <span>{failed}</span>}
      <div className={ui.row}>
        <Button onClick={() => void again()}>Begin again with what is there</Button>
        <Button look="danger" onClick={props.onOver}>
          {props.mine ?? 'Save mine over it'}
        </Button>
      </div>
    </div>
  );
}

/** Asks for the name before something is deleted for good. */
export function DeleteNamed(props: {
  title: string;
  name: string;
  children: ReactNode;
  error: unknown;
  pending: boolean;
  onDelete: () => void;
  onClose: () => void;
}) {
  const [typed, type] = useState('');
  return (
    <Dialog open onClose={props.onClose} title={props.title} busy={props.pending}>
      {props.children}
      <form
        className={ui.stack}
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === props.name) props.onDelete();
        }}
      >
        <TextField
          label={`Its name, to be sure: ${plain(props.name)}`}
          value={typed}
          onChange={(event) => type(event.target.value)}
        />
        {!!props.error && (
          <div className={ui.alert} role="alert">
            {said(props.error)}
          </div>
        )}
        <div className={ui.row}>
          <Button type="submit" look="danger" busy={props.pending} disabled={typed !== props.name}>
            Delete for good
          </Button>
          <Cancel onClick={props.onClose} />
        </div>
      </form>
    </Dialog>
  );
}
