"""`GET /admin/usage`: exact sums over whole days, by who called, what was called, or when; with percentiles of how long it took."""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from starlette.responses import Response

from fairlead.control.db import queries, rollups
from fairlead.control.db.queries import DAY_MS, SUMMED, Dim, Span
from fairlead.control.db.rollups import END_OF_TIME_MS, Durations, spans
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.replies import invalid, reply
from fairlead.control.windows import day_of

WHO = {"key": Dim.KEY, "team": Dim.TEAM, "user": Dim.USER, "app": Dim.APP, "preset": Dim.PRESET, "split": Dim.ARM, "shadow": Dim.SHADOW}
WHAT = ("model", "provider")
DAY = "day"
DEFAULT = ("key", "model", "provider")
# Of these there are no sums by what they called.
ALONE = ("user", "shadow", DAY)
# Nobody's requests, or some of the requests by intention: the others are not among their rows.
PARTIAL = (Dim.ARM, Dim.SHADOW)
WITH_DURATIONS = (Dim.TOTAL, Dim.PLACE, Dim.KEY, Dim.PRESET, Dim.ARM, Dim.SHADOW)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
UTC = "UTC"
ROWS, MOST_ROWS = 200, 100_000
FIRST_DAY, LAST_DAY = 0, 2**31

Sums = dict[str, int]


class Asked(NamedTuple):
    """What is to be summed up."""

    by: tuple[str, ...]
    """One of `WHO`, or none, then any of `WHAT`; or the day alone."""
    first_day: int
    last_day: int
    """Numbers of days; both are included."""
    limit: int = MOST_ROWS
    zone: str | None = None
    """Whose days they are; None: the reporting zone's."""

    @property
    def who(self) -> str | None:
        """Whose sums, where there is somebody."""
        return self.by[0] if self.by and self.by[0] in WHO else None

    @property
    def what(self) -> tuple[str, ...]:
        """By what of the places."""
        return tuple(name for name in self.by if name in WHAT)


async def show(call: Call) -> Response:
    """`from` and `to` are dates, both included; absent: since ever, until now. `by` says by what, `limit` how many rows at most, the
    dearest first, `zone` whose days, of UTC or of the reporting zone."""
    first, last = call.days()
    asked = Asked(
        _by(call.query("by")),
        FIRST_DAY if first is None else first,
        LAST_DAY if last is None else last,
        call.number("limit", ROWS, 1, MOST_ROWS),
        call.query("zone"),
    )
    await call.caught_up()
    return reply(await call.desk.database.look(lambda connection: report(connection, asked, call.desk.now_ms())))


def _by(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT
    names = tuple(text.split(","))
    for name in names:
        if name not in (*WHO, *WHAT, DAY) or names.count(name) > 1:
            allowed = ", ".join((*WHO, *WHAT, DAY))
            raise invalid(f"by: one of {allowed} is expected, each once, got {name[:40]!r}")
    if len(names) > 1:
        for name in names:
            if name in ALONE:
                raise invalid(f"by: {name} has rows of its own and cannot be combined")
        if len(names) - len([name for name in names if name in WHAT]) > 1:
            raise invalid(f"by: only {' and '.join(WHAT)} can be combined with one of the others")
    return tuple(sorted(names, key=lambda name: name in WHAT))


def report(connection: sqlite3.Connection, asked: Asked, now_ms: int) -> dict[str, Any]:
    """Rows, the sums of what has no row (`other`, null where all have one) and of all; money as decimal strings of dollars."""
    kept = rollups.zone(connection)
    zone = asked.zone or kept
    if zone not in (UTC, kept):
        allowed = UTC if kept == UTC else f"{UTC} or {kept}, the reporting zone,"
        raise invalid(f"zone: {allowed} is expected, got {zone[:40]!r}")
    end_ms = min((asked.last_day + 1) * DAY_MS, END_OF_TIME_MS)
    within = spans(asked.first_day * DAY_MS, end_ms, now_ms, of_zone=zone != UTC)
    if asked.by == (DAY,):
        day = queries.Res.DAY if zone == UTC else queries.Res.ZONE_DAY
        within = [(day, asked.first_day * DAY_MS, end_ms)]
        rows = _by_day(connection, within)
    elif asked.who and asked.what:
        rows = _by_pair(connection, asked, within)
    else:
        rows = _by_value(connection, asked, within)
    total = queries.sums_by_value(connection, Dim.TOTAL, within).get(0, dict.fromkeys(SUMMED, 0))
    if asked.who and WHO[asked.who] in PARTIAL:
        total = _added([{name: row[name] for name in SUMMED} for row in rows])
    shown = rows[: asked.limit]
    other = {name: total[name] - sum(row[name] for row in shown) for name in SUMMED}
    if any(other.values()) and asked.who and not asked.what and len(rows) <= asked.limit:
        # Who calls without a team has none: that is a row, too.
        shown.append(_naming(connection, asked.who)(0) | other)
        other = {}
    return {
        "data": [_shown(row) for row in shown],
        "other": _shown(other) if any(other.values()) else None,
        "total": _shown(total | _quantiles(queries.durations_by(connection, "val", Dim.TOTAL, within).get(0, ()))),
        "zone": zone,
    }


def _by_day(connection: sqlite3.Connection, within: Sequence[Span]) -> list[dict[str, Any]]:
    """A row for each day on which there was anything, oldest first."""
    durations = queries.durations_by(connection, "start_ms", Dim.TOTAL, within)
    return [
        {"day": day_of(start_ms // DAY_MS).isoformat()} | sums | _quantiles(durations.get(start_ms, ()))
        for start_ms, sums in queries.sums_by_start(connection, Dim.TOTAL, within)
    ]


def _by_value(connection: sqlite3.Connection, asked: Asked, within: Sequence[Span]) -> list[dict[str, Any]]:
    """A row for each key, model or whatever it is, the dearest first."""
    dim = WHO[asked.who] if asked.who else Dim.PLACE
    sums = queries.sums_by_value(connection, dim, within)
    if asked.who:
        naming = _naming(connection, asked.who)
    else:
        places = queries.usage_places(connection)
        naming = lambda id: {name: places[id][WHAT.index(name)] for name in asked.what}  # noqa: E731
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for value in sums:
        groups[tuple(naming(value).values())].append(value)
    durations = queries.durations_by(connection, "val", dim, within) if dim in WITH_DURATIONS else None
    rows = []
    for values in groups.values():
        row = naming(values[0]) | _added([sums[value] for value in values])
        if durations is not None:
            row |= _quantiles([found for value in values for found in durations.get(value, ())])
        rows.append(row)
    return sorted(rows, key=lambda row: (-row["charged_nanousd"], *(str(row[name]) for name in row if name not in SUMMED)))


def _by_pair(connection: sqlite3.Connection, asked: Asked, within: Sequence[Span]) -> list[dict[str, Any]]:
    """A row for each key, team or whatever it is and what it called, the dearest first, as many as are asked for."""
    assert asked.who is not None
    naming = _naming(connection, asked.who)
    rows = queries.top_pairs(connection, WHO[asked.who], asked.what, within, asked.limit)
    places = queries.usage_places(connection)
    return [naming(value) | {name: places[place][WHAT.index(name)] for name in asked.what} | sums for value, place, sums in rows]


Naming = Callable[[int], dict[str, Any]]


def _naming(connection: sqlite3.Connection, who: str) -> Naming:
    """How the values of a dimension are named in rows; 0 is who has none."""
    if who == "key":
        keys = queries.key_labels(connection)
        return lambda id: dict(zip(("key_id", "key_name", "key_label"), (id, *keys.get(id, ("", ""))), strict=True))
    if who in ("team", "user"):
        owners = queries.owner_names(connection, who)
        return lambda id: {f"{who}_id": id, who: owners.get(id, "")}
    names = queries.usage_names(connection, rollups.KINDS[WHO[who]])
    columns = {"split": ("split", "arm"), "shadow": ("model", "shadow")}.get(who, (who,))
    return lambda id: dict(zip(columns, names.get(id, ("", "")), strict=False))


def _quantiles(found: Sequence[Durations]) -> dict[str, Any]:
    """How many there were, and percentiles in milliseconds, null where there was none."""
    first_content, whole = rollups.quantiles(found, tuple(PERCENTILES.values()))
    return {
        "completed": whole[0],
        "first_tokens": first_content[0],
        **{f"first_token_{name}_ms": value for name, value in zip(PERCENTILES, first_content[1], strict=True)},
        **{f"total_{name}_ms": value for name, value in zip(PERCENTILES, whole[1], strict=True)},
    }


def _added(parts: Sequence[Sums]) -> Sums:
    return {name: sum(part[name] for part in parts) for name in SUMMED}


def _shown(sums: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, value in sums.items():
        if name.endswith("_nanousd"):
            shown[name.removesuffix("_nanousd") + "_usd"] = usd(value)
        else:
            shown[name] = value
    return shown
