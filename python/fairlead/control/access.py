"""Who may call what.

There are two ways in. On the private Unix socket, which only this user can reach, the data plane states the principal in a header (it
strips such a header from clients), and commands call themselves the operator. On the admin port that header means nothing; there the
bearer admin token counts, or the cookie of somebody who logged in (`operator.gate`). Decisions use the route that matched.
"""

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from fairlead.control import secret
from fairlead.control.replies import Refusal, forbidden, unauthenticated

PRINCIPAL_HEADER = b"x-fairlead-principal"
_KEY = re.compile(r"key=([0-9]{1,19});account=([0-9]{1,19});management=([01])")

Headers = Iterable[tuple[bytes, bytes]]


class Principal(NamedTuple):
    """Who is calling: `anonymous`, a `key`, the `operator` (whoever has the admin token or is on this machine), or a `user` who logged in.
    Ids are 0 where there is none."""

    kind: str
    key: int = 0
    account: int = 0
    management: bool = False
    role: str = ""
    """Of the operator and of users: `viewer`, `member`, `admin` or `owner`."""
    user: int = 0
    team: int = 0
    name: str = ""
    session: int = 0

    @property
    def sees_all(self) -> bool:
        """Whether it may look at every account; others see their own, and there the keys and requests of their team or themselves."""
        return RANKS.get(self.role, 0) >= RANKS["admin"]


class Access(Enum):
    """What a route asks of its caller. There is no default: a route without one cannot be written down."""

    ANYONE = "anyone"
    """No credential. Tells nothing."""
    CATALOGUE = "catalogue"
    """A key, or nobody where the operator opened the catalogue."""
    KEY = "key"
    """A key; the reply is about it or its account."""
    MANAGEMENT = "management"
    """A management key."""
    VIEWER = "viewer"
    """Whoever may log in: looks at figures."""
    MEMBER = "member"
    """And uses models and makes keys for itself."""
    ADMIN = "admin"
    """And runs the installation: keys, people, money, providers."""
    OWNER = "owner"
    """And decides who runs it, and by which configuration."""


ROLES = (Access.VIEWER, Access.MEMBER, Access.ADMIN, Access.OWNER)
"""Each may what those before it may."""
RANKS = {role.value: rank for rank, role in enumerate(ROLES, 1)}


def check_rank(principal: Principal, role: str) -> None:
    """403 where a role is above the caller's: nobody gives, takes or resets more than it has. Empty: nobody's role."""
    if RANKS.get(role, 0) > RANKS[principal.role]:
        raise forbidden(f"this is about the role {role}; yours is {principal.role}")


ANONYMOUS = Principal("anonymous")
OPERATOR = Principal("operator", role=Access.OWNER.value)


def private_principal(headers: Headers) -> Principal | None:
    """The principal that the data plane or a command states. None when there is none, when it is malformed or stated twice."""
    stated = [value for name, value in headers if name.lower() == PRINCIPAL_HEADER]
    if len(stated) != 1:
        return None
    text = stated[0].decode("latin-1")
    if text == "anonymous":
        return ANONYMOUS
    if text == "operator":
        return OPERATOR
    if match := _KEY.fullmatch(text):
        return Principal("key", int(match[1]), int(match[2]), match[3] == "1")
    return None


def admin_principal(headers: Headers, token_digest: str) -> Principal | None:
    """The operator, when the one Authorization header carries the admin token."""
    presented = [value for name, value in headers if name.lower() == b"authorization"]
    if len(presented) != 1:
        return None
    scheme, _, token = presented[0].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not secret.same(token.strip(), token_digest):
        return None
    return OPERATOR


def authorise(access: Access, principal: Principal | None) -> Refusal | None:
    """Why this caller may not use a route with this access; None when it may."""
    if access is Access.ANYONE:
        return None
    if principal is None:
        return unauthenticated()
    if access in ROLES:
        if not principal.role:
            return forbidden("this is for the operator")
        if RANKS[principal.role] < RANKS[access.value]:
            return forbidden(f"this needs the role {access.value}; yours is {principal.role}")
        return None
    if access is Access.CATALOGUE:
        return None
    if principal.kind != "key":
        return unauthenticated("this needs a key")
    if access is Access.MANAGEMENT and not principal.management:
        return forbidden("this needs a management key")
    return None
