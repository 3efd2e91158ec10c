"""`ledger.verify`: books that are right have no findings, and each way to falsify them is found by name."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, FakeBatch, FakeJournal, attempt, generation
from fairlead.cli import main
from fairlead.control import drain, ledger
from fairlead.control.db import Database, rollups
from fairlead.control.db.connection import open_reader, transact
from fairlead.control.db.rollups import Fold
from fairlead.control.ledger import Books, Finding

COST = {"upstream_cost_nanousd": 2}
SPLIT = {"split": "acme/assistant", "arm": "acme/fast:nitro"}
SHADOW = {"model": "other/model", "provider": "two", "flags": 128, "charged_nanousd": 0, "upstream_cost_nanousd": 7, "split": "acme/fast"}


def calls() -> list[tuple[tuple[Any, ...], list[tuple[Any, ...]]]]:
    """Generations of three days and a month before, two keys, apps, a split and failures, with their attempts."""
    made = []
    for number in range(1, 60):
        at_ms = NOW_MS + number * 7_000_003 - (40 * DAY_MS if number % 5 == 0 else 0)
        changes: dict[str, Any] = {"key_id": number % 2 + 1, "team_id": number % 3, "settled_at_ms": at_ms, "title": f"app {number % 4}"}
        if number % 7 == 0:
            changes |= SPLIT
        if number % 11 == 0:
            changes |= {"outcome": "failed", "charged_nanousd": 0, "error": "provider_status"}
        tries = number % 3 + 1
        row = generation(number, **changes, upstream_cost_nanousd=2 * tries)
        made.append((row, [attempt(number, n, **COST, error="" if n == tries - 1 else "connect_failed") for n in range(tries)]))
    return made


class Ledger:
    """A database that holds the first part of a journal."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fairlead.db"
        self.journal = FakeJournal()
        self.journal.records = calls()
        Database(self.path).close()
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        rows, attempts = zip(*self.journal.records[:50], strict=True)
        tries = [one for some in attempts for one in some]
        for first in range(0, 50, 9):
            part = FakeBatch(list(rows[first : first + 9]), tries, [(0, 1, 0, 1, min(first + 9, 50))])
            part.attempts = [one for one in tries if one[0] in {row[0] for row in part.generations}]
            self.apply(part)

    def apply(self, batch: FakeBatch) -> None:
        def work(connection: sqlite3.Connection) -> None:
            fold = Fold()
            drain.apply(connection, batch, fold)
            fold.store(connection)

        transact(self.connection, work)

    def findings(self) -> list[Finding]:
        reader = open_reader(self.path)
        try:
            reader.execute("BEGIN")
            return ledger.verify(Books(reader, self.path.parent / "journal", self.journal.open_reader)).findings
        finally:
            reader.close()


@pytest.fixture
def books(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def test_books_that_are_right(books: Ledger) -> None:
    assert books.findings() == []
    # What shadows cost is nobody's, and may be there before the generation.
    first, last = books.journal.records[0][0], books.journal.records[-1][0]
    for of, number in ((first, 1), (last, 59)):
        copy = generation(number, **SHADOW, settled_at_ms=of[2] + 90_000, key_id=of[6], arm="other/model")
        tries = [attempt(number, 64, flags=128, provider="two", upstream_cost_nanousd=7)]
        books.apply(FakeBatch([], tries, [(0, 1, 0, 1, 50)], shadows=[copy]))
        assert books.findings() == []


def test_hits_of_the_response_cache(books: Ledger) -> None:
    """Nobody was asked for them, so they have no attempts."""
    free = {"response_cache_source_id": ID, "charged_nanousd": 0, "upstream_cost_nanousd": 0, "prompt_tokens": 0, "completion_tokens": 0}
    hits = [generation(number, **free) for number in (100, 101)]
    books.apply(FakeBatch(hits, [], [(0, 1, 0, 1, 50)]))
    assert books.findings() == []
    books.connection.execute("UPDATE generations SET response_cache_source_id = '' WHERE id = ?", (hits[0][0],))
    books.connection.execute("UPDATE generations SET response_cache_source_id = 'gen-1' WHERE id = ?", (ID,))
    (found,) = books.findings()
    assert (found.check, sorted(found.ids)) == ("attempts", sorted([hits[0][0], ID]))


def test_windows_that_are_no_longer_kept(books: Ledger) -> None:
    late = [generation(number, settled_at_ms=NOW_MS + number * DAY_MS, **COST) for number in range(100, 105)]
    books.apply(FakeBatch(late, [attempt(number, 0, **COST) for number in range(100, 105)], [(0, 1, 0, 1, 50)]))
    minutes = books.connection.execute("SELECT MIN(start_ms) FROM usage_rollup WHERE res = 0").fetchone()[0]
    assert minutes > NOW_MS + 100 * DAY_MS, "some minutes have gone"
    assert books.findings() == []
    # The row of one that is kept for ever has not.
    books.connection.execute("UPDATE usage_rollup SET requests = 9 WHERE res = 4 AND dim = 6")
    assert {finding.check for finding in books.findings()} == {"rollups"}


TOTALS_TOO = {"rollups", "totals"}
ID = "gen-00000003-0000-7000-8000-000000000000"
FALSIFIED: list[tuple[str, set[str], str]] = [
    ("UPDATE generations SET charged_nanousd = charged_nanousd + 1 WHERE id = ?", {"journal", *TOTALS_TOO}, ID),
    ("UPDATE generations SET charged_nanousd = -1 WHERE id = ?", {"terminals", "journal", *TOTALS_TOO}, ID),
    ("UPDATE generations SET reserved_nanousd = -1 WHERE id = ?", {"terminals", "journal"}, ID),
    ("UPDATE generations SET outcome = 'lost' WHERE id = ?", {"terminals", "journal", "rollups"}, ID),
    ("UPDATE generations SET outcome = 'void' WHERE id = ?", {"terminals", "journal", "rollups"}, ID),
    ("UPDATE generations SET prompt_tokens = 0 WHERE id = ?", {"rollups"}, "usage_rollup"),
    ("UPDATE attempts SET upstream_cost_nanousd = 9 WHERE n = 0 AND generation_id = ?", {"attempts"}, ID),
    ("DELETE FROM attempts WHERE generation_id = ?", {"attempts", "rollups"}, ID),
    ("DELETE FROM generations WHERE id = ?", {"attempts", "journal", *TOTALS_TOO}, ID),
    ("DELETE FROM usage_rollup WHERE res = 3 AND dim = 2 AND val = 2", TOTALS_TOO, "account 1 key 2"),
    ("UPDATE usage_rollup SET charged_nanousd = charged_nanousd - 1 WHERE res = 4 AND dim = 0", TOTALS_TOO, "account 1"),
    ("UPDATE usage_rollup SET upstream_cost_nanousd = 1 WHERE res = 1 AND dim = 5", {"rollups"}, "dim 5"),
    ("UPDATE usage_rollup SET retried = retried + 1 WHERE res = 0 AND dim = 0", {"rollups"}, "res 0"),
    ("UPDATE usage_pair SET requests = requests + 1 WHERE res = 4", {"rollups"}, "usage_pair"),
    ("UPDATE latency_hist SET whole = first_content WHERE res = 2", {"rollups"}, "latency_hist"),
    ("DELETE FROM error_rollup WHERE res = 4", {"rollups"}, "error_rollup"),
    ("DELETE FROM usage_pair WHERE dim = 6", {"rollups"}, "usage_pair"),
    ("UPDATE cursors SET byte_offset = 55", {"journal"}, "gen-00000033"),
]


@pytest.mark.parametrize(("statement", "checks", "named"), FALSIFIED, ids=[statement for statement, _, _ in FALSIFIED])
def test_falsified_books(books: Ledger, statement: str, checks: set[str], named: str) -> None:
    changed = books.connection.execute(statement, (ID,) if "?" in statement else ())
    assert changed.rowcount > 0
    findings = books.findings()
    assert {finding.check for finding in findings} == checks, findings
    assert any(named in " ".join([finding.problem, *finding.ids]) for finding in findings), findings


@pytest.mark.parametrize(
    ("segment", "offset", "named"),
    [
        (1, 80, ""),
        (2, 64, ""),
        (1, 101, "byte 101 of segment 1, which has 100"),
        (1, 63, "byte 63"),
        (3, 64, "in segment 3, the last one is 1"),
    ],
)
def test_cursors_and_segments(books: Ledger, segment: int, offset: int, named: str) -> None:
    folder = books.path.parent / "journal"
    folder.mkdir()
    (folder / "0000000001-00000-00000-0000000001.segment").write_bytes(bytes(100))
    books.connection.execute("UPDATE cursors SET segment = ?, byte_offset = ?", (segment, offset))
    # Records are bytes to this journal.
    books.journal.records = books.journal.records[:50]
    books.journal.records += [(row, []) for row, _ in books.journal.records] * 2
    assert [(finding.check, named in finding.problem) for finding in books.findings()] == ([("journal", True)] if named else [])


def test_more_apps_than_are_counted(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MOST_NAMES", 3)
    assert books.findings() == []


def test_the_command(books: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "fairlead.toml"
    config.write_text(f'[server]\ndata_dir = "{tmp_path}"\n')
    words = ["ledger", "verify", "--config", str(config)]
    # There is no journal: what the rows say stands alone.
    assert main(words) == 0
    assert "ok    rollups\n" in (text := capsys.readouterr().out) and "50 generations, charged 46.000000046 $" in text
    books.connection.execute("UPDATE generations SET charged_nanousd = 7 WHERE id = ?", (ID,))
    assert main([*words, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"] and {finding["check"] for finding in report["findings"]} == TOTALS_TOO
    assert main(words) == 1
    assert "FAIL  totals\n" in capsys.readouterr().out
    assert main([*words, "--data-dir", str(tmp_path / "nowhere")]) == 1
    assert main(["ledger", "verify", "--config", str(tmp_path / "no.toml")]) == 2
