"""Figures of providers that are not what they seem: halves of a usage object, and costs that only some providers may name."""

from collections.abc import Iterator
from json import dumps, loads
from typing import Any

import pytest

from e2e.house import COMPLETION_NANOUSD, PROMPT_NANOUSD, Gateway, Provider, configuration
from e2e.wire import PATHS, body_of

ESTIMATED, USAGE_MISSING, COST_REPORTED = 1, 2, 32
CHAT, MESSAGES = PATHS


@pytest.fixture(scope="module")
def plain(provider: Provider) -> Iterator[Gateway]:
    """A gateway of its own for figures that could spoil sums."""
    with Gateway(configuration(provider.address)) as running:
        yield running


@pytest.fixture(scope="module")
def believing(provider: Provider) -> Iterator[Gateway]:
    """A gateway whose provider names its own cost."""
    with Gateway(configuration(provider.address, provider_lines="reports_cost = true")) as running:
        yield running


def script(dialect: str, stream: bool, usage: dict[str, Any]) -> dict[str, Any]:
    """A short answer with exactly this usage."""
    if dialect == CHAT:
        names = {"id": "c1", "created": 1, "model": "m"}
        if not stream:
            choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
            return {"reply": {**names, "object": "chat.completion", "choices": [choice], "usage": usage}}
        head = {**names, "object": "chat.completion.chunk"}
        choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
        return frames([{**head, "choices": [choice]}, {**head, "choices": [], "usage": usage}], "data: [DONE]\n\n")
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_reason": None, "stop_sequence": None}
    if not stream:
        block = {"type": "text", "text": "Hello"}
        return {"reply": {**message, "stop_reason": "end_turn", "content": [block], "usage": usage}}
    prompt = {name: value for name, value in usage.items() if name != "output_tokens"}
    rest = {name: value for name, value in usage.items() if name in ("output_tokens", "cost")}
    return frames(
        [
            {"type": "message_start", "message": {**message, "content": [], "usage": {**prompt, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": rest},
            {"type": "message_stop"},
        ]
    )


def frames(events: list[dict[str, Any]], end: str = "") -> dict[str, Any]:
    """Events as the simulator takes them."""
    named = [f"event: {event['type']}\n" if "type" in event else "" for event in events]
    return {"reply_frames": [f"{name}data: {dumps(event)}\n\n" for name, event in zip(named, events, strict=True)] + ([end] if end else [])}


def ask(gateway: Gateway, prefix: str, dialect: str, stream: bool, usage: dict[str, Any]) -> dict[str, Any]:
    """The row of a call that was answered with this usage."""
    reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, stream=stream, sim=script(dialect, stream, usage)))
    assert reply.status == 200, reply.body
    return gateway.generation(reply.generation)


PROMPT = {CHAT: "prompt_tokens", MESSAGES: "input_tokens"}
COMPLETION = {CHAT: "completion_tokens", MESSAGES: "output_tokens"}
NO_FIGURES = [None, -3, "12", {"n": 1}, "absent"]


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("value", NO_FIGURES, ids=str)
def test_a_half_that_is_no_figure(plain: Gateway, prefix: str, dialect: str, stream: bool, value: Any) -> None:
    """The other half is taken as told, and this one is our own count, which says so. It is never free."""
    usage = {PROMPT[dialect]: value, COMPLETION[dialect]: 7}
    row = ask(plain, prefix, dialect, stream, {name: figure for name, figure in usage.items() if figure != "absent"})
    assert row["completion_tokens"] == 7 and row["prompt_tokens"] > 0
    assert row["flags"] & (ESTIMATED | USAGE_MISSING) == ESTIMATED
    assert row["charged_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD + 7 * COMPLETION_NANOUSD <= row["reserved_nanousd"]
    usage = {PROMPT[dialect]: 11, COMPLETION[dialect]: value}
    row = ask(plain, prefix, dialect, stream, {name: figure for name, figure in usage.items() if figure != "absent"})
    # "Hello" is two tokens by our count.
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 2)
    assert row["flags"] & (ESTIMATED | USAGE_MISSING) == ESTIMATED
    assert row["charged_nanousd"] == 11 * PROMPT_NANOUSD + 2 * COMPLETION_NANOUSD


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cost", [0, 0.5])
def test_who_may_name_a_cost(plain: Gateway, believing: Gateway, prefix: str, dialect: str, stream: bool, cost: float) -> None:
    """Of any provider the configured prices count, whatever its replies say; of one that is known to report its cost, that figure."""
    usage = {PROMPT[dialect]: 11, COMPLETION[dialect]: 7, "cost": cost}
    row = ask(plain, prefix, dialect, stream, usage)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == 11 * PROMPT_NANOUSD + 7 * COMPLETION_NANOUSD
    assert row["flags"] & COST_REPORTED == 0
    row = ask(believing, prefix, dialect, stream, usage)
    assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == int(cost * 1_000_000_000)
    assert row["flags"] & COST_REPORTED


@pytest.mark.parametrize("dialect", PATHS)
@pytest.mark.parametrize("usage", [None, "absent"])
def test_a_whole_reply_without_figures(plain: Gateway, dialect: str, usage: str | None) -> None:
    """OpenRouter's manner always has usage with its cost: our own count. The dialect's own manner has what the provider sent."""
    reply = script(dialect, False, {})["reply"]
    reply |= {"usage": None}
    if usage == "absent":
        del reply["usage"]
    body = body_of(dialect=dialect, sim={"reply": reply})
    found = plain.post("/api" + PATHS[dialect], body)
    row = plain.generation(found.generation)
    told = found.json()["usage"]
    assert round(told["cost"] * 10**9) == row["charged_nanousd"] > 0 and row["flags"] & (ESTIMATED | USAGE_MISSING)
    assert (told[PROMPT[dialect]], told[COMPLETION[dialect]]) == (row["prompt_tokens"], row["completion_tokens"])
    assert plain.post(PATHS[dialect], body).json() == reply


def test_the_end_user_of_a_message_is_on_record_and_hashed(plain: Gateway, provider: Provider) -> None:
    """On OpenRouter's manner the provider sees the same name for the same user wherever the caller put it; never the caller's own."""
    seen = set()
    for given in ({"metadata": {"user_id": "alice"}}, {"user": "alice"}, {"user": "alice", "metadata": {"user_id": "bob"}}):
        provider.forget_requests()
        reply = plain.post("/api/v1/messages", body_of(dialect=MESSAGES, **given))
        assert plain.generation(reply.generation)["end_user"] == "alice"
        sent = provider.last_request()["body"]
        assert "alice" not in sent and "bob" not in sent
        seen.add(loads(sent)["metadata"]["user_id"])
    assert len(seen) == 1
