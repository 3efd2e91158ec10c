"""`/admin/playground/runs`: one prompt to several models at once, as one stream of events in which each frame says its lane.

A run's calls are a client's calls: they go through the traffic port, with a key that the caller may change, or else with one of the
caller's own that is made at the first run, has a small limit, and is changed like any other. Nobody is shown its secret; it follows from
the server secret, so that nothing has to be kept.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import secrets
import sqlite3
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fairlead.config import Limits
from fairlead.control import requests, trail
from fairlead.control.access import Principal
from fairlead.control.db import queries
from fairlead.control.db.queries import MOST_INTEGER, Key
from fairlead.control.desk import Call, Desk
from fairlead.control.directory import NewKey, select
from fairlead.control.operator import live, session, sight
from fairlead.control.operator.live import STALL_SECONDS, event_text, left
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import HEADERS, Refusal, forbidden, invalid, not_found, reply
from fairlead.control.secret import KEY_PREFIX, acting

PATH = "/v1/chat/completions"
MOST_LANES, MOST_RUNS, MOST_OF_USER = 6, 8, 3
MOST_RUN_BYTES = 8 << 20
"""Each lane has its images."""
LIMIT = Limits(limit_nanousd=5 * 10**9, limit_interval="day")
MOST_EVENT = 8 << 20
CONNECT_SECONDS = 5.0
ACTING_SECONDS = 60
_LOGGED_OUT: tuple[str, dict[str, Any]] = ("end", {"reason": "logged_out"})

log = logging.getLogger("fairlead.control")


class Lane(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A call: chat completions, with anything that a body may say; `stream` is on."""

    model: Annotated[str, Meta(min_length=1, max_length=300)]
    body: dict[str, Any]


class RunBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`POST /admin/playground/runs`."""

    lanes: Annotated[list[Lane], Meta(min_length=1, max_length=MOST_LANES)]
    key_id: Annotated[int, Meta(ge=1, le=MOST_INTEGER)] | None = None
    """The key that pays, one that the caller may change; absent: the caller's own for runs."""


class StopQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which lane to stop; absent: all."""

    lane: Annotated[int, Meta(ge=0, lt=MOST_LANES)] | None = None


class Stopped(Shape):
    """What was stopped."""

    lanes: list[int]


class StoppedData(Shape):
    """A reply."""

    data: Stopped


@dataclass(slots=True)
class Run:
    """A run in progress."""

    principal: Principal
    lanes: list["asyncio.Task[None]"] = field(default_factory=list)


async def start(call: Call) -> Response:
    """Sends every lane to its model and streams what comes back, each frame with its lane, and at the end what each has cost."""
    wanted, desk = await call.body(RunBody, MOST_RUN_BYTES), call.desk
    if len(desk.runs) >= MOST_RUNS:
        raise Refusal(429, "rate_limit_exceeded", f"{MOST_RUNS} runs are in progress, which is the most there may be", retry_after=5)
    user = call.principal.user
    if user and sum(run.principal.user == user for run in desk.runs.values()) >= MOST_OF_USER:
        message = f"{MOST_OF_USER} runs of this user are in progress, which is the most there may be"
        raise Refusal(429, "rate_limit_exceeded", message, retry_after=5)
    address = desk.facts.get("data_url")
    if not address:
        raise Refusal(503, "server", "the traffic port is not open yet")
    id = f"run-{secrets.token_hex(12)}"
    # Counted before anything is waited for.
    run = desk.runs[id] = Run(call.principal)
    try:
        key, secret = await _payer(desk, call.principal, wanted.key_id)
    except BaseException:
        del desk.runs[id]
        raise
    return RunStream(desk, id, run, wanted.lanes, key, secret, str(address))


async def stop(call: Call) -> Response:
    """Stops a lane and its upstream call, or all of them."""
    asked, id = call.asked(StopQuery), call.place("id")
    run = call.desk.runs.get(id)
    if run is None or (run.principal.kind, run.principal.user) != (call.principal.kind, call.principal.user):
        raise not_found(f"there is no run {id[:60]!r} in progress")
    wanted = range(len(run.lanes)) if asked.lane is None else [lane for lane in [asked.lane] if lane < len(run.lanes)]
    stopped = [lane for lane in wanted if run.lanes[lane].cancel()]
    return reply({"data": {"lanes": stopped}})


# --- the key that pays ------------------------------------------------------------------------------------------------


async def _payer(desk: Desk, principal: Principal, key_id: int | None) -> tuple[Key, str]:
    if key_id is None:
        return await asyncio.to_thread(own_key, desk, principal)
    return await chosen_key(desk, principal, key_id)


def own_key(desk: Desk, principal: Principal) -> tuple[Key, str]:
    """The caller's key for runs, made where there is none. One that was deleted is followed by another; that of a user is of
    its present team. Blocks."""
    if principal.kind != "user":
        return derived_key(desk, NewKey(name="playground", limits=LIMIT), "playground", 0)
    account = desk.database.read_now(lambda connection: queries.account_name(connection, principal.account))
    new = NewKey(name=f"playground ({principal.name})", limits=LIMIT, account=account, user=principal.name)
    key, secret = derived_key(desk, new, "playground", principal.user)
    if (key.user_id, key.team_id) != (principal.user, principal.team):
        # Without a team of its own a key has its user's.
        key = desk.directory.change(lambda connection: select(connection, key.public_hash), {"user": principal.name, "team": ""})
    return key, secret


async def chosen_key(desk: Desk, principal: Principal, id: int) -> tuple[Key, str]:
    """A key that the caller may change, and what stands for its secret for a minute. That it pays stands in the audit log."""
    at_ms = desk.now_ms()

    def work(connection: sqlite3.Connection) -> Key:
        key = queries.key(connection, id)
        if key is None or not sight.sees_key(principal, key):
            raise not_found(f"key_id: there is no key {id}")
        if not sight.owns_key(principal, key):
            raise forbidden("key_id: this key is another's: members pay from their own")
        if key.management or key.disabled:
            why = "is a management key, which cannot run inference" if key.management else "is disabled"
            raise invalid(f"key_id: the key {key.name!r} {why}", path="key_id")
        trail.note(connection, at_ms, "key.use", ("key", id, key.name), None, {"for": "playground"})
        return key

    return await desk.database.write(work), acting(desk.gate.secret, id, at_ms // 1000 + ACTING_SECONDS)


def derived_key(desk: Desk, new: NewKey, purpose: str, user: int) -> tuple[Key, str]:
    """The gateway's own key for a purpose, with its secret; made where there is none. Blocks."""
    return desk.directory.derived(new, _texts(desk.gate.secret, purpose, user))


def _texts(secret: bytes, purpose: str, user: int) -> Iterator[str]:
    """The keys that follow from the server secret, one after the other."""
    number = 0
    while True:
        yield KEY_PREFIX + hmac.new(secret, f"fairlead: {purpose} key {number} of user {user}".encode(), hashlib.sha256).hexdigest()
        number += 1


# --- the stream -------------------------------------------------------------------------------------------------------


class RunStream(Response):
    """The events of a run: `run`, then for each lane `head`, `frame` …, and `done`, `error` or `stopped`. `end` ends it when the
    log-in that it was begun with is over."""

    def __init__(self, desk: Desk, id: str, run: Run, lanes: list[Lane], key: Key, secret: str, address: str) -> None:
        super().__init__(headers=HEADERS | {"x-accel-buffering": "no"}, media_type="text/event-stream")
        del self.headers["content-length"]
        self._desk, self._id, self._run, self._lanes = desk, id, run, lanes
        self._key, self._secret, self._address = key, secret, address
        # A lane that is ahead of a slow page waits for it, and with it its upstream.
        self._events = asyncio.Queue[tuple[str, dict[str, Any]]](maxsize=64)
        self._is_over = False
        self._is_logged_out = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves it. Who leaves, or is logged out, stops its lanes."""
        self._run.lanes = [asyncio.create_task(self._lane(number, lane)) for number, lane in enumerate(self._lanes)]
        writing = asyncio.create_task(self._write(send))
        leaving = asyncio.create_task(left(receive))
        closing = asyncio.create_task(self._desk.live.closing.wait())
        watching = asyncio.create_task(self._end_with_log_in())
        try:
            await asyncio.wait({writing, leaving, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._is_over = True
            del self._desk.runs[self._id]
            tasks = [*self._run.lanes, writing, leaving, closing, watching]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        key = {"hash": self._key.public_hash, "name": self._key.name}
        await _put(send, "run", {"id": self._id, "lanes": len(self._lanes), "key": key})
        left = len(self._lanes)
        while left:
            name, data = await self._events.get()
            if self._is_logged_out:
                name, data, left = *_LOGGED_OUT, 0
            await _put(send, name, data)
            left -= name in ("done", "error", "stopped")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _end_with_log_in(self) -> None:
        """Looks from time to time, as live events do, whether the log-in still lives; where it does not, nothing more is told."""
        is_alive = True
        while is_alive:
            await asyncio.sleep(live.ALIVE_SECONDS)
            try:
                is_alive = await session.is_alive(self._desk, self._run.principal)
            except sqlite3.Error as error:
                # What was paid for goes on until the store says more.
                log.error("whether a run's log-in lives cannot be looked up: %s", error)
        self._is_logged_out = True
        for lane in self._run.lanes:
            lane.cancel()
        # Whoever waits for an event is woken; where many wait for being written, the next one tells.
        with contextlib.suppress(asyncio.QueueFull):
            self._events.put_nowait(_LOGGED_OUT)

    async def _lane(self, number: int, lane: Lane) -> None:
        last: tuple[str, dict[str, Any]]
        generation: str | None = None
        try:
            async with contextlib.aclosing(called(self._address, self._secret, lane)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Head):
                        generation = piece.generation
                        facts = {"status": piece.status, "generation": generation, "provider": piece.provider, "model": piece.model}
                        await self._events.put(("head", {"lane": number, **facts}))
                        if piece.status != 200:
                            body = await rest_of(pieces)
                            last = ("error", {"lane": number, "status": piece.status, "error": error_of(body), "generation": generation})
                            break
                    else:
                        await self._events.put(("frame", {"lane": number, "data": piece.decode("utf-8", "replace")}))
                else:
                    last = ("done", {"lane": number, "settled": await settled(self._desk, generation)})
        except asyncio.CancelledError:
            last = ("stopped", {"lane": number, "generation": generation})
        except (OSError, ValueError, EOFError) as error:
            last = ("error", {"lane": number, "status": 502, "error": {"message": str(error)}, "generation": generation})
        except Exception:
            log.exception("a lane of the playground failed")
            said = {"message": "internal error; the log has the details"}
            last = ("error", {"lane": number, "status": 500, "error": said, "generation": generation})
        # Whoever reads waits for it, so it waits for room, also where it is stopped meanwhile.
        while not self._is_over:
            with contextlib.suppress(asyncio.CancelledError):
                await self._events.put(last)
                return


async def settled(desk: Desk, generation: str | None) -> dict[str, Any] | None:
    """The row of a generation that has ended: figures are its own, not those of a clock in a browser."""
    if generation is None:
        return None
    with contextlib.suppress(Exception):
        await desk.drainer.catch_up()

    def work(connection: sqlite3.Connection) -> dict[str, Any] | None:
        row = queries.generation_of_any_account(connection, generation)
        return None if row is None else requests.described(connection, [row])[0]

    try:
        return await desk.database.read(work)
    except sqlite3.Error as error:
        # The reply was shown; its figures are in the list of requests when the store is back.
        log.error("the row of %s cannot be read: %s", generation, error)
        return None


async def _put(send: Send, name: str, data: dict[str, Any]) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await send({"type": "http.response.body", "body": event_text(name, data).encode(), "more_body": True})


async def rest_of(pieces: AsyncIterator[Any]) -> bytes:
    """The body of a reply that is no stream."""
    return b"".join([piece async for piece in pieces if isinstance(piece, bytes)])


def error_of(body: bytes) -> dict[str, Any]:
    """The error that a body tells of; `message` is always there."""
    with contextlib.suppress(msgspec.DecodeError):
        found = msgspec.json.decode(body)
        if isinstance(found, dict) and isinstance(found.get("error"), dict):
            return {"message": "it says no more", **found["error"]}
    return {"message": body[:2000].decode("utf-8", "replace")}


# --- the call ---------------------------------------------------------------------------------------------------------


class Head(msgspec.Struct, frozen=True):
    """How a reply begins."""

    status: int
    generation: str | None
    provider: str | None
    model: str | None


async def called(address: str, secret: str, lane: Lane, title: str = "Playground") -> AsyncGenerator[Head | bytes, None]:
    """A call at the traffic port, under the name of an app: its head, then the data of each event, or of a reply that is no stream the
    pieces of its body. Leaving it closes the connection, which ends the call upstream. Raises `OSError`, `EOFError`, `ValueError`."""
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104 - what was bound, not what is
    context = None
    if scheme == "https":
        # It is this process; the certificate is for its name outside.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    body = msgspec.json.encode(lane.body | {"model": lane.model, "stream": True})
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, limit=MOST_EVENT)
    try:
        head = [
            f"POST {PATH} HTTP/1.1", f"host: {place}", f"authorization: Bearer {secret}", "content-type: application/json",
            f"content-length: {len(body)}", "connection: close", f"x-title: {title}",
        ]  # fmt: skip
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()
        found, headers = await _head(reader)
        yield found
        pieces = _body(reader, headers)
        if headers.get("content-type", "").startswith("text/event-stream"):
            async for event in _events(pieces):
                yield event
        else:
            async for piece in pieces:
                yield piece
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[Head, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    status = int(lines[0].split(" ")[1])
    return Head(status, headers.get("x-generation-id"), headers.get("x-fairlead-provider"), headers.get("x-fairlead-model")), headers


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        left = int(headers.get("content-length", "0"))
        while left > 0 and (piece := await reader.read(min(left, 1 << 16))):
            left -= len(piece)
            yield piece
        return
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event; comments are left out. Our own port ends lines with a line feed alone or as the provider did."""
    waiting = b""
    async for piece in pieces:
        waiting += piece
        if len(waiting) > MOST_EVENT:
            raise ValueError("an event of the stream is too long")
        *whole, waiting = waiting.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in whole:
            if data := b"\n".join(line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")):
                yield data
