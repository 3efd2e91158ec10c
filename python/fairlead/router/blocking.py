"""`fairlead.SyncRouter`."""

import asyncio
import os
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from fairlead.errors import ClosedError, ForkedError
from fairlead.router.asynchronous import Body, Headers, Router
from fairlead.router.explanation import Explanation
from fairlead.router.reply import Receipt, Reply, Stream

T = TypeVar("T")


class SyncRouter:
    """A `Router` for programs without an event loop. It may be used from any number of threads, and has a thread of its own for its loop.

    It opens at once, and closes with its `with` block or `close`. Arguments and errors are those of `Router`.
    """

    def __init__(
        self,
        config: str | os.PathLike[str] | None = None,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        max_in_flight: int = 1024,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._pid = os.getpid()
        self._router = Router(config, data_dir=data_dir, max_in_flight=max_in_flight, environ=environ)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fl-router", daemon=True)
        self._thread.start()
        try:
            self._run(self._router.open())
        except BaseException:
            self._stop()
            raise

    @overload
    def chat(
        self, body: Body = None, /, *, stream: Literal[False] = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply: ...
    @overload
    def chat(
        self, body: Body = None, /, *, stream: Literal[True], explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "SyncStream": ...
    def chat(
        self, body: Body = None, /, *, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "Reply | SyncStream":
        """As `Router.chat`."""
        return self._call(self._router.chat(body, stream=stream, explain=explain, extra_headers=extra_headers, **fields))  # type: ignore[call-overload]

    @overload
    def responses(
        self, body: Body = None, /, *, stream: Literal[False] = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply: ...
    @overload
    def responses(
        self, body: Body = None, /, *, stream: Literal[True], explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "SyncStream": ...
    def responses(
        self, body: Body = None, /, *, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "Reply | SyncStream":
        """As `Router.responses`."""
        return self._call(self._router.responses(body, stream=stream, explain=explain, extra_headers=extra_headers, **fields))  # type: ignore[call-overload]

    @overload
    def messages(
        self, body: Body = None, /, *, stream: Literal[False] = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> Reply: ...
    @overload
    def messages(
        self, body: Body = None, /, *, stream: Literal[True], explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "SyncStream": ...
    def messages(
        self, body: Body = None, /, *, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "Reply | SyncStream":
        """As `Router.messages`."""
        return self._call(self._router.messages(body, stream=stream, explain=explain, extra_headers=extra_headers, **fields))  # type: ignore[call-overload]

    @overload
    def generate_content(
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
    def generate_content(
        self,
        body: Body = None,
        /,
        *,
        model: str,
        stream: Literal[True],
        explain: bool = False,
        extra_headers: Headers = None,
        **fields: Any,
    ) -> "SyncStream": ...
    def generate_content(
        self, body: Body = None, /, *, model: str, stream: bool = False, explain: bool = False, extra_headers: Headers = None, **fields: Any
    ) -> "Reply | SyncStream":
        """As `Router.generate_content`."""
        call = self._router.generate_content(body, model=model, stream=stream, explain=explain, extra_headers=extra_headers, **fields)  # type: ignore[call-overload]
        return self._call(call)

    def embeddings(self, body: Body = None, /, *, explain: bool = False, extra_headers: Headers = None, **fields: Any) -> Reply:
        """As `Router.embeddings`."""
        return self._run(self._router.embeddings(body, explain=explain, extra_headers=extra_headers, **fields))

    def close(self, grace_seconds: float | None = None) -> None:
        """As `Router.close`."""
        if self._loop.is_closed() or os.getpid() != self._pid:
            return
        try:
            self._run(self._router.close(grace_seconds))
        finally:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(None if error is None else 0)

    def _call(self, call: Coroutine[Any, Any, Reply | Stream]) -> "Reply | SyncStream":
        answer = self._run(call)
        return answer if isinstance(answer, Reply) else SyncStream(answer, self)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """What work in the loop gives. Whoever is interrupted meanwhile cancels it."""
        try:
            self._check_process()
            if self._loop.is_closed():
                raise ClosedError("the Router has been closed")
            running = asyncio.run_coroutine_threadsafe(work, self._loop)
        except BaseException:
            work.close()
            raise
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(f"the Router belongs to process {self._pid}, of which this one is a fork; open a Router in this process")

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncStream:
    """A `Stream` for programs without an event loop: an iterator of events. One thread at a time reads it."""

    def __init__(self, stream: Stream, router: SyncRouter) -> None:
        self._stream = stream
        self._router = router
        self._events: list[Any] = []

    @property
    def generation(self) -> str:
        """The generation id."""
        return self._stream.generation

    @property
    def receipt(self) -> Receipt | None:
        """What it came to; as `Stream.receipt`."""
        return self._stream.receipt

    @property
    def explanation(self) -> Explanation | None:
        """Why it went where it went; as `Stream.explanation`."""
        return self._stream.explanation

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._events:
            self._events = self._router._run(self._stream.batch())
            self._events.reverse()
            if not self._events:
                raise StopIteration
        return self._events.pop()

    def close(self) -> None:
        """Ends it, as `Stream.aclose`."""
        self._events = []
        self._router._run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
