"""Requests, replies and streams for comparing translators: as agents and providers send them, each in its dialect."""

import binascii
import json
import struct
from typing import Any

PROSE = "The harbour was quiet, and nobody on the pier had seen the boat leave before dawn. "
PICTURE = "https://example.org/chart.png"
INLINE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
QUESTION = "Which file is next?"
FRAMES = 200
Json = dict[str, Any]


def dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def chat(size: int, picture: str = PICTURE) -> Json:
    """A chat request of about `size` bytes: instructions, tools, a picture, rounds of two calls with their results."""
    tools = [_tool(number) for number in range(max(1, size // 4000))]
    first = [{"type": "text", "text": "What does this chart say?"}, {"type": "image_url", "image_url": {"url": picture}}]
    instructions = {"role": "system", "content": "You are the harbour master's assistant. " + PROSE * (size // 4000)}
    messages: list[Json] = [instructions, {"role": "user", "content": first}]
    body = {"model": "gpt-5-mini", "messages": messages, "tools": tools, "tool_choice": "auto", "max_tokens": 4096, "temperature": 0.7}
    lines, prose = (12, 3) if size > 10_000 else (2, 0)
    while len(dump(body)) < size - (0 if size > 10_000 else 300):
        messages.extend(_round(len(messages), len(tools), lines, prose))
    messages.append({"role": "user", "content": QUESTION})
    return body


def _tool(number: int) -> Json:
    schema = {
        "type": "object",
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "description": "The path from the root of the tree."},
            "offset": {"type": "integer", "description": "The first line."},
            "manner": {"type": "string", "enum": ["plain", "numbered"]},
        },
    }
    function = {
        "name": f"read_file_{number}",
        "description": f"Reads part {number} of a file. Lines are numbered from 1.",
        "parameters": schema,
    }
    return {"type": "function", "function": function}


def _round(number: int, tools: int, lines: int, prose: int) -> list[Json]:
    ids = [f"call_{number}_a", f"call_{number}_b"]
    code = "".join(f'{line:>6}\tlet value_{line} = "a\\tb"; // grüße, line {line}\n' for line in range(lines))

    def call(at: int) -> Json:
        arguments = json.dumps({"path": f"src/file_{number}.rs", "offset": at * 40, "manner": "numbered"})
        return {"id": ids[at], "type": "function", "function": {"name": f"read_file_{number % tools}", "arguments": arguments}}

    return [
        {"role": "user", "content": f"Read file {number}. " + PROSE * prose},
        {"role": "assistant", "content": f"I will read {number} in two parts.", "tool_calls": [call(0), call(1)]},
        *({"role": "tool", "tool_call_id": id, "content": code} for id in ids),
        {"role": "assistant", "content": f"File {number} binds values. " + PROSE * prose},
    ]


def messages(body: Json) -> Json:
    """The same conversation as Anthropic's Messages have it."""
    system, *turns = body["messages"]
    written: list[Json] = []
    for turn in turns:
        if turn["role"] == "tool":
            result = {"type": "tool_result", "tool_use_id": turn["tool_call_id"], "content": turn["content"]}
            if written[-1]["role"] == "user":
                written[-1]["content"].append(result)
            else:
                written.append({"role": "user", "content": [result]})
        else:
            written.append({"role": turn["role"], "content": _blocks(turn)})
    tools = [
        {"name": (it := tool["function"])["name"], "description": it["description"], "input_schema": it["parameters"]}
        for tool in body["tools"]
    ]
    return {
        "model": "claude-sonnet-4-5",
        "max_tokens": 4096,
        "system": [{"type": "text", "text": system["content"]}],
        "messages": written,
        "tools": tools,
        "tool_choice": {"type": "auto"},
        "temperature": 0.7,
    }


def _blocks(turn: Json) -> list[Json]:
    content = turn["content"] if isinstance(turn["content"], list) else [{"type": "text", "text": turn["content"]}]
    blocks = [
        {"type": "image", "source": {"type": "url", "url": part["image_url"]["url"]}} if part["type"] == "image_url" else part
        for part in content
    ]
    calls = turn.get("tool_calls", ())
    return blocks + [
        {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": json.loads(call["function"]["arguments"])}
        for call in calls
    ]


def marks(body: Json) -> list[str]:
    """What a translation of a chat request must still say somewhere, besides the picture."""
    texts = [text for turn in body["messages"] if isinstance(text := turn["content"], str)]
    calls = [call["function"] for turn in body["messages"] for call in turn.get("tool_calls", ())]
    tools = [tool["function"] for tool in body["tools"]]
    return [
        *(text.strip() for text in texts),
        *(json.loads(call["arguments"])["path"] for call in calls),
        *(tool["name"] for tool in tools),
        *(tool["description"] for tool in tools),
    ]


def said(value: object) -> str:
    """Every text anywhere in a body, a line each."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(map(said, value.values()))
    return "\n".join(map(said, value)) if isinstance(value, list) else ""


# --- replies ----------------------------------------------------------------------------------------------------------

ANSWER = PROSE * 6 + "\n\n" + 'let value = "grüße";'
ARGUMENTS = {"path": "src/file_9.rs", "offset": 40, "manner": "numbered"}


def replies() -> dict[str, Json]:
    """A reply with a text and a call, in each dialect."""
    call = {"id": "call_9", "type": "function", "function": {"name": "read_file_0", "arguments": json.dumps(ARGUMENTS)}}
    message = {"role": "assistant", "content": ANSWER, "refusal": None, "tool_calls": [call]}
    usage = {"prompt_tokens": 1900, "completion_tokens": 200, "total_tokens": 2100, "prompt_tokens_details": {"cached_tokens": 1024}}
    parts = [{"text": ANSWER}, {"functionCall": {"name": "read_file_0", "args": ARGUMENTS}}]
    blocks = [{"text": ANSWER}, {"toolUse": {"toolUseId": "tooluse_9", "name": "read_file_0", "input": ARGUMENTS}}]
    gemini_usage = {"promptTokenCount": 1900, "candidatesTokenCount": 200, "totalTokenCount": 2100}
    return {
        "openai_chat": {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1741569952,
            "model": "gpt-5-mini",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls"}],
            "usage": usage,
        },
        "anthropic_messages": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "text", "text": ANSWER}, {"type": "tool_use", "id": "toolu_9", "name": "read_file_0", "input": ARGUMENTS}],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 876, "cache_read_input_tokens": 1024, "cache_creation_input_tokens": 0, "output_tokens": 200},
        },
        "gemini_generate": {
            "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": gemini_usage,
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r1",
        },
        "bedrock_converse": {
            "output": {"message": {"role": "assistant", "content": blocks}},
            "stopReason": "tool_use",
            "usage": {"inputTokens": 1900, "outputTokens": 200, "totalTokens": 2100},
            "metrics": {"latencyMs": 900},
        },
    }


# --- streams ----------------------------------------------------------------------------------------------------------

WORDS = ["the", " quick", " brown", ".", " more", ' "dog"', " größer", " so"]


def pieces() -> list[str]:
    """The texts that a stream brings, one per frame."""
    return [WORDS[at % len(WORDS)] for at in range(FRAMES)]


def streams() -> dict[str, list[bytes]]:
    """A whole stream of text in each dialect, event by event."""
    return {
        "openai_chat": _chat_stream(),
        "anthropic_messages": _messages_stream(),
        "gemini_generate": _gemini_stream(),
        "bedrock_converse": _converse_stream(),
    }


def _chat_stream() -> list[bytes]:
    def chunk(delta: Json, finish: str | None = None, **more: object) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1741569952, "model": "gpt-5-mini"}
        return b"data: " + dump({**shared, "choices": choices, **more}) + b"\n\n"

    usage = {"prompt_tokens": 19, "completion_tokens": FRAMES, "total_tokens": 19 + FRAMES}
    head, tail = chunk({"role": "assistant", "content": ""}), [chunk({}, "stop"), chunk({}, choices=[], usage=usage)]
    return [head, *(chunk({"content": piece}) for piece in pieces()), *tail, b"data: [DONE]\n\n"]


def _messages_stream() -> list[bytes]:
    def event(kind: str, **members: object) -> bytes:
        return f"event: {kind}\n".encode() + b"data: " + dump({"type": kind, **members}) + b"\n\n"

    empty = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [], "stop_reason": None}
    start = event("message_start", message={**empty, "stop_sequence": None, "usage": {"input_tokens": 19, "output_tokens": 1}})
    opened = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    deltas = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece}) for piece in pieces()]
    end = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": FRAMES})
    return [start, opened, *deltas, event("content_block_stop", index=0), end, event("message_stop")]


def _gemini_stream() -> list[bytes]:
    def chunk(number: int, piece: str, **more: object) -> bytes:
        candidate = {"content": {"parts": [{"text": piece}], "role": "model"}, "index": 0, **more}
        usage = {"promptTokenCount": 19, "candidatesTokenCount": number, "totalTokenCount": 19 + number}
        body = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "r1"}
        return b"data: " + dump(body) + b"\r\n\r\n"

    *most, last = pieces()
    return [*(chunk(number, piece) for number, piece in enumerate(most)), chunk(FRAMES, last, finishReason="STOP")]


def _converse_stream() -> list[bytes]:
    usage = {"inputTokens": 19, "outputTokens": FRAMES, "totalTokens": 19 + FRAMES}
    return [
        _message("messageStart", {"role": "assistant"}),
        *(_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}, "p": "abcdefgh"}) for piece in pieces()),
        _message("contentBlockStop", {"contentBlockIndex": 0}),
        _message("messageStop", {"stopReason": "end_turn"}),
        _message("metadata", {"usage": usage, "metrics": {"latencyMs": 900}}),
    ]


def _message(kind: str, payload: Json) -> bytes:
    """AWS's framing: lengths and their check sum, headers (7: a text), payload, check sum of all."""

    def header(name: str, value: str) -> bytes:
        return struct.pack(f">B{len(name)}sBH{len(value)}s", len(name), name.encode(), 7, len(value), value.encode())

    headers = header(":event-type", kind) + header(":content-type", "application/json") + header(":message-type", "event")
    text = dump(payload)
    lengths = struct.pack(">II", 16 + len(headers) + len(text), len(headers))
    before = lengths + struct.pack(">I", binascii.crc32(lengths)) + headers + text
    return before + struct.pack(">I", binascii.crc32(before))
