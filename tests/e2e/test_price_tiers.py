"""Prices that depend on the prompt's length, the hour and the service tier: reserved, charged, recorded and shown. The simulator's ledger
says how much was used, its replies in which tier, and the configured prices what that costs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from json import loads
from typing import Any

import pytest
from openrouter import components

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Reply, cost_nanousd
from e2e.judge import Judge

USUAL = {"prompt": "3", "completion": "15", "cache_read": "0.3", "cache_write": "3.75"}
LONG = {"prompt": "6", "completion": "22.5", "cache_read": "0.6", "cache_write": "7.5"}
FLEX = {"prompt": "1.5", "completion": "7.5", "cache_read": "0.15", "cache_write": "1.875"}
PRIORITY = {"prompt": "5", "completion": "30", "cache_read": "0.5", "cache_write": "6"}
HALF = {"prompt": "1.5", "completion": "7.5", "cache_read": "0.15", "cache_write": "1.875"}
ABOVE = 100
BUSY = {"fault": {"kind": "status", "status": 503}}


def configuration(address: str) -> str:
    """One provider with tiers, one without; and a model that costs half in the hours around now, another in those half a week away."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 1\n[keys.e2e]\nsecret = "{KEY}"\n']
    for slug in ("tiered", "plain"):
        parts.append(
            f'[providers.{slug}]\nname = "{slug.title()}"\ndialect = "openai_chat"\nbase_url = "http://{address}/v1"\nkeys = ["s"]\n'
        )

    def table(prices: dict[str, str]) -> str:
        return "{ " + ", ".join(f'{name} = "{usd}"' for name, usd in prices.items()) + " }"

    def endpoint(model: str, provider: str, *overrides: tuple[str, str]) -> None:
        place = f'models."{model}".endpoints'
        parts.append(f'[[{place}]]\nprovider = "{provider}"\nupstream_model = "sim/echo"\nusd_per_million = {table(USUAL)}\n')
        parts.extend(f"[[{place}.override]]\nwhen = {{ {when} }}\n{change}\n" for when, change in overrides)

    def prices(prices: dict[str, str]) -> str:
        return f"usd_per_million = {table(prices)}"

    tiers = ('service_tier = "flex"', prices(FLEX)), ('service_tier = "priority"', prices(PRIORITY))
    endpoint("acme/tiers", "tiered", *tiers)
    endpoint("acme/both", "tiered", *tiers)
    endpoint("acme/both", "plain")
    endpoint("acme/plain", "plain")
    endpoint("acme/long", "plain", (f"prompt_tokens_above = {ABOVE}", prices(LONG)))
    now = datetime.now(UTC)
    for model, then in (("acme/now", now), ("acme/later", now + timedelta(hours=84))):
        begin, end = then - timedelta(hours=6), then + timedelta(hours=6)
        endpoint(model, "plain", (f'utc = "{begin:%H:%M}-{end:%H:%M}", days = [{begin.isoweekday()}]', 'multiplier = "0.5"'))
    return "\n".join(parts)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge(seed=3) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    with Gateway(configuration(judge.address)) as running:
        yield running


def ask(gateway: Gateway, model: str, *, prefix: str = "/api/v1", prompt_tokens: int | None = None, **fields: Any) -> Reply:
    sim = dict(fields.pop("sim", {})) | ({} if prompt_tokens is None else {"prompt_tokens": prompt_tokens})
    words = "word " * 200  # As large as what the simulator is told to count, so that the reservation is honest.
    body = {"model": model, "max_tokens": 50, "messages": [{"role": "user", "content": words}], "sim": sim, **fields}
    return gateway.post(f"{prefix}/chat/completions", body)


def check(gateway: Gateway, judge: Judge, mark: int, reply: Reply, prices: dict[str, str], tier: str = "default") -> dict[str, Any]:
    """The reply costs what the simulator's ledger comes to at these prices, and is recorded with its tier. The row."""
    assert reply.status == 200, reply.body
    (record,) = judge.since(mark, 1)
    row = gateway.generation(reply.generation)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost_nanousd(record, prices)
    assert row["charged_nanousd"] <= row["reserved_nanousd"]
    assert row["attempts"][-1]["service_tier"] == tier
    shown = gateway.get(f"/api/v1/generation?id={reply.generation}").json()["data"]
    assert (shown["service_tier"], shown["provider_responses"][-1]["routed_service_tier"]) == (tier, tier)
    return row


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("prompt_tokens", "prices"), [(ABOVE, USUAL), (ABOVE + 1, LONG)])
def test_a_long_prompt_is_priced_as_a_whole(
    gateway: Gateway, judge: Judge, stream: bool, prompt_tokens: int, prices: dict[str, str]
) -> None:
    """One token more than the bound, cached ones counted: everything costs more. The reservation holds the dearer price either way."""
    mark = judge.mark()
    reply = ask(gateway, "acme/long", prompt_tokens=prompt_tokens, stream=stream, sim={"cached_tokens": 40})
    row = check(gateway, judge, mark, reply, prices)
    assert row["reserved_nanousd"] >= 50 * 22_500 + ABOVE * 6_000


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prefix", ["/v1", "/api/v1"])
@pytest.mark.parametrize(
    ("fields", "prices", "tier"),
    [
        ({}, USUAL, "default"),
        ({"service_tier": "auto"}, USUAL, "default"),
        ({"service_tier": "flex"}, FLEX, "flex"),
        ({"service_tier": "priority"}, PRIORITY, "priority"),
        # The word that the provider knows is sent.
        ({"service_tier": "fast"}, PRIORITY, "priority"),
        # Wishes that open a tier ask for it.
        ({"model": "acme/tiers:floor"}, FLEX, "flex"),
        ({"model": "acme/tiers:floor", "service_tier": "auto"}, FLEX, "flex"),
        # Whoever asks for the usual one means it.
        ({"model": "acme/tiers:floor", "service_tier": "default"}, USUAL, "default"),
        ({"model": "acme/tiers:nitro", "service_tier": "default"}, USUAL, "default"),
        ({"provider": {"only": ["tiered/priority"]}}, PRIORITY, "priority"),
        # What the provider says it served counts, whatever was asked for: cheaper or dearer.
        ({"service_tier": "priority", "sim": {"service_tier": "default"}}, USUAL, "default"),
        ({"service_tier": "flex", "sim": {"service_tier": "default"}}, USUAL, "default"),
    ],
    ids=str,
)
def test_the_tier_that_served_is_paid(
    gateway: Gateway, judge: Judge, prefix: str, stream: bool, fields: dict[str, Any], prices: dict[str, str], tier: str
) -> None:
    gateway.forget_health()
    mark = judge.mark()
    check(gateway, judge, mark, ask(gateway, **({"model": "acme/tiers"} | fields), prefix=prefix, stream=stream), prices, tier)


def test_a_tier_that_nobody_sells(gateway: Gateway, judge: Judge) -> None:
    """On OpenRouter's routes it is taken out and told as a loss; on the dialect's own the provider sees what the client said."""
    for prefix, sent, loss in (("/api/v1", False, "service_tier"), ("/v1", True, None)):
        judge.forget_requests()
        mark = judge.mark()
        reply = ask(gateway, "acme/plain", prefix=prefix, service_tier="flex", sim={"service_tier": "default"})
        check(gateway, judge, mark, reply, USUAL)
        assert ("service_tier" in loads(judge.last_request()["body"])) == sent
        assert (loss is None) == (reply.headers["x-fairlead-loss"] is None)
        assert loss is None or loss in reply.headers["x-fairlead-loss"]


def test_flex_stays_flex_and_priority_falls_back(gateway: Gateway, judge: Judge) -> None:
    gateway.forget_health()
    mark = judge.mark()
    refused = ask(gateway, "acme/both", service_tier="flex", sim=BUSY)
    assert refused.status == 503 and len(judge.since(mark)) == 1, "only one endpoint sells flex"
    gateway.forget_health()
    mark = judge.mark()
    reply = ask(gateway, "acme/both", service_tier="priority", provider={"sort": "price"})
    check(gateway, judge, mark, reply, PRIORITY, "priority")
    assert reply.headers["x-fairlead-provider"] == "tiered"
    # Its first attempt fails; what follows is the usual tier, and says so.
    judge.script(BUSY, {})
    gateway.forget_health()
    reply = gateway.post(
        "/api/v1/chat/completions",
        {"model": "acme/both", "service_tier": "priority", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]},
    )
    row = gateway.generation(reply.generation)
    assert [attempt["service_tier"] for attempt in row["attempts"]] == ["priority", "default"]
    assert "service_tier" in reply.headers["x-fairlead-loss"]


@pytest.mark.parametrize(
    ("model", "dialect", "fields", "scripts", "words"),
    [
        ("acme/tiers", "chat/completions", {"provider": {"max_price": {"prompt": "4"}}}, (), "passed over"),
        ("acme/tiers", "chat/completions", {}, (BUSY, {}), "passed over"),
        ("acme/tiers", "messages", {}, (BUSY, {}), "passed over"),
        ("acme/plain", "chat/completions", {}, (), "sells no such tier"),
    ],
)
def test_a_tier_that_is_passed_over_is_not_called_unknown(
    gateway: Gateway, judge: Judge, model: str, dialect: str, fields: dict[str, Any], scripts: tuple[Any, ...], words: str
) -> None:
    gateway.forget_health()
    judge.forget_scripts()
    if scripts:
        judge.script(*scripts)
    body = {"model": model, "service_tier": "priority", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}], **fields}
    reply = gateway.post(f"/api/v1/{dialect}", body)
    assert reply.status == 200 and words in (reply.headers["x-fairlead-loss"] or ""), (reply.body, reply.headers["x-fairlead-loss"])


def test_the_tiers_of_an_endpoint_can_be_told_apart(gateway: Gateway, judge: Judge) -> None:
    """In what is told of the routing."""
    gateway.forget_health()
    body = {"model": "acme/tiers", "service_tier": "priority", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
    endpoint = {"provider": "Tiered", "model": "acme/tiers"}
    for scripts, tried in (((), ["priority"]), ((BUSY, {}), ["priority", None])):
        judge.forget_scripts()
        if scripts:
            judge.script(*scripts)
        metadata = gateway.post("/api/v1/chat/completions", body, headers={"x-openrouter-metadata": "enabled"}).json()[
            "openrouter_metadata"
        ]
        components.OpenRouterMetadata.model_validate(metadata)
        available = [
            {**endpoint, "service_tier": "priority", "selected": tried[-1] == "priority"},
            {**endpoint, "selected": tried[-1] is None},
        ]
        assert metadata["endpoints"]["available"] == available
        assert [attempt.get("service_tier") for attempt in metadata["attempts"]] == tried


def test_tiers_have_figures_of_their_own(gateway: Gateway, judge: Judge) -> None:
    judge.forget_scripts()
    gateway.forget_health()
    # The first of a new connection is not measured.
    assert [ask(gateway, "acme/tiers", service_tier="flex", stream=True).status for _ in range(4)] == [200] * 4
    listed = gateway.get("/api/v1/models/acme/tiers/endpoints").json()["data"]["endpoints"]
    assert [(each["tag"], each["latency_last_30m"] is not None) for each in listed] == [
        ("tiered", False),
        ("tiered/flex", True),
        ("tiered/priority", False),
    ]
    [report] = gateway.operate("GET", "/admin/health").json()["data"]
    assert (report["provider"], report["service_tier"], report["breaker"]) == ("tiered/flex", "flex", "closed")
    for _ in range(6):
        assert ask(gateway, "acme/tiers", service_tier="flex", sim=BUSY).status == 503
    listed = gateway.get("/api/v1/models/acme/tiers/endpoints").json()["data"]["endpoints"]
    assert [each["status"] for each in listed] == [0, -2, 0], "its breaker is open, the others' are not"


@pytest.mark.parametrize(("model", "prices"), [("acme/now", HALF), ("acme/later", USUAL)])
def test_the_hour_decides(gateway: Gateway, judge: Judge, model: str, prices: dict[str, str]) -> None:
    """The hours around now are six on both sides, so that no test run leaves them; what cannot be reached is not reserved."""
    mark = judge.mark()
    row = check(gateway, judge, mark, ask(gateway, model), prices)
    usual = check(gateway, judge, judge.mark(), ask(gateway, "acme/plain"), USUAL)
    assert round(usual["reserved_nanousd"] / row["reserved_nanousd"]) == (2 if prices is HALF else 1)


def test_max_price_is_of_the_price_that_applies(gateway: Gateway) -> None:
    bound = {"provider": {"max_price": {"prompt": "2"}}}
    assert ask(gateway, "acme/tiers", **bound).status == 404
    assert ask(gateway, "acme/tiers", service_tier="flex", **bound).status == 200
    assert ask(gateway, "acme/now", **bound).status == 200


def test_prices_are_shown_in_openrouters_shape(gateway: Gateway) -> None:
    """`overrides` of a price; a tier is an endpoint of its own, which `provider.only` names by its tag."""
    (long,) = gateway.get("/api/v1/models/acme/long/endpoints").json()["data"]["endpoints"]
    assert long["pricing"]["overrides"] == [
        {
            "min_prompt_tokens": ABOVE, "prompt": "0.000006", "completion": "0.0000225",
            "input_cache_read": "0.0000006", "input_cache_write": "0.0000075",
        }
    ]  # fmt: skip
    tiers = gateway.get("/api/v1/models/acme/tiers/endpoints").json()["data"]["endpoints"]
    assert [(endpoint["tag"], endpoint["service_tier"], endpoint["pricing"]["prompt"]) for endpoint in tiers] == [
        ("tiered", None, "0.000003"),
        ("tiered/flex", "flex", "0.0000015"),
        ("tiered/priority", "priority", "0.000005"),
    ]
    listed = {model["id"]: model for model in gateway.get("/api/v1/models").json()["data"]}
    assert listed["acme/now"]["pricing"]["overrides"][0]["prompt"] == "0.0000015"
    assert "overrides" not in listed["acme/tiers"]["pricing"]
