"""What a client of each dialect understands of a stream. Written apart from the product; whatever breaks the dialect's grammar fails."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from e2e.house import sse_data


@dataclass
class Call:
    """A tool call, its arguments as they came together."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Story:
    """A stream, put together. Either it has an `error`, or it ended well."""

    text: str = ""
    thoughts: str = ""
    calls: list[Call] = field(default_factory=list)
    finish: str = ""
    usage: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    keepalives: int = 0

    @property
    def cost_nanousd(self) -> int:
        """What `usage.cost` says."""
        return round(float(self.usage["cost"]) * 1_000_000_000)


def read(client: str, stream: bytes) -> Story:
    """Puts a whole stream together."""
    if client == "gemini_generate":
        assert b": " not in stream[:2], "Gemini's clients know no comments"
    events = sse_data(stream)
    story = Story(keepalives=stream.count(b": keep-alive\n\n"))
    readers = {
        "openai_chat": chat,
        "completions": completions,
        "openai_responses": responses,
        "anthropic_messages": messages,
        "gemini_generate": gemini,
    }
    readers[client](events, story)
    assert story.error is not None or story.finish, "no end"
    for call in story.calls:
        assert call.id and call.name
    assert len({call.id for call in story.calls}) == len(story.calls)
    return story


def chunks(events: list[Any], story: Story) -> Iterable[dict[str, Any]]:
    """The choices of OpenAI's chunks, up to the one end."""
    assert events[-1] == "[DONE]" and events.count("[DONE]") == 1
    finished = False
    for event in events[:-1]:
        assert {"id", "object", "created", "model", "choices"} <= event.keys(), event
        assert story.error is None and not story.usage, "something follows the end"
        story.usage = event.get("usage") or {}
        story.error = event.get("error")
        for choice in event["choices"]:
            assert not finished or story.error
            finished = finished or choice["finish_reason"] is not None
            story.finish = choice["finish_reason"] or story.finish
            yield choice


def chat(events: list[Any], story: Story) -> None:
    for number, choice in enumerate(chunks(events, story)):
        delta = choice["delta"]
        assert number > 0 or story.error or delta["role"] == "assistant"
        story.text += delta.get("content") or ""
        story.thoughts += delta.get("reasoning_content") or ""
        for piece in delta.get("tool_calls", []):
            if piece["index"] == len(story.calls):
                story.calls.append(Call(piece["id"], piece["function"]["name"]))
            else:
                assert piece["index"] < len(story.calls) and not piece.get("id")
            story.calls[piece["index"]].arguments += piece["function"].get("arguments", "")


def completions(events: list[Any], story: Story) -> None:
    for choice in chunks(events, story):
        story.text += choice["text"]


def messages(events: list[Any], story: Story) -> None:
    open_block: dict[str, Any] | None = None
    blocks, at = 0, "before"
    for event in events:
        assert at != "ended", f"something follows the end: {event}"
        match event["type"]:
            case "ping":
                story.keepalives += 1
            case "message_start":
                assert at == "before"
                at = "running"
            case "content_block_start":
                assert at == "running" and open_block is None and event["index"] == blocks
                open_block, blocks = event["content_block"], blocks + 1
                if open_block["type"] == "tool_use":
                    story.calls.append(Call(open_block["id"], open_block["name"]))
            case "content_block_delta":
                assert open_block is not None and event["index"] == blocks - 1
                delta = event["delta"]
                story.text += delta.get("text", "")
                story.thoughts += delta.get("thinking", "")
                if delta["type"] == "input_json_delta":
                    story.calls[-1].arguments += delta["partial_json"]
            case "content_block_stop":
                assert open_block is not None and event["index"] == blocks - 1
                open_block = None
            case "message_delta":
                assert open_block is None and at == "running"
                at, story.finish, story.usage = "closing", event["delta"]["stop_reason"], event["usage"]
            case "message_stop":
                assert at == "closing"
                at = "ended"
            case "error":
                at, story.error = "ended", event["error"]
            case other:
                raise AssertionError(f"{other} is no event of Anthropic's")
    assert at == "ended"
    for call in story.calls:
        call.arguments = call.arguments or "{}"


def responses(events: list[Any], story: Story) -> None:
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert events[0]["type"] == "response.created"
    ends = ("response.completed", "response.incomplete", "response.failed")
    assert [event["type"] in ends for event in events] == [False] * (len(events) - 1) + [True]
    assert [event["type"] for event in events].count("response.created") == 1
    story.keepalives = sum(event["type"] == "response.in_progress" for event in events)
    items: dict[int, Call] = {}
    for event in events[:-1]:
        match event["type"]:
            case "response.output_text.delta":
                story.text += event["delta"]
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                story.thoughts += event["delta"]
            case "response.output_item.added" if event["item"]["type"] == "function_call":
                items[event["output_index"]] = Call(event["item"]["call_id"], event["item"]["name"])
            case "response.function_call_arguments.delta":
                items[event["output_index"]].arguments += event["delta"]
            case "response.function_call_arguments.done":
                assert items[event["output_index"]].arguments == event["arguments"]
    end = events[-1]["response"]
    story.calls, story.error = [*items.values()], end.get("error")
    story.usage, story.finish = end.get("usage") or {}, end["status"]
    if story.error is None:
        said = [part["text"] for item in end["output"] if item["type"] == "message" for part in item["content"]]
        assert "".join(said) == story.text
        assert [item["call_id"] for item in end["output"] if item["type"] == "function_call"] == [call.id for call in story.calls]


def gemini(events: list[Any], story: Story) -> None:
    for event in events:
        assert story.error is None and not story.finish, "something follows the end"
        if "error" in event:
            story.error = event["error"]
            continue
        story.usage = event.get("usageMetadata") or story.usage
        for candidate in event.get("candidates", []):
            story.finish = candidate.get("finishReason") or ""
            for part in candidate.get("content", {}).get("parts", []):
                if "functionCall" in part:
                    call = part["functionCall"]
                    story.calls.append(Call(call.get("id") or f"{len(story.calls)}", call["name"], json.dumps(call.get("args", {}))))
                elif part.get("thought"):
                    story.thoughts += part.get("text", "")
                else:
                    story.text += part.get("text", "")


def check_error(client: str, error: dict[str, Any]) -> None:
    """An error inside a stream, or of a body, is in the words of the client's dialect."""
    assert isinstance(error["message"], str) and error["message"]
    match client:
        case "gemini_generate":
            assert isinstance(error["code"], int) and error["status"].isupper()
        case "anthropic_messages":
            assert error["type"].endswith("_error")
        case "openai_responses" if "type" not in error:
            # Inside of a response an error is a code with a message.
            assert error["code"]
        case _:
            assert error["type"].endswith("_error") and {"param", "code"} <= error.keys()
