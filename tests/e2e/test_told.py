"""What clients of OpenRouter's routes are told of the routing: where a request went, why it could not go, and what had failed before."""

import json
from typing import Any

import httpx
import openai
import pytest
from openrouter import OpenRouter, components, errors

from e2e.house import KEY, Gateway, Reply, sse_data
from e2e.test_failover import CHAT, CONVERSE, MESSAGES, RESPONSES, House, asked, house, rooms
from e2e.test_routing import ask, fresh, gateway

__all__ = ["fresh", "gateway", "house", "rooms"]

ASKED = {"x-openrouter-metadata": "enabled"}
FAILS = {"fault": {"kind": "status", "status": 503}}
BREAKS = {"fault": {"kind": "error_event", "after_frames": 3}}
CLIENTS = (CHAT, RESPONSES, MESSAGES)
PAIRS = [
    (CHAT, CHAT, CHAT),
    (CHAT, CHAT, MESSAGES),
    (CHAT, MESSAGES, RESPONSES),
    (RESPONSES, RESPONSES, RESPONSES),
    (RESPONSES, MESSAGES, CHAT),
    (MESSAGES, MESSAGES, MESSAGES),
    (MESSAGES, CHAT, CONVERSE),
]
"""Clients, with the dialects of the first and of the second endpoint."""
MEMBERS = {"code", "retryable", "retry_after", "requested_models", "affected_providers", "excluded_by", "fallback_models", "constraint"}
MEMBERS |= {"docs_url"}


def post(
    house: House, client: str, model: str, stream: bool, headers: dict[str, str] | None = None, manner: str = "/api", **fields: Any
) -> Reply:
    path, body = asked(client, model, stream, manner, fields)
    return house.gateway.post(path, body, headers=ASKED if headers is None else headers)


def told(client: str, reply: Reply, stream: bool) -> list[Any]:
    """What stands where it belongs; it may stand nowhere else."""
    if not stream or reply.status != 200:
        return [body["openrouter_metadata"]] if "openrouter_metadata" in (body := reply.json()) else []
    events = [event for event in sse_data(reply.body) if event != "[DONE]"]
    place = [event["response"] if client == RESPONSES and "response" in event else event for event in events]
    found = [(index, event["openrouter_metadata"]) for index, event in enumerate(place) if "openrouter_metadata" in event]
    assert reply.body.count(b'"openrouter_metadata"') == len(found)
    assert [index for index, _ in found] in ([], [len(events) - 1]), found
    return [metadata for _, metadata in found]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("client", "one", "other"), PAIRS)
def test_a_reply_tells_where_it_was_tried(house: House, client: str, one: str, other: str, stream: bool) -> None:
    model = f"pair/{one}-{other}"
    assert told(client, post(house, client, model, stream, {}), stream) == []
    assert told(client, post(house, client, model, stream, {"x-openrouter-metadata": "disabled"}), stream) == []
    assert told(client, post(house, client, model, stream, manner=""), stream) == [], "on /v1 the reply is the provider's own"
    house.first.script(FAILS)
    [metadata] = told(client, reply := post(house, client, model, stream), stream)
    components.OpenRouterMetadata.model_validate(metadata)
    endpoint = {"provider": "First", "model": model, "selected": False}
    tried = {"provider": "First", "model": model, "status": 503}
    assert metadata == {
        "requested": model,
        "strategy": "direct",
        "region": None,
        "summary": "available=2, selected=Second",
        "attempt": 2,
        "is_byok": False,
        "endpoints": {"total": 2, "available": [endpoint, {**endpoint, "provider": "Second", "selected": True}]},
        "attempts": [tried, {**tried, "provider": "Second", "status": 200}],
        "params": {},
        "pipeline": [],
    }
    assert reply.headers["x-fairlead-attempts"] == "2"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("client", "one", "other"), PAIRS)
def test_an_error_tells_it_too(house: House, client: str, one: str, other: str, stream: bool) -> None:
    house.first.script(FAILS)
    house.second.script(BREAKS if stream and other != CONVERSE else FAILS)
    reply = post(house, client, f"pair/{one}-{other}", stream)
    [metadata] = told(client, reply, stream)
    assert (metadata["attempt"], metadata["attempts"][0]["status"], metadata["attempts"][1]["provider"]) == (2, 503, "Second")
    assert metadata["attempts"][1]["status"] >= 500
    body = reply.json() if reply.status != 200 else [event for event in sse_data(reply.body) if event != "[DONE]"][-1]
    error = body["response"]["error"] if client == RESPONSES and "response" in body else body["error"]
    trail = (error if client == MESSAGES else error["metadata"])["previous_errors"]
    assert trail == [{"provider": "First", "code": "provider_overloaded", "status": 503}]


def test_a_stream_without_figures_has_a_chunk_of_its_own(house: House) -> None:
    house.second.script({"usage": "absent"})
    reply = post(house, CHAT, f"second/{CHAT}", True)
    [metadata] = told(CHAT, reply, True)
    last = sse_data(reply.body)[-2]
    assert (metadata["attempt"], last["choices"], last["object"], last["id"]) == (1, [], "chat.completion.chunk", reply.generation)
    assert "usage" not in last


@pytest.mark.parametrize(
    ("fields", "strategy"),
    [
        ({"model": "acme/both:floor"}, "direct"),
        ({"model": "openrouter/acme/both"}, "direct"),
        ({"models": ["acme/cheap"]}, "fallback"),
        ({"model": "openrouter/auto"}, "auto"),
    ],
    ids=str,
)
def test_how_a_model_was_picked(gateway: Gateway, fields: dict[str, Any], strategy: str) -> None:
    metadata = ask(gateway, {"x-openrouter-experimental-metadata": "ENABLED"}, **fields).json()["openrouter_metadata"]
    assert (metadata["strategy"], metadata["requested"]) == (strategy, fields.get("model", "acme/both"))


def test_sdks_understand_it(gateway: Gateway) -> None:
    messages: list[Any] = [{"role": "user", "content": "Say something"}]
    with httpx.Client() as http:
        sdk = OpenRouter(api_key=KEY, server_url=f"{gateway.url}/api/v1", client=http, retry_config=None)
        whole = sdk.chat.send(model="acme/both", messages=messages, x_open_router_metadata="enabled")
        assert isinstance(whole, components.ChatResult) and whole.openrouter_metadata
        assert whole.openrouter_metadata.attempts and whole.openrouter_metadata.attempts[0].status == 200
        with sdk.chat.send(model="acme/both", messages=messages, stream=True, x_open_router_metadata="enabled") as chunks:
            last = list(chunks)[-1]
        assert not isinstance(last.openrouter_metadata, type(None)) and last.openrouter_metadata.attempt == 1
        with pytest.raises(errors.NotFoundResponseError) as raised:
            sdk.chat.send(model="acme/cheap", messages=messages, provider={"zdr": True}, x_open_router_metadata="enabled")
    metadata = raised.value.data.openrouter_metadata
    assert isinstance(metadata, dict) and metadata["attempt"] == 0
    with (
        openai.OpenAI(api_key=KEY, base_url=f"{gateway.url}/api/v1", max_retries=0) as client,
        pytest.raises(openai.NotFoundError) as refused,
    ):
        client.chat.completions.create(model="acme/both", messages=messages, extra_body={"provider": {"max_price": {"prompt": 0.5}}})
    assert isinstance(refused.value.body, dict)
    assert (refused.value.body["code"], refused.value.body["availability"]["code"]) == (404, "constraint_filtered")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"provider": {"max_price": {"prompt": "0.5"}}},
            {
                "code": "constraint_filtered",
                "affected_providers": ["dear", "cheap"],
                "excluded_by": ["max_price"],
                "constraint": {"field": "provider.max_price.prompt", "detail": "raise provider.max_price.prompt to 1"},
            },
        ),
        ({"provider": {"zdr": True, "ignore": ["dear"]}}, {"excluded_by": ["allowed_providers", "data_policy:zdr"]}),
        (
            {"model": "acme/cheap", "provider": {"zdr": True}},
            {"code": "privacy_restricted", "affected_providers": ["cheap"], "requested_models": ["acme/cheap"]},
        ),
        ({"model": "acme/bth"}, {"code": "model_not_found", "requested_models": ["acme/bth"], "fallback_models": ["acme/both"]}),
        (
            {"models": ["acme/chep"]},
            {"code": "model_not_found", "requested_models": ["acme/both", "acme/chep"], "fallback_models": ["acme/cheap"]},
        ),
        (
            {"model": "acme/both:free"},
            {"code": "free_variant_ended", "excluded_by": ["free"], "fallback_models": ["acme/both"]},
        ),
        (
            {"model": "openrouter/free"},
            {
                "code": "free_variant_ended",
                "excluded_by": ["free"],
                "constraint": {"field": "model", "detail": "name the model itself: openrouter/free picks what costs nothing"},
            },
        ),
        # What is missing is not the model that was asked for.
        ({"preset": "nope"}, {"code": "model_not_found", "requested_models": ["acme/both"], "fallback_models": []}),
        ({"model": "acme/both@preset/nope"}, {"code": "model_not_found", "fallback_models": []}),
        (
            {"models": ["acme/cheap@preset/nope"]},
            {"requested_models": ["acme/both", "acme/cheap@preset/nope"], "fallback_models": []},
        ),
    ],
    ids=str,
)
def test_why_nothing_can_serve_it(gateway: Gateway, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    reply = ask(gateway, **fields)
    error = reply.json()["error"]
    availability = error["availability"]
    assert (reply.status, error["code"], availability["retryable"], availability["retry_after"]) == (404, 404, False, None)
    assert {name: availability[name] for name in expected} == expected
    assert availability.keys() == MEMBERS
    path, body = "/messages", {"model": "acme/both", **fields, "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    assert gateway.post(f"/api/v1{path}", body).json()["error"]["availability"]["code"] == availability["code"]
    assert "availability" not in gateway.post(f"/v1{path}", body).json()["error"]


@pytest.mark.parametrize(
    ("headers", "fields", "word", "field"),
    [
        ({}, {"provider": {"require_parameters": True}}, "require_parameters", "provider.require_parameters"),
        ({"x-fairlead-strict": "true"}, {}, "strict_translation", "X-Fairlead-Strict"),
    ],
    ids=["require_parameters", "strict"],
)
def test_why_a_strict_request_cannot_be_served(
    house: House, headers: dict[str, str], fields: dict[str, Any], word: str, field: str
) -> None:
    """Two endpoints would lose something: both are affected. Nothing is sent."""
    path, body = asked(CHAT, f"first/{MESSAGES}", False, "/api", {"models": [f"second/{CONVERSE}"], "seed": 7, **fields})
    reply = house.gateway.post(path, body, headers={**ASKED, "x-fairlead-explain": "1", **headers})
    error = reply.json()["error"]
    assert (reply.status, "seed" in error["message"]) == (404, True)
    availability = error["availability"]
    assert (availability["code"], availability["excluded_by"]) == ("constraint_filtered", [word])
    assert availability["affected_providers"] == ["first-anthropic-messages", "second-bedrock-converse"]
    assert availability["requested_models"] == [f"first/{MESSAGES}", f"second/{CONVERSE}"]
    assert availability["constraint"]["field"] == field and availability["constraint"]["detail"].startswith("leave ")
    assert availability.keys() == MEMBERS and reply.json()["openrouter_metadata"]["attempt"] == 0
    explained = json.loads(reply.headers["x-fairlead-explain"] or "")
    assert [candidate["provider"] for candidate in explained["candidates"]] == availability["affected_providers"]


def test_a_refusal_has_its_explanation(gateway: Gateway) -> None:
    reply = ask(gateway, {"x-fairlead-explain": "1"}, provider={"max_price": {"prompt": "0.5"}})
    told = json.loads(reply.headers["x-fairlead-explain"] or "")
    assert (reply.status, told["candidates"]) == (404, [])
    assert [(out["provider"], out["excluded_by"]) for out in told["removed"]] == [("dear", "max_price"), ("cheap", "max_price")]
    assert ask(gateway, provider={"max_price": {"prompt": "0.5"}}).headers["x-fairlead-explain"] is None
    replies = [ask(gateway, {"x-fairlead-explain": "1"}, model="acme/scarce") for _ in range(2)]
    refused = next(reply for reply in replies if reply.status != 200)
    [candidate] = json.loads(refused.headers["x-fairlead-explain"] or "")["candidates"]
    assert (refused.status, candidate["provider"], candidate["health"]["full"]) == (429, "scarce", True)


def test_a_key_at_its_limit_says_when_it_is_free(gateway: Gateway) -> None:
    replies = [ask(gateway, ASKED, model="acme/scarce") for _ in range(2)]
    refused = next(reply for reply in replies if reply.status != 200)
    seconds, milliseconds = int(refused.headers["retry-after"] or 0), int(refused.headers["retry-after-ms"] or 0)
    assert (refused.status, refused.headers["x-should-retry"]) == (429, None)
    assert 1 <= seconds <= 60 and seconds - 1 <= milliseconds / 1000 <= seconds
    error = refused.json()["error"]
    assert f"try again in {seconds} s" in error["message"]
    availability = error["availability"]
    assert (availability["code"], availability["retryable"], availability["retry_after"]) == ("capacity_exhausted", True, seconds)
    assert (availability["affected_providers"], availability["requested_models"]) == (["scarce"], ["acme/scarce"])
    assert refused.json()["openrouter_metadata"]["summary"] == "available=1, selected=none"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"provider": {"max_price": {"prompt": "cheap"}}}, "provider.max_price.prompt"),
        ({"provider": {"order": ["cheap", "chep"]}}, "provider.order.1"),
        ({"models": ["acme/cheap", "acme/chep"]}, "models[1]"),
        ({"model": "acme/bth"}, "model"),
        ({"preset": "nobody"}, "preset"),
    ],
    ids=str,
)
def test_the_wrong_member_is_named(gateway: Gateway, fields: dict[str, Any], param: str) -> None:
    assert ask(gateway, **fields).json()["error"]["metadata"]["param"] == param


@pytest.mark.parametrize(("models", "param"), [(["acme/bad"], "models[0]"), (["acme/cheap", "acme/both", "acme/bad"], "models[2]")])
def test_the_wrong_model_of_a_list_is_named_where_the_list_stands_alone(gateway: Gateway, models: list[str], param: str) -> None:
    body = {"models": models, "messages": [{"role": "user", "content": "Hello"}]}
    error = gateway.post("/v1/chat/completions", body).json()["error"]
    assert ("acme/bad" in error["message"], error["param"]) == (True, param)
    error = gateway.post("/api/v1/chat/completions", body).json()["error"]
    assert (error["metadata"]["param"], error["availability"]["requested_models"]) == (param, models)
