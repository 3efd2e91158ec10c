"""Logging in and out: `/admin/session`, `/admin/sessions`, and users' ways in (`/admin/users/{selector}/login`).

A log-in is a random cookie of which only a digest is stored. It ends after an hour without a request, after twelve in any case, when it is
revoked, and when what it was opened with changes: the password, or the admin token. A new role gives it a new cookie.
"""

import contextlib
import sqlite3
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType, structs
from starlette.requests import Request
from starlette.responses import Response

from fairlead.config.keys import DEFAULT_ACCOUNT
from fairlead.control import secret, trail
from fairlead.control.access import OPERATOR, RANKS, Access, Principal, admin_principal, check_rank
from fairlead.control.db import operators, scopes
from fairlead.control.db.operators import Login, Session
from fairlead.control.db.queries import Row
from fairlead.control.db.scopes import USER, Scope
from fairlead.control.desk import Call, Desk
from fairlead.control.directory import AmbiguousKey, UnknownScope, one_scope
from fairlead.control.operator import arrivals, gate, openid, passwords
from fairlead.control.operator.gate import Origin
from fairlead.control.operator.openid import Arrival
from fairlead.control.replies import Refusal, forbidden, invalid, not_found, reply, rfc3339, unauthenticated
from fairlead.control.states import check_match, tag

SEEN_MS = 60_000
"""Requests of a log-in are noted once in this time."""
GRACE_MS = 30_000
"""A cookie that was replaced is good for so long: requests with it may be on their way."""
MOST_SESSIONS = 20
"""Of one user, or of the admin token; the oldest make room."""
MOST_USER_AGENT = 200
NO_LOGIN = tag({})
"""The ETag of a user's ways in where there are none: who sends it in `If-Match` makes them, and overwrites nobody's."""
_STATE = ("role", "password", "subject", "issuer")
TOKEN, LINK, PASSWORD, OIDC = "token", "link", "password", "oidc"

Role = Literal["viewer", "member", "admin", "owner"]
Way = Literal["token", "link", "password", "oidc"]


class LogIn(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/session`: the admin token, or the code of the link that the start printed, or a user's name and password, or what the
    provider of `[oidc]` sent the browser back with."""

    token: str | None = None
    code: str | None = None
    oidc: Arrival | None = None
    name: str | None = None
    password: str | None = None
    account: str | None = None
    """Where the user is; absent: the default account or, where it has none of that name, the one that has."""


class NewPassword(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/session/password`."""

    current: str
    new: str


class LoginBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`PUT /admin/users/{selector}/login`. Without a password the present one stays, and so does whom the provider means."""

    role: Role
    password: str | None = None
    subject: str | UnsetType | None = UNSET
    """The `sub` that the provider of `[oidc]` knows the user by; null: nobody's."""


class SessionShown(msgspec.Struct, kw_only=True):
    """Who is logged in, and what changes must be sent with."""

    id: int
    user: str
    """The user's name; `admin token` for whoever has that."""
    user_id: int
    role: Role
    way: Way
    account: str | None
    """Null: every account is seen."""
    team: str | None
    csrf: str
    """For the header `X-Fairlead-CSRF`."""
    data_url: str | None
    """Where clients reach models, as it was bound; null for who may use none, a viewer."""
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
    way: Way
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

    methods: list[Way]
    origin: str
    """What the caller's Host is taken for."""
    oidc: str | None
    """What the provider is called; null: there is none."""


class WaysData(msgspec.Struct):
    """A reply."""

    data: Ways


class BegunShown(msgspec.Struct):
    """A log-in through the provider."""

    url: str
    """Where the browser goes. It comes back to the log-in page."""


class BegunData(msgspec.Struct):
    """A reply."""

    data: BegunShown


class LoginShown(msgspec.Struct, kw_only=True):
    """A user's ways in."""

    user: str
    role: Role
    has_password: bool
    subject: str | None
    """Whom the provider of OpenID Connect means by this user."""
    issuer: str | None
    updated_at: str
    etag: str


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
    return session.login_version is not None and session.credential == _user_credential(desk, session.way, session.login_version)


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


def _user_credential(desk: Desk, way: str, version: int) -> str:
    """What a user's log-in was opened with: another password ends it, and without its provider it is over."""
    if way != OIDC:
        return str(version)
    return f"{version} {desk.openid.settings.issuer if desk.openid else ''}"


# --- routes -----------------------------------------------------------------------------------------------------------


async def ways(call: Call) -> Response:
    """How one can log in here, and whether the address is one that one can log in at."""
    origin = call.desk.gate.origin(call.request)
    provider = call.desk.openid
    methods = [TOKEN, PASSWORD, LINK, *([OIDC] if provider else [])]
    return reply({"data": {"methods": methods, "origin": origin.text, "oidc": provider.settings.name if provider else None}})


async def begin(call: Call) -> Response:
    """Begins a log-in through the provider of `[oidc]`: says where the browser goes, and gives it what the answer will belong to."""
    origin = call.desk.gate.origin(call.request)
    call.desk.gate.check_change(call.request, origin)
    begun = await arrivals.provider(call.desk).begin(origin)
    cookie = gate.set_cookie(origin, begun.ticket, openid.TICKET_MS // 1000, origin.ticket)
    return reply({"data": {"url": begun.url}}, headers={"set-cookie": cookie})


async def log_in(call: Call) -> Response:
    """Logs in with the admin token, the code of the link, a name and a password, or through the provider, and sets the cookie."""
    desk, request = call.desk, call.request
    origin = desk.gate.origin(request)
    desk.gate.check_change(request, origin)
    address = gate.address_of(request)
    desk.gate.check_pace(address)
    wanted = await call.body(LogIn)
    with desk.gate.trying(address):
        way, user, credential, role = await _checked(call, wanted, origin, address)
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
    response = reply({"data": await _shown(desk, session)})
    response.headers.append("set-cookie", gate.set_cookie(origin, value, gate.MOST_MS // 1000))
    if way == OIDC:
        response.headers.append("set-cookie", gate.set_cookie(origin, "", 0, origin.ticket))
    return response


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
    check_rank(call.principal, principal_of(session).role if session.user_id == 0 or session.login_role else "")
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
    changed = structs.replace(login, password=kept, version=login.version + 1, updated_at_ms=now_ms)

    def work(connection: sqlite3.Connection) -> None:
        _still(connection, login.user_id, login)
        operators.set_login(connection, changed)
        operators.delete_sessions_of(connection, principal.user, principal.session)
        [way] = [one.way for one in operators.sessions(connection, principal.user) if one.id == principal.session]
        operators.update_session(connection, principal.session, {"credential": _user_credential(desk, way, changed.version)})
        trail.note(connection, now_ms, "user.password", ("user", principal.user, principal.name), None, None)

    await desk.database.write(work)
    return reply({"data": _login_shown(principal.name, changed)}, headers={"etag": tag(_login_state(changed))})


async def show_login(call: Call) -> Response:
    """A user's role, and by which ways it logs in."""
    user, login = await _of_path(call)
    if login is None:
        raise not_found(f"the user {user.name!r} has no log-in; PUT makes one")
    return reply({"data": _login_shown(user.name, login)}, headers={"etag": tag(_login_state(login))})


async def set_login(call: Call) -> Response:
    """Gives a user a role and, where they are said, a password and whom the provider means. A new password ends the user's log-ins, and so
    does another person."""
    wanted, desk = await call.body(LoginBody), call.desk
    user, login = await _of_path(call)
    check_rank(call.principal, wanted.role)
    check_rank(call.principal, login.role if login else "")
    _check_seen(call.if_match() if login else call.header("if-match"), login)
    kept = None if wanted.password is None else await passwords.stored(passwords.checked(wanted.password))
    now_ms, old = desk.now_ms(), login or Login(user.id, wanted.role, "", 0, 0)
    version = old.version + (kept is not None)
    changed = structs.replace(old, role=wanted.role, password=old.password if kept is None else kept, version=version, updated_at_ms=now_ms)
    if wanted.subject is not UNSET:
        changed = arrivals.linked(desk, changed, wanted.subject)

    def work(connection: sqlite3.Connection) -> None:
        _still(connection, user.id, login)
        operators.set_login(connection, changed)
        if (changed.issuer, changed.subject) != (old.issuer, old.subject):
            arrivals.link(connection, changed, now_ms)
            operators.delete_sessions_by(connection, user.id, OIDC)
        if kept is not None:
            operators.delete_sessions_of(connection, user.id)
        before = None if login is None else _login_noted(login)
        after = _login_noted(changed) | ({"password": "set anew"} if kept is not None else {})
        trail.note(connection, now_ms, "user.login", (USER, user.id, user.name), before, after)

    await desk.database.write(work)
    return reply({"data": _login_shown(user.name, changed)}, headers={"etag": tag(_login_state(changed))})


async def delete_login(call: Call) -> Response:
    """Takes a user's log-in away; whoever is logged in with it is not any more."""
    user, login = await _of_path(call)
    if login is None:
        raise not_found(f"the user {user.name!r} has no log-in")
    check_rank(call.principal, login.role)
    check_match(call.if_match(), _login_state(login))
    now_ms = call.desk.now_ms()

    def work(connection: sqlite3.Connection) -> None:
        _still(connection, login.user_id, login)
        operators.delete_login(connection, user.id)
        trail.note(connection, now_ms, "user.login", (USER, user.id, user.name), _login_noted(login), None)

    await call.desk.database.write(work)
    return reply({"data": {"id": user.id, "deleted": True}})


# --- inside -----------------------------------------------------------------------------------------------------------


async def _checked(call: Call, wanted: LogIn, origin: Origin, address: str) -> tuple[str, Scope | None, str, str]:
    """Way, user, credential and role; 401 for who is not let in, of secrets without saying why."""
    desk = call.desk
    given = [name for name in (TOKEN, "code", "name", OIDC) if getattr(wanted, name) is not None]
    if len(given) != 1 or (wanted.name is None) != (wanted.password is None):
        raise invalid("one of token, code, oidc, or name and password is expected")
    if wanted.oidc is not None:
        try:
            user, entered = await arrivals.arrived(desk, origin, call.request.cookies.get(origin.ticket, ""), wanted.oidc)
        except Refusal as refusal:
            if refusal.status in (401, 403):
                desk.gate.note_failure(address)
            raise
        return OIDC, user, _user_credential(desk, OIDC, entered.version), entered.role
    owner = Access.OWNER.value
    if wanted.token is not None and secret.same(wanted.token.strip(), desk.admin_token_digest):
        return TOKEN, None, _token_credential(desk), owner
    if wanted.code is not None and desk.gate.take_code(wanted.code):
        return LINK, None, _token_credential(desk), owner
    if wanted.name is not None and wanted.password is not None:
        name = wanted.name

        def work(connection: sqlite3.Connection) -> tuple[Scope, Login | None] | None:
            for account in (wanted.account,) if wanted.account is not None else (DEFAULT_ACCOUNT, None):
                with contextlib.suppress(LookupError):
                    within = None if account is None else one_scope(connection, scopes.ACCOUNT, account).id
                    user = one_scope(connection, USER, name, within)
                    return user, operators.login(connection, user.id)
            return None

        found = await desk.database.read(work)
        login = found[1] if found else None
        if await passwords.fits(wanted.password, login.password if login else None) and found and login:
            return PASSWORD, found[0], _user_credential(desk, PASSWORD, login.version), login.role
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
        "data_url": desk.facts.get("data_url") if RANKS[principal.role] >= RANKS[Access.MEMBER.value] else None,
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
    """412 with what changed when it was changed since it was read."""
    present = operators.login(connection, user)
    _check_seen(tag(_login_state(login)) if login else NO_LOGIN, present)
    # Deleted and made anew, a log-in counts its passwords from the beginning.
    if present and login and present.password != login.password:
        raise Refusal(412, "precondition_failed", "this has been changed meanwhile (password): look at it again", changed=["password"])


def _check_seen(given: str | None, login: Login | None) -> None:
    """412 with what changed unless the caller has seen a log-in as it is, or that there is none (`NO_LOGIN`)."""
    if login is not None:
        check_match(given, _login_state(login))
    elif given is not None and given.strip() not in ("*", NO_LOGIN):
        message = "this log-in has been deleted meanwhile: look at it again"
        raise Refusal(412, "precondition_failed", message, changed=list(_STATE), current=None)


def _login_state(login: Login) -> dict[str, Any]:
    return dict(zip(_STATE, (login.role, login.version, login.subject, login.issuer), strict=True))


def _login_noted(login: Login) -> dict[str, Any]:
    """As the audit log has it."""
    return {"role": login.role, "password": "set" if login.password else None} | ({"subject": login.subject} if login.subject else {})


def _login_shown(user: str, login: Login) -> dict[str, Any]:
    ways = {"has_password": bool(login.password), "subject": login.subject or None, "issuer": login.issuer or None}
    return {"user": user, "role": login.role, **ways, "updated_at": rfc3339(login.updated_at_ms), "etag": tag(_login_state(login))}
