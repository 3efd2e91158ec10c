"""Tokens: counted exactly where the model's encoding is public, estimated where it is not.

    count("Hello world", model="openai/gpt-5-mini")             # 2
    estimate("Hello world", model="anthropic/claude-opus-5.5")  # about as many as Claude makes of it
    count_request(body, dialect="openai_chat")                  # messages, tools, images, and what frames them

    counter = StreamCounter(model="gpt-5")
    for piece in reply:
        so_far = counter.feed(piece)
    tokens = counter.finish()

Encodings are OpenAI's: `o200k_base` for gpt-4o, gpt-4.1, gpt-4.5, gpt-5 and their variants, o1, o3, o4-mini, codex-mini and gpt-oss;
`cl100k_base` for gpt-4, gpt-3.5, text-embedding-3, text-embedding-ada-002, davinci-002 and babbage-002. A vocabulary is indexed when it is
first used. The GIL is released while texts are counted.
"""

import json
from collections.abc import Mapping
from typing import Any

from fairlead import _native
from fairlead._native import StreamCounter

__all__ = ["StreamCounter", "count", "count_request", "estimate"]


def count(text: str, *, model: str) -> int:
    """The exact number of tokens of a text; special tokens in it are text.

    `model` may have its vendor before it and a variant behind it, or be the name of an encoding. A model whose encoding is not public
    raises ValueError; `estimate` takes any.
    """
    return _native.count_tokens(text, model)


def estimate(text: str, *, model: str) -> int:
    """About how many tokens a model makes of a text, in time that grows with its bytes and without a vocabulary.

    Never more than its UTF-8 has bytes, which is also the most that any vocabulary of bytes can make of it.
    """
    return _native.estimate_tokens(text, model)


def count_request(body: bytes | str | Mapping[str, Any], *, dialect: str, model: str | None = None) -> int:
    """The input tokens of a request: its texts, tools and media, and what frames its messages.

    `body` is JSON or what becomes JSON. `model` is needed where the body does not name it (Gemini, Bedrock) and wins where it does. Texts
    are counted exactly if the model's encoding is public, and estimated otherwise. A body that is none of this dialect raises ValueError
    with the place of the mistake.
    """
    if isinstance(body, str):
        body = body.encode()
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return _native.count_request_tokens(body, dialect, model)
