"""Figures of sums: what is told of requests by the columns of the rollups, whoever asks."""

from collections.abc import Mapping

Sums = Mapping[str, int]


def prompt(sums: Sums) -> int:
    """Tokens of prompts, those read from a cache or written to one among them."""
    return sums["prompt_tokens"] + sums["cache_read_tokens"] + sums["cache_write_tokens"]


def tokens(sums: Sums) -> int:
    """Of prompts and answers."""
    return prompt(sums) + sums["completion_tokens"]


def cached_share(sums: Sums) -> float | None:
    """Of the tokens of prompts; None without any, as below."""
    return _share(sums["cache_read_tokens"], prompt(sums))


def error_share(sums: Sums) -> float | None:
    """Of requests."""
    return _share(sums["failed"], sums["requests"])


def tokens_per_second(sums: Sums) -> float | None:
    """After the first content, of streams."""
    return _share(sums["streamed_tokens"] * 10**6, sums["streaming_us"])


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
