"""SQL of errors and arms in the rollups. As `queries`: inside the caller's transaction."""

import sqlite3
from collections.abc import Iterator

from fairlead.control.db.queries import Dim, Res, Span


def accounts(connection: sqlite3.Connection) -> list[int]:
    """Every account there ever was."""
    return [int(row[0]) for row in connection.execute("SELECT id FROM accounts ORDER BY id")]


def errors(connection: sqlite3.Connection, account: int, span: Span) -> Iterator[tuple[int, str, int]]:
    """Place, class and count of a time."""
    return connection.execute(
        "SELECT place_id, class, SUM(n) FROM error_rollup WHERE account_id = ? AND res = ? AND start_ms >= ? AND start_ms < ?"
        " GROUP BY place_id, class",
        (account, span[0], span[1], span[2]),
    )


def arms(connection: sqlite3.Connection, account: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, requests, failed ones and charged nano-dollars of every arm of every split since ever."""
    return connection.execute(
        "SELECT val, SUM(requests), SUM(failed), SUM(charged_nanousd) FROM usage_rollup WHERE account_id = ? AND res = ? AND dim = ?"
        " GROUP BY val",
        (account, Res.MONTH, Dim.ARM),
    )
