"""The windows in which usage is counted: UTC days, weeks from Monday, months. Days are numbered from 1970-01-01, a Thursday."""

from datetime import UTC, date, datetime

from fairlead.control.db.queries import DAY_MS

_EPOCH = date(1970, 1, 1).toordinal()


def window_starts(now_ms: int) -> tuple[int, int, int]:
    """The first days of the current day, week and month."""
    today = now_ms // DAY_MS
    month = datetime.fromtimestamp(now_ms / 1000, UTC).date().replace(day=1)
    return today, today - (today + 3) % 7, day_number(month)


def day_number(day: date) -> int:
    """The number of a day."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    """The day of a number."""
    return date.fromordinal(number + _EPOCH)
