"""`/admin/models`, `/admin/providers` and `/admin/estimate`: what is offered, at what price, and how it does now, in one call each."""

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.config.view import EndpointView, ModelView, Price, ProviderView
from fairlead.control import health
from fairlead.control.db import figures, queries
from fairlead.control.db.queries import DAY_MS, Dim, Span
from fairlead.control.db.rollups import spans
from fairlead.control.desk import Call
from fairlead.control.health import Quantiles, Report
from fairlead.control.money import usd
from fairlead.control.operator import cost, drains, prices, uptime
from fairlead.control.operator.drains import Drained
from fairlead.control.operator.prices import PriceHistory, Prices
from fairlead.control.operator.shapes import Shape
from fairlead.control.operator.shared import shared
from fairlead.control.operator.uptime import Cells, Strip
from fairlead.control.replies import invalid, not_found, reply, rfc3339
from fairlead.control.windows import window_starts

WEEK_DAYS = 7
MOST_MODELS = 50
Text = Annotated[str, Meta(min_length=1, max_length=300)]
Tokens = Annotated[int, Meta(ge=0, le=10**9)]
Sort = Literal["requests", "name", "price", "completion_price", "context", "first_token", "throughput", "newest"]


class EndpointHealth(Shape):
    """What attempts have told. Null: no traffic, or too little to say."""

    breaker: Literal["closed", "open", "due"]
    outage: bool
    standing: Literal["normal", "degraded", "down"]
    uptime_5m: float | None
    uptime_30m: float | None
    uptime_1d: float | None
    first_token_ms: Quantiles | None
    tokens_per_second: Quantiles | None
    keys_ready: int
    keys: int


class EndpointLine(Shape):
    """A model at a provider."""

    id: int
    provider: str
    provider_name: str
    upstream_model: str
    dialects: list[str]
    region: str
    quantization: str
    status: str
    context_length: int | None
    max_completion_tokens: int | None
    supported_parameters: list[str] | None
    implicit_caching: bool
    prices: Prices
    price_source: str
    not_applied: list[str]
    """Prices of the provider that are not charged by."""
    tiers: list[str]
    health: EndpointHealth | None
    """Null: it was not used yet."""


class ModelLine(Shape):
    """A model."""

    id: str
    name: str
    aliases: list[str]
    description: str
    created: int
    """Unix seconds; 0: unknown."""
    context_length: int | None
    max_completion_tokens: int | None
    input: list[str]
    output: list[str]
    supported_parameters: list[str] | None
    reasoning: bool
    expires: str | None
    source: str
    rpm: int | None
    """Of all keys together, as the next two; null: no limit."""
    tpm: int | None
    max_concurrency: int | None
    endpoints: list[EndpointLine]
    """In the order of preference."""
    requests_7d: int
    usd_7d: str


class ModelsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Filters; all that are given must hold. `input` and `parameters` are separated by commas."""

    q: Text | None = None
    """Part of an id, name or alias."""
    input: Text | None = None
    parameters: Text | None = None
    provider: Text | None = None
    context: Tokens | None = None
    """At least so long."""
    sort: Sort = "requests"


class ModelList(Shape):
    """A reply."""

    data: list[ModelLine]
    total: int


class ModelData(Shape):
    """A reply."""

    data: ModelLine
    prices: list[PriceHistory]
    """What each endpoint has cost since when."""


class EstimateBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A prompt of so many tokens, or of this text."""

    models: Annotated[list[Text], Meta(min_length=1, max_length=MOST_MODELS)]
    prompt_tokens: Tokens | None = None
    text: Annotated[str, Meta(max_length=500_000)] | None = None
    completion_tokens: Tokens = 0
    cached_tokens: Tokens = 0


class EstimateLine(Shape):
    """What the call would cost at an endpoint, in a service tier; null: the usual one."""

    model: str
    endpoint: int
    provider: str
    service_tier: str | None
    prompt_tokens: int
    usd: str


class Estimates(Shape):
    """A reply, the cheapest first."""

    data: list[EstimateLine]


class ProviderLine(Shape):
    """A provider that is on."""

    slug: str
    name: str
    dialects: dict[str, str]
    """Dialect → base URL."""
    keys: int
    key_source: str
    source: Literal["catalogue", "configuration"]
    """Either way `fairlead.toml` owns it: here it is read-only."""
    headquarters: str | None
    status_page: str
    models: int
    endpoints: list["ProviderEndpoint"]
    sign_ins: list[dict[str, Any]]
    """How signing in goes, for each service account; none for who does not see all accounts."""
    drained: list["DrainedShown"]
    """Endpoints that an operator has set aside."""


class ProviderEndpoint(Shape):
    """One of its endpoints that was used since the start, or in the last day."""

    id: int
    model: str
    service_tier: str | None
    health: EndpointHealth | None
    """Null: it was not used since the start."""
    strip: Strip
    """How requests ended there in the last day, of all service tiers."""


class DrainedShown(Shape):
    """An endpoint that nothing is sent to."""

    endpoint: int
    model: str
    until: str
    by: str | None
    """Null for who may not see the audit log."""
    note: str


class ProviderList(Shape):
    """A reply."""

    data: list[ProviderLine]


# --- routes -----------------------------------------------------------------------------------------------------------


@shared
async def listing(call: Call) -> Response:
    """Every model with its endpoints, prices, health and use, filtered and sorted."""
    asked, known = call.asked(ModelsQuery), health.known(call)
    used = await _used(call)
    lines = [_model(model, known, used) for model in call.desk.offer.models if _fits(model, asked)]
    lines.sort(key=lambda line: str(line["id"]))
    lines.sort(key=lambda line: _rank(line, asked.sort))
    return reply({"data": lines, "total": len(call.desk.offer.models)})


async def show(call: Call) -> Response:
    """One model, by its id or an alias."""
    name = call.place("name")
    model = call.desk.offer.model(name)
    if model is None:
        raise not_found(f"there is no model {name[:200]!r}")
    steps = prices.history(model, call.desk.catalogue(), call.desk.now_ms())
    return reply({"data": _model(model, health.known(call), await _used(call)), "prices": steps})


async def estimate(call: Call) -> Response:
    """What a prompt would cost at every endpoint of some models, at the prices of now."""
    wanted = await call.body(EstimateBody)
    if (wanted.prompt_tokens is None) == (wanted.text is None):
        raise invalid("prompt_tokens, text: one of the two is expected")
    now_ms, lines = call.desk.now_ms(), []
    for index, name in enumerate(wanted.models):
        model = call.desk.offer.model(name)
        if model is None:
            raise invalid(f"models[{index}]: there is no model {name[:200]!r}", path=f"models[{index}]")
        tokens = wanted.prompt_tokens if wanted.text is None else call.desk.estimate_tokens(wanted.text, model.id)
        assert tokens is not None
        cached = min(wanted.cached_tokens, tokens)
        for endpoint in model.endpoints:
            for tier in (None, *endpoint.tier_pricing):
                amount = cost_nanousd(endpoint.price, tier, now_ms, tokens, cached, wanted.completion_tokens)
                line = {"model": model.id, "endpoint": endpoint.id, "provider": endpoint.provider, "service_tier": tier}
                lines.append((amount, line | {"prompt_tokens": tokens, "usd": usd(amount)}))
    lines.sort(key=lambda line: line[0])
    return reply({"data": [line for _, line in lines]})


@shared
async def providers(call: Call) -> Response:
    """Every provider that is on, with the endpoints that were used, their health and how requests ended there in the last day."""
    desk, now_ms = call.desk, call.desk.now_ms()
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> tuple[list[Drained], dict[int, Cells]]:
        aside = [each for each in drains.stored(connection) if each.until_ms > now_ms]
        return aside, uptime.strips(connection, _accounts(connection, call), now_ms)

    aside, strips = await desk.database.look(work)
    reports, all_seen = list(health.known(call).values()), call.principal.sees_all
    seen = _Seen(reports, desk.offer.models, desk.sign_ins() if all_seen else [], aside, strips, now_ms, all_seen)
    return reply({"data": [_provider(provider, seen) for provider in desk.offer.providers.values()]})


# --- what it costs ----------------------------------------------------------------------------------------------------


def cost_nanousd(price: Price, tier: str | None, at_ms: int, prompt: int, cached: int, completion: int) -> int:
    """What a call then costs, rounded up once."""
    rates = cost.rates_at(price, tier, at_ms, prompt)
    pico = (prompt - cached) * rates["prompt"] + cached * rates["cache_read"] + completion * rates["completion"] + rates["request"]
    return int(-(-pico // cost.PICO_PER_NANO))


# --- inside -----------------------------------------------------------------------------------------------------------

_Used = dict[str, tuple[int, int]]
_USED_SUMS = ("requests", "charged_nanousd")


async def _used(call: Call) -> _Used:
    """Model → requests and nano-dollars of seven days, of the accounts that the caller sees."""
    today, _, _ = window_starts(call.desk.now_ms())
    week: list[Span] = spans((today - WEEK_DAYS + 1) * DAY_MS, (today + 1) * DAY_MS, call.desk.now_ms())
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> _Used:
        found: _Used = {}
        places = queries.usage_places(connection)
        for account in _accounts(connection, call):
            for one in week:
                for _, place, *sums in queries.rollup_sums(connection, account, Dim.PLACE, one, _USED_SUMS, by_window=False):
                    model = places[place][0]
                    known = found.get(model, (0, 0))
                    found[model] = (known[0] + sums[0], known[1] + sums[1])
        return found

    return await call.desk.database.look(work)


def _accounts(connection: sqlite3.Connection, call: Call) -> list[int]:
    return figures.accounts(connection) if call.principal.sees_all else [call.principal.account]


def _fits(model: ModelView, asked: ModelsQuery) -> bool:
    words = (model.id, model.name, *model.aliases)
    return (
        (asked.q is None or any(asked.q.lower() in word.lower() for word in words))
        and (asked.input is None or {*asked.input.split(",")} <= {*model.input_modalities})
        and (asked.parameters is None or {*asked.parameters.split(",")} <= {*(model.supported_parameters or ())})
        and (asked.provider is None or any(endpoint.provider == asked.provider for endpoint in model.endpoints))
        and (asked.context is None or (model.context_length or 0) >= asked.context)
    )


def _rank(line: dict[str, Any], sort: str) -> tuple[Any, ...]:
    """What is unknown comes last."""
    first = line["endpoints"][0]
    measured = [each["health"] for each in line["endpoints"] if each["health"]]
    match sort:
        case "requests":
            return (-line["requests_7d"],)
        case "price":
            return (float(first["prices"]["prompt"]), float(first["prices"]["completion"]))
        case "completion_price":
            return (float(first["prices"]["completion"]), float(first["prices"]["prompt"]))
        case "context":
            return (-(line["context_length"] or 0),)
        case "newest":
            return (-line["created"],)
        case "first_token":
            found = [each["first_token_ms"].p50 for each in measured if each["first_token_ms"]]
            return (not found, min(found, default=0.0))
        case "throughput":
            found = [each["tokens_per_second"].p50 for each in measured if each["tokens_per_second"]]
            return (not found, -max(found, default=0.0))
        case _:
            return ()


def _model(model: ModelView, known: health.Known, used: _Used) -> dict[str, Any]:
    requests, charged = used.get(model.id, (0, 0))
    return {
        "id": model.id,
        "name": model.name,
        "aliases": model.aliases,
        "description": model.description,
        "created": model.created,
        "context_length": model.context_length,
        "max_completion_tokens": model.max_completion_tokens,
        "input": model.input_modalities,
        "output": model.output_modalities,
        "supported_parameters": model.supported_parameters,
        "reasoning": model.reasoning is not None,
        "expires": model.expiration_date,
        "source": model.source,
        "rpm": model.rpm,
        "tpm": model.tpm,
        "max_concurrency": model.max_concurrency,
        "endpoints": [_endpoint(model, endpoint, known) for endpoint in model.endpoints],
        "requests_7d": requests,
        "usd_7d": usd(charged),
    }


def _endpoint(model: ModelView, endpoint: EndpointView, known: health.Known) -> dict[str, Any]:
    report = known.get((endpoint.id, None))
    parameters = endpoint.supported_parameters if endpoint.supported_parameters is not None else model.supported_parameters
    return {
        "id": endpoint.id,
        "provider": endpoint.provider,
        "provider_name": endpoint.provider_name,
        "upstream_model": endpoint.upstream_model,
        "dialects": endpoint.dialects,
        "region": endpoint.region,
        "quantization": endpoint.quantization,
        "status": endpoint.status,
        "context_length": endpoint.context_length or model.context_length,
        "max_completion_tokens": endpoint.max_completion_tokens or model.max_completion_tokens,
        "supported_parameters": parameters,
        "implicit_caching": endpoint.supports_implicit_caching,
        "prices": prices.shown(endpoint.price),
        "price_source": endpoint.price_source,
        "not_applied": endpoint.not_applied,
        "tiers": list(endpoint.tier_pricing),
        "health": None if report is None else _health(report),
    }


def _health(report: Report) -> dict[str, Any]:
    return {
        "breaker": report.breaker,
        "outage": report.outage,
        "standing": report.standing,
        **dict(zip(("uptime_5m", "uptime_30m", "uptime_1d"), report.uptime, strict=True)),
        "first_token_ms": report.first_token_ms,
        "tokens_per_second": report.tokens_per_second,
        "keys_ready": report.keys[0],
        "keys": report.keys[1],
    }


class _Seen(NamedTuple):
    """What is known of all providers."""

    reports: Sequence[Report]
    models: Sequence[ModelView]
    sign_ins: Sequence[dict[str, Any]]
    aside: Sequence[Drained]
    strips: dict[int, Cells]
    now_ms: int
    tells_all: bool
    """Who looks may know who runs it, and as whom."""


def _provider(provider: ProviderView, seen: _Seen) -> dict[str, Any]:
    own = {endpoint.id: model.id for model in seen.models for endpoint in model.endpoints if endpoint.provider == provider.slug}
    return {
        "slug": provider.slug,
        "name": provider.name,
        "dialects": provider.dialects,
        "keys": provider.keys,
        "key_source": provider.key_source,
        "source": provider.source,
        "headquarters": provider.headquarters,
        "status_page": provider.status_page,
        "models": sum(any(endpoint.provider == provider.slug for endpoint in model.endpoints) for model in seen.models),
        "endpoints": [
            {"id": id, "model": own[id], "service_tier": tier, "health": told, "strip": uptime.shown(seen.strips.get(id), seen.now_ms)}
            for id, tier, told in _used_endpoints(own, seen)
        ],
        "drained": [
            {
                "endpoint": each.endpoint,
                "model": own[each.endpoint],
                "until": rfc3339(each.until_ms),
                "note": each.note,
                "by": each.by if seen.tells_all else None,
            }
            for each in seen.aside
            if each.endpoint in own
        ],
        "sign_ins": [state for state in seen.sign_ins if state["provider"] == provider.slug],
    }


def _used_endpoints(own: Collection[int], seen: _Seen) -> Iterator[tuple[int, str | None, dict[str, Any] | None]]:
    """Id, tier and health of those that attempts or sums know."""
    reported = [report for report in seen.reports if report.endpoint in own]
    yield from ((report.endpoint, report.service_tier, _health(report)) for report in reported)
    known = {report.endpoint for report in reported}
    yield from ((id, None, None) for id in own if id in seen.strips and id not in known)
