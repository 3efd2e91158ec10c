"""The figures: which load each needs, how it is read from a window, and which goal it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Report = dict[str, Any]
"""The JSON object that the load generator prints."""


@dataclass(frozen=True)
class Window:
    """What one window of one load on one target gave."""

    report: Report
    cpu_ns: int = 0
    """CPU time of the target's data plane."""
    other_cpu_ns: int = 0
    """CPU time of its other threads."""


@dataclass(frozen=True)
class Load:
    """A load that is put on every target, as arguments of the load generator."""

    name: str
    arguments: tuple[str, ...]
    timed: bool = True
    """Whether `--seconds` is added; without it each connection sends one request."""
    on_api: bool = False
    """Runs on the target's second path, where it has one."""
    pace_ms: int | None = None


@dataclass(frozen=True)
class Goal:
    """`at most` the value of `against` times `ratio` plus `plus`; without `against` at most `plus`."""

    against: str | None = None
    ratio: float = 1.0
    plus: float = 0.0

    def limit(self, reference: float | None) -> float | None:
        """The largest value that passes; None if there is nothing to compare with."""
        if self.against is None:
            return self.plus
        return None if reference is None else reference * self.ratio + self.plus

    def text(self, unit: str) -> str:
        if self.against is None:
            return f"≤ {self.plus:g} {unit}"
        if self.ratio != 1.0:
            return f"≤ {self.ratio:g} x floor"
        return f"≤ floor + {self.plus:g} {unit}"


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    name: str
    title: str
    unit: str
    load: str
    read: Callable[[Window], float | None]
    pick: Literal["lowest", "median", "highest"] = "median"
    minus_direct: bool = False
    """Whether the direct call's value of the same window is subtracted."""
    reference: str | None = None
    """The figure of the floor that ratio and goal compare with, where it is not the same one."""
    goal: Goal | None = None
    digits: int = 1
    floor_has_it: bool = field(default=True)


FLOOR = "floor-hand"
"""What ratios compare with."""

_PACE_MS = 10
_PACED_WORDS = 200

LOADS = (
    Load("unary_1", ("--connections", "1")),
    Load("unary_500", ("--mode", "rate", "--rate", "500", "--connections", "16")),
    Load("unary_32", ("--connections", "32")),
    Load("stream", ("--stream", "--connections", "32", "--words", "400")),
    Load("stream_api", ("--stream", "--connections", "32", "--words", "400"), on_api=True),
    Load(
        "stream_paced",
        ("--stream", "--connections", "200", "--words", str(_PACED_WORDS), "--stagger-ms", "200"),
        timed=False,
        pace_ms=_PACE_MS,
    ),
    Load("first_token", ("--stream", "--connections", "1", "--words", "4")),
    Load("body_100k", ("--connections", "8", "--body-kind", "100k")),
    Load("body_400k", ("--connections", "8", "--body-kind", "400k")),
)

HOLD = ("--mode", "hold", "--stream", "--words", "1000", "--connections")
"""The load that keeps streams open while memory is read."""
HOLD_PACE_MS = 2000
HOLD_STREAMS = 1000


def _latency_us(key: str, percentile: str) -> Callable[[Window], float | None]:
    def read(window: Window) -> float | None:
        summary = window.report.get(key)
        return summary[percentile] / 1e3 if summary else None

    return read


def _cpu_us_per(what: str) -> Callable[[Window], float | None]:
    def read(window: Window) -> float | None:
        count = window.report[what]
        return window.cpu_ns / 1e3 / count if count and window.cpu_ns else None

    return read


def _other_cpu_us(window: Window) -> float | None:
    count = window.report["requests"]
    return window.other_cpu_ns / 1e3 / count if count and window.other_cpu_ns else None


def _per_core(window: Window) -> float | None:
    """Requests per second of CPU time: what one core carries when nothing else limits."""
    return window.report["requests"] / (window.cpu_ns / 1e9) if window.cpu_ns else None


def _observed_rate(window: Window) -> float | None:
    return float(window.report["requests"] / (window.report["duration_ns"] / 1e9))


def _lifecycle(key: str) -> Callable[[Window], float | None]:
    return lambda window: window.report.get(key)


_ADDED = Goal(FLOOR, plus=10.0)

FIGURES = (
    Figure(
        "request_cpu", "CPU per small request, 32 connections", "µs", "unary_32", _cpu_us_per("requests"), "lowest", goal=Goal(FLOOR, 1.3)
    ),
    Figure("frame_cpu", "CPU per SSE frame, full speed", "µs", "stream", _cpu_us_per("frames"), "lowest", goal=Goal(FLOOR, 1.15), digits=2),
    Figure(
        "frame_cpu_api",
        "CPU per SSE frame on /api/v1, full speed",
        "µs",
        "stream_api",
        _cpu_us_per("frames"),
        "lowest",
        reference="frame_cpu",
        goal=Goal(FLOOR, 1.3),
        digits=2,
    ),
    Figure(
        "frame_cpu_paced",
        "CPU per frame, 200 streams paced 10 ms",
        "µs",
        "stream_paced",
        _cpu_us_per("frames"),
        "lowest",
        goal=Goal(FLOOR, 1.15),
        digits=2,
    ),
    Figure("body_100k_cpu", "CPU per request of 100 KB", "µs", "body_100k", _cpu_us_per("requests"), "lowest", goal=Goal(FLOOR, 1.4)),
    Figure("body_400k_cpu", "CPU per request of 400 KB", "µs", "body_400k", _cpu_us_per("requests"), "lowest", goal=Goal(FLOOR, 1.4)),
    Figure(
        "added_p50", "added latency p50, 1 connection", "µs", "unary_1", _latency_us("latency_ns", "p50"), minus_direct=True, goal=_ADDED
    ),
    Figure("added_p99", "added latency p99, 1 connection", "µs", "unary_1", _latency_us("latency_ns", "p99"), minus_direct=True),
    Figure(
        "added_500_p50", "added latency p50, 500/s", "µs", "unary_500", _latency_us("latency_ns", "p50"), minus_direct=True, goal=_ADDED
    ),
    Figure("added_500_p99", "added latency p99, 500/s", "µs", "unary_500", _latency_us("latency_ns", "p99"), minus_direct=True),
    Figure(
        "first_token_p50",
        "first token p50, kept-alive connection",
        "µs",
        "first_token",
        _latency_us("first_content_ns", "p50"),
        goal=Goal(FLOOR, plus=50.0),
    ),
    Figure(
        "first_token_p99",
        "first token p99, kept-alive connection",
        "µs",
        "first_token",
        _latency_us("first_content_ns", "p99"),
        goal=Goal(plus=30_000.0),
    ),
    Figure("gap_p99", "gap p99 between frames paced 10 ms", "µs", "stream_paced", _latency_us("gap_ns", "p99"), goal=Goal(plus=30_000.0)),
    Figure("per_core", "requests per second of CPU time", "1/s", "unary_32", _per_core, "highest", digits=0),
    Figure("observed_rate", "requests/s seen, load and provider on one core", "1/s", "unary_32", _observed_rate, digits=0),
    Figure("control_cpu", "CPU of other threads per small request", "µs", "unary_32", _other_cpu_us),
    Figure("idle_memory", "memory, idle", "MiB", "lifecycle", _lifecycle("idle_mib"), goal=Goal(plus=64.0)),
    Figure("stream_memory", "memory per open stream", "KiB", "lifecycle", _lifecycle("stream_kib"), goal=Goal(plus=32.0)),
    Figure("start", "ready after start", "s", "lifecycle", _lifecycle("start_s"), goal=Goal(plus=0.6), digits=2),
)
