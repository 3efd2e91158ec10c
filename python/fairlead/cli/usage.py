"""`fairlead usage`: exact sums of what was used and what it cost, by who called, what was called, or when, with percentiles of how long it
took; or one generation in full. As a table, JSON, CSV, or bars."""

import argparse
import csv
import sys
from decimal import Decimal
from typing import Any

from fairlead.cli import FINE, MISUSE, generation
from fairlead.cli.arguments import SWAPPED_DAYS, count, day, days_are_swapped
from fairlead.cli.output import failed, harmless, print_json
from fairlead.cli.plot import bars
from fairlead.cli.reach import Installation, add_options, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.cli.table import table

NAME = "usage"
HELP = "show what was used and what it cost"

# What may be grouped by → the members that name a row.
WHO = {"key": ("key_name",), "team": ("team",), "app": ("app",), "preset": ("preset",)}
WHAT = {"model": ("model",), "provider": ("provider",)}
ALONE = {"user": ("user",), "day": ("day",), "split": ("split", "arm"), "shadow": ("model", "shadow")}
GROUPS = WHO | WHAT | ALONE
ROWS = 200
_COLUMNS = {
    "requests": "REQUESTS", "failed": "FAILED", "retried": "RETRIED", "prompt_tokens": "PROMPT", "cache_read_tokens": "CACHED",
    "cache_write_tokens": "WRITTEN", "completion_tokens": "COMPLETION", "charged_usd": "CHARGED $", "upstream_cost_usd": "UPSTREAM $",
}  # fmt: skip
_TIMES = {
    f"{name}_{percentile}_ms": f"{heading} {percentile.upper()} MS"
    for name, heading in (("first_token", "TTFT"), ("total", "TOTAL"))
    for percentile in ("p50", "p90", "p99")
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the window and the grouping."""
    add_options(parser)
    parser.add_argument("--from", dest="first", type=day, metavar="DAY", help="first UTC day, such as 2026-11-20 (default: since ever)")
    parser.add_argument("--to", dest="last", type=day, metavar="DAY", help="last UTC day (default: today)")
    parser.add_argument(
        "--by",
        choices=list(GROUPS),
        action="append",
        help="group by this; model and provider may be combined with each other and with one of key, team, app and preset"
        " (default: key and model)",
    )
    parser.add_argument("--limit", type=count, default=ROWS, metavar="N", help=f"the dearest N rows; the rest are one (default: {ROWS})")
    parser.add_argument("--zone", help="whose days: UTC or storage.reporting_zone (default: the latter)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="write CSV")
    form.add_argument("--plot", action="store_true", help="draw a bar of each row's charges")
    parser.add_argument("--generation", metavar="ID", help="show this generation instead: what it cost, what was tried, what was lost")


def run(arguments: argparse.Namespace) -> int:
    """0: shown; 1: not; 2: sums and a generation at once."""
    if arguments.generation is not None:
        if arguments.first or arguments.last or arguments.by or arguments.csv or arguments.plot:
            return failed(arguments, "--generation is about one call, --from, --to, --by, --csv and --plot about sums of many", MISUSE)
        return run_reached(arguments, lambda installation: _show_one(installation, arguments))
    groups = arguments.by or []
    alone = [group for group in groups if group in ALONE]
    if alone and len(groups) > 1:
        return failed(arguments, f"--by {alone[0]} has rows of its own and cannot be combined", MISUSE)
    if len([group for group in groups if group in WHO]) > 1 or len(set(groups)) < len(groups):
        return failed(arguments, f"--by takes each once, and one of {', '.join(WHO)}", MISUSE)
    if arguments.json and (arguments.csv or arguments.plot):
        return failed(arguments, "--json, --csv and --plot exclude each other", MISUSE)
    if days_are_swapped(arguments):
        return failed(arguments, SWAPPED_DAYS, MISUSE)
    return run_reached(arguments, lambda installation: _show(installation, arguments))


def _show_one(installation: Installation, arguments: argparse.Namespace) -> int:
    return generation.show(installation, arguments.generation, arguments.json)


def _show(installation: Installation, arguments: argparse.Namespace) -> int:
    groups = sorted(arguments.by or ["key", "model"], key=lambda group: group in WHAT)
    asked = {"from": arguments.first, "to": arguments.last, "by": ",".join(groups), "limit": arguments.limit, "zone": arguments.zone}
    reply = installation.request("GET", path_of("admin", "usage", **asked))
    rows, other = reply["data"], reply["other"]
    if arguments.json:
        print_json(reply)
        return FINE
    names = [name for group in groups for name in GROUPS[group]]
    if arguments.csv:
        _write_csv(rows + ([dict.fromkeys(rows[0], "") | {names[0]: OTHERS} | other] if rows and other else []))
    elif arguments.plot:
        named = [(" ".join(_named(row, names)), Decimal(row["charged_usd"])) for row in rows]
        sys.stdout.write(bars(named, "$"))
    else:
        columns = _COLUMNS | {name: heading for name, heading in _TIMES.items() if rows and name in rows[0]}
        headings = (*("KEY" if name == "key_name" else name.upper() for name in names), *columns.values())
        blank = [""] * (len(names) - 1)
        lines = [(*_named(row, names), *_figures(row, columns)) for row in rows]
        if other:
            lines.append((OTHERS, *blank, *_figures(other, columns)))
        lines.append(("total", *blank, *_figures(reply["total"], columns)))
        sys.stdout.write(table(headings, lines, frozenset(range(len(names), len(headings)))))
    return FINE


OTHERS = "(others)"


def _write_csv(rows: list[dict[str, Any]]) -> None:
    if rows:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([["" if value is None else harmless(str(value)) for value in row.values()] for row in rows])


def _named(row: dict[str, Any], names: list[str]) -> list[str]:
    return [str(row[name]) or (f"key {row['key_id']}" if name == "key_name" else "-") for name in names]


def _figures(row: dict[str, Any], columns: dict[str, str]) -> list[str]:
    """Cells: `-` where nothing is known."""
    values = (row.get(name) for name in columns)
    return ["-" if value is None else f"{value:.0f}" if isinstance(value, float) else str(value) for value in values]
