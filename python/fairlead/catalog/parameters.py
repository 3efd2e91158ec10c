"""From what a model can do to OpenRouter's list of supported parameters."""

from fairlead.catalog.schema import Capabilities, Reasoning


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
