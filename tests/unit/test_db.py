"""The database: migrations, transactions, the order of things after a commit."""

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_rig import generation
from fairlead.control.db import Database, SchemaError, migrate, queries
from fairlead.control.db.migrate import Migration


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "fairlead.db")
    yield database
    database.close()


def columns(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    return tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))


def test_rows_of_the_journal_fit_the_tables(database: Database) -> None:
    """Beside them the drain marks what was tried again."""
    assert database.read_now(lambda connection: columns(connection, "generations")) == (*queries.GENERATION_COLUMNS, "retried")
    assert database.read_now(lambda connection: columns(connection, "attempts")) == queries.ATTEMPT_COLUMNS
    assert database.read_now(lambda connection: columns(connection, "translation_losses")) == queries.LOSS_COLUMNS


def test_a_database_of_the_first_schema_keeps_its_generations(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.db"
    connection = opened(path)
    migrate.forward(connection, path, migrate.shipped()[:1])
    names = columns(connection, "generations")
    row = dict(zip(queries.GENERATION_COLUMNS, generation(1), strict=True))
    insert = f"INSERT INTO generations ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    connection.execute(insert, [row[name] for name in names])
    connection.close()
    database = Database(path)
    assert database.read_now(lambda connection: queries.generation(connection, 1, row["id"])) == row
    assert database.read_now(lambda connection: queries.losses(connection, [row["id"]])) == {row["id"]: []}
    database.close()
    assert (tmp_path / "fairlead.db.schema1.backup").exists()


def test_the_file_is_private_and_its_commits_are_durable(database: Database) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600

    def pragmas(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "mmap_size")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert database.write_now(pragmas) == ["wal", 2, 1, 0]


def test_a_failed_write_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    def spoil(connection: sqlite3.Connection) -> None:
        queries.set_meta(connection, "a", "1")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write_now(spoil, lambda _: pytest.fail("there was no commit"))
    assert database.read_now(lambda connection: queries.meta(connection, "a")) is None
    database.write_now(lambda connection: queries.set_meta(connection, "a", "2"))
    assert database.read_now(lambda connection: queries.meta(connection, "a")) == "2"


def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        database.read_now(lambda connection: queries.set_meta(connection, "a", "1"))


def test_what_follows_a_commit_sees_it_committed(database: Database) -> None:
    seen: list[object] = []

    def look(_: object) -> None:
        with sqlite3.connect(database.path) as other:
            seen.append(other.execute("SELECT value FROM meta WHERE name = 'a'").fetchone())
        other.close()

    database.write_now(lambda connection: queries.set_meta(connection, "a", "1"), look)
    assert seen == [("1",)]


def test_closing_leaves_one_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "fairlead.db")
    database.write_now(lambda connection: queries.set_meta(connection, "a", "1"))
    database.read_now(lambda connection: queries.meta(connection, "a"))
    database.close()
    assert [path.name for path in tmp_path.iterdir()] == ["fairlead.db"]


ONE = Migration(1, "one", "CREATE TABLE a (x INTEGER); -- said; twice\nINSERT INTO a VALUES (1);\n")
TWO = Migration(2, "two", "-- only a remark\n\nCREATE TRIGGER t AFTER INSERT ON a BEGIN\n  DELETE FROM a;\n  SELECT 1;\nEND;\n")
BROKEN = Migration(2, "broken", "INSERT INTO a VALUES (2);\nINSERT INTO nowhere VALUES (1);\n")


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_migrations_are_applied_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = opened(path)
    assert migrate.forward(connection, path, [ONE]) == 1
    assert migrate.forward(connection, path, [ONE, TWO]) == 2
    assert migrate.forward(connection, path, [ONE, TWO]) == 2
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    connection.close()
    backup = opened(tmp_path / "x.db.schema1.backup")
    assert migrate.version(backup) == 1
    backup.close()
    assert stat.S_IMODE((tmp_path / "x.db.schema1.backup").stat().st_mode) == 0o600


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = opened(path)
    migrate.forward(connection, path, [ONE])
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate.forward(connection, path, [ONE, BROKEN])
    assert connection.execute("SELECT x FROM a").fetchall() == [(1,)]
    assert migrate.version(connection) == 1
    connection.close()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ([ONE], "the database has schema 2, this Fairlead knows 1: it was made by a newer version"),
        ([ONE, TWO._replace(sql="SELECT 2;")], r"migration 2 \(two\) is not the one that was applied"),
        ([TWO], r"migration 1 \(one\) is not the one that was applied"),
    ],
)
def test_a_database_of_another_history_is_refused(tmp_path: Path, known: list[Migration], message: str) -> None:
    path = tmp_path / "x.db"
    connection = opened(path)
    migrate.forward(connection, path, [ONE, TWO])
    with pytest.raises(SchemaError, match=message):
        migrate.forward(connection, path, known)
    connection.close()


def test_a_newer_database_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "fairlead.db"
    Database(path).close()
    connection = opened(path)
    connection.execute("INSERT INTO schema_migrations VALUES (99, 'later', 'x', 0)")
    connection.close()
    with pytest.raises(SchemaError, match="schema 99"):
        Database(path)


def test_statements_are_cut_where_they_end() -> None:
    assert [text.strip() for text in migrate.statements(TWO.sql)] == [TWO.sql.split("\n\n")[1].strip()]
    with pytest.raises(SchemaError, match="within a statement"):
        list(migrate.statements("SELECT 1;\nSELECT 2"))


def test_endpoint_ids_are_stable(database: Database) -> None:
    first = database.write_now(lambda connection: queries.endpoint_id(connection, "a/b", "lab", "x", ""))
    second = database.write_now(lambda connection: queries.endpoint_id(connection, "a/b", "lab", "x", "eu"))
    again = database.write_now(lambda connection: queries.endpoint_id(connection, "a/b", "lab", "x", ""))
    assert (first, again) == (1, 1)
    assert second == 2


def test_cursors_never_go_back(database: Database) -> None:
    for moved, expected in [
        ([(0, 1, 0, 1, 50)], (1, 50)),
        ([(0, 1, 0, 1, 40)], (1, 50)),
        ([(0, 1, 0, 2, 10)], (2, 10)),
        ([(0, 1, 0, 1, 90)], (2, 10)),
    ]:
        database.write_now(lambda connection, moved=moved: queries.move_cursors(connection, moved))  # type: ignore[misc]
        assert database.read_now(queries.cursors) == [(0, 1, 0, *expected)]
