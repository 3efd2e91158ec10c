"""Logged decisions made again where it is only the service tier that differs, and those of requests that waited in vain for a key."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Provider, run, split, until

PRICES = {"usual": ("3", "15"), "flex": ("1.5", "7.5"), "priority": ("6", "30")}
MESSAGES = [{"role": "user", "content": "Say something"}]


def configuration(address: str, flex: str = "1.5", bound: str = "2") -> str:
    """One endpoint with two tiers beside the usual one, a preset with a bound, and a key that is in use by one request at a time."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 1\n[timeouts]\nqueue_ms = 1000\n[keys.e2e]\nsecret = "{KEY}"\n']
    for slug, key in (("lab", '"s"'), ("small", '{ secret = "s", max_concurrency = 1 }')):
        parts.append(f'[providers.{slug}]\ndialect = "openai_chat"\nbase_url = "http://{address}/v1"\nkeys = [{key}]\n')
    parts.append(endpoint("acme/tiers", "lab", {**PRICES, "flex": (flex, "7.5")}))
    parts.append(endpoint("acme/small", "small", {"usual": PRICES["usual"]}))
    parts.append(f'[presets.thrifty]\nmodel = "acme/tiers"\nprovider = {{ max_price = {{ prompt = "{bound}" }} }}\n')
    return "\n".join(parts)


def endpoint(model: str, provider: str, prices: dict[str, tuple[str, str]]) -> str:
    """A model with an endpoint, and an override for each tier but the usual one."""
    place = f'models."{model}".endpoints'
    usd = {
        tier: f'usd_per_million = {{ prompt = "{prompt}", completion = "{completion}" }}' for tier, (prompt, completion) in prices.items()
    }
    rows = [f'[[{place}.override]]\nwhen = {{ service_tier = "{tier}" }}\n{usd[tier]}\n' for tier in usd if tier != "usual"]
    return f'[[{place}]]\nprovider = "{provider}"\nupstream_model = "sim/echo"\n{usd["usual"]}\n' + "".join(rows)


def ask(gateway: Gateway, model: str, **fields: Any) -> int:
    return gateway.post("/api/v1/chat/completions", {"model": model, "max_tokens": 50, "messages": MESSAGES, **fields}).status


def replay(gateway: Gateway, *words: str, config: str | None = None) -> list[dict[str, Any]]:
    """The decisions one by one, and the sums behind them."""
    path = gateway.config
    if config is not None:
        path = gateway.folder / "other.toml"
        path.write_text(config)
    done = run(["replay", "--json", "--each", "--config", str(path), "--data-dir", str(gateway.data_dir), *words], gateway.folder)
    assert done.stderr == "", done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(seed=7) as running:
        yield running


@pytest.fixture(scope="module")
def past(provider: Provider) -> Iterator[Gateway]:
    """At rest: two that went to flex, two with a bound that flex stays below, one to the usual tier, and behind one that was slow two that
    waited in vain: a client that left, and one that was told so."""
    with Gateway(configuration(provider.address)) as gateway:
        for model, fields in (("acme/tiers:floor", {}), ("@preset/thrifty", {"service_tier": "flex"})):
            assert [ask(gateway, model, **fields) for _ in range(2)] == [200, 200]
        assert ask(gateway, "acme/tiers") == 200
        slow = threading.Thread(target=ask, args=(gateway, "acme/small"), kwargs={"sim": {"delay_ms": 8_000}})
        slow.start()
        until(lambda: provider.open_requests() == 1, "the only key is in use")
        body = json.dumps({"model": "acme/small", "messages": MESSAGES}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        with socket.create_connection(split(gateway.address)) as leaving:
            leaving.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: gateway.gauge("requests_waiting") == 1, "it waits")
        until(lambda: gateway.gauge("requests_waiting") == 0, "it has left")
        assert ask(gateway, "acme/small") == 429
        slow.join(30)
        assert len(gateway.generations()) == 6
        # What became of a decision is none.
        until(lambda: gateway.gauge("decisions_logged_total") == 8, "the decisions are logged")
        assert gateway.stop() == 0
        yield gateway


def tiers(told: dict[str, Any]) -> tuple[str | None, str | None]:
    return told["then"]["tier"], told["now"]["tier"]


def test_the_same_configuration_decides_the_same(past: Gateway) -> None:
    *each, summary = replay(past, "--check")
    assert (summary["decisions"], summary["same"], summary["same_first"], summary["changed"]) == (8, 8, 8, [])
    assert [tiers(told) for told in each] == [("flex", "flex")] * 4 + [(None, None)] * 4
    assert all(told["now_nanousd"] == told["then_nanousd"] > 0 for told in each[:6])
    assert summary["cost"]["decisions"] == 6 and set(summary["unreadable"].values()) == {0}


def test_another_tier_of_the_same_endpoint_is_another_choice(past: Gateway, provider: Provider) -> None:
    """Flex costs more than the usual tier now, so that `:floor` leaves it."""
    other = configuration(provider.address, flex="40", bound="99")
    *each, summary = replay(past, config=other)
    rows = {row["id"]: row for row in past.select("SELECT * FROM generations")}
    for told in each[:2]:
        row = rows[told["id"]]
        assert (tiers(told), told["same"]) == (("flex", None), False)
        assert told["then"] == told["now"] | {"tier": "flex"}
        assert told["now_nanousd"] == 3_000 * row["prompt_tokens"] + 15_000 * row["completion_tokens"] > told["then_nanousd"]
    assert [tiers(told) for told in each[2:4]] == [("flex", "flex")] * 2
    [changed] = summary["changed"]
    assert (tiers(changed), changed["decisions"], summary["same_first"]) == (("flex", None), 2, 6)
    text = run(["replay", "--config", "other.toml", "--data-dir", str(past.data_dir)], past.folder).stdout
    assert "acme/tiers at lab/flex  acme/tiers at lab " in text, text


def test_a_bound_that_keeps_the_tier_out_is_the_reason(past: Gateway, provider: Provider) -> None:
    *each, summary = replay(past, config=configuration(provider.address, bound="1"))
    assert [(told["now"], told["reason"]) for told in each[2:4]] == [(None, "max_price")] * 2
    assert [(row["model"], row["reason"], row["decisions"]) for row in summary["impossible"]] == [("@preset/thrifty", "max_price", 2)]


def test_who_waited_in_vain_would_have_done_so_again(past: Gateway, provider: Provider) -> None:
    *each, summary = replay(past)
    assert summary["would_fail"] == {"decisions": 2, "then_nanousd": 0, "now_nanousd": 0}
    assert summary["expected"]["decisions"] == 0
    for told in each[6:]:
        assert (told["would_fail"], told["now_nanousd"], "expected_usd" in told) == (True, 0, False)
    assert not any("would_fail" in told for told in each[:6])
    lines = past.run("replay", "--each").stdout.splitlines()
    assert ["-> would fail" in line for line in lines[:8]] == [False] * 6 + [True] * 2
    # Somebody else might have served it.
    other = configuration(provider.address) + endpoint("acme/small", "lab", {"usual": PRICES["usual"]})
    *each, summary = replay(past, config=other)
    assert (summary["would_fail"]["decisions"], summary["expected"]["decisions"]) == (0, 2)
    assert all(told["expected_usd"] > 0 for told in each[6:])
