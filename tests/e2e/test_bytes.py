"""Bytes: what reaches the provider is the client's body but for a few members; what reaches the client is the provider's reply but for
the cost (`/v1`) or OpenRouter's fields (`/api/v1`). The judge is the simulator, which records what came and sends what it is told to."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openrouter import components

from e2e.house import KEY, Gateway, Provider, authorization, configuration, send, sse_data

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ASK = '"messages":[{"role":"user","content":"hi"}]'
# A bit of `flags`: no usage came, it is our own count.
ESTIMATED = 1


def forwarded(gateway: Gateway, provider: Provider, path: str, body: str) -> str:
    """The body that the provider gets for a client's."""
    provider.forget_requests()
    reply = gateway.post(path, body.encode())
    requests = provider.requests()
    assert len(requests) == 1, (reply.status, reply.body)
    return str(requests[0]["body"])


# --- requests ---------------------------------------------------------------------------------------------------------

ODD_MEMBERS = [
    '"temperature":1.0,"top_p":1e5,"x":0.10,"y":-0.0,"z":1E+2,"big":123456789012345678901234567890,"tiny":1.5e-300',
    '"z_last":1,"a_first":2,"m":{"z":1,"a":{"k":[1,2,[3,{}]]}}',
    r'"text":"\u00e9\u00E9é \ud83d\ude00 😀 \/ / \" \\ \b\f\n\r\t","\u0061b":"\u0000"',
    '"unknown":null,"empty":{},"list":[],"t":true,"f":false,"":"empty name"',
    '"same":1,"same":2,"nested":{"model":"x","model":"y","messages":1}',
    '"metadata":{"user":"u","model":"not this one"},"stop":["\\n"]',
]


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/api" + CHAT, "/api" + MESSAGES])
@pytest.mark.parametrize("member", ODD_MEMBERS)
def test_only_the_model_changes(gateway: Gateway, provider: Provider, path: str, member: str) -> None:
    for body in (
        f'{{{member},"model":"lab/echo","max_tokens":9,{ASK}}}',
        f' \r\n\t{{ "model" :\t"lab/echo" ,\n "max_tokens" : 9,{ASK} , {member} }}\n ',
        f'{{"max_tokens":9,{ASK},"mod\\u0065l":"lab\\/echo",{member}}}',
    ):
        got = forwarded(gateway, provider, path, body)
        assert got == re.sub(r'"lab\\?/echo"', '"sim/echo"', body)


@pytest.mark.parametrize(
    ("path", "given_options", "sent_options"),
    [
        (CHAT, "", '"stream_options":{"include_usage":true}'),
        (CHAT, '"stream_options":{"include_usage":true}', '"stream_options":{"include_usage":true}'),
        (CHAT, '"stream_options":{ "include_usage" : false }', '"stream_options":{ "include_usage" : true }'),
        (CHAT, '"stream_options":{}', '"stream_options":{"include_usage":true}'),
        (CHAT, '"stream_options":{"x":1.0}', '"stream_options":{"include_usage":true,"x":1.0}'),
        (CHAT, '"stream_options":null', '"stream_options":{"include_usage":true}'),
        (MESSAGES, "", ""),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_usage_is_asked_for(gateway: Gateway, provider: Provider, prefix: str, path: str, given_options: str, sent_options: str) -> None:
    def body(model: str, options: str) -> str:
        return f'{{"model":"{model}","max_tokens":9,"stream":true,{ASK}' + (f",{options}" if options else "") + "}"

    got = forwarded(gateway, provider, prefix + path, body("lab/echo", given_options))
    if given_options:
        assert got == body("sim/echo", sent_options)
    else:
        # It may be added anywhere, but nothing else may change.
        assert re.sub(f",?{re.escape(sent_options)},?", "", got, count=1).replace("}}", "}") == body("sim/echo", "").replace("}}", "}")
        assert json.loads(got).get("stream_options") == (json.loads(f"{{{sent_options}}}").get("stream_options"))


def test_usage_is_not_asked_of_a_provider_that_refuses_the_question(provider: Provider) -> None:
    body = f'{{"model":"lab/echo","max_tokens":9,"stream":true,{ASK}}}'
    with Gateway(configuration(provider.address, provider_lines='quirks = ["no_stream_options"]')) as gateway:
        assert forwarded(gateway, provider, CHAT, body) == body.replace("lab/echo", "sim/echo")
        (row,) = gateway.generations()
    # Without usage in the stream it is our own count.
    assert (row["outcome"], row["flags"] & ESTIMATED, row["charged_nanousd"] > 0) == ("completed", ESTIMATED, True)


@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/api" + CHAT, "/api" + MESSAGES])
def test_what_is_the_gateways_own_stays_here(gateway: Gateway, provider: Provider, path: str) -> None:
    own = (
        '"trace":{"a":[1,2]},"session_id":"s","usage":{"include":true},"models":[],"provider":null,"plugins":[],"route":"","transforms":[]'
    )
    body = f'{{{own},"model":"lab/echo","max_tokens":9,{ASK},"keep":1.0}}'
    assert forwarded(gateway, provider, path, body) == f'{{"model":"sim/echo","max_tokens":9,{ASK},"keep":1.0}}'
    body = f'{{"model":"lab/echo", "trace":1 ,"max_tokens":9,{ASK},"keep":1.0 , "usage":{{}} }}'
    got = forwarded(gateway, provider, path, body)
    assert list(json.loads(got)) == ["model", "max_tokens", "messages", "keep"] and '"keep":1.0' in got


def test_users_are_hidden_on_openrouters_routes_only(gateway: Gateway, provider: Provider) -> None:
    def user(path: str, name: str) -> Any:
        got = json.loads(forwarded(gateway, provider, path, f'{{"model":"lab/echo","max_tokens":9,"user":"{name}",{ASK}}}'))
        return got.get("user") or got.get("metadata", {}).get("user_id")

    assert user(CHAT, "anna@example.org") == "anna@example.org"
    hidden = user("/api" + CHAT, "anna@example.org")
    assert hidden and "anna" not in hidden
    # The same for the same person, so that the provider can tell abusers apart.
    assert hidden == user("/api" + CHAT, "anna@example.org") == user("/api" + MESSAGES, "anna@example.org")
    assert hidden != user("/api" + CHAT, "bert@example.org")


WHITE = st.text(" \t\r\n", max_size=2)
NUMBERS = st.one_of(
    st.integers().map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).filter(str.isascii),
)


@st.composite
def strings(draw: st.DrawFn) -> str:
    """A JSON string with every character in one of the ways it can be written."""
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
    written = []
    for character in text:
        escapes = "".join(f"\\u{int.from_bytes(unit, 'little'):04x}" for unit in units(character))
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        written.append(draw(st.sampled_from([plain, escapes, escapes.upper().replace("\\U", "\\u")])))
    return '"' + "".join(written) + '"'


def units(character: str) -> list[bytes]:
    encoded = character.encode("utf-16-le")
    return [encoded[index : index + 2] for index in range(0, len(encoded), 2)]


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = [draw(WHITE) + item + draw(WHITE) for item in draw(st.lists(inner, max_size=3))]
    return "[" + (",".join(items) or draw(WHITE)) + "]"


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = [f"{draw(WHITE)}{draw(strings())}{draw(WHITE)}:{draw(WHITE)}{item}{draw(WHITE)}" for item in draw(st.lists(inner, max_size=3))]
    return "{" + (",".join(items) or draw(WHITE)) + "}"


VALUES = st.recursive(
    st.one_of(NUMBERS, strings(), st.sampled_from(["true", "false", "null"])),
    lambda inner: st.one_of(arrays(inner), objects(inner)),
    max_leaves=8,
)
# Names that nobody knows, so that neither the gateway nor the provider has an opinion about them.
FOREIGN_NAMES = strings().map(lambda name: '"x_' + name[1:])
MODELS = st.sampled_from(['"lab/echo"', r'"lab\/echo"', r'"\u006cab/ech\u006F"', '"lab/fast"'])
KEPT, DROPPED = "kept", "dropped"


@st.composite
def bodies(draw: st.DrawFn) -> list[tuple[str, str, str]]:
    """Members of a request in some order: written name, written value, and what becomes of them."""
    members = [(draw(FOREIGN_NAMES), value, KEPT) for value in draw(st.lists(VALUES, max_size=5))]
    members.append(('"model"', draw(MODELS), "model"))
    members.append(('"messages"', '[{"role" : "user","content":' + draw(strings()) + "}]", KEPT))
    members.append(('"max_tokens"', draw(st.sampled_from(["1", "20", "300"])), KEPT))
    if draw(st.booleans()):
        members.append(('"trace"', draw(VALUES), DROPPED))
    if draw(st.booleans()):
        members.append((r'"u\u0073age"', draw(objects(NUMBERS)), DROPPED))
    if draw(st.booleans()):
        members.append(('"route"', draw(st.sampled_from(['""', "null", "[ ]"])), DROPPED))
    return draw(st.permutations(members))


@given(data=st.data(), members=bodies(), path=st.sampled_from([CHAT, MESSAGES, "/api" + CHAT, "/api" + MESSAGES]))
def test_any_body(gateway: Gateway, provider: Provider, data: st.DataObject, members: list[tuple[str, str, str]], path: str) -> None:
    spaced = [
        (f"{data.draw(WHITE)}{name}{data.draw(WHITE)}:{data.draw(WHITE)}", value, data.draw(WHITE), fate) for name, value, fate in members
    ]
    body = data.draw(WHITE) + "{" + ",".join(name + value + after for name, value, after, _ in spaced) + "}" + data.draw(WHITE)
    got = forwarded(gateway, provider, path, body)
    model = json.loads(next(value for _, value, fate in members if fate == "model"))
    wanted = [
        (name, json.dumps(model.replace("lab/", "sim/")) if fate == "model" else value) for name, value, fate in members if fate != DROPPED
    ]
    assert split_members(got) == wanted
    if all(fate != DROPPED for _, _, fate in members):
        assert got == body.replace(next(value for _, value, fate in members if fate == "model"), f'"sim/{model[4:]}"', 1)


def split_members(text: str) -> list[tuple[str, str]]:
    """Names and values of an object as they are written."""
    decoder = json.JSONDecoder(strict=False)
    white = re.compile(r"[ \t\r\n]*")
    found = []
    at = skip(white, text, skip(white, text, 0) + 1)
    while text[at] != "}":
        name_from, at = at, decoder.raw_decode(text, at)[1]
        name = text[name_from:at]
        at = skip(white, text, at)
        assert text[at] == ":"
        value_from = at = skip(white, text, at + 1)
        at = decoder.raw_decode(text, at)[1]
        found.append((name, text[value_from:at]))
        at = skip(white, text, at)
        if text[at] == ",":
            at = skip(white, text, at + 1)
            assert text[at] != "}"
    assert text[at + 1 :].strip(" \t\r\n") == ""
    return found


def skip(white: re.Pattern[str], text: str, at: int) -> int:
    match = white.match(text, at)
    return match.end() if match else at


def test_a_large_body_in_every_way_it_can_arrive(gateway: Gateway, provider: Provider, counts: Callable[[int, int], int]) -> None:
    text = "".join(f"{number} \\u00e9 \\n" for number in range(counts(100_000, 700_000)))
    body = f'{{"model":"lab/fast","max_tokens":1,"messages":[{{"role":"user","content":"{text}"}}],"end":0.10}}'
    assert forwarded(gateway, provider, CHAT, body) == body.replace("lab/fast", "sim/fast")
    provider.forget_requests()
    raw = body.encode()
    pieces = (raw[start : start + 40_000] for start in range(0, len(raw), 40_000))
    reply = send(gateway.address, "POST", CHAT, pieces, {"content-type": "application/json", **authorization(KEY)})
    assert reply.status == 200
    assert provider.last_request()["body"] == body.replace("lab/fast", "sim/fast")


# --- replies on /v1 ---------------------------------------------------------------------------------------------------

COST = re.compile(r'("cost":\d+(\.\d+)?(e-?\d+)?,)|(,"cost":\d+(\.\d+)?(e-?\d+)?)')


def without_cost(text: str) -> tuple[str, int]:
    """A reply without what was put in, and how often that was."""
    return COST.subn("", text)


UNARY_CHAT = [
    '{"id":"c-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},'
    '"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}',
    # Nothing that was expected is where it was, and numbers, escapes and white space are written in their own ways.
    ' { "usage" : {"total_tokens":7 ,"completion_tokens":2.0, "prompt_tokens":5,"x":[1.10,1e5]} , "unknown":{"a":1.0},\n"choices":[ '
    r'{"message":{"content":"\u00e9\ud83d\ude00 \/"},"finish_reason":"stop","logprobs":{"content":[{"token":"a","logprob":-0.10}]}}]'
    ',"id":null } ',
    '{"choices":[{"message":{"content":"x","reasoning_content":"r","tool_calls":null},"finish_reason":"whatever"}]}',
]
UNARY_MESSAGES = [
    '{"id":"m-1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn",'
    '"usage":{"input_tokens":5,"output_tokens":2}}',
    r' { "content" : [ {"text":"\u00e9","type":"text","z":1.0} , {"type":"new_block","data":{}} ], "usage":{ "output_tokens" : 2 ,'
    '"input_tokens":5,"iterations":[{"x":0.10}]},"stop_reason":"a_new_reason","container":{"id":"k"} } ',
]


@pytest.mark.parametrize(("path", "reply"), [(CHAT, reply) for reply in UNARY_CHAT] + [(MESSAGES, reply) for reply in UNARY_MESSAGES])
@pytest.mark.parametrize("delivery", [{}, {"chunked": False}, {"split": 1}, {"split": 7, "pace_ms": 0}, {"connection": "close"}])
def test_unary_replies_gain_the_cost_and_nothing_else(gateway: Gateway, path: str, reply: str, delivery: dict[str, Any]) -> None:
    script = json.dumps(delivery)[1:-1]
    body = f'{{"model":"lab/echo","max_tokens":9,{ASK},"sim":{{"reply":{reply}{"," if script else ""}{script}}}}}'
    got = gateway.post(path, body.encode())
    assert got.status == 200, got.body
    text, costs = without_cost(got.body.decode())
    assert (text, costs) == (reply.strip(), int('"usage"' in reply))
    row = gateway.generation(got.generation)
    if costs:
        assert round(json.loads(got.body)["usage"]["cost"] * 10**9) == row["charged_nanousd"] == 5 * 3_000 + 2 * 15_000
    else:
        assert row["charged_nanousd"] > 0  # No usage: our own count, and no place in the reply to write it to.


def test_a_cost_of_the_providers_own_is_replaced(gateway: Gateway) -> None:
    """What the caller pays is ours to say, and what it costs us too unless the provider is known to report that."""
    reply = UNARY_CHAT[0].replace('"total_tokens":7', '"total_tokens":7,"cost":0.5')
    got = gateway.post(CHAT, f'{{"model":"lab/echo",{ASK},"sim":{{"reply":{reply}}}}}'.encode())
    row = gateway.generation(got.generation)
    assert row["upstream_cost_nanousd"] == 5 * 3_000 + 2 * 15_000
    assert round(got.json()["usage"]["cost"] * 10**9) == row["charged_nanousd"]


def both_ways(gateway: Gateway, provider: Provider, path: str, body: dict[str, Any]) -> tuple[str, str]:
    """The reply of the simulator itself and the one through the gateway, made comparable: ids and seconds differ from call to call."""
    direct = send(
        provider.address,
        "POST",
        path,
        json.dumps({**body, "model": "sim/" + body["model"].removeprefix("lab/")}).encode(),
        {"content-type": "application/json", "anthropic-version": "2023-06-01", "authorization": "Bearer any"},
    )
    through = gateway.post(path, body)
    assert (direct.status, through.status) == (200, 200), (direct.body, through.body)
    return comparable(direct.body), comparable(through.body)


def comparable(body: bytes) -> str:
    text = re.sub(r'"created":\d+', '"created":0', body.decode())
    ids = dict.fromkeys(re.findall(r'"(?:id|signature)":"([^"]+)"', text))
    for number, id in enumerate(ids):
        text = text.replace(id, f"id-{number}")
    return text


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["lab/echo", "lab/reason", "lab/tools"])
def test_natural_replies_pass_as_they_are(gateway: Gateway, provider: Provider, path: str, stream: bool, model: str) -> None:
    tool = {"name": "look", "input_schema": {"type": "object", "properties": {"at": {"type": "string"}}}}
    if path == CHAT:
        tool = {"type": "function", "function": {"name": "look", "parameters": tool["input_schema"]}}
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "héllo 😀"}],
        "tools": [tool],
        "stream": stream,
    }
    if stream and path == CHAT:
        body["stream_options"] = {"include_usage": True}
    direct, through = both_ways(gateway, provider, path, body)
    text, costs = without_cost(through)
    assert (text, costs) == (direct, 1)


CHUNK = '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}'
USAGE_CHUNK = (
    '{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}'
)
ODD_STREAMS: dict[str, tuple[str, list[str]]] = {
    "ordinary": (CHAT, [CHUNK % ('{"content":"x"}', "null"), CHUNK % ("{}", '"stop"'), USAGE_CHUNK, "[DONE]"]),
    "odd white space and numbers": (
        CHAT,
        [
            ' { "choices" : [ {"delta":{"content":"\\u00e9"},"x":1.10} ] } ',
            CHUNK % ("{}", '"stop"'),
            USAGE_CHUNK.replace(":5", " : 5.0"),
            "[DONE]",
        ],
    ),
    "Azure: a first chunk without choices, annotations, a last one without a delta": (
        CHAT,
        [
            '{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}',
            CHUNK % ('{"content":"","role":"assistant"}', "null"),
            CHUNK % ('{"content":"x"}', "null"),
            '{"choices":[{"content_filter_offsets":{"check_offset":1},"content_filter_results":{},"finish_reason":null,"index":0}],"id":"",'
            '"created":0,"model":"","object":""}',
            CHUNK % ("{}", '"stop"'),
            USAGE_CHUNK,
            "[DONE]",
        ],
    ),
    "usage null in every chunk": (
        CHAT,
        [
            (CHUNK % ('{"content":"x"}', "null"))[:-1] + ',"usage":null}',
            (CHUNK % ("{}", '"stop"'))[:-1] + ',"usage":null}',
            USAGE_CHUNK,
            "[DONE]",
        ],
    ),
    "usage inside the last chunk with choices": (
        CHAT,
        [
            CHUNK % ('{"content":"x"}', "null"),
            (CHUNK % ("{}", '"stop"'))[:-1] + ',"usage":{"prompt_tokens":5,"completion_tokens":2}}',
            "[DONE]",
        ],
    ),
    "no [DONE] but a finish reason": (CHAT, [CHUNK % ('{"content":"x"}', "null"), CHUNK % ("{}", '"stop"'), USAGE_CHUNK]),
    "messages with events nobody knows": (
        MESSAGES,
        [
            '{"type":"message_start","message":{"id":"m","role":"assistant","content":[],"model":"m","usage":{"input_tokens":5,"output_tokens":1}}}',
            '{"type":"a_new_event","x":1.0}',
            '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
            '{"type":"ping"}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\u00e9"}}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"a_new_delta","data":[1.10]}}',
            '{"type":"content_block_stop","index":0}',
            '{ "delta":{"stop_reason":"end_turn"} , "type":"message_delta","usage":{ "output_tokens": 2 ,"iterations":[0.10]}}',
            '{"type":"message_stop"}',
        ],
    ),
}


def framed(path: str, data: list[str], line_end: str) -> list[str]:
    frames = []
    for text in data:
        name = f"event: {json.loads(text)['type']}{line_end}" if path == MESSAGES else ""
        frames.append(f"{name}data: {text}{line_end}{line_end}")
    return frames


@pytest.mark.parametrize("name", ODD_STREAMS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("delivery", [{}, {"split": 1}, {"split": "byte"}, {"split": 13}, {"batch": 3}, {"chunked": False}])
def test_streams_gain_the_cost_and_nothing_else(gateway: Gateway, name: str, line_end: str, delivery: dict[str, Any]) -> None:
    path, data = ODD_STREAMS[name]
    frames = framed(path, data, line_end)
    body: dict[str, Any] = {"model": "lab/echo", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    body["sim"] = {"reply_frames": frames, **delivery}
    if path == CHAT:
        body["stream_options"] = {"include_usage": True}
    got = gateway.post(path, body)
    assert got.status == 200, got.body
    text, costs = without_cost(got.body.decode())
    assert (text, costs) == ("".join(frames), 1)
    row = gateway.generation(got.generation)
    assert (row["outcome"], row["charged_nanousd"]) == ("completed", 5 * 3_000 + 2 * 15_000)


@st.composite
def odd_objects(draw: st.DrawFn, members: list[tuple[str, st.SearchStrategy[str] | str]]) -> str:
    """An object with these members and foreign ones, in any order, with white space anywhere."""
    written = [(f'"{name}"', value if isinstance(value, str) else draw(value)) for name, value in members]
    written += [(draw(FOREIGN_NAMES), value) for value in draw(st.lists(VALUES, max_size=2))]
    spaced = [f"{draw(WHITE)}{name}{draw(WHITE)}:{draw(WHITE)}{value}{draw(WHITE)}" for name, value in draw(st.permutations(written))]
    # An event is one line here; how lines are put together is the decoder's affair and tested there.
    return re.sub(r"[\r\n]", " ", "{" + ",".join(spaced) + "}")


CHOICES = odd_objects([("delta", odd_objects([("content", strings())])), ("index", "0"), ("finish_reason", "null")]).map(
    lambda choice: f"[{choice}]"
)
CHUNKS = odd_objects([("id", '"c"'), ("choices", CHOICES), ("usage", st.sampled_from(["null", " null "]))])
LAST_CHUNKS = odd_objects([("choices", '[{"delta":{},"index":0,"finish_reason":"stop"}]')])
USAGE_CHUNKS = odd_objects([("choices", "[ ]"), ("usage", odd_objects([("prompt_tokens", "5"), ("completion_tokens", "2")]))])


@given(
    content=st.lists(CHUNKS, min_size=1, max_size=4),
    last=LAST_CHUNKS,
    usage=USAGE_CHUNKS,
    line_end=st.sampled_from(["\n", "\r"]),
    split=st.sampled_from([None, 1, 3, 50, 1000]),
)
def test_any_stream(gateway: Gateway, content: list[str], last: str, usage: str, line_end: str, split: int | None) -> None:
    frames = framed(CHAT, [CHUNK % ('{"content":"x"}', "null"), *content, last, usage, "[DONE]"], line_end)
    body: dict[str, Any] = {"model": "lab/echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    body |= {"stream_options": {"include_usage": True}, "sim": {"reply_frames": frames} | ({} if split is None else {"split": split})}
    got = gateway.post(CHAT, body)
    assert got.status == 200, got.body
    text, costs = without_cost(got.body.decode())
    assert (text, costs) == ("".join(frames), 1)
    # On /api/v1 the same chunks say the same, with OpenRouter's members beside it.
    chunks = sse_data(gateway.post("/api" + CHAT, body).body)
    assert len(chunks) == len(frames)
    for chunk, frame in zip(chunks[:-1], frames, strict=False):
        assert (chunk["provider"], chunk["model"]) == ("Lab", "lab/echo")
        assert includes(chunk, json.loads(frame.strip().removeprefix("data: ")) | {"id": chunk["id"], "model": "lab/echo"})


def includes(whole: Any, part: Any) -> bool:
    """Everything of `part` is in `whole`; objects of `whole` may have more members."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and includes(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and len(whole) == len(part) and all(map(includes, whole, part))
    return bool(whole == part)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_comments_and_extra_frames_pass(gateway: Gateway, path: str) -> None:
    extra = [": a comment\n\n", ":\n\n", "id: 7\nretry: 100\n:x\n\n"]
    body: dict[str, Any] = {
        "model": "lab/echo",
        "max_tokens": 9,
        "stream": True,
        "messages": [{"role": "user", "content": "one two three"}],
    }
    body["sim"] = {"extra_frames": [{"after_frames": number, "raw": raw} for number, raw in enumerate(extra)]}
    got = gateway.post(path, body)
    assert got.status == 200
    for raw in extra:
        assert raw in got.body.decode()


@pytest.mark.parametrize(("include_usage", "shown"), [(None, False), (False, False), (True, True)])
def test_the_usage_chunk_is_for_those_who_asked(gateway: Gateway, provider: Provider, include_usage: bool | None, shown: bool) -> None:
    def body(asks: bool | None) -> dict[str, Any]:
        options = {} if asks is None else {"stream_options": {"include_usage": asks}}
        return {"model": "lab/echo", "stream": True, "messages": [{"role": "user", "content": "one two"}], **options}

    direct, through = both_ways(gateway, provider, CHAT, body(include_usage))
    text, costs = without_cost(through)
    assert costs == int(shown)
    if shown:
        assert text == direct
        return
    # Without the wish, the client sees what it would have without us, but for the `"usage":null` beside the choices.
    assert text.replace(',"usage":null', "") == direct
    [always] = [
        chunk for chunk in sse_data(gateway.post("/api" + CHAT, body(include_usage)).body) if chunk != "[DONE]" and chunk.get("usage")
    ]
    assert always["choices"] == [] and always["usage"]["cost"] > 0


# --- replies on /api/v1 -----------------------------------------------------------------------------------------------

FIVE_REASONS = ("stop", "length", "tool_calls", "content_filter", "error")


def check_openrouter_chat(reply: dict[str, Any], part: str) -> None:
    """What the rules of OpenRouter's clients want of a reply or chunk, types included."""
    assert isinstance(reply["id"], str) and reply["id"].startswith("gen-")
    assert type(reply["created"]) is int
    assert (reply["model"], reply["provider"]) == ("lab/echo", "Lab")
    assert reply["object"] == ("chat.completion" if part == "message" else "chat.completion.chunk")
    assert "system_fingerprint" in reply and isinstance(reply["choices"], list)
    for choice in reply["choices"]:
        assert type(choice["index"]) is int
        assert choice["finish_reason"] is None or choice["finish_reason"] in FIVE_REASONS
        assert "native_finish_reason" in choice
        assert isinstance(choice[part], dict)
        assert isinstance(choice[part].get("role", "assistant"), str)
        assert part == "delta" or choice[part]["role"] == "assistant"
        for call in choice[part].get("tool_calls") or []:
            assert part == "message" or type(call["index"]) is int
    if usage := reply.get("usage"):
        assert isinstance(usage["cost"], float | int) and usage["is_byok"] is False
        assert type(usage["prompt_tokens"]) is int and type(usage["completion_tokens"]) is int and type(usage["total_tokens"]) is int
        assert type(usage["prompt_tokens_details"]["cached_tokens"]) is int
        assert type(usage["completion_tokens_details"]["reasoning_tokens"]) is int


ODD_CHAT_REPLIES = [
    *(reply for reply in UNARY_CHAT if "2.0" not in reply),
    '{"choices":[{"message":{"role":null,"content":"x"},"finish_reason":"eos"}],"created":1.5,"model":null,"id":7,"object":"text"}',
    '{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}},{"id":"","type":"function","function":'
    '{"name":"g","arguments":"{}"}}]},"finish_reason":"function_call"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":null,'
    '"completion_tokens_details":{"reasoning_tokens":"1"}}}',
]


@pytest.mark.parametrize("reply", ODD_CHAT_REPLIES)
def test_openrouters_fields_are_in_every_reply(gateway: Gateway, reply: str) -> None:
    got = gateway.post("/api" + CHAT, f'{{"model":"lab/echo",{ASK},"sim":{{"reply":{reply}}}}}'.encode())
    assert got.status == 200, got.body
    check_openrouter_chat(got.json(), "message")
    components.ChatResult.model_validate_json(got.body)
    assert got.json()["id"] == got.generation
    for call in got.json()["choices"][0]["message"].get("tool_calls") or []:
        assert call["id"] and call["type"] == "function"


ODD_CHAT_STREAMS = [
    *(data for path, data in ODD_STREAMS.values() if path == CHAT and not any("5.0" in text for text in data)),
    # Every chunk lacks something else.
    [
        '{"choices":[{"delta":{"role":null,"content":"x"}}]}',
        '{"choices":[{"delta":{"content":"y"},"finish_reason":null,"index":0}],"created":1.5,"object":null}',
        '{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":""}}]}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}',
        '{"choices":[{"delta":{"tool_calls":[{"function":{"name":"g","arguments":"{}"}}]}}]}',
        '{"choices":[{"finish_reason":"eos_token"}]}',
        '{"usage":{"prompt_tokens":5,"completion_tokens":2}}',
        "[DONE]",
    ],
]


@pytest.mark.parametrize("number", range(len(ODD_CHAT_STREAMS)))
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("split", [None, 5])
def test_openrouters_fields_are_in_every_chunk(gateway: Gateway, number: int, line_end: str, split: int | None) -> None:
    frames = framed(CHAT, ODD_CHAT_STREAMS[number], line_end)
    body: dict[str, Any] = {"model": "lab/echo", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    body["sim"] = {"reply_frames": frames} if split is None else {"reply_frames": frames, "split": split}
    got = gateway.post("/api" + CHAT, body)
    assert got.status == 200, got.body
    *chunks, _ = [*sse_data(got.body), ""] if frames[-1].find("[DONE]") < 0 else sse_data(got.body)
    assert len(chunks) == len([frame for frame in frames if "[DONE]" not in frame])
    for chunk in chunks:
        check_openrouter_chat(chunk, "delta")
        components.ChatStreamChunk.model_validate_json(json.dumps(chunk))
        assert chunk["id"] == got.generation
    calls: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for call in choice["delta"].get("tool_calls") or []:
                calls[call["index"]] = calls.get(call["index"], "") + call["function"].get("arguments", "")
    assert set(calls.values()) <= {"{}"}
    [usage] = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert round(usage["cost"] * 10**9) == 5 * 3_000 + 2 * 15_000
    finishes = [
        (choice["finish_reason"], choice["native_finish_reason"])
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["finish_reason"]
    ]
    assert finishes in ([("stop", "stop")], [("stop", "eos_token")])


@pytest.mark.parametrize("stream", [False, True])
def test_messages_on_openrouters_route(gateway: Gateway, stream: bool) -> None:
    body = {"model": "lab/echo", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "one two"}]}
    got = gateway.post("/api" + MESSAGES, body)
    if stream:
        events = sse_data(got.body)
        message, usage = events[0]["message"], next(event["usage"] for event in events if event["type"] == "message_delta")
    else:
        message, usage = got.json(), got.json()["usage"]
    assert (message["id"], message["model"], message["provider"]) == (got.generation, "lab/echo", "Lab")
    assert round(usage["cost"] * 10**9) == gateway.generation(got.generation)["charged_nanousd"] and usage["is_byok"] is False
