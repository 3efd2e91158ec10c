"""SQL of what end users with limits of their own have spent. As `queries`: inside the caller's transaction."""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fairlead.control.db.queries import DAY_MS

KEPT_DAYS = 40
"""Longer than a month, the longest interval of their budgets."""

_ADD = """INSERT INTO end_user_days (day, end_user_id, charged_nanousd) VALUES (?, ?, ?)
    ON CONFLICT (day, end_user_id) DO UPDATE SET charged_nanousd = charged_nanousd + excluded.charged_nanousd"""


class Spent(NamedTuple):
    """What one of them was charged, in nano-dollars."""

    day: int
    week: int
    month: int


def add(connection: sqlite3.Connection, charges: Iterable[tuple[int, int, int]]) -> None:
    """Adds charges: end user, moment of the settlement (Unix milliseconds), nano-dollars."""
    sums = Counter[tuple[int, int]]()
    for end_user, settled_at_ms, charged in charges:
        sums[settled_at_ms // DAY_MS, end_user] += charged
    connection.executemany(_ADD, [(day, end_user, charged) for (day, end_user), charged in sums.items()])


def spent(connection: sqlite3.Connection, starts: Sequence[int]) -> dict[int, Spent]:
    """Of each that was charged anything since the earliest of the three days at which day, week and month began: the sums since each."""
    rows = connection.execute(
        "SELECT end_user_id, SUM((day >= ?) * charged_nanousd), SUM((day >= ?) * charged_nanousd), SUM((day >= ?) * charged_nanousd)"
        " FROM end_user_days WHERE day >= ? GROUP BY end_user_id",
        (*starts, min(starts)),
    )
    return {id: Spent(day, week, month) for id, day, week, month in rows}


def is_due(connection: sqlite3.Connection, now_ms: int) -> bool:
    """Whether there is anything to `forget`."""
    return connection.execute("SELECT 1 FROM end_user_days WHERE day < ? LIMIT 1", (now_ms // DAY_MS - KEPT_DAYS,)).fetchone() is not None


def forget(connection: sqlite3.Connection, now_ms: int) -> None:
    """Removes days that no budget counts any more."""
    connection.execute("DELETE FROM end_user_days WHERE day < ?", (now_ms // DAY_MS - KEPT_DAYS,))
