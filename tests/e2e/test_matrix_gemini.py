"""Google's Python SDK speaks generateContent to providers of every dialect."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from e2e.house import KEY
from e2e.judge import PDF, PLACE, PNG
from e2e.matrix import FAULTS, LANES, SEALS, THINKERS, Matrix, spoken, thought_of

WEATHER = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="weather", description="Says it.", parameters_json_schema=PLACE)]
)
TIME = types.Tool(function_declarations=[types.FunctionDeclaration(name="time")])
STREAM = pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
LANE = pytest.mark.parametrize("lane", LANES)


class Place(BaseModel):
    """What a reply shall be."""

    place: str


def connect(matrix: Matrix, version: str) -> genai.Client:
    options = types.HttpOptions(base_url=matrix.url, api_version=version)
    return genai.Client(api_key=KEY, vertexai=False, http_options=options)


@pytest.fixture(scope="module")
def client(every_dialect: Matrix) -> Iterator[genai.Client]:
    """The SDK on its usual path."""
    with connect(every_dialect, "v1") as running:
        yield running


class Said:
    """A whole reply, or the pieces of a streamed one, put together as an application does it."""

    def __init__(self, pieces: list[types.GenerateContentResponse]) -> None:
        self.pieces = pieces
        self.parts = [part for piece in pieces for part in self._of(piece)]
        last = pieces[-1]
        assert last.candidates and last.usage_metadata
        self.finish = last.candidates[0].finish_reason
        self.usage = last.usage_metadata
        [*_, self.parsed] = [piece.parsed for piece in pieces]

    @staticmethod
    def _of(piece: types.GenerateContentResponse) -> list[types.Part]:
        content = piece.candidates[0].content if piece.candidates else None
        return (content.parts if content else None) or []

    @property
    def text(self) -> str:
        """What is no thought."""
        return "".join(part.text or "" for part in self.parts if not part.thought)

    @property
    def thoughts(self) -> str:
        """What is one."""
        return "".join(part.text or "" for part in self.parts if part.thought)

    @property
    def calls(self) -> list[types.FunctionCall]:
        """Calls of functions."""
        return [part.function_call for part in self.parts if part.function_call]


def ask(client: genai.Client, stream: bool, model: str, contents: Any, **settings: Any) -> Said:
    """A reply; functions are not called by the SDK itself."""
    off = types.AutomaticFunctionCallingConfig(disable=True)
    config = types.GenerateContentConfig(automatic_function_calling=off, **settings)
    if stream:
        return Said(list(client.models.generate_content_stream(model=model, contents=contents, config=config)))
    return Said([client.models.generate_content(model=model, contents=contents, config=config)])


@LANE
@STREAM
def test_text_and_its_price(client: genai.Client, matrix: Matrix, lane: str, stream: bool) -> None:
    said = ask(client, stream, f"{lane}/echo", "one two three", system_instruction="Be brief.")
    assert (said.text, said.finish) == ("one two three", types.FinishReason.STOP)
    row, record = matrix.entry().check()
    assert (said.usage.prompt_token_count, said.usage.candidates_token_count) == (record["prompt_tokens"], record["completion_tokens"])
    assert said.usage.total_token_count == record["prompt_tokens"] + record["completion_tokens"]
    assert (row["dialect"], row["upstream_dialect"], row["streamed"]) == ("gemini_generate", spoken(lane, "gemini_generate"), int(stream))


@STREAM
def test_its_older_path(matrix: Matrix, stream: bool) -> None:
    with connect(matrix, "v1beta") as client:
        assert ask(client, stream, "messages/echo", "one two three").text == "one two three"
    matrix.entry().check()


@pytest.mark.parametrize(("lane", "model"), THINKERS)
@STREAM
def test_tools_in_two_turns(client: genai.Client, matrix: Matrix, lane: str, model: str, stream: bool) -> None:
    """The SDK's own parts go back with their signatures, and the provider gets its thoughts again."""
    settings: Any = {"tools": [WEATHER, TIME], "system_instruction": "Be brief.", "max_output_tokens": 4000}
    settings["thinking_config"] = types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW)
    contents: list[Any] = [types.UserContent("What will it be like?")]
    matrix.script({"tool_calls": 2})
    first = ask(client, stream, f"{lane}/{model}", contents, **settings)
    assert [(call.name, call.args) for call in first.calls] == [("weather", {"place": "example"}), ("time", {})]
    contents.append(types.ModelContent([part for part in first.parts if part.text != "" or part.thought_signature]))
    results = [types.FunctionResponse(id=call.id, name=call.name, response={"output": "rain"}) for call in first.calls]
    contents.append(types.UserContent([types.Part(function_response=result) for result in results]))
    assert ask(client, stream, f"{lane}/{model}", contents, **settings).text.startswith("The tool said: ")
    assert SEALS[lane] in json.dumps(matrix.sent())
    for entry in matrix.entries(2):
        entry.check()


@LANE
@STREAM
def test_structured_output(client: genai.Client, matrix: Matrix, lane: str, stream: bool) -> None:
    said = ask(client, stream, f"{lane}/fast", "Where?", response_mime_type="application/json", response_schema=Place)
    assert json.loads(said.text) == {"place": "example"}
    assert stream or said.parsed == Place(place="example")
    matrix.entry().check()


@LANE
def test_images_and_documents(client: genai.Client, matrix: Matrix, lane: str) -> None:
    image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
    pdf = types.Part.from_bytes(data=base64.b64decode(PDF), mime_type="application/pdf")
    said = ask(client, False, f"{lane}/echo", ["look at this", image, pdf])
    assert said.text == "look at this" and said.usage.prompt_token_count == 3 + 3 + 3 + 85 + 250
    matrix.entry().check()


@pytest.mark.parametrize(("lane", "model"), [("chat", "reason"), ("gemini", "gemini"), *THINKERS])
@STREAM
def test_thinking_in_thoughts_out(client: genai.Client, matrix: Matrix, lane: str, model: str, stream: bool) -> None:
    matrix.script({"reasoning_tokens": 5})
    how: Any = {"thinking_budget": 2048} if model == "gemini" else {"thinking_level": types.ThinkingLevel.HIGH}
    wish = types.ThinkingConfig(include_thoughts=True, **how)
    said = ask(client, stream, f"{lane}/{model}", "Why?", thinking_config=wish, max_output_tokens=8000)
    assert said.text and said.thoughts.strip() == "First look at what is"
    assert thought_of(matrix.sent()) is not None
    # Amazon does not count them apart.
    assert said.usage.thoughts_token_count in ((None, 0) if lane == "converse" else (5,))
    matrix.entry().check()


# What ends a reply: the request's part, the simulator's, and the word for it.
ENDS: dict[str, tuple[dict[str, Any], dict[str, Any], types.FinishReason]] = {
    "limit": ({"max_output_tokens": 16}, {}, types.FinishReason.MAX_TOKENS),
    "filter": ({}, {"content_filter": "output", "tokens": 3}, types.FinishReason.SAFETY),
}


@LANE
@STREAM
@pytest.mark.parametrize("end", ENDS)
def test_how_it_ends(client: genai.Client, matrix: Matrix, lane: str, stream: bool, end: str) -> None:
    settings, script, reason = ENDS[end]
    matrix.script(script)
    assert ask(client, stream, f"{lane}/fast", "x", **settings).finish == reason
    matrix.entry().check()


@LANE
@STREAM
@pytest.mark.parametrize(("said", "got"), FAULTS)
def test_refusals_are_the_right_exceptions(client: genai.Client, matrix: Matrix, lane: str, stream: bool, said: int, got: int) -> None:
    matrix.script({"fault": {"kind": "status", "status": said, "retry_after": "7"}})
    with pytest.raises(errors.ClientError if got < 500 else errors.ServerError) as raised:
        ask(client, stream, f"{lane}/echo", "x")
    assert raised.value.code == got and raised.value.message
    assert got != 429 or raised.value.status == "RESOURCE_EXHAUSTED"
    row, record = matrix.entry()
    assert (row["outcome"], row["charged_nanousd"], record["status"]) == ("failed", 0, said)


@LANE
@pytest.mark.parametrize("kind", ["cut", "error_event"])
def test_a_stream_that_breaks_is_raised(client: genai.Client, matrix: Matrix, lane: str, kind: str) -> None:
    matrix.script({"fault": {"kind": kind, "after_frames": 8}})
    texts = []
    with pytest.raises(errors.APIError) as raised:
        for piece in client.models.generate_content_stream(model=f"{lane}/fast", contents="x"):
            texts.append(piece.text)
    assert "".join(text or "" for text in texts) and raised.value.code >= 500
    row, _ = matrix.entry()
    assert row["outcome"] == "failed" and row["charged_nanousd"] == row["upstream_cost_nanousd"] > 0


@LANE
def test_leaving_a_stream_cancels_it(client: genai.Client, matrix: Matrix, lane: str) -> None:
    matrix.script({"tokens": 100_000, "first_token_ms": 0, "pace_ms": 5})
    config = types.GenerateContentConfig(max_output_tokens=16_000)
    stream: Any = client.models.generate_content_stream(model=f"{lane}/slow", contents="x", config=config)
    for _, piece in zip(range(5), stream, strict=False):
        assert piece.candidates
    stream.close()
    row, record = matrix.entry()
    assert record["outcome"] == "client_gone" and record["completion_tokens"] < 10_000
    assert (row["outcome"], row["error"]) == ("cancelled", "client_gone")
    assert 0 < row["charged_nanousd"] == row["upstream_cost_nanousd"] <= row["reserved_nanousd"]


@LANE
@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"generationConfig": {"temperature": "hot"}}, "temperature"),
        ({"contents": []}, "contents"),
        ({"contents": [{"role": "robot", "parts": [{"text": "x"}]}]}, "role"),
    ],
)
def test_a_bad_parameter_is_named(client: genai.Client, matrix: Matrix, lane: str, wrong: dict[str, Any], path: str) -> None:
    config = types.GenerateContentConfig(http_options=types.HttpOptions(extra_body=wrong))
    with pytest.raises(errors.ClientError) as raised:
        client.models.generate_content(model=f"{lane}/echo", contents="x", config=config)
    assert (raised.value.code, raised.value.status) == (400, "INVALID_ARGUMENT") and path in str(raised.value.message)


@LANE
def test_tokens_are_counted_for_nothing(client: genai.Client, matrix: Matrix, lane: str) -> None:
    short = client.models.count_tokens(model=f"{lane}/echo", contents="one two three").total_tokens
    long = client.models.count_tokens(model=f"{lane}/echo", contents="one two three " * 50).total_tokens
    assert short and long and 3 < short < 30 and long > 100
    assert matrix.entries(0) == []
