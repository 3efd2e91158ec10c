"""Logging in and out: `/admin/session`, `/admin/sessions`, and users' ways in (`/admin/users/{selector}/login`).

A log-in is a random cookie of which only a digest is stored. It ends after an hour without a request, after twelve in any case, when it is
revoked, and when what it was opened with changes: the password, or the admin token. A new role gives it a new cookie.
"""

import sqlite3
from typing import Any, Literal, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from fairlead.config.keys import DEFAULT_ACCOUNT
from fairlead.control import secret, trail
from fairlead.control.access import OPERATOR, RANKS, Access, Principal, admin_principal
from fairlead.control.db import operators, scopes
from fairlead.control.db.operators import Login, Session
from fairlead.control.db.queries import Row
from fairlead.control.db.scopes import USER, Scope
from fairlead.control.desk import Call, Desk
from fairlead.control.directory import AmbiguousKey, UnknownScope, one_scope
from fairlead.control.operator import gate, passwords
from fairlead.control.operator.gate import Origin
from fairlead.control.replies import Refusal, forbidden, invalid, not_found, reply, rfc3339, unauthenticated
from fairlead.control.states import check_match, tag

SEEN_MS = 60_000
"""Requests of a log-in are noted once in this time."""
GRACE_MS = 30_000
"""A cookie that was replaced is good for so long: requests with it may be on their way."""
MOST_SESSIONS = 20
"""Of one user, or of the admin token; the oldest make room."""
MOST_USER_AGENT = 200
TOKEN, LINK, PASSWORD = "token", "link", "password"

Role = Literal["viewer", "member", "admin", "owner"]


class LogIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/session`: the admin token, or the code of the link that the start printed, or a user's name and password."""

    token: str | None = None
    code: str | None = None
    name: str | None = None
    password: str | None = None
    account: str = DEFAULT_ACCOUNT


class NewPassword(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/session/password`."""

    current: str
    new: str


class LoginBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`PUT /admin/users/{selector}/login`. Without a password the present one stays."""

    role: Role
    password: str | None = None


class SessionShown(msgspec.Struct, kw_only=True):
    """Who is logged in, and what changes must be sent with."""

    id: int
    user: str
    """The user's name; `admin token` for whoever has that."""
    user_id: int
    role: Role
    way: Literal["token", "link", "password"]
    account: str | None
    """Null: every account is seen."""
    team: str | None
    csrf: str
    """For the header `X-Fairlead-CSRF`."""
    created_at: str
    idle_ends_at: str
    """When it ends without a request."""
    ends_at: str


class SessionData(msgspec.Struct):
    """A reply."""

    data: SessionShown


class SessionLine(msgspec.Struct, kw_only=True):
    """One of those who are logged in."""

    id: int
    user: str
    user_id: int
    role: Role
    way: Literal["token", "link", "password"]
    address: str
    user_agent: str
    created_at: str
    seen_at: str
    ends_at: str
    current: bool
    """It is the caller's."""


class SessionList(msgspec.Struct):
    """A reply."""

    data: list[SessionLine]


class Ways(msgspec.Struct):
    """How one can log in here."""

    methods: list[Literal["token", "password", "link"]]
    origin: str
    """What the caller's Host is taken for."""


class WaysData(msgspec.Struct):
    """A reply."""

    data: Ways


class LoginShown(msgspec.Struct, kw_only=True):
    """A user's way in."""

    user: str
    role: Role
    has_password: bool
    updated_at: str


class LoginData(msgspec.Struct):
    """A reply."""

    data: LoginShown


# --- who calls --------------------------------------------------------------------------------------------------------


class Caller(NamedTuple):
    """Who calls on the admin port, and a cookie to give along with the reply."""

    principal: Principal | None
    cookie: str | None = None


async def caller(desk: Desk, request: Request) -> Caller:
    """By the bearer token or, without an `Authorization`, by the cookie. Raises a 403 for a change that may be another site's."""
    if "authorization" in request.headers:
        return Caller(admin_principal(request.scope["headers"], desk.admin_token_digest))
    if not any(name in request.cookies for name in (gate.COOKIE, gate.LOCAL_COOKIE)):
        return Caller(None)
    origin = desk.gate.origin(request)
    value = request.cookies.get(origin.cookie)
    session = None if value is None else await _session(desk, gate.digest(value))
    if session is None:
        return Caller(None)
    if request.method not in gate.SAFE_METHODS:
        desk.gate.check_change(request, origin)
        desk.gate.check_csrf(request, session.id)
    return Caller(principal_of(session), await _kept_alive(desk, session, origin))


def principal_of(session: Session) -> Principal:
    """Who it is."""
    if session.user_id == 0:
        return OPERATOR._replace(name="admin token", session=session.id)
    assert session.login_role is not None
    return Principal(
        "user",
        account=session.account_id,
        role=session.login_role,
        user=session.user_id,
        team=session.team_id,
        name=session.user,
        session=session.id,
    )


async def is_alive(desk: Desk, principal: Principal | None) -> bool:
    """Whether a stream may go on: its log-in lives, in the same role and team. Looking is no use of it."""
    if principal is None or not principal.session:
        return True
    found = await desk.database.read(lambda connection: operators.sessions(connection))
    session = next((one for one in found if one.id == principal.session), None)
    return session is not None and _lives(desk, session) and principal_of(session) == principal


async def _session(desk: Desk, hash: str) -> Session | None:
    now_ms = desk.now_ms()
    session = await desk.database.read(lambda connection: operators.session(connection, hash, now_ms))
    return session if session is not None and _lives(desk, session) else None


def _lives(desk: Desk, session: Session) -> bool:
    now_ms = desk.now_ms()
    if session.ends_at_ms <= now_ms or session.seen_at_ms <= now_ms - gate.IDLE_MS:
        return False
    if session.user_id == 0:
        return session.credential == _token_credential(desk)
    return session.login_version is not None and session.credential == str(session.login_version)


async def _kept_alive(desk: Desk, session: Session, origin: Origin) -> str | None:
    """Notes the request from time to time; gives a new cookie where the role is another one now."""
    now_ms, changes, cookie = desk.now_ms(), dict[str, Any](), None
    if now_ms - session.seen_at_ms >= SEEN_MS:
        changes["seen_at_ms"] = now_ms
    if session.user_id and session.login_role != session.role and not session.is_previous:
        value = gate.new_cookie()
        cookie = gate.set_cookie(origin, value, max(1, (session.ends_at_ms - now_ms) // 1000))
        changes |= {"role": session.login_role, "hash": gate.digest(value), "previous_until_ms": now_ms + GRACE_MS}
    if not changes:
        return None

    def work(connection: sqlite3.Connection) -> bool:
        if cookie is not None:
            # Of requests at the same time only one makes the new cookie.
            mark = "UPDATE sessions SET previous_hash = hash WHERE id = ? AND role = ?"
            if connection.execute(mark, (session.id, session.role)).rowcount == 0:
                return False
        operators.update_session(connection, session.id, changes)
        return True

    return cookie if await desk.database.write(work) else None


def _token_credential(desk: Desk) -> str:
    return gate.digest(desk.admin_token_digest)


# --- routes -----------------------------------------------------------------------------------------------------------


async def ways(call: Call) -> Response:
    """How one can log in here, and whether the address is one that one can log in at."""
    origin = call.desk.gate.origin(call.request)
    return reply({"data": {"methods": [TOKEN, PASSWORD, LINK], "origin": origin.text}})


async def log_in(call: Call) -> Response:
    """Logs in with the admin token, the code of the link, or a name and a password, and sets the cookie."""
    desk, request = call.desk, call.request
    origin = desk.gate.origin(request)
    desk.gate.check_change(request, origin)
    address = gate.address_of(request)
    desk.gate.check_pace(address)
    wanted = await call.body(LogIn)
    with desk.gate.trying(address):
        way, user, credential, role = await _checked(desk, wanted, address)
    value, now_ms = gate.new_cookie(), desk.now_ms()
    row: Row = {
        "hash": gate.digest(value), "user_id": user.id if user else 0, "role": role, "way": way, "credential": credential,
        "created_at_ms": now_ms, "seen_at_ms": now_ms, "ends_at_ms": now_ms + gate.MOST_MS, "address": address,
        "user_agent": "".join(filter(str.isprintable, request.headers.get("user-agent", "")))[:MOST_USER_AGENT],
    }  # fmt: skip
    name = user.name if user else "admin token"
    trail.acting(trail.Actor("user" if user else "token", row["user_id"], name, role, address))
    old = request.cookies.get(origin.cookie)

    def work(connection: sqlite3.Connection) -> Session:
        operators.delete_dead_sessions(connection, now_ms, gate.IDLE_MS)
        if old is not None and (left := operators.session(connection, gate.digest(old), now_ms)) is not None:
            operators.delete_session(connection, left.id)
        for extra in operators.sessions(connection, row["user_id"])[MOST_SESSIONS - 1 :]:
            operators.delete_session(connection, extra.id)
        id = operators.insert_session(connection, row)
        trail.note(connection, now_ms, "session.open", ("session", id, name), None, {"way": way, "role": role})
        found = operators.session(connection, row["hash"], now_ms)
        assert found is not None
        return found

    session = await desk.database.write(work)
    cookie = gate.set_cookie(origin, value, gate.MOST_MS // 1000)
    return reply({"data": await _shown(desk, session)}, headers={"set-cookie": cookie})


async def show(call: Call) -> Response:
    """Who is logged in, what it may see, and the CSRF token of the log-in."""
    return reply({"data": await _shown(call.desk, await _own(call))})


async def log_out(call: Call) -> Response:
    """Ends the log-in of the caller."""
    session = await _own(call)
    await _end(call, session)
    origin = call.desk.gate.origin(call.request)
    return reply({"data": {"id": session.id, "deleted": True}}, headers={"set-cookie": gate.set_cookie(origin, "", 0)})


async def listing(call: Call) -> Response:
    """Who is logged in: for admins everybody, for others themselves."""
    found = await call.desk.database.read(lambda connection: operators.sessions(connection, _only_user(call)))
    lines = [
        {
            "id": one.id,
            "user": one.user if one.user_id else "admin token",
            "user_id": one.user_id,
            "role": one.login_role if one.user_id else Access.OWNER.value,
            "way": one.way,
            "address": one.address,
            "user_agent": one.user_agent,
            "created_at": rfc3339(one.created_at_ms),
            "seen_at": rfc3339(one.seen_at_ms),
            "ends_at": rfc3339(min(one.ends_at_ms, one.seen_at_ms + gate.IDLE_MS)),
            "current": one.id == call.principal.session,
        }
        for one in found
        if _lives(call.desk, one)
    ]
    return reply({"data": lines})


async def revoke(call: Call) -> Response:
    """Ends a log-in: one's own, or as an admin anybody's of no higher role."""
    text = call.place("id")
    found = await call.desk.database.read(lambda connection: operators.sessions(connection, _only_user(call)))
    session = next((one for one in found if str(one.id) == text), None)
    if session is None:
        raise not_found(f"there is no log-in {text[:40]!r}")
    _outranked(call, principal_of(session).role if session.user_id == 0 or session.login_role else "")
    await _end(call, session)
    return reply({"data": {"id": session.id, "deleted": True}})


async def change_password(call: Call) -> Response:
    """Sets the caller's own password; its other log-ins end."""
    wanted, principal, desk = await call.body(NewPassword), call.principal, call.desk
    if principal.kind != "user":
        raise invalid("only users have passwords; the admin token is set in the configuration")
    desk.gate.check_pace(address := gate.address_of(call.request))
    login = await desk.database.read(lambda connection: operators.login(connection, principal.user))
    with desk.gate.trying(address):
        is_own = login is not None and await passwords.fits(wanted.current, login.password)
    if login is None or not is_own:
        desk.gate.note_failure(address)
        raise forbidden("current: this is not your password")
    kept = await passwords.stored(passwords.checked(wanted.new))
    now_ms = desk.now_ms()
    changed = Login(principal.user, login.role, kept, login.version + 1, now_ms)

    def work(connection: sqlite3.Connection) -> None:
        _still(connection, login.user_id, login)
        operators.set_login(connection, changed)
        operators.delete_sessions_of(connection, principal.user, principal.session)
        operators.update_session(connection, principal.session, {"credential": str(changed.version)})
        trail.note(connection, now_ms, "user.password", ("user", principal.user, principal.name), None, None)

    await desk.database.write(work)
    return reply({"data": {"user": principal.name, "role": login.role, "has_password": True, "updated_at": rfc3339(now_ms)}})


async def show_login(call: Call) -> Response:
    """A user's role, and whether there is a password."""
    user, login = await _of_path(call)
    if login is None:
        raise not_found(f"the user {user.name!r} has no log-in; PUT makes one")
    return reply({"data": _login_shown(user, login)}, headers={"etag": tag(_login_state(login))})


async def set_login(call: Call) -> Response:
    """Gives a user a role and, where one is said, a password. A new password ends the user's log-ins."""
    wanted, desk = await call.body(LoginBody), call.desk
    user, login = await _of_path(call)
    _outranked(call, wanted.role)
    _outranked(call, login.role if login else "")
    if login is not None:
        check_match(call.if_match(), _login_state(login))
    kept = None if wanted.password is None else await passwords.stored(passwords.checked(wanted.password))
    now_ms = desk.now_ms()

    def work(connection: sqlite3.Connection) -> Login:
        _still(connection, user.id, login)
        version = (login.version if login else 0) + (kept is not None)
        changed = Login(user.id, wanted.role, kept if kept is not None else login.password if login else "", version, now_ms)
        operators.set_login(connection, changed)
        if kept is not None:
            operators.delete_sessions_of(connection, user.id)
        before = None if login is None else {"role": login.role, "password": "set" if login.password else None}
        after = {"role": changed.role, "password": "set anew" if kept is not None else "set" if changed.password else None}
        trail.note(connection, now_ms, "user.login", (USER, user.id, user.name), before, after)
        return changed

    changed = await desk.database.write(work)
    return reply({"data": _login_shown(user, changed)}, headers={"etag": tag(_login_state(changed))})


async def delete_login(call: Call) -> Response:
    """Takes a user's log-in away; whoever is logged in with it is not any more."""
    user, login = await _of_path(call)
    if login is None:
        raise not_found(f"the user {user.name!r} has no log-in")
    _outranked(call, login.role)
    check_match(call.if_match(), _login_state(login))
    now_ms = call.desk.now_ms()

    def work(connection: sqlite3.Connection) -> None:
        _still(connection, login.user_id, login)
        operators.delete_login(connection, user.id)
        trail.note(connection, now_ms, "user.login", (USER, user.id, user.name), {"role": login.role}, None)

    await call.desk.database.write(work)
    return reply({"data": {"id": user.id, "deleted": True}})


# --- inside -----------------------------------------------------------------------------------------------------------


async def _checked(desk: Desk, wanted: LogIn, address: str) -> tuple[str, Scope | None, str, str]:
    """Way, user, credential and role; 401 for who is not let in, without saying why."""
    given = [name for name in (TOKEN, "code", "name") if getattr(wanted, name) is not None]
    if len(given) != 1 or (wanted.name is None) != (wanted.password is None):
        raise invalid("one of token, code, or name and password is expected")
    owner = Access.OWNER.value
    if wanted.token is not None and secret.same(wanted.token.strip(), desk.admin_token_digest):
        return TOKEN, None, _token_credential(desk), owner
    if wanted.code is not None and desk.gate.take_code(wanted.code):
        return LINK, None, _token_credential(desk), owner
    if wanted.name is not None and wanted.password is not None:
        name = wanted.name

        def work(connection: sqlite3.Connection) -> tuple[Scope, Login | None] | None:
            try:
                account = one_scope(connection, scopes.ACCOUNT, wanted.account)
                user = one_scope(connection, USER, name, account.id)
            except LookupError:
                return None
            return user, operators.login(connection, user.id)

        found = await desk.database.read(work)
        login = found[1] if found else None
        if await passwords.fits(wanted.password, login.password if login else None) and found and login:
            return PASSWORD, found[0], str(login.version), login.role
    desk.gate.note_failure(address)
    raise unauthenticated("this does not log in: look at the name and password, or the token; a link works once, for ten minutes")


async def _own(call: Call) -> Session:
    """The log-in of the caller; 401 for one with the bearer token."""
    found = await call.desk.database.read(lambda connection: operators.sessions(connection))
    session = next((one for one in found if one.id == call.principal.session), None)
    if session is None:
        raise unauthenticated("this is for who has logged in with a cookie")
    return session


async def _shown(desk: Desk, session: Session) -> dict[str, Any]:
    principal = principal_of(session)

    def work(connection: sqlite3.Connection) -> tuple[str | None, str | None]:
        if principal.sees_all:
            return None, None
        user = scopes.scope(connection, USER, principal.user)
        return (user.account, user.team or None) if user else (None, None)

    account, team = await desk.database.read(work)
    # That this request was seen is noted once a minute only.
    seen_at_ms = max(session.seen_at_ms, desk.now_ms() - SEEN_MS)
    return {
        "id": session.id,
        "user": principal.name,
        "user_id": principal.user,
        "role": principal.role,
        "way": session.way,
        "account": account,
        "team": team,
        "csrf": desk.gate.csrf(session.id),
        "created_at": rfc3339(session.created_at_ms),
        "idle_ends_at": rfc3339(min(session.ends_at_ms, seen_at_ms + gate.IDLE_MS)),
        "ends_at": rfc3339(session.ends_at_ms),
    }


async def _end(call: Call, session: Session) -> None:
    now_ms = call.desk.now_ms()
    name = session.user if session.user_id else "admin token"

    def work(connection: sqlite3.Connection) -> None:
        if operators.delete_session(connection, session.id):
            trail.note(connection, now_ms, "session.end", ("session", session.id, name), {"way": session.way}, None)

    await call.desk.database.write(work)


def _only_user(call: Call) -> int | None:
    return None if call.principal.sees_all else call.principal.user


def _outranked(call: Call, role: str) -> None:
    """403 where a role is above the caller's: nobody gives, takes or resets more than it has."""
    if RANKS.get(role, 0) > RANKS[call.principal.role]:
        raise forbidden(f"this is about the role {role}; yours is {call.principal.role}")


async def _of_path(call: Call) -> tuple[Scope, Login | None]:
    selector, account = call.place("selector"), call.query("account")

    def work(connection: sqlite3.Connection) -> tuple[Scope, Login | None]:
        within = None if account is None else one_scope(connection, scopes.ACCOUNT, account).id
        user = one_scope(connection, USER, selector, within)
        return user, operators.login(connection, user.id)

    try:
        return await call.desk.database.read(work)
    except UnknownScope as error:
        raise not_found(str(error)) from None
    except AmbiguousKey as error:
        raise Refusal(409, "invalid_request", str(error)) from None


def _still(connection: sqlite3.Connection, user: int, login: Login | None) -> None:
    """412 when it was changed since it was read."""
    if operators.login(connection, user) != login:
        raise Refusal(412, "precondition_failed", "this has been changed meanwhile: look at it again", changed=["role"], current=None)


def _login_state(login: Login) -> dict[str, Any]:
    return {"role": login.role, "password": login.version}


def _login_shown(user: Scope, login: Login) -> dict[str, Any]:
    return {"user": user.name, "role": login.role, "has_password": bool(login.password), "updated_at": rfc3339(login.updated_at_ms)}
