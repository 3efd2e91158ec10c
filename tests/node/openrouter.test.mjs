// OpenRouter's provider for the AI SDK. It validates every reply and every chunk with zod, and its loop of tools is the AI SDK's own.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createOpenRouter } from "@openrouter/ai-sdk-provider";
import { APICallError, Output, generateObject, generateText, stepCountIs, streamObject, streamText, tool } from "ai";
import {
  BROKEN_STREAMS, FAULTS, Forecast, LONG, PNG, Place, RAIN, TEXT,
  checkCancelled, checkCost, checkImage, checkSealed, failing, gateway, key, mark, models, script,
} from "./tested.mjs";

globalThis.AI_SDK_LOG_WARNINGS = false;
const openrouter = createOpenRouter({ baseURL: `${gateway}/api/v1`, apiKey: key, compatibility: "strict" });
const EFFORT = { reasoning: { effort: "low" } };
const steps = stepCountIs(4);

for (const name of models) describe(name, () => cases(name));

function cases(name) {
  // Nothing is tried again, and errors of a stream are not written to the console.
  const question = (settings) => ({ model: openrouter.chat(name, { usage: { include: true }, ...settings }), maxRetries: 0, onError() {} });

  test("unary", async () => {
    const reply = await generateText({ ...question(), system: "Be brief.", prompt: TEXT });
    assert.equal(reply.text, TEXT);
    assert.equal(reply.finishReason, "stop");
    assert.equal(reply.response.modelId, name);
    assert.equal(reply.usage.inputTokens + reply.usage.outputTokens, reply.usage.totalTokens);
    await checkCost(reply.response.id, reply.providerMetadata.openrouter.usage.cost);
  });

  test("streaming", async () => {
    const stream = streamText({ ...question(), prompt: TEXT });
    let seen = "";
    for await (const delta of stream.textStream) seen += delta;
    assert.equal(seen, TEXT);
    assert.equal(await stream.finishReason, "stop");
    await checkCost((await stream.response).id, (await stream.providerMetadata).openrouter.usage.cost);
  });

  for (const streams of [false, true]) {
    test(`the SDK's loop of tools, ${streams ? "streaming" : "unary"}`, async () => {
      const places = [];
      const execute = async ({ place }) => (places.push(place), RAIN);
      const tools = { weather: tool({ description: "Says it.", inputSchema: Place, execute }), time: tool({ inputSchema: Place, execute }) };
      await script({ tool_calls: 2 });
      const loop = { ...question(EFFORT), prompt: "What will it be like?", tools, stopWhen: steps };
      const reply = streams ? streamText(loop) : await generateText(loop);
      assert.ok((await reply.text).includes(RAIN));
      assert.deepEqual(places, ["example", "example"]);
      const done = await reply.steps;
      assert.deepEqual(done.map((step) => step.finishReason), ["tool-calls", "stop"]);
      assert.ok(done[0].reasoningText, "no thoughts");
      await checkSealed(name);
    });
  }

  test("structured output", async () => {
    const asked = { ...question(), prompt: "Rome?", schema: Forecast };
    assert.ok(Forecast.parse((await generateObject(asked)).object));
    const streamed = streamObject(asked);
    for await (const partial of streamed.partialObjectStream) assert.equal(typeof partial, "object");
    assert.ok(Forecast.parse(await streamed.object));
    const { output } = await generateText({ ...question(), prompt: "Rome?", output: Output.object({ schema: Forecast }) });
    assert.ok(Forecast.parse(output));
  });

  test("an image", async () => {
    const content = [{ type: "text", text: TEXT }, { type: "image", image: Buffer.from(PNG, "base64"), mediaType: "image/png" }];
    const reply = await generateText({ ...question(), messages: [{ role: "user", content }] });
    assert.equal(reply.text, TEXT);
    await checkImage();
  });

  test("reasoning", async () => {
    const whole = await generateText({ ...question(EFFORT), prompt: TEXT });
    assert.ok(whole.reasoningText);
    assert.equal(whole.text, TEXT);
    // Converse has no figure for them.
    if (!name.startsWith("converse/")) assert.ok(whole.usage.outputTokenDetails.reasoningTokens > 0);
    const stream = streamText({ ...question(EFFORT), prompt: TEXT });
    assert.equal(await stream.reasoningText, whole.reasoningText);
    assert.equal(await stream.text, TEXT);
  });

  test("thoughts of an answer go with the conversation", async () => {
    const asked = { role: "user", content: TEXT };
    const first = await generateText({ ...question(EFFORT), messages: [asked] });
    const messages = [asked, ...first.response.messages, { role: "user", content: "four" }];
    assert.equal((await generateText({ ...question(EFFORT), messages })).text, "four");
  });

  test("errors", async () => {
    for (const { fault, status, retryAfter } of FAULTS) {
      await script({ fault });
      const error = await failing(() => generateText({ ...question(), prompt: TEXT }));
      assert.ok(APICallError.isInstance(error), String(error));
      assert.equal(error.statusCode, status);
      assert.equal(error.responseHeaders["retry-after"], retryAfter);
      assert.equal(error.data.error.code, status);
      await script({ fault });
      const streamed = await failing(() => consume(streamText({ ...question(), prompt: TEXT })));
      assert.equal(streamed.statusCode, status);
    }
    const error = await failing(() => generateText({ ...question({ extraBody: { tool_choice: 7 } }), prompt: TEXT }));
    assert.equal(error.statusCode, 400, String(error));
    assert.match(error.message, /tool_choice/);
  });

  test("a stream that breaks", async () => {
    for (const fault of BROKEN_STREAMS) {
      await script({ tokens: 40, fault });
      let seen = "";
      const error = await failing(() => consume(streamText({ ...question(), prompt: TEXT }), (text) => (seen += text)));
      assert.ok(seen && error, `${seen} ${error}`);
    }
  });

  test("leaving a stream", async () => {
    const before = await mark();
    await script(LONG);
    const leaving = new AbortController();
    let pieces = 0;
    const stream = streamText({ ...question(), prompt: TEXT, abortSignal: leaving.signal });
    for await (const part of stream.fullStream) if (part.type === "text-delta" && ++pieces === 3) leaving.abort();
    await checkCancelled(before);
  });
}

/** Reads a stream; its error is thrown. */
async function consume(stream, take = () => {}) {
  for await (const part of stream.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") take(part.text);
  }
}
