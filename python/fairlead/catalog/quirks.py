"""What follows from a model's capabilities for how it is spoken to, so that a fact stands in a model's file once."""

from collections.abc import Iterator

from fairlead.catalog.schema import Capabilities, Effort, Reasoning

_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})


def following(capabilities: Capabilities | None, reasoning: Reasoning | None) -> tuple[str, ...]:
    """Quirks that a model has wherever it is served. What is unknown gives none."""
    of_capabilities = _of_capabilities(capabilities) if capabilities else ()
    of_reasoning = _of_reasoning(reasoning) if reasoning else ()
    return (*of_capabilities, *of_reasoning)


def efforts(reasoning: Reasoning | None) -> tuple[Effort, ...]:
    """The steps of effort that a model knows; `none` alone: it does not think. Empty: unknown."""
    if reasoning is None:
        return ()
    return ("none",) if reasoning.style == "none" else tuple(reasoning.efforts)


def _of_capabilities(capabilities: Capabilities) -> Iterator[str]:
    refused = {*capabilities.parameters_refused}
    if capabilities.sampling is False:
        yield "no_sampling"
    if refused >= _PENALTIES:
        yield "no_penalties"
    if "stop" in refused:
        yield "no_stop"
    if "seed" in refused:
        yield "no_seed"
    if capabilities.prefill is False:
        yield "no_prefill"
    if capabilities.system_in_messages is False:
        yield "no_mid_system"
    if capabilities.tool_choice is not None and not {"required", "named"} & {*capabilities.tool_choice}:
        yield "no_forced_tool_choice"
    if capabilities.strict_tools is False:
        yield "no_strict_tools"
    if capabilities.structured_outputs is False:
        yield "no_json_schema"


def _of_reasoning(reasoning: Reasoning) -> Iterator[str]:
    if reasoning.style == "adaptive":
        yield "adaptive_thinking"
    if reasoning.style == "always" or reasoning.can_disable is False:
        yield "always_thinking"
