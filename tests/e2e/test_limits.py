"""Limits towards clients and providers, with small values: nobody can hold what others need, and who only takes long is not cut."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import Gateway, Provider, configuration, sse_data, until
from e2e.http2 import Http2
from e2e.wire import DIALECTS, PATHS, Wire, body_of, is_terminal, request

CHAT = PATHS["openai_chat"]
CONNECTIONS, HTTP2_STREAMS = 12, 5
TABLES = f"""
[timeouts]
client_head_ms = 400
client_idle_ms = 600
body_grace_ms = 400
write_stall_ms = 600
early_head_ms = 200
keepalive_ms = 100
idle_ms = 1500
content_idle_ms = 1000
upstream_head_ms = 1500
total_ms = 4000
[limits]
connections = {CONNECTIONS}
http2_streams = {HTTP2_STREAMS}
body_bytes_per_second = 2000
"""


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    """A gateway that is easily annoyed."""
    with Gateway(configuration(provider.address, server="workers = 2", tables=TABLES)) as running:
        yield running


@pytest.fixture(autouse=True)
def left_alone(gateway: Gateway, provider: Provider) -> Iterator[None]:
    """Every test finds the gateway idle and leaves it so."""
    yield
    until(lambda: open_connections(gateway) == 0, "all connections have ended")
    until(lambda: provider.open_requests() == 0, "the provider works for nobody")


def open_connections(gateway: Gateway) -> int:
    """As the gateway counts them."""
    return gateway.gauge("connections_open")


def drip(wire: Wire, data: bytes, seconds: float) -> None:
    """Sends a byte now and then until the other side has had enough."""
    with contextlib.suppress(ConnectionError):
        for at in range(len(data)):
            wire.send(data[at : at + 1])
            time.sleep(seconds)


# --- what clients send ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.05, 100.0], ids=["byte by byte", "not at all"])
def test_a_head_that_takes_too_long(gateway: Gateway, seconds: float) -> None:
    head = request("GET", "/healthz", key=None, headers={"x-long": "x" * 1000})
    with Wire(gateway.address) as wire:
        began = time.monotonic()
        if seconds < 1:
            drip(wire, head, seconds)
        else:
            wire.send(head[:20])
        assert_refused_or_closed(wire)
        # The head's clock runs from its first byte and no byte stops it: a thousand of them would take a minute.
        assert time.monotonic() - began < 30


def assert_refused_or_closed(wire: Wire) -> None:
    """The connection is over, with or without a word about why."""
    with contextlib.suppress(ConnectionError):
        assert wire.answer().status == 408
    assert wire.ended()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_that_takes_too_long(gateway: Gateway, provider: Provider, dialect: str) -> None:
    mark = provider.mark()
    data = request("POST", PATHS[dialect], body_of("x" * 5000, dialect=dialect))
    with Wire(gateway.address) as wire:
        wire.send(data[:400])
        drip(wire, data[400:], 0.02)
        answer = wire.answer()
        assert answer.status == 408
        error = answer.json()["error"]
        assert (error["type"], "slowly" in error["message"]) == (
            "invalid_request_error" if dialect == "openai_chat" else error["type"],
            True,
        )
        assert wire.ended()
    assert provider.mark() == mark


def test_a_body_that_takes_long_at_a_fair_pace(gateway: Gateway) -> None:
    data = request("POST", CHAT, body_of("x" * 6000))
    with Wire(gateway.address) as wire:
        # About 1.2 s, which is three times the grace, at more than the slowest pace allowed.
        for at in range(0, len(data), 100):
            wire.send(data[at : at + 100])
            time.sleep(0.02)
        assert wire.answer().status == 200


def test_idle_connections_are_closed(gateway: Gateway) -> None:
    with Wire(gateway.address) as silent, Wire(gateway.address) as served:
        served.post(CHAT, body_of())
        assert served.answer().status == 200
        assert silent.ended()
        assert served.ended()


def test_waiting_for_us_is_not_being_idle(gateway: Gateway) -> None:
    with Wire(gateway.address) as wire:
        wire.post(CHAT, body_of("late", sim={"delay_ms": 1400}))
        answer = wire.answer()
        assert (answer.status, b"late" in answer.body) == (200, True)
        wire.post(CHAT, body_of("late", stream=True, model="lab/fast", sim={"tokens": 20, "pace_ms": 80}))
        assert is_terminal("openai_chat", list(wire.events(wire.head()))[-1])


def test_no_more_connections_than_allowed(gateway: Gateway) -> None:
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(Wire(gateway.address)) for _ in range(CONNECTIONS)]
        for wire in wires:
            wire.post(CHAT, body_of(model="lab/fast", stream=True, sim={"tokens": 30, "pace_ms": 50}))
        until(lambda: open_connections(gateway) == CONNECTIONS, "all are in")
        for _ in range(3):
            with Wire(gateway.address) as surplus:
                answer = surplus.answer()
                assert (answer.status, answer.header("retry-after")) == (503, "1")
                assert surplus.ended()
        for wire in wires:
            assert is_terminal("openai_chat", list(wire.events(wire.head()))[-1])
            wire.close()
    until(lambda: open_connections(gateway) == 0, "there is room again")
    assert gateway.post(CHAT, body_of()).status == 200


# --- clients that do not read -----------------------------------------------------------------------------------------


def resident_bytes(gateway: Gateway) -> int:
    """Memory of the process."""
    assert gateway.process is not None
    lines = Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.alone
@pytest.mark.parametrize("dialect", DIALECTS)
def test_clients_that_never_read(gateway: Gateway, provider: Provider, dialect: str) -> None:
    mark, before = provider.mark(), resident_bytes(gateway)
    most = before
    # 10 GB each, if anybody took it.
    body = body_of(model="lab/fast", dialect=dialect, stream=True, max_tokens=200_000, sim={"tokens": 200_000, "token_bytes": 50_000})
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(Wire(gateway.address, receive_buffer_bytes=4096)).post(PATHS[dialect], body)
        until(lambda: provider.open_requests() == 8, "the provider is busy")
        while provider.open_requests():
            most = max(most, resident_bytes(gateway))
        records = provider.since(mark, expected=8)
    assert most - before < 64 << 20
    rows = gateway.generations("upstream_id IN (SELECT value FROM json_each(?))", [json.dumps([record["reply_id"] for record in records])])
    assert [row["outcome"] for row in rows] == ["cancelled"] * 8
    assert all(row["charged_nanousd"] > 0 for row in rows)


@pytest.mark.alone
def test_a_client_that_reads_slowly_gets_everything(gateway: Gateway, provider: Provider) -> None:
    # More than the buffers between us hold, so that it is the client's pace that counts; twice the stall limit in all.
    body = body_of(model="lab/fast", stream=True, sim={"tokens": 300, "token_bytes": 30_000})
    with Wire(gateway.address, receive_buffer_bytes=4096) as wire:
        wire.post(CHAT, body)
        event = b""
        for count, event in enumerate(wire.events(wire.head())):  # noqa: B007 - the last one is looked at
            if count % 25 == 0:
                time.sleep(0.1)
    assert is_terminal("openai_chat", event)


# --- the same on HTTP/2 ---------------------------------------------------------------------------------------------


def test_http2_connections_that_stop_in_the_middle(gateway: Gateway) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    with Wire(gateway.address) as half, Wire(gateway.address) as mute:
        half.send(preface[:10])
        mute.send(preface)
        assert half.answer().status == 408 and half.ended()
        # What it gets are settings, a ping that it does not answer, and a farewell.
        while mute.socket.recv(1 << 16):
            pass
    with Http2(gateway.address, answers_pings=False) as connection:
        while connection.step() is not None:
            pass


def test_an_http2_body_that_does_not_end(gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    with Http2(gateway.address) as connection:
        slow = connection.post(CHAT, body_of(), whole=False)
        good = connection.post(CHAT, body_of())
        assert connection.body(good) and connection.statuses[good] == 200
        assert b"slowly" in connection.body(slow)
    assert provider.mark() == mark + 1


def test_no_more_http2_streams_than_allowed(gateway: Gateway) -> None:
    with Http2(gateway.address) as connection:
        streams = [connection.post(CHAT, body_of(sim={"delay_ms": 300})) for _ in range(HTTP2_STREAMS + 3)]
        until(lambda: connection.step() is not None and len(connection.ended) == len(streams), "all have ended")
        refused = [stream for stream in streams if stream in connection.reset]
        assert refused == streams[HTTP2_STREAMS:]
        assert {connection.statuses[stream] for stream in streams[:HTTP2_STREAMS]} == {200}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("window_bytes", [0, 1_000])
def test_http2_clients_that_never_open_their_window(gateway: Gateway, provider: Provider, stream: bool, window_bytes: int) -> None:
    mark = provider.mark()
    sim = {"tokens": 200_000, "token_bytes": 50_000} if stream else {"tokens": 20, "token_bytes": 50_000}
    with Http2(gateway.address, window_bytes=window_bytes) as connection:
        streams = [connection.post(CHAT, body_of(model="lab/fast", stream=stream, sim=sim)) for _ in range(HTTP2_STREAMS)]
        # The connection is alive in every other way.
        until(lambda: connection.step() is not None and len(connection.ended) == HTTP2_STREAMS, "they are given up on", 20)
        assert set(connection.reset) == set(streams)
        outcome = {"client_gone"} if stream else {"complete"}
        assert {record["outcome"] for record in provider.since(mark, expected=HTTP2_STREAMS)} == outcome
        good = connection.head("/healthz")
        until(lambda: connection.step() is not None and good in connection.ended, "the connection goes on", 20)
        assert (connection.statuses[good], connection.bodies.get(good)) == (200, None)


# --- silence ----------------------------------------------------------------------------------------------------------

KEEP_ALIVE = {"openai_chat": b": keep-alive\n\n", "anthropic_messages": b'event: ping\ndata: {"type": "ping"}\n\n'}


def begun_early(wire: Wire, dialect: str, sim: dict[str, Any]) -> Iterator[bytes]:
    """A stream whose provider is silent at first: the events behind the early head."""
    wire.post(PATHS[dialect], body_of("Hello you", dialect=dialect, stream=True, sim=sim))
    answer = wire.head()
    assert (answer.status, answer.header("content-type")) == (200, "text/event-stream")
    assert answer.header("x-generation-id")
    # What is not known yet is not said.
    assert not [
        name for name, _ in answer.headers if name in ("x-fairlead-provider", "x-fairlead-model", "x-fairlead-attempts", "server-timing")
    ]
    return wire.events(answer)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("silence", ["delay_ms", "first_token_ms"])
def test_a_stream_that_begins_late(gateway: Gateway, provider: Provider, dialect: str, silence: str) -> None:
    mark = provider.mark()
    with Wire(gateway.address) as wire:
        events = list(begun_early(wire, dialect, {silence: 700}))
    # Frames without content, which the provider sends before its silence, may be among them; content is not.
    first_content = next(at for at, event in enumerate(events) if spoken(event))
    assert events[:first_content].count(KEEP_ALIVE[dialect]) == events.count(KEEP_ALIVE[dialect]) >= 3
    rest = [event for event in events if event != KEEP_ALIVE[dialect]]
    assert is_terminal(dialect, rest[-1])
    text = "".join(spoken(event) for event in rest)
    assert text == "Hello you"
    (record,) = provider.since(mark, expected=1)
    assert gateway.generations("upstream_id = ?", [record["reply_id"]])[0]["outcome"] == "completed"


def spoken(event: bytes) -> str:
    """The text that an event of either dialect adds."""
    for data in sse_data(event):
        if isinstance(data, dict) and data.get("choices"):
            return str(data["choices"][0]["delta"].get("content") or "")
        if isinstance(data, dict) and data.get("type") == "content_block_delta":
            return str(data["delta"].get("text", ""))
    return ""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sim",
    [
        {"delay_ms": 500, "fault": {"kind": "status", "status": 503}},
        {"delay_ms": 500, "fault": {"kind": "close_before_head"}},
        {"delay_ms": 500, "fault": {"kind": "empty"}},
        {"fault": {"kind": "stall_head"}},
    ],
    ids=["status", "no answer", "empty", "silence"],
)
def test_what_fails_behind_an_early_head_is_told_in_the_stream(gateway: Gateway, dialect: str, sim: dict[str, Any]) -> None:
    with Wire(gateway.address) as wire:
        events = list(begun_early(wire, dialect, sim))
        told = [event for event in events if event != KEEP_ALIVE[dialect]]
        (error, *rest) = sse_data(b"".join(told))
        assert error["error"]["message"]
        if dialect == "anthropic_messages":
            assert (told[0].splitlines()[0], error["type"], rest) == (b"event: error", "error", [])
        # The connection is still good.
        wire.get("/healthz", key=None)
        assert wire.answer().status == 200


@pytest.mark.parametrize("dialect", DIALECTS)
def test_unary_calls_never_get_an_early_head(gateway: Gateway, dialect: str) -> None:
    with Wire(gateway.address) as wire:
        wire.post(PATHS[dialect], body_of(dialect=dialect, sim={"delay_ms": 500, "fault": {"kind": "status", "status": 503}}))
        assert wire.answer().status == 503


@pytest.mark.parametrize(
    ("sim", "word"),
    [
        ({"fault": {"kind": "stall", "after_frames": 5}}, "idle_timeout"),
        ({"fault": {"kind": "comments", "after_frames": 5}}, "idle_timeout"),
        ({"tokens": 1000, "pace_ms": 20}, "idle_timeout"),
    ],
    ids=["silence", "comments only", "no end"],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_streams_that_do_not_end(gateway: Gateway, provider: Provider, dialect: str, sim: dict[str, Any], word: str) -> None:
    mark = provider.mark()
    with Wire(gateway.address) as wire:
        wire.post(PATHS[dialect], body_of(model="lab/fast", dialect=dialect, stream=True, sim=sim))
        answer = wire.head()
        events = list(wire.events(answer))
        assert any(spoken(event) for event in events[:5])
        errors = [data for event in events[-2:] for data in sse_data(event) if isinstance(data, dict) and data.get("error")]
        assert errors, events[-2:]
    (record,) = provider.since(mark, expected=1)
    assert record["outcome"] == "client_gone"
    row = gateway.generation(answer.header("x-generation-id") or "")
    assert (row["outcome"], row["error"]) == ("failed", word)
    # What was delivered is charged.
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


def test_nobody_is_disturbed_by_the_slow(gateway: Gateway, counts: Callable[[int, int], int]) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS // 2):
            stack.enter_context(Wire(gateway.address)).send(b"POST /v1/chat/completions HTTP/1.1\r\nhost:")
        with Wire(gateway.address) as wire:
            for _ in range(counts(20, 200)):
                wire.post(CHAT, body_of())
                assert wire.answer().status == 200
