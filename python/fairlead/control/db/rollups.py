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
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
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
PRUNED = "rollups_pruned"
"""The name in `meta` of the quarter-hour up to which windows were last let go of."""
_BUILT = "rollups"
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
_Lists = defaultdict[tuple[Any, ...], list[Any]]
_Counts = defaultdict[tuple[Any, ...], int]


class Fold:
    """What generations add to the rollups, before it is stored."""

    def __init__(self) -> None:
        # The places that were seen → their index, which is cheaper in keys than three strings.
        self._spots: dict[_Spot, int] = {}
        # Account, minute, key, team, user, app, split, arm, spot → sums of each batch.
        self._sums: _Lists = defaultdict(list)
        # Account, metric, hour, spot, bin → count.
        self._bins: _Counts = defaultdict(int)
        # Account, hour, spot, class → count.
        self._errors: _Counts = defaultdict(int)

    def take(self, rows: Rows, attempts: Rows) -> None:
        """Generations that are not stored yet, in the order of `GENERATION_COLUMNS`, and at least their attempts."""
        tries: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for attempt in attempts:
            tries[attempt[0]].append(_of_attempt(attempt))
        groups: _Lists = defaultdict(list)
        retried: _Counts = defaultdict(int)
        for row in rows:
            id, account, key, team, user, at_ms, model, provider, referer, title, split, arm = _place(row)
            tried = tries.get(id, ())
            spot = self._spot(model, provider, _endpoint(provider, tried))
            place = (account, at_ms - at_ms % MINUTE_MS, key, team, user, _app(referer, title), split, arm, spot)
            groups[place].append(row)
            if len(tried) > 1 and _retried(tried):
                retried[place] += 1
        for place, group in groups.items():
            streamed = self._take_times(place[0], hour_start(place[1]), place[-1], group)
            self._sums[place].append((*sums([summed(row) for row in group]), retried.get(place, 0), *streamed))

    def take_shadows(self, rows: Rows, attempts: Rows) -> None:
        """What came of shadows, in the order of `GENERATION_COLUMNS`, and their attempts."""
        endpoints = {attempt[0]: _of_attempt(attempt)[1] for attempt in attempts}
        for row in rows:
            id, account, key, team, user, at_ms, model, provider, referer, title, *_ = _place(row)
            spot = self._spot(model, provider, endpoints.get(id, 0))
            place = (account, at_ms - at_ms % MINUTE_MS, key, team, user, _app(referer, title), "", "", spot)
            self._sums[place].append(cost_only(row[_COLUMN["upstream_cost_nanousd"]]))

    def _spot(self, *spot: Any) -> int:
        return self._spots.setdefault(spot, len(self._spots))

    def _take_times(self, account: int, hour: int, spot: int, group: Rows) -> tuple[int, int]:
        """Counts latencies and errors; returns the tokens of streams and how long they streamed, in microseconds."""
        tokens = streaming_us = 0
        for outcome, streamed, error, content_us, total_us, completion in map(_timed, group):
            if streamed and content_us:
                self._bins[account, FIRST_CONTENT, hour, spot, bin_of(content_us)] += 1
                if completion <= MOST_CREDIBLE_TOKENS and total_us > content_us:
                    tokens += completion
                    streaming_us += total_us - content_us
            if outcome == "completed":
                self._bins[account, WHOLE, hour, spot, bin_of(total_us)] += 1
            if error:
                self._errors[account, hour, spot, error] += 1
        return tokens, streaming_us

    def store(self, connection: sqlite3.Connection) -> None:
        """Adds everything to the tables, inside the caller's transaction, and lets go of windows that are no longer kept."""
        if self._sums:
            places = [queries.usage_place_id(connection, *spot) for spot in self._spots]
            self._store_sums(connection, places)
            self._store_bins(connection, places)
            if self._errors:
                self._store_errors(connection, places)
            _prune(connection, max(place[1] for place in self._sums))

    def _store_sums(self, connection: sqlite3.Connection, places: list[int]) -> None:
        apps = {app: _app_id(connection, app) for app in {place[5] for place in self._sums}}
        arms = {arm: queries.usage_name_id(connection, "arm", *arm) if arm[0] else 0 for arm in {place[6:8] for place in self._sums}}
        # What one window and value adds up from, by key: account, dimension, start, value; and account, start, key, place.
        minutes: _Lists = defaultdict(list)
        pairs: _Lists = defaultdict(list)
        for (account, minute, key, team, user, app, split, arm, spot), parts in self._sums.items():
            amounts, place = _total(parts), places[spot]
            minutes[account, Dim.TOTAL, minute, 0].append(amounts)
            minutes[account, Dim.PLACE, minute, place].append(amounts)
            minutes[account, Dim.KEY, minute, key].append(amounts)
            for dim, val in ((Dim.TEAM, team), (Dim.USER, user), (Dim.APP, apps[app]), (Dim.ARM, arms[split, arm])):
                if val:
                    minutes[account, dim, minute, val].append(amounts)
            pairs[account, day_start(minute), key, place].append(amounts)
        windows = _totals(minutes)
        queries.add_rollups(connection, [(Res.MINUTE, *place, *amounts) for place, amounts in windows])
        for res, start in STARTS.items():
            coarser: _Lists = defaultdict(list)
            for (account, dim, at_ms, val), amounts in windows:
                coarser[account, dim, start(at_ms), val].append(amounts)
            windows = _totals(coarser)
            queries.add_rollups(connection, [(res, *place, *amounts) for place, amounts in windows])
        days = _totals(pairs)
        months: _Lists = defaultdict(list)
        for (account, day, key, place), amounts in days:
            months[account, month_start(day), key, place].append(amounts)
        queries.add_pairs(connection, [(Res.DAY, *place, *amounts) for place, amounts in days])
        queries.add_pairs(connection, [(Res.MONTH, *place, *amounts) for place, amounts in _totals(months)])

    def _store_bins(self, connection: sqlite3.Connection, places: list[int]) -> None:
        days: _Counts = defaultdict(int)
        months: _Counts = defaultdict(int)
        for (account, metric, hour, spot, bin), n in self._bins.items():
            days[account, metric, day_start(hour), spot, bin] += n
            months[account, metric, month_start(hour), bin] += n
        for res, windows in ((Res.HOUR, self._bins), (Res.DAY, days)):
            rows = [(res, account, metric, at_ms, places[spot], bin, n) for (account, metric, at_ms, spot, bin), n in windows.items()]
            queries.add_bins(connection, rows)
        rows = [(Res.MONTH, account, metric, month, 0, bin, n) for (account, metric, month, bin), n in months.items()]
        queries.add_bins(connection, rows)

    def _store_errors(self, connection: sqlite3.Connection, places: list[int]) -> None:
        for res, start in ((Res.HOUR, hour_start), (Res.DAY, day_start), (Res.MONTH, month_start)):
            windows: _Counts = defaultdict(int)
            for (account, hour, spot, error), n in self._errors.items():
                windows[account, start(hour), places[spot], error] += n
            queries.add_errors(connection, [(res, *place, n) for place, n in windows.items()])


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
    if int(queries.meta(connection, PRUNED) or 0) < quarter:
        for res, kept_ms in KEPT_MS.items():
            queries.prune_rollups(connection, res, quarter - kept_ms)
        queries.set_meta(connection, PRUNED, str(quarter))


def sums(group: Rows) -> Sums:
    """Of what `summed` took of rows. By columns: what is summed by the interpreter's own loops costs a third."""
    if len(group) == 1 and max(group[0][:6]) <= MOST_CREDIBLE_TOKENS:
        prompt, cache_read, cache_write, cache_write_1h, completion, reasoning, charged, upstream_cost, outcome = group[0]
        failed = int(outcome == "failed")
        return 1, failed, prompt, cache_read, cache_write + cache_write_1h, completion, reasoning, charged, upstream_cost
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


def app_of(connection: sqlite3.Connection, referer: str, title: str) -> int | None:
    """The number of the application that rollups count these under; None for who names none."""
    app = _app(referer, title)
    return (
        (queries.known_usage_name(connection, "app", app, "") or queries.known_usage_name(connection, "app", OTHER_APPS, ""))
        if app
        else None
    )


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


def _total(parts: list[Sums]) -> Sums:
    return parts[0] if len(parts) == 1 else tuple(map(sum, zip(*parts, strict=True)))


def _totals(windows: _Lists) -> list[tuple[tuple[Any, ...], Sums]]:
    return [(place, _total(parts)) for place, parts in windows.items()]


def spans(first_ms: int, end_ms: int) -> list[Span]:
    """The fewest windows that make up whole UTC days from one on and before another: months inside, days at the edges."""
    return windows(first_ms, min(end_ms, END_OF_TIME_MS), Res.DAY, Res.MONTH)


def windows(first_ms: int, end_ms: int, finest: int, coarsest: int) -> list[Span]:
    """The fewest windows that make up a time, in order: the coarsest inside, finer ones at the edges, widened to whole ones of the
    finest."""
    first, end = _start(finest, first_ms), _next(finest, end_ms)
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


def _start(res: int, at_ms: int) -> int:
    return at_ms - at_ms % MINUTE_MS if res == Res.MINUTE else STARTS[res](at_ms)


def _next(res: int, at_ms: int) -> int:
    """The first window that does not begin before a moment."""
    start = _start(res, at_ms)
    return start if start == at_ms else _start(res, start + _LONGEST_MS[res])


_LONGEST_MS = (MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS, 32 * DAY_MS)
