"""How long a worker keeps others waiting: round trips of /healthz on one kept connection, while the same single worker translates.

    .venv/bin/python benches/longest_wait.py [--seconds 10] [--fairlead-cmd PATH]

No poll may hold a worker longer than 200 µs, so a probe that finds one poll before it waits about that long; several that became ready
at the same moment come before it one after the other. Both stand beside the idle worker's round trips, which are the kernel's and
Python's. Figures are printed and nothing is asserted: on a busy machine the worst are the scheduler's. What the tests assert is that all
work which grows with a body is done beside the worker.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEY = "sk-fl-v1-" + "b0b0" * 16
MODEL = "lab/echo"
CONFIG = """
[server]
data = "127.0.0.1:0"
admin = "127.0.0.1:0"
workers = 1
[keys.bench]
secret = "{key}"
[providers.lab]
dialect = "anthropic_messages"
base_url = "http://{upstream}"
keys = ["secret"]
[[models."lab/echo".endpoints]]
provider = "lab"
upstream_model = "sim/echo"
usd_per_million = {{ prompt = "3", completion = "15" }}
"""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--fairlead-cmd", default=str(Path(sys.executable).parent / "fairlead"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(options.fairlead_cmd, Path(folder)) as address:
        print(f"{'worker':24} {'probes':>8} {'p50 µs':>8} {'p99 µs':>8} {'p99.9 µs':>9} {'worst µs':>9}")
        for name, sizes in (("idle", ()), ("40 KB bodies", (40_000,)), ("mixed", (200, 40_000, 2_000_000))):
            with loaded(address, sizes):
                report(name, sorted(round_trips(address, options.seconds)))


@contextlib.contextmanager
def serving(command: str, folder: Path) -> Iterator[str]:
    """A simulator and a gateway with one worker; the gateway's address."""
    with started([command, "sim", "--address", "127.0.0.1:0", "--json"]) as simulator:
        config = folder / "fairlead.toml"
        config.write_text(CONFIG.format(key=KEY, upstream=simulator["address"]))
        serve = [command, "serve", "--json", "--config", str(config), "--data-dir", str(folder / "data")]
        with started(serve) as gateway:
            yield str(gateway["data"]).partition("://")[2]


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[dict[str, Any]]:
    """A process, and what its first line says."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@contextlib.contextmanager
def loaded(address: str, sizes: tuple[int, ...]) -> Iterator[None]:
    """Clients that send bodies of these sizes, each in a process of its own: Python's threads would wait for each other."""
    clients = [multiprocessing.Process(target=send, args=(address, size), daemon=True) for size in sizes]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        for client in clients:
            client.terminate()
            client.join()


def send(address: str, size: int) -> None:
    """Chat requests to a provider of Messages, streamed and whole in turn, for ever."""
    connection = http.client.HTTPConnection(address)
    headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
    for stream in (turn % 2 == 1 for turn in iter(int, 1)):
        body = {"model": MODEL, "stream": stream, "max_tokens": 64, "messages": [{"role": "user", "content": 'a "b"\n' * (size // 6)}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = connection.getresponse()
        said = reply.read()
        assert reply.status == 200, said[:500]


def round_trips(address: str, seconds: float) -> Iterator[float]:
    """Probes, a fifth of a millisecond apart, in microseconds."""
    connection = http.client.HTTPConnection(address)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter_ns()
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        yield (time.perf_counter_ns() - began) / 1000
        time.sleep(0.0002)


def report(name: str, waits: list[float]) -> None:
    """A line of the table."""
    at = [waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.99, 0.999, 1)]
    print(f"{name:24} {len(waits):8} {at[0]:8.0f} {at[1]:8.0f} {at[2]:9.0f} {at[3]:9.0f}")


if __name__ == "__main__":
    main()
