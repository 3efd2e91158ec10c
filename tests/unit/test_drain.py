"""The drain: one transaction per batch, the same state however often a batch is read, nothing lost to an error."""

import asyncio
import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, FakeBatch, FakeJournal, FakeReader, attempt, generation, loss
from fairlead.control import drain
from fairlead.control.db import Database, queries
from fairlead.control.db.connection import transact
from fairlead.control.db.rollups import Fold
from fairlead.control.drain import Behind, Drainer

ROLLUPS = ("usage_rollup", "usage_pair", "usage_places", "usage_names", "latency_hist", "error_rollup")
TABLES = ("generations", "attempts", "translation_losses", "cursors", "arm_days", "keys", *ROLLUPS)


def dump(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    # Of generations what the journal brings; behind that stands what is worked out here.
    columns = {"generations": ", ".join(queries.GENERATION_COLUMNS)}
    return {table: sorted(connection.execute(f"SELECT {columns.get(table, '*')} FROM {table}").fetchall()) for table in TABLES}


def applied(connection: sqlite3.Connection, batch: FakeBatch) -> None:
    """One batch, alone in its transaction."""
    fold = Fold()
    drain.apply(connection, batch, fold)
    fold.store(connection)


def days(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """The sums by account, key, day, model and provider."""
    place = f"account_id, key_id, start_ms / {DAY_MS}, model, provider"
    sums = ", ".join(f"SUM({name})" for name in queries.USAGE_SUMS)
    statement = f"SELECT {place}, {sums} FROM usage_pair JOIN usage_places ON id = place_id WHERE res = 3 GROUP BY {place}"
    return connection.execute(statement).fetchall()


def fresh(path: Path) -> sqlite3.Connection:
    """A database with one key, on a plain connection."""
    database = Database(path)
    database.write_now(
        lambda connection: queries.insert_key(
            connection,
            {"hash": "h", "public_hash": "p", "label": "l", "name": "n", "source": "made", "account_id": 1, "created_at_ms": 1},
        )
    )
    database.close()
    return sqlite3.connect(path, isolation_level=None)


BATCHES = [
    FakeBatch(
        [generation(1), generation(2, charged_nanousd=5)],
        [attempt(1), attempt(2, 1), attempt(2, 2)],
        [(0, 1, 0, 1, 100)],
        losses=[loss(2, 0), loss(2, 1, "user", "hint")],
    ),
    FakeBatch([generation(3, key_id=2, settled_at_ms=NOW_MS + DAY_MS)], [attempt(3)], [(0, 1, 0, 1, 150), (0, 1, 1, 1, 70)]),
    FakeBatch([generation(4, outcome="failed", charged_nanousd=0), generation(4)], [], [(0, 1, 1, 2, 40)]),
    FakeBatch([], [], [(0, 1, 1, 2, 50)]),
]


def test_a_batch_becomes_rows(tmp_path: Path) -> None:
    connection = fresh(tmp_path / "a.db")
    for batch in BATCHES:
        transact(connection, lambda connection, batch=batch: applied(connection, batch))  # type: ignore[misc]
    state = dump(connection)
    assert state["generations"] == sorted(
        [generation(1), generation(2, charged_nanousd=5), BATCHES[1].generations[0], BATCHES[2].generations[0]]
    )
    assert [row[:2] for row in state["attempts"]] == [(attempt(1)[0], 1), (attempt(2)[0], 1), (attempt(2)[0], 2), (attempt(3)[0], 1)]
    assert state["translation_losses"] == [loss(2, 0), loss(2, 1, "user", "hint")]
    assert state["cursors"] == [(0, 1, 0, 1, 150), (0, 1, 1, 2, 50)]
    day = NOW_MS // DAY_MS
    assert days(connection) == [
        (1, 1, day, "acme/fast", "lab", 3, 1, 300, 60, 21, 150, 30, 1_000_000_006, 3_000_000_006),
        (1, 2, day + 1, "acme/fast", "lab", 1, 0, 100, 20, 7, 50, 10, 1_000_000_001, 1_000_000_002),
    ]
    assert [row[14] for row in state["keys"]] == [NOW_MS - 1500]
    connection.close()


SPLIT = {"split": "acme/assistant", "arm": "acme/fast:nitro"}
SHADOW = {
    "split": "acme/fast", "arm": "other/model", "model": "other/model", "provider": "two", "flags": 128, "charged_nanousd": 0,
    "upstream_cost_nanousd": 7,
}  # fmt: skip
DAY = NOW_MS // DAY_MS


def test_arms_are_summed(tmp_path: Path) -> None:
    connection = fresh(tmp_path / "a.db")
    rows = [
        generation(1, **SPLIT),
        generation(2, **SPLIT, streamed=False, total_us=499_400),
        generation(3, **SPLIT, outcome="failed", charged_nanousd=0, content_us=0),
        generation(4, **SPLIT | {"arm": "sim/fast"}, outcome="cancelled"),
        generation(5),
    ]
    tries = [
        attempt(1, 0, error="provider_status"),
        attempt(1, 1),
        attempt(2, 0),
        attempt(2, 1, error="overtaken"),
        attempt(3, error="connect_failed"),
        attempt(4, error="client_gone"),
        attempt(5, error="provider_status"),
    ]
    transact(connection, lambda connection: applied(connection, FakeBatch(rows, tries, [(0, 1, 0, 1, 100)])))
    place = (1, DAY, "split", "acme/assistant")
    assert dump(connection)["arm_days"] == [
        (*place, "acme/fast:nitro", 3, 2, 1, 2, 300, 60, 21, 150, 30, 2_000_000_002, 3_000_000_006, 1, 250_400, 2_000_000),
        (*place, "sim/fast", 1, 0, 0, 0, 100, 20, 7, 50, 10, 1_000_000_001, 1_000_000_002, 1, 250_400, 0),
    ]
    connection.close()


@pytest.mark.parametrize("shadow_first", [True, False])
def test_a_shadow_is_an_attempt_and_nobodys_request(tmp_path: Path, shadow_first: bool) -> None:
    connection = fresh(tmp_path / "a.db")
    own = FakeBatch([generation(1)], [attempt(1, 0)], [(0, 1, 0, 1, 100)])
    copy = FakeBatch(
        [], [attempt(1, 64, flags=128, provider="two", upstream_cost_nanousd=7)], [(0, 1, 1, 1, 100)], shadows=[generation(1, **SHADOW)]
    )
    batches = [copy, own] if shadow_first else [own, copy]
    # Read again, and both at once.
    both = FakeBatch(own.generations, own.attempts + copy.attempts, own.cursors + copy.cursors, shadows=copy.shadows)
    for batch in [*batches, *batches, both]:
        transact(connection, lambda connection, batch=batch: applied(connection, batch))  # type: ignore[misc]
    state = dump(connection)
    assert state["generations"] == [generation(1)]
    assert [row[1:3] for row in state["attempts"]] == [(0, "lab"), (64, "two")]
    assert days(connection) == [
        (1, 1, DAY, "acme/fast", "lab", 1, 0, 100, 20, 7, 50, 10, 1_000_000_001, 1_000_000_002),
        (1, 1, DAY, "other/model", "two", 0, 0, 0, 0, 0, 0, 0, 0, 7),
    ]
    assert state["arm_days"] == [
        (1, DAY, "shadow", "acme/fast", "other/model", 1, 1, 0, 0, 100, 20, 7, 50, 10, 0, 7, 1, 250_400, 1_500_600)
    ]
    connection.close()


@pytest.mark.parametrize("seed", range(20))
def test_reading_again_changes_nothing(tmp_path: Path, seed: int) -> None:
    """Any prefix may be read again after a crash, any number of times, and cut differently."""
    chance = random.Random(seed)
    rows = [generation(number, key_id=chance.randint(1, 3), charged_nanousd=chance.randint(0, 10**9)) for number in range(1, 40)]
    tries = [attempt(number, n) for number in range(1, 40) for n in range(1, chance.randint(1, 3) + 1)]

    lost = [loss(number, n) for number in range(1, 40) for n in range(chance.randint(0, 2))]

    def cut(first: int, last: int) -> FakeBatch:
        ids = {row[0] for row in rows[first:last]}
        return FakeBatch(
            rows[first:last],
            [row for row in tries if row[0] in ids],
            [(0, 1, 0, 1, last)],
            losses=[row for row in lost if row[0] in ids],
        )

    once, often = fresh(tmp_path / "once.db"), fresh(tmp_path / "often.db")
    transact(once, lambda connection: applied(connection, cut(0, len(rows))))
    reached = 0
    while reached < len(rows):
        first = chance.randint(0, reached)
        reached = min(len(rows), max(reached, first + chance.randint(0, 7)))
        transact(often, lambda connection: applied(connection, cut(first, reached)))  # noqa: B023
    assert dump(often) == dump(once)
    once.close()
    often.close()


class Cut(Exception):
    """The process is gone."""


class Cutting(sqlite3.Connection):
    """Fails before the statement with this index, and at every later one but a rollback."""

    left = 1_000_000

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.count(sql)
        return super().execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.count(sql)
        return super().executemany(sql, *values)

    def count(self, sql: str) -> None:
        self.left -= 1
        if self.left < 0 and sql != "ROLLBACK":
            raise Cut


def test_a_cut_at_any_statement_leaves_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    plain = fresh(path)
    before, survived, index = dump(plain), False, 0
    while not survived:
        connection = sqlite3.connect(path, isolation_level=None, factory=Cutting)
        connection.left = index
        try:
            transact(connection, lambda connection: applied(connection, BATCHES[0]))
            survived = True
        except Cut:
            assert dump(plain) == before
        connection.close()
        index += 1
    assert index > 8
    after = dump(plain)
    assert after != before
    transact(plain, lambda connection: applied(connection, BATCHES[0]))
    assert dump(plain) == after
    plain.close()


EVERYTHING = [
    *BATCHES,
    FakeBatch(
        [], [attempt(5, 64, flags=128, provider="two", upstream_cost_nanousd=7)], [(0, 1, 0, 1, 160)], shadows=[generation(5, **SHADOW)]
    ),
    FakeBatch(
        [generation(5, **SPLIT), generation(6, title="app", error="provider_status", team_id=3, user_id=4)],
        [attempt(5, 0, error="connect_failed"), attempt(5, 1), attempt(6, 0)],
        [(0, 1, 0, 1, 170)],
    ),
    FakeBatch([generation(7, settled_at_ms=NOW_MS + 50 * DAY_MS)], [attempt(7, 0)], [(0, 2, 0, 0, 90)]),
]


def test_the_nth_statement_fails(tmp_path: Path) -> None:
    """N = 1, 2, … until nothing fails: a transaction that fails leaves nothing, and what is read again, once or often, makes it whole."""
    whole = fresh(tmp_path / "whole.db")
    states = [dump(whole)]
    for batch in EVERYTHING:
        transact(whole, lambda connection, batch=batch: applied(connection, batch))  # type: ignore[misc]
        states.append(dump(whole))
    whole.close()
    fresh(tmp_path / "empty.db").close()
    failures, failed = 0, True
    while failed:
        path = tmp_path / f"{failures}.db"
        shutil.copyfile(tmp_path / "empty.db", path)
        plain = sqlite3.connect(path, isolation_level=None)
        cutting = sqlite3.connect(path, isolation_level=None, factory=Cutting)
        # No power is lost here.
        cutting.execute("PRAGMA synchronous = OFF")
        cutting.left, failed = failures, False
        for number, batch in enumerate(EVERYTHING):
            try:
                transact(cutting, lambda connection, batch=batch: applied(connection, batch))  # type: ignore[misc]
            except Cut:
                failed = True
                assert dump(plain) == states[number], f"statement {failures} of batch {number} left something"
                cutting.left = 1_000_000
                # A batch is read again, also one that was stored before: the reader begins at the stored cursors, or before them.
                for again in (*EVERYTHING[max(0, number - 1) : number + 1], batch):
                    transact(cutting, lambda connection, again=again: applied(connection, again))  # type: ignore[misc]
            assert dump(plain) == states[number + 1], f"statement {failures}, batch {number}"
        cutting.close()
        plain.close()
        path.unlink()
        failures += 1
    assert failures > 80, failures


def test_numbers_beyond_sql_are_stored_as_the_largest_and_kept_out_of_sums(tmp_path: Path) -> None:
    connection = fresh(tmp_path / "a.db")
    transact(connection, lambda connection: applied(connection, FakeBatch([generation(1, prompt_tokens=2**64 - 1)], [], [])))
    assert connection.execute("SELECT prompt_tokens FROM generations").fetchone() == (2**63 - 1,)
    assert connection.execute("SELECT prompt_tokens, completion_tokens FROM usage_rollup WHERE res = 3 AND dim = 0").fetchone() == (0, 50)
    connection.close()


def run(tmp_path: Path, story: Callable[[Drainer, FakeJournal, Database], Any], journal: FakeJournal | None = None) -> None:
    """Runs a story beside a running drainer."""

    async def main() -> None:
        source = journal or FakeJournal()
        database = Database(tmp_path / "fairlead.db")
        drainer = Drainer(database, source.open_reader, source)
        task = asyncio.create_task(drainer.run())
        try:
            await story(drainer, source, database)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            database.close()

    asyncio.run(main())


def stored(database: Database) -> int:
    return int(database.read_now(lambda connection: connection.execute("SELECT COUNT(*) FROM generations").fetchone()[0]))


def test_catching_up_holds_all_that_was_settled_before(tmp_path: Path) -> None:
    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        await drainer.catch_up()
        for number in range(1, 30):
            journal.settle([generation(number)])
            await drainer.catch_up()
            assert stored(database) == number
        assert journal.freed == [(0, 1, 0, 1, 29)]

    run(tmp_path, story)


def test_catching_up_at_once_takes_few_commits(tmp_path: Path) -> None:
    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        journal.settle(generation(number) for number in range(1, 1201))
        reads = 0
        original = FakeReader.read

        def read(self: FakeReader, most: int) -> FakeBatch:
            nonlocal reads
            reads += 1
            return original(self, most)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeReader, "read", read)
            await asyncio.gather(*(drainer.catch_up() for _ in range(100)))
        assert stored(database) == 1200
        assert reads <= 4

    run(tmp_path, story)


def counted_writes(database: Database, patch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the stored generations with every transaction that the database is asked for."""
    counts: list[int] = []
    write = database.write

    async def counting(*arguments: Any) -> Any:
        result = await write(*arguments)
        counts.append(stored(database))
        return result

    patch.setattr(database, "write", counting)
    return counts


def test_a_backlog_takes_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = drain.BATCH_RECORDS * drain.TRANSACTION_BATCHES

    async def main() -> None:
        journal, database = FakeJournal(), Database(tmp_path / "fairlead.db")
        journal.settle(generation(number) for number in range(1, most + 11))
        commits = counted_writes(database, monkeypatch)
        await Drainer(database, journal.open_reader, journal).finish()
        assert commits == [most, most + 10]
        database.close()

    asyncio.run(main())


def test_a_transaction_ends_early_for_whoever_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at once: before a large backlog that would make many small transactions."""
    monkeypatch.setattr(drain, "IDLE_SECONDS", 3600.0)
    size = drain.BATCH_RECORDS
    original = FakeReader.read

    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        await drainer.catch_up()
        commits = counted_writes(database, monkeypatch)
        journal.settle(generation(number) for number in range(1, 2 * size - 9))

        def read(self: FakeReader, most: int) -> FakeBatch:
            # Traffic goes on.
            journal.settle(generation(number) for number in range(len(journal.records) + 1, len(journal.records) + size + 1))
            return original(self, most)

        monkeypatch.setattr(FakeReader, "read", read)
        await drainer.catch_up()
        assert commits[0] == 2 * size
        monkeypatch.setattr(FakeReader, "read", original)

    run(tmp_path, story)


def test_an_error_in_a_later_batch_takes_the_earlier_ones_of_the_transaction_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = drain.apply

    def apply(connection: sqlite3.Connection, batch: FakeBatch, fold: Fold) -> None:
        if batch.cursors[0][4] > drain.BATCH_RECORDS:
            raise sqlite3.OperationalError("database or disk is full")
        plain(connection, batch, fold)

    async def main() -> None:
        journal, database = FakeJournal(), Database(tmp_path / "fairlead.db")
        journal.settle(generation(number) for number in range(1, drain.BATCH_RECORDS + 11))
        monkeypatch.setattr(drain, "apply", apply)
        with pytest.raises(sqlite3.OperationalError):
            await Drainer(database, journal.open_reader, journal).finish()
        assert (stored(database), journal.freed, database.read_now(queries.cursors)) == (0, [], [])
        monkeypatch.setattr(drain, "apply", plain)
        await Drainer(database, journal.open_reader, journal).finish()
        assert (stored(database), journal.freed) == (drain.BATCH_RECORDS + 10, [(0, 1, 0, 1, drain.BATCH_RECORDS + 10)])
        database.close()

    asyncio.run(main())


def test_news_wait_for_company_but_nobody_who_asks_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever is kept waiting for these gives up long before.
    monkeypatch.setattr(drain, "IDLE_SECONDS", 3600.0)
    monkeypatch.setattr(drain, "GATHER_SECONDS", 3600.0)

    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        commits = counted_writes(database, monkeypatch)
        for number in range(1, 4):
            journal.settle([generation(number)])
            drainer.wake()
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(commits) == number - 1
            # Also when the drainer is in the middle of waiting for company.
            await drainer.catch_up()
            assert stored(database) == number

    run(tmp_path, story)


def test_who_comes_while_a_batch_is_read_waits_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That batch calls itself the last one, and was, when it was read."""
    has_read, may_return = threading.Event(), threading.Event()
    original = FakeReader.read

    def read(self: FakeReader, most: int) -> FakeBatch:
        batch = original(self, most)
        if batch.generations:
            has_read.set()
            assert may_return.wait(30)
        return batch

    monkeypatch.setattr(FakeReader, "read", read)

    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        journal.settle([generation(1)])
        first = asyncio.create_task(drainer.catch_up())
        await asyncio.to_thread(has_read.wait, 30)
        journal.settle([generation(2)])
        second = asyncio.create_task(drainer.catch_up())
        # The second is in the queue before the first batch comes back.
        await asyncio.sleep(0)
        may_return.set()
        await first
        await second
        assert stored(database) == 2

    run(tmp_path, story)


def test_an_error_loses_nothing_and_reading_begins_again_at_the_stored_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([sqlite3.OperationalError("disk is full"), sqlite3.OperationalError("disk is full"), OSError("gone")])
    original = drain.apply

    def apply(connection: sqlite3.Connection, batch: FakeBatch, fold: Fold) -> None:
        original(connection, batch, fold)
        if (failure := next(failures, None)) is not None:
            raise failure

    monkeypatch.setattr(drain, "BACKOFF_SECONDS", (0.0,))
    monkeypatch.setattr(drain, "apply", apply)

    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        journal.settle(generation(number) for number in range(1, 10))
        await drainer.catch_up()
        assert stored(database) == 9
        assert journal.opened == 4
        assert drainer.failure is None

    run(tmp_path, story)


def test_who_waits_for_a_database_that_fails_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(connection: sqlite3.Connection, batch: FakeBatch, fold: Fold) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(drain, "BACKOFF_SECONDS", (0.0,))
    monkeypatch.setattr(drain, "apply", apply)

    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        journal.settle([generation()])
        with pytest.raises(Behind, match="disk is full"):
            await drainer.catch_up(timeout_seconds=0.2)
        assert journal.freed == []

    run(tmp_path, story)


def test_a_chain_that_cannot_be_read_to_its_end_is_reported_once_and_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Torn(FakeJournal):
        def position(self) -> list[tuple[int, int, int, int, int]]:
            return [(0, 1, 0, 9, 9)]

        def open_reader(self, cursors: list[tuple[int, int, int, int, int]]) -> FakeReader:
            reader = super().open_reader(cursors)
            read = reader.read

            def torn(most: int) -> FakeBatch:
                batch = read(most)
                batch.problems.append("segment 3 is torn")
                return batch

            reader.read = torn  # type: ignore[method-assign]
            return reader

    async def story(drainer: Drainer, journal: FakeJournal, database: Database) -> None:
        await drainer.catch_up()
        await drainer.catch_up()

    run(tmp_path, story, Torn())
    assert [record.message for record in caplog.records] == ["journal: segment 3 is torn"]


def test_finishing_drains_to_the_end(tmp_path: Path) -> None:
    async def main() -> None:
        journal = FakeJournal()
        journal.settle(generation(number) for number in range(1, 1101))
        database = Database(tmp_path / "fairlead.db")
        await Drainer(database, journal.open_reader, journal).finish()
        assert stored(database) == 1100
        assert journal.freed == [(0, 1, 0, 1, 1100)]
        database.close()

    asyncio.run(main())


def test_who_is_cancelled_while_news_comes_ends(tmp_path: Path) -> None:
    async def main() -> None:
        journal = FakeJournal()
        database = Database(tmp_path / "fairlead.db")
        drainer = Drainer(database, journal.open_reader, journal)
        running = asyncio.create_task(drainer.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        # One turn of the loop brings the news and the end, as when a hung interpreter comes back after the engine has stopped.
        drainer.wake()
        running.cancel()
        await asyncio.wait({running}, timeout=5)
        assert running.cancelled()
        database.close()

    asyncio.run(main())
