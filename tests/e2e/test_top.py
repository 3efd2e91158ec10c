"""`fairlead top` before a running gateway: in a terminal of its own (80 by 24), and without one."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.house import ADMIN_TOKEN, FAIRLEAD, Gateway, Provider, configuration
from e2e.wire import body_of

LOOK_SECONDS = 60.0
# Sequences that steer a terminal; what is left is text in the order in which it was drawn.
STEERING = re.compile(rb"\x1b(?:\[[0-9;?<>=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[()][A-Z0-9]|[=>78cMDEHNOZ])")


class Terminal:
    """A program in a terminal of 80 columns and 24 lines."""

    def __init__(self, *words: str, **environment: str) -> None:
        self._terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        said = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environment}
        self.process = subprocess.Popen([FAIRLEAD, *words], stdin=other, stdout=other, stderr=other, env=said, start_new_session=True)
        os.close(other)
        self.drawn = b""

    def see(self, text: str) -> str:
        """Waits until a text is drawn; what was drawn before it is forgotten."""
        until = time.monotonic() + LOOK_SECONDS
        while True:
            plain = STEERING.sub(b"", self.drawn).decode("utf-8", "replace")
            if text in plain:
                self.drawn = b""
                return plain
            assert time.monotonic() < until, f"{text!r} is not in {plain[-3000:]!r}"
            if select.select([self._terminal], [], [], 0.5)[0]:
                with contextlib.suppress(OSError):
                    self.drawn += os.read(self._terminal, 1 << 16)

    def press(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def ends(self) -> int:
        """The exit code; what is still drawn is taken meanwhile, so that nothing waits for room."""
        until = time.monotonic() + LOOK_SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < until, "it goes on"
            if select.select([self._terminal], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.drawn += os.read(self._terminal, 1 << 16)
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._terminal)


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address)) as running:
        for model in ("lab/echo", "lab/echo", "lab/fast"):
            assert running.post("/v1/chat/completions", body_of() | {"model": model}).status == 200
        yield running


def top(gateway: Gateway, *words: str) -> list[str]:
    return ["top", "--url", f"http://{gateway.admin}", *words]


def test_it_lives_in_a_terminal_and_outlives_a_restart(gateway: Gateway) -> None:
    assert gateway.process is not None
    command = list(gateway.process.args)
    with contextlib.closing(Terminal(*top(gateway), FAIRLEAD_ADMIN_TOKEN=ADMIN_TOKEN)) as terminal:
        terminal.see("lab/echo")
        terminal.see("req/s")
        terminal.press("5")
        terminal.see("RESULT")
        assert gateway.post("/v1/chat/completions", body_of() | {"model": "lab/tools"}).status == 200
        terminal.see("lab/tools")
        gateway.stop()
        terminal.see("away")
        gateway.command = lambda: command  # type: ignore[method-assign]
        gateway.start()
        terminal.see("req/s")
        terminal.press("q")
        assert terminal.ends() == 0


def test_without_a_terminal_it_is_a_snapshot(gateway: Gateway) -> None:
    here = gateway.run("top")
    assert here.returncode == 0, here
    assert re.search(r"^lab/echo +2 +0 ", here.stdout, re.MULTILINE) and "3 requests  0 errors" in here.stdout and "req/s" in here.stdout
    environment = {**os.environ, "FAIRLEAD_ADMIN_TOKEN": ADMIN_TOKEN}
    there = subprocess.run([FAIRLEAD, *top(gateway, "--json")], capture_output=True, text=True, env=environment, check=True)
    found = json.loads(there.stdout)
    assert found["totals"]["requests"] == 3 and found["now"]["in_flight"] == 0
    assert {row["name"]: row["requests"] for row in found["models"]} == {"lab/echo": 2, "lab/fast": 1}
    assert [row["name"] for row in found["keys"]] == ["e2e"] and found["errors"] == []


def test_who_cannot_is_told_why(gateway: Gateway, tmp_path: Path) -> None:
    for token, text in (("wrong", "does not know this admin token"), (ADMIN_TOKEN, "")):
        with contextlib.closing(Terminal(*top(gateway), FAIRLEAD_ADMIN_TOKEN=token)) as terminal:
            if text:
                assert terminal.ends() == 1
                assert text in STEERING.sub(b"", terminal.drawn).decode()
            else:
                terminal.see("req/s")
                terminal.press("q")
                assert terminal.ends() == 0
    gateway.stop()
    for words in (["--data-dir", str(tmp_path)], ["--url", f"http://{gateway.admin}"]):
        done = subprocess.run(
            [FAIRLEAD, "top", *words], capture_output=True, text=True, env={**os.environ, "FAIRLEAD_ADMIN_TOKEN": ADMIN_TOKEN}, check=False
        )
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
