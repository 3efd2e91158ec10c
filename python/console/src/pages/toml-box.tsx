/** A text with its lines numbered: the browser's own editing, undo and search. */
import { type RefObject, useEffect, useMemo, useRef, useState } from 'react';
import type { Problem } from '../api/types';
import { count } from '../format/number';
import { ui } from '../ui/basics';
import s from './config.module.css';

export const LINE_PX = 18;
/** A browser goes through all of it with every key: in so many that takes it less than 100 ms. */
export const MOST_CHARACTERS = 1 << 19;
/** Of one line. Browsers lay a line out as a whole with every key: one of 500,000 that turns its direction takes them most of a minute. */
export const MOST_OF_A_LINE = 20_000;
/** So many numbers are drawn at once, from one multiple of a third of it: the box shows 36 at most. */
const NUMBERS = 150;

/** Why a text is too much for this box, in words; null where it is not. */
export function tooMuch(text: string): string | null {
  if (text.length > MOST_CHARACTERS)
    return `It has ${count(text.length)} characters, and ${count(MOST_CHARACTERS)} are the most.`;
  let [line, from] = [1, 0];
  while (from <= text.length) {
    const end = text.indexOf('\n', from);
    const length = (end < 0 ? text.length : end) - from;
    if (length > MOST_OF_A_LINE)
      return `Line ${count(line)} has ${count(length)} characters, and ${count(MOST_OF_A_LINE)} are the most of a line.`;
    if (end < 0) break;
    [line, from] = [line + 1, end + 1];
  }
  return null;
}

export function lineCount(text: string): number {
  let lines = 1;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}

export function TomlBox(props: {
  text: string;
  onEdit: (text: string) => void;
  wrong: readonly Problem[];
  area: RefObject<HTMLTextAreaElement | null>;
}) {
  const { text, area } = props;
  const gutter = useRef<HTMLDivElement>(null);
  const [refused, refuse] = useState('');
  const [top, setTop] = useState(0);
  const lines = useMemo(() => lineCount(text), [text]);
  const shown = useRef(text);
  shown.current = text;
  const marked = props.wrong.filter((one) => one.severity === 'error').map((one) => one.line);
  const follow = () => {
    if (!gutter.current || !area.current) return;
    gutter.current.scrollTop = area.current.scrollTop;
    setTop(Math.floor(area.current.scrollTop / LINE_PX / (NUMBERS / 3)) * (NUMBERS / 3));
  };
  useEffect(follow);
  useEffect(() => {
    const box = area.current;
    const ask = (event: InputEvent) => {
      const more = event.data ?? event.dataTransfer?.getData('text/plain') ?? '';
      if (!box || event.isComposing || more === '') return;
      const before = shown.current;
      // To ask a long text where its cursor is takes the browser as long as the key itself.
      if (more.length === 1 && before.length < MOST_CHARACTERS) return refuse('');
      const why = tooMuch(before.slice(0, box.selectionStart) + more + before.slice(box.selectionEnd));
      if (why) event.preventDefault();
      // Typed by a program, as dictation and testing do, Chromium puts in line by line: it lays everything out after each and tells of
      // each twice, which takes minutes for some thousands. It is one change, as a paste is.
      else if (event.inputType === 'insertText' && more.includes('\n')) {
        event.preventDefault();
        box.setRangeText(more, box.selectionStart, box.selectionEnd, 'end');
        box.dispatchEvent(new InputEvent('input', { bubbles: true, inputType: event.inputType, data: more }));
      }
      refuse(why ?? '');
    };
    box?.addEventListener('beforeinput', ask);
    return () => box?.removeEventListener('beforeinput', ask);
  }, [area]);
  return (
    <>
      <div className={s.editor}>
        <div className={s.gutter} ref={gutter} aria-hidden="true">
          <Numbers from={Math.max(0, top - NUMBERS / 3)} of={lines} wrong={marked.join()} />
        </div>
        <textarea
          ref={area}
          className={s.text}
          aria-label="Text of the configuration file"
          aria-invalid={marked.length > 0 || undefined}
          value={text}
          wrap="off"
          spellCheck={false}
          autoComplete="off"
          autoCapitalize="off"
          onScroll={follow}
          onChange={(event) => props.onEdit(event.target.value)}
        />
      </div>
      {refused && (
        <div className={ui.alert} role="alert">
          Nothing was put in: the text would be too long. {refused} Write it into the file itself, and reload.
        </div>
      )}
    </>
  );
}

/** The numbers in sight and some around them; a place as high as all. */
function Numbers(props: { from: number; of: number; wrong: string }) {
  const { from, of, wrong } = props;
  return useMemo(() => {
    const marked = new Set(wrong.split(','));
    const shown = Array.from({ length: Math.max(0, Math.min(NUMBERS, of - from)) }, (_, at) => from + at + 1);
    return (
      <div style={{ height: (of + 3) * LINE_PX, width: `calc(${String(of).length}ch + 16px)` }}>
        <div style={{ transform: `translateY(${from * LINE_PX}px)` }}>
          {shown.map((number) => (
            <div key={number} data-wrong={marked.has(String(number))}>
              {number}
            </div>
          ))}
        </div>
      </div>
    );
  }, [from, of, wrong]);
}
