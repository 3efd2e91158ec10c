"""What a generation cost, line by line: tokens times the price that the endpoint has now.

Records keep amounts, not prices. So the lines are said to be exact only where they add up to the nano-dollar to what was recorded; else
the price has changed since, a provider reported its own cost, or attempts that lost are part of it.
"""

from collections.abc import Iterator
from typing import Any

from fairlead.config.view import EndpointView, Price
from fairlead.control.db.queries import Row
from fairlead.control.money import decimal, usd
from fairlead.control.offer import Offer
from fairlead.control.operator.shapes import Shape

PICO_PER_NANO = 1000


class CostLine(Shape):
    """A count times a price."""

    what: str
    """Such as `prompt` or `cache_read`."""
    count: int
    usd_each: str
    """Dollars a token, or each."""
    usd: str
    """The product, not rounded."""


class Cost(Shape):
    """Amounts as recorded, and the lines that they are made of."""

    charged_usd: str
    upstream_cost_usd: str
    reserved_usd: str
    lines: list[CostLine]
    """By the present price of the endpoint that answered; empty where it is not in the configuration any more."""
    exact: bool
    """Whether the lines add up to what the generation cost upstream, rounded up once to a nano-dollar."""


def of(row: Row, attempts: list[dict[str, Any]], offer: Offer) -> dict[str, Any]:
    """The cost of a generation."""
    endpoint = _endpoint(row, attempts, offer)
    candidates = [list(_lines(row, price)) for price in _prices(endpoint)] if endpoint else []
    matching = [lines for lines in candidates if _nanousd(lines) == row["upstream_cost_nanousd"]]
    lines = (matching or candidates or [[]])[0]
    return {
        "charged_usd": usd(row["charged_nanousd"]),
        "upstream_cost_usd": usd(row["upstream_cost_nanousd"]),
        "reserved_usd": usd(row["reserved_nanousd"]),
        "lines": [
            {"what": what, "count": count, "usd_each": decimal(each, 12), "usd": decimal(count * each, 12)} for what, count, each in lines
        ],
        "exact": bool(matching),
    }


def _endpoint(row: Row, attempts: list[dict[str, Any]], offer: Offer) -> EndpointView | None:
    model = offer.model(row["model"])
    asked = [attempt["endpoint_id"] for attempt in attempts if "shadow" not in attempt["flags"] and not attempt["error"]]
    return next((each for each in model.endpoints if asked and each.id == asked[-1]), None) if model else None


def _prices(endpoint: EndpointView) -> Iterator[dict[str, int]]:
    """The usual rates, then those under each of its conditions."""
    price = endpoint.price
    yield _rates(price)
    for override in price.overrides:
        changed = {name: value for name in _RATES if (value := getattr(override.rates, name)) is not None}
        yield _rates(price, changed)


_RATES = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "reasoning", "request", "web_search")


def _rates(price: Price, changed: dict[str, int] | None = None) -> dict[str, int]:
    """Each with what it falls back to, as the data plane has it (`rust/snapshot/src/wire.rs`)."""
    said = {name: value for name in _RATES if (value := getattr(price, name)) is not None} | (changed or {})
    rates = {"cache_read": said["prompt"], "cache_write": said["prompt"], "reasoning": said["completion"]} | said
    return {"cache_write_1h": rates["cache_write"]} | rates


def _lines(row: Row, rates: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    counts = {
        "prompt": row["prompt_tokens"],
        "cache_read": row["cache_read_tokens"],
        "cache_write": row["cache_write_tokens"],
        "cache_write_1h": row["cache_write_1h_tokens"],
        "completion": row["completion_tokens"] - row["reasoning_tokens"],
        "reasoning": row["reasoning_tokens"],
        "web_search": row["web_searches"],
        "request": 1,
    }
    for what, count in counts.items():
        if count and (rates[what] or what != "request"):
            yield what, count, rates[what]


def _nanousd(lines: list[tuple[str, int, int]]) -> int:
    return -(-sum(count * each for _, count, each in lines) // PICO_PER_NANO)
