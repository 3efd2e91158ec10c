"""Amounts of money as people write them: decimal text of US dollars ↔ integer nano-dollars, exact or refused."""

import re
from decimal import Decimal, InvalidOperation

MOST_USD = 1_000_000_000
"""The largest amount that is taken, in dollars: sums of it stay far below what SQL's and Rust's integers hold."""
_DECIMAL = re.compile(r"(-?)([0-9]{1,30})(?:\.([0-9]{1,60}))?")


class BadAmount(ValueError):
    """Not an amount that can be taken; the text says why and goes behind the name of what it was."""


def nanousd(text: str, *, signed: bool = False) -> int:
    """US dollars → nano-dollars. `signed`: below zero is taken, too.

    Raises:
        BadAmount: not a plain decimal, negative, finer than a nano-dollar, or beyond a billion dollars.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise BadAmount('is not a decimal number of US dollars, such as "2.50"')
    sign, whole, fraction = found[1], found[2], (found[3] or "").rstrip("0")
    if sign and not signed:
        raise BadAmount("is negative; 0 or more is expected")
    if len(fraction) > 9:
        raise BadAmount("has more than 9 decimals; a nano-dollar is the smallest amount")
    value = int(whole) * 10**9 + int(fraction.ljust(9, "0"))
    if value > MOST_USD * 10**9:
        raise BadAmount(f"is more than {MOST_USD} dollars")
    return -value if sign else value


def nanousd_of_number(text: str) -> int:
    """The same of a JSON number's text, which may have an exponent. Raises `BadAmount`."""
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        raise BadAmount("is not a number of US dollars, such as 2.5") from None
    if not isinstance(exponent, int):
        raise BadAmount("is not a number of US dollars, such as 2.5")
    if not any(digits):
        return 0
    if sign:
        raise BadAmount("is negative; 0 or more is expected")
    while digits[-1] == 0:
        digits, exponent = digits[:-1], exponent + 1
    if exponent < -9:
        raise BadAmount("has more than 9 decimals; a nano-dollar is the smallest amount")
    too_much = BadAmount(f"is more than {MOST_USD} dollars")
    if len(digits) + exponent > len(str(MOST_USD)):
        raise too_much
    value = int("".join(map(str, digits)) + "0" * (exponent + 9))
    if value > MOST_USD * 10**9:
        raise too_much
    return value
