"""Streams as they run: frames on their way, clients that leave, odd figures and endings, and a stream beside everything that is refused."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Provider, authorization, billed_nanousd, configuration, say, send, split, sse_data
from e2e.test_bad_input import BAD_BODIES, BAD_HTTP
from e2e.wire import PATHS, Wire, body_of

DIALECTS = tuple(PATHS)
ROUTES = [(prefix, dialect) for prefix in ("", "/api") for dialect in DIALECTS]
ESTIMATED, USAGE_MISSING, CONTENT = 1, 2, 64
LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore magna aliqua. Ut enim"
)
LOREM += " ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip."


def texts(events: list[Any], dialect: str) -> str:
    """The text of a stream."""
    if dialect == "anthropic_messages":
        return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    return "".join(choice["delta"].get("content") or "" for event in events if event != "[DONE]" for choice in event["choices"])


def body(dialect: str, **sim: Any) -> dict[str, Any]:
    return body_of(dialect=dialect, model="lab/fast", stream=True, sim=sim)


# --- on their way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
def test_frames_are_passed_on_while_the_provider_is_still_at_it(gateway: Gateway, provider: Provider, prefix: str, dialect: str) -> None:
    """The provider says five frames and falls silent. The client has them all, and nothing was held back for more."""
    mark = provider.mark()
    with Wire(gateway.address) as wire:
        wire.post(prefix + PATHS[dialect], body(dialect, fault={"kind": "stall", "after_frames": 5}))
        answer = wire.head()
        assert answer.status == 200
        events = wire.events(answer)
        received = [next(events) for _ in range(5)]
        assert provider.open_requests() == 1 and provider.since(mark) == []
    assert LOREM.startswith(texts([event for raw in received for event in sse_data(raw)], dialect))
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize("fault", [{"kind": "stall_head"}, {"kind": "stall", "after_frames": 1}])
@pytest.mark.parametrize("stream", [False, True])
def test_clients_that_leave_before_anything_came(
    gateway: Gateway, provider: Provider, prefix: str, dialect: str, fault: dict[str, Any], stream: bool
) -> None:
    """The provider is left too. It has the request, so its prompt is paid for."""
    mark, before = provider.mark(), len(gateway.generations())
    with Wire(gateway.address) as wire:
        wire.post(prefix + PATHS[dialect], {**body(dialect, fault=fault), "stream": stream})
        while not provider.open_requests():
            pass
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"
    while len(rows := gateway.generations()) == before:
        pass
    row = rows[-1]
    assert (row["outcome"], row["error"], row["streamed"]) == ("cancelled", "client_gone", int(stream))
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
    assert row["flags"] & ESTIMATED


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
def test_clients_that_leave_between_head_and_content(gateway: Gateway, provider: Provider, prefix: str, dialect: str) -> None:
    """The provider has taken the work on, so the prompt is paid for."""
    mark, before, frames = provider.mark(), len(gateway.generations()), frames_seen(gateway)
    with Wire(gateway.address) as wire:
        wire.post(prefix + PATHS[dialect], body(dialect, fault={"kind": "stall", "after_frames": 1}))
        while frames_seen(gateway) == frames:
            pass
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "client_gone"
    while len(rows := gateway.generations()) == before:
        pass
    row = rows[-1]
    assert (row["outcome"], row["completion_tokens"]) == ("cancelled", 0)
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


def frames_seen(gateway: Gateway) -> int:
    """The gateway's own count of frames so far."""
    text = send(gateway.admin, "GET", "/metrics", headers={"authorization": f"Bearer {ADMIN_TOKEN}"}).body.decode()
    return sum(int(line.split()[-1]) for line in text.splitlines() if line.startswith("fairlead_stream_events_total"))


def test_many_streams_on_one_connection(gateway: Gateway, provider: Provider, counts: Callable[[int, int], int]) -> None:
    """Streams and unary replies in turn on one kept-alive connection, none of them with anything of another."""
    mark, number = provider.mark(), counts(40, 1000)
    connection = http.client.HTTPConnection(*split(gateway.address), timeout=60)
    headers = {"content-type": "application/json", **authorization(KEY)}
    socket_of_first: Any = None
    for index in range(number):
        prefix, dialect = ROUTES[index % 4]
        said = f"{index} " * (index % 9 + 1)
        request = body_of(said, dialect=dialect, stream=index % 3 != 0, sim={"split": index % 5 + 1} if index % 2 else {})
        connection.request("POST", prefix + PATHS[dialect], json.dumps(request), headers)
        socket_of_first = socket_of_first or connection.sock
        assert connection.sock is socket_of_first
        reply = connection.getresponse().read()
        if index % 3:
            assert texts(sse_data(reply), dialect) == said
        else:
            message = json.loads(reply)
            assert said == (
                message["content"][0]["text"] if dialect == "anthropic_messages" else message["choices"][0]["message"]["content"]
            )
    connection.close()
    assert {record["outcome"] for record in provider.since(mark, number)} == {"complete"}


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize(
    "sim", [{"tokens": 3, "token_bytes": 1 << 20}, {"tokens": 20_000, "batch": 500}, {"tokens": 2_000, "split": 4_097}]
)
def test_large_ones(gateway: Gateway, provider: Provider, prefix: str, dialect: str, sim: dict[str, Any]) -> None:
    mark = provider.mark()
    request = {**body(dialect, **sim), **({"max_tokens": 50_000} if dialect == "anthropic_messages" else {})}
    reply = gateway.post(prefix + PATHS[dialect], request)
    [record] = provider.since(mark, 1)
    text = texts(sse_data(reply.body), dialect)
    assert record["completion_tokens"] == record["delivered_tokens"] == sim["tokens"]
    assert text == "x" * (3 << 20) if "token_bytes" in sim else text.startswith(LOREM)
    assert gateway.generation(reply.generation)["charged_nanousd"] == billed_nanousd(record)


# --- figures and endings ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(provider: Provider) -> Iterator[Gateway]:
    """A gateway of its own for figures that could spoil sums."""
    with Gateway(configuration(provider.address)) as running:
        yield running


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("usage", ["normal", "absent", "zero", "twice", "changing", "huge", "negative"])
def test_usage(apart: Gateway, provider: Provider, prefix: str, dialect: str, stream: bool, usage: str) -> None:
    """What the provider says of its tokens is taken where it can be true; else our own count, which says so."""
    mark = provider.mark()
    reply = apart.post(prefix + PATHS[dialect], {**body(dialect, usage=usage), "stream": stream})
    assert reply.status == 200
    [record] = provider.since(mark, 1)
    row = apart.generation(reply.generation)
    assert row["outcome"] == "completed"
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] >= 0
    if usage in ("normal", "twice", "changing"):
        assert row["charged_nanousd"] == billed_nanousd(record)
        assert row["flags"] & (ESTIMATED | USAGE_MISSING) == 0
    else:
        assert row["flags"] & ESTIMATED
        assert 0 < row["charged_nanousd"] <= row["reserved_nanousd"]
        assert 0 < row["completion_tokens"] < 1000


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize("terminal", ["normal", "absent", "twice"])
@pytest.mark.parametrize("finish", ["stop", None])
def test_endings(gateway: Gateway, prefix: str, dialect: str, terminal: str, finish: str | None) -> None:
    """A reply is complete when its dialect's end was seen, in either of the two ways it has; without any it was cut."""
    sim: dict[str, Any] = {"terminal": terminal}
    if finish is None:
        sim["finish"] = None
    reply = gateway.post(prefix + PATHS[dialect], body(dialect, **sim))
    events = sse_data(reply.body)
    row = gateway.generation(reply.generation)
    assert reply.status == 200 and texts(events, dialect) == LOREM
    if (terminal, finish) == ("absent", None):
        assert (row["outcome"], row["error"]) == ("failed", "truncated")
        assert "error" in (events[-1] if dialect == "anthropic_messages" else events[-2])
        return
    assert row["outcome"] == "completed"
    ends = [event for event in events if event == "[DONE]" or (event != "[DONE]" and event.get("type") == "message_stop")]
    assert len(ends) == (0 if terminal == "absent" else 1)
    assert not any("error" in event for event in events if event != "[DONE]")


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
def test_an_empty_reply_is_none_unless_it_was_meant(gateway: Gateway, prefix: str, dialect: str) -> None:
    """No content and no tokens: a failure with its real status. With a filter as the reason, the reply."""
    for stream in (False, True):
        request = {**body(dialect, tokens=0), "stream": stream}
        reply = gateway.post(prefix + PATHS[dialect], request)
        assert reply.status == 502, reply.body
        assert gateway.generation(reply.generation)["error"] == "empty_reply"
        request["sim"]["finish"] = "refusal" if dialect == "anthropic_messages" else "content_filter"
        assert gateway.post(prefix + PATHS[dialect], request).status == 200


# --- beside the rest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_beside_all_that_is_refused(gateway: Gateway, provider: Provider, dialect: str) -> None:
    """While others send what they must not, on connections of their own, a stream goes on as if it were alone."""
    mark = provider.mark()
    found: list[Any] = []
    done = threading.Event()

    def stream() -> None:
        try:
            found.append(gateway.post(PATHS[dialect], body(dialect, tokens=200, pace_ms=10)))
        finally:
            done.set()

    thread = threading.Thread(target=stream)
    thread.start()
    refusals = 0
    while not done.is_set():
        for raw in BAD_HTTP.values():
            refusals += b"HTTP/1.1 4" in say(gateway.address, raw if isinstance(raw, bytes) else raw.encode("latin-1"))
        for bad, _ in BAD_BODIES.values():
            refusals += gateway.post(PATHS[dialect], bad).status == 400
    thread.join()
    assert refusals > 50
    [reply] = found
    assert texts(sse_data(reply.body), dialect) == (LOREM * 7)[: len(texts(sse_data(reply.body), dialect))]
    [record] = provider.since(mark, 1)
    assert (record["outcome"], record["delivered_tokens"]) == ("complete", 200)
    assert gateway.generation(reply.generation)["charged_nanousd"] == billed_nanousd(record)
