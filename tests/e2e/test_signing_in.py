"""Providers that want more than a key: Google's Vertex AI, called with tokens that are renewed, and Azure, at an address of one's own."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from token_server import EMAIL, TokenServer, key_file, pem

from e2e.house import ADMIN_TOKEN, KEY, Gateway, run, until
from e2e.stub import Stub, Visit, completion, sized
from e2e.wire import Wire, body_of

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
GEMINI = "/v1beta/models/gemini-3.5-flash:generateContent"
USUAL = f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n'
ASK = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def head_of(request: bytes) -> dict[str, str]:
    """The first line of a request under no name, and its headers."""
    first, *lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return {"": first} | {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def claude(visit: Visit) -> None:
    """Answers one request as Claude."""
    visit.request()
    usage = {"input_tokens": 1000, "output_tokens": 100}
    reply = {"id": "msg_vrtx_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": [], "usage": usage}
    visit.say(sized(json.dumps(reply | {"stop_reason": "end_turn", "stop_sequence": None}).encode()))


def gemini(visit: Visit) -> None:
    """Answers every request as Gemini, if it carries a token."""
    while True:
        visit.request()
        if "authorization" not in head_of(visit.requests[-1]):
            error = {"error": {"code": 401, "message": "Request is missing a credential.", "status": "UNAUTHENTICATED"}}
            visit.say(sized(json.dumps(error).encode(), status="401 Unauthorized"))
            continue
        content = {"role": "model", "parts": [{"text": "Hello"}]}
        usage = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
        reply = {"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}], "usageMetadata": usage, "modelVersion": "gemini"}
        visit.say(sized(json.dumps(reply).encode()))


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as running:
        running.play(gemini)
        yield running


@pytest.fixture
def tokens() -> Iterator[TokenServer]:
    """A server whose tokens are soon renewed: after half their life, so that a busy machine has the other half to do it."""
    with TokenServer(expires_in=5) as running:
        yield running


def vertex(stub: Stub, tokens: TokenServer, folder: Path, number: int = 0) -> Gateway:
    """A gateway before the stub, which it takes for Vertex AI."""
    (folder / "service-account.json").write_text(key_file(tokens.uri, number))
    root = f"http://{stub.address}/v1/projects/{{project}}/locations/{{region}}"
    others = f'openai_chat = "{root}/endpoints/openapi", anthropic_messages = "{root}/publishers/anthropic"'
    urls = f'base_url = "{root}/publishers/google"\nbase_urls = {{ {others} }}\n'
    table = f'[providers.google-vertex]\nregion = "us-east5"\nkeys = ["file:service-account.json"]\n{urls}'
    return Gateway(USUAL + table, folder=folder)


def sent(stub: Stub) -> list[dict[str, str]]:
    """The heads that reached the stub, connection by connection."""
    assert not stub.problems, stub.problems
    return [head_of(request) for visit in stub.visits for request in visit.requests]


def sign_ins_of(gateway: Gateway) -> Any:
    """How each account stands."""
    return gateway.operate("GET", "/admin/status").json()["data"]["sign_ins"]


def test_tokens_change_and_no_request_notices(stub: Stub, tokens: TokenServer, tmp_path: Path) -> None:
    with vertex(stub, tokens, tmp_path) as gateway:
        over = threading.Event()
        seen: list[Any] = []

        def customer(path: str, body: Any) -> None:
            try:
                with Wire(gateway.address) as wire:
                    while not over.is_set():
                        wire.post(path, body)
                        seen.append(wire.answer().status)
            except Exception as error:
                seen.append(error)

        asked = [
            (GEMINI, ASK),
            (CHAT, body_of(model="google/gemini-3.5-flash")),
            (MESSAGES, body_of(model="gemini-3.5-flash", max_tokens=9)),
        ]
        customers = [threading.Thread(target=customer, args=one) for one in asked]
        for thread in customers:
            thread.start()
        until(lambda: {head["authorization"][-1] for head in sent(stub)} >= {*"123"} or set(seen) - {200}, "two renewals are seen")
        over.set()
        for thread in customers:
            thread.join()
        assert set(seen) == {200}
        (state,) = sign_ins_of(gateway)
        assert (state["account"], state["signed_in"], state["failure"]) == (EMAIL, True, None)
        assert gateway.stop() == 0
        told = gateway.stderr()
    for visit in stub.visits:
        numbers = [int(head_of(request)["authorization"].removeprefix("Bearer ya29.")) for request in visit.requests]
        assert numbers == sorted(numbers), "an old token does not come back"
    heads = sent(stub)
    model = "/v1/projects/acme-1/locations/us-east5/publishers/google/models/gemini-3.5-flash"
    assert {head[""] for head in heads} == {f"POST {model}:generateContent HTTP/1.1"}
    assert not any("x-goog-api-key" in head or "cookie" in head for head in heads)
    assert "ya29" not in told and pem().splitlines()[1] not in told


def test_claude_is_there_with_the_same_token_and_at_the_regions_price(stub: Stub, tokens: TokenServer, tmp_path: Path) -> None:
    """At 4.40 and 22 dollars: a tenth more than everywhere."""
    stub.play(claude)
    with vertex(stub, tokens, tmp_path) as gateway:
        reply = gateway.post(MESSAGES, {"model": "claude-opus-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]})
        assert (reply.status, gateway.generation(reply.generation)["charged_nanousd"]) == (200, 1000 * 4_400 + 100 * 22_000), reply
        listed = run(["models", "claude-opus-5.5", "--config", str(gateway.config)], gateway.folder).stdout
    (head,) = sent(stub)
    assert head[""] == "POST /v1/projects/acme-1/locations/us-east5/publishers/anthropic/models/claude-opus-5-5:rawPredict HTTP/1.1"
    assert head["authorization"].startswith("Bearer ya29.") and "anthropic-version" not in head
    assert listed.splitlines()[1].split() == [
        "anthropic/claude-opus-5.5",
        "google-vertex",
        "4.4",
        "22",
        "0.22",
        "1000000",
        "anthropic_messages",
    ]


def test_without_a_token_it_is_told_and_goes_on_when_there_is_one(stub: Stub, tokens: TokenServer, tmp_path: Path) -> None:
    with vertex(stub, tokens, tmp_path, number=1) as gateway:
        (state,) = sign_ins_of(gateway)
        assert not state["signed_in"] and "make a new key" in state["failure"]
        assert f"google-vertex: cannot sign in as {EMAIL}" in gateway.stderr()
        done = gateway.run("doctor", "--json")
        found = [finding for finding in json.loads(done.stdout)["findings"] if finding["subject"] == "sign-in"]
        assert done.returncode == 1
        assert [(finding["level"], EMAIL in finding["text"]) for finding in found] == [("fail", True)]
        refused = gateway.post(GEMINI, ASK)
        assert refused.status >= 500, refused
        assert {"authorization", "x-goog-api-key"} & sent(stub)[-1].keys() == set()
        # The key file is replaced, as one does who reads that; nothing else changes.
        (tmp_path / "service-account.json").write_text(key_file(tokens.uri))
        assert gateway.operate("POST", "/admin/reload").status == 200
        assert gateway.post(GEMINI, ASK).status == 200, "a reload waits for a new account's token"
        assert sign_ins_of(gateway)[0]["signed_in"]


def messages(visit: Visit) -> None:
    """Answers each request in the dialect of its path."""
    while True:
        visit.request()
        if b"/messages " not in visit.requests[-1]:
            visit.say(sized(completion()))
            continue
        usage = {"input_tokens": 3, "output_tokens": 2}
        body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hello"}]}
        visit.say(sized(json.dumps(body | {"stop_reason": "end_turn", "stop_sequence": None, "usage": usage}).encode()))


@pytest.mark.parametrize("lines", ['resource = "acme-east"\nkeys = ["azure-key-1f2e3d"]\n', ""])
def test_azure_is_called_at_its_resource_with_its_key(stub: Stub, lines: str) -> None:
    stub.play(messages)
    root = f"http://{stub.address}/{{resource}}"
    urls = f'base_url = "{root}/openai/v1"\nbase_urls = {{ anthropic_messages = "{root}/anthropic" }}\n'
    environment = {"AZURE_API_KEY": "azure-key-1f2e3d", "AZURE_RESOURCE_NAME": "acme-east"}
    with Gateway(USUAL + "[providers.azure]\n" + lines + urls, environment={} if lines else environment) as gateway:
        assert gateway.post(CHAT, body_of(model="openai/gpt-4o")).status == 200
        assert gateway.post(MESSAGES, body_of(model="anthropic/claude-haiku-4.5", max_tokens=9)).status == 200
        assert sign_ins_of(gateway) == []
    chat, claude = sent(stub)
    assert chat[""] == "POST /acme-east/openai/v1/chat/completions HTTP/1.1"
    assert claude[""] == "POST /acme-east/anthropic/v1/messages HTTP/1.1"
    ours = ("authorization", "api-key", "x-api-key")
    assert [{name: head[name] for name in ours if name in head} for head in (chat, claude)] == [
        {"api-key": "azure-key-1f2e3d"},
        {"x-api-key": "azure-key-1f2e3d"},
    ]
