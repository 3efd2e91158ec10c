"""`GET /generation`: every field of OpenRouter's record with its type and its value, for calls of which all is known; and that it is there
the moment a reply ends, however it ends."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, PROVIDER_SECRET, Gateway, Provider, until
from e2e.wire import Wire

TABLES = """
[splits."acme/assistant"]
arms = [{ model = "acme/one", weight = 1 }]
[presets.brief]
temperature = 0.5
[models."acme/one"]
[[models."acme/one".endpoints]]
provider = "down"
upstream_model = "sim/reason"
usd_per_million = { prompt = "3", completion = "15", cache_read = "0.3", cache_write = "3.75" }
[[models."acme/one".endpoints]]
provider = "lab"
upstream_model = "sim/reason"
usd_per_million = { prompt = "3", completion = "15", cache_read = "0.3", cache_write = "3.75" }
[models."acme/vectors"]
[[models."acme/vectors".endpoints]]
provider = "lab"
upstream_model = "sim/echo"
usd_per_million = { prompt = "1", completion = "0" }
"""


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    """A provider that is down before one that answers."""
    text = f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n[routing]\nhedge = false\n' + "".join(
        f'[providers.{slug}]\nname = "{slug.title()}"\ndialect = "openai_chat"\nbase_url = "http://{address}/v1"\n'
        f'keys = ["{PROVIDER_SECRET}"]\ncancel_stops_billing = true\n'
        for slug, address in (("down", "127.0.0.1:1"), ("lab", provider.address))
    )
    with Gateway(text + TABLES) as running:
        yield running


def record(gateway: Gateway, id: str) -> dict[str, Any]:
    """As `/generation` has it, at once."""
    found = gateway.get(f"/api/v1/generation?id={id}")
    assert found.status == 200, found.body
    data: dict[str, Any] = found.json()["data"]
    return data


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
# 100 prompt tokens, of which 60 were read from a cache and 20 written to it.
FIGURES = {"prompt_tokens": 100, "cached_tokens": 60, "cache_write_tokens": 20, "tokens": 5, "reasoning_tokens": 7}
COST = (20 * 3_000 + 60 * 300 + 20 * 3_750 + 12 * 15_000) / 10**9
DISCOUNT = (100 * 3_000 - (20 * 3_000 + 60 * 300 + 20 * 3_750)) / 10**9

# Field → type, and the value (or what it must match).
FIELDS: dict[str, tuple[Any, Any]] = {
    "id": (str, re.compile(r"gen-[0-9a-f-]{36}")),
    "request_id": (str, re.compile(r"gen-[0-9a-f-]{36}")),
    "session_id": (str, "s-1"),
    "upstream_id": (str, re.compile("chatcmpl.+")),
    "model": (str, "acme/one"),
    "provider_name": (str, "Lab"),
    "router": (str, "acme/assistant"),
    "preset_id": (str, "brief"),
    "api_type": (str, "completions"),
    "created_at": (str, re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")),
    "origin": (str, "https://app.example.org:8443"),
    "http_referer": (str, "https://app.example.org:8443/page?x=1"),
    "user_agent": (str, "tests/1"),
    "app_id": (int, lambda number: number > 0),
    "external_user": (str, "alice"),
    "workspace_id": (str, "default"),
    "data_region": (str, "global"),
    "streamed": (bool, True),
    "cancelled": (bool, False),
    "finish_reason": (str, "stop"),
    "native_finish_reason": (str, "stop"),
    "service_tier": (str, "default"),
    "is_byok": (bool, False),
    "total_cost": (float, COST),
    "usage": (float, COST),
    "upstream_inference_cost": (float, COST),
    "cache_discount": (float, DISCOUNT),
    "tokens_prompt": (int, 100),
    "tokens_completion": (int, 12),
    "native_tokens_prompt": (int, 100),
    "native_tokens_completion": (int, 12),
    "native_tokens_reasoning": (int, 7),
    "native_tokens_cached": (int, 60),
    "native_tokens_completion_images": (int, 0),
    "num_media_prompt": (int, 3),
    "num_media_completion": (int, 0),
    "num_input_audio_prompt": (int, 1),
    "num_search_results": (int, 0),
    "num_fetches": (int, 0),
    "web_search_engine": (type(None), None),
    "latency": (int, lambda ms: 50 <= ms < 5000),
    "generation_time": (int, lambda ms: 50 <= ms < 5000),
    "moderation_latency": (type(None), None),
    "response_cache_source_id": (type(None), None),
    "provider_responses": (list, lambda tried: len(tried) == 2),
}
OURS = {"preset_version", "upstream_dialect", "translation_losses", "translation_losses_more"}
ATTEMPT: dict[str, tuple[Any, Any]] = {
    "id": (str, re.compile("chatcmpl.+")),
    "endpoint_id": (str, re.compile("[0-9]+")),
    "model_permaslug": (str, "acme/one"),
    "provider_name": (str, "Lab"),
    "status": (int, 200),
    "latency": (int, lambda ms: 50 <= ms < 5000),
    "is_byok": (bool, False),
    "routed_service_tier": (str, "default"),
}


def check(found: dict[str, Any], table: dict[str, tuple[Any, Any]]) -> None:
    """Each field's type and value."""
    for name, (kind, expected) in table.items():
        value = found[name]
        assert type(value) is kind, (name, value)
        match expected:
            case re.Pattern():
                assert expected.fullmatch(value), (name, value)
            case _ if callable(expected):
                assert expected(value), (name, value)
            case _:
                assert value == expected, name


def test_every_field_of_a_known_generation(gateway: Gateway) -> None:
    """A stream, drawn from a split, filled from a preset, failed over, with media and a cache."""
    content = [{"type": "text", "text": "think"}, IMAGE, IMAGE, SOUND]
    body = {
        "model": "acme/assistant@preset/brief", "stream": True, "user": "alice", "session_id": "s-1",
        "messages": [{"role": "user", "content": content}], "sim": {**FIGURES, "first_token_ms": 60, "service_tier": "default"},
        "provider": {"order": ["down", "lab"]},
    }  # fmt: skip
    headers = {"HTTP-Referer": "https://app.example.org:8443/page?x=1", "User-Agent": "tests/1", "X-Title": "App"}
    reply = gateway.post("/api/v1/chat/completions", body, headers=headers)
    assert reply.status == 200, reply.body
    found = record(gateway, reply.generation)
    assert set(found) == set(FIELDS) | OURS
    assert found["request_id"] == found["id"] == reply.generation
    check(found, FIELDS)
    down, up = found["provider_responses"]
    assert set(down) == set(up) == set(ATTEMPT)
    check(up, ATTEMPT)
    assert (down["provider_name"], down["status"]) == ("Down", None)
    # The same number for the same app, and exactly the figures of the last chunk.
    again = record(gateway, gateway.post("/api/v1/chat/completions", {**body, "stream": False}, headers=headers).generation)
    assert again["app_id"] == found["app_id"] and again["streamed"] is False
    usage = next(json.loads(line[6:]) for line in reply.body.decode().splitlines() if '"usage":{' in line)["usage"]
    assert usage["cost"] == found["usage"]


def test_what_there_is_not_is_null(gateway: Gateway) -> None:
    body = {"model": "acme/one", "messages": [{"role": "user", "content": "Hello"}]}
    found = record(gateway, gateway.post("/v1/chat/completions", body, headers={"user-agent": ""}).generation)
    nothing = ("session_id", "router", "preset_id", "http_referer", "user_agent", "app_id", "external_user", "cache_discount")
    assert {name: found[name] for name in nothing} == dict.fromkeys(nothing)
    assert (found["origin"], found["num_media_prompt"], found["num_input_audio_prompt"]) == ("", 0, 0)


def test_embeddings_are_an_api_of_their_own(gateway: Gateway) -> None:
    reply = gateway.post("/v1/embeddings", {"model": "acme/vectors", "input": "words"})
    assert reply.status == 200, reply.body
    found = record(gateway, reply.generation)
    assert (found["api_type"], found["tokens_completion"], found["finish_reason"]) == ("embeddings", 0, None)


def test_a_web_search_names_its_engine(gateway: Gateway) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "server_tool_use_details": {"web_search_requests": 2}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "Found"}, "finish_reason": "stop"}
    raw = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    body = {"model": "acme/one", "messages": [{"role": "user", "content": "Hello"}], "sim": {"reply": raw}}
    found = record(gateway, gateway.post("/v1/chat/completions", body).generation)
    assert (found["num_search_results"], found["web_search_engine"]) in ((2, "native"), (0, None))


@pytest.mark.parametrize("ending", ["completed", "aborted", "failed"])
@pytest.mark.parametrize("stream", [False, True])
def test_it_is_there_the_moment_a_reply_ends(gateway: Gateway, ending: str, stream: bool) -> None:
    """One look, right behind the last byte; of who leaves, as soon as that is noticed."""
    sim: dict[str, Any] = {"tokens": 6}
    if ending == "failed":
        sim["fault"] = {"kind": "cut", "after_frames": 3} if stream else {"kind": "garbage"}
    body = {"model": "acme/one", "messages": [{"role": "user", "content": "Hello"}], "stream": stream, "sim": sim}
    if ending != "aborted":
        reply = gateway.post("/v1/chat/completions", body)
        found = record(gateway, reply.generation)
        assert found["cancelled"] is False and (found["finish_reason"] == "stop") == (ending == "completed")
        assert found["usage"] > 0 or (not stream and ending == "failed")
        return
    sim |= {"pace_ms": 50} if stream else {"delay_ms": 60_000}
    with Wire(gateway.address) as wire:
        wire.post("/v1/chat/completions", body)
        if stream:
            answer = wire.head()
            id = answer.header("x-generation-id")
            next(wire.events(answer))
        else:
            before = {row["id"] for row in gateway.generations()}
            until(lambda: gateway.gauge("requests_open") == 1, "the request is in the works")
    if not stream:
        [id] = until(lambda: {row["id"] for row in gateway.generations()} - before, "the call is settled")
    assert id is not None
    until(lambda: gateway.get(f"/api/v1/generation?id={id}").status == 200, "the call is settled")
    found = record(gateway, id)
    assert (found["cancelled"], found["streamed"], found["finish_reason"]) == (True, stream, None)
    assert found["usage"] == found["upstream_inference_cost"] > 0
