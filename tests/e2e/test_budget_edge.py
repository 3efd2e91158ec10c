"""Streams that come to the edge of what is held for them: more is held, or they end there, properly and in every dialect. And budgets
that are strict: nothing is overspent, whoever comes at the same time.

The simulator's tokens are a few bytes each; `stories` reads what a client got and fails on anything that is not its dialect.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

from e2e import house, stories, translated
from e2e.house import COMPLETION_NANOUSD, PROMPT_NANOUSD, Gateway, Provider, Reply, billed_nanousd
from e2e.judge import Judge
from e2e.translated import CLIENTS, UPSTREAMS, addressed, model_of, path_of, said

ESTIMATED, USAGE_MISSING = 1, 2
SAID = "the budget that was held for this reply is used up"
STEP = 50
SMALL = f"[limits]\nreserve_completion_tokens = {STEP}\n"
# A long answer, slowly, so that a provider which is left has not said it all.
LONG = {"tokens": 600, "pace_ms": 1}
LENGTH = {
    "openai_chat": "length",
    "completions": "length",
    "openai_responses": "incomplete",
    "anthropic_messages": "max_tokens",
    "gemini_generate": "MAX_TOKENS",
}
ALL_CLIENTS = (*CLIENTS, "completions")
PAIRS = [(client, upstream) for client in ALL_CLIENTS for upstream in UPSTREAMS]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own."""
    with Judge() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    """A provider for each dialect, whose meters stop with the connection."""
    with Gateway(translated.configuration(judge.address, ["fast", "tools"], tables=SMALL)) as running:
        yield running


@pytest.fixture(scope="module")
def running_on(provider: Provider) -> Iterator[Gateway]:
    """A provider that bills the whole answer whoever leaves."""
    with Gateway(house.configuration(provider.address, tables=SMALL, cancel_stops_billing=False)) as running:
        yield running


def key_with(gateway: Gateway, limit_usd: str | None, **more: Any) -> str:
    """A new key with this much to spend."""
    made = gateway.operate("POST", "/admin/keys", {"name": f"k{random.randrange(1 << 60)}", "limit_usd": limit_usd, **more})
    assert made.status == 201, made.body
    return str(made.json()["key"])


def stream(
    gateway: Gateway, judge: Judge, client: str, upstream: str, key: str, script: dict[str, Any] = LONG, prefix: str = "", **fields: Any
) -> Reply:
    """A streamed call to a provider that does what the script says."""
    judge.script(script)
    name = model_of(upstream, "tools" if "tool_calls" in script else "fast")
    asks = {"stream_options": {"include_usage": True}} if client in ("openai_chat", "completions") else {}
    body = addressed(client, said(client) | asks | fields, name, stream=True)
    return gateway.post(path_of(client, name, stream=True, prefix=prefix), body, key=key)


def row_of(gateway: Gateway, reply: Reply) -> dict[str, Any]:
    row = gateway.generation(reply.generation)
    assert len(row["attempts"]) == 1
    return row


def check_cut(client: str, reply: Reply, row: dict[str, Any]) -> stories.Story:
    """The reply ended as one that is too long, says why, and what it cost; so does the record."""
    assert reply.status == 200, reply.body
    story = stories.read(client, reply.body)
    assert story.error is None and story.finish == LENGTH[client]
    assert (SAID in reply.body.decode()) and (f": {SAID}\n" in reply.body.decode()) == (client != "gemini_generate")
    assert story.cost_nanousd == row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0
    assert (row["outcome"], row["finish_reason"], row["native_finish_reason"], row["status"]) == ("completed", "length", "budget", 200)
    return story


def check_count(upstream: str, story: stories.Story, row: dict[str, Any]) -> None:
    """What is paid for is what the client has got, by our own count; Gemini counts on the way."""
    if upstream == "gemini_generate":
        assert row["flags"] & ESTIMATED == 0 and row["completion_tokens"] > 0
    else:
        assert row["flags"] & ESTIMATED and row["completion_tokens"] == -(-len(story.text) // 4)


# --- the edge -----------------------------------------------------------------------------------------------------------------------------


# Gemini's dialect has one manner.
@pytest.mark.parametrize(
    ("prefix", "client", "upstream"),
    [(prefix, *pair) for prefix in ("", "/api") for pair in PAIRS if not prefix or pair[0] != "gemini_generate"],
)
def test_it_ends_where_the_money_does(gateway: Gateway, judge: Judge, client: str, upstream: str, prefix: str) -> None:
    """Nobody limits the reply but the budget: it grows by steps, and ends within it but for one event."""
    limit = 3_000_000
    key, mark = key_with(gateway, "0.003"), judge.mark()
    reply = stream(gateway, judge, client, upstream, key, prefix=prefix)
    row = row_of(gateway, reply)
    story = check_cut(client, reply, row)
    [record] = judge.since(mark, 1)
    # The provider was left in the middle of it.
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 600
    # More than the first step, which is some 200 bytes, and as much as there was.
    assert len(story.text) > 4 * STEP * 2
    check_count(upstream, story, row)
    one_event = 4 * COMPLETION_NANOUSD
    assert row["charged_nanousd"] <= row["reserved_nanousd"] + one_event and row["reserved_nanousd"] <= limit
    assert row["charged_nanousd"] > limit // 2
    if upstream == client or (client, upstream) == ("completions", "openai_chat"):
        assert row["prompt_tokens"] > 0


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_who_has_enough_reads_to_the_end(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    key, mark = key_with(gateway, "1"), judge.mark()
    reply = stream(gateway, judge, client, upstream, key, {"tokens": 300})
    story, row = stories.read(client, reply.body), row_of(gateway, reply)
    [record] = judge.since(mark, 1)
    assert story.error is None and row["native_finish_reason"] != "budget" and SAID not in reply.body.decode()
    assert story.cost_nanousd == row["charged_nanousd"] == billed_nanousd(record) <= row["reserved_nanousd"]
    assert row["flags"] & ESTIMATED == 0 and record["outcome"] == "complete"


@pytest.mark.parametrize("client", ALL_CLIENTS)
@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_a_limit_that_does_not_fit_is_run_as_far_as_it_does(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """A stream begins with what there is, and says how much that is; what is not streamed is told what would fit."""
    names = {"openai_responses": "max_output_tokens"}
    asked: dict[str, Any] = {names.get(client, "max_tokens"): 5_000}
    if client == "gemini_generate":
        asked = {"generationConfig": {"maxOutputTokens": 5_000}}
    key = key_with(gateway, "0.003")
    reply = stream(gateway, judge, client, upstream, key, **asked)
    told, row = int(reply.headers["x-fairlead-budget-tokens"]), row_of(gateway, reply)
    story = check_cut(client, reply, row)
    assert 100 < told < 200 and abs(len(story.text) / 4 - told) <= 6
    name = model_of(upstream, "fast")
    other = key_with(gateway, "0.003")
    refused = gateway.post(path_of(client, name), addressed(client, said(client) | asked, name), key=other)
    assert refused.status == 402 and "max_tokens of" in refused.body.decode(), refused.body
    assert refused.headers["x-should-retry"] == "false"
    # Too little even for a few words is refused as ever.
    poor = stream(gateway, judge, client, upstream, key_with(gateway, "0.0001"), **asked)
    judge.forget_scripts()
    assert poor.status == 402, poor.body


def test_what_is_not_short_is_not_told_of(gateway: Gateway, judge: Judge) -> None:
    for limit in ("1", None):
        reply = stream(gateway, judge, "openai_chat", "openai_chat", key_with(gateway, limit), {"tokens": 100}, max_tokens=500)
        assert reply.headers["x-fairlead-budget-tokens"] is None and row_of(gateway, reply)["native_finish_reason"] == "stop"
    # Nothing bounds it, so that nothing ends it: neither the step nor anything else.
    reply = stream(gateway, judge, "openai_chat", "openai_chat", key_with(gateway, None), {"tokens": 500})
    row = row_of(gateway, reply)
    assert row["completion_tokens"] == 500 and row["reserved_nanousd"] < 2 * STEP * COMPLETION_NANOUSD


def test_alternatives_end_together(gateway: Gateway, judge: Judge) -> None:
    reply = stream(gateway, judge, "openai_chat", "openai_chat", key_with(gateway, "0.005"), n=2)
    events = [event for event in house.sse_data(reply.body) if event != "[DONE]"]
    ends = [(choice["index"], choice["finish_reason"]) for event in events for choice in event["choices"] if choice["finish_reason"]]
    assert sorted(ends) == [(0, "length"), (1, "length")], reply.body[-600:]
    assert row_of(gateway, reply)["native_finish_reason"] == "budget"


@pytest.mark.parametrize("client", ALL_CLIENTS)
@pytest.mark.parametrize("split", ["byte", 7, None], ids=str)
def test_however_the_bytes_come(gateway: Gateway, judge: Judge, client: str, split: Any) -> None:
    """Events in pieces, and many in one piece: nothing behind the edge comes through."""
    cutting = {"split": split} if split else {"batch": 200}
    upstream = "openai_chat" if client == "completions" else client
    reply = stream(gateway, judge, client, upstream, key_with(gateway, "0.003"), {"tokens": 600, **cutting})
    story = check_cut(client, reply, row := row_of(gateway, reply))
    check_count(upstream, story, row)


@pytest.mark.parametrize("client", ["openai_chat", "anthropic_messages", "openai_responses", "gemini_generate"])
@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_calls_and_thoughts_are_closed(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """The edge lies in the arguments of a call, or in a thought."""
    tool = {"name": "note", "description": "Takes a note"}
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}
    tools: dict[str, Any] = {
        "openai_chat": [{"type": "function", "function": {**tool, "parameters": schema}}],
        "openai_responses": [{"type": "function", **tool, "parameters": schema, "strict": False}],
        "anthropic_messages": [{**tool, "input_schema": schema}],
        "gemini_generate": [{"functionDeclarations": [{**tool, "parameters": schema}]}],
    }
    arguments = json.dumps({"text": "word " * 800})
    calls = {"tool_calls": 1, "arguments": arguments, "argument_bytes": 5, "tokens": 3, "pace_ms": 1}
    reply = stream(gateway, judge, client, upstream, key_with(gateway, "0.004"), calls, tools=tools[client])
    assert reply.status == 200, reply.body
    events = house.sse_data(reply.body)
    row = row_of(gateway, reply)
    assert (row["finish_reason"], row["native_finish_reason"]) == ("length", "budget")
    if client == "anthropic_messages":
        assert [event["type"] for event in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    if client != "gemini_generate":
        assert stories.read(client, reply.body).finish == LENGTH[client]


def test_a_kept_reply_that_was_cut_goes_on(judge: Judge) -> None:
    """What was said is kept under the reply's own id, whoever the provider is."""
    tables = SMALL + "[responses]\nstore = true\n"
    with Gateway(translated.configuration(judge.address, ["fast"], tables=tables)) as gateway:
        for upstream in ("openai_responses", "openai_chat"):
            reply = stream(gateway, judge, "openai_responses", upstream, key_with(gateway, "0.003"), store=True)
            story = check_cut("openai_responses", reply, row_of(gateway, reply))
            end = house.sse_data(reply.body)[-1]["response"]
            key = key_with(gateway, "1")
            body = {"model": model_of(upstream, "fast"), "input": "Go on.", "previous_response_id": end["id"]}
            judge.script({"tokens": 3})
            mark = judge.mark()
            assert gateway.post("/v1/responses", body, key=key).status == 200
            [record] = judge.since(mark, 1)
            assert record["prompt_tokens"] > len(story.text) // 5


# --- meters that run on -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_a_meter_that_runs_on_is_heard_to_its_end(running_on: Gateway, provider: Provider, prefix: str) -> None:
    """The client gets no more than was held for; the bill is the provider's own, to the nano-dollar."""
    key, mark = key_with(running_on, "0.003"), provider.mark()
    body = {"model": "lab/fast", "messages": said("openai_chat")["messages"], "stream": True, "sim": {"tokens": 400}}
    reply = running_on.post(prefix + "/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}, key=key)
    row = row_of(running_on, reply)
    story = check_cut("openai_chat", reply, row)
    [record] = provider.since(mark, 1)
    assert record["outcome"] == "complete" and row["charged_nanousd"] == billed_nanousd(record, "cancel_ignored")
    assert row["flags"] & (ESTIMATED | USAGE_MISSING) == 0
    assert story.usage["completion_tokens"] == row["completion_tokens"] == 400 and len(story.text) < 4 * 250


def test_a_limit_is_not_cut_short_where_that_saves_nothing(running_on: Gateway) -> None:
    body = {"model": "lab/fast", "messages": said("openai_chat")["messages"], "stream": True, "max_tokens": 5_000}
    refused = running_on.post("/v1/chat/completions", body, key=key_with(running_on, "0.003"))
    assert refused.status == 402 and "max_tokens of" in refused.json()["error"]["message"]


def test_a_message_that_runs_on_is_closed(running_on: Gateway, provider: Provider) -> None:
    """Its block ends when the client's part does, its figures come with the provider's."""
    key = key_with(running_on, "0.003")
    # A limit that is held for whole cannot be cut; the edge is reached because nothing was asked.
    body = {"model": "lab/fast", "contents": [{"role": "user", "parts": [{"text": "Hello"}]}], "sim": {"tokens": 400}}
    reply = running_on.post("/v1beta/models/lab/fast:streamGenerateContent?alt=sse", body, key=key)
    row = row_of(running_on, reply)
    assert stories.read("gemini_generate", reply.body).finish in ("MAX_TOKENS", "STOP"), reply.body[-400:]
    assert row["flags"] & ESTIMATED == 0


# --- strict -------------------------------------------------------------------------------------------------------------------------------


def test_strict_holds_back_what_would_go_over(gateway: Gateway, judge: Judge) -> None:
    """Bytes are counted, and the event with which there would be too many does not pass."""
    for client in ALL_CLIENTS:
        upstream = "openai_chat" if client == "completions" else client
        limit = 4_000_000
        key = key_with(gateway, "0.004", strict_budget=True)
        reply = stream(gateway, judge, client, upstream, key, {"tokens": 600, "token_bytes": 7})
        row = row_of(gateway, reply)
        story = check_cut(client, reply, row)
        assert len(story.text) * COMPLETION_NANOUSD < row["reserved_nanousd"] <= limit
        assert row["charged_nanousd"] <= row["reserved_nanousd"]


@pytest.mark.parametrize("client", ALL_CLIENTS)
@pytest.mark.parametrize("upstream", ["openai_chat", "anthropic_messages", "openai_responses", "gemini_generate"])
def test_strict_with_nothing_that_fits(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """The first event is too much already: the end, and no text."""
    key = key_with(gateway, "0.004", strict_budget=True)
    reply = stream(gateway, judge, client, upstream, key, {"tokens": 3, "token_bytes": 90_000})
    story = check_cut(client, reply, row := row_of(gateway, reply))
    assert story.text == "" and row["completion_tokens"] == 0 and row["charged_nanousd"] <= 4_000_000


def test_a_large_event_goes_over_once(gateway: Gateway, judge: Judge) -> None:
    """Where it is not strict, an event that began within the edge passes."""
    for client in ("openai_chat", "openai_responses"):
        key = key_with(gateway, "0.003")
        reply = stream(gateway, judge, client, client, key, {"tokens": 3, "token_bytes": 90_000})
        assert len(check_cut(client, reply, row_of(gateway, reply)).text) == 90_000


def test_strict_wants_a_limit_where_nothing_else_is_known(gateway: Gateway, running_on: Gateway) -> None:
    body = addressed("openai_chat", said("openai_chat"), model_of("openai_chat", "fast"))
    key = key_with(gateway, "1", strict_budget=True)
    refused = gateway.post("/v1/chat/completions", body, key=key)
    error = refused.json()["error"]
    assert refused.status == 400 and error["param"] == "max_tokens" and "strict" in error["message"], refused.body
    assert gateway.post("/v1/chat/completions", {**body, "max_tokens": 20}, key=key).status == 200
    # A stream can be cut, but not where that saves nothing.
    assert gateway.post("/v1/chat/completions", {**body, "stream": True}, key=key).status == 200
    other = key_with(running_on, "1", strict_budget=True)
    assert running_on.post("/v1/chat/completions", {**body, "model": "lab/fast", "stream": True}, key=other).status == 400
    # Without a budget there is nothing to be strict about.
    free = key_with(gateway, None, strict_budget=True)
    assert gateway.post("/v1/chat/completions", body, key=free).status == 200


SCOPES = ("key", "user", "team", "account")


@pytest.fixture(scope="module")
def crowded(provider: Provider) -> Iterator[Gateway]:
    """A gateway that many come to at the same time."""
    with Gateway(house.configuration(provider.address, tables=SMALL)) as running:
        yield running


def key_of_scope(gateway: Gateway, scope: str, limit_usd: str, strict: bool) -> str:
    """A key of which the budget is its own, its user's, its team's or its account's."""
    name, limit = f"n{random.randrange(1 << 60)}", {"limit_usd": limit_usd}
    belongs: dict[str, Any] = {"account": name}
    account = gateway.operate("POST", "/admin/accounts", {"name": name, **(limit if scope == "account" else {})})
    assert account.status == 201, account.body
    if scope in ("user", "team"):
        made = gateway.operate("POST", f"/admin/{scope}s", {"name": name, "account": name, **limit})
        assert made.status == 201, made.body
        belongs[scope] = name
    return key_with(gateway, limit_usd if scope == "key" else None, strict_budget=strict, **belongs)


def crowd(gateway: Gateway, scope: str, strict: bool, count: int, seed: int) -> list[dict[str, Any]]:
    """So many calls at the same time, of every kind, on a budget for some fifty; the rows of those that were let in."""
    chance = random.Random(seed)

    def body(_: int) -> dict[str, Any]:
        # A token of one byte is the shortest there is.
        sim = {"tokens": chance.randrange(1, 250), "token_bytes": chance.choice([1, 1, 3, 9])}
        kind = chance.choice(["stream", "bounded stream", "unary"])
        limit = {} if kind == "stream" else {"max_tokens": chance.randrange(1, 200)}
        text = "Say something. " * chance.randrange(1, 30)
        messages = [{"role": "user", "content": text}]
        return {"model": "lab/fast", "messages": messages, "stream": kind != "unary", "sim": sim, **limit}

    bodies = [body(number) for number in range(count)]
    key = key_of_scope(gateway, scope, "0.05", strict)
    with ThreadPoolExecutor(48) as pool:
        replies = list(pool.map(lambda body: gateway.post("/v1/chat/completions", body, key=key), bodies))
    statuses = Counter(reply.status for reply in replies)
    assert set(statuses) == {200, 402}, statuses
    [latest] = gateway.select("SELECT id FROM keys ORDER BY id DESC LIMIT 1")
    return gateway.generations("key_id = ?", [latest["id"]])


@pytest.mark.parametrize("scope", SCOPES)
def test_strict_never_overspends(crowded: Gateway, scope: str, proof: bool) -> None:
    """Whichever scope has the budget, and whatever comes at the same time."""
    for seed in range(20 if proof else 2):
        rows = crowd(crowded, scope, True, 1000 if proof else 150, seed)
        assert all(row["charged_nanousd"] <= row["reserved_nanousd"] for row in rows)
        assert 40_000_000 < sum(row["charged_nanousd"] for row in rows) <= 50_000_000


@pytest.mark.parametrize("scope", SCOPES)
def test_overspending_is_bounded(crowded: Gateway, scope: str, proof: bool) -> None:
    """By default: by what calls have cost beyond what was held for them."""
    beyond = []
    for seed in range(20 if proof else 2):
        rows = crowd(crowded, scope, False, 1000 if proof else 150, seed)
        beyond.append(sum(max(0, row["charged_nanousd"] - row["reserved_nanousd"]) for row in rows))
        assert 40_000_000 < sum(row["charged_nanousd"] for row in rows) <= 50_000_000 + beyond[-1]
    # An estimate is one: of tokens of a byte it is too low.
    assert any(beyond)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("usage", ["absent", "zero", "huge"])
@pytest.mark.parametrize("client", ALL_CLIENTS)
def test_a_count_of_our_own_ends_where_the_reply_had_to(gateway: Gateway, judge: Judge, client: str, usage: str, streams: bool) -> None:
    """Tokens of many bytes look like more than the provider was asked for at most, which is what is held for them."""
    upstream, most = "openai_chat" if client == "completions" else client, 20
    asked: dict[str, Any] = {"max_output_tokens" if client == "openai_responses" else "max_tokens": most}
    if client == "gemini_generate":
        asked = {"generationConfig": {"maxOutputTokens": most}}
    judge.script({"tokens": 100, "token_bytes": 40, "usage": usage})
    name, key = model_of(upstream, "fast"), key_with(gateway, "1", strict_budget=True)
    body = addressed(client, said(client) | asked, name, stream=streams)
    row = row_of(gateway, gateway.post(path_of(client, name, stream=streams), body, key=key))
    assert row["flags"] & ESTIMATED and row["completion_tokens"] == most, row
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


# --- figures that nobody believes ---------------------------------------------------------------------------------------------------------


# A body has one usage, and so has a stream of Converse's: its last event.
@pytest.mark.parametrize(
    ("usage", "upstream", "streams"),
    [
        (usage, upstream, streams)
        for usage in ("absent", "zero", "negative", "huge", "twice", "changing")
        for upstream in UPSTREAMS
        for streams in (False, True)
        if streams or usage not in ("twice", "changing")
        if usage != "changing" or upstream != "bedrock_converse"
    ],
)
def test_figures_that_cannot_be(gateway: Gateway, judge: Judge, upstream: str, streams: bool, usage: str) -> None:
    """They are replaced by our own count, which says so; figures that come twice count once."""
    mark = judge.mark()
    judge.script({"tokens": 40, "usage": usage})
    name = model_of(upstream, "fast")
    body = addressed("openai_chat", said("openai_chat") | {"max_tokens": 100}, name, stream=streams)
    reply = gateway.post("/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    row, [record] = row_of(gateway, reply), judge.since(mark, 1)
    if usage in ("twice", "changing"):
        assert row["flags"] & ESTIMATED == 0 and row["charged_nanousd"] == billed_nanousd(record)
        return
    assert row["flags"] & ESTIMATED
    # By bytes: near what it really was, and never nothing.
    assert 0.5 * billed_nanousd(record) <= row["charged_nanousd"] <= 2.5 * billed_nanousd(record)
    assert row["charged_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD + row["completion_tokens"] * COMPLETION_NANOUSD


# --- SDKs ---------------------------------------------------------------------------------------------------------------------------------


def test_openai_sdk(gateway: Gateway, judge: Judge) -> None:
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=key_with(gateway, "0.003"), max_retries=0) as client:
        judge.script(LONG)
        with client.chat.completions.stream(
            model=model_of("openai_chat", "fast"), messages=[{"role": "user", "content": "Hello"}], stream_options={"include_usage": True}
        ) as events:
            for _ in events:
                pass
            completion = events.current_completion_snapshot
        [choice] = completion.choices
        assert choice.finish_reason == "length" and choice.message.role == "assistant" and choice.message.content
        assert completion.usage is not None and completion.usage.completion_tokens > STEP
    with openai.OpenAI(base_url=gateway.url + "/v1", api_key=key_with(gateway, "0.003"), max_retries=0) as client:
        judge.script(LONG)
        kinds, ids = [], set()
        for event in client.responses.create(model=model_of("openai_responses", "fast"), input="Hello", stream=True):
            kinds.append(event.type)
            ids |= {event.item_id} if event.type in ("response.output_text.delta", "response.output_text.done") else set()
        assert event.type == "response.incomplete" and event.response.incomplete_details is not None
        assert event.response.incomplete_details.reason == "max_output_tokens" and event.response.output_text
        # The item that was begun by the provider is ended under its id.
        assert (
            len(ids) == 1
            and event.response.output[0].id in ids
            and kinds[-3:-1] == ["response.content_part.done", "response.output_item.done"]
        )


def test_anthropic_sdk(gateway: Gateway, judge: Judge) -> None:
    with anthropic.Anthropic(base_url=gateway.url, api_key=key_with(gateway, "0.003"), max_retries=0) as client:
        judge.script(LONG)
        messages: Any = [{"role": "user", "content": "Hello"}]
        with client.messages.stream(model=model_of("anthropic_messages", "fast"), max_tokens=3_000, messages=messages) as events:
            message = events.get_final_message()
        [block] = message.content
        assert message.stop_reason == "max_tokens" and block.type == "text" and block.text
        assert message.usage.output_tokens > STEP


def test_google_sdk(gateway: Gateway, judge: Judge) -> None:
    options = types.HttpOptions(base_url=gateway.url)
    with genai.Client(api_key=key_with(gateway, "0.003"), vertexai=False, http_options=options) as client:
        judge.script(LONG)
        chunks = list(client.models.generate_content_stream(model=model_of("gemini_generate", "fast"), contents="Hello"))
    last = chunks[-1]
    assert last.candidates is not None and last.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    assert last.usage_metadata is not None and last.usage_metadata.candidates_token_count
