"""`/admin/usage/series`, `latency` and `errors`: what happened over a time, by step and by what it was about, from the rollups.

What no rollup answers is refused (422) with what they do answer; rows are never counted for a chart. Parts add up to the totals: what is
not among the first `top` values, or not the caller's to see, is in `other`.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.control import measures
from fairlead.control.db import figures, queries, scopes, search
from fairlead.control.db.queries import MOST_INTEGER, ROLLUP_SUMS, Dim, Res, Span
from fairlead.control.db.rollups import Durations, quantiles, starts_of
from fairlead.control.desk import Call
from fairlead.control.measures import Sums
from fairlead.control.money import usd
from fairlead.control.offer import Offer
from fairlead.control.operator import cost, sight, span
from fairlead.control.operator.shapes import Shape
from fairlead.control.operator.shared import shared
from fairlead.control.operator.span import Range
from fairlead.control.replies import Refusal, csv_reply, invalid, not_found, reply, rfc3339

Text = Annotated[str, Meta(min_length=1, max_length=300)]
Id = Annotated[int, Meta(ge=1, le=MOST_INTEGER)]
Group = Literal["model", "provider", "endpoint", "key", "team", "user", "app", "arm", "preset", "account"]
OF_PLACE = frozenset({"model", "provider", "endpoint"})
_DIMS = {"key": Dim.KEY, "team": Dim.TEAM, "user": Dim.USER, "app": Dim.APP, "arm": Dim.ARM, "preset": Dim.PRESET}
ALLOWED = (
    "model, provider and endpoint go together, and with key by day or month; key, team, user, app, arm and preset go alone;"
    " account goes with all"
)


class Metric(NamedTuple):
    """A figure of sums; money is in nano-dollars until it is shown."""

    of: Callable[[Sums], int | float | None]
    is_money: bool = False


METRICS: dict[str, Metric] = {
    "cost": Metric(lambda row: row["charged_nanousd"], True),
    "upstream_cost": Metric(lambda row: row["upstream_cost_nanousd"], True),
    "cache_saved": Metric(lambda row: row["saved_nanousd"], True),
    "requests": Metric(lambda row: row["requests"]),
    "errors": Metric(lambda row: row["failed"]),
    "retried": Metric(lambda row: row["retried"]),
    "tokens": Metric(measures.tokens),
    "prompt_tokens": Metric(measures.prompt),
    "completion_tokens": Metric(lambda row: row["completion_tokens"]),
    "reasoning_tokens": Metric(lambda row: row["reasoning_tokens"]),
    "cached_tokens": Metric(lambda row: row["cache_read_tokens"]),
    "error_share": Metric(measures.error_share),
    "cached_share": Metric(measures.cached_share),
    "tokens_per_second": Metric(measures.tokens_per_second),
}
SAVED = "cache_saved"
"""By the present prices: what cached tokens would have cost as others, less what keeping them cost more. Known by place alone: null in what
is summed by anything else."""


class Filters(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it is about. All that are given must hold."""

    account: Id | None = None
    model: Text | None = None
    provider: Text | None = None
    endpoint: Id | None = None
    key: Id | None = None
    team: Id | None = None
    user: Id | None = None
    app: Text | None = None
    arm: Text | None = None
    """`split/arm`."""
    preset: Text | None = None
    """As the request named it; several in a row are one name, such as `a,b`."""
    from_: datetime | None = msgspec.field(name="from", default=None)
    """Absent: a day before `to`."""
    to: datetime | None = None
    """Absent: now."""
    zone: Text = "UTC"
    step: Literal["auto", "minute", "quarter", "hour", "day", "month"] = "auto"


class SeriesQuery(Filters):
    """`metrics` are separated by commas; the first one says which groups are the largest."""

    metrics: Text = "cost,requests"
    group: Group | None = None
    top: Annotated[int, Meta(ge=1, le=50)] = 8
    compare: Literal["previous"] | None = None


class LatencyQuery(Filters):
    """`ttft`: to the first content of a stream; `total`: a whole completed call."""

    metric: Literal["ttft", "total"] = "ttft"
    p: Text = "50,90,99"
    """Percentiles, separated by commas."""
    group: Literal["model", "provider", "endpoint"] | None = None
    top: Annotated[int, Meta(ge=1, le=50)] = 8


class ErrorsQuery(Filters):
    """Errors by class."""

    group: Literal["model", "provider", "endpoint"] | None = None


class RangeShown(Shape):
    """What was looked at: `zone` is UTC where windows of that age are no longer kept in parts."""

    from_: str = msgspec.field(name="from")
    to: str
    step: str
    zone: str
    complete_until: str


Value = int | float | str | None
"""Money is a decimal string of dollars; null: there was nothing to divide by, or too little to measure."""


class Series(Shape):
    """A line of a chart."""

    id: str
    label: str
    points: list[list[Value]]
    """The moment at which the bucket begins, and the value of each metric."""
    totals: dict[str, Value]
    previous: dict[str, Value] | None = None


class SeriesReply(Shape):
    """A reply."""

    range: RangeShown
    metrics: list[str]
    series: list[Series]
    other: Series | None
    totals: dict[str, Value]
    previous: dict[str, Value] | None
    took_ms: float


class LatencySeries(Shape):
    """Percentiles over time, in milliseconds; each is at most 5 % off."""

    id: str
    label: str
    points: list[list[Value]]
    """The moment, each percentile, and how many were measured."""
    totals: list[Value]
    """Of the whole time, and how many."""


class LatencyReply(Shape):
    """A reply."""

    range: RangeShown
    percentiles: list[float]
    series: list[LatencySeries]
    took_ms: float


class ErrorLine(Shape):
    """Errors of a class."""

    id: str
    """What it is about; empty without `group`."""
    error: str
    count: int


class ErrorsReply(Shape):
    """A reply."""

    range: RangeShown
    data: list[ErrorLine]


# --- routes -----------------------------------------------------------------------------------------------------------


@shared
async def series(call: Call) -> Response:
    """Figures over time, in all and by group, against the time before; `Accept: text/csv` for a spreadsheet."""
    asked, began = call.asked(SeriesQuery), time.perf_counter()
    metrics = _names(asked.metrics, METRICS, "metrics")
    fields = {name for name in (*_DIMS, *OF_PLACE) if name == asked.group or getattr(asked, name) is not None}
    source = _source(fields, of_places=SAVED in metrics)
    times = _range(call, asked, source.finest)
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        look = _Look(connection, call, asked, source, times)
        found = look.sums(times, asked.group)
        past = look.sums(span.before(times), asked.group) if asked.compare else None
        return _charted(look, metrics, asked, times, found, past)

    shown = await call.desk.database.look(work)
    if call.wants_csv:
        return _csv(shown, metrics)
    return reply({"range": _shown(times, call), "metrics": metrics, **shown, "took_ms": _since(began)})


@shared
async def latency(call: Call) -> Response:
    """Percentiles of latency over time, by hours, days or months."""
    asked, began = call.asked(LatencyQuery), time.perf_counter()
    percentiles = _percentiles(asked.p)
    source = _places_alone(asked)
    times = _range(call, asked, Res.HOUR)
    side = 0 if asked.metric == "ttft" else 1
    shares = [percent / 100 for percent in percentiles]
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> list[dict[str, Any]]:
        look = _Look(connection, call, asked, source, times)
        groups: dict[str, list[list[Durations]]] = {}
        for bucket in times.buckets:
            for one in times.spans(bucket):
                for id, durations in look.durations(one, asked.group):
                    groups.setdefault(id, [[] for _ in times.buckets])[bucket].append(durations)
        counts = {id: quantiles([each for bucket in found for each in bucket], ())[side][0] for id, found in groups.items()}
        largest = sorted((id for id in groups if counts[id]), key=lambda id: (-counts[id], id))[: asked.top]
        return [_latency_series(id, look.label(asked.group, id), groups[id], times, side, shares) for id in largest]

    found = await call.desk.database.look(work)
    return reply({"range": _shown(times, call), "percentiles": percentiles, "series": found, "took_ms": _since(began)})


@shared
async def errors(call: Call) -> Response:
    """How many generations ended with which error, by hours, days or months."""
    asked = call.asked(ErrorsQuery)
    source = _places_alone(asked)
    times = _range(call, asked, Res.HOUR)
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> dict[tuple[str, str], int]:
        look, counts = _Look(connection, call, asked, source, times), dict[tuple[str, str], int]()
        for one in times.whole.spans(0):
            for id, error, n in look.errors(one, asked.group):
                counts[id, error] = counts.get((id, error), 0) + n
        return counts

    counts = await call.desk.database.look(work)
    lines = [{"id": id, "error": error, "count": n} for (id, error), n in sorted(counts.items(), key=lambda item: -item[1])]
    return reply({"range": _shown(times, call), "data": lines})


# --- what is asked ----------------------------------------------------------------------------------------------------


class _Source(NamedTuple):
    """Which rollup answers; `dim` None: pairs of key and place."""

    dim: int | None
    finest: int

    @property
    def has_places(self) -> bool:
        """Whether it tells where a request went."""
        return self.dim in (Dim.PLACE, None)


def _source(fields: set[str], *, of_places: bool = False) -> _Source:
    """`of_places`: rather sums by place, where both answer."""
    if not fields and not of_places:
        return _Source(Dim.TOTAL, Res.MINUTE)
    if fields <= OF_PLACE:
        return _Source(Dim.PLACE, Res.MINUTE)
    if len(fields) == 1:
        return _Source(_DIMS[fields.pop()], Res.MINUTE)
    if fields <= {"key", *OF_PLACE}:
        return _Source(None, Res.DAY)
    raise Refusal(422, "unprocessable", f"these are not summed together: {', '.join(sorted(fields))}; {ALLOWED}", path="group")


def _places_alone(asked: Filters) -> _Source:
    if given := [name for name in _DIMS if getattr(asked, name) is not None]:
        raise Refusal(422, "unprocessable", f"this is kept by model, provider and endpoint alone, not by {given[0]}", path=given[0])
    return _Source(Dim.PLACE, Res.HOUR)


def _range(call: Call, asked: Filters, finest: int) -> Range:
    return span.asked(asked.from_, asked.to, asked.step, asked.zone, call.desk.now_ms(), finest)


def _names(text: str, known: Mapping[str, Any], path: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known or names.count(name) > 1:
            raise invalid(f"{path}: {', '.join(known)} are known, each once; got {name[:40]!r}", path=path)
    return names


def _percentiles(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [0.0]
    if not 0 < len(found) <= 10 or not all(0 < each < 100 for each in found):
        raise invalid("p: up to ten numbers between 0 and 100 are expected, such as 50,90,99", path="p")
    return found


# --- what is found ----------------------------------------------------------------------------------------------------

ROW = (*ROLLUP_SUMS, "saved_nanousd")
Found = list[dict[str, list[int]]]
"""For each bucket: the id of a group → sums in the order of `ROW`."""
HIDDEN = "\0other"
"""The id of what the caller may not tell apart."""


class _Look:
    """One query's look at the rollups."""

    def __init__(self, connection: sqlite3.Connection, call: Call, asked: Filters, source: _Source, times: Range) -> None:
        self._connection, self._asked, self._source, self._offer = connection, asked, source, call.desk.offer
        who = call.principal
        if not who.sees_all and asked.account not in (None, who.account):
            raise not_found("account: there is no such account")
        only = asked.account if who.sees_all else who.account
        self._accounts = figures.accounts(connection) if only is None else [only]
        self._places = queries.usage_places(connection)
        self._apps = {id: name for id, (name, _) in queries.usage_names(connection, "app").items()}
        self._arms = {id: f"{name}/{part}" for id, (name, part) in queries.usage_names(connection, "arm").items()}
        self._presets = {id: name for id, (name, _) in queries.usage_names(connection, "preset").items()}
        self._labels: dict[str, dict[str, str]] = {}
        self._saved = _savings(call.desk.offer)
        self._seen = {kind: _seen(connection, call, kind) for kind in ("key", "team", "user")}
        if source.dim == Dim.APP:
            self._seen["app"] = _seen_apps(connection, call, times)
        for kind, seen in self._seen.items():
            if seen is not None and getattr(asked, kind) is not None and str(getattr(asked, kind)) not in seen:
                raise not_found(f"{kind}: there is no such {kind}")

    def sums(self, times: Range, group: str | None) -> Found:
        """By bucket and group."""
        found: Found = []
        for bucket in times.buckets:
            by_group: dict[str, list[int]] = {}
            for one in times.spans(bucket):
                for account, key, val, *sums in self._rows(one):
                    # A shadow is nobody's request, but what it cost was spent.
                    if (facts := self._facts(account, key, val)) is None:
                        continue
                    saved = self._saved_of(val, sums)
                    id = self._id(group, facts)
                    known = by_group.get(id)
                    by_group[id] = [*sums, saved] if known is None else [a + b for a, b in zip(known, (*sums, saved), strict=True)]
            found.append(by_group)
        return found

    def durations(self, one: Span, group: str | None) -> Iterator[tuple[str, Durations]]:
        """Group and histograms."""
        for account in self._accounts:
            for _, place, *found in queries.durations_of(self._connection, account, Dim.PLACE, one):
                if (facts := self._facts(account, 0, place)) is not None:
                    yield self._id(group, facts), (found[0], found[1])

    def errors(self, one: Span, group: str | None) -> Iterator[tuple[str, str, int]]:
        """Group, class and count."""
        for account in self._accounts:
            for place, error, n in figures.errors(self._connection, account, one):
                if (facts := self._facts(account, 0, place)) is not None:
                    yield self._id(group, facts), error, n

    def label(self, group: str | None, id: str) -> str:
        """What a group is called."""
        match group:
            case None:
                return "all"
            case "provider":
                return self._offer.provider_name(id) if id else "none"
            case "endpoint":
                model, provider = next(((m, p) for m, p, endpoint in self._places.values() if str(endpoint) == id), ("", ""))
                return f"{model} at {self._offer.provider_name(provider)}" if model else id
            case "key" | "team" | "user" | "account":
                if group not in self._labels:
                    self._labels[group] = _labels(self._connection, group)
                return self._labels[group].get(id, id)
            case _:
                return id

    def values(self, metrics: list[str], sums: list[int]) -> dict[str, Any]:
        """The metrics of a sum, as they are shown."""
        named, shown = _named(sums), dict[str, Any]()
        for name in metrics:
            value = METRICS[name].of(named)
            if name == SAVED and not self._source.has_places:
                value = None
            shown[name] = usd(int(value)) if METRICS[name].is_money and value is not None else value
        return shown

    def _rows(self, one: Span) -> Iterator[tuple[Any, ...]]:
        """Account, key, value and sums."""
        for account in self._accounts:
            if self._source.dim is None:
                keys = None if self._asked.key is None else [self._asked.key]
                starts = list(starts_of(one))
                for _, key, place, *sums in queries.pair_sums(
                    self._connection, account, Dim.KEY, one, ROLLUP_SUMS, by_window=False, starts=starts, only=keys
                ):
                    yield (account, key, place, *sums)
            else:
                for _, val, *sums in queries.rollup_sums(self._connection, account, self._source.dim, one, ROLLUP_SUMS, by_window=False):
                    yield (account, 0, val, *sums)

    def _facts(self, account: int, key: int, val: int) -> dict[str, str] | None:
        """The value in each dimension, as ids; None where a filter does not hold."""
        facts = {"account": str(account)}
        match self._source.dim:
            case Dim.PLACE | None:
                model, provider, endpoint = self._places.get(val, ("", "", 0))
                facts |= {"model": model, "provider": provider, "endpoint": str(endpoint), "key": str(key)}
            case Dim.APP:
                facts["app"] = self._apps.get(val, "")
            case Dim.ARM:
                facts["arm"] = self._arms.get(val, "")
            case Dim.PRESET:
                facts["preset"] = self._presets.get(val, "")
            case Dim.TOTAL:
                pass
            case dim:
                facts[next(name for name, known in _DIMS.items() if known == dim)] = str(val)
        for name, value in facts.items():
            wanted = getattr(self._asked, name)
            if wanted is not None and str(wanted) != value:
                return None
        return facts

    def _id(self, group: str | None, facts: dict[str, str]) -> str:
        if group is None:
            return ""
        seen = self._seen.get(group)
        return facts[group] if seen is None or facts[group] in seen else HIDDEN

    def _saved_of(self, val: int, sums: list[int]) -> int:
        if not self._source.has_places:
            return 0
        read, write = self._saved.get(self._places.get(val, ("", "", 0))[2], (0, 0))
        return (sums[_READ] * read + sums[_WRITE] * write) // cost.PICO_PER_NANO


_READ, _WRITE = ROLLUP_SUMS.index("cache_read_tokens"), ROLLUP_SUMS.index("cache_write_tokens")


def _savings(offer: Offer) -> dict[int, tuple[int, int]]:
    """Endpoint → pico-dollars that a token read from the cache saves, and that one written to it saves (less than nothing, mostly)."""
    found = {}
    for model in offer.models:
        for endpoint in model.endpoints:
            rates = cost.usual(endpoint.price)
            found[endpoint.id] = (rates["prompt"] - rates["cache_read"], rates["prompt"] - rates["cache_write"])
    return found


def _seen(connection: sqlite3.Connection, call: Call, kind: str) -> set[str] | None:
    """The ids of a kind that the caller sees; None: all."""
    if call.principal.sees_all:
        return None
    if kind == "key":
        return {str(key.id) for key in queries.keys(connection, call.principal.account) if sight.sees_key(call.principal, key)}
    return {str(scope.id) for scope in scopes.scopes(connection, kind) if sight.sees_scope(call.principal, scope)}


def _seen_apps(connection: sqlite3.Connection, call: Call, times: Range) -> set[str] | None:
    """The apps of requests that the caller sees; None: all. What an app is called is said by requests alone, and a request of another team
    may say anything."""
    who = call.principal
    if who.sees_all:
        return None
    of, id = ("team", who.team) if who.team else ("user", who.user)
    return search.apps(connection, of, id, who.account, times.edges[0], times.edges[-1])


def _labels(connection: sqlite3.Connection, kind: str) -> dict[str, str]:
    if kind == "key":
        return {str(id): name for id, (name, _) in queries.key_labels(connection).items()}
    return {str(scope.id): scope.name for scope in scopes.scopes(connection, kind)}


# --- what is shown ----------------------------------------------------------------------------------------------------


def _charted(look: _Look, metrics: list[str], asked: SeriesQuery, times: Range, found: Found, past: Found | None) -> dict[str, Any]:
    whole, before = _totals(found), None if past is None else _totals(past)
    first = METRICS[metrics[0]]

    def size(id: str) -> float:
        value = first.of(_named(whole[id]))
        return -1 if value is None else value

    largest = sorted((id for id in whole if id != HIDDEN), key=lambda id: (-size(id), id))[: asked.top if asked.group else 1]
    rest = [id for id in whole if id not in largest]
    lines = [_series(look, metrics, asked.group, [id], times, found, whole, before) for id in largest]
    other = _series(look, metrics, asked.group, rest, times, found, whole, before) | {"id": "other", "label": "Other"} if rest else None
    return {
        "series": lines,
        "other": other,
        "totals": look.values(metrics, _added(whole.values())),
        "previous": None if before is None else look.values(metrics, _added(before.values())),
    }


def _series(
    look: _Look,
    metrics: list[str],
    group: str | None,
    ids: list[str],
    times: Range,
    found: Found,
    whole: dict[str, list[int]],
    before: dict[str, list[int]] | None,
) -> dict[str, Any]:
    points = []
    for bucket in times.buckets:
        sums = _added(found[bucket][id] for id in ids if id in found[bucket])
        points.append([rfc3339(times.edges[bucket]), *look.values(metrics, sums).values()])
    return {
        "id": ids[0],
        "label": look.label(group, ids[0]),
        "points": points,
        "totals": look.values(metrics, _added(whole[id] for id in ids)),
        "previous": None if before is None else look.values(metrics, _added(before[id] for id in ids if id in before)),
    }


def _totals(found: Found) -> dict[str, list[int]]:
    whole: dict[str, list[int]] = {}
    for by_group in found:
        for id, sums in by_group.items():
            whole[id] = sums if id not in whole else [a + b for a, b in zip(whole[id], sums, strict=True)]
    return whole


def _added(parts: Any) -> list[int]:
    return [sum(column) for column in zip(*parts, strict=True)] or [0] * len(ROW)


def _named(sums: list[int]) -> Sums:
    return dict(zip(ROW, sums, strict=True))


def _latency_series(id: str, label: str, found: list[list[Durations]], times: Range, side: int, shares: list[float]) -> dict[str, Any]:
    def measured(durations: list[Durations]) -> list[float | int | None]:
        count, values = quantiles(durations, shares)[side]
        return [*values, count]

    points = [[rfc3339(times.edges[bucket]), *measured(found[bucket])] for bucket in times.buckets]
    return {"id": id, "label": label, "points": points, "totals": measured([each for bucket in found for each in bucket])}


def _csv(shown: dict[str, Any], metrics: list[str]) -> Response:
    lines = [*shown["series"], *([shown["other"]] if shown["other"] else [])]
    return csv_reply(
        [["at", "id", "label", *metrics], *([p[0], one["id"], one["label"], *p[1:]] for one in lines for p in one["points"])], "usage"
    )


def _shown(times: Range, call: Call) -> dict[str, Any]:
    return {
        "from": rfc3339(times.edges[0]),
        "to": rfc3339(times.edges[-1]),
        "step": times.step,
        "zone": times.zone,
        "complete_until": rfc3339(call.desk.now_ms()),
    }


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
