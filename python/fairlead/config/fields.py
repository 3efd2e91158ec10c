"""What of a request a preset may say for it: a chat request's members under OpenRouter's names, with what each may hold.

The data plane puts them into requests that do not say them (`rust/formats/src/preset.rs`). A name that stands nowhere here may be a
provider's own: it is let through with a warning.
"""

import datetime
import math
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from fairlead.catalog.document import Document, did_you_mean, nearest_name
from fairlead.catalog.positions import Path as Place
from fairlead.catalog.schema import Effort

MOST_INTEGER = 2**63 - 1


def _number(least: float, most: float) -> Meta:
    return Meta(ge=least, le=most, description=f"a number from {least:g} to {most:g}")


Share = Annotated[float, _number(0, 1)]
Penalty = Annotated[float, _number(-2, 2)]
Twofold = Annotated[float, _number(0, 2)]
Positive = Annotated[int, Meta(ge=1, le=MOST_INTEGER, description="an integer of at least 1")]
Whole = Annotated[int, Meta(ge=-MOST_INTEGER, le=MOST_INTEGER, description="an integer")]
Text = Annotated[str, Meta(min_length=1)]
Label = Annotated[str, Meta(max_length=512, description="a string of at most 512 characters")]


class Function(Struct):
    """`function` of a tool."""

    name: Text
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """A JSON Schema of the arguments."""
    strict: bool | None = None


class Tool(Struct):
    """One of `tools`: a function, or a tool that the provider runs."""

    type: Text
    function: Function | None = None


class NamedFunction(Struct):
    """`function` of `tool_choice`."""

    name: Text


class NamedTool(Struct):
    """`tool_choice`, as a table."""

    type: Text
    function: NamedFunction | None = None


class Schema(Struct):
    """`json_schema` of `response_format`."""

    name: Text | None = None
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """`response_format`."""

    type: Literal["text", "json_object", "json_schema", "grammar", "python"]
    json_schema: Schema | None = None


class Reasoning(Struct):
    """`reasoning`: OpenRouter's object."""

    effort: Effort | None = None
    max_tokens: Positive | None = None
    enabled: bool | None = None
    exclude: bool | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class CacheControl(Struct):
    """`cache_control`."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class RequestFields(Struct, kw_only=True):
    """What a preset may say for requests. Every field is absent by default: then the provider's own default applies."""

    system_prompt: Text | None = None
    """Leads the conversation, where the request brings no instructions of its own."""
    max_tokens: Positive | None = None
    """Most tokens of a reply, reasoning included."""
    max_completion_tokens: Positive | None = None
    """The same under its other name; give one of them."""
    temperature: Twofold | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=MOST_INTEGER, description="an integer of at least 0")] | None = None
    min_p: Share | None = None
    top_a: Share | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Twofold | None = None
    seed: Whole | None = None
    stop: str | Annotated[list[str], Meta(min_length=1, max_length=4)] | None = None
    """Texts at which the model stops: one, or up to four."""
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    """How many replies are written, and paid for."""
    logit_bias: dict[str, Annotated[float, _number(-100, 100)]] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    prediction: dict[str, Any] | None = None
    tools: Annotated[list[Tool], Meta(min_length=1)] | None = None
    """Joined to those of the request that have other names."""
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: Positive | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: bool | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: Effort | None = None
    include_reasoning: bool | None = None
    verbosity: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    modalities: Annotated[list[Literal["text", "image", "audio"]], Meta(min_length=1)] | None = None
    audio: dict[str, Any] | None = None
    image_config: dict[str, Any] | None = None
    service_tier: Literal["auto", "default", "flex", "priority", "fast", "scale", "ultrafast"] | None = None
    cache_control: CacheControl | None = None
    """Has the provider cache the prompt, where it must be told to."""
    prompt_cache_key: Text | None = None
    prompt_cache_retention: Text | None = None
    prompt_cache_options: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    metadata: Annotated[dict[Annotated[str, Meta(max_length=64)], Label], Meta(max_length=16)] | None = None
    store: bool | None = None


NAMES = frozenset(RequestFields.__struct_fields__)

OWN_TO_REQUESTS = {
    **dict.fromkeys(
        ("messages", "prompt", "input", "contents"), "what is said belongs to the request; instructions stand in system_prompt"
    ),
    **dict.fromkeys(("stream", "stream_options"), "how a reply is read is for each client to say"),
    **dict.fromkeys(
        ("user", "safety_identifier", "session_id", "trace", "previous_response_id", "conversation"),
        "it tells one request from another, and a preset stands for many",
    ),
    "preset": "a preset names no other one",
    "usage": "usage with its cost is in every reply",
}
"""Fields of requests that make no sense in a preset → why."""

OTHER_NAMES = {
    **dict.fromkeys(("system", "instructions", "systemInstruction", "system_instruction"), "system_prompt"),
    **dict.fromkeys(("max_output_tokens", "maxOutputTokens"), "max_tokens"),
    **dict.fromkeys(("stop_sequences", "stopSequences"), "stop"),
    **dict.fromkeys(("thinking", "thinkingConfig"), "reasoning"),
    **dict.fromkeys(("text", "output_config"), "response_format, verbosity or reasoning"),
    **dict.fromkeys(("generationConfig", "generation_config"), "its members as max_tokens, temperature, top_p …"),
    "functions": "tools",
    "function_call": "tool_choice",
    "speed": "service_tier",
}
"""Names of other dialects → what stands for them here: presets are written in chat's words, and each client's dialect gets its own."""


def judge(document: Document, place: Place, table: dict[str, Any], own: frozenset[str]) -> dict[str, Any] | None:
    """The fields of the preset at `place`, as they are written; `None` where there are none.

    Types and ranges are judged by `RequestFields`. `own` are the keys that are the preset's, not a request's.
    """
    fields = {name: value for name, value in table.items() if name not in own}
    for name, value in fields.items():
        if name not in NAMES:
            _judge_name(document, (*place, name), name, own)
        _judge_value(document, (*place, name), value)
    _judge_together(document, place, fields)
    return fields or None


def _judge_name(document: Document, place: Place, name: str, own: frozenset[str]) -> None:
    if name in OWN_TO_REQUESTS:
        document.report(place, f"is not for presets: {OWN_TO_REQUESTS[name]}")
    elif name in OTHER_NAMES:
        document.report(place, f"is another dialect's name; write {OTHER_NAMES[name]}")
    elif nearest_name(name, NAMES | own) in own:
        document.report(place, f'unknown key "{name}"{did_you_mean(name, own)}')
    else:
        message = "no field of a request is known by this name; it is sent to providers of chat as it stands"
        document.report(place, message + did_you_mean(name, NAMES), "warning")


def _judge_value(document: Document, place: Place, value: object) -> None:
    """Reports what TOML can say and JSON cannot."""
    match value:
        case dict():
            for name, child in value.items():
                _judge_value(document, (*place, name), child)
        case list():
            for index, child in enumerate(value):
                _judge_value(document, (*place, index), child)
        case float() if not math.isfinite(value):
            document.report(place, f"{value} is no number that a request can hold")
        case int() if abs(value) > MOST_INTEGER:
            document.report(place, "is larger than 64 bits hold")
        case datetime.date() | datetime.time():
            document.report(place, "a request holds no dates; write a string")


def _judge_together(document: Document, place: Place, fields: dict[str, Any]) -> None:
    if "max_tokens" in fields and "max_completion_tokens" in fields:
        document.report((*place, "max_completion_tokens"), 'says the same as "max_tokens": give one of them')
    inner = fields["reasoning"].get("effort") if isinstance(fields.get("reasoning"), dict) else None
    if inner is not None and fields.get("reasoning_effort", inner) != inner:
        document.report((*place, "reasoning_effort"), f'differs from reasoning.effort, which is "{inner}"')
    form = fields.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema" and "json_schema" not in form:
        document.report((*place, "response_format"), '"json_schema" is missing')
    names: set[str] = set()
    tools = fields.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else []):
        if isinstance(tool, dict):
            _judge_tool(document, (*place, "tools", index), tool, names)


def _judge_tool(document: Document, place: Place, tool: dict[str, Any], names: set[str]) -> None:
    function = tool.get("function")
    if tool.get("type") == "function" and function is None:
        document.report(place, '"function" is missing')
    elif isinstance(function, dict) and isinstance(name := function.get("name"), str):
        if name in names:
            document.report((*place, "function", "name"), f'"{name}" is the name of another tool')
        names.add(name)
