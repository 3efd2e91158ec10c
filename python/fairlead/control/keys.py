"""`/admin/keys`: the operator's list of gateway keys. Items have OpenRouter's fields and a few of ours.

`{selector}` is a key's `hash`, its numeric id, or its name or label when only one key has it.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from fairlead.config import Limits
from fairlead.config.keys import DEFAULT_ACCOUNT
from fairlead.control import directory, limits, spending, states
from fairlead.control.db import queries
from fairlead.control.db.queries import Key, Usage
from fairlead.control.db.scopes import KEY
from fairlead.control.desk import Call
from fairlead.control.directory import NewKey
from fairlead.control.key import usage_fields
from fairlead.control.limits import LimitsBody
from fairlead.control.moments import coming_expiry_ms, expiry_ms
from fairlead.control.operator import sight
from fairlead.control.replies import Refusal, forbidden, invalid, not_found, reply, rfc3339
from fairlead.control.windows import window_starts

FindKeys = Callable[[sqlite3.Connection], list[Key]]

MOST_NAME = 200
MOST_PATTERNS = 1000


class KeyCreation(LimitsBody, kw_only=True):
    """`POST /admin/keys`."""

    name: str
    account: str = DEFAULT_ACCOUNT
    team: str = ""
    user: str = ""
    management: bool = False
    strict_translation: bool = False
    strict_budget: bool = False
    content: bool | None = None
    response_cache: bool | None = None
    models: list[str] = msgspec.field(default_factory=list)
    expires_at: datetime | None = None


class KeyChange(LimitsBody, kw_only=True):
    """`PATCH /admin/keys/{selector}`: what is absent stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    team: str | msgspec.UnsetType = msgspec.UNSET
    user: str | msgspec.UnsetType = msgspec.UNSET
    """Empty: none."""
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    strict_translation: bool | msgspec.UnsetType = msgspec.UNSET
    strict_budget: bool | msgspec.UnsetType = msgspec.UNSET
    content: bool | msgspec.UnsetType | None = msgspec.UNSET
    """None: as the configuration says."""
    response_cache: bool | msgspec.UnsetType | None = msgspec.UNSET
    models: list[str] | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


class Rotation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/keys/{selector}/rotate`."""

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=30 * 86_400)] = 86_400
    """How long the present secret is good beside the new one; 0: it stops at once."""


async def listing(call: Call) -> Response:
    """Every key that the caller sees, with its usage."""

    def seen(connection: sqlite3.Connection) -> list[Key]:
        return [key for key in queries.keys(connection) if sight.sees_key(call.principal, key)]

    return reply({"data": await _descriptions(call, seen)})


async def show(call: Call) -> Response:
    """One key with its usage."""
    try:
        return await _one(call, sight.seen_key(call.principal, call.place("selector")))
    except LookupError as error:
        raise refusal_of(error) from None


async def create(call: Call) -> Response:
    """Makes a key. `key` in the reply is the only time it is shown; it holds for the very next request."""
    wanted = await call.body(KeyCreation)
    if not call.principal.sees_all:
        wanted = await _of_member(call, wanted)
    expires_at_ms = coming_expiry_ms(wanted.expires_at, call.desk.now_ms())
    new = NewKey(
        name=checked_name(wanted.name),
        account=wanted.account,
        team=wanted.team,
        user=wanted.user,
        management=wanted.management,
        strict_translation=wanted.strict_translation,
        strict_budget=wanted.strict_budget,
        content=wanted.content,
        response_cache=wanted.response_cache,
        limits=wanted.revise(Limits()),
        models=checked_patterns(wanted.models),
        expires_at_ms=expires_at_ms,
    )
    try:
        key, text = await asyncio.to_thread(call.desk.directory.create, new)
    except LookupError as error:
        raise refusal_of(error) from None
    return reply({"key": text, "data": describe(key, Usage())}, 201, {"etag": states.tag(states.of_key(key))})


async def change(call: Call) -> Response:
    """Changes a key: its name, whether it is disabled, what it may do, use and spend, whose it is."""
    wanted = await call.body(KeyChange)
    changes: dict[str, Any] = {}
    if wanted.name is not msgspec.UNSET:
        changes["name"] = checked_name(wanted.name)
    if wanted.disabled is not msgspec.UNSET:
        changes["disabled"] = int(wanted.disabled)
    for flag in ("strict_translation", "strict_budget"):
        if getattr(wanted, flag) is not msgspec.UNSET:
            changes[flag] = int(getattr(wanted, flag))
    if wanted.content is not msgspec.UNSET:
        changes["content"] = wanted.content
    if wanted.response_cache is not msgspec.UNSET:
        changes["response_cache"] = wanted.response_cache
    for owner in ("team", "user"):
        if getattr(wanted, owner) is not msgspec.UNSET:
            changes[owner] = getattr(wanted, owner)
    if wanted.models is not msgspec.UNSET:
        changes["models"] = checked_patterns(wanted.models)
    if wanted.expires_at is not msgspec.UNSET:
        changes["expires_at_ms"] = expiry_ms(wanted.expires_at)
    revise = wanted.revise if wanted.says_limits() else None
    if not changes and revise is None:
        raise invalid(f"nothing to change: one of {', '.join(KeyChange.__struct_fields__)} is expected")
    await call.caught_up()
    try:
        if not call.principal.sees_all and {"team", "user"} & changes.keys():
            raise forbidden("team, user: whose a key is, an admin says")
        find = _of_edit(call)

        def allowed(connection: sqlite3.Connection) -> Key:
            key = find(connection)
            if key.disabled and wanted.disabled is False and not call.principal.sees_all:
                raise forbidden("disabled: whoever disabled it may have had a reason, so an admin enables it again")
            return key

        key = await asyncio.to_thread(call.desk.directory.change, allowed, changes, revise)
    except (LookupError, directory.OwnedByFile) as error:
        raise refusal_of(error) from None
    return await _one(call, lambda connection: key)


async def rotate(call: Call) -> Response:
    """Gives a key another secret, which `key` in the reply shows this once; the present one is good for `overlap_seconds` yet."""
    wanted = await call.body(Rotation)
    await call.caught_up()
    try:
        key, text = await asyncio.to_thread(call.desk.directory.rotate, _of_edit(call), wanted.overlap_seconds * 1000)
    except (LookupError, directory.OwnedByFile) as error:
        raise refusal_of(error) from None
    [(_, usage)] = await with_usage(call, lambda connection: [key])
    return reply({"key": text, "data": describe(key, usage)}, headers={"etag": states.tag(states.of_key(key))})


async def delete(call: Call) -> Response:
    """Deletes a key. What it did stays in the books."""
    try:
        key = await asyncio.to_thread(call.desk.directory.delete, _of_edit(call))
    except (LookupError, directory.OwnedByFile) as error:
        raise refusal_of(error) from None
    return reply({"data": {"hash": key.public_hash, "deleted": True}})


def _of_edit(call: Call) -> directory.Find:
    """The key of the path, if the caller may change it and has seen it as it is."""
    find, given = sight.own_key(call.principal, call.place("selector")), call.if_match()

    def finding(connection: sqlite3.Connection) -> Key:
        key = find(connection)
        states.check_match(given, states.of_key(key))
        return key

    return finding


async def _of_member(call: Call, wanted: KeyCreation) -> KeyCreation:
    """What a member makes is its own: of its account, user and team, and no management key."""
    if wanted.management:
        raise forbidden("management: an admin makes keys that administer others")
    account = await call.desk.database.read(lambda connection: queries.account_name(connection, call.principal.account))
    if wanted.account not in (DEFAULT_ACCOUNT, account) or wanted.team or wanted.user not in ("", call.principal.name):
        raise forbidden("account, team, user: a member's keys are its own")
    return msgspec.structs.replace(wanted, account=account, user=call.principal.name)


async def _one(call: Call, find: directory.Find) -> Response:
    [(key, usage)] = await with_usage(call, lambda connection: [find(connection)])
    return reply({"data": describe(key, usage)}, headers={"etag": states.tag(states.of_key(key))})


async def _descriptions(call: Call, find: FindKeys) -> list[dict[str, Any]]:
    return [describe(key, usage) for key, usage in await with_usage(call, find)]


async def with_usage(call: Call, find: FindKeys) -> list[tuple[Key, Usage]]:
    """Keys with what they were charged, as of the call."""
    await call.caught_up()
    days = window_starts(call.desk.now_ms())

    def work(connection: sqlite3.Connection) -> tuple[list[Key], dict[int, Usage]]:
        keys = find(connection)
        return keys, queries.usage_by_key(connection, days, keys[0].id if len(keys) == 1 else None)

    keys, usage = await call.desk.database.read(work)
    return [(key, spending.now(call.desk.engine, KEY, key.id, key.limits, usage.get(key.id, Usage()))) for key in keys]


def describe(key: Key, usage: Usage) -> dict[str, Any]:
    """A key as the operator's list has it: OpenRouter's fields and ours."""
    return openrouter_description(key, usage) | {
        "id": key.id,
        "source": key.source,
        "management": key.management,
        "strict_translation": key.strict_translation,
        "strict_budget": key.strict_budget,
        "content": key.content,
        "response_cache": key.response_cache,
        "models": key.models,
        "previous_label": key.previous_label or None,
        "previous_until": rfc3339(key.previous_until_ms),
        "account": key.account,
        "team": key.team or None,
        "user": key.user or None,
        **limits.fields(key.limits, usage),
        "etag": states.tag(states.of_key(key)),
    }


def openrouter_description(key: Key, usage: Usage) -> dict[str, Any]:
    """A key in OpenRouter's fields. Neither the key nor its stored hash is in it."""
    return {
        "hash": key.public_hash,
        "label": key.label,
        "name": key.name,
        "disabled": key.disabled,
        **limits.openrouter_fields(key.limits, usage),
        "include_byok_in_limit": key.include_byok,
        **usage_fields(usage),
        "created_at": rfc3339(key.created_at_ms),
        "updated_at": rfc3339(key.updated_at_ms),
        "last_used_at": rfc3339(key.last_used_at_ms),
        "expires_at": rfc3339(key.expires_at_ms),
        "creator_user_id": key.user or None,
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


def refusal_of(error: Exception) -> Refusal:
    """What went wrong with a selector, an owner or a name, as a reply."""
    match error:
        case directory.UnknownScope():
            return invalid(f"{error.kind}: {error}")
        case directory.AmbiguousKey() | directory.OwnedByFile() | directory.Taken():
            return Refusal(409, "invalid_request", str(error))
        case _:
            return not_found(str(error))
