"""Runs of the playground: each lane has an end that is told, and no one takes all the places."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fairlead.control.access import Principal
from fairlead.control.db import queries
from fairlead.control.operator import gate, live, playground, session
from operator_rig import BEARER, Browser, Port, tell

HEAD = playground.Head(200, "gen-1", "lab", "acme/fast")


class Page:
    """A page that reads a run, when it does."""

    def __init__(self, port: Port, headers: dict[str, str] = BEARER) -> None:
        self.port, self.headers, self.status, self.events = port, headers, 0, list[tuple[str, Any]]()
        self.reads, self.gone, self._sent = asyncio.Event(), asyncio.Event(), False
        self.reads.set()
        self.is_over = False

    async def receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": json.dumps({"lanes": [{"model": "acme/fast", "body": {}}]}).encode()}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        if self.status == 200 and message["body"]:
            name, data = message["body"].decode().strip().split("\n")
            self.events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
            await self.reads.wait()

    async def run(self) -> None:
        scope = {
            "type": "http", "method": "POST", "path": "/admin/playground/runs", "root_path": "", "query_string": b"", "client": ("::1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in self.headers.items()],
        }  # fmt: skip
        async with asyncio.timeout(20):
            await self.port.app(scope, self.receive, self.send)
        self.is_over = True

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - what is waited for has many places
                await asyncio.sleep(0.001)


@asynccontextmanager
async def running(port: Port, headers: dict[str, str] = BEARER) -> AsyncIterator[Page]:
    port.desk.facts["data_url"] = "http://127.0.0.1:1"
    page = Page(port, headers)
    task = asyncio.create_task(page.run())
    try:
        yield page
    finally:
        page.gone.set()
        await task


def test_a_lane_that_is_stopped_says_so_to_a_page_that_reads_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def called(*_: Any) -> AsyncIterator[Any]:
        yield HEAD
        while True:
            yield b"{}"

    monkeypatch.setattr(playground, "called", called)

    async def story(port: Port) -> None:
        async with running(port) as page:
            page.reads.clear()
            await page.until(lambda: bool(page.events))
            id = page.events[0][1]["id"]
            await asyncio.sleep(0.05)
            for _ in range(2):
                assert (await port.script.delete(f"/admin/playground/runs/{id}")).json()["data"]["lanes"] == [0]
                await asyncio.sleep(0.01)
            page.reads.set()
            await page.until(lambda: page.events[-1][0] == "stopped")
            await page.until(lambda: not port.desk.runs)

    tell(tmp_path, story)


@pytest.mark.parametrize("what", ["the call", "the store"])
def test_a_lane_that_fails_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    async def called(*_: Any) -> AsyncIterator[Any]:
        yield HEAD
        if what == "the call":
            raise IndexError("of ours")

    def broken(*_: Any) -> Any:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(playground, "called", called)
    monkeypatch.setattr(queries, "generation_of_any_account", broken)

    async def story(port: Port) -> None:
        async with running(port) as page:
            await page.until(lambda: page.events[-1:] != [] and page.events[-1][0] in ("done", "error"))
            name, data = page.events[-1]
            assert (name, data.get("status"), data.get("settled")) == (("error", 500, None) if what == "the call" else ("done", None, None))
            await page.until(lambda: not port.desk.runs)

    tell(tmp_path, story)


def passed(port: Port, ms: int) -> None:
    port.now_ms += ms


async def deleted(port: Port, _: Browser) -> Any:
    assert (await port.script.delete("/admin/keys/playground (member)", headers=EDIT)).status_code == 200
    return await port.script.delete("/admin/users/member", headers=EDIT)


Ending = Callable[[Port, Browser], Awaitable[Any]]
EDIT = {"if-match": "*"}
ENDINGS: dict[str, Ending] = {
    "logged out": lambda port, browser: browser.send("DELETE", "/admin/session"),
    "the log-in is deleted": lambda port, _: port.script.delete("/admin/users/member/login", headers=EDIT),
    "the user is deleted": deleted,
    "another role": lambda port, _: port.script.put("/admin/users/member/login", json={"role": "viewer"}, headers=EDIT),
    "another password": lambda port, _: port.script.put(
        "/admin/users/member/login", json={"role": "member", "password": "another password"}, headers=EDIT
    ),
    "an hour without a request": lambda port, _: asyncio.to_thread(passed, port, gate.IDLE_MS),
}


@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
@pytest.mark.parametrize("frames", [True, False], ids=["frames", "silence"])
@pytest.mark.parametrize("how", ENDINGS)
def test_a_run_ends_with_its_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, frames: bool, reads: bool) -> None:
    calls = []

    async def called(*_: Any) -> AsyncIterator[Any]:
        calls.append("open")
        try:
            yield HEAD
            while frames:
                yield b"{}"
                await asyncio.sleep(0)
            await asyncio.Event().wait()
        finally:
            calls.append("closed")

    monkeypatch.setattr(playground, "called", called)
    monkeypatch.setattr(live, "ALIVE_SECONDS", 0.01)

    async def story(port: Port) -> None:
        browser = await port.as_role("member")
        cookie = {"host": "127.0.0.1:8081", "cookie": f"fairlead_local={browser.client.cookies['fairlead_local']}"}
        async with running(port) as other, running(port, {**browser.headers, **cookie}) as page:
            await page.until(lambda: any(name == "head" for name, _ in page.events) and bool(other.events))
            assert calls == ["open", "open"]
            if not reads:
                page.reads.clear()
            response = await ENDINGS[how](port, browser)
            assert response is None or response.status_code == 200, response.text
            await page.until(lambda: calls == ["open", "open", "closed"])
            page.reads.set()
            await page.until(lambda: page.is_over)
            assert page.events[-1] == ("end", {"reason": "logged_out"})
            # Programs have no log-in that could end.
            assert len(port.desk.runs) == 1 and not other.is_over

    tell(tmp_path, story)


def test_a_run_goes_on_while_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, ends = [], asyncio.Event()

    async def called(*_: Any) -> AsyncIterator[Any]:
        yield HEAD
        await ends.wait()

    async def is_alive(*_: Any) -> bool:
        looks.append(1)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(playground, "called", called)
    monkeypatch.setattr(session, "is_alive", is_alive)
    monkeypatch.setattr(live, "ALIVE_SECONDS", 0.001)

    async def story(port: Port) -> None:
        async with running(port) as page:
            await page.until(lambda: len(looks) > 3)
            ends.set()
            await page.until(lambda: page.is_over)
            assert page.events[-1][0] == "done"

    tell(tmp_path, story)


def test_no_more_runs_than_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def called(*_: Any) -> AsyncIterator[Any]:
        yield HEAD
        await asyncio.Event().wait()

    monkeypatch.setattr(playground, "called", called)

    async def story(port: Port) -> None:
        port.desk.facts["data_url"] = "http://127.0.0.1:1"
        pages = [Page(port) for _ in range(playground.MOST_RUNS + 4)]
        tasks = [asyncio.create_task(page.run()) for page in pages]
        await pages[0].until(lambda: all(page.status for page in pages))
        assert sorted(page.status for page in pages) == [200] * playground.MOST_RUNS + [429] * 4
        for page in pages:
            page.gone.set()
        await asyncio.gather(*tasks)
        assert not port.desk.runs
        # Of one user fewer, so that others find a place.
        member = await port.as_role("member")
        user = (await member.send("GET", "/admin/session")).json()["data"]["user_id"]
        for number in range(playground.MOST_OF_USER):
            port.desk.runs[str(number)] = playground.Run(Principal("user", user=user))
        refused = await member.send("POST", "/admin/playground/runs", {"lanes": [{"model": "acme/fast", "body": {}}]})
        assert refused.status_code == 429 and "of this user" in refused.text

    tell(tmp_path, story)


def test_each_lane_may_have_its_images(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        image = {"messages": [{"role": "user", "content": "x" * 1_000_000}]}
        lanes = [{"model": "acme/fast", "body": image} for _ in range(playground.MOST_LANES)]
        refused = await port.script.post("/admin/playground/runs", json={"lanes": lanes})
        assert refused.status_code == 503 and "traffic port" in refused.text, "read, and then there is no port in this test"
        assert (await port.script.post("/admin/playground/runs", json={"lanes": lanes * 2})).status_code == 413

    tell(tmp_path, story)
