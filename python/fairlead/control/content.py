"""What a generation was asked and what it said, where that is logged: `GET /generation/content?id=` for its account, in OpenRouter's shape,
and `GET /admin/requests/{id}/content` for the operator."""

import asyncio
import sqlite3
from typing import Any

import msgspec
from starlette.responses import Response

from fairlead.control import trail
from fairlead.control.db import queries
from fairlead.control.db.queries import Row
from fairlead.control.desk import Call
from fairlead.control.generation import asked_id
from fairlead.control.replies import not_found, reply


async def show(call: Call) -> Response:
    """Takes our id or the provider's own reply id, of the caller's account alone. 404 where there is no such generation, or no content."""
    id = asked_id(call)
    return await _answer(call, id, lambda connection: queries.generation(connection, call.principal.account, id))


async def show_any(call: Call) -> Response:
    """What a request of whatever account was asked and what it said, where that is logged. That it was opened stands in the audit log."""
    id, at_ms = call.place("id"), call.desk.now_ms()
    shown = await _answer(call, id, lambda connection: queries.generation_of_any_account(connection, id))
    await call.desk.database.write(lambda connection: trail.note(connection, at_ms, "content.open", ("generation", id, ""), None, None))
    return shown


async def _answer(call: Call, id: str, find: Any) -> Response:
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[Row, bool] | None:
        row = find(connection)
        return None if row is None else (row, queries.key(connection, row["key_id"]) is not None)

    found = await call.desk.database.read(work)
    if found is None:
        raise not_found(f"there is no generation {id[:60]!r}" + ("" if call.principal.sees_all else " of this account"))
    row, has_key = found
    # What a deleted key left is on its way out.
    content = await asyncio.to_thread(call.desk.engine.content, row["account_id"], row["id"]) if has_key else None
    if content is None:
        raise not_found(
            f"no content is kept of {row['id']}: logging of content was off for its key ([logging] content, or the key's own setting), or"
            " the content has expired, made room for newer, or gone with its key"
        )
    return reply({"data": msgspec.Raw(content)})
