"""What a provider of each dialect says in a stream: how it opens, a short reply, a failure."""

import json
from typing import Any

from e2e.translated import amazon


def data(body: Any, end: str = "\n\n") -> bytes:
    """An event without a name."""
    return f"data: {json.dumps(body)}{end}".encode()


def named(**body: Any) -> bytes:
    """An event named after its type."""
    return f"event: {body['type']}\n".encode() + data(body)


def chunk(delta: Any, finish: str | None = None, **more: Any) -> bytes:
    """A chunk of chat."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return data({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more})


def converse(name: str, **body: Any) -> bytes:
    """An event of Converse."""
    return amazon(name, json.dumps(body).encode())


RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m"}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant"}
PART = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

OPENINGS = {
    "openai_chat": chunk({"role": "assistant", "content": ""}),
    "openai_responses": named(type="response.created", sequence_number=0, response={**RESPONSE, "status": "in_progress", "output": []}),
    "anthropic_messages": named(
        type="message_start",
        message={
            **MESSAGE,
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 1},
        },
    ),
    "gemini_generate": b": nothing yet\r\n\r\n",
    "bedrock_converse": converse("messageStart", role="assistant"),
}
"""Before there is anything to say."""

GREETINGS = {
    "openai_chat": chunk({"content": "Hi"}, "stop", usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    + b"data: [DONE]\n\n",
    "openai_responses": named(
        type="response.output_item.added", sequence_number=1, output_index=0, item={**MESSAGE, "status": "in_progress", "content": []}
    )
    + named(type="response.content_part.added", sequence_number=2, part={"type": "output_text", "text": "", "annotations": []}, **PART)
    + named(type="response.output_text.delta", sequence_number=3, delta="Hi", **PART)
    + named(
        type="response.completed",
        sequence_number=4,
        response={
            **RESPONSE,
            "status": "completed",
            "output": [{**MESSAGE, "status": "completed", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
            "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        },
    ),
    "anthropic_messages": named(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
    + named(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "Hi"})
    + named(type="content_block_stop", index=0)
    + named(type="message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 2})
    + named(type="message_stop"),
    "gemini_generate": data(
        {
            "candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
            "modelVersion": "m",
            "responseId": "r",
        },
        end="\r\n\r\n",
    ),
    "bedrock_converse": converse("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hi"})
    + converse("contentBlockStop", contentBlockIndex=0)
    + converse("messageStop", stopReason="end_turn")
    + converse("metadata", usage={"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, metrics={"latencyMs": 1}),
}
"""Behind an opening: "Hi", for three tokens and two."""

FAILURES = {
    "openai_chat": data({"error": {"message": "busy", "type": "server_error", "param": None, "code": None}}),
    "openai_responses": named(type="error", code="server_error", message="busy", param=None, sequence_number=1),
    "anthropic_messages": named(type="error", error={"type": "overloaded_error", "message": "busy"}),
    "gemini_generate": data({"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}, end="\r\n\r\n"),
    "bedrock_converse": converse("throttlingException", message="busy"),
}
"""Errors inside of streams."""
