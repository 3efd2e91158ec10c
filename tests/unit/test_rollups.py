"""The rollups: whatever happens, in whatever order and batches, their sums are those of the rows."""

import random
import re
import sqlite3
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from control_rig import DAY_MS, NOW_MS, FakeBatch, attempt, generation
from fairlead.control import drain, usage
from fairlead.control.db import Database, queries, rollups
from fairlead.control.db.connection import transact
from fairlead.control.db.queries import GENERATION_COLUMNS, Dim, Res
from fairlead.control.db.rollups import Fold
from fairlead.control.windows import day_number

SUMS = ", ".join(f"SUM({name})" for name in queries.ROLLUP_SUMS)
ROLLUPS = ("usage_rollup", "usage_pair", "latency_hist", "error_rollup")
STARTS = {Res.MINUTE: lambda at_ms: at_ms - at_ms % 60_000, **rollups.STARTS}


def test_what_is_nobodys_fault_is_the_same_on_both_sides() -> None:
    """The counts of attempts that were retried are made in Rust, their ids are found in Python."""
    rust = (Path(__file__).parents[2] / "rust" / "ledger" / "src" / "rollup.rs").read_text()
    names = dict(re.findall(r'const ([A-Z_]+): &str = "(\w+)"', rust))
    [listed] = re.findall(r"const NOBODYS_FAULT: \[&str; \d+\] = \[(.*)\]", rust)
    assert tuple(names.get(name, name.strip('"')) for name in listed.split(", ")) == drain.NOBODYS_FAULT


def opened(path: Path) -> sqlite3.Connection:
    Database(path).close()
    return sqlite3.connect(path, isolation_level=None)


def generated(chance: random.Random, count: int, days: int = 2) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Generations that end in every way, within some days, and their attempts."""
    rows, tries = [], []
    for number in range(1, count + 1):
        provider, endpoint = chance.choice([("lab", 7), ("lab", 8), ("two", 9), ("", 0)])
        outcome, error = chance.choice([("completed", ""), ("completed", ""), ("failed", "timeout"), ("cancelled", "client_gone")])
        fields = {
            "key_id": chance.randint(1, 4), "team_id": chance.randint(0, 2), "user_id": chance.randint(0, 2), "outcome": outcome,
            "error": error, "model": chance.choice(["acme/fast", "acme/slow"]), "provider": provider,
            "settled_at_ms": NOW_MS + chance.randint(-days * DAY_MS, 0), "streamed": chance.random() < 0.5,
            "prompt_tokens": chance.choice([0, 100, 2**64 - 1]), "completion_tokens": chance.randint(0, 10**6),
            "charged_nanousd": chance.choice([0, 1, chance.randint(0, 10**12)]), "upstream_cost_nanousd": chance.randint(0, 10**12),
            "content_us": chance.choice([0, chance.randint(1, 10**6)]), "total_us": chance.randint(0, 10**7),
            "referer": chance.choice(["", "https://App.example/chat?a=1", "not a [url"]), "title": chance.choice(["", "App"]),
            "split": "", "arm": "", "flags": chance.choice([0, 4]), "preset": chance.choice(["", "resilient", "cheap,resilient"]),
        }  # fmt: skip
        if chance.random() < 0.3:
            fields |= {"split": "acme/any", "arm": chance.choice(["a", "b"])}
        rows.append(generation(number, **fields))
        if chance.random() < 0.3:
            tries.append(attempt(number, 0, error=chance.choice(["timeout", "overtaken"]), provider="two", endpoint_id=9))
        if provider:
            tries.append(attempt(number, 1, error=error, provider=provider, endpoint_id=endpoint))
    return rows, tries


def apply(connection: sqlite3.Connection, rows: list[tuple[Any, ...]], tries: list[tuple[Any, ...]], size: int) -> None:
    """In batches of a size, several in a transaction."""

    def work(connection: sqlite3.Connection, first: int) -> None:
        fold = Fold(rollups.zone(connection))
        for start in range(first, min(first + 3 * size, len(rows)), size):
            ids = {row[0] for row in rows[start : start + size]}
            batch = FakeBatch(rows[start : start + size], [row for row in tries if row[0] in ids], [(0, 1, 0, 1, start)])
            drain.apply(connection, batch, fold)
        fold.store(connection)

    for first in range(0, len(rows), 3 * size):
        transact(connection, lambda connection, first=first: work(connection, first))  # type: ignore[misc]


def expected(rows: list[tuple[Any, ...]]) -> tuple[int, ...]:
    """The sums of generations by plain addition; without those of `retried` and streams."""
    total: Counter[str] = Counter()
    for values in rows:
        row = dict(zip(GENERATION_COLUMNS, values, strict=True))
        tokens = {
            name: row[f"{name}_tokens"] for name in ("prompt", "cache_read", "cache_write", "cache_write_1h", "completion", "reasoning")
        }
        tokens = {name: count if count <= 10**12 else 0 for name, count in tokens.items()}
        total.update({f"{name}_tokens": count for name, count in tokens.items()})
        total["cache_write_tokens"] += tokens["cache_write_1h"]
        total["requests"] += 1
        total["failed"] += row["outcome"] == "failed"
        total["charged_nanousd"] += row["charged_nanousd"]
        total["upstream_cost_nanousd"] += row["upstream_cost_nanousd"]
    return tuple(total[name] for name in queries.USAGE_SUMS)


def value_of(connection: sqlite3.Connection, dim: int, val: int) -> Any:
    if dim == Dim.PLACE:
        return connection.execute("SELECT model, provider FROM usage_places WHERE id = ?", (val,)).fetchone()
    if dim in rollups.KINDS:
        return connection.execute("SELECT name, part FROM usage_names WHERE id = ?", (val,)).fetchone()
    return val


def values_of(dim: int, values: tuple[Any, ...]) -> Any:
    """What a generation has in a dimension; None where it has no row there."""
    row = dict(zip(GENERATION_COLUMNS, values, strict=True))
    app = {"https://App.example/chat?a=1": "app.example"}.get(row["referer"], row["referer"]) or row["title"]
    return {
        Dim.TOTAL: 0,
        Dim.PLACE: (row["model"], row["provider"]),
        Dim.KEY: row["key_id"],
        Dim.TEAM: row["team_id"] or None,
        Dim.USER: row["user_id"] or None,
        Dim.APP: (app, "") if app else None,
        Dim.ARM: (row["split"], row["arm"]) if row["split"] else None,
        Dim.PRESET: (row["preset"], "") if row["preset"] else None,
        Dim.SHADOW: None,
    }[dim]


@pytest.mark.parametrize("seed", range(5))
def test_every_sum_is_that_of_the_rows(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    connection = opened(tmp_path / "a.db")
    rows, tries = generated(chance, 150)
    apply(connection, rows, tries, chance.randint(1, 60))
    for res, start in STARTS.items():
        for dim in Dim.ALL:
            wanted: dict[Any, list[tuple[Any, ...]]] = {}
            for row in rows:
                value = values_of(dim, row)
                if value is not None:
                    wanted.setdefault((start(row[GENERATION_COLUMNS.index("settled_at_ms")]), value), []).append(row)
            found: dict[Any, tuple[int, ...]] = {}
            statement = f"SELECT start_ms, val, {', '.join(queries.USAGE_SUMS)} FROM usage_rollup WHERE res = ? AND dim = ?"
            for at_ms, val, *amounts in connection.execute(statement, (res, dim)):
                place = (at_ms, value_of(connection, dim, val))
                found[place] = tuple(map(sum, zip(found.get(place, (0,) * len(amounts)), amounts, strict=True)))
            assert found == {place: expected(group) for place, group in wanted.items()}, (res, dim)
    sums = {tuple(connection.execute(f"SELECT {SUMS} FROM usage_rollup WHERE res = ? AND dim = 0", (res,)).fetchone()) for res in STARTS}
    sums |= {
        tuple(connection.execute(f"SELECT {SUMS} FROM usage_rollup WHERE res = ? AND dim = ?", (res, dim)).fetchone())
        for res in STARTS
        for dim in (Dim.PLACE, Dim.KEY)
    }
    assert len(sums) == 1
    # What a value did at all places is what it did.
    for dim in (Dim.KEY, Dim.TEAM, Dim.APP, Dim.ARM, Dim.PRESET):
        for res in (Res.DAY, Res.MONTH):
            of_pairs, of_values = (
                connection.execute(
                    f"SELECT start_ms, val, {SUMS} FROM {table} WHERE res = ? AND dim = ? GROUP BY start_ms, val", (res, dim)
                ).fetchall()
                for table in ("usage_pair", "usage_rollup")
            )
            assert of_pairs == of_values and of_pairs, (dim, res)
    column = {name: index for index, name in enumerate(GENERATION_COLUMNS)}
    firsts = sum(bool(row[column["streamed"]] and row[column["content_us"]]) for row in rows)
    wholes = sum(row[column["outcome"]] == "completed" for row in rows)
    for dim in (Dim.TOTAL, Dim.PLACE, Dim.KEY):
        for res in (Res.HOUR, Res.DAY, Res.MONTH)[dim == Dim.KEY :]:
            found = connection.execute("SELECT first_content, whole FROM latency_hist WHERE res = ? AND dim = ?", (res, dim)).fetchall()
            assert [count for count, _ in rollups.quantiles(found, ())] == [firsts, wholes], (dim, res)
    for res in (Res.HOUR, Res.DAY, Res.MONTH):
        errors = dict(connection.execute("SELECT class, SUM(n) FROM error_rollup WHERE res = ? GROUP BY class", (res,)).fetchall())
        assert errors == Counter(row[column["error"]] for row in rows if row[column["error"]])
    connection.close()


@pytest.mark.parametrize("name", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns", "Pacific/Apia"])
def test_a_zone_has_its_own_days(tmp_path: Path, name: str) -> None:
    """Over a year, and so over every change of its clocks."""
    connection = opened(tmp_path / "a.db")
    rollups.fix_zone(connection, name)
    rows, tries = generated(random.Random(5), 400, days=365)
    apply(connection, rows, tries, 50)
    zone = ZoneInfo(name)
    wanted = Counter[Any]()
    months = Counter[Any]()
    for row in rows:
        local = datetime.fromtimestamp(row[GENERATION_COLUMNS.index("settled_at_ms")] / 1000, zone).date()
        wanted[day_number(local) * DAY_MS] += 1
        months[day_number(local.replace(day=1)) * DAY_MS] += 1
    for res, expected in ((Res.ZONE_DAY, wanted), (Res.ZONE_MONTH, months)):
        statement = "SELECT start_ms, SUM(requests) FROM {} WHERE res = ? AND dim = ? GROUP BY start_ms"
        for table, dim in (("usage_rollup", Dim.TOTAL), ("usage_rollup", Dim.PLACE), ("usage_pair", Dim.KEY)):
            assert dict(connection.execute(statement.format(table), (res, dim)).fetchall()) == expected, (table, res)
        firsts = sum(bool(row[GENERATION_COLUMNS.index("streamed")] and row[GENERATION_COLUMNS.index("content_us")]) for row in rows)
        found = connection.execute("SELECT first_content, whole FROM latency_hist WHERE res = ? AND dim = 1", (res,)).fetchall()
        assert rollups.quantiles(found, ())[0][0] == firsts
    assert len(wanted) > 200 and connection.execute("SELECT COUNT(*) FROM usage_rollup WHERE res = 3").fetchone()[0]
    report = usage.report(connection, usage.Asked(("day",), 0, 2**31), NOW_MS)
    assert report["zone"] == name and [row["requests"] for row in report["data"]] == [count for _, count in sorted(wanted.items())]
    assert sum(row["requests"] for row in usage.report(connection, usage.Asked(("key", "model"), 0, 2**31), NOW_MS)["data"]) == 400
    utc = usage.report(connection, usage.Asked(("day",), 0, 2**31, zone="UTC"), NOW_MS)
    assert utc["zone"] == "UTC" and utc["total"] == report["total"]
    connection.close()


def test_the_zone_is_fixed_when_the_database_is_made(tmp_path: Path) -> None:
    connection = opened(tmp_path / "a.db")
    apply(connection, [generation(1)], [], 1)
    with pytest.raises(rollups.ZoneIsFixed, match=r"storage\.reporting_zone is Europe/Berlin, but this database was made with UTC"):
        rollups.fix_zone(connection, "Europe/Berlin")
    rollups.fix_zone(connection, "UTC")
    connection.close()


def dump(connection: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """The rollups with names in place of numbers, which depend on the order of things."""
    places = {id: rest for id, *rest in connection.execute("SELECT id, model, provider, endpoint_id FROM usage_places")} | {0: []}
    names = {id: rest for id, *rest in connection.execute("SELECT id, name, part FROM usage_names")}
    shown: dict[str, list[tuple[Any, ...]]] = {}
    for table in ROLLUPS:
        cursor = connection.execute(f"SELECT * FROM {table}")
        columns = [description[0] for description in cursor.description]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor]
        for row in rows:
            if "val" in row:
                row["val"] = str(
                    (places if row["dim"] == Dim.PLACE else names if row["dim"] in rollups.KINDS else {}).get(row["val"], row["val"])
                )
            if "place_id" in row:
                row["place_id"] = str(places[row["place_id"]])
        shown[table] = sorted(tuple(row.values()) for row in rows)
    return shown


def test_the_batches_do_not_matter_and_a_database_without_rollups_gets_the_same(tmp_path: Path) -> None:
    rows, tries = generated(random.Random(7), 200, days=20)
    states = []
    for size in (1, 7, 500):
        connection = opened(tmp_path / f"{size}.db")
        apply(connection, rows, tries, size)
        # Read again, all at once.
        apply(connection, rows, tries, 500)
        shadow = generation(1, model="acme/copy", provider="two", flags=128, charged_nanousd=0, upstream_cost_nanousd=7, **at(rows[0]))
        queries.endpoint_id(connection, "acme/copy", "two", "x", "")
        copy = FakeBatch([], [attempt(1, 64, flags=128, provider="two", upstream_cost_nanousd=7, endpoint_id=1)], shadows=[shadow])
        for _ in range(2):
            fold = Fold()
            drain.apply(connection, copy, fold)
            fold.store(connection)
        # Windows that are gone depend on when they were taken away.
        rollups._prune(connection, NOW_MS + DAY_MS)
        states.append(dump(connection))
        for table in ROLLUPS:
            connection.execute(f"DELETE FROM {table}")
        connection.execute("DELETE FROM meta WHERE name LIKE 'rollups%'")
        connection.close()
        connection = opened(tmp_path / f"{size}.db")
        connection.execute("DELETE FROM meta WHERE name = 'rollups_pruned'")
        rollups._prune(connection, NOW_MS + DAY_MS)
        states.append(dump(connection))
        connection.close()
    assert states[0]["usage_pair"] and all(state == states[0] for state in states)


def at(row: tuple[Any, ...]) -> dict[str, Any]:
    return {name: row[GENERATION_COLUMNS.index(name)] for name in ("key_id", "team_id", "user_id", "settled_at_ms", "referer", "title")}


def test_a_build_that_is_cut_is_made_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = opened(tmp_path / "a.db")
    apply(connection, *generated(random.Random(3), 50), 50)
    before = dump(connection)
    for table in ROLLUPS:
        connection.execute(f"DELETE FROM {table}")
    connection.execute("DELETE FROM meta WHERE name LIKE 'rollups%'")
    monkeypatch.setattr(rollups, "REBUILD_ROWS", 20)
    plain, calls = queries.attempts_between, 0

    def cut(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise sqlite3.OperationalError("database or disk is full")
        return plain(*arguments)

    monkeypatch.setattr(queries, "attempts_between", cut)
    with pytest.raises(sqlite3.OperationalError):
        Database(tmp_path / "a.db")
    assert not any(dump(connection).values())
    Database(tmp_path / "a.db").close()
    assert dump(connection) == before
    connection.close()


def test_windows_go_when_they_are_old_and_days_stay(tmp_path: Path) -> None:
    connection = opened(tmp_path / "a.db")
    for number, age_days in enumerate([0, 2, 4, 34, 36, 399, 402, 800], 1):
        apply(connection, [generation(number, settled_at_ms=NOW_MS - age_days * DAY_MS)], [], 1)
    apply(connection, [generation(99, settled_at_ms=NOW_MS + rollups.QUARTER_MS)], [], 1)
    counts = dict(connection.execute("SELECT res, SUM(requests) FROM usage_rollup WHERE dim = 0 GROUP BY res").fetchall())
    assert counts == {Res.MINUTE: 3, Res.QUARTER: 5, Res.HOUR: 7, Res.DAY: 9, Res.MONTH: 9}
    for res, count in ((Res.HOUR, 7), (Res.DAY, 9), (Res.MONTH, 9)):
        found = connection.execute("SELECT first_content, whole FROM latency_hist WHERE res = ? AND dim = 1", (res,)).fetchall()
        assert rollups.quantiles(found, ())[1][0] == count
    connection.close()


def test_apps_that_callers_invent_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MOST_NAMES", 3)
    connection = opened(tmp_path / "a.db")
    for number in range(1, 9):
        apply(connection, [generation(number, title=f"app {number}")], [], 1)
    apply(connection, [generation(9, title="app 1")], [], 1)
    statement = "SELECT name, requests FROM usage_rollup JOIN usage_names ON id = val WHERE res = 3 AND dim = 5"
    assert dict(connection.execute(statement).fetchall()) == {"app 1": 2, "app 2": 1, "app 3": 1, "(others)": 5}
    connection.close()


def test_the_endpoint_is_the_one_that_answered(tmp_path: Path) -> None:
    connection = opened(tmp_path / "a.db")
    tries = [
        attempt(1, 0, error="timeout", endpoint_id=1),
        attempt(1, 1, endpoint_id=2),
        attempt(1, 2, error="overtaken", endpoint_id=3),
        attempt(2, 0, error="timeout", endpoint_id=4),
        attempt(2, 1, error="provider_status", endpoint_id=5),
        attempt(3, 0, provider="two", endpoint_id=6),
    ]
    apply(connection, [generation(1), generation(2, outcome="failed", error="provider_status"), generation(3)], tries, 3)
    statement = "SELECT endpoint_id, requests, retried FROM usage_rollup JOIN usage_places ON id = val WHERE res = 3 AND dim = 1 ORDER BY 1"
    assert connection.execute(statement).fetchall() == [(0, 1, 0), (2, 1, 1), (5, 1, 1)]
    connection.close()


def test_spans_are_every_day_once(tmp_path: Path) -> None:
    chance = random.Random(1)
    for _ in range(200):
        first = chance.randint(0, 22_000)
        last = first + chance.randint(1, 900)
        reached = first * DAY_MS
        for res, start, end in rollups.spans(first * DAY_MS, last * DAY_MS, rollups.END_OF_TIME_MS):
            assert start == reached < end
            assert res == Res.DAY or (rollups.month_start(start), rollups.month_start(end)) == (start, end)
            assert res == Res.MONTH or end - start < 62 * DAY_MS
            reached = end
        assert reached == last * DAY_MS
    assert rollups.spans(0, 2**31 * DAY_MS, rollups.END_OF_TIME_MS)[0][:2] == (Res.MONTH, 0)
