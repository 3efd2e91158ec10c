"""Presets and splits that were made at run time, with every version of each, as rows."""

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from fairlead.config.made import Definition, Made

MOST_VERSIONS = 1000
"""That are kept of a name; of more the oldest go, but never the one in force."""

_COLUMNS = """names.id, kind, names.name, names.version, definition, note, actor, created_at_ms, updated_at_ms
    FROM names JOIN name_versions ON name_id = names.id AND name_versions.version = names.version WHERE deleted_at_ms IS NULL"""


class Name(NamedTuple):
    """A name with what it stands for now."""

    id: int
    kind: str
    name: str
    version: int
    definition: Definition
    note: str
    actor: str
    created_at_ms: int
    updated_at_ms: int


class Version(NamedTuple):
    """What a name stands for, or stood for once."""

    version: int
    at_ms: int
    actor_kind: str
    actor: str
    note: str
    definition: Definition


def names(connection: sqlite3.Connection, kind: str) -> list[Name]:
    """All of a kind, by name."""
    return [_name(row) for row in connection.execute(f"SELECT {_COLUMNS} AND kind = ? ORDER BY names.name", (kind,))]


def name(connection: sqlite3.Connection, kind: str, wanted: str) -> Name | None:
    """One of them."""
    row = connection.execute(f"SELECT {_COLUMNS} AND kind = ? AND names.name = ?", (kind, wanted)).fetchone()
    return None if row is None else _name(row)


def made(connection: sqlite3.Connection) -> list[Made]:
    """What each name stands for, for whoever compiles a configuration. Of a database of an earlier version, which has none: nothing."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'names'").fetchone() is None:
        return []
    return [Made(each.kind, each.name, each.definition) for each in _all(connection)]


def insert(connection: sqlite3.Connection, kind: str, wanted: str, first: Version) -> None:
    """Makes a name. Its versions go on from where they were when it was deleted."""
    row = (kind, wanted, first.at_ms, first.at_ms)
    connection.execute(
        """INSERT INTO names (kind, name, version, created_at_ms, updated_at_ms) VALUES (?, ?, 0, ?, ?)
        ON CONFLICT (kind, name) DO UPDATE SET deleted_at_ms = NULL, created_at_ms = excluded.created_at_ms""",
        row,
    )
    [id] = connection.execute("SELECT id FROM names WHERE kind = ? AND name = ?", (kind, wanted)).fetchone()
    add(connection, id, first)


def add(connection: sqlite3.Connection, id: int, version: Version) -> None:
    """Adds a version, which gets its number here, and puts it in force."""
    [newest] = connection.execute("SELECT IFNULL(MAX(version), 0) FROM name_versions WHERE name_id = ?", (id,)).fetchone()
    row = (id, newest + 1, version.at_ms, version.actor_kind, version.actor, version.note, msgspec.json.encode(version.definition).decode())
    connection.execute("INSERT INTO name_versions VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    put_in_force(connection, id, newest + 1, version.at_ms)
    connection.execute("DELETE FROM name_versions WHERE name_id = ? AND version <= ?", (id, newest + 1 - MOST_VERSIONS))


def put_in_force(connection: sqlite3.Connection, id: int, version: int, at_ms: int) -> None:
    """Makes a version the one that counts."""
    connection.execute("UPDATE names SET version = ?, updated_at_ms = ? WHERE id = ?", (version, at_ms, id))


def delete(connection: sqlite3.Connection, id: int, at_ms: int) -> None:
    """Takes a name away; its versions stay."""
    connection.execute("UPDATE names SET deleted_at_ms = ? WHERE id = ?", (at_ms, id))


def versions(connection: sqlite3.Connection, id: int, before: int, limit: int) -> list[Version]:
    """So many versions before a number, the newest first."""
    rows = connection.execute(
        """SELECT version, at_ms, actor_kind, actor, note, definition FROM name_versions
        WHERE name_id = ? AND version < ? ORDER BY version DESC LIMIT ?""",
        (id, before, limit),
    )
    return [Version(version, at_ms, kind, actor, note, msgspec.json.decode(text)) for version, at_ms, kind, actor, note, text in rows]


def _all(connection: sqlite3.Connection) -> Iterator[Name]:
    return (_name(row) for row in connection.execute(f"SELECT {_COLUMNS} ORDER BY kind, names.name"))


def _name(row: tuple[Any, ...]) -> Name:
    id, kind, wanted, version, definition, *rest = row
    return Name(id, kind, wanted, version, msgspec.json.decode(definition), *rest)
