"""OpenAI's Python SDK: legacy completions, native and through every other dialect, and embeddings."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from e2e.house import KEY
from e2e.matrix import LANES, Matrix

MODELS = ["native/echo", *(f"{lane}/echo" for lane in LANES)]


@pytest.fixture(scope="module")
def client(every_dialect: Matrix) -> Iterator[OpenAI]:
    """The SDK. Its validation knows neither the null in a completion's chunk nor packed vectors."""
    with OpenAI(base_url=f"{every_dialect.url}/v1", api_key=KEY, max_retries=0) as running:
        yield running


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_completions(client: OpenAI, matrix: Matrix, model: str, stream: bool) -> None:
    settings: Any = {"stream_options": {"include_usage": True}} if stream else {}
    reply: Any = client.completions.create(model=model, prompt="one two three", max_tokens=50, stream=stream, **settings)
    pieces = list(reply) if stream else [reply]
    assert {piece.object for piece in pieces} == {"text_completion"}
    choices = [choice for piece in pieces for choice in piece.choices]
    assert "".join(choice.text for choice in choices) == "one two three"
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    usage = pieces[-1].usage
    _, record = matrix.entry().check(usage.model_extra["cost"])
    assert (usage.prompt_tokens, usage.completion_tokens) == (record["prompt_tokens"], record["completion_tokens"])


@pytest.mark.parametrize("model", MODELS)
def test_a_completion_refuses_what_it_cannot_be(client: OpenAI, matrix: Matrix, model: str) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model=model, prompt="x", temperature="hot")  # type: ignore[arg-type]
    assert "temperature" in str(raised.value.body)


@pytest.mark.parametrize("packed", [False, True], ids=["floats", "packed"])
def test_embeddings(client: OpenAI, matrix: Matrix, packed: bool) -> None:
    settings: Any = {} if packed else {"encoding_format": "float"}
    reply = client.embeddings.create(model="chat/fast", input=["one", "two"], dimensions=8, **settings)
    assert [len(entry.embedding) for entry in reply.data] == [8, 8] and reply.data[0].embedding != reply.data[1].embedding
    _, record = matrix.entry().check(reply.usage.model_extra["cost"] if reply.usage.model_extra else 0)
    assert reply.usage.prompt_tokens == record["prompt_tokens"]


@pytest.mark.parametrize("lane", [lane for lane in LANES if lane not in ("chat", "responses")])
def test_no_vectors_where_there_are_none(client: OpenAI, matrix: Matrix, lane: str) -> None:
    with pytest.raises(openai.NotFoundError, match="vectors"):
        client.embeddings.create(model=f"{lane}/echo", input="x")
    assert matrix.entries(0) == []
