"""Carries what the journal holds into the database.

Records and the position they end at are one transaction, and every row is keyed by its generation, so records that are read again,
after a crash or an error, change nothing. The journal is told that it may forget only what a durable commit holds.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from itertools import starmap
from operator import itemgetter
from typing import Any, NamedTuple

from fairlead.control.db import Database, end_users, queries, search
from fairlead.control.db.queries import ATTEMPT_COLUMNS, GENERATION_COLUMNS, MOST_INTEGER, Cursor
from fairlead.control.db.rollups import Fold, zone
from fairlead.control.engine import Batch, Journal, OpenReader, Reader

log = logging.getLogger("fairlead.drain")

# So few that their rows are still in the processor's cache when they are stored, and are gone before the collector looks at them.
BATCH_RECORDS = 500
# So many share a commit, which writes each page they touched once. Other writes wait for it: some 80 ms. Who waits for records in it
# does not.
TRANSACTION_BATCHES = 8
# Under load, records wait this long for company: the more share a transaction, the fewer windows each one touches. Whoever asks for them
# is not kept waiting.
GATHER_SECONDS = 2.0
# A wake-up may be lost; this bounds what that costs.
IDLE_SECONDS = 1.0
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Behind(Exception):
    """The database could not be brought up to the journal's position in time."""


class Running(NamedTuple):
    """A call that was reserved and is not settled. Sorted by their ids: by age."""

    id: str
    started_at_ms: int
    owners: tuple[int, int, int, int]
    """Ids of account, team, user and key; 0 where there is none."""
    model: str
    provider: str
    """Of the first attempt."""
    reserved_nanousd: int
    prompt_tokens_estimate: int


class Drainer:
    """Follows the journal in a task of its own (`run`) and answers `catch_up`."""

    def __init__(self, database: Database, open_reader: OpenReader, journal: Journal) -> None:
        self._database = database
        self._open_reader = open_reader
        self._journal = journal
        self._reader: Reader | None = None
        self._cursors: _Places = {}
        self._news = asyncio.Event()
        self._urgent = asyncio.Event()
        self._waiting: list[_Waiter] = []
        self.failure: str | None = None
        """Why the database takes nothing at the moment."""
        self.problems: list[str] = []
        """What could not be read of the journal since the start, each once."""

    def wake(self) -> None:
        """Says that the journal has grown."""
        self._news.set()

    async def run(self) -> None:
        """Drains until cancelled. Errors are logged and tried again; nothing is skipped."""
        while True:
            await _either(self._news, IDLE_SECONDS)
            if self._news.is_set() and not self._waiting:
                await _either(self._urgent, GATHER_SECONDS)
            self._news.clear()
            self._urgent.clear()
            await self._to_the_end()

    async def catch_up(self, timeout_seconds: float = 5.0) -> None:
        """Returns when the database holds everything that the journal held at the call. Raises `Behind`."""
        target = self._journal.position()
        if self._reached(target):
            return
        waiter = _Waiter(target, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._news.set()
        self._urgent.set()
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter.done
        except TimeoutError:
            raise Behind(self.failure or "the journal is being read but its end was not reached in time") from None
        finally:
            self._waiting.remove(waiter)

    def running(self) -> list[Running]:
        """Calls in progress as of the last catch-up, oldest first. Blocks while records are being read."""
        reader = self._reader
        return [] if reader is None else sorted(starmap(Running, reader.running()))

    async def finish(self) -> None:
        """Drains what is left, once the data plane has stopped and `run` was cancelled. Raises what the database raises."""
        while not await self._step():
            pass

    async def _to_the_end(self) -> None:
        failures = 0
        while True:
            try:
                if await self._step():
                    return
                failures = 0
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
                failures += 1

    async def _step(self) -> bool:
        """Reads and commits some batches; whether the last one there is was among them."""
        # Those who come while records are being read may ask for some that lie after them.
        present = list(self._waiting)
        stored = await self._database.write(self._apply_next, self._applied)
        self._committed(stored)
        for waiter in present:
            if stored.caught_up or self._reached(waiter.target):
                waiter.finish()
        return stored.caught_up

    def _apply_next(self, connection: sqlite3.Connection) -> "_Stored":
        """On the writer's thread, in a transaction."""
        if self._reader is None:
            self._reader = self._open_reader(queries.cursors(connection))
        problems: list[str] = []
        # One for all of them: the more it has seen, the fewer rows each generation costs.
        fold = Fold(zone(connection))
        for _ in range(TRANSACTION_BATCHES):
            batch = self._reader.read(BATCH_RECORDS)
            apply(connection, batch, fold)
            problems += batch.problems
            if batch.caught_up or self._somebody_is_served(batch.cursors):
                break
        fold.store(connection)
        return _Stored(batch.cursors, batch.caught_up, problems)

    def _somebody_is_served(self, cursors: list[Cursor]) -> bool:
        """On the writer's thread, while others may come to wait; those are seen after the next batch."""
        waiting = list(self._waiting)
        places = _places(cursors) if waiting else {}
        return any(_covers(places, waiter.target) for waiter in waiting)

    def _applied(self, stored: "_Stored") -> None:
        """On the writer's thread, after the commit."""
        if stored.cursors:
            self._journal.applied(stored.cursors)

    def _committed(self, stored: "_Stored") -> None:
        if self.failure is not None:
            log.warning("the database takes records again")
            self.failure = None
        self._cursors.update(_places(stored.cursors))
        for problem in stored.problems:
            if problem not in self.problems:
                self.problems.append(problem)
                log.error("journal: %s", problem)

    def _failed(self, error: Exception) -> None:
        # The reader is past records that were not stored; the next one begins at the stored cursors.
        self._reader = None
        text = f"{type(error).__name__}: {error}"
        if text != self.failure:
            log.error("records stay in the journal, the database does not take them: %s", text)
        self.failure = text

    def _reached(self, target: list[Cursor]) -> bool:
        return _covers(self._cursors, target)


_Places = dict[tuple[int, int, int], tuple[int, int]]
"""Node, epoch and worker of a chain → segment and offset."""


def _places(cursors: list[Cursor]) -> _Places:
    return {(node, epoch, worker): (segment, offset) for node, epoch, worker, segment, offset in cursors}


def _covers(places: _Places, target: list[Cursor]) -> bool:
    return all(places.get((node, epoch, worker), (-1, -1)) >= (segment, offset) for node, epoch, worker, segment, offset in target)


class _Stored(NamedTuple):
    """What one transaction brought."""

    cursors: list[Cursor]
    caught_up: bool
    problems: list[str]


class _Waiter(NamedTuple):
    target: list[Cursor]
    done: "asyncio.Future[None]"

    def finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


def apply(connection: sqlite3.Connection, batch: Batch, fold: Fold) -> None:
    """Stores a batch and moves the cursors, inside the caller's transaction, which also stores the fold. Any number of times has the
    effect of one."""
    # The native batch makes a new list at every look.
    shadows, generations = batch.shadows, batch.generations
    attempts = batch.attempts if shadows or generations else []
    if shadows:
        _apply_shadows(connection, shadows, attempts, fold)
    if generations:
        fresh = _fresh(connection, generations)
        _insert(queries.insert_generations, connection, fresh)
        _insert(queries.insert_attempts, connection, attempts)
        losses = batch.losses
        if losses:
            queries.insert_losses(connection, losses)
        fold.take(fresh, attempts)
        if charges := [row for row in map(_end_user_of, fresh) if row[0]]:
            end_users.add(connection, charges)
        if retried := _retried(attempts):
            search.mark_retried(connection, retried)
        queries.touch_keys(connection, _last_used(fresh))
    queries.move_cursors(connection, batch.cursors)


def _apply_shadows(
    connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], attempts: Sequence[tuple[Any, ...]], fold: Fold
) -> None:
    """What came of shadows: attempts of their generations, a cost where they were made, and nobody's request. They may come before the
    generation."""
    known = queries.known_shadows(connection, [row[_ID] for row in rows])
    first = {row[_ID]: row for row in reversed(rows) if row[_ID] not in known}
    fresh = list(first.values())
    shadows = [row for row in attempts if row[_FLAGS_OF_ATTEMPT] & queries.SHADOW_FLAG]
    _insert(queries.insert_attempts, connection, shadows)
    fold.take_shadows(fresh, shadows)


def _fresh(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """The rows that are not stored yet, each once, in the order of the journal: ids then grow, and so do the indexes, at their end."""
    ids = [row[_ID] for row in rows]
    known = queries.known_generations(connection, ids)
    if not known and len(set(ids)) == len(ids):
        return rows
    first = {row[_ID]: row for row in reversed(rows)}
    return [first.pop(id) for id in ids if id in first and id not in known]


def _insert(
    insert: Callable[[sqlite3.Connection, Sequence[tuple[Any, ...]]], None],
    connection: sqlite3.Connection,
    rows: Sequence[tuple[Any, ...]],
) -> None:
    try:
        insert(connection, rows)
    except OverflowError:
        insert(connection, [tuple(_storable(value) for value in row) for row in rows])


def _storable(value: Any) -> Any:
    return max(-MOST_INTEGER, min(value, MOST_INTEGER)) if isinstance(value, int) else value


_COLUMN = {name: index for index, name in enumerate(GENERATION_COLUMNS)}
_ID, _KEY, _STARTED = (_COLUMN[name] for name in ("id", "key_id", "started_at_ms"))
_ERROR_OF_ATTEMPT, _FLAGS_OF_ATTEMPT = ATTEMPT_COLUMNS.index("error"), ATTEMPT_COLUMNS.index("flags")
# How an attempt may end through nobody's fault (`rust/ledger/src/rollup.rs`).
NOBODYS_FAULT = ("overtaken", "client_gone", "shutting_down", "interrupted")
_end_user_of = itemgetter(*(_COLUMN[name] for name in ("end_user_id", "settled_at_ms", "charged_nanousd")))


def _retried(attempts: Sequence[tuple[Any, ...]]) -> list[str]:
    """Generations of which another attempt followed one that failed; attempts come in their order."""
    failed, found = set[str](), dict[str, None]()
    for attempt in attempts:
        if attempt[_FLAGS_OF_ATTEMPT] & queries.SHADOW_FLAG:
            continue
        if attempt[0] in failed:
            found[attempt[0]] = None
        if attempt[_ERROR_OF_ATTEMPT] and attempt[_ERROR_OF_ATTEMPT] not in NOBODYS_FAULT:
            failed.add(attempt[0])
    return list(found)


def _last_used(rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, int]]:
    last: dict[int, int] = {}
    for row in rows:
        last[row[_KEY]] = max(last.get(row[_KEY], 0), row[_STARTED])
    return list(last.items())


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Waits for the event, at most that long.

    Not with `asyncio.wait_for`: before Python 3.12 it forgets that it was cancelled when the event comes in the same turn of the loop.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
