"""Bars for terminals, of block characters."""

from collections.abc import Sequence
from decimal import Decimal

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
BAR_CELLS = 50


def bars(rows: Sequence[tuple[str, Decimal]], unit: str, cells: int = BAR_CELLS) -> str:
    """A line per row: its name, a bar whose length is to the longest as its amount is to the largest, and the amount. Amounts are not
    negative; one that is not 0 has at least the thinnest bar."""
    if not rows:
        return "nothing to show\n"
    width = max(len(name) for name, _ in rows)
    largest = max(amount for _, amount in rows)
    lines = [f"{name.ljust(width)}  {_bar(amount, largest, cells).ljust(cells)}  {amount:f} {unit}".rstrip() for name, amount in rows]
    return "\n".join(lines) + "\n"


def _bar(amount: Decimal, largest: Decimal, cells: int) -> str:
    if amount <= 0:
        return ""
    eighths = max(1, int(amount * cells * 8 / largest))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8]
