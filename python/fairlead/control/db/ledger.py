"""SQL of the credit ledger: what accounts were given and what was taken back. Entries are added, never changed (the tables refuse it).
As `queries`: inside the caller's transaction."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

TOPUP, ADJUSTMENT, REFUND, EXPIRY = "topup", "adjustment", "refund", "expiry"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `credit_entries`."""

    id: int = 0
    """0: not stored yet."""
    account_id: int
    at_ms: int
    kind: str
    amount_nanousd: int
    """What the account's credit grows by; below zero it shrinks."""
    note: str = ""
    external_id: str | None = None
    """Names the entry elsewhere; there is one entry of each."""
    expires_at_ms: int | None = None
    """When what is left of it is taken back."""
    reverses_id: int | None = None
    """The entry that it takes back, wholly or in part."""


COLUMNS = Entry.__struct_fields__
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM credit_entries"  # noqa: S608


def add(connection: sqlite3.Connection, entry: Entry) -> Entry:
    """Stores an entry and returns it with its id."""
    names = COLUMNS[1:]
    statement = f"INSERT INTO credit_entries ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) RETURNING id"  # noqa: S608
    row = connection.execute(statement, tuple(getattr(entry, name) for name in names)).fetchall()[0]
    return msgspec.structs.replace(entry, id=int(row[0]))


def entry(connection: sqlite3.Connection, id: int) -> Entry | None:
    """An entry by its id."""
    return _first(connection.execute(f"{_SELECT} WHERE id = ?", (id,)))


def entry_of(connection: sqlite3.Connection, external_id: str) -> Entry | None:
    """An entry by its name elsewhere."""
    return _first(connection.execute(f"{_SELECT} WHERE external_id = ?", (external_id,)))


def entries_before(connection: sqlite3.Connection, account: int | None, before: int | None, limit: int) -> list[Entry]:
    """The newest entries, of one account or of all, whose id is below `before`."""
    conditions, values = ["1 = 1"], []
    for condition, value in (("account_id = ?", account), ("id < ?", before)):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    rows = connection.execute(f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?", (*values, limit))
    return [_entry(row) for row in rows]


def balances_after(connection: sqlite3.Connection, entries: Sequence[Entry]) -> dict[int, int]:
    """Entry → what its account had been given in all, that entry included."""
    statement = "SELECT COALESCE(SUM(amount_nanousd), 0) FROM credit_entries WHERE account_id = ? AND id <= ?"
    found: dict[int, int] = {}
    sums: dict[int, int] = {}
    for entry in sorted(entries, key=lambda entry: entry.id):
        if entry.account_id in sums:
            sums[entry.account_id] += entry.amount_nanousd
        else:
            sums[entry.account_id] = int(connection.execute(statement, (entry.account_id, entry.id)).fetchone()[0])
        found[entry.id] = sums[entry.account_id]
    return found


def entries_after(connection: sqlite3.Connection, after: int, first_ms: int, end_ms: int, limit: int) -> list[Entry]:
    """Entries of a time, in the order of their ids, beginning after one."""
    statement = f"{_SELECT} WHERE id > ? AND at_ms >= ? AND at_ms < ? ORDER BY id LIMIT ?"
    return [_entry(row) for row in connection.execute(statement, (after, first_ms, end_ms, limit))]


def granted(connection: sqlite3.Connection, account: int) -> int:
    """All credit that an account was given and that was not taken back, in nano-dollars."""
    return int(
        connection.execute("SELECT COALESCE(SUM(amount_nanousd), 0) FROM credit_entries WHERE account_id = ?", (account,)).fetchone()[0]
    )


def granted_by_account(connection: sqlite3.Connection) -> dict[int, int]:
    """The same of every account that has entries."""
    rows = connection.execute("SELECT account_id, SUM(amount_nanousd) FROM credit_entries GROUP BY account_id")
    return {int(account): int(amount) for account, amount in rows}


def bought(connection: sqlite3.Connection, account: int) -> int:
    """What an account has ever bought, in nano-dollars: its top-ups without what was paid back of them. What expires was bought."""
    return bought_by_account(connection, account).get(account, 0)


def bought_by_account(connection: sqlite3.Connection, account: int | None = None) -> dict[int, int]:
    """The same of every account that has bought anything, or of one."""
    rows = connection.execute(
        "SELECT e.account_id, SUM(e.amount_nanousd) FROM credit_entries e LEFT JOIN credit_entries r ON r.id = e.reverses_id"
        " WHERE (e.kind = ?1 OR (e.kind = ?2 AND r.kind = ?1)) AND (?3 IS NULL OR e.account_id = ?3) GROUP BY e.account_id",
        (TOPUP, REFUND, account),
    )
    return {int(id): int(amount) for id, amount in rows}


def has_topup(connection: sqlite3.Connection, account: int) -> bool:
    """Whether an account has ever bought credit."""
    row = connection.execute("SELECT 1 FROM credit_entries WHERE account_id = ? AND kind = ? LIMIT 1", (account, TOPUP)).fetchone()
    return row is not None


def reversed_of(connection: sqlite3.Connection, id: int) -> int:
    """What later entries took back of one, in nano-dollars; not negative."""
    statement = "SELECT COALESCE(-SUM(amount_nanousd), 0) FROM credit_entries WHERE reverses_id = ?"
    return int(connection.execute(statement, (id,)).fetchone()[0])


def accounts_to_expire(connection: sqlite3.Connection, now_ms: int) -> list[int]:
    """Accounts with an entry whose time has come and that has no expiry yet."""
    statement = (
        "SELECT DISTINCT account_id FROM credit_entries e WHERE expires_at_ms <= ? AND NOT EXISTS"
        " (SELECT 1 FROM credit_entries r WHERE r.reverses_id = e.id AND r.kind = 'expiry') ORDER BY account_id"
    )
    return [int(row[0]) for row in connection.execute(statement, (now_ms,))]


def lots(connection: sqlite3.Connection, account: int) -> list[tuple[Entry, int, bool]]:
    """The entries that gave credit, in the order in which it is used: what expires first, then the older. With each what later entries took
    back of it, and whether it has expired."""
    rows = connection.execute(
        f"SELECT {', '.join(f'e.{name}' for name in COLUMNS)}, COALESCE(-SUM(r.amount_nanousd), 0),"  # noqa: S608
        " COALESCE(MAX(r.kind = 'expiry'), 0)"
        " FROM credit_entries e LEFT JOIN credit_entries r ON r.reverses_id = e.id"
        " WHERE e.account_id = ? AND e.amount_nanousd > 0 GROUP BY e.id ORDER BY e.expires_at_ms IS NULL, e.expires_at_ms, e.id",
        (account,),
    )
    return [(_entry(row[:-2]), int(row[-2]), bool(row[-1])) for row in rows]


# --- payments -------------------------------------------------------------------------------------------------------------


def payment_event_known(connection: sqlite3.Connection, id: str) -> bool:
    """Whether an event was taken before."""
    return connection.execute("SELECT 1 FROM payment_events WHERE id = ?", (id,)).fetchone() is not None


def add_payment_event(connection: sqlite3.Connection, id: str, at_ms: int, payment: str, refunded_nanousd: int) -> None:
    """Notes that an event was taken."""
    statement = "INSERT INTO payment_events (id, at_ms, payment, refunded_nanousd) VALUES (?, ?, ?, ?)"
    connection.execute(statement, (id, at_ms, payment, refunded_nanousd))


def refunded_of_payment(connection: sqlite3.Connection, payment: str) -> int:
    """What has been paid back of a payment by the newest that was heard, in nano-dollars."""
    statement = "SELECT COALESCE(MAX(refunded_nanousd), 0) FROM payment_events WHERE payment = ?"
    return int(connection.execute(statement, (payment,)).fetchone()[0])


def _first(rows: Iterator[tuple[Any, ...]]) -> Entry | None:
    row = next(rows, None)
    return None if row is None else _entry(row)


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(**dict(zip(COLUMNS, row, strict=True)))
