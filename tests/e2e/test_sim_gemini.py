"""The simulator by itself, judged by Google's Python SDK."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from e2e.house import send
from e2e.judge import PLACE, PNG, Judge

WEATHER = types.Tool(function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=PLACE)])
TIME = types.Tool(function_declarations=[types.FunctionDeclaration(name="time")])


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own."""
    with Judge(seed=5) as running:
        yield running


@pytest.fixture(params=["v1", "v1beta"])
def client(request: pytest.FixtureRequest, judge: Judge) -> Iterator[genai.Client]:
    """The SDK, on both of its paths."""
    options = types.HttpOptions(base_url=f"http://{judge.address}", api_version=request.param)
    with genai.Client(api_key="acme.1", vertexai=False, http_options=options) as running:
        yield running


def config(**settings: Any) -> types.GenerateContentConfig:
    """No calling of functions by the SDK itself."""
    return types.GenerateContentConfig(automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **settings)


def parts(reply: types.GenerateContentResponse) -> list[types.Part]:
    """The parts of the first candidate."""
    assert reply.candidates and reply.candidates[0].content
    return reply.candidates[0].content.parts or []


def test_unary(client: genai.Client) -> None:
    reply = client.models.generate_content(model="sim/echo", contents="one two three", config=config(system_instruction="Be brief"))
    assert (reply.text, reply.model_version) == ("one two three", "sim/echo")
    usage = reply.usage_metadata
    assert usage and (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (3 + 5 + 7, 3, 18)
    assert reply.candidates and reply.candidates[0].finish_reason == types.FinishReason.STOP


def test_stream(client: genai.Client) -> None:
    settings = config(thinking_config=types.ThinkingConfig(include_thoughts=True))
    chunks = list(client.models.generate_content_stream(model="sim/reason", contents="Why?", config=settings))
    said = [part for chunk in chunks for part in parts(chunk)]
    assert "".join(part.text or "" for part in said if part.thought).startswith("First look")
    assert "".join(part.text or "" for part in said if not part.thought).startswith("Lorem")
    assert said[-1].thought_signature and not said[-1].text
    totals = [chunk.usage_metadata.total_token_count or 0 for chunk in chunks if chunk.usage_metadata]
    assert totals == sorted(totals) and len(totals) == len(chunks)
    last = chunks[-1].usage_metadata
    assert last and (last.thoughts_token_count, last.candidates_token_count) == (12, 24)
    assert chunks[-1].candidates and chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


@pytest.mark.parametrize("stream", [False, True])
def test_tools_in_two_turns(client: genai.Client, judge: Judge, stream: bool) -> None:
    contents: list[Any] = [types.UserContent("What will it be like?")]
    settings = config(tools=[WEATHER, TIME])

    def ask(script: dict[str, Any]) -> list[types.Part]:
        judge.script(script)
        if stream:
            chunks = client.models.generate_content_stream(model="sim/tools", contents=contents, config=settings)
            return [part for chunk in chunks for part in parts(chunk) if part.text != ""]
        return parts(client.models.generate_content(model="sim/tools", contents=contents, config=settings))

    said = ask({"tool_calls": 2})
    calls = [part.function_call for part in said if part.function_call]
    assert [(call.name, call.args) for call in calls] == [("weather", {"place": "example"}), ("time", {})]
    # Of calls that belong together, the first is signed.
    assert [bool(part.thought_signature) for part in said] == [True, False]
    contents.append(types.ModelContent(said))
    results = [types.Part.from_function_response(name=call.name or "", response={"output": call.name}) for call in calls]
    contents.append(types.UserContent(results))
    assert "".join(part.text or "" for part in ask({})) == "The tool said: weathertime"
    altered = said[0].model_copy(update={"thought_signature": b"\n\x24\x01" + bytes(100)})
    for signature, needle in ((None, "missing a thought_signature"), (altered.thought_signature, "not valid")):
        contents[1] = types.ModelContent([said[0].model_copy(update={"thought_signature": signature}), said[1]])
        with pytest.raises(errors.ClientError, match=needle) as raised:
            ask({})
        assert raised.value.code == 400
    judge.forget_scripts()
    contents[1] = types.ModelContent([said[0].model_copy(update={"thought_signature": b"skip_thought_signature_validator"}), said[1]])
    assert "".join(part.text or "" for part in ask({})) == "The tool said: weathertime"


def test_structured_output(client: genai.Client) -> None:
    for settings in (
        config(response_mime_type="application/json", response_json_schema=PLACE),
        config(response_mime_type="application/json", response_schema={"type": "OBJECT", "properties": {"place": {"type": "STRING"}}}),
    ):
        assert json.loads(client.models.generate_content(model="sim/fast", contents="x", config=settings).text or "") == {
            "place": "example"
        }


def test_media_candidates_stops_and_limits(client: genai.Client) -> None:
    image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
    pdf = types.Part.from_bytes(data=b"%PDF-1.4", mime_type="application/pdf")
    reply = client.models.generate_content(model="sim/echo", contents=["look at this", image, pdf])
    assert reply.usage_metadata and reply.usage_metadata.prompt_tokens_details
    modalities = {detail.modality: detail.token_count for detail in reply.usage_metadata.prompt_tokens_details}
    assert modalities == {"TEXT": 9, "IMAGE": 85, "DOCUMENT": 250}
    several = client.models.generate_content(model="sim/echo", contents="a b", config=config(candidate_count=2))
    assert [candidate.index for candidate in several.candidates or []] == [0, 1]
    stopped = client.models.generate_content(model="sim/echo", contents="a b c", config=config(stop_sequences=["c"]))
    assert stopped.text == "a b "
    cut = client.models.generate_content(model="sim/echo", contents="a b c", config=config(max_output_tokens=2))
    assert cut.candidates and cut.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    likely = client.models.generate_content(model="sim/echo", contents="a b", config=config(response_logprobs=True, logprobs=2))
    assert likely.candidates and likely.candidates[0].logprobs_result
    assert [entry.token for entry in likely.candidates[0].logprobs_result.chosen_candidates or []] == ["a", " b"]


def test_blocked_and_filtered(client: genai.Client, judge: Judge) -> None:
    judge.script({"content_filter": "prompt"}, {"content_filter": "output"})
    blocked = client.models.generate_content(model="sim/fast", contents="x")
    assert blocked.candidates is None and blocked.prompt_feedback and blocked.prompt_feedback.block_reason == "PROHIBITED_CONTENT"
    filtered = client.models.generate_content(model="sim/fast", contents="x")
    assert filtered.candidates and filtered.candidates[0].finish_reason == types.FinishReason.SAFETY


def test_errors(client: genai.Client, judge: Judge) -> None:
    judge.script({"fault": {"kind": "status", "status": 429, "retry_after": "7"}})
    with pytest.raises(errors.ClientError) as limited:
        client.models.generate_content(model="sim/fast", contents="x")
    assert (limited.value.code, limited.value.status) == (429, "RESOURCE_EXHAUSTED")
    details = limited.value.details["error"]["details"]
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"} in details
    with pytest.raises(errors.ClientError) as unknown:
        client.models.generate_content(model="gemini-9", contents="x")
    assert (unknown.value.code, unknown.value.status) == (404, "NOT_FOUND")
    judge.script({"fault": {"kind": "error_event", "after_frames": 3}})
    with pytest.raises(errors.APIError) as broken:
        list(client.models.generate_content_stream(model="sim/fast", contents="x"))
    assert broken.value.code == 503


def test_counting_and_listing(client: genai.Client) -> None:
    assert client.models.count_tokens(model="sim/fast", contents="12345678").total_tokens == 3 + 3 + 2
    assert {"models/sim/echo", "models/sim/agent"} <= {model.name for model in client.models.list()}
    assert client.models.get(model="sim/echo").name == "models/sim/echo"


def test_a_longer_conversation_hits_the_cache(client: genai.Client) -> None:
    long = f"{client._api_client._http_options.api_version} word " * 50

    def cached(*texts: str) -> int | None:
        contents: list[Any] = [types.UserContent(text) if place % 2 == 0 else types.ModelContent(text) for place, text in enumerate(texts)]
        usage = client.models.generate_content(model="sim/echo", contents=contents).usage_metadata
        assert usage
        return usage.cached_content_token_count

    assert cached(long) is None
    assert cached(long, "well", "more") == 3 + 3 + -(-len(long) // 4)


def test_the_stream_without_events_is_an_array(judge: Judge) -> None:
    body = json.dumps({"contents": [{"parts": [{"text": "a b"}]}]}).encode()
    for query, kind in (("", "application/json"), ("&alt=sse", "text/event-stream")):
        path = f"/v1beta/models/sim/echo:streamGenerateContent?key=acme.1{query}"
        reply = send(judge.address, "POST", path, body, {"content-type": "application/json"})
        assert (reply.status, reply.headers.get_content_type()) == (200, kind)
        if query:
            events = reply.body.decode().split("\r\n\r\n")
            assert events.pop() == ""
            chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        else:
            chunks = reply.json()
        texts = [part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
        assert texts == ["a", " b", ""]
