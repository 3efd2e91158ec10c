"""The shared cases of tests/vectors/translate through a running gateway: what the provider gets, and what the client gets.

Rust and Python run the same cases against the codecs alone. Where a gateway stands between, some things are its own. The last part
of this file takes them out, and nothing else is forgiven:

* it names the generation and the time where the provider has none (`gen-1`, 7 in the cases), and its own model (`acme/fast`);
* `usage` has a `cost`; where the provider gave no figures they are ours;
* seals of thoughts travel as tokens, which only the gateway opens; what it did not seal itself goes to no provider of another dialect;
* failures carry the provider's name and ids. One that comes before any content has its real status instead of a 200.

Seven cases have no way through a gateway: Converse is no dialect of clients, and a chat request to a provider of chat passes byte for byte.
The tests count them, so that a case which is left out is noticed.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.house import Gateway, Reply
from e2e.translated import (
    CLIENTS,
    Scripted,
    addressed,
    configuration,
    event_bytes,
    losses_of,
    model,
    path_of,
    said,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "translate"
TOKEN = "fAiRsEaL"

Case = dict[str, Any]


def cases(kind: str) -> list[Case]:
    """Every case of a kind, with the file it is in."""
    return [case | {"file": path.stem} for path in sorted(VECTORS.glob(f"{kind}.*json")) for case in json.loads(path.read_text())]


def place_of(case: Case, upstream: str) -> str:
    """The model whose endpoint is as the case wants it."""
    marks = "automatic-" if case.get("automatic_cache") else ""
    return f"{marks}{'.'.join([upstream, *case['traits']])}".replace("_", "-")


@pytest.fixture(scope="module")
def stub() -> Iterator[Scripted]:
    with Scripted() as running:
        yield running


@pytest.fixture(scope="module")
def live(stub: Scripted) -> Iterator[Gateway]:
    """A model for every set of traits that a case names."""
    places: dict[str, str] = {}
    for kind in ("request", "response", "stream", "completions.request", "completions.response", "completions.stream"):
        for case in cases(kind):
            upstream = case["target"] if kind.endswith("request") else case["source"]
            name = place_of(case, upstream)
            traits = f"quirks = {json.dumps(case['traits'])}"
            places[name] = model(f"acme/{name}", upstream.replace("_", "-"), "m", traits)
            if case.get("automatic_cache"):
                places[name] += f'[presets.{name}]\nmodel = "acme/{name}"\nautomatic_cache = true\n'
    with Gateway(configuration(stub.address, [], tables="\n".join(places.values()))) as running:
        yield running


def has_a_way(client: str, upstream: str) -> bool:
    """Whether a gateway translates that."""
    return client in (*CLIENTS, "completions") and client != upstream


# --- requests -----------------------------------------------------------------------------------------------------------------------------

LEAST: dict[str, Any] = {
    "openai_chat": {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]},
    "openai_responses": {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
    },
    "anthropic_messages": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"},
    "gemini_generate": {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]},
    "bedrock_converse": {"output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}}, "stopReason": "end_turn"},
}
"""Replies that lose nothing on their way to anybody."""


@pytest.mark.parametrize(("kind", "without_a_way"), [("request", 5), ("completions.request", 0)])
def test_requests(live: Gateway, stub: Scripted, kind: str, without_a_way: int) -> None:
    tried, wrong = 0, []
    for case in cases(kind):
        client = "completions" if kind.startswith("completions") else case["source"]
        if has_a_way(client, case["target"]):
            tried += 1
            wrong += [f"{case['file']}: {case['name']}: {problem}" for problem in request_problems(live, stub, case, client)]
    assert not wrong, "\n".join(wrong)
    assert tried == len(cases(kind)) - without_a_way


def request_problems(live: Gateway, stub: Scripted, case: Case, client: str) -> Iterator[str]:
    upstream, stream = case["target"], case["input"].get("stream") is True
    name = ("@preset/" if case.get("automatic_cache") else "acme/") + place_of(case, upstream)
    stub.asked.clear()
    stub.whole(LEAST[upstream])
    reply = live.post(path_of(client, name, stream), compact(addressed(client, case["input"], name, stream)))
    if not stub.asked:
        yield f"nothing was sent: {reply.status} {reply.body.decode()}"
        return
    [(_, body)] = stub.asked
    if seals := seals_of(case["input"]):
        yield from stranger_problems(reply, case, body, seals)
    else:
        if (made := json.loads(body)) != case["output"]:
            yield f"made\n  {json.dumps(made)}\nexpected\n  {json.dumps(case['output'])}"
        yield from loss_problems(reply, case)
    if not stream and reply.status != 200:
        yield f"{reply.status} {reply.body.decode()}"


def compact(body: Any) -> bytes:
    """As the official SDKs write JSON; some of it ends up inside of texts."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def seals_of(value: Any) -> list[str]:
    """Every bare seal in a request: state of thoughts as a provider wrote it, not as this gateway gave it out."""
    if isinstance(value, list):
        return [seal for item in value for seal in seals_of(item)]
    if not isinstance(value, dict):
        return []
    names = ("signature", "thoughtSignature", "encrypted_content", *(["data"] if value.get("type") == "redacted_thinking" else []))
    found = [value[name] for name in names if value.get(name)]
    return found + [seal for item in value.values() for seal in seals_of(item)]


def texts_of(value: Any) -> set[str]:
    """Every text in a request."""
    if isinstance(value, dict):
        value = [*value.values()]
    return {text for item in value for text in texts_of(item)} if isinstance(value, list) else {value} & {str(value)}


def stranger_problems(reply: Reply, case: Case, body: bytes, seals: list[str]) -> Iterator[str]:
    """What this gateway did not give out it does not send on in another dialect, and says so; everything else is as in the case."""
    losses = losses_of(reply.headers["x-fairlead-loss"])
    told = [[loss.path, loss.severity] for loss in losses]
    yield from (f"the seal {seal} went on" for seal in seals if seal.encode() in body)
    yield from (f"{loss} was not told" for loss in case["losses"] if loss not in told)
    if len([loss for loss in losses if loss.reason.startswith("the state of thoughts")]) != len(seals):
        yield f"{len(seals)} seals were left out, told was {told}"
    made, expected = json.loads(body), case["output"]
    if made.keys() != expected.keys() or texts_of(made) - texts_of(expected) - {"unknown"}:
        yield f"made\n  {json.dumps(made)}\nexpected\n  {json.dumps(expected)}"


def loss_problems(reply: Reply, case: Case) -> Iterator[str]:
    told = [[loss.path, loss.severity] for loss in losses_of(reply.headers["x-fairlead-loss"])]
    if told != case["losses"]:
        yield f"lost {told}, expected {case['losses']}"


# --- replies ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "without_a_way"), [("response", 2), ("completions.response", 0)])
def test_replies(live: Gateway, stub: Scripted, kind: str, without_a_way: int) -> None:
    tried, wrong = 0, []
    for case in cases(kind):
        if has_a_way(case["target"], case["source"]):
            tried += 1
            wrong += [f"{case['file']}: {case['name']}: {problem}" for problem in reply_problems(live, stub, case)]
    assert not wrong, "\n".join(wrong)
    assert tried == len(cases(kind)) - without_a_way


def reply_problems(live: Gateway, stub: Scripted, case: Case) -> Iterator[str]:
    client, name = case["target"], "acme/" + place_of(case, case["source"])
    stub.whole(compact(case["input"]))
    reply = live.post(path_of(client, name), asking(client, name))
    if reply.status != 200:
        yield f"{reply.status} {reply.body.decode()}"
        return
    made = json.loads(seen(reply.body.decode(), reply.generation, name))
    yield from differences(case["output"], made, json.dumps(case["input"]))
    yield from loss_problems(reply, case)


# --- streams ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stream", "completions.stream"])
@pytest.mark.parametrize("cut", ["whole", "bytes"])
def test_streams(live: Gateway, stub: Scripted, kind: str, cut: str) -> None:
    tried, wrong = 0, []
    for case in cases(kind):
        if has_a_way(case["target"], case["source"]):
            tried += 1
            wrong += [f"{case['file']}: {case['name']}: {problem}" for problem in stream_problems(live, stub, case, cut)]
    assert not wrong, "\n".join(wrong)
    assert tried == len(cases(kind))


def stream_problems(live: Gateway, stub: Scripted, case: Case, cut: str) -> Iterator[str]:
    client, source, name = case["target"], case["source"], "acme/" + place_of(case, case["source"])
    whole = b"".join(event_bytes(source, event) for event in case["input"])
    stub.stream(source, [whole] if cut == "whole" else [whole[at : at + 1] for at in range(len(whole))])
    reply = live.post(path_of(client, name, stream=True), asking(client, name, stream=True))
    if reply.status != 200:
        # Nothing had come before the failure: it is the answer, with its own status.
        expected = events("".join(case["output"]))
        yield from differences([expected[-1][1]], [json.loads(seen(reply.body.decode(), reply.generation, name))], whole.decode("latin-1"))
        if not (reply.status >= 400 and len(expected) == 1):
            yield f"{reply.status} {reply.body.decode()}"
        return
    expected = events("".join(case["output"]))
    made = without_marks(expected, events(seen(reply.body.decode(), reply.generation, name)))
    yield from differences(expected, made, whole.decode("latin-1"))


def without_marks(expected: list[Any], made: list[Any]) -> list[Any]:
    """The events without the tokens that mark thoughts whose provider gave no state."""
    kept: list[Any] = []
    for event in made:
        place = expected[len(kept)] if len(kept) < len(expected) else None
        is_mark = '"signature_delta"' in json.dumps(event) and TOKEN in json.dumps(event)
        if not is_mark or '"signature_delta"' in json.dumps(place):
            kept.append(event)
    return kept


def events(text: str) -> list[Any]:
    """The events of a stream: its name, and its data in the order in which it is written."""
    found = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        if block:
            name = next((line for line in block.split("\n") if line.startswith("event: ")), "")
            data = "".join(line.removeprefix("data: ") for line in block.split("\n") if line.startswith("data: "))
            found.append([name, data if data == "[DONE]" else json.loads(data or "null")])
    return found


# --- what is a gateway's own --------------------------------------------------------------------------------------------------------------


def asking(client: str, name: str, stream: bool = False) -> bytes:
    """A request of a client that loses nothing anywhere: some dialects must be told a limit."""
    limit: dict[str, Any] = {
        "openai_chat": {"max_completion_tokens": 1000},
        "openai_responses": {"max_output_tokens": 1000},
        "gemini_generate": {"generationConfig": {"maxOutputTokens": 1000}},
        "completions": {"max_tokens": 1000},
    }
    return compact(addressed(client, said(client) | limit.get(client, {}), name, stream))


def seen(text: str, generation: str, name: str) -> str:
    """A reply with the cases' names of the generation and the model."""
    return text.replace(generation, "gen-1").replace(name, "acme/fast")


def differences(expected: Any, made: Any, told: str, at: str = "") -> Iterator[str]:
    """Where a reply is another than expected, apart from what is the gateway's own. `told` is what the provider said."""
    if isinstance(expected, dict) and isinstance(made, dict):
        # A codec alone can only say that the stream was cut in a code.
        cut = {"provider_code"} if expected.get("provider_code") == "upstream_truncated" else set()
        if expected.keys() - cut != made.keys() - own_members(expected, made, told, at):
            yield f"{at}: {json.dumps(made)} instead of {json.dumps(expected)}"
        for key in expected.keys() & made.keys():
            yield from differences(expected[key], made[key], told, f"{at}.{key}")
    elif isinstance(expected, list) and isinstance(made, list) and len(expected) == len(made):
        for index, pair in enumerate(zip(expected, made, strict=True)):
            yield from differences(*pair, told, f"{at}[{index}]")
    elif expected != made and not is_own(expected, made, told, at):
        yield f"{at}: {json.dumps(made)} instead of {json.dumps(expected)}"


def own_members(expected: dict[str, Any], made: dict[str, Any], told: str, at: str) -> set[str]:
    """What a reply rightly has beside what is expected."""
    own = set()
    if at.endswith(("usage", "usageMetadata")) and isinstance(made.get("cost"), float):
        own.add("cost")
    if "usage" in made.keys() - expected.keys() and "usage" not in told.lower() and is_counted(made["usage"]):
        own.add("usage")
    if "error" in made and str(made.get("request_id")) == "gen-1":
        own.add("request_id")
    if at.endswith(".metadata"):
        own |= {"provider", "generation_id"}
    return own


def is_counted(usage: dict[str, Any]) -> bool:
    """Whether figures of our own say something."""
    return all(usage[name] > 0 for name in ("prompt_tokens", "completion_tokens", "cost"))


def is_own(expected: Any, made: Any, told: str, at: str) -> bool:
    """Whether something in a reply is rightly another: a token for a seal of the provider's, or the time."""
    if at.endswith((".created", ".created_at")):
        return expected == 7 and abs(time.time() - float(made)) < 60
    if at.endswith("error.message"):
        cut = "the provider's stream ended before" in expected and made == "Lab: it closed the connection in the middle of the reply"
        return cut or made == f"Lab: {expected}"
    if at.endswith(".signature") and expected == "":
        # The mark of a thought whose provider gave no state.
        return isinstance(made, str) and made.startswith(TOKEN)
    return isinstance(made, str) and made.startswith(TOKEN) and isinstance(expected, str) and expected != "" and expected in told
