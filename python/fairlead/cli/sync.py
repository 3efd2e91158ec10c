"""`fairlead models sync`: prices and models of a feed into the data folder."""

import argparse
import sys
import urllib.error
import urllib.request
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from fairlead import config
from fairlead.catalog import feeds, synced
from fairlead.catalog.sync import Change, Outcome, compare
from fairlead.cli import FINE, MISUSE
from fairlead.cli.output import failed, mistaken, print_json
from fairlead.cli.table import table
from fairlead.config import Mistakes

_MOST_BYTES = 64 << 20
_FETCH_SECONDS = 60
_SCHEMES = ("http", "https")
_HEADINGS = ("", "MODEL", "PROVIDER", "PRICES $/M")
_SHOWN = {"prompt": "prompt", "completion": "completion", "cache_read": "cache read", "cache_write": "cache write"}


class Unreadable(Exception):
    """A feed could not be fetched. The text says why."""


def run(arguments: argparse.Namespace, environ: dict[str, str]) -> int:
    """0: written, or nothing to write; 1: the feed cannot be used, and nothing was changed; 2: misuse."""
    if arguments.source is None:
        return failed(arguments, "give --from URL or --from FILE to sync", MISUSE)
    try:
        path = _data_dir(arguments, environ) / synced.NAME
        catalogue = synced.current(path.parent)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    try:
        feed = feeds.read(fetch(arguments.source))
    except (Unreadable, feeds.BadFeed) as error:
        return failed(arguments, f"{arguments.source}: {error}. Nothing was changed.")
    outcome = compare(catalogue, feed, arguments.source, datetime.now(UTC).date())
    writes = bool(outcome.lines) and not arguments.dry_run
    if writes:
        path.parent.mkdir(parents=True, exist_ok=True)
        synced.write(path, synced.extended(synced.read(path), outcome.lines))
    _tell(arguments, feed, outcome, path if writes else None)
    return FINE


def _data_dir(arguments: argparse.Namespace, environ: dict[str, str]) -> Path:
    loaded = config.load(config.find(arguments.config, environ), environ)
    return Path(arguments.data_dir or loaded.config.server.data_dir).expanduser().absolute()


def fetch(source: str) -> bytes:
    """The bytes of a URL or file.

    Raises:
        Unreadable: with the reason.
    """
    scheme, is_address, _ = source.partition("://")
    if is_address and scheme.lower() not in _SCHEMES:
        raise Unreadable(f'"{scheme}" is no scheme that is taken: give http://, https:// or the path of a file')
    try:
        if is_address:
            request = urllib.request.Request(source, headers={"accept": "application/json", "user-agent": "fairlead"})  # noqa: S310 the scheme was looked at
            with urllib.request.urlopen(request, timeout=_FETCH_SECONDS) as reply:  # noqa: S310
                data: bytes = reply.read(_MOST_BYTES + 1)
        else:
            with Path(source).expanduser().open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise Unreadable(f"answers {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise Unreadable(f"cannot be read: {reason}") from None
    if len(data) > _MOST_BYTES:
        raise Unreadable(f"is longer than {_MOST_BYTES} bytes")
    return data


def _tell(arguments: argparse.Namespace, feed: feeds.Feed, outcome: Outcome, written: Path | None) -> None:
    if arguments.json:
        body = {"shape": feed.shape, "changes": outcome.changes, "written": str(written) if written else None}
        print_json(body)
        return
    if outcome.changes:
        sys.stdout.write(table(_HEADINGS, [_row(change) for change in outcome.changes], frozenset()))
    counts = Counter(change.kind for change in outcome.changes)
    kinds = {
        "refused": "refused, of which nothing is taken",
        "new": "new",
        "changed": "changed",
        "left": "left alone (their price depends on the hour)",
        "gone": "not in the feed",
    }
    said = ", ".join(f"{counts[kind]} {what}" for kind, what in kinds.items() if counts[kind]) or "nothing new"
    sys.stdout.write(f"{feed.shape}: {said}\n")
    if written:
        sys.stdout.write(f"written to {written}; a running server takes it at its next reload\n")


def _row(change: Change) -> tuple[str, ...]:
    return change.kind, change.model, change.provider, change.why or ", ".join(_prices(change))


def _prices(change: Change) -> list[str]:
    if change.kind == "new":
        return [f"{words} {change.new[name]}" for name, words in _SHOWN.items() if name in change.new]
    differs = [name for name in change.new if change.new[name] != change.old.get(name)]
    said = [f"{_SHOWN.get(name, name)} {change.old.get(name, '-')} → {change.new[name]}" for name in differs]
    return said or (["other tiers"] if change.kind == "changed" else [])
