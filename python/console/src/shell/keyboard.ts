/** Single keys, as a list; off where somebody types, and altogether if the viewer wants (WCAG 2.1.4). */
import { useEffect, useRef } from 'react';

export interface Shortcut {
  keys: string;
  /** As the list of keys shows it. */
  says: string;
  run: () => void;
}

const OFF = 'fairlead.keys';
const registered = new Set<{ current: readonly Shortcut[] }>();
let pending = '';
let pendingSince = 0;

export function keysAreOn(): boolean {
  try {
    return localStorage.getItem(OFF) !== 'off';
  } catch {
    return true;
  }
}

export function setKeys(on: boolean): void {
  try {
    localStorage.setItem(OFF, on ? 'on' : 'off');
  } catch {
    // Then they stay as they are.
  }
}

/** All that work on this page now. */
export function shortcuts(): Shortcut[] {
  return [...registered].flatMap((one) => [...one.current]);
}

export function useShortcuts(list: readonly Shortcut[]): void {
  const latest = useRef(list);
  latest.current = list;
  useEffect(() => {
    registered.add(latest);
    if (registered.size === 1) addEventListener('keydown', pressed);
    return () => {
      registered.delete(latest);
      if (registered.size === 0) removeEventListener('keydown', pressed);
    };
  }, []);
}

function pressed(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !keysAreOn()) return;
  const target = event.target instanceof HTMLElement ? event.target : null;
  if (target?.closest('input, textarea, select, [contenteditable], [role=dialog], [role=menu]')) return;
  const known = shortcuts();
  const typed = event.timeStamp - pendingSince < 1500 ? `${pending} ${event.key}`.trim() : event.key;
  const found = known.find((one) => one.keys === typed) ?? known.find((one) => one.keys === event.key);
  pending = '';
  if (found) {
    // Enter and Space are for the control that has the focus.
    if (event.key === 'Enter' && target?.closest('a, button, summary')) return;
    event.preventDefault();
    found.run();
  } else if (known.some((one) => one.keys.startsWith(`${event.key} `))) {
    pending = event.key;
    pendingSince = event.timeStamp;
  }
}
