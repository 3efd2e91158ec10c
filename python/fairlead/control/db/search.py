"""SQL of the search for generations: newest settled first, a page at a time. As `queries`: inside the caller's transaction.

What an index answers is read from it, however far back. What no index answers is looked for in windows of rows, for so long and no longer,
and the page says how far that came. `rowid`, which grows as rows are stored, orders those that were settled in the same millisecond.
"""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fairlead.control.db.queries import GENERATION_COLUMNS, MOST_INTEGER, Row

WINDOW_ROWS = 20_000
SEARCH_SECONDS = 0.2

Place = tuple[int, int]
"""When it was settled, and its `rowid`."""
FIRST: Place = (-1, -1)
LAST: Place = (MOST_INTEGER, MOST_INTEGER)

INDEXED: dict[str, tuple[str, str]] = {
    "session": ("generations_session", "session_id = ? AND session_id <> ''"),
    "end_user": ("generations_end_user", "end_user = ? AND end_user <> ''"),
    "retried": ("generations_retried", "retried = ? AND retried = 1"),
    "failed": ("generations_failed", "outcome = ? AND outcome = 'failed'"),
    "app": ("generations_app", "app = ? AND app <> ''"),
    "user": ("generations_user", "user_id = ? AND user_id <> 0"),
    "key": ("generations_key", "key_id = ?"),
    "team": ("generations_team", "team_id = ? AND team_id <> 0"),
    "model": ("generations_model", "model = ?"),
    "provider": ("generations_provider", "provider = ?"),
}
"""What has an index of its own → its name and the condition; those that leave the fewest rows come first. SQLite, which keeps no statistics
here, would choose by the number of conditions."""
OTHERS: dict[str, str] = {
    "account": "account_id = ?",
    "endpoint": "EXISTS (SELECT 1 FROM attempts WHERE generation_id = generations.id AND endpoint_id = ?)",
    "outcome": "outcome = ?",
    "status": "status = ?",
    "streamed": "streamed = ?",
    "error": "instr(error, ?) > 0",
    "least_nanousd": "charged_nanousd >= ?",
    "least_tokens": "prompt_tokens + cache_read_tokens + cache_write_tokens + cache_write_1h_tokens + completion_tokens >= ?",
    "least_ms": "total_us >= ? * 1000",
    "preset": "instr(',' || preset || ',', ',' || ? || ',') > 0",
    "split": "split = ?",
    # As sums have it, behind its split's name, or alone. Both may have slashes in them.
    "arm": "? IN (split || '/' || arm, arm)",
    "dialect": "dialect = ?",
    "requested_model": "requested_model = ?",
}
"""What has none → its condition."""
_COLUMNS = ", ".join(GENERATION_COLUMNS)
_ORDER = "ORDER BY settled_at_ms DESC, rowid DESC"


class Found(NamedTuple):
    """A page."""

    rows: list[Row]
    next: str | None
    """The generation after which the following page begins; None: there is none."""
    searched_to_ms: int | None
    """How far back the search came before its time was over; None: as far as the page needed."""


def place(connection: sqlite3.Connection, id: str) -> Place | None:
    """Where a generation stands in the order."""
    row = connection.execute("SELECT settled_at_ms, rowid FROM generations WHERE id = ?", (id,)).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def newest(connection: sqlite3.Connection) -> int:
    """The `rowid` of the row that was stored last; 0 when there is none."""
    return int(connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM generations").fetchone()[0])


def stored_after(connection: sqlite3.Connection, rowid: int, limit: int) -> tuple[list[tuple[int, Row]], int]:
    """Rows that were stored after one, the newest `limit` of them in the order in which they were, and how many there are in all."""
    count = newest(connection) - rowid
    rows = connection.execute(f"SELECT rowid, {_COLUMNS} FROM generations WHERE rowid > ? ORDER BY rowid DESC LIMIT ?", (rowid, limit))  # noqa: S608
    found = [(int(first), dict(zip(GENERATION_COLUMNS, rest, strict=True))) for first, *rest in rows]
    return found[::-1], max(count, len(found))


def apps(connection: sqlite3.Connection, of: str, id: int, account: int, from_ms: int, to_ms: int) -> set[str]:
    """The apps of the newest `WINDOW_ROWS` requests that a `team` or `user` of an account has had in a time."""
    index, condition = INDEXED[of]
    rows = connection.execute(
        f"SELECT DISTINCT app FROM (SELECT app FROM generations INDEXED BY {index} WHERE {condition} AND account_id = ?"  # noqa: S608
        f" AND settled_at_ms >= ? AND settled_at_ms < ? {_ORDER} LIMIT ?) WHERE app <> ''",
        (id, account, from_ms, to_ms, WINDOW_ROWS),
    )
    return {str(row[0]) for row in rows}


def page(
    connection: sqlite3.Connection,
    filters: Mapping[str, Any],
    limit: int,
    *,
    before: Place = LAST,
    after: Place = FIRST,
    first_ms: int = 0,
    end_ms: int = MOST_INTEGER,
    clock: Any = time.monotonic,
) -> Found:
    """Generations that all `filters` hold for (names of `INDEXED` and `OTHERS`), settled in a time and standing between two places."""
    driver = next((name for name in INDEXED if name in filters), None)
    index, condition = INDEXED[driver] if driver else ("generations_settled", "1 = 1")
    driving = [filters[driver]] if driver else []
    rest = {name: value for name, value in filters.items() if name != driver}
    residual = "".join(f" AND {INDEXED[name][1] if name in INDEXED else OTHERS[name]}" for name in rest)
    after = max(after, (first_ms - 1, MOST_INTEGER))
    before = min(before, (end_ms, -1))
    source = f"FROM generations INDEXED BY {index} WHERE {condition} AND settled_at_ms <= ? AND settled_at_ms >= ?"
    until, rows = clock() + SEARCH_SECONDS, list[Row]()
    while True:
        end = _window_end(connection, source, driving, before, after) if rest else None
        least = end or after
        statement = f"SELECT {_COLUMNS} {source} AND {_BELOW} AND {_FROM if end else _ABOVE}{residual} {_ORDER} LIMIT ?"
        values = (*driving, before[0], least[0], *_twice(before), *_twice(least), *rest.values(), limit - len(rows))
        found = connection.execute(statement, values).fetchall()
        rows += [dict(zip(GENERATION_COLUMNS, row, strict=True)) for row in found]
        if len(rows) >= limit:
            return Found(rows, rows[-1]["id"], None)
        if end is None:
            return Found(rows, None, None)
        before = end
        if clock() >= until:
            id = connection.execute("SELECT id FROM generations WHERE rowid = ?", (end[1],)).fetchone()[0]
            return Found(rows, str(id), end[0])


_BELOW = "(settled_at_ms < ? OR (settled_at_ms = ? AND rowid < ?))"
_ABOVE = "(settled_at_ms > ? OR (settled_at_ms = ? AND rowid > ?))"
_FROM = "(settled_at_ms > ? OR (settled_at_ms = ? AND rowid >= ?))"


def _twice(place: Place) -> Sequence[int]:
    return (place[0], place[0], place[1])


def _window_end(connection: sqlite3.Connection, source: str, driving: list[Any], before: Place, after: Place) -> Place | None:
    """The last row of the next window, read from the index alone; None when fewer than a window are left."""
    statement = f"SELECT settled_at_ms, rowid {source} AND {_BELOW} AND {_ABOVE} {_ORDER} LIMIT 1 OFFSET ?"
    values = (*driving, before[0], after[0], *_twice(before), *_twice(after), WINDOW_ROWS - 1)
    row = connection.execute(statement, values).fetchone()
    return None if row is None else (int(row[0]), int(row[1]))


def model_of_endpoint(connection: sqlite3.Connection, endpoint: int) -> str:
    """The model that an endpoint serves; empty for one that there never was."""
    row = connection.execute("SELECT model FROM endpoints WHERE id = ?", (endpoint,)).fetchone()
    return "" if row is None else str(row[0])


def mark_retried(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Marks generations of which another attempt followed one that failed."""
    connection.executemany("UPDATE generations SET retried = 1 WHERE id = ?", [(id,) for id in ids])
