"""Money as text: integers of nano-dollars become decimals without passing through a binary fraction."""

import msgspec


def usd(nanousd: int) -> str:
    """Dollars with as many decimals as it takes: 1500000000 → `1.5`, 1 → `0.000000001`, 0 → `0`."""
    return decimal(nanousd, 9)


def usd_number(nanousd: int) -> msgspec.Raw:
    """The same as a JSON number."""
    return msgspec.Raw(usd(nanousd).encode())


def decimal(value: int, places: int) -> str:
    """An integer of so many decimal places, without zeros at the end."""
    whole, fraction = divmod(abs(value), 10**places)
    sign = "-" if value < 0 else ""
    digits = f"{fraction:0{places}d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"
