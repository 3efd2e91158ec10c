"""Connections to the database and the threads they live on.

One connection writes, on a thread of its own, and makes every checkpoint; readers only read. That is what keeps SQLite's WAL-reset
fault (versions 3.7.0 to 3.51.2, two connections that checkpoint at once) out of reach. This process has one copy of the SQLite
library, Python's: a second copy that opened and closed the file would silently drop this one's locks.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TypeVar

from fairlead.control.db import migrate, rollups

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

READERS = 2
LOOKERS = 2
"""Readers of what pages show, so that a question of theirs holds up no client's."""
LOOK_SECONDS = 2.0
LOOK_STEPS = 20_000
"""Of SQLite's machine, between two looks at the clock: some tenths of a millisecond."""

WRITER_PRAGMAS = (
    # Readers do not wait for the writer, nor it for them.
    "PRAGMA journal_mode = WAL",
    # A commit is on the disk before the journal is told that it may forget: with NORMAL, a power cut could take both.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # Only a doctor or a backup from another process could be in the way.
    "PRAGMA busy_timeout = 5000",
    # A fault while reading mapped pages would kill the process, traffic included.
    "PRAGMA mmap_size = 0",
    # The schema of a file that was tampered with may not call functions with side effects.
    "PRAGMA trusted_schema = OFF",
)
READER_PRAGMAS = ("PRAGMA query_only = ON", "PRAGMA busy_timeout = 5000", "PRAGMA mmap_size = 0", "PRAGMA trusted_schema = OFF")


class TookLong(Exception):
    """A look was ended because it took long."""


class Database:
    """An open database. `write` and `read` are for coroutines; the `_now` forms block and are for start-up and commands."""

    def __init__(self, path: Path) -> None:
        """Opens the file, creating it with mode 0600, and migrates it forward.

        Raises `SchemaError` when the database is newer than this program or was altered, `sqlite3.Error` when it cannot be opened.
        """
        self.path = path
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="fl-db-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="fl-db-reader")
        self._lookers = ThreadPoolExecutor(LOOKERS, thread_name_prefix="fl-db-looker")
        self._reading = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            self._connection = self._writer.submit(_open_writer, path).result()
        except BaseException:
            self._stop_threads()
            raise

    async def write(self, work: Work[T], after_commit: Callable[[T], object] | None = None) -> T:
        """Runs `work` in one transaction on the writer's thread; an exception rolls it back and is passed on.

        `after_commit` gets the result on the same thread once the commit is durable and before any later write begins.
        """
        return await asyncio.wrap_future(self._submit(work, after_commit))

    def write_now(self, work: Work[T], after_commit: Callable[[T], object] | None = None) -> T:
        """`write` for callers without an event loop."""
        return self._submit(work, after_commit).result()

    async def read(self, work: Work[T]) -> T:
        """Runs `work` against one consistent view of the database on a reader's thread."""
        return await asyncio.wrap_future(self._readers.submit(self._read, work))

    async def look(self, work: Work[T]) -> T:
        """`read` for pages: beside the others, and ended after two seconds. Raises `TookLong`."""
        return await asyncio.wrap_future(self._lookers.submit(self._look, work))

    def read_now(self, work: Work[T]) -> T:
        """`read` for callers without an event loop."""
        return self._readers.submit(self._read, work).result()

    def close(self) -> None:
        """Finishes what was submitted and closes every connection, the writer's last so that it makes the final checkpoint."""
        self._readers.shutdown()
        self._lookers.shutdown()
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._writer.submit(self._connection.close).result()
        self._stop_threads()

    def _submit(self, work: Work[T], after_commit: Callable[[T], object] | None) -> Future[T]:
        # The context says who acts (`trail`).
        return self._writer.submit(copy_context().run, self._write, work, after_commit)

    def _write(self, work: Work[T], after_commit: Callable[[T], object] | None) -> T:
        result = transact(self._connection, work)
        if after_commit is not None:
            after_commit(result)
        return result

    def _read(self, work: Work[T]) -> T:
        connection = self._reader()
        connection.execute("BEGIN")
        try:
            return work(connection)
        finally:
            connection.execute("ROLLBACK")

    def _look(self, work: Work[T]) -> T:
        until, connection = time.monotonic() + LOOK_SECONDS, self._reader()
        connection.set_progress_handler(lambda: time.monotonic() > until, LOOK_STEPS)
        try:
            return self._read(work)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname == "SQLITE_INTERRUPT":
                raise TookLong(f"this takes longer than {LOOK_SECONDS:.0f} s") from None
            raise
        finally:
            connection.set_progress_handler(None, 0)

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._reading, "connection", None)
        if connection is None:
            # `close` runs on another thread, when this one is gone.
            connection = open_reader(self.path)
            self._reading.connection = connection
            self._opened.append(connection)
        return connection

    def _stop_threads(self) -> None:
        self._readers.shutdown()
        self._lookers.shutdown()
        self._writer.shutdown()


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, beside whoever writes."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    for pragma in READER_PRAGMAS:
        connection.execute(pragma)
    return connection


def transact(connection: sqlite3.Connection, work: Work[T]) -> T:
    """Runs `work` between BEGIN IMMEDIATE and COMMIT; any exception rolls back and is passed on."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        # A full disk or an I/O error may already have rolled back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _open_writer(path: Path) -> sqlite3.Connection:
    # SQLite itself would make it readable for the group, as the umask says.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in WRITER_PRAGMAS:
            connection.execute(pragma)
        migrate.forward(connection, path)
        rollups.build(connection)
    except BaseException:
        connection.close()
        raise
    return connection
