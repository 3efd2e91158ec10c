"""`POST /webhooks/stripe`: payments become credit, and what is paid back is taken away, as Stripe's signed events tell it.

An event counts once, however often it is delivered, and a payment once, whichever events tell of it. What a payment was for stands in the
checkout session: `client_reference_id`, else `metadata.account`, is an account's name or id.
"""

import asyncio
import hashlib
import hmac
import logging
import re
import sqlite3
from typing import Any

import msgspec
from starlette.responses import Response

from fairlead.config.amounts import MOST_USD
from fairlead.control import trail
from fairlead.control.credits import refund_of
from fairlead.control.db import ledger, scopes
from fairlead.control.db.ledger import TOPUP, Entry
from fairlead.control.desk import Call
from fairlead.control.directory import one_scope
from fairlead.control.money import usd
from fairlead.control.replies import Refusal, invalid, not_found, reply

log = logging.getLogger("fairlead.payments")

TOLERANCE_SECONDS = 300
"""How old, or how far ahead of our clock, a signature may be."""
NANOUSD_PER_CENT = 10**7
MOST_CENTS = MOST_USD * 100
_PART = re.compile(r"(t|v1)=([0-9a-f]{1,64})")


class Paid(msgspec.Struct):
    """A checkout session, as far as it matters here."""

    id: str
    amount_total: int | None = None
    """Cents."""
    currency: str | None = None
    payment_status: str = ""
    payment_intent: str | None = None
    client_reference_id: str | None = None
    metadata: dict[str, str] | None = None


class Charge(msgspec.Struct):
    """A charge of which something was paid back."""

    id: str
    amount_refunded: int
    """Cents, of all times."""
    currency: str = ""
    payment_intent: str | None = None


class Data(msgspec.Struct):
    """What an event is about."""

    object: msgspec.Raw


class Event(msgspec.Struct):
    """An event."""

    id: str
    type: str
    data: Data


PAID_TYPES = frozenset({"checkout.session.completed", "checkout.session.async_payment_succeeded"})
REFUNDED_TYPE = "charge.refunded"


async def stripe(call: Call) -> Response:
    """Takes an event. 400: the signature is not right. 422: it cannot be taken yet, such as for an account that there is not; Stripe
    sends it again. Other events are answered with 200 and change nothing."""
    secret = call.desk.credits.webhook_secret
    if not secret:
        raise not_found("there is no payment webhook: [credits] webhook_secret is not set")
    body = await call.raw_body()
    check_signature(call.header("stripe-signature"), body, secret, call.desk.now_ms() // 1000)
    trail.acting(trail.Actor("process", name="stripe"))
    event = _decoded(body, Event, "body")
    now_ms = call.desk.now_ms()
    if event.type in PAID_TYPES:
        paid = _decoded(event.data.object, Paid, "body: data.object")
        return await _taken(call, event, lambda connection: _topup(connection, event, paid, now_ms))
    if event.type == REFUNDED_TYPE:
        charge = _decoded(event.data.object, Charge, "body: data.object")
        return await _taken(call, event, lambda connection: _refund(connection, event, charge, now_ms))
    return _said(event, "ignored: events of this type change nothing here")


def check_signature(header: str | None, body: bytes, secret: str, now_seconds: int) -> None:
    """Raises a 400 unless the header signs this body, in time."""
    if header is None:
        raise invalid("Stripe-Signature: the header is missing")
    parts = [match for part in header.split(",") if (match := _PART.fullmatch(part.strip()))]
    moments = [part[2] for part in parts if part[1] == "t" and part[2].isdigit() and len(part[2]) < 16]
    signatures = [part[2] for part in parts if part[1] == "v1"]
    if len(moments) != 1 or not signatures:
        raise invalid("Stripe-Signature: t=SECONDS,v1=HEX is expected")
    wanted = hmac.new(secret.encode(), moments[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    if not any(hmac.compare_digest(wanted, signature) for signature in signatures):
        raise invalid("Stripe-Signature: it is not that of this body under [credits] webhook_secret")
    if abs(now_seconds - int(moments[0])) > TOLERANCE_SECONDS:
        raise invalid(f"Stripe-Signature: it is more than {TOLERANCE_SECONDS} seconds from our clock")


async def _taken(call: Call, event: Event, work: Any) -> Response:
    said: list[str] = []

    def once(connection: sqlite3.Connection) -> list[Entry]:
        if ledger.payment_event_known(connection, event.id):
            said[:] = ["known: this event was taken before"]
            return []
        text, entries = work(connection)
        said[:] = [text]
        return list(entries)

    entries = await asyncio.to_thread(call.desk.directory.enter, once)
    for entry in entries:
        log.info("payment event %s: %s of %s dollars, account %d", event.id, entry.kind, usd(entry.amount_nanousd), entry.account_id)
    return _said(event, said[0])


def _topup(connection: sqlite3.Connection, event: Event, paid: Paid, now_ms: int) -> tuple[str, list[Entry]]:
    if paid.payment_status != "paid":
        return f"ignored: the payment is {paid.payment_status[:40]!r}, not paid", []
    reference = paid.client_reference_id or (paid.metadata or {}).get("account")
    if not reference:
        log.warning("payment event %s names no account: it changes nothing", event.id)
        return "ignored: neither client_reference_id nor metadata.account names an account", []
    if (paid.currency or "").lower() != "usd":
        raise _later(event, f"the currency is {(paid.currency or 'unknown')[:10]!r}; credit is in US dollars")
    if paid.amount_total is None or not 0 < paid.amount_total <= MOST_CENTS:
        raise _later(event, "amount_total is not an amount of cents")
    try:
        account = one_scope(connection, scopes.ACCOUNT, reference)
    except LookupError as error:
        raise _later(event, str(error)) from None
    if ledger.granted(connection, account.id) + paid.amount_total * NANOUSD_PER_CENT > MOST_USD * 10**9:
        raise _later(event, f"the account would have more than {MOST_USD} dollars of credit")
    payment = paid.payment_intent or paid.id
    refunded = ledger.refunded_of_payment(connection, payment)
    ledger.add_payment_event(connection, event.id, now_ms, payment, refunded)
    name = f"stripe:{payment}"
    if ledger.entry_of(connection, name) is not None:
        return "known: this payment was taken before", []
    entry = Entry(
        account_id=account.id,
        at_ms=now_ms,
        kind=TOPUP,
        amount_nanousd=paid.amount_total * NANOUSD_PER_CENT,
        note=f"payment {payment}"[:200],
        external_id=name,
    )
    if not refunded:
        return "taken", [entry]
    # The refund was heard of before the payment.
    entry = ledger.add(connection, entry)
    back = min(refunded, entry.amount_nanousd)
    return "taken, and what was paid back already", [refund_of(connection, entry, back, now_ms, "paid back", f"stripe:{event.id}")]


def _refund(connection: sqlite3.Connection, event: Event, charge: Charge, now_ms: int) -> tuple[str, list[Entry]]:
    if not 0 <= charge.amount_refunded <= MOST_CENTS:
        raise _later(event, "amount_refunded is not an amount of cents")
    payment = charge.payment_intent or charge.id
    total = charge.amount_refunded * NANOUSD_PER_CENT
    fresh = total - ledger.refunded_of_payment(connection, payment)
    ledger.add_payment_event(connection, event.id, now_ms, payment, total)
    entry = ledger.entry_of(connection, f"stripe:{payment}")
    if entry is None:
        return "noted: no credit was given for this payment yet", []
    left = entry.amount_nanousd - ledger.reversed_of(connection, entry.id)
    back = min(fresh, left)
    if back <= 0:
        return "known: as much was taken back before", []
    return "taken", [refund_of(connection, entry, back, now_ms, f"paid back: {charge.id}"[:200], f"stripe:{event.id}")]


def _later(event: Event, why: str) -> Refusal:
    log.error("payment event %s is not taken: %s", event.id, why)
    return Refusal(422, "unprocessable", f"event {event.id}: {why}")


def _said(event: Event, text: str) -> Response:
    return reply({"data": {"event": event.id, "result": text}})


def _decoded(body: bytes | msgspec.Raw, type: Any, where: str) -> Any:
    try:
        return msgspec.json.decode(body, type=type)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"{where}: {error}") from None
