"""Checks the books: that the rows agree with each other, with the sums beside them and with the journal.

Everything is read in one view of the database and nothing is written, so it runs beside a server as well as without one. A check is a
function from the `Books` to the `Finding`s that it makes; `CHECKS` has them all, and a new kind of account (credit entries, say: a
balance is the sum of its entries less what was charged) gets a check of its own there.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from fairlead.control.db import migrate, queries, retention, rollups
from fairlead.control.db.queries import GENERATION_COLUMNS, SHADOW_FLAG, Dim, Res
from fairlead.control.db.rollups import Fold
from fairlead.control.engine import OpenReader

# So many ids are named of what is wrong in the same way; all are counted.
MOST_NAMED = 20
# Settlements read of the journal at a time.
BATCH_RECORDS = 1000
SEGMENT_HEADER_BYTES = 64
OUTCOMES = ("completed", "cancelled", "failed", "recovered", "void")


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong."""

    check: str
    """The check that found it."""
    problem: str
    """What is wrong, and where it is one thing, its figures."""
    ids: list[str] = []
    """Whom it is about, the first ones where there are many: generations, accounts, keys, windows, chains."""
    count: int = 1
    """How many."""


class Report(msgspec.Struct, frozen=True):
    """What came of all checks."""

    checks: list[str]
    """Those that were made."""
    generations: int
    """Rows that were looked at."""
    charged_nanousd: int
    upstream_cost_nanousd: int
    findings: list[Finding]


class Books(NamedTuple):
    """What is checked."""

    connection: sqlite3.Connection
    """In a transaction: one view throughout."""
    journal: Path
    open_reader: OpenReader


Check = Callable[[Books], Iterator[Finding]]


def verify(books: Books) -> Report:
    """Makes every check."""
    findings = [finding for check in CHECKS.values() for finding in check(books)]
    count, charged, cost = books.connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(charged_nanousd), 0), COALESCE(SUM(upstream_cost_nanousd), 0) FROM generations"
    ).fetchone()
    return Report(list(CHECKS), count, charged, cost, findings)


def _found(check: str, problem: str, ids: Sequence[Any]) -> Iterator[Finding]:
    """One finding about all of these, none about nobody."""
    if ids:
        yield Finding(check, problem, [str(id) for id in ids[:MOST_NAMED]], len(ids))


def _ids(books: Books, statement: str, *values: Any) -> list[str]:
    return [str(row[0]) for row in books.connection.execute(statement, values)]


# --- rows -----------------------------------------------------------------------------------------------------------------


def _terminals(books: Books) -> Iterator[Finding]:
    """Every generation has one terminal that can be one, and nothing stands beside it that has none."""
    marks = ", ".join("?" * len(OUTCOMES))
    wrong = _ids(books, f"SELECT id FROM generations WHERE outcome NOT IN ({marks})", *OUTCOMES)  # noqa: S608
    yield from _found("terminals", "the outcome is none that there is", wrong)
    negative = _ids(books, "SELECT id FROM generations WHERE reserved_nanousd < 0 OR charged_nanousd < 0")
    yield from _found("terminals", "what was reserved or charged is negative", negative)
    void = _ids(books, "SELECT id FROM generations WHERE outcome = 'void' AND charged_nanousd <> 0")
    yield from _found("terminals", "it is void, and was charged", void)
    again = _ids(books, "SELECT id FROM generations GROUP BY id HAVING COUNT(*) > 1")
    yield from _found("terminals", "it has more than one terminal", again)


def _attempts(books: Books) -> Iterator[Finding]:
    """A generation cost what its attempts cost. A reply from the response cache has none; a shadow's attempts are nobody's, and may come
    before the generation."""
    statement = """SELECT id FROM generations
        LEFT JOIN (SELECT generation_id, SUM(upstream_cost_nanousd) AS cost, COUNT(*) AS n FROM attempts WHERE flags & ?1 = 0
                   GROUP BY generation_id) AS tried ON tried.generation_id = generations.id
        WHERE COALESCE(tried.cost, 0) <> upstream_cost_nanousd OR (tried.n IS NULL) <> (response_cache_source_id <> '') ORDER BY id"""
    yield from _found("attempts", "its attempts do not add up to its upstream_cost", _ids(books, statement, SHADOW_FLAG))
    for table, condition in (("attempts", f"flags & {SHADOW_FLAG} = 0"), ("translation_losses", "1")):
        statement = (
            f"SELECT DISTINCT generation_id FROM {table} WHERE {condition}"  # noqa: S608
            " AND generation_id NOT IN (SELECT id FROM generations)"
        )
        yield from _found("attempts", f"rows of {table} belong to no generation", _ids(books, statement))


# --- sums -----------------------------------------------------------------------------------------------------------------


def _totals(books: Books) -> Iterator[Finding]:
    """What accounts and keys have used in all: the sums of the rows, with what those had come to that are gone, are those that are kept."""
    names = ["requests", "charged_nanousd", "upstream_cost_nanousd"]
    if _ids(books, _UNOWNED_SHADOWS, SHADOW_FLAG):
        # One whose generation still runs has a cost, and nobody to whom it could be counted here.
        names.pop()
    shadows = dict[tuple[int, int], int]()
    for account, key, cost in books.connection.execute(
        "SELECT account_id, key_id, SUM(attempts.upstream_cost_nanousd) FROM attempts JOIN generations ON id = generation_id"
        " WHERE attempts.flags & ? <> 0 GROUP BY account_id, key_id",
        (SHADOW_FLAG,),
    ):
        shadows[account, key] = cost
    rows: dict[tuple[int, int], tuple[int, ...]] = {
        (account, key): (count, charged, cost + shadows.get((account, key), 0))
        for account, key, count, charged, cost in books.connection.execute(
            "SELECT account_id, key_id, COUNT(*), SUM(charged_nanousd), SUM(upstream_cost_nanousd) FROM generations"
            " GROUP BY account_id, key_id"
        )
    }
    for place, gone in retention.removed(books.connection).items():
        rows[place] = tuple(map(sum, zip(rows.get(place, (0, 0, 0)), gone, strict=True)))
    accounts: dict[int, tuple[int, ...]] = {}
    for (account, _), sums in rows.items():
        accounts[account] = tuple(map(sum, zip(accounts.get(account, (0, 0, 0)), sums, strict=True)))
    kept = "SELECT account_id, val, SUM(requests), SUM(charged_nanousd), SUM(upstream_cost_nanousd) FROM usage_rollup"
    for res, window in ((Res.DAY, "days"), (Res.MONTH, "months")):
        for dim, expected in ((Dim.KEY, rows), (Dim.TOTAL, {(account, 0): sums for account, sums in accounts.items()})):
            statement = f"{kept} WHERE res = ? AND dim = ? GROUP BY account_id, val"
            found = {(account, val): tuple(sums) for account, val, *sums in books.connection.execute(statement, (res, dim))}
            for place in sorted(expected.keys() | found.keys()):
                figures = zip(names, expected.get(place, (0, 0, 0)), found.get(place, (0, 0, 0)), strict=False)
                wrong = ", ".join(f"{name} {row}, kept {sum}" for name, row, sum in figures if row != sum)
                if wrong:
                    who = f"account {place[0]}" + (f" key {place[1]}" if dim == Dim.KEY else "")
                    yield Finding("totals", f"the sums of {window} are not those of the rows: {wrong}", [who])


_UNOWNED_SHADOWS = "SELECT generation_id FROM attempts WHERE flags & ? <> 0 AND generation_id NOT IN (SELECT id FROM generations) LIMIT 1"


def _rollups(books: Books) -> Iterator[Finding]:
    """Every window of every resolution and dimension that has all its rows: they are folded again and compared."""
    scratch = sqlite3.connect("", isolation_level=None)
    try:
        migrate.forward(scratch, Path("scratch"))
        scratch.execute("BEGIN")
        _fold_again(books.connection, scratch, retention.rows_from_ms(books.connection))
        for table in _TABLES:
            yield from _compared(books.connection, scratch, table)
    finally:
        scratch.close()


_SETTLED = GENERATION_COLUMNS.index("settled_at_ms")


def _fold_again(connection: sqlite3.Connection, scratch: sqlite3.Connection, from_ms: int) -> None:
    """Into the scratch database, what was settled from a moment on."""
    accounts = connection.execute("SELECT id, name FROM accounts")
    scratch.executemany("INSERT OR IGNORE INTO accounts (id, name, created_at_ms) VALUES (?, ?, 0)", accounts)
    after, zone = "", rollups.zone(connection)
    while rows := queries.generations_after(connection, after, rollups.REBUILD_ROWS):
        after = rows[-1][0]
        attempts = queries.attempts_between(connection, rows[0][0], after)
        fold = Fold(zone)
        fold.take([row for row in rows if row[_SETTLED] >= from_ms], attempts)
        fold.store(scratch)


_PLACE_OF = "(SELECT model || ' at ' || provider || '/' || endpoint_id FROM usage_places WHERE id = {0})"
_NAME_OF = "(SELECT name || '/' || part FROM usage_names WHERE id = val)"


class _Table(NamedTuple):
    """What is compared of a table, in words that do not depend on the numbers which places and names were given."""

    name: str
    where: str
    place: tuple[str, ...]
    sums: tuple[str, ...]


# What shadows brought is summed in the window in which they ended, which no row has. Where there are any, `totals` compares their cost.
_OF_SHADOWS = frozenset({"upstream_cost_nanousd"})
_VAL = (
    f"CASE WHEN dim = {Dim.PLACE} THEN {_PLACE_OF.format('val')}"
    f" WHEN dim IN ({', '.join(map(str, rollups.KINDS))}) THEN {_NAME_OF} ELSE val END"
)
_NO_SHADOWS = f"dim <> {Dim.SHADOW}"
_TABLES = (
    _Table("usage_rollup", _NO_SHADOWS, ("account_id", "res", "dim", "start_ms", _VAL), queries.ROLLUP_SUMS),
    _Table("usage_pair", "1", ("account_id", "res", "dim", "start_ms", _VAL, _PLACE_OF.format("place_id")), queries.ROLLUP_SUMS),
    _Table("latency_hist", _NO_SHADOWS, ("account_id", "res", "dim", "start_ms", _VAL), ("first_content", "whole")),
    _Table("error_rollup", "1", ("account_id", "res", "start_ms", _PLACE_OF.format("place_id"), "class"), ("n",)),
)


def _compared(connection: sqlite3.Connection, scratch: sqlite3.Connection, table: _Table) -> Iterator[Finding]:
    """The windows that differ, of those that are kept and have all their rows."""
    has_shadows = connection.execute("SELECT EXISTS (SELECT 1 FROM attempts WHERE flags & ? <> 0)", (SHADOW_FLAG,)).fetchone()[0]
    sums = tuple(name for name in table.sums if name not in _OF_SHADOWS) if has_shadows else table.sums
    where = table.where
    for dim, kind in rollups.KINDS.items():
        if "dim" in table.place and queries.count_usage_names(connection, kind) > rollups.MOST_NAMES:
            # Which came too late to be counted apart depends on when each came.
            where += f" AND dim <> {dim}"
    if "res" in table.place:
        pruned = int(queries.meta(connection, rollups.PRUNED) or 0)
        for res, kept_ms in rollups.KEPT_MS.items():
            where += f" AND NOT (res = {res} AND start_ms < {pruned - kept_ms})"
    if from_ms := retention.rows_from_ms(connection):
        # The days of a zone are numbered as if they were UTC's, and begin up to a day before.
        where += f" AND start_ms >= {from_ms} + (res >= {Res.ZONE_DAY}) * {queries.DAY_MS}"
    statement = f"SELECT {', '.join(table.place)}, {', '.join(sums)} FROM {table.name} WHERE {where}"  # noqa: S608
    places = len(table.place)

    def windows(source: sqlite3.Connection) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        return {row[:places]: row[places:] for row in source.execute(statement)}

    kept, folded = windows(connection), windows(scratch)
    zero = (0,) * len(sums)
    # The scratch numbers places and names in its own order, so what is compared is what they are called.
    wrong = [place for place in kept.keys() | folded.keys() if kept.get(place, zero) != folded.get(place, zero)]
    names = [name if name.isidentifier() else "of" for name in table.place]
    ids = sorted(" ".join(f"{name} {value}" for name, value in zip(names, place, strict=True)) for place in wrong)
    yield from _found("rollups", f"windows of {table.name} are not the sums of the rows", ids)


# --- journal --------------------------------------------------------------------------------------------------------------


def _journal_rows(books: Books, cursors: list[queries.Cursor], problems: list[str]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The settlements from cursors on, in the order of `GENERATION_COLUMNS`."""
    reader = books.open_reader(cursors)
    while True:
        batch = reader.read(BATCH_RECORDS)
        problems += batch.problems
        yield batch.generations
        if batch.caught_up:
            return


def _journal(books: Books) -> Iterator[Finding]:
    """The journal can be read from the cursors on, and what it still holds before them is in the rows as it says it."""
    cursors = queries.cursors(books.connection)
    yield from _cursors(books.journal, cursors)
    seen: set[str] = set()
    unknown: list[str] = []
    different: list[str] = []
    for rows in _journal_rows(books, [], []):
        fresh = [row for row in rows if row[0] not in seen]
        seen.update(row[0] for row in fresh)
        _compare(books.connection, list({row[0]: row for row in reversed(fresh)}.values()), unknown, different)
    # After that: a journal that is being written to has all of what was seen, and more.
    problems: list[str] = []
    beyond = {row[0] for rows in _journal_rows(books, cursors, problems) for row in rows}
    for problem in problems:
        yield Finding("journal", f"what is not in the database yet cannot all be read: {problem}")
    missing = [id for id in unknown if id not in beyond]
    yield from _found("journal", "the journal has settled it before the cursor, and it is not in the database", missing)
    yield from _found("journal", "the database has other amounts than the journal's first settlement", different)


def _compare(connection: sqlite3.Connection, rows: list[tuple[Any, ...]], unknown: list[str], different: list[str]) -> None:
    if not rows:
        return
    marks = ", ".join("?" * len(rows))
    statement = f"SELECT id, {', '.join(_AMOUNTS)} FROM generations WHERE id IN ({marks})"  # noqa: S608
    stored = {id: tuple(amounts) for id, *amounts in connection.execute(statement, [row[0] for row in rows])}
    from_ms = retention.rows_from_ms(connection)
    for row in rows:
        if row[0] not in stored:
            if row[_SETTLED] >= from_ms:
                unknown.append(row[0])
        elif stored[row[0]] != tuple(row[GENERATION_COLUMNS.index(name)] for name in _AMOUNTS):
            different.append(row[0])


_AMOUNTS = ("outcome", "account_id", "key_id", "settled_at_ms", "reserved_nanousd", "charged_nanousd", "upstream_cost_nanousd")


def _cursors(folder: Path, cursors: list[queries.Cursor]) -> Iterator[Finding]:
    """A cursor stands in a segment that there is, behind the last one, or in a chain that is gone."""
    segments: dict[tuple[int, int, int], dict[int, int]] = {}
    for path in folder.glob("*-*-*-*.segment"):
        epoch, node, worker, number = map(int, path.stem.split("-"))
        segments.setdefault((node, epoch, worker), {})[number] = path.stat().st_size
    for node, epoch, worker, segment, offset in cursors:
        chain = segments.get((node, epoch, worker))
        if not chain:
            continue
        who = [f"node {node} epoch {epoch} worker {worker}"]
        if segment > max(chain) + 1:
            yield Finding("journal", f"the cursor is in segment {segment}, the last one is {max(chain)}", who)
        elif not SEGMENT_HEADER_BYTES <= offset <= chain.get(segment, offset):
            yield Finding("journal", f"the cursor is at byte {offset} of segment {segment}, which has {chain.get(segment)}", who)


CHECKS: dict[str, Check] = {
    "terminals": _terminals,
    "attempts": _attempts,
    "totals": _totals,
    "rollups": _rollups,
    "journal": _journal,
}
"""Name → check, in the order in which they are made."""
