"""Which endpoint is asked once it is known whose tool calls are sound: two simulators, one of which writes bad ones now and then."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import ADMIN_TOKEN, KEY, Gateway, Reply
from e2e.judge import PLACE, Judge

BROKEN = '{"place": "Rome'
MISFIT = '{"place": 7}'
ENOUGH = 200
"""Replies with calls that an endpoint must have given before anything is said of it."""
SLUGS = ("clumsy", "deft")
FAMILIES = {
    "openai_chat": "/v1",
    "openai_responses": "/v1",
    "anthropic_messages": "",
    "gemini_generate": "",
    "bedrock_converse": "",
}
CLIENTS = tuple(FAMILIES)[:4]


def provider(slug: str, dialect: str) -> str:
    """The provider of that slug that speaks the dialect."""
    return f"{slug}-{dialect.replace('_', '-')}"


def configuration(addresses: dict[str, str]) -> str:
    """A model at both providers and one at a single one, for every dialect: what `acme/<dialect>` is spoken to in."""
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\nworkers = 1\n[keys.e2e]\nsecret = "{KEY}"\n']
    for dialect, base in FAMILIES.items():
        for slug, address in addresses.items():
            parts.append(
                f'[providers.{provider(slug, dialect)}]\ndialect = "{dialect}"\nbase_url = "http://{address}{base}"\nkeys = ["s"]\n'
            )
        for model, slugs in ((f"acme/{dialect}", SLUGS), (f"lone/{dialect}", SLUGS[:1])):
            parts.append(f'[models."{model}"]\ncontext_length = 100000\n')
            for slug in slugs:
                parts.append(
                    f'[[models."{model}".endpoints]]\nprovider = "{provider(slug, dialect)}"\nupstream_model = "sim/tools"\n'
                    'usd_per_million = { prompt = "1", completion = "1" }\n'
                )
    return "\n".join(parts)


class House:
    """A gateway before two simulators."""

    def __init__(self, clumsy: Judge, deft: Judge, gateway: Gateway) -> None:
        self.clumsy, self.deft, self.gateway = clumsy, deft, gateway

    def counts(self) -> dict[str, dict[str, int] | None]:
        """What is known of tool calls, by provider."""
        reports = self.gateway.operate("GET", "/admin/health").json()["data"]
        return {report["provider"]: report["tool_calls"] for report in reports}

    def forget(self) -> None:
        self.gateway.forget_health()
        self.clumsy.forget_scripts()
        self.deft.forget_scripts()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with Judge(seed=3) as clumsy, Judge(seed=4) as deft:
        addresses = {"clumsy": clumsy.address, "deft": deft.address}
        with Gateway(configuration(addresses)) as gateway:
            yield House(clumsy, deft, gateway)


@pytest.fixture(autouse=True)
def fresh(house: House) -> None:
    house.forget()


def chat(house: House, model: str = "acme/openai_chat", manner: str = "/api/v1", **fields: Any) -> Reply:
    tool = {"type": "function", "function": {"name": "look", "parameters": PLACE}}
    body = {"model": model, "messages": [{"role": "user", "content": "Where?"}], "tools": [tool], **fields}
    return house.gateway.post(f"{manner}/chat/completions", body)


def ask(house: House, client: str, model: str, stream: bool) -> Reply:
    """A request with a tool, in a client's dialect."""
    function = {"name": "look", "parameters": PLACE}
    match client:
        case "openai_chat":
            path, body = (
                "/v1/chat/completions",
                {
                    "messages": [{"role": "user", "content": "Where?"}],
                    "tools": [{"type": "function", "function": function}],
                },
            )
        case "openai_responses":
            path, body = "/v1/responses", {"input": "Where?", "tools": [{"type": "function", **function}]}
        case "anthropic_messages":
            tool = {"name": "look", "input_schema": PLACE}
            path, body = "/v1/messages", {"max_tokens": 500, "messages": [{"role": "user", "content": "Where?"}], "tools": [tool]}
        case _:
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            declared = {"name": "look", "parametersJsonSchema": PLACE}
            contents = [{"role": "user", "parts": [{"text": "Where?"}]}]
            return house.gateway.post(
                f"/v1beta/models/{model}:{method}", {"contents": contents, "tools": [{"functionDeclarations": [declared]}]}
            )
    return house.gateway.post(path, {"model": model, "stream": stream, **body})


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("upstream", FAMILIES)
@pytest.mark.parametrize("client", CLIENTS)
def test_calls_are_judged_whoever_speaks_what(house: House, client: str, upstream: str, stream: bool) -> None:
    """A good call, one that does not fit, two of which one does not fit, and words."""
    scripts: list[dict[str, Any]] = [{}, {"arguments": MISFIT}, {"tool_calls": 2, "arguments": MISFIT}, {"tool_calls": 0, "tokens": 3}]
    house.clumsy.script(*scripts)
    house.deft.script(*scripts)
    tried = {provider(slug, upstream): 0 for slug in SLUGS}
    # Each of them takes its own scripts in turn.
    while min(tried.values()) < len(scripts):
        reply = ask(house, client, f"acme/{upstream}", stream)
        assert reply.status == 200, reply.body
        tried[reply.headers["x-fairlead-provider"] or ""] += 1
    more = {name: count - len(scripts) for name, count in tried.items()}
    assert house.counts() == {name: {"sound": 1 + more[name], "unsound": 2} for name in tried}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_no_json_is_unsound_and_what_is_cut_is_nothing(house: House, stream: bool) -> None:
    scripts: list[dict[str, Any]] = [
        {"arguments": BROKEN},
        {"arguments": BROKEN, "argument_bytes": 1},
        {"arguments": BROKEN, "finish": "length"},
        {"arguments": "{}"},
        {"tool_anomalies": ["no_index", "object_arguments"]},
        # Frames that differ in their texts only are recognised without being read, unless they are pieces of a call.
        *([{"tokens": 20, "argument_bytes": 1, "tool_calls": 2}] * 2),
        *([{"tokens": 20, "argument_bytes": 1, "arguments": MISFIT}] * 2),
    ]
    only = {"only": ["clumsy-openai-chat"]}
    house.clumsy.script(*scripts)
    for number, _ in enumerate(scripts):
        manner = "/v1" if number % 2 else "/api/v1"
        assert chat(house, stream=stream, provider=only, manner=manner).status == 200
    assert house.counts() == {"clumsy-openai-chat": {"sound": 3, "unsound": 5}}


def test_nothing_is_learned_where_nobody_would_ask(house: House) -> None:
    """There is one endpoint, no tool is offered, or the reply breaks off."""
    assert chat(house, "lone/openai_chat").status == 200
    assert chat(house, tools=[], sim={"tokens": 3}).status == 200
    chat(house, stream=True, sim={"arguments": BROKEN, "fault": {"kind": "cut", "after_frames": 3}})
    assert set(map(str, house.counts().values())) <= {"None"}
    # Who orders by it wants to know.
    assert chat(house, "lone/openai_chat:exacto").status == 200
    assert {"sound": 1, "unsound": 0} in house.counts().values()


def test_requests_with_tools_go_where_calls_are_sound(house: House, tmp_path: Path) -> None:
    bad = [{"arguments": BROKEN}, {"arguments": MISFIT}, {"arguments": "{}"}, *([{}] * 7)]
    while min((sum(calls.values()) for calls in house.counts().values() if calls), default=0) < ENOUGH or len(house.counts()) < 2:
        house.clumsy.script(*bad)
        for _ in range(20):
            assert chat(house).status == 200
    counts = house.counts()
    assert counts["deft-openai-chat"] is not None and counts["deft-openai-chat"]["unsound"] == 0

    def explained(**fields: Any) -> list[dict[str, Any]]:
        body = {"model": "acme/openai_chat", "messages": [{"role": "user", "content": "Where?"}], **fields}
        found: list[dict[str, Any]] = house.gateway.operate("POST", "/admin/explain", {"body": body}).json()["data"]["candidates"]
        return found

    tools = [{"type": "function", "function": {"name": "look", "parameters": PLACE}}]
    # What orders go by is up to a second old.
    while min(sum(candidate["health"].get("tool_calls", {}).values()) for candidate in explained(tools=tools)) < ENOUGH:
        pass
    for fields in ({}, {"model": "acme/openai_chat:exacto"}, {"provider": {"sort": "exacto"}}):
        seen = {chat(house, **fields).headers["x-fairlead-provider"] for _ in range(12)}
        assert seen == {"deft-openai-chat"}, fields
    first, last = explained(tools=tools)
    assert (first["provider"], last["provider"]) == ("deft-openai-chat", "clumsy-openai-chat")
    share = last["health"]["tool_calls"]["sound"] / sum(last["health"]["tool_calls"].values())
    assert 0.5 < share < 0.95
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": "acme/openai_chat:exacto", "messages": [{"role": "user", "content": "Where?"}], "tools": tools}))
    shown = house.gateway.run("explain", "--body", str(body)).stdout
    assert "tool calls 100.0% of" in shown, shown
    # Who calls no tools is drawn as ever.
    plain = [{"role": "user", "content": "Say something"}]
    seen = {chat(house, messages=plain, tools=[], sim={"tokens": 1}).headers["x-fairlead-provider"] for _ in range(40)}
    assert len(seen) == 2
