"""Bodies that break their dialect, on the way to a provider of another: 400 in the client's words with the place; nothing sent or paid.

To a provider of the client's own dialect such things pass as they are: it judges them, and the gateway reads only what it needs.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import Gateway, Reply
from e2e.judge import Judge
from e2e.stories import check_error
from e2e.translated import addressed, configuration, model_of, path_of, said

# What can mean one thing only is taken, and not in these tables: calls without ids, a limit that the target does not need.
Rows = list[tuple[dict[str, Any], str]]
TARGETS = {
    "openai_chat": ("anthropic_messages", "bedrock_converse"),
    "openai_responses": ("openai_chat", "gemini_generate"),
    "anthropic_messages": ("openai_chat", "openai_responses"),
    "gemini_generate": ("openai_chat", "anthropic_messages"),
    "completions": ("anthropic_messages", "gemini_generate"),
}


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own."""
    with Judge() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    with Gateway(configuration(judge.address, ["fast"])) as running:
        yield running


@pytest.fixture
def nothing_happens(gateway: Gateway, judge: Judge) -> Iterator[None]:
    """No request reaches the provider and no row is written."""
    mark, rows = judge.mark(), len(gateway.generations())
    yield
    assert judge.since(mark) == [] and judge.open_requests() == 0
    assert len(gateway.generations()) == rows


def refused(reply: Reply, client: str, path: str) -> bool:
    """Whether it is the refusal of a body, in the client's shape, that names the place."""
    if reply.status != 400 or reply.headers["x-generation-id"] is not None:
        return False
    error = reply.json()["error"]
    check_error(client, error)
    # What is missing is named by an object that lacks it, and its name.
    *parents, member = path.split(".")
    holders = [".".join(parents[:count]) for count in range(1, len(parents) + 1)]
    named = any(f'"{holder}"' in error["message"] for holder in holders) and member in error["message"]
    return path in error["message"] or named


# --- large, deep and odd ------------------------------------------------------------------------------------------------------------------


def test_bodies_of_the_largest_size(gateway: Gateway, judge: Judge) -> None:
    """Beside the worker: 32 MiB less a little go through whole, a little more is refused before it is read."""
    name = model_of("anthropic_messages", "fast")
    empty = len(json.dumps(addressed("openai_chat", said("openai_chat", ""), name)))
    largest = 32 << 20
    reply = gateway.post(path_of("openai_chat", name), addressed("openai_chat", said("openai_chat", "x" * (largest - empty)), name))
    # So many tokens are more than the model takes; that is for its provider to say, and it got them all.
    assert reply.headers["x-generation-id"], reply.body[:300]
    assert len(judge.since(0)[-1:]) == 1 and judge.since(0)[-1]["prompt_tokens"] >= largest // 4 - 100
    reply = gateway.post(path_of("openai_chat", name), addressed("openai_chat", said("openai_chat", "x" * (largest - empty + 1)), name))
    assert reply.status == 413


@pytest.mark.parametrize("client", ["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate"])
def test_nesting(gateway: Gateway, judge: Judge, client: str) -> None:
    """A schema as deep as bodies may be (128) reaches the provider whole; one level more is refused."""
    name, upstream = model_of(TARGETS[client][0], "fast"), TARGETS[client][0]
    around = {"openai_chat": 5, "openai_responses": 4, "anthropic_messages": 4, "gemini_generate": 6}[client]

    def nested(levels: int) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        for _ in range(levels - 1):
            schema = {"properties": schema}
        tools: dict[str, dict[str, Any]] = {
            "openai_chat": {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
            "openai_responses": {"tools": [{"type": "function", "name": "f", "parameters": schema}]},
            "anthropic_messages": {"tools": [{"name": "f", "input_schema": schema}]},
            "gemini_generate": {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]},
        }
        return said(client) | tools[client]

    levels = 128 - around + 1
    reply = gateway.post(path_of(client, name), addressed(client, nested(levels), name))
    assert reply.headers["x-generation-id"], (upstream, reply.status, reply.body)
    mark = judge.mark()
    reply = gateway.post(path_of(client, name), addressed(client, nested(levels + 1), name))
    assert refused(reply, client, "nest") and judge.since(mark) == []


ODD: dict[str, tuple[str, str | None]] = {
    "a lone surrogate": (r'{"model":"M","messages":[{"role":"user","content":"a\ud800b"}]}', "surrogate"),
    "half of a pair, alone": (r'{"model":"M","messages":[{"role":"user","content":"\udc00"}]}', "surrogate"),
    "a name of half a pair": (r'{"model":"M","messages":[{"role":"user","content":"a"}],"\ud800":1}', "surrogate"),
    "a huge number": (r'{"model":"M","messages":[{"role":"user","content":"a"}],"temperature":1e400}', None),
    "an empty text": (r'{"model":"M","messages":[{"role":"user","content":""}]}', "messages"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_ones(gateway: Gateway, judge: Judge, name: str) -> None:
    """Whatever is odd about a body: it is refused with the place, or the provider gets JSON that says the same."""
    model, (body, path) = model_of("anthropic_messages", "fast"), ODD[name]
    mark = judge.mark()
    reply = gateway.post(path_of("openai_chat", model), body.replace('"M"', json.dumps(model)).encode())
    if path is None:
        assert reply.headers["x-generation-id"], reply.body
        assert json.loads(judge.last_request()["body"])["messages"]
    else:
        assert refused(reply, "openai_chat", path) and judge.since(mark) == []


def test_the_own_dialect_is_the_providers_to_judge(gateway: Gateway, judge: Judge) -> None:
    """On the byte path what would be refused in a translation reaches the provider as it is."""
    name, mark = model_of("openai_chat", "fast"), judge.mark()
    reply = gateway.post(path_of("openai_chat", name), addressed("openai_chat", said("openai_chat") | {"stop": 7}, name))
    assert reply.headers["x-generation-id"] and len(judge.since(mark)) == 1
    assert json.loads(judge.last_request()["body"])["stop"] == 7


# --- by dialect ---------------------------------------------------------------------------------------------------------------------------


def chat(**fields: Any) -> dict[str, Any]:
    return said("openai_chat") | fields


def asked(*parts: Any) -> dict[str, Any]:
    """A third message of these parts."""
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    return {"messages": [*before, {"role": "user", "content": [*parts]}]}


def called(**call: Any) -> dict[str, Any]:
    """A second message that calls."""
    calls = [{"id": "c", "type": "function", **call}]
    return {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "tool_calls": calls}]}


def function(**members: Any) -> dict[str, Any]:
    return chat(tools=[{"type": "function", "function": members}])


def shaped(**format: Any) -> dict[str, Any]:
    return chat(response_format=format)


CHAT: Rows = [
    (asked({"type": "image_url", "image_url": {"url": 7}}), "messages[2].content[0].image_url.url"),
    (asked({"type": "image_url"}), "messages[2].content[0].image_url"),
    (asked({"type": "text", "text": 7}), "messages[2].content[0].text"),
    (asked({"type": "text"}), "messages[2].content[0].text"),
    (asked({"type": "input_audio", "input_audio": {"format": "wav"}}), "messages[2].content[0].input_audio.data"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    ({"messages": [{"content": "a"}]}, "messages[0].role"),
    ({"messages": [{"role": "wizard", "content": "a"}]}, "messages[0].role"),
    ({"messages": ["a"]}, "messages[0]"),
    ({"messages": []}, "messages"),
    (called(function={"arguments": "{}"}), "messages[1].tool_calls[0].function.name"),
    (called(function=7), "messages[1].tool_calls[0].function"),
    (chat(tools={}), "tools"),
    (chat(tools=[{"type": "function"}]), "tools[0].function"),
    (function(description="d"), "tools[0].function.name"),
    (function(name="f", parameters=[]), "tools[0].function.parameters"),
    (function(name="f", description=7), "tools[0].function.description"),
    (function(name="f") | {"tool_choice": 7}, "tool_choice"),
    (function(name="f") | {"tool_choice": "maybe"}, "tool_choice"),
    (function(name="f") | {"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
    (chat(temperature="hot"), "temperature"),
    (chat(stop=7), "stop"),
    (chat(stop=["a", 7]), "stop[1]"),
    (chat(reasoning_effort=7), "reasoning_effort"),
    (chat(seed="x"), "seed"),
    (shaped(type="json_schema", json_schema={"name": "n", "schema": "s"}), "response_format.json_schema.schema"),
]


def responses(**fields: Any) -> dict[str, Any]:
    return said("openai_responses") | fields


def spoken(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [*parts]}]}


RESPONSES: Rows = [
    ({"input": 7}, "input"),
    ({"input": [7]}, "input[0]"),
    (spoken({"type": "input_text"}), "input[0].content[0].text"),
    (spoken({"type": "input_image", "image_url": 7}), "input[0].content[0].image_url"),
    ({"input": [{"role": "wizard", "content": "a"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
    ({"input": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "input[0].name"),
    ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
    (responses(instructions=7), "instructions"),
    (responses(tools=[{"type": "function"}]), "tools[0].name"),
    (responses(tools=[{"name": "f"}]), "tools[0].type"),
    (responses(tools=[{"type": "function", "name": "f", "parameters": 7}]), "tools[0].parameters"),
    (responses(tool_choice=[]), "tool_choice"),
    (responses(reasoning="high"), "reasoning"),
    (responses(reasoning={"effort": 7}), "reasoning.effort"),
    (responses(text={"format": 7}), "text.format"),
    (responses(text={"format": {"type": "json_schema", "name": "n"}}), "text.format.schema"),
    (responses(temperature="hot"), "temperature"),
]


def messages(**fields: Any) -> dict[str, Any]:
    return said("anthropic_messages") | fields


def block(role: str = "user", **members: Any) -> dict[str, Any]:
    return messages(messages=[{"role": role, "content": [members]}])


MESSAGES: Rows = [
    (block(type="image", source={"type": "base64", "media_type": 7, "data": "aGk="}), "messages[0].content[0].source.media_type"),
    (block(type="image", source={"type": "base64", "media_type": "image/png"}), "messages[0].content[0].source.data"),
    (block(type="image"), "messages[0].content[0].source"),
    (block(type="text"), "messages[0].content[0].text"),
    (block(text="a"), "messages[0].content[0].type"),
    (block("assistant", type="tool_use", id="t", input={}), "messages[0].content[0].name"),
    (block(type="tool_result", content="a"), "messages[0].content[0].tool_use_id"),
    (messages(messages=[{"role": "user", "content": 7}]), "messages[0].content"),
    (messages(messages=[{"role": "wizard", "content": "a"}]), "messages[0].role"),
    (messages(messages=[{"role": "user"}]), "messages[0].content"),
    (messages(messages=[]), "messages"),
    (messages(system=7), "system"),
    (messages(system=[{"type": "text", "text": 7}]), "system[0].text"),
    (messages(tools=[{"input_schema": {}}]), "tools[0].name"),
    (messages(tools=[{"name": "f", "input_schema": 7}]), "tools[0].input_schema"),
    (messages(tool_choice="auto"), "tool_choice"),
    (messages(tool_choice={"type": "tool"}), "tool_choice.name"),
    (messages(thinking=True), "thinking"),
    (messages(stop_sequences="a"), "stop_sequences"),
    (messages(top_k="a"), "top_k"),
]


def gemini(**fields: Any) -> dict[str, Any]:
    return said("gemini_generate") | fields


def part(**members: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [members]}]}


GEMINI: Rows = [
    (part(text=7), "contents[0].parts[0].text"),
    (part(inlineData={"mimeType": 7, "data": "aGk="}), "contents[0].parts[0].inlineData.mimeType"),
    (part(inlineData={"mimeType": "image/png"}), "contents[0].parts[0].inlineData.data"),
    (part(functionCall={"args": {}}), "contents[0].parts[0].functionCall.name"),
    (part(functionCall={"name": "f", "args": 7}), "contents[0].parts[0].functionCall.args"),
    (part(functionResponse={"response": {}}), "contents[0].parts[0].functionResponse.name"),
    ({"contents": [{"role": "user", "parts": "a"}]}, "contents[0].parts"),
    ({"contents": [{"role": "user", "parts": ["a"]}]}, "contents[0].parts[0]"),
    ({"contents": [{"role": "wizard", "parts": [{"text": "a"}]}]}, "contents[0].role"),
    ({"contents": ["a"]}, "contents[0]"),
    ({"contents": []}, "contents"),
    (gemini(systemInstruction=7), "systemInstruction"),
    (gemini(tools=[{"functionDeclarations": [{"description": "d"}]}]), "tools[0].functionDeclarations[0].name"),
    (gemini(tools=[{"functionDeclarations": [{"name": "f", "parameters": 7}]}]), "tools[0].functionDeclarations[0].parameters"),
    (gemini(tools=7), "tools"),
    (gemini(toolConfig={"functionCallingConfig": {"mode": 7}}), "toolConfig.functionCallingConfig.mode"),
    (gemini(generationConfig=7), "generationConfig"),
    (gemini(generationConfig={"temperature": "hot"}), "generationConfig.temperature"),
    (gemini(generationConfig={"stopSequences": "a"}), "generationConfig.stopSequences"),
    (gemini(generationConfig={"responseSchema": 7}), "generationConfig.responseSchema"),
    (gemini(generationConfig={"thinkingConfig": {"thinkingBudget": "x"}}), "generationConfig.thinkingConfig.thinkingBudget"),
]

COMPLETIONS: Rows = [
    ({"prompt": 7}, "prompt"),
    ({"prompt": "a", "stop": 7}, "stop"),
    ({"prompt": "a", "temperature": "x"}, "temperature"),
    ({"prompt": "a", "suffix": 7}, "suffix"),
    ({"prompt": "a", "echo": 7}, "echo"),
]

TABLES = {"openai_chat": CHAT, "openai_responses": RESPONSES, "anthropic_messages": MESSAGES, "gemini_generate": GEMINI}


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("client", TARGETS)
def test_what_breaks_the_dialect_is_named(gateway: Gateway, client: str) -> None:
    wrong = []
    for body, path in (TABLES | {"completions": COMPLETIONS})[client]:
        for upstream in TARGETS[client]:
            name = model_of(upstream, "fast")
            reply = gateway.post(path_of(client, name), addressed(client, body, name))
            if not refused(reply, client, path):
                wrong.append(f"{path} to {upstream}: {reply.status} {reply.body.decode()[:300]}")
    assert not wrong, "\n".join(wrong)
