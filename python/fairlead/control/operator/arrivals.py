"""Who comes in through the provider of `[oidc]`: the user that a subject means here, made at the first time, with the role of now.

A subject is a user's for good. A name or a mail address is not: where a user of that name is here already, an admin says whether it is the
same person.
"""

import asyncio
import sqlite3

from msgspec import structs

from fairlead.control import trail
from fairlead.control.access import Access
from fairlead.control.db import operators, scopes
from fairlead.control.db.operators import Login
from fairlead.control.db.scopes import USER, Scope
from fairlead.control.desk import Desk
from fairlead.control.directory import NewScope, Taken, UnknownScope
from fairlead.control.operator.gate import Origin
from fairlead.control.operator.openid import MOST_SUBJECT, Arrival, OpenId, Person, without_role
from fairlead.control.replies import Refusal, forbidden, invalid, not_found


def provider(desk: Desk) -> OpenId:
    """The provider; 404 where none is configured."""
    if desk.openid is None:
        raise not_found("nobody logs in through a provider here: [oidc] is not configured")
    return desk.openid


async def arrived(desk: Desk, origin: Origin, ticket: str, arrival: Arrival) -> tuple[Scope, Login]:
    """The user whom the provider sent back, with the role that it has now. Raises a 401 for what is not to be believed, a 403 for whom
    nothing gives a role, and a 503 when the provider does not answer."""
    openid = provider(desk)
    person = await openid.finish(origin, ticket, arrival)
    async with openid.arriving:
        return await _entered(desk, openid, person)


async def _entered(desk: Desk, openid: OpenId, person: Person) -> tuple[Scope, Login]:
    issuer, now_ms = openid.settings.issuer, desk.now_ms()
    trail.acting(trail.PROCESS)

    def known(connection: sqlite3.Connection) -> Scope | None:
        id = operators.user_of(connection, issuer, person.subject)
        return None if id is None else scopes.scope(connection, USER, id)

    user = await desk.database.read(known)
    if person.role is None:
        if user is not None:
            await _put_out(desk, user, now_ms)
        raise without_role(person, openid.settings)
    role = person.role
    made = user or await _made(desk, openid, person)

    def work(connection: sqlite3.Connection) -> Login:
        before = operators.login(connection, made.id)
        if user is None:
            operators.identify(connection, issuer, person.subject, made.id, now_ms)
        old = before or Login(made.id, role, "", 0, now_ms)
        login = structs.replace(old, role=role, issuer=issuer, subject=person.subject, updated_at_ms=now_ms)
        if before is None or before.role != role:
            after = {"role": role, "subject": person.subject}
            if login.password and role == Access.OWNER.value:
                # An admin may have set it, who is no owner.
                login = structs.replace(login, password="", version=login.version + 1)
                after["password"] = "taken away"  # noqa: S105 - a word of the log
            operators.set_login(connection, login)
            trail.note(
                connection, now_ms, "user.login", (USER, made.id, made.name), None if before is None else {"role": before.role}, after
            )
        return login

    return made, await desk.database.write(work)


def linked(desk: Desk, login: Login, subject: str | None) -> Login:
    """A log-in that the provider means by this subject; None: by none. 400 without a provider, or for what can be no subject."""
    if subject is None:
        return structs.replace(login, issuer="", subject="")
    if desk.openid is None:
        raise invalid("subject: nobody logs in through a provider here: [oidc] is not configured", path="subject")
    if not 0 < len(subject) <= MOST_SUBJECT or not subject.isprintable():
        raise invalid(f"subject: 1 to {MOST_SUBJECT} printable characters are expected", path="subject")
    return structs.replace(login, issuer=desk.openid.settings.issuer, subject=subject)


def link(connection: sqlite3.Connection, login: Login, now_ms: int) -> None:
    """Notes whom the provider means. 409 where that is another user already."""
    if not login.subject:
        operators.forget_identity(connection, login.user_id)
        return
    other = operators.user_of(connection, login.issuer, login.subject)
    if other not in (None, login.user_id):
        scope = scopes.scope(connection, USER, other or 0)
        raise Refusal(409, "invalid_request", f"subject: that is the user {scope.name if scope else other!r} already", path="subject")
    operators.identify(connection, login.issuer, login.subject, login.user_id, now_ms)


async def _made(desk: Desk, openid: OpenId, person: Person) -> Scope:
    """A new user for whom nobody is known yet."""
    new = NewScope(USER, person.name, openid.settings.account)
    try:
        return await asyncio.to_thread(desk.directory.create_scope, new)
    except Taken:
        raise forbidden(
            f"a user {person.name!r} is here already, and nobody has said that it is you: an admin does, on the page of users or with"
            f' PUT /admin/users/{{name}}/login and "subject": "{person.subject}"'
        ) from None
    except UnknownScope as error:
        raise Refusal(503, "server", f"{error}, which [oidc] account names: make it, or name another") from None


async def _put_out(desk: Desk, user: Scope, now_ms: int) -> None:
    """Ends what a user opened through the provider, and its role where there is no other way in."""

    def work(connection: sqlite3.Connection) -> None:
        operators.delete_sessions_by(connection, user.id, "oidc")
        login = operators.login(connection, user.id)
        if login is not None and not login.password:
            operators.delete_role(connection, user.id)
            trail.note(connection, now_ms, "user.login", (USER, user.id, user.name), {"role": login.role}, None)

    await desk.database.write(work)
