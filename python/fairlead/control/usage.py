"""`GET /admin/usage`: exact sums by key, model and provider over whole UTC days."""

import sqlite3
from datetime import date
from typing import Any

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import UsageRow
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.replies import invalid, reply
from fairlead.control.windows import day_number

FIRST_DAY, LAST_DAY = 0, 2**31
_SUMS = tuple(name for name in UsageRow.__struct_fields__ if name not in ("key_id", "model", "provider"))


async def show(call: Call) -> Response:
    """`from` and `to` are dates, both included; absent: since ever, until now."""
    first, last = _day(call.query("from"), FIRST_DAY), _day(call.query("to"), LAST_DAY)
    await call.caught_up()
    return reply(await call.desk.database.read(lambda connection: report(connection, first, last)))


def report(connection: sqlite3.Connection, first_day: int, last_day: int) -> dict[str, Any]:
    """Rows and their total; money as decimal strings of dollars."""
    rows = queries.usage_rows(connection, first_day, last_day)
    labels = queries.key_labels(connection)
    return {"data": [_row(row, labels) for row in rows], "total": _shown({name: sum(getattr(row, name) for row in rows) for name in _SUMS})}


def _row(row: UsageRow, labels: dict[int, tuple[str, str]]) -> dict[str, Any]:
    name, label = labels.get(row.key_id, ("", ""))
    place = {"key_id": row.key_id, "key_name": name, "key_label": label, "model": row.model, "provider": row.provider}
    return place | _shown({sum_name: getattr(row, sum_name) for sum_name in _SUMS})


def _shown(sums: dict[str, int]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in sums.items():
        if name.endswith("_nanousd"):
            shown[name.removesuffix("_nanousd") + "_usd"] = usd(value)
        else:
            shown[name] = value
    return shown


def _day(text: str | None, absent: int) -> int:
    if text is None:
        return absent
    try:
        return day_number(date.fromisoformat(text))
    except ValueError:
        raise invalid(f"a date such as 2026-11-20 is expected, got {text[:40]!r}") from None
