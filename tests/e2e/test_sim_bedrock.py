"""The simulator by itself, judged by Amazon's SDK: signatures, binary streams, exceptions."""

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from e2e.house import send
from e2e.judge import PLACE, PNG, Judge

SECRET = "simulator"
WEATHER = {"toolSpec": {"name": "weather", "description": "The weather", "inputSchema": {"json": PLACE}}}
TIME = {"toolSpec": {"name": "time", "inputSchema": {"json": {"type": "object"}}}}


def connect(judge: Judge, secret: str = SECRET, access_key: str = "AKIDACME") -> Any:
    """The SDK, without retries."""
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=f"http://{judge.address}",
        region_name="eu-central-1",
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own."""
    with Judge(seed=5) as running:
        yield running


@pytest.fixture(scope="module")
def client(judge: Judge) -> Iterator[Any]:
    """The SDK with the right secret."""
    running = connect(judge)
    yield running
    running.close()


def user(*blocks: Any) -> dict[str, Any]:
    """A message of texts and other blocks."""
    return {"role": "user", "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}


def assembled(events: Iterator[dict[str, Any]]) -> tuple[list[dict[str, Any]], str, dict[str, Any]]:
    """Blocks, stop reason and usage of a stream, whose grammar is checked on the way."""
    blocks: dict[int, dict[str, Any]] = {}
    stop, usage, names = "", {}, []
    for event in events:
        [(name, data)] = event.items()
        names.append(name)
        index = data.get("contentBlockIndex", 0)
        if name == "contentBlockStart":
            blocks[index] = {"toolUse": data["start"]["toolUse"] | {"input": ""}}
        elif name == "contentBlockDelta":
            add(blocks.setdefault(index, {}), data["delta"])
        elif name == "messageStop":
            stop = data["stopReason"]
        elif name == "metadata":
            usage = data["usage"]
    assert names[0] == "messageStart" and names[-2:] == ["messageStop", "metadata"]
    assert names.count("contentBlockStop") == len(blocks)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return list(blocks.values()), stop, usage


def add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Puts one delta to a block."""
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    elif "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    else:
        [(kind, value)] = delta["reasoningContent"].items()
        if kind == "redactedContent":
            there = block.setdefault("reasoningContent", {"redactedContent": b""})
            there["redactedContent"] += value
        else:
            there = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
            there[kind] = there.get(kind, "") + value


def test_unary(client: Any) -> None:
    reply = client.converse(modelId="sim/echo", messages=[user("one two three")], system=[{"text": "Be brief"}])
    assert reply["output"]["message"] == {"role": "assistant", "content": [{"text": "one two three"}]}
    assert reply["stopReason"] == "end_turn"
    usage = reply["usage"]
    assert (usage["inputTokens"], usage["outputTokens"], usage["totalTokens"]) == (3 + 5 + 7, 3, 18)
    assert len(reply["ResponseMetadata"]["RequestId"]) == 36


def test_stream(client: Any) -> None:
    blocks, stop, usage = assembled(client.converse_stream(modelId="sim/reason", messages=[user("Why?")])["stream"])
    thought, text = blocks
    assert thought["reasoningContent"]["reasoningText"]["text"].startswith("First look")
    assert thought["reasoningContent"]["reasoningText"]["signature"]
    assert text["text"].startswith("Lorem") and stop == "end_turn"
    assert usage["outputTokens"] == 12 + 24


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("redacted", [False, True])
def test_tools_in_two_turns(client: Any, judge: Judge, stream: bool, redacted: bool) -> None:
    messages: list[Any] = [user("What will it be like?")]
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 1024}}

    def ask(client: Any, script: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        settings: dict[str, Any] = {
            "modelId": "sim/tools",
            "messages": messages,
            "toolConfig": {"tools": [WEATHER, TIME]},
            "inferenceConfig": {"maxTokens": 2000},
            "additionalModelRequestFields": thinking | ({"sim": script} if script else {}),
        }
        if stream:
            blocks, stop, _ = assembled(client.converse_stream(**settings)["stream"])
            return blocks, stop
        reply = client.converse(**settings)
        return reply["output"]["message"]["content"], reply["stopReason"]

    blocks, stop = ask(client, {"tool_calls": 2, "redacted": redacted})
    _, *calls = blocks
    assert stop == "tool_use" and [call["toolUse"]["name"] for call in calls] == ["weather", "time"]
    assert [call["toolUse"]["input"] for call in calls] == [{"place": "example"}, {}]
    messages.append({"role": "assistant", "content": blocks})
    results = [{"toolResult": {"toolUseId": call["toolUse"]["toolUseId"], "content": [{"text": "rain"}]}} for call in calls]
    messages.append(user(*results))
    answer, stop = ask(client, {})
    assert answer[-1]["text"] == "The tool said: rain" and stop == "end_turn"
    other = connect(judge, access_key="AKIDOTHER")
    with pytest.raises(ClientError, match="Invalid `"):
        ask(other, {})
    other.close()
    messages[1] = {"role": "assistant", "content": calls}
    with pytest.raises(ClientError, match="Expected `thinking` or `redacted_thinking`, but found `tool_use`"):
        ask(client, {})


def test_structured_output(client: Any) -> None:
    structure = {"jsonSchema": {"name": "place", "schema": json.dumps(PLACE)}}
    output = {"textFormat": {"type": "json_schema", "structure": structure}}
    reply = client.converse(modelId="sim/fast", messages=[user("x")], outputConfig=output)
    assert json.loads(reply["output"]["message"]["content"][0]["text"]) == {"place": "example"}


def test_media_stops_and_limits(client: Any) -> None:
    image = {"image": {"format": "png", "source": {"bytes": base64.b64decode(PNG)}}}
    document = {"document": {"format": "pdf", "name": "A file", "source": {"bytes": b"%PDF-1.4"}}}
    reply = client.converse(modelId="sim/echo", messages=[user("look at this", image, document)])
    assert reply["usage"]["inputTokens"] == 3 + 3 + 3 + 85 + 250
    stopped = client.converse(
        modelId="sim/echo",
        messages=[user("a b c")],
        inferenceConfig={"stopSequences": ["c"]},
        additionalModelResponseFieldPaths=["/stop_sequence"],
    )
    assert (stopped["stopReason"], stopped["additionalModelResponseFields"]) == ("stop_sequence", {"stop_sequence": "c"})
    cut = client.converse(modelId="sim/echo", messages=[user("a b c")], inferenceConfig={"maxTokens": 2})
    assert cut["stopReason"] == "max_tokens"


def test_cache_points(client: Any) -> None:
    point, long_point = {"cachePoint": {"type": "default"}}, {"cachePoint": {"type": "default", "ttl": "1h"}}
    system = [{"text": "word " * 40}, long_point]

    def usage(*messages: Any) -> tuple[int, int, list[Any]]:
        found = client.converse(modelId="sim/echo", messages=messages, system=system)["usage"]
        return found["cacheReadInputTokens"], found["cacheWriteInputTokens"], found.get("cacheDetails", [])

    assert usage(user("one", point)) == (0, 60, [{"ttl": "5m", "inputTokens": 4}, {"ttl": "1h", "inputTokens": 56}])
    assert usage(user("one", point)) == (60, 0, [])
    answered = {"role": "assistant", "content": [{"text": "two"}]}
    assert usage(user("one"), answered, user("three", point)) == (60, 9, [{"ttl": "5m", "inputTokens": 9}])


def test_errors(client: Any, judge: Judge) -> None:
    for status, code in ((429, "ThrottlingException"), (503, "ServiceUnavailableException"), (424, "ModelErrorException")):
        judge.script({"fault": {"kind": "status", "status": status}})
        with pytest.raises(ClientError) as raised:
            client.converse(modelId="sim/echo", messages=[user("x")])
        assert raised.value.response["Error"]["Code"] == code
    with pytest.raises(client.exceptions.ValidationException, match="model identifier is invalid"):
        client.converse(modelId="anthropic.claude-9", messages=[user("x")])
    judge.script({"fault": {"kind": "error_event", "after_frames": 3}})
    stream = client.converse_stream(modelId="sim/echo", messages=[user("one two three")])["stream"]
    # A stream that breaks keeps its connection until it is closed.
    with contextlib.closing(stream), pytest.raises(EventStreamError, match="modelStreamErrorException"):
        list(stream)


def test_wrong_secrets_and_bearer(client: Any, judge: Judge) -> None:
    stranger = connect(judge, secret="another")
    with pytest.raises(ClientError, match="signature we calculated does not match") as raised:
        stranger.converse(modelId="sim/echo", messages=[user("x")])
    assert raised.value.response["Error"]["Code"] == "InvalidSignatureException"
    stranger.close()
    body = json.dumps({"messages": [user("hello")]}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer acme.1"}
    reply = send(judge.address, "POST", "/model/sim%2Fecho/converse", body, headers)
    assert reply.json()["output"]["message"]["content"] == [{"text": "hello"}]
    headers.pop("authorization")
    assert send(judge.address, "POST", "/model/sim%2Fecho/converse", body, headers).status == 403


def test_counting(client: Any) -> None:
    counted = client.count_tokens(modelId="sim/echo", input={"converse": {"messages": [user("12345678")]}})
    assert counted["inputTokens"] == 3 + 3 + 2
