"""The audit log: every change with who made it, when, and what was before and after. It only grows.

Who acts is known where a call comes in (`acting`) and needed where a transaction writes (`note`). Between them it travels as the context of
the call, which the database takes along to its writer's thread; so no change has to hand it on, and none can forget to.
"""

import sqlite3
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import msgspec

from fairlead.control.access import Principal
from fairlead.control.db import operators


class Actor(NamedTuple):
    """Who makes a change: `kind` is `token` (whoever has the admin token), `user`, `key`, `command` (on this machine) or `process`."""

    kind: str
    id: int = 0
    name: str = ""
    role: str = ""
    address: str = ""


PROCESS = Actor("process", name="fairlead")
_actor: ContextVar[Actor] = ContextVar("fairlead_actor", default=PROCESS)


def acting(actor: Actor) -> None:
    """From here on, in this call, changes are this one's."""
    _actor.set(actor)


def actor() -> Actor:
    """Whose changes these are."""
    return _actor.get()


def actor_of(principal: Principal | None, address: str, over_socket: bool) -> Actor:
    """Who a caller is, in the words of the log."""
    match principal:
        case Principal(kind="user", user=id, name=name, role=role):
            return Actor("user", id, name, role, address)
        case Principal(kind="key", key=id):
            return Actor("key", id, f"key {id}", "", address)
        case Principal(kind="operator", role=role):
            return Actor("command", 0, "command line", role) if over_socket else Actor("token", 0, "admin token", role, address)
        case _:
            return Actor("anonymous", 0, "", "", address)


def note(
    connection: sqlite3.Connection,
    at_ms: int,
    action: str,
    target: tuple[str, int | str, str],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """Writes an entry, in the transaction of the change. `target` is its kind, id and name. Of two states only what differs is kept; where
    nothing does, there was no change."""
    if before is not None and after is not None:
        before, after = differing(before, after)
        if not after:
            return
    actor, (kind, id, name) = _actor.get(), target
    operators.add_audit(
        connection,
        {
            "at_ms": at_ms, "actor_kind": actor.kind, "actor_id": actor.id, "actor": actor.name, "role": actor.role,
            "address": actor.address, "action": action, "target_kind": kind, "target_id": str(id), "target": name,
            "before": _text(before), "after": _text(after),
        },
    )  # fmt: skip


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is not the same in both."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {name: before.get(name) for name in names}, {name: after.get(name) for name in names}


def _text(state: Mapping[str, Any] | None) -> str | None:
    return None if state is None else msgspec.json.encode(state).decode()
