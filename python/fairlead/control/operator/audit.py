"""`GET /admin/audit`: who changed what, newest first, as JSON or, with `Accept: text/csv`, for a spreadsheet."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.control.db import operators
from fairlead.control.db.queries import MOST_INTEGER, Row
from fairlead.control.desk import Call
from fairlead.control.moments import unix_ms
from fairlead.control.replies import csv_reply, reply, rfc3339

PAGE = 1000
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Filters; all that are given must hold."""

    before: Annotated[int, Meta(ge=1, le=MOST_INTEGER)] | None = None
    """The `next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=PAGE)] = 100
    actor: Text | None = None
    """A name."""
    actor_kind: Text | None = None
    """`user`, `token`, `key`, `command` or `process`."""
    action: Text | None = None
    """Such as `key.change`."""
    target_kind: Text | None = None
    target_id: Text | None = None
    from_: datetime | None = msgspec.field(name="from", default=None)
    to: datetime | None = None


class AuditEntry(msgspec.Struct, kw_only=True):
    """A change. `before` and `after` have what differs; null where there was or is nothing."""

    id: int
    at: str
    actor: str
    actor_kind: str
    actor_id: int
    role: str
    address: str
    action: str
    target_kind: str
    target_id: str
    target: str
    """Its name then."""
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditPage(msgspec.Struct):
    """A reply."""

    data: list[AuditEntry]
    next: int | None
    """The `before` of the following page; null at the end."""


async def listing(call: Call) -> Response:
    """The audit log, newest first, by actor, action, target and time; `Accept: text/csv` for a spreadsheet."""
    asked = call.asked(AuditQuery)
    filters: list[tuple[str, str, Any]] = [
        (name, "=", value)
        for name in ("actor", "actor_kind", "action", "target_kind", "target_id")
        if (value := getattr(asked, name)) is not None
    ]
    for name, operator, moment in (("from", ">=", asked.from_), ("to", "<", asked.to)):
        if moment is not None:
            filters.append(("at_ms", operator, unix_ms(name, moment)))
    rows = await call.desk.database.read(lambda connection: operators.audit_before(connection, asked.before, asked.limit, filters))
    if call.wants_csv:
        names = [name for name in operators.AUDIT_COLUMNS if name != "at_ms"]
        return csv_reply([["at", *names], *([rfc3339(row["at_ms"]), *(row[name] for name in names)] for row in rows)], "audit")
    return reply({"data": [_shown(row) for row in rows], "next": rows[-1]["id"] if len(rows) == asked.limit else None})


def _shown(row: Row) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name != "at_ms"} | {"at": rfc3339(row["at_ms"])}
    return shown | {side: None if row[side] is None else msgspec.json.decode(row[side]) for side in ("before", "after")}
