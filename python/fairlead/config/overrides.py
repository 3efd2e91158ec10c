"""Prices under conditions: what the data plane charges by, and what OpenRouter's clients and people are shown of it.

The data plane knows prices only. A `multiplier` becomes the prices that it makes, rounded up once; a `region` holds or does not hold for an
endpoint, so it is decided here; what goes by batches goes by nobody, so it is left out.
"""

from collections.abc import Iterator
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from msgspec import structs

from fairlead.catalog import hours
from fairlead.catalog.hours import ALWAYS, Hours
from fairlead.catalog.prices import pico_per_token, pico_per_unit, usd_text
from fairlead.catalog.schema import CHARGED_EACH, CHARGED_PER_MILLION, Override, UsdEach, UsdPerMillion, When
from fairlead.config.view import Price, PriceOverride, Rates

_Pico = dict[str, Fraction]

OPENROUTER_PRICES = {
    "prompt": "prompt",
    "completion": "completion",
    "request": "request",
    "web_search": "web_search",
    "reasoning": "internal_reasoning",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
    "cache_write_1h": "input_cache_write_1h",
}
"""Our names → OpenRouter's."""


class _Condition(NamedTuple):
    above: int | None = None
    tier: str | None = None
    hours: Hours = ALWAYS

    def and_(self, other: "_Condition") -> "_Condition | None":
        """Both; `None` where they exclude each other."""
        common = hours.both(self.hours, other.hours)
        if common is None or (self.tier and other.tier and self.tier != other.tier):
            return None
        above = [above for above in (self.above, other.above) if above is not None]
        return _Condition(max(above, default=None), self.tier or other.tier, common)


def price(usd_per_million: UsdPerMillion, usd_each: UsdEach, overrides: list[Override], region: str) -> Price:
    """The prices of an endpoint in this region, with what changes them."""
    base = _rates(usd_per_million, usd_each)
    rows: list[tuple[_Condition, _Pico]] = []
    multipliers: list[tuple[_Condition, Fraction]] = []
    for override in overrides:
        if not _is_there(override.when, region) or override.when.service_tier == "batch":
            continue
        condition = _condition(override.when)
        if rates := _rates(override.usd_per_million or UsdPerMillion(), override.usd_each or UsdEach()):
            rows.append((condition, rates))
        if override.multiplier is not None:
            multipliers.append((condition, Fraction(override.multiplier)))
    for condition, multiplier in multipliers:
        # They apply after all other overrides: to the base, then to each of those in their order.
        for other, rates in [(_Condition(), base), *rows]:
            if (common := condition.and_(other)) is not None:
                rows.append((common, {name: rate * multiplier for name, rate in rates.items()}))
    base, rows = _without_what_always_holds(base, rows)
    made = tuple(
        PriceOverride(Rates(**_whole(rates)), prompt_tokens_above=condition.above, service_tier=condition.tier, hours=condition.hours)
        for condition, rates in rows
    )
    return Price(**_whole(base), overrides=made)


def _without_what_always_holds(base: _Pico, rows: list[tuple[_Condition, _Pico]]) -> tuple[_Pico, list[tuple[_Condition, _Pico]]]:
    """It is the price itself, and wins over all that stood before it."""
    kept: list[tuple[_Condition, _Pico]] = []
    for condition, rates in rows:
        if condition == _Condition():
            base = base | rates
            kept = [(earlier, {name: rate for name, rate in told.items() if name not in rates}) for earlier, told in kept]
        else:
            kept.append((condition, rates))
    return base, [(condition, rates) for condition, rates in kept if rates]


def _is_there(when: When, region: str) -> bool:
    """Where it is not known where an endpoint is, it is outside of every region: the dearer side."""
    return when.region in (None, region) and (when.outside_region is None or when.outside_region != region)


def misplaced(when: When, region: str) -> Iterator[tuple[str, str]]:
    """Conditions of place that never hold for an endpoint in this region, by their names, with what to do."""
    here = f'the endpoint is in "{region}"' if region else "neither the endpoint nor its provider says in which region it is"
    if when.region not in (None, region):
        yield "region", f'"{when.region}" never holds: {here}; correct one of the two, or leave this override out'
    if when.outside_region is not None and when.outside_region == region:
        yield "outside_region", f'"{when.outside_region}" never holds: {here}; correct one of the two, or leave this override out'


def tiers(price: Price) -> list[str]:
    """The service tiers with prices of their own."""
    return list(dict.fromkeys(override.service_tier for override in price.overrides if override.service_tier))


def pricing(price: Price, tier: str | None = None) -> dict[str, Any]:
    """OpenRouter's `pricing` of a tier: prompt and completion always, the others and `overrides` where they say something."""
    base = {name: pico for name in OPENROUTER_PRICES if (pico := getattr(price, name)) is not None}
    overrides: list[tuple[PriceOverride, dict[str, int]]] = []
    for override in price.overrides:
        if override.service_tier not in (None, tier):
            continue
        rates = _told(override.rates)
        if override.prompt_tokens_above is None and not override.hours:
            base |= rates
            # What comes later wins, whatever holds beside it.
            overrides = [(earlier, {name: pico for name, pico in told.items() if name not in rates}) for earlier, told in overrides]
        else:
            overrides.append((override, rates))
    shown: dict[str, Any] = {
        theirs: usd_text(base.get(ours, 0))
        for ours, theirs in OPENROUTER_PRICES.items()
        if base.get(ours) or ours in ("prompt", "completion")
    }
    entries = [entry for override, rates in overrides if rates for entry in _entries(override, rates)]
    return shown | {"overrides": entries} if entries else shown


def words(override: PriceOverride) -> str:
    """When an override holds, for people."""
    said = [override.service_tier] if override.service_tier else []
    if override.prompt_tokens_above is not None:
        said.append(f"prompt > {override.prompt_tokens_above}")
    if override.hours:
        said.append(hours.text(override.hours))
    return ", ".join(said) or "always"


def _entries(override: PriceOverride, rates: dict[str, int]) -> Iterator[dict[str, Any]]:
    """One for each time of the week: OpenRouter's conditions must all hold."""
    prices = {OPENROUTER_PRICES[name]: usd_text(pico) for name, pico in rates.items()}
    above = {} if override.prompt_tokens_above is None else {"min_prompt_tokens": override.prompt_tokens_above}
    for window in hours.shown(override.hours) or [{}]:
        yield above | window | prices


def _told(rates: Rates) -> dict[str, int]:
    return {name: pico for name, pico in structs.asdict(rates).items() if pico is not None}


def _condition(when: When) -> _Condition:
    return _Condition(when.prompt_tokens_above, when.service_tier, hours.hours_of(when.utc, when.days))


def _rates(usd_per_million: UsdPerMillion, usd_each: UsdEach) -> _Pico:
    token = {name: Fraction(pico_per_token(text)) for name in CHARGED_PER_MILLION if (text := getattr(usd_per_million, name)) is not None}
    unit = {name: Fraction(pico_per_unit(text)) for name in CHARGED_EACH if (text := getattr(usd_each, name)) is not None}
    return token | unit


def _whole(rates: _Pico) -> dict[str, int]:
    return {name: ceil(rate) for name, rate in rates.items()}
