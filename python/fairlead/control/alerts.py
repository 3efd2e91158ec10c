"""Alerts about money: budgets that are used up to a threshold, credit that runs low, days that cost far more than those before.

Each is raised once per window: of a budget, for each threshold in each of its intervals; of low credit, once between two top-ups; of
unusual spend, once a day. What is raised is stored, so that a restart raises nothing twice, and is sent until it was taken.
"""

import hashlib
import hmac
import http.client
import logging
import smtplib
import sqlite3
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from email.message import EmailMessage
from typing import Any, NamedTuple

import msgspec

from fairlead import __version__
from fairlead.config.alerts import AlertSettings
from fairlead.config.schema import Smtp
from fairlead.control import spending
from fairlead.control.db import Database, ledger, queries, scopes
from fairlead.control.db import alerts as stored
from fairlead.control.db.alerts import Delivery
from fairlead.control.db.queries import DAY_MS, Usage
from fairlead.control.money import usd
from fairlead.control.outward import aside
from fairlead.control.replies import rfc3339
from fairlead.control.windows import window_starts

log = logging.getLogger("fairlead.alerts")

MEAN_DAYS = 7
SEND_SECONDS = 10.0
RETRY_SECONDS = (60, 300, 1800, 7200, 21_600, 43_200)
"""Between the attempts to send one; after the last it is given up."""
AT_ONCE = 20
SENDING_FAILED = (OSError, smtplib.SMTPException, http.client.HTTPException, ValueError)
"""What `send` raises when an alert was not taken."""


class Alert(NamedTuple):
    """Something to tell."""

    subject: str
    """Names it and its window: of each there is one."""
    kind: str
    """`budget`, `low_balance`, `unusual_spend` or `ledger`."""
    text: str
    facts: dict[str, Any]


def find(connection: sqlite3.Connection, settings: AlertSettings, enforce_credits: bool, now_ms: int) -> list[Alert]:
    """What is to be told now, by what the database holds; also what was told before."""
    found = _budgets(connection, settings, now_ms)
    if enforce_credits and settings.low_balance_nanousd is not None:
        found += _low_balances(connection, settings.low_balance_nanousd)
    if settings.unusual_factor is not None:
        found += _unusual(connection, settings.unusual_factor, settings.unusual_nanousd, now_ms)
    return found


async def raise_all(
    database: Database, settings: AlertSettings, enforce_credits: bool, now_ms: int, beside: Sequence[Alert] = ()
) -> list[Alert]:
    """Stores and logs what is to be told and was not, and what was found `beside` it; returns it."""

    def fresh(connection: sqlite3.Connection) -> list[Alert]:
        found = [*find(connection, settings, enforce_credits, now_ms), *beside]
        known = stored.known_subjects(connection, [alert.subject for alert in found]) if found else set()
        return [alert for alert in found if alert.subject not in known]

    def store(connection: sqlite3.Connection) -> list[Alert]:
        # Looked at again where nobody else writes.
        alerts = fresh(connection)
        channels = () if stored.silenced_until(connection) > now_ms else settings.channels
        for alert in alerts:
            stored.add(connection, alert.subject, now_ms, _content(alert), channels)
        return alerts

    # Most of the time there is nothing, and then nothing is written.
    alerts = await database.write(store) if await database.read(fresh) else []
    for alert in alerts:
        log.warning("%s", alert.text)
    return alerts


async def deliver(database: Database, settings: AlertSettings, now_ms: int) -> None:
    """Sends what is due. What fails is tried again later, with more and more time between, and given up in the end."""
    for delivery in await database.read(lambda connection: stored.due(connection, now_ms, AT_ONCE)):
        why: str | None = None
        try:
            await aside(lambda delivery=delivery: send(delivery, settings, now_ms), "fl-alert")  # type: ignore[misc]
        except SENDING_FAILED as error:
            why = f"{type(error).__name__}: {error}"
        await database.write(lambda connection, delivery=delivery, why=why: _note(connection, delivery, why, now_ms))  # type: ignore[misc]


def send(delivery: Delivery, settings: AlertSettings, now_ms: int) -> None:
    """Sends an alert. Raises `OSError`, `SMTPException`, `HTTPException` or `ValueError` when it was not taken. A channel that is no longer
    configured takes everything."""
    if delivery.channel == "webhook" and settings.webhook_url and settings.webhook_secret:
        _post(settings.webhook_url, settings.webhook_secret, delivery, now_ms)
    elif delivery.channel == "smtp" and settings.smtp is not None:
        _mail(settings.smtp, delivery)


def signature(secret: str, body: bytes, at_seconds: int) -> str:
    """`t=…,v1=…`: HMAC-SHA-256 of the moment, a dot and the body, as Stripe signs its events."""
    return f"t={at_seconds},v1={hmac.new(secret.encode(), f'{at_seconds}.'.encode() + body, hashlib.sha256).hexdigest()}"


# --- what there is to tell ------------------------------------------------------------------------------------------------


def _budgets(connection: sqlite3.Connection, settings: AlertSettings, now_ms: int) -> list[Alert]:
    days = window_starts(now_ms)
    begins = {"day": days[0], "week": days[1], "month": days[2], "total": 0}
    found = []
    for kind, dim in spending.DIMS.items():
        limited = {id: limits for id, limits in scopes.limits(connection, kind).items() if limits.all_budgets()}
        used = queries.usage_by(connection, days, dim) if limited else {}
        for id, limits in limited.items():
            for budget in limits.all_budgets():
                spent = spending.spent(used.get(id, Usage()), budget.interval)
                crossed = [percent for percent in settings.thresholds if spent * 100 >= budget.limit_nanousd * percent]
                if not crossed or not budget.limit_nanousd:
                    continue
                name = _name(connection, kind, id)
                where = f"{kind}/{id}/{budget.interval}/{int(budget.soft)}/{budget.limit_nanousd}/{begins[budget.interval]}"
                what = f"{'soft ' if budget.soft else ''}budget of {usd(budget.limit_nanousd)} $ {_per(budget.interval)}"
                found.append(
                    Alert(
                        f"budget/{where}/{crossed[-1]}",
                        "budget",
                        f"the {kind} {name!r} has spent {usd(spent)} $: {crossed[-1]} % or more of its {what}",
                        {
                            "scope": kind,
                            "scope_id": id,
                            "name": name,
                            "interval": budget.interval,
                            "soft": budget.soft,
                            "threshold_percent": crossed[-1],
                            "limit_usd": usd(budget.limit_nanousd),
                            "spent_usd": usd(spent),
                        },
                    )
                )
    return found


def _low_balances(connection: sqlite3.Connection, low: int) -> list[Alert]:
    granted = ledger.granted_by_account(connection)
    found = []
    for account, newest in stored.newest_grants(connection).items():
        left = granted.get(account, 0) - queries.usage_of_account(connection, account)
        if left <= low:
            name = queries.account_name(connection, account)
            facts = {"scope": "account", "scope_id": account, "name": name, "balance_usd": usd(left), "low_balance_usd": usd(low)}
            found.append(
                Alert(f"balance/{account}/{newest}", "low_balance", f"the account {name!r} has {usd(left)} $ of credit left", facts)
            )
    return found


def _unusual(connection: sqlite3.Connection, factor: int, least: int, now_ms: int) -> list[Alert]:
    today_ms = now_ms - now_ms % DAY_MS
    before = stored.charged_between(connection, today_ms - MEAN_DAYS * DAY_MS, today_ms)
    found = []
    for account, spent in stored.charged_between(connection, today_ms, today_ms + DAY_MS).items():
        past = before.get(account, 0)
        # Without a past nothing is unusual.
        if past and spent >= least and spent * MEAN_DAYS >= factor * past:
            name, mean = queries.account_name(connection, account), past // MEAN_DAYS
            text = f"the account {name!r} has spent {usd(spent)} $ today, {factor} times its mean of {usd(mean)} $ or more"
            facts = {
                "scope": "account",
                "scope_id": account,
                "name": name,
                "spent_usd": usd(spent),
                "mean_usd": usd(mean),
                "factor": factor,
            }
            found.append(Alert(f"unusual/{account}/{today_ms // DAY_MS}", "unusual_spend", text, facts))
    return found


def _name(connection: sqlite3.Connection, kind: str, id: int) -> str:
    if kind == scopes.KEY:
        key = queries.key(connection, id)
        return key.name if key else str(id)
    scope = scopes.scope(connection, kind, id)
    return scope.name if scope else str(id)


def _per(interval: str) -> str:
    return "in total" if interval == "total" else f"a {interval}"


# --- how it is told -------------------------------------------------------------------------------------------------------


def _content(alert: Alert) -> str:
    return msgspec.json.encode({"kind": alert.kind, "text": alert.text, **alert.facts}).decode()


def _note(connection: sqlite3.Connection, delivery: Delivery, why: str | None, now_ms: int) -> None:
    if why is None:
        stored.note_done(connection, delivery, now_ms)
    elif delivery.attempts >= len(RETRY_SECONDS):
        log.error("alert %d is given up, %s does not take it: %s", delivery.alert_id, delivery.channel, why)
        stored.note_done(connection, delivery, now_ms)
    else:
        wait = RETRY_SECONDS[delivery.attempts]
        log.warning("alert %d could not be sent by %s and is tried again in %d s: %s", delivery.alert_id, delivery.channel, wait, why)
        stored.note_failed(connection, delivery, now_ms + wait * 1000)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is signed for one address goes to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _post(url: str, secret: str, delivery: Delivery, now_ms: int) -> None:
    body = msgspec.json.encode({"id": delivery.alert_id, "at": rfc3339(delivery.at_ms), **msgspec.json.decode(delivery.content)})
    headers = {
        "content-type": "application/json",
        "user-agent": f"fairlead/{__version__}",
        "fairlead-signature": signature(secret, body, now_ms // 1000),
    }
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - the configuration allows http and https alone
    try:
        with _opener.open(request, timeout=SEND_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(f"it answered {error.code}") from None


def _mail(smtp: Smtp, delivery: Delivery) -> None:
    content = msgspec.json.decode(delivery.content)
    message = EmailMessage()
    message["From"], message["To"] = smtp.sender, ", ".join(smtp.to)
    # A name in it may hold what ends a header.
    message["Subject"] = "Fairlead: " + " ".join(content["text"].split())[:150]
    message["Message-ID"] = f"<alert-{delivery.alert_id}-{delivery.at_ms}@fairlead.invalid>"
    message.set_content("\n".join([content["text"], "", *(f"{name}: {value}" for name, value in content.items() if name != "text")]))
    context = ssl.create_default_context()
    if smtp.tls == "tls":
        with smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=SEND_SECONDS, context=context) as server:
            _hand_over(server, smtp, message)
        return
    with smtplib.SMTP(smtp.host, smtp.port, timeout=SEND_SECONDS) as server:
        if smtp.tls == "starttls":
            server.starttls(context=context)
        _hand_over(server, smtp, message)


def _hand_over(server: smtplib.SMTP, smtp: Smtp, message: EmailMessage) -> None:
    if smtp.user is not None and smtp.password is not None:
        server.login(smtp.user, smtp.password)
    server.send_message(message)
