"""OpenAI's Python SDK against both manners: `/v1` is OpenAI's own API with cost, `/api/v1` OpenRouter's."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from e2e.house import KEY, OTHER_KEY, Gateway, Provider, billed_nanousd

MANNERS = ("/v1", "/api/v1")
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}, "required": ["place"]},
    },
}


@pytest.fixture(params=MANNERS)
def client(request: pytest.FixtureRequest, gateway: Gateway) -> Iterator[OpenAI]:
    """The SDK on each manner, without retries, so that what fails is seen."""
    with OpenAI(base_url=gateway.url + request.param, api_key=KEY, max_retries=0) as running:
        yield running


def is_openrouter(client: OpenAI) -> bool:
    return "/api/" in str(client.base_url)


def ask(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def cost_nanousd(usage: Any) -> int:
    """`usage.cost`, which the SDK keeps as an extra field."""
    return round(usage.model_extra["cost"] * 10**9)


def test_unary(client: OpenAI, gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    reply = client.chat.completions.with_raw_response.create(model="lab/echo", messages=ask("one two three"))
    completion = reply.parse()
    assert completion.choices[0].message.content == "one two three"
    assert completion.choices[0].finish_reason == "stop"
    [record] = provider.since(mark, 1)
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (record["prompt_tokens"], 3)
    generation = reply.headers["x-generation-id"]
    if is_openrouter(client):
        assert (completion.id, completion.model) == (generation, "lab/echo")
        assert completion.model_extra is not None and completion.model_extra["provider"] == "Lab"
    else:
        assert (completion.id, completion.model) == (record["reply_id"], "sim/echo")
    row = gateway.generation(generation)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost_nanousd(completion.usage) == billed_nanousd(record)
    assert (row["outcome"], row["upstream_id"]) == ("completed", record["reply_id"])


@pytest.mark.parametrize("include_usage", [None, False, True])
def test_stream(client: OpenAI, provider: Provider, include_usage: bool | None) -> None:
    mark = provider.mark()
    wish: dict[str, Any] = {} if include_usage is None else {"stream_options": {"include_usage": include_usage}}
    chunks = list(client.chat.completions.create(model="lab/echo", messages=ask("one two three"), stream=True, **wish))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    [record] = provider.since(mark, 1)
    if is_openrouter(client) or include_usage:
        [usage] = usages
        assert chunks[-1].usage is usage and cost_nanousd(usage) == billed_nanousd(record)
    else:
        assert usages == [] and all(chunk.choices for chunk in chunks)


def test_tools(client: OpenAI) -> None:
    messages = ask("What will it be like?")
    tools: list[Any] = [TOOL]
    reply = client.chat.completions.create(model="lab/tools", messages=messages, tools=tools)
    assert reply.choices[0].finish_reason == "tool_calls" and reply.choices[0].message.tool_calls
    [call] = reply.choices[0].message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"place": "example", "days": 1})
    messages += [reply.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    after = client.chat.completions.create(model="lab/tools", messages=messages, tools=tools)
    assert after.choices[0].message.content == "The tool said: rain"


def test_streamed_tools(client: OpenAI) -> None:
    """The SDK's own helper puts the calls together from their pieces, by index and id."""
    tools: list[Any] = [TOOL]
    with client.chat.completions.stream(
        model="lab/tools", messages=ask("Two places"), tools=tools, extra_body={"sim": {"tool_calls": 2}}
    ) as stream:
        completion = stream.get_final_completion()
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert [json.loads(call.function.arguments) for call in calls] == [{"place": "example", "days": 1}] * 2
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    ("model", "fault", "wanted", "status", "upstream"),
    [
        ("lab/no-such", None, openai.NotFoundError, 404, 0),
        ("lab/echo", {"kind": "status", "status": 400}, openai.BadRequestError, 400, 1),
        ("lab/echo", {"kind": "status", "status": 401}, openai.InternalServerError, 502, 1),
        ("lab/echo", {"kind": "status", "status": 404}, openai.InternalServerError, 502, 1),
        ("lab/echo", {"kind": "status", "status": 422}, openai.UnprocessableEntityError, 422, 1),
        ("lab/echo", {"kind": "status", "status": 429, "retry_after": "7"}, openai.RateLimitError, 429, 1),
        ("lab/echo", {"kind": "status", "status": 500}, openai.InternalServerError, 502, 1),
        ("lab/echo", {"kind": "status", "status": 503, "retry_after": "3"}, openai.InternalServerError, 503, 1),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_become_the_right_exceptions(
    client: OpenAI,
    provider: Provider,
    model: str,
    fault: dict[str, Any] | None,
    wanted: type[openai.APIStatusError],
    status: int,
    upstream: int,
    stream: bool,
) -> None:
    mark = provider.mark()
    with pytest.raises(wanted) as raised:
        client.chat.completions.create(
            model=model, messages=ask("hello"), stream=stream, extra_body={"sim": {"fault": fault}} if fault else None
        )
    error = raised.value
    assert error.status_code == status
    assert error.response.headers.get("retry-after") == (fault or {}).get("retry_after")
    # What is the provider's to say stands inside; what is about our key there, does not.
    assert isinstance(error.body, dict)
    assert error.body["message"]
    assert error.body["code"] == status if is_openrouter(client) else error.body["type"]
    assert len(provider.since(mark, upstream)) == upstream


def test_unknown_model_is_named(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="lab/eco", messages=ask("hello"))
    assert "lab/eco" in str(raised.value) and "lab/echo" in str(raised.value)
    if not is_openrouter(client):
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_unknown_key_and_forbidden_model(client: OpenAI, provider: Provider) -> None:
    mark = provider.mark()
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-fl-v1-" + "0" * 64).chat.completions.create(model="lab/echo", messages=ask("hello"))
    with pytest.raises(openai.PermissionDeniedError):
        client.with_options(api_key=OTHER_KEY).chat.completions.create(model="lab/fast", messages=ask("hello"))
    assert provider.since(mark) == []


def test_error_after_content_is_raised_while_streaming(client: OpenAI, gateway: Gateway) -> None:
    stream = client.chat.completions.with_raw_response.create(
        model="lab/fast", messages=ask("hello"), stream=True, extra_body={"sim": {"fault": {"kind": "error_event", "after_frames": 4}}}
    )
    texts = []
    with pytest.raises(openai.APIError) as raised:
        texts += [chunk.choices[0].delta.content for chunk in stream.parse()]
    assert raised.value.message
    row = gateway.generation(stream.headers["x-generation-id"])
    assert (row["outcome"], row["error"]) == ("failed", "stream_error")
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


def retries(client: OpenAI, provider: Provider, fault: dict[str, Any]) -> int:
    """How many requests reach the provider when the SDK may try three times."""
    mark = provider.mark()
    with pytest.raises(openai.APIStatusError):
        client.with_options(max_retries=2).chat.completions.create(
            model="lab/echo", messages=ask("hello"), extra_body={"sim": {"fault": {"kind": "status", **fault}}}
        )
    return len(provider.since(mark))


def test_the_sdk_retries_what_may_succeed_and_nothing_else(client: OpenAI, provider: Provider) -> None:
    assert retries(client, provider, {"status": 503, "retry_after": "0.01"}) == 3
    assert retries(client, provider, {"status": 429, "retry_after": "0.01"}) == 3
    # Our own credential is refused: a 5xx for the caller, but trying again is of no use.
    assert retries(client, provider, {"status": 401}) == 1
    assert retries(client, provider, {"status": 400}) == 1


def test_leaving_a_stream_cancels_it(client: OpenAI, gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    reply = client.chat.completions.with_raw_response.create(
        model="lab/slow", messages=ask("hello"), stream=True, extra_body={"sim": {"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5}}
    )
    stream = reply.parse()
    for _, chunk in zip(range(5), stream, strict=False):
        assert chunk.choices
    stream.close()
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 50_000
    row = gateway.generation(reply.headers["x-generation-id"])
    assert (row["outcome"], row["error"], row["streamed"]) == ("cancelled", "client_gone", 1)
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
    shown = gateway.get(f"/api/v1/generation?id={row['id']}").json()["data"]
    assert shown["cancelled"] is True and round(shown["total_cost"] * 10**9) == row["charged_nanousd"]


@pytest.mark.parametrize("manner", MANNERS)
def test_async_client(gateway: Gateway, provider: Provider, manner: str, counts: Callable[[int, int], int]) -> None:
    """Many at a time, unary and streamed, each getting its own answer."""
    mark = provider.mark()
    number = counts(12, 200)

    async def one(client: AsyncOpenAI, index: int) -> str:
        text = " ".join(f"{index}.{word}" for word in range(index % 7 + 1))
        if index % 2:
            reply = await client.chat.completions.create(model="lab/echo", messages=ask(text))
            answer = reply.choices[0].message.content
        else:
            stream = await client.chat.completions.create(
                model="lab/echo", messages=ask(text), stream=True, extra_body={"sim": {"pace_ms": 2, "split": 7}}
            )
            answer = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert answer == text
        return text

    async def all_of_them() -> None:
        async with AsyncOpenAI(base_url=gateway.url + manner, api_key=KEY, max_retries=0) as client:
            await asyncio.gather(*(one(client, index) for index in range(number)))

    asyncio.run(all_of_them())
    records = provider.since(mark, number)
    assert {record["outcome"] for record in records} == {"complete"}


def test_models(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {"lab/echo", "lab/tools"} <= models.keys()
