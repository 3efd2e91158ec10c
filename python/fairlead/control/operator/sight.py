"""Whose things a caller sees and may change. Admins, owners and commands: everybody's. Viewers and members: those of their own account, and
there the keys, teams, users and requests of their team or of themselves. What is not seen is as if it were not there.
"""

import sqlite3

from fairlead.control import directory
from fairlead.control.access import Principal
from fairlead.control.db.queries import Key
from fairlead.control.db.scopes import ACCOUNT, TEAM, Scope
from fairlead.control.directory import FindScope
from fairlead.control.replies import forbidden


def sees_key(principal: Principal, key: Key) -> bool:
    """Whether it is the caller's, or the team's."""
    if principal.sees_all:
        return True
    of_team = principal.team != 0 and key.team_id == principal.team
    return key.account_id == principal.account and (of_team or owns_key(principal, key))


def owns_key(principal: Principal, key: Key) -> bool:
    """Whether it may be changed: members change their own keys."""
    return principal.sees_all or (key.account_id == principal.account and key.user_id == principal.user != 0)


def sees_scope(principal: Principal, scope: Scope) -> bool:
    """Whether an account, team or user is shown."""
    if principal.sees_all:
        return True
    if scope.account_id != principal.account:
        return False
    if scope.kind == ACCOUNT:
        return True
    if scope.kind == TEAM:
        return scope.id == principal.team
    return scope.id == principal.user or (principal.team != 0 and scope.team_id == principal.team)


def seen_key(principal: Principal, selector: str) -> directory.Find:
    """Finds a key that the caller sees, by hash, id, name or label. What is not seen is not counted either."""
    return lambda connection: directory.select(connection, selector, lambda key: sees_key(principal, key))


def own_key(principal: Principal, selector: str) -> directory.Find:
    """Finds a key that the caller may change; 403 for one that it only sees."""
    seen = seen_key(principal, selector)

    def finding(connection: sqlite3.Connection) -> Key:
        key = seen(connection)
        if not owns_key(principal, key):
            raise forbidden("this key is another's: members change their own")
        return key

    return finding


def seen_scope(principal: Principal, kind: str, selector: str, account: str | None) -> FindScope:
    """Finds an account, team or user that the caller sees, by name or id, within an account that is named, or anywhere."""

    def sees(scope: Scope) -> bool:
        return sees_scope(principal, scope)

    def finding(connection: sqlite3.Connection) -> Scope:
        within = None if account is None else directory.one_scope(connection, ACCOUNT, account, None, sees).id
        return directory.one_scope(connection, kind, selector, within, sees)

    return finding
