/** What somebody writes on the page Configuration and has not applied. It lives as long as the tab, in memory alone: secrets may be in it. */
export interface Draft {
  text: string;
  /** The file that it began with. */
  base: string;
  etag: string;
}

let kept: { user: number; draft: Draft } | null = null;

/** A browser asks before it leaves a page that does this. */
function ask(event: Event): void {
  event.preventDefault();
}

/** Null: there is none, or none any more. */
export function keep(user: number, draft: Draft | null): void {
  kept = draft && { user, draft };
  if (draft && draft.text !== draft.base) addEventListener('beforeunload', ask);
  else removeEventListener('beforeunload', ask);
}

/** What this user left unfinished; what somebody else did is forgotten. */
export function unfinished(user: number): Draft | null {
  if (kept && kept.user !== user) keep(user, null);
  return kept?.draft ?? null;
}
