"""How it ends: what runs may finish, within a limit; nobody new comes in; nothing is left unsettled."""

import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.house import KEY, STOP_SECONDS, Gateway, Provider, billed_nanousd, configuration, split, until
from e2e.http2 import Http2
from e2e.shapes import check_error
from e2e.stub import Stub, Visit, frames, head
from e2e.test_money_leaving import ESTIMATED, INSURED
from e2e.wire import DIALECTS, PATHS, Wire, body_of, is_terminal, request

# 40 tokens that come one by one: it has begun long before it ends.
PACED = {"tokens": 40, "pace_ms": 25}


@pytest.fixture
def start(provider: Provider) -> Iterator[Callable[..., Gateway]]:
    """`start(server lines, more of the configuration)`: a gateway of the test's own."""
    with contextlib.ExitStack() as stack:
        yield lambda server="", **more: stack.enter_context(Gateway(configuration(provider.address, server=server, **more)))


def begun(wire: Wire, dialect: str, sim: dict[str, Any]) -> Iterator[bytes]:
    """A stream whose first event has been received."""
    wire.post(PATHS[dialect], body_of(model="lab/fast", dialect=dialect, stream=True, sim=sim))
    events = wire.events(wire.head())
    next(events)
    return events


def refused(address: str) -> bool:
    """Whether nobody accepts connections there any more."""
    # A reset comes to who was in the queue when the listener closed; only a refusal says that there is none any more.
    with contextlib.suppress(ConnectionResetError):
        try:
            socket.create_connection(split(address), timeout=5).close()
        except ConnectionRefusedError:
            return True
    return False


def test_what_runs_may_finish(start: Callable[..., Gateway], provider: Provider) -> None:
    gateway = start()
    mark = provider.mark()
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(gateway.address)) for _ in range(2 * len(DIALECTS) + 2)]
        *streaming, waiting, idle = wires
        streams = [(dialect, begun(wire, dialect, PACED)) for wire, dialect in zip(streaming, DIALECTS * 2, strict=True)]
        waiting.post(PATHS["openai_chat"], body_of(model="lab/fast", sim={**PACED, "delay_ms": 100}))
        idle.get("/healthz", key=None)
        assert idle.answer().status == 200
        until(lambda: provider.open_requests() == 2 * len(DIALECTS) + 1, "all requests are at the provider")

        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: refused(gateway.address), "nobody new is let in")
        assert idle.ended()
        for dialect, events in streams:
            assert is_terminal(dialect, list(events)[-1])
        answer = waiting.answer()
        assert (answer.status, answer.json()["usage"]["completion_tokens"]) == (200, PACED["tokens"])
        assert all(wire.ended() for wire in wires[:-1])
    assert gateway.process.wait(STOP_SECONDS) == 0
    rows = gateway.select("SELECT * FROM generations")
    assert [row["outcome"] for row in rows] == ["completed"] * 5
    assert sorted(row["charged_nanousd"] for row in rows) == sorted(map(billed_nanousd, provider.since(mark)))


def test_what_takes_too_long_is_cut_and_settled(start: Callable[..., Gateway], provider: Provider) -> None:
    gateway = start("drain_ms = 200")
    mark = provider.mark()
    with contextlib.ExitStack() as stack:
        streams = [begun(stack.enter_context(Wire(gateway.address)), dialect, {"tokens": 100_000, "pace_ms": 20}) for dialect in DIALECTS]
        waiting = stack.enter_context(Wire(gateway.address))
        waiting.post(PATHS["openai_chat"], body_of(sim={"fault": {"kind": "stall_head"}}))
        until(lambda: provider.open_requests() == 3, "all requests are at the provider")
        assert gateway.stop() == 0
        for events in streams:
            assert b"shutting down" in b"".join(list(events)[-2:])
        assert waiting.answer().status == 503
    records = provider.since(mark, expected=3)
    assert {record["outcome"] for record in records} == {"client_gone"}
    rows = gateway.select("SELECT * FROM generations")
    # Nobody left: the gateway did.
    assert [(row["outcome"], row["error"]) for row in rows] == [("failed", "shutting_down")] * 3
    # What was delivered is charged, by our own count; the simulator made at least that.
    for row in rows:
        if row["streamed"]:
            assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"]


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_and_settles_what_runs(start: Callable[..., Gateway], provider: Provider, first: int) -> None:
    gateway = start()
    mark = provider.mark()
    with contextlib.ExitStack() as stack:
        streams = [begun(stack.enter_context(Wire(gateway.address)), dialect, {"tokens": 100_000, "pace_ms": 20}) for dialect in DIALECTS]
        assert gateway.process is not None
        gateway.process.send_signal(first)
        until(lambda: refused(gateway.address), "the drain has begun")
        for events in streams:
            next(events)
        assert gateway.stop(signal.SIGINT) == 0
        for events in streams:
            assert b"shutting down" in b"".join(list(events)[-2:])
    provider.since(mark, expected=len(streams))
    # In the database already, as after any other end.
    rows = gateway.select("SELECT * FROM generations")
    assert [(row["outcome"], row["error"]) for row in rows] == [("failed", "shutting_down")] * len(streams)
    assert all(0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] for row in rows)


ROUTES = [(prefix, dialect) for prefix in ("", "/api") for dialect in DIALECTS]
# Whoever waits for a head, and how far the provider is.
WAITING = {
    "unary, before the head": (False, {"delay_ms": 600_000}),
    "unary, in the body": (False, {"fault": {"kind": "stall"}}),
    "stream, before the head": (True, {"delay_ms": 600_000}),
    "stream, before content": (True, {"first_token_ms": 600_000}),
}

# How a body is announced, and the part of it that comes.
PARTIAL = [({"content-length": "1000"}, b'{"model"'), ({"transfer-encoding": "chunked"}, b'8\r\n{"model"\r\n')]


@pytest.mark.parametrize("ends", ["out of time", "second signal"])
@pytest.mark.parametrize("cancel_stops_billing", [True, False])
def test_who_waits_for_a_head_is_told(start: Callable[..., Gateway], provider: Provider, cancel_stops_billing: bool, ends: str) -> None:
    """The table's 503 in the caller's dialect, and nothing to pay: nobody left, whatever the provider's meter does."""
    gateway = start("drain_ms = 200" if ends == "out of time" else "", cancel_stops_billing=cancel_stops_billing)
    mark = provider.mark()
    calls = [(prefix, dialect, *how) for prefix, dialect in ROUTES for how in WAITING.values()]
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(gateway.address)) for _ in calls]
        http2 = stack.enter_context(Http2(gateway.address))
        streams = []
        for wire, (prefix, dialect, stream, sim) in zip(wires, calls, strict=True):
            body = body_of(dialect=dialect, stream=stream, sim=sim)
            wire.post(prefix + PATHS[dialect], body)
            streams.append(http2.post(prefix + PATHS[dialect], body))
        until(lambda: provider.open_requests() == 2 * len(calls), "all requests are at the provider")
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        if ends == "second signal":
            until(lambda: refused(gateway.address), "the drain has begun")
            gateway.process.send_signal(signal.SIGTERM)
        for wire, number, (prefix, dialect, *_) in zip(wires, streams, calls, strict=True):
            answer = wire.answer()
            assert (answer.status, answer.header("content-type")) == (503, "application/json")
            assert answer.header("x-generation-id") and answer.header("x-should-retry") is None
            check_error(answer.json(), 503, prefix, dialect)
            check_error(json.loads(http2.body(number)), 503, prefix, dialect)
        assert gateway.process.wait(STOP_SECONDS) == 0
    provider.since(mark, expected=2 * len(calls))
    rows = gateway.select("SELECT * FROM generations")
    assert [(row["outcome"], row["error"], row["status"]) for row in rows] == [("failed", "shutting_down", 503)] * 2 * len(calls)
    assert {row["charged_nanousd"] for row in rows} == {0}
    # The provider may well bill what it was at.
    assert all(row["upstream_cost_nanousd"] > 0 and row["flags"] & (ESTIMATED | INSURED) == ESTIMATED | INSURED for row in rows)


@pytest.mark.parametrize("ends", ["out of time", "second signal"])
def test_who_is_still_sending_is_told(start: Callable[..., Gateway], ends: str) -> None:
    """The same 503, or what else there is to say, before the body is there: on every route that reads one, however it is framed."""
    gateway = start("drain_ms = 200" if ends == "out of time" else "")
    paths = [(prefix + PATHS[dialect], prefix, dialect) for prefix, dialect in ROUTES]
    # Nothing is there: the control plane would say so.
    paths.append(("/api/v1/nothing", "/api", "openai_chat"))
    calls = [(*path, *framing, *asked) for path in paths for framing in PARTIAL for asked in ((KEY, 503), ("sk-fl-v1-unknown", 401))]
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(gateway.address)) for _ in calls]
        http2 = stack.enter_context(Http2(gateway.address))
        streams = []
        for wire, (path, _, _, framing, part, key, _) in zip(wires, calls, strict=True):
            wire.send(request("POST", path, headers={"content-type": "application/json", **framing}, key=key) + part)
            streams.append(http2.post(path, {"model": "lab/echo"}, key=key, whole=False))
        until(lambda: gateway.gauge("requests_open") == 2 * len(calls), "all requests have begun")
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        if ends == "second signal":
            until(lambda: refused(gateway.address), "the drain has begun")
            gateway.process.send_signal(signal.SIGTERM)
        for wire, number, (_, prefix, dialect, *_, status) in zip(wires, streams, calls, strict=True):
            answer = wire.answer()
            assert (answer.status, answer.header("content-type")) == (status, "application/json")
            check_error(answer.json(), status, prefix, dialect)
            check_error(json.loads(http2.body(number)), status, prefix, dialect)
            assert wire.ended()
        assert gateway.process.wait(STOP_SECONDS) == 0
    assert gateway.select("SELECT * FROM generations") == []


@pytest.mark.parametrize("stream", [False, True])
def test_who_waits_for_a_refusal_to_end_is_told(stream: bool) -> None:
    """A provider that refuses bills nothing."""

    def script(visit: Visit) -> None:
        visit.request()
        visit.say(head("content-length: 100", status="500 Internal Server Error") + b"{")
        refusing.append(visit)
        assert visit.gone()

    refusing: list[Visit] = []
    with Stub() as stub, Gateway(configuration(stub.address, server="drain_ms = 200")) as gateway, Wire(gateway.address) as wire:
        stub.play(script)
        wire.post(PATHS["openai_chat"], body_of(stream=stream))
        until(lambda: refusing, "the provider refuses")
        assert gateway.stop() == 0
        answer = wire.answer()
        assert answer.status == 503
        check_error(answer.json(), 503, "", "openai_chat")
        [row] = gateway.select("SELECT * FROM generations")
        assert (row["outcome"], row["error"], row["upstream_cost_nanousd"]) == ("failed", "shutting_down", 0)
        assert stub.requests() == [1]


def test_a_drain_waits_for_answers_that_nobody_waits_for(start: Callable[..., Gateway], provider: Provider) -> None:
    """The provider bills them whole, so they are read to their end."""
    gateway = start(cancel_stops_billing=False)
    mark = provider.mark()
    sim = {"tokens": 20, "pace_ms": 150}
    bodies = [
        (prefix + PATHS[dialect], body_of(dialect=dialect, stream=stream, sim=sim))
        for prefix, dialect in ROUTES
        for stream in (True, False)
    ]
    with contextlib.ExitStack() as stack:
        http2 = stack.enter_context(Http2(gateway.address))
        for path, body in bodies:
            stack.enter_context(Wire(gateway.address)).post(path, body)
            http2.post(path, body)
        until(lambda: provider.open_requests() == 2 * len(bodies), "all requests are at the provider")
    until(lambda: gateway.gauge("requests_open") == 0, "the clients that left are noticed")
    assert gateway.stop() == 0
    records = provider.since(mark, expected=2 * len(bodies))
    assert {(record["outcome"], record["completion_tokens"]) for record in records} == {("complete", 20)}
    rows = gateway.select("SELECT * FROM generations")
    assert {(row["outcome"], row["error"], row["flags"] & ESTIMATED) for row in rows} == {("cancelled", "client_gone", 0)}
    assert sorted(row["charged_nanousd"] for row in rows) == sorted(billed_nanousd(record, "cancel_ignored") for record in records)


def test_a_drain_does_not_wait_for_ever_for_them(start: Callable[..., Gateway], provider: Provider) -> None:
    gateway = start("drain_ms = 200", cancel_stops_billing=False)
    mark = provider.mark()
    sim = {"tokens": 100_000, "pace_ms": 20}
    with contextlib.ExitStack() as stack:
        for dialect in DIALECTS:
            next(begun(stack.enter_context(Wire(gateway.address)), dialect, sim))
            stack.enter_context(Wire(gateway.address)).post(PATHS[dialect], body_of(dialect=dialect, model="lab/fast", sim=sim))
        until(lambda: provider.open_requests() == 2 * len(DIALECTS), "all requests are at the provider")
    until(lambda: gateway.gauge("requests_open") == 0, "the clients that left are noticed")
    assert gateway.stop() == 0
    records = provider.since(mark, expected=2 * len(DIALECTS))
    assert {record["outcome"] for record in records} == {"client_gone"}
    # They had left before the gateway did.
    rows = gateway.select("SELECT * FROM generations")
    assert [(row["outcome"], row["error"]) for row in rows] == [("cancelled", "client_gone")] * len(records)
    assert all(row["flags"] & ESTIMATED and 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] for row in rows)


def test_what_came_before_a_large_event_is_charged() -> None:
    """Large events are looked at beside the worker. A stop while one is there forgets nothing of what was delivered."""
    # Slow to look at, and nothing of it reaches the client, so that this is what the gateway is at most of the time.
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    chunk = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [],
        "usage": usage,
        "pad": [0] * (4 << 20),
    }
    large = b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    def script(visit: Visit) -> None:
        visit.request()
        visit.say(head(type="text/event-stream") + frames("Hello")[0])
        while True:
            visit.say(large)

    with Stub() as stub, Gateway(configuration(stub.address, server="drain_ms = 0")) as gateway, contextlib.ExitStack() as stack:
        stub.play(script)
        number = 4
        for _ in range(number):
            begun(stack.enter_context(Wire(gateway.address)), "openai_chat", {})
        assert gateway.stop() == 0
        rows = gateway.select("SELECT * FROM generations")
        assert [(row["outcome"], row["error"], row["completion_tokens"]) for row in rows] == [("failed", "shutting_down", 2)] * number
        assert all(row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0 for row in rows)
