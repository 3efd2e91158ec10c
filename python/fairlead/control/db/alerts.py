"""SQL of alerts: those that were raised, and where they still have to go. As `queries`: inside the caller's transaction."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fairlead.control.db import queries
from fairlead.control.db.queries import DAY_MS, Dim, Res, Row


class Delivery(NamedTuple):
    """An alert that has to go somewhere."""

    alert_id: int
    channel: str
    attempts: int
    """Those that failed."""
    at_ms: int
    content: str


def known_subjects(connection: sqlite3.Connection, subjects: Sequence[str]) -> set[str]:
    """Which of these alerts were raised before."""
    marks = ", ".join("?" * len(subjects))
    rows = connection.execute(f"SELECT subject FROM alerts WHERE subject IN ({marks})", tuple(subjects))  # noqa: S608
    return {str(row[0]) for row in rows}


def add(connection: sqlite3.Connection, subject: str, at_ms: int, content: str, channels: Iterable[str]) -> None:
    """Stores an alert, and that it has to go to these channels, now."""
    row = connection.execute(
        "INSERT INTO alerts (subject, at_ms, content) VALUES (?, ?, ?) RETURNING id", (subject, at_ms, content)
    ).fetchall()[0]
    statement = "INSERT INTO alert_deliveries (alert_id, channel, attempts, next_at_ms) VALUES (?, ?, 0, ?)"
    connection.executemany(statement, [(row[0], channel, at_ms) for channel in channels])


def due(connection: sqlite3.Connection, now_ms: int, limit: int) -> list[Delivery]:
    """What has to go out now, the oldest first."""
    rows = connection.execute(
        "SELECT alert_id, channel, attempts, at_ms, content FROM alert_deliveries JOIN alerts ON alerts.id = alert_id"
        " WHERE done_at_ms IS NULL AND next_at_ms <= ? ORDER BY alert_id, channel LIMIT ?",
        (now_ms, limit),
    )
    return [Delivery(*row) for row in rows]


def note_done(connection: sqlite3.Connection, delivery: Delivery, now_ms: int) -> None:
    """It was delivered, or given up."""
    statement = "UPDATE alert_deliveries SET done_at_ms = ? WHERE alert_id = ? AND channel = ?"
    connection.execute(statement, (now_ms, delivery.alert_id, delivery.channel))


def note_failed(connection: sqlite3.Connection, delivery: Delivery, next_at_ms: int) -> None:
    """It failed once more and is tried again then."""
    statement = "UPDATE alert_deliveries SET attempts = attempts + 1, next_at_ms = ? WHERE alert_id = ? AND channel = ?"
    connection.execute(statement, (next_at_ms, delivery.alert_id, delivery.channel))


def newest_grants(connection: sqlite3.Connection) -> dict[int, int]:
    """Account → its newest entry that gave it credit."""
    rows = connection.execute("SELECT account_id, MAX(id) FROM credit_entries WHERE amount_nanousd > 0 GROUP BY account_id")
    return {int(account): int(id) for account, id in rows}


def charged_between(connection: sqlite3.Connection, first_ms: int, end_ms: int) -> dict[int, int]:
    """Account → what it was charged in whole UTC days, in nano-dollars."""
    rows = connection.execute(
        "SELECT account_id, SUM(charged_nanousd) FROM accounts CROSS JOIN usage_rollup ON usage_rollup.account_id = accounts.id"
        " WHERE res = ? AND dim = ? AND start_ms >= ? AND start_ms < ? GROUP BY account_id",
        (Res.DAY, Dim.TOTAL, first_ms - first_ms % DAY_MS, end_ms),
    )
    return {int(account): int(amount) for account, amount in rows}


def history(connection: sqlite3.Connection, before: int | None, limit: int) -> list[Row]:
    """The newest alerts below an id, with their deliveries: channel, failed attempts, when it was done."""
    where, values = ("", ()) if before is None else (" WHERE id < ?", (before,))
    rows = connection.execute(f"SELECT id, at_ms, content FROM alerts{where} ORDER BY id DESC LIMIT ?", (*values, limit)).fetchall()  # noqa: S608
    deliveries = "SELECT channel, attempts, done_at_ms FROM alert_deliveries WHERE alert_id = ? ORDER BY channel"
    return [
        {"id": id, "at_ms": at_ms, "content": content, "deliveries": connection.execute(deliveries, (id,)).fetchall()}
        for id, at_ms, content in rows
    ]


SILENCED = "alerts_silenced_until_ms"


def silenced_until(connection: sqlite3.Connection) -> int:
    """Until when nothing is sent, in Unix milliseconds; 0: it is sent."""
    return int(queries.meta(connection, SILENCED) or 0)


def set_silenced(connection: sqlite3.Connection, until_ms: int) -> None:
    """Sends nothing until then."""
    queries.set_meta(connection, SILENCED, str(until_ms))
