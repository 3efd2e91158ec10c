"""A client that does nothing by itself: one connection, the bytes it is told to send, and what comes back as it comes."""

import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from e2e.house import KEY, REPLY_SECONDS, split

DIALECTS = ("openai_chat", "anthropic_messages")
PATHS = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}


def body_of(text: str = "Hello there", *, model: str = "lab/echo", dialect: str = "openai_chat", **fields: Any) -> dict[str, Any]:
    """A request body in a dialect. `sim={…}` scripts the simulator."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": text}]}
    if dialect == "anthropic_messages":
        body["max_tokens"] = 1000
    return body | fields


def request(method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, *, key: str | None = KEY) -> bytes:
    """A request as bytes. A body that is not bytes goes out as JSON."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: tests", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


@dataclass
class Answer:
    """A reply as it came: names of headers in lower case, pairs in order."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    interim: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first value of a header."""
        return next((value for found, value in self.headers if found == name), None)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """A connection. Every way in which it can end before its time is a `ConnectionError`."""

    def __init__(
        self, address: str, *, tls: ssl.SSLContext | None = None, name: str = "localhost", receive_buffer_bytes: int | None = None
    ) -> None:
        self.socket: socket.socket = socket.socket()
        if receive_buffer_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(REPLY_SECONDS)
        try:
            self.socket.connect(split(address))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=name)
        except BaseException:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes it in order."""
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Closes it with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self.socket.sendall(data)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None, *, key: str | None = KEY) -> None:
        """Sends a POST."""
        self.send(request("POST", path, body, headers, key=key))

    def get(self, path: str, *, key: str | None = KEY) -> None:
        """Sends a GET."""
        self.send(request("GET", path, key=key))

    def head(self) -> Answer:
        """The next final head; interim ones before it are noted."""
        interim: list[int] = []
        while True:
            version, _, rest = self._line().partition(b" ")
            assert version in (b"HTTP/1.1", b"HTTP/1.0"), version
            status = int(rest[:3])
            headers: list[tuple[str, str]] = []
            while (line := self._line()) != b"\r\n":
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name.lower(), value.strip()))
            if status >= 200:
                return Answer(status, headers, interim=interim)
            interim.append(status)

    def pieces(self, answer: Answer) -> Iterator[bytes]:
        """The answer's body as it comes, chunk by chunk where it is chunked."""
        if answer.header("transfer-encoding") == "chunked":
            while size := int(self._line().split(b";")[0], 16):
                yield self._exactly(size)
                assert self._line() == b"\r\n"
            while self._line() != b"\r\n":
                pass
        elif (length := answer.header("content-length")) is not None:
            yield self._exactly(int(length))
        else:
            yield self._file.read()

    def events(self, answer: Answer) -> Iterator[bytes]:
        """The answer's server-sent events as they come, each with its blank line."""
        rest = b""
        for piece in self.pieces(answer):
            *whole, rest = (rest + piece).split(b"\n\n")
            yield from (event + b"\n\n" for event in whole)
        assert not rest, rest

    def answer(self) -> Answer:
        """The next answer, whole."""
        answer = self.head()
        answer.body = b"".join(self.pieces(answer))
        return answer

    def ended(self) -> bool:
        """Waits until the other side closes (true) or says something (false)."""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            return self._file.read(1) == b""
        return True

    def _line(self) -> bytes:
        line = self._file.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the connection ended in a line" if line else "the connection ended")
        return line

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionResetError("the connection ended in a body")
        return data


def is_terminal(dialect: str, event: bytes) -> bool:
    """Whether this is the event that ends a good stream of the dialect."""
    return event == b"data: [DONE]\n\n" if dialect == "openai_chat" else event.startswith(b"event: message_stop\n")
