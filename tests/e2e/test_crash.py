"""`kill -9` under load: what a client received in full is in the books once, at what the simulator's ledger says; no more is charged."""

import contextlib
import itertools
import json
import math
import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from fairlead import _native

from e2e.house import Gateway, ProviderProcess, configuration, cost_nanousd, until
from e2e.wire import DIALECTS, PATHS, Wire, body_of, is_terminal

# Odd on purpose: few sums of these are whole nano-dollars, so a rounding in the wrong place shows.
PRICES = {"prompt": "1.234567", "completion": "7.654321", "cache_read": "0.123457", "cache_write": "1.543211"}
CUSTOMERS = 6
# Flags of a record.
ESTIMATED, RECOVERED, CONTENT = 1, 4, 64


@dataclass
class Deal:
    """One request, as its client saw it."""

    tag: int
    dialect: str
    manner: str
    generation: str = ""
    complete: bool = False
    """The whole reply, or the stream's terminal event, was received."""
    cost: Decimal | None = None
    """What the reply itself said that it cost, in dollars."""


class Market:
    """Customers on connections of their own, each sending request after request until its connection breaks."""

    def __init__(self, dice: random.Random) -> None:
        self.deals: list[Deal] = []
        self.surprises: list[str] = []
        self._dice = dice
        self._tags = itertools.count(1)

    @contextlib.contextmanager
    def open(self, address: str) -> Iterator[None]:
        """The customers deal with that address until it dies, which must happen inside."""
        customers = [threading.Thread(target=self._customer, args=(address, random.Random(self._dice.random()))) for _ in range(CUSTOMERS)]
        for customer in customers:
            customer.start()
        yield
        for customer in customers:
            customer.join(60)
            assert not customer.is_alive(), "a customer's connection outlived the gateway"

    def _customer(self, address: str, dice: random.Random) -> None:
        try:
            # A connection that breaks is the point of the test; anything else is not.
            with contextlib.suppress(ConnectionError), Wire(address) as wire:
                while True:
                    self._deal(wire, dice)
        except Exception as error:
            self.surprises.append(f"{type(error).__name__}: {error}")

    def _deal(self, wire: Wire, dice: random.Random) -> None:
        deal = Deal(next(self._tags), dice.choice(DIALECTS), dice.choice(("", "/api")))
        self.deals.append(deal)
        stream = dice.random() < 0.6
        script = {
            "tag": deal.tag,
            # Some are so long that how far they have come is noted on the way.
            "tokens": dice.choice((dice.randrange(1, 40), dice.randrange(1, 40), 1500)),
            "delay_ms": dice.choice((0, 0, 20)),
            "pace_ms": dice.choice((0, 0, 3)),
            "prompt_tokens": dice.randrange(20, 3000),
            "cached_tokens": dice.choice((0, 19)),
        }
        body = body_of(
            "Hello", model="lab/fast", dialect=deal.dialect, sim=script, session_id=str(deal.tag), **({"stream": True} if stream else {})
        )
        if stream and deal.dialect == "openai_chat":
            body["stream_options"] = {"include_usage": True}
        wire.post(deal.manner + PATHS[deal.dialect], body)
        answer = wire.head()
        deal.generation = answer.header("x-generation-id") or ""
        if answer.status != 200:
            self.surprises.append(f"{answer.status}: {b''.join(wire.pieces(answer))[:300]!r}")
        elif stream:
            for event in wire.events(answer):
                deal.cost = cost_in(event) or deal.cost
                deal.complete |= is_terminal(deal.dialect, event)
        else:
            body = b"".join(wire.pieces(answer))
            deal.complete, deal.cost = True, cost_in(body)


def cost_in(text: bytes) -> Decimal | None:
    """The figure behind `"cost":`."""
    _, found, rest = text.partition(b'"cost":')
    return Decimal(rest.lstrip().split(b",")[0].split(b"}")[0].decode()) if found else None


@pytest.fixture
def judge() -> Iterator[ProviderProcess]:
    """A simulator that nothing here kills."""
    with ProviderProcess() as running:
        until(lambda: running.mark() == 0, "the simulator answers")
        yield running


@pytest.fixture
def victim(judge: ProviderProcess) -> Iterator[Gateway]:
    """A gateway, not started."""
    gateway = Gateway(configuration(judge.address, prices=PRICES))
    yield gateway
    gateway.close()


def test_a_crash_loses_nothing_and_bills_nothing_twice(
    judge: ProviderProcess, victim: Gateway, dice: random.Random, counts: Callable[[int, int], int], capsys: pytest.CaptureFixture[str]
) -> None:
    market = Market(dice)
    ready_ms: list[int] = []
    for _ in range(counts(6, 100)):
        if dice.random() < 0.4:
            killed_at_the_start(victim, dice)
        victim.start()
        ready_ms.append(victim.ready["ready_ms"])
        with market.open(victim.address):
            time.sleep(dice.uniform(0.02, 0.5))
            victim.kill()
    victim.start()
    check_books(judge, victim, market)
    complete = sum(deal.complete for deal in market.deals)
    median_ms = sorted(ready_ms)[len(ready_ms) // 2]
    with capsys.disabled():
        print(f"\n{len(ready_ms)} kills, {len(market.deals)} requests, {complete} received in full; ready after {median_ms} ms (median)")
    # What was settled before it may all be in the database, and its segments gone.
    assert victim.post(PATHS["openai_chat"], {"model": "lab/echo", "messages": [{"role": "user", "content": "Hello"}]}).status == 200
    assert victim.stop() == 0
    check_books_at_rest(victim)


def test_a_crash_with_a_database_that_takes_nothing(judge: ProviderProcess, victim: Gateway, dice: random.Random) -> None:
    market = Market(dice)
    victim.start()
    with sqlite3.connect(victim.data_dir / "fairlead.db", isolation_level=None) as hindrance:
        # From here on nothing can be written to the database, as when its disk is full: the journal alone holds what happens.
        hindrance.execute("BEGIN IMMEDIATE")
        with market.open(victim.address):
            until(lambda: sum(deal.complete for deal in market.deals) >= 100, "a hundred replies")
            victim.kill()
        assert hindrance.execute("SELECT count(*) FROM generations").fetchone()[0] < 100
        hindrance.execute("ROLLBACK")
    hindrance.close()
    victim.start()
    check_books(judge, victim, market)
    assert victim.stop() == 0
    check_books_at_rest(victim)


def test_an_older_database_catches_up(judge: ProviderProcess, victim: Gateway, dice: random.Random) -> None:
    market = Market(dice)
    victim.start()
    with market.open(victim.address):
        until(lambda: sum(deal.complete for deal in market.deals) >= 30, "some replies")
        backup = sqlite3.connect(":memory:")
        with contextlib.closing(sqlite3.connect(victim.data_dir / "fairlead.db")) as source:
            source.backup(backup)
        had = len(market.deals)
        until(lambda: len(market.deals) >= had + 100, "more of them")
        victim.kill()
    for leftover in victim.data_dir.glob("fairlead.db*"):
        leftover.unlink()
    with contextlib.closing(sqlite3.connect(victim.data_dir / "fairlead.db")) as target:
        backup.backup(target)
    backup.close()
    victim.start()
    check_books(judge, victim, market)
    assert victim.stop() == 0
    check_books_at_rest(victim)


def test_a_stream_that_a_crash_cuts_is_settled_close_to_the_truth(judge: ProviderProcess, victim: Gateway) -> None:
    victim.start()
    with Wire(victim.address) as wire:
        body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": 1, "tokens": 100_000, "pace_ms": 1}, stream=True)
        wire.post("/v1/chat/completions", body)
        answer = wire.head()
        received = 0
        for event in wire.events(answer):
            received += len(content_in(event))
            if received >= 4 * 2000:
                break
        victim.kill()
    victim.start()
    [row] = victim.generations()
    check_books_at_rest(victim)
    assert (row["outcome"], row["error"], row["streamed"], row["dialect"]) == ("recovered", "interrupted", 1, "openai_chat")
    assert row["flags"] & RECOVERED and row["flags"] & ESTIMATED and row["flags"] & CONTENT
    assert row["upstream_id"]
    # The last note is less than a step behind what was delivered, and never before it: the client may have read less than that.
    assert received // 4 - 256 - 1 <= row["completion_tokens"], (row, received)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"]
    price = {name: Decimal(usd) * 1000 for name, usd in PRICES.items()}
    expected = row["prompt_tokens"] * price["prompt"] + row["completion_tokens"] * price["completion"]
    assert row["charged_nanousd"] == math.ceil(expected)
    check_verified(victim)


def test_a_call_that_no_provider_got_is_void_after_a_crash() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # It takes connections and says nothing: the handshake never ends.
        port = silent.getsockname()[1]
        gateway = Gateway(configuration(f"127.0.0.1:{port}", prices=PRICES, scheme="https"))
        try:
            gateway.start()
            with Wire(gateway.address) as wire:
                wire.post("/v1/chat/completions", body_of("Hello", model="lab/fast", dialect="openai_chat"))
                connection, _ = silent.accept()
                assert connection.recv(1) == b"\x16", "a handshake has begun"
                gateway.kill()
                connection.close()
            gateway.start()
            [row] = gateway.generations()
        finally:
            gateway.close()
    assert (row["outcome"], row["error"], row["flags"]) == ("void", "interrupted", RECOVERED)
    assert (row["charged_nanousd"], row["upstream_cost_nanousd"], row["prompt_tokens"]) == (0, 0, 0)


def test_settlements_that_survive_a_power_loss(judge: ProviderProcess, dice: random.Random) -> None:
    """The end of each reply waits for the disk: nothing else is seen of it here but that all of it still comes."""
    gateway = Gateway(configuration(judge.address, prices=PRICES, tables='[storage]\ndurability = "power"\n'))
    try:
        market = Market(dice)
        gateway.start()
        with market.open(gateway.address):
            until(lambda: sum(deal.complete for deal in market.deals) >= 50, "fifty replies")
            gateway.kill()
        gateway.start()
        check_books(judge, gateway, market)
    finally:
        gateway.close()


def check_verified(gateway: Gateway) -> None:
    """`fairlead ledger verify` agrees, beside the server or without it."""
    verified = gateway.run("ledger", "verify", "--json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["ok"], verified


def content_in(event: bytes) -> bytes:
    """What a chat chunk adds to the reply, as JSON writes it."""
    _, found, rest = event.partition(b'"content":"')
    return rest.partition(b'"')[0] if found else b""


def killed_at_the_start(victim: Gateway, dice: random.Random) -> None:
    """A start that is killed on its way: while it imports, recovers the journal or opens its ports."""
    victim.launch()
    time.sleep(dice.uniform(0.0, 0.6))
    victim.kill()


def check_books(judge: ProviderProcess, gateway: Gateway, market: Market) -> None:
    """The running gateway's books against what the clients saw and what the simulator did."""
    assert not market.surprises, market.surprises[:5]
    until(lambda: judge.open_requests() == 0, "the simulator has noticed that nobody listens")
    records = {record["tag"]: record for record in judge.since(0)}
    by_reply = {record["reply_id"]: record for record in records.values()}
    assert len(by_reply) == len(records) == len(judge.since(0)), "a request reached the provider twice"
    rows = gateway.generations()
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)

    complete = [deal for deal in market.deals if deal.complete]
    assert complete
    for deal in complete:
        check_deal(deal, by_id[deal.generation], records[deal.tag])
    for row in rows:
        check_row(row, by_reply)
    check_verified(gateway)
    # Every request that reached the provider was reserved first, and nothing was reserved that no client asked for.
    assert len(records) <= len(rows) <= len(market.deals)
    # Only what was open when the process died is unsettled: at most what each of the customers had in flight.
    settled = Counter(row["session_id"] for row in rows if row["error"] != "interrupted")
    assert max(settled.values()) == 1
    check_sums(gateway, rows)


def check_deal(deal: Deal, row: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    cost = cost_nanousd(record, PRICES)
    assert row["outcome"] == "completed", row
    assert (row["upstream_id"], row["session_id"], row["dialect"]) == (record["reply_id"], str(deal.tag), deal.dialect)
    assert (row["upstream_cost_nanousd"], row["charged_nanousd"]) == (cost, cost), (row, record)
    assert deal.cost is not None and deal.cost * 10**9 == cost, (deal, cost)


def check_row(row: Mapping[str, Any], by_reply: Mapping[str, Mapping[str, Any]]) -> None:
    if row["error"] == "interrupted":
        check_interrupted(row, by_reply)
        return
    assert row["outcome"] == "completed", row
    # Settled before the client was told; whether that still reached it does not change what it cost.
    assert row["upstream_cost_nanousd"] == row["charged_nanousd"] == cost_nanousd(by_reply[row["upstream_id"]], PRICES), row


def check_interrupted(row: Mapping[str, Any], by_reply: Mapping[str, Mapping[str, Any]]) -> None:
    """What was open when the process died: charged for what had been delivered, as far as was noted, and for nothing else."""
    assert row["flags"] & RECOVERED, row
    if row["outcome"] == "void":
        assert (row["charged_nanousd"], row["upstream_cost_nanousd"]) == (0, 0), row
        return
    assert row["outcome"] == "recovered" and row["flags"] & ESTIMATED, row
    if not row["flags"] & CONTENT:
        assert row["charged_nanousd"] == row["completion_tokens"] == 0, row
        return
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0, row
    assert row["upstream_id"] in by_reply, row


def check_sums(gateway: Gateway, rows: list[dict[str, Any]]) -> None:
    """The sums kept beside the rows are the rows' sums, and each row's attempts add up to it."""
    sums = gateway.select(
        "SELECT sum(requests) AS requests, sum(charged_nanousd) AS charged, sum(upstream_cost_nanousd) AS cost FROM usage_rollup"
        " WHERE res = 3 AND dim = 0"
    )[0]
    charged, cost = (sum(row[f"{name}_nanousd"] for row in rows) for name in ("charged", "upstream_cost"))
    assert sums == {"requests": len(rows), "charged": charged, "cost": cost}
    attempts = gateway.select(
        "SELECT generation_id AS id, count(*) AS n, sum(upstream_cost_nanousd) AS cost FROM attempts GROUP BY generation_id"
    )
    assert {attempt["id"]: (attempt["n"], attempt["cost"]) for attempt in attempts} == {
        row["id"]: (1, row["upstream_cost_nanousd"]) for row in rows
    }


def check_books_at_rest(gateway: Gateway) -> None:
    """Everything that the journal still holds is in the database as the journal says it, the first settlement of a generation counting."""
    check_verified(gateway)
    rows = {row["id"]: tuple(row.values()) for row in gateway.select(f"SELECT {', '.join(_native.GENERATION_COLUMNS)} FROM generations")}
    reader = _native.JournalReader(str(gateway.data_dir / "journal"), [])
    seen: set[str] = set()
    while True:
        batch = reader.read(1000)
        assert not batch.problems, batch.problems
        for generation in batch.generations:
            assert generation[0] in seen or rows[generation[0]] == generation
            seen.add(generation[0])
        if batch.caught_up:
            break
    assert seen
