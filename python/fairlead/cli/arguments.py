"""Types of words on the command line. A wrong one is misuse: argparse says what is expected, with exit code 2, before anything is done."""

import argparse
import re
from datetime import UTC, date, datetime

import msgspec

from fairlead.config.amounts import BadAmount, nanousd
from fairlead.config.schema import Address


def address(text: str) -> str:
    """Host and port."""
    return _converted(text, Address, 'an address such as "127.0.0.1:8080"')


def day(text: str) -> str:
    """A UTC day."""
    return _converted(text, date, "a date such as 2026-11-20")


def days_are_swapped(arguments: argparse.Namespace) -> bool:
    """Whether `--to` (`last`) is a day before `--from` (`first`)."""
    return bool(arguments.first and arguments.last and arguments.last < arguments.first)


SWAPPED_DAYS = "--to is before --from"


def moment(text: str) -> str:
    """A moment with its offset from UTC."""
    expected = "a moment with an offset from UTC, such as 2027-01-01T00:00:00Z"
    _converted(text, datetime, expected)
    if datetime.fromisoformat(text).tzinfo is None:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:80]!r}")
    return text


def amount(text: str) -> str:
    """US dollars, 0 or more."""
    return _amount(text, signed=False)


def signed_amount(text: str) -> str:
    """US dollars, also below zero."""
    return _amount(text, signed=True)


def count(text: str) -> int:
    """A whole number from 1."""
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 12 and 1 <= int(text) <= 10_000_000_000):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 10000000000, got {text[:80]!r}")
    return int(text)


def duration(text: str) -> int:
    """Seconds, as `3600`, `90s`, `30m`, `12h` or `7d`; 0 too."""
    if not re.fullmatch(r"[0-9]{1,6}[smhd]?", text):
        raise argparse.ArgumentTypeError(f"expected a time such as 0, 90s, 30m, 12h or 7d, got {text[:80]!r}")
    return int(text.rstrip("smhd")) * _UNITS_MS.get(text[-1], 1000) // 1000


def since(text: str) -> str:
    """A moment, a UTC day, or how long ago: `7d`, `12h`, `30m`."""
    expected = "how long ago, such as 7d, 12h or 30m, a UTC day, or a moment with an offset from UTC, such as 2027-01-01T00:00:00Z"
    if re.fullmatch(r"[0-9]{1,6}[smhd]", text):
        return text
    try:
        return moment(text) if "T" in text else day(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:80]!r}") from None


def since_ms(text: str, now_ms: int) -> int:
    """What `since` has let through, as a Unix millisecond."""
    if text[-1] in _UNITS_MS:
        return now_ms - int(text[:-1]) * _UNITS_MS[text[-1]]
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _amount(text: str, *, signed: bool) -> str:
    try:
        nanousd(text, signed=signed)
    except BadAmount as error:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} {error}") from None
    return text


def _converted(text: str, type: object, expected: str) -> str:
    try:
        msgspec.convert(text, type)
    except msgspec.ValidationError:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text[:80]!r}") from None
    return text
