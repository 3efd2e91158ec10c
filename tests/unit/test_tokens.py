"""`fairlead.tokens`: `tiktoken` judges what is exact, the documentation's table what is estimated, OpenAI's example what a request has."""

import json
import random
import re
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiktoken.model
from fairlead import tokens
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches/micro"))

from kinds import kinds  # noqa: E402
from reference import reference  # noqa: E402

ENCODINGS = ("o200k_base", "cl100k_base")
CHARACTERS = [chr(point) for point in range(0x110000) if not 0xD800 <= point < 0xE000]
# What pre-tokenizers tell apart, and what is known to have been told apart wrongly somewhere.
BITS = [
    *(
        "'s",
        "'S",
        "'\u017f",
        "'LL",
        "'ve",
        "'",
        "\u2019",
        "a",
        "Z",
        "é",
        "ǅ",
        "ʰ",
        "中",
        "あ",
        "ー",
        "한",
        "ा",
        "क्",
        "ำ",
        "\u0301",
        "\u20dd",
    ),
    *(
        "0",
        "23",
        "4567",
        "²",
        "٣",
        "Ⅷ",
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\x0b",
        "\x85",
        "\u00a0",
        "\u2028",
        "\u3000",
        "\u200b",
        "\ufeff",
    ),
    *(
        ".",
        "/",
        "//",
        "!",
        "(",
        "_",
        "-----",
        "=>",
        "👍🏽",
        "👩\u200d👩\u200d👧",
        "\x00",
        "\x7f",
        "\ufffd",
        "<|endoftext|>",
        "<|im_start|>",
    ),
    *(" the", "ing", "HTTPServer"),
]


def check(texts: Iterable[str], encoding: str) -> None:
    judge = reference(encoding)
    for text in texts:
        assert tokens.count(text, model=encoding) == len(judge.encode_ordinary(text)), ascii(text[:200])


# --- exact ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_files_of_this_tree(encoding: str) -> None:
    """Sources, documents, vectors; what is not UTF-8 as its replacement."""
    folders = (ROOT / folder for folder in ("rust", "python", "docs", "tests", "benches"))
    found = (path for folder in folders for path in sorted(folder.rglob("*")))
    paths = [path for path in found if path.is_file() and "node_modules" not in path.parts]
    assert len(paths) > 200
    texts = (path.read_bytes().decode(errors="replace") for path in paths if path.stat().st_size < 200_000)
    check((text for text in texts if not re.search(r"\s{4000}", text)), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_texts_of_every_kind(encoding: str) -> None:
    check((piece for pieces in kinds().values() for piece in pieces), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_character_beside_every_class(encoding: str, proof: bool) -> None:
    """In blocks, so that neighbours meet too; sampled: the blocks of two planes and every 50th of the others."""
    blocks = [CHARACTERS[at : at + 64] for at in range(0, len(CHARACTERS), 64)]
    chosen = blocks if proof else blocks[:400] + blocks[400::50]
    check((between.join(block) for block in chosen for between in ("", " ", "a", "A", "1", "\n", "'s", ".", " a ")), encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_long_runs(encoding: str) -> None:
    lengths = (1, 2, 3, 31, 32, 33, 64, 127, 128, 129, 500, 5000)
    check(
        (before + bit * length + after for bit in BITS for length in lengths for before, after in (("", ""), ("x", ""), (" ", "x"))),
        encoding,
    )


def test_what_tiktoken_cannot_count_is_counted() -> None:
    """A megabyte of white space overflows its stack; tokens of spaces are known to be 128 long."""
    assert tokens.count(" " * 2**20, model="o200k_base") == 2**20 // 128
    assert tokens.count("a" * 20_000, model="gpt-4o") == 20_000 // 8


@given(
    text=st.one_of(
        st.lists(st.sampled_from(BITS), max_size=14).map("".join),
        st.text(max_size=40),
        st.binary(max_size=60).map(lambda raw: raw.decode(errors="replace")),
    )
)
def test_any_text(text: str) -> None:
    for encoding in ENCODINGS:
        check([text], encoding)


@given(st.randoms(use_true_random=False))
def test_tokens_strung_together(seeded: random.Random) -> None:
    for encoding in ENCODINGS:
        judge = reference(encoding)
        strung = b"".join(judge.decode_single_token_bytes(seeded.randrange(100_000)) for _ in range(seeded.randint(1, 40)))
        check([strung.decode(errors="replace")], encoding)


def test_models_have_the_encodings_that_tiktoken_says() -> None:
    by_name = {"o200k_base": "o200k_base", "o200k_harmony": "o200k_base", "cl100k_base": "cl100k_base"}
    probe = {len(reference(encoding).encode_ordinary(text)): encoding for encoding in ENCODINGS for text in ["नमस्ते दुनिया"]}
    assert len(probe) == 2
    whole = tiktoken.model.MODEL_TO_ENCODING.items()
    prefixes = [
        (prefix + ("acme::1" if prefix.startswith("ft:") else "2026-01-01"), name)
        for prefix, name in tiktoken.model.MODEL_PREFIX_TO_ENCODING.items()
        if prefix != "gpt-5"
    ]
    for model, name in [*whole, *((model.replace("acme", ":acme"), name) for model, name in prefixes)]:
        if name in by_name:
            assert probe[tokens.count("नमस्ते दुनिया", model=model)] == by_name[name], model
        else:
            with pytest.raises(ValueError, match="not public"):
                tokens.count("x", model=model)


def test_an_unknown_model_is_told_the_way_out() -> None:
    for model in ("anthropic/claude-opus-5.5", "gpt-6-sol", "", "acme/gpt-4o"):
        with pytest.raises(ValueError, match=r"use fairlead\.tokens\.estimate"):
            tokens.count("x", model=model)
        with pytest.raises(ValueError, match="exact=False"):
            tokens.StreamCounter(model=model)
        assert tokens.estimate("x", model=model) == 1


# --- estimated --------------------------------------------------------------------------------------------------------


def documented_errors() -> Iterator[tuple[str, list[float]]]:
    """(kind, mean and most per cent for each encoding) of the table in docs/library.md."""
    section = (ROOT / "docs/library.md").read_text().partition("| Kind of text |")[2]
    for row in section.splitlines()[2:]:
        if not row.startswith("|"):
            return
        kind, *figures = (cell.strip() for cell in row.strip("|").split("|"))
        yield kind, [float(figure.rstrip(" %")) for figure in figures]


def test_estimates_are_as_near_as_documented() -> None:
    documented = dict(documented_errors())
    assert documented.keys() == kinds().keys()
    for kind, pieces in kinds().items():
        for encoding, mean, most in zip(ENCODINGS, documented[kind][::2], documented[kind][1::2], strict=True):
            errors = [100 * (tokens.estimate(piece, model=encoding) / tokens.count(piece, model=encoding) - 1) for piece in pieces]
            assert max(map(abs, errors)) <= most, f"{kind}, {encoding}: {min(errors):+.0f} % to {max(errors):+.0f} %"
            # The files of this tree change.
            assert abs(sum(errors) / len(errors) - mean) <= 2.5, f"{kind}, {encoding}"


@given(st.text())
def test_estimates_have_bounds(text: str) -> None:
    size = len(text.encode())
    for model in ("gpt-4o", "gpt-4", "claude-opus-5", "gemini-3-pro", "llama-4", "unknown"):
        estimated = tokens.estimate(text, model=model)
        assert min(size, 1) <= estimated <= size


# --- streams ----------------------------------------------------------------------------------------------------------


@given(text=st.lists(st.sampled_from(BITS), max_size=30).map("".join), cuts=st.lists(st.integers(0, 100), max_size=8))
def test_a_stream_counts_as_its_text(text: str, cuts: list[int]) -> None:
    for model, exact in [("gpt-5", True), ("gpt-4", True), ("claude-opus-5", False)]:
        counter = tokens.StreamCounter(model=model, exact=exact)
        for start, end in pairwise(sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})):
            assert counter.feed(text[start:end]) <= len(text.encode())
        whole = tokens.count(text, model=model) if exact else tokens.estimate(text, model=model)
        assert counter.finish() == whole
        assert counter.finish() == 0


def test_a_stream_says_how_far_it_is() -> None:
    counter = tokens.StreamCounter(model="openai/gpt-5-mini")
    assert [counter.feed(piece) for piece in ("The", " quick", " brown", " fox.")] == [1, 2, 3, 5]
    assert counter.finish() == 5


# --- requests ---------------------------------------------------------------------------------------------------------

QUESTION = "What is the weather in Paris?"
BODIES: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": QUESTION}]},
    "openai_responses": {"input": QUESTION},
    "anthropic_messages": {"max_tokens": 9, "messages": [{"role": "user", "content": QUESTION}]},
    "gemini_generate": {"contents": [{"parts": [{"text": QUESTION}]}]},
    "bedrock_converse": {"messages": [{"role": "user", "content": [{"text": QUESTION}]}]},
}


@pytest.mark.parametrize("dialect", BODIES)
@pytest.mark.parametrize("model", ["gpt-4o", "claude-opus-5.5", "gemini-3.1-pro", "acme/fast"])
def test_requests_are_counted_in_every_dialect(dialect: str, model: str) -> None:
    body = BODIES[dialect]
    text = tokens.count(QUESTION, model=model) if model == "gpt-4o" else tokens.estimate(QUESTION, model=model)
    counted = tokens.count_request(body, dialect=dialect, model=model)
    assert text < counted <= text + 10
    assert counted == tokens.count_request(json.dumps(body), dialect=dialect, model=model)
    assert counted == tokens.count_request(json.dumps(body).encode(), dialect=dialect, model=model)
    assert counted == tokens.count_request({**body, "model": model}, dialect=dialect)


def test_openais_own_example() -> None:
    """As its cookbook has it: 124 tokens by the API's count."""
    said = [
        ("system", "", "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
        ("system", "example_user", "New synergies will help drive top-line growth."),
        ("system", "example_assistant", "Things working well together will increase revenue."),
        ("system", "example_user", "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
        ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
        ("user", "", "This late pivot means we don't have time to boil the ocean for the client deliverable."),
    ]
    messages = [{"role": role, "content": content, **({"name": name} if name else {})} for role, name, content in said]
    assert tokens.count_request({"model": "gpt-4o", "messages": messages}, dialect="openai_chat") == 124


@pytest.mark.parametrize(
    ("body", "dialect", "message"),
    [
        (b"{", "openai_chat", "the body is no JSON"),
        ("[]", "openai_chat", "the body must be an object"),
        ({"messages": [{"role": "user", "content": 7}]}, "openai_chat", r"messages\[0\]\.content: must be a string or an array"),
        ({}, "gemini_generate", "contents: must have contents"),
        (
            {},
            "cohere_chat",
            "is no dialect; these are: openai_chat, openai_responses, anthropic_messages, gemini_generate, bedrock_converse",
        ),
    ],
)
def test_mistakes_are_named(body: Any, dialect: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokens.count_request(body, dialect=dialect)


def test_only_text_is_taken() -> None:
    with pytest.raises(TypeError):
        tokens.count(b"bytes", model="gpt-4o")  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        tokens.count("\ud800", model="gpt-4o")
