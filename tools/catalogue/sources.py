"""The packages that publish prices, each read into views: what it says of one model at one provider today.

genai-prices (PyPI, to be installed beside: `pip install genai-prices`), LiteLLM (the JSON in its wheel), pi-ai (npm
`@earendil-works/pi-ai`, its folder `dist/providers/data`), models.dev (`api.json`). Zero is unknown unless the id says free.
"""

import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from fairlead.catalog import feeds

Prices = dict[str, Decimal]
Key = tuple[str, str]
"""Provider and the name that it knows the model by."""

COMPARED = ("prompt", "completion", "cache_read", "cache_write")


@dataclass
class View:
    """One source's view of one endpoint."""

    prices: Prices
    tiers: dict[int, Prices] = field(default_factory=dict)
    variants: dict[str, tuple[Prices, dict[int, Prices]]] = field(default_factory=dict)
    since: date | None = None
    url: str = ""
    context: int | None = None
    max_output: int | None = None
    by_the_hour: bool = False
    """It has further prices at some hours."""


# --- models.dev and LiteLLM: read as `fairlead models sync` reads them --------------------------------------------------


def feed(path: Path) -> dict[Key, View]:
    """A file in one of the shapes of `fairlead.catalog.feeds`."""
    views = {}
    for offer in feeds.read(path.read_bytes()).offers:
        if offer.flaw:
            continue
        prices = {name: Decimal(text) for name, text in offer.prices.items() if Decimal(text) or offer.upstream_model.endswith(":free")}
        tiers = {above: {name: Decimal(text) for name, text in prices.items()} for above, prices in offer.tiers.items()}
        views[offer.provider, offer.upstream_model] = View(
            prices, tiers, context=offer.context_tokens, max_output=offer.max_completion_tokens
        )
    return views


# --- pi-ai --------------------------------------------------------------------------------------------------------------

_PI_PRICES = {"input": "prompt", "output": "completion", "cacheRead": "cache_read", "cacheWrite": "cache_write"}


def pi_ai(folder: Path) -> dict[Key, View]:
    """The files of a folder, one per provider."""
    views = {}
    for path in sorted(folder.glob("*.json")):
        provider = feeds.PROVIDERS.get(path.stem, path.stem)
        for entry in _pi_entries(json.loads(path.read_bytes(), parse_float=Decimal)):
            cost = entry.get("cost") or {}
            prices = _pi_prices(cost)
            if prices.get("prompt"):
                tiers = {int(tier["inputTokensAbove"]): _pi_prices(tier) for tier in cost.get("tiers") or ()}
                views[provider, entry["id"]] = View(prices, tiers, context=entry.get("contextWindow"), max_output=entry.get("maxTokens"))
    return views


def _pi_entries(tree: Any) -> Iterator[dict[str, Any]]:
    for entries in tree.values() if isinstance(tree, dict) else ():
        if isinstance(entries, dict):
            yield from (entry for entry in entries.values() if isinstance(entry, dict) and entry.get("type") == "chat")


def _pi_prices(cost: dict[str, Any]) -> Prices:
    return {ours: Decimal(cost[theirs]) for theirs, ours in _PI_PRICES.items() if cost.get(theirs)}


# --- genai-prices -------------------------------------------------------------------------------------------------------

_GENAI_PROVIDERS = {
    "arcee": "arcee-ai",
    "aws": "amazon-bedrock",
    "google": "google-ai-studio",
    "x-ai": "xai",
    "zai": "z-ai",
}
_GENAI_PRICES = {
    "input_mtok": "prompt",
    "output_mtok": "completion",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
}


def genai_prices(as_of: date) -> dict[Key, View]:
    """The snapshot in the installed package, by the names that its rules spell out."""
    snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
    views: dict[Key, View] = {}
    for provider in snapshot.providers:
        slug = _GENAI_PROVIDERS.get(provider.id, provider.id)
        for model in provider.models:
            view = _genai_view(model, as_of, (provider.pricing_urls or [""])[0])
            if view is not None:
                views |= {(slug, name): view for name in _genai_names(model)}
    return views


def _genai_names(model: Any) -> set[str]:
    """Names that are spelt out: a rule for prefixes may catch a sibling."""
    names, rules = {model.id}, [model.match]
    while rules:
        rule = rules.pop()
        rules += getattr(rule, "or_", [])
        if (name := getattr(rule, "equals", None)) is not None:
            names.add(name)
    return names


def _genai_view(model: Any, as_of: date, url: str) -> View | None:
    dated: list[Any] = model.prices if isinstance(model.prices, list) else []
    current, since, by_the_hour = (None if dated else model.prices), None, False
    for entry in dated:
        start = getattr(entry.constraint, "start_date", None)
        if hasattr(entry.constraint, "start_time"):
            by_the_hour = True
        elif entry.constraint is None or (start is not None and start <= as_of):
            current, since = entry.prices, start
    if current is None:
        return None
    prices, tiers = _genai_amounts(current)
    if not prices.get("prompt"):
        return None
    view = View(prices, tiers, since=since, url=url, context=model.context_window, by_the_hour=by_the_hour)
    for variant in model.price_variants or ():
        amounts, variant_tiers = _genai_amounts(variant.prices)
        label = "/".join(variant.when.values())
        if amounts and label != "default" and (getattr(variant.constraint, "start_date", None) or as_of) <= as_of:
            view.variants[label] = (amounts, variant_tiers)
    return view


def _genai_amounts(prices: Any) -> tuple[Prices, dict[int, Prices]]:
    base: Prices = {}
    tiers: dict[int, Prices] = {}
    for theirs, ours in _GENAI_PRICES.items():
        value = getattr(prices, theirs, None)
        for tier in getattr(value, "tiers", ()):
            tiers.setdefault(tier.start, {})[ours] = Decimal(tier.price)
        value = getattr(value, "base", value)
        if value:
            base[ours] = Decimal(value)
    return base, tiers
