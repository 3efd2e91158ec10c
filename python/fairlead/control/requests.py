"""`GET /admin/requests`: one row per generation with its attempts and losses inside, newest settled first; below it, one by its id."""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.control.access import Principal
from fairlead.control.db import queries, search
from fairlead.control.db.queries import MOST_INTEGER, Row
from fairlead.control.desk import Call
from fairlead.control.drain import Running
from fairlead.control.limits import amount
from fairlead.control.moments import unix_ms
from fairlead.control.money import usd
from fairlead.control.operator import cost
from fairlead.control.operator.shapes import GenerationRow, KeyName, Shape
from fairlead.control.replies import csv_reply, invalid, not_found, reply, rfc3339

# Marks of a generation or attempt, in the order of their bits.
FLAGS = ("estimated", "usage_missing", "recovered", "insured", "resent", "cost_reported", "content", "shadow", "free_tier")
_GENERATION_ID = re.compile("gen-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Text = Annotated[str, Meta(min_length=1, max_length=300)]
Id = Annotated[int, Meta(ge=1, le=MOST_INTEGER)]
Least = Annotated[int, Meta(ge=0, le=MOST_INTEGER)]
MOST_RUNNING = 50


class RequestsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Filters; all that are given must hold. Down to `provider` an index has them; the others are looked for in windows."""

    before: Text | None = None
    """The `next` of the page before."""
    after: Text | None = None
    """A generation's id: what was settled later only."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    from_: datetime | None = msgspec.field(name="from", default=None)
    to: datetime | None = None
    session: Text | None = None
    end_user: Text | None = None
    retried: bool | None = None
    """True: those alone; false is not taken."""
    failed: bool | None = None
    """As `retried`."""
    app: Text | None = None
    user: Id | None = None
    key: Id | None = None
    team: Id | None = None
    model: Text | None = None
    provider: Text | None = None
    account: Id | None = None
    endpoint: Id | None = None
    outcome: Literal["completed", "cancelled", "failed", "recovered", "void"] | None = None
    status: Annotated[int, Meta(ge=0, le=999)] | None = None
    streamed: bool | None = None
    error: Text | None = None
    """Part of the error's text."""
    least_usd: Text | None = None
    least_tokens: Least | None = None
    least_ms: Annotated[int, Meta(ge=0, le=10**12)] | None = None
    preset: Text | None = None
    split: Text | None = None
    arm: Text | None = None
    """`split/arm`, as series have it, or the arm alone, of every split."""
    dialect: Text | None = None
    requested_model: Text | None = None


class RequestsPage(Shape):
    """A reply."""

    data: list[GenerationRow]  # type: ignore[valid-type]
    next: str | None
    """The `before` of the following page; null at the end."""
    searched_to: str | None
    """Where the search stopped because it took long: go on with `next`. Null: it came as far as the page needed."""


class RunningData(Shape):
    """A call in progress."""

    id: str
    started_at: str
    running_ms: int
    account_id: int
    team_id: int
    user_id: int
    key_id: int
    key: KeyName
    model: str
    provider: str
    """Of the first attempt."""
    reserved_usd: str
    """Held for it when it began."""
    prompt_tokens_estimate: int


class RunningPage(Shape):
    """A reply."""

    data: list[RunningData]
    total: int
    """All of them; `data` has the oldest."""


class Timings(Shape):
    """Milliseconds since the request was admitted; null: it did not come to that."""

    sent_ms: float | None
    """The attempt that answered was sent."""
    head_ms: float | None
    content_ms: float | None
    """The first content."""
    total_ms: float
    own_ms: float
    """Our own share."""


class RequestData(Shape):
    """A reply."""

    data: GenerationRow  # type: ignore[valid-type]
    timings: Timings
    cost: cost.Cost


async def listing(call: Call) -> Response:
    """Generations, newest settled first, by what is asked for; `Accept: text/csv` for a spreadsheet."""
    asked = call.asked(RequestsQuery)
    filters = _filters(asked, call)
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[list[dict[str, Any]], search.Found]:
        if asked.endpoint is not None and "model" not in filters:
            # It has no index of its own, and its model has.
            filters["model"] = search.model_of_endpoint(connection, asked.endpoint)
        before = search.LAST if asked.before is None else _place(connection, "before", asked.before)
        after = search.FIRST if asked.after is None else _place(connection, "after", asked.after)
        found = search.page(connection, filters, asked.limit, before=before, after=after, **_times(asked))
        return described(connection, found.rows), found

    rows, found = await call.desk.database.look(work)
    if call.wants_csv:
        return _csv(rows)
    return reply({"data": rows, "next": found.next, "searched_to": rfc3339(found.searched_to_ms)})


async def running(call: Call) -> Response:
    """Calls in progress, longest first: reserved, and not settled yet. Those that end are in the listing from then on."""
    await call.caught_up()
    now_ms = call.desk.now_ms()

    def work(connection: sqlite3.Connection) -> tuple[list[dict[str, Any]], int]:
        seen = []
        for each in call.desk.drainer.running():
            account, team, user, key = each.owners
            row = {"account_id": account, "team_id": team, "user_id": user, "key_id": key}
            if sees(call.principal, row):
                seen.append((each, row))
        labels = queries.key_labels(connection) if seen else {}
        return [_running(each, row, labels, now_ms) for each, row in seen[:MOST_RUNNING]], len(seen)

    rows, total = await call.desk.database.look(work)
    return reply({"data": rows, "total": total})


def _running(each: Running, row: dict[str, int], labels: dict[int, tuple[str, str]], now_ms: int) -> dict[str, Any]:
    name, label = labels.get(row["key_id"], ("", ""))
    return {
        "id": each.id,
        "started_at": rfc3339(each.started_at_ms),
        "running_ms": max(0, now_ms - each.started_at_ms),
        **row,
        "key": {"name": name, "label": label},
        "model": each.model,
        "provider": each.provider,
        "reserved_usd": usd(each.reserved_nanousd),
        "prompt_tokens_estimate": each.prompt_tokens_estimate,
    }


async def show(call: Call) -> Response:
    """One generation with its attempts, losses, timings and cost, of whatever account the caller sees."""
    id = call.place("id")
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[Row, list[dict[str, Any]]] | None:
        row = queries.generation_of_any_account(connection, id)
        return None if row is None or not sees(call.principal, row) else (row, described(connection, [row]))

    found = await call.desk.database.look(work)
    if found is None:
        raise not_found(f"there is no generation {id[:60]!r}")
    row, [shown] = found
    return reply({"data": shown, "timings": _timings(row), "cost": cost.of(row, shown["attempts"], call.desk.offer)})


def sees(who: Principal, row: Mapping[str, Any]) -> bool:
    """Whether one may look at a generation: who does not see all, at those of its team, or else at its own."""
    if who.sees_all:
        return True
    return bool(row["account_id"] == who.account and (row["team_id"] == who.team if who.team else row["user_id"] == who.user))


def own_filters(call: Call) -> dict[str, Any]:
    """The same as filters."""
    who = call.principal
    if who.sees_all:
        return {}
    return {"account": who.account} | ({"team": who.team} if who.team else {"user": who.user})


def described(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows with what belongs to them, in the units of people."""
    if not rows:
        return []
    ids = [row["id"] for row in rows]
    attempts, losses, labels = queries.attempts(connection, ids), queries.losses(connection, ids), queries.key_labels(connection)
    return [_shown(row, attempts[row["id"]], losses[row["id"]], labels) for row in rows]


def _filters(asked: RequestsQuery, call: Call) -> dict[str, Any]:
    given = {name: value for name in (*search.INDEXED, *search.OTHERS) if (value := getattr(asked, name, None)) is not None}
    for name, value in own_filters(call).items():
        if given.setdefault(name, value) != value:
            raise not_found(f"{name}: there is no such {name}")
    for name, stored in (("failed", "failed"), ("retried", 1)):
        if name in given:
            if not given[name]:
                raise invalid(f"{name}: true is expected, or nothing", path=name)
            given[name] = stored
    if asked.least_usd is not None:
        given["least_nanousd"] = amount("least_usd", asked.least_usd)
    return given


def _times(asked: RequestsQuery) -> dict[str, int]:
    found = {}
    for name, member, moment in (("first_ms", "from", asked.from_), ("end_ms", "to", asked.to)):
        if moment is not None:
            found[name] = unix_ms(member, moment)
    return found


def _place(connection: sqlite3.Connection, name: str, id: str) -> search.Place:
    place = search.place(connection, id) if _GENERATION_ID.fullmatch(id) else None
    if place is None:
        raise invalid(f"{name}: a generation's id is expected, such as the last page's next", path=name)
    return place


def _timings(row: Row) -> dict[str, Any]:
    def ms(name: str) -> float | None:
        return row[f"{name}_us"] / 1000 if row[f"{name}_us"] else None

    return {f"{name}_ms": ms(name) for name in ("sent", "head", "content")} | {
        "total_ms": row["total_us"] / 1000,
        "own_ms": row["own_us"] / 1000,
    }


_CSV = (
    "settled_at", "id", "outcome", "status", "error", "model", "provider", "prompt_tokens", "cache_read_tokens", "completion_tokens",
    "charged_usd", "upstream_cost_usd", "content_us", "total_us", "end_user", "session_id", "split", "arm",
)  # fmt: skip


def _csv(rows: Sequence[dict[str, Any]]) -> Response:
    table = [[*(row[name] for name in _CSV), row["key"]["name"], len(row["attempts"])] for row in rows]
    return csv_reply([[*_CSV, "key", "attempts"], *table], "requests")


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
