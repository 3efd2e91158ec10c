"""Streams from one dialect into another: signs of life, failures before and behind the first content, anomalies, clients that leave.

The simulator or a scripted provider says what was sent; `stories` says what a client understood of it; the ledger of the one and the
record of the other must agree, once for every call.
"""

import contextlib
import json
import select
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e import stories
from e2e.house import (
    COMPLETION_NANOUSD,
    PROMPT_NANOUSD,
    REPLY_SECONDS,
    STOP_SECONDS,
    Gateway,
    Reply,
    billed_nanousd,
    until,
)
from e2e.judge import Judge
from e2e.said_upstream import FAILURES, GREETINGS, OPENINGS
from e2e.stub import Stub, Visit, head
from e2e.translated import CLIENTS, UPSTREAMS, addressed, amazon, configuration, model_of, path_of, said, stream_type
from e2e.wire import Wire

CLIENTS_AND_OLD = (*CLIENTS, "completions")
PAIRS = [(client, upstream) for client in CLIENTS_AND_OLD for upstream in UPSTREAMS if client != upstream]
# Every client and every upstream at least twice: what reads a stream knows nothing of what writes it.
HALF = [pair for pair in PAIRS if (CLIENTS_AND_OLD.index(pair[0]) + UPSTREAMS.index(pair[1])) % 2]
TOOL_PAIRS = [pair for pair in HALF if pair[0] != "completions"]
ESTIMATED, INSURED = 1, 8
LOREM = "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor"
LIMITS = "[limits]\nevent_bytes = 300000\n"
QUICK = "[timeouts]\nearly_head_ms = 20\nkeepalive_ms = 20\n"


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own."""
    with Judge() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    with Gateway(configuration(judge.address, ["fast", "tools"], tables=LIMITS)) as running:
        yield running


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub() as running:
        yield running


@pytest.fixture(scope="module")
def quick(stub: Stub) -> Iterator[Gateway]:
    """A gateway that soon shows that it lives, with a scripted provider."""
    with Gateway(configuration(stub.address, ["fast"], tables=QUICK)) as running:
        yield running


@pytest.fixture(scope="module")
def plain(stub: Stub) -> Iterator[Gateway]:
    """A patient gateway with a scripted provider."""
    with Gateway(configuration(stub.address, ["fast"])) as running:
        yield running


def ask(client: str, upstream: str, model: str = "fast", prefix: str = "", **fields: Any) -> tuple[str, dict[str, Any]]:
    """Path and body of a request for a stream."""
    name = model_of(upstream, model)
    return path_of(client, name, stream=True, prefix=prefix), addressed(client, said(client) | fields, name, stream=True)


def scripted(
    gateway: Gateway, judge: Judge, client: str, upstream: str, script: dict[str, Any], **fields: Any
) -> tuple[Reply, dict[str, Any]]:
    """The reply to a call whose provider does what the script says, and the provider's record of it."""
    mark = judge.mark()
    judge.script(script)
    path, body = ask(client, upstream, "tools" if "tool_calls" in script else "fast", **fields)
    reply = gateway.post(path, body)
    [record] = judge.since(mark, 1)
    return reply, record


def settled(gateway: Gateway, reply: Reply) -> dict[str, Any]:
    """The one row of a call; `Gateway.generation` sees that there is no second."""
    row = gateway.generation(reply.generation)
    assert len(row["attempts"]) == 1
    return row


# --- whole ones ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_what_it_costs_is_what_the_provider_says(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    options = {"stream_options": {"include_usage": True}} if client in ("openai_chat", "completions") else {}
    for script in ({"split": "byte", "tokens": 5}, {"reasoning_tokens": 2}, {"batch": 50, "line_ending": "crlf"}):
        reply, record = scripted(gateway, judge, client, upstream, script, **options)
        story, row = stories.read(client, reply.body), settled(gateway, reply)
        assert story.text.startswith("Lorem ipsum dolor") and story.error is None
        assert record["outcome"] == row["outcome"].removesuffix("d") == "complete"
        assert story.cost_nanousd == row["charged_nanousd"] == row["upstream_cost_nanousd"] == billed_nanousd(record) > 0
        assert row["flags"] & ESTIMATED == 0


@pytest.mark.parametrize("client", ["openai_chat", "completions"])
@pytest.mark.parametrize("upstream", [upstream for upstream in UPSTREAMS if upstream != "openai_chat"])
@pytest.mark.parametrize(("prefix", "wanted", "comes"), [("", None, False), ("", False, False), ("", True, True), ("/api", None, True)])
def test_the_usage_chunk_is_for_those_who_ask(
    gateway: Gateway, judge: Judge, client: str, upstream: str, prefix: str, wanted: bool | None, comes: bool
) -> None:
    """OpenRouter's manner always has it. Whoever does not see it pays the same."""
    options = {} if wanted is None else {"stream_options": {"include_usage": wanted}}
    reply, record = scripted(gateway, judge, client, upstream, {}, prefix=prefix, **options)
    story = stories.read(client, reply.body)
    assert bool(story.usage) == comes and story.text
    assert settled(gateway, reply)["charged_nanousd"] == billed_nanousd(record) == (story.cost_nanousd if comes else billed_nanousd(record))


# --- failures -----------------------------------------------------------------------------------------------------------------------------

BEFORE: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"kind": "status", "status": 401}, (502,)),
    ({"kind": "status", "status": 429, "retry_after": "7"}, (429,)),
    ({"kind": "status", "status": 400}, (400,)),
    ({"kind": "status", "status": 529}, (503,)),
    ({"kind": "error_event", "after_frames": 0}, (502, 503)),
    ({"kind": "garbage", "after_frames": 0}, (502,)),
    ({"kind": "cut", "after_frames": 0, "after_bytes": 9}, (502,)),
    ({"kind": "empty"}, (502,)),
]


@pytest.mark.parametrize(("client", "upstream"), HALF)
def test_before_content_it_fails_with_its_status(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    for fault, statuses in BEFORE:
        reply, record = scripted(gateway, judge, client, upstream, {"fault": fault})
        assert reply.status in statuses, (fault, reply.body)
        assert reply.headers["content-type"] == "application/json"
        stories.check_error(client, reply.json()["error"])
        row = settled(gateway, reply)
        assert (row["outcome"], row["status"], row["charged_nanousd"]) == ("failed", reply.status, 0), fault
        assert record["outcome"] != "complete" and row["streamed"] == 1
        assert reply.headers["retry-after"] == fault.get("retry_after")


BEHIND: list[tuple[dict[str, Any], str]] = [
    ({"kind": "error_event"}, "stream_error"),
    ({"kind": "garbage"}, "stream_error"),
    ({"kind": "cut", "after_bytes": 12}, "truncated"),
    ({"kind": "cut", "how": "rst"}, "read_failed"),
]


@pytest.mark.parametrize(("client", "upstream"), HALF)
def test_behind_content_it_is_told_in_the_stream(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """One end, in the client's words, and what came is paid for by our own count."""
    for fault, word in BEHIND:
        # Frames that travel alone, so that what came before the fault has been passed on before it.
        script = {"fault": {**fault, "after_frames": 9}, "pace_ms": 2}
        reply, record = scripted(gateway, judge, client, upstream, script)
        assert reply.status == 200
        story, row = stories.read(client, reply.body), settled(gateway, reply)
        assert story.error is not None and story.text and LOREM.startswith(story.text), (fault, story)
        stories.check_error(client, story.error)
        assert (row["outcome"], row["error"], row["status"]) == ("failed", word, 200)
        assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
        assert record["outcome"] in ("cut", "fault")


# --- tools --------------------------------------------------------------------------------------------------------------------------------

PLACE = {"type": "object", "properties": {"place": {"type": "string"}}}
TOOLS: dict[str, dict[str, Any]] = {
    "openai_chat": {"tools": [{"type": "function", "function": {"name": "get", "parameters": PLACE}}]},
    "openai_responses": {"tools": [{"type": "function", "name": "get", "parameters": PLACE, "strict": False}]},
    "anthropic_messages": {"tools": [{"name": "get", "input_schema": PLACE}]},
    "gemini_generate": {"tools": [{"functionDeclarations": [{"name": "get", "parameters": PLACE}]}]},
}
ANOMALIES = (
    *("no_index", "zero_index", "shifted_index", "no_id", "repeated_id", "repeated_name", "late_name", "whole", "object_arguments"),
    *("interleaved", "empty_arguments"),
)


@pytest.mark.parametrize(("client", "upstream"), TOOL_PAIRS)
def test_calls_that_come_oddly_are_two_whole_calls(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    for anomalies in ([], *([anomaly] for anomaly in ANOMALIES), ["zero_index", "no_id"], ["no_index", "repeated_id"]):
        reply, record = scripted(gateway, judge, client, upstream, {"tool_calls": 2, "tool_anomalies": anomalies}, **TOOLS[client])
        assert reply.status == 200, (anomalies, reply.body)
        story = stories.read(client, reply.body)
        arguments = {} if anomalies == ["empty_arguments"] else {"place": "example"}
        # Google calls that a malformed function call, and sends none.
        number = 0 if anomalies == ["empty_arguments"] and upstream == "gemini_generate" else 2
        assert [(call.name, json.loads(call.arguments)) for call in story.calls] == [("get", arguments)] * number, anomalies
        assert settled(gateway, reply)["charged_nanousd"] == billed_nanousd(record)


@pytest.mark.parametrize(("client", "upstream"), [pair for pair in TOOL_PAIRS if pair[1] != "gemini_generate"])
def test_arguments_that_break_off_stay_broken(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """A provider that ends well with half an object: it is never made whole by a guess. Gemini's clients, who get objects, see the text."""
    half = '{"place": "exam'
    reply, record = scripted(gateway, judge, client, upstream, {"tool_calls": 1, "arguments": half}, **TOOLS[client])
    [call] = stories.read(client, reply.body).calls
    assert call.arguments == (json.dumps({"_raw": half}) if client == "gemini_generate" else half)
    assert settled(gateway, reply)["charged_nanousd"] == billed_nanousd(record)


# --- large events -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "upstream"), HALF)
def test_large_events(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """From 64 KiB on an event is translated beside the worker; from the limit on it ends the stream, behind what came before."""
    reply, record = scripted(gateway, judge, client, upstream, {"tokens": 2, "token_bytes": 100_000})
    story = stories.read(client, reply.body)
    assert story.error is None and story.text == "x" * 200_000
    assert settled(gateway, reply)["charged_nanousd"] == billed_nanousd(record)

    reply, _ = scripted(gateway, judge, client, upstream, {"tokens": 1, "token_bytes": 400_000})
    assert reply.status == 502
    row = settled(gateway, reply)
    # Amazon's framing says beforehand how long an event will be: it is not waited for.
    word = "stream_error" if upstream == "bedrock_converse" else "event_too_large"
    assert (row["outcome"], row["error"], row["charged_nanousd"]) == ("failed", word, 0)


# --- signs of life ------------------------------------------------------------------------------------------------------------------------

# A greeting's three tokens and two.
COST_NANOUSD = 3 * PROMPT_NANOUSD + 2 * COMPLETION_NANOUSD
NATIVE = [("openai_responses", "openai_responses"), ("anthropic_messages", "anthropic_messages"), ("openai_chat", "openai_chat")]


def silent_until(stub: Stub, upstream: str, after: bytes) -> threading.Event:
    """A provider that opens its stream, says nothing until it is told to, and then the rest. Returns what to set."""
    told = threading.Event()

    def play(visit: Visit) -> None:
        visit.request()
        visit.say(head("connection: close", type=stream_type(upstream)) + OPENINGS[upstream])
        assert told.wait(REPLY_SECONDS)
        visit.say(after)
        visit.close()

    stub.play(play)
    return told


def is_alive(client: str, event: bytes) -> bool:
    """Whether an event is only a sign of life, or what such signs begin with."""
    match client:
        case "anthropic_messages":
            return event.startswith((b"event: ping\n", b"event: message_start\n"))
        case "openai_responses":
            return event.startswith((b"event: response.created\n", b"event: response.in_progress\n"))
        case _:
            # A provider of the client's own dialect has said who speaks.
            return event in (b": keep-alive\n\n", OPENINGS["openai_chat"])


@pytest.mark.parametrize(("client", "upstream"), [pair for pair in PAIRS if pair[0] != "gemini_generate"] + NATIVE)
@pytest.mark.parametrize("ends", ["well", "in an error", "cut"])
def test_signs_of_life_before_content(quick: Gateway, stub: Stub, client: str, upstream: str, ends: str) -> None:
    """After a while of silence the client gets its head, without what is not known yet, and signs of life; whatever comes, comes behind."""
    rest = {"well": GREETINGS[upstream], "in an error": FAILURES[upstream], "cut": b""}[ends]
    told = silent_until(stub, upstream, rest)
    path, body = ask(client, upstream)
    with Wire(quick.address) as wire:
        wire.post(path, body)
        answer = wire.head()
        assert answer.status == 200 and answer.header("x-generation-id")
        assert answer.header("x-fairlead-provider") is None and answer.header("x-fairlead-attempts") is None
        events = wire.events(answer)
        signs = [next(events) for _ in range(4)]
        assert all(is_alive(client, sign) for sign in signs), signs
        told.set()
        story = stories.read(client, b"".join([*signs, *events]))
    assert story.keepalives >= 3
    row = quick.generation(str(answer.header("x-generation-id")))
    if ends == "well":
        assert (story.text, story.error, row["outcome"], row["charged_nanousd"]) == ("Hi", None, "completed", COST_NANOUSD)
    else:
        assert story.error is not None and story.text == ""
        stories.check_error(client, story.error)
        assert (row["outcome"], row["status"], row["charged_nanousd"]) == ("failed", 200, 0)


@pytest.mark.parametrize("upstream", [upstream for upstream in UPSTREAMS if upstream != "gemini_generate"])
def test_geminis_clients_wait(quick: Gateway, stub: Stub, upstream: str) -> None:
    """Their dialect has no sign of life. Long after others would have had several, theirs has nothing, and gets the real status."""
    told = silent_until(stub, upstream, FAILURES[upstream])
    with Wire(quick.address) as wire, Wire(quick.address) as other:
        wire.post(*ask("gemini_generate", upstream))
        until(lambda: len(stub.visits) == 1, "the first is at the provider")
        other.post(*ask("completions", upstream))
        events = other.events(other.head())
        assert all(is_alive("completions", next(events)) for _ in range(4))
        assert select.select([wire.socket], [], [], 0)[0] == []
        told.set()
        answer = wire.answer()
    assert answer.status in (429, 502, 503)
    stories.check_error("gemini_generate", answer.json()["error"])


# --- Amazon's framing ---------------------------------------------------------------------------------------------------------------------

EXCEPTIONS = {
    "throttlingException": 429,
    "serviceUnavailableException": 503,
    "internalServerException": 502,
    "modelStreamErrorException": 502,
    "modelTimeoutException": 504,
    "validationException": 400,
}
BROKEN_FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "checksum": lambda frame: frame[:-1] + bytes([frame[-1] ^ 1]),
    "checksum of its start": lambda frame: frame[:8] + bytes([frame[8] ^ 1]) + frame[9:],
    "length": lambda frame: b"\xff" + frame[1:],
    "text": lambda frame: b"data: {}\n\n" * 10,
}


def said_by(upstream: str, *rest: bytes) -> Callable[[Visit], None]:
    """A provider that says this and ends."""

    def play(visit: Visit) -> None:
        visit.request()
        visit.say(head("connection: close", type=stream_type(upstream)) + b"".join(rest))

    return play


@pytest.mark.parametrize("client", CLIENTS_AND_OLD)
def test_amazons_exceptions(plain: Gateway, stub: Stub, client: str) -> None:
    """Before content its status, behind content the same failure in the stream."""
    for name, status in EXCEPTIONS.items():
        failed = amazon(name, b'{"message":"so it is"}')
        stub.play(said_by("bedrock_converse", OPENINGS["bedrock_converse"], failed))
        reply = plain.post(*ask(client, "bedrock_converse"))
        assert reply.status == status, (name, reply.body)
        stories.check_error(client, reply.json()["error"])
        check_in_band(plain, stub, client, failed)


@pytest.mark.parametrize("client", CLIENTS_AND_OLD)
@pytest.mark.parametrize("name", BROKEN_FRAMES)
def test_broken_frames(plain: Gateway, stub: Stub, client: str, name: str) -> None:
    """A frame that is not what its checksum says is no frame: nothing of it, and nothing behind it, reaches anybody."""
    broken = BROKEN_FRAMES[name](amazon("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"WRONG"}}'))
    stub.play(said_by("bedrock_converse", broken, GREETINGS["bedrock_converse"]))
    reply = plain.post(*ask(client, "bedrock_converse"))
    assert reply.status == 502 and b"WRONG" not in reply.body
    assert settled(plain, reply)["charged_nanousd"] == 0
    check_in_band(plain, stub, client, broken + GREETINGS["bedrock_converse"])


def check_in_band(plain: Gateway, stub: Stub, client: str, failed: bytes) -> None:
    """Content, then the failure: one end, in the client's words; what came is paid for."""
    begun = OPENINGS["bedrock_converse"] + amazon("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"Begun"}}')
    gate = threading.Event()

    def play(visit: Visit) -> None:
        visit.request()
        visit.say(head("connection: close", type=stream_type("bedrock_converse")) + begun)
        assert gate.wait(REPLY_SECONDS)
        visit.say(failed)

    stub.play(play)
    path, body = ask(client, "bedrock_converse")
    with Wire(plain.address) as wire:
        wire.post(path, body)
        answer = wire.head()
        pieces = wire.pieces(answer)
        received = next(pieces)
        gate.set()
        received += b"".join(pieces)
    story = stories.read(client, received)
    assert (story.text, story.error is not None) == ("Begun", True)
    row = plain.generation(str(answer.header("x-generation-id")))
    assert row["outcome"] == "failed" and 0 < row["charged_nanousd"] <= row["reserved_nanousd"]


# --- leaving and stopping -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "upstream"), HALF)
def test_clients_that_leave(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """In the middle of a stream: the provider is left too, and what came is paid for, once."""
    mark, before = judge.mark(), len(gateway.generations())
    judge.script({"fault": {"kind": "stall", "after_frames": 8}})
    with Wire(gateway.address) as wire:
        wire.post(*ask(client, upstream))
        answer = wire.head()
        assert answer.status == 200
        next(wire.pieces(answer))
    [record] = judge.since(mark, 1)
    assert record["outcome"] == "client_gone"
    rows = until(lambda: gateway.generations()[before:], "the call is settled")
    assert len(rows) == 1
    row = gateway.generation(str(answer.header("x-generation-id")))
    assert (row["outcome"], row["error"], len(row["attempts"])) == ("cancelled", "client_gone", 1)
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


@pytest.mark.parametrize("drain_ms", [60_000, 100])
def test_a_process_that_stops(judge: Judge, drain_ms: int) -> None:
    """Translated streams run to their end in the time there is; beyond it they are cut, told so in their own words, and settled."""
    pairs = [("openai_chat", "anthropic_messages"), ("anthropic_messages", "bedrock_converse"), ("openai_responses", "gemini_generate")]
    pairs += [("gemini_generate", "openai_responses"), ("completions", "openai_chat")]
    mark, in_time = judge.mark(), drain_ms > 1_000
    text = configuration(judge.address, ["fast"]).replace("[server]\n", f"[server]\ndrain_ms = {drain_ms}\n", 1)
    with Gateway(text) as stopping, contextlib.ExitStack() as stack:
        streams = []
        for client, upstream in pairs:
            judge.script({"tokens": 30 if in_time else 100_000, "pace_ms": 20})
            wire = stack.enter_context(Wire(stopping.address))
            wire.post(*ask(client, upstream))
            answer = wire.head()
            pieces = wire.pieces(answer)
            streams.append((client, [next(pieces)], pieces))
        assert stopping.process is not None
        stopping.process.send_signal(signal.SIGTERM)
        for client, received, pieces in streams:
            story = stories.read(client, b"".join([*received, *pieces]))
            assert story.text and (story.error is None) == in_time
            assert in_time or "shutting down" in str(story.error)
        assert stopping.process.wait(STOP_SECONDS) == 0
        rows = stopping.select("SELECT * FROM generations")
    records = judge.since(mark, len(pairs))
    assert [row["outcome"] for row in rows] == ["completed" if in_time else "failed"] * len(pairs)
    if in_time:
        assert sorted(row["charged_nanousd"] for row in rows) == sorted(map(billed_nanousd, records))
    else:
        assert {record["outcome"] for record in records} == {"client_gone"}
        assert all(0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] for row in rows)
