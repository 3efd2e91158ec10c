"""SQL of latencies and errors in the rollups. As `queries`: inside the caller's transaction."""

import sqlite3
from collections.abc import Iterator

from fairlead.control.db.queries import ARM_SUMS, ArmRow, Span


def accounts(connection: sqlite3.Connection) -> list[int]:
    """Every account there ever was."""
    return [int(row[0]) for row in connection.execute("SELECT id FROM accounts ORDER BY id")]


def latencies(connection: sqlite3.Connection, account: int, metric: int, span: Span) -> Iterator[tuple[int, int, int]]:
    """Place, bin and count of a time; in months the place is 0."""
    return connection.execute(
        "SELECT place_id, bin, SUM(n) FROM latency_hist WHERE account_id = ? AND res = ? AND metric = ? AND start_ms >= ? AND start_ms < ?"
        " GROUP BY place_id, bin",
        (account, span[0], metric, span[1], span[2]),
    )


def errors(connection: sqlite3.Connection, account: int, span: Span) -> Iterator[tuple[int, str, int]]:
    """Place, class and count of a time."""
    return connection.execute(
        "SELECT place_id, class, SUM(n) FROM error_rollup WHERE account_id = ? AND res = ? AND start_ms >= ? AND start_ms < ?"
        " GROUP BY place_id, class",
        (account, span[0], span[1], span[2]),
    )


def arms(connection: sqlite3.Connection, account: int | None) -> list[ArmRow]:
    """Sums of every arm of every split since ever, of an account or of all."""
    sums = ", ".join(f"SUM({name})" for name in ARM_SUMS)
    where, values = ("", ()) if account is None else (" AND account_id = ?", (account,))
    statement = f"SELECT name, arm, {sums} FROM arm_days WHERE kind = 'split'{where} GROUP BY name, arm"  # noqa: S608
    return [ArmRow(*row) for row in connection.execute(statement, values)]
