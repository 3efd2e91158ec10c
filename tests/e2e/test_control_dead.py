"""The control plane may hang, fail or die: traffic goes on, probes answer, a drain drains, and the database gets its rows later."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, STOP_SECONDS, Gateway, Provider, configuration, split, until
from e2e.wire import DIALECTS, PATHS, Answer, Wire, body_of, is_terminal

FOR_EVER = 100_000


class Hindered(Gateway):
    """A gateway whose interpreter can be stopped from outside."""

    def __init__(self, config: str) -> None:
        super().__init__(config)
        self._orders = self.folder / "orders"
        os.mkfifo(self._orders)
        self._environment["FAIRLEAD_TEST_ORDERS"] = str(self._orders)

    def command(self) -> list[str]:
        """The same command with somebody inside."""
        return [sys.executable, str(Path(__file__).with_name("hindered.py")), *super().command()[1:]]

    def order(self, line: str) -> None:
        """See `hindered.py`."""
        with self._orders.open("w") as orders:
            orders.write(line + "\n")

    def hold(self, seconds: int) -> None:
        """Returns when no Python code runs in there any more."""
        self.order(f"hold {seconds}")
        until(self._stands_still, "the interpreter stands still")

    def _stands_still(self) -> bool:
        with contextlib.closing(self.connect_admin()) as probe:
            probe.socket.settimeout(0.3)
            probe.get("/healthz", key=None)
            try:
                probe.answer()
            except TimeoutError:
                return True
        return False

    def connect_admin(self) -> Wire:
        """A connection to the admin port."""
        return Wire(self.admin)


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Hindered]:
    """One per test."""
    with Hindered(configuration(provider.address)) as running:
        yield running


def ask(gateway: Gateway, path: str, key: str | None = None) -> Answer:
    """A GET on the traffic port."""
    with Wire(gateway.address) as wire:
        wire.get(path, key=key)
        return wire.answer()


def check_traffic(gateway: Gateway) -> int:
    """Unary and streamed calls in both dialects; how many."""
    with Wire(gateway.address) as wire:
        for dialect in DIALECTS:
            wire.post(PATHS[dialect], body_of(dialect=dialect))
            assert wire.answer().json()["usage"]["cost"] > 0
            wire.post(PATHS[dialect], body_of(dialect=dialect, stream=True))
            assert is_terminal(dialect, list(wire.events(wire.head()))[-1])
    return 2 * len(DIALECTS)


def in_background(work: Callable[[], Any]) -> Callable[[], Any]:
    """Starts it; the returned function waits for its result."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()

    def result() -> Any:
        thread.join(120)
        return results[0]

    return result


def test_traffic_goes_on_while_the_interpreter_hangs(gateway: Hindered) -> None:
    gateway.hold(FOR_EVER)
    forwarded = in_background(lambda: gateway.get("/api/v1/models"))
    for _ in range(3):
        check_traffic(gateway)
    assert ask(gateway, "/healthz").body == b"ok\n"
    assert ask(gateway, "/readyz").body == b"ready\n"
    assert b'fairlead_generations_total{outcome="completed"} 12\n' in ask(gateway, "/metrics", key=ADMIN_TOKEN).body
    reply = forwarded()
    assert reply.status == 503
    assert "the control plane does not answer" in reply.json()["error"]["message"]
    check_traffic(gateway)


def test_a_drain_while_the_interpreter_hangs(gateway: Hindered) -> None:
    with Wire(gateway.address) as wire:
        wire.post(PATHS["openai_chat"], body_of(model="lab/fast", stream=True, sim={"tokens": 60, "pace_ms": 30}))
        events = wire.events(wire.head())
        next(events)
        gateway.hold(4)
        gateway.process.send_signal(signal.SIGTERM)
        assert is_terminal("openai_chat", list(events)[-1])
        assert wire.ended()
    assert gateway.process.wait(STOP_SECONDS) == 0
    assert [row["outcome"] for row in gateway.select("SELECT * FROM generations")] == ["completed"]


def test_who_waits_for_it_when_the_process_stops_is_told(gateway: Hindered) -> None:
    gateway.hold(FOR_EVER)
    with Wire(gateway.address) as wire:
        wire.get("/api/v1/key")
        # The one that asks counts too.
        until(lambda: b"fairlead_requests_open 2\n" in ask(gateway, "/metrics", key=ADMIN_TOKEN).body, "the request has begun")
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: asked_to_end(gateway), "the drain has begun")
        gateway.process.send_signal(signal.SIGTERM)
        answer = wire.answer()
        assert answer.status == 503
        assert "shutting down" in answer.json()["error"]["message"]
        assert wire.ended()


def test_a_process_whose_interpreter_never_returns_still_ends(gateway: Hindered) -> None:
    gateway.hold(FOR_EVER)
    settled = check_traffic(gateway)
    gateway.process.send_signal(signal.SIGTERM)
    gateway.process.wait(STOP_SECONDS)
    gateway.start()
    assert [row["outcome"] for row in gateway.generations()] == ["completed"] * settled


def test_a_third_signal_waits_for_nobody(gateway: Hindered) -> None:
    with Wire(gateway.address) as wire:
        wire.post(PATHS["openai_chat"], body_of(model="lab/fast", stream=True, sim={"tokens": FOR_EVER, "pace_ms": 20}))
        events = wire.events(wire.head())
        next(events)
        gateway.hold(FOR_EVER)
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: asked_to_end(gateway), "the drain has begun")
        next(events)
        gateway.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            list(events)
    until(lambda: not workers(gateway), "what ran is settled")
    assert gateway.process.poll() is None
    assert gateway.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    gateway.start()
    (row,) = gateway.generations()
    assert row["outcome"] != "recovered" and row["charged_nanousd"] > 0


def asked_to_end(gateway: Gateway) -> bool:
    """Whether nobody accepts connections there any more."""
    with contextlib.suppress(ConnectionResetError):
        try:
            socket.create_connection(split(gateway.address), timeout=5).close()
        except ConnectionRefusedError:
            return True
    return False


def workers(gateway: Gateway) -> list[str]:
    """The threads that carry traffic."""
    assert gateway.process is not None
    names = [path.read_text() for path in Path(f"/proc/{gateway.process.pid}/task").glob("*/comm")]
    return [name for name in names if name.startswith("fl-worker")]


def test_a_mistake_in_a_route_stays_there(gateway: Hindered) -> None:
    management = gateway.operate("POST", "/admin/keys", {"name": "manager", "management": True}).json()["key"]
    for _ in range(3):
        reply = gateway.get("/api/v1/credits", key=management)
        assert (reply.status, reply.json()["error"]["code"]) == (500, 500)
        assert "mistake" not in reply.body.decode()
    check_traffic(gateway)
    assert gateway.get("/api/v1/key").status == 200
    assert "ZeroDivisionError: a mistake in a route" in gateway.stderr()


def test_a_control_plane_that_dies_is_started_again(gateway: Hindered) -> None:
    for deaths in (2, 4):
        gateway.order("die")
        until(lambda deaths=deaths: gateway.stderr().count("died and is started again") == deaths, "both servers have died")
        check_traffic(gateway)
        until(lambda: gateway.get("/api/v1/key").status == 200, "the private socket is back")
        until(lambda: admin_answers(gateway), "the admin port is back")
    assert gateway.stop() == 0


def admin_answers(gateway: Gateway) -> bool:
    """Whether the admin port does its work."""
    try:
        return gateway.operate("GET", "/admin/keys").status == 200
    except ConnectionError:
        return False
