"""A disk that fails under the journal: what a client is told, with either durability, and what the next start knows."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from e2e.house import STOP_SECONDS, Gateway, ProviderProcess, Reply, configuration, until
from e2e.wire import Wire, body_of

FAULTS = Path(__file__).parents[2] / "rust" / "journal" / "tests" / "faults.c"
EIO, ENOSPC = 5, 28

Start = Callable[..., Gateway]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loaded before the C library, it makes calls fail."""
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", path, FAULTS, "-ldl"], check=True)
    return path


@pytest.fixture
def start(library: Path) -> Iterator[Start]:
    """Starts a gateway of a durability whose disk fails from `fail` on: that call, with that error; or from the `at`th such call on. With
    `wait_ms` such calls take so long, and do not fail."""
    running: list[Gateway] = []
    with ProviderProcess() as provider:

        def begin(durability: str, call: str, errno: int = 0, at: int = 0, workers: int = 0, wait_ms: int = 0) -> Gateway:
            storage = f'[storage]\ndurability = "{durability}"\n'
            faults = {"FAULT_CALL": call, "FAULT_AT": str(max(at, 1)), "FAULT_ERRNO": str(errno), "FAULT_LASTS": "1"}
            if wait_ms:
                faults["FAULT_WAIT_MS"] = str(wait_ms)
            gateway = Gateway(configuration(provider.address, server=f"workers = {workers}" if workers else "", tables=storage))
            running.append(gateway)
            if at:
                fail(gateway)
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


def ended(gateway: Gateway) -> int:
    """The exit status of a process that ends by itself."""
    assert gateway.process is not None
    return gateway.process.wait(STOP_SECONDS)


def test_a_reply_ends_only_on_the_disk_and_then_the_process_ends(start: Start) -> None:
    gateway = start("power", "fdatasync", EIO)
    assert ask(gateway, 1) == 200
    assert b"[DONE]" in events_of(gateway)[-1]
    fail(gateway)
    events = events_of(gateway)
    assert not any(b"[DONE]" in event for event in events), "its end would say that it is kept"
    assert ended(gateway) == 1
    assert "the journal cannot be trusted any more" in gateway.stderr() and "sync" in gateway.stderr()


def test_a_unary_reply_comes_only_from_the_disk(start: Start) -> None:
    gateway = start("power", "fdatasync", EIO)
    fail(gateway)
    assert ask(gateway, 1) == 503
    assert ended(gateway) == 1


def test_what_is_not_certainly_on_the_disk_is_not_given_again(start: Start) -> None:
    gateway = start("power", "fdatasync", EIO)
    body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": 1})

    def named() -> Reply:
        return gateway.post("/v1/chat/completions", body, headers={"Idempotency-Key": "once"})

    fail(gateway)
    assert named().status == 503
    assert ended(gateway) == 1
    mend(gateway)
    gateway.start()
    again = named()
    assert (again.status, again.json()["error"]["code"]) == (409, "idempotency_reply_lost"), again.body


def test_a_name_counts_once_it_is_on_the_disk(start: Start) -> None:
    gateway = start("power", "fsync", EIO)
    body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": 1})
    fail(gateway)
    refused = gateway.post("/v1/chat/completions", body, headers={"Idempotency-Key": "once"})
    assert refused.status == 503 and b"Idempotency-Key" in refused.body, refused.body
    assert int(refused.headers["retry-after"]) >= 1
    assert ask(gateway, 2) == 200
    mend(gateway)
    assert gateway.post("/v1/chat/completions", body, headers={"Idempotency-Key": "once"}).status == 200, "the name is free again"
    # Where a power cut may take the last settlements, nobody waits for that.
    gateway = start("process", "fsync", EIO)
    fail(gateway)
    assert gateway.post("/v1/chat/completions", body, headers={"Idempotency-Key": "once"}).status == 200


def test_who_leaves_while_a_name_is_claimed_leaves_it_free(start: Start) -> None:
    # Files come to their places by that call.
    gateway = start("process", "rename", wait_ms=700)
    body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": 1})
    named = {"Idempotency-Key": "once"}
    fail(gateway)
    with Wire(gateway.address) as wire:
        wire.post("/v1/chat/completions", body, named)
        until(lambda: list((gateway.data_dir / "idempotency").glob("*.part")), "the name is being claimed")
    until(lambda: gateway.gauge("requests_open") == 0, "the client that left is noticed")
    mend(gateway)
    until(lambda: not list((gateway.data_dir / "idempotency").glob("*.part")), "the file is written")
    reply = gateway.post("/v1/chat/completions", body, headers=named)
    assert reply.status == 200 and "idempotent-replay" not in reply.headers, reply.body


def test_after_a_failed_sync_calls_under_way_end_and_no_other_begins(start: Start) -> None:
    gateway = start("process", "fdatasync", EIO)
    with Wire(gateway.address) as wire, Wire(gateway.address) as other:
        # Connections that are open already: nobody is accepted any more.
        assert unary(other, 1) == 200
        body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": 9, "tokens": 100, "pace_ms": 20}, stream=True)
        wire.post("/v1/chat/completions", body)
        answer = wire.head()
        assert answer.status == 200
        fail(gateway)
        until(lambda: "the journal" in gateway.stderr() or unary(other, 2) == 503, "paid work is refused")
        events = list(wire.events(answer))
        assert b"[DONE]" in events[-1], "a call under way ends as it would have"
    assert ended(gateway) == 1, "the next start finds out what the disk has"
    mend(gateway)
    gateway.start()
    assert ask(gateway, 4) == 200
    assert {row["outcome"] for row in gateway.generations()} <= {"completed", "recovered"}


def unary(wire: Wire, tag: int) -> int:
    """The status of a unary call over a connection; 503 where that was closed, as it is when the process is about to end."""
    try:
        wire.post("/v1/chat/completions", body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": tag}))
        return wire.answer().status
    except (OSError, AssertionError):
        return 503


def test_a_write_that_fails_ends_the_process_too(start: Start) -> None:
    gateway = start("process", "pwrite", EIO)
    fail(gateway)
    # SQLite writes with the same call; the journal's comes first.
    assert ask(gateway, 1) == 503
    assert ended(gateway) == 1


def test_a_full_disk_is_not_felt_while_there_are_segments(start: Start) -> None:
    gateway = start("process", "fallocate", ENOSPC)
    fail(gateway)
    # Segments that exist are still written to, and kept for what is under way.
    assert ask(gateway, 1) == 200
    mend(gateway)
    assert ask(gateway, 2) == 200


# A call with as much to tell as is kept of it: 16 MiB are soon full.
LONG = "x" * 250
TELLING = {"HTTP-Referer": f"https://{LONG}", "X-Title": LONG, "User-Agent": LONG}
MOST_CALLS = 20_000


def test_a_full_disk_refuses_what_has_no_room_and_heals(start: Start) -> None:
    # The first segment of the only worker is made, and no other.
    gateway = start("process", "fallocate", ENOSPC, at=2, workers=1)
    refused: list[Reply] = []

    def tell(tag: int) -> Reply:
        body = body_of("Hello", model="lab/fast", dialect="openai_chat", sim={"tag": tag}, user=LONG, session_id=LONG)
        return gateway.post("/v1/chat/completions", body, headers=TELLING)

    def fill(tag: int) -> None:
        for _ in range(MOST_CALLS):
            if refused:
                return
            if (reply := tell(tag)).status != 200:
                refused.append(reply)

    threads = [threading.Thread(target=fill, args=(tag,)) for tag in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused and {reply.status for reply in refused} == {503}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
    assert all(b"no room for another segment" in reply.body for reply in refused)
    assert gateway.process is not None and gateway.process.poll() is None
    # One call alone needs less room to be kept than four at once did.
    assert any(tell(5).status == 503 for _ in range(50))
    assert gateway.get("/readyz", key=None).status == 200, "it heals, so it stays"
    mend(gateway)
    assert tell(6).status == 200, "space has returned"
    assert {row["outcome"] for row in gateway.select("SELECT DISTINCT outcome FROM generations")} == {"completed"}
    assert gateway.stop() == 0
