"""SQL of accounts, teams and users, and of the limits that they and keys have. As `queries`: inside the caller's transaction."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from fairlead.config.limits import Budget, EndUserLimits, Limits

ACCOUNT, TEAM, USER, KEY = "account", "team", "user", "key"
KINDS = (ACCOUNT, TEAM, USER, KEY)
_TABLES = {ACCOUNT: "accounts", TEAM: "teams", USER: "users", KEY: "keys"}

LIMIT_COLUMNS = ("limit_nanousd", "limit_interval", "rpm", "tpm", "max_concurrency", "end_user_limits")


class Scope(msgspec.Struct, frozen=True):
    """An account, a team or a user. Moments are Unix milliseconds."""

    kind: str
    id: int
    name: str
    source: str
    account_id: int
    """An account's own id."""
    account: str
    team_id: int
    """A user's; 0 for none."""
    team: str
    limits: Limits
    created_at_ms: int
    updated_at_ms: int | None


def _select(kind: str) -> str:
    limits = ", ".join(f"s.{name}" for name in LIMIT_COLUMNS)
    ends = f"{limits}, s.created_at_ms, s.updated_at_ms"
    if kind == ACCOUNT:
        return f"SELECT s.id, s.name, 'made', s.id, s.name, 0, '', {ends} FROM accounts s"  # noqa: S608
    of_account = "JOIN accounts ON accounts.id = s.account_id"
    if kind == TEAM:
        return f"SELECT s.id, s.name, s.source, s.account_id, accounts.name, 0, '', {ends} FROM teams s {of_account}"  # noqa: S608
    return (
        f"SELECT s.id, s.name, s.source, s.account_id, accounts.name, s.team_id, COALESCE(teams.name, ''), {ends}"  # noqa: S608
        f" FROM users s {of_account} LEFT JOIN teams ON teams.id = s.team_id"
    )


_SELECTS = {kind: _select(kind) for kind in (ACCOUNT, TEAM, USER)}


def scopes(connection: sqlite3.Connection, kind: str) -> list[Scope]:
    """Every account, team or user that is not deleted, oldest first."""
    return _found(connection, kind, "s.deleted_at_ms IS NULL", ())


def scope(connection: sqlite3.Connection, kind: str, id: int) -> Scope | None:
    """One by its id, unless it is deleted."""
    found = _found(connection, kind, "s.deleted_at_ms IS NULL AND s.id = ?", (id,))
    return found[0] if found else None


def scopes_named(
    connection: sqlite3.Connection, kind: str, selector: str, account: int | None = None, sees: Callable[[Scope], bool] = lambda _: True
) -> list[Scope]:
    """Of those that one sees the ones with this name; if none, the one with this id. `account`: of this account only. More than one only
    without it."""
    within, values = ("", []) if account is None or kind == ACCOUNT else (" AND s.account_id = ?", [account])
    by_name = _found(connection, kind, f"s.deleted_at_ms IS NULL AND s.name = ?{within}", (selector, *values))
    seen = [scope for scope in by_name if sees(scope)]
    if seen or not (selector.isascii() and selector.isdigit() and len(selector) < 19):
        return seen
    by_id = _found(connection, kind, f"s.deleted_at_ms IS NULL AND s.id = ?{within}", (int(selector), *values))
    return [scope for scope in by_id if sees(scope)]


def id_of_file(connection: sqlite3.Connection, kind: str, account: int, name: str) -> int | None:
    """The id of a team or user that the file owns or once owned."""
    statement = f"SELECT id FROM {_TABLES[kind]} WHERE account_id = ? AND name = ? AND source = 'file' ORDER BY id DESC"  # noqa: S608
    row = connection.execute(statement, (account, name)).fetchone()
    return None if row is None else int(row[0])


def ids_of_source(connection: sqlite3.Connection, kind: str, source: str) -> list[int]:
    """Ids of the teams or users of one origin that are not deleted."""
    statement = f"SELECT id FROM {_TABLES[kind]} WHERE source = ? AND deleted_at_ms IS NULL"  # noqa: S608
    return [int(row[0]) for row in connection.execute(statement, (source,))]


def account_row(connection: sqlite3.Connection, name: str) -> tuple[int, bool] | None:
    """The id of an account by its name, and whether it is deleted."""
    row = connection.execute("SELECT id, deleted_at_ms IS NOT NULL FROM accounts WHERE name = ?", (name,)).fetchone()
    return None if row is None else (int(row[0]), bool(row[1]))


def insert(connection: sqlite3.Connection, kind: str, row: dict[str, Any]) -> int:
    """Adds an account, a team or a user and returns its id, which none had before."""
    names, marks = ", ".join(row), ", ".join("?" for _ in row)
    statement = f"INSERT INTO {_TABLES[kind]} ({names}) VALUES ({marks}) RETURNING id"  # noqa: S608
    return int(connection.execute(statement, tuple(row.values())).fetchall()[0][0])


def update(connection: sqlite3.Connection, kind: str, id: int, changes: dict[str, Any]) -> None:
    """Sets columns."""
    assignments = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE {_TABLES[kind]} SET {assignments} WHERE id = ?", (*changes.values(), id))  # noqa: S608


def members(connection: sqlite3.Connection, kind: str, id: int, source: str | None = None) -> list[str]:
    """What belongs to an account, a team or a user and is not deleted, of one origin or of any, in words: `key 3 (ci)`."""
    where, values = f"{kind}_id = ? AND deleted_at_ms IS NULL", list[int | str]([id])
    if source is not None:
        where, values = f"{where} AND source = ?", [id, source]
    found: list[str] = []
    for member in {ACCOUNT: (TEAM, USER, KEY), TEAM: (USER, KEY), USER: (KEY,)}[kind]:
        rows = connection.execute(f"SELECT id, name FROM {_TABLES[member]} WHERE {where} ORDER BY id", values)  # noqa: S608
        found += [f"{member} {member_id} ({name})" for member_id, name in rows]
    return found


# --- limits ---------------------------------------------------------------------------------------------------------------


def limits(connection: sqlite3.Connection, kind: str, ids: Iterable[int] | None = None) -> dict[int, Limits]:
    """Id → limits of these, or of all of the kind that have any."""
    has_one = " OR ".join(f"{name} IS NOT NULL" for name in LIMIT_COLUMNS if name != "limit_interval")
    statement = f"SELECT id, {', '.join(LIMIT_COLUMNS)} FROM {_TABLES[kind]} WHERE deleted_at_ms IS NULL AND"  # noqa: S608
    if ids is None:
        budgets = _budgets(connection, kind)
        has_budget = "id IN (SELECT scope_id FROM budgets WHERE kind = ?)"
        rows = connection.execute(f"{statement} ({has_one} OR {has_budget})", (kind,)).fetchall()
    else:
        wanted = tuple(ids)
        budgets = _budgets(connection, kind, wanted)
        rows = connection.execute(f"{statement} id IN ({', '.join('?' * len(wanted))})", wanted).fetchall()
    return {row[0]: _limits(row[1:], budgets.get(row[0], ())) for row in rows}


def set_limits(connection: sqlite3.Connection, kind: str, id: int, limits: Limits) -> None:
    """Replaces the limits of one."""
    end_user = None if limits.end_user is None else msgspec.json.encode(limits.end_user).decode()
    own = {name: getattr(limits, name) for name in LIMIT_COLUMNS if name != "end_user_limits"}
    update(connection, kind, id, own | {"end_user_limits": end_user})
    connection.execute("DELETE FROM budgets WHERE kind = ? AND scope_id = ?", (kind, id))
    connection.executemany(
        "INSERT INTO budgets (kind, scope_id, limit_interval, soft, limit_nanousd) VALUES (?, ?, ?, ?, ?)",
        [(kind, id, budget.interval, int(budget.soft), budget.limit_nanousd) for budget in limits.budgets],
    )


def _budgets(connection: sqlite3.Connection, kind: str, ids: Sequence[int] | None = None) -> dict[int, tuple[Budget, ...]]:
    within = "" if ids is None else f" AND scope_id IN ({', '.join('?' * len(ids))})"
    statement = f"SELECT scope_id, limit_interval, limit_nanousd, soft FROM budgets WHERE kind = ?{within}"  # noqa: S608
    found: dict[int, tuple[Budget, ...]] = {}
    # In the order in which they end.
    order = "CASE limit_interval WHEN 'day' THEN 0 WHEN 'week' THEN 1 WHEN 'month' THEN 2 ELSE 3 END"
    for id, interval, amount, soft in connection.execute(f"{statement} ORDER BY scope_id, {order}, soft", (kind, *(ids or ()))):
        found[id] = (*found.get(id, ()), Budget(interval, amount, bool(soft)))
    return found


def _found(connection: sqlite3.Connection, kind: str, condition: str, values: Sequence[Any]) -> list[Scope]:
    rows = connection.execute(f"{_SELECTS[kind]} WHERE {condition} ORDER BY s.id", tuple(values)).fetchall()
    if not rows:
        return []
    budgets = _budgets(connection, kind, None if len(rows) > 1 else [rows[0][0]])
    found = []
    for row in rows:
        id, name, source, account_id, account, team_id, team, *own, created_at_ms, updated_at_ms = row
        own_limits = _limits(own, budgets.get(id, ()))
        found.append(Scope(kind, id, name, source, account_id, account, team_id, team, own_limits, created_at_ms, updated_at_ms))
    return found


def _limits(own: Sequence[Any], budgets: tuple[Budget, ...]) -> Limits:
    limit_nanousd, limit_interval, rpm, tpm, max_concurrency, end_user = own
    each = None if end_user is None else msgspec.json.decode(end_user, type=EndUserLimits)
    return Limits(limit_nanousd, limit_interval, rpm, tpm, max_concurrency, budgets, each)
