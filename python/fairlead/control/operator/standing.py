"""`/admin/budgets`, `/admin/alerts`: who may still spend how much, who will be stopped first, and what was told of it."""

import sqlite3
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.config.limits import Budget, Limits
from fairlead.control import alerts, spending, trail
from fairlead.control.db import alerts as stored
from fairlead.control.db import queries, scopes
from fairlead.control.db.alerts import Delivery
from fairlead.control.db.queries import Key, Usage
from fairlead.control.db.scopes import Scope
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.operator import sight
from fairlead.control.operator.shapes import Shape
from fairlead.control.outward import aside
from fairlead.control.replies import Refusal, reply, rfc3339
from fairlead.control.windows import resets_at, window_starts

MOST_SILENCE_MS = 30 * queries.DAY_MS


class BudgetLine(Shape):
    """A limit of money, and what is left of it. A scope's own limit and its budgets are lines alike."""

    kind: Literal["account", "team", "user", "key"]
    id: int
    name: str
    account: str
    team: str | None
    user: str | None
    """Whom it belongs to."""
    source: str
    disabled: bool
    """A key that is switched off: nothing is spent of it."""
    interval: Literal["day", "week", "month", "total"]
    soft: bool
    """Nothing is refused."""
    limit_usd: str
    spent_usd: str
    reserved_usd: str
    """Of calls that run now; 0 where nobody counts."""
    remaining_usd: str
    used_share: float | None
    """Spent of the limit; null of a limit of nothing."""
    resets_at: str | None
    """UTC; null: never."""


class BudgetList(Shape):
    """A reply: what is nearest to its limit comes first."""

    data: list[BudgetLine]


class Channel(Shape):
    """Where alerts go beside the log."""

    kind: Literal["webhook", "smtp"]
    to: str
    """The host, or the addresses."""


class AlertRules(Shape):
    """What is told of. `fairlead.toml` owns it: here it is read-only."""

    thresholds_percent: list[int]
    low_balance_usd: str | None
    unusual_factor: int | None
    unusual_usd: str
    channels: list[Channel]
    silenced_until: str | None


class AlertDelivery(Shape):
    """How sending it went."""

    channel: str
    attempts: int
    """That failed."""
    done_at: str | None
    """Delivered or given up; null: it is tried again."""


class AlertLine(Shape):
    """An alert that was raised."""

    id: int
    at: str
    kind: str
    text: str
    facts: dict[str, Any]
    deliveries: list[AlertDelivery]


class AlertsPage(Shape):
    """A reply, the newest first."""

    rules: AlertRules
    data: list[AlertLine]
    next: int | None


class AlertsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A page."""

    before: Annotated[int, Meta(ge=1, le=queries.MOST_INTEGER)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class Silence(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`PUT /admin/alerts/silence`: nothing is sent for so long; 0: it is again. The log and the list have all alerts either way."""

    minutes: Annotated[int, Meta(ge=0, le=MOST_SILENCE_MS // 60_000)]


class Tested(Shape):
    """What became of a test alert."""

    channel: str
    delivered: bool
    error: str | None


class TestedList(Shape):
    """A reply."""

    data: list[Tested]


async def budgets(call: Call) -> Response:
    """Every limit of money that the caller sees, with what is spent, reserved and left, and when it begins anew."""
    await call.caught_up()
    now_ms = call.desk.now_ms()
    days = window_starts(now_ms)

    def work(connection: sqlite3.Connection) -> list[tuple[dict[str, Any], Limits, Usage]]:
        found = []
        for kind, dim in spending.DIMS.items():
            used = queries.usage_by(connection, days, dim)
            for facts, limits in _limited(connection, call, kind):
                if limits.all_budgets():
                    found.append((facts, limits, used.get(facts["id"], Usage())))
        return found

    lines = []
    for facts, limits, in_database in await call.desk.database.look(work):
        reserved = spending.reserved(call.desk.engine, facts["kind"], facts["id"])
        usage = spending.now(call.desk.engine, facts["kind"], facts["id"], limits, in_database)
        lines += [_budget(facts, budget, usage, reserved, now_ms) for budget in limits.all_budgets()]
    lines.sort(key=lambda line: (line["soft"], -(line["used_share"] if line["used_share"] is not None else 2.0)))
    return reply({"data": lines})


async def alerts_page(call: Call) -> Response:
    """What is told of, where to, and what was told, the newest first."""
    asked, settings = call.asked(AlertsQuery), call.desk.alerts

    def work(connection: sqlite3.Connection) -> tuple[list[dict[str, Any]], int]:
        return stored.history(connection, asked.before, asked.limit), stored.silenced_until(connection)

    rows, silenced_ms = await call.desk.database.look(work)
    channels = []
    if settings.webhook_url:
        channels.append({"kind": "webhook", "to": settings.webhook_url.split("/")[2].rpartition("@")[2]})
    if settings.smtp:
        channels.append({"kind": "smtp", "to": ", ".join(settings.smtp.to)})
    rules = {
        "thresholds_percent": settings.thresholds,
        "low_balance_usd": None if settings.low_balance_nanousd is None else usd(settings.low_balance_nanousd),
        "unusual_factor": settings.unusual_factor,
        "unusual_usd": usd(settings.unusual_nanousd),
        "channels": channels,
        "silenced_until": rfc3339(silenced_ms) if silenced_ms > call.desk.now_ms() else None,
    }
    data = [_alert(row) for row in rows]
    return reply({"rules": rules, "data": data, "next": rows[-1]["id"] if len(rows) == asked.limit else None})


async def silence(call: Call) -> Response:
    """Sends no alerts for some time."""
    wanted, now_ms = await call.body(Silence), call.desk.now_ms()
    until_ms = now_ms + wanted.minutes * 60_000 if wanted.minutes else 0

    def work(connection: sqlite3.Connection) -> None:
        before = stored.silenced_until(connection)
        stored.set_silenced(connection, until_ms)
        was, now = ({"silenced_until": rfc3339(at_ms) if at_ms > now_ms else None} for at_ms in (before, until_ms))
        trail.note(connection, now_ms, "alerts.silence", ("alerts", 0, ""), was, now)

    await call.desk.database.write(work)
    return reply({"data": {"message": f"no alerts are sent for {wanted.minutes} minutes" if wanted.minutes else "alerts are sent"}})


async def test(call: Call) -> Response:
    """Sends a test alert to every channel, now and once, and says what became of it."""
    settings, now_ms = call.desk.alerts, call.desk.now_ms()
    if not settings.channels:
        raise Refusal(409, "invalid_request", "there is no channel: [alerts] names a webhook_url or smtp", fix="[alerts] webhook_url")
    content = msgspec.json.encode({"kind": "test", "text": "this is a test: alerts arrive here"}).decode()
    found: list[dict[str, Any]] = []
    for channel in settings.channels:
        error: str | None = None
        try:
            delivery = Delivery(0, channel, 0, now_ms, content)
            await aside(lambda delivery=delivery: alerts.send(delivery, settings, now_ms), "fl-alert")  # type: ignore[misc]
        except alerts.SENDING_FAILED as failure:
            error = f"{type(failure).__name__}: {failure}"
        found.append({"channel": channel, "delivered": error is None, "error": error})
    said = {str(line["channel"]): "delivered" if line["delivered"] else "failed" for line in found}
    await call.desk.database.write(lambda c: trail.note(c, now_ms, "alerts.test", ("alerts", 0, ""), None, said))
    return reply({"data": found})


def _limited(connection: sqlite3.Connection, call: Call, kind: str) -> list[tuple[dict[str, Any], Limits]]:
    """The scopes of a kind that the caller sees, with whom they belong to."""
    if kind == scopes.KEY:
        keys = [key for key in queries.keys(connection) if sight.sees_key(call.principal, key)]
        return [(_facts(kind, key, key.user or None) | {"disabled": key.disabled}, key.limits) for key in keys]
    found = [scope for scope in scopes.scopes(connection, kind) if sight.sees_scope(call.principal, scope)]
    return [(_facts(kind, scope, None), scope.limits) for scope in found]


def _facts(kind: str, of: Key | Scope, user: str | None) -> dict[str, Any]:
    facts = {"kind": kind, "id": of.id, "name": of.name, "account": of.account, "team": of.team or None}
    return facts | {"user": user, "source": of.source, "disabled": False}


def _budget(facts: dict[str, Any], budget: Budget, usage: Usage, reserved: int, now_ms: int) -> dict[str, Any]:
    spent = spending.spent(usage, budget.interval)
    return facts | {
        "interval": budget.interval,
        "soft": budget.soft,
        "limit_usd": usd(budget.limit_nanousd),
        "spent_usd": usd(spent),
        "reserved_usd": usd(reserved),
        "remaining_usd": usd(spending.remaining(usage, budget) - reserved),
        "used_share": round(spent / budget.limit_nanousd, 6) if budget.limit_nanousd else None,
        "resets_at": resets_at(budget.interval, now_ms),
    }


def _alert(row: dict[str, Any]) -> dict[str, Any]:
    content = msgspec.json.decode(row["content"])
    facts = {name: value for name, value in content.items() if name not in ("kind", "text")}
    deliveries = [{"channel": c, "attempts": n, "done_at": rfc3339(done)} for c, n, done in row["deliveries"]]
    return {
        "id": row["id"], "at": rfc3339(row["at_ms"]), "kind": content["kind"], "text": content["text"], "facts": facts,
        "deliveries": deliveries,
    }  # fmt: skip
