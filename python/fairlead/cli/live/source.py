"""Where live figures come from: the running process, over its private socket or, anywhere, its admin port with the admin token.

Two things go wrong, and they differ: a gateway that is away (`Away`) comes back, and is asked again; a caller that may not ask
(`NotAllowed`) stays one.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import msgspec

from fairlead.cli.reach import OPERATOR, Refused, UnixConnection, decoded
from fairlead.control import place

ASK_SECONDS = 10.0
SILENT_SECONDS = 40.0
"""The stream says that it is alive every fifteen seconds: after this it is not."""
MOST_EVENT_BYTES = 8 << 20


class Away(Exception):
    """Nobody answers; why, in a line. It may be starting again."""


class NotAllowed(Exception):
    """The gateway answers, and not to this caller; why, and what to do."""


class Event(NamedTuple):
    """One of `GET /admin/events`."""

    name: str
    data: dict[str, Any]
    id: str


class Door(Protocol):
    """A way to the operator's routes."""

    name: str
    """Where it leads, for people."""
    headers: dict[str, str]

    def connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """A new connection, not open yet. Raises `Away`."""
        ...


class Socket:
    """The private socket of whoever holds the data folder now: another process after a restart."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self.name = str(data_dir)
        self.headers = dict(OPERATOR)

    def connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """See `Door`."""
        holder = place.holder(self._data_dir)
        if holder is None or not holder.control_socket:
            raise Away(f"no gateway runs on {self._data_dir}: fairlead serve starts one, --data-dir and --url name another")
        return UnixConnection(Path(holder.control_socket), timeout_seconds)


class Port:
    """An admin port by its URL. Raises `ValueError` for what is none."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query or parts.username:
            raise ValueError(f"--url: an admin port such as http://127.0.0.1:8081 is expected, got {url[:80]!r}")
        self._is_tls, self._host = parts.scheme == "https", parts.hostname
        self._port = parts.port or (443 if self._is_tls else 80)
        self.name = f"{parts.scheme}://{parts.netloc}"
        self.headers = {"authorization": f"Bearer {token}"}

    def connection(self, timeout_seconds: float) -> http.client.HTTPConnection:
        """See `Door`."""
        if self._is_tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_seconds, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_seconds)


class Source:
    """Asks and listens through a door. `close` may be called from another thread and ends what runs there."""

    def __init__(self, door: Door) -> None:
        self.name = door.name
        self.is_closed = threading.Event()
        self._door = door
        self._open: set[http.client.HTTPConnection] = set()

    def ask(self, path: str) -> Any:
        """The decoded reply of a GET. Raises `Away`, `NotAllowed`, `Refused`."""
        with self._got(path, ASK_SECONDS) as response:
            return decoded(response.status, response.read())

    def listen(self, topics: str, last_id: str = "") -> Iterator[Event]:
        """Events until the stream ends. Raises `Away`, `NotAllowed`, `Refused`."""
        headers = {"last-event-id": last_id} if last_id else {}
        with self._got(f"/admin/events?topics={topics}", SILENT_SECONDS, headers) as response:
            if response.status != 200:
                decoded(response.status, response.read())
            yield from events(iter(lambda: response.readline(MOST_EVENT_BYTES), b""))

    def close(self) -> None:
        """Ends everything."""
        self.is_closed.set()
        for connection in list(self._open):
            # Closing a socket wakes nobody who reads from it.
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _got(self, path: str, timeout_seconds: float, headers: dict[str, str] | None = None) -> Iterator[http.client.HTTPResponse]:
        connection = self._door.connection(timeout_seconds)
        self._open.add(connection)
        try:
            connection.request("GET", path, headers=self._door.headers | (headers or {}))
            response = connection.getresponse()
            if response.status in (401, 403, 421):
                raise NotAllowed(_why(response.status, response.read(), self.name))
            if response.status == 503:
                raise Away(f"{self.name} says: {_said(response.read())}")
            yield response
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"{self.name} does not answer: {error or type(error).__name__}") from None
        finally:
            self._open.discard(connection)
            connection.close()


def events(lines: Iterator[bytes]) -> Iterator[Event]:
    """The events of a stream's lines; comments are left out, and so is what is no JSON object."""
    fields: dict[str, str] = {}
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            with contextlib.suppress(msgspec.DecodeError):
                yield Event(fields.get("event", "message"), msgspec.json.decode(fields["data"], type=dict[str, Any]), fields.get("id", ""))
        fields = {}


def _said(body: bytes) -> str:
    try:
        decoded(500, body)
    except Refused as refused:
        return str(refused)
    return body[:200].decode("utf-8", "replace")


def _why(status: int, body: bytes, name: str) -> str:
    said = _said(body)
    if status == 401:
        return f"{name} does not know this admin token ({said}): FAIRLEAD_ADMIN_TOKEN is to be the one that fairlead serve printed"
    return f"{name} does not allow it: {said}"
