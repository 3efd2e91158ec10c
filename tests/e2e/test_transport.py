"""How clients may speak to the traffic port: HTTP/1.1 kept alive and pipelined, HTTP/2, TLS."""

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Provider, billed_nanousd, configuration, sse_data, until
from e2e.http2 import Http2
from e2e.stub import CERTIFICATES
from e2e.wire import DIALECTS, PATHS, Wire, body_of, is_terminal, request

CHAT = PATHS["openai_chat"]


def trusting(*protocols: str, roots: str = "authority") -> ssl.SSLContext:
    """A client's TLS."""
    context = ssl.create_default_context(cafile=CERTIFICATES / f"{roots}.pem")
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


@pytest.fixture(scope="module")
def secure(provider: Provider) -> Iterator[Gateway]:
    """A gateway that speaks TLS."""
    tls = f'tls = {{ cert = "{CERTIFICATES / "localhost.pem"}", key = "{CERTIFICATES / "leaf.key"}" }}'
    with Gateway(configuration(provider.address, server=tls, tables="[timeouts]\ntls_ms = 400\n")) as running:
        yield running


def said(body: bytes) -> str:
    """The text of a unary reply."""
    return str(sse_data(b"data: " + body + b"\n\n")[0]["choices"][0]["message"]["content"])


def test_many_requests_on_one_connection(gateway: Gateway) -> None:
    with Wire(gateway.address) as wire:
        for number in range(20):
            dialect = DIALECTS[number % 2]
            wire.post(PATHS[dialect], body_of(f"number {number}", dialect=dialect, stream=number % 3 == 0))
            answer = wire.answer()
            assert answer.status == 200 and answer.header("connection") is None
            assert f"{number}" in answer.body.decode()


def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    with Wire(gateway.address) as wire:
        # The first takes longest; a refusal, a stream and a probe stand between.
        bodies = [
            body_of("first", sim={"delay_ms": 100}),
            body_of("second", stream=True),
            body_of("third", model="lab/nothing"),
            body_of("fourth"),
        ]
        requests = [request("POST", CHAT, body) for body in bodies]
        wire.send(b"".join([*requests, request("GET", "/healthz", key=None)]))
        first, second, third, fourth, fifth = (wire.answer() for _ in range(5))
    assert (first.status, said(first.body)) == (200, "first")
    assert (second.status, sse_data(second.body)[-1]) == (200, "[DONE]")
    assert third.status == 404
    assert (fourth.status, said(fourth.body)) == (200, "fourth")
    assert fifth.body == b"ok\n"


def test_a_request_in_many_small_pieces(gateway: Gateway) -> None:
    data = request("POST", CHAT, body_of("in pieces"))
    with Wire(gateway.address) as wire:
        for at in range(len(data)):
            wire.send(data[at : at + 1])
        assert said(wire.answer().body) == "in pieces"


def test_a_chunked_request(gateway: Gateway) -> None:
    body = request("POST", CHAT, body_of("in chunks")).partition(b"\r\n\r\n")[2]
    chunks = b"".join(b"%x;why=not\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7))
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ntransfer-encoding: chunked\r\n\r\n"
    with Wire(gateway.address) as wire:
        for _ in range(2):
            wire.send(head.encode() + chunks + b"0\r\nx-trailer: dropped\r\n\r\n")
            assert said(wire.answer().body) == "in chunks"


def test_a_refused_head_request_in_front_of_another(gateway: Gateway) -> None:
    with Wire(gateway.address) as wire:
        for path, status in (("/nothing", 404), (CHAT, 405), ("/v1/nothing", 404)):
            wire.send(request("HEAD", path) + request("GET", "/healthz"))
            answer = wire.head()
            assert (answer.status, answer.header("connection")) == (status, None)
            assert wire.answer().body == b"ok\n"


def test_chunked_requests_that_do_not_wait_for_replies(gateway: Gateway) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    bodies = [json.dumps(body_of(f"number {number}")).encode() for number in range(5)]
    with Wire(gateway.address) as wire:
        wire.send(b"".join(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) for body in bodies))
        assert [said(wire.answer().body) for _ in bodies] == [f"number {number}" for number in range(5)]


def test_a_client_that_asks_first(gateway: Gateway) -> None:
    head, _, body = request("POST", CHAT, body_of("after asking"), {"expect": "100-continue"}).partition(b"\r\n\r\n")
    with Wire(gateway.address) as wire:
        wire.send(head + b"\r\n\r\n")
        assert wire.socket.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert said(wire.answer().body) == "after asking"
        # Without a key it is not asked for its body.
        wire.send(head.replace(KEY.encode(), b"nobody") + b"\r\n\r\n")
        answer = wire.answer()
        assert (answer.status, answer.interim) == (401, [])


@pytest.mark.parametrize(("version", "connection", "ends"), [("1.1", "close", True), ("1.0", "", True), ("1.0", "keep-alive", False)])
def test_connections_end_when_that_was_asked_for(gateway: Gateway, version: str, connection: str, ends: bool) -> None:
    for stream in (False, True):
        data = request("POST", CHAT, body_of(stream=stream), {"connection": connection} if connection else {})
        with Wire(gateway.address) as wire:
            wire.send(data.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
            answer = wire.head()
            assert answer.status == 200
            body = b"".join(wire.pieces(answer))
            assert body.endswith(b"data: [DONE]\n\n" if stream else b"}")
            if ends or (stream and version == "1.0"):
                # Nothing but its end tells an HTTP/1.0 client where a stream is over.
                assert wire.ended()
            else:
                wire.get("/healthz", key=None)
                assert wire.answer().status == 200


def test_probes(gateway: Gateway) -> None:
    with Wire(gateway.address) as wire:
        for path, body in (("/healthz", b"ok\n"), ("/readyz", b"ready\n")):
            wire.get(path, key=None)
            answer = wire.answer()
            assert (answer.status, answer.body) == (200, body)
            wire.send(request("HEAD", path, key=None))
            head = wire.head()
            assert (head.status, head.header("content-length")) == (200, str(len(body)))
        for key, status in ((None, 401), (KEY, 401), (ADMIN_TOKEN, 200)):
            wire.get("/metrics", key=key)
            assert wire.answer().status == status


# --- HTTP/2 -----------------------------------------------------------------------------------------------------------


def speak_http2(connection: Http2) -> None:
    """Streams and unary calls at once on one connection."""
    calls = [(dialect, stream) for dialect in DIALECTS for stream in (True, False)] * 3
    numbers = [
        connection.post(PATHS[dialect], body_of(f"call {at}", dialect=dialect, stream=stream)) for at, (dialect, stream) in enumerate(calls)
    ]
    for at, ((dialect, stream), number) in enumerate(zip(calls, numbers, strict=True)):
        body = connection.body(number)
        assert connection.statuses[number] == 200
        assert f"{at}" in body.decode()
        if stream:
            assert is_terminal(dialect, body.removesuffix(b"\n\n").rpartition(b"\n\n")[2] + b"\n\n")


def test_http2_with_prior_knowledge(gateway: Gateway) -> None:
    with Http2(gateway.address) as connection:
        speak_http2(connection)


def test_a_cancelled_stream_leaves_the_others_alone(gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    with Http2(gateway.address) as connection:
        long = connection.post(CHAT, body_of(model="lab/fast", stream=True, sim={"tokens": 100_000, "pace_ms": 5}))
        short = connection.post(CHAT, body_of(model="lab/fast", stream=True, sim={"tokens": 30, "pace_ms": 5}))
        until(lambda: connection.step() is not None and connection.bodies[long].count(b"\n\n") > 3, "the long one runs")
        connection.cancel(long)
        assert connection.body(short).endswith(b"data: [DONE]\n\n")
        records = {record["planned_tokens"]: record for record in provider.since(mark, expected=2)}
        assert (records[100_000]["outcome"], records[30]["outcome"]) == ("client_gone", "complete")
        again = connection.post(CHAT, body_of("again"))
        assert said(connection.body(again)) == "again"
    rows = gateway.generations("upstream_id IN (?, ?)", [records[100_000]["reply_id"], records[30]["reply_id"]])
    by_id: dict[str, Any] = {row["upstream_id"]: row for row in rows}
    assert by_id[records[100_000]["reply_id"]]["outcome"] == "cancelled"
    assert by_id[records[30]["reply_id"]]["charged_nanousd"] == billed_nanousd(records[30])


def test_a_drain_ends_http2_connections_in_order(provider: Provider) -> None:
    with Gateway(configuration(provider.address)) as gateway, Http2(gateway.address) as connection, Http2(gateway.address) as idle:
        stream = connection.post(CHAT, body_of(model="lab/fast", stream=True, sim={"tokens": 40, "pace_ms": 20}))
        until(lambda: connection.step() is not None and connection.bodies[stream], "it runs")
        assert gateway.process is not None
        gateway.process.terminate()
        assert connection.body(stream).endswith(b"data: [DONE]\n\n")
        for each in (connection, idle):
            while each.step() is not None:
                pass
            assert each.going_away
        assert gateway.process.wait(60) == 0


@pytest.mark.skipif("HTTP2" not in subprocess.getoutput("curl --version"), reason="there is no curl with HTTP/2")
def test_http2_with_a_client_that_is_not_ours(gateway: Gateway, secure: Gateway) -> None:
    curl = shutil.which("curl") or ""
    body = '{"model":"lab/echo","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    words = [curl, "-sSN", "-w", "%{http_version}", "-H", f"Authorization: Bearer {KEY}", "-d", body]
    for how in (["--http2-prior-knowledge", gateway.url], ["--http2", "--cacert", str(CERTIFICATES / "authority.pem"), secure.url]):
        done = subprocess.run([*words, *how[:-1], how[-1] + CHAT], capture_output=True, check=True, timeout=60)
        assert done.stdout.endswith(b"data: [DONE]\n\n2")


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_tls(secure: Gateway) -> None:
    with Wire(secure.address, tls=trusting()) as wire:
        for dialect in DIALECTS:
            wire.post(PATHS[dialect], body_of("over TLS", dialect=dialect))
            assert b"over TLS" in wire.answer().body
            wire.post(PATHS[dialect], body_of(dialect=dialect, stream=True))
            assert is_terminal(dialect, list(wire.events(wire.head()))[-1])
    with Http2(secure.address, tls=trusting("h2", "http/1.1")) as connection:
        speak_http2(connection)
    with Wire(secure.address, tls=trusting("http/1.1")) as wire:
        wire.get("/healthz", key=None)
        assert wire.answer().status == 200


def test_who_does_not_speak_tls_is_let_go(secure: Gateway) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Wire(secure.address, tls=trusting(roots="stranger"))
    with pytest.raises(ssl.SSLCertVerificationError):
        Wire(secure.address, tls=trusting(), name="elsewhere.example")
    with Wire(secure.address) as plain, Wire(secure.address) as silent:
        plain.get("/healthz", key=None)
        # What comes back, if anything, is an alert and not HTTP.
        assert not plain.socket.recv(1024).startswith(b"HTTP")
        assert silent.ended()
    with Wire(secure.address, tls=trusting()) as wire:
        wire.get("/healthz", key=None)
        assert wire.answer().status == 200


def test_mistakes_with_certificates_are_one_line(provider: Provider) -> None:
    for cert, key, part in (("localhost.pem", "nowhere.key", "nowhere.key"), ("README.md", "leaf.key", "README.md")):
        tls = f'tls = {{ cert = "{CERTIFICATES / cert}", key = "{CERTIFICATES / key}" }}'
        gateway = Gateway(configuration(provider.address, server=tls))
        try:
            gateway.launch()
            assert gateway.process is not None and gateway.process.wait(60) in (1, 2)
            assert part in gateway.stderr() and gateway.stderr().count("\n") == 1
        finally:
            gateway.close()
