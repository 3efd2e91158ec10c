"""The windows in which usage is counted: UTC days, weeks from Monday, months. Days are numbered from 1970-01-01, a Thursday."""

from datetime import UTC, date, datetime, timedelta

from fairlead.control.db.queries import DAY_MS
from fairlead.control.replies import rfc3339

_EPOCH = date(1970, 1, 1).toordinal()


def window_starts(now_ms: int) -> tuple[int, int, int]:
    """The first days of the current day, week and month."""
    today = now_ms // DAY_MS
    month = datetime.fromtimestamp(now_ms / 1000, UTC).date().replace(day=1)
    return today, today - (today + 3) % 7, day_number(month)


def resets_at(interval: str, now_ms: int) -> str | None:
    """When a budget of this interval begins anew, as RFC 3339; None for never."""
    today, week, month = window_starts(now_ms)
    match interval:
        case "day":
            day = today + 1
        case "week":
            day = week + 7
        case "month":
            day = day_number((day_of(month) + timedelta(days=32)).replace(day=1))
        case _:
            return None
    return rfc3339(day * DAY_MS)


def day_number(day: date) -> int:
    """The number of a day."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    """The day of a number."""
    return date.fromordinal(number + _EPOCH)
