"""Requests, replies and streams from one provider's dialect into another's, with a list of what could not be kept.

    sent = request(body, source="openai_chat", target="anthropic_messages", model="claude-sonnet-4-5", max_output_tokens=8192)
    for loss in sent.losses:
        print(loss.path, loss.severity, loss.reason)
    reply = response(answer, source="anthropic_messages", target="openai_chat", request=sent)

The dialects are `openai_chat`, `openai_responses`, `anthropic_messages`, `gemini_generate` and `bedrock_converse`. What only one of them
knows is dropped on the way into another one and is then in `losses`; nothing is dropped in silence. Translation reads no clock and draws no
number: the same body gives the same bytes, and a conversation that goes on is written with the same blocks up to where it went on, so that
prompt caches hold.

The GIL is released while bytes are translated. Nothing here opens a connection.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from fairlead._native import Loss, Stream, Translated, Usage, translate_request, translate_response

__all__ = ["Loss", "Stream", "Translated", "Usage", "request", "response"]

Dialect: TypeAlias = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse"]
"""A wire format."""


def request(
    body: bytes | str,
    *,
    source: Dialect,
    target: Dialect,
    model: str | None = None,
    stream: bool | None = None,
    traits: Sequence[str] = (),
    efforts: Sequence[str] = (),
    max_output_tokens: int | None = None,
    automatic_cache: bool = False,
) -> Translated:
    """A request's JSON body in another dialect.

    `model` is the target's name of the model, by default the body's own. `stream` says whether the reply shall be streamed, where the
    source's dialect says so in the path (Gemini, Converse). `traits` are what the target does differently, by name, and `efforts` the
    steps of effort that it knows (`["none"]`: it does not think; empty: unknown). `max_output_tokens` is the most the model can write,
    where the target demands a limit and the body has none. `automatic_cache` marks prompts for caching where the body does not.

    Raises ValueError when the body is not JSON, breaks its dialect (the message names the JSON path), asks for something that the target
    cannot do and that cannot be left out, or when a dialect, trait or effort is unknown.
    """
    return translate_request(
        body.encode() if isinstance(body, str) else body,
        source=source,
        target=target,
        model=model,
        stream=stream,
        traits=list(traits),
        efforts=list(efforts),
        max_output_tokens=max_output_tokens,
        automatic_cache=automatic_cache,
    )


def response(
    body: bytes | str, *, source: Dialect, target: Dialect, request: Translated | None = None, traits: Sequence[str] = ()
) -> Translated:
    """A whole reply's JSON body in another dialect. `source` is the provider's dialect, `target` the caller's.

    `request` is what `fairlead.translate.request` made of the caller's request: tools that were sent under another name or in another shape
    come back under their own.

    Raises ValueError when the body is no reply of that dialect, or when a dialect or trait is unknown.
    """
    return translate_response(
        body.encode() if isinstance(body, str) else body, source=source, target=target, request=request, traits=list(traits)
    )
