"""The screen of `fairlead top`.

Two threads bring what is shown: one listens to events and comes back when the gateway was away, one asks for sums every few seconds.
Neither ever touches the screen; they post messages to it.
"""

import contextlib
from collections import deque
from datetime import UTC, datetime
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import DataTable, Footer, Input, Sparkline, Static, Tab, Tabs

from fairlead.cli.generation import plain
from fairlead.cli.live import figures
from fairlead.cli.live.figures import RANGES, VIEWS, Row, View
from fairlead.cli.live.source import Away, Event, NotAllowed, Source
from fairlead.cli.reach import Refused

ASK_SECONDS = 3.0
LONGEST_WAIT_SECONDS = 8.0
MOST_TAIL = 200
SPARKS = 120
TOPICS = "now,requests"
LIVE = "live"


class Happened(Message):
    """An event of the stream."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class Standing(Message):
    """Whether the gateway is there: `LIVE`, or why it is not. `is_final`: it is of no use to ask again."""

    def __init__(self, says: str, is_final: bool = False) -> None:
        super().__init__()
        self.says, self.is_final = says, is_final


class Told(Message):
    """The sums of a view and a time."""

    def __init__(self, view: str, span: str, totals: Row, rows: list[Row]) -> None:
        super().__init__()
        self.view, self.span, self.totals, self.rows = view, span, totals, rows


class Top(App[str]):
    """It returns why it ended where that was not asked for, else None."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "fairlead top"
    CSS = """
    #head, #figures { height: 1; padding: 0 1; }
    #place { width: 1fr; height: 1; }
    #standing { width: auto; height: 1; }
    .away { color: $error; }
    #sparks { height: 2; margin: 0 1; }
    #filter { height: 1; border: none; padding: 0 1; display: none; }
    #filter.open { display: block; }
    #rows { height: 1fr; }
    #empty { height: auto; padding: 0 1; color: $text-muted; display: none; }
    #empty.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("s", "sort", "Sort"),
        Binding("r", "reverse", "Reverse"),
        Binding("p,space", "pause", "Pause"),
        Binding("slash", "filter", "Filter"),
        Binding("t", "range", "Range"),
        Binding("right,tab", "view(1)", "Next view", show=False, priority=True),
        Binding("left,shift+tab", "view(-1)", "View before", show=False, priority=True),
        *(Binding(str(number), f"open('{view.name}')", view.title, show=False) for number, view in enumerate(VIEWS, 1)),
        Binding("escape", "leave", "Clear the filter", show=False),
    ]

    def __init__(self, source: Source, view: str, span: str) -> None:
        super().__init__()
        self._source = source
        self._view: View = next(each for each in VIEWS if each.name == view)
        self._span = span
        self._sort: str | None = None
        self._reverse = False
        self._paused = False
        self._totals: Row | None = None
        self._rows: list[Row] = []
        self._tail = deque[Row](maxlen=MOST_TAIL)
        self._now: dict[str, Any] | None = None
        self._speeds = deque[float](maxlen=SPARKS)
        self._said = "connecting"

    def compose(self) -> ComposeResult:
        """Two lines of figures, the speed as a picture, the tables."""
        with Horizontal(id="head"):
            yield Static(id="place", markup=False)
            yield Static(id="standing", markup=False)
        yield Static(id="figures", markup=False)
        yield Static(id="sums", classes="line", markup=False)
        yield Sparkline(id="sparks", summary_function=max)
        yield Tabs(*(Tab(f"{number} {view.title}", id=view.name) for number, view in enumerate(VIEWS, 1)), active=self._view.name)
        yield Input(id="filter", placeholder="part of a name; Enter keeps it, Esc clears it", compact=True)
        yield Static(id="empty", markup=False)
        yield DataTable(id="rows", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begins."""
        self.query_one("#sums").styles.padding = (0, 1)
        self.query_one("#rows", DataTable).focus()
        self._draw()
        self.run_worker(self._listen, thread=True, group="listen")
        self.set_interval(ASK_SECONDS, self._ask_again)
        self._ask_again()

    def on_unmount(self) -> None:
        """Lets the threads end."""
        self._source.close()

    # --- what comes ---------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """On a thread of its own: follows the events until the end."""
        wait, last = 1.0, ""
        while not self._source.is_closed.is_set():
            try:
                for event in self._source.listen(TOPICS, last):
                    if event.name == "hello":
                        wait = 1.0
                        self.post_message(Standing(LIVE))
                    last = event.id or last
                    self.post_message(Happened(event))
                says = "the gateway ended the stream"
            except NotAllowed as error:
                self.post_message(Standing(str(error), is_final=True))
                return
            except (Away, Refused) as error:
                says = str(error)
            if self._source.is_closed.is_set():
                return
            self.post_message(Standing(f"{says}; again in {wait:.0f} s"))
            self._source.is_closed.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _ask_again(self) -> None:
        if not self._paused:
            view, span = self._view, self._span
            self.run_worker(lambda: self._ask(view, span), thread=True, group="ask", exclusive=True)

    def _ask(self, view: View, span: str) -> None:
        """On a thread: the sums of a view. Who is away is told of by the other thread."""
        try:
            self.post_message(Told(view.name, span, *figures.asked(self._source, view, span, datetime.now(UTC))))
            if view.name == "requests" and not self._tail:
                self._ask_newest()
        except NotAllowed as error:
            self.post_message(Standing(str(error), is_final=True))
        except (Away, Refused):
            pass

    def _ask_newest(self) -> None:
        """On a thread: the newest requests. Raises as `Source.ask`."""
        rows = self._source.ask("/admin/requests?limit=100")["data"]
        self.post_message(Happened(Event("requests", {"rows": rows[::-1]}, "")))

    def _catch_up(self) -> None:
        """On a thread: what was missed. Who is away again is told of by the other thread."""
        with contextlib.suppress(Away, NotAllowed, Refused):
            self._ask_newest()

    @on(Happened)
    def _happened(self, message: Happened) -> None:
        event = message.event
        if event.name == "now":
            self._speeds.append(event.data["requests_per_second"])
            self._now = event.data
        elif event.name == "requests":
            by_id = {row["id"]: row for row in (*self._tail, *map(figures.tailed, event.data["rows"]))}
            # What is asked for again may be older than what came since.
            self._tail = deque(sorted(by_id.values(), key=lambda row: str(row["at"])), maxlen=MOST_TAIL)
        elif event.name == "hello" and self._tail and not event.data["resumed"]:
            # Another process, or it was away for long: nobody has kept what happened in between.
            self.run_worker(self._catch_up, thread=True, group="catch up", exclusive=True)
        elif event.name == "end":
            self.exit("the log-in is over")
        if not self._paused:
            self._draw(rows=event.name == "requests" and self._view.name == "requests")

    @on(Standing)
    def _stands(self, message: Standing) -> None:
        if message.is_final:
            self.exit(message.says, return_code=1)
            return
        was, self._said = self._said, message.says
        if message.says == LIVE and was != LIVE:
            self._ask_again()
        if message.says != LIVE:
            self._now = None
        self._draw(rows=False)

    @on(Told)
    def _told(self, message: Told) -> None:
        if (message.view, message.span) == (self._view.name, self._span) and not self._paused:
            self._totals, self._rows = message.totals, message.rows
            self._draw()

    # --- what is pressed ----------------------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """By the next column."""
        names = [None, *(column.name for column in self._view.columns)]
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self._reverse = self._sort is not None and next(c for c in self._view.columns if c.name == self._sort).is_number
        self._draw()

    def action_reverse(self) -> None:
        """The other way round."""
        self._reverse = not self._reverse
        self._draw()

    def action_pause(self) -> None:
        """Stands still, or goes on."""
        self._paused = not self._paused
        if not self._paused:
            self._ask_again()
        self._draw()

    def action_range(self) -> None:
        """Another time."""
        names = list(RANGES)
        self._span = names[(names.index(self._span) + 1) % len(names)]
        self._totals = None
        self._draw(rows=False)
        self._ask_again()

    def action_filter(self) -> None:
        """Asks for a part of a name."""
        box = self.query_one("#filter", Input)
        box.add_class("open")
        box.focus()

    def action_leave(self) -> None:
        """Clears the filter."""
        box = self.query_one("#filter", Input)
        box.value = ""
        box.remove_class("open")
        self.query_one("#rows", DataTable).focus()

    def action_view(self, by: int) -> None:
        """The next table, or the one before."""
        if isinstance(self.focused, Input):
            return
        names = list(figures.VIEW_NAMES)
        self.action_open(names[(names.index(self._view.name) + by) % len(names)])

    def action_open(self, name: str) -> None:
        """A table."""
        self.query_one(Tabs).active = name

    @on(Tabs.TabActivated)
    def _opened(self, event: Tabs.TabActivated) -> None:
        view = next(each for each in VIEWS if each.name == event.tab.id)
        if view is not self._view:
            self._view, self._rows, self._sort, self._reverse, self._totals = view, [], None, False, None
            self._draw()
            self._paused = False
            self._ask_again()

    @on(DataTable.HeaderSelected)
    def _header(self, event: DataTable.HeaderSelected) -> None:
        name = event.column_key.value
        self._reverse = not self._reverse if self._sort == name else next(c for c in self._view.columns if c.name == name).is_number
        self._sort = name
        self._draw()

    @on(Input.Changed)
    def _filtered(self) -> None:
        self._draw()

    @on(Input.Submitted)
    def _kept(self) -> None:
        box = self.query_one("#filter", Input)
        box.set_class(bool(box.value), "open")
        self.query_one("#rows", DataTable).focus()

    def on_resize(self) -> None:
        """Names get what is left of the width."""
        self._draw()

    # --- what is shown ------------------------------------------------------------------------------------------------

    def _draw(self, rows: bool = True) -> None:
        if not self.query(Sparkline):
            return
        self.query_one("#place", Static).update(Text(f"fairlead top  {plain(self._source.name)}  the last {self._span}", no_wrap=True))
        standing = self.query_one("#standing", Static)
        standing.update(Text("paused" if self._paused else "live" if self._said == LIVE else "away", no_wrap=True))
        standing.set_class(self._said != LIVE, "away")
        line = figures.speed(self._now) if self._said == LIVE else self._said
        self.query_one("#figures", Static).update(Text(plain(line), no_wrap=True, overflow="ellipsis"))
        said = figures.sums(self._totals) if self._totals else "counting"
        self.query_one("#sums", Static).update(Text(f"{self._span}: {said}", no_wrap=True, overflow="ellipsis"))
        self.query_one("#sparks", Sparkline).data = list(self._speeds) or [0.0]
        if rows:
            self._draw_rows()

    def _draw_rows(self) -> None:
        grid = self.query_one("#rows", DataTable)
        wanted = self.query_one("#filter", Input).value
        found = list(self._tail)[::-1] if self._view.name == "requests" else self._rows
        shown = figures.ordered(found, self._sort, self._reverse, wanted)
        at, top = grid.cursor_row, grid.scroll_y
        grid.clear(columns=True)
        # Each cell has a column of room on both sides, and the table one for its bar.
        rest = self.size.width - sum(column.width + 2 for column in self._view.columns) - 2
        for column in self._view.columns:
            mark = (" v" if self._reverse else " ^") if column.name == self._sort else ""
            width = column.width or max(8, rest)
            grid.add_column(Text(column.heading + mark, justify="right" if column.is_number else "left"), width=width, key=column.name)
        for row in shown:
            cells = ((column, column.shown(row.get(column.name))) for column in self._view.columns)
            grid.add_row(*(Text(cell, justify="right" if c.is_number else "left", no_wrap=True, overflow="ellipsis") for c, cell in cells))
        grid.move_cursor(row=min(at, max(0, len(shown) - 1)), animate=False, scroll=False)
        grid.scroll_to(y=top, animate=False)
        empty = self.query_one("#empty", Static)
        empty.set_class(not shown, "shown")
        if wanted and found:
            says = f"nothing has {plain(wanted)!r} in its name; Esc clears the filter"
        else:
            says = "nothing in this time" if self._totals else "waiting for the gateway"
        empty.update(Text(says, no_wrap=True, overflow="ellipsis"))
