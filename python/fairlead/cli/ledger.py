"""`fairlead ledger`: whether the books are right; and every movement of money, as CSV or JSON lines."""

import argparse
import csv
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from fairlead.cli import FINE, MISUSE, verify
from fairlead.cli.arguments import SWAPPED_DAYS, day, days_are_swapped
from fairlead.cli.output import failed, harmless
from fairlead.cli.reach import Installation, add_options, options_of_actions, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.control.books import CHARGES, CREDITS, FIELDS

NAME = "ledger"
HELP = "check that the books are right, and export every movement of money"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions."""
    add_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser(
        "verify",
        help="compare rows, sums and journal with each other; nothing is changed, and a server may run meanwhile",
        parents=[options_of_actions()],
    )
    export = actions.add_parser("export", help="write credit entries, then charges, to stdout", parents=[options_of_actions()])
    export.add_argument("--format", choices=["csv", "jsonl"], help="default: csv, with --json JSON lines")
    export.add_argument("--only", choices=[CREDITS, CHARGES], help="only these")
    export.add_argument("--from", dest="first", type=day, metavar="DAY", help="first UTC day (default: since ever)")
    export.add_argument("--to", dest="last", type=day, metavar="DAY", help="last UTC day (default: today)")


def run(arguments: argparse.Namespace) -> int:
    """0: the books are right, or written; 1: they are not; 2: there is no such time to export."""
    if arguments.action == "verify":
        return verify.run(arguments)
    if days_are_swapped(arguments):
        return failed(arguments, SWAPPED_DAYS, MISUSE)
    return run_reached(arguments, lambda installation: _export(installation, arguments))


def _export(installation: Installation, arguments: argparse.Namespace) -> int:
    rows = (row for of in ([arguments.only] if arguments.only else [CREDITS, CHARGES]) for row in _rows(installation, of, arguments))
    if (arguments.format or ("jsonl" if arguments.json else "csv")) == "jsonl":
        for row in rows:
            sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return FINE
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow(["" if row[name] is None else harmless(str(row[name])) for name in FIELDS])
    return FINE


def _rows(installation: Installation, of: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    after: str | None = None
    is_told = False
    while True:
        query = {"of": of, "after": after, "from": arguments.first, "to": arguments.last}
        page = installation.request("GET", path_of("admin", "ledger", **query))
        complete_from = page["complete_from"]
        if complete_from and not is_told and (arguments.first or "") < complete_from[:10]:
            is_told = True
            print(f"fairlead: charges before {complete_from[:10]} may be missing: storage.retention_days lets go of them", file=sys.stderr)
        yield from page["data"]
        after = page["next"]
        if after is None:
            return
