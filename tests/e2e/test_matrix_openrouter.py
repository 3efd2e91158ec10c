"""OpenRouter's Python SDK, which validates every reply and chunk, speaks to providers of every dialect on `/api/v1`."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openrouter import OpenRouter, components, errors

from e2e.house import KEY
from e2e.judge import PDF, PLACE, PNG
from e2e.matrix import FAULTS, LANES, SEALS, THINKERS, Matrix, spoken, thought_of

WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "Says it.", "parameters": PLACE, "strict": True}}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
LANE = pytest.mark.parametrize("lane", LANES)


@pytest.fixture(scope="module")
def sdk(every_dialect: Matrix) -> Iterator[OpenRouter]:
    """The SDK without retries, which would go on for an hour."""
    with httpx.Client() as http:
        yield OpenRouter(api_key=KEY, server_url=f"{every_dialect.url}/api/v1", client=http, retry_config=None)


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": parts[0] if len(parts) == 1 else list(parts)}]


class Said:
    """A reply, or the chunks of one put together as an application does it."""

    def __init__(self, reply: Any) -> None:
        if isinstance(reply, components.ChatResult):
            self.id, self.usage = reply.id, reply.usage
            said = [reply.choices[0].message]
            self.finish = reply.choices[0].finish_reason
        else:
            with reply as chunks:
                pieces = list(chunks)
            assert len({piece.id for piece in pieces}) == 1
            self.id, self.usage = pieces[-1].id, pieces[-1].usage
            choices = [choice for piece in pieces for choice in piece.choices]
            said = [choice.delta for choice in choices]
            self.finish = next(choice.finish_reason for choice in choices if choice.finish_reason)
        self.text = "".join(each.content or "" for each in said)
        self.reasoning = "".join(each.reasoning or "" for each in said)
        self.details = [detail for each in said for detail in each.reasoning_details or []]
        self.calls: dict[int, dict[str, str]] = {}
        for call in (call for each in said for call in each.tool_calls or []):
            there = self.calls.setdefault(getattr(call, "index", 0), {"id": "", "name": "", "arguments": ""})
            there["id"] += call.id or ""
            there["name"] += (call.function and call.function.name) or ""
            there["arguments"] += (call.function and call.function.arguments) or ""

    def message(self) -> dict[str, Any]:
        """The assistant's message as it goes back, thoughts included."""
        calls = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in self.calls.values()
        ]
        message: dict[str, Any] = {
            "role": "assistant",
            "content": self.text or None,
            "tool_calls": calls,
            "reasoning": self.reasoning or None,
        }
        if self.details:
            message["reasoning_details"] = self.details
        return message


def ask(sdk: OpenRouter, stream: bool, **settings: Any) -> Said:
    """A reply, unary or streamed."""
    return Said(sdk.chat.send(stream=stream, **settings))


@LANE
@STREAM
def test_text_and_its_price(sdk: OpenRouter, matrix: Matrix, lane: str, stream: bool) -> None:
    said = ask(sdk, stream, model=f"{lane}/echo", messages=[{"role": "system", "content": "Be brief."}, *user("one two three")])
    assert (said.text, said.finish) == ("one two three", "stop")
    row, record = matrix.entry().check(said.usage.cost)
    assert said.id == row["id"]
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (record["prompt_tokens"], record["completion_tokens"])
    assert (row["dialect"], row["upstream_dialect"], row["streamed"]) == ("openai_chat", spoken(lane, "openai_chat"), int(stream))
    data = sdk.generations.get_generation(id=said.id).data
    assert (data.model, data.provider_name) == (f"{lane}/echo", lane.title())
    assert data.total_cost == said.usage.cost


@pytest.mark.parametrize(("lane", "model"), THINKERS)
@STREAM
def test_tools_in_two_turns(sdk: OpenRouter, matrix: Matrix, lane: str, model: str, stream: bool) -> None:
    """`reasoning_details` go back as they came, and the provider gets its thoughts again."""
    settings: Any = {"model": f"{lane}/{model}", "tools": [WEATHER], "max_completion_tokens": 4000}
    settings["reasoning"] = {"effort": "low"}
    messages = user("What will it be like?")
    first = ask(sdk, stream, messages=messages, **settings)
    [call] = first.calls.values()
    assert (call["name"], json.loads(call["arguments"]), first.finish) == ("weather", {"place": "example"}, "tool_calls")
    messages += [first.message(), {"role": "tool", "tool_call_id": call["id"], "content": "rain"}]
    second = ask(sdk, stream, messages=messages, **settings)
    assert second.text == "The tool said: rain"
    assert SEALS[lane] in json.dumps(matrix.sent())
    for entry, said in zip(matrix.entries(2), (first, second), strict=True):
        entry.check(said.usage.cost)


@LANE
@STREAM
def test_structured_output(sdk: OpenRouter, matrix: Matrix, lane: str, stream: bool) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PLACE}}
    said = ask(sdk, stream, model=f"{lane}/fast", messages=user("Where?"), response_format=form)
    assert json.loads(said.text) == {"place": "example"}
    matrix.entry().check(said.usage.cost)


@LANE
def test_images_and_documents(sdk: OpenRouter, matrix: Matrix, lane: str) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    document = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    said = ask(sdk, False, model=f"{lane}/echo", messages=user({"type": "text", "text": "look at this"}, image, document))
    assert said.text == "look at this" and said.usage.prompt_tokens == 3 + 3 + 3 + 85 + 250
    matrix.entry().check(said.usage.cost)


@pytest.mark.parametrize(("lane", "model"), THINKERS)
@STREAM
def test_effort_in_thoughts_out(sdk: OpenRouter, matrix: Matrix, lane: str, model: str, stream: bool) -> None:
    matrix.script({"reasoning_tokens": 5})
    wish: Any = {"effort": "high"}
    said = ask(sdk, stream, model=f"{lane}/{model}", messages=user("Why?"), reasoning=wish, max_completion_tokens=8000)
    assert said.text and said.reasoning == "First look at what is" and said.details
    assert thought_of(matrix.sent()) is not None
    matrix.entry().check(said.usage.cost)


@LANE
@STREAM
@pytest.mark.parametrize(("said", "got"), FAULTS)
def test_refusals_are_the_right_exceptions(sdk: OpenRouter, matrix: Matrix, lane: str, stream: bool, said: int, got: int) -> None:
    wanted = {
        400: errors.BadRequestResponseError,
        429: errors.TooManyRequestsResponseError,
        502: errors.BadGatewayResponseError,
        503: errors.ServiceUnavailableResponseError,
    }
    matrix.script({"fault": {"kind": "status", "status": said, "retry_after": "7"}})
    with pytest.raises(wanted[got]) as raised:
        ask(sdk, stream, model=f"{lane}/echo", messages=user("x"))
    error = json.loads(raised.value.body)["error"]
    assert (raised.value.status_code, error["code"], error["metadata"]["provider_name"]) == (got, got, lane.title())
    row, record = matrix.entry()
    assert (row["outcome"], row["charged_nanousd"], record["status"]) == ("failed", 0, said)


@LANE
@pytest.mark.parametrize("kind", ["cut", "error_event"])
def test_a_stream_that_breaks_says_so(sdk: OpenRouter, matrix: Matrix, lane: str, kind: str) -> None:
    matrix.script({"fault": {"kind": kind, "after_frames": 8}})
    with sdk.chat.send(model=f"{lane}/fast", messages=user("x"), stream=True) as stream:
        chunks = list(stream)
    assert chunks[0].choices and chunks[-1].error is not None and chunks[-1].error.message
    assert chunks[-1].choices[0].finish_reason == "error"
    row, _ = matrix.entry()
    assert row["outcome"] == "failed" and row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


@LANE
def test_leaving_a_stream_cancels_it(sdk: OpenRouter, matrix: Matrix, lane: str) -> None:
    matrix.script({"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5})
    with sdk.chat.send(model=f"{lane}/slow", messages=user("x"), stream=True, max_completion_tokens=16_000) as stream:
        for _, chunk in zip(range(5), stream, strict=False):
            assert chunk.choices
    row, record = matrix.entry()
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 10_000
    assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
