"""OpenAI's Python SDK, validating every reply and event, speaks Responses to providers of every dialect."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from e2e.house import KEY
from e2e.judge import PDF, PLACE, PNG
from e2e.matrix import FAULTS, LANES, SEALS, THINKERS, Matrix, spoken, thought_of

WEATHER: Any = {"type": "function", "name": "weather", "description": "Says it.", "parameters": PLACE, "strict": True}
TIME: Any = {"type": "function", "name": "time", "parameters": {"type": "object", "properties": {}}, "strict": False}
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
LANE = pytest.mark.parametrize("lane", LANES)


class Place(BaseModel):
    """What a reply shall be."""

    place: str


@pytest.fixture(scope="module")
def client(every_dialect: Matrix) -> Iterator[OpenAI]:
    """The SDK, as strict as it can be."""
    with OpenAI(base_url=f"{every_dialect.url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True) as running:
        yield running


def ask(client: OpenAI, stream: bool, **settings: Any) -> Any:
    """A response, unary or put together by the SDK from its events, whose numbers and order are looked at on the way."""
    settings = {"store": False} | settings
    if not stream:
        return client.responses.create(**settings)
    with client.responses.stream(**settings) as running:
        events = list(running)
        kinds = [event.type for event in events]
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done")
        return running.get_final_response()


def cost(response: Any) -> Any:
    return response.usage.model_extra["cost"]


@LANE
@STREAM
def test_text_and_its_price(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    response = ask(client, stream, model=f"{lane}/echo", input="one two three", instructions="Be brief.")
    assert (response.output_text, response.status) == ("one two three", "completed")
    row, record = matrix.entry().check(cost(response))
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens) == (record["prompt_tokens"], record["completion_tokens"])
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (row["dialect"], row["upstream_dialect"], row["streamed"]) == ("openai_responses", spoken(lane, "openai_responses"), int(stream))


@pytest.mark.parametrize(("lane", "model"), THINKERS)
@pytest.mark.parametrize("keeps", [True, False], ids=["own-objects", "calls-only"])
@STREAM
def test_tools_in_two_turns(client: OpenAI, matrix: Matrix, lane: str, model: str, keeps: bool, stream: bool) -> None:
    """The SDK's own items go back with their encrypted reasoning; a caller that keeps the calls alone is remembered."""
    conversation: list[Any] = [{"role": "user", "content": "What will it be like?"}]
    settings: Any = {"model": f"{lane}/{model}", "tools": [WEATHER, TIME], "reasoning": {"effort": "low", "summary": "auto"}}
    settings |= {"max_output_tokens": 4000, "instructions": "Be brief.", "include": ["reasoning.encrypted_content"]}
    matrix.script({"tool_calls": 2})
    first = ask(client, stream, input=conversation, **settings)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("weather", {"place": "example"}), ("time", {})]
    assert first.output[0].type == "reasoning"
    kept = first.output if keeps else calls
    conversation += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in kept]
    conversation += [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"} for call in calls]
    second = ask(client, stream, input=conversation, **settings)
    assert second.output_text.startswith("The tool said: rain")
    # What the provider made passes through its own dialect as it is: nothing replaces what is left out.
    if keeps or lane != "responses":
        assert SEALS[lane] in json.dumps(matrix.sent())
    for entry, response in zip(matrix.entries(2), (first, second), strict=True):
        entry.check(cost(response))


@pytest.mark.parametrize("lane", [lane for lane in LANES if lane != "chat"])
def test_a_custom_tool(client: OpenAI, matrix: Matrix, lane: str) -> None:
    """Free text where the provider knows only JSON."""
    patch: Any = {"type": "custom", "name": "apply_patch", "description": "A patch", "format": {"type": "text"}}
    conversation: list[Any] = [{"role": "user", "content": "Patch it"}]
    first = ask(client, False, model=f"{lane}/tools", input=conversation, tools=[patch])
    [call] = [item for item in first.output if item.type != "reasoning"]
    assert (call.type, call.name) == ("custom_tool_call", "apply_patch") and isinstance(call.input, str)
    conversation += [item.model_dump(exclude_none=True) for item in first.output]
    conversation.append({"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"})
    assert ask(client, True, model=f"{lane}/tools", input=conversation, tools=[patch]).output_text == "The tool said: done"


@LANE
@STREAM
def test_structured_output(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    settings: Any = {"model": f"{lane}/fast", "input": "Where?", "text_format": Place, "store": False}
    if stream:
        with client.responses.stream(**settings) as running:
            response = running.get_final_response()
    else:
        response = client.responses.parse(**settings)
    assert response.output_parsed == Place(place="example")
    matrix.entry().check(cost(response))


@LANE
def test_images_and_documents(client: OpenAI, matrix: Matrix, lane: str) -> None:
    content = [
        {"type": "input_text", "text": "look at this"},
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
    ]
    response = ask(client, False, model=f"{lane}/echo", input=[{"role": "user", "content": content}])
    assert response.output_text == "look at this"
    assert response.usage.input_tokens == 3 + 3 + 3 + 85 + 250
    matrix.entry().check(cost(response))


@pytest.mark.parametrize(("lane", "model"), [("chat", "reason"), ("chat", "vllm"), ("chat", "together"), ("chat", "mistral"), *THINKERS])
@STREAM
def test_effort_in_summary_out(client: OpenAI, matrix: Matrix, lane: str, model: str, stream: bool) -> None:
    matrix.script({"reasoning_tokens": 5})
    wish: Any = {"effort": "high", "summary": "detailed"}
    response = ask(client, stream, model=f"{lane}/{model}", input="Why?", reasoning=wish, max_output_tokens=8000)
    # Behind the answer may stand what is sealed in it.
    reasoning, message, *_ = response.output
    assert (reasoning.type, message.type) == ("reasoning", "message") and response.output_text
    said = "".join(part.text for part in [*reasoning.summary, *(reasoning.content or [])])
    assert said.strip() == "First look at what is"
    assert thought_of(matrix.sent()) is not None
    counts_apart = lane != "converse" and model not in ("vllm", "together", "mistral")
    assert response.usage.output_tokens_details.reasoning_tokens == (5 if counts_apart else 0)
    matrix.entry().check(cost(response))


# What ends a response: the request's part, the simulator's, and what is said of it.
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "limit": ({"max_output_tokens": 16}, {}, "max_output_tokens"),
    "filter": ({}, {"content_filter": "output", "tokens": 3}, "content_filter"),
}


@LANE
@STREAM
@pytest.mark.parametrize("end", ENDS)
def test_how_it_ends(client: OpenAI, matrix: Matrix, lane: str, stream: bool, end: str) -> None:
    settings, script, reason = ENDS[end]
    matrix.script(script)
    # Without the helper, which waits for a completed one.
    reply: Any = client.responses.create(model=f"{lane}/fast", input="x", stream=stream, **settings)
    response = list(reply)[-1].response if stream else reply
    assert (response.status, response.incomplete_details.reason) == ("incomplete", reason)
    matrix.entry().check(cost(response))


@LANE
@STREAM
def test_a_refusal_is_one(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    matrix.script({"refusal": "I must not."})
    reply: Any = client.responses.create(model=f"{lane}/fast", input="x", stream=stream)
    response = list(reply)[-1].response if stream else reply
    [message] = response.output
    [part] = message.content
    assert "I must not." in (getattr(part, "refusal", None), getattr(part, "text", None))
    assert part.type == "refusal" or lane not in ("chat", "responses")
    matrix.entry().check(cost(response))


@LANE
@STREAM
@pytest.mark.parametrize(("said", "got"), FAULTS)
def test_refusals_are_the_right_exceptions(client: OpenAI, matrix: Matrix, lane: str, stream: bool, said: int, got: int) -> None:
    wanted = {400: openai.BadRequestError, 429: openai.RateLimitError}.get(got, openai.InternalServerError)
    matrix.script({"fault": {"kind": "status", "status": said, "retry_after": "7"}})
    with pytest.raises(wanted) as raised:
        client.responses.create(model=f"{lane}/echo", input="x", stream=stream)
    assert raised.value.status_code == got
    assert isinstance(raised.value.body, dict) and raised.value.body["message"] and raised.value.body["type"]
    row, record = matrix.entry()
    assert (row["outcome"], row["charged_nanousd"], record["status"]) == ("failed", 0, said)


@LANE
@pytest.mark.parametrize("kind", ["cut", "error_event"])
def test_a_stream_that_breaks_says_so(client: OpenAI, matrix: Matrix, lane: str, kind: str) -> None:
    matrix.script({"fault": {"kind": kind, "after_frames": 8}})
    events = list(client.responses.create(model=f"{lane}/fast", input="x", stream=True))
    assert any(event.type == "response.output_text.delta" for event in events)
    last = events[-1]
    assert last.type in ("response.failed", "error")
    row, _ = matrix.entry()
    assert row["outcome"] == "failed" and row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


@LANE
def test_leaving_a_stream_cancels_it(client: OpenAI, matrix: Matrix, lane: str) -> None:
    matrix.script({"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5})
    stream = client.responses.create(model=f"{lane}/slow", input="x", stream=True, max_output_tokens=16_000)
    for _, event in zip(range(8), stream, strict=False):
        assert event.type.startswith("response.")
    stream.close()
    row, record = matrix.entry()
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 10_000
    assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


@LANE
@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
    ],
)
def test_a_bad_parameter_is_named(client: OpenAI, matrix: Matrix, lane: str, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(**({"model": f"{lane}/echo", "input": "x"} | wrong))
    assert param in str(raised.value.body)


@LANE
def test_tokens_are_counted_for_nothing(client: OpenAI, matrix: Matrix, lane: str) -> None:
    counted = client.responses.input_tokens.count(model=f"{lane}/echo", input="one two three", instructions="Be brief.")
    assert counted.object == "response.input_tokens" and 3 < counted.input_tokens < 40
    longer = client.responses.input_tokens.count(model=f"{lane}/echo", input="one two three " * 50)
    assert longer.input_tokens > 100
    assert matrix.entries(0) == []


@LANE
def test_a_prompt_cache_key_is_taken(client: OpenAI, matrix: Matrix, lane: str) -> None:
    reply = client.responses.with_raw_response.create(model=f"{lane}/echo", input="x", prompt_cache_key="k1", store=False)
    assert reply.parse().output_text == "x"
    has_one = lane in ("chat", "responses")
    assert (matrix.sent().get("prompt_cache_key") == "k1") == has_one
    assert ("prompt_cache_key" in (reply.headers.get("x-fairlead-loss") or "")) == (not has_one)
