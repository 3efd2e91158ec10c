"""Brings a database to this program's schema: numbered `.sql` files, each applied once, in order, in a transaction.

A database that knows a migration which this program does not was made by a newer Fairlead and is refused. Before an existing
database is changed, a copy is put beside it.
"""

import hashlib
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import NamedTuple

_FILE_NAME = re.compile(r"([0-9]{4})_([a-z0-9_]+)\.sql")
_BOOK = """CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at_ms INTEGER NOT NULL)"""


class SchemaError(Exception):
    """The database's schema is not one that this program may use; the text says what to do."""


class Migration(NamedTuple):
    """One numbered file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def forward(connection: sqlite3.Connection, path: Path, migrations: list[Migration] | None = None) -> int:
    """Applies what is missing and returns the version the database now has.

    The book of migrations is read again under the write lock, so two processes that start at once cannot both apply one.
    """
    known = shipped() if migrations is None else migrations
    applied = _applied(connection)
    _check(applied, known)
    pending = [migration for migration in known if migration.version not in applied]
    if pending and applied:
        _back_up(connection, path, max(applied))
    for migration in pending:
        _apply(connection, migration)
    return max((migration.version for migration in known), default=0)


def version(connection: sqlite3.Connection) -> int:
    """The newest migration that was applied; 0 for an empty database."""
    return max(_applied(connection), default=0)


def shipped() -> list[Migration]:
    """The migrations of this program, in order."""
    found = []
    for entry in (resources.files(__package__) / "migrations").iterdir():
        if match := _FILE_NAME.fullmatch(entry.name):
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    found.sort()
    return found


def statements(sql: str) -> Iterator[str]:
    """Cuts a script into statements. `executescript` would commit the transaction that it must run in."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        if not statement and (not line.strip() or line.lstrip().startswith("--")):
            continue
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        raise SchemaError(f"migration ends within a statement: {statement.strip()[:60]!r}")


def _applied(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_migrations'").fetchone() is None:
        return {}
    rows = connection.execute("SELECT version, name, checksum FROM schema_migrations")
    return {version: (name, checksum) for version, name, checksum in rows}


def _check(applied: dict[int, tuple[str, str]], known: list[Migration]) -> None:
    by_version = {migration.version: migration for migration in known}
    newest = max(by_version, default=0)
    for version, (name, checksum) in sorted(applied.items()):
        if version > newest:
            raise SchemaError(
                f"the database has schema {max(applied)}, this Fairlead knows {newest}: it was made by a newer version; "
                "start that version, or put back the backup that it made"
            )
        migration = by_version.get(version)
        if migration is None or migration.checksum != checksum:
            raise SchemaError(f"migration {version} ({name}) is not the one that was applied to this database")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    target = path.with_name(f"{path.name}.schema{version}.backup")
    target.unlink(missing_ok=True)
    target.touch(0o600)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def _apply(connection: sqlite3.Connection, migration: Migration) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        connection.execute(_BOOK)
        if migration.version not in _applied(connection):
            for statement in statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum, applied_at_ms) VALUES (?, ?, ?, ?)",
                (migration.version, migration.name, migration.checksum, time.time_ns() // 1_000_000),
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
