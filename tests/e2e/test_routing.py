"""Which endpoint is asked, seen by clients: wishes, prices, sessions, keys at their limits, and why."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Reply, send
from e2e.judge import Judge

CHAT = {"messages": [{"role": "user", "content": "Say something"}]}


def configuration(address: str) -> str:
    """One model at three providers: a cheap one, a dear one that keeps nothing, and one whose key may be used once a minute."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 1\n[keys.e2e]\nsecret = "{KEY}"\n']
    for slug, more in (("cheap", ""), ("dear", "data_policy = { zdr = true }\n"), ("scarce", "")):
        keys = '[{ secret = "s", rpm = 1 }]' if slug == "scarce" else '["s"]'
        parts.append(
            f'[providers.{slug}]\nname = "{slug.title()}"\ndialect = "openai_chat"\nbase_url = "http://{address}/v1"\nkeys = {keys}\n{more}'
        )
    for model, slugs in (("acme/both", ("dear", "cheap")), ("acme/scarce", ("scarce",)), ("acme/cheap", ("cheap",))):
        parts.append(f'[models."{model}"]\ncontext_length = 100000\nsupported_parameters = ["temperature", "max_tokens"]\n')
        for slug in slugs:
            usd = {"cheap": "1", "dear": "20", "scarce": "1"}[slug]
            parts.append(
                f'[[models."{model}".endpoints]]\nprovider = "{slug}"\nupstream_model = "sim/fast"\n'
                f'usd_per_million = {{ prompt = "{usd}", completion = "{usd}", cache_read = "0.1" }}\n'
            )
    return "\n".join(parts)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Judge(seed=3) as judge, Gateway(configuration(judge.address)) as running:
        yield running


@pytest.fixture(autouse=True)
def fresh(gateway: Gateway) -> None:
    gateway.forget_health()


def ask(gateway: Gateway, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    return gateway.post("/api/v1/chat/completions", {"model": "acme/both", **CHAT, **fields}, headers=headers)


@pytest.mark.parametrize(
    ("fields", "provider"),
    [
        ({"provider": {"sort": "price"}}, "cheap"),
        ({"model": "acme/both:floor"}, "cheap"),
        ({"provider": {"order": ["dear"]}}, "dear"),
        ({"provider": {"order": ["Dear", "cheap"]}}, "dear"),
        ({"provider": {"only": ["dear"]}}, "dear"),
        ({"provider": {"ignore": ["cheap"]}}, "dear"),
        ({"provider": {"zdr": True}}, "dear"),
        ({"provider": {"data_collection": "deny"}}, "dear"),
        ({"provider": {"max_price": {"completion": "1.5"}}}, "cheap"),
        ({"provider": {"require_parameters": True}, "temperature": 0}, None),
        ({"provider": None, "route": "fallback"}, None),
    ],
    ids=str,
)
def test_wishes_are_heard(gateway: Gateway, fields: dict[str, Any], provider: str | None) -> None:
    for _ in range(4):
        reply = ask(gateway, **fields)
        assert reply.status == 200, reply.body
        assert provider is None or reply.headers["x-fairlead-provider"] == provider


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"provider": {"order": ["chep"]}}, 400, "provider.order"),
        ({"provider": {"only": ["nobody"]}}, 400, "provider.only"),
        ({"provider": {"sorts": "price"}}, 400, 'did you mean "sort"'),
        ({"provider": {"max_price": {"prompt": "cheap"}}}, 400, "provider.max_price.prompt"),
        ({"provider": 7}, 400, "provider"),
        ({"model": "acme/both:fast"}, 400, "variant"),
        ({"model": "acme/both:online"}, 400, "not in this version"),
        ({"provider": {"max_price": {"prompt": "0.5"}}}, 404, "max_price"),
        ({"provider": {"zdr": True, "ignore": ["dear"]}}, 404, "data_policy:zdr"),
        ({"provider": {"require_parameters": True}, "logit_bias": {"5": 1}}, 404, "require_parameters"),
        ({"model": "acme/bth"}, 404, 'did you mean "acme/both"'),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_what_would_be_right(gateway: Gateway, fields: dict[str, Any], status: int, words: str) -> None:
    before = len(gateway.generations())
    reply = ask(gateway, **fields)
    assert reply.status == status, reply.body
    assert words in reply.json()["error"]["message"]
    assert len(gateway.generations()) == before


def test_cheap_endpoints_are_drawn_more_often(gateway: Gateway) -> None:
    """Twenty times the price is one in four hundred, so that three of twelve are one in three hundred thousand."""
    drawn = [ask(gateway).headers["x-fairlead-provider"] for _ in range(12)]
    assert drawn.count("cheap") >= 10, drawn


def test_a_session_stays_where_it_began(gateway: Gateway) -> None:
    first = ask(gateway, provider={"only": ["dear"]}, session_id="one")
    assert first.headers["x-fairlead-provider"] == "dear"
    assert {ask(gateway, session_id="one").headers["x-fairlead-provider"] for _ in range(6)} == {"dear"}
    assert {ask(gateway, session_id="two").headers["x-fairlead-provider"] for _ in range(6)} == {"cheap"}


def test_a_key_at_its_limit_is_not_used(gateway: Gateway) -> None:
    assert ask(gateway, model="acme/scarce").status == 200
    refused = ask(gateway, model="acme/scarce")
    assert refused.status == 429 and "limit" in refused.json()["error"]["message"]
    # A count is made here, and touches nobody's limit.
    counted = gateway.post("/v1/responses/input_tokens", {"model": "acme/scarce", "input": "Hello"})
    assert (counted.status, counted.json()["input_tokens"] > 0) == (200, True)
    other = ask(gateway, model="acme/scarce", models=["acme/cheap"])
    assert (other.status, other.headers["x-fairlead-model"]) == (200, "acme/cheap")


def test_the_reason_can_be_asked_for(gateway: Gateway, tmp_path: Path) -> None:
    told = json.loads(ask(gateway, {"x-fairlead-explain": "true"}).headers["x-fairlead-explain"] or "")
    assert [candidate["provider"] for candidate in told["candidates"]] == ["cheap", "dear"]
    assert told["candidates"][0]["chance"] > 0.99 and told["removed"] == []
    assert ask(gateway).headers["x-fairlead-explain"] is None
    assert ask(gateway, {"x-fairlead-explain": "perhaps"}).status == 400
    before = len(gateway.generations())
    body = {"model": "acme/both", **CHAT, "provider": {"zdr": True}}
    asked = gateway.operate("POST", "/admin/explain", {"body": body, "key": "e2e", "seed": 5})
    data = asked.json()["data"]
    assert [candidate["provider"] for candidate in data["candidates"]] == ["dear"] and data["seed"] == 5
    assert [(out["provider"], out["excluded_by"]) for out in data["removed"]] == [("cheap", "data_policy:zdr")]
    wrong = gateway.operate("POST", "/admin/explain", {"body": {**body, "model": "acme/nothing"}})
    assert wrong.status == 404 and "acme/nothing" in wrong.json()["error"]["message"]
    for seed, status in ((2**64 - 1, 200), (2**64, 400), (-1, 400)):
        asked = gateway.operate("POST", "/admin/explain", {"body": body, "seed": seed})
        assert asked.status == status and (status == 200 or asked.json()["error"]["message"].startswith("seed: a whole number from 0"))
    assert len(gateway.generations()) == before


def test_health_is_shown_and_forgotten(gateway: Gateway) -> None:
    assert gateway.operate("GET", "/admin/health").json()["data"] == []
    for _ in range(2):
        assert ask(gateway, provider={"only": ["cheap"]}).status == 200
    [report] = gateway.operate("GET", "/admin/health").json()["data"]
    assert (report["model"], report["provider"], report["breaker"], report["keys"]) == ("acme/both", "cheap", "closed", [1, 1])
    assert report["first_token_ms"]["p50"] >= 0 and report["tokens_per_second"]["p50"] > 0
    endpoints = gateway.get("/api/v1/models/acme/both/endpoints").json()["data"]["endpoints"]
    measured = {endpoint["provider_name"]: endpoint["throughput_last_30m"] for endpoint in endpoints}
    assert measured["Dear"] is None and measured["Cheap"]["p50"] > 0
    assert send(gateway.address, "DELETE", "/admin/health", None, {"authorization": f"Bearer {KEY}"}).status == 404
    gateway.forget_health()
    assert gateway.operate("GET", "/admin/health").json()["data"] == []
