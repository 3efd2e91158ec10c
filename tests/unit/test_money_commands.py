"""The commands about money and limits, on a data folder at rest."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, FakeBatch, generation
from fairlead.cli import main
from fairlead.cli.arguments import count
from fairlead.cli.keys import budget
from fairlead.cli.output import harmless
from fairlead.cli.plot import bars
from fairlead.control import place
from fairlead.control.db import Database, rollups
from fairlead.control.drain import apply

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on an empty folder with one key; returns exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FAIRLEAD_CONFIG", raising=False)

    def command(*words: str) -> tuple[int, str, str]:
        try:
            code = main([*words[:1], "--data-dir", str(tmp_path / "data"), *words[1:]])
        except SystemExit as error:
            code = int(str(error.code))
        out, err = capsys.readouterr()
        return code, out, err

    assert command("keys", "create", "first")[0] == 0
    return command


def settle(folder: Path, *rows: tuple[Any, ...]) -> None:
    database = Database(folder / "data" / place.DATABASE)

    def work(connection: Any) -> None:
        fold = rollups.Fold()
        apply(connection, FakeBatch(generations=list(rows)), fold)
        fold.store(connection)

    database.write_now(work)
    database.close()


def told(done: tuple[int, str, str]) -> Any:
    code, out, err = done
    assert code == 0, err
    return json.loads(out)


def test_credit_from_the_command_line(run: Run) -> None:
    assert run("credits", "add", "10", "--note", "hello", "--external-id", "a")[1] == "entry 1: 10 $ for default, which has 10 $ left\n"
    assert "entry 1: 10 $" in run("credits", "add", "10", "--external-id", "a")[1]
    assert "entry 2: -3.5 $" in run("credits", "adjust", "-3.5")[1]
    assert "entry 3: -4 $ for default, which has 2.5 $ left" in run("credits", "refund", "1", "4")[1]
    assert told(run("credits", "refund", "1", "--json"))["data"]["usd"] == "-6"
    shown = run("credits", "show")[1].splitlines()
    assert shown[1].split() == ["default", "-3.5", "0", "-3.5"]
    assert [line.split()[0] for line in shown[4:]] == ["4", "3", "2", "1"]
    assert told(run("credits", "show", "--limit", "1", "--json"))["data"][0]["reverses"] == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("credits",), 2, "ACTION"),
        (("credits", "add"), 2, "USD"),
        (("credits", "add", "-5"), 2, "is negative"),
        (("credits", "add", "1.0000000001"), 2, "more than 9 decimals"),
        (("credits", "add", "5", "--account", "nobody"), 1, "there is no account 'nobody'"),
        (("credits", "refund", "7"), 1, "there is no credit entry 7"),
        (("credits", "refund", "seven"), 2, "expected a whole number"),
        (("keys", "create", "x", "--budget", "5/hourly"), 2, "expected dollars such as"),
        (("keys", "create", "x", "--limit-reset", "daily"), 1, "limit_reset: there is no limit that it could reset"),
        (("keys", "create", "x", "--team", "none"), 1, "there is no team 'none'"),
        (("keys", "limit", "first"), 1, "nothing to change"),
        (("keys", "limit", "nobody", "--rpm", "5"), 1, "there is no key 'nobody'"),
        (("keys", "limit", "first", "--rpm", "0"), 2, "expected a whole number from 1"),
        (("ledger", "export", "--format", "xml"), 2, "xml"),
        (("usage", "--by", "day", "--by", "key"), 2, "--by day has rows of its own"),
        (("usage", "--csv", "--plot"), 2, "not allowed with"),
        (("usage", "--plot", "--json"), 2, "exclude each other"),
    ],
)
def test_mistakes(run: Run, words: tuple[str, ...], code: int, text: str) -> None:
    done = run(*words)
    assert (done[0], text in done[1] + done[2]) == (code, True), done
    if code == 1:
        refused = run(*words, "--json")
        assert refused[0] == 1 and text in json.loads(refused[1])["error"]


def test_limits_of_a_key(run: Run) -> None:
    words = (
        "--limit-usd",
        "5",
        "--limit-reset",
        "daily",
        "--rpm",
        "60",
        "--budget",
        "50/monthly",
        "--budget",
        "20/soft",
        "--strict-budget",
    )
    made = told(run("keys", "create", "ci", *words, "--json"))["data"]
    assert (made["limit_usd"], made["limit_reset"], made["rpm"], made["strict_budget"]) == ("5", "daily", 60, True)
    assert "5/daily 50/monthly 20/soft 60rpm" in run("keys", "list")[1]
    assert run("keys", "limit", "ci", "--rpm", "7")[1] == "key 2 (ci): 5/daily 50/monthly 20/soft 7rpm\n"
    assert run("keys", "limit", "ci", "--no-limits", "--tpm", "9")[1] == "key 2 (ci): 9tpm\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", {"limit_usd": "5", "reset": None, "soft": False}),
        ("5/weekly", {"limit_usd": "5", "reset": "weekly", "soft": False}),
        ("0.5/soft/daily", {"limit_usd": "0.5", "reset": "daily", "soft": True}),
    ],
)
def test_budgets_as_words(text: str, expected: dict[str, Any]) -> None:
    assert budget(text) == expected


def test_usage_in_four_forms(run: Run, tmp_path: Path) -> None:
    settle(
        tmp_path,
        generation(1, charged_nanousd=10**9, title="=evil()"),
        generation(2, charged_nanousd=3 * 10**9, settled_at_ms=NOW_MS - DAY_MS),
        generation(3, charged_nanousd=1, model="acme/slow", referer="https://app.example/x"),
    )
    for by, names in (
        ("day", ["2025-11-20", "2025-11-21"]),
        ("app", ["=evil()", "app.example", ""]),
        ("model", ["acme/fast", "acme/slow"]),
    ):
        rows = told(run("usage", "--by", by, "--json"))
        assert [row[by] for row in rows["data"]] == names
        assert sum(Decimal(row["charged_usd"]) for row in rows["data"]) == Decimal(rows["total"]["charged_usd"]) == Decimal("4.000000001")
    assert [row["charged_usd"] for row in told(run("usage", "--by", "day", "--from", "2025-11-21", "--json"))["data"]] == ["1.000000001"]
    cells = list(csv.DictReader(io.StringIO(run("usage", "--by", "app", "--csv")[1])))
    assert [(row["app"], row["charged_usd"]) for row in cells] == [("'=evil()", "1"), ("app.example", "0.000000001"), ("", "3")]
    plot = run("usage", "--by", "day", "--plot")[1].splitlines()
    assert [line.count("█") for line in plot] == [50, 16]
    assert plot[0].endswith("  3 $") and plot[1].endswith("  1.000000001 $")
    text = run("usage", "--by", "day")[1].splitlines()
    assert [line.split()[0] for line in text] == ["DAY", "2025-11-20", "2025-11-21", "total"]


def test_the_export_has_everything_once(run: Run, tmp_path: Path) -> None:
    run("credits", "add", "10", "--note", "=1+1")
    settle(tmp_path, *(generation(number, charged_nanousd=number) for number in range(1, 2006)))
    rows = list(csv.DictReader(io.StringIO(run("ledger", "export")[1])))
    assert len({(row["type"], row["id"]) for row in rows}) == len(rows) == 2006
    assert (rows[0]["type"], rows[0]["amount_usd"], rows[0]["note"]) == ("topup", "10", "'=1+1")
    assert sum(Decimal(row["amount_usd"]) for row in rows) == 10 - Decimal(2005 * 2006 // 2).scaleb(-9)
    lines = [json.loads(line) for line in run("ledger", "export", "--json", "--only", "charges")[1].splitlines()]
    assert ({line["type"] for line in lines}, len(lines)) == ({"charge"}, 2005)


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=A1", "'=A1"), ("@x", "'@x"), ("+1", "'+1"), ("-5", "-5"), ("-x", "'-x"), ("a=b", "a=b"), ("", ""), ("\tx", "'\tx")],
)
def test_cells_are_no_formulas(text: str, cell: str) -> None:
    assert harmless(text) == cell


def test_bars() -> None:
    rows = [("a", Decimal(8)), ("bb", Decimal(1)), ("c", Decimal(0)), ("d", Decimal("0.000000001"))]
    assert bars(rows, "$", 8) == "a   ████████  8 $\nbb  █         1 $\nc             0 $\nd   ▏         0.000000001 $\n"
    assert bars([("a", Decimal(0))], "$", 2) == "a      0 $\n"
    assert bars([], "$") == "nothing to show\n"


def test_counts_are_whole() -> None:
    assert count("10000000000") == 10_000_000_000


def test_a_key_that_spent_more_than_a_number_holds(run: Run, tmp_path: Path) -> None:
    """Nine million dollars are more nano-dollars than a binary fraction has digits for."""
    settle(tmp_path, generation(1, key_id=1, charged_nanousd=9_007_199_254_740_993))
    [key] = told(run("keys", "--json", "list"))["data"]
    assert (key["usage_usd"], key["usage_monthly_usd"]) == ("9007199.254740993", "0")
    _, out, _ = run("keys", "list")
    assert " 9007199.254740993 " in out
