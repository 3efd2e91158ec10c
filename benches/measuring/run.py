"""The run: windows of every load on every target, interleaved, with the CPU time that each took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import processes, targets
from .figures import HOLD, HOLD_PACE_MS, HOLD_STREAMS, Load, Report, Window
from .processes import Managed
from .targets import KEY, Running, Target

WARMUP_MS = 250
NO_REPORT = "the load generator ended without a report"


@dataclass
class Bench:
    """What a run needs and what it found."""

    rig: Path
    folder: Path
    gateway_cores: set[int]
    other_cores: set[int]
    seconds: float
    windows: int
    say: Callable[[str], None]
    found: dict[str, dict[str, list[Window | None]]] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)

    def run(self, chosen: Sequence[Target], loads: Sequence[Load], *, lifecycle: bool) -> None:
        """Measures everything. Failures of a target are kept in `errors` and never stop the others."""
        simulator = targets.start_simulator(self.rig, self.other_cores, self.folder / "simulator")
        try:
            if lifecycle:
                for index in range(self.windows):
                    # Peers start slowly and have no goals: once is enough for them.
                    for target in chosen if index == 0 else [target for target in chosen if not target.is_peer]:
                        self._keep(target, "lifecycle", self._lifecycle(target, simulator, index))
            if loads:
                self._windows(chosen, loads, simulator)
        finally:
            simulator.stop()

    def _windows(self, chosen: Sequence[Target], loads: Sequence[Load], simulator: Running) -> None:
        running: list[Running] = []
        watching: list[Managed] = []
        try:
            for target in chosen:
                started = self._start(target, simulator, "windows")
                if started is not None:
                    running.append(started)
                    if target.is_watched:
                        watching.append(self._watch(target))
            for index in range(self.windows):
                for load in loads:
                    for gateway in running:
                        if self._applies(load, gateway.target):
                            self.say(f"window {index + 1} of {self.windows}: {load.name} on {gateway.target.name}")
                            self._keep(gateway.target, load.name, self._window(gateway, load))
        finally:
            for process in [*watching, *running]:
                process.stop()

    def _applies(self, load: Load, target: Target) -> bool:
        """A peer that failed a load once is spared it in later windows: each failure would cost a minute of waiting."""
        if (load.on_api and target.api_path is None) or (load.upstream_dialect and not target.translates):
            return False
        return not (target.is_peer and None in self.found.get(target.name, {}).get(load.name, []))

    def _start(self, target: Target, simulator: Running, purpose: str) -> Running | None:
        try:
            return targets.start(target, simulator.address, self.gateway_cores, self.folder / f"{target.name}-{purpose}")
        except (RuntimeError, OSError) as error:
            self._error(target, purpose, str(error))
            return None

    def _watch(self, target: Target) -> Managed:
        """A browser on its console, live when this returns."""
        folder = self.folder / f"{target.name}-windows"
        words = [sys.executable, str(Path(__file__).parent / "watching.py"), str(folder / "fairlead.toml")]
        browser = Managed(words, self.other_cores, log=folder / "browser", talk=True)
        if browser.read_line().strip() != "live":
            browser.stop()
            raise SystemExit(f"no browser watches the console:\n{(folder / 'browser').read_text()[-2000:]}")
        return browser

    def _window(self, gateway: Running, load: Load) -> Window | None:
        arguments = [*load.arguments, "--warmup-ms", str(WARMUP_MS)]
        arguments += ["--seconds", str(self.seconds if load.timed else 0)]
        if load.pace_ms is not None:
            arguments += ["--pace-ms", str(load.pace_ms)]
        measured = self._measure(gateway, arguments, load)
        if measured is None:
            self._error(gateway.target, load.name, NO_REPORT)
            return None
        window, _at_ready = measured
        problem = trouble(window.report, load.least_stream_ms)
        if problem is not None:
            self._error(gateway.target, load.name, problem)
            return None
        return window

    def _measure(self, gateway: Running, arguments: list[str], load: Load | None = None) -> tuple[Window, int] | None:
        """One run of the load generator: its window, and the target's resident bytes at its `ready`."""
        root = gateway.process.pid if gateway.process else None
        if root is not None:
            processes.wait_quiet(root)
        command = [str(self.rig), "load", *self._target_arguments(gateway, load), *arguments, "--gate"]
        generator = Managed(command, self.other_cores, log=self.folder / "load.log", talk=True)
        try:
            line = generator.read_line()
            if line.strip() != "ready":
                return (Window(json.loads(line)), 0) if line else None
            before = processes.sample(root) if root else {}
            resident = processes.resident_bytes(root) if root else 0
            generator.write_line()
            line = generator.read_line()
            after = processes.sample(root) if root else {}
        except BrokenPipeError:
            line = ""
        finally:
            generator.stop()
        if not line:
            return None
        carries = gateway.target.data_plane
        cpu_ns = processes.spent_ns(before, after, carries)
        other_ns = processes.spent_ns(before, after, lambda name: not carries(name))
        return Window(json.loads(line), cpu_ns, other_ns), resident

    def _target_arguments(self, gateway: Running, load: Load | None) -> list[str]:
        launch = gateway.launch
        path = gateway.target.api_path if load and load.on_api else launch.path
        model = targets.translated_model(load.upstream_dialect) if load and load.upstream_dialect else launch.model
        arguments = ["--target", f"http://{gateway.address}", "--path", str(path), "--key", KEY, "--model", model]
        for header in launch.headers:
            arguments += ["--header", header]
        # A translated stream has frames of its own at its begin and end.
        if not launch.exact_frames or (load and load.upstream_dialect):
            arguments.append("--any-frames")
        return arguments

    def _lifecycle(self, target: Target, simulator: Running, index: int) -> Window | None:
        """A fresh process: how long it takes to serve, its memory at rest, and with many streams open."""
        if target.launch is None:
            return None
        self.say(f"window {index + 1} of {self.windows}: start and memory of {target.name}")
        gateway = self._start(target, simulator, f"lifecycle-{index}")
        if gateway is None or gateway.process is None:
            return None
        try:
            processes.wait_quiet(gateway.process.pid)
            # A few requests first: memory that every use needs belongs to the process, not to a stream.
            self._measure(gateway, ["--connections", "4", "--seconds", "0.2"])
            time.sleep(0.3)
            idle = processes.resident_bytes(gateway.process.pid)
            hold = [*HOLD, str(HOLD_STREAMS), "--pace-ms", str(HOLD_PACE_MS)]
            measured = self._measure(gateway, hold)
        finally:
            gateway.stop()
        report: Report = {"start_s": gateway.start_s, "idle_mib": idle / 2**20}
        if measured is not None and (problem := trouble(measured[0].report)) is None:
            report["stream_kib"] = (measured[1] - idle) / HOLD_STREAMS / 1024
        else:
            self._error(target, "open streams", problem if measured else NO_REPORT)
        return Window(report)

    def _keep(self, target: Target, load: str, window: Window | None) -> None:
        self.found.setdefault(target.name, {}).setdefault(load, []).append(window)

    def _error(self, target: Target, where: str, text: str | None) -> None:
        self.errors.setdefault(target.name, []).append(f"{where}: {text}")


def trouble(report: Report, least_stream_ms: float = 0.0) -> str | None:
    """Why a window is void: wrong replies, or a pace that did not arrive."""
    if report["errors"]:
        return f"{report['errors']} wrong replies, the first: {report['first_error']}"
    if not report["requests"]:
        return "no reply"
    if least_stream_ms and report["latency_ns"]["p50"] < least_stream_ms * 1e6:
        return "the pace did not reach the provider: an unknown field of the body was dropped"
    return None
