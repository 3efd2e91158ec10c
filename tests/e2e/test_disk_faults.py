"""A disk that fails under the journal: what a client is told, with either durability, and what the next start knows."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.house import Gateway, ProviderProcess, configuration, until
from e2e.wire import Wire, body_of

FAULTS = Path(__file__).parents[2] / "rust" / "journal" / "tests" / "faults.c"
EIO, ENOSPC = 5, 28

Start = Callable[[str, str, int], Gateway]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loaded before the C library, it makes calls fail."""
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, FAULTS, "-ldl"], check=True)
    return path


@pytest.fixture
def start(library: Path) -> Iterator[Start]:
    """Starts a gateway of a durability whose disk fails from `fail` on: that call, with that error."""
    running: list[Gateway] = []
    with ProviderProcess() as provider:

        def begin(durability: str, call: str, errno: int) -> Gateway:
            storage = f'[storage]\ndurability = "{durability}"\n'
            faults = {"FAULT_CALL": call, "FAULT_AT": "1", "FAULT_ERRNO": str(errno), "FAULT_LASTS": "1"}
            gateway = Gateway(configuration(provider.address, tables=storage))
            running.append(gateway)
            gateway._environment |= {"LD_PRELOAD": str(library), "FAULT_FILE": str(gateway.folder / "fail"), **faults}
            gateway.start()
            return gateway

        yield begin
        for gateway in running:
            gateway.close()


def fail(gateway: Gateway) -> None:
    (gateway.folder / "fail").touch()


def mend(gateway: Gateway) -> None:
    (gateway.folder / "fail").unlink()


def ask(gateway: Gateway, tag: int) -> int:
    """The status of a unary call."""
    body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": tag})
    return gateway.post("/v1/chat/completions", body).status


def events_of(gateway: Gateway) -> list[bytes]:
    """What comes of a stream."""
    events: list[bytes] = []
    with Wire(gateway.address) as wire, suppress(ConnectionError):
        body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": 9, "tokens": 20, "pace_ms": 5}, stream=True)
        wire.post("/v1/chat/completions", body)
        answer = wire.head()
        assert answer.status == 200
        events.extend(wire.events(answer))
    return events


def test_a_reply_ends_only_on_the_disk(start: Start) -> None:
    gateway = start("power", "fdatasync", EIO)
    assert ask(gateway, 1) == 200
    assert b"[DONE]" in events_of(gateway)[-1]
    fail(gateway)
    events = events_of(gateway)
    assert not any(b"[DONE]" in event for event in events), "its end would say that it is kept"
    assert ask(gateway, 2) == 503
    assert gateway.get("/readyz", key=None).status == 503


def test_a_unary_reply_comes_only_from_the_disk(start: Start) -> None:
    gateway = start("power", "fdatasync", EIO)
    fail(gateway)
    assert ask(gateway, 1) == 503


def test_no_paid_work_begins_once_a_sync_has_failed(start: Start) -> None:
    gateway = start("process", "fdatasync", EIO)
    fail(gateway)
    assert ask(gateway, 1) == 200, "it is in the page cache"
    until(lambda: ask(gateway, 2) == 503, "the next ones are refused")
    mend(gateway)
    assert ask(gateway, 3) == 503, "until a restart: what the disk has is not known"
    gateway.kill()
    gateway.start()
    assert ask(gateway, 4) == 200
    assert {row["outcome"] for row in gateway.generations()} == {"completed"}


def test_a_full_disk_is_not_felt_while_there_are_segments(start: Start) -> None:
    gateway = start("process", "fallocate", ENOSPC)
    fail(gateway)
    # Segments that exist are still written to, and kept for what is under way.
    assert ask(gateway, 1) == 200
    mend(gateway)
    assert ask(gateway, 2) == 200
