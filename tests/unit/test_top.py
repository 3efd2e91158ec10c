"""`fairlead top`: numbers as they read, rows in order, what a stream says, and the screen itself, driven by its library's own pilot."""

import asyncio
import json
import queue
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fairlead import cli
from fairlead.cli.live import figures, source
from fairlead.cli.live.screen import Top
from fairlead.cli.live.source import Away, Event, NotAllowed, Port
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

NOW = {
    "at": "2026-11-20T14:02:11.000Z", "requests_per_second": 14.2, "errors_per_second": 0.0, "tokens_per_second": 812.4,
    "usd_per_second": "0.0041", "in_flight": 9, "waiting": 2, "connections": 4,
}  # fmt: skip


def sums(requests: int, errors: int = 0, cost: str = "0", speed: float | None = None) -> dict[str, Any]:
    return {"requests": requests, "errors": errors, "tokens": requests * 100, "cost": cost, "tokens_per_second": speed}


def settled(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "id": f"gen-{number}", "settled_at": "2026-11-20T14:02:11.000Z", "outcome": "completed", "status": 200, "model": "lab/echo",
        "requested_model": "lab/echo", "provider": "lab", "key": {"name": "ci", "label": ""}, "charged_usd": "0.001", "total_us": 12_000,
    }  # fmt: skip
    return row | changes


class Gateway:
    """What a `Source` would bring; events are put in by the test, an exception ends the stream with it."""

    name = "http://gateway"

    def __init__(self) -> None:
        self.is_closed = source.threading.Event()
        self.events: queue.Queue[Any] = queue.Queue()
        self.asked: list[str] = []
        self.listened: list[str] = []
        self.failing: Exception | None = None
        self.newest = [settled(2, outcome="failed", status=502), settled(1)]
        self.lines = [
            ("lab/echo", sums(1204, 3, "128.41", 82.0)),
            ("lab/flaky", sums(40, 39, "0.0001")),
            ("evil\x1b[2J[bold]x", sums(7, 0, "2")),
        ]

    def ask(self, path: str) -> Any:
        self.asked.append(path)
        if self.failing is not None:
            raise self.failing
        if path.startswith("/admin/usage/errors"):
            return {"data": [{"id": "lab/flaky", "error": "timeout", "count": 39}]}
        if path.startswith("/admin/requests"):
            return {"data": self.newest}
        series = [{"label": label, "totals": totals} for label, totals in self.lines] if "group=" in path else []
        return {"series": series, "other": None, "totals": sums(1251, 42, "130.4101")}

    def listen(self, topics: str, last_id: str = "") -> Iterator[Event]:
        self.listened.append(last_id)
        while not self.is_closed.is_set():
            try:
                found = self.events.get(timeout=0.02)
            except queue.Empty:
                continue
            if isinstance(found, Exception):
                raise found
            yield found

    def close(self) -> None:
        self.is_closed.set()

    def happens(self, *events: Any) -> None:
        for event in events:
            self.events.put(event)


HELLO = Event("hello", {"epoch": "abcd0123", "resumed": False}, "")


def drive(story: Callable[[Gateway, Top, Pilot[Any]], Awaitable[None]], size: tuple[int, int] = (80, 24), view: str = "models") -> Top:
    """Runs a story on a screen of this size."""
    gateway = Gateway()
    app = Top(gateway, view, "1h")  # type: ignore[arg-type]

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            gateway.happens(HELLO, Event("now", NOW, "abcd0123-1"))
            await story(gateway, app, pilot)

    asyncio.run(main())
    return app


async def until(pilot: Pilot[Any], look: Callable[[], Any], what: str) -> Any:
    for _ in range(400):
        await pilot.pause(0.01)
        if seen := look():
            return seen
    raise AssertionError(f"{what}: not within some seconds")


def rows(app: Top) -> list[list[str]]:
    grid = app.query_one("#rows", DataTable)
    return [[cell.plain for cell in grid.get_row_at(at)] for at in range(grid.row_count)]


def said(app: Top, id: str) -> str:
    return str(app.query_one(id, Static).render())


# --- the screen -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60)])
def test_figures_and_rows_are_on_the_screen(size: tuple[int, int]) -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: rows(app) and "14.2 req/s" in said(app, "#figures"), "figures")
        assert "9 running  2 waiting" in said(app, "#figures") and "$0.00410/s" in said(app, "#figures")
        assert "1,251 requests" in said(app, "#sums") and "(3.4 %)" in said(app, "#sums") and "$130.41" in said(app, "#sums")
        grid = app.query_one("#rows", DataTable)
        assert rows(app)[0] == ["lab/echo", "1,204", "3", "120.4k", "$128.41", "82"] and rows(app)[1][5] == "-"
        # No name steers the terminal or is read as markup.
        assert rows(app)[2][0] == "evil\N{REPLACEMENT CHARACTER}[2J[bold]x"
        if size == (80, 24):
            assert grid.virtual_size.width <= 80 and grid.size.height >= 10

    drive(story, size)


def test_sorting_reversing_and_filtering() -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: rows(app), "rows")
        names = lambda: [row[0].split("\N{REPLACEMENT CHARACTER}")[0] for row in rows(app)]  # noqa: E731
        assert names() == ["lab/echo", "lab/flaky", "evil"]
        await pilot.press("s")
        assert names() == ["evil", "lab/echo", "lab/flaky"]
        await pilot.press("s", "s", "s", "s")
        assert names() == ["lab/echo", "evil", "lab/flaky"], "by spend, the dearest first"
        await pilot.press("r")
        assert names() == ["lab/flaky", "evil", "lab/echo"]
        await pilot.press("slash", *"FLAK")
        assert names() == ["lab/flaky"]
        await pilot.press("enter")
        assert app.focused is app.query_one("#rows", DataTable) and names() == ["lab/flaky"]
        await pilot.press("slash", "z", "enter")
        assert names() == [] and "Esc clears" in said(app, "#empty")
        await pilot.press("escape")
        assert len(names()) == 3 and not app.query_one("#filter", Input).has_class("open")

    drive(story)


def test_every_view_is_there_and_the_range_changes() -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: any("group=model" in path for path in gateway.asked), "models")
        for key, asked in (("2", "group=provider"), ("3", "group=key"), ("4", "/admin/usage/errors"), ("5", "/admin/requests?limit")):
            await pilot.press(key)
            await until(pilot, lambda asked=asked: any(asked in path for path in gateway.asked), asked)
        await until(pilot, lambda: len(rows(app)) == 2, "requests")
        assert [row[1] for row in rows(app)] == ["502", "ok"] and rows(app)[1][5] == "12 ms"
        gateway.happens(Event("requests", {"rows": [settled(3, model="lab/new"), settled(2)]}, "abcd0123-9"))
        await until(pilot, lambda: len(rows(app)) == 3, "a request that ended")
        assert rows(app)[0][2] == "lab/new", "each once, the newest first"
        await pilot.press("tab")
        await until(pilot, lambda: rows(app) and rows(app)[0][0] == "lab/echo", "from the last view to the first")
        await pilot.press("t")
        await until(pilot, lambda: "24h: 1,251" in said(app, "#sums"), "another range")

    drive(story)


def test_a_pause_stands_still() -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "14.2 req/s" in said(app, "#figures"), "figures")
        await pilot.press("p")
        assert said(app, "#standing") == "paused"
        gateway.happens(Event("now", NOW | {"requests_per_second": 99.0}, "abcd0123-2"))
        await until(pilot, lambda: gateway.events.empty(), "it was taken")
        await pilot.pause(0.05)
        assert "14.2 req/s" in said(app, "#figures")
        await pilot.press("p")
        assert said(app, "#standing") == "live" and "99 req/s" in said(app, "#figures")

    drive(story)


def test_a_gateway_that_is_away_is_asked_again_from_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "14.2 req/s" in said(app, "#figures"), "figures")
        gateway.happens(Away("http://gateway does not answer: refused"))
        await until(pilot, lambda: said(app, "#standing") == "away", "it is away")
        assert "does not answer" in said(app, "#figures") and "again in 1 s" in said(app, "#figures")
        assert rows(app), "what was known stays"
        gateway.happens(HELLO, Event("now", NOW, "ffff0000-1"))
        await until(pilot, lambda: said(app, "#standing") == "live", "it is back")
        assert gateway.listened == ["", "abcd0123-1"]

    drive(story)


def test_what_was_missed_is_asked_for() -> None:
    """Where nobody has kept it; what came meanwhile is there once."""

    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        def models() -> list[str]:
            return [row[2] for row in rows(app)]

        await until(pilot, lambda: len(rows(app)) == 2, "the newest")
        gateway.happens(Away("refused"))
        await until(pilot, lambda: said(app, "#standing") == "away", "it is away")
        missed = settled(3, model="lab/missed", settled_at="2026-11-20T14:02:12.000Z")
        later = settled(4, model="lab/later", settled_at="2026-11-20T14:02:13.000Z")
        gateway.newest = [later, missed, *gateway.newest]
        gateway.happens(HELLO, Event("requests", {"rows": [later]}, "ffff0000-1"))
        await until(pilot, lambda: models() == ["lab/later", "lab/missed", "lab/echo", "lab/echo"], "what was missed")
        assert gateway.asked.count("/admin/requests?limit=100") >= 2

    drive(story, view="requests")


def test_who_may_not_is_told_and_it_ends() -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        gateway.happens(NotAllowed("http://gateway does not know this admin token"))
        await until(pilot, lambda: app.return_value, "its end")

    app = drive(story)
    assert "does not know" in str(app.return_value)


def test_q_quits() -> None:
    async def story(gateway: Gateway, app: Top, pilot: Pilot[Any]) -> None:
        await pilot.press("q")
        await until(pilot, lambda: gateway.is_closed.is_set() or not app.is_running, "its end")

    assert drive(story).return_value is None


# --- without a screen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.04, "0.0"), (14.25, "14.2"), (9999, "9,999"), (81_200, "81.2k"), (2_000_000, "2.0M"), (3e9, "3.0G")],
)
def test_counts(value: float | None, text: str) -> None:
    assert figures.short(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), ("0", "$0"), ("1284.066", "$1,284.07"), ("12.4311", "$12.431"), ("0.00873", "$0.00873"), ("0.5", "$0.500"),
        ("0.0000001", "<$0.000001"), ("-3", "$-3.000"), ("0.0099", "$0.00990"),
    ],
)  # fmt: skip
def test_money_is_never_shown_as_nothing(value: str | None, text: str) -> None:
    assert figures.dollars(value) == text


def test_what_is_unknown_comes_last_in_both_directions() -> None:
    found = [{"name": "a", "tokens_per_second": None}, {"name": "b", "tokens_per_second": 2.0}, {"name": "c", "tokens_per_second": 9.0}]
    names = lambda reverse: [row["name"] for row in figures.ordered(found, "tokens_per_second", reverse, "")]  # noqa: E731
    assert names(False) == ["b", "c", "a"] and names(True) == ["c", "b", "a"]
    dear = [{"name": "x", "cost": "9.5"}, {"name": "y", "cost": "10"}]
    assert [row["name"] for row in figures.ordered(dear, "cost", True, "")] == ["y", "x"], "money is no text"


def test_a_snapshot_has_everything() -> None:
    gateway = Gateway()
    gateway.happens(HELLO, Event("now", NOW, "x-1"))
    found = figures.snapshot(gateway, "24h", datetime(2026, 11, 20, 14, tzinfo=UTC))  # type: ignore[arg-type]
    assert found["now"] == NOW and found["totals"]["requests"] == 1251 and found["errors"][0]["count"] == 39
    assert {"models", "providers", "keys"} <= found.keys() and "from=2026-11-19T14%3A00%3A00Z" in gateway.asked[0]
    text = figures.text(found)
    assert "14.2 req/s" in text and "lab/flaky" in text and "\x1b" not in text
    json.dumps(found)


def test_a_stream_is_read_line_by_line() -> None:
    lines = b': alive\n\nretry: 1000\nevent: hello\ndata: {"epoch":"a"}\n\nid: a-1\nevent: now\ndata: {"x":1}\n\nevent: now\ndata: [1]\n\n'
    lines += b"event: cut"
    assert list(source.events(iter(lines.splitlines(keepends=True)))) == [Event("hello", {"epoch": "a"}, ""), Event("now", {"x": 1}, "a-1")]


@pytest.mark.parametrize("url", ["127.0.0.1:8081", "ftp://x", "http://", "http://x/admin", "http://user@x", "http://x:99999"])
def test_a_url_that_is_none_is_misuse(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FAIRLEAD_ADMIN_TOKEN", "x")
    assert cli.main(["top", "--once", "--url", url]) == 2
    assert capsys.readouterr().err


def test_a_url_needs_the_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("FAIRLEAD_ADMIN_TOKEN", raising=False)
    assert cli.main(["top", "--url", "http://127.0.0.1:1"]) == 2
    assert "FAIRLEAD_ADMIN_TOKEN" in capsys.readouterr().err


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    monkeypatch.setenv("FAIRLEAD_ADMIN_TOKEN", "x")
    assert cli.main(["top", "--json", "--url", "http://127.0.0.1:1"]) == 1
    assert "does not answer" in json.loads(capsys.readouterr().out)["error"]
    assert cli.main(["top", "--data-dir", str(tmp_path)]) == 1
    assert "no gateway runs" in capsys.readouterr().err
    assert Port("https://gateway.example", "x").connection(1.0).port == 443
