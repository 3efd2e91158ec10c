"""The admin port in a test: people who log in with a browser, scripts with the token, and a clock that stands still."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from control_rig import NOW_MS, FakeJournal
from fairlead.control import secret
from fairlead.control.app import ADMIN, admin_app, private_app
from fairlead.control.db import Database, operators
from fairlead.control.db.operators import Login
from fairlead.control.desk import Desk
from fairlead.control.directory import Directory, NewKey, NewScope, one_scope
from fairlead.control.drain import Drainer
from fairlead.control.operator import passwords
from fairlead.control.operator.gate import Gate
from fairlead.control.operator.live import Hub
from test_control import OFFER

SECRET = bytes(range(32))
TOKEN = "fl-admin-token-of-tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}
ORIGIN = "http://127.0.0.1:8081"
PASSWORD = "correct horse battery"
ROLES = ("viewer", "member", "admin", "owner")


async def as_described(response: httpx.Response) -> None:
    """Every good reply has the shape that its route's description says."""
    method, path = response.request.method, response.request.url.path
    matching = [resource for resource in ADMIN if resource.method == method and re.fullmatch(_pattern(resource.path), path)]
    # A path without a name in it wins, as in the router.
    matching.sort(key=lambda resource: resource.path.count("{"))
    if response.status_code >= 300 or not matching or matching[0].reply is None:
        return
    if response.headers["content-type"].startswith("application/json"):
        assert response.status_code in (matching[0].status, 200), (method, path, response.status_code)
        msgspec.json.decode(await response.aread(), type=matching[0].reply)


def _pattern(path: str) -> str:
    return re.sub(r"\{\w+(:path)?\}", lambda name: "(.+)" if name[1] else "([^/]+)", path)


CHECKED = {"response": [as_described]}


class Browser:
    """A page of the console: its cookies, its origin, its CSRF token."""

    def __init__(self, app: Any, origin: str = ORIGIN) -> None:
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=origin, event_hooks=CHECKED)
        self.headers = {"origin": origin, "sec-fetch-site": "same-origin", "content-type": "application/json"}

    async def log_in(self, **body: Any) -> httpx.Response:
        """Logs in; the CSRF token is known from then on."""
        response = await self.send("POST", "/admin/session", body)
        if response.status_code == 200:
            self.headers["x-fairlead-csrf"] = response.json()["data"]["csrf"]
        return response

    async def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> httpx.Response:
        """A request as the page makes it; None takes a header away."""
        said = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        content = None if body is None else msgspec.json.encode(body)
        return await self.client.request(method, path, content=content, headers={k: v for k, v in said.items() if v is not None})


class Port:
    """The admin port and what lies behind it."""

    def __init__(self, folder: Path) -> None:
        self.now_ms = NOW_MS
        self.journal = FakeJournal()
        self.database = Database(folder / "fairlead.db")
        self.directory = Directory(self.database, SECRET, self.journal, lambda: self.now_ms)
        self.drainer = Drainer(self.database, self.journal.open_reader, self.journal)
        self.reloads = 0
        self.desk = Desk(
            self.database, self.directory, self.journal, self.drainer, OFFER, secret.token_digest(TOKEN), self._reload, lambda: self.now_ms,
            {"version": "0"}, gate=Gate(SECRET, lambda: self.now_ms), live=Hub(lambda: self.now_ms),
        )  # fmt: skip
        self.app = admin_app(self.desk)
        self.script = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://anywhere", headers=BEARER, event_hooks=CHECKED
        )
        self.socket = httpx.AsyncClient(transport=httpx.ASGITransport(private_app(self.desk)), base_url="http://control")

    async def _reload(self) -> str:
        self.reloads += 1
        return "configuration 2 in force"

    def browser(self, origin: str = ORIGIN) -> Browser:
        """Somebody's browser, not logged in yet."""
        return Browser(self.app, origin)

    def user(self, name: str, role: str, team: str = "", account: str = "default") -> int:
        """Makes a user who can log in with `PASSWORD`; the id."""
        made = self.directory.create_scope(NewScope("user", name, account, team))
        kept = _hash()
        self.database.write_now(lambda c: operators.set_login(c, Login(made.id, role, kept, 1, self.now_ms)))
        return made.id

    async def as_role(self, role: str, team: str = "") -> Browser:
        """A browser in which a user of this role has logged in; the user is made where there is none."""
        name = f"{role}-{team}" if team else role
        if not self.database.read_now(lambda c: c.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone()):
            self.user(name, role, team)
        browser = self.browser()
        response = await browser.log_in(name=name, password=PASSWORD)
        assert response.status_code == 200, response.text
        return browser

    def audit(self) -> list[dict[str, Any]]:
        """The log, oldest first."""
        rows = self.database.read_now(lambda c: operators.audit_before(c, None, 1000, ()))
        return [
            row | {side: None if row[side] is None else msgspec.json.decode(row[side]) for side in ("before", "after")} for row in rows
        ][::-1]

    def role_of(self, name: str) -> str:
        """As stored."""

        def work(c: Any) -> str:
            found = operators.login(c, one_scope(c, "user", name).id)
            assert found
            return found.role

        return self.database.read_now(work)


_kept: list[str] = []


def _hash() -> str:
    if not _kept:
        _kept.append(passwords.hashed(PASSWORD))
    return _kept[0]


@asynccontextmanager
async def port(folder: Path) -> AsyncIterator[Port]:
    built = Port(folder)
    built.directory.publish_all()
    built.directory.create(NewKey(name="first"))
    task = asyncio.create_task(built.drainer.run())
    try:
        yield built
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        built.database.close()


def tell(folder: Path, story: Callable[[Port], Awaitable[None]]) -> None:
    """Runs a story at an admin port."""

    async def main() -> None:
        async with port(folder) as built:
            await story(built)

    asyncio.run(main())


def routes() -> list[tuple[str, str]]:
    """Method and path of every route of the admin port."""
    return [(resource.method, resource.path) for resource in ADMIN]
