"""`fairlead ledger verify`: whether the books are right."""

import argparse
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec

from fairlead.cli import FAILED, FINE
from fairlead.cli.output import failed, mistaken, print_json
from fairlead.cli.reach import journal_reader, settings
from fairlead.config import Mistakes
from fairlead.control import place

# A server that runs frees what it has stored of the journal, also while this reads on from where it stood before.
TRIES = 3


def run(arguments: argparse.Namespace) -> int:
    """0: the books are right; 1: they are not, or cannot be read; 2: misuse."""
    try:
        _, data_dir = settings(arguments.config, arguments.data_dir)
        if not (data_dir / place.DATABASE).exists():
            return failed(arguments, f"there is no data folder at {data_dir}; --data-dir names another")
        report = verified(data_dir)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    except (place.PlaceError, sqlite3.Error, OSError) as error:
        return failed(arguments, error)
    if arguments.json:
        print_json({"ok": not report.findings, **msgspec.to_builtins(report)})
    else:
        sys.stdout.write(_text(report))
    return FAILED if report.findings else FINE


def verified(data_dir: Path) -> Any:
    """The report of an installation, running or not. Raises `sqlite3.Error` and `OSError` where it cannot be read."""
    from fairlead.control import ledger
    from fairlead.control.db.connection import open_reader

    connection = open_reader(data_dir / place.DATABASE)
    try:
        for left in reversed(range(TRIES)):
            connection.execute("BEGIN")
            try:
                report = ledger.verify(ledger.Books(connection, data_dir / place.JOURNAL, journal_reader(data_dir)))
            finally:
                connection.execute("ROLLBACK")
            if not left or all(finding.check != "journal" for finding in report.findings):
                return report
    finally:
        connection.close()
    raise AssertionError("there is a last try")


def _text(report: Any) -> str:
    wrong = {finding.check for finding in report.findings}
    lines = [f"{'FAIL' if check in wrong else 'ok':<5} {check}\n" for check in report.checks]
    for finding in report.findings:
        lines.append(f"{finding.check}: {finding.problem}" + (f" ({finding.count} of them)" if finding.count > 1 else "") + "\n")
        lines += [f"  {id}\n" for id in finding.ids]
        if finding.count > len(finding.ids) > 0:
            lines.append(f"  and {finding.count - len(finding.ids)} more\n")
    charged, cost = (f"{amount // 10**9}.{amount % 10**9:09}" for amount in (report.charged_nanousd, report.upstream_cost_nanousd))
    lines.append(f"{report.generations} generations, charged {charged} $, upstream cost {cost} $\n")
    return "".join(lines)
