"""`GET /admin/ledger`: every movement of money, page by page: credit entries, and what generations were charged."""

import sqlite3
from typing import Any

from starlette.responses import Response

from fairlead.control.db import ledger, queries, retention
from fairlead.control.db.queries import DAY_MS
from fairlead.control.db.rollups import END_OF_TIME_MS
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.replies import invalid, reply, rfc3339

CREDITS, CHARGES = "credits", "charges"
PAGE = 2000
FIELDS = (
    "type", "id", "at", "account", "key", "model", "provider", "amount_usd", "upstream_cost_usd", "note", "external_id", "expires_at",
    "reverses",
)  # fmt: skip
"""Of every row; `type` is a credit entry's kind, or `charge`. Amounts are signed: what an account's credit grows by."""


async def page(call: Call) -> Response:
    """Rows in the order of their ids: `of` says which, `after` is the `next` of the page before, `from` and `to` are UTC days.
    `complete_from` is the moment from which on every charge has its row; null where none was removed."""
    of = call.query("of")
    if of not in (CREDITS, CHARGES):
        raise invalid(f"of: {CREDITS} or {CHARGES} is expected")
    first_day, last_day = call.days()
    first_ms, end_ms = (first_day or 0) * DAY_MS, END_OF_TIME_MS if last_day is None else (last_day + 1) * DAY_MS
    after = call.query("after") or ""
    if of == CREDITS and after and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise invalid("after: the next of the page before is expected")
    limit = call.number("limit", PAGE, 1, PAGE)
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[list[dict[str, Any]], str | None, int]:
        accounts = _Names(connection)
        if of == CREDITS:
            entries = ledger.entries_after(connection, int(after or 0), first_ms, end_ms, limit)
            return [_credit(entry, accounts) for entry in entries], str(entries[-1].id) if entries else None, 0
        labels = queries.key_labels(connection)
        charges = queries.charges_after(connection, after, first_ms, end_ms, limit)
        from_ms = retention.rows_from_ms(connection)
        return [_charge(row, accounts, labels) for row in charges], charges[-1]["id"] if charges else None, from_ms

    rows, last, from_ms = await call.desk.database.look(work)
    return reply({"data": rows, "next": last if len(rows) == limit else None, "complete_from": rfc3339(from_ms or None)})


class _Names:
    """Names of accounts, each read once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[int, str] = {}

    def __getitem__(self, account: int) -> str:
        if account not in self._known:
            self._known[account] = queries.account_name(self._connection, account)
        return self._known[account]


def _credit(entry: ledger.Entry, accounts: _Names) -> dict[str, Any]:
    return dict.fromkeys(FIELDS) | {
        "type": entry.kind,
        "id": str(entry.id),
        "at": rfc3339(entry.at_ms),
        "account": accounts[entry.account_id],
        "amount_usd": usd(entry.amount_nanousd),
        "note": entry.note,
        "external_id": entry.external_id,
        "expires_at": rfc3339(entry.expires_at_ms),
        "reverses": entry.reverses_id,
    }


def _charge(row: queries.Row, accounts: _Names, labels: dict[int, tuple[str, str]]) -> dict[str, Any]:
    name, _ = labels.get(row["key_id"], ("", ""))
    return dict.fromkeys(FIELDS) | {
        "type": "charge",
        "id": row["id"],
        "at": rfc3339(row["settled_at_ms"]),
        "account": accounts[row["account_id"]],
        "key": name or str(row["key_id"]),
        "model": row["model"],
        "provider": row["provider"],
        "amount_usd": usd(-row["charged_nanousd"]),
        "upstream_cost_usd": usd(row["upstream_cost_nanousd"]),
        "note": row["outcome"],
    }
