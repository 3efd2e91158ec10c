/** The small parts that every page is made of. */
import {
  type ButtonHTMLAttributes,
  type InputHTMLAttributes,
  type ReactNode,
  useEffect,
  useId,
  useRef,
  useState,
} from 'react';
import { exact, money, nano } from '../format/money';
import { plain } from '../format/text';
import { ago, moment, precise } from '../format/time';
import { useNow, useZone } from '../state/hooks';
import s from './ui.module.css';

type Look = 'plain' | 'primary' | 'danger' | 'quiet' | 'pressed';

export function classes(...names: (string | false | null | undefined)[]): string {
  return names.filter(Boolean).join(' ');
}

export function buttonClass(look: Look = 'plain'): string {
  return classes(s.button, look !== 'plain' && s[look]);
}

/** `busy`: what it does is under way, and is not done twice. */
export function Button({
  look = 'plain',
  busy = false,
  ...rest
}: ButtonHTMLAttributes<HTMLButtonElement> & { look?: Look; busy?: boolean }) {
  return (
    <button
      type="button"
      {...rest}
      disabled={rest.disabled || busy}
      data-busy={busy || undefined}
      className={classes(buttonClass(look), rest.className)}
    >
      {rest.children}
      {busy && '…'}
    </button>
  );
}

/** A labelled control; `control` gets the id and, where there is one, the description to point at. */
export function Field(props: {
  label: string;
  hint?: ReactNode;
  wrong?: string | null | undefined;
  children: (control: {
    id: string;
    'aria-describedby': string | undefined;
    'aria-invalid': boolean | undefined;
    className: string;
  }) => ReactNode;
}) {
  const id = useId();
  const about = props.wrong || props.hint ? `${id}-about` : undefined;
  return (
    <div className={s.field}>
      <label htmlFor={id}>{props.label}</label>
      {props.children({
        id,
        'aria-describedby': about,
        'aria-invalid': props.wrong ? true : undefined,
        className: s.input!,
      })}
      {about && (
        <span id={about} className={props.wrong ? s.wrong : s.hint}>
          {props.wrong || props.hint}
        </span>
      )}
    </div>
  );
}

export function TextField({
  label,
  hint,
  wrong,
  ...rest
}: InputHTMLAttributes<HTMLInputElement> & { label: string; hint?: ReactNode; wrong?: string | null | undefined }) {
  return (
    <Field label={label} hint={hint} wrong={wrong}>
      {(control) => <input autoComplete="off" spellCheck={false} {...rest} {...control} />}
    </Field>
  );
}

export interface Choice {
  value: string;
  label: string;
}

/** A choice of few, as the system draws it: it works by keyboard, by touch and in any zoom. Without `shown` its label is for ears only. */
export function Choose(props: {
  label: string;
  value: string;
  choices: readonly Choice[];
  onChange: (value: string) => void;
  shown?: boolean;
}) {
  const select = (control: { id?: string; className: string }) => (
    <select
      {...control}
      aria-label={props.shown ? undefined : props.label}
      value={props.value}
      onChange={(event) => props.onChange(event.target.value)}
    >
      {props.choices.map((choice) => (
        <option key={choice.value} value={choice.value}>
          {choice.label}
        </option>
      ))}
    </select>
  );
  return props.shown ? <Field label={props.label}>{select}</Field> : select({ className: s.input! });
}

export function Check(props: {
  label: ReactNode;
  checked: boolean;
  onChange: (checked: boolean) => void;
  hint?: string;
  disabled?: boolean;
}) {
  const id = useId();
  return (
    <div>
      <label className={s.check}>
        <input
          type="checkbox"
          checked={props.checked}
          disabled={props.disabled}
          aria-describedby={props.hint ? id : undefined}
          onChange={(event) => props.onChange(event.target.checked)}
        />
        <span>{props.label}</span>
      </label>
      {props.hint && (
        <span id={id} className={s.hint}>
          {props.hint}
        </span>
      )}
    </div>
  );
}

/** A name that somebody chose: no direction of its own leaks out, nothing in it is hidden. */
export function Name({ children, most = 80 }: { children: string; most?: number }) {
  return <bdi title={children.length > most ? plain(children, 1000) : undefined}>{plain(children, most)}</bdi>;
}

/** An amount, to be read; every nano-dollar on hover and for ears. */
export function Usd({ usd }: { usd: string | bigint | null | undefined }) {
  if (usd === null || usd === undefined) return <>—</>;
  const value = typeof usd === 'string' ? nano(usd) : usd;
  return <span title={`exactly ${exact(value)}`}>{money(value)}</span>;
}

/** A moment in the zone of the page. */
export function At({ at, how = 'moment' }: { at: string | null | undefined; how?: 'moment' | 'ago' }) {
  const zone = useZone();
  const now = useNow(how === 'ago');
  if (!at) return <>—</>;
  const ms = Date.parse(at);
  return (
    <time dateTime={at} title={precise(ms, zone)}>
      {how === 'ago' ? ago(ms, now) : moment(ms, zone)}
    </time>
  );
}

export function Badge({ look = 'muted', children }: { look?: 'good' | 'warn' | 'bad' | 'muted'; children: ReactNode }) {
  return <span className={classes(s.badge, s[look])}>{children}</span>;
}

/** How much of a limit is used; the words beside it say the same. */
export function Meter({ share, label }: { share: number; label: string }) {
  const shown = Math.max(0, Math.min(1, share));
  const level = share >= 1 ? 'bad' : share >= 0.8 ? 'warn' : 'fine';
  return (
    <div
      className={s.meter}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(shown * 100)}
      data-level={level}
    >
      <span style={{ width: `${shown * 100}%` }} />
    </div>
  );
}

export function Copy({ text, label = 'Copy' }: { text: string; label?: string }) {
  const [said, say] = useState('');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    let how = 'Copied';
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      how = 'The browser does not allow it: mark it and copy';
    }
    say(how);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => say(''), 2500);
  };
  return (
    <Button onClick={copy}>
      <span aria-live="polite">{said || label}</span>
    </Button>
  );
}

/** Lines to paste, or what somebody wrote. */
export function Code({
  children,
  copy = true,
  wrap = false,
  label,
}: {
  children: string;
  copy?: boolean;
  wrap?: boolean;
  label?: string;
}) {
  return (
    <div className={s.codeBox}>
      <pre
        dir="auto"
        tabIndex={0}
        role="region"
        aria-label={label ?? 'Text'}
        className={classes(s.code, wrap && s.wrap)}
      >
        {children}
      </pre>
      {copy && <Copy text={children} />}
    </div>
  );
}

export function Facts({ of }: { of: readonly (readonly [string, ReactNode] | null | false | '')[] }) {
  return (
    <dl className={s.facts}>
      {of.map(
        (fact) =>
          fact && (
            <div key={fact[0]} style={{ display: 'contents' }}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

export { s as ui };
