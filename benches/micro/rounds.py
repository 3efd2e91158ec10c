"""Times of calls that are compared with each other."""

import time
from collections.abc import Callable

ROUNDS = 7
WINDOW_S = 0.01
"""A call that is shorter is repeated for so long, so that the clock's own steps say nothing."""


def best(calls: list[Callable[[], object]]) -> list[float]:
    """Seconds of each call, the best of its rounds; a round has a window of each, so that drift meets all."""
    repeats = [_repeats(call) for call in calls]
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(ROUNDS):
        for times, call, count in zip(taken, calls, repeats, strict=True):
            started = time.perf_counter()
            for _ in range(count):
                call()
            times.append((time.perf_counter() - started) / count)
    return [min(times) for times in taken]


def _repeats(call: Callable[[], object]) -> int:
    started = time.perf_counter()
    call()
    return max(1, int(WINDOW_S / (time.perf_counter() - started)))
