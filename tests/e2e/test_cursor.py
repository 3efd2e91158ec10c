"""Cursor's route: chat in bodies of chat or of Responses, answered as chat."""

import json
from typing import Any

import openai
import pytest

from e2e.house import KEY, Reply, sse_data
from e2e.test_failover import CHAT, CONVERSE, GEMINI, MESSAGES, RESPONSES, House, house, rooms

__all__ = ["house", "rooms"]

PROVIDERS = (CHAT, RESPONSES, MESSAGES, GEMINI, CONVERSE)
WORDS = "Say something"
SHAPES: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": WORDS}]},
    "text": {"input": WORDS},
    "items": {
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": WORDS}]}],
        "tools": [{"type": "function", "name": "weather", "description": "Looks", "input_schema": {"type": "object", "properties": {}}}],
        "store": False,
    },
}


def post(house: House, manner: str, dialect: str, shape: str, **fields: Any) -> Reply:
    body = {"model": f"second/{dialect}", **SHAPES[shape], **fields}
    return house.gateway.post(f"{manner}/v1/cursor/chat/completions", body)


@pytest.mark.parametrize("manner", ["", "/api"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dialect", PROVIDERS)
def test_every_shape_is_answered_as_chat(house: House, dialect: str, shape: str, manner: str) -> None:
    whole = post(house, manner, dialect, shape)
    assert whole.status == 200, whole.body
    reply = whole.json()
    assert (reply["object"], reply["choices"][0]["finish_reason"]) == ("chat.completion", "stop")
    assert reply["choices"][0]["message"]["content"].startswith("Lorem ipsum") and reply["usage"]["cost"] > 0
    assert not manner or reply["id"] == whole.generation
    stream = post(house, manner, dialect, shape, stream=True)
    *chunks, done = sse_data(stream.body)
    assert done == "[DONE]" and {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text.startswith("Lorem ipsum")
    if shape != "chat":
        assert [chunk["usage"]["cost"] > 0 for chunk in chunks if chunk.get("usage")] == [True]
    row = house.row(stream)
    assert (row["outcome"], row["dialect"]) == ("completed", CHAT)


def test_what_a_provider_gets_is_its_own(house: House) -> None:
    post(house, "", RESPONSES, "items", session_id="one", models=[f"second/{CHAT}"])
    body = json.loads(house.second.last_request()["body"])
    assert (body["instructions"], body["tools"][0]["parameters"]["type"]) == ("Be brief.", "object")
    assert not {"messages", "session_id", "models"} & body.keys()
    post(house, "", CHAT, "items")
    body = json.loads(house.second.last_request()["body"])
    assert [message["role"] for message in body["messages"]] in (["system", "user"], ["developer", "user"])
    assert body["tools"][0]["function"]["name"] == "weather" and "input" not in body


def test_failover_and_errors_are_chats(house: House) -> None:
    house.first.script({"fault": {"kind": "status", "status": 503}})
    body = {"model": f"pair/{MESSAGES}-{RESPONSES}", **SHAPES["items"], "provider": {"order": ["first-anthropic-messages"]}}
    reply = house.gateway.post("/api/v1/cursor/chat/completions", body)
    assert (reply.status, reply.json()["object"], reply.headers["x-fairlead-attempts"]) == (200, "chat.completion", "2")
    failing = [{"fault": {"kind": "status", "status": 503}}]
    house.second.script(*failing)
    refused = post(house, "/api", RESPONSES, "items")
    assert (refused.status, refused.json()["error"]["code"]) == (503, 503)
    for body, param in (
        ({"model": f"second/{CHAT}"}, "messages"),
        ({"model": f"second/{CHAT}", "input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"model": f"second/{RESPONSES}", "input": WORDS, "previous_response_id": "resp_1"}, "previous_response_id"),
    ):
        wrong = house.gateway.post("/v1/cursor/chat/completions", body)
        assert (wrong.status, wrong.json()["error"]["param"]) == (400, param), wrong.body


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"input": 5}, "input", "must be a string or an array"),
        ({"input": {"role": "user"}}, "input", "must be a string or an array"),
        ({"input": WORDS, "max_output_tokens": "many"}, "max_output_tokens", "max_output_tokens"),
        ({"input": None}, "messages", "missing"),
        ({"messages": 5}, "messages", "must be an array"),
        # Nothing else is wrong with a chat that has no conversation.
        ({}, "messages", "missing"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_body_is_said_in_its_own_words(house: House, fields: dict[str, Any], param: str, words: str) -> None:
    wrong = house.gateway.post("/v1/cursor/chat/completions", {"model": f"second/{CHAT}", **fields})
    error = wrong.json()["error"]
    assert (wrong.status, error["param"]) == (400, param) and words in error["message"], wrong.body


def test_all_else_is_there_too(house: House) -> None:
    assert house.gateway.get("/v1/cursor/models").json() == house.gateway.get("/v1/models").json()
    assert house.gateway.post("/v1/chat/completions", {"model": f"second/{CHAT}", "input": WORDS}).status == 400
    with openai.OpenAI(api_key=KEY, base_url=f"{house.gateway.url}/v1/cursor", max_retries=0) as client:
        reply = client.chat.completions.create(model=f"second/{CHAT}", messages=[{"role": "user", "content": WORDS}])
        assert reply.choices[0].message.content
        assert client.responses.create(model=f"second/{MESSAGES}", input=WORDS).output_text
