"""`fairlead replay`: what logged requests would have chosen and cost by another configuration.

It only reads, so the data folder may be one that a process is working on: the log of decisions as it was when the command began, what came
of them from the database, and what has not got there yet from the journal.
"""

import argparse
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from fairlead import config
from fairlead.catalog import current
from fairlead.cli import FAILED, FINE, MISUSE
from fairlead.cli.arguments import since, since_ms
from fairlead.cli.output import failed, mistaken, print_json
from fairlead.cli.reach import add_options
from fairlead.cli.table import table
from fairlead.config import Mistakes, hashed_endpoint_id, made
from fairlead.control import place
from fairlead.control.db import names, queries
from fairlead.control.db.connection import open_reader
from fairlead.control.money import usd

NAME = "replay"
HELP = "say what logged requests would have chosen and cost by another configuration"

# So many are looked up in the database at once.
BATCH_DECISIONS = 500
# So many that the database does not have yet are kept in memory; usually there are none.
MOST_UNAPPLIED = 200_000
MOST_ROWS = 20
_EVER = 2**63 - 1

_CHANGED = ("THEN", "NOW", "DECISIONS", "THEN $", "NOW $")
_IMPOSSIBLE = ("NO LONGER POSSIBLE", "BECAUSE", "DECISIONS", "THEN $")


class Nothing(Exception):
    """There is nothing to replay; one line that says why and what to do."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the window."""
    add_options(parser)
    when = "how long ago (7d, 12h, 30m), a UTC day, or a moment with its offset"
    parser.add_argument("--since", type=since, metavar="T", help=f"requests from then on: {when} (default: all that are logged)")
    parser.add_argument("--until", type=since, metavar="T", help="requests before then")
    parser.add_argument("--limit", type=_count, default=_EVER, metavar="N", help="so many at most, the oldest of them")
    parser.add_argument("--each", action="store_true", help="show the decisions one by one; with --json one object a line, the sums last")
    parser.add_argument("--check", action="store_true", help="exit with 1 unless every decision comes out the same")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _EVER):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text[:80]!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """0: shown; 1: there is nothing to show, or with `--check` something differs; 2: the configuration or the window is wrong."""
    now_ms = time.time_ns() // 1_000_000
    first_ms = 0 if arguments.since is None else max(0, since_ms(arguments.since, now_ms))
    last_ms = _EVER if arguments.until is None else since_ms(arguments.until, now_ms)
    if first_ms > now_ms:
        return failed(arguments, f"--since {arguments.since} is in the future", MISUSE)
    if first_ms >= last_ms:
        return failed(arguments, "--until is not after --since", MISUSE)
    try:
        summary = _replayed(arguments, first_ms, last_ms)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    except (Nothing, sqlite3.Error, OSError, ValueError) as error:
        return failed(arguments, error)
    if not arguments.json:
        sys.stdout.write(text(summary))
    elif arguments.each:
        sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    else:
        print_json(summary)
    return FAILED if arguments.check and not reproduced(summary) else FINE


def reproduced(summary: dict[str, Any]) -> bool:
    """Whether there were decisions, every one could be read, and every one came out the same."""
    unread = summary["unreadable"]
    lost = unread["records"] + unread["blocks"] + unread["segments"]
    return bool(summary["decisions"]) and summary["same"] == summary["decisions"] and not lost


def _replayed(arguments: argparse.Namespace, first_ms: int, last_ms: int) -> dict[str, Any]:
    from fairlead.runtime import native_module

    loaded = config.load(config.find(arguments.config, os.environ), os.environ)
    data_dir = Path(arguments.data_dir or loaded.config.server.data_dir).expanduser().absolute()
    database, folder = data_dir / place.DATABASE, data_dir / place.DECISIONS
    connection = open_reader(database) if database.exists() else None
    try:
        endpoints = _Endpoints(connection)
        compiled = config.compile(loaded, current(data_dir), os.environ, endpoint_id=endpoints.id)
        # Of a name that the other file has, the file's counts.
        snapshot = made.with_made(compiled, names.made(connection) if connection else ()).snapshot
        if connection is None or not folder.is_dir():
            raise Nothing(f"no decisions are logged at {folder}; --data-dir names another data folder")
        replay = native_module().Replay(snapshot, str(folder), since_ms=first_ms, until_ms=last_ms, most=arguments.limit)
        ends = _Ends(connection, data_dir / place.JOURNAL)
        while ids := replay.read(BATCH_DECISIONS):
            each = replay.settle(msgspec.json.encode(ends.of(ids)), arguments.each)
            for told in msgspec.json.decode(each):
                named = endpoints.named(told)
                sys.stdout.write(msgspec.json.encode(named).decode() + "\n" if arguments.json else _line(named))
        summary: dict[str, Any] = msgspec.json.decode(replay.summary())
        summary["changed"] = [endpoints.named(row) for row in summary["changed"]]
        return summary
    finally:
        if connection is not None:
            connection.close()


class _Endpoints:
    """The database's ids of endpoints; those that it has not seen get one that it will never give."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._ids = queries.endpoints(connection) if connection else {}
        self._names = {id: names for names, id in self._ids.items()}

    def id(self, model: str, provider: str, upstream_model: str, region: str) -> int:
        """The id by these names."""
        names = (model, provider, upstream_model, region)
        id = self._ids.setdefault(names, hashed_endpoint_id(*names) + (1 << 48))
        self._names[id] = names
        return id

    def named(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row whose endpoints then and now are said by name, too."""
        return row | {when: self._shown(row[when]) for when in ("then", "now")}

    def _shown(self, place: dict[str, Any] | None) -> dict[str, Any] | None:
        if place is None:
            return None
        model, provider, _, region = self._names.get(place["endpoint"], ("", "", "", ""))
        return place | {"model": model, "provider": f"{provider}/{region}" if region else provider}


class _Ends:
    """What came of generations."""

    def __init__(self, connection: sqlite3.Connection, journal: Path) -> None:
        self._connection = connection
        # What is applied from here on is found in the database.
        self._unapplied = _unapplied(journal, queries.cursors(connection)) if journal.is_dir() else {}

    def of(self, ids: Sequence[str]) -> dict[str, queries.Row]:
        """Those of them that have ended."""
        return {id: self._unapplied[id] for id in ids if id in self._unapplied} | queries.ends(self._connection, ids)


def _unapplied(journal: Path, cursors: list[queries.Cursor]) -> dict[str, queries.Row]:
    """What the journal holds behind these places."""
    from fairlead.runtime import native_module

    native = native_module()
    id, places = native.GENERATION_COLUMNS.index("id"), [native.GENERATION_COLUMNS.index(name) for name in queries.END_COLUMNS]
    names = ("generation_id", "endpoint_id", "service_tier", "flags")
    of, endpoint, tier, flags = (native.ATTEMPT_COLUMNS.index(name) for name in names)
    reader = native.JournalReader(str(journal), cursors)
    found: dict[str, queries.Row] = {}
    while len(found) < MOST_UNAPPLIED:
        batch = reader.read(BATCH_DECISIONS)
        for row in batch.generations:
            found[row[id]] = {name: row[at] for name, at in zip(queries.END_COLUMNS, places, strict=True)} | {"endpoints": [], "tiers": []}
        for row in batch.attempts:
            # A shadow is nobody's choice, and its record comes after its generation's, which may be applied already.
            if row[flags] & queries.SHADOW_FLAG or row[of] not in found:
                continue
            found[row[of]]["endpoints"].append(row[endpoint])
            found[row[of]]["tiers"].append(row[tier])
        if batch.caught_up:
            break
    return found


def text(summary: dict[str, Any]) -> str:
    """For people."""
    count = summary["decisions"]
    parts = []
    if not count:
        parts.append("no decisions were logged then\n")
    else:
        parts.append(_head(summary, count) + _costs(summary))
    if summary["changed"]:
        rows = [
            (_shown(row["then"]), _shown(row["now"]), str(row["decisions"]), usd(row["then_nanousd"]), usd(row["now_nanousd"]))
            for row in summary["changed"][:MOST_ROWS]
        ]
        parts.append(table(_CHANGED, rows, frozenset({2, 3, 4})) + _more(summary["changed"]))
    if summary["impossible"]:
        reasons = summary["impossible"][:MOST_ROWS]
        lines = [(row["model"], row["reason"], str(row["decisions"]), usd(row["then_nanousd"])) for row in reasons]
        parts.append(table(_IMPOSSIBLE, lines, frozenset({2, 3})) + _more(summary["impossible"]))
    unread = summary["unreadable"]
    if any(unread.values()):
        counted = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in unread.items() if number)
        parts.append(f"not all could be read: {counted}\n")
    return "\n".join(parts)


def _head(summary: dict[str, Any], count: int) -> str:
    lines = [f"{count} decisions from {_moment(summary['first_ms'])} to {_moment(summary['last_ms'])}"]
    lines.append(f"the same to the last endpoint: {summary['same']} ({_share(summary['same'], count)})")
    lines.append(f"the same first choice: {summary['same_first']} ({_share(summary['same_first'], count)})")
    if summary["newly_possible"]:
        lines.append(f"refused then, possible now: {summary['newly_possible']}")
    return "\n".join(lines) + "\n"


def _costs(summary: dict[str, Any]) -> str:
    cost, expected, failing = summary["cost"], summary["expected"], summary["would_fail"]
    lines = [
        f"cost of {cost['decisions']} at the usage that there was: {usd(cost['then_nanousd'])} $ then, {usd(cost['now_nanousd'])} $ now"
        f"{_difference(cost['then_nanousd'], cost['now_nanousd'])}"
    ]
    if expected["decisions"]:
        lines.append(
            f"cost of {expected['decisions']} without a reply to go by: {usd(expected['then_nanousd'])} $ then, "
            f"expected {expected['now_usd']:.6f} $ now"
        )
    if failing["decisions"]:
        then = usd(failing["then_nanousd"])
        lines.append(f"would fail, because whoever is left failed or was full then: {failing['decisions']} ({then} $ then)")
    return "\n".join(lines) + "\n"


def _difference(then: int, now: int) -> str:
    if then == now or then == 0:
        return ""
    return f" ({(now - then) / then:+.1%})"


def _share(part: int, count: int) -> str:
    # Nearly all is not all.
    return "100 %" if part == count else f"{min(part / count * 100, 99.99):.2f} %"


def _line(told: dict[str, Any]) -> str:
    now = _shown(told["now"]) if told["now"] else f"none: {told['reason']}"
    then = _shown(told["then"]) if told["then"] else "none"
    costs = "" if told["then_nanousd"] is None else f"  {usd(told['then_nanousd'])} $"
    if told.get("would_fail"):
        costs += " -> would fail"
    elif told["now_nanousd"] is not None:
        costs += f" -> {usd(told['now_nanousd'])} $"
    elif "expected_usd" in told:
        costs += f" -> expected {told['expected_usd']:.6f} $"
    return f"{_moment(told['at_ms'])}  {told['id']}  {told['name']}  {then} -> {now}{'' if told['same'] else '  *'}{costs}\n"


def _shown(place: dict[str, Any]) -> str:
    """As tags say it: a service tier that an endpoint sells beside the usual one stands behind a slash."""
    endpoint = f"{place['model']} at {place['provider']}" if place["model"] else f"endpoint {place['endpoint']}"
    return f"{endpoint}/{place['tier']}" if place["tier"] else endpoint


def _more(rows: list[Any]) -> str:
    return f"and {len(rows) - MOST_ROWS} more; --json has all\n" if len(rows) > MOST_ROWS else ""


def _moment(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
