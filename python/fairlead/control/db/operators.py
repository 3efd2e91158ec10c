"""SQL of log-ins, their sessions and the audit log. As `queries`: inside the caller's transaction. Moments are Unix milliseconds."""

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from fairlead.control.db.queries import Row


class Login(msgspec.Struct, frozen=True):
    """A user's way in."""

    user_id: int
    role: str
    password: str
    """Argon2id in PHC form; empty: none yet."""
    version: int
    updated_at_ms: int
    issuer: str = ""
    subject: str = ""
    """Whom a provider of OpenID Connect knows as this user; empty: nobody."""

    def __repr__(self) -> str:
        return f"Login({self.user_id}, {self.role})"


class Session(msgspec.Struct, frozen=True):
    """Somebody who is logged in, with what is known of the user now."""

    id: int
    user_id: int
    """0: whoever has the admin token."""
    role: str
    """When the cookie was last made; `login_role` is the present one."""
    way: str
    credential: str
    created_at_ms: int
    seen_at_ms: int
    ends_at_ms: int
    address: str
    user_agent: str
    is_previous: bool
    """Whether it was found by the cookie before the present one."""
    login_role: str | None
    login_version: int | None
    """None: the user may no longer log in, or is none."""
    user: str
    account_id: int
    team_id: int


_SESSION = (
    "SELECT s.id, s.user_id, s.role, way, credential, s.created_at_ms, seen_at_ms, ends_at_ms, address, user_agent, {0}, l.role, l.version,"
    " COALESCE(u.name, ''), COALESCE(u.account_id, 0), COALESCE(u.team_id, 0) FROM sessions s"
    " LEFT JOIN users u ON u.id = s.user_id AND u.deleted_at_ms IS NULL LEFT JOIN logins l ON l.user_id = u.id"
)


_LOGIN = (
    "SELECT l.user_id, role, password, version, updated_at_ms, COALESCE(issuer, ''), COALESCE(subject, '') FROM logins l"
    " LEFT JOIN identities i ON i.user_id = l.user_id"
)


# --- log-ins --------------------------------------------------------------------------------------------------------------


def login(connection: sqlite3.Connection, user: int) -> Login | None:
    """A user's way in, if there is one."""
    row = connection.execute(f"{_LOGIN} WHERE l.user_id = ?", (user,)).fetchone()
    return None if row is None else Login(*row)


def logins(connection: sqlite3.Connection) -> dict[int, Login]:
    """All of them, by the users."""
    return {row[0]: Login(*row) for row in connection.execute(_LOGIN)}


def set_login(connection: sqlite3.Connection, login: Login) -> None:
    """Makes or replaces a user's way in."""
    connection.execute(
        "INSERT INTO logins (user_id, role, password, version, updated_at_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET"
        " role = excluded.role, password = excluded.password, version = excluded.version, updated_at_ms = excluded.updated_at_ms",
        (login.user_id, login.role, login.password, login.version, login.updated_at_ms),
    )


def delete_login(connection: sqlite3.Connection, user: int) -> None:
    """Takes a user's ways in away, with every session."""
    delete_role(connection, user)
    forget_identity(connection, user)


def delete_role(connection: sqlite3.Connection, user: int) -> None:
    """Takes a user's role away, with every session. Whom a provider means stays, so that the user can come back."""
    connection.execute("DELETE FROM sessions WHERE user_id = ?", (user,))
    connection.execute("DELETE FROM logins WHERE user_id = ?", (user,))


def user_of(connection: sqlite3.Connection, issuer: str, subject: str) -> int | None:
    """The user whom a provider means by a subject, unless it is deleted."""
    statement = (
        "SELECT user_id FROM identities JOIN users ON users.id = user_id WHERE issuer = ? AND subject = ? AND users.deleted_at_ms IS NULL"
    )
    row = connection.execute(statement, (issuer, subject)).fetchone()
    return None if row is None else int(row[0])


def identify(connection: sqlite3.Connection, issuer: str, subject: str, user: int, now_ms: int) -> None:
    """From now on this subject means this user, and no other."""
    connection.execute("DELETE FROM identities WHERE user_id = ? OR (issuer = ? AND subject = ?)", (user, issuer, subject))
    statement = "INSERT INTO identities (issuer, subject, user_id, created_at_ms) VALUES (?, ?, ?, ?)"
    connection.execute(statement, (issuer, subject, user, now_ms))


def forget_identity(connection: sqlite3.Connection, user: int) -> None:
    """No provider means this user any more."""
    connection.execute("DELETE FROM identities WHERE user_id = ?", (user,))


# --- sessions -------------------------------------------------------------------------------------------------------------


def insert_session(connection: sqlite3.Connection, row: Row) -> int:
    """Adds a session and returns its id."""
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    statement = f"INSERT INTO sessions ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608
    return int(connection.execute(statement, tuple(row.values())).fetchall()[0][0])


def session(connection: sqlite3.Connection, hash: str, now_ms: int) -> Session | None:
    """The session of a cookie with this hash, or of one that was replaced a moment ago."""
    row = connection.execute(f"{_SESSION.format('0')} WHERE hash = ?", (hash,)).fetchone()
    if row is None:
        previous = f"{_SESSION.format('1')} WHERE previous_hash = ? AND previous_hash <> '' AND previous_until_ms > ?"
        row = connection.execute(previous, (hash, now_ms)).fetchone()
    return None if row is None else _session(row)


def sessions(connection: sqlite3.Connection, user: int | None = None) -> list[Session]:
    """All of them, or a user's; the newest first."""
    where, values = ("", ()) if user is None else (" WHERE s.user_id = ?", (user,))
    return [_session(row) for row in connection.execute(f"{_SESSION.format('0')}{where} ORDER BY s.id DESC", values)]


def _session(row: Sequence[Any]) -> Session:
    return Session(*row)


def update_session(connection: sqlite3.Connection, id: int, changes: Row) -> None:
    """Sets columns."""
    assignments = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE sessions SET {assignments} WHERE id = ?", (*changes.values(), id))  # noqa: S608


def delete_session(connection: sqlite3.Connection, id: int) -> bool:
    """Ends one; whether there was one."""
    return connection.execute("DELETE FROM sessions WHERE id = ?", (id,)).rowcount > 0


def delete_sessions_of(connection: sqlite3.Connection, user: int, but: int = 0) -> int:
    """Ends those of a user, but for one; how many."""
    return connection.execute("DELETE FROM sessions WHERE user_id = ? AND id <> ?", (user, but)).rowcount


def delete_sessions_by(connection: sqlite3.Connection, user: int, way: str) -> int:
    """Ends those of a user that were opened in one way; how many."""
    return connection.execute("DELETE FROM sessions WHERE user_id = ? AND way = ?", (user, way)).rowcount


def delete_dead_sessions(connection: sqlite3.Connection, now_ms: int, idle_ms: int) -> None:
    """Forgets those whose time is over."""
    connection.execute("DELETE FROM sessions WHERE ends_at_ms <= ? OR seen_at_ms <= ?", (now_ms, now_ms - idle_ms))


# --- audit ----------------------------------------------------------------------------------------------------------------

AUDIT_COLUMNS = (
    "id", "at_ms", "actor_kind", "actor_id", "actor", "role", "address", "action", "target_kind", "target_id", "target", "before", "after",
)  # fmt: skip


def add_audit(connection: sqlite3.Connection, row: Row) -> int:
    """Adds an entry and returns its id."""
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    statement = f"INSERT INTO audit ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608
    return int(connection.execute(statement, tuple(row.values())).fetchall()[0][0])


def maker(connection: sqlite3.Connection, kind: str, id: int) -> str | None:
    """Who made something, as its oldest entry says; None for what is older than the log."""
    statement = "SELECT actor FROM audit WHERE target_kind = ? AND target_id = ? ORDER BY id LIMIT 1"
    row = connection.execute(statement, (kind, str(id))).fetchone()
    return None if row is None else str(row[0])


def audit_before(connection: sqlite3.Connection, before: int | None, limit: int, filters: Sequence[tuple[str, str, Any]]) -> list[Row]:
    """The newest entries below an id; `filters` are a column, `=`, `>=` or `<`, and a value."""
    conditions, values = ["1 = 1"], list[Any]()
    if before is not None:
        conditions.append("id < ?")
        values.append(before)
    for column, operator, value in filters:
        if column not in AUDIT_COLUMNS or operator not in ("=", ">=", "<"):
            raise ValueError(f"no filter {column} {operator}")
        conditions.append(f"{column} {operator} ?")
        values.append(value)
    statement = f"SELECT {', '.join(AUDIT_COLUMNS)} FROM audit WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?"  # noqa: S608
    return [dict(zip(AUDIT_COLUMNS, row, strict=True)) for row in connection.execute(statement, (*values, limit))]
