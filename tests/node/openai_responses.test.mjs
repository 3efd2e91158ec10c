// OpenAI's SDK, Responses.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import {
  BROKEN_STREAMS, FAULTS, Forecast, LONG, PNG, Place, RAIN, TEXT,
  checkCancelled, checkCost, checkImage, checkSealed, failing, gateway, key, mark, models, script,
} from "./tested.mjs";

const REASONING = { reasoning: { effort: "low", summary: "auto" } };
// Without a store of its own the gateway keeps nothing: the client carries the state of thoughts.
const STATELESS = { store: false, include: ["reasoning.encrypted_content"] };

// Each model on one of the manners, so that each manner meets half of them.
for (const [index, model] of models.entries()) {
  const manner = ["/v1", "/api/v1"][index % 2];
  const client = new OpenAI({ baseURL: gateway + manner, apiKey: key, maxRetries: 0 });
  describe(`${manner} ${model}`, () => cases(model, client.responses, manner === "/api/v1"));
}

function cases(model, responses, isOpenrouter) {
  test("unary", async () => {
    const { data, response } = await responses.create({ model, instructions: "Be brief.", input: TEXT }).withResponse();
    assert.equal(data.output_text, TEXT);
    assert.equal(data.status, "completed");
    assert.equal(data.usage.input_tokens + data.usage.output_tokens, data.usage.total_tokens);
    const generation = response.headers.get("x-generation-id");
    if (isOpenrouter) assert.deepEqual([data.id, data.model], [generation, model]);
    await checkCost(generation, data.usage.cost);
  });

  test("streaming", async () => {
    // The SDK's own accumulator, which throws where events do not follow their grammar.
    const stream = responses.stream({ model, input: TEXT });
    const [numbers, kinds] = [[], []];
    stream.on("event", (event) => (numbers.push(event.sequence_number), kinds.push(event.type)));
    const response = await stream.finalResponse();
    assert.equal(response.output_text, TEXT);
    assert.ok(response.usage.cost > 0);
    assert.deepEqual(numbers, numbers.map((_, index) => index));
    assert.equal(kinds[0], "response.created");
    assert.equal(kinds.at(-1), "response.completed");
  });

  for (const stream of [false, true]) {
    test(`tools in two turns, ${stream ? "streaming" : "unary"}`, async () => {
      await script({ tool_calls: 2 });
      const tools = ["weather", "time"].map((name) => zodResponsesFunction({ name, parameters: Place }));
      const ask = (input) => {
        const question = { model, input, tools, ...REASONING, ...STATELESS };
        return stream ? responses.stream(question).finalResponse() : responses.parse(question);
      };
      const input = [{ role: "user", content: "What will it be like?" }];
      const first = await ask(input);
      const calls = first.output.filter((item) => item.type === "function_call");
      assert.deepEqual(calls.map((call) => [call.name, call.parsed_arguments]), [["weather", { place: "example" }], ["time", { place: "example" }]]);
      assert.ok(first.output.some((item) => item.type === "reasoning"), JSON.stringify(first.output));
      const results = calls.map((call) => ({ type: "function_call_output", call_id: call.call_id, output: RAIN }));
      const kept = first.output.map(({ parsed_arguments, ...item }) => item);
      const second = await ask([...input, ...kept, ...results]);
      assert.ok(second.output_text.includes(RAIN), JSON.stringify(second.output));
      await checkSealed(model);
    });
  }

  test("structured output", async () => {
    const question = { model, input: "Rome?", text: { format: zodTextFormat(Forecast, "forecast") } };
    assert.ok(Forecast.parse((await responses.parse(question)).output_parsed));
    assert.ok(Forecast.parse((await responses.stream(question).finalResponse()).output_parsed));
  });

  test("an image", async () => {
    const image = { type: "input_image", image_url: `data:image/png;base64,${PNG}`, detail: "auto" };
    const reply = await responses.create({ model, input: [{ role: "user", content: [{ type: "input_text", text: TEXT }, image] }] });
    assert.equal(reply.output_text, TEXT);
    await checkImage();
  });

  test("reasoning", async () => {
    const whole = await responses.create({ model, input: TEXT, ...REASONING });
    const thought = whole.output.find((item) => item.type === "reasoning");
    const said = [...(thought?.summary ?? []), ...(thought?.content ?? [])].map((part) => part.text).join("");
    assert.ok(said, JSON.stringify(whole.output));
    // Converse has no figure for them.
    if (!model.startsWith("converse/")) assert.ok(whole.usage.output_tokens_details.reasoning_tokens > 0);
    let seen = "";
    for await (const event of await responses.create({ model, input: TEXT, ...REASONING, stream: true })) {
      if (/^response\.reasoning(_summary)?_text\.delta$/.test(event.type)) seen += event.delta;
    }
    assert.equal(seen, said);
  });

  test("errors", async () => {
    for (const { fault, status, retryAfter } of FAULTS) {
      for (const stream of [false, true]) {
        await script({ fault });
        const error = await failing(() => responses.create({ model, input: TEXT, stream }));
        assert.ok(error instanceof OpenAI.APIError, String(error));
        assert.equal(error.status, status);
        assert.equal(error.headers.get("retry-after"), retryAfter ?? null);
        assert.ok(error.error.message, JSON.stringify(error.error));
      }
    }
    const error = await failing(() => responses.create({ model, input: [{ role: "nobody", content: TEXT }] }));
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.match(error.message, /role|nobody/);
  });

  test("a stream that breaks", async () => {
    for (const fault of BROKEN_STREAMS) {
      await script({ tokens: 40, fault });
      let [seen, last] = ["", undefined];
      const error = await failing(async () => {
        for await (const event of await responses.create({ model, input: TEXT, stream: true })) {
          if (event.type === "response.output_text.delta") seen += event.delta;
          last = event;
        }
        // The SDK hands errors over as events.
        if (["error", "response.failed"].includes(last.type)) throw last;
      });
      assert.ok(seen, String(error));
      assert.ok((error.response?.error ?? error).message, JSON.stringify(error));
    }
  });

  test("leaving a stream", async () => {
    const before = await mark();
    await script(LONG);
    let pieces = 0;
    for await (const event of await responses.create({ model, input: TEXT, stream: true })) {
      if (event.type === "response.output_text.delta" && ++pieces === 3) break;
    }
    await checkCancelled(before);
  });

  test("counting", async () => {
    const { object, input_tokens } = await responses.inputTokens.count({ model, input: TEXT });
    assert.equal(object, "response.input_tokens");
    assert.ok(input_tokens > 0);
  });
}
