// Anthropic's SDK.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import {
  BROKEN_STREAMS, FAULTS, Forecast, LONG, PLACE, PNG, Place, RAIN, TEXT,
  checkCancelled, checkCost, checkImage, checkSealed, failing, gateway, key, mark, models, script,
} from "./tested.mjs";

const user = (content) => [{ role: "user", content }];
const said = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
// Gemini seals what comes after its thoughts, so the seal has a block of its own behind them. Chat's providers seal nothing.
const isSealed = (model, message) =>
  model.startsWith("chat/") || message.content.some((block) => block.type === "thinking" && block.signature);

// Each model on one of the manners, so that each manner meets half of them.
for (const [index, model] of models.entries()) {
  const prefix = ["", "/api"][index % 2];
  const client = new Anthropic({ baseURL: gateway + prefix, apiKey: key, maxRetries: 0 });
  describe(`${prefix}/v1 ${model}`, () => cases(model, client, prefix === "/api"));
}

function cases(model, client, isOpenrouter) {
  const asked = { model, max_tokens: 4000 };
  // The oldest of these models knows budgets only, the newest refuses them.
  const thinks = model.endsWith("/claude")
    ? { thinking: { type: "enabled", budget_tokens: 1024 } }
    : { thinking: { type: "adaptive", display: "summarized" }, output_config: { effort: "low" } };

  test("unary", async () => {
    const { data, response } = await client.messages.create({ ...asked, system: "Be brief.", messages: user(TEXT) }).withResponse();
    assert.equal(said(data), TEXT);
    assert.deepEqual([data.type, data.role, data.stop_reason], ["message", "assistant", "end_turn"]);
    assert.ok(data.usage.input_tokens > 0 && data.usage.output_tokens > 0);
    const generation = response.headers.get("x-generation-id");
    if (isOpenrouter) assert.deepEqual([data.id, data.model], [generation, model]);
    await checkCost(generation, data.usage.cost);
  });

  test("streaming", async () => {
    const stream = client.messages.stream({ ...asked, messages: user(TEXT) });
    let seen = "";
    stream.on("text", (delta) => (seen += delta));
    const message = await stream.finalMessage();
    assert.equal(seen, TEXT);
    assert.equal(said(message), TEXT);
    assert.equal(message.stop_reason, "end_turn");
    assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
  });

  for (const stream of [false, true]) {
    test(`the SDK's loop of tools, ${stream ? "streaming" : "unary"}`, async () => {
      const places = [];
      const run = ({ place }) => (places.push(place), RAIN);
      const tools = ["weather", "time"].map((name) => betaZodTool({ name, description: "Says it.", inputSchema: Place, run }));
      // The runner first asks the provider to hold the conversation, and sends it whole once it is told that nobody does.
      const runner = client.beta.messages.toolRunner({ ...asked, ...thinks, messages: user("What will it be like?"), tools, stream });
      const turns = [];
      for await (const turn of runner) turns.push(stream ? await turn.finalMessage() : turn);
      assert.deepEqual(turns.map((turn) => turn.stop_reason), ["tool_use", "end_turn"]);
      assert.equal(turns[0].content[0].type, "thinking");
      assert.ok(isSealed(model, turns[0]), JSON.stringify(turns[0].content));
      assert.deepEqual(places, ["example"]);
      assert.ok(said(turns[1]).includes(RAIN));
      await checkSealed(model);
    });
  }

  test("a tool that must be called", async () => {
    // Not where the provider refuses that.
    if (model.endsWith("/claude-new")) return;
    const tools = [{ name: "weather", description: "Says it.", input_schema: PLACE }];
    const tool_choice = { type: "tool", name: "weather", disable_parallel_tool_use: true };
    const message = await client.messages.create({ ...asked, messages: user("Well?"), tools, tool_choice });
    assert.deepEqual(message.content.filter((block) => block.type === "tool_use").map((block) => block.input), [{ place: "example" }]);
  });

  test("structured output", async () => {
    const question = { ...asked, messages: user("Rome?"), output_config: { format: zodOutputFormat(Forecast) } };
    assert.ok(Forecast.parse((await client.messages.parse(question)).parsed_output));
    assert.ok(Forecast.parse((await client.messages.stream(question).finalMessage()).parsed_output));
  });

  test("an image", async () => {
    const image = { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } };
    const message = await client.messages.create({ ...asked, messages: user([image, { type: "text", text: TEXT }]) });
    assert.equal(said(message), TEXT);
    await checkImage();
  });

  test("reasoning", async () => {
    const question = { ...asked, ...thinks, messages: user(TEXT) };
    const whole = await client.messages.create(question);
    const [thought] = whole.content;
    assert.ok(thought.type === "thinking" && thought.thinking && isSealed(model, whole), JSON.stringify(whole.content));
    assert.equal(said(whole), TEXT);
    const streamed = await client.messages.stream(question).finalMessage();
    assert.equal(streamed.content[0].thinking, thought.thinking);
    assert.ok(isSealed(model, streamed), JSON.stringify(streamed.content));
    const next = [...question.messages, { role: "assistant", content: streamed.content }, ...user("four")];
    assert.equal(said(await client.messages.create({ ...question, messages: next })), "four");
  });

  test("errors", async () => {
    for (const { fault, status, retryAfter } of FAULTS) {
      for (const stream of [false, true]) {
        await script({ fault });
        const error = await failing(() => client.messages.create({ ...asked, messages: user(TEXT), stream }));
        assert.ok(error instanceof Anthropic.APIError, String(error));
        assert.equal(error.status, status);
        assert.equal(error.headers.get("retry-after"), retryAfter ?? null);
        assert.equal(error.error.type, "error");
        assert.ok(error.error.error.message, JSON.stringify(error.error));
      }
    }
    const error = await failing(() => client.messages.create({ ...asked, messages: [{ role: "nobody", content: TEXT }] }));
    assert.ok(error instanceof Anthropic.BadRequestError, String(error));
    assert.match(error.message, /role|nobody/);
  });

  test("a stream that breaks", async () => {
    for (const fault of BROKEN_STREAMS) {
      await script({ tokens: 40, fault });
      let seen = "";
      const stream = client.messages.stream({ ...asked, messages: user(TEXT) });
      stream.on("text", (delta) => (seen += delta));
      const error = await failing(() => stream.finalMessage());
      assert.ok(error instanceof Anthropic.APIError, String(error));
      assert.ok(seen && error.message, `${seen} ${error}`);
    }
  });

  test("leaving a stream", async () => {
    const before = await mark();
    await script(LONG);
    let pieces = 0;
    for await (const event of await client.messages.create({ ...asked, max_tokens: 16000, messages: user(TEXT), stream: true })) {
      if (event.type === "content_block_delta" && ++pieces === 3) break;
    }
    await checkCancelled(before);
  });

  test("counting", async () => {
    assert.ok((await client.messages.countTokens({ model, messages: user(TEXT) })).input_tokens > 0);
  });
}
