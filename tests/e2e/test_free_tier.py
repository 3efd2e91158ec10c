"""The free tier and what rates remember of before a restart, through the front door."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import PROVIDER_SECRET, Gateway, Provider, Reply, until
from e2e.test_spending import ask, key_of, with_keys

FREE = "lab/gift:free"
DAY_MS = 86_400_000
MODELS = """
[models."lab/gift:free"]
context_length = 100000
[[models."lab/gift:free".endpoints]]
provider = "lab"
upstream_model = "sim/echo"
[models."lab/both"]
context_length = 100000
[[models."lab/both".endpoints]]
provider = "lab"
upstream_model = "sim/echo"
usd_per_million = { prompt = "1", completion = "1" }
[[models."lab/both".endpoints]]
provider = "lab"
upstream_model = "sim/fast"
[models."lab/broken:free"]
context_length = 100000
[[models."lab/broken:free".endpoints]]
provider = "gone"
upstream_model = "sim/echo"
[providers.gone]
dialect = "openai_chat"
base_url = "http://127.0.0.1:9"
keys = []
[models."lab/narrow:free"]
context_length = 100000
[[models."lab/narrow:free".endpoints]]
provider = "narrow"
upstream_model = "sim/echo"
[providers.narrow]
dialect = "openai_chat"
base_url = "http://PROVIDER/v1"
keys = [{ secret = "SECRET", rpm = 1 }]
[teams.crew]
account = "crew"
rpm = 1
"""
KEYS = {"one": "", "two": "", "three": 'account = "other"', "four": 'team = "crew"\naccount = "crew"'}


def models(provider: Provider) -> str:
    return MODELS.replace("PROVIDER", provider.address).replace("SECRET", PROVIDER_SECRET)


def tables(provider: Provider, minute: int = 1000, day: int = 1000, more: int = 2000) -> str:
    return (
        f"{models(provider)}[free_tier]\nrequests_per_minute = {minute}\nrequests_per_day = {day}\n"
        f'requests_per_day_with_credits = {more}\ncredits_threshold_usd = "10"\n'
    )


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    # A day that ended in a test would begin another count.
    left_s = (DAY_MS - time.time() * 1000 % DAY_MS) / 1000
    if left_s < 60:
        time.sleep(left_s)
    with Provider() as provider:
        yield provider


def free(gateway: Gateway, name: str = "one", model: str = FREE, **more: Any) -> Reply:
    return ask(gateway, name, model=model, **more)


def told(gateway: Gateway, name: str = "one") -> tuple[int, int, int]:
    requests = gateway.get("/api/v1/key", key=key_of(name)).json()["data"]["free_model_daily_requests"]
    return requests["limit"], requests["used"], requests["remaining"]


def give(gateway: Gateway, usd: str) -> None:
    added = gateway.operate("POST", "/admin/credits", {"account": "default", "usd": usd, "note": "paid"})
    assert added.status in (200, 201), added.body


def check_refusal(refused: Reply, resource: str, limit: int) -> str:
    assert refused.status == 429, refused.body
    headers = refused.headers
    shown = [headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "resource")]
    assert shown == [str(limit), "0", resource]
    reset_ms, now_ms = int(headers["x-ratelimit-reset"]), time.time() * 1000
    assert now_ms < reset_ms <= now_ms + DAY_MS
    assert 1 <= int(headers["retry-after"]) <= (reset_ms - now_ms) / 1000 + 2
    return str(refused.json()["error"]["message"])


def test_the_day_is_the_accounts_and_a_top_up_helps_at_once(provider: Provider) -> None:
    with Gateway(with_keys(provider, KEYS, tables=tables(provider, day=5, more=8))) as gateway:
        # By its id, by the variant and by the router; whichever key of the account asks.
        ways = [("one", FREE), ("two", FREE), ("one", "lab/both:free"), ("two", "openrouter/free"), ("one", FREE)]
        assert [free(gateway, name, model).status for name, model in ways] == [200] * 5
        assert told(gateway) == told(gateway, "two") == (5, 5, 0)
        message = check_refusal(free(gateway), "free_requests_per_day", 5)
        assert "account is limited to 5 requests to free models per day" in message and "credit of $10, to 8" in message
        midnight_ms = (int(time.time() * 1000) // DAY_MS + 1) * DAY_MS
        assert int(free(gateway, "two", "openrouter/free").headers["x-ratelimit-reset"]) == midnight_ms
        # What costs something is another matter, as is another account.
        assert ask(gateway, "one").status == ask(gateway, "one", model="lab/both").status == free(gateway, "three").status == 200
        give(gateway, "9.999999999")
        assert free(gateway).status == 429
        give(gateway, "0.000000001")
        assert [free(gateway).status for _ in range(4)] == [200, 200, 200, 429]
        assert "once" not in check_refusal(free(gateway), "free_requests_per_day", 8)
        assert (told(gateway), told(gateway, "three")) == ((8, 8, 0), (5, 1, 4))
        marked = [row for row in gateway.generations() if row["flags"] & 256]
        assert len(marked) == 9 and all(row["charged_nanousd"] == 0 for row in marked)


def test_the_minute(provider: Provider) -> None:
    with Gateway(with_keys(provider, KEYS, tables=tables(provider, minute=3))) as gateway:
        assert [free(gateway).status for _ in range(4)] == [200, 200, 200, 429]
        message = check_refusal(free(gateway, "two"), "free_requests_per_minute", 3)
        assert "3 requests to free models per minute" in message
        assert told(gateway)[1] == 3, "what was refused does not count"


def test_it_is_taken_with_all_other_rates_or_not_at_all(provider: Provider) -> None:
    with Gateway(with_keys(provider, KEYS, tables=tables(provider))) as gateway:
        assert [free(gateway, "four").status for _ in range(3)] == [200, 429, 429]
        assert told(gateway, "four")[1] == 1
        # A request that is let in and comes to nothing before it is made.
        assert [free(gateway, model="lab/narrow:free").status for _ in range(3)] == [200, 429, 429]
        assert told(gateway)[1] == 1


def test_failover_inside_a_request_counts_once(provider: Provider) -> None:
    with Gateway(with_keys(provider, KEYS, tables=tables(provider))) as gateway:
        reply = ask(gateway, "one", model="lab/broken:free", models=["lab/broken:free", FREE])
        assert (reply.status, reply.headers["x-fairlead-attempts"]) == (200, "2"), reply.body
        assert told(gateway)[1] == 1


def test_without_the_table_nothing_is_limited(provider: Provider) -> None:
    with Gateway(with_keys(provider, KEYS, tables=models(provider))) as gateway:
        assert [free(gateway).status for _ in range(60)] == [200] * 60
        assert told(gateway) == (-1, 0, -1)
        # From a reload on.
        assert gateway.config is not None
        gateway.config.write_text(gateway.config.read_text() + "[free_tier]\nrequests_per_minute = 2\n")
        assert gateway.operate("POST", "/admin/reload").status == 200
        assert [free(gateway).status for _ in range(3)] == [200, 200, 429]
        assert told(gateway) == (50, 2, 48)


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_restart_forgets_nothing(provider: Provider, ends_well: bool) -> None:
    keys = {"one": "", "hasty": "rpm = 4", "wordy": "tpm = 2000", "spare": "rpm = 4"}
    with Gateway(with_keys(provider, keys, tables=tables(provider, minute=6, day=7))) as gateway:
        assert [free(gateway).status for _ in range(5)] == [200] * 5
        assert [ask(gateway, "hasty").status for _ in range(4)] == [200] * 4
        words = [{"role": "user", "content": "word " * 1500}]
        first = ask(gateway, "wordy", messages=words, max_tokens=1)
        assert first.status == 200, first.body
        taken = first.json()["usage"]["prompt_tokens"] + first.json()["usage"]["completion_tokens"]
        assert taken > 1000
        if ends_well:
            gateway.stop()
        else:
            gateway.kill()
        gateway.start()
        assert told(gateway) == (7, 5, 2)
        assert [free(gateway).status for _ in range(2)] == [200, 429]
        assert ask(gateway, "hasty").status == 429
        assert ask(gateway, "wordy", messages=words, max_tokens=1).status == 429
        assert [ask(gateway, "spare").status for _ in range(4)] == [200] * 4


def test_operators_see_which_requests_counted(provider: Provider) -> None:
    with Gateway(with_keys(provider, KEYS, tables=tables(provider, day=3))) as gateway:
        assert free(gateway).status == ask(gateway, "one").status == 200
        until(lambda: len(gateway.generations()) == 2, "the rows are there")
        flags = {row["model"]: "free_tier" in row["flags"] for row in json.loads(gateway.operate("GET", "/admin/requests").body)["data"]}
        assert flags == {FREE: True, "lab/echo": False}
