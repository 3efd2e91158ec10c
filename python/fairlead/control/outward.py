"""What the control plane asks of other servers: one bounded request at a time, off the event loop."""

import asyncio
import contextlib
import http.client
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

STEP_SECONDS = 10.0
"""For each step of a request: connecting, sending, waiting, reading on."""
MOST_REPLY_BYTES = 1 << 16


def fetch(
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    ca_file: str | None = None,
    most_bytes: int = MOST_REPLY_BYTES,
) -> tuple[int, bytes]:
    """Status and body of the reply, of which no more than `most_bytes` are read. A redirect is not followed: what is sent is for this
    server alone. Blocks. Raises `OSError` or `http.client.HTTPException`."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        connection = http.client.HTTPSConnection(host, parts.port, timeout=STEP_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=STEP_SECONDS)
    with contextlib.closing(connection):
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.read(most_bytes)


async def aside(work: Callable[[], T], name: str) -> T:
    """What blocking work gives. Its thread is nobody's to wait for: a process that ends does not wait for a server that is silent."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(give: Callable[[], None]) -> None:
        if not done.done():
            give()

    def run() -> None:
        give: Callable[[], None]
        try:
            result = work()
        except BaseException as raised:
            error = raised
            give = lambda: done.set_exception(error)  # noqa: E731
        else:
            give = lambda: done.set_result(result)  # noqa: E731
        # The loop may be closed by now.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, give)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
