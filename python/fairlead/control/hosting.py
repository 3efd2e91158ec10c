"""Granian, embedded: the servers of the control plane live in the process's own loop.

Granian's embedded server has no drain timeout, no restart and no good word for a busy port, so this does: a host starts its server again
when it dies, and stops it within a deadline. Nothing here may hold a reply open for ever.
"""

import asyncio
import contextlib
import gc
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

log = logging.getLogger("fairlead.control")

RESTART_SECONDS = (0.0, 0.1, 0.5, 1.0, 5.0)
# A server that lived this long died of something new.
STEADY_SECONDS = 30.0
STOP_SECONDS = 5.0
_LOOK_SECONDS = 0.002

_COMMON: dict[str, Any] = {
    # No lifespan events: the process itself opens and closes what the applications need.
    "interface": Interfaces.ASGINL,
    "http": HTTPModes.http1,
    "websockets": False,
    "backpressure": 256,
    # Its start-up lines say nothing that ours does not.
    "log_level": LogLevels.error,
    "log_access": False,
    "log_dictconfig": {
        "handlers": {name: {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"} for name in ("console", "access")}
    },
}


class HostError(Exception):
    """A server could not be started."""


class Host:
    """One listening place of the control plane."""

    def __init__(self, name: str, make_server: Callable[[], Server], place: str | tuple[str, int]) -> None:
        self.name = name
        self.starts = 0
        self._make_server = make_server
        self._place = place
        self._server: Server | None = None
        self._stopping = False
        self._supervisor: asyncio.Task[None] | None = None

    async def start(self, timeout_seconds: float = 10.0) -> None:
        """Starts serving and returns when connections are accepted. Raises `HostError`."""
        self._supervisor = asyncio.create_task(self._supervise())
        until = asyncio.get_running_loop().time() + timeout_seconds
        while not self._accepts():
            if self._supervisor.done() or asyncio.get_running_loop().time() > until:
                raise HostError(f"the {self.name} at {self._shown()} could not be opened; the log says why")
            await asyncio.sleep(_LOOK_SECONDS)

    async def stop(self, timeout_seconds: float = STOP_SECONDS) -> None:
        """Lets replies in progress finish, at most that long, then cuts them."""
        self._stopping = True
        if self._supervisor is None:
            return
        if self._server is not None:
            self._server.stop()  # type: ignore[no-untyped-call]
        _, unfinished = await asyncio.wait({self._supervisor}, timeout=timeout_seconds)
        if unfinished:
            log.warning("the %s had replies that did not end; they are cut", self.name)
            for worker in self._server.wrks if self._server is not None else ():
                worker.kill()  # type: ignore[no-untyped-call]
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        self._remove_socket()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping:
            # What a dead server leaves behind cannot be bound again.
            self._remove_socket()
            began = loop.time()
            self._server = self._make_server()
            self.starts += 1
            serving = asyncio.create_task(self._server.serve())
            try:
                await asyncio.wait({serving})
            except asyncio.CancelledError:
                serving.cancel()
                raise
            if self._stopping:
                return
            self._say_why(serving)
            # Its listening sockets close with the object; until then the kernel would go on handing connections to it.
            self._server, serving = None, None  # type: ignore[assignment]
            gc.collect()
            failures = 0 if loop.time() - began > STEADY_SECONDS else failures + 1
            await asyncio.sleep(RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1])

    def _say_why(self, serving: "asyncio.Task[None]") -> None:
        error = None if serving.cancelled() else serving.exception()
        log.error("the server of the %s died and is started again%s", self.name, f": {error}" if error else "")

    def _remove_socket(self) -> None:
        if isinstance(self._place, str):
            Path(self._place).unlink(missing_ok=True)

    def _accepts(self) -> bool:
        """Whether a connection can be made. Local, so it answers at once."""
        family = socket.AF_UNIX if isinstance(self._place, str) else socket.AF_INET6 if ":" in self._place[0] else socket.AF_INET
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.settimeout(0.5)
            probe.connect(self._place)
            return True
        return False

    def _shown(self) -> str:
        return self._place if isinstance(self._place, str) else f"{self._place[0]}:{self._place[1]}"


def unix_host(app: Any, path: Path) -> Host:
    """Serves an ASGI application on a Unix socket, which must lie in a folder that only this user can enter."""
    return Host("private socket", lambda: Server(app, uds=path, **_COMMON), str(path))


def tcp_host(app: Any, host: str, port: int) -> Host:
    """Serves an ASGI application on a port. Probe it first: Granian shares it with whoever listens there already."""
    return Host("admin port", lambda: Server(app, address=host, port=port, **_COMMON), (host, port))
