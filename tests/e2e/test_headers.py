"""Headers: what the provider sees of a client's, what the client sees of the provider's, and the gateway's own."""

import json
import re
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2e.house import KEY, MANAGEMENT_KEY, OTHER_KEY, PROVIDER_SECRET, Gateway, Provider, say, send
from e2e.wire import PATHS, Wire, body_of, request

ALLOWED = {
    "anthropic-version": "anthropic-version",
    "anthropic-beta": "anthropic-beta",
    "x-anthropic-beta": "anthropic-beta",
    "openai-beta": "openai-beta",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}
OURS = {"host", "content-type", "accept-encoding", "authorization", "content-length", "anthropic-version"}
ROUTES = [prefix + path for prefix in ("", "/api") for path in PATHS.values()]
GENERATION = re.compile(r"gen-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# These frame the message or carry the key; what they do is tested elsewhere.
FRAMING = {"content-length", "transfer-encoding", "connection", "expect", "upgrade", "content-encoding", "host", "authorization", "te"}
KNOWN = [
    "Accept",
    "Accept-Language",
    "Cookie",
    "Origin",
    "Referer",
    "User-Agent",
    "X-Title",
    "HTTP-Referer",
    "X-Forwarded-For",
    "Forwarded",
]
KNOWN += [
    "X-Real-IP",
    "X-Stainless-Lang",
    "OpenAI-Organization",
    "OpenAI-Project",
    "Idempotency-Key",
    "X-Session-Id",
    "Via",
    "Proxy-Authorization",
]
KNOWN += [
    "X-Generation-Id",
    "X-Fairlead-Principal",
    "X-Fairlead-Provider",
    "Helicone-Auth",
    "X-Amz-Security-Token",
    "Priority",
    "DNT",
    "Pragma",
]
KNOWN += ["Content-Language", "X-HTTP-Method-Override", "X-Request-Id", "Request-Id", *(name.title() for name in ALLOWED)]
NAMES = st.one_of(st.sampled_from(KNOWN), st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)).filter(
    lambda name: name.lower() not in FRAMING and name.lower() not in ("x-api-key", "api-key", "x-goog-api-key")
)


def path_body(path: str, **fields: Any) -> dict[str, Any]:
    dialect = "anthropic_messages" if path.endswith("messages") else "openai_chat"
    return body_of("one two three", dialect=dialect, **fields)


@given(names=st.lists(NAMES, max_size=12), route=st.sampled_from(ROUTES), stream=st.booleans())
def test_only_a_few_headers_reach_the_provider(gateway: Gateway, provider: Provider, names: list[str], route: str, stream: bool) -> None:
    provider.forget_requests()
    # A name of a request (Idempotency-Key) is good for one.
    once = uuid.uuid4().hex
    sent = {name: f"canary-{number}-{once}" for number, name in enumerate(names)}
    reply = gateway.post(route, path_body(route, stream=stream), headers=sent)
    assert reply.status == 200, reply.body
    [seen] = provider.requests()
    expected = {(ALLOWED[name.lower()], value) for name, value in sent.items() if name.lower() in ALLOWED}
    arrived = {(name, value) for name, value in seen["headers"] if "canary" in value}
    assert arrived == expected
    assert {name for name, _ in seen["headers"]} <= OURS | {name for name, _ in expected}
    assert "canary" not in seen["body"] and KEY not in seen["head"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_version_is_sent_in_its_own_dialect_only(gateway: Gateway, provider: Provider, route: str) -> None:
    provider.forget_requests()
    assert gateway.post(route, path_body(route)).status == 200
    [seen] = provider.requests()
    expected = ["2023-06-01"] if route.endswith("messages") else []
    assert [value for name, value in seen["headers"] if name == "anthropic-version"] == expected


@pytest.mark.parametrize("header", ["Authorization", "x-api-key", "X-Goog-Api-Key", "api-key"])
@pytest.mark.parametrize("route", ROUTES)
def test_the_gateways_key_never_leaves(gateway: Gateway, provider: Provider, header: str, route: str) -> None:
    provider.forget_requests()
    # Every other place has a key too; none of them may leave.
    headers = {"x-api-key": OTHER_KEY, "x-goog-api-key": OTHER_KEY, "api-key": OTHER_KEY, "content-type": "application/json"}
    if header == "Authorization":
        headers["Authorization"] = f"Bearer {KEY}"
    else:
        headers = {"content-type": "application/json", header: KEY}
    reply = send(gateway.address, "POST", route, json.dumps(path_body(route)).encode(), headers)
    assert reply.status == 200, reply.body
    [seen] = provider.requests()
    everything = json.dumps(seen)
    assert KEY not in everything and OTHER_KEY not in everything
    assert ["authorization", f"Bearer {PROVIDER_SECRET}"] in seen["headers"]
    assert not [name for name, _ in seen["headers"] if name in ("x-api-key", "x-goog-api-key", "api-key")]


@pytest.mark.parametrize("name", ["x-fairlead-principal", "X-Fairlead-Principal", "X-FAIRLEAD-PRINCIPAL"])
@pytest.mark.parametrize("value", ["key=1;account=1;management=1", "operator", "anonymous"])
def test_nobody_asserts_a_principal_but_us(gateway: Gateway, provider: Provider, name: str, value: str) -> None:
    claim = {name: value}
    assert gateway.get("/api/v1/key", key=None, headers=claim).status == 401
    assert gateway.get("/api/v1/models", key=None, headers=claim).status == 401
    assert gateway.get("/api/v1/credits", headers=claim).status == 403
    assert gateway.get("/api/v1/credits", key=MANAGEMENT_KEY, headers=claim).status == 200
    assert gateway.get("/api/v1/key", headers=claim).json()["data"]["name"] == "e2e"
    assert gateway.get("/admin/keys", headers=claim).status == 404
    # Twice, and named as one that a proxy should drop.
    twice = f"GET /api/v1/credits HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{name}: {value}\r\n{name}: {value}\r\n"
    assert say(gateway.address, f"{twice}connection: close, {name}\r\n\r\n".encode()).startswith(b"HTTP/1.1 403 ")
    provider.forget_requests()
    assert gateway.post(PATHS["openai_chat"], body_of(), headers=claim).status == 200
    assert "principal" not in provider.last_request()["head"].lower()


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "status"), [(None, 200), ({"kind": "status", "status": 503}, 503), ({"kind": "empty"}, 502)])
def test_our_own_headers(gateway: Gateway, provider: Provider, route: str, stream: bool, fault: Any, status: int) -> None:
    sim: dict[str, Any] = {"delay_ms": 100} if fault is None else {"fault": fault, "delay_ms": 100}
    began = time.perf_counter()
    reply = gateway.post(route, path_body(route, stream=stream, sim=sim))
    took_ms = (time.perf_counter() - began) * 1000
    assert reply.status == status
    assert GENERATION.fullmatch(reply.headers["x-generation-id"])
    assert reply.headers["x-fairlead-model"] == "lab/echo"
    assert reply.headers["x-fairlead-provider"] == "lab"
    assert reply.headers["x-fairlead-attempts"] == "1"
    assert "x-fairlead-loss" not in reply.headers
    timing = re.fullmatch(r"fairlead;dur=(\d+\.\d{3})", reply.headers["server-timing"])
    assert timing
    # Our own work only: what the provider took is not in it, so both together are at most what the client waited.
    assert 0 <= float(timing[1]) <= took_ms - 100
    assert gateway.generation(reply.generation)["own_us"] >= 0
    wanted = "text/event-stream" if stream and status == 200 else "application/json"
    assert reply.headers["content-type"].partition(";")[0] == wanted


PROVIDERS_OWN = {
    "x-ratelimit-limit-requests": "1",
    "x-ratelimit-remaining-tokens": "2",
    "anthropic-ratelimit-tokens-limit": "3",
    "openai-organization": "canary",
    "anthropic-organization-id": "canary",
    "openai-processing-ms": "4",
    "set-cookie": "canary=1",
    "server": "canary",
    "via": "1.1 canary",
    "x-fairlead-model": "canary",
    "x-fairlead-provider": "canary",
    "x-fairlead-principal": "canary",
    "x-generation-id": "gen-canary",
    "server-timing": "canary;dur=9999.0",
    "access-control-allow-origin": "canary",
    "location": "http://canary/",
    "cf-ray": "canary",
    "x-should-retry": "false",
    "alt-svc": 'h3=":443"',
    "strict-transport-security": "max-age=1",
}
SHOWN = {
    "content-type",
    "content-length",
    "transfer-encoding",
    "date",
    "cache-control",
    "x-accel-buffering",
    "x-should-retry",
    "connection",
}
SHOWN |= {
    "x-generation-id",
    "x-fairlead-model",
    "x-fairlead-provider",
    "x-fairlead-attempts",
    "server-timing",
    "x-request-id",
    "request-id",
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_of_the_providers_headers_only_request_ids_pass(gateway: Gateway, provider: Provider, route: str, stream: bool) -> None:
    sim = {"headers": {**PROVIDERS_OWN, "x-request-id": "req-of-the-provider", "request-id": "another"}}
    reply = gateway.post(route, path_body(route, stream=stream, sim=sim))
    assert reply.status == 200, reply.body
    assert (reply.headers["x-request-id"], reply.headers["request-id"]) == ("req-of-the-provider", "another")
    names = [name.lower() for name in reply.headers]
    assert len(names) == len(set(names)) and set(names) <= SHOWN
    assert "canary" not in str(reply.headers).lower() and "ratelimit" not in str(reply.headers).lower()
    assert "x-should-retry" not in names


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
def test_hints_about_retrying_pass_with_errors(gateway: Gateway, route: str, stream: bool) -> None:
    fault = {"kind": "status", "status": 429, "retry_after": "17"}
    reply = gateway.post(route, path_body(route, stream=stream, sim={"fault": fault}))
    assert (reply.status, reply.headers["retry-after"]) == (429, "17")
    assert {name.lower() for name in reply.headers} <= SHOWN | {"retry-after"}


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 503},
    {"kind": "garbage"},
    {"kind": "empty"},
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(map(str, fault.values())))
def test_request_ids_pass_with_errors(gateway: Gateway, route: str, stream: bool, fault: dict[str, Any]) -> None:
    """That is when support asks for them. A provider that has failed may write anything there, our credential too."""
    sim = {"fault": fault, "headers": {**PROVIDERS_OWN, "x-request-id": "req_abc", "request-id": f"for {PROVIDER_SECRET}"}}
    reply = gateway.post(route, path_body(route, stream=stream, sim=sim))
    assert reply.status >= 400
    assert (reply.headers["x-request-id"], reply.headers["request-id"]) == ("req_abc", "for [redacted]")
    assert {name.lower() for name in reply.headers} <= SHOWN and reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("name", "value"), [("traceparent", b"\xff\xfe"), ("anthropic-beta", "é".encode()), ("tracestate", b"a=\x80"), ("x-title", b"\xff")]
)
def test_bytes_beyond_ascii_break_nothing(gateway: Gateway, provider: Provider, name: str, value: bytes) -> None:
    """They pass, or are refused clearly; the head that the provider sees stays one head."""
    provider.forget_requests()
    text = request("POST", PATHS["openai_chat"], body_of()).replace(b"host: tests", b"host: tests\r\n" + name.encode() + b": " + value)
    with Wire(gateway.address) as wire:
        wire.send(text)
        assert wire.answer().status in (200, 400)
    for seen in provider.requests():
        assert {header for header, _ in seen["headers"]} <= OURS | {"traceparent", "anthropic-beta", "tracestate"}


@pytest.mark.parametrize(
    ("headers", "referer", "title"),
    [
        ({"HTTP-Referer": "https://app.example/", "X-Title": "An app"}, "https://app.example/", "An app"),
        ({"HTTP-Referer": "https://a/", "Referer": "https://b/", "X-OpenRouter-Title": "New", "X-Title": "Old"}, "https://a/", "New"),
        ({"Referer": "https://app.example/"}, "https://app.example/", ""),
        ({}, "", ""),
    ],
)
def test_a_session_and_an_application_are_recorded(gateway: Gateway, headers: dict[str, str], referer: str, title: str) -> None:
    sent = {**headers, "X-Session-Id": "s-1", "User-Agent": "ua/1"}
    row = gateway.generation(gateway.post(PATHS["openai_chat"], body_of(user="anna"), headers=sent).generation)
    assert (row["referer"], row["title"]) == (referer, title)
    assert (row["session_id"], row["user_agent"], row["end_user"]) == ("s-1", "ua/1", "anna")
