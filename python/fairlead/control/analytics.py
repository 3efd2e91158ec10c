"""`/analytics/meta` and `/analytics/query`: sums of the caller's account by time and up to two dimensions, in OpenRouter's shape.

A query is answered from the rollups or not at all: what they cannot answer is refused with what they can.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import DAY_MS, ROLLUP_SUMS, Dim, Res, Span
from fairlead.control.db.rollups import KEPT_MS, STARTS, Sums, day_start, month_start, windows
from fairlead.control.desk import Call
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


def _prompt(sums: Mapping[str, int]) -> int:
    return sums["prompt_tokens"] + sums["cache_read_tokens"] + sums["cache_write_tokens"]


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


METRICS = {
    "total_usage": Metric("Total usage", "currency", False, lambda sums: sums["charged_nanousd"]),
    "request_count": Metric("Requests", "number", False, lambda sums: sums["requests"]),
    "tokens_total": Metric("Tokens", "number", False, lambda sums: _prompt(sums) + sums["completion_tokens"]),
    "tokens_prompt": Metric("Prompt tokens", "number", False, _prompt),
    "tokens_completion": Metric("Completion tokens", "number", False, lambda sums: sums["completion_tokens"]),
    "reasoning_tokens": Metric("Reasoning tokens", "number", False, lambda sums: sums["reasoning_tokens"]),
    "cached_tokens": Metric("Cached tokens", "number", False, lambda sums: sums["cache_read_tokens"]),
    "cache_hit_rate": Metric("Cache hit rate", "percent", True, lambda sums: _ratio(sums["cache_read_tokens"], _prompt(sums))),
    "failed_count": Metric("Failed requests", "number", False, lambda sums: sums["failed"]),
    "error_rate": Metric("Error rate", "percent", True, lambda sums: _ratio(sums["failed"], sums["requests"])),
    "retried_count": Metric("Requests tried again", "number", False, lambda sums: sums["retried"]),
    "throughput": Metric(
        "Tokens per second after the first", "throughput", True, lambda sums: _ratio(sums["streamed_tokens"] * 10**6, sums["streaming_us"])
    ),
}
OF_PLACE = ("model", "provider", "endpoint")
DIMENSIONS = {
    "model": "Model",
    "provider": "Provider",
    "endpoint": "Endpoint",
    "api_key_id": "API key",
    "app": "App",
    "workspace": "Workspace",
}
GRANULARITIES = {"minute": Res.MINUTE, "hour": Res.HOUR, "day": Res.DAY, "week": Res.DAY, "month": Res.MONTH}
"""How long the windows of a reply are → the longest that it may be added up from."""
OPERATORS = {"eq": "scalar", "neq": "scalar", "in": "array", "not_in": "array"}
_ALLOWED = (
    "model, provider and endpoint go together and with api_key_id (then by day, week or month); app goes alone; workspace goes with all"
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
    """Keeps rows by a dimension."""

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
    range_ms = _range(asked.time_range, call.desk.now_ms())
    began = time.perf_counter()
    await call.caught_up()
    account = call.principal.account
    rows, warnings = await call.desk.database.read(
        lambda connection: answer(connection, account, asked, range_ms, call.desk.now_ms(), call.desk.offer.provider_name)
    )
    limit = min(asked.limit, MOST_ROWS)
    metadata = {
        "query_time_ms": round((time.perf_counter() - began) * 1000, 3),
        "row_count": min(len(rows), limit),
        "truncated": len(rows) > limit,
    }
    return reply({"data": {"data": rows[:limit], "metadata": metadata} | ({"warnings": warnings} if warnings else {})})


def _check(asked: Query) -> None:
    for member in ("classifier_dimensions", "classifier_filters"):
        if getattr(asked, member) is not None:
            raise invalid(f"{member}: there are no classifiers here")
    if not asked.metrics:
        raise invalid(f"metrics: one or more of {', '.join(METRICS)} are expected")
    for member, names, known in (("metrics", asked.metrics, METRICS), ("dimensions", asked.dimensions, DIMENSIONS)):
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
    fields_used = {*asked.dimensions, *(filter.field for filter in asked.filters)} - {"workspace"}
    if "app" in fields_used and len(fields_used) > 1:
        raise invalid(f"dimensions: these are not summed together; {_ALLOWED}")
    if "api_key_id" in fields_used and len(fields_used) > 1 and asked.granularity in ("minute", "hour"):
        raise invalid(f"granularity: day, week or month is expected with these dimensions and filters; {_ALLOWED}")


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
        if moment.tzinfo is None:
            raise invalid(f"time_range.{name}: an offset is missing, such as the Z in 2027-01-01T00:00:00Z")
        moments.append(max(0, round(moment.astimezone(UTC).timestamp() * 1000)))
    if moments[0] >= moments[1]:
        raise invalid("time_range.end: a moment after time_range.start is expected")
    return moments[0], min(moments[1], month_start(now_ms + 32 * DAY_MS))


class _Source(NamedTuple):
    """Which table answers, and how fine its windows are."""

    dim: int | None
    """None for pairs of key and place."""
    finest: int


def answer(
    connection: sqlite3.Connection,
    account: int,
    asked: Query,
    range_ms: tuple[int, int],
    now_ms: int,
    provider_name: Callable[[str], str] = str,
) -> tuple[list[dict[str, Any]], list[str]]:
    """All rows of a query that was checked, in order, and what should be said about them."""
    fields = {*asked.dimensions, *(filter.field for filter in asked.filters)} - {"workspace"}
    source = _source(fields)
    warnings: list[str] = []
    spans = _spans(asked.granularity, source, range_ms, now_ms, warnings)
    names = _Names(connection, account, fields)
    filters = [_predicate(filter, names, f"filters[{index}]", warnings) for index, filter in enumerate(asked.filters)]
    keys = _keys(asked, names)
    groups: dict[tuple[Any, ...], list[Sums]] = {}
    tokens: dict[tuple[int, int], tuple[Any, ...] | None] = {}
    for span in spans if keys != set() else []:
        for start_ms, key, val, *amounts in _rows(connection, account, source, span, asked.granularity, keys):
            # A shadow is nobody's request.
            if not amounts[0]:
                continue
            pair = (key, val)
            if pair not in tokens:
                facts = names.facts(key, val)
                tokens[pair] = tuple(facts[name] for name in asked.dimensions) if all(keep(facts) for keep in filters) else None
            if (values := tokens[pair]) is not None:
                groups.setdefault((_bucket(asked.granularity, start_ms, range_ms[0]), *values), []).append(tuple(amounts))
    found = [(place, dict(zip(ROLLUP_SUMS, map(sum, zip(*parts, strict=True)), strict=True))) for place, parts in groups.items()]
    if not found and asked.granularity is None and not asked.dimensions:
        found = [((0,), dict.fromkeys(ROLLUP_SUMS, 0))]
    ordered = _limited(_ordered(asked, found), asked)
    return [_shown(asked, place, sums, names, provider_name) for place, sums in ordered], warnings


def _source(fields: set[str]) -> _Source:
    if "app" in fields:
        return _Source(Dim.APP, Res.MINUTE)
    if "api_key_id" in fields:
        return _Source(Dim.KEY, Res.MINUTE) if len(fields) == 1 else _Source(None, Res.DAY)
    return _Source(Dim.PLACE if fields else Dim.TOTAL, Res.MINUTE)


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
    spans = windows(first, end, finest, coarsest)
    widened = (spans[0][1], spans[-1][2])
    if widened[0] < first or (widened[1] > end and end < now_ms):
        warnings.append(f"time_range was widened to whole windows that are kept: {_moment(widened[0])} to {_moment(widened[1])}")
    return spans


def _rows(
    connection: sqlite3.Connection, account: int, source: _Source, span: Span, granularity: str | None, keys: set[int] | None
) -> Iterator[tuple[Any, ...]]:
    """Start, key, value and sums; added up over the span where no granularity asks for its windows."""
    if source.dim is None:
        return queries.pair_sums(connection, account, span, by_window=granularity is not None, keys=keys)
    key_first = source.dim == Dim.KEY
    rows = queries.rollup_sums(connection, account, source.dim, span, by_window=granularity is not None)
    return ((start, val, 0, *sums) if key_first else (start, 0, val, *sums) for start, val, *sums in rows)


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

    def __init__(self, connection: sqlite3.Connection, account: int, fields: set[str]) -> None:
        self.workspace = queries.account_name(connection, account)
        self._places = queries.usage_places(connection) if fields & set(OF_PLACE) else {}
        self._apps = queries.usage_names(connection, "app") if "app" in fields else {}
        keys = queries.keys_of_account(connection, account) if "api_key_id" in fields else []
        self.key_names = {id: name for id, name, _ in keys}
        self.key_ids = {hash: id for id, _, hash in keys}
        self._of_app = "app" in fields

    def facts(self, key: int, val: int) -> dict[str, Any]:
        """The value in each dimension, as filters compare it. Keys are numbers there."""
        model, provider, endpoint = self._places.get(val, ("", "", 0))
        app = self._apps.get(val, ("", ""))[0] if self._of_app else ""
        return {
            "model": model, "provider": provider, "endpoint": str(endpoint), "api_key_id": key, "app": app, "workspace": self.workspace,
        }  # fmt: skip


def _keys(asked: Query, names: _Names) -> set[int] | None:
    """The keys that a filter names, so that the pairs of others are not read; None when none does."""
    for filter in asked.filters:
        if filter.field == "api_key_id" and filter.operator in ("eq", "in"):
            return {key for value in _values(filter) if (key := _key(value, names)) is not None}
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


_Found = list[tuple[tuple[Any, ...], dict[str, int]]]


def _ordered(asked: Query, found: _Found) -> _Found:
    """By time and then the first metric, largest first, unless told otherwise."""

    def metric(name: str, sums: Mapping[str, int]) -> float:
        value = METRICS[name].of(sums)
        return -1 if value is None else value

    found.sort(key=lambda group: tuple(map(str, group[0][1:])))
    found.sort(key=lambda group: metric(asked.metrics[0], group[1]), reverse=True)
    if asked.granularity:
        found.sort(key=lambda group: group[0][0])
    if (order := asked.order_by) is not None:
        descending = order.direction == "desc"
        if order.field == "date":
            found.sort(key=lambda group: group[0][0], reverse=descending)
        elif order.field in asked.dimensions:
            index = asked.dimensions.index(order.field) + 1
            found.sort(key=lambda group: str(group[0][index]), reverse=descending)
        else:
            found.sort(key=lambda group: metric(order.field, group[1]), reverse=descending)
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


def _shown(
    asked: Query, place: Sequence[Any], sums: Mapping[str, int], names: _Names, provider_name: Callable[[str], str]
) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if asked.granularity:
        shown["date"] = _moment(place[0]) if asked.granularity in ("minute", "hour") else day_of(place[0] // DAY_MS).isoformat()
    for name, value in zip(asked.dimensions, place[1:], strict=True):
        if name == "api_key_id":
            shown[name] = names.key_names.get(value, str(value))
        else:
            shown[name] = provider_name(value) if name == "provider" else value
    for name in asked.metrics:
        metric = METRICS[name]
        value = metric.of(sums)
        shown[name] = usd_number(int(value or 0)) if metric.format == "currency" else value
    return shown


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
