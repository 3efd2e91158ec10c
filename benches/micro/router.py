"""What a call costs a Python program: `fairlead.Router` beside the openai SDK, in the same run.

    python benches/micro/router.py

CPU time of this process, all of its threads, by the process's own clock: Python, the native thread, and the kernel's work for both. It is
pinned to one core, the simulator that answers to another. The Router routes, meters and prices each call; the SDK calls the simulator
directly. Both run on uvloop, with 32 calls in flight and with one after the other; every reply is looked into. Windows are interleaved and
the lowest counts; others on the machine can only make it higher. The exit status is 1 when a goal is missed.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import fairlead
import openai
import uvloop

CALL_GOAL_US, CHUNK_GOAL_US = 60.0, 12.0
IN_FLIGHT = 32
WINDOWS = 5
CHUNKS = 400
WORDS = " ".join(f"word{at}" for at in range(CHUNKS))
SHORT = [{"role": "user", "content": "Say this again, please."}]
LONG = [{"role": "user", "content": WORDS}]
PACE_MS = 10
"""Between the chunks of a paced stream: each is then a read of its own, and mostly a wake-up."""

CONFIGURATION = """
[providers.lab]
dialect = "openai_chat"
base_url = "http://{address}/v1"
keys = ["any"]
[models."lab/echo"]
[[models."lab/echo".endpoints]]
provider = "lab"
upstream_model = "sim/echo"
usd_per_million = {{ prompt = "3", completion = "15" }}
"""


class OurCaller:
    """Calls through the Router."""

    name = "fairlead.Router"

    def __init__(self, router: fairlead.Router) -> None:
        self._router = router

    async def call(self) -> None:
        reply = await self._router.chat(model="lab/echo", messages=SHORT)
        assert reply.body["choices"][0]["message"]["content"] == SHORT[0]["content"] and reply.cost_nanousd > 0

    async def stream(self, paced: bool) -> int:
        pace = {"sim": {"pace_ms": PACE_MS}} if paced else {}
        stream = await self._router.chat(model="lab/echo", messages=LONG, stream=True, **pace)
        pieces = [chunk["choices"][0]["delta"].get("content") or "" async for chunk in stream]
        assert "".join(pieces) == WORDS and stream.receipt is not None and stream.receipt.cost_nanousd > 0
        return len(pieces)


class SdkCaller:
    """Calls as the SDK makes them, straight to the simulator."""

    name = "openai SDK"

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def call(self) -> None:
        reply = await self._client.chat.completions.create(model="sim/echo", messages=SHORT)  # type: ignore[arg-type]
        assert reply.choices[0].message.content == SHORT[0]["content"]

    async def stream(self, paced: bool) -> int:
        extra = {"sim": {"pace_ms": PACE_MS}} if paced else {}
        stream = await self._client.chat.completions.create(model="sim/echo", messages=LONG, stream=True, extra_body=extra)  # type: ignore[call-overload]
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(pieces) == WORDS
        return len(pieces)


Caller = OurCaller | SdkCaller
Load = Callable[[Caller], Awaitable[int]]


async def one_after_another(caller: Caller) -> int:
    for _ in range(300):
        await caller.call()
    return 300


async def many_at_a_time(caller: Caller) -> int:
    calls = 0

    async def keep_calling() -> None:
        nonlocal calls
        for _ in range(40):
            await caller.call()
            calls += 1

    await asyncio.gather(*(keep_calling() for _ in range(IN_FLIGHT)))
    return calls


def streams(count: int, rounds: int, paced: bool) -> Load:
    async def read(caller: Caller) -> int:
        chunks = 0
        for _ in range(rounds):
            chunks += sum(await asyncio.gather(*(caller.stream(paced) for _ in range(count))))
        return chunks

    return read


LOADS: dict[str, tuple[Load, float | None]] = {
    "call, 32 in flight": (many_at_a_time, CALL_GOAL_US),
    "call, one after the other": (one_after_another, None),
    "chunk, 32 streams at full speed": (streams(IN_FLIGHT, 1, paced=False), CHUNK_GOAL_US),
    "chunk, one stream at full speed": (streams(1, 10, paced=False), None),
    "chunk, 32 streams paced 10 ms": (streams(IN_FLIGHT, 1, paced=True), None),
}


async def measure(callers: list[Caller], windows: int) -> dict[str, dict[str, list[float]]]:
    """CPU µs of every window, by load and caller."""
    found: dict[str, dict[str, list[float]]] = {load: {caller.name: [] for caller in callers} for load in LOADS}
    for window in range(windows + 1):
        for name, (load, _goal) in LOADS.items():
            for caller in callers:
                before = time.process_time()
                done = await load(caller)
                taken = 1e6 * (time.process_time() - before) / done
                # The first round opens connections and warms caches.
                if window:
                    found[name][caller.name].append(taken)
    return found


@contextmanager
def simulator(core: int | None) -> Iterator[str]:
    """A simulator in a process of its own; its address."""
    command = [str(Path(sys.executable).parent / "fairlead"), "sim", "--address", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        if core is not None:
            for thread in Path(f"/proc/{process.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
        yield address
    finally:
        process.terminate()
        process.wait()


async def run(file: Path, address: str, windows: int) -> dict[str, dict[str, list[float]]]:
    async with fairlead.Router(file) as router, openai.AsyncOpenAI(base_url=f"http://{address}/v1", api_key="any") as client:
        return await measure([SdkCaller(client), OurCaller(router)], windows)


def table(found: dict[str, dict[str, list[float]]]) -> bool:
    """Prints it; whether every goal is met."""
    met = True
    say(f"{'CPU µs, the lowest window (and the highest)':45}{SdkCaller.name:>18}{OurCaller.name:>18}{'times':>8}{'goal':>8}")
    for name, (_load, goal) in LOADS.items():
        sdk, ours = found[name][SdkCaller.name], found[name][OurCaller.name]
        cells = "".join(f"{f'{min(times):.1f} ({max(times):.1f})':>18}" for times in (sdk, ours))
        say(f"{name:45}{cells}{min(sdk) / min(ours):8.1f}{f'{goal:g}' if goal else '':>8}")
        met &= goal is None or min(ours) <= goal
    say(f"\ngoals: {'met' if met else 'missed'}")
    return met


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=WINDOWS, metavar="N", help=f"windows of each load (default: {WINDOWS})")
    parser.add_argument("--json", action="store_true", help="write every window as JSON")
    arguments: Any = parser.parse_args()
    cores: list[int | None] = [*sorted(os.sched_getaffinity(0))]
    with simulator(cores[1] if len(cores) > 1 else None) as address, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "fairlead.toml")
        file.write_text(CONFIGURATION.format(address=address))
        os.sched_setaffinity(0, {cores[0] or 0})
        found = uvloop.run(run(file, address, arguments.windows))
    if arguments.json:
        say(json.dumps(found, indent=2))
        return 0
    say(f"openai {version('openai')}, uvloop {version('uvloop')}, Python {sys.version.split()[0]}, {len(cores)} cores\n")
    return 0 if table(found) else 1


if __name__ == "__main__":
    sys.exit(main())
