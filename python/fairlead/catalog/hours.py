"""Times of the week in minutes from Monday 00:00 UTC: each from a first minute to the one behind its last, at most a day later.

One that reaches into the next Monday ends behind the week.
"""

from collections.abc import Iterable

Hours = tuple[tuple[int, int], ...]
"""No order, no overlap needed."""

DAY = 24 * 60
WEEK = 7 * DAY
ALWAYS: Hours = ()
"""No condition at all, as the data plane has it."""

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class BadHours(ValueError):
    """Hours that no clock shows, or that are none."""


def hours_of(utc: str | None, days: Iterable[int] | None) -> Hours:
    """A window of the day on these ISO weekdays, which are those of its start. Without a window: the whole day; without days: every day.

    Raises:
        BadHours: it is no time of a clock, or a window without a length.
    """
    if utc is None and days is None:
        return ALWAYS
    start, end = map(_minute, (utc or "00:00-00:00").split("-"))
    if start == end != 0:
        raise BadHours(f'"{utc}" ends when it begins: for whole days leave it out, or write "00:00-00:00"')
    length = (end - start) % DAY or DAY
    return tuple((day * DAY + start, day * DAY + start + length) for day in sorted({day - 1 for day in days or range(1, 8)}))


def both(one: Hours, other: Hours) -> Hours | None:
    """When both hold; `None`: never."""
    if not one or not other:
        return one or other
    shifted = [(start + week, end + week) for start, end in other for week in (-WEEK, 0, WEEK)]
    common = [(max(a, c), min(b, d)) for a, b in one for c, d in shifted if max(a, c) < min(b, d)]
    return tuple(sorted((start % WEEK, start % WEEK + end - start) for start, end in common)) or None


def shown(hours: Hours) -> list[dict[str, object]]:
    """OpenRouter's conditions: windows inside a day, as numbers such as 2230, with the weekdays they are in. One of them must hold."""
    pieces: dict[tuple[int, int], set[int]] = {}
    for start, end in hours:
        while start < end:
            midnight = start - start % DAY + DAY
            pieces.setdefault((start % DAY, min(end, midnight) - start + start % DAY), set()).add(start % WEEK // DAY)
            start = midnight
    return [_piece(start, end, days) for (start, end), days in sorted(pieces.items())]


def text(hours: Hours) -> str:
    """For people: `Mon-Fri 10:00-24:00 UTC`."""
    words = []
    for piece in shown(hours):
        days = piece.get("utc_days", _DAYS)
        assert isinstance(days, list | tuple)
        numbers = [_DAYS.index(day) for day in days]
        runs = len(numbers) > 2 and numbers == [*range(numbers[0], numbers[-1] + 1)]
        names = f"{days[0][:3]}-{days[-1][:3]}" if runs else ",".join(day[:3] for day in days)
        window = f" {_clock(piece['utc_start'])}-{_clock(piece['utc_end'] or 2400)}" if "utc_start" in piece else ""
        words.append(names.title() + window)
    return " or ".join(words) + " UTC"


def _piece(start: int, end: int, days: set[int]) -> dict[str, object]:
    piece: dict[str, object] = {}
    if len(days) < len(_DAYS):
        piece["utc_days"] = [_DAYS[day] for day in sorted(days)]
    if (start, end) != (0, DAY):
        piece |= {"utc_start": _number(start), "utc_end": _number(end % DAY)}
    return piece


def _number(minute: int) -> int:
    return minute // 60 * 100 + minute % 60


def _clock(number: object) -> str:
    return f"{number:04}"[:2] + ":" + f"{number:04}"[2:]


def _minute(clock: str) -> int:
    hour, minute = map(int, clock.split(":"))
    if hour > 23 or minute > 59:
        raise BadHours(f'"{clock}" is no time of day: 00:00 to 23:59 are')
    return hour * 60 + minute
