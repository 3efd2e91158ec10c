/** How pages speak with the admin port: JSON, the CSRF token of the log-in, errors with their details. */

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }

  get requestId(): string | null {
    return typeof this.details.request_id === 'string' ? this.details.request_id : null;
  }

  /** What an edit ran into: the members that somebody else changed meanwhile. */
  get changed(): string[] {
    return Array.isArray(this.details.changed) ? this.details.changed.map(String) : [];
  }
}

/** The port did not answer, or not to the end. */
export class Offline extends Error {
  constructor(
    /** A change was sent, of which nobody knows whether it was made. */
    readonly wrote = false,
  ) {
    super('the gateway does not answer');
  }
}

/** No answer takes so long: reading is stopped after two seconds by the gateway itself. */
const READ_MS = 30_000;
/** Some changes ask a provider or another server first. */
const WRITE_MS = 120_000;

export type Query = Record<string, string | number | boolean | null | undefined>;

let csrf = '';
let expired: () => void = () => {};

/** The token that changes must be sent with; told by the session. */
export function setCsrf(token: string): void {
  csrf = token;
}

/** What to do when the log-in has ended. */
export function onExpired(then: () => void): void {
  expired = then;
}

export function path(at: string, query: Query = {}): string {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== '') said.set(name, String(value));
  }
  const text = said.toString();
  return text ? `${at}?${text}` : at;
}

export async function get<T>(at: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return within(READ_MS, false, signal, async (until) => json(await fetched(path(at, query), { signal: until })));
}

/** The same as a spreadsheet. */
export async function getCsv(at: string, query: Query = {}): Promise<string> {
  const headers = { accept: 'text/csv' };
  return within(READ_MS, false, undefined, async (until) =>
    (await fetched(path(at, query), { headers, signal: until })).text(),
  );
}

/** A question that is too long for an address, and logging in: what may be sent again without harm. */
export async function ask<T>(at: string, body?: unknown): Promise<T> {
  return within(WRITE_MS, false, undefined, async (signal) => json(await posted(at, body, signal)));
}

/** A change. `etag` says which state it is a change of. */
export async function send<T>(
  method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
  at: string,
  body?: unknown,
  etag?: string,
): Promise<T> {
  const headers: Record<string, string> = { 'content-type': 'application/json', 'x-fairlead-csrf': csrf };
  if (etag !== undefined) headers['if-match'] = etag;
  const init = { method, headers, body: written(body) };
  return within(WRITE_MS, true, undefined, async (signal) => json(await fetched(at, { ...init, signal })));
}

function posted(at: string, body: unknown, signal: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/json', 'x-fairlead-csrf': csrf };
  return fetched(at, { method: 'POST', headers, body: written(body), signal });
}

function written(body: unknown): string | null {
  return body === undefined ? null : JSON.stringify(body);
}

/** What `reads` comes to, up to its last byte; that nobody answers, or no longer, as `Offline`. */
async function within<T>(
  most_ms: number,
  wrote: boolean,
  signal: AbortSignal | undefined,
  reads: (until: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = AbortSignal.timeout(most_ms);
  try {
    return await reads(signal ? AbortSignal.any([signal, late]) : late);
  } catch (error) {
    if (error instanceof ApiError || signal?.aborted) throw error;
    throw new Offline(wrote);
  }
}

async function json<T>(response: Response): Promise<T> {
  const text = await response.text();
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new ApiError(response.status, 'This was not answered by the gateway: it is not JSON. Is a proxy in between?');
  }
}

/** The answer, if it is a good one. Raises `ApiError`, and what `fetch` does. */
async function fetched(at: string, init: RequestInit): Promise<Response> {
  const response = await fetch(at, { credentials: 'same-origin', cache: 'no-store', ...init });
  if (response.ok) return response;
  let details: Record<string, unknown> = {};
  try {
    const body: unknown = await response.json();
    if (body && typeof body === 'object' && 'error' in body && body.error && typeof body.error === 'object') {
      details = body.error as Record<string, unknown>;
    }
  } catch {
    // Something between us answered, without JSON.
  }
  const message = typeof details.message === 'string' ? details.message : `the gateway answered ${response.status}`;
  const error = new ApiError(response.status, message, details);
  if (response.status === 401 && !response.url.endsWith('/admin/session')) expired();
  throw error;
}

/** A change whose reply is read as it comes. */
export async function stream(at: string, body: unknown, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  try {
    const response = await posted(at, body, signal);
    if (response.body) return response.body;
  } catch (error) {
    if (error instanceof ApiError || signal.aborted) throw error;
  }
  throw new Offline(true);
}
