"""As much of an HTTP/2 client as its tests need: literal headers out, frames in. Of a reply's headers it reads the status alone."""

import json
import socket
import ssl
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from e2e.house import KEY, REPLY_SECONDS, split

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
FRAME_BYTES = 16_384
END_STREAM, ACK, END_HEADERS = 1, 1, 4
CANCEL = 8
# Fields of HPACK's static table that are a whole status line.
STATUSES = {0x88: 200, 0x89: 204, 0x8A: 206, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}


class Frame(NamedTuple):
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class Http2:
    """A connection."""

    def __init__(self, address: str, *, tls: ssl.SSLContext | None = None, window_bytes: int = 1 << 30, answers_pings: bool = True) -> None:
        self.socket: socket.socket = socket.create_connection(split(address), timeout=REPLY_SECONDS)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self._file = self.socket.makefile("rb")
        self._next = 1
        self.bodies: dict[int, bytes] = {}
        self.statuses: dict[int, int] = {}
        self.ended: set[int] = set()
        self.reset: dict[int, int] = {}
        self.going_away = False
        self._answers_pings = answers_pings
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SETTINGS, 0, 0, struct.pack(">HI", 4, window_bytes))
        # The whole connection's window is never what slows it down.
        self.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30))

    def __enter__(self) -> "Http2":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """Sends a frame."""
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload)

    def post(self, path: str, body: Any, *, key: str = KEY, whole: bool = True, headers: Mapping[str, str] | None = None) -> int:
        """Opens a stream with a request; its number. When not `whole`, the body's last byte is missing."""
        stream, self._next = self._next, self._next + 2
        lines = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "tests",
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
        }
        block = literal(lines | dict(headers or {}))
        for at in range(0, len(block), FRAME_BYTES):
            is_last = at + FRAME_BYTES >= len(block)
            self.send(CONTINUATION if at else HEADERS, END_HEADERS if is_last else 0, stream, block[at : at + FRAME_BYTES])
        data = json.dumps(body).encode()
        self.send(DATA, END_STREAM if whole else 0, stream, data if whole else data[:-1])
        self.bodies[stream] = b""
        return stream

    def head(self, path: str) -> int:
        """Asks for a head alone; the stream's number."""
        stream, self._next = self._next, self._next + 2
        headers = {":method": "HEAD", ":scheme": "http", ":path": path, ":authority": "tests"}
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, literal(headers))
        return stream

    def cancel(self, stream: int) -> None:
        """Ends a stream before its time."""
        self.send(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))

    def step(self) -> Frame | None:
        """Takes one frame; None at the end of the connection."""
        head = self._file.read(9)
        if len(head) < 9:
            return None
        length = int.from_bytes(head[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        frame = Frame(kind, flags, stream, self._file.read(length))
        if kind == SETTINGS and not flags & ACK:
            self.send(SETTINGS, ACK, 0)
        elif kind == PING and not flags & ACK and self._answers_pings:
            self.send(PING, ACK, 0, frame.payload)
        elif kind == HEADERS:
            self.statuses.setdefault(stream, STATUSES.get(frame.payload[0], 0))
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + frame.payload
        elif kind == RST_STREAM:
            self.reset[stream] = int.from_bytes(frame.payload, "big")
        elif kind == GOAWAY:
            self.going_away = True
        if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self.ended.add(stream)
        return frame

    def body(self, stream: int) -> bytes:
        """The whole body of a reply; frames of others are taken on the way."""
        while stream not in self.ended:
            assert self.step() is not None, "the connection ended"
        return self.bodies[stream]


def literal(headers: Mapping[str, str]) -> bytes:
    """Headers without compression (RFC 7541 6.2.2)."""
    return b"".join(b"\x00" + text(name) + text(value) for name, value in headers.items())


def text(value: str) -> bytes:
    """A string with its length, not Huffman-coded (RFC 7541 5.2)."""
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, length = len(data) - 127, [127]
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + data
