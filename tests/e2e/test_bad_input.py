"""What clients may send and must not: a clear 4xx in the dialect of the route, nothing upstream, nothing charged, nobody disturbed."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import (
    ADMIN_TOKEN,
    KEY,
    MANAGEMENT_KEY,
    OTHER_KEY,
    REPLY_SECONDS,
    Gateway,
    Provider,
    Reply,
    authorization,
    read_to_end,
    say,
    send,
    split,
)
from e2e.http2 import Http2
from e2e.shapes import check_error_body
from e2e.wire import PATHS, Wire, body_of, request

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ROUTES = [(prefix, dialect) for prefix in ("", "/api") for dialect in PATHS]
JSON = {"content-type": "application/json"}


@pytest.fixture(autouse=True)
def nothing_happens(gateway: Gateway, hasty: Gateway, provider: Provider) -> Iterator[None]:
    """After every test of this file: no request has reached the provider and no row has been written."""
    mark, rows = provider.mark(), (len(gateway.generations()), len(hasty.generations()))
    yield
    assert provider.since(mark) == [] and provider.open_requests() == 0
    assert (len(gateway.generations()), len(hasty.generations())) == rows


def refused(reply: Reply, status: int, prefix: str = "", dialect: str = "openai_chat", says: str = "") -> None:
    """An error of that status in the shape of its route, whose text says what is wrong."""
    assert reply.status == status, reply.body
    check_error_body(reply, prefix, dialect)
    message = reply.json()["error"]["message"]
    assert says.lower() in message.lower(), message
    assert "cost" not in reply.json()
    assert reply.headers.get("x-generation-id") is None


MEMBERS = '"max_tokens":9,"messages":[{"role":"user","content":"hi"}]'
BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "JSON"),
    "white space": (b" \r\n\t", "JSON"),
    "no object": (b"[]", "object"),
    "a string": (b'"model"', "object"),
    "null": (b"null", "object"),
    "cut": (f'{{"model":"lab/echo",{MEMBERS}'.encode(), ""),
    "cut in a string": (b'{"model":"lab/ec', ""),
    "trailing text": (f'{{"model":"lab/echo",{MEMBERS}}} x'.encode(), ""),
    "two objects": (f'{{"model":"lab/echo",{MEMBERS}}}{{}}'.encode(), ""),
    "trailing comma": (f'{{"model":"lab/echo",{MEMBERS},}}'.encode(), ""),
    "single quotes": (b"{'model':'lab/echo'}", ""),
    "no colon": (b'{"model" "lab/echo"}', ""),
    "comment": (f'{{/*x*/"model":"lab/echo",{MEMBERS}}}'.encode(), ""),
    "NaN": (f'{{"model":"lab/echo",{MEMBERS},"temperature":NaN}}'.encode(), ""),
    "leading zero": (f'{{"model":"lab/echo",{MEMBERS},"n":01}}'.encode(), ""),
    "plus": (f'{{"model":"lab/echo",{MEMBERS},"x":+1}}'.encode(), ""),
    "bare point": (f'{{"model":"lab/echo",{MEMBERS},"x":1.}}'.encode(), ""),
    "bad escape": (rf'{{"model":"lab/echo",{MEMBERS},"x":"\q"}}'.encode(), ""),
    "half an escape": (rf'{{"model":"lab/echo",{MEMBERS},"x":"\u12"}}'.encode(), ""),
    "control character": (f'{{"model":"lab/echo",{MEMBERS},"x":"a\x01b"}}'.encode(), ""),
    "NUL in a string": (f'{{"model":"lab/echo",{MEMBERS},"x":"\0"}}'.encode(), ""),
    "NUL between": (f'{{"model":"lab/echo",\0{MEMBERS}}}'.encode(), ""),
    "NUL behind": (f'{{"model":"lab/echo",{MEMBERS}}}\0'.encode(), ""),
    "NUL in the model": (rf'{{"model":"lab/echo\u0000",{MEMBERS}}}'.encode(), "control"),
    "invalid UTF-8": (b'{"model":"lab/echo","x":"\xff\xfe"}', "UTF-8"),
    "overlong UTF-8": (b'{"model":"lab/echo","x":"\xc0\xaf"}', "UTF-8"),
    "surrogate in UTF-8": (b'{"model":"lab/echo","x":"\xed\xa0\x80"}', "UTF-8"),
    "cut UTF-8": (b'{"model":"lab/echo","x":"\xe2\x82"}', "UTF-8"),
    "UTF-16": (f'{{"model":"lab/echo",{MEMBERS}}}'.encode("utf-16"), ""),
    "byte order mark": (b"\xef\xbb\xbf" + f'{{"model":"lab/echo",{MEMBERS}}}'.encode(), ""),
    "deep arrays": (f'{{"model":"lab/echo",{MEMBERS},"x":{"[" * 100_000}{"]" * 100_000}}}'.encode(), "nest"),
    "deep objects": (('{"x":' * 100_000 + "1" + "}" * 100_000).encode(), "nest"),
    "deep and cut": (b"[" * 100_000, ""),
    "two models": (f'{{"model":"lab/echo",{MEMBERS},"model":"lab/fast"}}'.encode(), "model"),
    "the same model twice": (f'{{"model":"lab/echo",{MEMBERS},"model":"lab/echo"}}'.encode(), "model"),
    "two models, one escaped": (rf'{{"model":"lab/echo",{MEMBERS},"\u006dodel":"lab/fast"}}'.encode(), "model"),
    "two models, one in capitals": (f'{{"model":"lab/echo",{MEMBERS},"Model":"lab/fast"}}'.encode(), "model"),
    "two streams": (f'{{"model":"lab/echo",{MEMBERS},"stream":false,"stream":true}}'.encode(), "stream"),
    "no model": (f"{{{MEMBERS}}}".encode(), "model"),
    "empty model": (f'{{"model":"",{MEMBERS}}}'.encode(), "model"),
    "model null": (f'{{"model":null,{MEMBERS}}}'.encode(), "model"),
    "model a number": (f'{{"model":7,{MEMBERS}}}'.encode(), "model"),
    "model a list": (f'{{"model":["lab/echo"],{MEMBERS}}}'.encode(), "model"),
    "model too long": (f'{{"model":"{"x" * 5000}",{MEMBERS}}}'.encode(), "model"),
    "no messages": (b'{"model":"lab/echo","max_tokens":9}', "messages"),
    "messages a string": (b'{"model":"lab/echo","max_tokens":9,"messages":"hi"}', "messages"),
    "messages an object": (b'{"model":"lab/echo","max_tokens":9,"messages":{}}', "messages"),
    "stream a string": (f'{{"model":"lab/echo",{MEMBERS},"stream":"yes"}}'.encode(), "stream"),
    "stream a number": (f'{{"model":"lab/echo",{MEMBERS},"stream":1}}'.encode(), "stream"),
    "max_tokens negative": (b'{"model":"lab/echo","messages":[],"max_tokens":-1}', "max_tokens"),
    "max_tokens a fraction": (b'{"model":"lab/echo","messages":[],"max_tokens":1.5}', "max_tokens"),
    "max_tokens a string": (b'{"model":"lab/echo","messages":[],"max_tokens":"9"}', "max_tokens"),
    "max_tokens beyond all money": (b'{"model":"lab/echo","messages":[],"max_tokens":18446744073709551615}', "limit"),
    "user a number": (f'{{"model":"lab/echo",{MEMBERS},"user":7}}'.encode(), "user"),
    "user too long": (f'{{"model":"lab/echo",{MEMBERS},"user":"{"u" * 5000}"}}'.encode(), "user"),
    "models": (f'{{"model":"lab/echo",{MEMBERS},"models":["lab/fast",1]}}'.encode(), "models"),
    "provider": (f'{{"model":"lab/echo",{MEMBERS},"provider":{{"data_collection":"never"}}}}'.encode(), "provider"),
    "plugins": (f'{{"model":"lab/echo",{MEMBERS},"plugins":[{{"id":"web"}}]}}'.encode(), "plugins"),
    "transforms": (f'{{"model":"lab/echo",{MEMBERS},"transforms":["middle-out"]}}'.encode(), "transforms"),
}


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize("name", BAD_BODIES)
def test_bodies(gateway: Gateway, name: str, prefix: str, dialect: str) -> None:
    body, says = BAD_BODIES[name]
    refused(gateway.post(prefix + PATHS[dialect], body), 400, prefix, dialect, says)


@pytest.mark.parametrize("name", [name for name, (body, _) in BAD_BODIES.items() if len(body) < 200])
def test_bodies_that_come_byte_by_byte(gateway: Gateway, name: str) -> None:
    """The scanner meets every cut."""
    body, says = BAD_BODIES[name]
    pieces = (body[index : index + 1] for index in range(len(body)))
    refused(send(gateway.address, "POST", CHAT, pieces, {**JSON, **authorization(KEY)}), 400, says=says)


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ('"stream_options":"x"', "stream_options"),
        ('"stream_options":[]', "stream_options"),
        ('"stream":true,"stream_options":{"include_usage":"yes"}', "include_usage"),
        ('"stream":true,"stream_options":{"include_usage":true,"include_usage":false}', "include_usage"),
        ('"n":"2"', '"n"'),
        ('"n":1.5', '"n"'),
        ('"max_completion_tokens":[]', "max_completion_tokens"),
    ],
)
def test_members_of_chat(gateway: Gateway, member: str, says: str) -> None:
    reply = gateway.post(CHAT, f'{{"model":"lab/echo",{MEMBERS},{member}}}'.encode())
    refused(reply, 400, says=says)
    assert reply.json()["error"]["param"] in member


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize(
    "model", ["lab/eco", "nobody/nothing", "x" * 200, "lab", "/", "../../etc/passwd", "lab/echo:free", "Lab/Écho", "' OR 1=1 --"]
)
def test_unknown_models(gateway: Gateway, prefix: str, dialect: str, model: str) -> None:
    refused(gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, model=model)), 404, prefix, dialect, "model")


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
def test_keys(gateway: Gateway, prefix: str, dialect: str) -> None:
    route, body = prefix + PATHS[dialect], body_of(dialect=dialect)
    refused(gateway.post(route, body, key=None), 401, prefix, dialect, "key")
    for key in ("", "x", KEY[:-1], KEY + "0", KEY.upper(), "sk-fl-v1-" + "f" * 64, "é", "k" * 20_000):
        reply = gateway.post(route, body, key=None, headers={"authorization": f"Bearer {key}".encode("latin-1")})
        refused(reply, 401, prefix, dialect, "key")
        assert len(key) < 9 or key not in reply.body.decode()
    for scheme in (f"Basic {KEY}", KEY, f"Bearer{KEY}", f"Bearer {KEY} {KEY}"):
        refused(gateway.post(route, body, key=None, headers={"authorization": scheme}), 401, prefix, dialect, "key")
    refused(gateway.post(route, body, key=MANAGEMENT_KEY), 403, prefix, dialect, "management")
    refused(gateway.post(route, body_of(dialect=dialect, model="lab/fast"), key=OTHER_KEY), 403, prefix, dialect, "lab/fast")


def test_a_disabled_and_a_deleted_key(gateway: Gateway) -> None:
    def operator(method: str, path: str, body: Any = None) -> Reply:
        data = None if body is None else json.dumps(body).encode()
        return send(gateway.admin, method, path, data, {**JSON, "authorization": f"Bearer {ADMIN_TOKEN}"})

    made = operator("POST", "/admin/keys", {"name": "to be disabled"}).json()
    key, selector = made["key"], made["data"]["hash"]
    assert gateway.get("/api/v1/key", key=key).status == 200
    assert operator("PATCH", f"/admin/keys/{selector}", {"disabled": True}).status == 200
    refused(gateway.post(CHAT, body_of(), key=key), 401, says="disabled")
    assert operator("DELETE", f"/admin/keys/{selector}").status in (200, 204)
    refused(gateway.post(CHAT, body_of(), key=key), 401, says="unknown")


@pytest.mark.parametrize(
    ("method", "path", "status", "prefix", "dialect"),
    [
        ("GET", CHAT, 405, "", "openai_chat"),
        ("PUT", CHAT, 405, "", "openai_chat"),
        ("DELETE", MESSAGES, 405, "", "anthropic_messages"),
        ("BREW", "/api" + CHAT, 405, "/api", "openai_chat"),
        ("GET", "/api" + MESSAGES, 405, "/api", "anthropic_messages"),
        ("POST", "/v1/chat/completionz", 404, "", "openai_chat"),
        ("POST", "/v1/chat/completions/", 404, "", "openai_chat"),
        ("POST", "/v1//chat/completions", 404, "", "openai_chat"),
        ("POST", "/V1/chat/completions", 404, "", "openai_chat"),
        ("POST", "/chat/completions", 404, "", "openai_chat"),
        ("GET", "/v1/messages/count_tokens", 405, "", "anthropic_messages"),
        ("GET", "/v1/embeddings", 405, "", "openai_chat"),
        ("PUT", "/api/v1/completions", 405, "/api", "openai_chat"),
        ("POST", "/v1beta/models/lab/echo:embedContent", 404, "", "gemini_generate"),
        ("POST", "/v1/v1/messages", 404, "", "openai_chat"),
        ("POST", "/v1/messages/nothing", 404, "", "anthropic_messages"),
        ("GET", "/api/v1/nothing", 404, "/api", "openai_chat"),
        ("GET", "/nothing", 404, "", "openai_chat"),
        ("GET", "/admin/keys", 404, "", "openai_chat"),
        ("GET", "/v1/../admin/keys", 404, "", "openai_chat"),
        ("POST", "/healthz", 405, "", "openai_chat"),
        ("POST", "/api/v1/models", 405, "/api", "openai_chat"),
        ("OPTIONS", CHAT, 405, "", "openai_chat"),
    ],
)
def test_paths_and_methods(gateway: Gateway, method: str, path: str, status: int, prefix: str, dialect: str) -> None:
    body = json.dumps(body_of(dialect=dialect)).encode() if method in ("POST", "PUT") else None
    reply = send(gateway.address, method, path, body, {**JSON, **authorization(KEY)})
    refused(reply, status, prefix, dialect)
    assert (reply.headers.get("allow") is not None) == (status == 405)


@pytest.mark.parametrize(
    "headers",
    [{"content-encoding": "gzip"}, {"content-encoding": "br, gzip"}, {"upgrade": "websocket", "connection": "upgrade"}],
)
def test_bodies_and_connections_of_another_kind(gateway: Gateway, headers: dict[str, str]) -> None:
    refused(gateway.post(CHAT, body_of(), headers=headers), 400, says="encoding" if "content-encoding" in headers else "upgrade")


# --- size -------------------------------------------------------------------------------------------------------------

LARGE_BYTES = 64 << 20


@pytest.mark.parametrize(("prefix", "dialect"), [("", "openai_chat"), ("/api", "anthropic_messages")])
def test_64_mebibytes(gateway: Gateway, prefix: str, dialect: str) -> None:
    start = json.dumps(body_of(dialect=dialect)).encode()[:-1] + b',"x":"'
    body = start + b"x" * (LARGE_BYTES - len(start) - 2) + b'"}'
    headers = {**JSON, **authorization(KEY)}
    refused(send(gateway.address, "POST", prefix + PATHS[dialect], body, headers), 413, prefix, dialect, "larger")
    pieces = (body[at : at + (1 << 20)] for at in range(0, len(body), 1 << 20))
    refused(send(gateway.address, "POST", prefix + PATHS[dialect], pieces, headers), 413, prefix, dialect, "larger")


def test_a_client_that_asks_first_need_not_send(gateway: Gateway) -> None:
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\nexpect: 100-continue\r\ncontent-length: {LARGE_BYTES}\r\n\r\n"
    )
    with Wire(gateway.address) as wire:
        wire.send(head.encode())
        answer = wire.answer()
        assert (answer.status, answer.interim) == (413, [])
        assert wire.ended()


def test_too_many_and_too_large_headers(gateway: Gateway) -> None:
    many = {f"x-{number}": "y" for number in range(200)}
    with Wire(gateway.address) as wire:
        wire.post(CHAT, body_of(), many)
        answer = wire.answer()
        assert answer.status == 431 and "header lines" in answer.json()["error"]["message"]
    for large in ({"x-large": "y" * 40_000}, {f"x-{number}": "y" * 4_000 for number in range(20)}, {"x" * 40_000: "y"}):
        with Wire(gateway.address) as wire:
            wire.post(CHAT, body_of(), large)
            assert wire.answer().status == 431
    with Wire(gateway.address) as wire:
        wire.send(b"GET /v1/" + b"x" * 200_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n")
        assert wire.answer().status in (414, 431)


@pytest.mark.parametrize(
    "headers",
    [{f"x-{number}": "y" for number in range(110)}, {"x-large": "y" * 40_000}, {f"x-{number}": "y" * 4_000 for number in range(10)}],
)
def test_too_many_and_too_large_headers_over_http2(gateway: Gateway, headers: dict[str, str]) -> None:
    for path in (CHAT, "/healthz"):
        with Http2(gateway.address) as client:
            assert b"header lines" in client.body(client.post(path, body_of(), headers=headers))


# --- HTTP -------------------------------------------------------------------------------------------------------------

INNER = request("POST", CHAT, body_of()).decode()
START = f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
BODY = json.dumps(body_of())
CHUNKED = f"{len(BODY):x}\r\n{BODY}\r\n0\r\n\r\n"
BAD_HTTP: dict[str, str | bytes] = {
    "length and chunked": f"{START}content-length: {len(BODY)}\r\ntransfer-encoding: chunked\r\n\r\n{CHUNKED}",
    "chunked and length": f"{START}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n{CHUNKED}",
    "length and chunked, with a request inside": f"{START}content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n{CHUNKED}{INNER}",
    "two lengths": f"{START}content-length: {len(BODY)}\r\ncontent-length: {len(BODY) + 1}\r\n\r\n{BODY}x",
    "two lengths in one": f"{START}content-length: {len(BODY)}, {len(BODY) + 1}\r\n\r\n{BODY}x",
    "one length twice": f"{START}content-length: {len(BODY)}\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "one length twice in one": f"{START}content-length: {len(BODY)}, {len(BODY)}\r\n\r\n{BODY}",
    "padded length": f"{START}content-length: {len(BODY):025}\r\n\r\n{BODY}",
    "negative length": f"{START}content-length: -1\r\n\r\n{BODY}",
    "length with a plus": f"{START}content-length: +{len(BODY)}\r\n\r\n{BODY}",
    "length in hexadecimal": f"{START}content-length: 0x{len(BODY):x}\r\n\r\n{BODY}",
    "length beyond 64 bits": f"{START}content-length: 99999999999999999999999\r\n\r\n{BODY}",
    "chunked is not last": f"{START}transfer-encoding: chunked, identity\r\n\r\n{CHUNKED}",
    "another coding before": f"{START}transfer-encoding: gzip, chunked\r\n\r\n{CHUNKED}",
    "chunked twice": f"{START}transfer-encoding: chunked, chunked\r\n\r\n{CHUNKED}",
    "chunked on two lines": f"{START}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{CHUNKED}",
    "two hosts": f"{START}host: b\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "no host": f"{START.replace('host: a', 'x: a')}content-length: {len(BODY)}\r\n\r\n{BODY}",
    "unknown coding": f"{START}transfer-encoding: xchunked\r\n\r\n{CHUNKED}",
    "chunk size no number": f"{START}transfer-encoding: chunked\r\n\r\nzz\r\n{BODY}\r\n0\r\n\r\n",
    "chunk size negative": f"{START}transfer-encoding: chunked\r\n\r\n-1\r\n{BODY}\r\n0\r\n\r\n",
    "chunk size beyond 64 bits": f"{START}transfer-encoding: chunked\r\n\r\n{'f' * 17}\r\n{BODY}\r\n0\r\n\r\n",
    "chunk longer than its size": f"{START}transfer-encoding: chunked\r\n\r\n5\r\n{BODY}\r\n0\r\n\r\n",
    "space before the colon": f"{START}content-length : {len(BODY)}\r\n\r\n{BODY}",
    "header without a colon": f"{START}nonsense\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "folded header": f"{START}x: a\r\n b\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "NUL in a header": f"{START}x: a\0b\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "CR in a header": f"{START}x: a\rb\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "empty name": f"{START}: x\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}",
    "no request line": "\x00\x01\x02\x03\r\n\r\n",
    "words": "this is not HTTP at all\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n",
    "HTTP/9.9": f"POST {CHAT} HTTP/9.9\r\nhost: a\r\n\r\n",
    "no version": f"POST {CHAT}\r\n\r\n",
    "space in the path": "GET /v1/mod els HTTP/1.1\r\nhost: a\r\n\r\n",
    "NUL in the path": "GET /v1/mod\0els HTTP/1.1\r\nhost: a\r\n\r\n",
    "an SSH greeting": "SSH-2.0-OpenSSH_9.6\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_HTTP)
def test_http(gateway: Gateway, name: str) -> None:
    """One refusal, then the end of the connection: nothing behind it is taken for a further request."""
    text = BAD_HTTP[name]
    reply = say(gateway.address, text if isinstance(text, bytes) else text.encode("latin-1"))
    statuses = [int(line[9:12]) for line in reply.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert len(statuses) == 1 and 400 <= statuses[0] < 500, reply


@pytest.mark.parametrize("name", BAD_HTTP)
def test_http_behind_another_request(gateway: Gateway, name: str) -> None:
    """What comes in one write with a good request is refused in words, too."""
    text = BAD_HTTP[name]
    with Wire(gateway.address) as wire:
        wire.send(request("GET", "/healthz") + (text if isinstance(text, bytes) else text.encode("latin-1")))
        assert wire.answer().body == b"ok\n"
        answer = wire.answer()
        assert 400 <= answer.status < 500 and answer.json()["error"]["message"]
        assert wire.ended()


@pytest.mark.parametrize("chunks", ["zz\r\n{}\r\n0\r\n\r\n", "5\r\n{}\r\n0\r\n\r\n", "-1\r\n{}"])
def test_a_malformed_chunk_is_called_so(gateway: Gateway, chunks: str) -> None:
    with Wire(gateway.address) as wire:
        wire.send(f"{START}transfer-encoding: chunked\r\n\r\n{chunks.format(BODY)}".encode())
        assert wire.answer().json()["error"]["message"] == "the body's chunked coding is malformed"


def test_conflicting_framing_is_told_in_the_callers_dialect(gateway: Gateway) -> None:
    for prefix, dialect in ROUTES:
        text = BAD_HTTP["length and chunked"]
        assert isinstance(text, str)
        with Wire(gateway.address) as wire:
            wire.send(text.replace(CHAT, prefix + PATHS[dialect]).encode())
            answer = wire.answer()
            assert answer.status == 400 and wire.ended()
            error = answer.json()["error"]
            assert "Transfer-Encoding" in error["message"]


@pytest.mark.parametrize("ending", ["reset", "close"])
@pytest.mark.parametrize("cut", [1, 40, len(START) + 10, -1])
def test_clients_that_leave_in_the_middle(gateway: Gateway, ending: str, cut: int) -> None:
    text = request("POST", CHAT, body_of())
    wire = Wire(gateway.address)
    wire.send(text[:cut])
    wire.reset() if ending == "reset" else wire.close()
    assert gateway.get("/healthz", key=None).status == 200


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", b"P", b"POST /v1/chat/completions HTTP/1.1\r\n", START.encode()])
def test_slow_heads(hasty: Gateway, sent: bytes) -> None:
    """The connection ends by itself; a head that was begun is answered with a 408."""
    with socket.create_connection(split(hasty.address), timeout=REPLY_SECONDS) as connection:
        connection.sendall(sent)
        reply = read_to_end(connection)
    if not sent:
        assert reply == b""
        return
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert "slowly" in json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize(
    "before", [request("GET", "/healthz"), f"{START}transfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode()]
)
@pytest.mark.parametrize("sent", [b"P", b"POST /v1/messages HTTP/1.1\r\nHo"])
def test_slow_heads_behind_another_request(hasty: Gateway, before: bytes, sent: bytes) -> None:
    with Wire(hasty.address) as wire:
        wire.send(before + sent)
        assert wire.answer().status in (200, 400)
        answer = wire.answer()
        assert answer.status == 408 and "slowly" in answer.json()["error"]["message"]
        assert ("type" in answer.json()) == (MESSAGES.encode() in sent)
        assert wire.ended()


def test_a_bad_head_behind_another_request_is_answered_in_its_own_dialect(gateway: Gateway) -> None:
    with Wire(gateway.address) as wire:
        wire.send(request("POST", CHAT, {}) + f"POST {MESSAGES} HTTP/1.1\r\nhost: a\r\nnonsense\r\n\r\n".encode())
        assert "type" not in wire.answer().json()
        assert wire.answer().json()["type"] == "error"


@pytest.mark.parametrize(("prefix", "dialect"), ROUTES)
@pytest.mark.parametrize("framing", ["content-length: 100000", "transfer-encoding: chunked"])
def test_slow_bodies(hasty: Gateway, prefix: str, dialect: str, framing: str) -> None:
    start = f"POST {prefix}{PATHS[dialect]} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{framing}\r\n\r\n"
    with Wire(hasty.address) as wire:
        wire.send(start.encode() + (b'7\r\n{"model\r\n' if "chunked" in framing else b'{"model'))
        answer = wire.answer()
        assert answer.status == 408
        assert ("type" in answer.json()) == (dialect == "anthropic_messages")
        assert wire.ended()


def test_a_body_that_trickles(hasty: Gateway) -> None:
    """Bytes keep coming, but more slowly than anybody sends: the client is told, not served for ever."""
    with Wire(hasty.address) as wire:
        wire.send(f"{START}content-length: 100000\r\n\r\n".encode())
        stopped = threading.Event()

        def trickle() -> None:
            with contextlib.suppress(OSError):
                while not stopped.wait(0.02):
                    wire.send(b" ")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert wire.answer().status == 408
        finally:
            stopped.set()
            thread.join()
