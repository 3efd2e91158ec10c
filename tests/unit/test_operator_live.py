"""Events of the admin port: figures, requests, health and configuration as they come, and coming back without a loss."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from control_rig import attempt, generation
from fairlead.control import requests
from fairlead.control.access import OPERATOR
from fairlead.control.directory import NewScope
from fairlead.control.operator import live
from operator_rig import TOKEN, Port, tell

RUN = live.Hub._run
METRICS = """# HELP x y
fairlead_generations_total{{outcome="completed"}} {done}
fairlead_generations_total{{outcome="failed"}} {failed}
fairlead_completion_tokens_total {tokens}
fairlead_charged_nanousd_total {nano}
fairlead_requests_open 3
fairlead_first_content_seconds_bucket{{le="0.5"}} 7
"""


class Stream:
    """A stream of events through the ASGI door."""

    def __init__(self, port: Port, path: str, headers: dict[str, str]) -> None:
        route, _, query = path.partition("?")
        self.status = 0
        self._scope = {
            "type": "http", "method": "GET", "path": route, "root_path": "", "query_string": query.encode(), "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }  # fmt: skip
        self._port, self._pieces, self._gone = port, asyncio.Queue[bytes | None](), asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self._pieces.put_nowait(message["body"])
            if not message.get("more_body"):
                self._pieces.put_nowait(None)

    async def run(self) -> None:
        await self._port.app(self._scope, self.receive, self.send)

    async def event(self) -> tuple[str, Any, str]:
        """Name, data and id of the next one."""
        async with asyncio.timeout(5):
            while (piece := await self._pieces.get()) is not None:
                fields = dict(line.split(": ", 1) for line in piece.decode().splitlines() if ": " in line and not line.startswith(":"))
                if "event" in fields:
                    return fields["event"], json.loads(fields["data"]), fields.get("id", "")
        return "closed", None, ""

    def leave(self) -> None:
        self._gone.set()


@asynccontextmanager
async def listening(port: Port, query: str = "", last: str = "", **headers: str) -> AsyncIterator[Stream]:
    said = headers or {"authorization": f"Bearer {TOKEN}"}
    stream = Stream(port, f"/admin/events{query}", said | ({"last-event-id": last} if last else {}))
    task = asyncio.create_task(stream.run())
    try:
        yield stream
    finally:
        stream.leave()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await task


async def look(port: Port) -> None:
    port.now_ms += 1000
    await port.drainer.catch_up()
    await port.desk.live.look(port.journal, port.database.read, requests.described)


@pytest.fixture(autouse=True)
def no_looks_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests look themselves."""

    async def idle(self: live.Hub, *_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(live.Hub, "_run", idle)


def test_figures_requests_and_health_as_they_come(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        port.journal.metrics = lambda: METRICS.format(done=10, failed=1, tokens=100, nano=10**9)  # type: ignore[method-assign]
        async with listening(port) as stream:
            name, hello, _ = await stream.event()
            assert (name, hello["resumed"], hello["epoch"]) == ("hello", False, port.desk.live.epoch)
            assert stream.status == 200 and stream.headers[b"content-type"].startswith(b"text/event-stream")
            await look(port)
            port.journal.metrics = lambda: METRICS.format(done=24, failed=3, tokens=912, nano=10**9 + 4_100_000)  # type: ignore[method-assign]
            port.journal.records += [(generation(n), [attempt(n)]) for n in range(30)]
            port.journal.known_health = b'[{"endpoint":7}]'
            for _ in range(5):
                await look(port)
            events = [await stream.event() for _ in range(7)]
            now = next(data for name, data, _ in events if name == "now")
            assert (now["requests_per_second"], now["errors_per_second"], now["tokens_per_second"]) == (16, 2, 812)
            assert (now["usd_per_second"], now["in_flight"]) == ("0.0041", 3)
            rows = next(data for name, data, _ in events if name == "requests")
            assert (rows["shown"], rows["of"]) == (20, 30) and rows["rows"][-1]["id"] == generation(29)[0]
            assert next(data for name, data, _ in events if name == "health")["endpoints"] in ([], [{"endpoint": 7}])
            assert [int(id.partition("-")[2]) for _, _, id in events] == list(range(1, 8))

    tell(tmp_path, story)


def test_who_comes_back_has_missed_nothing(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        hub = port.desk.live
        async with listening(port, "?topics=config") as stream:
            await stream.event()
            hub.publish("config", {"n": 1})
            _, _, last = await stream.event()
        for n in (2, 3):
            hub.publish("config", {"n": n})
        async with listening(port, "?topics=config", last) as stream:
            assert (await stream.event())[1]["resumed"] is True
            assert [(await stream.event())[1]["n"] for _ in (2, 3)] == [2, 3]
        async with listening(port, f"?topics=config&last_event_id={last}") as stream:
            assert (await stream.event())[1]["resumed"] is True
        # Later than a minute, of another process, or nonsense: it is told to ask again.
        port.now_ms += live.KEPT_MS + 1
        hub.publish("config", {"n": 4})
        for id in (last, "00000000-1", f"{hub.epoch}-99", "x"):
            async with listening(port, "?topics=config", id) as stream:
                assert (await stream.event())[1]["resumed"] is False

    tell(tmp_path, story)


def test_without_a_look_in_between_nothing_is_sure(tmp_path: Path) -> None:
    """When nobody listened for a minute the looks end, and what happened then was seen by nobody."""

    async def story(port: Port) -> None:
        hub = port.desk.live
        async with listening(port) as stream:
            await stream.event()
            hub.publish("config", {})
            _, _, last = await stream.event()
        assert hub._task is not None
        hub._task.cancel()
        await asyncio.gather(hub._task, return_exceptions=True)
        async with listening(port, last=last) as stream:
            assert (await stream.event())[1]["resumed"] is False

    tell(tmp_path, story)


def test_too_slow_too_many_and_closing(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        hub = port.desk.live
        listener, _ = hub.join(OPERATOR, frozenset({"now", "config"}), None)
        hub.publish("config", {"kept": True})
        for n in range(live.MOST_WAITING + 10):
            hub.publish("now", {"n": n})
        assert len(listener.waiting) == live.MOST_WAITING and listener.lost == {"now": 11}
        assert [event.topic for event in listener.waiting].count("config") == 1
        stream = live.EventStream(hub, listener, False, lambda: asyncio.sleep(0, True), lambda who, row: True)
        stream._next()
        assert stream._next().startswith('event: gap\ndata: {"topic":"now","n":11}\n\nid: ')
        for _ in range(live.MOST_STREAMS - 1):
            hub.join(OPERATOR, frozenset(), None)
        refused = await port.script.get("/admin/events")
        assert refused.status_code == 503 and refused.headers["retry-after"] == "10"
        hub.leave(listener)
        async with listening(port) as open_one:
            await open_one.event()
            hub.close()
            assert (await open_one.event())[0] == "closed"

    tell(tmp_path, story)


def test_who_is_logged_out_hears_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "ALIVE_SECONDS", 0.01)

    async def story(port: Port) -> None:
        browser = await port.as_role("viewer")
        port.directory.create_scope(NewScope("team", "red"))
        cookie = f"fairlead_local={browser.client.cookies['fairlead_local']}"

        async def traffic() -> None:
            """There is always news."""
            while True:
                port.desk.live.publish("health", {})
                await asyncio.sleep(0.001)

        busy = asyncio.create_task(traffic())
        for change in (("PUT", "/admin/users/viewer/login", {"role": "member"}), ("PATCH", "/admin/users/viewer", {"team": "red"})):
            async with listening(port, host="127.0.0.1:8081", cookie=cookie) as stream:
                assert (await stream.event())[0] == "hello"
                assert (await port.script.request(change[0], change[1], json=change[2])).status_code == 200
                async with asyncio.timeout(5):
                    while (name := (await stream.event())[0]) == "health":
                        pass
                assert name == "end"
                assert (await stream.event())[0] == "closed"
        busy.cancel()

    tell(tmp_path, story)


def test_a_store_that_fails_for_a_while_ends_no_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.001)
    looks = []

    async def look(self: live.Hub, *_: Any) -> None:
        looks.append(1)
        if len(looks) < 3:
            raise sqlite3.OperationalError("disk I/O error")
        self.publish("health", {"looks": len(looks)})

    monkeypatch.setattr(live.Hub, "_run", RUN)
    monkeypatch.setattr(live.Hub, "look", look)

    async def story(port: Port) -> None:
        async with listening(port, "?topics=health") as stream:
            assert (await stream.event())[0] == "hello"
            assert (await stream.event())[1] == {"looks": 3}
            port.desk.live.close()

    tell(tmp_path, story)


def test_one_user_does_not_take_all_streams(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        viewer = await port.as_role("viewer")
        who = OPERATOR._replace(kind="user", role="viewer", user=(await viewer.send("GET", "/admin/session")).json()["data"]["user_id"])
        listeners = [port.desk.live.join(who, frozenset(), None)[0] for _ in range(live.MOST_OF_USER)]
        assert (await viewer.send("GET", "/admin/events")).status_code == 429
        async with listening(port) as other:
            assert (await other.event())[0] == "hello"
        port.desk.live.leave(listeners[0])
        port.desk.live.join(who, frozenset(), None)

    tell(tmp_path, story)


def test_topics_are_for_who_may(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        viewer = await port.as_role("viewer")
        assert (await viewer.send("GET", "/admin/events?topics=alerts")).status_code == 403
        assert (await viewer.send("GET", "/admin/events?topics=now")).status_code == 403, "what all accounts do together"
        assert (await port.script.get("/admin/events?topics=nothing")).status_code == 400
        assert (await port.browser().client.get("/admin/events")).status_code == 401
        user = port.user("bob", "viewer")
        listener, _ = port.desk.live.join(OPERATOR._replace(role="viewer", account=1, user=user), frozenset({"requests"}), None)
        stream = live.EventStream(port.desk.live, listener, False, lambda: asyncio.sleep(0, True), requests.sees)
        rows = [{"id": n, "account_id": 1, "team_id": 0, "user_id": n} for n in (user, user + 1)]
        port.desk.live.publish("requests", {"rows": rows, "of": 50})
        assert json.loads(stream._next().split("data: ")[1]) == {"rows": rows[:1], "shown": 1, "of": 1}
        rows = [{"id": n, "account_id": 1, "team_id": 0, "user_id": user} for n in range(live.MOST_ROWS + 1)]
        port.desk.live.publish("requests", {"rows": rows, "of": 50})
        assert json.loads(stream._next().split("data: ")[1]) == {"rows": rows[1:], "shown": 20, "of": 21}


def test_who_sees_less_finds_its_own_among_many(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        user = port.user("bob", "viewer")
        listener, _ = port.desk.live.join(OPERATOR._replace(role="viewer", account=1, user=user), frozenset({"requests"}), None)
        await look(port)
        port.journal.records += [(generation(n, user_id=user if n < 5 else user + 1), [attempt(n)]) for n in range(50)]
        await look(port)
        stream = live.EventStream(port.desk.live, listener, False, lambda: asyncio.sleep(0, True), requests.sees)
        said = json.loads(stream._next().split("data: ")[1])
        assert (len(said["rows"]), said["of"]) == (5, 5)

    tell(tmp_path, story)
