"""`GET /key`: the calling key about itself, in OpenRouter's shape."""

import sqlite3
from typing import Any

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import Key, Usage
from fairlead.control.desk import Call
from fairlead.control.money import usd_number
from fairlead.control.replies import reply, rfc3339, unauthenticated
from fairlead.control.windows import window_starts


async def show(call: Call) -> Response:
    """The key's facts and usage, as of the journal's position at the call."""
    await call.caught_up()
    days = window_starts(call.desk.now_ms())

    def work(connection: sqlite3.Connection) -> tuple[Key | None, Usage]:
        usage = queries.usage_by_key(connection, days, call.principal.key)
        return queries.key(connection, call.principal.key), usage.get(call.principal.key, Usage())

    key, usage = await call.desk.database.read(work)
    if key is None:
        # Deleted between the data plane's check and this one.
        raise unauthenticated("no such key")
    return reply({"data": _facts(key, usage)})


def usage_fields(usage: Usage) -> dict[str, Any]:
    """OpenRouter's eight usage fields. Keys of the caller's own at a provider do not exist here, so their part is 0."""
    return {
        "usage": usd_number(usage.total),
        "usage_daily": usd_number(usage.daily),
        "usage_weekly": usd_number(usage.weekly),
        "usage_monthly": usd_number(usage.monthly),
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
    }


def _facts(key: Key, usage: Usage) -> dict[str, Any]:
    return {
        "label": key.label,
        "name": key.name,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
        **usage_fields(usage),
        "is_free_tier": False,
        "is_management_key": key.management,
        "is_provisioning_key": key.management,
        "creator_user_id": None,
        "expires_at": rfc3339(key.expires_at_ms),
        # OpenRouter keeps this object for old clients and fills it like so.
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
        "budgets": [],
        "effective_budget": None,
        "free_model_daily_requests": {"limit": 0, "used": 0, "remaining": 0},
        "allowed_data_regions": [],
        "organization_id": None,
        "workspace_id": key.account,
    }
