"""The figures: which load each needs, how it is read from a window, and which goal it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
    upstream_dialect: str | None = None
    """The provider speaks this dialect, not the caller's: for targets that translate."""

    @property
    def least_stream_ms(self) -> float:
        """How long a stream must take at its pace; less, and the pace did not reach the provider."""
        words = int(self.arguments[self.arguments.index("--words") + 1]) if self.pace_ms else 0
        return 0.9 * words * (self.pace_ms or 0)


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
            return f"≤ {self.ratio:g} x {self.against}"
        return f"≤ {self.against} + {self.plus:g} {unit}"


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
    """The figure that ratio and goal compare with, where it is not the same one."""
    reference_target: str = "floor-hand"
    """Whose figure that is."""
    goal: Goal | None = None
    digits: int = 1


FLOOR = "floor-hand"
"""What ratios compare with."""
JUDGED = "fairlead"
"""Whose figures have goals."""
UPSTREAM_DIALECTS = ("openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse")
"""What a chat request is translated to."""

_FULL_SPEED = ("--stream", "--connections", "32", "--words", "400")
_STEADY = ("--stream", "--connections", "40", "--words", "1500", "--stagger-ms", "20")
_PACED = ("--stream", "--connections", "200", "--words", "200", "--stagger-ms", "200")

# What one connection sees comes first, before heavier loads leave work behind in a slow peer.
LOADS = (
    Load("unary_1", ("--connections", "1")),
    Load("unary_500", ("--mode", "rate", "--rate", "500", "--connections", "16")),
    Load("first_token", ("--stream", "--connections", "1", "--words", "4")),
    Load("unary_32", ("--connections", "32")),
    Load("body_100k", ("--connections", "8", "--body-kind", "100k")),
    Load("body_400k", ("--connections", "8", "--body-kind", "400k")),
    # The provider writes frame after frame without a pause: a slower gateway finds more of them in one read.
    Load("stream", _FULL_SPEED),
    Load("stream_api", _FULL_SPEED, on_api=True),
    # 40,000 frames a second, far enough apart that every frame is a read and a write of its own in any gateway.
    Load("stream_steady", _STEADY, timed=False, pace_ms=1),
    Load("stream_steady_api", _STEADY, timed=False, pace_ms=1, on_api=True),
    Load("stream_paced", _PACED, timed=False, pace_ms=10),
    *(Load(f"unary_to_{dialect}", ("--connections", "32"), upstream_dialect=dialect) for dialect in UPSTREAM_DIALECTS),
    # The simulator's pace is asked for in the body, where it does not survive a translation.
    *(Load(f"stream_to_{dialect}", _FULL_SPEED, upstream_dialect=dialect) for dialect in UPSTREAM_DIALECTS),
)

HOLD = ("--mode", "hold", "--stream", "--words", "1000", "--connections")
"""The load that keeps streams open while memory is read."""
HOLD_PACE_MS = 2000
HOLD_STREAMS = 1000


def _cpu(name: str, title: str, load: str, per: str, goal: float, reference: str | None = None) -> Figure:
    """CPU time of the data plane per request or frame: the lowest window, which others on the machine disturbed least."""

    def read(window: Window) -> float | None:
        count = window.report[per]
        return window.cpu_ns / 1e3 / count if count and window.cpu_ns else None

    digits = 2 if per == "frames" else 1
    return Figure(name, title, "µs", load, read, "lowest", reference=reference, goal=Goal("floor", goal), digits=digits)


def _translated(name: str, title: str, load: str, per: str, goal: Goal, reference: str) -> Figure:
    """CPU time where the provider speaks another dialect, beside our own where it does not."""
    byte_path = _cpu(name, title, load, per, 0.0)
    return replace(byte_path, reference=reference, reference_target=JUDGED, goal=goal)


def _time(name: str, title: str, load: str, place: str, goal: Goal | None = None, *, added: bool = False) -> Figure:
    """A percentile of a time that the load generator saw; `place` is its name in the report and the percentile."""
    key, percentile = place.split(".")

    def read(window: Window) -> float | None:
        summary = window.report.get(key)
        return summary[percentile] / 1e3 if summary else None

    return Figure(name, title, "µs", load, read, minus_direct=added, goal=goal)


def _added(name: str, title: str, load: str, percentile: str, goal: Goal | None = None) -> Figure:
    """Latency above the direct call's of the same window."""
    return _time(name, title, load, f"latency_ns.{percentile}", goal, added=True)


def _lifecycle(name: str, title: str, unit: str, most: float, digits: int = 1) -> Figure:
    """Something that is measured on a fresh process."""
    return Figure(name, title, unit, "lifecycle", lambda window: window.report.get(name), goal=Goal(plus=most), digits=digits)


def _per_core(window: Window) -> float | None:
    return window.report["requests"] / (window.cpu_ns / 1e9) if window.cpu_ns else None


def _observed_rate(window: Window) -> float | None:
    return float(window.report["requests"] / (window.report["duration_ns"] / 1e9))


def _other_cpu_us(window: Window) -> float | None:
    count = window.report["requests"]
    return window.other_cpu_ns / 1e3 / count if count and window.other_cpu_ns else None


_NO_STALL = Goal(plus=30_000.0)
"""A delayed acknowledgement costs 40 ms; nothing may come near."""
_LITTLE = Goal("floor", plus=10.0)

FIGURES = (
    _cpu("request_cpu", "CPU per small request, 32 connections", "unary_32", "requests", 1.3),
    _cpu("frame_cpu", "CPU per SSE frame, 40,000/s, each alone", "stream_steady", "frames", 1.15),
    _cpu("frame_cpu_full", "CPU per SSE frame, full speed", "stream", "frames", 1.15),
    _cpu("frame_cpu_api", "… on /api/v1, 40,000/s, each alone", "stream_steady_api", "frames", 1.3, "frame_cpu"),
    _cpu("frame_cpu_api_full", "… on /api/v1, full speed", "stream_api", "frames", 1.3, "frame_cpu_full"),
    _cpu("frame_cpu_paced", "CPU per SSE frame, 200 streams paced 10 ms", "stream_paced", "frames", 1.15),
    _cpu("body_100k_cpu", "CPU per request of 100 KB", "body_100k", "requests", 1.4),
    _cpu("body_400k_cpu", "CPU per request of 400 KB", "body_400k", "requests", 1.4),
    *(
        _translated(
            f"request_to_{dialect}",
            f"CPU per small request, to {dialect}",
            f"unary_to_{dialect}",
            "requests",
            Goal("byte path", 1.6),
            "request_cpu",
        )
        for dialect in UPSTREAM_DIALECTS
    ),
    *(
        _translated(
            f"frame_to_{dialect}",
            f"CPU per SSE frame, full speed, from {dialect}",
            f"stream_to_{dialect}",
            "frames",
            Goal("byte path alone", plus=2.0),
            "frame_cpu",
        )
        for dialect in UPSTREAM_DIALECTS
    ),
    _added("added_p50", "added latency p50, 1 connection", "unary_1", "p50", _LITTLE),
    _added("added_p99", "added latency p99, 1 connection", "unary_1", "p99"),
    _added("added_500_p50", "added latency p50, 500/s", "unary_500", "p50", _LITTLE),
    _added("added_500_p99", "added latency p99, 500/s", "unary_500", "p99"),
    _time("first_token_p50", "first token p50, kept-alive", "first_token", "first_content_ns.p50", Goal("floor", plus=50.0)),
    _time("first_token_p99", "first token p99, kept-alive", "first_token", "first_content_ns.p99", _NO_STALL),
    _time("gap_p99", "gap p99 between frames paced 10 ms", "stream_paced", "gap_ns.p99", _NO_STALL),
    Figure("per_core", "requests per second of CPU time", "1/s", "unary_32", _per_core, "highest", digits=0),
    Figure("observed_rate", "requests/s seen (load and provider share a core)", "1/s", "unary_32", _observed_rate, digits=0),
    Figure("control_cpu", "CPU of other threads per small request", "µs", "unary_32", _other_cpu_us),
    _lifecycle("idle_mib", "memory, idle", "MiB", 64.0),
    _lifecycle("stream_kib", "memory per open stream", "KiB", 32.0),
    _lifecycle("start_s", "ready after start", "s", 0.6, digits=2),
)
