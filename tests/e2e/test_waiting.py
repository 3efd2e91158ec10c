"""Requests that wait for a provider's key: how many it gets at a time, whose turn it is, and how long anybody waits."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import KEY, OTHER_KEY, Gateway, Provider, Reply, configuration, split, until

CHAT = "/v1/chat/completions"
SLOW_MS = 300


def waiting_gateway(provider: Provider, queue_ms: int) -> Gateway:
    """One key that may be used once at a time."""
    text = configuration(provider.address, server="workers = 2", tables=f"[timeouts]\nqueue_ms = {queue_ms}\n")
    return Gateway(text.replace('keys = ["', 'keys = [{ max_concurrency = 1, secret = "').replace('"]\nbase_urls', '" }]\nbase_urls'))


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider(seed=11) as running:
        yield running


class Asking:
    """Requests in the background, and what came of them in the order in which it came."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.replies: list[tuple[str, Reply]] = []
        self.threads: list[threading.Thread] = []

    def ask(self, name: str, key: str = KEY, **fields: Any) -> None:
        body = {"model": "lab/echo", "messages": [{"role": "user", "content": name}], **fields}

        def send() -> None:
            self.replies.append((name, self.gateway.post(CHAT, body, key=key)))

        self.threads.append(threading.Thread(target=send))
        self.threads[-1].start()

    def all(self) -> list[tuple[str, Reply]]:
        for thread in self.threads:
            thread.join(30)
        return self.replies


def test_keys_take_turns(provider: Provider) -> None:
    slow = {"sim": {"delay_ms": SLOW_MS}}
    with waiting_gateway(provider, 20_000) as gateway:
        asking = Asking(gateway)
        for number in range(6):
            asking.ask(f"greedy {number}", **slow)
            until(lambda number=number: gateway.gauge("requests_waiting") >= number, "it stands in line")
        asking.ask("patient", OTHER_KEY, **slow)
        replies = asking.all()
        assert [reply.status for _, reply in replies] == [200] * 7
        # One is served when it comes, one of the greedy's may be next; then it is its turn.
        assert "patient" in [name for name, _ in replies[:4]]
        assert gateway.gauge("requests_waiting") == 0
        assert len(gateway.generations()) == 7
        # Who waits does no work: what the gateway says of its own share does not grow by it.
        assert all(float((reply.headers["server-timing"] or "").rpartition("dur=")[2]) < SLOW_MS for _, reply in replies)


def test_who_waits_too_long_is_told_when_to_come_again(provider: Provider) -> None:
    with waiting_gateway(provider, 200) as gateway:
        asking = Asking(gateway)
        asking.ask("first", sim={"delay_ms": 2_000})
        until(lambda: provider.open_requests() == 1, "the only key is in use")
        late = gateway.post(CHAT, {"model": "lab/echo", "messages": [{"role": "user", "content": "late"}]})
        assert late.status == 429 and late.headers["retry-after"] == "1"
        assert "at its limit" in late.json()["error"]["message"]
        assert [reply.status for _, reply in asking.all()] == [200]
        assert len(gateway.generations()) == 1, "what never went out costs nothing"


def test_who_leaves_gives_up_the_place(provider: Provider) -> None:
    with waiting_gateway(provider, 20_000) as gateway:
        asking = Asking(gateway)
        asking.ask("first", sim={"delay_ms": 1_000})
        until(lambda: provider.open_requests() == 1, "the only key is in use")
        body = json.dumps({"model": "lab/echo", "messages": [{"role": "user", "content": "gone"}]}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
        with socket.create_connection(split(gateway.address)) as leaving:
            leaving.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            until(lambda: gateway.gauge("requests_waiting") == 1, "it waits")
        until(lambda: gateway.gauge("requests_waiting") == 0, "it has left")
        assert [reply.status for _, reply in asking.all()] == [200]
        assert len(gateway.generations()) == 1
