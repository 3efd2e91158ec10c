"""Budgets, credit and rates through the front door: what is let in, what is refused and how, and that both are exact."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from e2e.house import COMPLETION_NANOUSD, KEY, MANAGEMENT_KEY, PROMPT_NANOUSD, Gateway, Provider, Reply, configuration, until

MESSAGES = [{"role": "user", "content": "Say something about ropes."}]
CHAT = "/v1/chat/completions"


def key_of(name: str) -> str:
    """A key of the configuration, made from its name."""
    return "sk-fl-v1-" + name.encode().hex().ljust(64, "0")


def with_keys(provider: Provider, keys: dict[str, str], **more: Any) -> str:
    """A configuration with these keys: name → lines of its table."""
    tables = "".join(f'[keys.{name}]\nsecret = "{key_of(name)}"\n{lines}\n' for name, lines in keys.items())
    return configuration(provider.address, tables=tables + more.pop("tables", ""), **more)


def ask(gateway: Gateway, name: str, **more: Any) -> Reply:
    return gateway.post(CHAT, {"model": "lab/echo", "messages": MESSAGES, "max_tokens": 50, **more}, key=key_of(name))


KEYS = {
    "hasty": "rpm = 3",
    "wordy": "tpm = 200",
    "narrow": "max_concurrency = 2",
    "daily": 'limit_usd = "0.002"\nlimit_reset = "daily"',
    "broke": 'limit_usd = "0"',
    "free": "",
}


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(with_keys(provider, KEYS)) as gateway:
        yield gateway


def test_requests_per_minute(gateway: Gateway) -> None:
    statuses = [ask(gateway, "hasty").status for _ in range(3)]
    refused = ask(gateway, "hasty")
    assert (statuses, refused.status) == ([200] * 3, 429), refused.body
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert [refused.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "resource")] == ["3", "0", "requests"]
    assert "this key is limited to 3 requests per minute" in refused.json()["error"]["message"]
    assert ask(gateway, "free").status == 200


def test_tokens_per_minute(gateway: Gateway) -> None:
    never = ask(gateway, "wordy", max_tokens=1000)
    assert never.status == 429 and never.headers["x-should-retry"] == "false" and "max_tokens smaller" in never.json()["error"]["message"]
    # An estimate of some 70 each, of which a dozen are used: what was not used comes back.
    assert [ask(gateway, "wordy").status for _ in range(5)] == [200] * 5


def test_requests_at_the_same_time(gateway: Gateway, provider: Provider) -> None:
    body = {"model": "lab/slow", "messages": MESSAGES, "stream": True}
    with gateway.stream(CHAT, body, key=key_of("narrow")) as one, gateway.stream(CHAT, body, key=key_of("narrow")) as two:
        assert (one.status, two.status) == (200, 200)
        refused = ask(gateway, "narrow")
        assert refused.status == 429 and refused.headers["retry-after"] == "1", refused.body
        assert "2 requests at the same time" in refused.json()["error"]["message"]
    until(lambda: ask(gateway, "narrow").status == 200, "the places are free again")


def test_a_budget_is_kept_to(gateway: Gateway) -> None:
    refused = ask(gateway, "broke")
    assert refused.status == 402 and refused.headers["x-should-retry"] == "false", refused.body
    assert "limit of $0" in refused.json()["error"]["message"]
    # 0.002 dollars: a call of 50 tokens may cost some 0.0009, and costs less.
    spent = 0
    while (reply := ask(gateway, "daily")).status == 200:
        usage = reply.json()["usage"]
        spent += usage["prompt_tokens"] * PROMPT_NANOUSD + usage["completion_tokens"] * COMPLETION_NANOUSD
        assert spent <= 2_000_000
    assert reply.status == 402 and spent > 0, reply.body
    message = reply.json()["error"]["message"]
    assert "daily limit of $0.002" in message and "max_tokens of" in message, message
    # What it says would fit fits.
    fits = int(message.partition("max_tokens of ")[2].split()[0])
    assert 0 < fits < 50 and ask(gateway, "daily", max_tokens=fits).status == 200
    told = gateway.get("/api/v1/key", key=key_of("daily")).json()["data"]
    assert told["limit"] == 0.002 and told["limit_reset"] == "daily" and 0 <= told["limit_remaining"] < 0.001
    assert round(told["limit"] - told["limit_remaining"], 9) == round(told["usage_daily"], 9)


def test_a_thousand_at_once(gateway: Gateway, provider: Provider, proof: bool) -> None:
    """On a budget for some fifty: never more is spent than there is, whoever comes first."""
    made = gateway.operate("POST", "/admin/keys", {"name": "crowd", "limit_usd": "0.006"})
    assert made.status == 201, made.body
    key = made.json()["key"]
    body = {"model": "lab/echo", "messages": MESSAGES, "max_tokens": 60}
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda _: gateway.post(CHAT, body, key=key), range(1000 if proof else 300)))
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) == {200, 402}, statuses
    id = made.json()["data"]["id"]
    rows = gateway.generations("key_id = ?", [id])
    assert len(rows) == statuses[200] and 0 < sum(row["charged_nanousd"] for row in rows) <= 6_000_000
    assert json.loads(gateway.operate("GET", f"/admin/keys/{id}").body)["data"]["limit"] is not None


def test_credit_is_paid_in_advance(provider: Provider) -> None:
    with Gateway(with_keys(provider, {"payer": ""}, tables="[credits]\nenforce = true\n")) as gateway:
        refused = ask(gateway, "payer")
        assert refused.status == 402 and "credit" in refused.json()["error"]["message"], refused.body
        added = gateway.operate("POST", "/admin/credits", {"account": "default", "usd": "0.01", "note": "start"})
        assert added.status in (200, 201), added.body
        # It holds for the very next request.
        first = ask(gateway, "payer")
        assert first.status == 200, first.body
        cost = first.json()["usage"]["cost"]
        told = gateway.get("/api/v1/credits", key=MANAGEMENT_KEY).json()["data"]
        assert told["total_credits"] == 0.01 and round(told["total_usage"], 9) == round(cost, 9)
        while ask(gateway, "payer").status == 200:
            pass
        gateway.kill()
        gateway.start()
        # What was spent before it died is not forgotten.
        assert ask(gateway, "payer").status == 402
        assert gateway.operate("POST", "/admin/credits", {"account": "default", "usd": "0.01", "note": "more"}).status in (200, 201)
        assert ask(gateway, "payer").status == 200


def test_a_change_holds_for_the_next_request(gateway: Gateway) -> None:
    made = gateway.operate("POST", "/admin/keys", {"name": "changing"}).json()
    key, id = made["key"], made["data"]["id"]
    body = {"model": "lab/echo", "messages": MESSAGES, "max_tokens": 50}
    for _ in range(20):
        for limit, status in (("0", 402), ("1", 200), (None, 200)):
            changed = gateway.operate("PATCH", f"/admin/keys/{id}", {"limit_usd": limit})
            assert changed.status == 200, changed.body
            assert gateway.post(CHAT, body, key=key).status == status


def test_nested_limits_hold_together(provider: Provider) -> None:
    """A team's budget bounds its keys', and a refusal takes nothing from anybody."""
    tables = '[teams.crew]\nlimit_usd = "0.003"\nrpm = 1000\n'
    keys = {"one": 'team = "crew"\nlimit_usd = "1"', "two": 'team = "crew"\nlimit_usd = "1"'}
    with Gateway(with_keys(provider, keys, tables=tables)) as gateway:
        stop = threading.Event()

        def spend(name: str) -> int:
            count = 0
            while not stop.is_set():
                status = ask(gateway, name).status
                assert status in (200, 402)
                if status == 402:
                    return count
                count += 1
            return count

        with ThreadPoolExecutor(8) as pool:
            done = sum(pool.map(spend, ["one", "two"] * 4))
        rows = gateway.generations()
        assert len(rows) == done > 0 and sum(row["charged_nanousd"] for row in rows) <= 3_000_000
        assert "team" in ask(gateway, "one").json()["error"]["message"]


def test_the_default_key_is_not_limited(gateway: Gateway) -> None:
    assert gateway.post(CHAT, {"model": "lab/echo", "messages": MESSAGES}, key=KEY).status == 200
