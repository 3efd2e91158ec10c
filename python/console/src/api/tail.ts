/** The newest rows of a list that grows while somebody reads it. */
import type { Generation } from './types';

export const MOST_ROWS = 2000;

export interface Tail {
  /** Newest first. */
  rows: Generation[];
  /** What came while the list is held. */
  held: Generation[];
  /** How many were settled that are not among the rows: sampled away or lost. */
  missed: number;
}

export const EMPTY: Tail = { rows: [], held: [], missed: 0 };

/** With rows that came, in the order in which they were settled. A row that is known already is not there twice. */
export function arrived(tail: Tail, rows: readonly Generation[], of: number, isHeld: boolean): Tail {
  const known = new Set([...tail.rows, ...tail.held].map((row) => row.id));
  const fresh = rows.filter((row) => !known.has(row.id)).reverse();
  const missed = tail.missed + Math.max(0, of - rows.length);
  const held = [...fresh, ...tail.held].slice(0, MOST_ROWS);
  return isHeld ? { ...tail, held, missed } : { rows: [...held, ...tail.rows].slice(0, MOST_ROWS), held: [], missed };
}

/** Shows what was held back. */
export function released(tail: Tail): Tail {
  return { rows: [...tail.held, ...tail.rows].slice(0, MOST_ROWS), held: [], missed: tail.missed };
}

/** Events were lost on the way. */
export function lost(tail: Tail, n: number): Tail {
  return { ...tail, missed: tail.missed + n };
}
