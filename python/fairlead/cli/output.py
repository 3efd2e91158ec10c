"""What commands say beside their own: JSON, and what is wrong. With `--json` that is an object on stdout, else lines on stderr."""

import argparse
import sys
from typing import Any

import msgspec

from fairlead.cli import FAILED, MISUSE
from fairlead.config import Mistakes, report


def print_json(value: Any) -> None:
    """Writes JSON for people and programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def mistaken(arguments: argparse.Namespace, mistakes: Mistakes) -> int:
    """Tells every mistake of a configuration. Returns `MISUSE`."""
    if arguments.json:
        print_json({"ok": False, **report.tree(mistakes.problems)})
    else:
        sys.stderr.write(report.text(mistakes.problems))
    return MISUSE


def failed(arguments: argparse.Namespace, why: Exception | str, status: int = FAILED) -> int:
    """Tells in a line why a command cannot go on. Returns `status`.

    Raises `BrokenPipeError` where that is the reason: whoever would read it has gone.
    """
    if isinstance(why, BrokenPipeError):
        raise why
    if arguments.json:
        print_json({"ok": False, "error": str(why)})
    else:
        sys.stderr.write(f"fairlead {arguments.command}: {why}\n")
    return status


def harmless(text: str) -> str:
    """A cell of CSV that no spreadsheet takes for a formula; a number stays one."""
    return f"'{text}" if text[:1] in ("=", "@", "+", "\t", "\r") or (text[:1] == "-" and not text[1:2].isdigit()) else text
