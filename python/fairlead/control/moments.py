"""Moments that callers say, as Unix milliseconds."""

from datetime import UTC, datetime, timedelta

from fairlead.control.db.rollups import END_OF_TIME_MS
from fairlead.control.replies import invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def unix_ms(path: str, moment: datetime) -> int:
    """Whole milliseconds from 1970 to the end of 9998: earlier and later moments are taken as these. 400 without an offset from UTC."""
    if moment.tzinfo is None:
        raise invalid(f"{path}: an offset is missing, such as the Z in 2027-01-01T00:00:00Z", path=path)
    # A difference has no bounds; the moment in UTC may lie outside of the calendar.
    return min(max(0, (moment - _EPOCH) // timedelta(milliseconds=1)), END_OF_TIME_MS)


def expiry_ms(moment: datetime | None) -> int | None:
    """`expires_at`; None: never. 400 for a moment that is not after 1970: the data plane has 0 for never."""
    if moment is None:
        return None
    at_ms = unix_ms("expires_at", moment)
    if at_ms == 0:
        raise invalid("expires_at: a moment after 1970-01-01T00:00:00Z is expected; null is never", path="expires_at")
    return at_ms


def coming_expiry_ms(moment: datetime | None, now_ms: int) -> int | None:
    """`expires_at` of what is made now; 400 for a moment that has passed."""
    at_ms = expiry_ms(moment)
    if at_ms is not None and at_ms <= now_ms:
        raise invalid("expires_at: this moment has passed; what expires must expire later than now", path="expires_at")
    return at_ms
