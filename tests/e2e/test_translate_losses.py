"""What a translation loses: told in the header, in /api/v1/generation and on the admin port alike; refused where somebody is strict."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.house import KEY, Gateway, Reply
from e2e.judge import Judge
from e2e.stories import check_error
from e2e.translated import (
    CLIENTS,
    REFUSED_SECRET,
    STRICT_KEY,
    UPSTREAMS,
    addressed,
    base_url,
    configuration,
    losses_of,
    model,
    model_of,
    path_of,
    provider,
    said,
)

PRESETS = """
[presets.careful]
model = "gemini-generate/fast"
strict_translation = true
[presets.marked]
model = "anthropic-messages/fast"
automatic_cache = true
"""
PAIRS = [(client, upstream) for client in CLIENTS for upstream in UPSTREAMS if client != upstream]
LOST: dict[str, dict[str, Any]] = {
    "openai_chat": {"logit_bias": {"50256": -100}, "some_field_of_tomorrow": 1},
    "openai_responses": {"truncation": "auto", "some_field_of_tomorrow": 1},
    "anthropic_messages": {"container": "container_1", "some_field_of_tomorrow": 1},
    "gemini_generate": {"cachedContent": "cachedContents/x", "someFieldOfTomorrow": 1},
}
"""What another dialect has no word for."""


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator of this file's own."""
    with Judge() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    """With Bedrock's signatures too, once with the right secret and once with a wrong one."""
    signed = PRESETS
    for slug, secret in (("signed", "simulator"), ("mistaken", REFUSED_SECRET)):
        pair = f'[{{ access_key_id = "AKIDACME", secret_access_key = "{secret}" }}]'
        url = base_url("bedrock_converse", judge.address)
        signed += provider(slug, "bedrock_converse", url, pair, 'auth = "sigv4"\nregion = "eu-central-1"')
        signed += model(f"{slug}/fast", slug, "sim/fast")
    with Gateway(configuration(judge.address, ["fast"], tables=signed)) as running:
        yield running


def ask(gateway: Gateway, client: str, name: str, *, key: str = KEY, strict: str | None = None, prefix: str = "", **fields: Any) -> Reply:
    """A call that names a limit, which some dialects must be told."""
    limits: dict[str, Any] = {"openai_chat": {"max_completion_tokens": 99}, "openai_responses": {"max_output_tokens": 99}}
    limits["gemini_generate"] = {"generationConfig": {"maxOutputTokens": 99}}
    body = addressed(client, said(client) | limits.get(client, {}) | fields, name)
    headers = {} if strict is None else {"x-fairlead-strict": strict}
    return gateway.post(path_of(client, name, prefix=prefix), body, key=key, headers=headers)


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_every_place_tells_the_same(gateway: Gateway, client: str, upstream: str) -> None:
    """And refuses the same, all of it named, without a call, a row or a cent."""
    name = model_of(upstream, "fast")
    reply = ask(gateway, client, name, **LOST[client])
    assert reply.status == 200, reply.body
    told = losses_of(reply.headers["x-fairlead-loss"])
    assert {loss.path for loss in told} >= LOST[client].keys()
    assert all(loss.reason for loss in told)
    expected = [loss._asdict() for loss in told]
    shown = gateway.get(f"/api/v1/generation?id={reply.generation}").json()["data"]
    assert (shown["translation_losses"], shown["translation_losses_more"]) == (expected, 0)
    assert shown["upstream_dialect"] == upstream
    [row] = gateway.operate("GET", "/admin/requests?limit=1").json()["data"]
    assert (row["id"], row["upstream_dialect"], row["translation_losses"]) == (reply.generation, upstream, expected)


def test_what_does_not_fit_is_counted(gateway: Gateway) -> None:
    """A header line has two kilobytes, a record its own bound; neither says less than how much it leaves out."""
    fields: dict[str, Any] = {f"field_{number:03}": 1 for number in range(300)}
    reply = ask(gateway, "openai_chat", model_of("anthropic_messages", "fast"), **fields)
    header = str(reply.headers["x-fairlead-loss"])
    listed, _, more = header.rpartition(", more;count=")
    assert len(header) < 2_100 and len(losses_of(listed)) + int(more) == 300
    shown = gateway.get(f"/api/v1/generation?id={reply.generation}").json()["data"]
    assert len(shown["translation_losses"]) + shown["translation_losses_more"] == 300
    assert [loss["path"] for loss in shown["translation_losses"]] == [*fields][: len(shown["translation_losses"])]


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_strictness(gateway: Gateway, judge: Judge, client: str, upstream: str) -> None:
    """Whoever of them is strict: refused with all of it named, without a call, a row or a cent. What loses nothing runs."""
    name, before, mark = model_of(upstream, "fast"), len(gateway.generations()), judge.mark()
    wishes: list[dict[str, Any]] = [{"strict": "true"}, {"strict": "1"}, {"key": STRICT_KEY}, {"key": STRICT_KEY, "strict": "false"}]
    if client != "gemini_generate":
        wishes.append({"provider": {"require_parameters": True}})
    for wish in wishes:
        check_refused(ask(gateway, client, name, **LOST[client], **wish), client, *LOST[client])
    assert judge.since(mark) == [] and len(gateway.generations()) == before
    for wish in [*wishes, {"strict": "false", **LOST[client]}, {"strict": "0", **LOST[client]}]:
        assert ask(gateway, client, name, **wish).status == 200, wish
    assert ask(gateway, client, name, strict="yes").status == 400
    judge.since(mark, len(wishes) + 2)


def check_refused(reply: Reply, client: str, *paths: str) -> None:
    """Nothing satisfies the constraints, and every loss is in the message."""
    assert reply.status == 404, reply.body
    error = reply.json()["error"]
    check_error(client, error)
    assert all(f"{path} dropped: " in error["message"] for path in paths), error
    assert reply.headers["x-generation-id"] is None and reply.headers["x-should-retry"] == "false"


def test_a_preset_is_strict(gateway: Gateway, judge: Judge) -> None:
    mark = judge.mark()
    check_refused(ask(gateway, "openai_chat", "@preset/careful", logit_bias={"1": 1}), "openai_chat", "logit_bias")
    assert judge.since(mark) == []
    assert ask(gateway, "openai_chat", "@preset/careful").status == 200


def test_hints_do_not_refuse(gateway: Gateway) -> None:
    """A seal that only its maker can read, and a cache key that says nothing about the answer."""
    hinted: dict[str, Any] = {"prompt_cache_key": "k"}
    reply = ask(gateway, "openai_chat", model_of("anthropic_messages", "fast"), strict="true", **hinted)
    assert reply.status == 200, reply.body
    assert {loss.severity for loss in losses_of(reply.headers["x-fairlead-loss"])} == {"hint"}


def test_the_same_dialect_loses_nothing(gateway: Gateway) -> None:
    """Byte for byte: what the provider makes of it is its own affair."""
    for client in ("openai_chat", "anthropic_messages"):
        reply = ask(gateway, client, model_of(client, "fast"), strict="true", **LOST[client])
        assert reply.status == 200 and reply.headers["x-fairlead-loss"] is None


def test_cache_marks(gateway: Gateway, judge: Judge) -> None:
    """A preset puts them where a client sets none; a client may ask for them in one word."""
    question: dict[str, Any] = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]}
    marks = {"cache_control": {"type": "ephemeral"}}
    asked: list[tuple[str, dict[str, Any]]] = [("@preset/marked", {}), (model_of("anthropic_messages", "fast"), marks)]
    for name, fields in asked:
        assert ask(gateway, "openai_chat", name, **question, **fields).status == 200
        body = judge.last_request()["body"]
        assert "cache_control" in json.dumps(json.loads(body)), (name, body)
    assert ask(gateway, "openai_chat", model_of("anthropic_messages", "fast"), **question).status == 200
    assert "cache_control" not in judge.last_request()["body"]
    # Marks are put in the client's own dialect too; the reply passes as it comes.
    assert ask(gateway, "anthropic_messages", "@preset/marked", system="Be brief.").status == 200
    assert "cache_control" in judge.last_request()["body"]
    assert ask(gateway, "anthropic_messages", model_of("anthropic_messages", "fast"), system="Be brief.").status == 200
    assert "cache_control" not in judge.last_request()["body"]


def test_signed_requests(gateway: Gateway, judge: Judge) -> None:
    """The simulator checks signatures as AWS does. A wrong secret is the operator's fault, whoever asks."""
    for stream in (False, True):
        body = addressed("openai_chat", said("openai_chat"), "signed/fast", stream)
        reply = gateway.post(path_of("openai_chat", "signed/fast", stream), body)
        assert reply.status == 200 and b"Lorem" in reply.body
        headers = {name.lower(): value for name, value in judge.last_request()["headers"]}
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDACME/") and "simulator" not in str(headers)
        for client in CLIENTS:
            body = addressed(client, said(client), "mistaken/fast", stream)
            reply = gateway.post(path_of(client, "mistaken/fast", stream), body)
            assert reply.status == 502, reply.body
            check_error(client, reply.json()["error"])
            assert "operator" in reply.json()["error"]["message"] and REFUSED_SECRET.encode() not in reply.body
            row = gateway.generation(reply.generation)
            assert (row["outcome"], row["charged_nanousd"], row["attempts"][0]["status"]) == ("failed", 0, 403)
