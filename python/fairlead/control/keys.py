"""`/admin/keys`: the operator's list of gateway keys. Items have OpenRouter's fields and a few of ours.

`{selector}` is a key's `hash`, its numeric id, or its name or label when only one key has it.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from fairlead.control import directory
from fairlead.control.db import queries
from fairlead.control.db.queries import Key, Usage
from fairlead.control.desk import Call
from fairlead.control.directory import NewKey
from fairlead.control.key import usage_fields
from fairlead.control.replies import Refusal, invalid, not_found, reply, rfc3339
from fairlead.control.windows import window_starts

MOST_NAME = 200
MOST_PATTERNS = 1000


class Creation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/keys`."""

    name: str
    account: str = "default"
    management: bool = False
    strict_translation: bool = False
    models: list[str] = []
    expires_at: datetime | None = None


class Change(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`PATCH /admin/keys/{selector}`: what is absent stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    strict_translation: bool | msgspec.UnsetType = msgspec.UNSET
    models: list[str] | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


async def listing(call: Call) -> Response:
    """Every key with its usage."""
    await call.caught_up()
    days = window_starts(call.desk.now_ms())
    found = await call.desk.database.read(lambda connection: described(connection, queries.keys(connection), days))
    return reply({"data": found})


async def show(call: Call) -> Response:
    """One key with its usage."""
    await call.caught_up()
    try:
        return await _one(call, lambda connection: directory.select(connection, call.place("selector")))
    except LookupError as error:
        raise refusal_of(error) from None


async def create(call: Call) -> Response:
    """Makes a key. `key` in the reply is the only time it is shown; it holds for the very next request."""
    wanted = await call.body(Creation)
    expires_at_ms = unix_ms(wanted.expires_at)
    if expires_at_ms is not None and expires_at_ms <= call.desk.now_ms():
        raise invalid("expires_at: this moment has passed, so the key would never work")
    new = NewKey(
        name=checked_name(wanted.name),
        account=wanted.account,
        management=wanted.management,
        strict_translation=wanted.strict_translation,
        models=checked_patterns(wanted.models),
        expires_at_ms=expires_at_ms,
    )
    try:
        key, text = await asyncio.to_thread(call.desk.directory.create, new)
    except LookupError as error:
        raise refusal_of(error) from None
    return reply({"key": text, "data": describe(key, Usage())}, 201)


async def change(call: Call) -> Response:
    """Renames, disables, enables, restricts or dates a key, or sets how strict its translations are."""
    wanted = await call.body(Change)
    changes: dict[str, Any] = {}
    if wanted.name is not msgspec.UNSET:
        changes["name"] = checked_name(wanted.name)
    if wanted.disabled is not msgspec.UNSET:
        changes["disabled"] = int(wanted.disabled)
    if wanted.strict_translation is not msgspec.UNSET:
        changes["strict_translation"] = int(wanted.strict_translation)
    if wanted.models is not msgspec.UNSET:
        changes["models"] = checked_patterns(wanted.models)
    if wanted.expires_at is not msgspec.UNSET:
        changes["expires_at_ms"] = unix_ms(wanted.expires_at)
    if not changes:
        raise invalid("nothing to change: name, disabled, strict_translation, models or expires_at is expected")
    try:
        key = await asyncio.to_thread(call.desk.directory.change, call.place("selector"), changes)
    except (LookupError, directory.OwnedByFile) as error:
        raise refusal_of(error) from None
    return await _one(call, lambda connection: key)


async def delete(call: Call) -> Response:
    """Deletes a key. What it did stays in the books."""
    try:
        key = await asyncio.to_thread(call.desk.directory.delete, call.place("selector"))
    except (LookupError, directory.OwnedByFile) as error:
        raise refusal_of(error) from None
    return reply({"data": {"hash": key.public_hash, "deleted": True}})


async def _one(call: Call, find: Callable[[sqlite3.Connection], Key]) -> Response:
    days = window_starts(call.desk.now_ms())
    found = await call.desk.database.read(lambda connection: described(connection, [find(connection)], days))
    return reply({"data": found[0]})


def described(connection: sqlite3.Connection, keys: list[Key], days: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Keys with their usage, in a reader's view."""
    usage = queries.usage_by_key(connection, days)
    return [describe(key, usage.get(key.id, Usage())) for key in keys]


def describe(key: Key, usage: Usage) -> dict[str, Any]:
    """A key as it is listed. Neither the key nor its stored hash is in it."""
    return {
        "id": key.id,
        "hash": key.public_hash,
        "label": key.label,
        "name": key.name,
        "source": key.source,
        "disabled": key.disabled,
        "management": key.management,
        "strict_translation": key.strict_translation,
        "models": key.models,
        "limit": None,
        "limit_remaining": None,
        "limit_reset": None,
        "include_byok_in_limit": False,
        **usage_fields(usage),
        "created_at": rfc3339(key.created_at_ms),
        "updated_at": rfc3339(key.updated_at_ms),
        "last_used_at": rfc3339(key.last_used_at_ms),
        "expires_at": rfc3339(key.expires_at_ms),
        "creator_user_id": None,
        "external_user": None,
        "workspace_id": key.account,
    }


def checked_name(name: str) -> str:
    """A name for people; 400 when it is empty, long or has control characters."""
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
        raise invalid(f"name: 1 to {MOST_NAME} printable characters are expected")
    return name


def checked_patterns(models: list[str]) -> list[str]:
    """Model patterns; 400 when there are too many or one is empty or long."""
    if len(models) > MOST_PATTERNS or any(not 0 < len(pattern) <= 200 for pattern in models):
        raise invalid(f"models: at most {MOST_PATTERNS} patterns of 1 to 200 characters are expected")
    return models


def unix_ms(moment: datetime | None) -> int | None:
    """Unix milliseconds; 400 without an offset from UTC."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise invalid("expires_at: an offset is missing, such as the Z in 2027-01-01T00:00:00Z")
    return round(moment.astimezone(UTC).timestamp() * 1000)


def refusal_of(error: Exception) -> Refusal:
    """What went wrong with a selector, as a reply."""
    match error:
        case directory.UnknownAccount():
            return invalid(f"account: there is no account {str(error)!r}")
        case directory.AmbiguousKey():
            return Refusal(409, "invalid_request", str(error))
        case directory.OwnedByFile():
            return Refusal(409, "invalid_request", str(error))
        case _:
            return not_found(f"there is no key {str(error)!r}")
