"""`GET /admin/usage`: exact sums over whole UTC days, by key, model and provider; by day; by app; by the arms of splits, or by shadows."""

import sqlite3
from datetime import date
from typing import Any

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import DAY_MS, USAGE_SUMS, ArmRow, UsageRow
from fairlead.control.db.rollups import END_OF_TIME_MS, spans
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.replies import invalid, reply
from fairlead.control.windows import day_number, day_of

ARMS = {"split": ("split", "arm"), "shadow": ("model", "shadow")}
"""What `by` may be → what its rows are named by."""
WINDOWS = ("day", "app")
"""Further ones, of all keys together."""
FIRST_DAY, LAST_DAY = 0, 2**31


async def show(call: Call) -> Response:
    """`from` and `to` are dates, both included; absent: since ever, until now. `by=day` and `by=app`: sums of all keys together;
    `by=split` and `by=shadow`: what came of each arm."""
    by = call.query("by")
    if by is not None and by not in (*WINDOWS, *ARMS):
        allowed = ", ".join((*WINDOWS, *ARMS))
        raise invalid(f"by: one of {allowed} is expected, got {by[:40]!r}; without it the sums are by key, model and provider")
    first, last = _day(call.query("from"), FIRST_DAY), _day(call.query("to"), LAST_DAY)
    await call.caught_up()
    if by is None:
        return reply(await call.desk.database.read(lambda connection: report(connection, first, last)))
    if by in WINDOWS:
        return reply(await call.desk.database.read(lambda connection: report_windows(connection, by, first, last)))
    return reply(await call.desk.database.read(lambda connection: report_arms(connection, by, first, last)))


def report(connection: sqlite3.Connection, first_day: int, last_day: int) -> dict[str, Any]:
    """Rows and their total; money as decimal strings of dollars."""
    rows = queries.usage_rows(connection, spans(first_day * DAY_MS, (last_day + 1) * DAY_MS))
    labels = queries.key_labels(connection)
    return {
        "data": [_row(row, labels) for row in rows],
        "total": _shown({name: sum(getattr(row, name) for row in rows) for name in USAGE_SUMS}),
    }


def report_windows(connection: sqlite3.Connection, by: str, first_day: int, last_day: int) -> dict[str, Any]:
    """A row for each day on which there was anything, oldest first; or for each app, the dearest first, then one for calls without."""
    rows: list[dict[str, Any]]
    if by == "day":
        found = queries.usage_by_day(connection, first_day * DAY_MS, min((last_day + 1) * DAY_MS, END_OF_TIME_MS))
        rows = [{"day": day_of(start_ms // DAY_MS).isoformat()} | sums for start_ms, sums in found]
    else:
        rows = [{"app": app} | sums for app, sums in queries.usage_by_app(connection, spans(first_day * DAY_MS, (last_day + 1) * DAY_MS))]
    total = {name: sum(row[name] for row in rows) for name in USAGE_SUMS}
    return {"data": [_shown(row) for row in rows], "total": _shown(total)}


def report_arms(connection: sqlite3.Connection, by: str, first_day: int, last_day: int) -> dict[str, Any]:
    """A row for each arm of a split, or each model's shadow at another. Times are means in milliseconds, null where none is known."""
    name, arm = ARMS[by]
    rows = queries.arm_rows(connection, by, first_day, last_day)
    return {"data": [{name: row.name, arm: row.arm} | _shown(_arm_sums(row)) | _means(row) for row in rows]}


def _arm_sums(row: ArmRow) -> dict[str, int]:
    shown = ("requests", "completed", "failed", "errors")
    return {name: getattr(row, name) for name in row.__struct_fields__ if name in shown or name.endswith(("_tokens", "_nanousd"))}


def _means(row: ArmRow) -> dict[str, float | None]:
    return {"first_token_ms": _mean_ms(row.first_token_us, row.first_tokens), "total_ms": _mean_ms(row.completed_us, row.completed)}


def _mean_ms(sum_us: int, count: int) -> float | None:
    return round(sum_us / count / 1000, 3) if count else None


def _row(row: UsageRow, labels: dict[int, tuple[str, str]]) -> dict[str, Any]:
    name, label = labels.get(row.key_id, ("", ""))
    place = {"key_id": row.key_id, "key_name": name, "key_label": label, "model": row.model, "provider": row.provider}
    return place | _shown({sum_name: getattr(row, sum_name) for sum_name in USAGE_SUMS})


def _shown(sums: dict[str, Any]) -> dict[str, Any]:
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
