"""Anthropic's Python SDK, validating every reply and event, speaks Messages to providers of every dialect."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from pydantic import BaseModel

from e2e.house import KEY
from e2e.judge import PDF, PLACE, PNG
from e2e.matrix import LANES, SEALS, THINKERS, Matrix, spoken, thought_of

WEATHER: Any = {"name": "weather", "description": "Says it.", "input_schema": PLACE}
TIME: Any = {"name": "time", "input_schema": {"type": "object", "properties": {}}}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
LANE = pytest.mark.parametrize("lane", LANES)


class Place(BaseModel):
    """What a reply shall be."""

    place: str


@pytest.fixture(scope="module")
def client(every_dialect: Matrix) -> Iterator[Anthropic]:
    """The SDK, as strict as it can be."""
    with Anthropic(base_url=every_dialect.url, api_key=KEY, max_retries=0, _strict_response_validation=True) as running:
        yield running


def ask(client: Anthropic, stream: bool, **settings: Any) -> tuple[Any, Any]:
    """A message, unary or put together by the SDK from its events, and the cost beside its usage."""
    settings = {"max_tokens": 4000} | settings
    if not stream:
        message = client.messages.create(**settings)
        assert message.usage.model_extra is not None
        return message, message.usage.model_extra["cost"]
    with client.messages.stream(**settings) as running:
        events = list(running)
        assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
        # The accumulator drops fields it does not know; the event has the cost.
        [last] = [event for event in events if event.type == "message_delta"]
        assert last.usage.model_extra is not None
        return running.get_final_message(), last.usage.model_extra["cost"]


def user(*blocks: Any) -> list[Any]:
    return [{"role": "user", "content": blocks[0] if len(blocks) == 1 else list(blocks)}]


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def thinking(model: str) -> Any:
    """The way in which an application wants a model to think; the newest refuse budgets."""
    return {"type": "adaptive"} if model == "claude-new" else {"type": "enabled", "budget_tokens": 1024}


@LANE
@STREAM
def test_text_and_its_price(client: Anthropic, matrix: Matrix, lane: str, stream: bool) -> None:
    message, cost = ask(client, stream, model=f"{lane}/echo", system="Be brief.", messages=user("one two three"))
    assert (text_of(message), message.stop_reason, message.role) == ("one two three", "end_turn", "assistant")
    row, record = matrix.entry().check(cost)
    usage = message.usage
    total = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    assert (total, usage.output_tokens) == (record["prompt_tokens"], record["completion_tokens"])
    client_dialect = "anthropic_messages"
    assert (row["dialect"], row["upstream_dialect"], row["streamed"]) == (client_dialect, spoken(lane, client_dialect), int(stream))


@pytest.mark.parametrize(("lane", "model"), THINKERS)
@pytest.mark.parametrize("redacted", [False, True], ids=["shown", "redacted"])
@STREAM
def test_tools_in_two_turns(client: Anthropic, matrix: Matrix, lane: str, model: str, redacted: bool, stream: bool) -> None:
    """The SDK's own blocks go back, and the provider gets its thoughts again."""
    matrix.script({"tool_calls": 2, "redacted": redacted})
    settings: Any = {"model": f"{lane}/{model}", "tools": [WEATHER, TIME], "thinking": thinking(model), "system": "Be brief."}
    messages = user("What will it be like?")
    first, first_cost = ask(client, stream, messages=messages, **settings)
    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert [(call.name, call.input) for call in calls] == [("weather", {"place": "example"}), ("time", {})]
    messages.append({"role": "assistant", "content": first.content})
    messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"} for call in calls]})
    second, second_cost = ask(client, stream, messages=messages, **settings)
    assert text_of(second).startswith("The tool said: rain")
    # What is redacted has other names, and the judge demands it all the same.
    if not redacted:
        assert SEALS[lane] in json.dumps(matrix.sent())
    for entry, cost in zip(matrix.entries(2), (first_cost, second_cost), strict=True):
        entry.check(cost)


@LANE
@STREAM
def test_structured_output(client: Anthropic, matrix: Matrix, lane: str, stream: bool) -> None:
    settings: Any = {"model": f"{lane}/fast", "max_tokens": 400, "messages": user("Where?"), "output_format": Place}
    if stream:
        with client.messages.stream(**settings) as running:
            message = running.get_final_message()
    else:
        message = client.messages.parse(**settings)
    assert message.parsed_output == Place(place="example")
    matrix.entry().check()


@LANE
def test_images_and_documents(client: Anthropic, matrix: Matrix, lane: str) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    document: Any = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    message, cost = ask(client, False, model=f"{lane}/echo", messages=user(image, document, {"type": "text", "text": "look at this"}))
    assert text_of(message) == "look at this"
    assert message.usage.input_tokens == 3 + 3 + 3 + 85 + 250
    matrix.entry().check(cost)


@pytest.mark.parametrize("lane", LANES)
def test_an_image_in_a_tools_result(client: Anthropic, matrix: Matrix, lane: str) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    messages = user("Look there")
    first, _ = ask(client, False, model=f"{lane}/tools", tools=[WEATHER], messages=messages)
    [call] = [block for block in first.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "seen"}, image]}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second, cost = ask(client, False, model=f"{lane}/tools", tools=[WEATHER], messages=messages)
    # In a chat it comes as the user's, so that the model calls again.
    assert text_of(second).startswith("The tool said: seen") or lane == "chat"
    assert PNG in json.dumps(matrix.sent())
    matrix.entries(2)[1].check(cost)


@pytest.mark.parametrize(("lane", "model"), [("chat", "reason"), ("chat", "together"), ("gemini", "gemini"), *THINKERS])
@STREAM
def test_a_budget_in_thoughts_out(client: Anthropic, matrix: Matrix, lane: str, model: str, stream: bool) -> None:
    matrix.script({"reasoning_tokens": 5})
    message, cost = ask(client, stream, model=f"{lane}/{model}", messages=user("Why?"), thinking=thinking(model))
    # Behind the answer may stand what is sealed in it.
    thought, text, *_ = message.content
    assert (thought.type, text.type) == ("thinking", "text") and text.text
    assert thought.thinking.strip() == "First look at what is" and isinstance(thought.signature, str)
    assert thought_of(matrix.sent()) is not None
    matrix.entry().check(cost)


@LANE
@STREAM
def test_how_it_ends(client: Anthropic, matrix: Matrix, lane: str, stream: bool) -> None:
    limited, limited_cost = ask(client, stream, model=f"{lane}/fast", messages=user("x"), max_tokens=16)
    assert limited.stop_reason == "max_tokens"
    matrix.script({"content_filter": "output", "tokens": 3})
    filtered, filtered_cost = ask(client, stream, model=f"{lane}/fast", messages=user("x"))
    assert filtered.stop_reason == "refusal"
    matrix.script({"refusal": "I must not."})
    refused, refused_cost = ask(client, stream, model=f"{lane}/fast", messages=user("x"))
    assert text_of(refused) == "I must not."
    for entry, cost in zip(matrix.entries(3), (limited_cost, filtered_cost, refused_cost), strict=True):
        entry.check(cost)


@LANE
@STREAM
def test_a_stop_sequence_is_named(client: Anthropic, matrix: Matrix, lane: str, stream: bool) -> None:
    message, cost = ask(client, stream, model=f"{lane}/echo", messages=user("a b c"), stop_sequences=["c"])
    assert text_of(message) == ("a b c" if lane == "responses" else "a b ")
    if lane in ("messages", "converse"):
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "c")
    matrix.entry().check(cost)


# What a provider answers, the SDK's exception, its status and its kind.
REFUSALS = [
    (400, anthropic.BadRequestError, 400, "invalid_request_error"),
    (401, anthropic.InternalServerError, 502, "api_error"),
    (429, anthropic.RateLimitError, 429, "rate_limit_error"),
    (500, anthropic.InternalServerError, 502, "api_error"),
    (503, anthropic.InternalServerError, 503, None),
    (529, anthropic.InternalServerError, 503, "overloaded_error"),
]


@LANE
@STREAM
@pytest.mark.parametrize(("said", "wanted", "got", "kind"), REFUSALS, ids=[str(each[0]) for each in REFUSALS])
def test_refusals_are_the_right_exceptions(
    client: Anthropic, matrix: Matrix, lane: str, stream: bool, said: int, wanted: Any, got: int, kind: str | None
) -> None:
    matrix.script({"fault": {"kind": "status", "status": said, "retry_after": "7"}})
    with pytest.raises(wanted) as raised:
        client.messages.create(model=f"{lane}/echo", max_tokens=10, messages=user("x"), stream=stream)
    assert raised.value.status_code == got
    assert raised.value.body["type"] == "error" and raised.value.body["error"]["message"]
    assert kind is None or raised.value.body["error"]["type"] == kind
    row, record = matrix.entry()
    assert (row["outcome"], row["charged_nanousd"], record["status"]) == ("failed", 0, said)


@LANE
@pytest.mark.parametrize("kind", ["cut", "error_event"])
def test_a_stream_that_breaks_is_raised(client: Anthropic, matrix: Matrix, lane: str, kind: str) -> None:
    matrix.script({"fault": {"kind": kind, "after_frames": 8}})
    texts: list[str] = []
    stream = client.messages.stream(model=f"{lane}/fast", max_tokens=100, messages=user("x"))
    with pytest.raises(anthropic.APIStatusError) as raised, stream as running:
        for text in running.text_stream:
            texts.append(text)
    assert "".join(texts) and isinstance(raised.value.body, dict) and raised.value.body["error"]["message"]
    row, _ = matrix.entry()
    assert row["outcome"] == "failed" and row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


@LANE
def test_leaving_a_stream_cancels_it(client: Anthropic, matrix: Matrix, lane: str) -> None:
    matrix.script({"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5})
    with client.messages.stream(model=f"{lane}/slow", max_tokens=16_000, messages=user("x")) as running:
        for _, text in zip(range(5), running.text_stream, strict=False):
            assert text
    row, record = matrix.entry()
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 10_000
    assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


@LANE
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"tools": [{"input_schema": PLACE}]}, "tools"),
        ({"extra_body": {"max_tokens": "many"}}, "max_tokens"),
        ({"thinking": {"type": 5}}, "thinking"),
        ({"tool_choice": {"type": "tool"}, "tools": [WEATHER]}, "tool_choice"),
    ],
)
def test_a_bad_parameter_is_named(client: Anthropic, matrix: Matrix, lane: str, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as raised:
        client.messages.create(**({"model": f"{lane}/echo", "max_tokens": 100, "messages": user("x")} | wrong))
    assert param in str(raised.value.body)


@pytest.mark.parametrize("lane", ["messages", "converse"])
@STREAM
def test_cache_marks_are_kept(client: Anthropic, matrix: Matrix, lane: str, stream: bool) -> None:
    text = f"{lane} {stream} word " * 20
    system = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]
    tokens = 3 + 3 + -(-len(text) // 4)
    for read, written in ((0, tokens), (tokens, 0)):
        message, cost = ask(client, stream, model=f"{lane}/echo", system=system, messages=user("x"))
        usage = message.usage
        assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.input_tokens) == (read, written, 4)
        matrix.entry().check(cost)


def test_cache_marks_become_breakpoints(client: Anthropic, matrix: Matrix) -> None:
    block = {"type": "text", "text": "word " * 60, "cache_control": {"type": "ephemeral"}}
    ask(client, False, model="responses/gpt-new", messages=user(block, {"type": "text", "text": "x"}))
    assert "prompt_cache_breakpoint" in json.dumps(matrix.sent())


@LANE
def test_tokens_are_counted_for_nothing(client: Anthropic, matrix: Matrix, lane: str) -> None:
    short = client.messages.count_tokens(model=f"{lane}/echo", messages=user("one two three"))
    long = client.messages.count_tokens(model=f"{lane}/echo", messages=user("one two three " * 50), tools=[WEATHER], system="Be brief.")
    assert 3 < short.input_tokens < 30 and long.input_tokens > 100
    assert matrix.entries(0) == []
