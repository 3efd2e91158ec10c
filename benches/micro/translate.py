"""Translation: `fairlead.translate` beside LiteLLM's own transformations, in the same process, on the same bytes.

    python benches/micro/translate.py --install

`--install` puts LiteLLM from PyPI into `.bench/litellm`, if it is not there.

Both get a body or the events of a stream as bytes and give bytes. Of LiteLLM that is what its completion call does between them and no
more: `json.loads`, the provider's mapping of parameters and its transformation, `json.dumps`; of a stream the provider's iterator over
lines that are cut already, and each chunk as an event. Its routing, callbacks, cost and logging are not in it. Before anything is timed
both outputs must say what the input says: every text, call, tool and picture. Times are the best of several rounds, interleaved; ratios
are what to quote. The exit status is 1 when the goal is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench/litellm"
GOAL = 50.0


def with_litellm(install: bool) -> None:
    """Goes on in the environment that has LiteLLM, where it does not already."""
    if Path(sys.prefix) == HOME:
        return
    if install and not (HOME / "bin/python").exists():
        sys.path.insert(0, str(ROOT / "benches"))
        from peers import litellm as peer

        peer.install(HOME)
    if not (HOME / "bin/python").exists():
        raise SystemExit("LiteLLM is not installed: run this with --install once")
    # Its table of prices comes with it: nothing is loaded from the network.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    python = str(HOME / "bin/python")
    os.execve(python, [python, __file__], environment)


# --- LiteLLM ----------------------------------------------------------------------------------------------------------

MODELS = {
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini_generate": "gemini-2.5-flash",
    "bedrock_converse": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "openai_chat": "gpt-5-mini",
}


class Quiet(SimpleNamespace):
    """In place of its logging."""

    def __init__(self) -> None:
        super().__init__(optional_params={}, model_call_details={}, litellm_params={}, on_detached_stream_failure=None)

    def post_call(self, *_: object, **__: object) -> None:
        pass


class Theirs:
    """LiteLLM's transformations, bytes to bytes."""

    def __init__(self) -> None:
        import litellm
        from litellm.llms.anthropic.chat.handler import ModelResponseIterator as MessagesIterator
        from litellm.llms.anthropic.chat.transformation import AnthropicConfig
        from litellm.llms.anthropic.pass_through.adapters.transformation import AnthropicAdapter
        from litellm.llms.bedrock.chat.invoke_handler import AWSEventStreamDecoder
        from litellm.llms.vertex_ai.gemini.transformation import transform_request_body
        from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator as GeminiIterator

        litellm.suppress_debug_info = True
        self.configs = {
            "anthropic_messages": AnthropicConfig(),
            "gemini_generate": litellm.GoogleAIStudioGeminiConfig(),
            "bedrock_converse": litellm.AmazonConverseConfig(),
        }
        self.adapter = AnthropicAdapter()
        self.gemini_body = transform_request_body
        self.messages_iterator, self.gemini_iterator, self.converse_decoder = MessagesIterator, GeminiIterator, AWSEventStreamDecoder
        self.reply, self.chunk = litellm.ModelResponse, litellm.ModelResponseStream
        self.quiet = Quiet()

    def request(self, target: str, body: bytes) -> bytes:
        given = json.loads(body)
        if target == "openai_chat":
            made, _ = self.adapter.translate_completion_input_params_with_tool_mapping(given, custom_llm_provider="openai")
            return json.dumps(made).encode()
        model, messages, config = MODELS[target], given.pop("messages"), self.configs[target]
        del given["model"]
        params = config.map_openai_params(non_default_params=given, optional_params={}, model=model, drop_params=True)
        if target == "gemini_generate":
            made = self.gemini_body(
                messages=messages, model=model, optional_params=params, custom_llm_provider="gemini", litellm_params={}, cached_content=None
            )
        else:
            made = config.transform_request(model=model, messages=messages, optional_params=params, litellm_params={}, headers={})
        return json.dumps(made).encode()

    def response(self, source: str, body: bytes) -> bytes:
        if source == "openai_chat":
            return json.dumps(self.adapter.translate_completion_output_params(self.reply(**json.loads(body)))).encode()
        import httpx

        made = self.configs[source].transform_response(
            model=MODELS[source],
            raw_response=httpx.Response(200, content=body),
            model_response=self.reply(),
            logging_obj=self.quiet,
            request_data={},
            messages=[],
            optional_params={},
            litellm_params={},
            encoding=None,
        )
        return made.model_dump_json().encode()

    def stream(self, source: str, events: list[bytes]) -> list[bytes]:
        if source == "openai_chat":
            chunks = (self.chunk(**json.loads(event[6:])) for event in events[:-1])
            return list(self.adapter.translate_completion_output_params_streaming(chunks, model=MODELS[source], is_async=False))
        return [self._event(chunk) for chunk in self._chunks(source, events)]

    def _event(self, chunk: object) -> bytes:
        # Of Converse's events that bring no content it makes dicts.
        text = json.dumps(chunk) if isinstance(chunk, dict) else chunk.model_dump_json()
        return b"data: " + text.encode() + b"\n\n"

    def _chunks(self, source: str, events: list[bytes]) -> Iterator:
        if source == "bedrock_converse":
            return self.converse_decoder(model=MODELS[source]).iter_bytes(iter(events))
        lines = (line for event in events for line in event.decode().splitlines() if line)
        if source == "anthropic_messages":
            return iter(self.messages_iterator(streaming_response=lines, sync_stream=True))
        return iter(self.gemini_iterator(streaming_response=lines, sync_stream=True, logging_obj=self.quiet))


# --- Fairlead ---------------------------------------------------------------------------------------------------------


class Ours:
    """The same with `fairlead.translate`."""

    def request(self, target: str, body: bytes) -> bytes:
        from fairlead import translate

        source = "anthropic_messages" if target == "openai_chat" else "openai_chat"
        return translate.request(body, source=source, target=target, model=MODELS[target]).body

    def response(self, source: str, body: bytes) -> bytes:
        from fairlead import translate

        return translate.response(body, source=source, target=back(source)).body

    def stream(self, source: str, events: list[bytes]) -> list[bytes]:
        from fairlead import translate

        stream = translate.Stream(source=source, target=back(source))
        return [*map(stream.feed, events), stream.finish()]


def back(source: str) -> str:
    """Who reads the reply of a provider of this dialect here."""
    return "anthropic_messages" if source == "openai_chat" else "openai_chat"


# --- what is compared -------------------------------------------------------------------------------------------------

Case = tuple[str, Callable[[], object], Callable[[], object], int]
"""A name, LiteLLM's call, Fairlead's, and into how many items their times are divided."""


def cases(theirs: Theirs, ours: Ours) -> Iterator[Case]:
    import conversations

    for target in ("anthropic_messages", "gemini_generate", "bedrock_converse", "openai_chat"):
        for name, size in (("2 KB", 2000), ("40 KB", 40_000)):
            # LiteLLM itself fetches a picture behind an address for these two, so they get it with the request.
            by_address = target in ("anthropic_messages", "openai_chat")
            picture = conversations.PICTURE if by_address else conversations.INLINE
            chat = conversations.chat(size, picture)
            body = conversations.dump(conversations.messages(chat) if target == "openai_chat" else chat)
            marks = [*conversations.marks(chat), picture if by_address else picture.partition(",")[2]]
            for translator in (theirs, ours):
                missing = [mark for mark in marks if mark not in conversations.said(json.loads(translator.request(target, body)))]
                assert not missing, (translator, target, missing)
            title = f"request, {name}, {back(target) if target == 'openai_chat' else 'openai_chat'} → {target}"
            yield (
                title,
                lambda target=target, body=body: theirs.request(target, body),
                lambda target=target, body=body: ours.request(target, body),
                1,
            )
    for source, reply in conversations.replies().items():
        body = conversations.dump(reply)
        for translator in (theirs, ours):
            said = conversations.said(json.loads(translator.response(source, body)))
            assert all(mark in said for mark in (conversations.ANSWER, "read_file_0", "src/file_9.rs")), (translator, source, said)
        yield (
            f"reply, {source} → {back(source)}",
            lambda source=source, body=body: theirs.response(source, body),
            lambda source=source, body=body: ours.response(source, body),
            1,
        )
    for source, events in conversations.streams().items():
        for translator in (theirs, ours):
            told = text_of(back(source), b"".join(translator.stream(source, events)))
            assert told == "".join(conversations.pieces()), (translator, source, told)
        yield (
            f"stream, per frame, {source} → {back(source)}",
            lambda source=source, events=events: theirs.stream(source, events),
            lambda source=source, events=events: ours.stream(source, events),
            len(events),
        )


def text_of(dialect: str, stream: bytes) -> str:
    """The text that a client of this dialect reads."""
    data = [json.loads(line[6:]) for line in stream.decode().splitlines() if line.startswith("data: {")]
    if dialect == "anthropic_messages":
        return "".join(event["delta"].get("text", "") for event in data if event["type"] == "content_block_delta")
    return "".join(choice["delta"].get("content") or "" for chunk in data for choice in chunk.get("choices", ()))


def measure() -> list[float]:
    """Prints a table; returns the ratios."""
    from rounds import best

    ratios = []
    say(f"{'µs':66} {'LiteLLM':>10} {'fairlead':>10} {'times as fast':>14}")
    for name, theirs, ours, items in cases(Theirs(), Ours()):
        their_time, our_time = best([theirs, ours])
        ratios.append(their_time / our_time)
        say(f"{name:66} {1e6 * their_time / items:10.1f} {1e6 * our_time / items:10.2f} {ratios[-1]:14.1f}")
    return ratios


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="LiteLLM from PyPI, if it is not there")
    with_litellm(parser.parse_args().install)
    from importlib.metadata import version

    say(f"LiteLLM {version('litellm')}, Python {sys.version.split()[0]}\n")
    ratios = measure()
    middle = math.exp(sum(map(math.log, ratios)) / len(ratios))
    missed = min(ratios) < GOAL
    say(f"\n{min(ratios):.0f} to {max(ratios):.0f} times as fast, geometric mean {middle:.0f}")
    say(f"goal, everywhere at least {GOAL:g} times: {'missed' if missed else 'met'}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
