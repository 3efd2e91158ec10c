"""What the applier costs: CPU of carrying one generation from the journal into the database, rollups included.

    .venv/bin/python benches/applier.py [--calls 40000] [--json]

A journal is written by `rust/journal/examples/fill.rs`, then read by the real drain into a real SQLite file, one transaction after the
other, as fast as it goes. CPU time is that of the process, commits and checkpoints included. `keys x models` says how many of both there
are: each call is of one of the keys to one of the models, at random, so that 1,000 x 200 is the worst case: nearly every call is the
first of its key with its model in its transaction. `a second` is how many calls a second arrive: the drain gathers those of two
seconds into a transaction, up to its most; `backlog`: it is behind, and takes its most.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fairlead.control.db import Database
from fairlead.control.db.queries import Cursor
from fairlead.control.drain import GATHER_SECONDS, Drainer
from fairlead.control.engine import Batch, Reader
from fairlead.runtime import native_module

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = ((10, 10), (1000, 200))
# Calls a second; 0 is a backlog. At fewer the cost of a transaction is shared by few, but then there is nothing to do.
RATES = (0, 2000, 500)
WINDOWS = 5


class Journal:
    """Nobody writes it any more."""

    def position(self) -> list[Cursor]:
        """Never asked for."""
        return []

    def applied(self, cursors: list[Cursor]) -> None:
        """Its segments stay."""


class Gathered:
    """A reader for which only so many records have come since the last transaction."""

    def __init__(self, reader: Reader, most: int) -> None:
        self._reader = reader
        self._most = self._left = most

    def read(self, max_records: int) -> Any:
        """A batch; the last of its transaction when there are no more for now."""
        wanted = min(max_records, self._left)
        self._left -= wanted
        ends = not self._left
        self._left = self._left or self._most
        return Ended(self._reader.read(wanted), ends)


class Ended:
    """A batch, and whether there is nothing after it for now."""

    def __init__(self, batch: Batch, ends: bool) -> None:
        self._batch = batch
        self.caught_up = ends or batch.caught_up

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=40_000, help="generations in each journal")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fill = built()
    figures = []
    with tempfile.TemporaryDirectory() as parent:
        for keys, models in WIDTHS:
            for rate in RATES:
                folder = Path(parent) / f"{keys}-{models}-{rate}"
                # A backlog comes from a rate, too.
                subprocess.run([fill, folder, str(options.calls), str(keys), str(models), str(rate or 2000)], check=True)
                figures.append(measured(folder, keys, models, rate))
                if not options.json:
                    print(line(figures[-1]), flush=True)
    if options.json:
        print(json.dumps(figures, indent=2))


def built() -> str:
    """The program that writes journals."""
    command = ["cargo", "build", "--release", "--locked", "-q", "-p", "fairlead-journal", "--example", "fill"]
    subprocess.run(command, cwd=ROOT, check=True)
    return str(Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "fill")


def measured(folder: Path, keys: int, models: int, rate: int) -> dict[str, Any]:
    """Carries all of a journal over and says what it cost: the lowest and the middle window, and how large everything became."""
    database = Database(folder / "fairlead.db")
    gathered = round(rate * GATHER_SECONDS)

    def opened(cursors: list[Cursor]) -> Any:
        reader = native_module().JournalReader(str(folder), cursors)
        return Gathered(reader, gathered) if rate else reader

    drainer = Drainer(database, opened, Journal())
    windows: list[float] = []
    total = database.read_now(rows)
    began_at, began = total, time.process_time()
    began_all = time.process_time()
    done = False
    while not done:
        database.write_now(drainer._apply_next)
        now = database.read_now(rows)
        done = now == total
        total = now
        # Some tens of milliseconds at least.
        if total - began_at >= 4000:
            windows.append((time.process_time() - began) / (total - began_at) * 1e6)
            began_at, began = total, time.process_time()
    mean = (time.process_time() - began_all) / total * 1e6
    database.close()
    return {
        "keys": keys,
        "models": models,
        "rate": rate,
        "calls": total,
        "lowest_us": round(min(windows), 1),
        "median_us": round(statistics.median(windows), 1),
        "mean_us": round(mean, 1),
        "bytes": (folder / "fairlead.db").stat().st_size // total,
    }


def rows(connection: Any) -> int:
    """How many generations there are; ids grow with rowids, so this counts nothing."""
    return int(connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM generations").fetchone()[0])


def line(figure: dict[str, Any]) -> str:
    """For people."""
    rate = f"{figure['rate']} a second" if figure["rate"] else "backlog"
    name = f"{figure['keys']} x {figure['models']}, {rate}"
    return (
        f"{name:28} {figure['lowest_us']:6.1f} µs lowest {figure['median_us']:6.1f} median {figure['mean_us']:6.1f} mean"
        f" {1e6 / figure['median_us']:8,.0f} a second {figure['bytes']:5} bytes a row"
    )


if __name__ == "__main__":
    sys.exit(main())
