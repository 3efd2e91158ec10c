"""Shadow traffic: a second model gets copies of requests. The caller notices nothing, and the second provider's ledger equals ours."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from e2e.house import ADMIN_TOKEN, KEY, PRICES, Gateway, Reply, billed_nanousd, until
from e2e.judge import Judge
from e2e.test_failover import CHAT, CLIENTS, MESSAGES, asked, text_of

SHADOW = 1 << 7
COMPLETE = "complete"
"""How the simulator calls a request that it served to the end."""
FIRST_N = 64
"""The place of a shadow among the attempts of its generation: behind any that the caller could have."""
PAIRS = {"acme/same": "other/chat", "acme/told": "other/messages"}
"""A model → its shadow, that is spoken to in chat's words, or in those of Messages."""
LIMITED = {"acme/tight": "other/tight"}


def configuration(first: str, second: str, server: str = "") -> str:
    text = f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n{server}\n[keys.e2e]\nsecret = "{KEY}"\nmodels = ["acme/*"]\n'
    keys = dict.fromkeys(("one", "chat", "messages"), '["k"]') | {"tight": '[{ secret = "k", max_concurrency = 1 }]'}
    more = {"one": "cancel_stops_billing = true\ndata_policy = { zdr = true }\n"}
    for slug, dialect, base in (
        ("one", CHAT, f"{first}/v1"),
        ("chat", CHAT, f"{second}/v1"),
        ("messages", MESSAGES, second),
        ("tight", CHAT, f"{second}/v1"),
    ):
        text += f'[providers.{slug}]\ndialect = "{dialect}"\nbase_url = "http://{base}"\nkeys = {keys[slug]}\n{more.get(slug, "")}'
    prices = ", ".join(f'{name} = "{usd}"' for name, usd in PRICES.items())
    providers = dict.fromkeys((*PAIRS, *LIMITED, "acme/some", "acme/plain"), "one")
    providers |= {"other/chat": "chat", "other/messages": "messages", "other/tight": "tight"}
    for model, provider in providers.items():
        text += f'[models."{model}"]\naliases = ["{model.replace("/", "-")}"]\n[[models."{model}".endpoints]]\nprovider = "{provider}"\n'
        text += f'upstream_model = "sim/fast"\nusd_per_million = {{ {prices} }}\n'
    for model, shadow in (PAIRS | LIMITED).items():
        text += f'[shadows."{model}"]\nmodel = "{shadow}"\nshare = 1\n'
    return text + '[shadows."acme/some"]\nmodel = "other/chat"\nshare = 0.4\n'


class House(NamedTuple):
    """A gateway before a provider that answers and one that is only tried."""

    gateway: Gateway
    first: Judge
    second: Judge

    def ask(self, client: str = CHAT, model: str = "acme/same", *, stream: bool = False, **fields: Any) -> Reply:
        path, body = asked(client, model, stream, "/api" if client in (CHAT, MESSAGES) else "")
        body = {**body, **fields}
        if "provider" not in fields:
            body.pop("provider", None)
        return self.gateway.post(path, body)

    def shadow(self, reply: Reply) -> dict[str, Any]:
        """The row of a generation's shadow."""

        def found() -> list[dict[str, Any]]:
            attempts: list[dict[str, Any]] = self.gateway.generation(reply.generation)["attempts"]
            return [attempt for attempt in attempts if attempt["flags"] & SHADOW]

        [row] = until(found, "the shadow is recorded")
        assert row["n"] == FIRST_N
        return row

    def counts(self) -> tuple[int, int, int]:
        """Sent, failed, dropped."""
        sent, failed, dropped = (self.gateway.gauge(f"shadows_{name}_total") for name in ("sent", "failed", "dropped"))
        return sent, failed, dropped


@pytest.fixture(scope="module")
def rooms() -> Iterator[House]:
    with Judge(seed=1) as first, Judge(seed=2) as second, Gateway(configuration(first.address, second.address)) as gateway:
        yield House(gateway, first, second)


@pytest.fixture
def house(rooms: House) -> House:
    rooms.first.forget_scripts()
    until(lambda: rooms.second.open_requests() == 0, "nothing is left of the test before")
    rooms.second.forget_scripts()
    rooms.gateway.forget_health()
    return rooms


@pytest.fixture
def start() -> Iterator[Callable[..., House]]:
    """`start(server lines)`: a house of the test's own."""
    with ExitStack() as stack:

        def begin(server: str = "") -> House:
            first, second = stack.enter_context(Judge(seed=1)), stack.enter_context(Judge(seed=2))
            return House(stack.enter_context(Gateway(configuration(first.address, second.address, server))), first, second)

        yield begin


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", PAIRS)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_copy_is_sent_and_its_cost_is_recorded(house: House, client: str, model: str, stream: bool) -> None:
    marks = house.first.mark(), house.second.mark()
    reply = house.ask(client, model, stream=stream)
    assert text_of(client, reply, stream)
    [own], [copy] = house.first.since(marks[0], 1), house.second.since(marks[1], 1)
    row, generation = house.shadow(reply), house.gateway.generation(reply.generation)
    assert (row["status"], row["error"], row["provider"]) == (200, "", PAIRS[model].partition("/")[2])
    assert row["upstream_cost_nanousd"] == billed_nanousd(copy) > 0
    assert copy["outcome"] == COMPLETE
    assert generation["charged_nanousd"] == generation["upstream_cost_nanousd"] == billed_nanousd(own)
    assert [attempt["n"] for attempt in generation["attempts"]] == [0, FIRST_N]
    assert reply.headers["x-fairlead-attempts"] == "1"
    shown = house.gateway.get(f"/api/v1/generation?id={reply.generation}").json()["data"]
    assert [attempt["provider_name"] for attempt in shown["provider_responses"]] == ["one"], "the caller sees its own alone"


def test_it_is_the_same_request(house: House) -> None:
    text_of(CHAT, house.ask(model="acme-same", temperature=0.25, user="me"), stream=False)
    own, copy = house.first.last_request(), until(lambda: house.second.requests(1), "the copy came")[0]
    assert own["body"] == copy["body"] != ""
    assert '"temperature": 0.25' in copy["body"] and '"me"' not in copy["body"], "end users stay unknown there too"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", PAIRS)
def test_a_legacy_completion_is_read_as_what_it_was_asked_for_as(house: House, model: str, stream: bool) -> None:
    """A model that knows chat alone is asked for one. Without figures of its provider's, what it costs is counted from its text."""
    house.second.script({"usage": "absent", "tokens": 30})
    mark = house.second.mark()
    reply = house.gateway.post("/v1/completions", {"model": model, "prompt": "Hello", "stream": stream})
    assert reply.status == 200, reply.body
    row, [copy] = house.shadow(reply), house.second.since(mark, 1)
    assert (row["error"], copy["outcome"]) == ("", COMPLETE)
    assert row["upstream_cost_nanousd"] >= billed_nanousd(copy) > 0


def test_whoever_has_no_shadow_has_none(house: House) -> None:
    before, mark = house.counts(), house.second.mark()
    assert house.ask(model="acme/plain").status == 200
    counted = {"model": "acme/same", "messages": [{"role": "user", "content": "Say something"}]}
    assert house.gateway.post("/v1/messages/count_tokens", counted).status == 200
    assert house.ask(model="acme/nothing").status == 404
    assert (house.counts(), house.second.since(mark)) == (before, [])


def test_the_caller_waits_for_nothing(house: House) -> None:
    house.second.script({"delay_ms": 6_000}, {"delay_ms": 6_000})
    for stream in (False, True):
        assert text_of(CHAT, house.ask(stream=stream), stream)
    # Whoever had waited for the first would not see it run.
    until(lambda: house.second.open_requests() == 2, "both shadows run")


def test_it_begins_when_the_request_is_out(house: House) -> None:
    house.first.script({"delay_ms": 1_500})
    mark, began = house.second.mark(), time.monotonic()
    reply = house.ask()
    assert time.monotonic() - began > 1.4
    # It was over long before the caller's own, and is recorded all the same.
    assert len(house.second.since(mark)) == 1 and text_of(CHAT, reply, stream=False)
    assert house.shadow(reply)["upstream_cost_nanousd"] > 0


def test_a_request_that_was_never_sent_has_none(start: Callable[..., House]) -> None:
    house = start()
    house.first.__exit__()
    before = house.counts()
    assert house.ask().status == 502
    assert (house.counts(), house.second.ledger()["records"]) == (before, [])


def test_it_outlives_the_caller(house: House) -> None:
    house.first.script({"tokens": 100_000, "pace_ms": 20})
    house.second.script({"tokens": 60, "pace_ms": 10})
    mark = house.second.mark()
    path, body = asked(CHAT, "acme/same", stream=True)
    body.pop("provider")
    with house.gateway.stream(path, body) as response:
        generation = response.headers["x-generation-id"]
        until(lambda: house.second.open_requests() == 1, "the shadow runs")
    until(lambda: house.gateway.generation(generation)["outcome"] == "cancelled", "the caller has left")
    [copy] = house.second.since(mark, 1)
    assert (copy["outcome"], copy["completion_tokens"]) == (COMPLETE, 60)
    row = until(lambda: house.gateway.select("SELECT * FROM attempts WHERE generation_id = ? AND n = ?", [generation, FIRST_N]), "recorded")
    assert row[0]["upstream_cost_nanousd"] == billed_nanousd(copy)


def test_its_failure_is_its_own(house: House) -> None:
    before = house.counts()
    house.second.script({"fault": {"kind": "status", "status": 503}})
    reply = house.ask()
    assert text_of(CHAT, reply, stream=False)
    row = house.shadow(reply)
    assert (row["status"], row["error"], row["upstream_cost_nanousd"]) == (503, "provider_status", 0)
    assert [now - then for now, then in zip(house.counts(), before, strict=True)] == [1, 1, 0]
    assert house.gateway.generation(reply.generation)["outcome"] == "completed"
    known = house.gateway.operate("GET", "/admin/health").json()
    assert "other/chat" in str(known), known


def test_where_no_key_is_free_it_is_dropped(house: House) -> None:
    house.second.script({"delay_ms": 800})
    before = house.counts()
    first, second = house.ask(model="acme/tight"), house.ask(model="acme/tight")
    assert {first.status, second.status} == {200}
    until(lambda: house.counts()[2] == before[2] + 1, "the second found no key")
    assert house.counts()[0] == before[0] + 1
    assert house.shadow(first)["status"] == 200
    assert len(house.gateway.generation(second.generation)["attempts"]) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"provider": {"only": ["one"]}},
        {"provider": {"zdr": True}},
        {"messages": [{"role": "user", "content": "long " * 250_000}]},
    ],
)
def test_what_may_not_go_there_is_dropped(house: House, fields: dict[str, Any]) -> None:
    before, mark = house.counts(), house.second.mark()
    assert house.ask(**fields).status == 200
    until(lambda: house.counts()[2] == before[2] + 1, "it is counted")
    assert house.second.since(mark) == []


def test_the_share_is_kept(house: House) -> None:
    before, mark = house.counts(), house.second.mark()
    for _ in range(100):
        assert house.ask(model="acme/some").status == 200
    until(lambda: house.second.open_requests() == 0, "all are over")
    sent = house.counts()[0] - before[0]
    # 40 are expected; one in 10,000 such tests sees fewer or more than this.
    assert 20 <= sent <= 60 and len(house.second.since(mark, sent)) == sent


def test_the_sums_have_it(start: Callable[..., House]) -> None:
    house = start()
    replies = [house.ask(stream=stream) for stream in (False, True, True)]
    rows = [house.shadow(reply) for reply in replies]
    cost = sum(row["upstream_cost_nanousd"] for row in rows)
    assert cost == sum(map(billed_nanousd, house.second.ledger()["records"])) > 0
    by_model = {row["model"]: row for row in house.gateway.operate("GET", "/admin/usage").json()["data"]}
    shadow = by_model["other/chat"]
    assert (shadow["requests"], shadow["completion_tokens"], Decimal(shadow["charged_usd"])) == (0, 0, 0)
    assert Decimal(shadow["upstream_cost_usd"]) * 10**9 == cost
    assert by_model["acme/same"]["requests"] == 3
    [row] = json.loads(house.gateway.run("usage", "--by", "shadow", "--json").stdout)["data"]
    assert (row["model"], row["shadow"], row["requests"], row["completed"], row["failed"]) == ("acme/same", "other/chat", 3, 3, 0)
    assert (row["first_tokens"], Decimal(row["charged_usd"]), Decimal(row["upstream_cost_usd"]) * 10**9) == (2, 0, cost)
    assert row["total_p50_ms"] > 0 and row["first_token_p50_ms"] > 0
    assert "other/chat" in house.gateway.run("usage", "--by", "shadow").stdout
    shown = house.gateway.run("usage", "--generation", replies[0].generation).stdout
    assert [line.split()[0:5:4] for line in shown.splitlines() if "  shadow" in line] == [["chat", "shadow"]], shown


def test_a_replay_leaves_it_out(start: Callable[..., House]) -> None:
    house = start()
    house.second.script({"delay_ms": 1_500})
    reply = house.ask()
    until(lambda: house.gateway.select("SELECT 1 FROM generations WHERE id = ?", [reply.generation]), "it is applied")
    applied = house.gateway.select("SELECT * FROM cursors")
    house.shadow(reply)
    assert house.gateway.stop() == 0
    shown = []
    # All is in the database; the shadow's record alone is in the journal only; so are all records.
    for cursors in (None, applied, []):
        if cursors is not None:
            with closing(sqlite3.connect(house.gateway.data_dir / "fairlead.db")) as connection, connection:
                connection.execute("DELETE FROM cursors")
                rows = [tuple(row.values()) for row in cursors]
                connection.executemany("INSERT INTO cursors VALUES (?, ?, ?, ?, ?)", rows)
                if not cursors:
                    connection.execute("DELETE FROM attempts")
                    connection.execute("DELETE FROM generations")
        done = house.gateway.run("replay", "--json", "--each")
        assert (done.returncode, done.stderr) == (0, "")
        shown.append([json.loads(line) for line in done.stdout.splitlines()])
    assert shown[0] == shown[1] == shown[2] and shown[0][0]["id"] == reply.generation


def test_a_drain_waits_for_it(start: Callable[..., House]) -> None:
    house = start()
    house.second.script({"delay_ms": 1_500})
    reply = house.ask()
    until(lambda: house.second.open_requests() == 1, "it runs")
    assert house.gateway.stop() == 0
    [copy] = house.second.since(0, 1)
    [row] = house.gateway.select("SELECT * FROM attempts WHERE generation_id = ? AND n = ?", [reply.generation, FIRST_N])
    assert (copy["outcome"], row["error"], row["upstream_cost_nanousd"]) == (COMPLETE, "", billed_nanousd(copy))


def test_a_drain_out_of_time_cuts_it_off_and_records_it(start: Callable[..., House]) -> None:
    house = start("drain_ms = 300")
    house.second.script({"tokens": 100_000, "pace_ms": 20})
    reply = house.ask(stream=True)
    until(lambda: house.second.open_requests() == 1, "it runs")
    assert house.gateway.stop() == 0
    house.second.since(0, 1)
    [row] = house.gateway.select("SELECT * FROM attempts WHERE generation_id = ? AND n = ?", [reply.generation, FIRST_N])
    assert row["error"] == "shutting_down" and row["upstream_cost_nanousd"] > 0
    assert house.gateway.select("SELECT outcome FROM generations") == [{"outcome": "completed"}]


def test_a_kill_loses_its_record_and_nothing_else(start: Callable[..., House]) -> None:
    house = start()
    house.second.script({"tokens": 100_000, "pace_ms": 20})
    reply = house.ask()
    until(lambda: house.second.open_requests() == 1, "it runs")
    house.gateway.kill()
    house.gateway.start()
    generation = house.gateway.generation(reply.generation)
    assert (generation["outcome"], [attempt["n"] for attempt in generation["attempts"]]) == ("completed", [0])
    after = house.ask()
    assert house.shadow(after)["error"] == ""
    assert [row["outcome"] for row in house.gateway.generations()] == ["completed", "completed"]
