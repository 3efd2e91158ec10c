"""Pinned processes that end with us, and what the kernel says about their CPU time and memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = resource.getpagesize()
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ThreadTime:
    """CPU time of one thread since it started."""

    name: str
    cpu_ns: int


Sample = dict[tuple[int, int], ThreadTime]
"""All threads of a process tree, by process id and thread id."""


class Managed:
    """A child in a session of its own, pinned to cores, killed with its whole session."""

    def __init__(
        self,
        command: Sequence[str],
        cores: set[int],
        *,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        talk: bool = False,
    ) -> None:
        """`talk` gives it pipes for standard input and output; else both go to `log`."""
        self._log = log.open("ab") if log else None
        output = self._log or subprocess.DEVNULL
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talk else output,
            stderr=output,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=_before_exec(cores),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def read_line(self) -> str:
        """The next line of its output; empty at the end."""
        assert self._process.stdout is not None
        return str(self._process.stdout.readline(), "utf-8")

    def write_line(self) -> None:
        """An empty line to its input."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def stop(self, patience_s: float = 10.0) -> None:
        """SIGTERM, then SIGKILL to everything of its session that is left."""
        members = tree(self.pid)
        if self.is_alive():
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)
        for pid in members | tree(self.pid):
            _kill(pid, patience_s)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe is not None:
                pipe.close()


def _before_exec(cores: set[int]) -> Callable[[], None]:
    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    return prepare


def _kill(pid: int, patience_s: float) -> None:
    """Kills a process, and waits until it is gone: on a busy core that is later."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], patience_s)
        finally:
            os.close(handle)


def tree(root: int) -> set[int]:
    """The processes of the session that `root` leads, and all descendants of these, alive ones only."""
    parents: dict[int, int] = {}
    members: set[int] = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        state, parent, _group, session = stat[stat.rindex(")") + 2 :].split()[:4]
        if state in "ZX":
            continue
        parents[int(folder.name)] = int(parent)
        if int(session) == root:
            members.add(int(folder.name))
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in members or parent == root}
        grown = not children <= members
        members |= children
    return members


def sample(root: int) -> Sample:
    """CPU time of every thread of the tree, from the scheduler's own accounting."""
    found: Sample = {}
    for pid in tree(root):
        # A process or thread may end while it is looked at; glob then gives nothing.
        for folder in Path(f"/proc/{pid}/task").glob("*"):
            try:
                name = (folder / "comm").read_text().strip()
                cpu_ns = int((folder / "schedstat").read_text().split()[0])
            except OSError:
                continue
            found[pid, int(folder.name)] = ThreadTime(name, cpu_ns)
    return found


def spent_ns(before: Sample, after: Sample, counts: Callable[[str], bool]) -> int:
    """CPU time between two samples of the threads whose name `counts`."""
    total = 0
    for key, thread in after.items():
        if counts(thread.name):
            earlier = before.get(key)
            total += thread.cpu_ns - (earlier.cpu_ns if earlier else 0)
    return total


def resident_bytes(root: int) -> int:
    """Resident memory of the tree; pages that its processes share count once per process."""
    total = 0
    for pid in tree(root):
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
        except OSError:
            continue
    return total


def wait_quiet(root: int, patience_s: float = 30.0, slice_s: float = 0.05, share: float = 0.04) -> None:
    """Waits until the tree uses less than `share` of a core, so that its after-work does not burden the next window."""
    deadline = time.monotonic() + patience_s
    before = sample(root)
    while time.monotonic() < deadline:
        time.sleep(slice_s)
        after = sample(root)
        if spent_ns(before, after, lambda _name: True) < slice_s * share * 1e9:
            return
        before = after
