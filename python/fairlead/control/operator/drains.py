"""Endpoints that an operator has set aside for some time: `POST /admin/endpoints/{id}/drain` and `enable`.

What runs there goes on, nothing new is sent. The data plane is given the configuration without them; so a drain holds for every request
that comes after it, a reload keeps it, and a restart, too. It ends by itself.
"""

import sqlite3
from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.config import wire
from fairlead.control import trail
from fairlead.control.credits import checked_note
from fairlead.control.db import queries
from fairlead.control.desk import Call, Desk
from fairlead.control.offer import Offer
from fairlead.control.replies import Refusal, not_found, reply, rfc3339

DRAINED = "drained_endpoints"
MOST_MINUTES = 7 * 24 * 60


class DrainBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """For how long, and why."""

    minutes: Annotated[int, Meta(ge=1, le=MOST_MINUTES)]
    note: str = ""


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that is set aside."""

    endpoint: int
    until_ms: int
    by: str
    note: str


def stored(connection: sqlite3.Connection) -> list[Drained]:
    """Those that are set aside, also those whose time is over and who were not let in again yet."""
    return msgspec.json.decode(queries.meta(connection, DRAINED) or "[]", type=list[Drained])


def store(connection: sqlite3.Connection, drained: Collection[Drained]) -> None:
    """Replaces them."""
    queries.set_meta(connection, DRAINED, msgspec.json.encode(list(drained)).decode())


def ids(drained: Collection[Drained], now_ms: int) -> frozenset[int]:
    """Endpoints that nothing is sent to now."""
    return frozenset(each.endpoint for each in drained if each.until_ms > now_ms)


def without(snapshot: bytes, drained: Collection[int]) -> bytes:
    """The snapshot without these endpoints. A model that would have none keeps all that it has."""
    parts = msgspec.json.decode(snapshot, type=dict[str, msgspec.Raw])
    models = msgspec.json.decode(parts["models"], type=list[wire.Model])
    left = []
    for model in models:
        kept = [endpoint for endpoint in model.endpoints if endpoint.id not in drained]
        left.append(msgspec.structs.replace(model, endpoints=kept) if kept else model)
    parts["models"] = msgspec.Raw(msgspec.json.encode(left))
    return msgspec.json.encode(parts)


async def drain(call: Call) -> Response:
    """Sends nothing more to an endpoint for some time; what runs there goes on. 409 for the last one of its model."""
    wanted, desk = await call.body(DrainBody), call.desk
    id, name = _endpoint(call)
    now_ms = desk.now_ms()
    made = Drained(
        endpoint=id, until_ms=now_ms + wanted.minutes * 60_000, by=call.principal.name or "admin token", note=checked_note(wanted.note)
    )

    def work(connection: sqlite3.Connection) -> None:
        present = [each for each in stored(connection) if each.endpoint != id]
        if _is_last(desk.offer, id, ids(present, now_ms)):
            raise Refusal(409, "invalid_request", "it is the last endpoint of its model: without it there would be no model")
        store(connection, [*present, made])
        said = {"until": rfc3339(made.until_ms), "note": made.note}
        trail.note(connection, now_ms, "endpoint.drain", ("endpoint", id, name), None, said)

    await desk.database.write(work)
    await desk.republish()
    return reply({"data": {"message": f"nothing is sent to {name} until {rfc3339(made.until_ms)}"}})


async def enable(call: Call) -> Response:
    """Lets an endpoint in again."""
    id, name = _endpoint(call)
    now_ms = call.desk.now_ms()

    def work(connection: sqlite3.Connection) -> bool:
        present = stored(connection)
        left = [each for each in present if each.endpoint != id]
        if len(left) < len(present):
            store(connection, left)
            trail.note(connection, now_ms, "endpoint.enable", ("endpoint", id, name), None, {"by": "operator"})
        return len(left) < len(present)

    was_drained = await call.desk.database.write(work)
    await call.desk.republish()
    return reply({"data": {"message": f"{name} is asked again" if was_drained else f"{name} was not set aside"}})


async def end(desk: Desk) -> None:
    """Lets those in whose time is over."""
    now_ms = desk.now_ms()
    present = await desk.database.read(stored)
    if all(each.until_ms > now_ms for each in present):
        return

    def work(connection: sqlite3.Connection) -> None:
        found = stored(connection)
        store(connection, [each for each in found if each.until_ms > now_ms])
        for each in found:
            if each.until_ms <= now_ms:
                name = _name(desk.offer, each.endpoint) or str(each.endpoint)
                trail.note(connection, now_ms, "endpoint.enable", ("endpoint", each.endpoint, name), None, {"by": "time"})

    await desk.database.write(work)
    await desk.republish()


def _endpoint(call: Call) -> tuple[int, str]:
    text = call.place("id")
    id = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
    name = _name(call.desk.offer, id)
    if name is None:
        raise not_found(f"there is no endpoint {text[:40]!r}; GET /admin/models lists them")
    return id, name


def _name(offer: Offer, id: int) -> str | None:
    return next((f"{m.id} at {e.provider}" for m in offer.models for e in m.endpoints if e.id == id), None)


def _is_last(offer: Offer, id: int, drained: Collection[int]) -> bool:
    model: Any = next(model for model in offer.models if any(endpoint.id == id for endpoint in model.endpoints))
    return not [endpoint for endpoint in model.endpoints if endpoint.id != id and endpoint.id not in drained]
