"""`fairlead top`: what the gateway does now, in a terminal: speed, spend, models, providers, keys, errors, and requests as they end.

On a terminal it is a screen that lives; anywhere else, and with `--once` or `--json`, one snapshot.
"""

import argparse
import importlib.util
import os
import sys
from datetime import UTC, datetime

from fairlead.cli import FAILED, FINE, MISUSE
from fairlead.cli.live import figures
from fairlead.cli.live.source import Away, Door, NotAllowed, Port, Socket, Source
from fairlead.cli.output import failed, mistaken, print_json
from fairlead.cli.reach import Refused, add_options, settings
from fairlead.config import Mistakes

NAME = "top"
HELP = "show what the gateway does now: speed, spend, models, providers, keys, errors"

TOKEN = "FAIRLEAD_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
LIBRARY = "textual"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds where, what and how."""
    add_options(parser)
    parser.add_argument("--url", metavar="URL", help=f"an admin port, such as http://10.0.0.5:8081, with the admin token in {TOKEN}")
    parser.add_argument("--view", choices=figures.VIEW_NAMES, default="models", help="what to begin with (default: models)")
    parser.add_argument("--range", choices=list(figures.RANGES), default="1h", help="of how long a time (default: 1h)")
    parser.add_argument("--once", action="store_true", help="print one snapshot and end, as it does without a terminal")


def run(arguments: argparse.Namespace) -> int:
    """0: shown; 1: the gateway does not answer or does not allow it; 2: misuse."""
    try:
        source = Source(_door(arguments))
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    except ValueError as error:
        return failed(arguments, error, MISUSE)
    try:
        if arguments.json or arguments.once or not _is_terminal():
            return _snapshot(arguments, source)
        if importlib.util.find_spec(LIBRARY) is None:
            message = "the screen needs textual: pip install 'fairlead[top]'; or --once for a snapshot"
            return failed(arguments, message)
        # Who cannot be reached is told so before the screen comes up.
        source.ask("/admin/health")
    except (Away, NotAllowed, Refused) as error:
        return failed(arguments, error)
    from fairlead.cli.live.screen import Top

    why = Top(source, arguments.view, arguments.range).run()
    return failed(arguments, why, FAILED) if why else FINE


def _door(arguments: argparse.Namespace) -> Door:
    if arguments.url is None:
        return Socket(settings(arguments.config, arguments.data_dir)[1])
    token = os.environ.get(TOKEN, "")
    if not token:
        raise ValueError(f"--url needs the admin token in {TOKEN}")
    return Port(arguments.url, token)


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def _snapshot(arguments: argparse.Namespace, source: Source) -> int:
    found = figures.snapshot(source, arguments.range, datetime.now(UTC))
    if arguments.json:
        print_json(found)
    else:
        sys.stdout.write(figures.text(found))
    return FINE
