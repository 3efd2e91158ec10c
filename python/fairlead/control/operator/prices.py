"""What endpoints have cost since when: the dated prices of the catalogue, shipped and synced, with what is in force now.

What `fairlead.toml` says of a price has no date: then there is one, that of now. A change of the file stands in the history of the
configuration.
"""

from datetime import UTC, date, datetime
from typing import Any

import msgspec

from fairlead.catalog import Catalogue
from fairlead.catalog.schema import CatalogueEndpoint, DatedPrice
from fairlead.config import overrides
from fairlead.config.view import EndpointView, ModelView, Price
from fairlead.control.money import decimal
from fairlead.control.operator.shapes import Shape

PER_MILLION_PLACES, EACH_PLACES = 6, 12
OF_THE_FILE = "configuration"


class Prices(Shape):
    """Dollars per million tokens, and each for what is no token; null: as the usual one."""

    prompt: str
    completion: str
    cache_read: str | None
    cache_write: str | None
    cache_write_1h: str | None
    reasoning: str | None
    request_each: str
    web_search_each: str
    conditions: int
    """How many other prices there are under conditions: long prompts, hours, service tiers."""


class DatedPrices(Shape):
    """Prices from a day on, UTC."""

    from_: str | None = msgspec.field(name="from")
    """Null: there is no date, `fairlead.toml` says it."""
    source: str
    checked: str | None
    """The day on which somebody last compared it with its source."""
    in_force: bool
    prices: Prices


class PriceHistory(Shape):
    """The prices of an endpoint, the oldest first."""

    endpoint: int
    provider: str
    provider_name: str
    region: str
    steps: list[DatedPrices]


def shown(price: Price) -> dict[str, Any]:
    """Prices as `Prices` has them."""

    def per_million(picousd: int | None) -> str | None:
        return None if picousd is None else decimal(picousd, PER_MILLION_PLACES)

    tokens = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h", "reasoning")
    return {name: per_million(getattr(price, name)) for name in tokens} | {
        "request_each": decimal(price.request, EACH_PLACES),
        "web_search_each": decimal(price.web_search, EACH_PLACES),
        "conditions": len(price.overrides),
    }


def history(model: ModelView, catalogue: Catalogue, now_ms: int) -> list[dict[str, Any]]:
    """Of every endpoint of a model, in the order of preference."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    file = catalogue.models.get(model.id)
    listed = {(each.provider, each.upstream_model, each.region): each for each in file.endpoint} if file else {}
    return [_of(endpoint, listed.get((endpoint.provider, endpoint.upstream_model, endpoint.region)), today) for endpoint in model.endpoints]


def _of(endpoint: EndpointView, listed: CatalogueEndpoint | None, today: date) -> dict[str, Any]:
    known = {"endpoint": endpoint.id, "provider": endpoint.provider, "provider_name": endpoint.provider_name, "region": endpoint.region}
    if listed is None or endpoint.price_source == OF_THE_FILE:
        only = {"from": None, "source": endpoint.price_source, "checked": None, "in_force": True, "prices": shown(endpoint.price)}
        return known | {"steps": [only]}
    # Of one day the later block counts.
    by_day = {dated.from_: dated for dated in listed.price}
    days = sorted(by_day)
    present = max((day for day in days if day <= today), default=days[0])
    return known | {"steps": [_step(by_day[day], endpoint, day == present) for day in days]}


def _step(dated: DatedPrice, endpoint: EndpointView, in_force: bool) -> dict[str, Any]:
    # What is in force is charged as the configuration made it, with the provider's region.
    price = endpoint.price if in_force else overrides.price(dated.usd_per_million, dated.usd_each, dated.override, endpoint.region)
    return {
        "from": dated.from_.isoformat(),
        "source": dated.source,
        "checked": dated.checked.isoformat(),
        "in_force": in_force,
        "prices": shown(price),
    }
