"""`fairlead.sse`: the shared vectors, every way to cut a stream, and a decoder that is too plain to be wrong as the judge."""

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fairlead.sse import Decoder, Event
from hypothesis import given
from hypothesis import strategies as st

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors/sse/events.json").read_bytes())
MOST_BYTES = 1 << 20


def stream_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode()


def events_of(listed: Iterable[dict[str, Any]]) -> list[Event]:
    return [Event(event.get("event", "message"), event["data"], event.get("id", ""), event.get("retry")) for event in listed]


def pieces(stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The stream, cut at these places."""
    places = [0, *sorted(cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


def check(vector: dict[str, Any], parts: Iterable[bytes]) -> None:
    """Feeds the parts and compares with what the vector says."""
    decoder = Decoder(vector.get("max_event_bytes", MOST_BYTES))
    seen: list[Event] = []
    try:
        for part in parts:
            seen += decoder.feed(part)
    except ValueError as error:
        assert vector.get("too_large"), error
        assert str(vector["max_event_bytes"]) in str(error)
        # Of the piece that exceeds the limit nothing is returned, so events that it completes may be missing.
        assert seen == events_of(vector["events"])[: len(seen)]
        with pytest.raises(ValueError, match="exceeds"):
            decoder.feed(b"data: x\n\n")
        return
    assert not vector.get("too_large")
    assert seen == events_of(vector["events"])
    assert decoder.finish() == events_of(vector.get("finish", []))
    # Nothing of the old stream is left.
    assert decoder.feed(b"data: next\n\n") == [Event("message", "next")]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors_in_every_split(vector: dict[str, Any]) -> None:
    stream = stream_of(vector)
    check(vector, [stream])
    check(vector, [stream[place : place + 1] for place in range(len(stream))])
    for place in range(len(stream) + 1):
        check(vector, pieces(stream, [place]))


def oracle(stream: bytes) -> list[Event]:
    """The events of a whole stream, line by line, as the WHATWG's text goes."""
    text = stream.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    events: list[Event] = []
    name, data, id, retry = "", list[str](), "", None
    # What stands behind the last line end is no line.
    for line in text.split("\n")[:-1]:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data:
                events.append(Event(name or "message", "\n".join(data), id, retry))
                retry = None
            name, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            name = value
        elif field == "id" and "\0" not in value:
            id = value
        elif field == "retry" and value.isascii() and value.isdigit() and int(value) < 2**64:
            retry = int(value)
    return events


MARK = b"\xef\xbb\xbf"
VALUES = [
    b"",
    b"7",
    b"08",
    b"18446744073709551616",
    b"\0",
    b"\xff",
    b"\xe4\xb8",
    "中".encode(),
    b"[DONE]",
    b'{"a":1}',
    b" ping",
    b"a:b",
    MARK,
]
USUAL = st.sampled_from([b"data: x\n\n", b"retry: 7\n", b"retry: 18446744073709551616\n", b"id: 3\r\n", b": note\n"])
ANY = st.builds(
    lambda name, colon, value, end: name + colon + value + end,
    st.sampled_from([b"data", b"data", b"event", b"id", b"retry", b"", b"other", MARK + b"data"]),
    st.sampled_from([b":", b": "]),
    st.sampled_from(VALUES),
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\n\n", b"\r\r", b"\r\n\r\n", b""]),
)
LINES = st.one_of(USUAL, ANY)
STREAMS = st.one_of(
    st.lists(LINES, max_size=12).map(b"".join),
    st.lists(LINES, max_size=4).map(lambda lines: MARK + b"".join(lines)),
    st.binary(max_size=60),
)


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_stream_in_any_pieces_is_what_the_oracle_says(stream: bytes, cuts: list[int]) -> None:
    decoder, whole = Decoder(), Decoder()
    seen = [event for part in pieces(stream, (min(cut, len(stream)) for cut in cuts)) for event in decoder.feed(part)]
    assert seen == whole.feed(stream) == oracle(stream)
    assert decoder.finish() == whole.finish()


def test_the_default_limit_lets_large_events_pass() -> None:
    text = "x" * (8 << 20)
    [event] = Decoder().feed(f"data: {text}\n\n".encode())
    assert event.data == text


def test_events_compare_and_show_themselves() -> None:
    event = Event("message", "a\nb", id="1", retry=3)
    assert event == Event("message", "a\nb", "1", 3) != Event("message", "a\nb", "1")
    assert repr(event) == 'Event(event="message", data="a\\nb", id="1", retry=3)'
    assert (event.event, event.data, event.id, event.retry) == ("message", "a\nb", "1", 3)
    with pytest.raises(AttributeError):
        event.data = "c"  # type: ignore[misc]


def test_only_bytes_are_taken() -> None:
    with pytest.raises(TypeError):
        Decoder().feed("data: a\n\n")  # type: ignore[arg-type]
