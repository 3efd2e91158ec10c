"""`GET /admin/requests`: one row per generation with its attempts and losses inside, newest first; below it, one of them by its id."""

import re
import sqlite3
from typing import Any

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import Row
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.replies import invalid, not_found, reply, rfc3339

# Marks of a generation or attempt, in the order of their bits.
FLAGS = ("estimated", "usage_missing", "recovered", "insured", "resent", "cost_reported", "content", "shadow", "free_tier")
_GENERATION_ID = re.compile("gen-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def listing(call: Call) -> Response:
    """`limit` (100) rows below the id `before`. `next` is the `before` of the following page, null at the end."""
    limit = call.number("limit", 100, 1, 1000)
    before = call.query("before")
    if before is not None and _GENERATION_ID.fullmatch(before) is None:
        raise invalid("before: a generation's id is expected, such as the last page's next")
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        return _described(connection, queries.generations_before(connection, before, limit))

    found = await call.desk.database.read(work)
    return reply({"data": found, "next": found[-1]["id"] if len(found) == limit else None})


async def show(call: Call) -> Response:
    """The row of one generation, of whatever account. 404 for an id that there is not."""
    id = call.place("id")
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        row = queries.generation_of_any_account(connection, id)
        return [] if row is None else _described(connection, [row])

    found = await call.desk.database.read(work)
    if not found:
        raise not_found(f"there is no generation {id[:60]!r}")
    return reply({"data": found[0]})


def _described(connection: sqlite3.Connection, rows: list[Row]) -> list[dict[str, Any]]:
    ids = [row["id"] for row in rows]
    attempts, losses, labels = queries.attempts(connection, ids), queries.losses(connection, ids), queries.key_labels(connection)
    return [_shown(row, attempts[row["id"]], losses[row["id"]], labels) for row in rows]


def _shown(row: Row, attempts: list[Row], losses: list[Row], labels: dict[int, tuple[str, str]]) -> dict[str, Any]:
    name, label = labels.get(row["key_id"], ("", ""))
    shown = _in_units_of_people(row)
    shown["streamed"] = bool(row["streamed"])
    shown["key"] = {"name": name, "label": label}
    shown["attempts"] = [_in_units_of_people(attempt) for attempt in attempts]
    shown["translation_losses"] = losses
    return shown


def _in_units_of_people(row: Row) -> dict[str, Any]:
    """Money as decimal strings of dollars, moments as text, marks as words; everything else as it is stored."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_nanousd"):
            shown[name.removesuffix("_nanousd") + "_usd"] = usd(value)
        elif name.endswith("_at_ms"):
            shown[name.removesuffix("_ms")] = rfc3339(value)
        elif name == "flags":
            shown[name] = [word for bit, word in enumerate(FLAGS) if value >> bit & 1]
        else:
            shown[name] = value
    return shown
