"""A native module whose journal is a file of JSON lines and whose engine carries no traffic: enough to run the whole process around it.

`python fake_native.py ARGUMENTS` is the `fairlead` command on top of it.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from control_rig import FakeBatch
from fairlead import __version__ as __version__
from fairlead.control.db.queries import ATTEMPT_COLUMNS as ATTEMPT_COLUMNS
from fairlead.control.db.queries import GENERATION_COLUMNS as GENERATION_COLUMNS
from fairlead.control.db.queries import LOSS_COLUMNS as LOSS_COLUMNS
from fairlead.control.db.queries import Cursor

JOURNAL_FILE = "lines"


class Engine:
    """Writes what it is told into `said` beside the journal, for tests to look at."""

    def __init__(self, options: bytes) -> None:
        self._options = json.loads(options)
        self._folder = Path(self._options["journal_dir"])
        self._folder.mkdir(mode=0o700, exist_ok=True)
        (self._folder / JOURNAL_FILE).touch()
        self._news: list[str] = []
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._port = socket.socket()
        self._stopped = False
        self.address = ""
        self._say("options", self._options)
        if (self._folder / "hang_up").exists():
            os.kill(os.getpid(), signal.SIGHUP)

    def _say(self, kind: str, what: Any) -> None:
        with (self._folder / "said").open("a") as file:
            file.write(json.dumps([kind, what]) + "\n")

    def load_snapshot(self, blob: bytes) -> int:
        snapshot = json.loads(blob)
        self._say("snapshot", snapshot)
        return int(snapshot["version"])

    def apply_keys(self, delta: bytes) -> int:
        parsed = json.loads(delta)
        self._say("keys", parsed)
        return int(parsed["seq"])

    def resume_spending(self, spending: bytes) -> None:
        self._say("spending", json.loads(spending))

    def spending(self, kind: str, id: int) -> None:
        return None

    def free_requests(self, account: int) -> None:
        return None

    def start(self) -> None:
        host, _, port = self._options["data"].rpartition(":")
        try:
            self._port.bind((host, int(port)))
            self._port.listen()
        except OSError:
            raise OSError(f"port {port} is taken") from None
        self.address = f"{host}:{self._port.getsockname()[1]}"
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._ring("draining", "stopped"))

    def _ring(self, *news: str) -> None:
        self._news += news
        os.eventfd_write(self._bell, 1)

    def fileno(self) -> int:
        return self._bell

    def poll(self) -> list[str]:
        os.eventfd_read(self._bell)
        news, self._news = self._news, []
        return news

    def position(self) -> list[Cursor]:
        assert not self._stopped
        return [(0, 1, 0, 1, (self._folder / JOURNAL_FILE).stat().st_size)]

    def applied(self, cursors: list[Cursor]) -> None:
        assert not self._stopped
        self._say("applied", cursors)

    def failure(self) -> str | None:
        assert not self._stopped
        failure = self._folder / "failure"
        return failure.read_text() if failure.exists() else None

    def metrics(self) -> str:
        return "fairlead_up 1\n"

    def stop(self) -> None:
        if not self._stopped:
            self._say("stop", time.time())
        self._stopped = True
        self._port.close()


class JournalReader:
    """Reads whole lines: [generation, attempts]."""

    def __init__(self, directory: str, cursors: list[Cursor]) -> None:
        self._path = Path(directory) / JOURNAL_FILE
        self._offset = max((cursor[4] for cursor in cursors), default=0)

    def read(self, max_records: int) -> FakeBatch:
        batch = FakeBatch()
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file.readlines()[:max_records]:
                generation, attempts = json.loads(line)
                batch.generations.append(tuple(generation))
                batch.attempts += [tuple(attempt) for attempt in attempts]
                self._offset += len(line)
        batch.cursors = [(0, 1, 0, 1, self._offset)]
        batch.caught_up = self._offset == self._path.stat().st_size
        return batch


def estimate_tokens(text: str, model: str) -> int:
    return len(text)


class Simulator:
    """Nothing listens there."""

    address = "127.0.0.1:9"

    def stop(self) -> None:
        """Nothing to stop."""


if __name__ == "__main__":
    sys.modules["fairlead._native"] = sys.modules["__main__"]
    from fairlead.cli import main

    sys.exit(main())
