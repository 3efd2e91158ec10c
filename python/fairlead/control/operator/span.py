"""Ranges of time and the steps in them, in the zone of whoever looks: a day of 23 hours is a bucket of 23 hours."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fairlead.control.db.queries import DAY_MS, Res, Span
from fairlead.control.db.rollups import HOUR_MS, KEPT_MS, MINUTE_MS, QUARTER_MS, windows
from fairlead.control.moments import unix_ms
from fairlead.control.replies import Refusal, invalid

Step = Literal["minute", "quarter", "hour", "day", "month"]
STEPS: dict[str, int] = {"minute": MINUTE_MS, "quarter": QUARTER_MS, "hour": HOUR_MS, "day": DAY_MS, "month": 31 * DAY_MS}
_RES = {"minute": Res.MINUTE, "quarter": Res.QUARTER, "hour": Res.HOUR, "day": Res.DAY, "month": Res.MONTH}
_WHOLE_MS = {Res.MINUTE: MINUTE_MS, Res.QUARTER: QUARTER_MS, Res.HOUR: HOUR_MS, Res.DAY: DAY_MS, Res.MONTH: DAY_MS}
MOST_BUCKETS = 2_000
AUTO_BUCKETS = 120
DEFAULT_MS = DAY_MS
_EARLIEST_MS = 1_577_836_800_000
"""2020: nothing was counted before."""


class Range(NamedTuple):
    """A time and its buckets."""

    zone: str
    step: Step
    edges: list[int]
    """Where buckets begin and, last, where the last one ends; Unix milliseconds."""
    finest: int
    """The shortest windows that are asked for."""
    now_ms: int
    coarsest: int = Res.MONTH

    def spans(self, bucket: int) -> list[Span]:
        """The windows that make up a bucket."""
        return windows(self.edges[bucket], self.edges[bucket + 1], self.finest, self.coarsest)

    @property
    def buckets(self) -> range:
        """Their numbers."""
        return range(len(self.edges) - 1)

    @property
    def whole(self) -> "Range":
        """The same time as one bucket."""
        return self._replace(edges=[self.edges[0], self.edges[-1]])


def asked(first: datetime | None, end: datetime | None, step: str, zone: str, now_ms: int, finest: int) -> Range:
    """The range of a query. 400 where it is none, 422 where the step is no longer kept that far back."""
    place = zone_named(zone)
    end_ms = now_ms if end is None else min(unix_ms("to", end), now_ms)
    first_ms = end_ms - DEFAULT_MS if first is None else max(unix_ms("from", first), _EARLIEST_MS)
    if first_ms >= end_ms:
        raise invalid("to: a moment after from is expected, and from before now", path="to")
    needed, known = kept(first_ms, now_ms, finest), -1
    while known != needed:
        known, chosen = needed, step if step != "auto" else auto(end_ms - first_ms, needed)
        if chosen not in STEPS:
            raise invalid(f"step: auto, {', '.join(STEPS)} is expected, got {step[:20]!r}", path="step")
        if (end_ms - first_ms) // STEPS[chosen] > MOST_BUCKETS:
            raise invalid(f"step: more than {MOST_BUCKETS} buckets; choose a longer step or a shorter range", path="step")
        edges = list(cut(first_ms, end_ms, chosen, place))
        # The first bucket begins earlier than what is asked for.
        needed = kept(edges[0], now_ms, needed)
    if needed > _RES[chosen]:
        allowed = ", ".join(name for name, res in _RES.items() if res >= needed)
        raise Refusal(422, "unprocessable", f"step: so far back there are {allowed} only", path="step", allowed=allowed.split(", "))
    if zone != "UTC" and any(edge % _WHOLE_MS[needed] for edge in edges):
        # Windows of that age are whole hours, or days of UTC: those are shown, and the reply says so.
        return asked(first, end, step, "UTC", now_ms, finest)
    return Range(zone, chosen, edges, needed, now_ms)  # type: ignore[arg-type]


def before(range: Range) -> Range:
    """The time before a range, as long, as one bucket; where windows of that age are longer, in whole ones."""
    first, end = range.edges[0], range.edges[-1]
    start = max(0, first - (end - first))
    finest = kept(start, range.now_ms, range.finest)
    whole_ms = _WHOLE_MS[finest]
    return range._replace(edges=[start // whole_ms * whole_ms, first // whole_ms * whole_ms], finest=finest)


def zone_named(name: str) -> tzinfo:
    """A zone; 400 for one that there is not, or that this machine's tables do not have."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid(f"zone: a zone such as Europe/Berlin or UTC is expected, got {name[:60]!r}", path="zone") from None


def kept(first_ms: int, now_ms: int, finest: int) -> int:
    """The shortest windows that are still there from a moment on."""
    for res, kept_ms in KEPT_MS.items():
        if finest <= res and first_ms < now_ms - kept_ms + HOUR_MS:
            finest = res + 1
    return finest


def auto(length_ms: int, finest: int) -> str:
    """The shortest step with a number of buckets that a chart can show."""
    for name, step_ms in STEPS.items():
        if _RES[name] >= finest and length_ms // step_ms <= AUTO_BUCKETS:
            return name
    return "month"


def cut(first_ms: int, end_ms: int, step: str, zone: tzinfo) -> list[int]:
    """Where buckets begin, from the one that the first moment lies in, and where the last one ends."""
    if step in ("minute", "quarter", "hour"):
        length = STEPS[step]
        # Hours begin where the zone's do; all offsets are whole quarters.
        shift = int((datetime.fromtimestamp(first_ms / 1000, zone).utcoffset() or timedelta()).total_seconds() * 1000) % length
        start = (first_ms + shift) // length * length - shift
        return [*range(start, end_ms, length), -(-(end_ms + shift) // length) * length - shift]
    moment = datetime.fromtimestamp(first_ms / 1000, zone).date()
    if step == "month":
        moment = moment.replace(day=1)
    edges: list[int] = []
    while not edges or edges[-1] < end_ms:
        edges.append(midnight(moment.year, moment.month, moment.day, zone))
        moment = (moment.replace(day=28) + timedelta(days=4)).replace(day=1) if step == "month" else moment + timedelta(days=1)
    return edges


def midnight(year: int, month: int, day: int, zone: tzinfo) -> int:
    """Where a day begins there, in whole minutes; where clocks jump over midnight, the first moment of the day."""
    local = datetime(year, month, day, tzinfo=zone)
    at = local.astimezone(UTC)
    return int(at.timestamp()) // 60 * MINUTE_MS
