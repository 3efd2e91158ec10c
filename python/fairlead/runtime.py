"""`fairlead serve`: one process that is the data plane (Rust, on its own threads) and the control plane (Granian, in this one's loop).

Starting: configuration → data folder and lock → secret → database → keys of a first start → simulator → snapshot → engine → control
plane → traffic port → ready. The traffic port opens last, when everything behind it answers. Stopping: the engine hears SIGTERM itself and
drains without us; when it says that it has stopped, the control plane closes, the journal is drained to its end, the database is closed.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import anyio
import msgspec

from fairlead import __version__, config
from fairlead.catalog import Catalogue, current
from fairlead.catalog.document import Document
from fairlead.catalog.positions import Path as Place
from fairlead.config import Compiled, ConfigKey, ConfigTeam, ConfigUser, Loaded, Mistakes, made, report
from fairlead.config.schema import Server
from fairlead.control import names, place, secret, spending, trail
from fairlead.control.app import admin_app, private_app
from fairlead.control.db import Database, SchemaError, queries, rollups
from fairlead.control.desk import Desk
from fairlead.control.directory import Directory, NewKey, WrongSecret, check_secret, conflicts
from fairlead.control.drain import Drainer
from fairlead.control.engine import Engine, Reader
from fairlead.control.hosting import HostError, tcp_host, unix_host
from fairlead.control.offer import Offer
from fairlead.control.operator import drains
from fairlead.control.operator.gate import Gate
from fairlead.control.operator.openid import OpenId
from fairlead.control.place import PlaceError
from fairlead.control.sign_in import SignIns
from fairlead.control.upkeep import Upkeep

log = logging.getLogger("fairlead")

T = TypeVar("T")

FINE, FAILED, MISUSE = 0, 1, 2
NODE = "node"
STARTED_BEFORE = "first_start_ms"
WATCH_SECONDS = 2.0
# What is decided when the process starts; a reload says so when one of these changed.
AT_START_ONLY = ("data", "admin", "data_dir", "secret", "tls", "workers", "drain_ms")


class Options(NamedTuple):
    """The command line. None: as the configuration says."""

    config: str | None = None
    data_addr: str | None = None
    admin_addr: str | None = None
    data_dir: str | None = None
    json: bool = False


class ReloadFailure(NamedTuple):
    """Why what stands in the file is not what is in force."""

    at_ms: int
    message: str


class RunningEngine(Engine, Protocol):
    """The native engine, as its owner sees it."""

    @property
    def address(self) -> str:
        """The traffic port as bound."""
        ...

    def start(self) -> None:
        """Opens the traffic port and hears SIGTERM and SIGINT from now on; OSError when it cannot."""
        ...

    def fileno(self) -> int:
        """Readable when `poll` has news."""
        ...

    def poll(self) -> list[str]:
        """Takes the news: `journal`, `draining`, `stopped`."""
        ...

    def failure(self) -> str | None:
        """Why it stopped of its own accord, if it did."""
        ...

    def stop(self) -> None:
        """Ends everything now and closes the journal; harmless twice, but nothing else may be called afterwards."""
        ...


class Simulator(Protocol):
    """The native simulator."""

    @property
    def address(self) -> str:
        """Host and port as bound."""
        ...

    def stop(self) -> None:
        """Ends it; harmless twice."""
        ...


class Replay(Protocol):
    """Logged decisions, made again."""

    def read(self, most: int) -> list[str]:
        """Makes up to so many more again; their generations."""
        ...

    def settle(self, happened: bytes, wants_each: bool) -> bytes:
        """Says what came of the last ones, by generation; returns them one by one if that is wanted."""
        ...

    def summary(self) -> bytes:
        """The sums so far."""
        ...


class Native(Protocol):
    """The native module."""

    __version__: str
    GENERATION_COLUMNS: tuple[str, ...]
    ATTEMPT_COLUMNS: tuple[str, ...]
    LOSS_COLUMNS: tuple[str, ...]

    def Engine(self, options: bytes) -> RunningEngine:
        """Opens the journal."""
        ...

    def JournalReader(self, directory: str, cursors: list[queries.Cursor]) -> Reader:
        """Follows the journal."""
        ...

    def Replay(self, snapshot: bytes, directory: str, *, since_ms: int, until_ms: int, most: int) -> Replay:
        """Makes logged decisions again; ValueError when the snapshot is wrong, OSError when the folder cannot be read."""
        ...

    def read_content(self, folder: str, secret: bytes, account: int, id: str) -> bytes | None:
        """The content that was logged of a generation, in a folder that no process has."""
        ...

    def Simulator(self) -> Simulator:
        """Starts a simulator on a free port of this machine."""
        ...

    def estimate_tokens(self, text: str, model: str) -> int:
        """The estimated tokens of a text."""
        ...

    def explain(self, snapshot: bytes, question: bytes) -> bytes:
        """Why a request would go where it would go by this snapshot; ValueError when that is wrong."""
        ...


class StartError(Exception):
    """The process cannot start; one line that says why."""


def serve(options: Options, native: Native | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT. Returns 0, 1 when it cannot run, 2 when the configuration is wrong."""
    began = time.perf_counter()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    # Until the engine takes these over, they end the process at once. Python's own handler for SIGINT would otherwise be called beside
    # the engine's and cancel the main task in the middle of a drain.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with ExitStack() as stack:
            process = Process(options, native or native_module(), os.environ if environ is None else environ, stack)
            return anyio.run(process.run, began, backend_options={"use_uvloop": True})
    except Mistakes as mistakes:
        sys.stderr.write(report.text(mistakes.problems))
        return MISUSE
    except (StartError, PlaceError, SchemaError, rollups.ZoneIsFixed, WrongSecret, HostError, sqlite3.Error, OSError, ValueError) as error:
        sys.stderr.write(f"fairlead: {error}\n")
        return FAILED


class Process:
    """Everything that lives as long as the process. `stack` gets what must be closed, in the order it was opened."""

    def __init__(self, options: Options, native: Native, environ: Mapping[str, str], stack: ExitStack) -> None:
        """Opens everything but ports. Raises whatever stands in the way, before anything is changed where that is possible."""
        check_native(native)
        # Heard before anything is read, so that what is written while we start is not missed, and never deadly.
        self._hung_up = False
        self._failure_said: str | None = None
        signal.signal(signal.SIGHUP, self._note_hang_up)
        self._options = options
        self._native = native
        self._environ = environ
        self._stack = stack
        self._simulator: Simulator | None = None
        self._version = 0
        # What was made at run time and is in force: no reload may lose it.
        self._kept: frozenset[names.Key] = frozenset()
        self._drained: frozenset[int] = frozenset()
        self.failure: ReloadFailure | None = None
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        given = {"data": options.data_addr, "admin": options.admin_addr, "data_dir": options.data_dir}
        self.from_command_line: frozenset[Place] = frozenset(("server", name) for name, value in given.items() if value)
        # A look at the whole configuration before the first folder is made.
        loaded = self._load()
        config.compile(loaded, current(loaded.config.server.data_dir), environ)
        server = loaded.config.server
        self.data_dir = Path(server.data_dir)
        lock = self._take_data_dir() if self.data_dir.is_dir() else None
        # Before anything is made or written. The engine has the last word about its own when it binds it.
        place.free_address(server.data, place.Port.TRAFFIC)
        self.admin = place.free_address(server.admin, place.Port.ADMIN)
        lock = lock or self._take_data_dir()
        run_dir = place.run_dir(self.data_dir)
        place.make_run_dir(run_dir)
        stack.callback(place.remove_run_dir, run_dir)
        self._control_socket = run_dir / place.CONTROL_SOCKET
        self._secret = place.server_secret(self.data_dir, server.secret)
        self.database = Database(self.data_dir / place.DATABASE)
        stack.callback(self.database.close)
        check_secret(self.database, self._secret)
        self.loaded, self._catalogue, compiled, self._of_file = self._compile()
        self._put(compiled)
        self.database.write_now(lambda connection: rollups.fix_zone(connection, self.compiled.storage.reporting_zone))
        # What runs until the end, whatever later configurations say.
        self._started = self.compiled
        self._first_key: str | None = None
        self.engine = self._open_engine()
        stack.callback(self.engine.stop)
        self._sign_ins = SignIns(self._publish_tokens)
        self._openid: OpenId | None = None
        self._load_snapshot(self.compiled, self._version)
        self.directory = Directory(self.database, self._secret, self.engine)
        self.directory.publish_all(*_owned(self.compiled))
        # Whose rates there are is known by now. Before the drain moves the cursors that the engine began at.
        self.engine.resume_spending(self.database.read_now(lambda connection: spending.stored(connection, time.time_ns() // 1_000_000)))
        lock.describe(str(self._control_socket))

    async def run(self, began: float) -> int:
        """Serves until the engine has stopped; then ends in order."""
        drainer = Drainer(self.database, self._open_reader, self.engine)
        self._desk = self._make_desk(drainer)
        hosts = [unix_host(private_app(self._desk), self._control_socket), tcp_host(admin_app(self._desk), *self.admin)]
        background: list[asyncio.Task[Any]] = []
        bell = self.engine.fileno()
        try:
            await asyncio.gather(*(host.start() for host in hosts))
            self._listen(bell, drainer)
            await self._sign_ins.add(self.compiled.sign_ins)
            await self._publish_tokens()
            self.engine.start()
            background += [asyncio.create_task(drainer.run()), asyncio.create_task(self._watch())]
            background.append(asyncio.create_task(Upkeep(self._desk).run()))
            self._first_key = await asyncio.to_thread(self._first_start)
            self._desk.facts["data"] = self.engine.address
            self._desk.facts["data_url"] = self._data_url()
            self._announce(time.perf_counter() - began)
            await self._stopped.wait()
        finally:
            asyncio.get_running_loop().remove_reader(bell)
            self._sign_ins.keep_only(())
            self._desk.live.close()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, *(host.stop() for host in hosts), return_exceptions=True)
        return await self._drain_to_the_end(drainer)

    async def reload(self) -> str:
        """Puts the configuration file in force as it is now and says what that is; ValueError with every mistake leaves the old one."""
        try:
            message = await self._reload()
        except Exception as error:
            self.failure = ReloadFailure(time.time_ns() // 1_000_000, str(error))
            self._desk.live.publish("config", {"version": self._version, "message": str(error), "failed": True})
            raise
        self.failure = None
        self._desk.live.publish("config", {"version": self._version, "message": message, "failed": False})
        return message

    async def _reload(self) -> str:
        async with self._reloading:
            try:
                loaded, catalogue, compiled, of_file = await asyncio.to_thread(self._compile)
            except Mistakes as mistakes:
                raise ValueError(report.text(mistakes.problems).strip()) from None
            except OSError as error:
                raise ValueError(str(error)) from None
            kept = self.compiled.sign_ins
            try:
                await self._sign_ins.add(compiled.sign_ins)
                self._load_snapshot(compiled, self._version)
                kept = compiled.sign_ins
            finally:
                self._sign_ins.keep_only(kept)
            # No await in between: a new admin token opens both ports from the same moment on, and the old one neither.
            self._desk.admin_token_digest = secret.token_digest(self._admin_token(compiled.server))
            self._desk.offer = Offer(compiled.models, compiled.providers)
            await asyncio.to_thread(self.directory.sync_file, *_owned(compiled))
            self._desk.credits, self._desk.alerts = compiled.credits, compiled.alerts
            self._desk.retention_days = compiled.storage.retention_days
            self.loaded, self._catalogue, self._of_file = loaded, catalogue, of_file
            self._put(compiled)
            self._desk.openid = self._open_id()
            self._desk.gate.admin_urls = tuple(compiled.server.admin_urls)
            at_ms, said = time.time_ns() // 1_000_000, {"version": self._version}
            target = ("config", self._version, str(loaded.path or ""))
            await self.database.write(lambda connection: trail.note(connection, at_ms, "config.reload", target, None, said))
            later = [f"server.{name}" for name in AT_START_ONLY if getattr(self._started.server, name) != getattr(compiled.server, name)]
            storage = compiled.storage
            fixed = [name for name in storage.__struct_fields__ if name != "retention_days"]
            later += [f"storage.{name}" for name in fixed if getattr(self._started.storage, name) != getattr(storage, name)]
        message = f"configuration {self._version} in force: {_counted(compiled)}"
        if later:
            message += f"; at the next start: {', '.join(later)}"
        return message

    async def change_names(self, key: names.Key, work: Callable[[sqlite3.Connection], T]) -> T:
        """Changes a name that was made at run time: `work` in a transaction, and all of them in force as they are then. Raises what `work`
        raises, and `Mistakes` where that name cannot stand for what it shall; then nothing has changed."""
        async with self._reloading:
            self._version += 1
            version, loads = self._version, False

            def change(connection: sqlite3.Connection) -> tuple[T, Compiled]:
                nonlocal loads
                value = work(connection)
                # What there is to say about the file was said when it was put in force.
                compiled = names.completed(connection, self._of_file, Document("", {}), {*self._kept, key}, version)
                loads = True
                # Before the commit: what the data plane does not take is not stored either.
                self._load_snapshot(compiled, version)
                return value, compiled

            try:
                value, compiled = await self.database.write(change)
            except BaseException:
                if loads:
                    self._load_snapshot(self.compiled, version)
                raise
            self._put(compiled)
        self._desk.live.publish("config", {"version": version, "message": f"{' '.join(key)} was changed", "failed": False})
        return value

    def _put(self, compiled: Compiled) -> None:
        self.compiled, self._kept = compiled, frozenset(made.in_force(compiled))

    def _load_snapshot(self, compiled: Compiled, version: int) -> None:
        """Puts a configuration in force, with the tokens that there are now."""
        tokens = self._sign_ins.tokens(compiled.sign_ins)
        drained = drains.ids(self.database.read_now(drains.stored), time.time_ns() // 1_000_000)
        snapshot = compiled.snapshot
        if compiled.sign_ins or drained or self._drained:
            snapshot = config.with_tokens(snapshot, version, tokens)
        self.engine.load_snapshot(drains.without(snapshot, drained) if drained else snapshot)
        self._tokens_in_force, self._drained = tokens, drained

    async def republish(self) -> None:
        """Puts the configuration in force anew when what is set aside has changed."""
        async with self._reloading:
            drained = await self.database.read(drains.stored)
            if drains.ids(drained, time.time_ns() // 1_000_000) != self._drained:
                self._version += 1
                await asyncio.to_thread(self._load_snapshot, self.compiled, self._version)

    async def _publish_tokens(self) -> None:
        """Puts the configuration in force anew when tokens have changed. It is as it was in all else, so nothing is read again."""
        async with self._reloading:
            if self._sign_ins.tokens(self.compiled.sign_ins) != self._tokens_in_force:
                self._version += 1
                self._load_snapshot(self.compiled, self._version)

    # --- starting -----------------------------------------------------------------------------------------------------

    def _take_data_dir(self) -> place.Lock:
        place.make_data_dir(self.data_dir)
        lock = place.Lock(self.data_dir)
        self._stack.callback(lock.release)
        return lock

    def _load(self) -> Loaded:
        return self._placed(config.load(config.find(self._options.config, self._environ), self._environ))

    def _placed(self, loaded: Loaded) -> Loaded:
        """With what the command line says."""
        server = loaded.config.server
        server.data = self._options.data_addr or server.data
        server.admin = self._options.admin_addr or server.admin
        if self._options.data_dir is not None:
            server.data_dir = self._options.data_dir
        server.data_dir = str(Path(server.data_dir).expanduser().absolute())
        return loaded

    def _compile(self) -> tuple[Loaded, Catalogue, Compiled, Compiled]:
        """The configuration and the catalogue as they are now, and what comes of them, with the database's endpoint ids: with what was made
        at run time, and without. Raises `Mistakes`."""
        loaded = self._load()
        catalogue = current(self.data_dir)
        if self._simulator is None and config.simulator_is_on(loaded, catalogue, self._environ):
            self._simulator = self._native.Simulator()
            self._stack.callback(self._simulator.stop)
        self._version += 1

        def work(connection: sqlite3.Connection) -> tuple[Compiled, Compiled]:
            return self._compiled(connection, loaded, catalogue, lambda *place: queries.endpoint_id(connection, *place))

        return loaded, catalogue, *self.database.write_now(work)

    def judge(self, text: str, known: Container[str] | None = None) -> tuple[Loaded, Compiled]:
        """A text in place of the file's, compiled and not put in force. `known` as for `config.read`. Raises `Mistakes`. Blocks."""
        loaded = self._placed(config.read(text, self.loaded.path or Path("fairlead.toml").absolute(), self._environ, known))
        catalogue = current(self.data_dir)

        def work(connection: sqlite3.Connection) -> Compiled:
            known = queries.endpoints(connection)
            ids = lambda *place: known.get(place) or config.hashed_endpoint_id(*place)  # noqa: E731 - shorter than its types
            return self._compiled(connection, loaded, catalogue, ids)[0]

        return loaded, self.database.read_now(work)

    def _compiled(
        self, connection: sqlite3.Connection, loaded: Loaded, catalogue: Catalogue, endpoint_id: Callable[[str, str, str, str], int]
    ) -> tuple[Compiled, Compiled]:
        compiled = config.compile(
            loaded,
            catalogue,
            self._environ,
            version=self._version,
            simulator_address=self._simulator.address if self._simulator else None,
            endpoint_id=endpoint_id,
            admin_token_hash=secret.stored_hash(self._secret, self._admin_token(loaded.config.server)),
        )
        for path, message in conflicts(connection, self._secret, compiled.keys, compiled.teams, compiled.users):
            loaded.document.report(path, message)
        return names.completed(connection, compiled, loaded.document, self._kept), compiled

    def _first_start(self) -> str | None:
        """At the first start of a data folder: makes a key and returns it, for the one time that it is shown.

        Called when nothing stands in the way of showing it any more.
        """
        if self.database.read_now(lambda connection: queries.meta(connection, STARTED_BEFORE)) is not None:
            return None
        _, key = self.directory.create(NewKey(name="first"))
        now_ms = str(time.time_ns() // 1_000_000)
        self.database.write_now(lambda connection: queries.set_meta(connection, STARTED_BEFORE, now_ms))
        return key

    def _open_engine(self) -> RunningEngine:
        server = self.compiled.server
        host, port = place.resolved(server.data, "the traffic address")

        def stored(connection: sqlite3.Connection) -> tuple[int, list[queries.Cursor]]:
            return int(queries.meta(connection, NODE) or 0), queries.cursors(connection)

        node, cursors = self.database.read_now(stored)
        options = {
            "data": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "workers": server.workers,
            "journal_dir": str(self.data_dir / place.JOURNAL),
            "responses_dir": str(self.data_dir / place.RESPONSES),
            "content_dir": str(self.data_dir / place.CONTENT),
            "idempotency_dir": str(self.data_dir / place.IDEMPOTENCY),
            "decisions_dir": str(self.data_dir / place.DECISIONS),
            "control_socket": str(self._control_socket),
            "secret": self._secret.hex(),
            "node": node,
            "tls": {"cert": server.tls.cert, "key": server.tls.key} if server.tls else None,
            "drain_ms": server.drain_ms,
            "cursors": cursors,
            "durability": self.compiled.storage.durability,
        }
        return self._native.Engine(msgspec.json.encode(options))

    def _open_reader(self, cursors: list[queries.Cursor]) -> Reader:
        return self._native.JournalReader(str(self.data_dir / place.JOURNAL), cursors)

    def _admin_token(self, server: Server) -> str:
        return server.admin_token or secret.admin_token(self._secret)

    def _make_desk(self, drainer: Drainer) -> Desk:
        return Desk(
            database=self.database,
            directory=self.directory,
            engine=self.engine,
            drainer=drainer,
            offer=Offer(self.compiled.models, self.compiled.providers),
            admin_token_digest=secret.token_digest(self._admin_token(self.compiled.server)),
            reload=self.reload,
            now_ms=lambda: time.time_ns() // 1_000_000,
            sign_ins=self._sign_ins.states,
            credits=self.compiled.credits,
            alerts=self.compiled.alerts,
            retention_days=self.compiled.storage.retention_days,
            configured=self,
            republish=self.republish,
            estimate_tokens=self._native.estimate_tokens,
            openid=self._open_id(),
            catalogue=lambda: self._catalogue,
            gate=Gate(self._secret, lambda: time.time_ns() // 1_000_000, tuple(self.compiled.server.admin_urls)),
            facts={
                "version": __version__,
                "native_version": self._native.__version__,
                "pid": os.getpid(),
                "started_at": time.time_ns() // 1_000_000,
                "config": str(self.loaded.path) if self.loaded.path else None,
                "admin": _joined(*self.admin),
            },
        )

    def _open_id(self) -> OpenId | None:
        """The provider that people log in through; as long as nothing about it changes it stays the same, with what is known of it."""
        settings = self.compiled.oidc
        if settings is None:
            self._openid = None
        elif self._openid is None or self._openid.settings != settings:
            self._openid = OpenId(settings, self._secret, lambda: time.time_ns() // 1_000_000)
        return self._openid

    def _listen(self, bell: int, drainer: Drainer) -> None:
        """Hears the engine and SIGHUP."""
        loop = asyncio.get_running_loop()

        def news() -> None:
            for word in self.engine.poll():
                if word == "journal":
                    drainer.wake()
                elif word == "draining":
                    self._say_failure()
                    log.info("stopping: running requests may finish")
                elif word == "stopped":
                    self._stopped.set()

        def hang_up() -> None:
            task = loop.create_task(self._reload_and_say())
            # The loop itself does not keep a task alive.
            self._reloads.add(task)
            task.add_done_callback(self._reloads.discard)

        loop.add_reader(bell, news)
        loop.add_signal_handler(signal.SIGHUP, hang_up)
        if self._hung_up:
            hang_up()

    def _note_hang_up(self, *_: object) -> None:
        self._hung_up = True

    # --- while it runs ------------------------------------------------------------------------------------------------

    async def _reload_and_say(self) -> None:
        try:
            log.info("%s", await self.reload())
        except Exception as error:
            log.error("the running configuration stays in force:\n%s", error)

    async def _watch(self) -> None:
        """Reloads when a file of the configuration changes, where that is asked for."""
        seen = fingerprint(self.loaded.watched)
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = fingerprint(self.loaded.watched)
            if self.compiled.server.watch and now != seen:
                await self._reload_and_say()
                now = fingerprint(self.loaded.watched)
            seen = now

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _drain_to_the_end(self, drainer: Drainer) -> int:
        try:
            await drainer.finish()
        except Exception as error:
            log.error("records stay in the journal until the next start: %s", error)
            return FAILED
        if self._say_failure():
            return FAILED
        log.info("stopped")
        return FINE

    def _say_failure(self) -> bool:
        """Whether the data plane gave up; why is said once, when it is known."""
        failure = self.engine.failure()
        if failure is not None and failure != self._failure_said:
            log.error("the data plane gave up: %s", failure)
            self._failure_said = failure
        return failure is not None

    def _data_url(self) -> str:
        return f"{'https' if self._started.server.tls else 'http'}://{self.engine.address}"

    # --- what is said at the start ------------------------------------------------------------------------------------

    def _announce(self, seconds: float) -> None:
        facts = {
            "version": __version__,
            "data": self._data_url(),
            "admin": f"http://{_joined(*self.admin)}",
            "login": f"http://{_joined(*self.admin)}/login#code={self._desk.gate.new_code()}",
            "data_dir": str(self.data_dir),
            "config": str(self.loaded.path) if self.loaded.path else None,
            "key": self._first_key,
            "admin_token": self._admin_token(self.compiled.server) if self._first_key and not self.compiled.server.admin_token else None,
            "ready_ms": round(seconds * 1000),
        }
        if self._options.json:
            sys.stdout.write(msgspec.json.encode({"ready": True, **facts}).decode() + "\n")
        else:
            sys.stdout.write("\n".join(banner(facts, self.compiled)) + "\n")
        sys.stdout.flush()
        for line in report.text([*self.compiled.warnings, *made.left_out(self.compiled)]).splitlines():
            log.warning("%s", line)


def banner(facts: Mapping[str, Any], compiled: Compiled) -> Iterable[str]:
    """What a person sees at the start."""
    local = _local(facts["data"])
    yield f"Fairlead {facts['version']}"
    yield f"  traffic  {facts['data']}   OpenAI {local}/v1 · Anthropic {local} · OpenRouter {local}/api/v1"
    yield f"  admin    {facts['admin']}"
    yield f"  log in   {_local(facts['login'])}   (once, within ten minutes)"
    yield f"  data     {facts['data_dir']}"
    yield f"  config   {facts['config'] or 'none: defaults'}, {_counted(compiled)}"
    if facts["key"]:
        yield ""
        yield f"  API key      {facts['key']}"
        if facts["admin_token"]:
            yield f"  admin token  {facts['admin_token']}"
        yield "  They are shown this once. More keys: fairlead keys create NAME"
        model = _example_model(compiled)
        if model:
            body = f'{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}'
            yield ""
            yield f"  curl -N {local}/v1/chat/completions -H 'Authorization: Bearer {facts['key']}' \\"
            yield f"    -H 'Content-Type: application/json' -d '{body}'"
    yield ""
    yield f"ready in {facts['ready_ms'] / 1000:.2f} s"


def _local(url: str) -> str:
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _owned(compiled: Compiled) -> tuple[tuple[ConfigKey, ...], tuple[ConfigTeam, ...], tuple[ConfigUser, ...], bool]:
    """What the file owns of the directory."""
    return compiled.keys, compiled.teams, compiled.users, compiled.credits.enforce


def check_native(native: Native) -> None:
    """Raises `StartError` when the native module is not the one that belongs to this package."""
    if native.__version__ != __version__:
        raise StartError(f"the native module is version {native.__version__}, the package {__version__}; install Fairlead again")
    for name in ("GENERATION_COLUMNS", "ATTEMPT_COLUMNS", "LOSS_COLUMNS"):
        if tuple(getattr(native, name)) != getattr(queries, name):
            raise StartError(f"the native module's {name} are not the database's; install Fairlead again")


def fingerprint(paths: Iterable[Path]) -> list[tuple[int, int, int] | None]:
    """Changes when one of the files is written, replaced or removed."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        found.append(None)
        with contextlib.suppress(OSError):
            facts = path.stat()
            found[-1] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return found


def _example_model(compiled: Compiled) -> str | None:
    ids = [model.id for model in compiled.models]
    return "sim/echo" if "sim/echo" in ids else ids[0] if ids else None


def _counted(compiled: Compiled) -> str:
    parts = [(len(compiled.providers), "provider"), (len(compiled.models), "model")]
    text = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in parts)
    return text + (" (simulator on)" if compiled.simulator else "")


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def native_module() -> Native:
    """The compiled half. Raises `StartError` when it is missing."""
    try:
        return cast(Native, importlib.import_module("fairlead._native"))
    except ImportError as error:
        raise StartError(f"the native module cannot be loaded ({error}); install Fairlead again") from None
