"""A stream that is slow to begin is asked of a second endpoint as well: whoever speaks first answers, and what the other cost is on record.

The two simulators of `test_failover`, with `routing.hedge` on.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import Gateway, until
from e2e.judge import Judge
from e2e.test_failover import CHAT, CLIENTS, INSURED, MESSAGES, RESPONSES, House, configuration, rested, text_of

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
    began = time.monotonic()
    reply = house.ask(client, model, stream=True)
    assert text_of(client, reply, stream=True)
    assert time.monotonic() - began < 4
    assert reply.headers["x-fairlead-provider"] == f"second-{other.replace('_', '-')}"
    assert reply.headers["x-fairlead-attempts"] == "2"
    assert [(place, error) for place, error, _ in tries(house, reply)] == [("first", "overtaken"), ("second", "")]
    [cut], [whole] = house.first.since(marks[0], 1), house.second.since(marks[1], 1)
    assert cut["completion_tokens"] == 0, "it was cut off before it spoke"
    lost, won = house.row(reply)["attempts"]
    assert lost["flags"] & INSURED and lost["upstream_cost_nanousd"] > 0
    assert house.row(reply)["charged_nanousd"] == won["upstream_cost_nanousd"] > 0, "the client pays for one"
    assert whole["prompt_tokens"] > 0


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
