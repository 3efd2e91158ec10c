"""What a call gives: a reply or a stream, and the receipt that comes with either."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec

from fairlead._native import Feed, Loss, Usage
from fairlead.errors import Availability, CallError, ClosedError
from fairlead.router.explanation import Explanation
from fairlead.router.explanation import decode as decode_explanation

_decode_events = msgspec.json.Decoder(list[Any]).decode
_decode_body = msgspec.json.Decoder(dict[str, Any]).decode


class Receipt(msgspec.Struct, frozen=True):
    """What a call came to."""

    generation: str
    """The generation id."""
    model: str
    """The model that answered, by its name in the catalogue."""
    provider: str
    """The provider that answered, by its slug."""
    attempts: int
    """How many requests were sent for it."""
    outcome: str
    """`completed`, `cancelled` (nobody waited to the end), `failed`, or `void` (nothing reached a provider)."""
    finish: str
    """Why the model stopped, in OpenRouter's words; empty when it did not say."""
    usage: Usage
    """Tokens that were used."""
    estimated: bool
    """Whether they are our estimate because the provider gave no figures."""
    cost_nanousd: int
    """What it costs, in nano-dollars. Exact."""
    upstream_cost_nanousd: int
    """What the providers will invoice for all attempts, as far as we know: more than `cost_nanousd` where failures are not charged."""
    losses: tuple[Loss, ...]
    """What of the request or the reply could not be kept in translation."""

    @property
    def cost(self) -> Decimal:
        """`cost_nanousd` in dollars. Exact."""
        return Decimal(self.cost_nanousd).scaleb(-9)


class Reply(Receipt, frozen=True):
    """A whole reply, and what it came to."""

    body: dict[str, Any]
    """The reply, in the dialect that was asked in."""
    explanation: Explanation | None = None
    """Why it went where it went, where the call was made with `explain=True`."""


Outcome = tuple[int, bytes, tuple[Any, ...] | None, bytes | None, int | None]
"""The end of a call: status, body or error, receipt, explanation, and when to come again in milliseconds."""


def reply(outcome: Outcome) -> Reply:
    """The reply of a call that went well. Raises the `CallError` of one that did not."""
    status, body, receipt, explained, _ = outcome
    if receipt is None or not 200 <= status < 300:
        raise failure(outcome)
    return Reply(*(*receipt, _decode_body(body), _explanation(explained)))


def _explanation(explained: bytes | None) -> Explanation | None:
    return None if explained is None else decode_explanation(explained)


def failure(outcome: Outcome) -> CallError:
    """What is wrong with a call that did not go well."""
    status, body, receipt, explained, retry_after_ms = outcome
    came_to = Receipt(*receipt) if receipt is not None else None
    if not status:
        message = "the call was lost: its thread failed, and standard error says how; please report this"
        return CallError(message, status=500, error_type="server", receipt=came_to)
    error = _decode_body(body)["error"]
    metadata = error.get("metadata") or {}
    available = error.get("availability")
    return CallError(
        error["message"],
        status=status,
        error_type=metadata.get("error_type", ""),
        metadata=metadata,
        receipt=came_to,
        availability=None if available is None else msgspec.convert(available, Availability),
        retry_after_ms=retry_after_ms,
        explanation=_explanation(explained),
    )


class Line:
    """What the Router knows of a stream in progress. It outlives a stream that nobody reads any more, until its call is over."""

    __slots__ = ("call", "closed", "explained", "feed", "generation", "outcome", "waiter")

    def __init__(self, call: int, feed: Feed, generation: str, explained: bytes | None) -> None:
        self.call, self.feed, self.generation, self.explained = call, feed, generation, explained
        self.outcome: Outcome | None = None
        self.closed = False
        """The Router was closed before it was over."""
        self.waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Whoever waits for events or for the end has them now."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        """Until `wake`. One task at a time reads a stream."""
        if self.waiter is not None:
            raise RuntimeError("the stream is being read by another task")
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None


class Stream:
    """A reply that comes in pieces: an asynchronous iterator of the dialect's events, as parsed JSON.

    Chat's `[DONE]` is left out: the iteration ends. An error in the stream is raised as `CallError`. Leaving the `async with` block,
    `aclose` or losing the last reference ends a stream early, and with it the provider's work.
    """

    def __init__(self, line: Line, cancel: Callable[[int], bool]) -> None:
        self._line = line
        self._cancel = cancel
        self._events: list[Any] = []
        self._left = False

    @property
    def generation(self) -> str:
        """The generation id."""
        return self._line.generation

    @property
    def receipt(self) -> Receipt | None:
        """What it came to; `None` while it is under way, and behind an early end while the provider bills for work that nobody hears."""
        outcome = self._line.outcome
        return Receipt(*outcome[2]) if outcome is not None and outcome[2] is not None else None

    @property
    def explanation(self) -> Explanation | None:
        """Why it went where it went, where the call was made with `explain=True`."""
        return _explanation(self._line.explained)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        # The last comes first off a list, so that it lies in reverse.
        if not self._events:
            self._events = await self.batch()
            self._events.reverse()
            if not self._events:
                raise StopAsyncIteration
        return self._events.pop()

    async def batch(self) -> list[Any]:
        """All events that have come since the last look, at least one; an empty list at the end. Raises as iterating does."""
        line = self._line
        while not self._left:
            events = line.feed.take()
            if events is not None:
                return self._parsed(events)
            if line.closed:
                raise ClosedError("the Router was closed while the stream was being read")
            if line.outcome is not None:
                if line.outcome[0] != 200:
                    status, body, receipt, _, retry_after_ms = line.outcome
                    raise failure((status, body, receipt, line.explained, retry_after_ms))
                break
            await line.wait()
        return []

    def _parsed(self, events: bytes) -> list[Any]:
        try:
            return _decode_events(events)
        except msgspec.DecodeError as error:
            self._leave()
            message = f"the provider sent an event that is no JSON ({error})"
            raise CallError(message, status=502, error_type="provider_unavailable") from None

    async def aclose(self) -> None:
        """Ends the stream, wherever it is, and waits until it has been settled. Harmless at its end, and twice."""
        self._leave()
        while self._line.outcome is None and not self._line.closed:
            await self._line.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if not self._left and self._line.outcome is None:
            self._cancel(self._line.call)
        self._left = True
        self._events = []
