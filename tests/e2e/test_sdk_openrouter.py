"""OpenRouter's Python SDK on `/api/v1`. It validates every reply against OpenRouter's schema, so it is the judge of ours."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openrouter import OpenRouter, components, errors
from openrouter.components.chatusage import ChatUsageCompletionTokensDetails, ChatUsagePromptTokensDetails
from openrouter.types import UNSET

from e2e.house import KEY, MANAGEMENT_KEY, Gateway, Provider, billed_nanousd

MESSAGES: list[Any] = [{"role": "user", "content": "one two three"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}},
}


class Scripted(httpx.HTTPTransport):
    """Adds the simulator's `sim` to what the SDK sends: it has no way of its own to send a field it does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.script: dict[str, Any] | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.script is not None and request.method == "POST":
            body = json.dumps({**json.loads(request.read()), "sim": self.script}).encode()
            headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
            request = httpx.Request(request.method, request.url, headers=headers, content=body)
        return super().handle_request(request)


@pytest.fixture
def transport() -> Scripted:
    return Scripted()


@pytest.fixture
def sdk(gateway: Gateway, transport: Scripted) -> Iterator[OpenRouter]:
    """The SDK without retries, which would go on for an hour."""
    with httpx.Client(transport=transport) as http:
        yield OpenRouter(api_key=KEY, server_url=f"{gateway.url}/api/v1", client=http, retry_config=None)


def manager(gateway: Gateway, http: httpx.Client) -> OpenRouter:
    """The same with a key that administers."""
    return OpenRouter(api_key=MANAGEMENT_KEY, server_url=f"{gateway.url}/api/v1", client=http, retry_config=None)


def nanousd(usd: Any) -> int:
    assert isinstance(usd, float | int)
    return round(usd * 10**9)


def test_chat(sdk: OpenRouter, transport: Scripted, gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    transport.script = {"prompt_tokens": 40, "cached_tokens": 8, "reasoning_tokens": 2}
    reply = sdk.chat.send(model="lab/echo", messages=MESSAGES)
    assert isinstance(reply, components.ChatResult)
    assert (reply.object, reply.model, reply.choices[0].finish_reason) == ("chat.completion", "lab/echo", "stop")
    assert reply.choices[0].message.content == "one two three"
    assert reply.id.startswith("gen-")
    usage = reply.usage
    assert usage is not None and (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (40, 5, 45)
    # Objects that do not validate become Unset without a word, so their types are looked at.
    assert isinstance(usage.prompt_tokens_details, ChatUsagePromptTokensDetails) and usage.prompt_tokens_details.cached_tokens == 8
    assert isinstance(usage.completion_tokens_details, ChatUsageCompletionTokensDetails)
    assert usage.completion_tokens_details.reasoning_tokens == 2 and usage.is_byok is False
    [record] = provider.since(mark, 1)
    assert nanousd(usage.cost) == billed_nanousd(record) == gateway.generation(reply.id)["charged_nanousd"]


def test_stream(sdk: OpenRouter, provider: Provider) -> None:
    mark = provider.mark()
    with sdk.chat.send(model="lab/echo", messages=MESSAGES, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two three"
    assert {chunk.model for chunk in chunks} == {"lab/echo"} and len({chunk.id for chunk in chunks}) == 1
    last = chunks[-1]
    assert last.choices == [] and last.usage is not None and last.usage is not UNSET
    [record] = provider.since(mark, 1)
    assert nanousd(last.usage.cost) == billed_nanousd(record)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_tools(sdk: OpenRouter, stream: bool) -> None:
    reply = sdk.chat.send(model="lab/tools", messages=MESSAGES, tools=[TOOL], stream=stream)
    if isinstance(reply, components.ChatResult):
        calls = reply.choices[0].message.tool_calls
        assert calls and (calls[0].id, calls[0].function.name, json.loads(calls[0].function.arguments))
        assert reply.choices[0].finish_reason == "tool_calls"
        return
    with reply as chunks:
        pieces = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    assert pieces[0].id and pieces[0].function and pieces[0].function.name == "weather"
    arguments = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
    assert json.loads(arguments) == {"place": "example"}


def test_async(gateway: Gateway) -> None:
    async def run() -> str:
        async with httpx.AsyncClient() as http:
            sdk = OpenRouter(api_key=KEY, server_url=f"{gateway.url}/api/v1", async_client=http, retry_config=None)
            stream = await sdk.chat.send_async(model="lab/echo", messages=MESSAGES, stream=True)
            async with stream:
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert asyncio.run(run()) == "one two three"


@pytest.mark.parametrize(
    ("model", "fault", "wanted", "status"),
    [
        ("lab/no-such", None, errors.NotFoundResponseError, 404),
        ("lab/echo", {"status": 400}, errors.BadRequestResponseError, 400),
        ("lab/echo", {"status": 401}, errors.BadGatewayResponseError, 502),
        ("lab/echo", {"status": 413}, errors.PayloadTooLargeResponseError, 413),
        ("lab/echo", {"status": 422}, errors.UnprocessableEntityResponseError, 422),
        ("lab/echo", {"status": 429, "retry_after": "7"}, errors.TooManyRequestsResponseError, 429),
        ("lab/echo", {"status": 500}, errors.BadGatewayResponseError, 502),
        ("lab/echo", {"status": 503}, errors.ServiceUnavailableResponseError, 503),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_validate(
    sdk: OpenRouter, transport: Scripted, model: str, fault: Any, wanted: type[errors.OpenRouterError], status: int, stream: bool
) -> None:
    transport.script = {"fault": {"kind": "status", **fault}} if fault else None
    with pytest.raises(wanted) as raised:
        sdk.chat.send(model=model, messages=MESSAGES, stream=stream)
    assert raised.value.status_code == status
    assert raised.value.headers.get("retry-after") == (fault or {}).get("retry_after")
    data = json.loads(raised.value.body)["error"]
    assert data["code"] == status and data["message"] and data["metadata"]["error_type"]
    if fault:
        assert data["metadata"]["provider_name"] == "Lab" and data["metadata"]["raw"] == data["metadata"]["provider_error"]


def test_unknown_key(gateway: Gateway) -> None:
    with httpx.Client() as http, pytest.raises(errors.UnauthorizedResponseError):
        OpenRouter(api_key="sk-or-v1-unknown", server_url=f"{gateway.url}/api/v1", client=http, retry_config=None).chat.send(
            model="lab/echo", messages=MESSAGES
        )


def test_error_after_content_is_in_the_chunks(sdk: OpenRouter, transport: Scripted) -> None:
    transport.script = {"fault": {"kind": "error_event", "after_frames": 3}}
    with sdk.chat.send(model="lab/echo", messages=MESSAGES, stream=True) as stream:
        chunks = list(stream)
    assert chunks[0].choices and chunks[-1].error is not None
    assert isinstance(chunks[-1].error.code, int) and chunks[-1].error.message
    assert chunks[-1].choices[0].finish_reason == "error"


def test_generation(sdk: OpenRouter, gateway: Gateway) -> None:
    """By our id and by the provider's, readable the moment the reply has ended."""
    reply = sdk.chat.send(model="lab/echo", messages=MESSAGES, session_id="session-7", user="user-7")
    assert isinstance(reply, components.ChatResult) and reply.usage is not None
    upstream = gateway.generation(reply.id)["upstream_id"]
    for id in (reply.id, upstream):
        data = sdk.generations.get_generation(id=id).data
        assert (data.id, data.upstream_id, data.model, data.provider_name) == (reply.id, upstream, "lab/echo", "Lab")
        assert data.total_cost == data.usage == reply.usage.cost
        assert (data.native_tokens_prompt, data.native_tokens_completion) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
        assert (data.session_id, data.external_user) == ("session-7", "user-7")
        assert data.provider_responses and data.provider_responses[0].status == 200
    with pytest.raises(errors.NotFoundResponseError):
        sdk.generations.get_generation(id="gen-00000000-0000-7000-8000-000000000000")


def test_models_and_endpoints(sdk: OpenRouter) -> None:
    models = {model.id: model for model in sdk.models.list().result.data}
    model = models["lab/echo"]
    assert (model.context_length, model.pricing.prompt, model.pricing.completion) == (100_000, "0.000003", "0.000015")
    data = sdk.endpoints.list(author="lab", slug="echo").data
    [endpoint] = data.endpoints
    assert (data.id, endpoint.provider_name, endpoint.pricing.completion) == ("lab/echo", "Lab", "0.000015")
    with pytest.raises(errors.NotFoundResponseError):
        sdk.endpoints.list(author="lab", slug="no-such")


@pytest.mark.filterwarnings("ignore:.*DEPRECATED.*:DeprecationWarning")
def test_key_and_credits(sdk: OpenRouter, gateway: Gateway, provider: Provider) -> None:
    """What was used grows by exactly what the provider's ledger says, at once."""
    before = sdk.api_keys.get_current_key_metadata().data
    mark = provider.mark()
    sdk.chat.send(model="lab/echo", messages=MESSAGES)
    [record] = provider.since(mark, 1)
    after = sdk.api_keys.get_current_key_metadata().data
    assert nanousd(after.usage) - nanousd(before.usage) == billed_nanousd(record)
    assert nanousd(after.usage_monthly) - nanousd(before.usage_monthly) == billed_nanousd(record)
    assert not after.is_management_key
    with httpx.Client() as http:
        credits = manager(gateway, http).credits.get_credits().data
    assert nanousd(credits.total_usage) >= nanousd(after.usage)
