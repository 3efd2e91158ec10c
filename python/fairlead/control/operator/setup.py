"""`/admin/setup`: how far a new installation has come, as the server knows it."""

import sqlite3
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from fairlead.control import trail
from fairlead.control.db import queries, scopes
from fairlead.control.desk import Call
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import reply, rfc3339

DISMISSED = "setup_dismissed"
SIMULATOR = "sim"


class Step(Shape):
    """Something to do."""

    name: Literal["provider", "key", "request", "budget"]
    done: bool
    says: str
    """How it stands."""


class Setup(Shape):
    """How far it has come, and what to paste."""

    steps: list[Step]
    done: bool
    dismissed: bool
    data_url: str | None
    """The traffic port, as it was bound."""
    model: str | None
    """One to try."""
    simulator: bool
    """It answers, so that nothing costs money."""
    first_request: str | None
    """When the newest request ended."""


class SetupData(Shape):
    """A reply."""

    data: Setup


class Dismissal(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`PUT /admin/setup`."""

    dismissed: bool


async def show(call: Call) -> Response:
    """Which of the first steps are done: a provider, a key, a request, a budget."""
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[list[queries.Key], int | None, bool, bool]:
        keys = queries.keys(connection)
        newest = queries.newest_settled_at_ms(connection)
        limited = any(scopes.limits(connection, kind) for kind in scopes.KINDS)
        return keys, newest, limited, queries.meta(connection, DISMISSED) == "1"

    keys, newest, limited, dismissed = await call.desk.database.read(work)
    offer = call.desk.offer
    real = [slug for slug in offer.providers if slug != SIMULATOR]
    steps: list[dict[str, Any]] = [
        {"name": "provider", "done": bool(offer.providers), "says": _providers(real, SIMULATOR in offer.providers)},
        {"name": "key", "done": bool(keys), "says": f"{len(keys)} key{'' if len(keys) == 1 else 's'}"},
        {"name": "request", "done": newest is not None, "says": "seen" if newest is not None else "none seen yet"},
        {"name": "budget", "done": limited, "says": "there is a limit" if limited else "nothing limits spending"},
    ]
    ids = [model.id for model in offer.models]
    data = {
        "steps": steps,
        "done": all(step["done"] for step in steps),
        "dismissed": dismissed,
        "data_url": call.desk.facts.get("data_url"),
        "model": "sim/echo" if "sim/echo" in ids else ids[0] if ids else None,
        "simulator": SIMULATOR in offer.providers,
        "first_request": rfc3339(newest),
    }
    return reply({"data": data})


async def dismiss(call: Call) -> Response:
    """Puts the first steps away, or shows them again."""
    wanted, at_ms = await call.body(Dismissal), call.desk.now_ms()

    def work(connection: sqlite3.Connection) -> None:
        before = queries.meta(connection, DISMISSED) == "1"
        queries.set_meta(connection, DISMISSED, "1" if wanted.dismissed else "0")
        trail.note(connection, at_ms, "setup.dismiss", ("setup", 0, ""), {"dismissed": before}, {"dismissed": wanted.dismissed})

    await call.desk.database.write(work)
    return await show(call)


def _providers(real: list[str], simulator: bool) -> str:
    if real:
        return ", ".join(real[:5]) + ("" if len(real) <= 5 else f" and {len(real) - 5} more")
    return "the simulator answers" if simulator else "none is on"
