// Google's SDK for Gemini.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ApiError, FunctionCallingConfigMode, GoogleGenAI, createUserContent } from "@google/genai";
import { z } from "zod";
import {
  BROKEN_STREAMS, FAULTS, Forecast, LONG, PLACE, PNG, RAIN, TEXT,
  checkCancelled, checkImage, checkSealed, failing, gateway, key, mark, models, script,
} from "./tested.mjs";

const client = new GoogleGenAI({ apiKey: key, vertexai: false, httpOptions: { baseUrl: gateway } });
const THINKING = { thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } };
const tools = [{ functionDeclarations: ["weather", "time"].map((name) => ({ name, description: "Says it.", parametersJsonSchema: PLACE })) }];

const parts = (reply) => reply.candidates?.[0]?.content?.parts ?? [];
const text = (replies, thought) => replies.flatMap(parts).filter((part) => !!part.thought === thought).map((part) => part.text ?? "").join("");
const collect = async (stream) => {
  const replies = [];
  for await (const reply of await stream) replies.push(reply);
  return replies;
};

for (const model of models) describe(model, () => cases(model));

function cases(model) {
  const ask = (contents, config) => client.models.generateContent({ model, contents, config });
  const stream = async (contents, config) => collect(client.models.generateContentStream({ model, contents, config }));

  test("unary", async () => {
    const reply = await ask(TEXT, { systemInstruction: "Be brief.", maxOutputTokens: 4000 });
    assert.equal(reply.text, TEXT);
    assert.equal(reply.candidates[0].finishReason, "STOP");
    const { promptTokenCount, candidatesTokenCount, totalTokenCount, thoughtsTokenCount } = reply.usageMetadata;
    assert.equal(promptTokenCount + candidatesTokenCount + (thoughtsTokenCount ?? 0), totalTokenCount);
  });

  test("streaming", async () => {
    const replies = await stream(TEXT);
    assert.equal(text(replies, false), TEXT);
    assert.equal(replies.at(-1).candidates[0].finishReason, "STOP");
    assert.ok(replies.at(-1).usageMetadata.totalTokenCount > 0);
  });

  test("tools in two turns", async () => {
    for (const turn of [ask, stream]) {
      await script({ tool_calls: 2 });
      const question = createUserContent("What will it be like?");
      const first = [await turn([question], { tools, ...THINKING })].flat();
      const made = first.flatMap(parts);
      const calls = made.filter((part) => part.functionCall).map((part) => part.functionCall);
      assert.deepEqual(calls.map((call) => [call.name, call.args]), [["weather", { place: "example" }], ["time", { place: "example" }]]);
      const results = calls.map(({ id, name }) => ({ functionResponse: { id, name, response: { result: RAIN } } }));
      const contents = [question, { role: "model", parts: made }, createUserContent(results)];
      const second = [await turn(contents, { tools, ...THINKING })].flat();
      assert.ok(text(second, false).includes(RAIN), JSON.stringify(second));
      await checkSealed(model);
    }
  });

  test("a chat of the SDK's own", async () => {
    const chat = client.chats.create({ model, config: { tools, ...THINKING } });
    const { functionCalls: [{ id, name }] } = await chat.sendMessage({ message: "What will it be like?" });
    const replies = await collect(chat.sendMessageStream({ message: [{ functionResponse: { id, name, response: { result: RAIN } } }] }));
    assert.ok(text(replies, false).includes(RAIN));
    await checkSealed(model);
    await script({ tool_calls: 0, token_text: "four", tokens: 1 });
    assert.equal((await chat.sendMessage({ message: "And then?" })).text, "four");
  });

  test("a function that must be called", async () => {
    // Not where the provider refuses that.
    if (model.endsWith("/claude-new")) return;
    const toolConfig = { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ["time"] } };
    const reply = await ask("Well?", { tools, toolConfig });
    assert.deepEqual(reply.functionCalls.map((call) => call.name), ["time"]);
  });

  test("structured output", async () => {
    const config = { responseMimeType: "application/json", responseJsonSchema: z.toJSONSchema(Forecast) };
    assert.ok(Forecast.parse(JSON.parse((await ask("Rome?", config)).text)));
    assert.ok(Forecast.parse(JSON.parse(text(await stream("Rome?", config), false))));
  });

  test("an image", async () => {
    const image = { inlineData: { mimeType: "image/png", data: PNG } };
    assert.equal((await ask(createUserContent([image, TEXT]))).text, TEXT);
    await checkImage();
  });

  test("reasoning", async () => {
    const whole = await ask(TEXT, THINKING);
    assert.ok(text([whole], true), JSON.stringify(whole));
    assert.equal(text([whole], false), TEXT);
    // Converse has no figure for them.
    if (!model.startsWith("converse/")) assert.ok(whole.usageMetadata.thoughtsTokenCount > 0);
    const replies = await stream(TEXT, THINKING);
    assert.equal(text(replies, true), text([whole], true));
  });

  test("errors", async () => {
    for (const { fault, status } of FAULTS) {
      for (const turn of [ask, stream]) {
        await script({ fault });
        const error = await failing(() => turn(TEXT));
        assert.ok(error instanceof ApiError, String(error));
        assert.equal(error.status, status);
        assert.equal(JSON.parse(error.message).error.code, status);
      }
    }
    const error = await failing(() => ask([{ role: "nobody", parts: [{ text: TEXT }] }]));
    assert.ok(error instanceof ApiError && error.status === 400, String(error));
    assert.match(error.message, /role|nobody/);
  });

  test("a stream that breaks", async () => {
    for (const fault of BROKEN_STREAMS) {
      await script({ tokens: 40, fault });
      const seen = [];
      const error = await failing(async () => {
        for await (const reply of await client.models.generateContentStream({ model, contents: TEXT })) seen.push(reply);
      });
      assert.ok(text(seen, false) && error.message, `${seen.length} ${error}`);
    }
  });

  test("leaving a stream", async () => {
    const before = await mark();
    await script(LONG);
    const leaving = new AbortController();
    const config = { abortSignal: leaving.signal };
    await failing(async () => {
      let pieces = 0;
      for await (const _ of await client.models.generateContentStream({ model, contents: TEXT, config })) if (++pieces === 3) leaving.abort();
    });
    await checkCancelled(before);
  });

  test("counting", async () => {
    assert.ok((await client.models.countTokens({ model, contents: TEXT })).totalTokens > 0);
  });
}
