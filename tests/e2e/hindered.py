"""`fairlead serve` with somebody inside who does what he is told, line by line, through the pipe that FAIRLEAD_TEST_ORDERS names.

`hold N` holds the interpreter's lock for N seconds, as a C extension that never returns would. `die` ends the control plane's servers.
`/api/v1/credits` raises an exception in this process.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
import threading
from typing import Any

from fairlead.control import credits


def obey(path: str) -> None:
    """Takes orders until the process ends."""
    # Or a signal would end the sleep below.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        with open(path) as orders:  # noqa: PTH123 - opening waits for the writer
            for order in orders:
                match order.split():
                    case ["hold", seconds]:
                        hold(int(seconds))
                    case ["die"]:
                        die()


def hold(seconds: int) -> None:
    """`PyDLL` calls without giving up the interpreter's lock: no other Python code runs until this returns."""
    ctypes.PyDLL(None).sleep(seconds)


def die() -> None:
    """Ends the servers without telling those who look after them."""
    from fairlead.control.hosting import Host

    hosts = [found for found in gc.get_objects() if isinstance(found, Host)]
    for host in hosts:
        assert host._server is not None and host._supervisor is not None
        host._supervisor.get_loop().call_soon_threadsafe(host._server.stop)


async def broken(call: Any) -> Any:
    """A route with a mistake in it."""
    await asyncio.sleep(0)
    raise ZeroDivisionError("a mistake in a route")


if __name__ == "__main__":
    credits.show = broken
    threading.Thread(target=obey, args=(os.environ["FAIRLEAD_TEST_ORDERS"],), daemon=True).start()
    from fairlead.cli import main

    sys.exit(main())
