"""Why a call went where it went, for whoever asks with `explain=True`."""

from typing import Literal

import msgspec


class ToolCalls(msgspec.Struct, frozen=True):
    """Replies of the last two hours that called tools."""

    sound: int
    """Every call was of a known tool, with arguments that fit it."""
    unsound: int
    """Some call was not."""


class Health(msgspec.Struct, frozen=True):
    """An endpoint at the moment of the decision."""

    breaker: Literal["closed", "open", "due"]
    """`closed`: in use; `open`: not used unless nothing else is left; `due`: open, and one request may try."""
    outage: bool
    """Failures weighed in the last thirty seconds."""
    standing: Literal["normal", "degraded", "down"]
    """By its uptime of five minutes: at least 95 %, at least 80 %, less."""
    share: float
    """Its share of requests while it comes back from an outage, 0 to 1."""
    full: bool
    """No key was free."""
    first_token_ms: int | None = None
    """Median time to the first token; only where the order needed it and it is known."""
    tokens_per_second: float | None = None
    """Median throughput; as `first_token_ms`."""
    tool_calls: ToolCalls | None = None
    """As `first_token_ms`."""


class Candidate(msgspec.Struct, frozen=True):
    """An endpoint that might be asked."""

    endpoint: int
    """Its stable id."""
    model: str
    """The model, by its name in the catalogue."""
    provider: str
    """What `provider.order`, `only` and `ignore` know it by."""
    dialect: str
    """In which dialect it would be asked."""
    expected_usd: float
    """What the request was expected to cost there, in dollars."""
    pinned: bool
    """The conversation's prompt was in its cache."""
    slow: bool
    """It missed the preferred throughput or latency."""
    reluctant: bool
    """It would probably refuse."""
    health: Health
    chance: float | None = None
    """Its chance to be drawn first among its model's, 0 to 1; `None` where no draw was held."""


class Removed(msgspec.Struct, frozen=True):
    """An endpoint that was out."""

    endpoint: int
    """Its stable id."""
    model: str
    """The model, by its name in the catalogue."""
    provider: str
    """What `provider.order`, `only` and `ignore` know it by."""
    excluded_by: str
    """The filter that removed it."""
    relax: str
    """What would let it in."""


class Explanation(msgspec.Struct, frozen=True):
    """A decision: what might have been asked, in order, and what was out. What `fairlead explain` shows."""

    seed: int
    """What the draw came out of; `fairlead explain --seed` repeats it."""
    candidates: tuple[Candidate, ...]
    """In the order in which they are asked."""
    removed: tuple[Removed, ...]


decode = msgspec.json.Decoder(Explanation).decode
"""What the native half says."""
