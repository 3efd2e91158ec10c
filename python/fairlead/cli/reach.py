"""How a command reaches the installation it is about: the running process over its private socket, or else the data folder itself.

Either way the command speaks to the same routes as the operator. Without a running process it takes the lock, brings the journal's rest
into the database, and calls the application in its own process.
"""

import argparse
import asyncio
import http.client
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode

import msgspec

from fairlead import config
from fairlead.cli.configured import add_config_option
from fairlead.cli.output import failed, mistaken
from fairlead.config import Mistakes
from fairlead.config.schema import Server
from fairlead.control import place
from fairlead.control.place import InUse, PlaceError

TIMEOUT_SECONDS = 30.0
OPERATOR = {"x-fairlead-principal": "operator", "content-type": "application/json"}


class Refused(Exception):
    """The installation said no; the text is what it said."""


class Installation(Protocol):
    """The operator's routes."""

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded reply. Raises `Refused`."""
        ...


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and `--data-dir`."""
    add_config_option(parser)
    parser.add_argument("--data-dir", metavar="D", help="data folder; otherwise as the configuration says")


def options_of_actions() -> argparse.ArgumentParser:
    """A parent for the parsers of a command's actions: `--json`, `--config` and `--data-dir` may stand behind the action too."""
    parent = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parent.add_argument("--json", action="store_true", help="write JSON instead of text")
    add_options(parent)
    return parent


def run(arguments: argparse.Namespace, story: Callable[[Installation], int], may_make: bool = False) -> int:
    """Runs a command against its installation; mistakes become lines on stderr (or JSON) and exit codes."""
    try:
        with reached(arguments.config, arguments.data_dir, may_make) as installation:
            return story(installation)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    except (Refused, PlaceError, sqlite3.Error, OSError) as error:
        return failed(arguments, error)


@contextmanager
def reached(config_option: str | None, data_dir_option: str | None, may_make: bool = False) -> Iterator[Installation]:
    """The installation that the configuration names; one that there is not yet is made if it may be.

    Raises `Mistakes`, `PlaceError`, `OSError`.
    """
    server, data_dir = settings(config_option, data_dir_option)
    if not (data_dir / place.DATABASE).exists():
        if not may_make:
            raise PlaceError(f"there is no data folder at {data_dir}; the first start makes it, --data-dir names another")
        sys.stderr.write(f"making the data folder {data_dir}\n")
        place.make_data_dir(data_dir)
    try:
        lock = place.Lock(data_dir)
    except InUse as error:
        holder = place.holder(data_dir)
        if holder is None or not holder.control_socket:
            raise PlaceError(f"{error}, which cannot be asked: it is starting, or it is another command") from None
        yield Running(Path(holder.control_socket))
        return
    try:
        with _offline(server, data_dir) as installation:
            yield installation
    finally:
        lock.release()


def settings(config_option: str | None, data_dir_option: str | None) -> tuple[Server, Path]:
    """The configuration's `[server]` and the data folder. Raises `Mistakes` when something is wrong with just that table.

    The rest may be wrong here and right where the server runs: a provider's variable, for one, is set there and not in every shell.
    """
    loaded = config.load(config.find(config_option, os.environ), os.environ)
    if any(problem.path.split(".")[0] == "server" for problem in loaded.document.errors):
        raise Mistakes(loaded.document.problems)
    server = loaded.config.server
    return server, Path(data_dir_option or server.data_dir).expanduser().absolute()


def path_of(*parts: str, **query: str | None) -> str:
    """A path with a query string, both quoted; a query whose value is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return "/" + "/".join(quote(part, safe="") for part in parts) + (f"?{urlencode(given)}" if given else "")


class Running:
    """A running process, over its private socket."""

    def __init__(self, control_socket: Path) -> None:
        self._control_socket = control_socket

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """See `Installation`."""
        connection = UnixConnection(self._control_socket, TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body), OPERATOR)
            response = connection.getresponse()
            return decoded(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"the running process does not answer at {self._control_socket}: {error}") from None
        finally:
            connection.close()


class UnixConnection(http.client.HTTPConnection):
    """A connection to a process's private socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("control", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Opens it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Offline:
    """The data folder of an installation that does not run."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """See `Installation`."""
        return asyncio.run(self._call(method, path, b"" if body is None else msgspec.json.encode(body)))

    async def _call(self, method: str, path: str, body: bytes) -> Any:
        route, _, query = path.partition("?")
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(route),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in OPERATOR.items()],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        return decoded(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))


def decoded(status: int, body: bytes) -> Any:
    """A reply's JSON. Raises `Refused` for an error, and for what is none."""
    try:
        content = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Refused(f"status {status}: {body[:200].decode(errors='replace')}") from None
    if status >= 400:
        raise Refused(content["error"]["message"])
    return content


@contextmanager
def _offline(server: Server, data_dir: Path) -> Iterator[Offline]:
    """Under the lock."""
    from fairlead.control.app import private_app
    from fairlead.control.db import Database, SchemaError
    from fairlead.control.desk import Desk
    from fairlead.control.directory import Directory, WrongSecret, check_secret
    from fairlead.control.drain import Drainer
    from fairlead.control.offer import Offer
    from fairlead.control.resting import RestingEngine
    from fairlead.runtime import native_module

    secret = place.server_secret(data_dir, server.secret)
    try:
        database = Database(data_dir / place.DATABASE)
    except SchemaError as error:
        raise PlaceError(str(error)) from None
    try:
        check_secret(database, secret)
        engine = RestingEngine(lambda account, id: native_module().read_content(str(data_dir / place.CONTENT), secret, account, id))
        drainer = Drainer(database, journal_reader(data_dir), engine)
        asyncio.run(drainer.finish())
        desk = Desk(
            database=database,
            directory=Directory(database, secret),
            engine=engine,
            drainer=drainer,
            offer=Offer((), ()),
            admin_token_digest="",
            reload=_no_reload,
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        yield Offline(private_app(desk))
    except WrongSecret as error:
        raise PlaceError(str(error)) from None
    finally:
        database.close()


def journal_reader(data_dir: Path) -> Any:
    """Opens readers of the journal; of none when there is no journal yet."""
    from fairlead.control.resting import NothingToRead
    from fairlead.runtime import native_module

    journal = data_dir / place.JOURNAL
    if not journal.is_dir():
        return lambda cursors: NothingToRead()
    return lambda cursors: native_module().JournalReader(str(journal), cursors)


async def _no_reload() -> str:
    raise ValueError("no process runs on this data folder")
