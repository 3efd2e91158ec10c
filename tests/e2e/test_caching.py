"""Replies that are given again: the response cache and `Idempotency-Key`, in every dialect. The simulator's ledger is the judge."""

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from openai import OpenAI

from e2e.house import (
    ADMIN_TOKEN,
    KEY,
    OTHER_KEY,
    REPLY_SECONDS,
    Gateway,
    Provider,
    ProviderProcess,
    Reply,
    configuration,
    send,
    sse_data,
    until,
)
from e2e.wire import Wire

CACHE = {"x-openrouter-cache": "true"}
CHAT = "/v1/chat/completions"
POOR_KEY, CACHED_KEY, HASTY_KEY, NARROW_KEY = ("sk-fl-v1-" + digits * 16 for digits in ("b00c", "cac4", "4a57", "9a77"))
TABLES = f"""
[keys.poor]
secret = "{POOR_KEY}"
limit_usd = "0.001"
[keys.cached]
secret = "{CACHED_KEY}"
response_cache = true
[keys.hasty]
secret = "{HASTY_KEY}"
rpm = 2
[keys.elsewhere]
secret = "{NARROW_KEY}"
account = "elsewhere"
[presets.never]
cache_enabled = false
[presets.always]
cache_enabled = true
cache_ttl_seconds = 60
"""


class Way(NamedTuple):
    """A way to ask: a path, and the body for a text."""

    path: str
    stream: bool = False

    def body(self, text: str, model: str = "lab/echo") -> dict[str, Any]:
        stream: dict[str, Any] = {"stream": True} if self.stream else {}
        if self.path == CHAT and self.stream:
            stream |= {"stream_options": {"include_usage": True}}
        if "models/" in self.path:
            return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        if self.path.endswith("/responses"):
            return {"model": model, "input": text, **stream}
        if self.path.endswith("/messages"):
            return {"model": model, "max_tokens": 200, "messages": [{"role": "user", "content": text}], **stream}
        return {"model": model, "messages": [{"role": "user", "content": text}], **stream}

    def at(self, model: str) -> str:
        return self.path.replace("MODEL", model)


WAYS = {
    "chat": Way(CHAT),
    "chat stream": Way(CHAT, True),
    "openrouter": Way("/api/v1/chat/completions"),
    "openrouter stream": Way("/api/v1/chat/completions", True),
    "messages": Way("/v1/messages"),
    "messages stream": Way("/v1/messages", True),
    "responses": Way("/v1/responses"),
    "responses stream": Way("/api/v1/responses", True),
    "gemini": Way("/v1beta/models/MODEL:generateContent"),
    "gemini stream": Way("/v1beta/models/MODEL:streamGenerateContent?alt=sse", True),
    "gemini list": Way("/v1beta/models/MODEL:streamGenerateContent", True),
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address, tables=TABLES)) as gateway:
        yield gateway


def ask(gateway: Gateway, text: str, headers: Mapping[str, str] = CACHE, way: Way = WAYS["chat"], *, key: str = KEY, **more: Any) -> Reply:
    model = more.pop("model", "lab/echo")
    return gateway.post(way.at(model), {**way.body(text, model), **more}, key=key, headers=headers)


def cached(reply: Reply) -> str | None:
    assert reply.status == 200, reply.body
    return reply.headers["x-openrouter-cache-status"]


def figures(reply: Reply) -> list[Any]:
    """Every number of every usage in a reply, whatever its form."""
    text = reply.body.decode()
    if reply.headers["content-type"] == "application/json":
        found = json.loads(text)
    else:
        found = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    numbers: list[Any] = []

    def look(value: Any, inside: bool) -> None:
        if isinstance(value, dict):
            for name, member in value.items():
                look(member, inside or name in ("usage", "usageMetadata"))
        elif isinstance(value, list):
            for member in value:
                look(member, inside)
        elif inside and isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append(value)

    look(found, False)
    assert numbers, text
    return numbers


def neutral(reply: Reply, *ids: str) -> str:
    """A reply without what differs between a hit and its source: ids of generations, and figures."""
    text = reply.body.decode()
    for id in ids:
        text = text.replace(id, "ID")
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "0", text)


def at_once(count: int, send: Any) -> list[Reply]:
    """The same from so many clients, all at one moment."""
    barrier = threading.Barrier(count)

    def one(_: int) -> Reply:
        barrier.wait()
        reply: Reply = send()
        return reply

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def fail_next(provider: Provider, fault: dict[str, Any], **script: Any) -> None:
    """The provider's next reply is this fault."""
    assert send(provider.address, "POST", "/sim/next", json.dumps([{"fault": fault, **script}]).encode()).status == 200


# --- the cache ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_hit_is_the_reply_for_nothing(gateway: Gateway, provider: Provider, way: Way) -> None:
    text, mark = f"What is a rope? {way}", provider.mark()
    first, second = (ask(gateway, text, way=way) for _ in range(2))
    assert (cached(first), cached(second)) == ("MISS", "HIT")
    assert len(provider.since(mark, 1)) == 1
    assert any(figures(first)) and not any(figures(second))
    assert (first.headers["x-openrouter-cache-ttl"], second.headers["x-openrouter-cache-ttl"]) == ("300", "300")
    assert second.headers["x-openrouter-cache-source-id"] == first.generation != second.generation
    assert int(second.headers["x-openrouter-cache-age"]) < 60 and "x-openrouter-cache-age" not in first.headers
    assert first.headers["content-type"] == second.headers["content-type"]
    assert [second.headers[f"x-fairlead-{name}"] for name in ("model", "provider", "attempts")] == ["lab/echo", "lab", "0"]
    assert neutral(first, first.generation) == neutral(second, second.generation)
    source, hit = gateway.generation(first.generation), gateway.generation(second.generation)
    assert (hit["outcome"], hit["status"], hit["charged_nanousd"], hit["reserved_nanousd"], hit["attempts"]) == ("completed", 200, 0, 0, [])
    assert (hit["response_cache_source_id"], hit["saved_nanousd"]) == (first.generation, source["charged_nanousd"])
    assert source["charged_nanousd"] > 0 == source["saved_nanousd"] and source["response_cache_source_id"] == ""
    assert (hit["model"], hit["streamed"], hit["finish_reason"]) == ("lab/echo", int(way.stream), source["finish_reason"])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_racing_equal_requests_are_one_call(gateway: Gateway, provider: Provider, way: Way) -> None:
    text, mark = f"Race {way}", provider.mark()
    replies = at_once(12, lambda: ask(gateway, text, way=way, model="lab/slow"))
    assert Counter(map(cached, replies)) == {"MISS": 1, "HIT": 11}
    assert len(provider.since(mark, 1)) == 1
    assert len({reply.generation for reply in replies}) == 12
    assert len({neutral(reply, reply.generation) for reply in replies}) == 1
    rows = [gateway.generation(reply.generation) for reply in replies]
    assert sum(row["charged_nanousd"] > 0 for row in rows) == 1


def test_who_follows_a_failure_goes_on(gateway: Gateway, provider: Provider) -> None:
    """The first gets an error, which is nobody's answer: the others ask themselves."""
    mark = provider.mark()
    fail_next(provider, {"kind": "status", "status": 400}, delay_ms=400)
    replies = at_once(4, lambda: ask(gateway, "The first of us fails"))
    assert Counter(reply.status for reply in replies) == {200: 3, 400: 1}, [reply.body for reply in replies]
    assert [cached(reply) for reply in replies if reply.status == 200].count("MISS") >= 1
    assert 2 <= len(provider.since(mark)) <= 4
    assert cached(ask(gateway, "The first of us fails")) == "HIT"


def test_what_is_the_same_and_what_is_not(gateway: Gateway, provider: Provider) -> None:
    def check(body: bytes, expected: str, headers: Mapping[str, str] = CACHE, key: str = KEY, path: str = CHAT) -> None:
        assert cached(gateway.post(path, body, key=key, headers=headers)) == expected, body

    plain = b'{"model":"lab/echo","messages":[{"role":"user","content":"Caf\xc3\xa9"}]}'
    check(plain, "MISS")
    check(b'{ "messages" : [ {"content":"Caf\\u00e9", "role":"user"} ],\n"model":"lab/echo" }', "HIT")
    check(plain[:-1] + b',"session_id":"s","trace":{"a":1}}', "HIT")
    check(plain, "HIT", {**CACHE, "x-session-id": "other", "x-title": "App"})
    check(plain[:-1] + b',"temperature":1}', "MISS")
    check(plain[:-1] + b',"user":"somebody"}', "MISS")
    check(plain[:-1] + b',"provider":{"order":["lab"]}}', "MISS")
    check(plain[:-1] + b',"stream":true}', "MISS")
    check(plain, "MISS", {**CACHE, "x-fairlead-strict": "true"})
    check(plain, "MISS", {**CACHE, "anthropic-beta": "a-2025-01-01"})
    check(plain, "MISS", path="/api/v1/chat/completions")
    # Never another's: of the same account, and of another.
    check(plain, "MISS", key=OTHER_KEY)
    check(plain, "MISS", key=NARROW_KEY)
    check(plain, "HIT", key=NARROW_KEY)


def test_who_does_not_ask_is_not_cached(gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    for _ in range(2):
        assert cached(ask(gateway, "Fresh, please", {})) is None
        assert cached(ask(gateway, "Fresh, please", {"x-openrouter-cache": "false"}, key=CACHED_KEY)) is None
        assert cached(ask(gateway, "Fresh, please", model="lab/echo", preset="never")) is None
    assert len(provider.since(mark, 6)) == 6


def test_keys_and_presets_ask_too(gateway: Gateway) -> None:
    replies = [ask(gateway, "By the key", {}, key=CACHED_KEY) for _ in range(2)]
    assert [cached(reply) for reply in replies] == ["MISS", "HIT"]
    replies = [ask(gateway, "By the preset", {}, model="lab/echo@preset/always") for _ in range(2)]
    assert [cached(reply) for reply in replies] == ["MISS", "HIT"]
    assert {reply.headers["x-openrouter-cache-ttl"] for reply in replies} == {"60"}
    assert gateway.generation(replies[1].generation)["preset"] == "always"
    made = gateway.operate("POST", "/admin/keys", {"name": "run-time", "response_cache": True}).json()
    assert made["data"]["response_cache"] is True
    assert [cached(ask(gateway, "By a made key", {}, key=made["key"])) for _ in range(2)] == ["MISS", "HIT"]
    changed = gateway.operate("PATCH", f"/admin/keys/{made['data']['hash']}", {"response_cache": None})
    assert changed.json()["data"]["response_cache"] is None
    assert cached(ask(gateway, "By a made key", {}, key=made["key"])) is None


def test_a_reply_has_its_time(gateway: Gateway) -> None:
    brief = {**CACHE, "x-openrouter-cache-ttl": "1"}
    assert [cached(ask(gateway, "Briefly", brief)) for _ in range(2)] == ["MISS", "HIT"]
    time.sleep(1.1)
    assert cached(ask(gateway, "Briefly", brief)) == "MISS"


def test_clearing(gateway: Gateway, provider: Provider) -> None:
    clear = {"x-openrouter-cache-clear": "true"}
    assert [cached(ask(gateway, "Once more")) for _ in range(2)] == ["MISS", "HIT"]
    mark = provider.mark()
    assert cached(ask(gateway, "Once more", {**CACHE, **clear})) == "MISS"
    assert cached(ask(gateway, "Once more")) == "HIT"
    assert cached(ask(gateway, "Once more", clear)) is None
    assert cached(ask(gateway, "Once more")) == "MISS"
    assert len(provider.since(mark, 3)) == 3


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-OpenRouter-Cache-TTL", "0"),
        ("X-OpenRouter-Cache-TTL", "86401"),
        ("X-OpenRouter-Cache-TTL", "soon"),
        ("X-OpenRouter-Cache", "yes"),
        ("X-OpenRouter-Cache-Clear", "perhaps"),
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "k" * 256),
    ],
)
def test_headers_that_make_no_sense(gateway: Gateway, provider: Provider, header: str, value: str) -> None:
    mark = provider.mark()
    reply = ask(gateway, "Hello", {header: value})
    assert reply.status == 400 and header in reply.json()["error"]["message"], reply.body
    assert provider.since(mark) == []


def test_what_is_no_good_reply_is_not_kept(gateway: Gateway, provider: Provider) -> None:
    def twice(text: str, sim: dict[str, Any], stream: bool) -> None:
        mark = provider.mark()
        for _ in range(2):
            reply = gateway.post(CHAT, {**WAYS["chat"].body(text), "sim": sim, "stream": stream}, headers=CACHE)
            assert reply.headers["x-openrouter-cache-status"] in ("MISS", None), (text, reply.body)
        assert len(provider.since(mark)) >= 2, text

    for stream in (False, True):
        twice("refused", {"fault": {"kind": "status", "status": 400}}, stream)
        twice("down", {"fault": {"kind": "status", "status": 500}}, stream)
        twice("cut off", {"fault": {"kind": "cut", "after_frames": 4}, "tokens": 30}, stream)
    twice("failed", {"fault": {"kind": "error_event", "after_frames": 4}, "tokens": 30}, True)
    gateway.forget_health()
    # A stream that our own edge cuts: all that there is to spend is spent.
    poor = [ask(gateway, "As much as you can say", way=WAYS["chat stream"], key=POOR_KEY, sim={"tokens": 500}) for _ in range(2)]
    assert poor[0].status == 200 and b"the budget that was held" in poor[0].body, poor[0].body[-600:]
    assert poor[1].status == 402, poor[1].body


def test_a_hit_is_free_and_counts_as_a_request(gateway: Gateway) -> None:
    assert cached(ask(gateway, "Twice a minute", key=HASTY_KEY)) == "MISS"
    assert cached(ask(gateway, "Twice a minute", key=HASTY_KEY)) == "HIT"
    refused = ask(gateway, "Twice a minute", key=HASTY_KEY)
    assert refused.status == 429 and refused.headers["retry-after"], refused.body
    before = gateway.get("/api/v1/key").json()["data"]["usage"]
    assert cached(ask(gateway, "What is a rope?")) == "MISS"
    paid = gateway.get("/api/v1/key").json()["data"]["usage"]
    assert [cached(ask(gateway, "What is a rope?")) for _ in range(3)] == ["HIT"] * 3
    assert gateway.get("/api/v1/key").json()["data"]["usage"] == paid > before


def test_a_hit_shows_wherever_generations_do(gateway: Gateway) -> None:
    first, second = (ask(gateway, "Show me", {**CACHE, "x-title": "Shown"}) for _ in range(2))
    told = gateway.get(f"/api/v1/generation?id={second.generation}").json()["data"]
    assert (told["response_cache_source_id"], told["total_cost"], told["provider_responses"]) == (first.generation, 0, [])
    assert gateway.get(f"/api/v1/generation?id={first.generation}").json()["data"]["response_cache_source_id"] is None
    row = gateway.operate("GET", f"/admin/requests/{second.generation}").json()["data"]
    assert row["response_cache_source_id"] == first.generation and float(row["saved_usd"]) > 0
    metrics = gateway.operate("GET", "/metrics").body.decode()
    values = {line.split()[0]: int(line.split()[1]) for line in metrics.splitlines() if line.startswith("fairlead_response_cache")}
    assert values["fairlead_response_cache_hits_total"] >= 1 and values["fairlead_response_cache_saved_nanousd_total"] > 0
    assert values["fairlead_response_cache_entries"] >= 1 and values["fairlead_response_cache_bytes"] > 0
    verified = gateway.run("ledger", "verify")
    assert verified.returncode == 0, verified.stdout


def test_a_key_that_goes_takes_its_replies_along(gateway: Gateway) -> None:
    made = gateway.operate("POST", "/admin/keys", {"name": "passing"}).json()
    before = gateway.gauge("response_cache_entries")
    assert cached(ask(gateway, "I shall be gone", key=made["key"])) == "MISS"
    name = {"idempotency-key": "gone"}
    assert ask(gateway, "I shall be gone", name, key=made["key"]).status == 200
    assert gateway.gauge("response_cache_entries") == before + 1
    kept = gateway.gauge("idempotent_replies_kept")
    assert gateway.operate("DELETE", f"/admin/keys/{made['data']['hash']}").status == 200
    # What was too old goes with it.
    until(lambda: gateway.gauge("response_cache_entries") <= before, "its cached reply is gone")
    until(lambda: gateway.gauge("idempotent_replies_kept") < kept, "so is the one with a name")


def test_models_that_were_taken_away_are_not_given_again(gateway: Gateway) -> None:
    made = gateway.operate("POST", "/admin/keys", {"name": "narrowed"}).json()
    assert [cached(ask(gateway, "May I?", key=made["key"])) for _ in range(2)] == ["MISS", "HIT"]
    gateway.operate("PATCH", f"/admin/keys/{made['data']['hash']}", {"models": ["lab/fast"]})
    refused = ask(gateway, "May I?", key=made["key"])
    assert refused.status == 403, refused.body


def test_metadata_is_no_part_of_it(gateway: Gateway) -> None:
    headers = {**CACHE, "x-openrouter-metadata": "enabled"}
    for way in (WAYS["openrouter"], WAYS["openrouter stream"]):
        first, second = (ask(gateway, "How were you routed?", headers, way) for _ in range(2))
        assert (cached(first), cached(second)) == ("MISS", "HIT")
        assert b"openrouter_metadata" in first.body and b"openrouter_metadata" not in second.body


def test_it_is_for_all_where_the_file_says_so(provider: Provider) -> None:
    tables = "[response_cache]\nenabled = true\nttl_seconds = 7\nmemory_bytes = 20000\n"
    with Gateway(configuration(provider.address, tables=tables)) as gateway:
        replies = [ask(gateway, "For all", {}) for _ in range(2)]
        assert [cached(reply) for reply in replies] == ["MISS", "HIT"]
        assert replies[0].headers["x-openrouter-cache-ttl"] == "7"
        for number in range(30):
            assert cached(ask(gateway, f"Much {number} " * 50, {})) == "MISS"
        assert 0 < gateway.gauge("response_cache_bytes") <= 20_000 and gateway.gauge("response_cache_evicted_total") > 0
        assert cached(ask(gateway, "For all", {})) == "MISS"


def test_a_kept_response_is_gone_on_from(provider: Provider) -> None:
    """A hit has the id of the response that is kept, whose conversation goes on."""
    with Gateway(configuration(provider.address, tables="[responses]\nstore = true\n")) as gateway:
        first, second = (ask(gateway, "Remember me", way=WAYS["responses"]) for _ in range(2))
        assert (cached(first), cached(second)) == ("MISS", "HIT")
        assert first.json()["id"] == second.json()["id"]
        going_on = ask(gateway, "And then?", way=WAYS["responses"], previous_response_id=second.json()["id"])
        assert going_on.status == 200, going_on.body


STORING = "[responses]\nstore = true\n"


@pytest.fixture(scope="module")
def keeper(provider: Provider) -> Iterator[Gateway]:
    """One that keeps responses."""
    with Gateway(configuration(provider.address, tables=TABLES + STORING)) as gateway:
        yield gateway


def delete(gateway: Gateway, response: str, *, key: str = KEY) -> Reply:
    return send(gateway.address, "DELETE", f"/v1/responses/{response}", None, {"authorization": f"Bearer {key}"})


def response_id(reply: Reply) -> str:
    found = re.search(rb'"id":\s?"([^"]+)"', reply.body)
    assert reply.status == 200 and found, reply.body
    return found[1].decode()


@pytest.mark.parametrize("way", ["responses", "responses stream"])
def test_a_response_that_was_deleted_is_not_given_again(keeper: Gateway, provider: Provider, way: str) -> None:
    """Neither to who asks the same, nor under its name, which has run once and does not run again; what went on from it is."""
    text = f"To be deleted, {way}"
    first = ask(keeper, text, {**CACHE, "idempotency-key": way}, WAYS[way])
    named = ask(keeper, text, {**CACHE, "idempotency-key": f"{way}, a hit"}, WAYS[way])
    assert (cached(first), cached(named), response_id(named)) == ("MISS", "HIT", response_id(first))
    later = ask(keeper, "And then?", {**CACHE, "idempotency-key": f"{way}, later"}, WAYS[way], previous_response_id=response_id(first))
    assert delete(keeper, response_id(first), key=NARROW_KEY).status == 404
    assert cached(ask(keeper, text, CACHE, WAYS[way])) == "HIT"
    assert delete(keeper, response_id(first)).json()["deleted"] is True
    assert delete(keeper, response_id(first)).status == 404
    mark = provider.mark()
    for name, generation in ((way, first.generation), (f"{way}, a hit", named.generation)):
        refused = ask(keeper, text, {**CACHE, "idempotency-key": name}, WAYS[way])
        assert (refused.status, refused.headers["x-generation-id"]) == (409, generation), refused.body
    assert provider.since(mark) == []
    again = ask(keeper, text, CACHE, WAYS[way])
    assert cached(again) == "MISS" and response_id(again) != response_id(first)
    went_on = ask(keeper, "And then?", {**CACHE, "idempotency-key": f"{way}, later"}, WAYS[way], previous_response_id=response_id(first))
    assert (went_on.body, went_on.headers["idempotent-replay"]) == (later.body, "true")


def test_a_response_that_was_deleted_is_in_no_file(provider: Provider, tmp_path: Path) -> None:
    """Also where the process that kept it is another one."""
    text, name, stored = "Gone " * 5_000, {"idempotency-key": "over a restart"}, configuration(provider.address, tables=STORING)

    def bytes_kept(gateway: Gateway) -> int:
        return sum(path.stat().st_size for path in (gateway.data_dir / "idempotency").iterdir())

    with Gateway(stored, folder=tmp_path) as gateway:
        first = ask(gateway, text, name, WAYS["responses"])
        assert bytes_kept(gateway) > 20_000
    with Gateway(stored, folder=tmp_path) as gateway:
        assert delete(gateway, response_id(first)).status == 200
        assert bytes_kept(gateway) < 1_000
        assert ask(gateway, text, name, WAYS["responses"]).status == 409


# --- silence --------------------------------------------------------------------------------------------------------------

SIGNS = {CHAT: b": keep-alive", "/v1/messages": b"event: ping", "/v1/responses": b"response.in_progress"}
ALONE = (
    "x-fairlead-provider",
    "x-fairlead-model",
    "x-fairlead-attempts",
    "x-openrouter-cache-status",
    "idempotent-replay",
    "server-timing",
)


@pytest.fixture(scope="module")
def quick(provider: Provider) -> Iterator[Gateway]:
    """Silence is short."""
    with Gateway(configuration(provider.address, tables=TABLES + "[timeouts]\nearly_head_ms = 200\nkeepalive_ms = 100\n")) as gateway:
        yield gateway


class Pair(NamedTuple):
    first: Reply
    second: Reply


def pair(gateway: Gateway, provider: Provider, path: str, text: str, headers: dict[str, str], *scripts: dict[str, Any]) -> Pair:
    """Two equal streams, the second asked for while the first is with the provider, which does what `scripts` say, each once."""
    assert send(provider.address, "POST", "/sim/next", json.dumps(scripts).encode()).status == 200
    body = Way(path, True).body(text)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: gateway.post(path, body, headers=headers))
        until(lambda: provider.open_requests() == 1, "it is with the provider")
        second = gateway.post(path, body, headers=headers)
        return Pair(first.result(), second)


def without_signs(reply: Reply) -> list[Any]:
    """What it says, apart from being alive: events of data, without their numbers and ids."""
    begins = ("response.created", "response.in_progress", "ping")
    events = [event for event in sse_data(reply.body) if event == "[DONE]" or event.get("type") not in begins]
    return [re.sub(r"gen-[0-9a-f-]+|\"sequence_number\": \d+|[-\d.e]+", "", json.dumps(event)) for event in events]


@pytest.mark.parametrize("headers", [CACHE, {"idempotency-key": "patience"}], ids=["cache", "name"])
@pytest.mark.parametrize("path", SIGNS)
def test_who_follows_a_slow_one_hears_that_it_is_alive(quick: Gateway, provider: Provider, path: str, headers: dict[str, str]) -> None:
    headers = {name: f"{value}{path}" if name == "idempotency-key" else value for name, value in headers.items()}
    mark = provider.mark()
    first, second = pair(quick, provider, path, f"Slowly {path}", headers, {"first_token_ms": 900})
    assert (first.status, second.status, len(provider.since(mark, 1))) == (200, 200, 1)
    assert second.headers["content-type"] == "text/event-stream" and [name for name in ALONE if name in second.headers] == []
    assert second.body.count(SIGNS[path]) >= 4
    assert without_signs(second) == without_signs(first)
    if path == "/v1/responses":
        assert [event["sequence_number"] for event in sse_data(second.body)] == list(range(len(sse_data(second.body))))
    if "idempotency-key" in headers:
        assert second.headers["x-generation-id"] is None, "whose it will be was not known"
    else:
        assert quick.generation(second.generation)["charged_nanousd"] == 0


@pytest.mark.parametrize("headers", [CACHE, {"idempotency-key": "failing patience"}], ids=["cache", "name"])
@pytest.mark.parametrize("path", SIGNS)
def test_who_follows_a_slow_failure_goes_on_behind_its_head(quick: Gateway, provider: Provider, path: str, headers: dict[str, str]) -> None:
    headers = {name: f"{value}{path}" if name == "idempotency-key" else value for name, value in headers.items()}
    mark, script = provider.mark(), {"delay_ms": 900, "fault": {"kind": "status", "status": 400}}
    first, second = pair(quick, provider, path, f"Vainly{path}", headers, script)
    # The first has its head, too, and is told in it.
    assert (first.status, second.status, len(provider.since(mark, 2))) == (200, 200, 2)
    assert b"rror" in first.body and b"Vainly" in second.body and second.body.count(SIGNS[path]) >= 4
    if path == "/v1/responses":
        assert [event["sequence_number"] for event in sse_data(second.body)] == list(range(len(sse_data(second.body))))
    # What was said by the second is kept, whole.
    third = quick.post(path, Way(path, True).body(f"Vainly{path}"), headers=headers)
    assert third.status == 200 and len(provider.since(mark, 2)) == 2
    assert without_signs(third) == without_signs(second)
    assert third.headers["idempotent-replay"] == "true" if "idempotency-key" in headers else cached(third) == "HIT"


def test_what_is_wrong_is_told_behind_a_head_that_is_out(quick: Gateway, provider: Provider) -> None:
    """The first is refused, and so is the second, whose head is out already."""
    refusal = {"fault": {"kind": "status", "status": 400}}
    first, second = pair(quick, provider, CHAT, "Both in vain", CACHE, {"delay_ms": 900} | refusal, refusal)
    assert (first.status, second.status) == (200, 200)
    assert sse_data(second.body)[-1] == "[DONE]" and b"error" in second.body
    assert quick.generation(second.generation)["outcome"] == "failed"


# --- one run under one name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_same_name_gives_the_same_reply(gateway: Gateway, provider: Provider, way: Way) -> None:
    name, mark = {"idempotency-key": f"once-{way}"}, provider.mark()
    first, second = (ask(gateway, "Only once", name, way) for _ in range(2))
    assert len(provider.since(mark, 1)) == 1
    assert (first.status, first.body, first.generation) == (200, second.body, second.generation)
    assert ("idempotent-replay" in first.headers, second.headers["idempotent-replay"]) == (False, "true")
    ours = {name: value for name, value in first.headers.items() if name.startswith("x-fairlead") or name == "content-type"}
    assert ours.items() <= dict(second.headers.items()).items()
    assert len(gateway.generations("id = ?", [first.generation])) == 1


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_racing_under_one_name(gateway: Gateway, provider: Provider, way: Way) -> None:
    name, mark = {"idempotency-key": f"race-{way}"}, provider.mark()
    replies = at_once(10, lambda: ask(gateway, "All at once", name, way, model="lab/slow"))
    assert {(reply.status, reply.body, reply.generation) for reply in replies} == {(200, replies[0].body, replies[0].generation)}
    assert Counter(reply.headers["idempotent-replay"] for reply in replies) == {None: 1, "true": 9}
    assert len(provider.since(mark, 1)) == 1


def test_pairs_under_one_name(gateway: Gateway, provider: Provider, dice: random.Random, counts: Callable[[int, int], int]) -> None:
    """Duplicates that race, of every kind at once: a call for each pair, and the same bytes for both."""
    mark, pairs = provider.mark(), counts(150, 10_000)

    def pair(number: int) -> None:
        way, name = WAYS[ways[number]], {"idempotency-key": f"pair-{number}"}
        first, second = pool.submit(ask, gateway, f"Pair {number}", name, way), pool.submit(ask, gateway, f"Pair {number}", name, way)
        one, other = first.result(), second.result()
        assert (one.status, one.body, one.generation) == (200, other.body, other.generation), (one, other)
        assert {one.headers["idempotent-replay"], other.headers["idempotent-replay"]} == {None, "true"}

    ways = [dice.choice(list(WAYS)) for _ in range(pairs)]
    with ThreadPoolExecutor(16) as pool, ThreadPoolExecutor(8) as runners:
        list(runners.map(pair, range(pairs)))
    assert len(provider.since(mark)) == pairs


def test_another_request_of_that_name(gateway: Gateway, provider: Provider) -> None:
    name = {"idempotency-key": "taken"}
    first = ask(gateway, "One", name)
    mark = provider.mark()
    refused = ask(gateway, "Two", name)
    assert refused.status == 422 and first.generation in refused.json()["error"]["message"], refused.body
    assert (refused.headers["x-should-retry"], refused.json()["error"]["code"]) == ("false", "idempotency_key_reused")
    assert ask(gateway, "One", name, WAYS["openrouter"]).status == 422
    assert ask(gateway, "One", name, WAYS["chat stream"]).status == 422
    # Written another way it is the same, and the name is everybody's own.
    assert gateway.post(CHAT, b'{"messages":[{"content":"One","role":"user"}],"model":"lab/echo"}', headers=name).body == first.body
    assert provider.since(mark) == []
    assert ask(gateway, "Two", name, key=OTHER_KEY).status == 200
    assert ask(gateway, "Two", name, key=NARROW_KEY).status == 200
    racing = at_once(2, lambda: ask(gateway, str(time.monotonic_ns()), {"idempotency-key": "torn"}, model="lab/slow"))
    assert sorted(reply.status for reply in racing) == [200, 422]


def test_a_name_is_free_again_after_a_failure(gateway: Gateway, provider: Provider) -> None:
    name = {"idempotency-key": "failing"}
    fail_next(provider, {"kind": "status", "status": 400})
    assert ask(gateway, "Try", name).status == 400
    reply = ask(gateway, "Try", name)
    assert reply.status == 200 and "idempotent-replay" not in reply.headers
    assert ask(gateway, "No such", name, model="lab/nothing").status == 422
    # What was paid for and cannot be given again is not run again.
    partly = {**WAYS["chat stream"].body("Half of it"), "sim": {"tokens": 30, "fault": {"kind": "cut", "after_frames": 10}}}
    first = gateway.post(CHAT, partly, headers={"idempotency-key": "partly"})
    assert first.status == 200 and gateway.generation(first.generation)["charged_nanousd"] > 0
    mark = provider.mark()
    lost = gateway.post(CHAT, partly, headers={"idempotency-key": "partly"})
    assert (lost.status, lost.generation, provider.since(mark)) == (409, first.generation, []), lost.body
    gateway.forget_health()
    # At once, for another request too: whoever knows of the failure may use the name again.
    for number in range(10):
        name = {"idempotency-key": f"unknown {number}"}
        assert ask(gateway, "No such", name, model="lab/nothing").status == 404
        assert ask(gateway, "No such", name).status == 200


def test_who_leaves_finds_the_reply(gateway: Gateway, provider: Provider) -> None:
    """A client that hangs up on a request with a name comes back for its reply: it is not run, nor paid for, twice."""
    for stream in (False, True):
        body = {**WAYS["chat"].body("I am in a hurry"), "stream": stream, "sim": {"tokens": 40, "first_token_ms": 300, "pace_ms": 5}}
        name, mark = {"idempotency-key": f"left {stream}"}, provider.mark()
        with Wire(gateway.address) as wire:
            wire.post(CHAT, body, name)
            if stream:
                assert wire.head().status == 200
            else:
                until(lambda mark=mark: provider.open_requests() == 1, "it is with the provider")
        reply = gateway.post(CHAT, body, headers=name)
        assert reply.status == 200 and reply.headers["idempotent-replay"] == "true", reply.body
        assert b"[DONE]" in reply.body if stream else reply.json()["usage"]["completion_tokens"] == 40
        assert len(provider.since(mark, 1)) == 1
        row = gateway.generation(reply.generation)
        assert (row["outcome"], row["completion_tokens"], row["charged_nanousd"] > 0) == ("completed", 40, True)


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_too_long_to_keep(gateway: Gateway, provider: Provider, stream: bool) -> None:
    """It passes, is not cached, and does not run twice under its name."""
    name, mark = {**CACHE, "idempotency-key": f"long {stream}"}, provider.mark()
    body = {**WAYS["chat"].body("At length"), "stream": stream, "sim": {"tokens": 5, "token_bytes": 1 << 20}}
    first = gateway.post(CHAT, body, headers=name)
    assert first.status == 200 and len(first.body) > 5 << 20
    lost = gateway.post(CHAT, body, headers=name)
    assert (lost.status, lost.generation) == (409, first.generation), lost.body[:300]
    assert len(provider.since(mark, 1)) == 1
    assert cached(gateway.post(CHAT, body, headers=CACHE)) == "MISS"


def test_a_cached_reply_under_a_name(gateway: Gateway, provider: Provider) -> None:
    """The reply under the name is the hit's own, with its generation."""
    ask(gateway, "Both")
    mark, name = provider.mark(), {**CACHE, "idempotency-key": "both"}
    first, second = (ask(gateway, "Both", name) for _ in range(2))
    assert cached(first) == "HIT" and provider.since(mark) == []
    assert (second.body, second.generation, second.headers["idempotent-replay"]) == (first.body, first.generation, "true")


def test_nothing_of_it_can_be_read_on_the_disk(gateway: Gateway) -> None:
    assert ask(gateway, "A secret that is told to nobody", {"idempotency-key": "hush-hush"}).status == 200
    files = list((gateway.data_dir / "idempotency").iterdir())
    assert files and all(path.stat().st_mode & 0o077 == 0 for path in files)
    told = b"".join(path.read_bytes() for path in files)
    assert b"secret" not in told and b"hush" not in told and b"gen-" not in told


@pytest.fixture
def judge() -> Iterator[ProviderProcess]:
    with ProviderProcess() as running:
        until(lambda: running.mark() == 0, "the simulator answers")
        yield running


def test_a_crash_between_two_equal_requests(judge: ProviderProcess, tmp_path: Path) -> None:
    """What was settled is given again; what was on its way is not run again, and the error says which generation it was."""
    gateway = Gateway(configuration(judge.address), folder=tmp_path)
    try:
        gateway.start()
        done = {way: ask(gateway, "Before", {"idempotency-key": f"done {way}"}, WAYS[way]) for way in ("chat", "chat stream", "gemini")}
        assert {reply.status for reply in done.values()} == {200}
        cached_before = ask(gateway, "In memory only")
        slow = {**WAYS["chat"].body("Under way"), "sim": {"tokens": 20, "first_token_ms": 30_000}}
        name = {"idempotency-key": "under way"}
        with Wire(gateway.address) as wire:
            wire.post(CHAT, slow, name)
            until(lambda: judge.open_requests() == 1, "it is with the provider")
            gateway.kill()
        gateway.start()
        mark = judge.mark()
        for way, before in done.items():
            again = ask(gateway, "Before", {"idempotency-key": f"done {way}"}, WAYS[way])
            assert (again.body, again.generation, again.headers["idempotent-replay"]) == (before.body, before.generation, "true")
        lost = gateway.post(CHAT, slow, headers=name)
        assert (lost.status, lost.headers["x-should-retry"], lost.json()["error"]["code"]) == (409, "false", "idempotency_reply_lost")
        assert lost.generation in lost.json()["error"]["message"]
        row = gateway.generation(lost.generation)
        assert row["outcome"] == "recovered" and len(gateway.generations("id = ?", [lost.generation])) == 1
        assert gateway.post(CHAT, {**slow, "n": 1}, headers=name).status == 422
        assert judge.since(mark) == []
        assert cached(cached_before) == "MISS" == cached(ask(gateway, "In memory only")), "the cache is in memory"
    finally:
        gateway.close()


def test_a_name_that_cannot_be_read_is_not_run_again(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway:
        name = {"idempotency-key": "once"}
        assert ask(gateway, "Once", name).status == 200
        [file] = (gateway.data_dir / "idempotency").iterdir()
        whole, mark = file.read_bytes(), provider.mark()
        for damaged in (b"", whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
            file.write_bytes(damaged)
            refused = ask(gateway, "Once", name)
            assert refused.status == 503 and "cannot be read" in refused.json()["error"]["message"], refused.body
            assert int(refused.headers["retry-after"]) >= 1
        file.write_bytes(whole)
        assert ask(gateway, "Once", name).headers["idempotent-replay"] == "true" and provider.since(mark) == []


def test_a_full_store_refuses_rather_than_forgets(provider: Provider) -> None:
    with Gateway(configuration(provider.address, tables="[idempotency]\nstore_bytes = 1048576\n")) as gateway:
        first = ask(gateway, "The first", {"idempotency-key": "0"})
        number, refused = 1, first
        while refused.status == 200 and number < 400:
            refused = ask(gateway, "More", {"idempotency-key": str(number)})
            number += 1
        assert refused.status == 503 and "Idempotency-Key" in refused.json()["error"]["message"], (number, refused.body)
        assert ask(gateway, "The first", {"idempotency-key": "0"}).body == first.body
        assert ask(gateway, "Without a name", {}).status == 200


def test_the_official_sdk(gateway: Gateway, provider: Provider) -> None:
    with OpenAI(base_url=gateway.url + "/v1", api_key=KEY, max_retries=2) as client:
        mark = provider.mark()
        asked: Any = {"model": "lab/echo", "messages": [{"role": "user", "content": "From the SDK"}]}
        raw = [client.chat.completions.with_raw_response.create(**asked, extra_headers=CACHE) for _ in range(2)]
        assert [reply.headers["x-openrouter-cache-status"] for reply in raw] == ["MISS", "HIT"]
        first, second = (reply.parse() for reply in raw)
        assert first.choices == second.choices and first.usage and second.usage
        assert (first.usage.total_tokens > 0, second.usage.total_tokens) == (True, 0)
        streams = [
            [
                chunk.choices[0].delta.content
                for chunk in client.chat.completions.create(**asked, stream=True, extra_headers=CACHE)
                if chunk.choices
            ]
            for _ in range(2)
        ]
        assert streams[0] == streams[1] and any(streams[0])
        name = {"Idempotency-Key": "from-the-sdk"}
        once = [client.chat.completions.create(**asked, extra_headers=name) for _ in range(2)]
        assert once[0] == once[1] and once[0].usage and once[0].usage.total_tokens > 0
        assert len(provider.since(mark, 3)) == 3


# --- operators ------------------------------------------------------------------------------------------------------------


def test_a_top_up_is_made_once(gateway: Gateway) -> None:
    def give(usd: str, name: str, path: str = "/admin/credits") -> Reply:
        body = json.dumps({"usd": usd} | ({"account": "default"} if path == "/admin/credits" else {})).encode()
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}", "content-type": "application/json", "idempotency-key": name}
        return send(gateway.admin, "POST", path, body, headers, REPLY_SECONDS)

    first, second, other = give("5", "top-up-1"), give("5", "top-up-1"), give("5", "top-up-2")
    assert (first.status, second.status, other.status) == (201, 200, 201), (first.body, second.body)
    assert first.json()["data"] == second.json()["data"] and other.json()["data"]["id"] != first.json()["data"]["id"]
    assert give("6", "top-up-1").status == 409
    assert give("5", "").status == 400
    # A top-up is taken back once, too.
    refund = f"/admin/credits/{first.json()['data']['id']}/refund"
    taken = [give("2", "refund-1", refund) for _ in range(2)]
    assert [reply.status for reply in taken] == [201, 200] and taken[0].json() == taken[1].json()
