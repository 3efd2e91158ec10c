"""Prices as people write them, as Rust counts them, as OpenRouter prints them.

Written: decimal strings, US dollars per million tokens or per unit. Counted: integer pico-dollars per unit, exact or refused. Printed:
decimal strings, US dollars per token or unit.
"""

import re
from decimal import Decimal

_DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,15})?")
_LARGEST_PICO = 2**63 - 1
"""Far above any price; small enough for SQL's and Rust's integers."""


class BadPrice(ValueError):
    """A price that is not a decimal number, or that pico-dollars cannot carry exactly. The text says which."""


def pico_per_token(usd_per_million: str) -> int:
    """US dollars per million tokens → pico-dollars per token: times 10⁶.

    Raises:
        BadPrice: not a plain decimal, or finer than a pico-dollar per token.
    """
    return _exact(usd_per_million, 6, "six decimals (a pico-dollar per token)")


def pico_per_unit(usd_each: str) -> int:
    """US dollars per unit → pico-dollars per unit: times 10¹².

    Raises:
        BadPrice: not a plain decimal, finer than a pico-dollar, or beyond 9.2 million dollars.
    """
    return _exact(usd_each, 12, "twelve decimals (a pico-dollar)")


def usd_text(pico: int) -> str:
    """Pico-dollars → US dollars as an exact decimal without an exponent: `0.0000025`, `0`."""
    text = f"{Decimal(pico).scaleb(-12):f}"
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def usd_per_million_text(pico_per_token: int) -> str:
    """Pico-dollars per token → US dollars per million tokens: `2.5`."""
    return usd_text(pico_per_token * 1_000_000)


def _exact(text: str, power: int, limit: str) -> int:
    if not _DECIMAL.fullmatch(text):
        raise BadPrice(f'expected a decimal number in quotes, such as "2.50", got "{text[:40]}"')
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > power:
        raise BadPrice(f'"{text}" is too precise: at most {limit}')
    pico = int(whole + fraction.ljust(power, "0"))
    if pico > _LARGEST_PICO:
        raise BadPrice(f'"{text}" is too large')
    return pico
