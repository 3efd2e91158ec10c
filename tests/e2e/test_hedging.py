"""A stream that is slow to begin is asked of a second endpoint as well: whoever has content first answers, the other's cost is on record.

The two simulators of `test_failover`, with `routing.hedge` on.
"""

import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from e2e.house import Gateway, until
from e2e.judge import Judge
from e2e.stub import Stub, Visit, chunked, frames, head
from e2e.test_failover import CHAT, CLIENTS, DEAR, INSURED, MESSAGES, RESPONSES, House, asked, configuration, rested, text_of
from e2e.wire import Wire

# Who is first is a matter of milliseconds here.
pytestmark = pytest.mark.alone

PAIRS = [(client, client, CHAT if client != CHAT else MESSAGES) for client in CLIENTS] + [(CHAT, CHAT, CHAT)]
"""The client's dialect, and those of the first and the second endpoint."""
WARM = 25
"""Requests after which it is known what is slow, and one hedge is earned."""


@pytest.fixture(scope="module")
def rooms() -> Iterator[House]:
    with Judge(seed=1) as first, Judge(seed=2) as second:
        text = configuration(first.address, second.address) + "\n[routing]\nhedge = true\n"
        with Gateway(text.replace("2000", "20000").replace("early_head_ms = 500", "early_head_ms = 20000")) as gateway:
            yield House(gateway, first, second)


@pytest.fixture
def house(rooms: House) -> House:
    return rested(rooms)


def warm(house: House, client: str, model: str) -> None:
    """What is slow is looked at once a second."""
    began, asked = time.monotonic(), 0
    while asked < WARM or time.monotonic() < began + 1.1:
        assert house.ask(client, model, stream=True).status == 200
        asked += 1


def tries(house: House, reply: Any) -> list[tuple[str, str, int]]:
    return [(row["provider"].split("-")[0], row["error"], row["status"]) for row in house.row(reply)["attempts"]]


@pytest.mark.parametrize(("client", "one", "other"), PAIRS)
def test_the_second_answers_where_the_first_is_slow(house: House, client: str, one: str, other: str) -> None:
    model = f"pair/{one}-{other}"
    warm(house, client, model)
    house.first.script({"delay_ms": 5_000})
    marks = house.first.mark(), house.second.mark()
    reply = house.ask(client, model, stream=True)
    assert text_of(client, reply, stream=True)
    assert reply.headers["x-fairlead-provider"] == f"second-{other.replace('_', '-')}"
    assert reply.headers["x-fairlead-attempts"] == "2"
    assert [(place, error) for place, error, _ in tries(house, reply)] == [("first", "overtaken"), ("second", "")]
    [cut], [whole] = house.first.since(marks[0], 1), house.second.since(marks[1], 1)
    assert cut["completion_tokens"] == 0, "it was cut off before it spoke"
    lost, won = house.row(reply)["attempts"]
    assert lost["flags"] & INSURED and lost["upstream_cost_nanousd"] > 0
    assert house.row(reply)["charged_nanousd"] == won["upstream_cost_nanousd"] > 0, "the client pays for one"
    assert whole["prompt_tokens"] > 0
    # One hold for both: whichever answers is paid for, and it may be the dearer one.
    most = 200 if client == MESSAGES else 4096
    assert house.row(reply)["reserved_nanousd"] >= most * int(Decimal(DEAR["completion"]) * 1000)


def test_the_first_answers_where_it_is_faster_after_all(house: House) -> None:
    warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
    house.first.script({"delay_ms": 600})
    house.second.script({"delay_ms": 20_000})
    mark = house.second.mark()
    reply = house.ask(CHAT, f"pair/{CHAT}-{CHAT}", stream=True)
    assert text_of(CHAT, reply, stream=True)
    assert [(place, error) for place, error, _ in tries(house, reply)] == [("second", "overtaken"), ("first", "")]
    assert len(house.second.since(mark, 1)) == 1
    until(lambda: house.second.open_requests() == 0, "the slower one is cut off")


def test_the_second_goes_on_where_the_first_fails(house: House) -> None:
    warm(house, RESPONSES, f"pair/{RESPONSES}-{CHAT}")
    house.first.script({"delay_ms": 600, "fault": {"kind": "status", "status": 503}})
    house.second.script({"delay_ms": 1_200})
    reply = house.ask(RESPONSES, f"pair/{RESPONSES}-{CHAT}", stream=True)
    assert text_of(RESPONSES, reply, stream=True)
    assert tries(house, reply) == [("first", "provider_status", 503), ("second", "", 200)]


def test_the_first_goes_on_where_the_second_fails(house: House) -> None:
    warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
    house.first.script({"delay_ms": 1_000})
    house.second.script({"fault": {"kind": "status", "status": 500}})
    reply = house.ask(CHAT, f"pair/{CHAT}-{CHAT}", stream=True)
    assert text_of(CHAT, reply, stream=True)
    assert tries(house, reply) == [("second", "provider_status", 500), ("first", "", 200)]


@pytest.mark.parametrize("model", [f"pair/{MESSAGES}-{MESSAGES}", f"pair/{CHAT}-{MESSAGES}"])
def test_who_only_says_that_it_is_there_has_not_won(house: House, model: str) -> None:
    """Frames without content come from the second long before its first token; the first has a token before that."""
    warm(house, MESSAGES, model)
    house.first.script({"delay_ms": 800})
    house.second.script({"first_token_ms": 15_000})
    reply = house.ask(MESSAGES, model, stream=True)
    assert text_of(MESSAGES, reply, stream=True)
    assert tries(house, reply) == [("second", "overtaken", 0), ("first", "", 200)]
    until(lambda: house.second.open_requests() == 0, "the slower one is cut off")


@pytest.mark.parametrize("model", [f"pair/{CHAT}-{CHAT}", f"pair/{CHAT}-{MESSAGES}"])
@pytest.mark.parametrize(
    ("fault", "word"), [({"kind": "error_event", "after_frames": 0}, "stream_error"), ({"kind": "cut", "after_frames": 1}, "truncated")]
)
def test_a_second_that_fails_before_its_content_leaves_the_first_alone(house: House, model: str, fault: dict[str, Any], word: str) -> None:
    warm(house, CHAT, model)
    house.first.script({"delay_ms": 1_000})
    house.second.script({"fault": fault})
    reply = house.ask(CHAT, model, stream=True)
    assert text_of(CHAT, reply, stream=True)
    assert tries(house, reply) == [("second", word, 200), ("first", "", 200)]


def test_where_both_fail_it_fails_once(house: House) -> None:
    warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
    for judge in (house.first, house.second):
        judge.script(*[{"delay_ms": 600, "fault": {"kind": "status", "status": 503}}] * 3)
    reply = house.ask(CHAT, f"pair/{CHAT}-{CHAT}", stream=True)
    assert reply.status == 503, reply.body
    assert {place for place, _, _ in tries(house, reply)} == {"first", "second"}


def test_five_in_a_hundred_are_hedged_and_no_more(house: House) -> None:
    warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
    house.first.script(*[{"delay_ms": 300}] * 12)
    hedged = [len(tries(house, house.ask(CHAT, f"pair/{CHAT}-{CHAT}", stream=True))) > 1 for _ in range(12)]
    assert 1 <= sum(hedged) <= 5 + 1


def test_nothing_is_hedged_that_is_not_slow_or_is_no_stream(house: House) -> None:
    warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
    mark = house.second.mark()
    house.first.script({"delay_ms": 400})
    assert house.ask(CHAT, f"pair/{CHAT}-{CHAT}").headers["x-fairlead-attempts"] == "1"
    for _ in range(10):
        assert house.ask(CHAT, f"pair/{CHAT}-{CHAT}", stream=True).headers["x-fairlead-attempts"] == "1"
    assert house.second.mark() == mark


# --- clients that leave while both run --------------------------------------------------------------------------------


def left(house: House, awaited: Judge) -> dict[str, Any]:
    """The row of a call whose client left once the second provider was at work."""
    before = len(house.gateway.generations())
    with Wire(house.gateway.address) as wire:
        path, body = asked(CHAT, f"pair/{CHAT}-{CHAT}", True)
        wire.post(path, body)
        until(lambda: awaited.open_requests() > 0, "both are asked")
        # What the second provider has read, the gateway has sent: the moment in between is over.
        time.sleep(0.05)
    [row] = until(lambda: house.gateway.generations()[before:], "the call is settled")
    return house.gateway.generation(row["id"])


def test_who_leaves_while_both_run_pays_for_the_first(house: House) -> None:
    for _ in range(3):
        warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
        house.first.script({"delay_ms": 5_000})
        house.second.script({"delay_ms": 5_000})
        marks = house.first.mark(), house.second.mark()
        row = left(house, house.second)
        lost, paid = row["attempts"]
        assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
        assert [(each["provider"].split("-")[0], each["error"]) for each in (lost, paid)] == [
            ("second", "overtaken"),
            ("first", "client_gone"),
        ]
        assert row["charged_nanousd"] == paid["upstream_cost_nanousd"] > 0
        assert lost["flags"] & INSURED and lost["upstream_cost_nanousd"] > 0
        # Both were cut off at once, and each provider's invoice has its request once.
        assert [len(judge.since(mark, 1)) for judge, mark in zip((house.first, house.second), marks, strict=True)] == [1, 1]


def test_who_leaves_pays_for_the_second_where_that_one_alone_has_the_request() -> None:
    quick, refusing = threading.Event(), threading.Event()

    def first(visit: Visit) -> None:
        while True:
            visit.request()
            if quick.is_set():
                # A refusal whose body does not come: this provider does nothing that anybody pays for.
                visit.say(head("content-length: 100", status="503 Service Unavailable"))
                refusing.wait()
            visit.say(head("transfer-encoding: chunked", type="text/event-stream") + chunked(*frames()))

    def second(visit: Visit) -> None:
        visit.request()
        asked_second.set()
        refusing.wait()

    asked_second = threading.Event()
    with Stub() as one, Stub() as other:
        one.play(first)
        other.play(second)
        text = configuration(one.address, other.address) + "\n[routing]\nhedge = true\n"
        with Gateway(text.replace("2000", "20000").replace("early_head_ms = 500", "early_head_ms = 20000")) as gateway:
            house = House(gateway, None, None)  # type: ignore[arg-type]
            warm(house, CHAT, f"pair/{CHAT}-{CHAT}")
            quick.set()
            before = len(gateway.generations())
            with Wire(gateway.address) as wire:
                wire.post(*asked(CHAT, f"pair/{CHAT}-{CHAT}", True))
                assert asked_second.wait(10)
                time.sleep(0.05)
            [row] = until(lambda: gateway.generations()[before:], "the call is settled")
            row = gateway.generation(row["id"])
            refusing.set()
    lost, paid = row["attempts"]
    assert (row["outcome"], row["error"], lost["status"]) == ("cancelled", "client_gone", 503)
    assert [(each["provider"].split("-")[0], each["error"]) for each in (lost, paid)] == [("first", "overtaken"), ("second", "client_gone")]
    assert lost["upstream_cost_nanousd"] == 0
    assert row["charged_nanousd"] == paid["upstream_cost_nanousd"] > 0
