"""Prepaid credit: what accounts were given, what was taken back, what is left.

Every movement is an entry of a ledger that only grows. A mistake is corrected by a further entry; what expires is taken back by one, too.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import structs
from starlette.responses import Response

from fairlead.config.amounts import MOST_USD
from fairlead.control import spending
from fairlead.control.db import ledger, operators, queries, scopes
from fairlead.control.db.ledger import ADJUSTMENT, EXPIRY, REFUND, TOPUP, Entry
from fairlead.control.desk import Call
from fairlead.control.directory import Directory, UnknownScope, one_scope
from fairlead.control.engine import Engine
from fairlead.control.limits import amount
from fairlead.control.moments import coming_expiry_ms
from fairlead.control.money import usd, usd_number
from fairlead.control.replies import Refusal, invalid, not_found, reply, rfc3339

log = logging.getLogger("fairlead.credits")

MOST_NOTE = 500
PAGE = 1000


class CreditCreation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/credits`."""

    account: str
    usd: str
    """Below zero for an adjustment only."""
    note: str = ""
    kind: str = TOPUP
    expires_at: datetime | None = None
    external_id: str | None = None
    """Names the entry: the same one again is the same entry, not a second one. An `Idempotency-Key` is the same in a header."""


class Reversal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/credits/{id}/refund`."""

    usd: str | None = None
    """Absent: all that is left of the entry."""
    note: str = ""
    external_id: str | None = None


async def show(call: Call) -> Response:
    """`GET /credits`: what the caller's account was given and what it used, as of the journal's position at the call."""
    await call.caught_up()
    account = call.principal.account

    def work(connection: sqlite3.Connection) -> tuple[int, int]:
        return ledger.granted(connection, account), queries.usage_of_account(connection, account)

    granted, used = await call.desk.database.read(work)
    return reply({"data": {"total_credits": usd_number(granted), "total_usage": usd_number(used)}})


async def listing(call: Call) -> Response:
    """`GET /admin/credits`: entries, newest first, and how each account stands."""
    limit, before = call.number("limit", 100, 1, PAGE), call.query("before")
    oldest = call.number("before", 0, 1, queries.MOST_INTEGER) if before is not None else None
    wanted = call.query("account")
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        accounts = scopes.scopes(connection, scopes.ACCOUNT) if wanted is None else [one_scope(connection, scopes.ACCOUNT, wanted)]
        entries = ledger.entries_before(connection, None if wanted is None else accounts[0].id, oldest, limit)
        granted, after = ledger.granted_by_account(connection), ledger.balances_after(connection, entries)
        reserved = {account.id: spending.reserved(call.desk.engine, scopes.ACCOUNT, account.id) for account in accounts}
        return {
            "data": [described(connection, entry, after[entry.id]) for entry in entries],
            "next": entries[-1].id if len(entries) == limit else None,
            "enforced": call.desk.credits.enforce,
            "accounts": [
                _standing(connection, account.name, account.id, granted.get(account.id, 0), reserved[account.id]) for account in accounts
            ],
        }

    try:
        return reply(await call.desk.database.read(work))
    except UnknownScope as error:
        raise not_found(str(error)) from None


async def create(call: Call) -> Response:
    """`POST /admin/credits`: gives an account credit, or adjusts it. It holds for the very next request."""
    wanted = await call.body(CreditCreation)
    if wanted.kind not in (TOPUP, ADJUSTMENT):
        raise invalid(f"kind: {TOPUP} or {ADJUSTMENT} is expected, got {wanted.kind[:40]!r}; a refund is POST /admin/credits/{{id}}/refund")
    given = amount("usd", wanted.usd, signed=wanted.kind == ADJUSTMENT)
    if given == 0:
        raise invalid("usd: 0 changes nothing")
    now_ms = call.desk.now_ms()
    expires_at_ms = coming_expiry_ms(wanted.expires_at, now_ms)
    if expires_at_ms is not None and given < 0:
        raise invalid("expires_at: what takes credit away does not expire")
    note, external = checked_note(wanted.note), _external(call, wanted.external_id)

    def work(connection: sqlite3.Connection) -> list[Entry]:
        account = one_scope(connection, scopes.ACCOUNT, wanted.account)
        entry = Entry(
            account_id=account.id,
            at_ms=now_ms,
            kind=wanted.kind,
            amount_nanousd=given,
            note=note,
            external_id=external,
            expires_at_ms=expires_at_ms,
        )
        if ledger.granted(connection, account.id) + given > MOST_USD * 10**9:
            raise invalid(f"usd: the account would have more than {MOST_USD} dollars of credit")
        return [_once(connection, entry)]

    return await _entered(call, work)


async def refund(call: Call) -> Response:
    """`POST /admin/credits/{id}/refund`: takes an entry back, wholly or in part, by a further entry."""
    wanted = await call.body(Reversal)
    id, now_ms, note = _id(call), call.desk.now_ms(), checked_note(wanted.note)
    asked, external = None if wanted.usd is None else amount("usd", wanted.usd), _external(call, wanted.external_id)

    def work(connection: sqlite3.Connection) -> list[Entry]:
        taken_back = ledger.entry(connection, id)
        if taken_back is None:
            raise not_found(f"there is no credit entry {id}")
        known = ledger.entry_of(connection, external) if external else None
        if known is not None and known.reverses_id == id and asked in (None, -known.amount_nanousd):
            return [known]
        return [refund_of(connection, taken_back, asked, now_ms, note, external)]

    return await _entered(call, work)


def refund_of(
    connection: sqlite3.Connection, entry: Entry, asked: int | None, now_ms: int, note: str, external_id: str | None = None
) -> Entry:
    """The entry that takes back some of another, or all that is left of it. Raises a 400 where there is not as much."""
    left = entry.amount_nanousd - ledger.reversed_of(connection, entry.id)
    if entry.amount_nanousd <= 0:
        raise invalid(f"the credit entry {entry.id} takes credit away itself ({entry.kind}); correct it with an adjustment")
    if left == 0:
        raise invalid(f"the credit entry {entry.id} was taken back or has expired: nothing of it is left")
    wanted = left if asked is None else asked
    if not 0 < wanted <= left:
        raise invalid(f"usd: of the credit entry {entry.id} between 0 and {usd(left)} can be taken back, got {usd(wanted)}")
    return _once(
        connection,
        Entry(
            account_id=entry.account_id,
            at_ms=now_ms,
            kind=REFUND,
            amount_nanousd=-wanted,
            note=note,
            external_id=external_id,
            reverses_id=entry.id,
        ),
    )


def held(connection: sqlite3.Connection, engine: Engine, now_ms: int) -> dict[int, int]:
    """The accounts that have something to expire, each with what calls that run now hold of its credit, in nano-dollars."""
    return {account: spending.reserved(engine, scopes.ACCOUNT, account) for account in ledger.accounts_to_expire(connection, now_ms)}


def expire(directory: Directory, held: Mapping[int, int], now_ms: int) -> list[Entry]:
    """Takes back what is left of entries whose time has come, in the accounts of `held`. The database must hold all that was settled before
    that was looked at: what a call that has ended held is then among what was used. Blocks."""

    def work(connection: sqlite3.Connection) -> list[Entry]:
        found: list[Entry] = []
        for account, held_nanousd in held.items():
            used = queries.usage_of_account(connection, account)
            found += expiries(ledger.lots(connection, account), used, held_nanousd, now_ms)
        return found

    entries = directory.enter(work)
    for entry in entries:
        log.info(
            "credit entry %d of account %d has expired: %s dollars of it were left",
            entry.reverses_id,
            entry.account_id,
            usd(-entry.amount_nanousd),
        )
    return entries


def expiries(lots: Sequence[tuple[Entry, int, bool]], used: int, held: int, now_ms: int) -> list[Entry]:
    """The entries that take back what is left of expired ones. What was used is set against the credit that expires first, and then what
    running calls hold: that stays until they have ended, or they would be paid from credit that is gone. What is left beside it is taken
    back by an adjustment; the expiry follows, and is the last.

    `lots` are in the order of their use: an entry, what was taken back of it, and whether it has had its expiry.
    """
    found = []
    for entry, taken_back, is_done in lots:
        net = entry.amount_nanousd - taken_back
        left = max(0, net - used)
        used = max(0, used - net)
        kept = min(left, held)
        held -= kept
        if is_done or entry.expires_at_ms is None or entry.expires_at_ms > now_ms:
            continue
        back = Entry(account_id=entry.account_id, at_ms=now_ms, kind=EXPIRY, amount_nanousd=kept - left, reverses_id=entry.id)
        if kept == 0:
            found.append(structs.replace(back, note=f"entry {entry.id} has expired"))
        elif kept < left:
            found.append(structs.replace(back, kind=ADJUSTMENT, note=f"entry {entry.id} has expired; running calls hold the rest of it"))
    return found


def described(connection: sqlite3.Connection, entry: Entry, after: int | None = None) -> dict[str, Any]:
    """An entry as it is shown. `after`: what its account had been given in all, with it, where that is known."""
    if after is None:
        after = ledger.balances_after(connection, [entry])[entry.id]
    return {
        "id": entry.id,
        "account": queries.account_name(connection, entry.account_id),
        "at": rfc3339(entry.at_ms),
        "kind": entry.kind,
        "usd": usd(entry.amount_nanousd),
        "credits_after_usd": usd(after),
        "left_usd": usd(max(0, entry.amount_nanousd - ledger.reversed_of(connection, entry.id))),
        "note": entry.note,
        "external_id": entry.external_id,
        "expires_at": rfc3339(entry.expires_at_ms),
        "reverses": entry.reverses_id,
        "actor": operators.maker(connection, "credit", entry.id),
    }


def checked_note(note: str) -> str:
    """A note for people; 400 when it is long or has control characters."""
    if len(note) > MOST_NOTE or (note and not note.isprintable()):
        raise invalid(f"note: at most {MOST_NOTE} printable characters are expected")
    return note


def _standing(connection: sqlite3.Connection, name: str, account: int, granted: int, reserved: int) -> dict[str, Any]:
    used = queries.usage_of_account(connection, account)
    sums = {"credits_usd": granted, "usage_usd": used, "balance_usd": granted - used, "reserved_usd": reserved}
    return {"account": name} | {name: usd(amount) for name, amount in sums.items()}


async def _entered(call: Call, work: Callable[[sqlite3.Connection], list[Entry]]) -> Response:
    """201 for a new entry, 200 for one that was there."""
    new: list[bool] = []

    def noting(connection: sqlite3.Connection) -> list[Entry]:
        entries = work(connection)
        new[:] = [not entry.id for entry in entries]
        return entries

    try:
        [entry] = await asyncio.to_thread(call.desk.directory.enter, noting)
    except UnknownScope as error:
        raise invalid(f"account: {error}") from None
    shown = await call.desk.database.read(lambda connection: described(connection, entry))
    return reply({"data": shown}, 201 if new[0] else 200)


def _once(connection: sqlite3.Connection, entry: Entry) -> Entry:
    """The entry, or the one of the same name that is there already. 409 when that is another one."""
    known = ledger.entry_of(connection, entry.external_id) if entry.external_id else None
    if known is None:
        return entry
    same = ("account_id", "kind", "amount_nanousd", "reverses_id", "expires_at_ms")
    if any(getattr(known, name) != getattr(entry, name) for name in same):
        raise Refusal(
            409, "invalid_request", f"external_id or Idempotency-Key: the credit entry {known.id} has this name and says something else"
        )
    return known


def _external(call: Call, text: str | None) -> str | None:
    """The name of an entry: the body's, else the header's."""
    header = call.header("idempotency-key")
    if None not in (text, header) and text != header:
        raise invalid("external_id and the header Idempotency-Key name the entry both, and say different things; give one of them")
    for place, name in (("external_id", text), ("Idempotency-Key", header)):
        if name is not None and not (0 < len(name) <= 200 and name.isprintable()):
            raise invalid(f"{place}: 1 to 200 printable characters are expected")
    return header if text is None else text


def _id(call: Call) -> int:
    text = call.place("id")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise not_found(f"there is no credit entry {text[:40]!r}")
    return int(text)
