"""The audit of the books: a number that is wrong, in memory or in the database, is counted, logged and told, once a day."""

import logging
import sqlite3
from pathlib import Path

import pytest
from control_rig import DAY_MS, NOW_MS, generation
from fairlead.config import Limits
from fairlead.config.limits import EndUserLimits
from fairlead.control.db import end_users
from fairlead.control.directory import NewKey
from fairlead.control.upkeep import Upkeep
from test_control import House, tell


def raised(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT subject FROM alerts ORDER BY id")]


def counted(total: int) -> tuple[int, int, int, int, int]:
    return total, total, total, total, 0


def test_books_that_differ_from_the_database(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(house: House) -> None:
        house.desk.directory.create(NewKey(name="ci", limits=Limits(rpm=5)))
        upkeep, journal = Upkeep(house.desk), house.journal
        journal.settle([generation(1, key_id=2, account_id=1, charged_nanousd=500)])
        journal.counted = {("account", 1): counted(500), ("key", 2): counted(500)}
        for _ in range(3):
            await upkeep.once()
        assert journal.violations == 0
        # A call that is being settled is in memory before it is anywhere else: nothing is said of what is seen once.
        journal.counted["key", 2] = counted(700)
        await upkeep.once()
        journal.settle([generation(2, key_id=2, account_id=1, charged_nanousd=200)])
        journal.counted["account", 1] = counted(700)
        await upkeep.once()
        await upkeep.once()
        assert (journal.violations, await house.desk.database.read(raised)) == (0, [])
        # Somebody has been at the numbers, here or there.
        journal.counted["key", 2] = counted(701)
        await upkeep.once()
        assert journal.violations == 0
        with caplog.at_level(logging.WARNING):
            await upkeep.once()
        day = NOW_MS // DAY_MS
        assert (journal.violations, await house.desk.database.read(raised)) == (1, [f"ledger/database/key/2/{day}"])
        assert "the key 2 has spent 0.000000701 $ by the books in memory and 0.0000007 $ by the database" in caplog.text
        await upkeep.once()
        assert (journal.violations, len(await house.desk.database.read(raised))) == (2, 1), "counted each time, told once a day"

    tell(tmp_path, story)


def test_books_that_do_not_hold_by_themselves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(house: House) -> None:
        house.journal.broken = [("team", 7, "reserved", "what is reserved is not what was held less what was given back")]
        with caplog.at_level(logging.WARNING):
            await Upkeep(house.desk).once()
        assert await house.desk.database.read(raised) == [f"ledger/reserved/team/7/{NOW_MS // DAY_MS}"]
        assert "the books of the team 7 do not hold: what is reserved" in caplog.text

    tell(tmp_path, story)


def test_end_users_are_remembered_for_as_long_as_a_budget_counts_them(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        limits = Limits(end_user=EndUserLimits(limit_nanousd=10, limit_interval="month", rpm=3, required=True))
        made, _ = house.desk.directory.create(NewKey(name="app", limits=limits))
        assert made.limits == limits
        days = [(0, 5), (1, 7), (39, 11), (41, 13)]
        house.journal.settle(
            [
                generation(number, end_user_id=9, charged_nanousd=amount, settled_at_ms=NOW_MS - back * DAY_MS)
                for number, (back, amount) in enumerate(days)
            ]
        )
        await house.desk.drainer.catch_up()
        today = NOW_MS // DAY_MS
        read = house.desk.database.read
        assert await read(lambda connection: end_users.spent(connection, (today, today - 1, today - 39))) == {9: (5, 12, 23)}
        assert await read(lambda connection: end_users.is_due(connection, NOW_MS))
        await Upkeep(house.desk).once()
        assert not await read(lambda connection: end_users.is_due(connection, NOW_MS))
        assert await read(lambda connection: end_users.spent(connection, (0, 0, 0))) == {9: (23, 23, 23)}

    tell(tmp_path, story)
