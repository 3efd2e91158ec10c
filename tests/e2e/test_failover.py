"""A provider that fails before its first content is one that the client never hears of; after it, it hears of it once.

Two simulators: the first does what a script tells it, the second behaves. Each is a provider in every dialect.
"""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from e2e.house import ADMIN_TOKEN, KEY, PRICES, Gateway, Reply, cost_nanousd, sse_data, until
from e2e.judge import Judge
from e2e.matrix import BASES
from e2e.stub import Stub, Visit, sized
from e2e.wire import Wire

CHAT, RESPONSES, MESSAGES, GEMINI, CONVERSE = BASES
CLIENTS = (CHAT, RESPONSES, MESSAGES, GEMINI)
LOREM = "Lorem ipsum dolor sit amet,"
CONTENT, INSURED = 1 << 6, 1 << 3
DEAR = {**PRICES, "completion": "60"}
PAIRS = {
    CHAT: [(CHAT, CHAT), (CHAT, MESSAGES), (MESSAGES, RESPONSES)],
    RESPONSES: [(RESPONSES, RESPONSES), (RESPONSES, MESSAGES), (GEMINI, CHAT)],
    MESSAGES: [(MESSAGES, MESSAGES), (MESSAGES, CHAT), (RESPONSES, CONVERSE)],
    GEMINI: [(GEMINI, GEMINI), (GEMINI, CHAT), (CHAT, MESSAGES)],
}
"""Per client: the dialects of the first and the second endpoint; one that is translated to never stands before one that is not."""


FIRST_THEN_SECOND = [f"{place}-{dialect.replace('_', '-')}" for place in ("first", "closed", "second") for dialect in BASES]


def configuration(first: str, second: str) -> str:
    """Every pair of dialects as a model, `from first to second`."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 1\n[keys.e2e]\nsecret = "{KEY}"\n']
    parts.append("[timeouts]\nupstream_head_ms = 2000\nidle_ms = 2000\ncontent_idle_ms = 2000\nearly_head_ms = 500\nkeepalive_ms = 500\n")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        closed = f"127.0.0.1:{nobody.getsockname()[1]}"
    for place, address in (("first", first), ("second", second), ("closed", closed)):
        for dialect in BASES:
            slug = f"{place}-{dialect.replace('_', '-')}"
            key = '{ access_key_id = "AKIDACME", secret_access_key = "simulator" }' if dialect == CONVERSE else '"acme.1", "acme.2"'
            parts.append(
                f'[providers.{slug}]\nname = "{place.title()}"\ndialect = "{dialect}"\nbase_url = "{BASES[dialect].format(address)}"\n'
                f"keys = [{key}]\ncancel_stops_billing = true\n" + ('region = "eu-central-1"\n' if dialect == CONVERSE else "")
            )
    for one in BASES:
        for other in BASES:
            parts.append(model(f"pair/{one}-{other}", [("first", one), ("second", other)]))
        parts.append(model(f"closed/{one}", [("closed", one), ("second", one)]))
        parts.append(model(f"first/{one}", [("first", one)]))
        parts.append(model(f"second/{one}", [("second", one)]))
    return "\n".join(parts)


def model(id: str, endpoints: list[tuple[str, str]]) -> str:
    """A model's tables; its first endpoint is the dearer one."""
    text = f'[models."{id}"]\n'
    for place, dialect in endpoints:
        prices = ", ".join(f'{name} = "{usd}"' for name, usd in (DEAR if place == "first" else PRICES).items())
        text += f'[[models."{id}".endpoints]]\nprovider = "{place}-{dialect.replace("_", "-")}"\nupstream_model = "sim/fast"\n'
        text += f"usd_per_million = {{ {prices} }}\n"
    return text


class House(NamedTuple):
    """A gateway between its clients and two providers."""

    gateway: Gateway
    first: Judge
    second: Judge

    def ask(self, client: str, model: str, *, stream: bool = False, manner: str = "", **fields: Any) -> Reply:
        """A call as a client of the dialect makes it."""
        return self.gateway.post(*asked(client, model, stream, manner, fields))

    def row(self, reply: Reply) -> dict[str, Any]:
        """What was recorded of it."""
        return self.gateway.generation(reply.generation)


@pytest.fixture(scope="module")
def rooms() -> Iterator[House]:
    with Judge(seed=1) as first, Judge(seed=2) as second, Gateway(configuration(first.address, second.address)) as gateway:
        yield House(gateway, first, second)


@pytest.fixture
def house(rooms: House) -> House:
    return rested(rooms)


def rested(rooms: House) -> House:
    """With nothing left of the test before."""
    rooms.first.forget_scripts()
    rooms.second.forget_scripts()
    rooms.gateway.forget_health()
    return rooms


def asked(client: str, model: str, stream: bool, manner: str = "", fields: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Path and body, for the first provider as long as nothing speaks against it."""
    fields = {**(fields or {}), "provider": {"order": FIRST_THEN_SECOND, **(fields or {}).get("provider", {})}}
    words = "Say something"
    more = {**({"stream": True} if stream else {}), **fields}
    if client == GEMINI:
        action = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{action}", {"contents": [{"role": "user", "parts": [{"text": words}]}], **fields}
    if client == RESPONSES:
        return f"{manner}/v1/responses", {"model": model, "input": words, **more}
    messages = [{"role": "user", "content": words}]
    if client == MESSAGES:
        return f"{manner}/v1/messages", {"model": model, "max_tokens": 200, "messages": messages, **more}
    return f"{manner}/v1/chat/completions", {"model": model, "messages": messages, **more}


def text_of(client: str, reply: Reply, stream: bool) -> str:
    """What a good reply says. A stream must end as the dialect ends it, once."""
    assert reply.status == 200, reply.body
    found = sse_data(reply.body) if stream else [reply.json()]
    assert not [event for event in found if event != "[DONE]" and event.get("error")], found
    match client:
        case "openai_chat":
            if stream:
                assert found.count("[DONE]") == 1 and found.pop() == "[DONE]"
            part = "delta" if stream else "message"
            return "".join(choice[part].get("content") or "" for event in found for choice in event["choices"])
        case "openai_responses":
            if not stream:
                return "".join(part["text"] for item in found[0]["output"] for part in item.get("content") or [])
            assert [event["sequence_number"] for event in found] == [*range(len(found))]
            types = [event["type"] for event in found]
            assert types[0] == "response.created" and types.count("response.created") == types.count("response.completed") == 1
            return "".join(event["delta"] for event in found if event["type"] == "response.output_text.delta")
        case "anthropic_messages":
            if not stream:
                return "".join(block["text"] for block in found[0]["content"])
            types = [event["type"] for event in found if event["type"] != "ping"]
            assert types[0] == "message_start" and types.count("message_start") == types.count("message_stop") == 1
            return "".join(event["delta"].get("text", "") for event in found if event["type"] == "content_block_delta")
        case _:
            return "".join(part.get("text", "") for event in found for part in event["candidates"][0]["content"].get("parts", []))


def check_answer(house: House, client: str, reply: Reply, stream: bool, marks: tuple[int, int], sent: int | None = None) -> dict[str, Any]:
    """One clean answer of the second provider, paid at its price; both sides' books agree."""
    assert text_of(client, reply, stream).startswith(LOREM)
    row = house.row(reply)
    first, last = row["attempts"][0], row["attempts"][-1]
    [record] = house.second.since(marks[1], 1)
    house.first.since(marks[0], len(row["attempts"]) - 1 if sent is None else sent)
    assert (row["outcome"], row["error"], last["error"], last["status"]) == ("completed", "", "", 200)
    assert row["charged_nanousd"] == last["upstream_cost_nanousd"] == cost_nanousd(record, PRICES) > 0
    assert row["upstream_cost_nanousd"] == sum(attempt["upstream_cost_nanousd"] for attempt in row["attempts"])
    assert row["reserved_nanousd"] >= row["charged_nanousd"]
    assert first["error"] and last["provider"].startswith("second-") and row["provider"] == last["provider"]
    assert bool(first["flags"] & INSURED) == (first["upstream_cost_nanousd"] > 0) and not first["flags"] & CONTENT
    return row


# --- before the first content ------------------------------------------------------------------------------------------

BEFORE: list[tuple[str, dict[str, Any], int, str]] = [
    ("429", {"kind": "status", "status": 429, "retry_after": "7"}, 429, "provider_status"),
    ("404", {"kind": "status", "status": 404}, 404, "provider_status"),
    ("500", {"kind": "status", "status": 500}, 500, "provider_status"),
    ("503", {"kind": "status", "status": 503, "body": "<html>"}, 503, "provider_status"),
    ("529", {"kind": "status", "status": 529}, 529, "provider_status"),
    ("an error as the first event", {"kind": "error_event", "after_frames": 0}, 200, ""),
    ("cut", {"kind": "cut", "after_frames": 0, "after_bytes": 9}, 200, ""),
    ("reset", {"kind": "cut", "after_frames": 0, "after_bytes": 9, "how": "rst"}, 200, ""),
    ("garbage", {"kind": "garbage", "after_frames": 0}, 200, ""),
    ("nothing", {"kind": "empty"}, 200, ""),
    ("no head", {"kind": "close_before_head"}, 0, "closed_before_reply"),
    ("bad framing", {"kind": "bad_framing", "which": "cl_te"}, 0, "protocol_error"),
]


@pytest.mark.parametrize(("fault", "status", "error"), [case[1:] for case in BEFORE], ids=[case[0] for case in BEFORE])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_before_content_the_second_endpoint_answers(house: House, stream: bool, fault: dict[str, Any], status: int, error: str) -> None:
    for client, pairs in PAIRS.items():
        for one, other in pairs:
            marks = house.first.mark(), house.second.mark()
            # A kept connection that dies at once may have been dead before: the request is sent once more to the same endpoint.
            resent = fault["kind"] == "close_before_head"
            # Limits are a key's: the endpoint's other one is asked before another endpoint is.
            resent |= fault.get("status") == 429 and one != CONVERSE
            house.first.forget_scripts()
            # A provider that fails so often is left alone otherwise.
            house.gateway.forget_health()
            house.first.script(*[{"fault": fault}] * (1 + resent))
            reply = house.ask(client, f"pair/{one}-{other}", stream=stream)
            row = check_answer(house, client, reply, stream, marks)
            attempt = row["attempts"][-2]
            assert len(row["attempts"]) == 2 or resent
            assert attempt["provider"] == f"first-{one.replace('_', '-')}"
            assert attempt["status"] == status or (status == 200 and attempt["status"] == 0), (one, attempt)
            assert attempt["error"] == error or not error, attempt
            names = ("x-fairlead-provider", "x-fairlead-attempts", "x-fairlead-model")
            expected = [f"second-{other.replace('_', '-')}", str(len(row["attempts"])), f"pair/{one}-{other}"]
            assert [reply.headers[name] for name in names] == expected


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nobody_listens(house: House, stream: bool) -> None:
    for client in CLIENTS:
        marks = house.first.mark(), house.second.mark()
        row = check_answer(house, client, house.ask(client, f"closed/{client}", stream=stream), stream, marks, sent=0)
        assert [attempt["error"] for attempt in row["attempts"]] == ["connect_failed", ""]
        assert row["attempts"][0]["upstream_cost_nanousd"] == 0


@pytest.mark.parametrize(
    "fault",
    [{"kind": "stall_head"}, {"kind": "stall", "after_frames": 0}, {"kind": "comments", "after_frames": 0, "every_ms": 100}],
    ids=lambda fault: fault["kind"],
)
def test_silence_is_left_behind_keep_alives(house: House, fault: dict[str, Any]) -> None:
    """All at once, because silence takes its time. Streams get their head long before the second provider is asked."""
    cases = [(client, one, other, stream) for client, pairs in PAIRS.items() for one, other in pairs for stream in (False, True)]
    if fault["kind"] == "comments":
        # Whole replies have white space instead.
        cases = [case for case in cases if not case[3] or (CONVERSE not in case and GEMINI not in case)]
    marks = house.first.mark(), house.second.mark()
    house.first.script(*[{"fault": fault} for _ in cases])
    with ThreadPoolExecutor(len(cases)) as pool:
        replies = list(pool.map(lambda case: house.ask(case[0], f"pair/{case[1]}-{case[2]}", stream=case[3]), cases))
    for (client, one, other, stream), reply in zip(cases, replies, strict=True):
        assert text_of(client, reply, stream).startswith(LOREM)
        row = house.row(reply)
        assert [attempt["provider"][:5] for attempt in row["attempts"]] == ["first", "secon"], (client, one, other, row)
        early = stream and client != GEMINI
        assert (reply.headers["x-fairlead-provider"] is None) == early, (client, one, other, stream)
        assert not early or {CHAT: b": keep-alive", MESSAGES: b"event: ping", RESPONSES: b"response.in_progress"}[client] in reply.body
    assert len(house.first.since(marks[0], len(cases))) == len(house.second.since(marks[1], len(cases)))


def test_an_early_head_is_followed_by_one_error_where_all_fail(house: House) -> None:
    cases = [(client, one, other) for client, pairs in PAIRS.items() if client != GEMINI for one, other in pairs]
    house.first.script(*[{"fault": {"kind": "stall_head"}} for _ in cases])
    house.second.script(*[{"fault": {"kind": "status", "status": 503}} for _ in cases])
    with ThreadPoolExecutor(len(cases)) as pool:
        replies = list(pool.map(lambda case: house.ask(case[0], f"pair/{case[1]}-{case[2]}", stream=True), cases))
    for (client, _, _), reply in zip(cases, replies, strict=True):
        assert reply.status == 200
        check_error(client, sse_data(reply.body))
        row = house.row(reply)
        assert (row["outcome"], row["charged_nanousd"], len(row["attempts"])) == ("failed", 0, 2)


def check_error(client: str, events: list[Any]) -> None:
    """Exactly one failure, and it is the end."""
    match client:
        case "openai_chat":
            assert events.pop() == "[DONE]"
            assert [index for index, event in enumerate(events) if "error" in event] == [len(events) - 1]
        case "openai_responses":
            assert [event["sequence_number"] for event in events] == [*range(len(events))]
            assert [index for index, event in enumerate(events) if event["type"] == "response.failed"] == [len(events) - 1]
            assert "response.completed" not in [event["type"] for event in events]
        case "anthropic_messages":
            assert [index for index, event in enumerate(events) if event["type"] == "error"] == [len(events) - 1]
        case _:
            assert [index for index, event in enumerate(events) if "error" in event] == [len(events) - 1]


# --- after it ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["error_event", "cut", "garbage"])
def test_after_content_there_is_one_error(house: House, kind: str) -> None:
    for client, pairs in PAIRS.items():
        for one, other in pairs:
            marks = house.first.mark(), house.second.mark()
            house.first.script({"fault": {"kind": kind, "after_frames": 8, **({"after_bytes": 9} if kind == "cut" else {})}})
            reply = house.ask(client, f"pair/{one}-{other}", stream=True)
            assert (reply.status, reply.headers["x-fairlead-attempts"]) == (200, "1")
            check_error(client, sse_data(reply.body))
            row = house.row(reply)
            assert (row["outcome"], row["status"], len(row["attempts"])) == ("failed", 200, 1), (client, one, other)
            assert len(house.first.since(marks[0], 1)) == 1 and house.second.since(marks[1]) == []


# --- which failures move on, and where to ------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("status", [400, 422])
def test_what_is_the_clients_own_mistake_is_final(house: House, stream: bool, status: int) -> None:
    mark = house.second.mark()
    house.first.script({"fault": {"kind": "status", "status": status}})
    reply = house.ask(CHAT, f"pair/{CHAT}-{CHAT}", stream=stream, manner="/api")
    assert (reply.status, reply.headers["x-fairlead-attempts"]) == (status, "1")
    assert house.second.since(mark) == [] and "previous_errors" not in reply.json()["error"]["metadata"]


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_key_that_is_refused_is_followed_by_the_next_one(house: House, status: int) -> None:
    marks = house.first.mark(), house.second.mark()
    house.first.forget_requests()
    refused = {"fault": {"kind": "status", "status": status}}
    house.first.script(refused)
    reply = house.ask(CHAT, f"pair/{CHAT}-{CHAT}")
    assert [attempt["status"] for attempt in house.row(reply)["attempts"]] == [status, 200]
    used = [dict(request["headers"])["authorization"] for request in house.first.requests()]
    assert sorted(used) == ["Bearer acme.1", "Bearer acme.2"]
    house.first.script(refused, refused)
    reply = house.ask(MESSAGES, f"pair/{MESSAGES}-{MESSAGES}")
    assert [attempt["status"] for attempt in house.row(reply)["attempts"]] == [status, status, 200]
    assert reply.headers["x-fairlead-provider"] == "second-anthropic-messages"
    house.first.since(marks[0], 4)
    house.second.since(marks[1], 1)


@pytest.mark.parametrize("dialect", BASES)
def test_an_empty_account_is_ours_in_every_dialect(house: House, dialect: str) -> None:
    """Every key there is tried once and cools: the next request begins elsewhere."""
    keys = 1 if dialect == CONVERSE else 2
    house.first.script(*[{"fault": {"kind": "status", "status": 402}}] * keys)
    reply = house.ask(CHAT, f"pair/{dialect}-{CHAT}")
    assert [attempt["status"] for attempt in house.row(reply)["attempts"]] == [402] * keys + [200]
    mark = house.first.mark()
    reply = house.ask(CHAT, f"pair/{dialect}-{CHAT}")
    assert (reply.headers["x-fairlead-provider"], reply.headers["x-fairlead-attempts"]) == ("second-openai-chat", "1")
    assert house.first.since(mark) == []


def test_what_a_body_says_counts_more_than_its_status(house: House) -> None:
    """Google answers 400 to a bad key: the next key is asked, then the next endpoint. What the caller named and is not there is a 404 that
    says nothing about the model."""
    body = {
        "error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}
    }
    house.first.script(*[{"fault": {"kind": "status", "status": 400, "body": body}}] * 2)
    reply = house.ask(GEMINI, f"pair/{GEMINI}-{GEMINI}")
    assert [attempt["status"] for attempt in house.row(reply)["attempts"]] == [400, 400, 200]
    missing = {"error": {"message": "No file found", "type": "invalid_request_error", "param": "file_id", "code": None}}
    house.first.script({"fault": {"kind": "status", "status": 404, "body": missing}})
    assert house.ask(CHAT, f"pair/{CHAT}-{CHAT}").status == 404
    assert "open" not in {report["breaker"] for report in house.gateway.operate("GET", "/admin/health").json()["data"]}
    assert house.ask(CHAT, f"pair/{CHAT}-{CHAT}").headers["x-fairlead-provider"] == "first-openai-chat"


def test_a_reply_that_cannot_be_told_is_none() -> None:
    """It looks like content, and is no word of its dialect: nobody is shown it, the next endpoint answers, and nobody pays for it."""
    broken = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "tool_use", "stop_sequence": None,
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": 5, "name": "f", "input": {}}],
        "usage": {"input_tokens": 10, "output_tokens": 60000},
    }  # fmt: skip

    def answer(visit: Visit) -> None:
        while True:
            visit.request()
            visit.say(sized(json.dumps(broken).encode()))

    with Stub() as stub, Judge(seed=4) as second, Gateway(configuration(stub.address, second.address)) as gateway:
        stub.play(answer)
        reply = gateway.post(*asked(CHAT, f"pair/{MESSAGES}-{RESPONSES}", False))
        row = gateway.generation(reply.generation)
        assert (reply.status, reply.headers["x-fairlead-attempts"], row["outcome"]) == (200, "2", "completed"), reply.body
        assert row["charged_nanousd"] == row["attempts"][-1]["upstream_cost_nanousd"]


def test_other_models_are_no_fallbacks_of_a_provider(house: House) -> None:
    house.first.script({"fault": {"kind": "status", "status": 503}})
    fields = {"models": [f"second/{CHAT}"], "provider": {"allow_fallbacks": False, "order": None}}
    reply = house.ask(CHAT, f"first/{CHAT}", **fields)
    assert (reply.status, reply.headers["x-fairlead-model"]) == (200, f"second/{CHAT}"), reply.body
    unlisted = house.ask(CHAT, f"first/{CHAT}", provider={"allow_fallbacks": False, "order": ["second-openai-chat"]})
    assert unlisted.status == 404 and "provider.order" in unlisted.json()["error"]["message"]


def test_a_session_keeps_its_key(house: House) -> None:
    house.first.forget_requests()
    for _ in range(8):
        assert house.ask(CHAT, f"first/{CHAT}", session_id="s", provider={"order": None}).status == 200
    assert len({dict(request["headers"])["authorization"] for request in house.first.requests()}) == 1


OVERFLOW = {"error": {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}}


@pytest.mark.parametrize(
    "script",
    [
        {"fault": {"kind": "status", "status": 400, "body": OVERFLOW}},
        {"fault": {"kind": "status", "status": 403, "body": {"error": {"message": "m", "code": "content_policy_violation"}}}},
        {"content_filter": "prompt"},
    ],
    ids=["too long", "policy", "filter"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_one_model_refuses_another_may_take(house: House, script: dict[str, Any], stream: bool) -> None:
    """Another endpoint of the same model would refuse it too, and is not asked."""
    for client, second in ((CHAT, MESSAGES), (GEMINI, CHAT), (RESPONSES, RESPONSES)):
        marks = house.first.mark(), house.second.mark()
        house.first.script(script)
        reply = house.ask(client, f"pair/{client}-{client}", stream=stream, models=[f"second/{second}"])
        row = check_answer(house, client, reply, stream, marks)
        assert (row["model"], row["requested_model"]) == (f"second/{second}", f"pair/{client}-{client}")
        assert reply.headers["x-fairlead-model"] == f"second/{second}"


def test_models_are_tried_in_their_order(house: House) -> None:
    failing = {"fault": {"kind": "status", "status": 503}}
    for fields, expected in [
        ({"models": [f"first/{MESSAGES}", f"second/{CHAT}"]}, [f"first/{MESSAGES}", f"second/{CHAT}"]),
        ({"models": [f"second/{MESSAGES}"], "provider": {"allow_fallbacks": False}}, [f"second/{MESSAGES}"]),
    ]:
        house.first.forget_scripts()
        house.first.script(failing, failing)
        house.first.forget_requests()
        reply = house.ask(CHAT, f"first/{CHAT}", manner="/api", **fields)
        assert (reply.status, reply.json()["model"]) == (200, expected[-1]), reply.body
        assert reply.headers["x-fairlead-attempts"] == str(len(expected) + 1)
        for request in house.first.requests():
            assert not {"models", "provider"} & json.loads(request["body"]).keys()
    house.first.forget_scripts()
    house.first.script(failing)
    alone = house.ask(CHAT, f"pair/{CHAT}-{CHAT}", provider={"allow_fallbacks": False, "order": ["first-openai-chat"]})
    assert (alone.status, alone.headers["x-fairlead-attempts"]) == (503, "1")
    unknown = house.ask(CHAT, f"first/{CHAT}", models=["nobody/knows"])
    assert (unknown.status, unknown.json()["error"]["param"]) == (404, "models[0]")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_last_failure_is_told_with_those_before_it(house: House, stream: bool) -> None:
    house.first.script({"fault": {"kind": "status", "status": 529}}, {"fault": {"kind": "status", "status": 500}})
    house.second.script({"fault": {"kind": "status", "status": 429, "retry_after": "7"}})
    models = [f"first/{MESSAGES}", f"second/{CHAT}", f"second/{MESSAGES}"]
    reply = house.ask(CHAT, f"first/{CHAT}", stream=stream, manner="/api", models=models)
    error = reply.json()["error"]
    assert (reply.status, error["code"], error["metadata"]["provider_name"], reply.headers["retry-after"]) == (429, 429, "Second", "7")
    assert error["metadata"]["previous_errors"] == [
        {"provider": "First", "code": "provider_overloaded", "status": 529},
        {"provider": "First", "code": "provider_unavailable", "status": 500},
    ]
    assert reply.headers["x-fairlead-attempts"] == "3", "there are no more than three"
    row = house.row(reply)
    assert (row["outcome"], row["status"], row["charged_nanousd"]) == ("failed", 429, 0)
    assert [attempt["status"] for attempt in row["attempts"]] == [529, 500, 429]
    shown = house.gateway.get(f"/api/v1/generation?id={reply.generation}").json()["data"]["provider_responses"]
    assert [(each["provider_name"], each["status"]) for each in shown] == [("First", 529), ("First", 500), ("Second", 429)]


def test_a_strict_request_goes_where_it_can_be_said(house: House) -> None:
    """The first endpoint has no word for it; nothing is sent there, so that it is no attempt."""
    mark = house.first.mark()
    house.first.script({"fault": {"kind": "status", "status": 503}})
    path, body = asked(CHAT, f"first/{MESSAGES}", False, fields={"models": [f"second/{CHAT}"], "seed": 7})
    reply = house.gateway.post(path, body, headers={"x-fairlead-strict": "true"})
    assert (reply.status, reply.headers["x-fairlead-attempts"], reply.headers["x-fairlead-model"]) == (200, "1", f"second/{CHAT}")
    assert house.first.since(mark) == []


# --- clients that leave -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_clients_that_leave_while_the_second_is_asked(house: House, stream: bool) -> None:
    """The first has cost nothing, the second has the request: its prompt is paid, once."""
    mark, before = house.second.mark(), len(house.gateway.generations())
    house.first.script({"fault": {"kind": "status", "status": 503}})
    house.second.script({"fault": {"kind": "stall_head"}})
    with Wire(house.gateway.address) as wire:
        wire.post(*asked(CHAT, f"pair/{CHAT}-{MESSAGES}", stream))
        until(house.second.open_requests, "the second is asked")
    house.second.since(mark, 1)
    row = until(lambda: house.gateway.generations()[before:], "it is settled")[0]
    assert (row["outcome"], row["error"], row["provider"]) == ("cancelled", "client_gone", "second-anthropic-messages")
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
    attempts = house.gateway.generation(row["id"])["attempts"]
    assert [(attempt["status"], attempt["error"]) for attempt in attempts] == [(503, "provider_status"), (0, "client_gone")]


def test_many_at_once(house: House) -> None:
    """Whatever fails how: every call is answered, settled once, and charged what the provider that answered has billed."""
    faults = [{"fault": case[1]} for case in BEFORE if case[0] != "no head"]
    marks = house.first.mark(), house.second.mark()
    number, before = 10 * len(faults), len(house.gateway.generations())
    house.first.script(*faults * 10)
    gate = threading.Barrier(8)

    def ask(index: int) -> Reply:
        if index < gate.parties:
            gate.wait()
        client = CLIENTS[index % len(CLIENTS)]
        one, other = PAIRS[client][index % 3]
        reply = house.ask(client, f"pair/{one}-{other}", stream=index % 2 == 0)
        assert text_of(client, reply, index % 2 == 0).startswith(LOREM)
        return reply

    with ThreadPoolExecutor(gate.parties) as pool:
        replies = list(pool.map(ask, range(number)))
    # It fails so often that it is soon left alone.
    assert 0 < len(house.first.since(marks[0])) <= number
    records = house.second.since(marks[1], number)
    rows = house.gateway.generations()[before:]
    assert {row["id"] for row in rows} == {reply.generation for reply in replies} and len(rows) == number
    assert sum(row["charged_nanousd"] for row in rows) == sum(cost_nanousd(record, PRICES) for record in records)
