"""What a generation cost, line by line: tokens times the price that the endpoint has now.

Records keep amounts, not prices. So the lines are said to be exact only where they add up to the nano-dollar to what was recorded; else
the price has changed since, a provider reported its own cost, or attempts that lost are part of it.
"""

from collections.abc import Iterator, Mapping
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


Rates = Mapping[str, int]
"""Pico-dollars of a unit, by what it is."""


def of(row: Row, attempts: list[dict[str, Any]], offer: Offer) -> dict[str, Any]:
    """The cost of a generation."""
    answered = next((each for each in reversed(attempts) if "shadow" not in each["flags"] and not each["error"]), None)
    endpoint = _endpoint(row, answered, offer)
    candidates = [list(_lines(row, rates)) for rates in _rates(row, answered, endpoint.price)] if endpoint and answered else []
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


def rates_at(price: Price, tier: str | None, at_ms: int, prompt_tokens: int) -> Rates:
    """What units cost then, in a service tier, for a prompt of this length, as `rust/ir/src/price.rs` has it: of the overrides whose
    conditions hold, later ones win, rate by rate."""
    changed: dict[str, int] = {}
    for override in price.overrides:
        is_hour = not override.hours or any(start <= _minute(at_ms) < end for start, end in override.hours)
        is_long = override.prompt_tokens_above is None or prompt_tokens > override.prompt_tokens_above
        if is_hour and is_long and override.service_tier in (None, tier):
            changed |= _said(override.rates)
    return _whole(_said(price) | changed)


def usual(price: Price) -> Rates:
    """What units cost under no condition."""
    return _whole(_said(price))


def _endpoint(row: Row, answered: Mapping[str, Any] | None, offer: Offer) -> EndpointView | None:
    model = offer.model(row["model"])
    return next((each for each in model.endpoints if answered and each.id == answered["endpoint_id"]), None) if model else None


def _rates(row: Row, answered: Mapping[str, Any], price: Price) -> Iterator[Rates]:
    """Those under the request's conditions, as far as its record has them; then the usual ones, and those under each condition alone."""
    prompt = sum(row[name] for name in ("prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"))
    yield rates_at(price, answered["service_tier"] or None, row["started_at_ms"], prompt)
    yield usual(price)
    for override in price.overrides:
        yield _whole(_said(price) | _said(override.rates))


_UNITS = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "reasoning", "request", "web_search")


def _said(of: Any) -> dict[str, int]:
    return {name: value for name in _UNITS if (value := getattr(of, name)) is not None}


def _whole(said: Rates) -> Rates:
    """Each with what it falls back to, as the data plane has it (`rust/snapshot/src/wire.rs`)."""
    rates = {"cache_read": said["prompt"], "cache_write": said["prompt"], "reasoning": said["completion"], **said}
    return {"cache_write_1h": rates["cache_write"], **rates}


def _minute(at_ms: int) -> int:
    """Of the week, from Monday 00:00 UTC."""
    # Day 0 was a Thursday.
    return (at_ms // 60_000 + 3 * 1440) % (7 * 1440)


def _lines(row: Row, rates: Rates) -> Iterator[tuple[str, int, int]]:
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
