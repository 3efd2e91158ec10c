"""Types of words on the command line. A wrong one is misuse: argparse says what is expected, with exit code 2, before anything is done."""

import argparse
from datetime import date, datetime

import msgspec

from fairlead.config.schema import Address


def address(text: str) -> str:
    """Host and port."""
    return _converted(text, Address, 'an address such as "127.0.0.1:8080"')


def day(text: str) -> str:
    """A UTC day."""
    return _converted(text, date, "a date such as 2026-11-20")


def moment(text: str) -> str:
    """A moment with its offset from UTC."""
    expected = "a moment with an offset from UTC, such as 2027-01-01T00:00:00Z"
    _converted(text, datetime, expected)
    if datetime.fromisoformat(text).tzinfo is None:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:80]!r}")
    return text


def _converted(text: str, type: object, expected: str) -> str:
    try:
        msgspec.convert(text, type)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:80]!r}") from None
    return text
