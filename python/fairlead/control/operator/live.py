"""`GET /admin/events`: what happens now, as server-sent events.

One look a second serves everybody who listens, and nobody looks when nobody listens; traffic and the store are never kept waiting. Events
are numbered within an epoch, which is as long as the process lives, and kept for a minute: who comes back with `Last-Event-ID` in that time
gets what it missed, whether its connection broke or the server of the admin port was started again. Who comes back later, or to another
process, is told so by `hello` (`resumed` is false), and asks for the lists again.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fairlead.control.access import Principal
from fairlead.control.db import search
from fairlead.control.db.queries import Row
from fairlead.control.engine import Engine
from fairlead.control.money import usd
from fairlead.control.replies import HEADERS, Refusal, forbidden, invalid, rfc3339

TOPICS = ("now", "requests", "health", "config", "alerts")
FOR_ADMINS = frozenset({"now", "config", "alerts"})
"""What is about everybody."""
LOOK_SECONDS = 1.0
HEALTH_LOOKS = 5
"""So many looks lie between two at the health of endpoints."""
KEPT_MS = 60_000
MOST_ROWS, MOST_SOUGHT = 20, 100
"""Of requests in one look; of more only these are shown, with how many there were. Who does not see all sees its own among more."""
MOST_STREAMS, MOST_OF_USER, MOST_WAITING = 64, 8, 256
ALIVE_SECONDS, STALL_SECONDS = 15.0, 10.0
_SAMPLE = re.compile(r"^(fairlead_\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_EVENT_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")

log = logging.getLogger("fairlead.control")

Read = Callable[[Callable[[sqlite3.Connection], Any]], Awaitable[Any]]
Describe = Callable[[sqlite3.Connection, list[Row]], list[dict[str, Any]]]
Sees = Callable[[Principal, Mapping[str, Any]], bool]


class Event:
    """Something that happened."""

    __slots__ = ("at_ms", "data", "number", "topic")

    def __init__(self, number: int, at_ms: int, topic: str, data: dict[str, Any]) -> None:
        self.number, self.at_ms, self.topic, self.data = number, at_ms, topic, data


class Listener:
    """Somebody who listens: what is waiting for it."""

    def __init__(self, principal: Principal, topics: frozenset[str]) -> None:
        self.principal, self.topics = principal, topics
        self.waiting: deque[Event] = deque()
        self.lost: dict[str, int] = {}
        self.news = asyncio.Event()

    def put(self, event: Event) -> None:
        """Adds an event; where too many wait, the oldest of its topic goes, and the listener is told how many did."""
        if event.topic not in self.topics:
            return
        if len(self.waiting) >= MOST_WAITING:
            oldest = next((each for each in self.waiting if each.topic == event.topic), self.waiting[0])
            self.waiting.remove(oldest)
            self.lost[oldest.topic] = self.lost.get(oldest.topic, 0) + 1
        self.waiting.append(event)
        self.news.set()


class Hub:
    """One per process."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.epoch = secrets.token_hex(4)
        self.closing = asyncio.Event()
        self._now_ms = now_ms
        self._number = 0
        self._kept: deque[Event] = deque()
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._left_at_ms = 0
        self._figures: tuple[int, dict[str, float]] | None = None
        self._rowid: int | None = None
        self._health = b""
        self._looks = 0

    def publish(self, topic: str, data: dict[str, Any]) -> None:
        """Tells who listens. Without anybody it is kept for those who come back."""
        self._number += 1
        event = Event(self._number, self._now_ms(), topic, data)
        self._kept.append(event)
        while self._kept[0].at_ms < event.at_ms - KEPT_MS:
            self._kept.popleft()
        for listener in self._listeners:
            listener.put(event)

    def join(self, principal: Principal, topics: frozenset[str], last_id: str | None) -> tuple[Listener, bool]:
        """Begins to listen; whether what was missed since the last event could be given. Raises a 503 when too many
        listen, a 429 when one user does on too many pages."""
        if len(self._listeners) >= MOST_STREAMS:
            raise Refusal(503, "server", f"{MOST_STREAMS} streams of events are open, which is the most there may be", retry_after=10)
        if principal.user and sum(each.principal.user == principal.user for each in self._listeners) >= MOST_OF_USER:
            message = f"{MOST_OF_USER} streams of events of this user are open, which is the most there may be: close other pages"
            raise Refusal(429, "rate_limit_exceeded", message, retry_after=10)
        listener = Listener(principal, topics)
        match = _EVENT_ID.fullmatch(last_id or "")
        resumed = match is not None and match[1] == self.epoch and self._has_all_since(int(match[2]))
        if match is not None and resumed:
            for event in self._kept:
                if event.number > int(match[2]):
                    listener.put(event)
        self._listeners.add(listener)
        return listener, resumed

    def leave(self, listener: Listener) -> None:
        """Ends listening."""
        self._listeners.discard(listener)
        self._left_at_ms = self._now_ms()

    def look_on(self, engine: Engine, read: Read, describe: Describe) -> None:
        """Looks every second from now on, until nobody has listened for a minute."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(engine, read, describe))

    def close(self) -> None:
        """Ends every stream: the process stops."""
        self.closing.set()
        for listener in self._listeners:
            listener.news.set()
        if self._task is not None:
            self._task.cancel()

    async def look(self, engine: Engine, read: Read, describe: Describe) -> None:
        """One look at everything."""
        self._look_at_figures(_figures(engine.metrics()))
        await self._look_at_requests(read, describe)
        if self._looks % HEALTH_LOOKS == 0 and (known := engine.health()) != self._health:
            self._health = known
            self.publish("health", {"endpoints": msgspec.json.decode(known)})
        self._looks += 1

    async def _run(self, engine: Engine, read: Read, describe: Describe) -> None:
        failed = False
        while self._listeners or self._now_ms() - self._left_at_ms < KEPT_MS:
            try:
                await self.look(engine, read, describe)
                failed = False
            except Exception:
                # The store comes back; who listens hears the rest then.
                if not failed:
                    log.exception("events: looking fails; it is tried again every second")
                failed = True
            await asyncio.sleep(LOOK_SECONDS)
        self._figures, self._rowid, self._health = None, None, b""

    def _has_all_since(self, number: int) -> bool:
        """Whether nothing after an event was let go of. Without a look in between nobody knows what happened."""
        if number > self._number or self._task is None or self._task.done():
            return False
        return number >= (self._kept[0].number if self._kept else self._number + 1) - 1

    def _look_at_figures(self, present: dict[str, float]) -> None:
        at_ms, before = self._now_ms(), self._figures
        self._figures = (at_ms, present)
        if before is None or at_ms <= before[0]:
            return
        seconds = (at_ms - before[0]) / 1000

        def rate(name: str) -> float:
            return max(0.0, present.get(name, 0) - before[1].get(name, 0)) / seconds

        self.publish(
            "now",
            {
                "at": rfc3339(at_ms),
                "requests_per_second": round(rate("fairlead_generations_total"), 3),
                "errors_per_second": round(rate(FAILED), 3),
                "tokens_per_second": round(rate("fairlead_completion_tokens_total"), 3),
                "usd_per_second": usd(round(rate("fairlead_charged_nanousd_total"))),
                "in_flight": int(present.get("fairlead_requests_open", 0)),
                "waiting": int(present.get("fairlead_requests_waiting", 0)),
                "connections": int(present.get("fairlead_connections_open", 0)),
            },
        )

    async def _look_at_requests(self, read: Read, describe: Describe) -> None:
        if self._rowid is None:
            self._rowid = await read(search.newest)
            return
        after = self._rowid
        limit = MOST_ROWS if all(each.principal.sees_all for each in self._listeners) else MOST_SOUGHT

        def work(connection: sqlite3.Connection) -> tuple[int, list[dict[str, Any]], int]:
            found, count = search.stored_after(connection, after, limit)
            return found[-1][0] if found else after, describe(connection, [row for _, row in found]), count

        self._rowid, rows, count = await read(work)
        if rows:
            self.publish("requests", {"rows": rows, "of": count})


FAILED = "failed generations"


def _figures(text: str) -> dict[str, float]:
    """Sums over the labels of each figure, and those of failed generations apart."""
    found: dict[str, float] = {}
    for match in _SAMPLE.finditer(text):
        value = float(match[2])
        found[match[1]] = found.get(match[1], 0) + value
        if match[1] == "fairlead_generations_total" and 'outcome="failed"' in match[0]:
            found[FAILED] = found.get(FAILED, 0) + value
    return found


def topics_of(text: str | None, principal: Principal) -> frozenset[str]:
    """What a query asks to hear of. Absent: all that the caller may."""
    if text is None:
        return frozenset(TOPICS if principal.sees_all else {*TOPICS} - FOR_ADMINS)
    wanted = frozenset(text.split(","))
    if unknown := wanted - {*TOPICS}:
        raise invalid(f"topics: {', '.join(TOPICS)} are known, got {min(unknown)[:40]!r}", path="topics")
    if not principal.sees_all and wanted & FOR_ADMINS:
        raise forbidden(f"topics: {', '.join(sorted(wanted & FOR_ADMINS))} need the role admin")
    return wanted


class EventStream(Response):
    """The stream of a listener, until it leaves, stalls, is logged out, or the process ends."""

    def __init__(self, hub: Hub, listener: Listener, resumed: bool, is_alive: Callable[[], Awaitable[bool]], sees: Sees) -> None:
        super().__init__(headers=HEADERS | {"x-accel-buffering": "no"}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._hub, self._listener, self._resumed, self._is_alive, self._sees = hub, listener, resumed, is_alive, sees

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves it."""
        writing = asyncio.ensure_future(self._write(send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(self._listener)
            for task in (writing, leaving):
                task.cancel()
            await asyncio.gather(writing, leaving, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def put(text: str) -> None:
            async with asyncio.timeout(STALL_SECONDS):
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        with contextlib.suppress(TimeoutError):
            hello = {"epoch": self._hub.epoch, "resumed": self._resumed, "topics": sorted(self._listener.topics)}
            await put(f"retry: 1000\n{event_text('hello', hello)}")
            check_at = time.monotonic() + ALIVE_SECONDS
            while not self._hub.closing.is_set():
                has_news = await self._news(check_at)
                if time.monotonic() >= check_at:
                    if not await self._is_alive():
                        await put(event_text("end", {"reason": "logged_out"}))
                        break
                    check_at = time.monotonic() + ALIVE_SECONDS
                    if not has_news:
                        await put(": alive\n\n")
                while self._listener.waiting:
                    await put(self._next())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STALL_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _news(self, until: float) -> bool:
        listener = self._listener
        if not listener.waiting:
            listener.news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    await listener.news.wait()
        return bool(listener.waiting) or self._hub.closing.is_set()

    def _next(self) -> str:
        event = self._listener.waiting.popleft()
        gap = self._listener.lost.pop(event.topic, 0)
        before = event_text("gap", {"topic": event.topic, "n": gap}) if gap else ""
        data = event.data
        if event.topic == "requests":
            who = self._listener.principal
            rows = [row for row in data["rows"] if self._sees(who, row)]
            shown = rows[-MOST_ROWS:]
            data = {"rows": shown, "shown": len(shown), "of": data["of"] if who.sees_all else len(rows)}
        return f"{before}id: {self._hub.epoch}-{event.number}\n{event_text(event.topic, data)}"


def event_text(name: str, data: dict[str, Any]) -> str:
    """An event as it is sent."""
    return f"event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"


async def left(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def last_id(request: Request) -> str | None:
    """Where a listener left off: as browsers say it when they come back, or in the query."""
    return request.headers.get("last-event-id") or request.query_params.get("last_event_id")
