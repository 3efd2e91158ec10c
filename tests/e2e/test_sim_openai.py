"""The simulator by itself, judged by OpenAI's Python SDK: chat completions, Responses, completions, embeddings."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from e2e.judge import PDF, PLACE, PNG, Judge


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own, so that queued scripts and cached prompts are nobody else's."""
    with Judge(seed=5) as running:
        yield running


@pytest.fixture(params=[True, False], ids=["validated", "plain"])
def client(request: pytest.FixtureRequest, judge: Judge) -> Iterator[OpenAI]:
    """The SDK, also with its own validation of every reply and event."""
    with OpenAI(
        base_url=f"http://{judge.address}/v1", api_key="acme.1", max_retries=0, _strict_response_validation=request.param
    ) as running:
        yield running


# --- Responses --------------------------------------------------------------------------------------------------------

FUNCTION: Any = {"type": "function", "name": "weather", "parameters": PLACE, "strict": True}
PATCH: Any = {"type": "custom", "name": "apply_patch", "description": "A patch", "format": {"type": "text"}}


def test_responses_unary(client: OpenAI) -> None:
    response = client.responses.create(model="sim/echo", input="one two three", instructions="Be brief", store=False)
    assert (response.output_text, response.status, response.model) == ("one two three", "completed", "sim/echo")
    usage = response.usage
    assert usage is not None
    # 3, two messages of 3, and a quarter of 8 and 13 bytes.
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3 + 5 + 7, 3, 18)
    assert response.instructions == "Be brief"


def test_responses_stream_has_every_event(client: OpenAI) -> None:
    with client.responses.stream(model="sim/reason", input="Why?", reasoning={"summary": "auto"}, tools=[FUNCTION]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == list(range(len(events)))
    kinds = [event.type for event in events]
    order = list(dict.fromkeys(kinds))
    assert order == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.completed",
    ]
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.usage is not None and final.usage.output_tokens_details.reasoning_tokens == 12


@pytest.mark.parametrize("stream", [False, True])
def test_responses_tools_in_two_turns(client: OpenAI, stream: bool) -> None:
    """Reasoning goes back encrypted, calls get their results, nothing is kept by the provider."""
    conversation: list[Any] = [{"role": "user", "content": "What will it be like?"}]
    settings: Any = {"model": "sim/agent", "tools": [FUNCTION], "store": False, "include": ["reasoning.encrypted_content"]}

    def ask() -> Any:
        if not stream:
            return client.responses.create(input=conversation, **settings)
        with client.responses.stream(input=conversation, **settings) as running:
            return running.get_final_response()

    first = ask()
    reasoning, call = first.output
    assert (reasoning.type, call.type, call.name, call.arguments) == ("reasoning", "function_call", "weather", '{"place":"example"}')
    assert reasoning.encrypted_content and call.call_id.startswith("call_")
    conversation += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
    conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "rain"})
    assert ask().output_text == "The tool said: rain"
    conversation[1]["encrypted_content"] = conversation[1]["encrypted_content"][:-8] + "AAAAAAA="
    with pytest.raises(openai.BadRequestError) as raised:
        ask()
    assert raised.value.code == "invalid_encrypted_content"


def test_responses_custom_tools(client: OpenAI) -> None:
    first = client.responses.create(model="sim/tools", input="Patch it", tools=[PATCH])
    [call] = first.output
    assert call.type == "custom_tool_call" and (call.name, call.input) == ("apply_patch", "example input")
    output: Any = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": [{"type": "input_text", "text": "done"}]}
    second = client.responses.create(model="sim/tools", previous_response_id=first.id, input=[output], tools=[PATCH])
    assert second.output_text == "The tool said: done"
    with client.responses.stream(model="sim/tools", input="Patch it", tools=[PATCH]) as stream:
        kinds = {event.type for event in stream}
    assert {"response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"} <= kinds


def test_responses_are_kept_and_gone_on_from(client: OpenAI) -> None:
    first = client.responses.create(model="sim/echo", input="one")
    assert client.responses.retrieve(first.id).output_text == "one"
    second = client.responses.create(model="sim/echo", input="two", previous_response_id=first.id)
    assert second.usage is not None and first.usage is not None and second.usage.input_tokens > first.usage.input_tokens
    texts = [item.content for item in client.responses.input_items.list(second.id).data if item.type == "message"]
    assert len(texts) == 3
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(model="sim/echo", input="two", previous_response_id=first.id)
    assert raised.value.code == "previous_response_not_found"


def test_responses_structured_output(client: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"place": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}, "minItems": 2}},
        "required": ["place", "days"],
        "additionalProperties": False,
    }
    text: Any = {"format": {"type": "json_schema", "name": "forecast", "schema": schema, "strict": True}}
    response = client.responses.create(model="sim/fast", input="x", text=text)
    assert response.output_text == '{"days":[1,1],"place":"example"}'


def test_responses_limits_refusals_and_logprobs(client: OpenAI, judge: Judge) -> None:
    limited = client.responses.create(model="sim/fast", input="x", max_output_tokens=16)
    assert limited.status == "incomplete" and limited.incomplete_details is not None
    assert limited.incomplete_details.reason == "max_output_tokens"
    judge.script({"refusal": "I must not."})
    refused = client.responses.create(model="sim/fast", input="x")
    [message] = refused.output
    assert message.type == "message" and message.content[0].type == "refusal" and message.content[0].refusal == "I must not."
    judge.script({"content_filter": "output", "tokens": 2})
    filtered = client.responses.create(model="sim/fast", input="x")
    assert filtered.incomplete_details is not None and filtered.incomplete_details.reason == "content_filter"
    likely = client.responses.create(model="sim/echo", input="a b", include=["message.output_text.logprobs"], top_logprobs=2)
    [message] = likely.output
    assert message.type == "message" and message.content[0].type == "output_text" and message.content[0].logprobs
    assert [(entry.token, len(entry.top_logprobs)) for entry in message.content[0].logprobs] == [("a", 2), (" b", 2)]


def test_responses_cache_is_shared_by_key(client: OpenAI) -> None:
    key = f"key-{client._strict_response_validation}"
    long = "word " * 100

    def cached(conversation: list[Any], key: str) -> int:
        usage = client.responses.create(model="sim/echo", input=conversation, prompt_cache_key=key).usage
        assert usage is not None
        return usage.input_tokens_details.cached_tokens

    conversation: list[Any] = [{"role": "user", "content": long}]
    assert cached(conversation, key) == 0
    conversation += [{"role": "assistant", "content": "well"}, {"role": "user", "content": "more"}]
    assert cached(conversation, key) == 3 + 3 + len(long) // 4
    assert cached(conversation, key + "-other") == 0


def test_responses_failure_in_the_stream(client: OpenAI, judge: Judge) -> None:
    judge.script({"fault": {"kind": "error_event", "after_frames": 6}})
    *_, error, failed = client.responses.create(model="sim/fast", input="x", stream=True)
    assert error.type == "error" and error.code == "server_error"
    assert failed.type == "response.failed" and failed.response.error is not None and failed.response.error.code == "server_error"
    assert failed.sequence_number == error.sequence_number + 1 == 7


# --- chat completions -------------------------------------------------------------------------------------------------

CHAT_FUNCTION: Any = {"type": "function", "function": {"name": "weather", "parameters": PLACE, "strict": True}}


def test_chat_tools_in_two_turns(client: OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "What will it be like?"}]
    first = client.chat.completions.create(model="sim/tools-gpt", messages=messages, tools=[CHAT_FUNCTION])
    message = first.choices[0].message
    assert message.tool_calls and message.tool_calls[0].type == "function"
    assert message.tool_calls[0].function.arguments == '{"place":"example"}'
    messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}]
    second = client.chat.completions.create(model="sim/tools-gpt", messages=messages, tools=[CHAT_FUNCTION])
    assert second.choices[0].message.content == "The tool said: rain"
    with pytest.raises(openai.BadRequestError, match="did not have response messages"):
        client.chat.completions.create(model="sim/tools-gpt", messages=messages[:2], tools=[CHAT_FUNCTION])


def test_chat_choices_logprobs_and_media(client: OpenAI) -> None:
    content: list[Any] = [
        {"type": "text", "text": "a b"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
    ]
    reply = client.chat.completions.create(
        model="sim/echo-gpt", messages=[{"role": "user", "content": content}], n=2, logprobs=True, top_logprobs=1
    )
    assert [choice.message.content for choice in reply.choices] == ["a b", "a b"]
    assert reply.usage is not None and reply.usage.prompt_tokens == 3 + 3 + 1 + 85 + 250
    plain = client.chat.completions.create(
        model="sim/echo", messages=[{"role": "user", "content": "a b"}], n=2, logprobs=True, top_logprobs=1
    )
    assert [entry.token for entry in (plain.choices[1].logprobs or pytest.fail("none")).content or []] == ["a", " b"]


@pytest.fixture
def lenient(judge: Judge) -> Iterator[OpenAI]:
    """The SDK without its validation, which knows neither the null in a completion's chunk nor packed embeddings."""
    with OpenAI(base_url=f"http://{judge.address}/v1", api_key="acme.1", max_retries=0) as running:
        yield running


@pytest.mark.parametrize("family", ["deepseek", "vllm", "groq", "together", "perplexity", "xai", "openrouter", "moonshot", "azure"])
def test_odd_hosts_are_streamed(lenient: OpenAI, family: str) -> None:
    """What the client makes of the simulator's odd hosts: the text and the call are always there."""
    with lenient.chat.completions.stream(
        model=f"sim/tools-{family}",
        messages=[{"role": "user", "content": "x"}],
        tools=[CHAT_FUNCTION],
        stream_options={"include_usage": True},
        extra_body={"sim": {"reasoning_tokens": 3, "tokens": 2, "tool_calls": 1}},
    ) as stream:
        message = stream.get_final_completion().choices[0].message
    assert (message.content or "").endswith("Lorem ipsum")
    assert message.tool_calls and message.tool_calls[0].function.arguments == '{"place":"example"}'


# --- legacy completions and embeddings --------------------------------------------------------------------------------


def test_completions(lenient: OpenAI) -> None:
    reply = lenient.completions.create(model="sim/echo", prompt=["a b", "c d e"], n=2, echo=True, logprobs=1)
    assert [choice.text for choice in reply.choices] == ["a ba b", "a ba b", "c d ec d e", "c d ec d e"]
    assert reply.choices[0].logprobs is not None and reply.choices[0].logprobs.text_offset == [0, 1]
    assert reply.usage is not None and (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (3 + 4 + 5, 10)
    limited = lenient.completions.create(model="sim/fast", prompt="x")
    assert (limited.choices[0].finish_reason, limited.usage and limited.usage.completion_tokens) == ("length", 16)
    chunks = list(
        lenient.completions.create(model="sim/echo", prompt="a b c", stop="c", stream=True, stream_options={"include_usage": True})
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "a b "
    assert chunks[-2].choices[0].finish_reason == "stop" and chunks[-1].usage is not None


def test_embeddings(lenient: OpenAI) -> None:
    floats = lenient.embeddings.create(model="sim/fast", input=["one", "two"], encoding_format="float", dimensions=8)
    packed = lenient.embeddings.create(model="sim/fast", input=["one", "two"], dimensions=8)
    assert [len(entry.embedding) for entry in floats.data] == [8, 8]
    for plain, unpacked in zip(floats.data, packed.data, strict=True):
        assert plain.embedding == pytest.approx(unpacked.embedding)
    assert floats.data[0].embedding != floats.data[1].embedding
    assert floats.usage.prompt_tokens == 2
    with pytest.raises(openai.BadRequestError):
        lenient.embeddings.create(model="sim/fast", input="")
