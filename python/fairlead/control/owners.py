"""`/admin/accounts`, `/admin/teams`, `/admin/users`: whom keys belong to, and what they may spend together.

`{selector}` is a name or a numeric id. Names of teams and users are unique within an account only; where several have one, `account` in
the query string says which is meant.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import UNSET, UnsetType
from starlette.responses import Response

from fairlead.config import Limits
from fairlead.config.keys import DEFAULT_ACCOUNT
from fairlead.control import directory, limits, spending, states
from fairlead.control.access import check_rank
from fairlead.control.db import ledger, operators, queries, scopes
from fairlead.control.db.operators import Login
from fairlead.control.db.queries import Usage
from fairlead.control.db.scopes import ACCOUNT, TEAM, USER, Scope
from fairlead.control.desk import Call
from fairlead.control.directory import NewScope
from fairlead.control.keys import checked_name, refusal_of
from fairlead.control.limits import LimitsBody
from fairlead.control.money import usd
from fairlead.control.operator import sight
from fairlead.control.replies import Refusal, invalid, not_found, reply, rfc3339
from fairlead.control.windows import window_starts

Answer = Callable[[Call], Awaitable[Response]]


class AccountCreation(LimitsBody, kw_only=True):
    """`POST /admin/accounts`."""

    name: str


class TeamCreation(LimitsBody, kw_only=True):
    """`POST /admin/teams`."""

    name: str
    account: str = DEFAULT_ACCOUNT


class UserCreation(LimitsBody, kw_only=True):
    """`POST /admin/users`."""

    name: str
    account: str = DEFAULT_ACCOUNT
    team: str = ""


class ScopeChange(LimitsBody, kw_only=True):
    """`PATCH` of an account or a team: what is absent stays."""

    name: str | UnsetType = UNSET


class UserChange(LimitsBody, kw_only=True):
    """`PATCH` of a user: what is absent stays."""

    name: str | UnsetType = UNSET
    team: str | UnsetType = UNSET
    """Empty: none. Keys that there are keep the team that they have."""


_CREATIONS: dict[str, type[AccountCreation | TeamCreation | UserCreation]] = {
    ACCOUNT: AccountCreation,
    TEAM: TeamCreation,
    USER: UserCreation,
}


def listing(kind: str) -> Answer:
    """All of a kind, with what they spent and what is left."""

    async def answer(call: Call) -> Response:

        def seen(connection: sqlite3.Connection) -> list[Scope]:
            return [scope for scope in scopes.scopes(connection, kind) if sight.sees_scope(call.principal, scope)]

        return reply({"data": await _described(call, kind, seen)})

    return answer


def show(kind: str) -> Answer:
    """One of them."""

    async def answer(call: Call) -> Response:
        return await _one(call, kind, _of_path(call, kind))

    return answer


def create(kind: str) -> Answer:
    """Makes one; it holds for the very next request."""

    async def answer(call: Call) -> Response:
        wanted = await call.body(_CREATIONS[kind])
        new = NewScope(
            kind,
            checked_name(wanted.name),
            getattr(wanted, "account", DEFAULT_ACCOUNT),
            getattr(wanted, "team", ""),
            wanted.revise(Limits()),
        )
        await call.caught_up()
        made = await _done(lambda: call.desk.directory.create_scope(new))
        return await _one(call, kind, lambda _: made, 201)

    return answer


def change(kind: str) -> Answer:
    """Renames one, or sets its limits, or a user's team."""

    async def answer(call: Call) -> Response:
        body: type[ScopeChange | UserChange] = UserChange if kind == USER else ScopeChange
        wanted = await call.body(body)
        changes: dict[str, Any] = {}
        if wanted.name is not UNSET:
            changes["name"] = checked_name(wanted.name)
        if isinstance(wanted, UserChange) and wanted.team is not UNSET:
            changes["team"] = wanted.team
        revise = wanted.revise if wanted.says_limits() else None
        if not changes and revise is None:
            raise invalid(f"nothing to change: one of {', '.join(body.__struct_fields__)} is expected")
        await call.caught_up()
        find = _of_edit(call, kind)
        changed = await _done(lambda: call.desk.directory.change_scope(find, changes, revise), kind)
        return await _one(call, kind, lambda _: changed)

    return answer


def delete(kind: str) -> Answer:
    """Deletes one that nothing belongs to any more. What it did stays in the books."""

    async def answer(call: Call) -> Response:
        found = _of_edit(call, kind)

        def find(connection: sqlite3.Connection) -> Scope:
            scope = found(connection)
            # With a user its role is taken away.
            login = operators.login(connection, scope.id) if kind == USER else None
            check_rank(call.principal, login.role if login else "")
            return scope

        gone = await _done(lambda: call.desk.directory.delete_scope(find), kind)
        return reply({"data": {"id": gone.id, "deleted": True}})

    return answer


def _of_path(call: Call, kind: str) -> directory.FindScope:
    return sight.seen_scope(call.principal, kind, call.place("selector"), call.query("account"))


def _of_edit(call: Call, kind: str) -> directory.FindScope:
    """The one of the path, if the caller has seen it as it is."""
    find, given = _of_path(call, kind), call.if_match()

    def finding(connection: sqlite3.Connection) -> Scope:
        scope = find(connection)
        states.check_match(given, states.of_scope(scope))
        return scope

    return finding


async def _done(work: Callable[[], Scope], of_path: str | None = None) -> Scope:
    try:
        return await asyncio.to_thread(work)
    except (LookupError, directory.OwnedByFile, directory.Taken) as error:
        raise _refusal(error, of_path) from None


def _refusal(error: Exception, of_path: str | None) -> Refusal:
    """What the path names and is not there is 404; what the body names is a 400."""
    if isinstance(error, directory.UnknownScope) and error.kind == of_path:
        return not_found(str(error))
    return refusal_of(error)


async def _one(call: Call, kind: str, find: directory.FindScope, status: int = 200) -> Response:
    try:
        [shown] = await _described(call, kind, lambda connection: [find(connection)])
    except LookupError as error:
        raise _refusal(error, kind) from None
    return reply({"data": shown}, status, {"etag": shown["etag"]})


async def _described(call: Call, kind: str, find: Callable[[sqlite3.Connection], list[Scope]]) -> list[dict[str, Any]]:
    await call.caught_up()
    days = window_starts(call.desk.now_ms())

    def work(connection: sqlite3.Connection) -> tuple[list[Scope], dict[int, Usage], dict[int, int], dict[int, Login]]:
        found = find(connection)
        one = found[0].id if len(found) == 1 else None
        granted = ledger.granted_by_account(connection) if kind == ACCOUNT else {}
        logins = operators.logins(connection) if kind == USER else {}
        return found, queries.usage_by(connection, days, spending.DIMS[kind], one), granted, logins

    found, used, granted, logins = await call.desk.database.read(work)
    shown = []
    for scope in found:
        usage = spending.now(call.desk.engine, kind, scope.id, scope.limits, used.get(scope.id, Usage()))
        description = _description(scope, usage, granted.get(scope.id, 0), logins.get(scope.id))
        if kind == ACCOUNT:
            left = granted.get(scope.id, 0) - usage.total - spending.reserved(call.desk.engine, kind, scope.id)
            description["credit_left_usd"] = usd(left) if call.desk.credits.enforce else None
        shown.append(description)
    return shown


def _description(scope: Scope, usage: Usage, granted: int, login: Login | None) -> dict[str, Any]:
    owner: dict[str, Any] = {"account": scope.account}
    if scope.kind == USER:
        owner |= {"team": scope.team or None, "role": login.role if login else None}
        owner |= {"has_password": bool(login and login.password), "has_oidc": bool(login and login.subject)}
    if scope.kind == ACCOUNT:
        owner = {"credits_usd": usd(granted), "balance_usd": usd(granted - usage.total)}
    return {
        "id": scope.id,
        "name": scope.name,
        **({} if scope.kind == ACCOUNT else {"source": scope.source}),
        **owner,
        **limits.fields(scope.limits, usage),
        "created_at": rfc3339(scope.created_at_ms),
        "updated_at": rfc3339(scope.updated_at_ms),
        "etag": states.tag(states.of_scope(scope)),
    }
