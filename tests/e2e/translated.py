"""A gateway whose clients speak one dialect and whose providers another, and what tests of that have in common."""

import json
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from e2e.house import ADMIN_TOKEN, KEY, PRICES, PROVIDER_SECRET
from e2e.stub import Stub, Visit, chunked, head, sized

CLIENTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
UPSTREAMS = (*CLIENTS, "bedrock_converse")
STRICT_KEY = "sk-fl-v1-" + "57c7" * 16
REFUSED_SECRET = "not-the-simulators"


def path_of(client: str, model: str, stream: bool = False, prefix: str = "") -> str:
    """Where a client of a dialect (or of legacy `completions`) sends its request. `prefix`: `/api` for OpenRouter's manner."""
    if client == "gemini_generate":
        return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
    rest = {
        "openai_chat": "chat/completions",
        "openai_responses": "responses",
        "anthropic_messages": "messages",
        "completions": "completions",
    }
    return f"{prefix}/v1/{rest[client]}"


def addressed(client: str, body: Mapping[str, Any], model: str, stream: bool = False) -> dict[str, Any]:
    """A body with its model and whether it streams, where the dialect says that in the body."""
    if client == "gemini_generate":
        return dict(body)
    return {**body, "model": model, **({"stream": True} if stream else {})}


def said(client: str, text: str = "Hello there") -> dict[str, Any]:
    """The least that a client says, without a model."""
    match client:
        case "openai_responses":
            return {"input": text}
        case "gemini_generate":
            return {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        case "completions":
            return {"prompt": text}
        case "anthropic_messages":
            return {"max_tokens": 1000, "messages": [{"role": "user", "content": text}]}
        case _:
            return {"messages": [{"role": "user", "content": text}]}


def base_url(dialect: str, address: str) -> str:
    """What the dialect's SDK takes."""
    return f"http://{address}/v1" if dialect.startswith("openai") else f"http://{address}"


def model_of(upstream: str, model: str = "echo") -> str:
    """The gateway's name of a simulator's model whose provider speaks `upstream` only."""
    return f"{upstream.replace('_', '-')}/{model}"


def configuration(address: str, models: Iterable[str], *, tables: str = "") -> str:
    """Providers at `address`, one for each dialect, each with the same models of the simulator, at the same prices.

    `KEY` may do everything, `STRICT_KEY` would rather be refused than lose anything.
    """
    parts = [f'[server]\nadmin_token = "{ADMIN_TOKEN}"\n[keys.e2e]\nsecret = "{KEY}"\n']
    parts.append(f'[keys.strict]\nsecret = "{STRICT_KEY}"\nstrict_translation = true\n')
    listed = list(models)
    for dialect in UPSTREAMS:
        slug = dialect.replace("_", "-")
        keys = f'["{PROVIDER_SECRET}"]'
        parts.append(provider(slug, dialect, base_url(dialect, address), keys))
        parts += [model(f"{slug}/{name}", slug, f"sim/{name}") for name in listed]
    return "\n".join(parts) + "\n" + tables


def provider(slug: str, dialect: str, url: str, keys: str, more: str = "") -> str:
    """A provider's table."""
    return (
        f'[providers.{slug}]\nname = "Lab"\ndialect = "{dialect}"\nbase_url = "{url}"\nkeys = {keys}\ncancel_stops_billing = true\n{more}\n'
    )


def model(id: str, slug: str, upstream_model: str, more: str = "") -> str:
    """A model's tables."""
    listed = ", ".join(f'{name} = "{usd}"' for name, usd in PRICES.items())
    return (
        f'[models."{id}"]\ncontext_length = 100000\n[[models."{id}".endpoints]]\nprovider = "{slug}"\n'
        f'upstream_model = "{upstream_model}"\nusd_per_million = {{ {listed} }}\n{more}\n'
    )


class Lost(NamedTuple):
    """A member of `X-Fairlead-Loss`."""

    path: str
    severity: str
    reason: str


def losses_of(header: str | None) -> list[Lost]:
    """What `X-Fairlead-Loss` tells, read as the list of strings with parameters that RFC 9651 says it is. Nothing else is let through."""
    at, found = 0, []
    while header is not None:
        member = LOSS.match(header, at)
        assert member, f"no list of losses at byte {at}: {header}"
        path, severity, reason = (member[name] for name in ("path", "severity", "reason"))
        found.append(Lost(unquoted(path), severity, unquoted(reason)))
        at = member.end()
        if at == len(header):
            return found
    return found


LOSS = re.compile(
    r"""(?:^|(?<=.),[ ])"(?P<path>(?:[ !#-[\]-~]|\\["\\])*)";severity=(?P<severity>[a-z*][a-z*_.]*)"""
    r""";reason="(?P<reason>(?:[ !#-[\]-~]|\\["\\])*)"(?=, |$)"""
)


def unquoted(text: str) -> str:
    """The text of a string of RFC 9651."""
    return re.sub(r"\\(.)", r"\1", text)


class Scripted(Stub):
    """A provider that answers every request with the reply that was laid out for it, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.reply = b""
        self.asked: list[tuple[str, bytes]] = []
        self.play(self._answer)

    def whole(self, body: Any) -> None:
        """The next replies are this JSON."""
        self.reply = sized(body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode())

    def stream(self, dialect: str, pieces: Sequence[bytes]) -> None:
        """The next replies are this stream."""
        self.reply = head("transfer-encoding: chunked", type=stream_type(dialect)) + chunked(*pieces)

    def _answer(self, visit: Visit) -> None:
        while True:
            body = visit.request()
            self.asked.append((visit.requests[-1].split(b" ", 2)[1].decode(), body))
            visit.say(self.reply)


def stream_type(dialect: str) -> str:
    """The media type of a dialect's streams."""
    return "application/vnd.amazon.eventstream" if dialect == "bedrock_converse" else "text/event-stream"


def amazon(name: str, payload: bytes) -> bytes:
    """An event of Amazon's binary framing, or an exception."""
    kind = "exception" if name.endswith("Exception") else "event"
    pairs = {":message-type": kind, f":{kind}-type": name, ":content-type": "application/json"}
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode() for key, value in pairs.items()
    )
    start = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start += struct.pack(">I", zlib.crc32(start))
    return start + headers + payload + struct.pack(">I", zlib.crc32(start + headers + payload))


def event_bytes(dialect: str, event: str) -> bytes:
    """An event as the shared cases write it: a Converse one is its name, a space, its payload."""
    if dialect != "bedrock_converse":
        return event.encode()
    name, _, payload = event.partition(" ")
    return amazon(name, payload.encode())
