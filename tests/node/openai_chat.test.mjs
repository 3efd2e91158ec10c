// OpenAI's SDK, chat completions, on both manners.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import {
  BROKEN_STREAMS, FAULTS, Forecast, LONG, PNG, Place, RAIN, TEXT,
  checkCancelled, checkCost, checkImage, checkSealed, failing, gateway, key, mark, models, script,
} from "./tested.mjs";

const user = (content) => [{ role: "user", content }];
const EFFORT = { reasoning_effort: "low" };
// On /v1, a provider of the client's own dialect gets what the client sends, and this one drops what OpenAI does not know, thoughts included.
// OpenRouter's object for them is the dialect of /api/v1, so there the same holds for a provider that has it.
const keepsThoughts = (model, isOpenrouter) => !model.startsWith("chat/") || (isOpenrouter && model === "chat/deepseek");
const demandsThoughts = (model, isOpenrouter) => !isOpenrouter && model === "chat/deepseek";
const thoughts = (message) => message.reasoning ?? message.reasoning_content;

for (const manner of ["/v1", "/api/v1"]) {
  const client = new OpenAI({ baseURL: gateway + manner, apiKey: key, maxRetries: 0 });
  const completions = client.chat.completions;
  for (const model of models) describe(`${manner} ${model}`, () => cases(model, completions, manner === "/api/v1"));
}

function cases(model, completions, isOpenrouter) {
  test("unary", async () => {
    const { data, response } = await completions.create({ model, messages: user(TEXT) }).withResponse();
    assert.equal(data.object, "chat.completion");
    assert.equal(data.choices[0].message.content, TEXT);
    assert.equal(data.choices[0].finish_reason, "stop");
    const { prompt_tokens, completion_tokens, total_tokens, cost } = data.usage;
    assert.equal(prompt_tokens + completion_tokens, total_tokens);
    const generation = response.headers.get("x-generation-id");
    if (isOpenrouter) assert.deepEqual([data.id, data.model], [generation, model]);
    await checkCost(generation, cost);
  });

  test("streaming", async () => {
    const stream = completions.stream({ model, messages: user(TEXT), stream_options: { include_usage: true } });
    let seen = "";
    stream.on("content", (delta) => (seen += delta));
    const completion = await stream.finalChatCompletion();
    assert.equal(seen, TEXT);
    assert.equal(completion.choices[0].message.content, TEXT);
    assert.equal(completion.choices[0].finish_reason, "stop");
    assert.ok(completion.usage.cost > 0);
    if (isOpenrouter) await checkCost(completion.id, completion.usage.cost);
  });

  for (const stream of demandsThoughts(model, isOpenrouter) ? [] : [false, true]) {
    test(`the SDK's loop of tools, ${stream ? "streaming" : "unary"}`, async () => {
      const places = [];
      const weather = { name: "weather", description: "Says it.", parameters: Place, function: ({ place }) => (places.push(place), RAIN) };
      const question = { model, messages: user("What will it be like?"), tools: [zodFunction(weather)], stream };
      const runner = completions.runTools({ ...question, ...EFFORT });
      assert.equal(await runner.finalContent(), `The tool said: ${RAIN}`);
      assert.deepEqual(places, ["example"]);
      if (keepsThoughts(model, isOpenrouter)) await checkSealed(model);
    });
  }

  test("two calls at a time, sent back by hand", async () => {
    await script({ tool_calls: 2 });
    const tools = [zodFunction({ name: "weather", parameters: Place }), zodFunction({ name: "time", parameters: Place })];
    const messages = user("What will it be like?");
    const first = await completions.stream({ model, messages, tools, ...EFFORT }).finalChatCompletion();
    const [{ finish_reason, message }] = first.choices;
    assert.equal(finish_reason, "tool_calls");
    assert.deepEqual(message.tool_calls.map((call) => call.function.name), ["weather", "time"]);
    assert.equal(new Set(message.tool_calls.map((call) => call.id)).size, 2);
    const results = message.tool_calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: RAIN }));
    // As programs do that know of no reasoning: nothing but the fields that OpenAI has.
    const { role, content, tool_calls } = message;
    const conversation = [...messages, { role, content, tool_calls }, ...results];
    const second = () => completions.create({ model, messages: conversation, tools, ...EFFORT });
    if (demandsThoughts(model, isOpenrouter)) {
      assert.match((await failing(second)).message, /reasoning_content/);
      return;
    }
    assert.ok((await second()).choices[0].message.content.includes(RAIN));
    if (keepsThoughts(model, isOpenrouter)) await checkSealed(model);
  });

  test("structured output", async () => {
    const response_format = zodResponseFormat(Forecast, "forecast");
    const whole = await completions.parse({ model, messages: user("Rome?"), response_format });
    assert.ok(Forecast.parse(whole.choices[0].message.parsed));
    const streamed = await completions.stream({ model, messages: user("Rome?"), response_format }).finalChatCompletion();
    assert.ok(Forecast.parse(streamed.choices[0].message.parsed));
  });

  test("an image", async () => {
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${PNG}` } };
    const reply = await completions.create({ model, messages: user([{ type: "text", text: TEXT }, image]) });
    assert.equal(reply.choices[0].message.content, TEXT);
    await checkImage();
  });

  test("reasoning", async () => {
    const whole = await completions.create({ model, messages: user(TEXT), ...EFFORT });
    assert.ok(thoughts(whole.choices[0].message), JSON.stringify(whole));
    // Converse has no figure for them.
    if (!model.startsWith("converse/")) assert.ok(whole.usage.completion_tokens_details.reasoning_tokens > 0);
    let seen = "";
    const stream = await completions.create({ model, messages: user(TEXT), ...EFFORT, stream: true });
    for await (const chunk of stream) seen += thoughts(chunk.choices[0]?.delta ?? {}) ?? "";
    assert.equal(seen, thoughts(whole.choices[0].message));
  });

  test("errors", async () => {
    for (const { fault, status, retryAfter } of FAULTS) {
      for (const stream of [false, true]) {
        await script({ fault });
        const error = await failing(() => completions.create({ model, messages: user(TEXT), stream }));
        assert.ok(error instanceof OpenAI.APIError, String(error));
        assert.equal(error.status, status);
        assert.equal(error.headers.get("retry-after"), retryAfter ?? null);
        assert.ok(error.error.message, JSON.stringify(error.error));
      }
    }
    const error = await failing(() => completions.create({ model, messages: [{ role: "nobody", content: TEXT }] }));
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.match(error.message, /role|nobody/);
  });

  test("a stream that breaks", async () => {
    for (const fault of BROKEN_STREAMS) {
      await script({ tokens: 40, fault });
      let seen = "";
      const error = await failing(async () => {
        for await (const chunk of await completions.create({ model, messages: user(TEXT), stream: true })) {
          seen += chunk.choices[0]?.delta.content ?? "";
        }
      });
      assert.ok(error instanceof OpenAI.APIError, String(error));
      assert.ok(seen && error.message, `${seen} ${error}`);
    }
  });

  test("leaving a stream", async () => {
    const before = await mark();
    await script(LONG);
    const stream = await completions.create({ model, messages: user(TEXT), stream: true });
    let pieces = 0;
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content && ++pieces === 3) break;
    await checkCancelled(before);
  });
}
