"""A provider whose every byte and every moment a test decides: each connection is handed to the test's script."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from e2e.house import REPLY_SECONDS

CERTIFICATES = Path(__file__).with_name("certificates")


def server_context(certificate: str = "localhost") -> ssl.SSLContext:
    """TLS with a certificate of `certificates/`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / f"{certificate}.pem", CERTIFICATES / "leaf.key")
    return context


def completion(text: str = "Hello", prompt_tokens: int = 3, completion_tokens: int = 2) -> bytes:
    """A unary reply as OpenAI has them."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": prompt_tokens + completion_tokens}
    body = {"id": f"chatcmpl-{text}", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(body).encode()


def frames(text: str = "Hello") -> list[bytes]:
    """The same as a stream's frames."""

    def chunk(delta: Any, finish: str | None, **more: Any) -> bytes:
        head = {"id": f"chatcmpl-{text}", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return b"data: " + json.dumps(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | more).encode() + b"\n\n"

    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return [chunk({"role": "assistant", "content": text}, None), chunk({}, "stop", usage=usage), b"data: [DONE]\n\n"]


def chunked(*pieces: bytes, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """Pieces in chunked coding."""
    return b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


def head(*lines: str, status: str = "200 OK", type: str = "application/json") -> bytes:
    """A reply's head."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"content-type: {type}", *lines]).encode() + b"\r\n\r\n"


def sized(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """A whole reply with its length."""
    return head(*lines, f"content-length: {len(body)}", status=status) + body


class Visit:
    """One connection that the gateway made. Reading past its end raises `EOFError`, which ends a script in order."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.socket = connection
        self.number = number
        self.requests: list[bytes] = []
        self._file = connection.makefile("rb")

    def head(self) -> bytes:
        """The next request's head, up to its blank line; it counts as a request."""
        lines = []
        while not lines or lines[-1] != b"\r\n":
            line = self._file.readline()
            if not line.endswith(b"\n"):
                raise EOFError
            lines.append(line)
        self.requests.append(b"".join(lines))
        return self.requests[-1]

    def request(self) -> bytes:
        """The next request, whole; its body."""
        length = next(int(line.split(b":")[1]) for line in self.head().lower().splitlines() if line.startswith(b"content-length:"))
        body = self._file.read(length)
        if len(body) < length:
            raise EOFError
        self.requests[-1] += body
        return body

    def say(self, data: bytes) -> None:
        """Sends bytes."""
        self.socket.sendall(data)

    def gone(self) -> bool:
        """Waits until the gateway has closed it."""
        with contextlib.suppress(ConnectionError):
            return self._file.read(1) == b""
        return True

    def close(self) -> None:
        """Closes it in order; what was said arrives."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Closes it with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._file.close()
        self.socket.close()


Script = Callable[[Visit], None]


def polite(visit: Visit) -> None:
    """Answers every request."""
    while True:
        visit.request()
        visit.say(sized(completion()))


class Stub:
    """Listens, and plays the script for each connection on a thread of its own; what is left of a connection is closed behind it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.port = int(self._listener.getsockname()[1])
        self.visits: list[Visit] = []
        self.handshakes_failed = 0
        self.problems: list[BaseException] = []
        self._script: Script = polite
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Closing alone would not wake who waits in accept.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.play(polite)

    def play(self, script: Script) -> None:
        """A new script, no visits, no connections left from before."""
        before, self.visits, self._script = self.visits, [], script
        for visit in before:
            with contextlib.suppress(OSError):
                visit.socket.shutdown(socket.SHUT_RDWR)

    def requests(self) -> list[int]:
        """How many requests each connection brought, in the order of the connections."""
        assert not self.problems, self.problems
        return [len(visit.requests) for visit in self.visits]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._host, args=(connection,), daemon=True).start()

    def _host(self, connection: socket.socket) -> None:
        connection.settimeout(REPLY_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                self.handshakes_failed += 1
                connection.close()
                return
        visit = Visit(connection, len(self.visits))
        self.visits.append(visit)
        try:
            self._script(visit)
        except (EOFError, ConnectionError):
            pass
        except BaseException as problem:
            self.problems.append(problem)
        finally:
            visit.close()
