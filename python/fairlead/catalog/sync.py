"""What a feed says that the catalogue does not: prices that changed, models that are new, endpoints that are gone.

A changed price becomes a further dated block. New models are taken where their id is certain: those of OpenRouter, and those of an
author at its own provider. Gone ones are named and stay: a list that is short is no shutdown. Endpoints whose price depends on the hour
are left alone, because feeds know one price. What cannot be right is refused, endpoint by endpoint: an id that is none, a model that the
feed has twice with other prices, a price that moved by a factor that only a mistake in units explains.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from msgspec import structs

from fairlead.catalog import synced
from fairlead.catalog.feeds import MALFORMED, Feed, Offer, Prices
from fairlead.catalog.load import Catalogue
from fairlead.catalog.schema import CatalogueEndpoint, DatedPrice, ModelFacts, ModelFile, Override, UsdPerMillion, When
from fairlead.catalog.synced import Line, SyncedModel, SyncedPrices, identity

AUTHORS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "google-ai-studio": "google",
    "xai": "x-ai",
    "mistral": "mistralai",
    "deepseek": "deepseek",
    "z-ai": "z-ai",
    "moonshotai": "moonshotai",
    "minimax": "minimax",
    "cohere": "cohere",
    "alibaba": "qwen",
    "perplexity": "perplexity",
}
"""Provider → the author whose own it is."""

_COMPARED = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "reasoning")
_MOST_TIMES = 100
"""No price moves by more between two syncs; per token instead of per million is 10^6."""
_USD_PER_MILLION = Decimal("0.0001"), Decimal(10_000)
"""Between these lies every price of a token that there is, zero apart."""
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_NOT_A_MODEL = re.compile(r"latest|preview|beta|experimental|\d{4}-\d{2}-\d{2}$|-\d{8}$|-\d{4}$|^ft:|tts|realtime|transcribe|-image")


@dataclass(frozen=True)
class Change:
    """One line of the diff."""

    kind: str
    """`refused`, `new`, `changed`, `gone` or `left` (a price that depends on the hour)."""
    model: str
    provider: str
    old: Prices = field(default_factory=dict)
    new: Prices = field(default_factory=dict)
    why: str = ""
    """What is wrong with what was refused."""


@dataclass(frozen=True)
class Outcome:
    """What a sync found, and what it would write."""

    changes: tuple[Change, ...]
    lines: tuple[Line, ...]
    """Beside those that stand in the file already."""


def compare(catalogue: Catalogue, feed: Feed, source: str, today: date) -> Outcome:
    """Compares a feed with the catalogue as it is (with what was synced before)."""
    changes: list[Change] = []
    lines: list[Line] = []
    offers: dict[tuple[str, str], list[Offer]] = defaultdict(list)
    for offer in feed.offers:
        offers[offer.provider, offer.upstream_model].append(offer)
    known: set[tuple[str, str]] = set()
    for id, endpoint in _endpoints(catalogue):
        known.add((endpoint.provider, endpoint.upstream_model))
        if rivals := offers.get((endpoint.provider, endpoint.upstream_model)):
            _take(_changed(id, endpoint, rivals, source, today), changes, lines)
    changes += _gone(catalogue, offers)
    changes += [
        Change("refused", repr(offer.upstream_model)[:80], offer.provider, why=offer.flaw)
        for offer in feed.offers
        if offer.flaw == MALFORMED and (offer.provider, offer.upstream_model) not in known
    ]
    for id, rivals in _new(catalogue, offers, known):
        _take(_added(id, rivals, source, today), changes, lines)
    order = ("refused", "new", "changed", "left", "gone")
    return Outcome(tuple(sorted(changes, key=lambda change: (order.index(change.kind), change.model, change.provider))), tuple(lines))


Found = tuple[Change, Line | None]
"""A change, and the line that makes it."""


def _take(found: Found | None, changes: list[Change], lines: list[Line]) -> None:
    if found is None:
        return
    change, line = found
    if line is not None:
        try:
            synced.check(line)
        except ValueError as error:
            change, line = replace(change, kind="refused", why=str(error)), None
    changes.append(change)
    if line is not None:
        lines.append(line)


def _doubt(rivals: list[Offer]) -> str:
    """Why none of the offers of one model at one provider can be taken; empty: any can."""
    first = rivals[0]
    if any((offer.prices, offer.tiers) != (first.prices, first.tiers) for offer in rivals):
        return "it is in the feed twice, with other prices"
    return first.flaw


def _unit_mistake(old: Prices, offer: Offer) -> str:
    """What says that a price is per token where it should be per million, or the reverse."""
    least, most = _USD_PER_MILLION
    for prices in (offer.prices, *offer.tiers.values()):
        for name, text in prices.items():
            price, before = Decimal(text), Decimal(old.get(name, "0"))
            if price and before and not before / _MOST_TIMES <= price <= before * _MOST_TIMES:
                return f"{name} was {before} and would be {price} $/M; is it in the wrong unit?"
            if price and name in ("prompt", "completion") and not least <= price <= most:
                return f"{name} would be {price} $/M, which no model costs; is it in the wrong unit?"
    return ""


def _endpoints(catalogue: Catalogue) -> Iterator[tuple[str, CatalogueEndpoint]]:
    for id, file in catalogue.models.items():
        for endpoint in file.endpoint:
            yield id, endpoint


def _in_force(endpoint: CatalogueEndpoint, today: date) -> DatedPrice:
    past = [price for price in reversed(endpoint.price) if price.from_ <= today]  # of two from one day, the later one
    return max(past or endpoint.price, key=lambda price: price.from_)


def _changed(id: str, endpoint: CatalogueEndpoint, rivals: list[Offer], source: str, today: date) -> Found | None:
    now, offer = _in_force(endpoint, today), rivals[0]
    old = {name: text for name in _COMPARED if (text := getattr(now.usd_per_million, name)) is not None}
    if why := _doubt(rivals):
        return Change("refused", id, endpoint.provider, old, why=why), None
    new = {name: text for name in _COMPARED if (text := _said(offer, name)) is not None}
    differs = {name for name in new if name in old and Decimal(new[name]) != Decimal(old[name])}
    tiers_differ = bool(offer.tiers) and _tiers(now) != _comparable(offer.tiers)
    if not differs and not tiers_differ:
        return None
    if any(override.when.utc is not None for override in now.override):
        return Change("left", id, endpoint.provider, old, new), None
    if why := _unit_mistake(old, offer):
        return Change("refused", id, endpoint.provider, old, new, why), None
    price = _next(now, offer, source, today)
    line = SyncedPrices(
        model=id, provider=endpoint.provider, upstream_model=endpoint.upstream_model, region=identity(endpoint)[2], price=[price]
    )
    return Change("changed", id, endpoint.provider, old, old | new), line


def _said(offer: Offer, name: str) -> str | None:
    """A zero for anything but a free model is a list's way of not knowing."""
    text = offer.prices.get(name)
    return text if text is not None and (Decimal(text) or offer.upstream_model.endswith(":free")) else None


def _all_said(offer: Offer) -> Prices:
    return {name: text for name in offer.prices if (text := _said(offer, name)) is not None}


def _tiers(price: DatedPrice) -> dict[int, dict[str, Decimal]]:
    tiers = {}
    for override in price.override:
        if _is_tier(override) and override.usd_per_million is not None:
            table = override.usd_per_million
            said = {name: text for name in _COMPARED if (text := getattr(table, name)) is not None}
            tiers[override.when.prompt_tokens_above or 0] = said
    return _comparable(tiers)


def _comparable(tiers: dict[int, Prices]) -> dict[int, dict[str, Decimal]]:
    """Prompt and completion: what every list has."""
    return {above: {name: Decimal(prices[name]) for name in ("prompt", "completion") if name in prices} for above, prices in tiers.items()}


def _is_tier(override: Override) -> bool:
    return override.when == When(prompt_tokens_above=override.when.prompt_tokens_above)


def _next(now: DatedPrice, offer: Offer, source: str, today: date) -> DatedPrice:
    """The price from today on: what the feed says, and what it does not speak of as it was."""
    said = _all_said(offer)
    overrides = now.override
    if offer.tiers:
        tiers = [
            Override(when=When(prompt_tokens_above=above), usd_per_million=UsdPerMillion(**prices))
            for above, prices in sorted(offer.tiers.items())
        ]
        overrides = [*tiers, *(override for override in now.override if not _is_tier(override))]
    return structs.replace(
        now, from_=today, source=source, checked=today, usd_per_million=structs.replace(now.usd_per_million, **said), override=overrides
    )


def _gone(catalogue: Catalogue, offers: Mapping[tuple[str, str], object]) -> Iterator[Change]:
    """Endpoints that a feed does not have although it has others of their provider."""
    listed = {provider for provider, _ in offers}
    for id, endpoint in _endpoints(catalogue):
        if endpoint.provider in listed and (endpoint.provider, endpoint.upstream_model) not in offers:
            yield Change("gone", id, endpoint.provider)


def _new(
    catalogue: Catalogue, offers: dict[tuple[str, str], list[Offer]], known: set[tuple[str, str]]
) -> Iterator[tuple[str, list[Offer]]]:
    names = {name for id, file in catalogue.models.items() for name in (id, *file.model.aliases)}
    found: dict[str, list[Offer]] = {}
    for key, rivals in offers.items():
        id = _id(rivals[0])
        if id and id not in names and key not in known and key[1] not in names and not rivals[0].flaw:
            found.setdefault(id, rivals)
    for id, rivals in sorted(found.items()):
        if rivals[0].provider in catalogue.providers and rivals[0].context_tokens:
            yield id, rivals


def _added(id: str, rivals: list[Offer], source: str, today: date) -> Found:
    offer = rivals[0]
    change = Change("new", id, offer.provider, {}, offer.prices)
    if why := _doubt(rivals) or _unit_mistake({}, offer):
        return replace(change, kind="refused", why=why), None
    return change, SyncedModel(file=_model(id, offer, source, today))


def _id(offer: Offer) -> str | None:
    """The id that a model has here, where it is certain."""
    name = offer.upstream_model
    if offer.provider == "openrouter":
        author, slash, slug = name.partition("/")
        plain = slash and _PLAIN.fullmatch(author) and _PLAIN.fullmatch(slug.removesuffix(":free"))
        return name if plain and author != "openrouter" else None
    author = AUTHORS.get(offer.provider, "")
    if not author or not _PLAIN.fullmatch(name) or _NOT_A_MODEL.search(name):
        return None
    # Anthropic writes 5-5 where everybody else writes 5.5.
    return f"{author}/" + (re.sub(r"-(\d+)-(\d+)$", r"-\1.\2", name) if author == "anthropic" else name)


def _model(id: str, offer: Offer, source: str, today: date) -> ModelFile:
    price = DatedPrice(
        from_=today,
        source=source,
        checked=today,
        usd_per_million=UsdPerMillion(**{"completion": "0"} | _all_said(offer)),
        override=[
            Override(when=When(prompt_tokens_above=above), usd_per_million=UsdPerMillion(**prices))
            for above, prices in sorted(offer.tiers.items())
        ],
    )
    facts = ModelFacts(
        id=id,
        name=offer.name or id,
        input=[*offer.input],
        output=[*offer.output],
        context_tokens=offer.context_tokens or 1,
        max_completion_tokens=offer.max_completion_tokens,
    )
    endpoint = CatalogueEndpoint(provider=offer.provider, upstream_model=offer.upstream_model, price=[price])
    return ModelFile(model=facts, endpoint=[endpoint])
