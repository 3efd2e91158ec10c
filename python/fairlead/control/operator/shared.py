"""Equal questions of pages within a second have one answer: ten open pages ask the store as often as one.

Pages alone: who comes with a cookie looks at a picture that is a second old anyway. Programs with the token, and commands, are told how it
is at their call. A question is equal where the caller's sight is, too, so that nobody is given what was made for who sees more.
"""

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from fairlead.control.desk import Call

SHARED_SECONDS = 1.0

Answer = Callable[["Call"], Awaitable[Response]]


class Answers:
    """Those of the last second, and those in the making. One per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: dict[Hashable, tuple[float, asyncio.Task[Response]]] = {}

    async def of(self, question: Hashable, make: Callable[[], Awaitable[Response]]) -> Response:
        """The answer, made by whoever asks first. Who leaves takes it from nobody else."""
        began, task = self._made.get(question, (0.0, None))
        if task is None or (task.done() and self._clock() >= began + SHARED_SECONDS):
            self._forget()
            task = asyncio.ensure_future(make())
            self._made[question] = (self._clock(), task)
            task.add_done_callback(lambda done: self._ended(question, done))
        made = await asyncio.shield(task)
        again = Response(made.body, made.status_code)
        again.raw_headers = list(made.raw_headers)
        return again

    def _ended(self, question: Hashable, task: "asyncio.Task[Response]") -> None:
        # A failure is told to those who wait for it, and not kept.
        if (task.cancelled() or task.exception() is not None) and self._made.get(question, (0.0, None))[1] is task:
            del self._made[question]

    def _forget(self) -> None:
        now = self._clock()
        for question, (began, task) in list(self._made.items()):
            if task.done() and now >= began + SHARED_SECONDS:
                del self._made[question]


def shared(answer: Answer) -> Answer:
    """The route, whose answers pages share."""

    @functools.wraps(answer)
    async def answered(call: "Call") -> Response:
        if not call.principal.session:
            return await answer(call)
        return await call.desk.answers.of(_question(call), lambda: answer(call))

    return answered


def _question(call: "Call") -> Hashable:
    who = call.principal
    sight = () if who.sees_all else (who.account, who.team, who.user)
    return call.path, tuple(sorted(call.request.query_params.multi_items())), call.header("accept"), sight
