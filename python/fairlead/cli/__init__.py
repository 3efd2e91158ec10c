"""The `fairlead` command. One command per file of this folder.

A command's module has `NAME`, `HELP`, `configure(parser)` and `run(arguments) -> int`. Only the module of the command that was asked for is
imported, so that `fairlead --help` is fast. Exit codes: 0 fine, 1 failed, 2 misuse (of the command line or of the configuration).
Every command takes `--json`.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

FINE = 0
FAILED = 1
MISUSE = 2

COMMANDS: dict[str, str] = {
    "serve": "start the gateway",
    "check": "say what a configuration would run, or everything that is wrong with it",
    "explain": "say which endpoints would serve a request, in what order, and why not the others",
    "replay": "say what logged requests would have chosen and cost by another configuration",
    "models": "list models with prices and endpoints, presets, splits and shadows",
    "keys": "create, list, limit, rotate, disable, enable and delete gateway keys",
    "credits": "give accounts credit, show it, adjust it and take it back",
    "usage": "show what was used and what it cost",
    "top": "show what the gateway does now: speed, spend, models, providers, keys, errors",
    "generation": "show one call: what it cost, what was tried, what was lost, and its content where that is logged",
    "ledger": "check that the books are right, and export every movement of money",
    "doctor": "look for what is wrong with this installation",
    "sim": "run the simulator on a port",
}
"""Command → its line in the help; equal to the module's own `NAME` and `HELP` (a test compares)."""


class Command(Protocol):
    """What a command's module offers."""

    NAME: str
    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's arguments. `--json` is there already."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Does it and returns the exit code."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `fairlead` script. Returns the exit code; argparse itself exits with 2 on misuse."""
    words = sys.argv[1:] if arguments is None else [*arguments]
    chosen = next((word for word in words if not word.startswith("-")), None)
    status = FINE
    try:
        try:
            parsed = _parser(chosen).parse_args(_json_first(words, chosen))
            status = _command(parsed.command).run(parsed)
        finally:
            # Here, and not when the interpreter exits, where nobody could catch it. Who closes stdout (`>&-`) has none.
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`fairlead models | head`): not a failure of ours. The descriptor is replaced so that the interpreter's own
        # flush at exit stays silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _json_first(words: list[str], chosen: str | None) -> list[str]:
    """Moves `--json` before a command's own words, so that it may also follow an action: `fairlead keys list --json`."""
    if chosen is None or "--json" not in words:
        return words
    end = words.index("--") if "--" in words else len(words)
    others = [word for index, word in enumerate(words) if word != "--json" or index > end]
    if len(others) < len(words):
        others.insert(others.index(chosen) + 1, "--json")
    return others


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    from fairlead import __version__

    parser = argparse.ArgumentParser(prog="fairlead", description="A self-hosted LLM gateway.")
    parser.add_argument("--version", action="version", version=f"fairlead {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, description in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description[0].upper() + description[1:] + ".")
        command.add_argument("--json", action="store_true", help="write JSON instead of text")
        if name == chosen:
            _command(name).configure(command)
    return parser


def _command(name: str) -> Command:
    module: Command = importlib.import_module(f"fairlead.cli.{name}")
    return module
