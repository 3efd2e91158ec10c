"""What the catalogue says of the simulator's families is what they demand: requests that are translated by it are taken by the judge."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fairlead import config, translate
from fairlead.catalog import shipped
from fairlead.config.view import EndpointView, ModelView

from e2e.judge import PLACE, Judge

SYSTEM = {"role": "system", "content": "Be brief."}
ASKED = [SYSTEM, {"role": "user", "content": "What is the weather?"}]
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Says it.", "parameters": PLACE, "strict": True}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PLACE}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place":"Rome"}'}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
REQUESTS: dict[str, dict[str, Any]] = {
    "sampling": {"temperature": 0.5, "top_p": 0.9, "seed": 3, "frequency_penalty": 0.1, "presence_penalty": 0.1},
    "stop": {"stop": ["zzz"], "max_tokens": 2000},
    "thinking": {"reasoning_effort": "high", "max_completion_tokens": 4000},
    "thinking off": {"reasoning_effort": "none"},
    "tools": {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False},
    "tools and thinking": {"tools": [WEATHER], "reasoning_effort": "low", "max_completion_tokens": 4000},
    "schema": {"response_format": SCHEMA},
    "schema and tools": {"tools": [WEATHER], "response_format": SCHEMA},
    "instructions later": {"messages": [*ASKED, {"role": "assistant", "content": "Hm."}, SYSTEM, {"role": "user", "content": "Well?"}]},
    "a tool's result": {"tools": [WEATHER], "messages": [*ASKED, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT]},
}
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini_generate": "/v1beta/models/{}:generateContent",
    "bedrock_converse": "/model/{}/converse",
}
BETA = "thinking-binding-controls-2026-08-01"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own that judges everybody."""
    with Judge(seed=5) as running:
        running.judge()
        yield running


def served() -> list[tuple[ModelView, EndpointView, str]]:
    """Every model of the simulator in every dialect that it is served in, but the one that fails on purpose."""
    models = config.compile(config.load(None, {}), shipped(), {}).models
    found = [(model, endpoint, dialect) for model in models for endpoint in model.endpoints for dialect in endpoint.dialects]
    return [each for each in found if each[0].id != "sim/flaky"]


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize(
    ("model", "endpoint", "dialect"), served(), ids=lambda value: value if isinstance(value, str) else getattr(value, "id", "")
)
def test_a_translated_request_is_taken(judge: Judge, model: ModelView, endpoint: EndpointView, dialect: Any, request_name: str) -> None:
    body = {"model": model.id, "messages": ASKED} | REQUESTS[request_name]
    sent = translate.request(
        json.dumps(body),
        source="openai_chat",
        target=dialect,
        model=endpoint.upstream_model,
        traits=endpoint.quirks,
        efforts=endpoint.efforts,
        max_output_tokens=endpoint.max_completion_tokens,
    )
    path = PATHS[dialect].format(endpoint.upstream_model.replace("/", "%2F"))
    reply = judge.post(path, json.loads(sent.body), anthropic_beta=BETA)
    # Such a request goes to the other dialect.
    expected = 400 if dialect == "openai_chat" and "no_thinking_chat_tools" in endpoint.quirks and "tools" in body else 200
    assert reply.status == expected, (sent.body, reply.body)
