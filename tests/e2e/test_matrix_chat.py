"""OpenAI's Python SDK, validating every reply and event, speaks chat completions to providers of every dialect."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from e2e.house import KEY
from e2e.judge import PDF, PLACE, PNG
from e2e.matrix import FAULTS, LANES, SEALS, THINKERS, Matrix, spoken, thought_of

WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "Says it.", "parameters": PLACE, "strict": True}}
TIME: Any = {"type": "function", "function": {"name": "time", "parameters": {"type": "object", "properties": {}}}}
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


def user(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": parts[0] if len(parts) == 1 else list(parts)}]


def ask(client: OpenAI, stream: bool, **settings: Any) -> ChatCompletion:
    """A completion, unary or put together by the SDK from its chunks."""
    if not stream:
        return client.chat.completions.create(**settings)
    with client.chat.completions.stream(stream_options={"include_usage": True}, **settings) as running:
        return running.get_final_completion()


def cost(completion: ChatCompletion) -> Any:
    assert completion.usage is not None and completion.usage.model_extra is not None
    return completion.usage.model_extra["cost"]


def message_of(completion: ChatCompletion) -> Any:
    assert len(completion.choices) == 1
    return completion.choices[0].message


@LANE
@STREAM
def test_text_and_its_price(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *user("one two three")]
    reply = ask(client, stream, model=f"{lane}/echo", messages=messages)
    assert (message_of(reply).content, reply.choices[0].finish_reason) == ("one two three", "stop")
    row, record = matrix.entry().check(cost(reply))
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (record["prompt_tokens"], record["completion_tokens"])
    assert reply.usage.total_tokens == record["prompt_tokens"] + record["completion_tokens"]
    assert (row["dialect"], row["upstream_dialect"], row["streamed"]) == ("openai_chat", spoken(lane, "openai_chat"), int(stream))


@LANE
def test_a_stream_without_a_wish_for_usage_has_none(client: OpenAI, matrix: Matrix, lane: str) -> None:
    chunks = list(client.chat.completions.create(model=f"{lane}/echo", messages=user("one two"), stream=True))
    assert all(len(chunk.choices) == 1 and chunk.usage is None for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    matrix.entry().check()


KEPT = [(*thinker, True) for thinker in THINKERS] + [(*thinker, False) for thinker in THINKERS if thinker[0] != "chat"]
"""Models, and whether the caller keeps what is not documented; on its own dialect's bytes nobody can replace what it leaves out."""


@pytest.mark.parametrize(("lane", "model", "keeps"), KEPT)
@STREAM
def test_tools_in_two_turns(client: OpenAI, matrix: Matrix, lane: str, model: str, keeps: bool, stream: bool) -> None:
    """The SDK's own message goes back, or what of it is documented: either way the provider gets its thoughts again."""
    messages = [{"role": "system", "content": "Be brief."}, *user("What will it be like?")]
    settings: Any = {"model": f"{lane}/{model}", "tools": [WEATHER, TIME], "reasoning_effort": "low", "max_completion_tokens": 4000}
    matrix.script({"tool_calls": 2})
    first = ask(client, stream, messages=messages, **settings)
    said = message_of(first)
    assert first.choices[0].finish_reason == "tool_calls"
    assert [(call.function.name, json.loads(call.function.arguments)) for call in said.tool_calls] == [
        ("weather", {"place": "example"}),
        ("time", {}),
    ]
    documented = {
        "role": "assistant",
        "content": said.content,
        "tool_calls": [
            {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
            for call in said.tool_calls
        ],
    }
    messages.append(said if keeps else documented)
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": word} for call, word in zip(said.tool_calls, ("ra", "in"), strict=True)
    ]
    second = ask(client, stream, messages=messages, **settings)
    assert message_of(second).content.startswith("The tool said: ")
    assert SEALS[lane] in json.dumps(matrix.sent())
    for entry, reply in zip(matrix.entries(2), (first, second), strict=True):
        entry.check(cost(reply))


@LANE
@STREAM
def test_structured_output(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    settings: Any = {"model": f"{lane}/fast", "messages": user("Where?"), "response_format": Place}
    if stream:
        with client.chat.completions.stream(**settings) as running:
            reply = running.get_final_completion()
    else:
        reply = client.chat.completions.parse(**settings)
    assert reply.choices[0].message.parsed == Place(place="example")
    matrix.entry().check()


@LANE
def test_images_and_documents(client: OpenAI, matrix: Matrix, lane: str) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    document = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    reply = ask(client, False, model=f"{lane}/echo", messages=user({"type": "text", "text": "look at this"}, image, document))
    assert message_of(reply).content == "look at this"
    assert reply.usage is not None and reply.usage.prompt_tokens == 3 + 3 + 3 + 85 + 250
    matrix.entry().check(cost(reply))


# Lane, model, and where its thoughts are to be read: on its own dialect's bytes wherever the provider puts them.
THOUGHTS = [("chat", "reason", "reasoning_content"), ("chat", "vllm", "reasoning"), ("gemini", "gemini", "reasoning_content")]
THOUGHTS += [(*thinker, "reasoning_content") for thinker in THINKERS]


@pytest.mark.parametrize(("lane", "model", "place"), THOUGHTS)
@STREAM
def test_effort_in_thoughts_out(client: OpenAI, matrix: Matrix, lane: str, model: str, place: str, stream: bool) -> None:
    matrix.script({"reasoning_tokens": 5})
    reply = ask(client, stream, model=f"{lane}/{model}", messages=user("Why?"), reasoning_effort="high", max_completion_tokens=8000)
    said = message_of(reply)
    assert said.content and said.model_extra[place] == "First look at what is"
    if lane != "chat":
        assert thought_of(matrix.sent()) is not None
    assert reply.usage is not None
    details = reply.usage.completion_tokens_details
    # Amazon does not count them apart.
    assert details is None or details.reasoning_tokens == (0 if lane == "converse" else 5)
    matrix.entry().check(cost(reply))


@LANE
def test_a_conversation_goes_on_elsewhere(client: OpenAI, matrix: Matrix, lane: str) -> None:
    """What another provider sealed is left out, and nobody refuses the rest."""
    began = {"chat": "gemini/gemini-new", "gemini": "messages/claude-new"}.get(lane, "gemini/gemini-new")
    goes_on = {each: f"{each}/{model}" for each, model in reversed(THINKERS)}[lane]
    settings: Any = {"tools": [WEATHER], "reasoning_effort": "low", "max_completion_tokens": 4000}
    messages = user("What will it be like?")
    said = message_of(ask(client, False, model=began, messages=messages, **settings))
    # DeepSeek's demand is met by who speaks its dialect.
    extra = {"reasoning_content": "Hm."} if lane == "chat" else {}
    messages += [said.model_dump(exclude_none=True) | extra, {"role": "tool", "tool_call_id": said.tool_calls[0].id, "content": "rain"}]
    assert message_of(ask(client, False, model=goes_on, messages=messages, **settings)).content == "The tool said: rain"
    for entry in matrix.entries(2):
        entry.check()


# What ends a reply: the request's part, the simulator's, and the word for it. OpenAI's Responses take no limit below 16.
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "limit": ({"max_completion_tokens": 16}, {}, "length"),
    "filter": ({}, {"content_filter": "output", "tokens": 3}, "content_filter"),
}


@LANE
@STREAM
@pytest.mark.parametrize("end", ENDS)
def test_how_it_ends(client: OpenAI, matrix: Matrix, lane: str, stream: bool, end: str) -> None:
    settings, script, reason = ENDS[end]
    matrix.script(script)
    # Without the helper, which makes exceptions of these ends.
    reply: Any = client.chat.completions.create(model=f"{lane}/fast", messages=user("x"), stream=stream, **settings)
    choices = [chunk.choices[0] for chunk in reply] if stream else reply.choices
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == [reason]
    matrix.entry().check()


@LANE
def test_the_sdks_exceptions_for_ends(client: OpenAI, matrix: Matrix, lane: str) -> None:
    matrix.script({"content_filter": "output", "tokens": 3})
    with pytest.raises(openai.ContentFilterFinishReasonError):
        client.chat.completions.parse(model=f"{lane}/echo", messages=user("x"), response_format=Place)
    matrix.script({"reasoning_tokens": 20})
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model=f"{lane}/reason", messages=user("x"), response_format=Place, max_completion_tokens=16)
    for entry in matrix.entries(2):
        entry.check()


@LANE
@STREAM
def test_a_stop_sequence_ends_it(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    """Where the provider has no such thing, the reply says that it was dropped."""
    raw = client.chat.completions.with_raw_response.create(model=f"{lane}/echo", messages=user("a b c"), stop=["c"], stream=stream)
    reply: Any = raw.parse()
    texts = [chunk.choices[0].delta.content or "" for chunk in reply] if stream else [message_of(reply).content]
    assert "".join(texts) == ("a b c" if lane == "responses" else "a b ")
    assert ("stop" in (raw.headers.get("x-fairlead-loss") or "")) == (lane == "responses")
    matrix.entry().check()


@LANE
@STREAM
def test_a_refusal_is_one(client: OpenAI, matrix: Matrix, lane: str, stream: bool) -> None:
    matrix.script({"refusal": "I must not."})
    reply: Any = client.chat.completions.create(model=f"{lane}/fast", messages=user("x"), stream=stream)
    said = [chunk.choices[0].delta for chunk in reply] if stream else [message_of(reply)]
    places = {place: "".join(getattr(each, place, None) or "" for each in said) for place in ("refusal", "content")}
    # Two dialects have a place for it, the others have words and perhaps a reason.
    assert places == ({"refusal": "I must not.", "content": ""} if lane in ("chat", "responses") else places)
    assert "I must not." in places.values()
    matrix.entry().check()


@LANE
@STREAM
@pytest.mark.parametrize(("said", "got"), FAULTS)
def test_refusals_are_the_right_exceptions(client: OpenAI, matrix: Matrix, lane: str, stream: bool, said: int, got: int) -> None:
    wanted = {400: openai.BadRequestError, 429: openai.RateLimitError}.get(got, openai.InternalServerError)
    matrix.script({"fault": {"kind": "status", "status": said, "retry_after": "7"}})
    with pytest.raises(wanted) as raised:
        client.chat.completions.create(model=f"{lane}/echo", messages=user("x"), stream=stream)
    assert raised.value.status_code == got
    assert isinstance(raised.value.body, dict) and raised.value.body["message"] and raised.value.body["type"]
    row, record = matrix.entry()
    assert (row["outcome"], row["charged_nanousd"], record["status"]) == ("failed", 0, said)


@LANE
@pytest.mark.parametrize("kind", ["cut", "error_event"])
def test_a_stream_that_breaks_is_raised(client: OpenAI, matrix: Matrix, lane: str, kind: str) -> None:
    matrix.script({"fault": {"kind": kind, "after_frames": 8}})
    texts = []
    with pytest.raises(openai.APIError) as raised:
        for chunk in client.chat.completions.create(model=f"{lane}/fast", messages=user("x"), stream=True):
            texts.append(chunk.choices[0].delta.content)
    assert "".join(text or "" for text in texts) and raised.value.message
    row, _ = matrix.entry()
    assert row["outcome"] == "failed" and row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


@LANE
def test_leaving_a_stream_cancels_it(client: OpenAI, matrix: Matrix, lane: str) -> None:
    matrix.script({"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5})
    stream = client.chat.completions.create(model=f"{lane}/slow", messages=user("x"), stream=True, max_completion_tokens=16_000)
    for _, chunk in zip(range(5), stream, strict=False):
        assert chunk.choices
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
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages"),
        ({"messages": []}, "messages"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {}}, "response_format"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ],
)
def test_a_bad_parameter_is_named(client: OpenAI, matrix: Matrix, lane: str, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**({"model": f"{lane}/echo", "messages": user("x")} | wrong))
    assert param in str(raised.value.body)


@pytest.mark.parametrize("lane", ["messages", "converse"])
def test_cache_marks_are_kept(client: OpenAI, matrix: Matrix, lane: str) -> None:
    text = f"{lane} chat " * 20
    system = {"role": "system", "content": [{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]}
    for read, written in ((0, 3 + 3 + len(text) // 4), (3 + 3 + len(text) // 4, 0)):
        reply = ask(client, False, model=f"{lane}/echo", messages=[system, *user("x")])
        assert reply.usage is not None and reply.usage.prompt_tokens_details is not None
        assert reply.usage.prompt_tokens_details.cached_tokens == read
        _, record = matrix.entry().check(cost(reply))
        assert (record["cached_tokens"], record["cache_write_tokens"]) == (read, written)


def test_a_preset_marks_prompts(client: OpenAI, matrix: Matrix) -> None:
    """Clients that know nothing of marks get them by a name; without it nothing is marked."""
    messages = [{"role": "system", "content": "word " * 40}, *user("x")]
    for model, marked in (("messages/echo", False), ("@preset/marked", True)):
        reply = ask(client, False, model=model, messages=messages)
        assert ("cache_control" in json.dumps(matrix.sent())) == marked
        matrix.entry().check(cost(reply))
