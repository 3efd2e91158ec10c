// What every file of cases needs: where the gateway is, what the simulator behind it is told and was sent, and the question that all SDKs ask.
//
// The cases of a file run one after the other: scripts for the simulator's next request, and what it was sent last, belong to one of them.

import assert from "node:assert/strict";
import { z } from "zod";

const told = JSON.parse(process.env.FAIRLEAD_TESTED ?? "null");
assert.ok(told, "FAIRLEAD_TESTED is missing: tests/e2e/test_node_sdks.py starts these files");

export const { gateway, key, models } = told;
export const TEXT = "one two three";
export const RAIN = "rain until noon";
export const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4z8DwHwAFAAH/iZk9HQAAAABJRU5ErkJggg==";

/** The tool that the simulator calls, as a schema and in zod. */
export const PLACE = {
  type: "object",
  properties: { place: { type: "string" } },
  required: ["place"],
  additionalProperties: false,
};
export const Place = z.object({ place: z.string() });
/** A form of reply with something of everything. */
export const Forecast = z.object({
  place: z.string(),
  kind: z.enum(["rain", "sun"]),
  days: z.array(z.object({ degrees: z.number(), windy: z.boolean() })),
  note: z.string().nullable(),
});

/** Where the provider's own state of thoughts stands when it comes back, by model. */
const SEALS = {
  "chat/agent-openrouter": '"reasoning_details"',
  "chat/deepseek": '"reasoning_content"',
  "responses/gpt-new": '"encrypted_content"',
  "messages/claude": '"signature"',
  "messages/claude-new": '"signature"',
  "gemini/gemini-new": '"thoughtSignature"',
  "converse/claude": '"signature"',
  "converse/claude-new": '"signature"',
};

/** Faults of a provider, and the status that they are for the client of any dialect. */
export const FAULTS = [
  { fault: { status: 400 }, status: 400 },
  { fault: { status: 401 }, status: 502 },
  { fault: { status: 429, retry_after: "7" }, status: 429, retryAfter: "7" },
  { fault: { status: 500 }, status: 502 },
  { fault: { status: 503, retry_after: "3" }, status: 503, retryAfter: "3" },
].map((each) => ({ ...each, fault: { kind: "status", ...each.fault } }));

/** Faults after content has come, of which the client must hear. */
export const BROKEN_STREAMS = [
  { kind: "error_event", after_frames: 20 },
  { kind: "cut", after_frames: 20, after_bytes: 3, how: "fin" },
];

const simulator = async (method, path, body) => {
  const reply = await fetch(`${told.simulator}/sim/${path}`, { method, body: body && JSON.stringify(body) });
  assert.equal(reply.status, 200, await reply.clone().text());
  return reply.json();
};

/** Tells the simulator what to do with its next requests, one script each. */
export const script = (...scripts) => simulator("POST", "next", scripts);

/** The bodies of the last requests that reached the simulator, oldest first. */
export const received = async (last = 1) => (await simulator("GET", `requests?last=${last}`)).requests.map((each) => each.body);

/** A place in the simulator's ledger, for `since`. */
export const mark = async () => (await simulator("GET", "ledger?limit=0")).totals.requests;

/** The ledger's records behind a mark, once there are so many: a reply that was left ends a moment later. */
export const since = async (mark, expected) => {
  for (;;) {
    const { records } = await simulator("GET", `ledger?after=${mark}`);
    if (records.length >= expected) return records;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** The reply that is left in the middle was left at the provider's too. */
export const checkCancelled = async (before) => {
  const [record] = await since(before, 1);
  assert.equal(record.outcome, "client_gone");
  assert.ok(record.completion_tokens < LONG.tokens, "the provider went on to the end");
};

/** A reply that lasts until it is left. */
export const LONG = { tokens: 15000, first_token_ms: 0, pace_ms: 2 };

/** In a second turn, the thoughts of the first have reached the provider as it had sealed them. */
export const checkSealed = async (model) => {
  const [body] = await received();
  assert.ok(body.includes(SEALS[model]), `no ${SEALS[model]} in ${body}`);
  assert.ok(body.includes(RAIN), body);
};

/** The image has reached the provider. */
export const checkImage = async () => {
  const [body] = await received();
  assert.ok(body.includes(PNG), body);
};

/** What the SDK saw of a call's cost is what is in the books. */
export const checkCost = async (generation, cost) => {
  assert.ok(generation, "no generation id");
  const reply = await fetch(`${gateway}/api/v1/generation?id=${generation}`, { headers: { authorization: `Bearer ${key}` } });
  const { data } = await reply.json();
  assert.ok(cost > 0, `cost is ${cost}`);
  assert.equal(data.total_cost, cost);
};

/** The value that an error which must come is. */
export const failing = async (call) => {
  const outcome = await Promise.resolve().then(call).then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  assert.ok("error" in outcome, `no error, but ${JSON.stringify(outcome.value)}`);
  return outcome.error;
};
