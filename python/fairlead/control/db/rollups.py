"""Folds generations into the rollups: what happened by window (minutes to months) and dimension, as exact integers.

A `Fold` collects what one transaction brings and stores it with a handful of statements, in that transaction. The totals of a dimension
are therefore always those of the rows. What counts where:

* A generation counts once, in the window of its settlement, however it ended: void, recovered and cancelled ones are requests, too.
* `upstream_cost_nanousd` is all that its attempts cost, those that lost a race included, at the place that answered.
* A shadow's cost stands at the shadow's own place; it is nobody's request and has no other sum.
"""

import contextlib
import math
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import add, itemgetter
from typing import Any
from urllib.parse import urlsplit

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
# A reported count above this is a provider's mistake; it is stored with its generation and kept out of the sums.
MOST_CREDIBLE_TOKENS = 10**12
# How attempts end that did not fail: another was faster, the client left, or the process stopped.
NOBODYS_FAULT = frozenset({"overtaken", "client_gone", "shutting_down", "interrupted"})
BIN_RATIO = 1.1
FIRST_CONTENT, WHOLE = 0, 1
"""Metrics of `latency_hist`."""
# Callers choose the names of apps. Those that come later than this many count as one.
MOST_APPS = 10_000
MOST_APP_CHARACTERS = 100
OTHER_APPS = "(others)"
# So many generations are folded at a time when all of them are.
REBUILD_ROWS = 4000
_BUILT = "rollups"
_PRUNED = "rollups_pruned"
_VERSION = "1"

_COLUMN = {name: index for index, name in enumerate(GENERATION_COLUMNS)}
_of_attempt = itemgetter(*(ATTEMPT_COLUMNS.index(name) for name in ("provider", "endpoint_id", "error", "flags")))
_place = itemgetter(
    *(_COLUMN[name] for name in ("id", "account_id", "key_id", "team_id", "user_id", "settled_at_ms", "model", "provider")),
    *(_COLUMN[name] for name in ("referer", "title", "split", "arm")),
)
summed = itemgetter(
    *(_COLUMN[f"{name}_tokens"] for name in ("prompt", "cache_read", "cache_write", "cache_write_1h", "completion", "reasoning")),
    *(_COLUMN[name] for name in ("charged_nanousd", "upstream_cost_nanousd", "outcome")),
)
"""What `sums` adds up of a row."""
_timed = itemgetter(*(_COLUMN[name] for name in ("outcome", "streamed", "error", "content_us", "total_us", "completion_tokens")))
_LN_RATIO = math.log(BIN_RATIO)

_Spot = tuple[str, str, int]
"""Model, provider, endpoint."""


class Fold:
    """What generations add to the rollups, before it is stored."""

    def __init__(self) -> None:
        # Account, minute, key, team, user, app, (split, arm), spot → sums.
        self._sums: dict[tuple[Any, ...], Sums] = {}
        # Account, hour, metric, spot, bin → count.
        self._bins: dict[tuple[Any, ...], int] = {}
        # Account, hour, spot, class → count.
        self._errors: dict[tuple[Any, ...], int] = {}

    def take(self, rows: Rows, attempts: Rows) -> None:
        """Generations that are not stored yet, in the order of `GENERATION_COLUMNS`, and at least their attempts."""
        tries: dict[str, list[tuple[Any, ...]]] = {}
        for attempt in attempts:
            tries.setdefault(attempt[0], []).append(_of_attempt(attempt))
        groups: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        retried: dict[tuple[Any, ...], int] = {}
        for row in rows:
            id, account, key, team, user, at_ms, model, provider, referer, title, split, arm = _place(row)
            tried = tries.get(id, ())
            spot = (model, provider, _endpoint(provider, tried))
            place = (account, at_ms - at_ms % MINUTE_MS, key, team, user, _app(referer, title), (split, arm), spot)
            groups.setdefault(place, []).append(row)
            if len(tried) > 1 and _retried(tried):
                retried[place] = retried.get(place, 0) + 1
        for place, group in groups.items():
            streamed = self._take_times(place[0], place[1] - place[1] % HOUR_MS, place[-1], group)
            _add(self._sums, place, (*sums([summed(row) for row in group]), retried.get(place, 0), *streamed))

    def take_shadows(self, rows: Rows, attempts: Rows) -> None:
        """What came of shadows, in the order of `GENERATION_COLUMNS`, and their attempts."""
        endpoints = {attempt[0]: _of_attempt(attempt)[1] for attempt in attempts}
        for row in rows:
            id, account, key, team, user, at_ms, model, provider, referer, title, *_ = _place(row)
            spot = (model, provider, endpoints.get(id, 0))
            place = (account, at_ms - at_ms % MINUTE_MS, key, team, user, _app(referer, title), ("", ""), spot)
            _add(self._sums, place, cost_only(row[_COLUMN["upstream_cost_nanousd"]]))

    def _take_times(self, account: int, hour: int, spot: _Spot, group: Rows) -> tuple[int, int]:
        """Counts latencies and errors; returns the tokens of streams and how long they streamed, in microseconds."""
        tokens = streaming_us = 0
        bins = self._bins
        for outcome, streamed, error, content_us, total_us, completion in map(_timed, group):
            if streamed and content_us:
                place = (account, hour, FIRST_CONTENT, spot, bin_of(content_us))
                bins[place] = bins.get(place, 0) + 1
                if completion <= MOST_CREDIBLE_TOKENS and total_us > content_us:
                    tokens += completion
                    streaming_us += total_us - content_us
            if outcome == "completed":
                place = (account, hour, WHOLE, spot, bin_of(total_us))
                bins[place] = bins.get(place, 0) + 1
            if error:
                _count(self._errors, (account, hour, spot, error), 1)
        return tokens, streaming_us

    def store(self, connection: sqlite3.Connection) -> None:
        """Adds everything to the tables, inside the caller's transaction, and lets go of windows that are no longer kept."""
        if not self._sums:
            return
        spots = {spot: queries.usage_place_id(connection, *spot) for spot in {place[-1] for place in self._sums}}
        apps = {app: _app_id(connection, app) for app in {place[5] for place in self._sums}}
        arms = {arm: queries.usage_name_id(connection, "arm", *arm) if arm[0] else 0 for arm in {place[6] for place in self._sums}}
        minutes: dict[tuple[Any, ...], Sums] = {}
        days: dict[tuple[Any, ...], Sums] = {}
        for (account, minute, key, team, user, app, arm, spot), amounts in self._sums.items():
            place = spots[spot]
            _add(minutes, (account, Dim.TOTAL, minute, 0), amounts)
            _add(minutes, (account, Dim.PLACE, minute, place), amounts)
            _add(minutes, (account, Dim.KEY, minute, key), amounts)
            for dim, val in ((Dim.TEAM, team), (Dim.USER, user), (Dim.APP, apps[app]), (Dim.ARM, arms[arm])):
                if val:
                    _add(minutes, (account, dim, minute, val), amounts)
            _add(days, (account, minute - minute % DAY_MS, key, place), amounts)
        self._store_sums(connection, minutes)
        queries.add_pairs(connection, [(account, Res.DAY, *rest, *amounts) for (account, *rest), amounts in days.items()])
        months = _coarser(days, 1, month_start)
        queries.add_pairs(connection, [(account, Res.MONTH, *rest, *amounts) for (account, *rest), amounts in months.items()])
        for res, start in ((Res.HOUR, None), (Res.DAY, day_start), (Res.MONTH, month_start)):
            if start is not None:
                self._bins, self._errors = _coarser_counts(self._bins, start), _coarser_counts(self._errors, start)
            bins = ((account, res, metric, at, spots[spot], bin, n) for (account, at, metric, spot, bin), n in self._bins.items())
            queries.add_bins(connection, bins)
            if self._errors:
                errors = ((account, res, at, spots[spot], error, n) for (account, at, spot, error), n in self._errors.items())
                queries.add_errors(connection, errors)
        _prune(connection, max(place[1] for place in self._sums))
        self.__init__()  # type: ignore[misc]

    def _store_sums(self, connection: sqlite3.Connection, windows: dict[tuple[Any, ...], Sums]) -> None:
        for res, start in ((Res.MINUTE, None), *STARTS.items()):
            if start is not None:
                windows = _coarser(windows, 2, start)
            queries.add_rollups(connection, [(account, res, *rest, *amounts) for (account, *rest), amounts in windows.items()])


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
            fold = Fold()
            fold.take(rows, [attempt for attempt in attempts if not _of_attempt(attempt)[3] & queries.SHADOW_FLAG])
            fold.take_shadows(*_stored_shadows(connection, rows, attempts))
            fold.store(connection)
        queries.set_meta(connection, _BUILT, _VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _stored_shadows(connection: sqlite3.Connection, rows: Rows, attempts: Rows) -> tuple[Rows, Rows]:
    shadows = [attempt for attempt in attempts if _of_attempt(attempt)[3] & queries.SHADOW_FLAG]
    if not shadows:
        return [], []
    models = {id: model for (model, _, _, _), id in queries.endpoints(connection).items()}
    by_id = {row[0]: row for row in rows}
    made = []
    for attempt in shadows:
        row = list(by_id.get(attempt[0], ()))
        if row:
            provider, endpoint, _, _ = _of_attempt(attempt)
            row[_COLUMN["model"]], row[_COLUMN["provider"]] = models.get(endpoint, ""), provider
            row[_COLUMN["upstream_cost_nanousd"]] = attempt[ATTEMPT_COLUMNS.index("upstream_cost_nanousd")]
            made.append(tuple(row))
    return made, shadows


def _prune(connection: sqlite3.Connection, now_ms: int) -> None:
    """Once in a quarter-hour, so that there are never many to take away."""
    quarter = now_ms - now_ms % QUARTER_MS
    if int(queries.meta(connection, _PRUNED) or 0) < quarter:
        for res, kept_ms in KEPT_MS.items():
            queries.prune_rollups(connection, res, quarter - kept_ms)
        queries.set_meta(connection, _PRUNED, str(quarter))


def sums(group: Rows) -> Sums:
    """Of what `summed` took of rows. By columns: what is summed by the interpreter's own loops costs a third."""
    prompt, cache_read, cache_write, cache_write_1h, completion, reasoning, charged, upstream_cost, outcomes = zip(*group, strict=True)
    return (
        len(group),
        outcomes.count("failed"),
        _credible(prompt),
        _credible(cache_read),
        _credible(cache_write) + _credible(cache_write_1h),
        _credible(completion),
        _credible(reasoning),
        sum(charged),
        sum(upstream_cost),
    )


def cost_only(upstream_cost_nanousd: int) -> Sums:
    """The sums of a shadow."""
    return tuple(upstream_cost_nanousd if name == "upstream_cost_nanousd" else 0 for name in queries.ROLLUP_SUMS)


def _credible(tokens: tuple[int, ...]) -> int:
    """The sum of those counts that can be believed."""
    return sum(tokens) if max(tokens) <= MOST_CREDIBLE_TOKENS else sum(count for count in tokens if count <= MOST_CREDIBLE_TOKENS)


def _endpoint(provider: str, tried: Sequence[tuple[Any, ...]]) -> int:
    """The endpoint that answered, else the last one that was asked; of the provider that the generation names."""
    best, best_rank = 0, -1
    for tried_provider, endpoint, error, flags in tried:
        if tried_provider == provider and not flags & queries.SHADOW_FLAG:
            rank = 2 if not error else error != "overtaken"
            if rank >= best_rank:
                best, best_rank = int(endpoint), int(rank)
    return best


def _retried(tried: Sequence[tuple[Any, ...]]) -> bool:
    """Whether another attempt followed one that failed."""
    own = [error for _, _, error, flags in tried if not flags & queries.SHADOW_FLAG]
    return any(error and error not in NOBODYS_FAULT for error in own[:-1])


@lru_cache(4096)
def _app(referer: str, title: str) -> str:
    """What an application is known by: where it lives, else what it calls itself; empty when it says neither."""
    if referer:
        with contextlib.suppress(ValueError):
            referer = urlsplit(referer).netloc.rpartition("@")[2].lower() or referer
    return (referer or title)[:MOST_APP_CHARACTERS]


def _app_id(connection: sqlite3.Connection, app: str) -> int:
    if not app:
        return 0
    found = queries.known_usage_name(connection, "app", app, "")
    if found is None and queries.count_usage_names(connection, "app") >= MOST_APPS:
        app = OTHER_APPS
    return found or queries.usage_name_id(connection, "app", app, "")


def bin_of(us: int) -> int:
    """The bin of a duration in microseconds."""
    return int(math.log(us) / _LN_RATIO) if us > 1 else 0


def bin_ms(bin: int) -> float:
    """The duration in milliseconds that stands for a bin: its middle, at most 5 % from any duration in it."""
    return float(BIN_RATIO ** (bin + 0.5)) / 1000


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


def _add(into: dict[tuple[Any, ...], Sums], place: tuple[Any, ...], amounts: Sums) -> None:
    present = into.get(place)
    into[place] = amounts if present is None else tuple(map(add, present, amounts))


def _count(into: dict[tuple[Any, ...], int], place: tuple[Any, ...], n: int) -> None:
    into[place] = into.get(place, 0) + n


def _coarser(windows: dict[tuple[Any, ...], Sums], index: int, start: Callable[[int], int]) -> dict[tuple[Any, ...], Sums]:
    """The same sums in larger windows; `index` is where the window stands in a place."""
    coarser: dict[tuple[Any, ...], Sums] = {}
    for place, amounts in windows.items():
        _add(coarser, (*place[:index], start(place[index]), *place[index + 1 :]), amounts)
    return coarser


def _coarser_counts(windows: dict[tuple[Any, ...], int], start: Callable[[int], int]) -> dict[tuple[Any, ...], int]:
    coarser: dict[tuple[Any, ...], int] = {}
    for (account, at_ms, *rest), n in windows.items():
        _count(coarser, (account, start(at_ms), *rest), n)
    return coarser


def spans(first_ms: int, end_ms: int) -> list[Span]:
    """The fewest windows that make up whole UTC days from one on and before another: months inside, days at the edges."""
    end_ms = min(end_ms, END_OF_TIME_MS)
    first_month = month_start(first_ms)
    if first_month < first_ms:
        first_month = month_start(first_month + 32 * DAY_MS)
    last_month = month_start(end_ms)
    if first_month >= last_month:
        return [(Res.DAY, first_ms, end_ms)]
    found = [(Res.DAY, first_ms, first_month), (Res.MONTH, first_month, last_month), (Res.DAY, last_month, end_ms)]
    return [span for span in found if span[1] < span[2]]
