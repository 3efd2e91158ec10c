"""What providers may do to a connection: nothing of it may reach a client as somebody else's bytes, and nothing is paid for twice."""

import contextlib
import gzip
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import Gateway, Reply, configuration, sse_data, until
from e2e.stub import CERTIFICATES, Script, Stub, Visit, chunked, completion, frames, head, polite, server_context, sized
from e2e.wire import Wire, body_of

CHAT = "/v1/chat/completions"
SSE = "text/event-stream"
# One pool, so that it is known which connection comes next; impatient, so that waiting for a verdict is short.
SERVER = "workers = 1"
TABLES = "[timeouts]\nidle_ms = 1000\nupstream_head_ms = 1500\ntls_ms = 1000\n"
# As `rust/ledger/src/record.rs` has it.
RESENT = 1 << 4


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Gateway, Stub]]:
    """A stub and the gateway in front of it."""
    with Stub() as stub, Gateway(configuration(stub.address, server=SERVER, tables=TABLES)) as gateway:
        yield gateway, stub


@pytest.fixture
def stub(stage: tuple[Gateway, Stub]) -> Stub:
    """The stub, to be given a script with `play`."""
    return stage[1]


@pytest.fixture
def gateway(stage: tuple[Gateway, Stub]) -> Gateway:
    """The gateway in front of it."""
    return stage[0]


def ask(gateway: Gateway, *, stream: bool = False, **fields: Any) -> Reply:
    """A small call."""
    return gateway.post(CHAT, body_of(stream=stream, **fields))


def text_of(reply: Reply) -> str:
    """What it says, whole or streamed."""
    assert reply.status == 200, reply
    if reply.headers["content-type"] != SSE:
        return str(reply.json()["choices"][0]["message"]["content"])
    *chunks, last = sse_data(reply.body)
    assert last == "[DONE]", chunks
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])


def row_of(gateway: Gateway, reply: Reply) -> dict[str, Any]:
    """The generation of a reply."""
    return gateway.generation(reply.generation)


def resent(gateway: Gateway) -> int:
    """Requests that were sent a second time, so far."""
    text = gateway.operate("GET", "/metrics").body.decode()
    return int(next(line for line in text.splitlines() if line.startswith("fairlead_upstream_resent_total ")).split()[1])


# --- replies in every legal shape -------------------------------------------------------------------------------------

INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"
EXTENSION = b' ; a="quoted;\\"" ;b=c'


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (sized(completion()), True),
        (head("transfer-encoding: chunked") + chunked(completion()), True),
        (head("Transfer-Encoding:  Chunked ") + chunked(completion()[:9], completion()[9:]), True),
        (head("transfer-encoding: chunked") + chunked(completion()[:9], completion()[9:], extension=EXTENSION), True),
        (head("transfer-encoding: chunked") + chunked(completion(), trailers=b"x-cost: 1\r\nx-more: 2\r\n"), True),
        (INTERIM + sized(completion()), True),
        (sized(completion(), "connection: close"), False),
        (sized(completion()).replace(b"HTTP/1.1", b"HTTP/1.0", 1), False),
        (head() + completion(), False),
        (b"HTTP/1.1 200\r\ncontent-length: %d\r\n\r\n" % len(completion()) + completion(), True),
    ],
    ids=["sized", "chunked", "odd case", "chunk extensions", "trailers", "interim heads", "close", "HTTP/1.0", "until close", "no reason"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "byte by byte"])
def test_a_legal_reply(gateway: Gateway, stub: Stub, reply: bytes, kept: bool, whole: bool) -> None:
    stub.play(answering(reply, kept=kept, whole=whole))
    for _ in range(3):
        assert text_of(ask(gateway)) == "Hello"
    assert stub.requests() == ([3] if kept else [1, 1, 1])


@pytest.mark.parametrize(
    ("reply", "kept"),
    [
        (head("transfer-encoding: chunked", type=SSE) + chunked(*frames()), True),
        (head("transfer-encoding: chunked", type=SSE) + chunked(b"".join(frames()), extension=EXTENSION, trailers=b"a: b\r\n"), True),
        (head(type=SSE) + b"".join(frames()), False),
        (head(f"content-length: {len(b''.join(frames()))}", type="Text/Event-Stream; charset=utf-8") + b"".join(frames()), True),
        (INTERIM + head("transfer-encoding: chunked", type=SSE) + chunked(*frames()), True),
    ],
    ids=["chunked", "extensions and trailers", "until close", "sized", "interim heads"],
)
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "byte by byte"])
def test_a_legal_stream(gateway: Gateway, stub: Stub, reply: bytes, kept: bool, whole: bool) -> None:
    stub.play(answering(reply, kept=kept, whole=whole))
    for _ in range(3):
        assert text_of(ask(gateway, stream=True)) == "Hello"
    assert stub.requests() == ([3] if kept else [1, 1, 1])


def answering(reply: bytes, *, kept: bool = True, whole: bool = True) -> Script:
    """Answers every request with these bytes."""

    def script(visit: Visit) -> None:
        while True:
            visit.request()
            for piece in [reply] if whole else (reply[at : at + 1] for at in range(len(reply))):
                visit.say(piece)
            if not kept:
                return

    return script


# --- connections that die while they are kept -------------------------------------------------------------------------


def ends_after_the_reply(visit: Visit) -> None:
    """Closes as soon as it has answered."""
    visit.request()
    visit.say(sized(completion()))


def ends_at_the_next_request(how: str) -> Script:
    """Answers once; when the next request comes the first connection ends without an answer. Later connections behave."""

    def script(visit: Visit) -> None:
        if visit.number > 0:
            polite(visit)
        visit.request()
        visit.say(sized(completion()))
        visit.request() if how.startswith("after") else visit.socket.recv(1)
        if how.endswith("reset"):
            visit.reset()

    return script


def test_a_connection_that_closed_while_idle_is_not_used(gateway: Gateway, stub: Stub) -> None:
    before = resent(gateway)
    stub.play(ends_after_the_reply)
    for count in range(1, 6):
        assert text_of(ask(gateway)) == "Hello"
        until(lambda count=count: len(stub.visits) == count, "the stub has seen it")
    assert stub.requests() == [1] * 5
    # Most often the close is seen in time; when it is not, the request goes out again and the client does not notice.
    assert resent(gateway) - before <= 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", ["at the first byte", "at the first byte, reset", "after the request", "after the request, reset"])
def test_a_connection_that_had_gone_stale_is_replaced_once(gateway: Gateway, stub: Stub, how: str, stream: bool) -> None:
    before = resent(gateway)
    stub.play(ends_at_the_next_request(how))
    assert text_of(ask(gateway)) == "Hello"
    reply = ask(gateway)
    assert text_of(reply) == "Hello"
    assert resent(gateway) == before + 1
    row = row_of(gateway, reply)
    assert (row["outcome"], [attempt["flags"] & RESENT for attempt in row["attempts"]]) == ("completed", [RESENT, 0])
    assert len(stub.requests()) == 2


def test_a_large_request_on_a_stale_connection(gateway: Gateway, stub: Stub) -> None:
    stub.play(ends_at_the_next_request("at the first byte, reset"))
    assert text_of(ask(gateway)) == "Hello"
    text = "large " * 1_000_000
    assert text_of(ask(gateway, text=text)) == "Hello"
    assert stub.visits[1].requests[0].count(b"large ") == 1_000_000


def test_nothing_is_sent_a_third_time(gateway: Gateway, stub: Stub) -> None:
    def script(visit: Visit) -> None:
        visit.request()
        if visit.number == 0:
            visit.say(sized(completion()))
            visit.request()

    stub.play(script)
    assert text_of(ask(gateway)) == "Hello"
    reply = ask(gateway)
    assert reply.status == 502
    assert stub.requests() == [2, 1]
    assert row_of(gateway, reply)["error"] == "closed_before_reply"


def test_a_fresh_connection_without_an_answer_is_an_error(gateway: Gateway, stub: Stub) -> None:
    stub.play(lambda visit: drop(visit.request()))
    reply = ask(gateway)
    assert (reply.status, reply.json()["error"]["type"]) == (502, "server_error")
    assert "Lab" in reply.json()["error"]["message"]
    assert stub.requests() == [1]


def drop(_: object) -> None:
    """Ends a script."""


def test_half_an_answer_is_never_asked_for_again(gateway: Gateway, stub: Stub) -> None:
    for part in (b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\ncontent-le", INTERIM):

        def script(visit: Visit, part: bytes = part) -> None:
            visit.request()
            if visit.number == 0:
                visit.say(sized(completion()))
                visit.request()
                visit.say(part)

        stub.play(script)
        assert text_of(ask(gateway)) == "Hello"
        reply = ask(gateway)
        assert reply.status == 502
        # What had begun to be answered has been worked on: sending it again might be paid for twice.
        assert stub.requests() == [2], part


# --- what must not be used again --------------------------------------------------------------------------------------

SMUGGLED = sized(completion("smuggled"))


@pytest.mark.parametrize(
    "reply",
    [
        sized(completion()) + SMUGGLED,
        sized(completion()) + b"\r\n",
        head("transfer-encoding: chunked") + chunked(completion()) + SMUGGLED,
        sized(completion(), "connection: close") + SMUGGLED,
        sized(completion(), "connection: keep-alive, close"),
        sized(completion()).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    ],
    ids=["more behind it", "a line behind it", "more behind chunks", "close with more", "close in a list", "HTTP/1.0"],
)
def test_a_good_reply_on_a_connection_that_cannot_be_trusted_any_more(gateway: Gateway, stub: Stub, reply: bytes) -> None:
    def script(visit: Visit) -> None:
        visit.request()
        visit.say(reply)
        assert visit.gone()

    stub.play(script)
    for _ in range(3):
        assert text_of(ask(gateway)) == "Hello"
    assert stub.requests() == [1, 1, 1]


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "protocol_error"),
        (head(f"content-length: {len(completion())}", f"content-length: {len(completion()) + 1}") + completion(), "protocol_error"),
        (head("content-length: 5", "transfer-encoding: chunked") + chunked(completion()), "protocol_error"),
        (head("transfer-encoding: gzip, chunked") + chunked(completion()), "protocol_error"),
        (head("transfer-encoding: chunked") + b"zz\r\n" + completion(), "protocol_error"),
        (head("transfer-encoding: chunked") + b"5\r\nabcdefg\r\n0\r\n\r\n", "protocol_error"),
        (head("x: " + "y" * 40_000) + completion(), "protocol_error"),
        (head(*[f"x-{number}: y" for number in range(200)]) + completion(), "protocol_error"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20 + sized(completion()), "protocol_error"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "protocol_error"),
        (sized(completion()).replace(b"\r\n", b"\n"), "protocol_error"),
        (sized(b"<html>Bad gateway</html>"), "garbage"),
        (sized(b""), "garbage"),
    ],
    ids=[
        "not HTTP", "two lengths", "length and chunks", "a coding", "a chunk size", "a chunk too long", "a long head", "many headers",
        "many interim heads", "an upgrade", "bare line feeds", "not JSON", "nothing",
    ],
)  # fmt: skip
def test_a_reply_that_makes_no_sense(gateway: Gateway, stub: Stub, reply: bytes, word: str) -> None:
    stub.play(answering(reply))
    for stream in (False, True):
        failed = ask(gateway, stream=stream)
        assert failed.status == 502, failed
        row = row_of(gateway, failed)
        assert (row["outcome"], row["charged_nanousd"]) == ("failed", 0)
        if not stream:
            assert row["error"] == word
    stub.play(polite)
    assert text_of(ask(gateway)) == "Hello"


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "503 Service Unavailable"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_compressed_all_the_same(gateway: Gateway, stub: Stub, stream: bool, status: str) -> None:
    """It is called what it is, and not quoted."""
    stub.play(answering(sized(gzip.compress(completion()), "content-encoding: gzip", status=status)))
    for path in (CHAT, "/api" + CHAT):
        failed = gateway.post(path, body_of(stream=stream))
        error = failed.json()["error"]
        assert failed.status == {"2": 502, "4": 400, "5": 503}[status[0]]
        assert "sent gzip, which was not asked for" in error["message"] and "\ufffd" not in error["message"]
        assert not {"raw", "provider_error", "provider_code"} & error.get("metadata", {}).keys()


@pytest.mark.parametrize("path", [CHAT, "/api" + CHAT])
@pytest.mark.parametrize("stream", [False, True])
def test_bytes_that_are_no_text_are_not_quoted(gateway: Gateway, stub: Stub, stream: bool, path: str) -> None:
    body = gzip.compress(completion())
    replies = [
        sized(body),
        sized(body, status="500 Internal Server Error"),
        head(type=SSE) + b"data: " + body.replace(b"\n", b"") + b"\n\n",
    ]
    for reply in replies[: 2 + stream]:
        stub.play(answering(reply))
        error = gateway.post(path, body_of(stream=stream)).json()["error"]
        assert error["message"].isprintable() and "\ufffd" not in error["message"]
        assert not {"raw", "provider_error", "provider_code"} & error.get("metadata", {}).keys()


def test_interim_heads_are_counted_however_they_come(gateway: Gateway, stub: Stub) -> None:
    def script(visit: Visit) -> None:
        visit.request()
        while visit.number == 0:
            visit.say(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            # Few of them at a time.
            time.sleep(0.002)
        polite_from_here(visit)

    stub.play(script)
    reply = ask(gateway)
    assert (reply.status, row_of(gateway, reply)["error"]) == (502, "protocol_error")


def test_a_connection_left_in_the_middle_is_closed(gateway: Gateway, stub: Stub) -> None:
    left: list[bool] = []

    def script(visit: Visit) -> None:
        visit.request()
        if visit.number > 0:
            return polite_from_here(visit)
        visit.say(head("transfer-encoding: chunked", type=SSE) + b"%x\r\n%s\r\n" % (len(frames()[0]), frames()[0]))
        left.append(visit.gone())
        return None

    stub.play(script)
    with Wire(gateway.address) as wire:
        wire.post(CHAT, body_of(stream=True))
        answer = wire.head()
        next(wire.events(answer))
    until(lambda: left == [True], "the provider is told that nobody listens")
    assert text_of(ask(gateway)) == "Hello"
    assert stub.requests() == [1, 1]


def polite_from_here(visit: Visit) -> None:
    """Answers the request that has been read, and every further one."""
    visit.say(sized(completion()))
    polite(visit)


# --- answers that come early ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["close", "reset", "wait"])
def test_an_answer_before_the_request_was_read(gateway: Gateway, stub: Stub, ending: str) -> None:
    refusal = sized(b'{"error":{"message":"far too long","type":"invalid_request_error"}}', "connection: close", status="413 Too Large")

    def script(visit: Visit) -> None:
        if visit.number > 0:
            return polite(visit)
        visit.head()
        visit.say(refusal)
        if ending == "wait":
            until(visit_is_left(visit), "the gateway has read the answer and left")
        elif ending == "reset":
            # Behind the answer, not instead of it: what is unread makes the close a reset.
            visit.socket.shutdown(socket.SHUT_WR)
            visit.socket.recv(1)
        return None

    stub.play(script)
    reply = ask(gateway, text="x" * 8_000_000)
    assert (reply.status, "far too long" in reply.json()["error"]["message"]) == (413, True), reply
    assert row_of(gateway, reply)["charged_nanousd"] == 0
    assert text_of(ask(gateway)) == "Hello"
    assert stub.requests() == [1, 1]


def test_a_provider_that_does_not_read(gateway: Gateway, stub: Stub) -> None:
    def script(visit: Visit) -> None:
        visit.head()
        # Nothing more is read; the request does not fit into the buffers between us.
        until(visit_is_left(visit), "the gateway gives up")

    stub.play(script)
    reply = ask(gateway, text="x" * 24_000_000)
    assert (reply.status, row_of(gateway, reply)["error"]) == (504, "idle_timeout")


def visit_is_left(visit: Visit) -> Any:
    """Whether the other side has closed, without reading what it sent before."""

    def look() -> bool:
        with contextlib.suppress(OSError):
            # TCP_INFO's first byte is the state; 1 is "established".
            return visit.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 1
        return True

    return look


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_says_nothing(gateway: Gateway, stub: Stub, stream: bool) -> None:
    stub.play(lambda visit: drop((visit.request(), visit.gone())))
    reply = ask(gateway, stream=stream)
    assert (reply.status, row_of(gateway, reply)["error"]) == (504, "head_timeout")


# --- TLS to providers -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> str:
    """The provider's own roots."""
    return f'ca_file = "{CERTIFICATES / "authority.pem"}"'


def behind_tls(stub: Stub, host: str, lines: str) -> Gateway:
    """A gateway whose provider speaks TLS."""
    return Gateway(configuration(f"{host}:{stub.port}", scheme="https", provider_lines=lines, server=SERVER, tables=TABLES))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_provider_with_its_own_authority(authority: str, host: str) -> None:
    with Stub(server_context()) as stub, behind_tls(stub, host, authority) as gateway:
        for _ in range(3):
            assert text_of(ask(gateway)) == "Hello"
        assert stub.requests() == [3]
        stub.play(answering(head("transfer-encoding: chunked", type=SSE) + chunked(*frames()), whole=False))
        assert text_of(ask(gateway, stream=True)) == "Hello"
        # A stale connection is one under TLS too.
        stub.play(ends_at_the_next_request("after the request"))
        assert [text_of(ask(gateway)) for _ in range(2)] == ["Hello"] * 2
        # A body that ends with the connection ends with TLS's own farewell, and one that is cut does not pass for whole.
        stub.play(answering(head() + completion(), kept=False))
        assert text_of(ask(gateway)) == "Hello"


@pytest.mark.parametrize(
    ("certificate", "host", "roots", "said"),
    [
        ("localhost", "localhost", "stranger", "UnknownIssuer"),
        ("localhost", "localhost", "", "UnknownIssuer"),
        ("expired", "localhost", "authority", "expired"),
        ("elsewhere", "localhost", "authority", "not valid for"),
    ],
    ids=["wrong authority", "no authority", "expired", "wrong name"],
)
def test_a_provider_that_cannot_prove_who_it_is(certificate: str, host: str, roots: str, said: str) -> None:
    lines = f'ca_file = "{CERTIFICATES / roots}.pem"' if roots else ""
    with Stub(server_context(certificate)) as stub, behind_tls(stub, host, lines) as gateway:
        for stream in (False, True):
            reply = ask(gateway, stream=stream)
            assert reply.status == 502
            message = reply.json()["error"]["message"]
            assert message.startswith("Lab: TLS failed: ") and said in message
            row = row_of(gateway, reply)
            assert (row["error"], row["charged_nanousd"], row["upstream_cost_nanousd"]) == ("tls_failed", 0, 0)
        # No handshake was completed, so not a byte of a request was sent.
        until(lambda: stub.handshakes_failed == 2, "both were refused")
        assert stub.requests() == []


def test_a_provider_that_does_not_speak_tls(authority: str) -> None:
    with Stub() as stub, behind_tls(stub, "localhost", authority) as gateway:
        stub.play(lambda visit: visit.say(b"HTTP/1.0 400 Bad Request\r\n\r\n"))
        assert (ask(gateway).status, ask(gateway).json()["error"]["message"].startswith("Lab: TLS failed: ")) == (502, True)
        stub.play(lambda visit: drop(until(visit_is_left(visit), "the gateway gives up")))
        reply = ask(gateway)
        assert (reply.status, row_of(gateway, reply)["error"]) == (504, "connect_timeout")


def test_a_provider_that_is_not_there(gateway: Gateway) -> None:
    with Gateway(configuration("127.0.0.1:1", tables=TABLES)) as lost:
        reply = ask(lost)
        assert (reply.status, row_of(lost, reply)["error"]) == (502, "connect_failed")
        assert reply.headers["x-fairlead-attempts"] == "1"
    with Gateway(configuration("nowhere.invalid:80", tables=TABLES)) as lost:
        reply = ask(lost)
        assert row_of(lost, reply)["error"] in ("resolve_failed", "connect_timeout")
