"""What goes wrong at a provider: the caller's status, dialect and manner, the record, and the money. Before the first content a failure
has its real status; after it, it is told in the stream. The simulator's ledger is the judge of what the provider would bill."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from e2e.house import PROVIDER_SECRET, Gateway, Provider, billed_nanousd, configuration, sse_data
from e2e.shapes import check_error, check_error_body
from e2e.wire import PATHS, body_of

DIALECTS = tuple(PATHS)
ESTIMATED, INSURED = 1, 8


class Case(NamedTuple):
    """A fault and what it must become. `word` is the record's; None: any."""

    fault: dict[str, Any]
    status: int
    word: str | None = None
    cost: str = "none"
    """Of a failure without content. `none`: the provider bills nothing. `insured`: it may bill, the caller does not pay. `any`: either."""


def status(number: int, becomes: int) -> Case:
    return Case({"kind": "status", "status": number}, becomes, "provider_status")


STATUSES = [
    # About our own key, credit or model name there: the operator's fault, never the caller's 401.
    *(status(number, 502) for number in (401, 402, 403, 404)),
    # The caller's own mistake keeps its status.
    *(status(number, number) for number in (400, 409, 413, 422, 451)),
    *(status(number, becomes) for number, becomes in ((429, 429), (503, 503), (529, 503), (500, 502), (502, 502), (504, 504), (408, 504))),
]
BROKEN = [
    Case({"kind": "close_before_head"}, 502, "closed_before_reply", "insured"),
    Case({"kind": "empty"}, 502, None, "insured"),
    Case({"kind": "garbage"}, 502, None, "insured"),
    Case({"kind": "cut"}, 502, "truncated", "insured"),
    Case({"kind": "cut", "after_frames": 1, "after_bytes": 10}, 502, "truncated", "insured"),
    *(Case({"kind": "bad_framing", "which": which}, 502, "protocol_error", "any") for which in ("cl_te", "dup_cl", "bad_chunk", "bare_lf")),
]
SLOW = [
    Case({"kind": "stall_head"}, 504, "head_timeout", "insured"),
    Case({"kind": "stall"}, 504, "idle_timeout", "insured"),
    Case({"kind": "stall", "after_frames": 1}, 504, "idle_timeout", "insured"),
    # It does say something for ever, but nothing that is content.
    Case({"kind": "comments"}, 504, "idle_timeout", "insured"),
]


def routes() -> list[tuple[str, str]]:
    return [(prefix, dialect) for prefix in ("", "/api") for dialect in DIALECTS]


@pytest.mark.parametrize(("prefix", "dialect"), routes())
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", STATUSES + BROKEN, ids=lambda case: "-".join(str(value) for value in case.fault.values()))
def test_before_content(gateway: Gateway, provider: Provider, prefix: str, dialect: str, stream: bool, case: Case) -> None:
    check(gateway, provider, prefix, dialect, stream, case)


@pytest.mark.parametrize(("prefix", "dialect"), [("", "openai_chat"), ("/api", "anthropic_messages")])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", SLOW, ids=lambda case: "-".join(str(value) for value in case.fault.values()))
def test_too_slow_before_content(hasty: Gateway, provider: Provider, prefix: str, dialect: str, stream: bool, case: Case) -> None:
    check(hasty, provider, prefix, dialect, stream, case)


def check(gateway: Gateway, provider: Provider, prefix: str, dialect: str, stream: bool, case: Case) -> None:
    mark = provider.mark()
    reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, model="lab/fast", stream=stream, sim={"fault": case.fault}))
    assert reply.status == case.status, reply.body
    check_error_body(reply, prefix, dialect)
    assert (reply.headers.get("x-should-retry") == "false") == (case.status in (400, 409, 413, 422, 451) or about_our_key(case))
    row = gateway.generation(reply.generation)
    assert (row["outcome"], row["status"], row["streamed"]) == ("failed", case.status, int(stream))
    assert row["error"] and (case.word is None or row["error"] == case.word)
    assert row["charged_nanousd"] == 0
    # A kept-alive connection that closes at once is replaced once, so there may have been two tries.
    *stale, attempt = row["attempts"]
    assert len(stale) <= (case.fault["kind"] == "close_before_head")
    assert sum(tried["upstream_cost_nanousd"] for tried in row["attempts"]) == row["upstream_cost_nanousd"]
    if case.cost == "none":
        assert row["upstream_cost_nanousd"] == 0
    elif case.cost == "insured":
        assert 0 < attempt["upstream_cost_nanousd"] <= row["reserved_nanousd"]
        assert row["flags"] & (ESTIMATED | INSURED) == ESTIMATED | INSURED
    records = provider.since(mark)
    assert records and all(record["outcome"] != "complete" for record in records)
    if case.cost == "none":
        assert [billed_nanousd(record) for record in records] == [0]
        assert attempt["status"] == records[0]["status"]


def about_our_key(case: Case) -> bool:
    return case.fault.get("status") in (401, 402, 403, 404)


AFTER_CONTENT = [
    Case({"kind": "error_event"}, 502, "stream_error"),
    Case({"kind": "garbage"}, 502, "stream_error"),
    Case({"kind": "cut", "after_bytes": 12}, 502, "truncated"),
    Case({"kind": "cut", "how": "rst"}, 502, "read_failed"),
]
SLOW_AFTER_CONTENT = [Case({"kind": "stall"}, 504, "idle_timeout"), Case({"kind": "comments"}, 504, "idle_timeout")]


@pytest.mark.parametrize(("prefix", "dialect"), routes())
@pytest.mark.parametrize("case", AFTER_CONTENT, ids=lambda case: "-".join(str(value) for value in case.fault.values()))
def test_after_content(gateway: Gateway, provider: Provider, prefix: str, dialect: str, case: Case) -> None:
    check_in_band(gateway, provider, prefix, dialect, case)


@pytest.mark.parametrize(("prefix", "dialect"), routes())
@pytest.mark.parametrize("case", SLOW_AFTER_CONTENT, ids=lambda case: "-".join(str(value) for value in case.fault.values()))
def test_too_slow_after_content(hasty: Gateway, provider: Provider, prefix: str, dialect: str, case: Case) -> None:
    check_in_band(hasty, provider, prefix, dialect, case)


def check_in_band(gateway: Gateway, provider: Provider, prefix: str, dialect: str, case: Case) -> None:
    mark = provider.mark()
    # Frames that travel alone, so that what came before the fault has been passed on before it.
    sim = {"fault": {**case.fault, "after_frames": 8}, "pace_ms": 5}
    reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, model="lab/fast", stream=True, sim=sim))
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    events = sse_data(reply.body)
    [record] = provider.since(mark, 1)
    words = ["Lorem", " ipsum", " dolor", " sit", " amet,", " consectetur", " adipiscing", " elit,"][: record["completion_tokens"]]
    number = case.status
    if dialect == "anthropic_messages":
        # Anthropic's own word for an error inside a stream may say more than "it failed".
        assert [event["type"] for event in events][-1] == "error" and "message_stop" not in [event["type"] for event in events]
        check_error(events[-1], number, prefix, dialect)
        texts = [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"]
    else:
        assert events[-1] == "[DONE]" and events.count("[DONE]") == 1
        last = events[-2]
        check_error(last, number, prefix, dialect)
        [choice] = last["choices"]
        assert choice["finish_reason"] == "error"
        assert (last["id"], last["model"]) == (events[0]["id"], events[0]["model"]) and type(last["created"]) is int
        assert ("native_finish_reason" in choice, "provider" in last) == (bool(prefix), bool(prefix))
        texts = [choice["delta"].get("content") or "" for event in events[:-2] for choice in event["choices"]]
    # All that was made before the fault has arrived, in order, and nothing else. One piece may have been on its way when it struck.
    text = "".join(texts)
    assert text and "".join(words).startswith(text) and len("".join(words)) - len(text) <= len(" consectetur")
    row = gateway.generation(reply.generation)
    assert (row["outcome"], row["error"], row["streamed"]) == ("failed", case.word, 1)
    # The caller got something and pays for that much; the provider's figures never came, so it is our own count.
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]
    assert row["flags"] & ESTIMATED and not row["flags"] & INSURED


@pytest.mark.parametrize(("prefix", "dialect"), routes())
def test_a_200_that_is_an_error_is_one(gateway: Gateway, prefix: str, dialect: str) -> None:
    for stream in (False, True):
        for after in (0, 1):
            fault = {"kind": "error_event", "after_frames": after}
            reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, stream=stream, sim={"fault": fault}))
            assert reply.status in (502, 503)
            check_error_body(reply, prefix, dialect)
            row = gateway.generation(reply.generation)
            assert (row["outcome"], row["charged_nanousd"]) == ("failed", 0)


@pytest.mark.parametrize(("prefix", "dialect"), routes())
@pytest.mark.parametrize(
    ("word", "becomes"),
    [
        ("rate_limit_error", 429),
        ("overloaded_error", 503),
        ("invalid_request_error", 400),
        ("authentication_error", 502),
        ("api_error", 502),
    ],
)
def test_an_error_in_the_first_frame_has_its_real_status(gateway: Gateway, prefix: str, dialect: str, word: str, becomes: int) -> None:
    error = json.dumps({"type": "error", "error": {"type": word, "message": "No."}})
    frame = f"event: error\ndata: {error}\n\n" if dialect == "anthropic_messages" else f"data: {error}\n\n"
    reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, stream=True, sim={"reply_frames": [": hello\n\n", frame]}))
    assert reply.status == becomes
    check_error_body(reply, prefix, dialect)


@pytest.mark.parametrize("stream", [False, True])
def test_words_about_the_callers_own_mistake_stand_as_they_came(gateway: Gateway, stream: bool) -> None:
    """On `/v1` code written against OpenAI or Anthropic finds what it looks for; OpenRouter's shape has its own place for it."""
    error = {"message": "Too long.", "type": "bad_thing", "param": "messages.3", "code": "context_length_exceeded"}
    sim = {"fault": {"kind": "status", "status": 400, "body": {"error": error}}}
    reply = gateway.post(PATHS["openai_chat"], body_of(stream=stream, sim=sim))
    assert (reply.status, reply.json()["error"]) == (400, error)
    reply = gateway.post("/api" + PATHS["openai_chat"], body_of(stream=stream, sim=sim))
    metadata = reply.json()["error"]["metadata"]
    assert (metadata["provider_code"], metadata["param"]) == ("context_length_exceeded", "messages.3")
    sim = {"fault": {"kind": "status", "status": 413, "body": {"type": "error", "error": {"type": "request_too_large", "message": "Big."}}}}
    reply = gateway.post(PATHS["anthropic_messages"], body_of(dialect="anthropic_messages", stream=stream, sim=sim))
    assert (reply.status, reply.json()["error"]["type"]) == (413, "request_too_large")
    # What is not the caller's mistake has our words, whatever the provider's are.
    sim = {"fault": {"kind": "status", "status": 500, "body": {"error": error}}}
    found = gateway.post(PATHS["openai_chat"], body_of(stream=stream, sim=sim)).json()["error"]
    assert (found["type"], found["param"], found["code"]) == ("server_error", None, "provider_unavailable")


@pytest.fixture(scope="module")
def early(provider: Provider) -> Iterator[Gateway]:
    """A gateway whose streaming clients get their head after a moment."""
    with Gateway(configuration(provider.address, tables="[timeouts]\nearly_head_ms = 50\nkeepalive_ms = 50\n")) as running:
        yield running


@pytest.mark.parametrize(("prefix", "dialect"), routes())
def test_a_refusal_after_an_early_head_has_the_providers_words(early: Gateway, prefix: str, dialect: str) -> None:
    body = {"type": "error", "error": {"type": "rate_limit_error", "message": f"Slow down, {PROVIDER_SECRET}."}}
    sim = {"delay_ms": 400, "fault": {"kind": "status", "status": 429, "body": body}}
    reply = early.post(prefix + PATHS[dialect], body_of(dialect=dialect, model="lab/fast", stream=True, sim=sim))
    assert reply.status == 200 and b"Slow down" in reply.body and PROVIDER_SECRET.encode() not in reply.body
    row = early.generation(reply.generation)
    assert (row["outcome"], row["error"], row["charged_nanousd"], row["attempts"][0]["status"]) == ("failed", "provider_status", 0, 429)


@pytest.mark.parametrize(("prefix", "dialect"), routes())
@pytest.mark.parametrize("end", ["", "\n\n"])
def test_a_body_in_answer_to_a_stream_request_is_named_as_such(gateway: Gateway, prefix: str, dialect: str, end: str) -> None:
    body = '{"id":"c1","object":"chat.completion","choices":[]}' + end
    reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, stream=True, sim={"reply_frames": [body]}))
    assert reply.status == 502 and b"one body where a stream was asked for" in reply.body


@pytest.mark.parametrize(("prefix", "dialect"), routes())
def test_a_credential_where_an_error_is_cut_is_not_told(gateway: Gateway, prefix: str, dialect: str) -> None:
    for before in range(1960, 2010):
        message = "x" * (before - 1) + " " + PROVIDER_SECRET + " tail" * 100
        sim = {"fault": {"kind": "status", "status": 500, "body": {"error": {"message": message}}}}
        reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, sim=sim))
        assert PROVIDER_SECRET[:5].encode() not in reply.body


SECRETS = [PROVIDER_SECRET, "sk-proj-abcdefghijklmnop1234567890", "sk-ant-api03-AbCdEfGhIjKlMnOp"]
LEAKS: list[Any] = [
    {
        "error": {
            "message": "Incorrect API key provided: {}. You can find it at https://example.org.",
            "type": "invalid_request_error",
            "code": "{}",
        }
    },
    {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key {}"}},
    {"detail": [{"msg": "bad token {}"}]},
    "<html><head><title>401 for Bearer {}</title></head></html>",
    "plain words about {}",
    {"error": {"message": {"message": "nested {}"}}, "code": "{}"},
]


@pytest.mark.parametrize("leak", range(len(LEAKS)))
@pytest.mark.parametrize("number", [400, 401, 403, 429, 500])
def test_no_credential_of_ours_is_told(gateway: Gateway, number: int, leak: int) -> None:
    """A provider that repeats our key, in any status and shape, does not hand it to callers, records or logs."""
    for secret in SECRETS:
        text = json.loads(json.dumps(LEAKS[leak]).replace("{}", secret))
        for prefix, dialect in routes():
            for stream in (False, True):
                sim = {"fault": {"kind": "status", "status": number, "body": text}}
                reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, stream=stream, sim=sim))
                # Some providers answer 400 or 429 when it is about the key; their word for it is believed.
                assert reply.status == (502 if number in (401, 403, 500) or "authentication_error" in str(text) else number)
                assert secret.encode() not in reply.body and secret not in str(reply.headers)
                check_error_body(reply, prefix, dialect)
                if secret == PROVIDER_SECRET:
                    assert secret not in json.dumps(gateway.generation(reply.generation))
        assert secret not in gateway.stderr()


@pytest.mark.parametrize(("prefix", "dialect"), routes())
@pytest.mark.parametrize("after", [0, 8])
def test_no_credential_of_ours_is_told_inside_a_stream(gateway: Gateway, prefix: str, dialect: str, after: int) -> None:
    error = json.dumps(
        {"type": "error", "error": {"type": "api_error", "message": f"key {PROVIDER_SECRET} has no credit", "code": PROVIDER_SECRET}}
    )
    frame = f"event: error\ndata: {error}\n\n"
    extra = {"extra_frames": [{"after_frames": after, "raw": frame}], "pace_ms": 2}
    reply = gateway.post(prefix + PATHS[dialect], body_of(dialect=dialect, model="lab/fast", stream=True, sim=extra))
    assert reply.status == (502 if after == 0 else 200)
    assert PROVIDER_SECRET.encode() not in reply.body and b"has no credit" in reply.body


def test_the_books_agree(gateway: Gateway, provider: Provider) -> None:
    """Whatever else happened between: the completed rows together cost what the provider's ledger says they do."""
    first = gateway.generation(gateway.post(PATHS["openai_chat"], body_of()).generation)["started_at_ms"]
    mark = provider.mark()
    ids = []
    for number in range(40):
        dialect = DIALECTS[number % 2]
        cached = {"prompt_tokens": 50 + number, "cached_tokens": number, "cache_write_tokens": number // 3} if number % 3 else {}
        faults: list[dict[str, Any]] = [
            {},
            {},
            {"fault": {"kind": "status", "status": 500}},
            {"fault": {"kind": "cut", "after_frames": 5}},
            {},
        ]
        sim = {"tag": number, **cached, **faults[number % 5]}
        model = ("lab/echo", "lab/fast", "lab/reason")[number % 3]
        ids.append(
            gateway.post(
                ("", "/api")[number // 2 % 2] + PATHS[dialect], body_of(dialect=dialect, model=model, stream=number % 7 > 3, sim=sim)
            ).generation
        )
    records = {record["tag"]: record for record in provider.since(mark, 40)}
    rows = {row["id"]: row for row in gateway.generations("started_at_ms >= ?", [first])}
    mine = [rows[id] for id in ids]
    for number, row in enumerate(mine):
        complete = records[number]["outcome"] == "complete"
        assert (row["outcome"] == "completed") == complete
        if complete:
            assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == billed_nanousd(records[number])
    completed = [row for row in mine if row["outcome"] == "completed"]
    assert len(completed) == 24
    total = sum(billed_nanousd(record) for record in records.values() if record["outcome"] == "complete")
    assert sum(row["upstream_cost_nanousd"] for row in completed) == total
