"""`fairlead.Router`."""

import asyncio
import logging
import os
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, overload
from urllib.parse import quote

import msgspec

from fairlead import _native, config
from fairlead.control.drain import Drainer
from fairlead.control.sign_in import SignIns
from fairlead.errors import ClosedError, ForkedError
from fairlead.router.opening import Opened, open_all
from fairlead.router.reply import Line, Outcome, Reply, Stream, reply

log = logging.getLogger("fairlead")

Body: TypeAlias = bytes | Mapping[str, Any] | None
"""A request in its dialect: an object, or its JSON, which then passes as it is. `None`: the keyword arguments are all of it."""
Headers: TypeAlias = Mapping[str, str] | None

_encode = msgspec.json.Encoder().encode
_NO_HEADERS: list[tuple[str, str]] = []


class Router:
    """The gateway's pipeline in this process, for one event loop of asyncio's (uvloop's or its own; not trio's).

    Without `data_dir` it takes no lock, no key and no journal: it opens beside a server, any number of times, and what a call costs is in
    its reply. With `data_dir` it is the one writer of that folder, as a server is, and every call becomes a row there.

    Calls belong to nobody's key: whoever can run code here may use every model. What is configured under `[keys]` is for servers.

    Args:
        config: the configuration file; otherwise found as `fairlead serve` finds it, and without one the defaults hold.
        data_dir: the folder for journal and database.
        max_in_flight: calls at a time. More wait for their turn, in order.
        environ: where `env:` references and the catalogue's providers find their keys; the process's environment by default.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        max_in_flight: int = 1024,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if max_in_flight < 1:
            raise ValueError("max_in_flight must be at least 1")
        self._config = os.fspath(config) if config is not None else None
        self._data_dir = Path(data_dir).expanduser().absolute() if data_dir is not None else None
        self._most = max_in_flight
        self._environ = os.environ if environ is None else environ
        self._pid = os.getpid()
        self._opened: Opened | None = None
        self._accepts = False
        self._stack = ExitStack()
        self._version = 1
        self._number = 0
        self._flying: dict[int, asyncio.Future[Line | Outcome] | Line] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._drainer: Drainer | None = None
        self._draining: asyncio.Task[None] | None = None

    # --- opening and closing ------------------------------------------------------------------------------------------

    async def open(self) -> Self:
        """Opens it for the running loop. `async with` does this, and closes it.

        Raises:
            ConfigurationError: with everything that is wrong.
            OpeningError: the data folder cannot be used.
        """
        if self._opened is not None:
            raise RuntimeError("the Router is open already")
        self._pid = os.getpid()
        self._loop = asyncio.get_running_loop()
        self._sign_ins = SignIns(self._publish_tokens)
        arguments = (self._config, self._data_dir, self._environ, self._most, self._stack)
        opening = asyncio.ensure_future(asyncio.to_thread(open_all, *arguments))
        try:
            opened = await asyncio.shield(opening)
            await self._begin(opened)
        except BaseException:
            # Also where somebody cancels it: the other thread goes on opening until it is done.
            self._sign_ins.keep_only(())
            await asyncio.wait([opening])
            await asyncio.to_thread(self._stack.close)
            raise
        # Whoever forgets to close it must not leave a thread behind. A fork has none; the native half sees to that.
        self._forgotten = weakref.finalize(self, opened.calls.close)
        self._opened, self._calls, self._accepts = opened, opened.calls, True
        return self

    async def _begin(self, opened: Opened) -> None:
        self._compiled = opened.compiled
        self._put_in_force(opened.calls)
        if opened.compiled.sign_ins:
            # Published when it changes anything, and once here, so that the first call has a token.
            self._opened = opened
            try:
                await self._sign_ins.add(opened.compiled.sign_ins)
                await self._publish_tokens()
            finally:
                self._opened = None
        if opened.database is not None:
            journal_dir = str(opened.journal_dir)
            self._drainer = Drainer(opened.database, lambda cursors: _native.JournalReader(journal_dir, cursors), opened.calls)
            self._draining = asyncio.create_task(self._drainer.run())
        self._bell = opened.calls.fileno()
        self._loop.add_reader(self._bell, self._hear)

    async def close(self, grace_seconds: float | None = None) -> None:
        """Ends it: new calls are refused, running ones may take `grace_seconds` (by default as long as a server's drain), then they are cut
        off and settled. Harmless twice; in a fork it does nothing."""
        self._accepts = False
        opened, self._opened = self._opened, None
        if opened is None or os.getpid() != self._pid:
            return
        grace_ms = opened.compiled.server.drain_ms if grace_seconds is None else max(0, round(grace_seconds * 1000))
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        try:
            await asyncio.to_thread(opened.calls.stop, grace_ms)
        finally:
            await self._end(opened)

    async def _end(self, opened: Opened) -> None:
        self._sign_ins.keep_only(())
        self._hear_last(opened.calls)
        self._loop.remove_reader(self._bell)
        try:
            if self._draining is not None and self._drainer is not None:
                self._draining.cancel()
                await asyncio.gather(self._draining, return_exceptions=True)
                await self._drainer.finish()
        finally:
            self._forgotten.detach()
            await asyncio.to_thread(self._stack.close)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Whoever leaves with an error waits for nothing.
        await self.close(None if error is None else 0)

    def _put_in_force(self, calls: _native.Calls) -> None:
        tokens = self._sign_ins.tokens(self._compiled.sign_ins)
        snapshot = self._compiled.snapshot
        calls.load_snapshot(config.with_tokens(snapshot, self._version, tokens) if self._compiled.sign_ins else snapshot)
        self._tokens = tokens

    async def _publish_tokens(self) -> None:
        """Puts the configuration in force anew when tokens have changed."""
        if self._opened is not None and self._sign_ins.tokens(self._compiled.sign_ins) != self._tokens:
            self._version += 1
            self._put_in_force(self._opened.calls)

    # --- calls --------------------------------------------------------------------------------------------------------

    @overload
    async def chat(
        self, body: Body = None, /, *, stream: Literal[False] = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply: ...
    @overload
    async def chat(
        self, body: Body = None, /, *, stream: Literal[True], explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Stream: ...
    async def chat(
        self, body: Body = None, /, *, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply | Stream:
        """OpenAI's chat completions: `model`, `messages` and whatever else the dialect, OpenRouter or the provider knows.

        Args:
            body: the request, where it is not made of keyword arguments.
            stream: whether to get events as they come. JSON given as `body` has to say so itself.
            explain: whether to say why it went where it went: in `explanation` of the reply, the stream or the error.
            extra_headers: what the server takes as headers, such as `X-Fairlead-Strict`.
            fields: members of the body.

        Raises:
            ValueError: a number that JSON has not (`nan`, `inf`), with its path.
            CallError: as the server would refuse or fail it.
            ClosedError, ForkedError: the Router cannot be used.
        """
        return await self._call("/v1/chat/completions", _body(body, fields, stream), stream, _headers(explain, extra_headers))

    @overload
    async def responses(
        self, body: Body = None, /, *, stream: Literal[False] = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply: ...
    @overload
    async def responses(
        self, body: Body = None, /, *, stream: Literal[True], explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Stream: ...
    async def responses(
        self, body: Body = None, /, *, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply | Stream:
        """OpenAI's Responses, as `chat`. Nothing is kept here, so that `previous_response_id` is refused."""
        return await self._call("/v1/responses", _body(body, fields, stream), stream, _headers(explain, extra_headers))

    @overload
    async def messages(
        self, body: Body = None, /, *, stream: Literal[False] = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply: ...
    @overload
    async def messages(
        self, body: Body = None, /, *, stream: Literal[True], explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Stream: ...
    async def messages(
        self, body: Body = None, /, *, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply | Stream:
        """Anthropic's messages, as `chat`."""
        return await self._call("/v1/messages", _body(body, fields, stream), stream, _headers(explain, extra_headers))

    @overload
    async def generate_content(
        self,
        body: Body = None,
        /,
        *,
        model: str,
        stream: Literal[False] = False,
        explain: bool = False,
        extra_headers: Headers = None,
        **fields: Any,
    ) -> Reply: ...
    @overload
    async def generate_content(
        self,
        body: Body = None,
        /,
        *,
        model: str,
        stream: Literal[True],
        explain: bool = False,
        extra_headers: Headers = None,
        **fields: Any,
    ) -> Stream: ...
    async def generate_content(
        self, body: Body = None, /, *, model: str, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply | Stream:
        """Google's Gemini, as `chat`. The dialect names the model and the streaming outside of the body."""
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = f"/v1beta/models/{quote(model, safe='')}:{action}"
        return await self._call(path, _body(body, fields, False), stream, _headers(explain, extra_headers))

    async def embeddings(self, body: Body = None, /, *, explain: bool = False, extra_headers: Headers = None, **fields: Any) -> Reply:
        """OpenAI's embeddings: `model`, `input`, …, as `chat`."""
        answer = await self._call("/v1/embeddings", _body(body, fields, False), False, _headers(explain, extra_headers))
        assert isinstance(answer, Reply)
        return answer

    async def _call(self, path: str, body: bytes, stream: bool, extra_headers: Headers) -> Reply | Stream:
        self._check_process()
        while len(self._flying) >= self._most and self._accepts:
            await self._turn()
        if not self._accepts:
            raise ClosedError('the Router is not open; use it inside of "async with", or between open() and close()')
        loop = self._loop
        if asyncio.get_running_loop() is not loop:
            raise RuntimeError("the Router was opened in another event loop; open one in each")
        self._number = call = self._number + 1
        answer: asyncio.Future[Line | Outcome] = loop.create_future()
        self._flying[call] = answer
        try:
            if not self._calls.begin(call, path, body, _NO_HEADERS if extra_headers is None else [*extra_headers.items()]):
                raise ClosedError("the Router's thread has ended; see standard error")
        except BaseException:
            del self._flying[call]
            raise
        try:
            came = await answer
        except asyncio.CancelledError:
            self._calls.cancel(call)
            raise
        if isinstance(came, Line):
            found = Stream(came, self._calls.cancel)
            if stream:
                return found
            await found.aclose()
            raise ValueError("the body asks for a stream; say stream=True")
        if stream and 200 <= came[0] < 300:
            raise ValueError('stream=True, but the body does not ask for a stream; it needs "stream": true')
        return reply(came)

    async def _turn(self) -> None:
        """Waits until a call is over."""
        waiter = self._loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Its turn is the next one's.
            if waiter.done() and not waiter.cancelled():
                self._next_turn()
            raise

    def _next_turn(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(f"the Router belongs to process {self._pid}, of which this one is a fork; open a Router in this process")

    # --- news ---------------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Hands over what has come."""
        try:
            grown, news = self._calls.take()
        except RuntimeError:
            # Nobody closed it, so that the interpreter did at its end, maybe before this loop's thread.
            return
        if grown and self._drainer is not None:
            self._drainer.wake()
        flying = self._flying
        for call, status, what, more, explained, retry_after_ms in news:
            if status >= 0:
                self._over(flying.pop(call), (status, what, more, explained, retry_after_ms))
                continue
            waits = flying[call]
            if isinstance(waits, Line):
                waits.wake()
            elif status == _native.BEGAN and not waits.done():
                flying[call] = line = Line(call, what, more, explained)
                waits.set_result(line)

    def _over(self, waits: "asyncio.Future[Line | Outcome] | Line", outcome: Outcome) -> None:
        if isinstance(waits, Line):
            waits.outcome = outcome
            waits.wake()
        elif not waits.done():
            waits.set_result(outcome)
        if self._waiting:
            self._next_turn()

    def _hear_last(self, calls: _native.Calls) -> None:
        """What came before the thread ended; whoever still waits waits for nothing."""
        self._hear()
        for waits in self._flying.values():
            if isinstance(waits, Line):
                waits.closed = True
                waits.wake()
            elif not waits.done():
                waits.set_exception(ClosedError("the Router was closed before the call was over"))
        self._flying.clear()


def _headers(explain: bool, extra_headers: Headers) -> Headers:
    return {**(extra_headers or {}), "X-Fairlead-Explain": "true"} if explain else extra_headers


def _body(body: Body, fields: dict[str, Any], stream: bool) -> bytes:
    if isinstance(body, bytes):
        if fields:
            raise TypeError("a body of bytes stays as it is; give a mapping to add fields to it")
        return body
    if body is not None:
        fields = {**body, **fields}
    if stream:
        fields["stream"] = True
    encoded = _encode(fields)
    # The encoder writes null for what is no number of JSON: only then is it looked for.
    if b"null" in encoded and (found := _unwritable(msgspec.to_builtins(fields), "")) is not None:
        path, number = found
        raise ValueError(f"{path}: {number} is no number that JSON has; give a finite one or leave it out")
    return encoded


def _unwritable(value: Any, path: str) -> tuple[str, float] | None:
    """The first number of a body that is none of JSON's, with its path."""
    if isinstance(value, float):
        return None if isfinite(value) else (path, value)
    if isinstance(value, dict):
        places = ((f"{path}.{name}" if path else str(name), item) for name, item in value.items())
    elif isinstance(value, list | tuple):
        places = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    else:
        return None
    return next((found for place, item in places if (found := _unwritable(item, place)) is not None), None)
