"""The simulator by itself, judged by Anthropic's Python SDK, on the new version of the API."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from e2e.judge import PDF, PLACE, PNG, Judge

WEATHER: Any = {"name": "weather", "input_schema": PLACE}
TIME: Any = {"name": "time", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own, which judges everybody."""
    with Judge(seed=5) as running:
        running.judge()
        yield running


@pytest.fixture(params=[True, False], ids=["validated", "plain"])
def client(request: pytest.FixtureRequest, judge: Judge) -> Iterator[Anthropic]:
    """The SDK, also with its own validation of every reply and event."""
    with Anthropic(
        base_url=f"http://{judge.address}", api_key="acme.1", max_retries=0, _strict_response_validation=request.param
    ) as running:
        yield running


def ask(client: Anthropic, stream: bool, **settings: Any) -> Any:
    """A message, unary or put together from its events."""
    settings.setdefault("max_tokens", 2000)
    if not stream:
        return client.messages.create(**settings)
    with client.messages.stream(**settings) as running:
        return running.get_final_message()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [{}, {"redacted": True}])
def test_tools_in_two_turns(client: Anthropic, judge: Judge, stream: bool, script: dict[str, Any]) -> None:
    """Thoughts go back with their signatures; what is altered, missing or somebody else's is refused."""
    settings: Any = {"model": "sim/tools", "tools": [WEATHER, TIME], "thinking": {"type": "enabled", "budget_tokens": 1024}}
    messages: list[Any] = [{"role": "user", "content": "What will it be like?"}]
    judge.script(script | {"tool_calls": 2})
    first = ask(client, stream, messages=messages, **settings)
    thought, weather, time = first.content
    assert thought.type == ("redacted_thinking" if script else "thinking")
    assert (first.stop_reason, weather.input, time.input) == ("tool_use", {"place": "example"}, {})
    messages.append({"role": "assistant", "content": first.content})
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"} for call in (weather, time)]
    messages.append({"role": "user", "content": results})
    second = ask(client, stream, messages=messages, **settings)
    assert second.content[-1].text == "The tool said: rainrain"
    messages[1] = {"role": "assistant", "content": [weather, time]}
    with pytest.raises(anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`"):
        ask(client, stream, messages=messages, **settings)
    messages[1] = {"role": "assistant", "content": first.content}
    with pytest.raises(anthropic.BadRequestError, match="Invalid `"):
        ask(client.with_options(api_key="other.1"), stream, messages=messages, **settings)
    if not script:
        altered = thought.model_copy(update={"thinking": thought.thinking + "!"})
        messages[1] = {"role": "assistant", "content": [altered, weather, time]}
        with pytest.raises(anthropic.BadRequestError, match=r"messages\.1\.content\.0: Invalid `signature` in `thinking` block"):
            ask(client, stream, messages=messages, **settings)


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_can_be_left_out(client: Anthropic, stream: bool) -> None:
    thinking: Any = {"type": "adaptive", "display": "omitted"}
    message = ask(client, stream, model="sim/reason", messages=[{"role": "user", "content": "x"}], thinking=thinking)
    assert message.content[0].thinking == "" and message.content[0].signature
    messages: list[Any] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": "y"},
    ]
    assert ask(client, stream, model="sim/reason", messages=messages, thinking=thinking).content[-1].text


def test_structured_output(client: Anthropic) -> None:
    config: Any = {"format": {"type": "json_schema", "schema": PLACE}}
    message = ask(client, False, model="sim/fast", messages=[{"role": "user", "content": "x"}], output_config=config)
    assert message.content[0].text == '{"place":"example"}'


def test_media_stops_refusals_and_counting(client: Anthropic, judge: Judge) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    document: Any = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}}
    messages: list[Any] = [{"role": "user", "content": [image, document, {"type": "text", "text": "look at this"}]}]
    message = ask(client, False, model="sim/echo", messages=messages)
    assert message.usage.input_tokens == 3 + 3 + 3 + 85 + 250
    assert client.messages.count_tokens(model="sim/echo", messages=messages).input_tokens == message.usage.input_tokens
    stopped = ask(client, True, model="sim/echo", messages=[{"role": "user", "content": "a b c"}], stop_sequences=["c"])
    assert (stopped.content[0].text, stopped.stop_reason, stopped.stop_sequence) == ("a b ", "stop_sequence", "c")
    judge.script({"refusal": "I must not."})
    refused = ask(client, True, model="sim/echo", messages=[{"role": "user", "content": "x"}])
    assert (refused.content[0].text, refused.stop_reason) == ("I must not.", "refusal")
    assert refused.stop_details is not None and refused.stop_details.explanation


def test_a_longer_conversation_hits_the_cache(client: Anthropic) -> None:
    mark: Any = {"type": "ephemeral"}
    text = f"{client._strict_response_validation} word " * 20
    system: Any = [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]

    def usage(*messages: Any) -> Any:
        found = ask(client, False, model="sim/echo", messages=messages, system=system).usage
        cached = found.cache_creation
        return found.cache_read_input_tokens, cached.ephemeral_5m_input_tokens, cached.ephemeral_1h_input_tokens, found.input_tokens

    first = {"role": "user", "content": [{"type": "text", "text": "one", "cache_control": mark}]}
    long = 3 + 3 + -(-len(text) // 4)
    assert usage(first) == (0, 4, long, 0)
    bare = {"role": "user", "content": "one"}
    again = {"role": "user", "content": [{"type": "text", "text": "three", "cache_control": mark}]}
    assert usage(bare, {"role": "assistant", "content": "two"}, again) == (long + 4, 4 + 5, 0, 0)


def test_new_models_are_strict(client: Anthropic) -> None:
    messages: list[Any] = [{"role": "user", "content": "x"}]
    with pytest.raises(anthropic.BadRequestError, match="tool_choice: 'any' is not supported"):
        ask(client, False, model="sim/claude-new", messages=messages, tools=[WEATHER], tool_choice={"type": "any"})
    with pytest.raises(anthropic.BadRequestError, match="prefill"):
        ask(client, False, model="sim/claude-new", messages=[*messages, {"role": "assistant", "content": "y"}])
    assert ask(client, False, model="sim/claude-new", messages=messages, thinking={"type": "adaptive"}).content[0].type == "thinking"


def test_thoughts_are_bound_to_what_stood_before_them(client: Anthropic) -> None:
    settings: Any = {"model": "sim/claude-new", "thinking": {"type": "adaptive"}}
    first = ask(client, False, messages=[{"role": "user", "content": "x"}], system="one", **settings)
    messages: list[Any] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "y"},
    ]
    assert ask(client, False, messages=messages, system="one", **settings).content
    with pytest.raises(anthropic.BadRequestError, match="bound to the content that precedes them"):
        ask(client, False, messages=messages, system="two", **settings)
    settings["thinking"] = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
    with pytest.raises(anthropic.BadRequestError, match=r"thinking.block_binding: Extra inputs"):
        ask(client, False, messages=messages, system="two", **settings)
    headers = {"anthropic-beta": "thinking-binding-controls-2026-08-01"}
    dropped = ask(client, False, messages=messages, system="two", extra_headers=headers, **settings)
    assert dropped.model_extra["input_transformations"][0]["reason"] == "prefix_mismatch"
