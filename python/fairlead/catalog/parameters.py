"""From what a model can do to OpenRouter's list of supported parameters."""

from collections.abc import Collection

from fairlead.catalog.schema import Capabilities, Reasoning

_SAMPLING: dict[str, tuple[str, ...]] = {
    "openai_chat": ("frequency_penalty", "presence_penalty"),
    "anthropic_messages": ("top_k",),
    "gemini_generate": ("top_k", "frequency_penalty", "presence_penalty"),
}
"""Dialect → what it can say about sampling beside temperature and `top_p`."""
_OTHERS: dict[str, tuple[str, ...]] = {
    "openai_chat": ("stop", "seed"),
    "anthropic_messages": ("stop",),
    "gemini_generate": ("stop", "seed"),
    "bedrock_converse": ("stop",),
}
"""Dialect → what it can say beside sampling, tools and reasoning."""
_TAKEN_AWAY: dict[str, tuple[str, ...]] = {
    "no_sampling": ("temperature", "top_p", "top_k"),
    "no_penalties": ("frequency_penalty", "presence_penalty"),
    "no_stop": ("stop",),
    "no_seed": ("seed",),
    "no_parallel_tool_calls": ("parallel_tool_calls",),
}
"""Quirk → what an endpoint does not know because of it."""


def served(
    capabilities: Capabilities | None, reasoning: Reasoning | None, dialects: Collection[str], quirks: Collection[str]
) -> tuple[str, ...] | None:
    """What an endpoint knows: what the model can do, as far as the endpoint's dialects can say it and its quirks do not take it away.

    One of several dialects is enough: a request is spoken in one that can say it.
    """
    known = supported(capabilities, reasoning)
    if known is None:
        return None
    names = {*known, "max_completion_tokens"}
    for dialect in dialects:
        names |= {*_OTHERS.get(dialect, ())}
        if capabilities is not None and capabilities.sampling:
            names |= {*_SAMPLING.get(dialect, ())}
    if capabilities is not None and capabilities.sampling and "open_sampling" in quirks:
        names |= {"top_k", "min_p", "repetition_penalty"}
    for quirk in quirks:
        names -= {*_TAKEN_AWAY.get(quirk, ())}
    return tuple(sorted(names - {*(capabilities.parameters_refused if capabilities else ())}))


def supported(capabilities: Capabilities | None, reasoning: Reasoning | None) -> tuple[str, ...] | None:
    """OpenRouter's parameter names, sorted; `None` when nothing is known. A name that is absent may still work: the provider decides."""
    if capabilities is None and reasoning is None:
        return None
    names = {"max_tokens"}
    if capabilities is not None:
        names |= _of_capabilities(capabilities)
    if reasoning is not None and reasoning.style != "none":
        names |= {"reasoning", "include_reasoning"}
        names |= {"reasoning_effort"} if reasoning.efforts else set()
    return tuple(sorted(names - {*(capabilities.parameters_refused if capabilities else ())}))


def _of_capabilities(capabilities: Capabilities) -> set[str]:
    names = set()
    if capabilities.tools:
        names |= {"tools"}
    if capabilities.tool_choice:
        names |= {"tool_choice"}
    if capabilities.parallel_tools:
        names |= {"parallel_tool_calls"}
    if capabilities.structured_outputs:
        names |= {"response_format", "structured_outputs"}
    if capabilities.sampling:
        names |= {"temperature", "top_p"}
    return names
