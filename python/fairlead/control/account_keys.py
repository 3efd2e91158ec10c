"""OpenRouter's `/keys`: an account's keys in the hands of a management key, in OpenRouter's shape and numbers.

A management key sees and changes the keys of its own account that run inference. Management keys themselves are the operator's.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response

from fairlead.config import Limits
from fairlead.control import directory
from fairlead.control.db import queries
from fairlead.control.db.queries import Key, Usage
from fairlead.control.desk import Call
from fairlead.control.directory import NewKey, UnknownKey
from fairlead.control.keys import FindKeys, checked_name, openrouter_description, refusal_of, with_usage
from fairlead.control.limits import number_amount, revised
from fairlead.control.moments import coming_expiry_ms
from fairlead.control.replies import invalid, not_found, reply

PAGE = 100
_SAID_NOTHING = msgspec.Raw(b"")


class Creation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /keys`."""

    name: str
    limit: msgspec.Raw = _SAID_NOTHING
    limit_reset: str | None = None
    include_byok_in_limit: bool = False
    expires_at: datetime | None = None
    workspace_id: str | None = None
    """The caller's account; no other is to be had."""
    creator_user_id: str | None = None
    """A user of the account."""


class Change(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`PATCH /keys/{hash}`: what is absent stays."""

    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    limit: msgspec.Raw = _SAID_NOTHING
    limit_reset: str | UnsetType | None = UNSET
    include_byok_in_limit: bool | UnsetType = UNSET
    workspace_id: str | UnsetType = UNSET


async def listing(call: Call) -> Response:
    """The account's keys, oldest first, a hundred at a time; disabled and expired ones when asked for."""
    offset = call.number("offset", 0, 0, 1 << 31)
    disabled, expired = _flag(call, "include_disabled"), _flag(call, "include_expired")
    await _own_workspace(call, call.query("workspace_id"))
    now_ms = call.desk.now_ms()

    def work(connection: sqlite3.Connection) -> list[Key]:
        found = [
            key
            for key in queries.keys(connection, call.principal.account)
            if not key.management and (disabled or not key.disabled) and (expired or not _has_expired(key, now_ms))
        ]
        return found[offset : offset + PAGE]

    return reply({"data": await _described(call, work)})


async def create(call: Call) -> Response:
    """Makes a key. `key` in the reply is the only time it is shown."""
    wanted = await call.body(Creation)
    account = await _own_workspace(call, wanted.workspace_id)
    expires_at_ms = coming_expiry_ms(wanted.expires_at, call.desk.now_ms())
    limit = UNSET if wanted.limit == _SAID_NOTHING else number_amount("limit", wanted.limit)
    new = NewKey(
        name=checked_name(wanted.name),
        account=account,
        user=wanted.creator_user_id or "",
        include_byok=wanted.include_byok_in_limit,
        expires_at_ms=expires_at_ms,
        limits=revised(Limits(), limit, wanted.limit_reset),
    )
    try:
        key, text = await asyncio.to_thread(call.desk.directory.create, new)
    except directory.UnknownScope as error:
        raise invalid(f"creator_user_id: {error}") from None
    return reply({"key": text, "data": openrouter_description(key, Usage())}, 201)


async def show(call: Call) -> Response:
    """One key of the account."""
    return await _one(call)


async def change(call: Call) -> Response:
    """Renames, disables, enables or limits a key of the account."""
    wanted = await call.body(Change)
    if wanted.workspace_id is not UNSET:
        await _own_workspace(call, wanted.workspace_id)
    changes: dict[str, Any] = {}
    if wanted.name is not UNSET:
        changes["name"] = checked_name(wanted.name)
    if wanted.disabled is not UNSET:
        changes["disabled"] = int(wanted.disabled)
    if wanted.include_byok_in_limit is not UNSET:
        changes["include_byok"] = int(wanted.include_byok_in_limit)
    limit = UNSET if wanted.limit == _SAID_NOTHING else number_amount("limit", wanted.limit)
    says_limits = limit is not UNSET or wanted.limit_reset is not UNSET
    if not changes and not says_limits and wanted.workspace_id is UNSET:
        raise invalid(f"nothing to change: one of {', '.join(Change.__struct_fields__)} is expected")

    def revise(limits: Limits) -> Limits:
        return revised(limits, limit, wanted.limit_reset)

    if changes or says_limits:
        await _do(call, lambda: call.desk.directory.change(_of_caller(call), changes, revise if says_limits else None))
    return await _one(call)


async def delete(call: Call) -> Response:
    """Deletes a key of the account; what it did stays in the books."""
    await _do(call, lambda: call.desk.directory.delete(_of_caller(call)))
    return reply({"deleted": True})


async def _do(call: Call, work: Callable[[], Key]) -> None:
    await call.caught_up()
    try:
        await asyncio.to_thread(work)
    except (LookupError, directory.OwnedByFile) as error:
        raise refusal_of(error) from None


async def _one(call: Call) -> Response:
    find = _of_caller(call)
    try:
        return reply({"data": (await _described(call, lambda connection: [find(connection)]))[0]})
    except LookupError as error:
        raise refusal_of(error) from None


async def _described(call: Call, find: FindKeys) -> list[dict[str, Any]]:
    return [openrouter_description(key, usage) for key, usage in await with_usage(call, find)]


def _of_caller(call: Call) -> directory.Find:
    """Finds the key of the path. One of another account, a management key and one that there is not are the same to the caller."""
    public_hash, account = call.place("hash"), call.principal.account

    def find(connection: sqlite3.Connection) -> Key:
        id = queries.key_of_account(connection, account, public_hash)
        key = None if id is None else queries.key(connection, id)
        if key is None or key.management:
            raise UnknownKey(f"there is no key with the hash {public_hash[:80]!r}")
        return key

    return find


async def _own_workspace(call: Call, wanted: str | None) -> str:
    """The caller's account, by its name; 404 when another one is asked for."""
    account = await call.desk.database.read(lambda connection: queries.account_name(connection, call.principal.account))
    if wanted not in (None, account):
        raise not_found(f"workspace_id: there is no workspace {wanted[:80]!r} for this key" if wanted else "workspace_id: it is empty")
    return account


def _flag(call: Call, name: str) -> bool:
    text = call.query(name)
    if text not in (None, "true", "false"):
        raise invalid(f"{name}: true or false is expected")
    return text == "true"


def _has_expired(key: Key, now_ms: int) -> bool:
    return key.expires_at_ms is not None and key.expires_at_ms <= now_ms
