"""Presets that say what requests do not: what providers get of it in every dialect; what routing, reservation and record make of it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import KEY, PROVIDER_SECRET, Gateway, Reply, run
from e2e.judge import Judge
from e2e.translated import CLIENTS, STRICT_KEY, UPSTREAMS, addressed, base_url, configuration, losses_of, model_of, path_of, provider, said

FIELDS = """system_prompt = "Be brief."
max_tokens = 77
temperature = 0.25
stop = ["END"]
service_tier = "default"
"""
TOOL = """[[presets.{name}.tools]]
type = "function"
function = {{ name = "look_up", description = "Looks it up.", parameters = {{ type = "object", properties = {{}} }} }}
"""
CHOOSY = """
[presets.chatty]
model = "openai-chat/echo"
reasoning = { effort = "high" }
[presets.formed]
model = "openai-chat/echo"
max_tokens = 500
[presets.formed.response_format]
type = "json_schema"
[presets.formed.response_format.json_schema]
name = "a"
schema = { type = "object", properties = { a = { type = "string" } }, required = ["a"], additionalProperties = false }
[presets.patient]
model = "anthropic-messages/echo"
service_tier = "flex"
[presets.older]
model = "older/echo"
max_tokens = 66
[presets.handy]
model = "acme/choosy"
""" + TOOL.format(name="handy")


def presets() -> str:
    """One for each dialect of a provider, and one with tools."""
    parts = [CHOOSY]
    for upstream in UPSTREAMS:
        parts.append(f'[presets.{upstream}]\nmodel = "{model_of(upstream)}"\n{FIELDS}')
        parts.append(
            f'[presets.{upstream}_tools]\nmodel = "{model_of(upstream)}"\nmax_tokens = 77\n' + TOOL.format(name=f"{upstream}_tools")
        )
    return "\n".join(parts)


def endpoints(name: str, *places: str) -> str:
    """A model with endpoints, each of which is a provider and what else is said of it."""
    parts = [f'[models."{name}"]\ncontext_length = 100000\n']
    for place in places:
        slug, _, more = place.partition(" ")
        parts.append(f'[[models."{name}".endpoints]]\nprovider = "{slug}"\nupstream_model = "sim/echo"\n')
        parts.append(f'usd_per_million = {{ prompt = "1", completion = "2" }}\n{more}\n')
    return "".join(parts)


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    url = base_url("openai_chat", judge.address)
    tables = provider("older", "openai_chat", url, f'["{PROVIDER_SECRET}"]', 'quirks = ["legacy_max_tokens"]')
    tables += endpoints("older/echo", "older")
    tables += endpoints("acme/choosy", 'openai-chat supported_parameters = ["max_tokens"]', 'older supported_parameters = ["tools"]')
    with Gateway(configuration(judge.address, ["echo"], tables=tables + presets())) as running:
        yield running


def ask(gateway: Gateway, client: str, name: str, *, key: str = KEY, prefix: str = "", stream: bool = False, **fields: Any) -> Reply:
    body = addressed(client, said(client) | fields, name, stream)
    reply = gateway.post(path_of(client, name, stream, prefix), body, key=key)
    assert reply.status == 200, reply.body
    return reply


def sent(judge: Judge) -> str:
    """The latest body that a provider got."""
    return str(judge.last_request()["body"])


SPOKEN = {
    "openai_chat": '{"max_completion_tokens":77,"temperature":0.25,"stop":["END"],"service_tier":"default",'
    '"messages": [{"role":"system","content":"Be brief."},{"role": "user", "content": "Hello there"}], "model": "sim/echo"}',
    "openai_responses": '{"instructions":"Be brief.","max_output_tokens":77,"temperature":0.25,"service_tier":"default",'
    '"input": "Hello there", "model": "sim/echo"}',
    "anthropic_messages": '{"system":"Be brief.","temperature":0.25,"stop_sequences":["END"],"service_tier":"standard_only",'
    '"max_tokens": 1000, "messages": [{"role": "user", "content": "Hello there"}], "model": "sim/echo"}',
    "gemini_generate": '{"systemInstruction":{"parts":[{"text":"Be brief."}]},"serviceTier":"standard",'
    '"generationConfig":{"temperature":0.25,"maxOutputTokens":77,"stopSequences":["END"]},'
    '"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}',
}
"""What a provider gets of a client of its own dialect: new members before the client's own bytes."""


@pytest.mark.parametrize("client", CLIENTS)
def test_they_are_put_before_the_clients_own_bytes(gateway: Gateway, judge: Judge, client: str) -> None:
    ask(gateway, client, f"@preset/{client}")
    assert sent(judge) == SPOKEN[client]


def test_a_long_conversation_stays_whole(gateway: Gateway, judge: Judge) -> None:
    """Such a body is filled beside the worker."""
    text = "A word. " * 60_000
    ask(gateway, "openai_chat", "@preset/openai_chat", messages=[{"role": "user", "content": text}])
    body = json.loads(sent(judge))
    assert [message["content"] for message in body["messages"]] == ["Be brief.", text] and body["max_completion_tokens"] == 77


OWN: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "max_tokens": 5,
        "temperature": None,
        "stop": "x",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
    },
    "openai_responses": {"max_output_tokens": 50, "temperature": 1, "instructions": "s"},
    "anthropic_messages": {"max_tokens": 5, "temperature": 1, "stop_sequences": [], "system": "s"},
    "gemini_generate": {
        "generation_config": {"max_output_tokens": 5, "temperature": 1, "stop_sequences": ["x"]},
        "system_instruction": {"parts": [{"text": "s"}]},
    },
}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_request_wins(gateway: Gateway, judge: Judge, client: str) -> None:
    """What it says itself is sent as it stands, and nothing of the preset beside it."""
    ask(gateway, client, f"@preset/{client}", **OWN[client])
    body = json.loads(sent(judge))
    own = addressed(client, said(client) | OWN[client], "sim/echo")
    tier = {"openai_chat": "default", "openai_responses": "default", "anthropic_messages": "standard_only", "gemini_generate": "standard"}
    tier_name = "serviceTier" if client == "gemini_generate" else "service_tier"
    if client == "openai_chat":
        assert list(body) == ["service_tier", *own]
    assert body == own | {tier_name: tier[client]}


def limit_of(upstream: str, body: dict[str, Any]) -> Any:
    """The limit of a reply, where a provider reads it."""
    match upstream:
        case "openai_chat":
            return body["max_completion_tokens"]
        case "openai_responses":
            return body["max_output_tokens"]
        case "anthropic_messages":
            return body["max_tokens"]
        case "gemini_generate":
            return body["generationConfig"]["maxOutputTokens"]
        case _:
            return body["inferenceConfig"]["maxTokens"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("client", "upstream"), [(client, upstream) for client in CLIENTS for upstream in UPSTREAMS])
def test_every_client_of_every_provider(gateway: Gateway, judge: Judge, client: str, upstream: str, stream: bool) -> None:
    name = f"@preset/{upstream}_tools"
    body = addressed(client, said(client), name, stream)
    # Clients of Messages always say it.
    body.pop("max_tokens", None)
    reply = gateway.post(path_of(client, name, stream), body)
    assert reply.status == 200, reply.body
    found = sent(judge)
    assert limit_of(upstream, json.loads(found)) == 77
    assert found.count('"look_up"') == 1 and found.count("Hello there") == 1
    # What a reply loses is its own matter.
    assert {lost.path for lost in losses_of(reply.headers["x-fairlead-loss"])} <= {"service_tier"}


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_an_endpoint_gets_its_own_words(gateway: Gateway, judge: Judge, prefix: str) -> None:
    ask(gateway, "openai_chat", "@preset/older", prefix=prefix)
    assert json.loads(sent(judge))["max_tokens"] == 66
    ask(gateway, "openai_chat", "openai-chat/echo@preset/older", prefix=prefix)
    assert {*json.loads(sent(judge))} == {"max_completion_tokens", "messages", "model"}
    # Who says it itself is sent as it stands.
    if not prefix:
        ask(gateway, "openai_chat", "openai-chat/echo@preset/older", max_tokens=5)
        assert {*json.loads(sent(judge))} == {"max_tokens", "messages", "model"}
    ask(gateway, "openai_chat", "@preset/chatty", prefix=prefix)
    body = json.loads(sent(judge))
    assert (body["reasoning_effort"], body.get("reasoning")) == ("high", None)
    ask(gateway, "anthropic_messages", model_of("anthropic_messages") + "@preset/chatty", max_tokens=9000)
    assert json.loads(sent(judge))["thinking"] == {"type": "enabled", "budget_tokens": 7200}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize("client", CLIENTS)
def test_thinking_is_said_in_the_endpoints_words(gateway: Gateway, judge: Judge, client: str, prefix: str, stream: bool) -> None:
    """The request is written anew for that; the reply is the provider's own all the same."""
    fields = {"max_tokens": 9000} if client == "anthropic_messages" else {}
    reply = ask(gateway, client, f"{model_of(client)}@preset/chatty", prefix=prefix, stream=stream, **fields)
    body = json.loads(sent(judge))
    thinking: dict[str, tuple[Any, Any]] = {
        "openai_chat": (body.get("reasoning_effort"), "high"),
        "openai_responses": (body.get("reasoning", {}).get("effort"), "high"),
        "anthropic_messages": (body.get("thinking"), {"type": "enabled", "budget_tokens": 7200}),
        "gemini_generate": ("thinkingBudget" in body.get("generationConfig", {}).get("thinkingConfig", {}), True),
    }
    found, expected = thinking[client]
    assert found == expected, body
    assert {lost.severity for lost in losses_of(reply.headers["x-fairlead-loss"])} <= {"hint"}
    row = gateway.generation(reply.generation)
    assert (row["status"], row["outcome"], row["upstream_dialect"], row["preset"]) == (200, "completed", "", "chatty")


@pytest.mark.parametrize("stream", [False, True])
def test_a_form_is_said_in_the_endpoints_words(gateway: Gateway, judge: Judge, stream: bool) -> None:
    """This one knows no form of replies: a tool stands for it, and the client of the same dialect never sees that."""
    judge.script({"tool_calls": 1})
    reply = ask(gateway, "anthropic_messages", f"{model_of('anthropic_messages')}@preset/formed", stream=stream)
    body = json.loads(sent(judge))
    assert body["tool_choice"] == {"type": "tool", "name": "reply"} and "output_config" not in body
    assert b"tool_use" not in reply.body and b'"a' in reply.body.replace(b"\\", b"")
    for client in ("openai_chat", "openai_responses", "gemini_generate"):
        ask(gateway, client, f"{model_of(client)}@preset/formed", stream=stream)
        assert '"additionalProperties": false' in json.dumps(json.loads(sent(judge)))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_tier_that_nobody_sells_there_is_not_asked_for(gateway: Gateway, judge: Judge, client: str) -> None:
    """On `/v1` too: a client may know better than the catalogue, a preset is for every endpoint."""
    reply = ask(gateway, client, f"{model_of(client)}@preset/patient")
    assert {"service_tier", "serviceTier", "speed"}.isdisjoint(json.loads(sent(judge)))
    [lost] = losses_of(reply.headers["x-fairlead-loss"])
    assert lost.path in ("service_tier", "serviceTier") and lost.severity == "changed"


def test_losses_are_told_and_refused_where_somebody_is_strict(gateway: Gateway, judge: Judge) -> None:
    reply = ask(gateway, "openai_responses", "@preset/openai_responses")
    [lost] = losses_of(reply.headers["x-fairlead-loss"])
    assert (lost.path, lost.severity) == ("stop", "dropped")
    assert gateway.generation(reply.generation)["status"] == 200
    mark = judge.mark()
    body = addressed("openai_responses", said("openai_responses"), "@preset/openai_responses")
    refused = gateway.post("/v1/responses", body, key=STRICT_KEY)
    assert refused.status == 404 and "stop dropped: " in refused.json()["error"]["message"]
    assert judge.since(mark) == []
    ask(gateway, "openai_chat", "@preset/openai_chat", key=STRICT_KEY)


def test_the_record_names_preset_and_version(gateway: Gateway) -> None:
    words = ["models", "@preset/", "--json", "--config", str(gateway.folder / "fairlead.toml")]
    versions = {preset["name"]: preset["version"] for preset in json.loads(run(words, gateway.folder).stdout)["presets"]}
    names: list[tuple[str, dict[str, Any], list[str]]] = [
        ("@preset/older", {}, ["older"]),
        ("openai-chat/echo@preset/older", {"preset": "chatty"}, ["chatty", "older"]),
        ("openai-chat/echo", {}, []),
    ]
    for name, fields, expected in names:
        reply = ask(gateway, "openai_chat", name, **fields)
        row = gateway.generation(reply.generation)
        assert (row["preset"], row["preset_version"]) == (",".join(expected), ",".join(versions[name] for name in expected))
        shown = gateway.get(f"/api/v1/generation?id={reply.generation}").json()["data"]
        assert (shown["preset_id"], shown["preset_version"]) == (row["preset"] or None, row["preset_version"] or None)


def test_a_preset_alone_names_the_model(gateway: Gateway, judge: Judge) -> None:
    reply = gateway.post("/v1/chat/completions", {"preset": "older", **said("openai_chat")})
    assert (reply.status, reply.headers["x-fairlead-model"]) == (200, "older/echo")
    assert json.loads(sent(judge)) == {"model": "sim/echo", "max_tokens": 66, **said("openai_chat")}
    assert gateway.generation(reply.generation)["requested_model"] == "@preset/older"


@pytest.mark.parametrize("router", ["openrouter/auto", "openrouter/free"])
def test_routers_take_presets(gateway: Gateway, judge: Judge, router: str) -> None:
    reply = gateway.post("/api/v1/chat/completions", {"model": f"{router}@preset/older", **said("openai_chat")})
    if router == "openrouter/free":
        assert reply.status == 404 and "there is no model" not in reply.json()["error"]["message"]
        return
    assert reply.status == 200, reply.body
    dialect = reply.headers["x-fairlead-provider"].replace("-", "_").replace("older", "openai_chat")
    body = json.loads(sent(judge))
    assert (body["max_tokens"] if "older" in reply.headers["x-fairlead-provider"] else limit_of(dialect, body)) == 66


def test_the_reservation_sees_the_limit(gateway: Gateway) -> None:
    reserved = {}
    for name, fields in (("preset", {}), ("own", {"max_completion_tokens": 5000}), ("none", None)):
        model = "openai-chat/echo" if fields is None else "openai-chat/echo@preset/older"
        reserved[name] = gateway.generation(ask(gateway, "openai_chat", model, **(fields or {})).generation)["reserved_nanousd"]
    # 66 tokens, 5,000 and the setting's 4,096, at the same price.
    assert reserved["preset"] < reserved["none"] < reserved["own"]


def test_routing_sees_the_tools(gateway: Gateway) -> None:
    """Tools of a preset are asked for like a request's own: who has none is not tried."""
    for _ in range(8):
        assert ask(gateway, "openai_chat", "@preset/handy").headers["x-fairlead-provider"] == "older"
    question = {"body": {"model": "@preset/handy", **said("openai_chat")}}
    explained = gateway.operate("POST", "/admin/explain", question).json()["data"]
    assert [removed["provider"] for removed in explained["removed"]] == ["openai-chat"], explained


def test_a_count_counts_what_the_preset_says(gateway: Gateway) -> None:
    def count(model: str) -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello there"}]}
        reply = gateway.post("/v1/messages/count_tokens", body)
        assert reply.status == 200, reply.body
        return int(reply.json()["input_tokens"])

    assert count("@preset/anthropic_messages_tools") > count("@preset/anthropic_messages") > count(model_of("anthropic_messages"))


def test_completions(gateway: Gateway, judge: Judge) -> None:
    reply = ask(gateway, "completions", "@preset/openai_chat")
    assert [lost.path for lost in losses_of(reply.headers["x-fairlead-loss"])] == ["system_prompt"]
    body = json.loads(sent(judge))
    assert (body["max_completion_tokens"], body["temperature"], body["stop"]) == (77, 0.25, ["END"])


def test_what_the_preset_makes_of_a_request_is_refused_as_such(gateway: Gateway) -> None:
    reply = gateway.post("/v1/chat/completions", {"model": "@preset/older", "messages": 1})
    assert reply.status == 400 and '"messages"' in reply.json()["error"]["message"]
