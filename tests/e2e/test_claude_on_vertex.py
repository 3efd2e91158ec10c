"""Claude on Vertex AI: the simulator judged by Anthropic's own client for it, and the gateway between clients that know nothing of it and
the simulator, which refuses a body with a model and one without a version."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AnthropicVertex
from openai import OpenAI, RateLimitError

from e2e.house import ADMIN_TOKEN, KEY, PRICES, Gateway
from e2e.judge import PLACE, Judge
from e2e.matrix import Matrix

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
WEATHER: Any = {"name": "weather", "description": "Says it.", "input_schema": PLACE}
ROOT = "/v1/projects/acme-1/locations/us-east5/publishers/anthropic/models/"
HELLO: Any = [{"role": "user", "content": "one two three"}]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own, which judges everybody."""
    with Judge(seed=5) as running:
        running.judge()
        yield running


@pytest.fixture(scope="module")
def official(judge: Judge) -> Iterator[AnthropicVertex]:
    """Anthropic's client for Vertex AI, before the simulator itself."""
    with AnthropicVertex(
        base_url=f"http://{judge.address}/v1",
        region="us-east5",
        project_id="acme-1",
        access_token="acme.1",
        max_retries=0,
        _strict_response_validation=True,
    ) as running:
        yield running


def settings(address: str) -> str:
    """The catalogue's Vertex AI at this address, with an access token of one's own, and Anthropic itself."""
    prices = ", ".join(f'{name} = "{usd}"' for name, usd in PRICES.items())
    url = f"http://{address}/v1/projects/{{project}}/locations/{{region}}/publishers/anthropic"
    parts = [
        f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n',
        '[providers.google-vertex]\nregion = "us-east5"\nproject = "acme-1"\nauth = "bearer"\nkeys = ["acme.1"]',
        f'cancel_stops_billing = true\ndialects = ["anthropic_messages"]\nbase_urls = {{ anthropic_messages = "{url}" }}',
        f'[providers.home]\ndialect = "anthropic_messages"\nbase_url = "http://{address}"\nkeys = ["other.1"]\ncancel_stops_billing = true',
    ]
    for id, providers in {"acme/claude": ["google-vertex"], "acme/both": ["home", "google-vertex"]}.items():
        for name in ("echo", "agent-claude-new"):
            parts.append(f'[models."{id}-{name}"]\nmax_completion_tokens = 16384')
            for provider in providers:
                parts.append(f'[[models."{id}-{name}".endpoints]]\nprovider = "{provider}"\nupstream_model = "sim/{name}"')
                parts.append(f'usd_per_million = {{ {prices} }}\nquirks = ["adaptive_thinking", "block_binding"]')
    return "\n".join(parts) + '\n[presets.home_first]\nmodel = "acme/both-echo"\nprovider = { order = ["home", "google-vertex"] }\n'


@pytest.fixture(scope="module")
def vertex(judge: Judge) -> Iterator[Matrix]:
    """A gateway before both."""
    with Gateway(settings(judge.address)) as running:
        yield Matrix(running, judge)


@pytest.fixture
def books(vertex: Matrix) -> Matrix:
    """The same with its books opened at a new page."""
    vertex.begin()
    return vertex


@pytest.fixture
def client(vertex: Matrix) -> Iterator[Anthropic]:
    """Anthropic's SDK, as strict as it can be."""
    with Anthropic(base_url=vertex.url, api_key=KEY, max_retries=0, _strict_response_validation=True) as running:
        yield running


def ask(client: Any, stream: bool, **settings: Any) -> Any:
    """A message, unary or put together from its events."""
    settings = {"max_tokens": 4000, "messages": HELLO} | settings
    if not stream:
        return client.messages.create(**settings)
    with client.messages.stream(**settings) as running:
        return running.get_final_message()


def two_turns(client: Any, stream: bool, model: str) -> Any:
    """Thinks, calls a tool and gets its result; the SDK's own blocks go back."""
    asked: Any = {"model": model, "tools": [WEATHER], "thinking": {"type": "adaptive"}}
    first = ask(client, stream, **asked)
    [thought, call] = first.content
    assert (thought.type, call.type, first.stop_reason) == ("thinking", "tool_use", "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    turns = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = ask(client, stream, messages=turns, **asked)
    assert second.content[-1].text == "The tool said: rain"
    return first


@STREAM
def test_the_simulator_is_what_the_official_client_takes_it_for(official: AnthropicVertex, judge: Judge, stream: bool) -> None:
    message = ask(official, stream, model="sim/echo")
    assert (message.content[0].text, message.id[:9]) == ("one two three", "msg_vrtx_")
    assert judge.since(judge.mark() - 1, 1)[0]["dialect"] == "anthropic_vertex"
    two_turns(official, stream, "sim/agent-claude-new")
    assert official.messages.count_tokens(model="sim/echo", messages=HELLO).input_tokens == message.usage.input_tokens


def test_the_simulator_judges_what_is_vertex_own(judge: Judge) -> None:
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": HELLO}

    def check(path: str, changes: dict[str, Any], status: int, said: str, **headers: str) -> None:
        changed = {name: value for name, value in (body | changes).items() if value is not None}
        reply = judge.post(path, changed, **headers)
        assert (reply.status, said in reply.body.decode()) == (status, True), (reply.status, reply.body)

    echo = f"{ROOT}sim/echo:rawPredict"
    check(echo, {}, 200, "one two three")
    check(echo, {"model": "sim/echo"}, 400, "model: Extra inputs are not permitted")
    check(echo, {"anthropic_version": None}, 400, "anthropic_version: Field required")
    check(echo, {"anthropic_version": "2023-06-01"}, 400, "is not a supported version")
    check(echo, {"stream": True}, 400, "does not go with rawPredict")
    check(f"{ROOT}sim/echo:streamRawPredict", {}, 400, "does not go with streamRawPredict")
    check(echo, {"temperature": 0.5}, 200, "one two three")
    check(echo, {"temperature": 0.5, "anthropic_version": "2026-10-21"}, 400, "temperature: Extra inputs are not permitted")
    check(f"{ROOT}gpt-7:rawPredict", {}, 404, "NOT_FOUND")
    check(f"{ROOT}sim/echo:predict", {}, 404, "NOT_FOUND")
    check(echo, {}, 401, "UNAUTHENTICATED", authorization="", x_api_key="acme.1")


@STREAM
def test_bytes_pass_but_for_model_and_version(books: Matrix, stream: bool) -> None:
    """Odd white space, a member that nobody knows here, and an escape: all as the client wrote it."""
    rest = f'"max_tokens": 9 ,"stream":{json.dumps(stream)}, "messages":[ {{"role":"user","content":"\\u0061b"}} ]'
    reply = books.gateway.post(
        "/v1/messages",
        f'{{"model":"acme/claude-echo", {rest}}}'.encode(),
        headers={"anthropic-version": "2026-10-21", "anthropic-beta": "context-management-2025-06-27"},
    )
    assert reply.status == 200, reply.body
    sent = books.judge.last_request()
    assert sent["body"] == f'{{"anthropic_version":"vertex-2023-10-16",{rest}}}'
    action = "streamRawPredict" if stream else "rawPredict"
    assert sent["head"].startswith(f"POST {ROOT}sim%2Fecho:{action} HTTP/1.1")
    headers = {name.lower(): value for name, value in sent["headers"]}
    assert headers["authorization"] == "Bearer acme.1" and headers["anthropic-beta"] == "context-management-2025-06-27"
    assert not {"anthropic-version", "x-api-key"} & headers.keys()
    row, record = books.entry().check()
    assert (row["provider"], row["upstream_dialect"], record["dialect"]) == ("google-vertex", "", "anthropic_vertex")


@STREAM
def test_anthropics_client(client: Anthropic, books: Matrix, stream: bool) -> None:
    assert ask(client, stream, model="acme/claude-echo").content[0].text == "one two three"
    books.entry().check()
    two_turns(client, stream, "acme/claude-agent-claude-new")
    for entry in books.entries(2):
        entry.check()
    assert "signature" in json.dumps(books.sent())


@STREAM
@pytest.mark.parametrize("keeps", [False, True], ids=["documented", "whole"])
def test_a_chat_client(books: Matrix, stream: bool, keeps: bool) -> None:
    """The thoughts come back with their signatures, also where the client sends what is documented only."""
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": PLACE}}
    turns: list[Any] = [{"role": "user", "content": "What will it be like?"}]
    asked: Any = {"model": "acme/claude-agent-claude-new", "tools": [tool], "reasoning_effort": "low", "max_completion_tokens": 4000}

    def complete(client: OpenAI) -> Any:
        if not stream:
            return client.chat.completions.create(messages=turns, **asked).choices[0].message
        with client.chat.completions.stream(messages=turns, **asked) as running:
            return running.get_final_completion().choices[0].message

    with OpenAI(base_url=f"{books.url}/v1", api_key=KEY, max_retries=0) as client:
        said = complete(client)
        [call] = said.tool_calls
        function = {"name": call.function.name, "arguments": call.function.arguments}
        documented = {
            "role": "assistant",
            "content": said.content,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        }
        turns += [said if keeps else documented, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
        assert complete(client).content == "The tool said: rain"
    sent = books.sent()
    assert "model" not in sent and sent["anthropic_version"] == "vertex-2023-10-16"
    assert sent["messages"][1]["content"][0]["signature"]
    for row, record in books.entries(2):
        assert (row["upstream_dialect"], record["dialect"], record["outcome"]) == ("anthropic_messages", "anthropic_vertex", "complete")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, anthropic.BadRequestError),  # in Anthropic's words
        (429, anthropic.RateLimitError),  # in Google's
        (404, anthropic.APIStatusError),
        (529, anthropic.APIStatusError),
    ],
)
def test_errors_are_the_clients_own(client: Anthropic, books: Matrix, status: int, kind: type[anthropic.APIStatusError]) -> None:
    books.script({"fault": {"kind": "status", "status": status}})
    with pytest.raises(kind) as caught:
        ask(client, False, model="acme/claude-echo")
    body: Any = caught.value.body
    assert body["type"] == "error" and body["error"]["type"] and "code" not in body["error"]
    books.script({"fault": {"kind": "status", "status": 429}})
    with OpenAI(base_url=f"{books.url}/v1", api_key=KEY, max_retries=0) as chat, pytest.raises(RateLimitError) as limited:
        chat.chat.completions.create(model="acme/claude-echo", messages=HELLO)
    assert isinstance(limited.value.body, dict) and "message" in limited.value.body
    books.gateway.forget_health()


@STREAM
def test_failover_from_anthropic(client: Anthropic, books: Matrix, stream: bool) -> None:
    """The same bytes, once with the model in the body and once in the path."""
    books.script({"fault": {"kind": "status", "status": 529}}, {})
    assert ask(client, stream, model="@preset/home_first").content[0].text == "one two three"
    first, second = books.judge.requests(last=2)
    one, other = json.loads(first["body"]), json.loads(second["body"])
    assert one.pop("model") == "sim/echo" and other.pop("anthropic_version") == "vertex-2023-10-16"
    assert one == other
    records = books.judge.since(books._mark, 2)
    assert [record["dialect"] for record in records] == ["anthropic_messages", "anthropic_vertex"]
    books.gateway.forget_health()
