"""Old rows go, sums stay, and the books can still be checked."""

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, FakeBatch, FakeJournal, attempt, generation
from fairlead.control import drain, ledger, upkeep
from fairlead.control.db import Database, retention, rollups
from fairlead.control.db.connection import open_reader, transact
from fairlead.control.db.rollups import Fold
from fairlead.control.ledger import Books, Finding
from fairlead.control.upkeep import Upkeep
from operator_rig import Port, tell

DAY = NOW_MS // DAY_MS
SUMS = ("usage_rollup", "usage_pair", "latency_hist", "error_rollup")
SHADOW = {"model": "other/model", "provider": "two", "flags": 128, "charged_nanousd": 0, "upstream_cost_nanousd": 7, "arm": "other/model"}


class House:
    """A database with generations of many days."""

    def __init__(self, folder: Path, zone: str = "UTC") -> None:
        self.folder, self.zone, self.journal = folder, zone, FakeJournal()
        Database(folder / "fairlead.db").close()
        self.connection = sqlite3.connect(folder / "fairlead.db", isolation_level=None)
        transact(self.connection, lambda connection: rollups.fix_zone(connection, zone))
        self.settled: dict[int, int] = {}

    def settle(self, numbers: dict[int, int], shadows: tuple[int, ...] = ()) -> None:
        """Generations by their numbers, each with the moment of its settlement; some with a shadow."""
        rows: list[tuple[Any, ...]] = []
        tries: list[tuple[Any, ...]] = []
        losses: list[tuple[Any, ...]] = []
        copies: list[tuple[Any, ...]] = []
        for number, at_ms in numbers.items():
            amounts = {"charged_nanousd": 3 + number % 5, "upstream_cost_nanousd": 2 + number % 3}
            row = generation(number, settled_at_ms=at_ms, key_id=number % 3 + 1, team_id=number % 2, title=f"app {number % 4}", **amounts)
            rows.append(row)
            tries.append(attempt(number, 0, upstream_cost_nanousd=2 + number % 3))
            losses.append((row[0], 0, "top_k", "hint", "x"))
            if number in shadows:
                copies.append(generation(number, **SHADOW, settled_at_ms=at_ms + 60_000, key_id=number % 3 + 1))
                tries.append(attempt(number, 64, flags=128, provider="two", upstream_cost_nanousd=7))

        def work(connection: sqlite3.Connection) -> None:
            fold = Fold(self.zone)
            drain.apply(connection, FakeBatch(rows, tries, [(0, 1, 0, 1, 0)], losses=losses, shadows=copies), fold)
            fold.store(connection)

        transact(self.connection, work)
        self.settled |= numbers

    def remove(self, before_ms: int, limit: int = 1000) -> int:
        removed = 0

        def work(connection: sqlite3.Connection) -> None:
            nonlocal removed
            removed = retention.remove(connection, before_ms, limit)

        transact(self.connection, work)
        return removed

    def sums(self) -> dict[str, list[Any]]:
        return {table: self.connection.execute(f"SELECT * FROM {table}").fetchall() for table in SUMS}

    def rows(self, table: str = "generations", id: str = "id") -> set[str]:
        return {row[0] for row in self.connection.execute(f"SELECT {id} FROM {table}")}

    def findings(self) -> list[Finding]:
        reader = open_reader(self.folder / "fairlead.db")
        try:
            reader.execute("BEGIN")
            return ledger.verify(Books(reader, self.folder / "journal", self.journal.open_reader)).findings
        finally:
            reader.close()


def ids(*numbers: int) -> set[str]:
    return {generation(number)[0] for number in numbers}


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_rows_go_and_nothing_else(tmp_path: Path, zone: str, dice: random.Random) -> None:
    """In pieces, at odd moments, with shadows and with settlements that come late; the books are right after each step."""
    house, number, day = House(tmp_path, zone), 0, DAY - 50
    for _ in range(12):
        day += dice.randint(1, 4)
        late = dice.random() < 0.3
        moments = [(day - (20 if late else 0)) * DAY_MS + dice.randrange(DAY_MS) for _ in range(dice.randint(1, 9))]
        numbers = dict(enumerate(moments, number))
        number += len(moments)
        house.settle(numbers, tuple(one for one in numbers if dice.random() < 0.2))
        assert house.findings() == []
        sums, before_ms, kept = house.sums(), (day - dice.randint(1, 9)) * DAY_MS, house.rows()
        while (removed := house.remove(before_ms, dice.randint(1, 5))) and house.findings() == []:
            assert removed <= 5
        assert house.findings() == [] and house.sums() == sums
        left = {one for one, at_ms in house.settled.items() if generation(one)[0] in kept and (at_ms >= before_ms or one == number - 1)}
        assert house.rows() == ids(*left)
        assert house.rows("attempts", "generation_id") == house.rows("translation_losses", "generation_id") == house.rows()
    assert house.connection.execute("SELECT SUM(requests) FROM removed_generations").fetchone()[0] == number - len(house.rows()) > 0


def test_what_is_falsified_is_found(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.settle({number: (DAY - 9 + number) * DAY_MS for number in range(9)}, shadows=(1, 5))
    house.remove((DAY - 5) * DAY_MS)
    assert house.findings() == []

    def check(statement: str, expected: set[str]) -> None:
        house.connection.execute("BEGIN")
        house.connection.execute(statement)
        house.connection.execute("COMMIT")
        assert {finding.check for finding in house.findings()} == expected, statement

    check("UPDATE removed_generations SET charged_nanousd = charged_nanousd + 1 WHERE key_id = 1", {"totals"})
    check("UPDATE removed_generations SET charged_nanousd = charged_nanousd - 1 WHERE key_id = 1", set())
    for before, found in ((True, {"totals"}), (False, {"totals", "rollups"})):
        window = f"res = 3 AND dim = 2 AND start_ms {'<' if before else '>='} {(DAY - 5) * DAY_MS}"
        one = f"(account_id, start_ms, val) = (SELECT account_id, start_ms, val FROM usage_rollup WHERE {window} LIMIT 1)"
        for sign, expected in (("+", found), ("-", set())):
            check(f"UPDATE usage_rollup SET charged_nanousd = charged_nanousd {sign} 1 WHERE {window} AND {one}", expected)
    check(f"DELETE FROM attempts WHERE generation_id = '{generation(8)[0]}'", {"attempts", "rollups"})


def test_the_newest_row_stays_so_that_numbers_of_rows_grow(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.settle({1: DAY * DAY_MS, 2: DAY * DAY_MS})
    assert house.remove((DAY + 9) * DAY_MS) == 1 and house.rows() == ids(2)
    assert not retention.is_due(house.connection, (DAY + 9) * DAY_MS) and house.remove((DAY + 9) * DAY_MS) == 0
    house.settle({3: (DAY + 10) * DAY_MS})
    assert house.connection.execute("SELECT MAX(rowid) FROM generations").fetchone()[0] == 3
    # A setting that allows for more does not bring any back.
    assert retention.rows_from_ms(house.connection) == (DAY + 9) * DAY_MS
    house.remove((DAY + 1) * DAY_MS)
    assert retention.rows_from_ms(house.connection) == (DAY + 9) * DAY_MS


def test_upkeep_removes_what_is_older_than_so_many_whole_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "REMOVED_AT_ONCE", 2)
    monkeypatch.setattr(upkeep, "MOST_REMOVALS", 2)

    async def story(port: Port) -> None:
        edge = (NOW_MS // DAY_MS - 3) * DAY_MS
        moments = [*(edge - 1 - number for number in range(6)), edge, NOW_MS]
        port.journal.settle([generation(number, settled_at_ms=at_ms) for number, at_ms in enumerate(moments)])
        await port.drainer.catch_up()
        round = Upkeep(port.desk)

        async def left() -> int:
            await round.once()
            count: int = await port.database.read(lambda connection: connection.execute("SELECT COUNT(*) FROM generations").fetchone()[0])
            return count

        assert await left() == 8, "for ever"
        page = (await port.script.request("GET", "/admin/ledger?of=charges")).json()
        assert (len(page["data"]), page["complete_from"]) == (8, None)
        port.desk.retention_days = 3
        assert [await left(), await left(), await left()] == [4, 2, 2], "so many a round, and what was settled at the edge stays"
        page = (await port.script.request("GET", "/admin/ledger?of=charges")).json()
        assert len(page["data"]) == 2 and page["complete_from"].endswith("T00:00:00.000Z")
        used = (await port.script.request("GET", "/admin/usage")).json()
        assert used["total"]["requests"] == 8

    tell(tmp_path, story)
