"""What providers say of their usage, right or wrong: what is charged, what is marked as our own count, and what the client is told. One
table, for every dialect, whole and streamed."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from e2e.house import ADMIN_TOKEN, COMPLETION_NANOUSD, KEY, PROMPT_NANOUSD, PROVIDER_SECRET, Gateway, Provider, Reply, send

ESTIMATED, USAGE_MISSING = 1, 2
CACHE_NANOUSD = 300
DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
HUGE = 2**63
# Where each dialect has its figures.
PROMPT = dict(zip(DIALECTS, ("prompt_tokens", "input_tokens", "input_tokens", "promptTokenCount"), strict=True))
COMPLETION = dict(zip(DIALECTS, ("completion_tokens", "output_tokens", "output_tokens", "candidatesTokenCount"), strict=True))
TOTAL = dict(zip(DIALECTS, ("total_tokens", "total_tokens", None, "totalTokenCount"), strict=True))
OURS = "ours"
"""Our own count, marked."""


class Case(NamedTuple):
    """What is said, and what it comes to: prompt and completion, cached ones within the first."""

    prompt: Any
    completion: Any
    expected_prompt: Any
    expected_completion: Any
    cached: Any = None
    expected_cached: int = 0


ABSENT = object()
CASES = {
    "both": Case(11, 7, 11, 7),
    "one token": Case(1, 1, 1, 1),
    "cached": Case(11, 7, 11, 7, 4, 4),
    "all cached": Case(11, 7, 11, 7, 11, 11),
    "more cached than there are": Case(11, 7, 11, 7, 40, 11),
    "cached is zero": Case(11, 7, 11, 7, 0, 0),
    "cached is negative": Case(11, 7, 11, 7, -4, 0),
    "cached is no number": Case(11, 7, 11, 7, "many", 0),
    "cached is huge": Case(11, 7, 11, 7, HUGE, 11),
    "nothing at all": Case(ABSENT, ABSENT, OURS, OURS),
    "no prompt": Case(ABSENT, 7, OURS, 7),
    "no completion": Case(11, ABSENT, 11, OURS),
    "nulls": Case(None, None, OURS, OURS),
    "a null prompt": Case(None, 7, OURS, 7),
    "a null completion": Case(11, None, 11, OURS),
    "zeros beside content": Case(0, 0, OURS, OURS),
    "a prompt of zero": Case(0, 7, 0, 7),
    "a completion of zero": Case(11, 0, 11, 0),
    "negative": Case(-1, -1, OURS, OURS),
    "a negative prompt": Case(-1, 7, OURS, 7),
    "a negative completion": Case(11, -1, 11, OURS),
    "texts": Case("11", "7", OURS, OURS),
    "a text for a prompt": Case("11", 7, OURS, 7),
    "an object for a completion": Case(11, {"n": 7}, 11, OURS),
    "a list for a prompt": Case([11], 7, OURS, 7),
    "true": Case(True, 7, OURS, 7),
    "with a point": Case(11.0, 7.0, 11, 7),
    "with an exponent": Case(1.1e1, 7, 11, 7),
    "a large prompt": Case(2_000_000, 7, 2_000_000, 7),
    "2^32": Case(2**32, 7, 2**32, 7),
    "2^32 and one": Case(2**32 + 1, 7, OURS, OURS),
    "2^53": Case(2**53, 7, OURS, OURS),
    "2^63 - 1": Case(HUGE - 1, 7, OURS, OURS),
    "2^63": Case(HUGE, 7, OURS, OURS),
    "2^63 of a completion": Case(11, HUGE, OURS, OURS),
    "2^63 of both": Case(HUGE, HUGE, OURS, OURS),
    "2^64 - 1": Case(2**64 - 1, 7, OURS, OURS),
    "2^64": Case(2**64, 7, OURS, OURS),
    "2^64 of a completion": Case(11, 2**64, OURS, OURS),
    "10^30": Case(10**30, 7, OURS, OURS),
}


# Messages count cached tokens beside the prompt: many of them are no contradiction there, and too many are not believed with all the rest.
BESIDE: dict[str, tuple[Any, int, Any]] = {"more cached than there are": (40, 40, 7), "cached is huge": (OURS, 0, OURS)}


@pytest.fixture(scope="module")
def gateway(provider: Provider) -> Iterator[Gateway]:
    """A provider that speaks every dialect."""
    urls = {dialect: f"http://{provider.address}" + ("/v1" if "openai" in dialect else "") for dialect in DIALECTS}
    listed = ", ".join(f'{dialect} = "{url}"' for dialect, url in urls.items())
    text = (
        f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n[providers.lab]\ndialects = {json.dumps([*urls])}\n'
        f'keys = ["{PROVIDER_SECRET}"]\nbase_urls = {{ {listed} }}\n[models."lab/echo"]\n'
        '[[models."lab/echo".endpoints]]\nprovider = "lab"\n'
        'upstream_model = "sim/echo"\nusd_per_million = { prompt = "3", completion = "15", cache_read = "0.3" }\n'
    )
    with Gateway(text) as running:
        yield running


@pytest.fixture(scope="module")
def chat_only(provider: Provider) -> Iterator[Gateway]:
    """A provider that speaks chat alone."""
    with Gateway(chat(provider, "")) as running:
        yield running


def chat(provider: Provider, lines: str) -> str:
    """A configuration with a provider of chat."""
    return (
        f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n[providers.lab]\ndialect = "openai_chat"\n'
        f'base_url = "http://{provider.address}/v1"\nkeys = ["{PROVIDER_SECRET}"]\n{lines}\n[models."lab/echo"]\n'
        '[[models."lab/echo".endpoints]]\nprovider = "lab"\nupstream_model = "sim/echo"\n'
        'usd_per_million = { prompt = "3", completion = "15" }\n'
    )


def usage_of(dialect: str, case: Case) -> dict[str, Any]:
    """The figures in the dialect's words. Messages count cached tokens beside the prompt, the others within."""
    prompt = case.prompt
    cached = case.cached
    if dialect == "anthropic_messages" and isinstance(cached, int) and isinstance(prompt, int):
        within = max(0, min(cached, prompt))
        prompt, cached = prompt - within, within if cached in range(prompt + 1) else cached
    said = {PROMPT[dialect]: prompt, COMPLETION[dialect]: case.completion}
    if cached is not None:
        match dialect:
            case "openai_chat":
                said["prompt_tokens_details"] = {"cached_tokens": cached}
            case "openai_responses":
                said["input_tokens_details"] = {"cached_tokens": cached}
            case "anthropic_messages":
                said["cache_read_input_tokens"] = cached
            case _:
                said["cachedContentTokenCount"] = cached
    return {name: value for name, value in said.items() if value is not ABSENT}


def script(dialect: str, stream: bool, usage: dict[str, Any], times: int = 1) -> dict[str, Any]:
    """A short answer with exactly this usage; in a stream that often."""
    match dialect:
        case "openai_chat":
            head = {"id": "c1", "created": 1, "model": "m"}
            if not stream:
                choice = {"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}
                return {"reply": {**head, "object": "chat.completion", "choices": [choice], "usage": usage}}
            head["object"] = "chat.completion.chunk"
            choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
            events = [{**head, "choices": [choice]}] + [{**head, "choices": [], "usage": usage}] * times
            return frames(events, "data: [DONE]\n\n")
        case "openai_responses":
            text = {"type": "output_text", "text": "Hello", "annotations": []}
            item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
            response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed", "output": [item]}
            if not stream:
                return {"reply": {**response, "usage": usage}}
            begun = {**response, "status": "in_progress", "output": []}
            place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
            events = [
                {"type": "response.created", "response": begun, "sequence_number": 0},
                {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}, "sequence_number": 1},
                {"type": "response.output_text.delta", **place, "delta": "Hello", "sequence_number": 2},
                {"type": "response.completed", "response": {**response, "usage": usage}, "sequence_number": 3},
            ]
            return frames(events)
        case "anthropic_messages":
            message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
            if not stream:
                block = {"type": "text", "text": "Hello"}
                return {"reply": {**message, "stop_reason": "end_turn", "content": [block], "usage": usage}}
            prompt = {name: value for name, value in usage.items() if name != "output_tokens"}
            start = {**message, "stop_reason": None, "content": [], "usage": {**prompt, "output_tokens": 1}}
            last = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
            last["usage"] = {name: value for name, value in usage.items() if name == "output_tokens"}
            events = [
                {"type": "message_start", "message": start},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
                {"type": "content_block_stop", "index": 0},
                *[last] * times,
                {"type": "message_stop"},
            ]
            return frames(events)
        case _:
            candidate = {"index": 0, "content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}
            reply = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}
            return frames([reply] * 1) if stream else {"reply": reply}


def frames(events: list[dict[str, Any]], end: str = "") -> dict[str, Any]:
    """Events as the simulator takes them."""
    named = [f"event: {event['type']}\n" if "type" in event else "" for event in events]
    return {
        "reply_frames": [f"{name}data: {json.dumps(event)}\n\n" for name, event in zip(named, events, strict=True)] + ([end] if end else [])
    }


def ask(gateway: Gateway, dialect: str, stream: bool, sim: dict[str, Any] | None, prefix: str = "") -> Reply:
    """A call of that dialect, answered so."""
    said = {"role": "user", "content": "Hello there"}
    body: dict[str, Any] = {"model": "lab/echo", "stream": stream}
    match dialect:
        case "openai_chat":
            path, body = (
                "/v1/chat/completions",
                body | {"messages": [said]} | ({"stream_options": {"include_usage": True}} if stream else {}),
            )
        case "openai_responses":
            path, body = "/v1/responses", body | {"input": "Hello there"}
        case "anthropic_messages":
            path, body = "/v1/messages", body | {"messages": [said], "max_tokens": 100}
        case _:
            path = "/v1beta/models/lab/echo:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
            body = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
    reply = gateway.post(prefix + path, body if sim is None else body | {"sim": sim})
    assert reply.status == 200, reply.body
    return reply


def beyond_belief(value: Any) -> bool:
    """Whether a figure stands there, at any depth, that breaks clients which read 64-bit numbers, or is less than nothing."""
    if isinstance(value, dict):
        return any(map(beyond_belief, value.values()))
    if isinstance(value, list):
        return any(map(beyond_belief, value))
    return isinstance(value, int | float) and not 0 <= value <= 2**53


def usages_of(value: Any) -> list[dict[str, Any]]:
    """The usage objects that the client got, at any depth, in their order."""
    if isinstance(value, list):
        return [usage for element in value for usage in usages_of(element)]
    if not isinstance(value, dict):
        return []
    own = [
        [member] if name in ("usage", "usageMetadata") and isinstance(member, dict) else usages_of(member) for name, member in value.items()
    ]
    return [usage for usages in own for usage in usages]


def costs_of(usages: list[dict[str, Any]]) -> set[Decimal]:
    """What these say the generation costs, in nano-dollars."""
    return {Decimal(repr(usage["cost"])).scaleb(9) for usage in usages if "cost" in usage}


def events_of(reply: Reply, stream: bool) -> list[Any]:
    """The JSON of a reply."""
    if not stream:
        return [reply.json()]
    lines = [line[5:].strip() for line in reply.body.decode().splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_table(gateway: Gateway, dialect: str, stream: bool, prefix: str) -> None:
    if prefix and dialect == "gemini_generate":
        prefix = ""
    wrong = {}
    for name, case in CASES.items():
        reply = ask(gateway, dialect, stream, script(dialect, stream, usage_of(dialect, case)), prefix)
        row = gateway.generation(reply.generation)
        if (problem := mistake(dialect, name, case, row)) is not None:
            wrong[name] = problem
        elif any(map(beyond_belief, events_of(reply, stream))):
            wrong[name] = reply.body
        elif costs_of(usages_of(events_of(reply, stream))) != {row["charged_nanousd"]}:
            wrong[name] = (row["charged_nanousd"], reply.body)
    assert not wrong


def mistake(dialect: str, name: str, case: Case, row: dict[str, Any]) -> Any:
    """What of a row is not as the table has it, if anything."""
    found = (row["prompt_tokens"] + row["cache_read_tokens"], row["cache_read_tokens"], row["completion_tokens"])
    wanted = (case.expected_prompt, case.expected_cached, case.expected_completion)
    if dialect == "anthropic_messages" and name in BESIDE:
        wanted = BESIDE[name]
    # "Hello" is two tokens by our count, and the prompt some.
    ours = tuple(2 if place == 2 else count for place, count in enumerate(found))
    expected = tuple(count if figure == OURS else figure for count, figure in zip(ours, wanted, strict=True))
    cost = row["prompt_tokens"] * PROMPT_NANOUSD + row["cache_read_tokens"] * CACHE_NANOUSD + row["completion_tokens"] * COMPLETION_NANOUSD
    right = (
        found == expected
        and bool(row["flags"] & ESTIMATED) == (OURS in wanted)
        and (case.expected_prompt != OURS or 0 < found[0] < 1000)
        and row["charged_nanousd"] == row["upstream_cost_nanousd"] == cost > 0
    )
    return None if right else (found, expected, row["flags"], row["charged_nanousd"], cost)


NORMAL, ZEROS, NOTHING = "9 and 2", "0 and 0", "nothing"
CLAIMS = {"normal": NORMAL, "zero": ZEROS, "absent": NOTHING, "huge": OURS, "negative": OURS, "twice": NORMAL}
"""What the simulator claims in all the places that a dialect has for figures, and what the client is told of it."""


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_the_client_is_told(gateway: Gateway, dialect: str, stream: bool, prefix: str) -> None:
    """Every usage object that ends a reply says what it costs, whatever the provider says: it is the charge."""
    if prefix and dialect == "gemini_generate":
        prefix = ""
    wrong = {}
    for claim, told in CLAIMS.items():
        if claim == "twice" and not stream:
            continue
        reply = ask(gateway, dialect, stream, {"usage": claim}, prefix)
        row = gateway.generation(reply.generation)
        events = events_of(reply, stream)
        usages = usages_of(events)
        if claim == "absent" and prefix and not stream:
            told = OURS
        figures = {
            NORMAL: (9, 2),
            ZEROS: (0, 0),
            OURS: (row["prompt_tokens"], row["completion_tokens"]),
        }
        seen = [(usage[PROMPT[dialect]], usage[COMPLETION[dialect]], usage.get(TOTAL[dialect])) for usage in usages[-1:]]
        expected = [(*figures[told], sum(figures[told]) if TOTAL[dialect] else None)] if told != NOTHING else []
        costs = {row["charged_nanousd"]} if told != NOTHING else set()
        right = (
            seen == expected
            and costs_of(usages) == costs_of(usages[-1:]) == costs
            and row["charged_nanousd"] == row["prompt_tokens"] * PROMPT_NANOUSD + row["completion_tokens"] * COMPLETION_NANOUSD > 0
            and bool(row["flags"] & ESTIMATED) == (told != NORMAL)
            and not any(map(beyond_belief, events))
        )
        if not right:
            wrong[claim] = (row, reply.body)
    assert not wrong


@pytest.mark.parametrize("dialect", DIALECTS[:3])
def test_figures_that_come_twice_or_change(gateway: Gateway, dialect: str) -> None:
    """The same twice counts once; of running totals the last counts."""
    said = {PROMPT[dialect]: 11, COMPLETION[dialect]: 7}
    if dialect != "openai_responses":
        row = gateway.generation(ask(gateway, dialect, True, script(dialect, True, said, times=2)).generation)
        assert (row["prompt_tokens"], row["completion_tokens"], row["flags"] & ESTIMATED) == (11, 7, 0)
    sim = script(dialect, True, said)
    place = -2 if dialect != "openai_responses" else -1
    earlier = sim["reply_frames"][place].replace(f'"{COMPLETION[dialect]}": 7', f'"{COMPLETION[dialect]}": 3')
    if dialect != "openai_responses":
        sim["reply_frames"].insert(len(sim["reply_frames"]) + place, earlier)
    row = gateway.generation(ask(gateway, dialect, True, sim).generation)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (11, 7)


@pytest.mark.parametrize("client", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("figure", [HUGE, 2**64, 10**30])
def test_what_is_beyond_belief_does_not_survive_a_translation(
    provider: Provider, chat_only: Gateway, client: str, stream: bool, figure: int
) -> None:
    """The client reads what it is charged for."""
    sim = script("openai_chat", stream, {"prompt_tokens": figure, "completion_tokens": figure, "total_tokens": figure})
    # A script in the request would not survive the translation.
    assert send(provider.address, "POST", "/sim/next", json.dumps([sim]).encode()).status == 200
    reply = ask(chat_only, client, stream, None)
    assert not any(map(beyond_belief, events_of(reply, stream))), reply.body
    row = chat_only.generation(reply.generation)
    assert row["flags"] & ESTIMATED and row["completion_tokens"] == 2
    assert f'"{COMPLETION[client]}":2' in reply.body.decode().replace(" ", "")


def test_a_cost_that_nobody_can_believe_is_not_charged(provider: Provider) -> None:
    """Of a provider that names its own cost."""
    with Gateway(chat(provider, "reports_cost = true")) as gateway:
        for stream in (False, True):
            for cost, charged, marked in ((0.5, 500_000_000, 0), (1e7, 138_000, ESTIMATED), (1e30, 138_000, 0), (-3, 138_000, 0)):
                usage = {"prompt_tokens": 11, "completion_tokens": 7, "cost": cost}
                row = gateway.generation(ask(gateway, "openai_chat", stream, script("openai_chat", stream, usage)).generation)
                assert (row["charged_nanousd"], row["flags"] & ESTIMATED) == (charged, marked), (stream, cost)
