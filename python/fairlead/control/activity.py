"""`GET /activity`: the caller's account by day, model and endpoint, in OpenRouter's shape."""

import sqlite3
from collections.abc import Callable
from datetime import date
from typing import Any

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import DAY_MS, ActivityRow
from fairlead.control.desk import Call
from fairlead.control.money import usd_number
from fairlead.control.replies import invalid, not_found, reply
from fairlead.control.windows import day_number, day_of

DAYS = 30
"""So many UTC days are shown, all of them over."""


async def show(call: Call) -> Response:
    """`date` is one of these days, `api_key_hash` one key of the account, deleted or not; `group_by=workspace` adds `workspace_id`.

    Calls that no endpoint was asked for are not in it; `/analytics/query` counts them.
    """
    today = call.desk.now_ms() // DAY_MS
    first, last = _days(call.query("date"), today)
    if (group_by := call.query("group_by")) not in (None, "workspace"):
        raise invalid("group_by: workspace is expected")
    if call.query("user_id") is not None:
        raise invalid("user_id: accounts have no members here")
    hash, workspace = call.query("api_key_hash"), call.query("workspace_id")
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[str, list[ActivityRow]]:
        account = queries.account_name(connection, call.principal.account)
        if workspace not in (None, account):
            raise not_found(f"workspace_id: this key belongs to {account!r}, which is its only workspace")
        key = None
        if hash is not None:
            key = queries.key_of_account(connection, call.principal.account, hash)
            if key is None:
                raise not_found("api_key_hash: there is no such key in this account")
        span = (queries.Res.DAY, first * DAY_MS, (last + 1) * DAY_MS)
        return account, queries.activity_rows(connection, call.principal.account, key, span)

    account, rows = await call.desk.database.read(work)
    more = {} if group_by is None else {"workspace_id": account}
    return reply({"data": [_item(row, call.desk.offer.provider_name) | more for row in rows]})


def _days(text: str | None, today: int) -> tuple[int, int]:
    if text is None:
        return today - DAYS, today - 1
    try:
        # Basic dates and weeks are ISO 8601 as well.
        day = day_number(date.fromisoformat(text)) if len(text) == len("2026-11-20") else -1
    except ValueError:
        day = -1
    if not today - DAYS <= day < today:
        raise invalid(f"date: a UTC day from {day_of(today - DAYS)} to {day_of(today - 1)} is expected, got {text[:40]!r}")
    return day, day


def _item(row: ActivityRow, provider_name: Callable[[str], str]) -> dict[str, Any]:
    return {
        "date": day_of(row.start_ms // DAY_MS).isoformat(),
        "model": row.model,
        "model_permaslug": row.model,
        "endpoint_id": str(row.endpoint_id),
        "provider_name": provider_name(row.provider),
        "usage": usd_number(row.charged_nanousd),
        # Keys of the caller's own at a provider do not exist here.
        "byok_usage_inference": 0,
        "requests": row.requests,
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "cached_tokens": row.cached_tokens,
    }
