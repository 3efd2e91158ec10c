import { useEffect, useRef, useState } from 'react';
import { ui } from './basics';

/** So long after the last key the list follows. */
const PAUSE_MS = 150;

/** A search whose text stands in the URL. What is typed is in the field at once; URL and list follow, so that no key waits for long lists. */
export function Search(props: {
  label: string;
  placeholder: string;
  value: string;
  onSearch: (text: string | undefined) => void;
}) {
  const [typed, type] = useState(props.value);
  const sent = useRef(props.value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    // Not what was typed here: somebody went back, or took the search away.
    if (props.value === sent.current) return;
    clearTimeout(timer.current);
    sent.current = props.value;
    type(props.value);
  }, [props.value]);
  const search = (text: string) => {
    sent.current = text;
    props.onSearch(text || undefined);
  };
  return (
    <input
      type="search"
      className={ui.input}
      aria-label={props.label}
      placeholder={props.placeholder}
      value={typed}
      onChange={({ target: { value } }) => {
        type(value);
        clearTimeout(timer.current);
        timer.current = setTimeout(() => search(value), PAUSE_MS);
      }}
    />
  );
}
