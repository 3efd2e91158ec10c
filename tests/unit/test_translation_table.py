"""The table of docs/translation.md that says what each dialect keeps of a request: every cell is tried from every other dialect."""

import json
import re
from pathlib import Path
from typing import Any

from fairlead import translate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "translation.md"
DIALECTS: tuple[translate.Dialect, ...] = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse")
# From what is best to what is worst.
OUTCOMES = ("kept", "hint", "changed", "dropped", "refused")

ABSENT = "\N{EN DASH}"

Members = dict[str, Any]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJSVFT0YK"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAESsAACJWAAACABAAZGF0YQAAAAA="
ADDRESS = "https://example.org/a.png"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
RESPONSES_TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}
MESSAGES_TOOL = {"name": "weather", "input_schema": SCHEMA}
GEMINI_TOOL = {"functionDeclarations": [{"name": "weather", "parametersJsonSchema": SCHEMA}]}
CONVERSE_TOOL = {"toolSpec": {"name": "weather", "inputSchema": {"json": SCHEMA}}}

BASE: dict[str, Members] = {
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    "openai_responses": {"model": "m", "input": "Hello"},
    "anthropic_messages": {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hello"}]},
    "gemini_generate": {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    "bedrock_converse": {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
}


def message(*parts: Members) -> Members:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def item(*parts: Members) -> Members:
    return {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}, *parts]}]}


def gemini_parts(*parts: Members) -> Members:
    return {"contents": [{"role": "user", "parts": [{"text": "Hello"}, *parts]}]}


def config(**members: Any) -> Members:
    return {"generationConfig": members}


def inference(**members: Any) -> Members:
    return {"inferenceConfig": members}


def choice(chat: Any, responses: Any, messages: Any, gemini: Any, converse: Any) -> list[Members | None]:
    """A tool and how it is to be chosen."""
    calling = {"functionCallingConfig": gemini}
    return [
        {"tools": [CHAT_TOOL], "tool_choice": chat},
        {"tools": [RESPONSES_TOOL], "tool_choice": responses},
        {"tools": [MESSAGES_TOOL], "tool_choice": messages},
        {"tools": [GEMINI_TOOL], "toolConfig": calling},
        None if converse is None else {"toolConfig": {"tools": [CONVERSE_TOOL], "toolChoice": converse}},
    ]


TEXT = {"type": "text", "text": "Hello"}
BASE64_PNG = {"type": "base64", "media_type": "image/png", "data": PNG}
BASE64_PDF = {"type": "base64", "media_type": "application/pdf", "data": PDF}
DATA_PNG, DATA_PDF = f"data:image/png;base64,{PNG}", f"data:application/pdf;base64,{PDF}"
SCHEMA_FORMAT = {"type": "json_schema", "name": "answer", "strict": True, "schema": SCHEMA}
CHAT_SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
CONVERSE_SCHEMA = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "answer"}}}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2048}}
ADAPTIVE = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}

# What a request says, and how each dialect says it, in the order of DIALECTS; None: it cannot.
ASKED: dict[str, list[Members | None]] = {
    "instructions": [
        {"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hello"}]},
        {"instructions": "Be brief"},
        {"system": "Be brief"},
        {"systemInstruction": {"parts": [{"text": "Be brief"}]}},
        {"system": [{"text": "Be brief"}]},
    ],
    "most tokens of output": [
        {"max_completion_tokens": 50},
        {"max_output_tokens": 50},
        {"max_tokens": 50},
        config(maxOutputTokens=50),
        inference(maxTokens=50),
    ],
    "temperature": [{"temperature": 0.5}, {"temperature": 0.5}, {"temperature": 0.5}, config(temperature=0.5), inference(temperature=0.5)],
    "temperature and `top_p` together": [
        {"temperature": 0.5, "top_p": 0.5},
        {"temperature": 0.5, "top_p": 0.5},
        {"temperature": 0.5, "top_p": 0.5},
        config(temperature=0.5, topP=0.5),
        inference(temperature=0.5, topP=0.5),
    ],
    "`top_k`": [{"top_k": 5}, None, {"top_k": 5}, config(topK=5), None],
    "stop sequences": [{"stop": ["x"]}, None, {"stop_sequences": ["x"]}, config(stopSequences=["x"]), inference(stopSequences=["x"])],
    "seed": [{"seed": 7}, None, None, config(seed=7), None],
    "presence and frequency penalties": [
        {"presence_penalty": 0.5, "frequency_penalty": 0.5},
        None,
        None,
        config(presencePenalty=0.5, frequencyPenalty=0.5),
        None,
    ],
    "`logit_bias`": [{"logit_bias": {"5": 1}}, None, None, None, None],
    "log probabilities": [
        {"logprobs": True, "top_logprobs": 2},
        {"top_logprobs": 2, "include": ["message.output_text.logprobs"]},
        None,
        config(responseLogprobs=True, logprobs=2),
        None,
    ],
    "several replies": [{"n": 2}, None, None, config(candidateCount=2), None],
    "tools": [
        {"tools": [CHAT_TOOL]},
        {"tools": [RESPONSES_TOOL]},
        {"tools": [MESSAGES_TOOL]},
        {"tools": [GEMINI_TOOL]},
        {"toolConfig": {"tools": [CONVERSE_TOOL]}},
    ],
    "some tool must be called": choice("required", "required", {"type": "any"}, {"mode": "ANY"}, {"any": {}}),
    "this tool must be called": choice(
        {"type": "function", "function": {"name": "weather"}},
        {"type": "function", "name": "weather"},
        {"type": "tool", "name": "weather"},
        {"mode": "ANY", "allowedFunctionNames": ["weather"]},
        {"tool": {"name": "weather"}},
    ),
    "no tool may be called": choice("none", "none", {"type": "none"}, {"mode": "NONE"}, None),
    "one call at a time": [
        {"tools": [CHAT_TOOL], "parallel_tool_calls": False},
        {"tools": [RESPONSES_TOOL], "parallel_tool_calls": False},
        {"tools": [MESSAGES_TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        None,
        None,
    ],
    "strict tools": [
        {"tools": [{"type": "function", "function": {**CHAT_TOOL["function"], "strict": True}}]},  # type: ignore[dict-item]
        {"tools": [{**RESPONSES_TOOL, "strict": True}]},
        {"tools": [{**MESSAGES_TOOL, "strict": True}]},
        {"tools": [GEMINI_TOOL], "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}},
        {"toolConfig": {"tools": [{"toolSpec": {**CONVERSE_TOOL["toolSpec"], "strict": True}}]}},
    ],
    "tools that take free text": [
        {"tools": [{"type": "custom", "custom": {"name": "patch", "description": "A patch"}}]},
        {"tools": [{"type": "custom", "name": "patch", "description": "A patch"}]},
        None,
        None,
        None,
    ],
    "the provider's web search": [
        {"web_search_options": {}},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"googleSearch": {}}]},
        None,
    ],
    "a schema of the reply": [
        {"response_format": CHAT_SCHEMA},
        {"text": {"format": SCHEMA_FORMAT}},
        {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
        {"outputConfig": {"textFormat": CONVERSE_SCHEMA}},
    ],
    "any JSON as the reply": [
        {"response_format": {"type": "json_object"}},
        {"text": {"format": {"type": "json_object"}}},
        None,
        config(responseMimeType="application/json"),
        None,
    ],
    "effort of thinking": [
        {"reasoning_effort": "high"},
        {"reasoning": {"effort": "high"}},
        ADAPTIVE,
        config(thinkingConfig={"thinkingLevel": "high"}),
        {"outputConfig": {"effort": "high"}},
    ],
    "tokens of thinking": [
        {"reasoning": {"max_tokens": 2048}},
        None,
        THINKING,
        config(thinkingConfig={"thinkingBudget": 2048}),
        {**inference(maxTokens=4096), "additionalModelRequestFields": THINKING},
    ],
    "image in base64": [
        message(TEXT, {"type": "image_url", "image_url": {"url": DATA_PNG}}),
        item({"type": "input_image", "image_url": DATA_PNG}),
        message(TEXT, {"type": "image", "source": BASE64_PNG}),
        gemini_parts({"inlineData": {"mimeType": "image/png", "data": PNG}}),
        message({"text": "Hello"}, {"image": {"format": "png", "source": {"bytes": PNG}}}),
    ],
    "image by address": [
        message(TEXT, {"type": "image_url", "image_url": {"url": ADDRESS}}),
        item({"type": "input_image", "image_url": ADDRESS}),
        message(TEXT, {"type": "image", "source": {"type": "url", "url": ADDRESS}}),
        gemini_parts({"fileData": {"mimeType": "image/png", "fileUri": ADDRESS}}),
        None,
    ],
    "PDF with its name": [
        message(TEXT, {"type": "file", "file": {"filename": "a.pdf", "file_data": DATA_PDF}}),
        item({"type": "input_file", "filename": "a.pdf", "file_data": DATA_PDF}),
        message(TEXT, {"type": "document", "title": "a.pdf", "source": BASE64_PDF}),
        None,
        message({"text": "Hello"}, {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}}),
    ],
    "sound": [
        message(TEXT, {"type": "input_audio", "input_audio": {"format": "wav", "data": WAV}}),
        None,
        None,
        gemini_parts({"inlineData": {"mimeType": "audio/wav", "data": WAV}}),
        None,
    ],
    "film": [
        message(TEXT, {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}}),
        None,
        None,
        gemini_parts({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}),
        message({"text": "Hello"}, {"video": {"format": "mp4", "source": {"bytes": "AAAA"}}}),
    ],
    "cache mark": [
        message({**TEXT, "cache_control": {"type": "ephemeral"}}),
        None,
        message({**TEXT, "cache_control": {"type": "ephemeral"}}),
        None,
        message({"text": "Hello"}, {"cachePoint": {"type": "default"}}),
    ],
    "cache key": [{"prompt_cache_key": "k"}, {"prompt_cache_key": "k"}, None, None, None],
    "end user": [{"user": "u"}, {"user": "u"}, {"metadata": {"user_id": "u"}}, None, None],
    "labels": [{"metadata": {"a": "b"}}, {"metadata": {"a": "b"}}, None, {"labels": {"a": "b"}}, {"requestMetadata": {"a": "b"}}],
    "cheaper, slower tier": [{"service_tier": "flex"}, {"service_tier": "flex"}, None, None, {"serviceTier": {"type": "flex"}}],
    "verbosity": [{"verbosity": "low"}, {"text": {"verbosity": "low"}}, None, None, None],
}


def outcome(members: Members, source: translate.Dialect, target: translate.Dialect) -> str:
    """The worst that happens to what a request says."""
    body = json.dumps({**BASE[source], **members})
    try:
        made = translate.request(body, source=source, target=target, model="m", max_output_tokens=8192)
    except ValueError:
        return "refused"
    return max((loss.severity for loss in made.losses), key=OUTCOMES.index, default="kept")


def cell(spellings: list[Members | None], target: translate.Dialect) -> str:
    others = [(source, members) for source, members in zip(DIALECTS, spellings, strict=True) if source != target and members is not None]
    found = {outcome(members, source, target) for source, members in others}
    return ", ".join(sorted(found, key=OUTCOMES.index)) or ABSENT


def table() -> str:
    heads = ("Chat", "Responses", "Messages", "Gemini", "Converse")
    lines = [f"| A request's | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {asked} | {' | '.join(cell(spellings, target) for target in DIALECTS)} |" for asked, spellings in ASKED.items()]
    return "\n".join(lines) + "\n"


def test_the_table_says_what_happens() -> None:
    found = re.search(r"^\| A request's \|.*?\n(?!\|)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found and found[0] == table(), f"what is true:\n\n{table()}"


def test_the_plainest_request_loses_nothing() -> None:
    """So that what a cell shows is its row's."""
    for source in DIALECTS:
        assert [outcome({}, source, target) for target in DIALECTS] == ["kept"] * len(DIALECTS), source
