"""What `fairlead top` shows, without a screen: what is asked of the gateway, the rows that become of it, and how numbers read."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

from fairlead.cli.generation import plain
from fairlead.cli.live.source import Source
from fairlead.cli.reach import path_of
from fairlead.cli.table import table

RANGES = {"15m": timedelta(minutes=15), "1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
METRICS = ("requests", "errors", "tokens", "cost", "tokens_per_second")
MOST_ROWS = 50
"""As many groups as the gateway tells apart."""
SNAPSHOT_ROWS = 10
SNAPSHOT_LOOKS = 4
"""Events that a snapshot waits for: speed is known after the second look, a second after the first."""

Row = dict[str, Any]
"""`name`, and what the columns show."""


class Column(NamedTuple):
    """A column of a table: the member of a row, its heading, how it reads, and how wide that is."""

    name: str
    heading: str
    shown: Callable[[Any], str]
    width: int
    is_number: bool = True


class View(NamedTuple):
    """One of the tables."""

    name: str
    title: str
    columns: tuple[Column, ...]
    group: str | None = None
    """By what sums are asked for."""


def short(value: float | None) -> str:
    """A count that is quickly read: `1,204`, `81.2M`; what is unknown is a dash."""
    if value is None:
        return "-"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            divisor = 1e3 if unit == "k" else size
            return f"{value / divisor:.1f}{unit}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def dollars(text: str | None) -> str:
    """A decimal string of dollars as it is read: cents from $100, else three digits; a positive amount is never $0."""
    if text is None:
        return "-"
    value = Decimal(text)
    if value == 0:
        return "$0"
    size = abs(value)
    if size >= 100:
        return f"${value:,.2f}"
    if size >= 1:
        return f"${value:.3f}"
    if size < Decimal("0.000001"):
        return "<$0.000001"
    places = -size.adjusted() + 2
    return f"${value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):f}"


def share(part: float, whole: float) -> str:
    """Percent; a dash of nothing."""
    return f"{part / whole * 100:.1f} %" if whole else "-"


def milliseconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


_SUMS = (
    Column("requests", "REQUESTS", short, 8),
    Column("errors", "ERRORS", short, 7),
    Column("tokens", "TOKENS", short, 8),
    Column("cost", "SPEND", dollars, 9),
    Column("tokens_per_second", "TOK/S", short, 7),
)
VIEWS: tuple[View, ...] = (
    View("models", "Models", (Column("name", "MODEL", str, 0, False), *_SUMS), "model"),
    View("providers", "Providers", (Column("name", "PROVIDER", str, 0, False), *_SUMS), "provider"),
    View("keys", "Keys", (Column("name", "KEY", str, 0, False), *_SUMS), "key"),
    View(
        "errors",
        "Errors",
        (Column("name", "MODEL", str, 0, False), Column("error", "ERROR", str, 24, False), Column("count", "COUNT", short, 8)),
    ),
    View(
        "requests",
        "Requests",
        (
            Column("time", "TIME", str, 8, False),
            Column("result", "RESULT", str, 9, False),
            Column("name", "MODEL", str, 0, False),
            Column("provider", "PROVIDER", str, 12, False),
            Column("cost", "SPEND", dollars, 9),
            Column("took_ms", "TOOK", milliseconds, 8),
        ),
    ),
)
VIEW_NAMES = tuple(view.name for view in VIEWS)


def asked(source: Source, view: View, span: str, now: datetime) -> tuple[Row, list[Row]]:
    """The sums of a time, and the rows of a view; of requests none, since those come by themselves. Raises as `Source.ask`."""
    first = (now - RANGES[span]).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    query = {"from": first, "metrics": ",".join(METRICS), "group": view.group, "top": str(MOST_ROWS) if view.group else None}
    reply = source.ask(path_of("admin", "usage", "series", **query))
    rows = [_sums(line["label"] or "-", line["totals"]) for line in reply["series"]] if view.group else []
    if view.group and reply["other"]:
        rows.append(_sums("(others)", reply["other"]["totals"]))
    if view.name == "errors":
        lines = source.ask(path_of("admin", "usage", "errors", **{"from": first, "group": "model"}))["data"]
        rows = [{"name": plain(line["id"] or "-"), "error": plain(line["error"]), "count": line["count"]} for line in lines]
    return _sums("", reply["totals"]), rows


def tailed(row: dict[str, Any]) -> Row:
    """A row of `GET /admin/requests` as it is shown."""
    at = datetime.fromisoformat(row["settled_at"]).astimezone()
    result = (
        "ok" if row["outcome"] == "completed" else str(row["status"] or row["outcome"]) if row["outcome"] == "failed" else row["outcome"]
    )
    return {
        "id": row["id"],
        "at": row["settled_at"],
        "time": at.strftime("%H:%M:%S"),
        "result": plain(result),
        "name": plain(row["model"] or row["requested_model"] or "-"),
        "provider": plain(row["provider"] or "-"),
        "key": plain(row["key"]["name"]),
        "cost": row["charged_usd"],
        "took_ms": row["total_us"] / 1000,
    }


def ordered(rows: Sequence[Row], by: str | None, reverse: bool, filter: str) -> list[Row]:
    """Those that have a text in one of their names, sorted by a column; what is unknown comes last."""
    wanted = filter.lower()
    found = [
        row for row in rows if any(wanted in str(row.get(name, "")).lower() for name in ("name", "provider", "key", "error", "result"))
    ]
    if by is None:
        return found[::-1] if reverse else found
    known = [row for row in found if row.get(by) is not None]
    known.sort(key=lambda row: _sortable(by, row[by]), reverse=reverse)
    return known + [row for row in found if row.get(by) is None]


def snapshot(source: Source, span: str, now: datetime) -> dict[str, Any]:
    """Everything once: `now` is null where the gateway said nothing of it in time. Raises as `Source.ask`."""
    speed = None
    listening = source.listen("now")
    for _, event in zip(range(SNAPSHOT_LOOKS), listening, strict=False):
        if event.name == "now":
            speed = event.data
            break
    listening.close()  # type: ignore[attr-defined]
    found: dict[str, Any] = {"gateway": source.name, "at": now.astimezone(UTC).isoformat(timespec="seconds"), "range": span, "now": speed}
    for view in VIEWS[:4]:
        found["totals"], found[view.name] = asked(source, view, span, now)
    return found


def text(found: dict[str, Any]) -> str:
    """A snapshot for people."""
    parts = [
        "\n".join([f"{found['gateway']}  {found['at']}  the last {found['range']}", speed(found["now"]), sums(found["totals"])]) + "\n"
    ]
    for view in VIEWS[:4]:
        rows = found[view.name][:SNAPSHOT_ROWS]
        if rows:
            cells = [[column.shown(row.get(column.name)) for column in view.columns] for row in rows]
            numbers = frozenset(at for at, column in enumerate(view.columns) if column.is_number)
            parts.append(table([column.heading for column in view.columns], cells, numbers))
    return "\n".join(parts)


def speed(now: dict[str, Any] | None) -> str:
    """What happens now, in a line."""
    if now is None:
        return "now: not known yet"
    return (
        f"{short(now['requests_per_second'])} req/s  {short(now['errors_per_second'])} err/s  {short(now['tokens_per_second'])} tok/s  "
        f"{dollars(now['usd_per_second'])}/s  {now['in_flight']} running  {now['waiting']} waiting"
    )


def sums(totals: Row) -> str:
    """What happened in the time, in a line."""
    return (
        f"{short(totals['requests'])} requests  {short(totals['errors'])} errors ({share(totals['errors'], totals['requests'])})  "
        f"{short(totals['tokens'])} tokens  {dollars(totals['cost'])}"
    )


def _sums(name: str, totals: dict[str, Any]) -> Row:
    return {"name": plain(name), **{metric: totals[metric] for metric in METRICS}}


def _sortable(column: str, value: Any) -> Any:
    return Decimal(value) if column == "cost" else value
