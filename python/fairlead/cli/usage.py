"""`fairlead usage`: exact sums of what was used and what it cost, by key, model and provider, by day or by app, or what came of the arms of
splits and of shadows; or one generation in full. As a table, JSON, CSV, or bars."""

import argparse
import csv
import sys
from decimal import Decimal
from typing import Any

from fairlead.cli import FINE, MISUSE, generation
from fairlead.cli.arguments import day
from fairlead.cli.output import failed, harmless, print_json
from fairlead.cli.plot import bars
from fairlead.cli.reach import Installation, add_options, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.cli.table import table

NAME = "usage"
HELP = "show what was used and what it cost"

GROUPS = {"key": ("key_id", "key_name"), "model": ("model",), "provider": ("provider",)}
# Rows of all keys together, which the installation sums up.
WINDOWS = ("day", "app")
# What a row is named by that is about one arm of a split, or one model's shadow at another.
ARMS = {"split": ("split", "arm"), "shadow": ("model", "shadow")}
_COUNTS = ("requests", "failed", "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "completion_tokens")
_MONEY = ("charged_usd", "upstream_cost_usd")
_HEADINGS = ("REQUESTS", "FAILED", "PROMPT", "CACHED", "WRITTEN", "COMPLETION", "CHARGED $", "UPSTREAM $")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the window and the grouping."""
    add_options(parser)
    parser.add_argument("--from", dest="first", type=day, metavar="DAY", help="first UTC day, such as 2026-11-20 (default: since ever)")
    parser.add_argument("--to", dest="last", type=day, metavar="DAY", help="last UTC day (default: today)")
    parser.add_argument(
        "--by",
        choices=[*GROUPS, *WINDOWS, *ARMS],
        action="append",
        help="group by this; key, model and provider may be combined (default: key and model)",
    )
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
    alone = [group for group in arguments.by or () if group not in GROUPS]
    if alone and len(arguments.by) > 1:
        return failed(arguments, f"--by {alone[0]} has rows of its own and cannot be combined", MISUSE)
    if arguments.json and (arguments.csv or arguments.plot):
        return failed(arguments, "--json, --csv and --plot exclude each other", MISUSE)
    if alone and alone[0] in ARMS:
        return run_reached(arguments, lambda installation: _show_arms(installation, arguments))
    return run_reached(arguments, lambda installation: _show(installation, arguments))


def _show_one(installation: Installation, arguments: argparse.Namespace) -> int:
    return generation.show(installation, arguments.generation, arguments.json)


def _show(installation: Installation, arguments: argparse.Namespace) -> int:
    groups = arguments.by or ["key", "model"]
    by = groups[0] if groups[0] in WINDOWS else None
    reply = installation.request("GET", path_of("admin", "usage", **{"from": arguments.first, "to": arguments.last, "by": by}))
    rows = reply["data"] if by else grouped(reply["data"], groups)
    if arguments.json:
        print_json({"data": rows, "total": reply["total"]})
    elif arguments.csv:
        _write_csv(rows)
    elif arguments.plot:
        named = [(" ".join(_shown(row, group) for group in groups), Decimal(row["charged_usd"])) for row in rows]
        sys.stdout.write(bars(named, "$"))
    else:
        headings = (*(group.upper() for group in groups), *_HEADINGS)
        lines = [tuple(_shown(row, group) for group in groups) + _figures(row) for row in rows]
        lines.append(("total", *[""] * (len(groups) - 1), *_figures(reply["total"])))
        sys.stdout.write(table(headings, lines, frozenset(range(len(groups), len(headings)))))
    return FINE


def _write_csv(rows: list[dict[str, Any]]) -> None:
    if rows:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([["" if value is None else harmless(str(value)) for value in row.values()] for row in rows])


def _show_arms(installation: Installation, arguments: argparse.Namespace) -> int:
    by = arguments.by[0]
    reply = installation.request("GET", path_of("admin", "usage", **{"from": arguments.first, "to": arguments.last, "by": by}))
    if arguments.json:
        print_json(reply)
        return FINE
    names = ARMS[by]
    if arguments.csv:
        _write_csv(reply["data"])
        return FINE
    if arguments.plot:
        named = [(" ".join(row[name] for name in names), Decimal(row["charged_usd"])) for row in reply["data"]]
        sys.stdout.write(bars(named, "$"))
        return FINE
    headings = (
        *(name.upper() for name in names),
        "REQUESTS",
        "COMPLETED",
        "FAILED",
        "ERRORS",
        "PROMPT",
        "CACHED",
        "WRITTEN",
        "COMPLETION",
        "CHARGED $",
        "UPSTREAM $",
        "FIRST TOKEN MS",
        "TOTAL MS",
    )
    lines = [tuple(row[name] for name in names) + _figures_of_arm(row) for row in reply["data"]]
    sys.stdout.write(table(headings, lines, frozenset(range(len(names), len(headings)))))
    return FINE


def grouped(rows: list[dict[str, Any]], groups: list[str]) -> list[dict[str, Any]]:
    """Adds up what falls together, exactly; the dearest first."""
    fields = [field for group in groups for field in GROUPS[group]]
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        into = sums.setdefault(tuple(row[field] for field in fields), {field: row[field] for field in fields})
        for name in _COUNTS:
            into[name] = into.get(name, 0) + row[name]
        for name in _MONEY:
            into[name] = f"{Decimal(into.get(name, '0')) + Decimal(row[name]):f}"
    return sorted(sums.values(), key=lambda row: -Decimal(row["charged_usd"]))


def _shown(row: dict[str, Any], group: str) -> str:
    if group == "key":
        return row["key_name"] or f"key {row['key_id']}"
    return str(row[group]) or "-"


def _figures_of_arm(row: dict[str, Any]) -> tuple[str, ...]:
    counts = ("requests", "completed", "failed", "errors", *_COUNTS[2:])
    times = ("-" if row[name] is None else f"{row[name]:.0f}" for name in ("first_token_ms", "total_ms"))
    return (*(str(row[name]) for name in counts), *(row[name] for name in _MONEY), *times)


def _figures(row: dict[str, Any]) -> tuple[str, ...]:
    return (*(str(row[name]) for name in _COUNTS), *(row[name] for name in _MONEY))
