"""Python's `tiktoken` with its own patterns and this tree's vocabularies, so that it needs no network.

Its own check sums say that they are the same.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

import tiktoken
from tiktoken_ext import openai_public

DATA = Path(__file__).resolve().parents[2] / "rust/tokens/data"


def ranks(url: str, expected_hash: str) -> dict[bytes, int]:
    """In place of `load_tiktoken_bpe`: the tokens of our file, if OpenAI's file made of them has the sum that tiktoken expects."""
    file = (DATA / Path(url).with_suffix(".vocabulary").name).read_bytes()
    count = int.from_bytes(file[:4], "little")
    at, found = 4 + count, {}
    for rank, length in enumerate(file[4 : 4 + count]):
        found[file[at : at + length]] = rank
        at += length
    published = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in found.items())
    if hashlib.sha256(published).hexdigest() != expected_hash:
        raise ValueError(f"{url}: the file in {DATA} is not what OpenAI publishes")
    return found


@cache
def reference(encoding: str) -> tiktoken.Encoding:
    """tiktoken's encoding of this name."""
    real, openai_public.load_tiktoken_bpe = openai_public.load_tiktoken_bpe, ranks
    try:
        return tiktoken.Encoding(**openai_public.ENCODING_CONSTRUCTORS[encoding]())
    finally:
        openai_public.load_tiktoken_bpe = real
