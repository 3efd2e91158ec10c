"""Tokens: speed of exact counting beside Python's `tiktoken` in the same run, and the estimator's error per kind of text.

    python benches/micro/tokens.py

Before anything is timed the counts are compared, text by text. Times are the best of several rounds, interleaved; ratios are what to
quote. The vocabularies that `tiktoken` gets are this tree's own files (`reference.py`), so nothing is downloaded.
"""

import argparse
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from fairlead import tokens
from kinds import kinds
from reference import reference
from rounds import best

GOAL = 2.0
ENCODINGS = ("o200k_base", "cl100k_base")
LOADING = """
import resource, time
from fairlead import tokens
def pages():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before, started = pages(), time.perf_counter()
tokens.count("x", model={encoding!r})
print((time.perf_counter() - started) * 1e3, (pages() - before) / 1e6)
"""


def speeds(encoding: str) -> float:
    """Prints a table; returns the ratio over all kinds together."""
    judge = reference(encoding)
    say(f"\n{encoding:38} {'ns per byte':>29} {'times as fast':>14}")
    say(f"{'':38} {'tiktoken':>9} {'exact':>9} {'estimate':>9} {'as tiktoken':>14}")
    theirs = ours = 0.0
    for kind, pieces in kinds().items():
        assert [tokens.count(piece, model=encoding) for piece in pieces] == [len(judge.encode_ordinary(piece)) for piece in pieces], kind
        size = sum(len(piece.encode()) for piece in pieces)
        calls: list[Callable[[], object]] = [
            lambda pieces=pieces: [len(judge.encode_ordinary(piece)) for piece in pieces],
            lambda pieces=pieces: [tokens.count(piece, model=encoding) for piece in pieces],
            lambda pieces=pieces: [tokens.estimate(piece, model=encoding) for piece in pieces],
        ]
        tiktoken, exact, estimated = best(calls)
        theirs, ours = theirs + tiktoken / size, ours + exact / size
        say(f"{kind:38} {1e9 * tiktoken / size:9.1f} {1e9 * exact / size:9.1f} {1e9 * estimated / size:9.1f} {tiktoken / exact:14.1f}")
    say(f"{'all kinds, each with the same weight':38} {'':29} {theirs / ours:14.1f}")
    return theirs / ours


def errors() -> None:
    say(f"\n{'error of the estimate':38} {'o200k_base':>23} {'cl100k_base':>24}")
    say(f"{'':38} " + "  ".join([f"{'mean':>7} {'absolute':>8} {'worst':>6}"] * 2))
    for kind, pieces in kinds().items():
        figures = [errors_of(pieces, encoding) for encoding in ENCODINGS]
        say(f"{kind:38} " + "  ".join(f"{mean:+6.1f}% {absolute:7.1f}% {worst:+5.0f}%" for mean, absolute, worst in figures))


def errors_of(pieces: list[str], encoding: str) -> tuple[float, float, float]:
    """In percent of the exact count: the mean over the pieces, the mean of its size, and the worst."""
    found = [100 * (tokens.estimate(piece, model=encoding) / tokens.count(piece, model=encoding) - 1) for piece in pieces]
    return statistics.fmean(found), statistics.fmean(map(abs, found)), max(found, key=abs)


def worst_cases() -> None:
    say(f"\n{'worst cases, o200k_base':38} {'tiktoken':>12} {'exact':>12}")
    judge = reference("o200k_base")
    cases = {
        "20,000 times a": "a" * 20_000,
        "1 MB of a": "a" * 2**20,
        "1 MB of =": "=" * 2**20,
        "1 MB of 中": "中" * (2**20 // 3),
        "1 MB of spaces": " " * 2**20,
        "1 MB of line ends and spaces": "\n " * 2**19,
        "1 MB of rare characters, shuffled": "".join(map(chr, random.Random(1).sample(range(0x10000, 0x50000), 2**18))),
    }
    for name, text in cases.items():
        started = time.perf_counter()
        try:
            judge.encode_ordinary(text)
            theirs = f"{1e3 * (time.perf_counter() - started):9.1f} ms"
        except BaseException:  # a PanicException of PyO3 is no Exception
            theirs = "fails"
        [ours] = best([lambda text=text: tokens.count(text, model="o200k_base")])
        say(f"{name:38} {theirs:>12} {1e3 * ours:9.1f} ms")


def loading() -> None:
    say(f"\n{'first use':38} {'time':>12} {'memory':>12}")
    for encoding in ENCODINGS:
        said = subprocess.run([sys.executable, "-c", LOADING.format(encoding=encoding)], capture_output=True, text=True, check=True).stdout
        milliseconds, megabytes = map(float, said.split())
        say(f"{encoding:38} {milliseconds:9.1f} ms {megabytes:9.1f} MB")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    loading()
    ratios = [speeds(encoding) for encoding in ENCODINGS]
    errors()
    worst_cases()
    missed = min(ratios) < GOAL
    say(f"\ngoal: exact counting at least {GOAL:g} times as fast as tiktoken: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
