"""Server-sent events: `fairlead.sse` beside the decoder inside the openai SDK and `httpx-sse`, in the same run.

    python benches/micro/sse.py

Streams as providers send them, in reads of several sizes. First all three must give the same events. Their decoders are called as their
own clients call them, bytes in, the events' data out, without a network: `SSEDecoder.iter_bytes` of the SDK, `EventSource.iter_sse` of
httpx-sse over a response. Times are the best of several rounds, interleaved; ratios are what to quote. The exit status is 1 when the goal
is missed.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import httpx
from fairlead import sse
from httpx_sse import EventSource
from openai._streaming import SSEDecoder
from rounds import best

GOAL = 20.0
EVENTS = 2000
READS = {"reads of 16 KB": 16 * 1024, "reads of 1,460 bytes": 1460, "a read per event": 0}


def streams() -> dict[str, list[bytes]]:
    """The events of each stream."""
    words = ["the", " quick", " brown", ".", "\n", ' "dog"', " größer", " so"]
    id, model = "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG", "gpt-5-mini"
    shared = {"id": id, "object": "chat.completion.chunk", "created": 1741570283, "model": model, "system_fingerprint": "fp_44709d6fcb"}

    def chat(word: str) -> bytes:
        choice = {"index": 0, "delta": {"content": word}, "logprobs": None, "finish_reason": None}
        return b"data: " + compact({**shared, "choices": [choice]}) + b"\n\n"

    def named(kind: str, **members: object) -> bytes:
        return b"event: " + kind.encode() + b"\ndata: " + compact({"type": kind, **members}) + b"\n\n"

    def message(word: str) -> bytes:
        return named("content_block_delta", index=0, delta={"type": "text_delta", "text": word})

    def response(word: str) -> bytes:
        return named("response.output_text.delta", item_id="msg_68a1", output_index=0, content_index=0, delta=word, obfuscation="x9Zq")

    makers = {"chat": chat, "Messages": message, "Responses": response}
    return {name: [make(words[at % len(words)]) for at in range(EVENTS)] for name, make in makers.items()}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def ours(reads: list[bytes]) -> Iterator[Any]:
    decoder = sse.Decoder()
    for read in reads:
        yield from decoder.feed(read)


def of_the_sdk(reads: list[bytes]) -> Iterator[Any]:
    return SSEDecoder().iter_bytes(iter(reads))


class Body(httpx.SyncByteStream):
    """A response's body that is there already."""

    def __init__(self, reads: list[bytes]) -> None:
        self._reads = reads

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._reads)


def of_httpx(reads: list[bytes]) -> Iterator[Any]:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(reads))
    return EventSource(response).iter_sse()


DECODERS: dict[str, Callable[[list[bytes]], Iterator[Any]]] = {"openai SDK": of_the_sdk, "httpx-sse": of_httpx, "fairlead": ours}


def plain(events: Iterator[Any]) -> list[tuple[str, str]]:
    return [(event.event or "message", event.data) for event in events]


def datas(decode: Callable[[list[bytes]], Iterator[Any]], reads: list[bytes]) -> Callable[[], list[str]]:
    return lambda: [event.data for event in decode(reads)]


def cut(events: list[bytes], size: int) -> list[bytes]:
    whole = b"".join(events)
    return [whole[at : at + size] for at in range(0, len(whole), size)] if size else events


def measure() -> dict[str, list[float]]:
    """Prints a table; returns the ratios to each of the others."""
    ratios: dict[str, list[float]] = {name: [] for name in DECODERS if name != "fairlead"}
    say(f"{'ns per event':38}" + "".join(f"{name:>14}" for name in DECODERS) + f"{'times as fast as':>26}")
    say(f"{'':38}" + " " * 14 * len(DECODERS) + "".join(f"{name:>13}" for name in ratios))
    for name, events in streams().items():
        for manner, size in READS.items():
            reads = cut(events, size)
            found = [plain(decode(reads)) for decode in DECODERS.values()]
            assert len(found[-1]) == EVENTS and all(one == found[-1] for one in found), name
            times = best([datas(decode, reads) for decode in DECODERS.values()])
            row = f"{f'{name}, {manner}':38}" + "".join(f"{1e9 * taken / EVENTS:14.0f}" for taken in times)
            for other, taken in zip(ratios, times, strict=False):
                ratios[other].append(taken / times[-1])
                row += f"{taken / times[-1]:13.1f}"
            say(row)
    return ratios


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    say(f"openai {version('openai')}, httpx {version('httpx')}, httpx-sse {version('httpx-sse')}, Python {sys.version.split()[0]}\n")
    ratios = measure()
    missed = False
    for name, found in ratios.items():
        missed |= min(found) < GOAL
        verdict = "missed" if min(found) < GOAL else "met"
        say(f"\n{name}: {min(found):.1f} to {max(found):.1f} times as fast; goal, everywhere at least {GOAL:g}: {verdict}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
