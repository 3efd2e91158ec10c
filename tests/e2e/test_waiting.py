"""Requests that wait for a provider's key: how many it gets at a time, whose turn it is, and how long anybody waits."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import KEY, OTHER_KEY, PROVIDER_SECRET, Gateway, Provider, Reply, configuration, split, sse_data, until

CHAT = "/v1/chat/completions"
SLOW_MS = 300


def waiting_gateway(provider: Provider, queue_ms: int, timeouts: str = "") -> Gateway:
    """Two providers with one key each, which may be used once at a time; `old` speaks chat alone."""
    timeouts += f'\n[providers.old]\ndialects = ["openai_chat"]\nbase_url = "http://{provider.address}/v1"\n'
    timeouts += 'keys = [{ max_concurrency = 1, secret = "old" }]\ncancel_stops_billing = true\n'
    timeouts += '[[models."old/echo".endpoints]]\nprovider = "old"\nupstream_model = "sim/echo"\n'
    timeouts += 'usd_per_million = { prompt = "1", completion = "2" }\n'
    text = configuration(provider.address, server="workers = 2", tables=f"[timeouts]\nqueue_ms = {queue_ms}\n{timeouts}\n")
    text = text.replace('"openai_chat", "anthropic_messages"]', '"openai_chat", "anthropic_messages", "openai_responses"]')
    text = text.replace("base_urls = { ", f'base_urls = {{ openai_responses = "http://{provider.address}/v1", ')
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


# --- silence in line --------------------------------------------------------------------------------------------------

MESSAGES, RESPONSES, GEMINI = "/v1/messages", "/v1/responses", "/v1beta/models/lab%2Fecho:streamGenerateContent?alt=sse"
SAYS = [{"role": "user", "content": "Hello you"}]
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"model": "lab/echo", "messages": SAYS},
    "/api" + CHAT: {"model": "lab/echo", "messages": SAYS},
    MESSAGES: {"model": "lab/echo", "messages": SAYS, "max_tokens": 100},
    RESPONSES: {"model": "lab/echo", "input": "Hello you"},
}
SIGNS = {CHAT: b": keep-alive\n\n", "/api" + CHAT: b": keep-alive\n\n", MESSAGES: b"event: ping", RESPONSES: b"response.in_progress"}
ROUTING = ("x-fairlead-provider", "x-fairlead-model", "x-fairlead-attempts", "server-timing")
EARLY = "early_head_ms = 300\nkeepalive_ms = 100"


@pytest.fixture(scope="module")
def quick(provider: Provider) -> Iterator[Gateway]:
    """Silence is short, the line is long."""
    with waiting_gateway(provider, 20_000, EARLY) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def hasty(provider: Provider) -> Iterator[Gateway]:
    """The line is not much longer than silence."""
    with waiting_gateway(provider, 700, EARLY) as gateway:
        yield gateway


def occupied(gateway: Gateway, provider: Provider, milliseconds: int, model: str = "lab/echo") -> Asking:
    """The only key is in use for so long."""
    asking = Asking(gateway)
    asking.ask("first", model=model, sim={"delay_ms": milliseconds})
    until(lambda: provider.open_requests() == 1, "the only key is in use")
    return asking


def text_of(path: str, events: list[Any]) -> str:
    """What the stream says."""
    if path == MESSAGES:
        return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    if path == RESPONSES:
        return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    return "".join(choice["delta"].get("content") or "" for chunk in events if chunk != "[DONE]" for choice in chunk["choices"])


def check_numbers(path: str, events: list[Any]) -> None:
    """The events of Responses are numbered without a gap, and one of them begins."""
    if path == RESPONSES:
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert [event["type"] for event in events].count("response.created") == 1
        assert len({event["response"]["id"] for event in events if "response" in event}) == 1


@pytest.mark.parametrize("model", ["lab/echo", "old/echo"], ids=["as it comes", "translated"])
@pytest.mark.parametrize("path", BODIES)
def test_a_stream_in_line_has_its_head_and_signs_of_life(quick: Gateway, provider: Provider, path: str, model: str) -> None:
    asking = occupied(quick, provider, 1_000, model)
    reply = quick.post(path, BODIES[path] | {"stream": True, "model": model})
    assert (reply.status, reply.headers["content-type"]) == (200, "text/event-stream")
    assert [name for name in ROUTING if reply.headers[name]] == []
    assert reply.body.count(SIGNS[path]) >= 4
    events = sse_data(reply.body)
    assert text_of(path, events) == "Hello you"
    check_numbers(path, events)
    row = quick.generation(reply.generation)
    assert (row["outcome"], len(row["attempts"])) == ("completed", 1)
    assert [each.status for _, each in asking.all()] == [200]


@pytest.mark.parametrize("path", BODIES)
def test_what_waits_too_long_behind_its_head_is_told_in_the_stream(hasty: Gateway, provider: Provider, path: str) -> None:
    asking = occupied(hasty, provider, 2_000)
    before = len(hasty.generations())
    reply = hasty.post(path, BODIES[path] | {"stream": True}, headers={"x-openrouter-metadata": "enabled"})
    assert reply.status == 200 and SIGNS[path] in reply.body
    events = sse_data(reply.body)
    told = json.dumps(events)
    assert "at its limit" in told and told.count("at its limit") == 1
    check_numbers(path, events)
    if path == RESPONSES:
        assert events[-1]["type"] == "response.failed"
    elif path == MESSAGES:
        assert events[-1]["type"] == "error"
    else:
        failed = events[-2]
        assert events[-1] == "[DONE]" and (failed["error"]["code"] in (429, "rate_limit_exceeded"))
        assert ("openrouter_metadata" in failed) == path.startswith("/api")
        assert ("availability" in failed["error"]) == path.startswith("/api")
    assert len(hasty.generations()) == before, "what never went out is no generation"
    assert [reply.status for _, reply in asking.all()] == [200]


@pytest.mark.parametrize("path", BODIES)
def test_silence_in_line_and_at_the_provider_is_one(quick: Gateway, provider: Provider, path: str) -> None:
    asking = occupied(quick, provider, 200)
    reply = quick.post(path, BODIES[path] | {"stream": True, "sim": {"delay_ms": 200}})
    assert reply.status == 200 and [name for name in ROUTING if reply.headers[name]] == [], "neither wait is long enough by itself"
    assert text_of(path, sse_data(reply.body)) == "Hello you"
    check_numbers(path, sse_data(reply.body))
    asking.all()


def test_a_wait_that_is_short_enough_leaves_the_head_whole(quick: Gateway, provider: Provider) -> None:
    asking = occupied(quick, provider, 100)
    reply = quick.post(CHAT, BODIES[CHAT] | {"stream": True})
    assert reply.headers["x-fairlead-provider"] == "lab" and SIGNS[CHAT] not in reply.body
    asking.all()


@pytest.mark.parametrize("path", [CHAT, GEMINI])
def test_who_knows_no_signs_of_life_gets_a_status(hasty: Gateway, provider: Provider, path: str) -> None:
    asking = occupied(hasty, provider, 2_000)
    body = BODIES[CHAT] if path == CHAT else {"contents": [{"role": "user", "parts": [{"text": "Hello you"}]}]}
    reply = hasty.post(path, body)
    assert reply.status == 429 and int(reply.headers["retry-after"]) >= 1
    asking.all()


def test_who_leaves_behind_an_early_head_gives_up_the_place(quick: Gateway, provider: Provider) -> None:
    asking = occupied(quick, provider, 1_500)
    with quick.stream(CHAT, BODIES[CHAT] | {"stream": True}) as response:
        assert response.status == 200 and response.read1()
        assert quick.gauge("requests_waiting") == 1
    until(lambda: quick.gauge("requests_waiting") == 0, "it has left", seconds=1)
    before = len(quick.generations())
    assert [reply.status for _, reply in asking.all()] == [200]
    assert len(quick.generations()) == before + 1


def test_what_fails_at_the_provider_behind_an_early_head_is_told_in_the_stream(quick: Gateway, provider: Provider) -> None:
    asking = occupied(quick, provider, 700)
    reply = quick.post(RESPONSES, BODIES[RESPONSES] | {"stream": True, "sim": {"fault": {"kind": "status", "status": 503}}})
    events = sse_data(reply.body)
    assert reply.status == 200 and events[-1]["type"] == "response.failed"
    check_numbers(RESPONSES, events)
    assert quick.generation(reply.generation)["outcome"] == "failed"
    asking.all()


# --- more than a key's minute -----------------------------------------------------------------------------------------


def test_what_no_key_will_ever_take_goes_elsewhere_or_is_told_so(provider: Provider) -> None:
    text = configuration(provider.address).replace(
        f'keys = ["{PROVIDER_SECRET}"]', f'keys = [{{ secret = "{PROVIDER_SECRET}", tpm = 1000 }}]'
    )
    text += f'[providers.wide]\ndialects = ["openai_chat"]\nbase_url = "http://{provider.address}/v1"\nkeys = ["wide"]\n'
    text += 'cancel_stops_billing = true\n[[models."lab/both".endpoints]]\nprovider = "lab"\nupstream_model = "sim/echo"\n'
    text += 'usd_per_million = { prompt = "1", completion = "1" }\n[[models."lab/both".endpoints]]\nprovider = "wide"\n'
    text += 'upstream_model = "sim/echo"\nusd_per_million = { prompt = "9", completion = "9" }\n'
    large, order = {"messages": SAYS, "max_tokens": 5_000}, {"order": ["lab"]}
    with Gateway(text) as gateway:
        for stream in (False, True):
            refused = gateway.post("/api" + CHAT, large | {"model": "lab/echo", "stream": stream})
            assert (refused.status, refused.headers["retry-after"], refused.headers["x-should-retry"]) == (404, None, "false")
            error = refused.json()["error"]
            assert "lab/echo at lab (provider_tpm: its keys are limited to 1000 tokens a minute (tpm)" in error["message"]
            assert "needs about 50" in error["message"], error
            available = error["availability"]
            assert (available["retryable"], available["retry_after"], available["excluded_by"]) == (False, None, ["provider_tpm"])
        assert gateway.post(CHAT, {"model": "lab/echo", "messages": SAYS, "max_tokens": 500}).status == 200
        reply = gateway.post(CHAT, large | {"model": "lab/both", "provider": order})
        assert (reply.status, reply.headers["x-fairlead-provider"], reply.headers["x-fairlead-attempts"]) == (200, "wide", "1")
        assert len(gateway.generations()) == 2
