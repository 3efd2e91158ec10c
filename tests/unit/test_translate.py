"""`fairlead.translate`, and the shared cases of tests/vectors/translate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fairlead import translate

VECTORS = Path(__file__).parent.parent / "vectors" / "translate"
DIALECTS: tuple[translate.Dialect, ...] = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse")


def cases(kind: str) -> list[Any]:
    found = []
    for path in sorted(VECTORS.glob(f"{kind}.*.json")):
        for case in json.loads(path.read_text()):
            found.append(pytest.param(case, id=f"{path.stem}: {case['name']}"))
    return found


@pytest.mark.parametrize("case", cases("request"))
def test_requests(case: dict[str, Any]) -> None:
    made = translate.request(
        json.dumps(case["input"], ensure_ascii=False, separators=(",", ":")),
        source=case["source"],
        target=case["target"],
        model="m",
        stream=case.get("stream"),
        traits=case.get("traits", ()),
        max_output_tokens=case.get("max_output_tokens"),
        automatic_cache=case.get("automatic_cache", False),
    )
    assert json.loads(made.body) == case["output"]
    assert [[loss.path, loss.severity] for loss in made.losses] == case.get("losses", [])


@pytest.mark.parametrize("case", cases("response"))
def test_responses(case: dict[str, Any]) -> None:
    """What is lost is the same here; the names that a gateway shows are Rust's to test."""
    body = json.dumps(case["input"], ensure_ascii=False, separators=(",", ":"))
    made = translate.response(body, source=case["source"], target=case["target"], traits=case.get("traits", ()))
    assert json.loads(made.body).keys() >= case["output"].keys() - {"id", "model", "responseId", "modelVersion"}
    assert [[loss.path, loss.severity] for loss in made.losses] == case.get("losses", [])


HELLO: dict[translate.Dialect, dict[str, Any]] = {
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    "openai_responses": {"model": "m", "input": "Hello"},
    "anthropic_messages": {"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "Hello"}]},
    "gemini_generate": {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    "bedrock_converse": {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
}


@pytest.mark.parametrize("source", DIALECTS)
@pytest.mark.parametrize("target", DIALECTS)
def test_every_dialect_reaches_every_other(source: translate.Dialect, target: translate.Dialect) -> None:
    made = translate.request(json.dumps(HELLO[source]), source=source, target=target, model="m", max_output_tokens=64)
    there = json.loads(made.body)
    assert "Hello" in json.dumps(there)
    again = translate.request(made.body, source=target, target=source, model="m", max_output_tokens=64)
    assert "Hello" in again.body.decode()
    assert [loss for loss in made.losses if loss.severity != "hint"] == []


def check_refused(body: bytes | str, words: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=words):
        translate.request(body, **{"source": "openai_chat", "target": "anthropic_messages", **options})


def test_refusals() -> None:
    check_refused("{", "not valid JSON")
    check_refused('{"model":"m","messages":[{"role":"user","content":7}]}', r"messages\[0\]\.content")
    check_refused(json.dumps(HELLO["openai_chat"]), "no dialect", source="cohere")
    check_refused(json.dumps(HELLO["openai_chat"]), "no quirk", traits=["fast"])
    check_refused(json.dumps(HELLO["openai_chat"]), '"fast" is no effort; choose from none, minimal', efforts=["fast"])


def chunk(choices: list[Any], **more: Any) -> bytes:
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
    return f"data: {json.dumps(body)}\n\n".encode()


CHAT = (
    chunk([{"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}])
    + chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + chunk([], usage={"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4})
    + b"data: [DONE]\n\n"
)


@pytest.mark.parametrize("target", DIALECTS)
def test_a_stream_cut_anywhere_is_the_same(target: translate.Dialect) -> None:
    def run(size: int) -> bytes:
        stream = translate.Stream(source="openai_chat", target=target)
        out = b"".join(stream.feed(CHAT[at : at + size]) for at in range(0, len(CHAT), size)) + stream.finish()
        assert stream.usage is not None
        assert (stream.usage.prompt_tokens, stream.usage.completion_tokens) == (3, 1)
        return out

    whole = run(len(CHAT))
    assert b"Hi" in whole
    for size in (1, 2, 7, 64):
        assert run(size) == whole


@pytest.mark.parametrize("target", DIALECTS)
def test_a_stream_that_breaks_off_fails(target: translate.Dialect) -> None:
    stream = translate.Stream(source="openai_chat", target=target)
    out = stream.feed(CHAT[: CHAT.index(b"data:", 10)]) + stream.finish()
    assert b"error" in out.lower() or b"exception" in out.lower()
    assert stream.feed(CHAT) == b""
