/** Moments in the zone of whoever looks. Formatters are kept: making one costs more than using it a hundred times. */
const made = new Map<string, Intl.DateTimeFormat>();

function formatter(zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const name = zone + JSON.stringify(options);
  let found = made.get(name);
  if (!found) {
    found = new Intl.DateTimeFormat('en-GB', { timeZone: zone, ...options });
    made.set(name, found);
  }
  return found;
}

/** So long the viewer's zone is not asked for again: with each question the browser makes a formatter. */
const ASKED_MS = 60_000;
let viewers = { zone: 'UTC', until: 0 };
const zones = new Set<string>();

/** The viewer's own zone, as its browser says; UTC where that is no zone. */
export function viewersZone(): string {
  const now = Date.now();
  if (now < viewers.until - ASKED_MS || now >= viewers.until) {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    viewers = { zone: zone && isZone(zone) ? zone : 'UTC', until: now + ASKED_MS };
  }
  return viewers.zone;
}

export function isZone(name: string): boolean {
  if (zones.has(name)) return true;
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: name });
    zones.add(name);
    return true;
  } catch {
    return false;
  }
}

/** "14:02:11" */
export function clock(at: number, zone: string): string {
  return formatter(zone, { hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }).format(at);
}

/** "14:02" */
export function minutes(at: number, zone: string): string {
  return formatter(zone, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }).format(at);
}

/** "22 Nov" */
export function day(at: number, zone: string): string {
  return formatter(zone, { day: 'numeric', month: 'short' }).format(at);
}

/** "22 Nov 2026, 14:02:11" */
export function moment(at: number, zone: string): string {
  return `${formatter(zone, { day: 'numeric', month: 'short', year: 'numeric' }).format(at)}, ${clock(at, zone)}`;
}

/** "22 Nov, 14:02:11.123 GMT+1": for tooltips, with the offset. */
export function precise(at: number, zone: string): string {
  const offset = formatter(zone, { timeZoneName: 'shortOffset' })
    .formatToParts(at)
    .find((part) => part.type === 'timeZoneName')?.value;
  return `${moment(at, zone)}.${String(((at % 1000) + 1000) % 1000).padStart(3, '0')} ${offset ?? ''}`.trim();
}

/** "2 min ago"; "now" below five seconds. */
export function ago(at: number, now: number): string {
  const seconds = Math.round((now - at) / 1000);
  if (seconds < 0) return `in ${span(-seconds)}`;
  return seconds < 5 ? 'now' : `${span(seconds)} ago`;
}

function span(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}
