"""Anthropic's Python SDK against both manners: base URL `http://host` for Anthropic's own, `http://host/api` for OpenRouter's."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

from e2e.house import KEY, OTHER_KEY, Gateway, Provider, billed_nanousd

BASES = ("", "/api")
TOOL: Any = {
    "name": "weather",
    "description": "The weather of a place",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}, "required": ["place"]},
}


@pytest.fixture(params=BASES)
def client(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[Anthropic]:
    """The SDK on each manner, without retries, so that what fails is seen."""
    with Anthropic(base_url=gateway.url + request.param, api_key=KEY, max_retries=0) as running:
        yield running


def is_openrouter(client: Anthropic) -> bool:
    return "/api" in str(client.base_url)


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def cost_nanousd(usage: Any) -> int:
    """`usage.cost`, which the SDK keeps as an extra field."""
    return round(usage.model_extra["cost"] * 10**9)


def test_unary(client: Anthropic, gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    script = {"prompt_tokens": 100, "cached_tokens": 30, "cache_write_tokens": 20}
    reply = client.messages.with_raw_response.create(
        model="lab/echo", max_tokens=50, messages=ask("one two three"), extra_body={"sim": script}
    )
    message = reply.parse()
    [block] = message.content
    assert block.type == "text" and block.text == "one two three"
    assert message.stop_reason == "end_turn"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.output_tokens) == (50, 30, 20, 3)
    [record] = provider.since(mark, 1)
    generation = reply.headers["x-generation-id"]
    assert (message.id, message.model) == ((generation, "lab/echo") if is_openrouter(client) else (record["reply_id"], "sim/echo"))
    row = gateway.generation(generation)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost_nanousd(usage) == billed_nanousd(record)
    assert (row["prompt_tokens"], row["cache_read_tokens"], row["cache_write_tokens"], row["completion_tokens"]) == (50, 30, 20, 3)
    assert (row["outcome"], row["dialect"]) == ("completed", "anthropic_messages")


def test_stream(client: Anthropic, gateway: Gateway, provider: Provider) -> None:
    """The SDK's own accumulator is the judge of the events' order and shape."""
    mark = provider.mark()
    with client.messages.stream(model="lab/reason", max_tokens=100, messages=ask("Why?"), extra_body={"sim": {"split": 11}}) as stream:
        events = list(stream)
        message = stream.get_final_message()
        generation = stream.response.headers["x-generation-id"]
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    assert [block.type for block in message.content] == ["thinking", "text"]
    thinking = message.content[0]
    assert thinking.type == "thinking" and thinking.thinking and thinking.signature
    [record] = provider.since(mark, 1)
    assert message.usage.output_tokens == record["completion_tokens"]
    # The accumulator drops fields it does not know; the event has the cost.
    [last] = [event for event in events if event.type == "message_delta"]
    assert cost_nanousd(last.usage) == billed_nanousd(record) == gateway.generation(generation)["charged_nanousd"]
    assert (message.id, message.model) == ((generation, "lab/reason") if is_openrouter(client) else (record["reply_id"], "sim/reason"))


def test_tools(client: Anthropic) -> None:
    messages = ask("What will it be like?")
    message = client.messages.create(model="lab/tools", max_tokens=100, messages=messages, tools=[TOOL])
    assert message.stop_reason == "tool_use"
    [call] = message.content
    assert call.type == "tool_use" and (call.name, call.input) == ("weather", {"place": "example", "days": 1})
    messages += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]},
    ]
    [answer] = client.messages.create(model="lab/tools", max_tokens=100, messages=messages, tools=[TOOL]).content
    assert answer.type == "text" and answer.text == "The tool said: rain"


def test_streamed_tools(client: Anthropic) -> None:
    with client.messages.stream(
        model="lab/tools", max_tokens=500, messages=ask("Two places"), tools=[TOOL], extra_body={"sim": {"tool_calls": 2}}
    ) as stream:
        message = stream.get_final_message()
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"place": "example", "days": 1}] * 2
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    ("model", "fault", "wanted", "status", "kind", "upstream"),
    [
        ("lab/no-such", None, anthropic.NotFoundError, 404, "not_found_error", 0),
        ("lab/echo", {"status": 400}, anthropic.BadRequestError, 400, "invalid_request_error", 1),
        ("lab/echo", {"status": 401}, anthropic.InternalServerError, 502, "api_error", 1),
        ("lab/echo", {"status": 413}, anthropic.RequestTooLargeError, 413, None, 1),
        ("lab/echo", {"status": 429, "retry_after": "7"}, anthropic.RateLimitError, 429, "rate_limit_error", 1),
        ("lab/echo", {"status": 500}, anthropic.InternalServerError, 502, "api_error", 1),
        ("lab/echo", {"status": 529}, anthropic.InternalServerError, 503, "overloaded_error", 1),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_become_the_right_exceptions(
    client: Anthropic,
    provider: Provider,
    model: str,
    fault: dict[str, Any] | None,
    wanted: type[anthropic.APIStatusError],
    status: int,
    kind: str | None,
    upstream: int,
    stream: bool,
) -> None:
    mark = provider.mark()
    body = {"sim": {"fault": {"kind": "status", **fault}}} if fault else None
    with pytest.raises(wanted) as raised:
        client.messages.create(model=model, max_tokens=10, messages=ask("hello"), stream=stream, extra_body=body)
    error = raised.value
    assert error.status_code == status
    assert error.response.headers.get("retry-after") == (fault or {}).get("retry_after")
    assert isinstance(error.body, dict) and error.body["type"] == "error"
    assert kind is None or error.body["error"]["type"] == kind
    assert error.body["error"]["message"]
    assert len(provider.since(mark, upstream)) == upstream


def test_unknown_key_and_forbidden_model(client: Anthropic, provider: Provider) -> None:
    mark = provider.mark()
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key="sk-fl-v1-" + "0" * 64).messages.create(model="lab/echo", max_tokens=9, messages=ask("hello"))
    with pytest.raises(anthropic.PermissionDeniedError):
        client.with_options(api_key=OTHER_KEY).messages.create(model="lab/fast", max_tokens=9, messages=ask("hello"))
    assert provider.since(mark) == []


def test_error_after_content_is_raised_while_streaming(client: Anthropic, gateway: Gateway) -> None:
    texts = []
    body = {"sim": {"fault": {"kind": "error_event", "after_frames": 8}}}
    with client.messages.stream(model="lab/fast", max_tokens=100, messages=ask("hello"), extra_body=body) as stream:
        generation = stream.response.headers["x-generation-id"]
        with pytest.raises(anthropic.APIStatusError) as raised:
            for text in stream.text_stream:
                texts.append(text)
    assert texts
    assert isinstance(raised.value.body, dict) and raised.value.body["error"]["message"]
    row = gateway.generation(generation)
    assert (row["outcome"], row["error"]) == ("failed", "stream_error")
    # `message_start` named the prompt, which is real; the completion is our own count of what came.
    assert row["prompt_tokens"] > 0 and 0 < row["completion_tokens"] < 100
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


def test_leaving_a_stream_cancels_it(client: Anthropic, gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    body = {"sim": {"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5}}
    with client.messages.stream(model="lab/slow", max_tokens=200_000, messages=ask("hello"), extra_body=body) as stream:
        generation = stream.response.headers["x-generation-id"]
        for _, text in zip(range(5), stream.text_stream, strict=False):
            assert text
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 50_000
    row = gateway.generation(generation)
    assert (row["outcome"], row["error"], row["streamed"]) == ("cancelled", "client_gone", 1)
    # What the prompt was is known from the first event; what was made of the completion is counted.
    assert row["prompt_tokens"] == record["prompt_tokens"]
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


@pytest.mark.parametrize("base", BASES)
def test_async_client(gateway: Gateway, provider: Provider, base: str, counts: Callable[[int, int], int]) -> None:
    """Many at a time, unary and streamed, each getting its own answer."""
    mark = provider.mark()
    number = counts(12, 200)

    async def one(client: AsyncAnthropic, index: int) -> None:
        text = " ".join(f"{index}.{word}" for word in range(index % 7 + 1))
        if index % 2:
            message = await client.messages.create(model="lab/echo", max_tokens=99, messages=ask(text))
        else:
            async with client.messages.stream(
                model="lab/echo", max_tokens=99, messages=ask(text), extra_body={"sim": {"pace_ms": 2, "split": 7}}
            ) as stream:
                message = await stream.get_final_message()
        [block] = message.content
        assert block.type == "text" and block.text == text

    async def all_of_them() -> None:
        async with AsyncAnthropic(base_url=gateway.url + base, api_key=KEY, max_retries=0) as client:
            await asyncio.gather(*(one(client, index) for index in range(number)))

    asyncio.run(all_of_them())
    records = provider.since(mark, number)
    assert {record["outcome"] for record in records} == {"complete"}


def test_models(client: Anthropic) -> None:
    """The list has Anthropic's shape for a client that speaks its dialect."""
    models = {model.id: model for model in client.models.list(limit=1000)}
    assert {"lab/echo", "lab/tools"} <= models.keys()
