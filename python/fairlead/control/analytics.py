"""`/analytics/meta` and `/analytics/query`: sums of the caller's account by time and up to two dimensions, in OpenRouter's shape.

A query is answered from the rollups or not at all: what they cannot answer is refused with what they can.
"""

import sqlite3
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import add, sub
from typing import Any, Literal, NamedTuple

import msgspec
from starlette.responses import Response

from fairlead.control import measures
from fairlead.control.db import queries
from fairlead.control.db.queries import DAY_MS, Dim, Res, Span
from fairlead.control.db.rollups import KEPT_MS, KINDS, STARTS, Durations, Sums, day_start, month_start, quantiles, starts_of, windows
from fairlead.control.desk import Call
from fairlead.control.moments import unix_ms
from fairlead.control.money import usd_number
from fairlead.control.replies import invalid, reply
from fairlead.control.windows import day_of

DEFAULT_DAYS = 30
MOST_ROWS, DEFAULT_ROWS = 10_000, 1000
STEP_MS = 3_600_000
"""So long before their time windows are no longer asked for: they may have been taken away in part."""
MOST_DIMENSIONS, MOST_FILTERS, MOST_VALUES = 2, 20, 500


class Metric(NamedTuple):
    """What can be asked for. `of` takes the sums by name and gives a number, or None where there is nothing to divide by."""

    label: str
    format: Literal["number", "currency", "percent", "throughput"]
    is_rate: bool
    of: Callable[[Mapping[str, int]], int | float | None]


METRICS = {
    "total_usage": Metric("Total usage", "currency", False, lambda row: row["charged_nanousd"]),
    "request_count": Metric("Requests", "number", False, lambda row: row["requests"]),
    "tokens_total": Metric("Tokens", "number", False, measures.tokens),
    "tokens_prompt": Metric("Prompt tokens", "number", False, measures.prompt),
    "tokens_completion": Metric("Completion tokens", "number", False, lambda row: row["completion_tokens"]),
    "reasoning_tokens": Metric("Reasoning tokens", "number", False, lambda row: row["reasoning_tokens"]),
    "cached_tokens": Metric("Cached tokens", "number", False, lambda row: row["cache_read_tokens"]),
    "cache_hit_rate": Metric("Cache hit rate", "percent", True, measures.cached_share),
    "failed_count": Metric("Failed requests", "number", False, lambda row: row["failed"]),
    "error_rate": Metric("Error rate", "percent", True, measures.error_share),
    "retried_count": Metric("Requests tried again", "number", False, lambda row: row["retried"]),
    "throughput": Metric("Tokens per second after the first", "throughput", True, measures.tokens_per_second),
}
PERCENTILES = {
    f"{what}_p{percent}": (f"{label}, {percent}th percentile", side, percent / 100)
    for what, label, side in (("latency", "Time to the whole reply", 1), ("time_to_first_token", "Time to the first token", 0))
    for percent in (50, 90, 99)
}
"""What is asked of durations, in milliseconds: label, which of two histograms, share."""
OF_PLACE = ("model", "provider", "endpoint")
DIMENSIONS = {
    "model": "Model",
    "provider": "Provider",
    "endpoint": "Endpoint",
    "api_key_id": "API key",
    "app": "App",
    "team": "Team",
    "user": "User",
    "preset": "Preset",
    "split": "Split",
    "arm": "Arm of a split",
    "workspace": "Workspace",
}
OF_DIM = {
    "api_key_id": Dim.KEY, "app": Dim.APP, "team": Dim.TEAM, "user": Dim.USER, "preset": Dim.PRESET, "split": Dim.ARM, "arm": Dim.ARM,
}  # fmt: skip
"""Those that are not of a place, and not everybody's."""
UNPAIRED = (Dim.USER,)
OF_SOME = (Dim.TEAM, Dim.USER, Dim.APP, Dim.PRESET, Dim.ARM)
"""Not every request has one; those that have none are not summed apart."""
UNSET = -1
"""Stands for the value of those that have none."""
# Durations are kept of these; of all together and by place in hours, too.
WITH_DURATIONS = {Dim.TOTAL: Res.HOUR, Dim.PLACE: Res.HOUR, Dim.KEY: Res.DAY, Dim.PRESET: Res.DAY, Dim.ARM: Res.DAY}
GRANULARITIES = {"minute": Res.MINUTE, "hour": Res.HOUR, "day": Res.DAY, "week": Res.DAY, "month": Res.MONTH}
"""How long the windows of a reply are → the longest that it may be added up from."""
OPERATORS = {"eq": "scalar", "neq": "scalar", "in": "array", "not_in": "array"}
_ALLOWED = (
    "model, provider and endpoint go together and with one of api_key_id, app, team, preset or split and arm (then by day, week or month);"
    " user goes alone; workspace goes with all"
)


class TimeRange(msgspec.Struct, forbid_unknown_fields=True):
    """From one moment on, before another."""

    start: datetime
    end: datetime


class OrderBy(msgspec.Struct, forbid_unknown_fields=True):
    """`field` is `date`, a dimension or a metric of the query, or `request_count`."""

    field: str
    direction: Literal["asc", "desc"]


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    """Keeps rows by a dimension. `include_unset` keeps those, too, that have no value there: no team, no app …"""

    field: str
    operator: str
    value: str | int | float | list[str | int | float]
    include_unset: bool = False


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """OpenRouter's body."""

    metrics: list[str]
    dimensions: list[str] = []
    filters: list[Filter] = []
    granularity: str | None = None
    time_range: TimeRange | None = None
    order_by: OrderBy | None = None
    limit: int = DEFAULT_ROWS
    group_limit: int | None = None
    classifier_dimensions: dict[str, Any] | None = None
    classifier_filters: dict[str, Any] | None = None


async def meta(call: Call) -> Response:
    """What `query` takes."""
    metrics = [
        {"name": name, "display_label": metric.label, "display_format": metric.format, "is_rate": metric.is_rate}
        for name, metric in METRICS.items()
    ]
    metrics += [
        {"name": name, "display_label": f"{label} (ms)", "display_format": "number", "is_rate": True}
        for name, (label, _, _) in PERCENTILES.items()
    ]
    return reply(
        {
            "data": {
                "metrics": metrics,
                "dimensions": [{"name": name, "display_label": label} for name, label in DIMENSIONS.items()],
                "granularities": [{"name": name, "display_label": name.capitalize()} for name in GRANULARITIES],
                "operators": [{"name": name, "value_type": value_type} for name, value_type in OPERATORS.items()],
            }
        }
    )


async def query(call: Call) -> Response:
    """The rows, as of the journal's position at the call. 400 names the member that is wrong."""
    asked = await call.body(Query)
    _check(asked)
    now_ms = call.desk.now_ms()
    range_ms = _range(asked.time_range, now_ms)
    began = time.perf_counter()
    await call.caught_up()
    account = call.principal.account
    rows, count, warnings = await call.desk.database.look(
        lambda connection: answer(connection, account, asked, range_ms, now_ms, call.desk.offer.provider_name)
    )
    metadata = {
        "query_time_ms": round((time.perf_counter() - began) * 1000, 3),
        "row_count": len(rows),
        "truncated": count > len(rows),
    }
    return reply({"data": {"data": rows, "metadata": metadata} | ({"warnings": warnings} if warnings else {})})


def _check(asked: Query) -> None:
    for member in ("classifier_dimensions", "classifier_filters"):
        if getattr(asked, member) is not None:
            raise invalid(f"{member}: there are no classifiers here")
    if not asked.metrics:
        raise invalid(f"metrics: one or more of {', '.join((*METRICS, *PERCENTILES))} are expected")
    for member, names, known in (("metrics", asked.metrics, METRICS | PERCENTILES), ("dimensions", asked.dimensions, DIMENSIONS)):
        for index, name in enumerate(names):
            if name not in known or name in names[:index]:
                raise invalid(f"{member}[{index}]: one of {', '.join(known)} is expected, each once, got {name[:40]!r}")
    if len(asked.dimensions) > MOST_DIMENSIONS:
        raise invalid(f"dimensions: at most {MOST_DIMENSIONS} are expected")
    if len(asked.filters) > MOST_FILTERS:
        raise invalid(f"filters: at most {MOST_FILTERS} are expected")
    for index, filter in enumerate(asked.filters):
        _check_filter(f"filters[{index}]", filter)
    if asked.granularity is not None and asked.granularity not in GRANULARITIES:
        raise invalid(f"granularity: one of {', '.join(GRANULARITIES)} is expected, got {asked.granularity[:40]!r}")
    if not 1 <= asked.limit <= MOST_ROWS:
        raise invalid(f"limit: a whole number from 1 to {MOST_ROWS} is expected")
    if asked.group_limit is not None and not 1 <= asked.group_limit <= MOST_ROWS:
        raise invalid(f"group_limit: a whole number from 1 to {MOST_ROWS} is expected")
    if asked.order_by is not None:
        fields = [*asked.metrics, *asked.dimensions, "request_count", *(["date"] if asked.granularity else [])]
        if asked.order_by.field not in fields:
            raise invalid(f"order_by.field: one of {', '.join(dict.fromkeys(fields))} is expected, got {asked.order_by.field[:40]!r}")
    _check_source(asked)


def _check_source(asked: Query) -> None:
    """Whether what is asked for is summed together anywhere."""
    fields = _fields(asked)
    dims = {OF_DIM[field] for field in fields if field in OF_DIM}
    is_pair = bool(dims) and bool(fields & set(OF_PLACE))
    if len(dims) > 1 or (is_pair and dims & set(UNPAIRED)):
        raise invalid(f"dimensions: these are not summed together; {_ALLOWED}")
    if is_pair and asked.granularity in ("minute", "hour"):
        raise invalid(f"granularity: day, week or month is expected with these dimensions and filters; {_ALLOWED}")
    for name in asked.metrics:
        if name not in PERCENTILES:
            continue
        dim = next(iter(dims), Dim.PLACE if fields else Dim.TOTAL)
        if is_pair or dim not in WITH_DURATIONS:
            allowed = "model, provider and endpoint, api_key_id, preset, or split and arm"
            raise invalid(f"metrics: {name} is known by {allowed}, not by these dimensions and filters together")
        if _asks_for_unset(asked, dim):
            raise invalid(f"filters: {name} is not known of requests that have no such value; leave include_unset away")
        if asked.granularity is not None and GRANULARITIES[asked.granularity] < WITH_DURATIONS[dim]:
            raise invalid(f"granularity: {name} is known by {'hour, ' if WITH_DURATIONS[dim] == Res.HOUR else ''}day, week or month here")


def _asks_for_unset(asked: Query, dim: int) -> bool:
    """Whether a filter lets requests in of which the sums by this dimension have nothing."""
    return dim in OF_SOME and any(filter.include_unset and filter.field in OF_DIM for filter in asked.filters)


def _fields(asked: Query) -> set[str]:
    """The dimensions that are shown or filtered by; the workspace is everybody's."""
    return {*asked.dimensions, *(filter.field for filter in asked.filters)} - {"workspace"}


def _check_filter(path: str, filter: Filter) -> None:
    if filter.field not in DIMENSIONS:
        raise invalid(f"{path}.field: one of {', '.join(DIMENSIONS)} is expected, got {filter.field[:40]!r}")
    if filter.operator not in OPERATORS:
        raise invalid(f"{path}.operator: one of {', '.join(OPERATORS)} is expected, got {filter.operator[:40]!r}")
    wants_array = OPERATORS[filter.operator] == "array"
    if wants_array != isinstance(filter.value, list):
        raise invalid(f"{path}.value: {'an array' if wants_array else 'one value'} is expected with {filter.operator}")
    if isinstance(filter.value, list) and len(filter.value) > MOST_VALUES:
        raise invalid(f"{path}.value: at most {MOST_VALUES} values are expected")


def _range(asked: TimeRange | None, now_ms: int) -> tuple[int, int]:
    if asked is None:
        return day_start(now_ms) - DEFAULT_DAYS * DAY_MS, now_ms + 1
    moments = []
    for name, moment in (("start", asked.start), ("end", asked.end)):
        moments.append(unix_ms(f"time_range.{name}", moment))
    if moments[0] >= moments[1]:
        raise invalid("time_range.end: a moment after time_range.start is expected")
    return moments[0], min(moments[1], month_start(now_ms + 32 * DAY_MS))


class _Source(NamedTuple):
    """Which tables answer, and how fine their windows are."""

    dim: int
    is_pair: bool
    """Of the dimension and places."""
    finest: int


class _Part(NamedTuple):
    """What is read of them: an account's sums in a span."""

    connection: sqlite3.Connection
    account: int
    span: Span
    columns: Sequence[str]
    by_window: bool


def answer(
    connection: sqlite3.Connection,
    account: int,
    asked: Query,
    range_ms: tuple[int, int],
    now_ms: int,
    provider_name: Callable[[str], str] = str,
) -> tuple[list[dict[str, Any]], int, list[str]]:
    """The rows of a query that was checked, in order and up to its limit; how many there are; and what should be said about them."""
    fields = _fields(asked)
    wants_durations = any(name in PERCENTILES for name in asked.metrics)
    source = _source(fields, wants_durations)
    warnings: list[str] = []
    spans = _spans(asked.granularity, source, range_ms, now_ms, warnings)
    names = _Names(connection, account, source, fields)
    keeps = [(filter.field, _predicate(filter, names, f"filters[{index}]", warnings)) for index, filter in enumerate(asked.filters)]
    only, places = _only(asked, source, names), names.places([keep for field, keep in keeps if field in OF_PLACE])
    if source.dim == Dim.PLACE:
        only = places
    read = _rows_and_the_rest if _asks_for_unset(asked, source.dim) else _rows
    tokens: dict[tuple[int, int], tuple[Any, ...] | None] = {}

    def group(start_ms: int, value: int, place: int) -> tuple[Any, ...] | None:
        """Where a window counts; None where a filter keeps it out."""
        pair = (value, place)
        if pair not in tokens:
            facts = names.facts(value, place)
            tokens[pair] = tuple(facts[name] for name in asked.dimensions) if all(keep(facts) for _, keep in keeps) else None
        values = tokens[pair]
        return None if values is None else (_bucket(asked.granularity, start_ms, range_ms[0]), *values)

    groups: dict[tuple[Any, ...], Sums] = {}
    durations: dict[tuple[Any, ...], list[Durations]] = {}
    columns = _columns(asked)
    by_window = asked.granularity is not None
    for span in spans if only != [] and places != [] else []:
        for start_ms, value, place, *amounts in read(_Part(connection, account, span, columns, by_window), source, only, places):
            # A shadow is nobody's request.
            if amounts[0] and (found := group(start_ms, value, place)) is not None:
                known = groups.get(found)
                groups[found] = tuple(amounts) if known is None else tuple(map(add, known, amounts))
        if wants_durations:
            for start_ms, value, *histograms in queries.durations_of(connection, account, source.dim, span, only):
                of_place = source.dim == Dim.PLACE
                if (found := group(start_ms, 0 if of_place else value, value if of_place else 0)) in groups:
                    durations.setdefault(found, []).append((histograms[0], histograms[1]))
    if not groups and asked.granularity is None and not asked.dimensions:
        groups = {(0,): (0,) * len(columns)}
    metric = _metric(columns, durations)
    ordered = _limited(_ordered(asked, list(groups.items()), metric), asked)
    shown = ordered[: asked.limit]
    return [_shown(asked, place, sums, metric, names, provider_name) for place, sums in shown], len(ordered), warnings


class _Noting(dict[str, int]):
    """Has whatever is looked for."""

    def __missing__(self, name: str) -> int:
        self[name] = 1
        return 1


def _columns(asked: Query) -> tuple[str, ...]:
    """The sums that the metrics are made of, requests first."""
    noted = _Noting(requests=1)
    for name in asked.metrics:
        if name in METRICS:
            METRICS[name].of(noted)
    return tuple(noted)


def _source(fields: set[str], wants_durations: bool) -> _Source:
    dims = [OF_DIM[field] for field in fields if field in OF_DIM]
    is_pair = bool(dims) and bool(fields & set(OF_PLACE))
    dim = dims[0] if dims else Dim.PLACE if fields else Dim.TOTAL
    finest = Res.DAY if is_pair else WITH_DURATIONS[dim] if wants_durations else Res.MINUTE
    return _Source(dim, is_pair, finest)


def _spans(granularity: str | None, source: _Source, range_ms: tuple[int, int], now_ms: int, warnings: list[str]) -> list[Span]:
    """The windows that make up the range, none longer than the granularity, widened where shorter ones are no longer kept."""
    coarsest = GRANULARITIES[granularity] if granularity else Res.MONTH
    first, end = range_ms
    finest = source.finest
    for res, kept_ms in KEPT_MS.items():
        if first < now_ms - kept_ms + STEP_MS and finest <= res:
            finest = res + 1
    if finest > coarsest:
        raise invalid(
            f"granularity: {granularity} is kept for {KEPT_MS[coarsest] // DAY_MS} days; "
            "a later time_range.start or a coarser granularity is expected"
        )
    spans = windows(first, end, finest, coarsest, now_ms)
    if not spans:
        # All of it lies ahead.
        return []
    widened = (spans[0][1], spans[-1][2])
    if widened[0] < first or (widened[1] > end and end < now_ms):
        warnings.append(f"time_range was widened to whole windows that are kept: {_moment(widened[0])} to {_moment(widened[1])}")
    return spans


def _rows(part: _Part, source: _Source, only: list[int] | None, places: list[int] | None) -> Iterator[tuple[Any, ...]]:
    """Start, value, place and sums; added up over the span where no granularity asks for its windows."""
    connection, account, span, columns, by_window = part
    if source.is_pair:
        starts = list(starts_of(span))
        return queries.pair_sums(connection, account, source.dim, span, columns, by_window, starts, only, places)
    rows = queries.rollup_sums(connection, account, source.dim, span, columns, by_window, only)
    if source.dim == Dim.PLACE:
        return ((start, 0, val, *sums) for start, val, *sums in rows)
    return ((start, val, 0, *sums) for start, val, *sums in rows)


def _rows_and_the_rest(part: _Part, source: _Source, only: list[int] | None, places: list[int] | None) -> Iterator[tuple[Any, ...]]:
    """The same, and behind them what is in all requests and not in these: the sums of those that have no such value."""
    everything = _Source(Dim.PLACE if source.is_pair else Dim.TOTAL, False, source.finest)
    rest = {(start, place): tuple(amounts) for start, _, place, *amounts in _rows(part, everything, places, None)}
    for row in _rows(part, source, None, places):
        start, value, place, *amounts = row
        rest[start, place] = tuple(map(sub, rest[start, place], amounts))
        if only is None or value in only:
            yield row
    for (start, place), left in rest.items():
        yield (start, UNSET, place, *left)


def _bucket(granularity: str | None, start_ms: int, first_ms: int) -> int:
    match granularity:
        case None:
            return 0
        case "minute":
            return start_ms
        case "week":
            # Day 0 was a Thursday.
            day = start_ms // DAY_MS
            return (day - (day + 3) % 7) * DAY_MS
        case _:
            return STARTS[GRANULARITIES[granularity]](start_ms)


class _Names:
    """What the numbers in rollups stand for."""

    def __init__(self, connection: sqlite3.Connection, account: int, source: _Source, fields: set[str]) -> None:
        self.workspace = queries.account_name(connection, account)
        self._dim = source.dim
        self._places = queries.usage_places(connection) if fields & set(OF_PLACE) else {}
        kind = KINDS.get(source.dim)
        self._names = queries.usage_names(connection, kind) if kind else {}
        self._owners = {Dim.TEAM: "team", Dim.USER: "user"}.get(source.dim)
        self._owner_names = queries.owner_names(connection, self._owners) if self._owners else {}
        keys = queries.keys_of_account(connection, account) if source.dim == Dim.KEY else []
        self.key_names = {id: name for id, name, _ in keys}
        self.key_ids = {hash: id for id, _, hash in keys}

    def facts(self, value: int, place: int) -> dict[str, Any]:
        """The value in each dimension, as filters compare it. Keys are numbers there."""
        model, provider, endpoint = self._places.get(place, ("", "", 0))
        name, part = self._names.get(value, ("", ""))
        facts = {"model": model, "provider": provider, "endpoint": str(endpoint), "workspace": self.workspace}
        match self._dim:
            case Dim.KEY:
                facts["api_key_id"] = value  # type: ignore[assignment]
            case Dim.TEAM | Dim.USER:
                facts[str(self._owners)] = "" if value == UNSET else self._owner_names.get(value, str(value))
            case Dim.ARM:
                facts |= {"split": name, "arm": part}
            case Dim.APP | Dim.PRESET:
                facts[KINDS[self._dim]] = name
        return facts

    def places(self, keeps: Sequence[Callable[[dict[str, Any]], bool]]) -> list[int] | None:
        """The numbers of the places that are kept; None where all are."""
        if not keeps:
            return None
        facts = {
            id: {"model": model, "provider": provider, "endpoint": str(endpoint)}
            for id, (model, provider, endpoint) in self._places.items()
        }
        return [id for id, of_place in facts.items() if all(keep(of_place) for keep in keeps)]

    def values(self, wanted: Container[str]) -> list[int]:
        """The numbers of those with such names."""
        named = self._owner_names.items() if self._owners else ((id, name) for id, (name, _) in self._names.items())
        return [id for id, name in named if name in wanted]


def _only(asked: Query, source: _Source, names: _Names) -> list[int] | None:
    """The values that a filter names, so that those of others are not read; None when none does."""
    for filter in asked.filters:
        if filter.operator in ("eq", "in") and not filter.include_unset:
            if filter.field == "api_key_id":
                return sorted({key for value in _values(filter) if (key := _key(value, names)) is not None})
            if filter.field in OF_DIM and filter.field != "arm":
                return names.values({str(value) for value in _values(filter)})
    return None


def _values(filter: Filter) -> list[str | int | float]:
    return filter.value if isinstance(filter.value, list) else [filter.value]


def _key(value: str | float, names: _Names) -> int | None:
    """A key by its number or its hash."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else names.key_ids.get(text)


def _predicate(filter: Filter, names: _Names, path: str, warnings: list[str]) -> Callable[[dict[str, Any]], bool]:
    wanted: set[Any] = set()
    for value in _values(filter):
        if filter.field != "api_key_id":
            wanted.add(str(value))
        elif (key := _key(value, names)) is not None:
            wanted.add(key)
        else:
            warnings.append(f"{path}.value: there is no key {str(value)[:70]!r} in this account")
    negative = filter.operator in ("neq", "not_in")
    field = filter.field
    if filter.include_unset:
        return lambda facts: not facts[field] or (facts[field] in wanted) != negative
    return lambda facts: (facts[field] in wanted) != negative


Place = tuple[Any, ...]
"""Where a window begins, then the values of the dimensions."""
Of = Callable[[str, Place, Sums], int | float | None]
"""The value of a metric by its name, of a place and its sums."""
_Found = list[tuple[Place, Sums]]


def _metric(columns: Sequence[str], durations: Mapping[Place, list[Durations]]) -> Of:
    shares = tuple(dict.fromkeys(share for _, _, share in PERCENTILES.values()))
    known: dict[Place, list[dict[float, float | None]]] = {}

    def of(name: str, place: Place, sums: Sums) -> int | float | None:
        if name not in PERCENTILES:
            return METRICS[name].of(dict(zip(columns, sums, strict=True)))
        if place not in known:
            known[place] = [dict(zip(shares, values, strict=True)) for _, values in quantiles(durations.get(place, ()), shares)]
        _, side, share = PERCENTILES[name]
        return known[place][side][share]

    return of


def _ordered(asked: Query, found: _Found, metric: Of) -> _Found:
    """By time and then the first metric, largest first, unless told otherwise."""

    def by(name: str) -> Callable[[tuple[Place, Sums]], float]:
        def key(group: tuple[Place, Sums]) -> float:
            value = metric(name, *group)
            return -1 if value is None else value

        return key

    first = by(asked.metrics[0])
    # Without a granularity everything begins at 0.
    found.sort(key=lambda group: (group[0][0], -first(group), *map(str, group[0][1:])))
    if (order := asked.order_by) is not None:
        descending = order.direction == "desc"
        if order.field == "date":
            found.sort(key=lambda group: group[0][0], reverse=descending)
        elif order.field in asked.dimensions:
            index = asked.dimensions.index(order.field) + 1
            found.sort(key=lambda group: str(group[0][index]), reverse=descending)
        else:
            found.sort(key=by(order.field), reverse=descending)
    return found


def _limited(found: _Found, asked: Query) -> _Found:
    if asked.group_limit is None or not asked.dimensions:
        return found
    kept, counts = [], {}  # type: ignore[var-annotated]
    for place, sums in found:
        counts[place[1:]] = counts.get(place[1:], 0) + 1
        if counts[place[1:]] <= asked.group_limit:
            kept.append((place, sums))
    return kept


def _shown(asked: Query, place: Place, sums: Sums, metric: Of, names: _Names, provider_name: Callable[[str], str]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if asked.granularity:
        shown["date"] = _moment(place[0]) if asked.granularity in ("minute", "hour") else day_of(place[0] // DAY_MS).isoformat()
    for name, value in zip(asked.dimensions, place[1:], strict=True):
        if name == "api_key_id":
            shown[name] = names.key_names.get(value, str(value))
        else:
            shown[name] = provider_name(value) if name == "provider" else value
    for name in asked.metrics:
        value = metric(name, place, sums)
        is_money = name in METRICS and METRICS[name].format == "currency"
        shown[name] = usd_number(int(value or 0)) if is_money else value
    return shown


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
