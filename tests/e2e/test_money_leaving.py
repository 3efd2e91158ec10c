"""What is paid for work that nobody waited for, and for requests of which nobody knows what became of them. The simulator's ledger is the
judge: it says what a provider bills that stops with the connection, and what one bills that does not."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import (
    COMPLETION_NANOUSD,
    KEY,
    OTHER_KEY,
    PROMPT_NANOUSD,
    Gateway,
    Provider,
    billed_nanousd,
    configuration,
    until,
)
from e2e.stub import Stub, Visit, completion, polite, sized
from e2e.wire import PATHS, Wire, body_of

DIALECTS = tuple(PATHS)
ROUTES = [(prefix, dialect) for prefix in ("", "/api") for dialect in DIALECTS]
# As `rust/ledger/src/record.rs` has them.
ESTIMATED, USAGE_MISSING, INSURED, RESENT = 1, 2, 8, 16


@pytest.fixture(scope="module")
def stopping(provider: Provider) -> Iterator[Gateway]:
    """A gateway whose provider's meter stops with the connection."""
    with Gateway(configuration(provider.address)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def ignoring(provider: Provider) -> Iterator[Gateway]:
    """A gateway whose provider bills the whole answer whoever leaves."""
    with Gateway(configuration(provider.address, cancel_stops_billing=False)) as gateway:
        yield gateway


def leave(gateway: Gateway, provider: Provider, prefix: str, dialect: str, body: dict[str, Any], events: int) -> dict[str, Any]:
    """Sends a request, reads so many events, leaves, and returns the row."""
    before, open_before = len(gateway.generations()), provider.open_requests()
    with Wire(gateway.address) as wire:
        wire.post(prefix + PATHS[dialect], body)
        if events:
            stream = wire.events(wire.head())
            for _ in range(events):
                next(stream)
        until(lambda: provider.open_requests() > open_before, "the provider is at work")
    rows = until(lambda: gateway.generations()[before:], "the call is settled")
    assert len(rows) == 1
    return gateway.generation(rows[0]["id"])


LEAVINGS = [
    pytest.param(False, {"delay_ms": 700, "tokens": 9}, 0, id="unary"),
    pytest.param(True, {"delay_ms": 700, "tokens": 9}, 0, id="stream, before the head"),
    pytest.param(True, {"first_token_ms": 700, "tokens": 9}, 0, id="stream, before content"),
    pytest.param(True, {"pace_ms": 100, "tokens": 9}, 4, id="stream, with content"),
]


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize(("stream", "sim", "events"), LEAVINGS)
def test_a_meter_that_stops(
    stopping: Gateway, provider: Provider, prefix: str, dialect: str, stream: bool, sim: dict[str, Any], events: int
) -> None:
    """The connection is closed at once. The prompt is paid for, and the content that came; both are our own count."""
    mark = provider.mark()
    row = leave(stopping, provider, prefix, dialect, body_of(dialect=dialect, model="lab/fast", stream=stream, sim=sim), events)
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"
    assert (row["outcome"], row["error"], row["status"]) == ("cancelled", "client_gone", 0)
    assert row["flags"] & ESTIMATED
    assert billed_nanousd(record) > 0
    # An estimate never says less of the prompt than the provider does.
    assert row["prompt_tokens"] >= record["prompt_tokens"] > 0
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
    assert row["charged_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD + row["completion_tokens"] * COMPLETION_NANOUSD
    assert (row["completion_tokens"] > 0) == (events > 0)


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize(("stream", "sim", "events"), LEAVINGS)
def test_a_meter_that_runs_on(
    ignoring: Gateway, provider: Provider, prefix: str, dialect: str, stream: bool, sim: dict[str, Any], events: int
) -> None:
    """The answer is read to its end, unheard: the bill is the provider's own, to the nano-dollar."""
    mark = provider.mark()
    row = leave(ignoring, provider, prefix, dialect, body_of(dialect=dialect, model="lab/fast", stream=stream, sim=sim), events)
    [record] = provider.since(mark, 1)
    assert (record["outcome"], record["completion_tokens"]) == ("complete", 9)
    assert (row["outcome"], row["error"], row["status"]) == ("cancelled", "client_gone", 0)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == billed_nanousd(record, "cancel_ignored") > 0
    assert row["flags"] & (ESTIMATED | USAGE_MISSING) == 0
    assert row["completion_tokens"] == 9


FRAMES = 16
"""More than a reply of nine tokens has, in any dialect: the last ones are read to their end."""


def leave_behind(gateway: Gateway, prefix: str, dialect: str, body: dict[str, Any], frames: int) -> bool:
    """Sends a request and leaves behind so many events of its reply; -1: before its head. Whether all of it was read."""
    with Wire(gateway.address) as wire:
        wire.post(prefix + PATHS[dialect], body)
        if frames < 0:
            until(lambda: gateway.gauge("requests_open") > 0, "the request is in the works")
            return False
        stream = wire.events(wire.head())
        read = 0
        while read < frames and next(stream, None) is not None:
            read += 1
        return read < frames


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize("stops", [True, False])
def test_leaving_behind_every_frame(request: pytest.FixtureRequest, provider: Provider, prefix: str, dialect: str, stops: bool) -> None:
    """Where the meter runs on, each bill is the provider's own to the nano-dollar, and so is their sum. Where it stops, a call that was
    left costs the prompt and what had come, by our own count: within 8 tokens of what the provider had said when it noticed."""
    gateway: Gateway = request.getfixturevalue("stopping" if stops else "ignoring")
    mark, before = provider.mark(), len(gateway.generations())
    policy = "cancel_stops" if stops else "cancel_ignored"
    sim = {"tokens": 9, "pace_ms": 15, "first_token_ms": 15, "delay_ms": 15}
    whole = []
    for frames in range(-1, FRAMES):
        body = body_of(dialect=dialect, model="lab/fast", stream=True, sim={**sim, "tag": frames + 2})
        whole.append(leave_behind(gateway, prefix, dialect, body, frames))
        until(lambda settled=before + frames + 2: len(gateway.generations()) == settled, "the call is settled")
    rows = gateway.generations()[before:]
    records = sorted(provider.since(mark, len(rows)), key=lambda record: record["tag"])
    for row, record, is_whole, frames in zip(rows, records, whole, range(-1, FRAMES), strict=True):
        billed = billed_nanousd(record, policy)
        assert row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0, (frames, row)
        if not row["flags"] & ESTIMATED:
            assert row["charged_nanousd"] == billed, (frames, row, record)
            continue
        # Our own count.
        assert stops and row["outcome"] == "cancelled" and not is_whole, (frames, row)
        assert abs(row["completion_tokens"] - record["completion_tokens"]) <= 8, (frames, row, record)
        assert row["prompt_tokens"] >= record["prompt_tokens"] and row["charged_nanousd"] <= row["reserved_nanousd"]
        if dialect == "anthropic_messages" and frames > 0:
            # It says what the prompt was before anything else.
            assert row["prompt_tokens"] == record["prompt_tokens"]
    outcomes = Counter(row["outcome"] for row in rows)
    assert outcomes["completed"] >= 2 and outcomes["cancelled"] >= 8, outcomes
    if not stops:
        assert not any(row["flags"] & (ESTIMATED | USAGE_MISSING) for row in rows)
        assert sum(row["upstream_cost_nanousd"] for row in rows) == sum(billed_nanousd(record, policy) for record in records)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_of_unheard_work_costs_nothing(ignoring: Gateway, provider: Provider, stream: bool) -> None:
    mark = provider.mark()
    sim = {"delay_ms": 500, "fault": {"kind": "status", "status": 500}}
    row = leave(ignoring, provider, "", "openai_chat", body_of(stream=stream, sim=sim), 0)
    [record] = provider.since(mark, 1)
    assert record["status"] == 500
    assert (row["outcome"], row["charged_nanousd"], row["upstream_cost_nanousd"]) == ("void", 0, 0)


def test_a_failure_of_unheard_work_is_insured(ignoring: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    row = leave(ignoring, provider, "", "openai_chat", body_of(sim={"delay_ms": 500, "fault": {"kind": "garbage"}}), 0)
    provider.since(mark, 1)
    assert (row["outcome"], row["error"], row["charged_nanousd"]) == ("failed", "garbage", 0)
    assert row["upstream_cost_nanousd"] > 0 and row["flags"] & INSURED


@pytest.mark.parametrize("start", ["", "data:", "data: ", "data:image/png;base64,", "=" * 200, "-" * 200])
def test_text_in_an_abandoned_request_is_text_however_it_begins(stopping: Gateway, provider: Provider, start: str) -> None:
    body = body_of(start + "plain words of a long prompt " * 10_000, sim={"delay_ms": 700})
    row = leave(stopping, provider, "", "openai_chat", body, 0)
    assert row["outcome"] == "cancelled" and row["flags"] & ESTIMATED
    assert row["prompt_tokens"] > 290_000 / 4


def test_a_file_in_an_abandoned_request_is_not_reckoned_like_text(stopping: Gateway, provider: Provider) -> None:
    image = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA" * 20_000
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": image}}]
    body = {"model": "lab/fast", "messages": [{"role": "user", "content": content}], "sim": {"delay_ms": 700}}
    row = leave(stopping, provider, "", "openai_chat", body, 0)
    assert row["outcome"] == "cancelled" and row["flags"] & ESTIMATED
    # Providers scale large images down.
    assert 2048 < row["prompt_tokens"] < 2200
    assert row["reserved_nanousd"] > len(image) / 3 * PROMPT_NANOUSD


def test_more_unheard_work_than_there_is_room_for(ignoring: Gateway, provider: Provider) -> None:
    """What does not fit is left, and settled with our own count. One key cannot take the room of others. Nothing is settled twice, and what
    was read is exact."""
    mark, before = provider.mark(), len(ignoring.generations())
    keys = {KEY: 80, OTHER_KEY: 20}
    with contextlib.ExitStack() as stack:
        wires = {key: [stack.enter_context(Wire(ignoring.address)) for _ in range(number)] for key, number in keys.items()}
        for key, calls in wires.items():
            for wire in calls:
                wire.post(PATHS["openai_chat"], body_of(sim={"delay_ms": 5000, "tokens": 9}), key=key)
        until(lambda: provider.open_requests() == sum(keys.values()), "the provider is at work")
        for key, left in ((KEY, 48), (OTHER_KEY, 52)):
            for wire in wires[key]:
                wire.close()
            until(lambda left=left: len(ignoring.generations()) - before == left, "what has no room is settled")
    rows = until(lambda: len(found := ignoring.generations()[before:]) == 100 and found, "all are settled")
    records = provider.since(mark, sum(keys.values()))
    read, given_up = ([record for record in records if (record["outcome"] == "complete") == whole] for whole in (True, False))
    assert len(read) == 32 + 16 and {record["outcome"] for record in given_up} == {"client_gone"}
    exact = [row for row in rows if not row["flags"] & ESTIMATED]
    assert sorted(Counter(row["key_id"] for row in exact).values()) == [16, 32]
    assert sorted(row["charged_nanousd"] for row in exact) == sorted(billed_nanousd(record) for record in read)
    assert all(row["charged_nanousd"] > 0 and row["outcome"] == "cancelled" for row in rows)
    until(lambda: provider.open_requests() == 0, "nothing is left open")


# What has come when the client leaves, of a reply of which size, and whether it is read to its end.
LONG_REPLIES = [
    pytest.param(0, 900_000, True, id="it fits"),
    pytest.param(800_000, 900_000, True, id="it fits with what had come"),
    pytest.param(0, 3_000_000, False, id="too long"),
    pytest.param(2_000_000, 3_000_000, False, id="too long already"),
]


@pytest.mark.parametrize(("came", "reply_bytes", "is_read"), LONG_REPLIES)
def test_a_long_reply_that_nobody_will_read_is_not_gathered(came: int, reply_bytes: int, is_read: bool) -> None:
    # The text is there twice, in the id as well.
    reply = sized(completion("x" * (reply_bytes // 2)))
    left = threading.Event()

    def script(visit: Visit) -> None:
        visit.request()
        visit.say(reply[:came])
        arrived.append(visit)
        left.wait()
        if is_read:
            visit.say(reply[came:])
        else:
            with contextlib.suppress(ConnectionError):
                visit.say(reply[came:-1])
            assert visit.gone()

    arrived: list[Visit] = []
    with Stub() as stub, Gateway(configuration(stub.address, server=SERVER, cancel_stops_billing=False)) as gateway:
        stub.play(script)
        with Wire(gateway.address) as wire:
            wire.post(PATHS["openai_chat"], body_of())
            until(lambda: arrived, "the provider is at work")
        until(lambda: gateway.gauge("requests_open") == 0, "the client that left is noticed")
        left.set()
        [row] = until(gateway.generations, "the call is settled")
        assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
        if is_read:
            assert row["charged_nanousd"] == 3 * PROMPT_NANOUSD + 2 * COMPLETION_NANOUSD
            assert row["flags"] & ESTIMATED == 0
        else:
            assert row["flags"] & (ESTIMATED | USAGE_MISSING) == ESTIMATED | USAGE_MISSING
            cost = row["prompt_tokens"] * PROMPT_NANOUSD + row["completion_tokens"] * COMPLETION_NANOUSD
            assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost
            # By the bytes that came.
            assert row["prompt_tokens"] > 0 and 1 << 20 < row["completion_tokens"] * 4 < reply_bytes
        assert stub.requests() == [1]


def test_what_has_come_in_one_piece_is_counted() -> None:
    """A meter that stops: what came of a unary reply before its client left is paid for, also where it came in one piece."""
    reply = sized(completion("x" * 8000))
    arrived: list[Visit] = []

    def script(visit: Visit) -> None:
        visit.request()
        visit.say(reply[:8000])
        arrived.append(visit)
        assert visit.gone()

    with Stub() as stub, Gateway(configuration(stub.address, server=SERVER)) as gateway:
        stub.play(script)
        with Wire(gateway.address) as wire:
            wire.post(PATHS["openai_chat"], body_of())
            until(lambda: arrived, "the provider is at work")
            # Once the answer to another request is there, the only worker has read what came before.
            assert gateway.get("/readyz", key=None).status == 200
        [row] = until(gateway.generations, "the call is settled")
        assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
        assert 1500 < row["completion_tokens"] <= 2000, "by the bytes that came"
        assert row["charged_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD + row["completion_tokens"] * COMPLETION_NANOUSD


# --- requests of which nobody knows -----------------------------------------------------------------------------------

SERVER = "workers = 1"


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Gateway, Stub]]:
    """A stub and the gateway in front of it."""
    with Stub() as stub, Gateway(configuration(stub.address, server=SERVER)) as gateway:
        yield gateway, stub


def test_a_request_that_was_never_whole_is_void(stage: tuple[Gateway, Stub]) -> None:
    gateway, stub = stage

    def script(visit: Visit) -> None:
        visit.socket.recv(1)
        arrived.append(visit)
        until(lambda: len(gateway.generations()) > before, "the call is settled")

    arrived: list[Visit] = []
    before = len(gateway.generations())
    stub.play(script)
    with Wire(gateway.address) as wire:
        # More than both ends' buffers hold.
        wire.post(PATHS["openai_chat"], body_of("x" * (24 << 20)))
        until(lambda: arrived, "the provider has the first byte")
    row = until(lambda: gateway.generations()[before:], "the call is settled")[0]
    assert (row["outcome"], row["error"]) == ("void", "client_gone")
    assert (row["charged_nanousd"], row["upstream_cost_nanousd"]) == (0, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_provider_that_took_the_request_and_died(stage: tuple[Gateway, Stub], how: str, stream: bool) -> None:
    """It may have been at work, and may bill the prompt; the caller got nothing and pays nothing."""
    gateway, stub = stage

    def script(visit: Visit) -> None:
        visit.request()
        if how == "reset":
            visit.reset()

    stub.play(script)
    reply = gateway.post(PATHS["openai_chat"], body_of(stream=stream))
    assert reply.status == 502
    row = gateway.generation(reply.generation)
    assert (row["outcome"], row["charged_nanousd"], len(row["attempts"])) == ("failed", 0, 1)
    assert row["upstream_cost_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD > 0
    assert row["flags"] & (ESTIMATED | INSURED) == ESTIMATED | INSURED
    assert stub.requests() == [1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_work_that_broke_off_on_a_kept_connection_is_not_sent_again(stage: tuple[Gateway, Stub], how: str, stream: bool) -> None:
    """A connection that takes a request and lives on for a while was not dead: the provider was at work."""
    gateway, stub = stage

    def script(visit: Visit) -> None:
        visit.request()
        visit.say(sized(completion()))
        visit.request()
        time.sleep(0.5)
        if how == "reset":
            visit.reset()

    stub.play(script)
    assert gateway.post(PATHS["openai_chat"], body_of()).status == 200
    reply = gateway.post(PATHS["openai_chat"], body_of(stream=stream))
    assert reply.status == 502
    row = gateway.generation(reply.generation)
    assert (row["charged_nanousd"], len(row["attempts"])) == (0, 1)
    assert row["upstream_cost_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD > 0
    assert stub.requests() == [2]


@pytest.mark.parametrize("second", ["answers", "dies"])
def test_both_sends_of_one_request_are_on_record(stage: tuple[Gateway, Stub], second: str) -> None:
    """The first one may have reached somebody. It is an attempt of its own, reckoned at its prompt; the caller pays for the answer."""
    gateway, stub = stage

    def script(visit: Visit) -> None:
        if visit.number > 0 and second == "answers":
            polite(visit)
        visit.request()
        if visit.number == 0:
            visit.say(sized(completion()))
            visit.request()

    stub.play(script)
    assert gateway.post(PATHS["openai_chat"], body_of()).status == 200
    reply = gateway.post(PATHS["openai_chat"], body_of())
    assert reply.status == (200 if second == "answers" else 502)
    assert reply.headers["x-fairlead-attempts"] == "2"
    row = gateway.generation(reply.generation)
    stale, last = row["attempts"]
    assert (stale["status"], stale["error"], stale["flags"] & (RESENT | ESTIMATED)) == (0, "closed_before_reply", RESENT | ESTIMATED)
    assert last["flags"] & RESENT == 0
    assert stale["upstream_cost_nanousd"] > 0
    assert row["upstream_cost_nanousd"] == stale["upstream_cost_nanousd"] + last["upstream_cost_nanousd"]
    if second == "answers":
        assert last["upstream_cost_nanousd"] == row["charged_nanousd"] == 3 * PROMPT_NANOUSD + 2 * COMPLETION_NANOUSD
    else:
        assert last["upstream_cost_nanousd"] == stale["upstream_cost_nanousd"] and row["charged_nanousd"] == 0
    assert stub.requests() == [2, 1]
