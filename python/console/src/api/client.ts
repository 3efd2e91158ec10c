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

/** The port did not answer at all. */
export class Offline extends Error {}

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
  return (await answered(await reach(path(at, query), { signal: signal ?? null }))).json() as Promise<T>;
}

/** The same as a spreadsheet. */
export async function getCsv(at: string, query: Query = {}): Promise<string> {
  return (await answered(await reach(path(at, query), { headers: { accept: 'text/csv' } }))).text();
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
  return (
    await answered(await reach(at, { method, headers, body: body === undefined ? null : JSON.stringify(body) }))
  ).json() as Promise<T>;
}

async function reach(at: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(at, { credentials: 'same-origin', cache: 'no-store', ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Offline('the gateway does not answer');
  }
}

async function answered(response: Response): Promise<Response> {
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
  const headers = { 'content-type': 'application/json', 'x-fairlead-csrf': csrf };
  const response = await answered(await reach(at, { method: 'POST', headers, body: JSON.stringify(body), signal }));
  if (!response.body) throw new Offline('the gateway sent no body');
  return response.body;
}
