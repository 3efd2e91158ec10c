"""SQL of letting go of old rows (`storage.retention_days`). As `queries`: inside the caller's transaction.

Sums stay. What the rows that are gone had come to is kept by key, so that the books can still be checked: with those that are there it is
what was summed.
"""

import sqlite3

from fairlead.control.db import queries
from fairlead.control.db.queries import SHADOW_FLAG

_ROWS_FROM = "rows_from"
"""The name in `meta` of the moment from which on every row is there; before it, some may be."""

# The newest row of all stays: numbers of rows are given once, and whoever follows the newest ones counts on that.
_OLD = """FROM generations INDEXED BY generations_settled
    WHERE settled_at_ms < ? AND rowid < (SELECT MAX(rowid) FROM generations)"""

_OF_SHADOWS = f"(SELECT SUM(a.upstream_cost_nanousd) FROM attempts AS a WHERE a.generation_id = id AND a.flags & {SHADOW_FLAG})"  # noqa: S608
_ADD = f"""INSERT INTO removed_generations (account_id, key_id, requests, charged_nanousd, upstream_cost_nanousd)
    SELECT account_id, key_id, COUNT(*), SUM(charged_nanousd), SUM(upstream_cost_nanousd + COALESCE({_OF_SHADOWS}, 0))
    FROM generations WHERE id IN ({{0}}) GROUP BY account_id, key_id
    ON CONFLICT (account_id, key_id) DO UPDATE SET requests = requests + excluded.requests,
        charged_nanousd = charged_nanousd + excluded.charged_nanousd,
        upstream_cost_nanousd = upstream_cost_nanousd + excluded.upstream_cost_nanousd"""  # noqa: S608


def is_due(connection: sqlite3.Connection, before_ms: int) -> bool:
    """Whether there are rows that were settled before a moment."""
    return connection.execute(f"SELECT 1 {_OLD} LIMIT 1", (before_ms,)).fetchone() is not None


def remove(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    """Removes the oldest rows that were settled before a moment, the beginning of a UTC day, with their attempts and losses; how many."""
    rows = connection.execute(f"SELECT id {_OLD} ORDER BY settled_at_ms LIMIT ?", (before_ms, limit))
    ids = [str(row[0]) for row in rows]
    if not ids:
        return 0
    queries.set_meta(connection, _ROWS_FROM, str(max(before_ms, rows_from_ms(connection))))
    marks = ", ".join("?" * len(ids))
    connection.execute(_ADD.format(marks), ids)
    for table, id in (("attempts", "generation_id"), ("translation_losses", "generation_id"), ("generations", "id")):
        connection.execute(f"DELETE FROM {table} WHERE {id} IN ({marks})", ids)  # noqa: S608
    return len(ids)


def rows_from_ms(connection: sqlite3.Connection) -> int:
    """The moment (Unix milliseconds) from which on every row is there; 0 where none was removed."""
    return int(queries.meta(connection, _ROWS_FROM) or 0)


def removed(connection: sqlite3.Connection) -> dict[tuple[int, int], tuple[int, int, int]]:
    """Account and key → how many rows are gone, what they were charged, and what they cost, in nano-dollars."""
    rows = connection.execute("SELECT account_id, key_id, requests, charged_nanousd, upstream_cost_nanousd FROM removed_generations")
    return {(account, key): (requests, charged, cost) for account, key, requests, charged, cost in rows}
