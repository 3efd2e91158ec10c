"""What happened by window (minutes to months) and dimension, as exact integers, kept in the transaction that stores the generations.

A `Fold` collects what one transaction brings and stores it with a handful of statements. The totals of a dimension are therefore always
those of the rows. The native module adds up (`rust/ledger/src/rollup.rs` says what counts where).
"""

import importlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from fairlead.control.db import queries
from fairlead.control.db.queries import ATTEMPT_COLUMNS, DAY_MS, GENERATION_COLUMNS, Dim, Res, Span

Rows = Sequence[tuple[Any, ...]]
Sums = tuple[int, ...]
"""In the order of `queries.ROLLUP_SUMS`."""

END_OF_TIME_MS = 253_370_764_800_000
"""The year 9999."""
MINUTE_MS, QUARTER_MS, HOUR_MS = 60_000, 900_000, 3_600_000
KEPT_MS = {Res.MINUTE: 3 * DAY_MS, Res.QUARTER: 35 * DAY_MS, Res.HOUR: 400 * DAY_MS}
"""How long windows are kept; days and months are for ever."""
# Names of a kind that callers choose: those that come later than this many count as one.
MOST_NAMES = 10_000
MOST_APP_CHARACTERS = 100
OTHERS = "(others)"
# So many generations are folded at a time when all of them are.
REBUILD_ROWS = 4000
PRUNED = "rollups_pruned"
"""The name in `meta` of the quarter-hour up to which windows were last let go of."""
_BUILT = "rollups"
_VERSION = "2"
ZONE = "reporting_zone"
"""The name in `meta` of the zone whose days are kept beside those of UTC."""
FIRST_YEAR, LAST_YEAR = 2020, 2060
"""Between these a zone's offsets are known; before and after, the first and the last one hold."""

_COLUMN = {name: index for index, name in enumerate(GENERATION_COLUMNS)}
_of_attempt = itemgetter(*(ATTEMPT_COLUMNS.index(name) for name in ("provider", "endpoint_id", "flags")))
KINDS = {Dim.APP: "app", Dim.ARM: "arm", Dim.PRESET: "preset", Dim.SHADOW: "shadow"}
"""What dimensions are named by names → their `kind` in `usage_names`."""
# Callers choose the names of these, or which of what is configured to combine.
_BOUNDED = (Dim.APP, Dim.PRESET)


@lru_cache(1)
def _native() -> Any:
    """The one place where the control plane computes with the native half; everything else here can do without it."""
    return importlib.import_module("fairlead._native")


class Fold:
    """What generations add to the rollups, before it is stored."""

    def __init__(self, zone: str = "UTC") -> None:
        self._fold = _native().RollupFold(_app, offsets(zone))

    def take(self, rows: Rows, attempts: Rows) -> None:
        """Generations that are not stored yet, in the order of `GENERATION_COLUMNS`, and at least their attempts, each one's in order."""
        self._fold.take(rows, attempts)

    def take_shadows(self, rows: Rows, attempts: Rows) -> None:
        """What came of shadows, in the order of `GENERATION_COLUMNS`, and their attempts. `split` is the model that was asked for and `arm`
        the one that got the copy; empty where only the cost is known."""
        self._fold.take_shadows(rows, attempts)

    def store(self, connection: sqlite3.Connection) -> None:
        """Adds everything to the tables, inside the caller's transaction, and lets go of windows that are no longer kept."""
        newest_ms = self._fold.newest_ms()
        if newest_ms is None:
            return
        places = [queries.usage_place_id(connection, *place) for place in self._fold.places()]
        names = [_name_id(connection, *name) for name in self._fold.names()]
        queries.add_rollups(connection, self._fold.rollups(places, names))
        queries.add_pairs(connection, self._fold.pairs(places, names))
        queries.add_errors(connection, self._fold.errors(places, names))
        _add_durations(connection, self._fold.durations(places, names))
        _prune(connection, newest_ms)


def _add_durations(connection: sqlite3.Connection, rows: Rows) -> None:
    """Histograms are added up here: SQL has no operation for that."""
    stored = []
    for *window, first_content, whole in rows:
        known = queries.durations(connection, window)
        if known is not None:
            add = _native().add_histograms
            first_content, whole = add([known[0], first_content]), add([known[1], whole])
        stored.append((*window, first_content, whole))
    queries.set_durations(connection, stored)


def build(connection: sqlite3.Connection) -> None:
    """Makes the rollups of a database that has none from its generations, in one transaction: it is done, or will be at the next start.

    A shadow counts where its generation does: when it was settled itself is not stored.
    """
    if queries.meta(connection, _BUILT) == _VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        after = ""
        while rows := queries.generations_after(connection, after, REBUILD_ROWS):
            after = rows[-1][0]
            attempts = queries.attempts_between(connection, rows[0][0], after)
            fold = Fold(zone(connection))
            fold.take(rows, attempts)
            fold.take_shadows(*_stored_shadows(connection, rows, attempts))
            fold.store(connection)
        queries.set_meta(connection, _BUILT, _VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _stored_shadows(connection: sqlite3.Connection, rows: Rows, attempts: Rows) -> tuple[Rows, Rows]:
    shadows = [attempt for attempt in attempts if _of_attempt(attempt)[2] & queries.SHADOW_FLAG]
    if not shadows:
        return [], []
    models = {id: model for (model, _, _, _), id in queries.endpoints(connection).items()}
    by_id = {row[0]: row for row in rows}
    made = []
    for attempt in shadows:
        row = list(by_id.get(attempt[0], ()))
        if row:
            provider, endpoint, _ = _of_attempt(attempt)
            row[_COLUMN["model"]], row[_COLUMN["provider"]] = models.get(endpoint, ""), provider
            row[_COLUMN["split"]] = row[_COLUMN["arm"]] = ""
            row[_COLUMN["upstream_cost_nanousd"]] = attempt[ATTEMPT_COLUMNS.index("upstream_cost_nanousd")]
            made.append(tuple(row))
    return made, shadows


def _prune(connection: sqlite3.Connection, now_ms: int) -> None:
    """Once in a quarter-hour, so that there are never many to take away."""
    quarter = now_ms - now_ms % QUARTER_MS
    if int(queries.meta(connection, PRUNED) or 0) < quarter:
        for res, kept_ms in KEPT_MS.items():
            queries.prune_rollups(connection, res, quarter - kept_ms)
        queries.set_meta(connection, PRUNED, str(quarter))


# As SQL lowers.
_LOWER = {capital: capital + 32 for capital in range(ord("A"), ord("Z") + 1)}


@lru_cache(4096)
def _app(referer: str, title: str) -> str:
    """What an application is known by: where it lives, else what it calls itself; empty when it says neither. To the letter what the column
    `app` of generations has (`0015_request_search.sql`), so that what is summed under a name is found by it."""
    _, slashes, place = referer.partition("//")
    name = place.partition("/")[0].translate(_LOWER) if slashes else referer or title
    return name[:MOST_APP_CHARACTERS]


def app_of(connection: sqlite3.Connection, referer: str, title: str) -> int | None:
    """The number of the application that rollups count these under; None for who names none."""
    app, kind = _app(referer, title), KINDS[Dim.APP]
    if not app:
        return None
    return queries.known_usage_name(connection, kind, app, "") or queries.known_usage_name(connection, kind, OTHERS, "")


Durations = tuple[bytes, bytes]
"""Stored histograms: of the time to the first content, and of the whole."""


def quantiles(found: Sequence[Durations], shares: Sequence[float]) -> list[tuple[int, list[float | None]]]:
    """Of the times to the first content and of the whole: how many there were, and the quantiles at shares (0 to 1), in milliseconds."""
    sides = ([first for first, _ in found], [whole for _, whole in found])
    return [
        (count, [None if ms is None else round(ms, 1) for ms in found])
        for count, found in (_native().quantiles_ms(side, list(shares)) for side in sides)
    ]


def _name_id(connection: sqlite3.Connection, dim: int, name: str, part: str) -> int:
    kind = KINDS[dim]
    found = queries.known_usage_name(connection, kind, name, part)
    if found is None and dim in _BOUNDED and queries.count_usage_names(connection, kind) >= MOST_NAMES:
        name = OTHERS
    return found or queries.usage_name_id(connection, kind, name, part)


def zone(connection: sqlite3.Connection) -> str:
    """The reporting zone of this database."""
    return queries.meta(connection, ZONE) or "UTC"


class ZoneIsFixed(Exception):
    """Another reporting zone is configured than the database was made with."""

    def __init__(self, kept: str, wanted: str) -> None:
        super().__init__(
            f"storage.reporting_zone is {wanted}, but this database was made with {kept}, by whose days its sums are kept; "
            f"set it to {kept}, or begin with another data folder"
        )


def fix_zone(connection: sqlite3.Connection, wanted: str) -> None:
    """Notes the reporting zone of a database in which nothing is summed yet. Raises `ZoneIsFixed` where it has another one."""
    kept = queries.meta(connection, ZONE)
    if kept is None:
        kept = "UTC" if queries.newest_settled_at_ms(connection) is not None else wanted
        queries.set_meta(connection, ZONE, kept)
    if kept != wanted:
        raise ZoneIsFixed(kept, wanted)


@lru_cache(8)
def offsets(name: str) -> list[tuple[int, int]]:
    """From which moment on (Unix milliseconds) a zone is how many milliseconds ahead of UTC, ascending; empty for UTC."""
    if name == "UTC":
        return []
    zone = ZoneInfo(name)
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in (FIRST_YEAR, LAST_YEAR))
    found = [(first, _ahead_ms(zone, first))]
    for day_ms in range(first, last, DAY_MS):
        if _ahead_ms(zone, day_ms + DAY_MS) != found[-1][1]:
            same, other = day_ms, day_ms + DAY_MS
            while other - same > MINUTE_MS:
                middle = (same + other) // 2
                same, other = (middle, other) if _ahead_ms(zone, middle) == found[-1][1] else (same, middle)
            # Clocks change at whole quarter-hours.
            at_ms = quarter_start(other)
            found.append((at_ms, _ahead_ms(zone, at_ms)))
    return [(0, found[0][1]), *found[1:]]


def _ahead_ms(zone: ZoneInfo, at_ms: int) -> int:
    ahead = datetime.fromtimestamp(at_ms / 1000, zone).utcoffset() or timedelta()
    return ahead // timedelta(milliseconds=1)


def quarter_start(at_ms: int) -> int:
    """The beginning of the quarter-hour."""
    return at_ms - at_ms % QUARTER_MS


def hour_start(at_ms: int) -> int:
    """The beginning of the hour."""
    return at_ms - at_ms % HOUR_MS


def day_start(at_ms: int) -> int:
    """The beginning of the UTC day."""
    return at_ms - at_ms % DAY_MS


@lru_cache(1024)
def _month_of_day(day_ms: int) -> int:
    month = datetime.fromtimestamp(day_ms / 1000, UTC).replace(day=1)
    return int(month.timestamp()) * 1000


def month_start(at_ms: int) -> int:
    """The beginning of the UTC month."""
    return _month_of_day(at_ms - at_ms % DAY_MS)


STARTS: dict[int, Callable[[int], int]] = {
    Res.QUARTER: quarter_start,
    Res.HOUR: hour_start,
    Res.DAY: day_start,
    Res.MONTH: month_start,
}
"""Each coarser resolution → where its window begins."""


def spans(first_ms: int, end_ms: int, now_ms: int, of_zone: bool = False) -> list[Span]:
    """The fewest windows that make up whole days from one on and before another: months inside, days at the edges. Of UTC, or of the
    reporting zone where that is another."""
    if of_zone:
        # Its midnights are read as if they were UTC's, up to a day apart.
        now_ms += DAY_MS
    found = windows(min(first_ms, END_OF_TIME_MS), min(end_ms, END_OF_TIME_MS), Res.DAY, Res.MONTH, now_ms)
    return [(res + Res.ZONE_DAY - Res.DAY, start, end) for res, start, end in found] if of_zone else found


def windows(first_ms: int, end_ms: int, finest: int, coarsest: int, now_ms: int = END_OF_TIME_MS) -> list[Span]:
    """The fewest windows that make up a time, in order: the coarsest inside, finer ones at the edges, widened to whole ones of the
    finest; and of the coarsest where the time reaches the present, behind which there is nothing yet."""
    first, end = _start(finest, first_ms), _next(coarsest if end_ms > now_ms else finest, end_ms)
    head: list[Span] = []
    tail: list[Span] = []
    for res in range(finest, coarsest):
        inner, outer = _next(res + 1, first), _start(res + 1, end)
        if inner > outer:
            coarsest = res
            break
        head.append((res, first, inner))
        tail.insert(0, (res, outer, end))
        first, end = inner, outer
    return [span for span in (*head, (coarsest, first, end), *tail) if span[1] < span[2]]


def starts_of(span: Span) -> Iterator[int]:
    """Where the windows of a span begin."""
    res, at_ms, end_ms = span
    while at_ms < end_ms:
        yield at_ms
        at_ms = _next(res, at_ms + 1)


def _start(res: int, at_ms: int) -> int:
    return at_ms - at_ms % MINUTE_MS if res == Res.MINUTE else STARTS[res](at_ms)


def _next(res: int, at_ms: int) -> int:
    """The first window that does not begin before a moment."""
    start = _start(res, at_ms)
    return start if start == at_ms else _start(res, start + _LONGEST_MS[res])


_LONGEST_MS = (MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS, 32 * DAY_MS)
