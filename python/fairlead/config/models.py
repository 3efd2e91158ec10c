"""Which models requests can name: the catalogue's, as far as their providers are on, with what the configuration adds and overrides."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple

from msgspec.structs import replace

from fairlead.catalog import Catalogue, quirks
from fairlead.catalog.document import Document, did_you_mean
from fairlead.catalog.load import check_overrides, check_parameters, check_prices, check_quirks
from fairlead.catalog.parameters import served
from fairlead.catalog.positions import Path as Place
from fairlead.catalog.schema import (
    CHARGED_EACH,
    CHARGED_PER_MILLION,
    CatalogueEndpoint,
    DatedPrice,
    ModelFile,
    Reasoning,
    UsdEach,
    UsdPerMillion,
)
from fairlead.config import overrides
from fairlead.config.load import Loaded
from fairlead.config.providers import Source, off_message
from fairlead.config.schema import Endpoint, Model
from fairlead.config.view import EndpointView, ModelView, Price, ReasoningView

EndpointIds = Callable[[str, str, str, str], int]
"""Model, provider, upstream model, region → the endpoint's id: stable, never reused, below 2⁶³."""


class Context(NamedTuple):
    """What every model is judged against."""

    loaded: Loaded
    catalogue: Catalogue
    sources: Mapping[str, Source]
    declared: frozenset[str]
    """Slugs that the configuration names, also those with mistakes of their own."""
    endpoint_id: EndpointIds
    today: date


def models(context: Context) -> list[ModelView]:
    """The models in the order of their ids. Mistakes go to the document; a model that has one is left out."""
    own = context.loaded.config.models
    views = [view for id, model in own.items() if (view := _configured(context, id, model)) is not None]
    views += [view for id, file in context.catalogue.models.items() if id not in own and (view := _shipped(context, file)) is not None]
    views.sort(key=lambda view: view.id)
    _check_names(context, views)
    return views


def _shipped(context: Context, file: ModelFile) -> ModelView | None:
    endpoints = _shipped_endpoints(context, file)
    return _view(context, file, Model(), endpoints, "catalogue") if endpoints else None


def _configured(context: Context, id: str, model: Model) -> ModelView | None:
    document = context.loaded.document
    place: Place = ("models", id)
    file = context.catalogue.models.get(id)
    check_parameters(document, (*place, "supported_parameters"), model.supported_parameters or [])
    if model.endpoints is not None:
        endpoints = _own_endpoints(context, id, model.endpoints, model, file)
    elif file is None:
        hint = did_you_mean(id, context.catalogue.models)
        document.report(place, f'"{id}" is not in the catalogue: say where it is served with [[models."{id}".endpoints]]{hint}')
        return None
    else:
        endpoints = _shipped_endpoints(context, file)
        if not endpoints:
            document.report(place, why_unserved(context, file), "warning")
    if not endpoints:
        return None
    return _view(context, file, model, endpoints, "catalogue+configuration" if file else "configuration", id)


def why_unserved(context: Context, file: ModelFile) -> str:
    """What keeps a model of the catalogue from being served here."""
    gone = [endpoint for endpoint in file.endpoint if _is_shut_down(endpoint, context.today)]
    others = ", ".join(dict.fromkeys(endpoint.provider for endpoint in file.endpoint if endpoint not in gone))
    if others:
        return f"none of its providers is on: {others}"
    return "was shut down: " + ", ".join(f"at {endpoint.provider} on {endpoint.shutdown_on}" for endpoint in gone)


def why_absent(context: Context, file: ModelFile) -> str:
    """The same as the rest of a sentence about the model, for who asks for it."""
    why = why_unserved(context, file)
    return why if why.startswith("was ") else f"is not served here: {why}"


def _view(context: Context, file: ModelFile | None, model: Model, endpoints: list[EndpointView], source: str, id: str = "") -> ModelView:
    facts = file.model if file else None
    parameters = model.supported_parameters
    context_length = model.context_length or (facts.context_tokens if facts else None)
    most_completion = model.max_completion_tokens or (facts.max_completion_tokens if facts else None)
    most_prompt = model.max_prompt_tokens or ((facts.max_prompt_tokens or None) if facts else None)
    inherited = tuple(_inherit(context, endpoint, context_length, most_prompt, most_completion, parameters, file) for endpoint in endpoints)
    return ModelView(
        id=facts.id if facts else id,
        aliases=tuple(model.aliases if model.aliases is not None else facts.aliases if facts else ()),
        name=model.name or (facts.name if facts else id),
        description=model.description if model.description is not None else facts.description if facts else "",
        created=_unix(facts.released) if facts and facts.released else 0,
        context_length=context_length,
        max_prompt_tokens=most_prompt,
        max_completion_tokens=most_completion,
        input_modalities=tuple(model.input or (facts.input if facts else ["text"])),
        output_modalities=tuple(model.output or (facts.output if facts else ["text"])),
        known_inputs=tuple(model.input or (facts.input if facts else ())),
        known_outputs=tuple(model.output or (facts.output if facts else ())),
        tokenizer=facts.tokenizer if facts else "",
        hugging_face_id=facts.hugging_face_id if facts else "",
        knowledge_cutoff=facts.knowledge if facts else "",
        open_weights=facts.open_weights if facts else None,
        supported_parameters=_of_all(parameters, inherited),
        reasoning=_reasoning(file.reasoning) if file and file.reasoning else None,
        expiration_date=_expiration(endpoints),
        source=source,
        endpoints=inherited,
        rpm=model.rpm,
        tpm=model.tpm,
        max_concurrency=model.max_concurrency,
    )


def _of_all(configured: list[str] | None, endpoints: tuple[EndpointView, ...]) -> tuple[str, ...] | None:
    """What the configuration says of the model, else what any of its endpoints is known to support."""
    if configured is not None:
        return tuple(configured)
    known = [endpoint.supported_parameters for endpoint in endpoints if endpoint.supported_parameters is not None]
    return tuple(sorted({name for names in known for name in names})) if known else None


def _shipped_endpoints(context: Context, file: ModelFile) -> list[EndpointView]:
    """Those whose provider is on and that have not been shut down."""
    found = []
    for endpoint in file.endpoint:
        source = context.sources.get(endpoint.provider)
        if source is None or _is_shut_down(endpoint, context.today):
            continue
        dialects = _endpoint_dialects(endpoint.dialect, endpoint.dialects, source)
        if dialects:
            found.append(_shipped_endpoint(context, file, endpoint, source, dialects))
    return found


def _is_shut_down(endpoint: CatalogueEndpoint, today: date) -> bool:
    return endpoint.shutdown_on is not None and endpoint.shutdown_on < today


def _own_endpoints(context: Context, id: str, endpoints: list[Endpoint], model: Model, file: ModelFile | None) -> list[EndpointView]:
    document = context.loaded.document
    found: list[EndpointView] = []
    seen: set[tuple[str, str, str]] = set()
    for index, endpoint in enumerate(endpoints):
        place: Place = ("models", id, "endpoints", index)
        check_parameters(document, (*place, "supported_parameters"), endpoint.supported_parameters or [])
        check_quirks(document, (*place, "quirks"), endpoint.quirks or [])
        identity = (endpoint.provider, endpoint.upstream_model, endpoint.region)
        if identity in seen:
            document.report(place, f"the endpoint {endpoint.upstream_model} at {endpoint.provider} is listed twice")
        seen.add(identity)
        source = context.sources.get(endpoint.provider)
        price = _own_price(document, place, endpoint, source.region if source else "")
        if source is None:
            if endpoint.provider not in context.declared:
                document.report((*place, "provider"), off_message(endpoint.provider, context.loaded, context.catalogue))
            continue
        dialects = _own_dialects(document, place, endpoint, source)
        if price is not None and dialects:
            if endpoint.usd_per_million is None and source.takes_key:
                document.report(place, "has no usd_per_million: its tokens are charged nothing", "warning")
            found.append(_own_endpoint(context, id, endpoint, source, dialects, price, file))
    return found


def _own_dialects(document: Document, place: Place, endpoint: Endpoint, source: Source) -> tuple[str, ...]:
    if endpoint.dialect and endpoint.dialects:
        document.report((*place, "dialects"), 'give either "dialect" or "dialects"')
    speaks = source.wire.dialects
    key = "dialect" if endpoint.dialect else "dialects"
    for dialect in [endpoint.dialect] if endpoint.dialect else endpoint.dialects or []:
        if dialect not in speaks:
            document.report((*place, key), f'provider "{endpoint.provider}" does not speak "{dialect}" but {", ".join(speaks)}')
    return _endpoint_dialects(endpoint.dialect, endpoint.dialects, source)


def _endpoint_dialects(dialect: str | None, dialects: Iterable[str] | None, source: Source) -> tuple[str, ...]:
    """What the endpoint and its provider both speak; all of the provider's where the endpoint names none."""
    named = [dialect] if dialect else [*(dialects or source.wire.dialects)]
    return tuple(name for name in named if name in source.wire.dialects)


def _shipped_endpoint(
    context: Context, file: ModelFile, endpoint: CatalogueEndpoint, source: Source, dialects: tuple[str, ...]
) -> EndpointView:
    dated = _price_of(endpoint.price, context.today)
    price = overrides.price(dated.usd_per_million, dated.usd_each, dated.override, endpoint.region or source.region)
    return EndpointView(
        id=context.endpoint_id(file.model.id, endpoint.provider, endpoint.upstream_model, endpoint.region),
        provider=endpoint.provider,
        provider_name=source.view.name,
        upstream_model=endpoint.upstream_model,
        dialects=dialects,
        region=endpoint.region,
        quantization=endpoint.quantization,
        status=endpoint.status,
        deprecated_on=endpoint.deprecated_on.isoformat() if endpoint.deprecated_on else None,
        shutdown_on=endpoint.shutdown_on.isoformat() if endpoint.shutdown_on else None,
        context_length=endpoint.context_tokens,
        max_prompt_tokens=endpoint.max_prompt_tokens,
        max_completion_tokens=endpoint.max_completion_tokens,
        supported_parameters=tuple(endpoint.supported_parameters) if endpoint.supported_parameters is not None else None,
        efforts=tuple(endpoint.efforts) if endpoint.efforts is not None else quirks.efforts(file.reasoning),
        quirks=(*quirks.following(file.capabilities, file.reasoning), *endpoint.quirks),
        supports_implicit_caching=bool(endpoint.cache and endpoint.cache.automatic),
        cache_ttl_seconds=tuple(endpoint.cache.ttl_seconds) if endpoint.cache else (),
        pricing=overrides.pricing(price),
        tier_pricing={tier: overrides.pricing(price, tier) for tier in overrides.tiers(price)},
        price=price,
        price_source=f"{dated.source} ({dated.checked.isoformat()})",
        not_applied=_not_applied(dated),
    )


def _own_endpoint(
    context: Context,
    model: str,
    endpoint: Endpoint,
    source: Source,
    dialects: tuple[str, ...],
    price: Price,
    file: ModelFile | None,
) -> EndpointView:
    following = quirks.following(file.capabilities, file.reasoning) if file else ()
    efforts = quirks.efforts(file.reasoning) if file else ()
    return EndpointView(
        id=context.endpoint_id(model, endpoint.provider, endpoint.upstream_model, endpoint.region),
        provider=endpoint.provider,
        provider_name=source.view.name,
        upstream_model=endpoint.upstream_model,
        dialects=dialects,
        region=endpoint.region,
        quantization=endpoint.quantization,
        status="ga",
        deprecated_on=None,
        shutdown_on=None,
        context_length=endpoint.context_length,
        max_prompt_tokens=endpoint.max_prompt_tokens,
        max_completion_tokens=endpoint.max_completion_tokens,
        supported_parameters=tuple(endpoint.supported_parameters) if endpoint.supported_parameters is not None else None,
        efforts=tuple(endpoint.efforts) if endpoint.efforts is not None else efforts,
        quirks=tuple(endpoint.quirks) if endpoint.quirks is not None else following,
        supports_implicit_caching=False,
        cache_ttl_seconds=(),
        pricing=overrides.pricing(price),
        tier_pricing={tier: overrides.pricing(price, tier) for tier in overrides.tiers(price)},
        price=price,
        price_source="configuration",
        not_applied=(),
    )


def _inherit(
    context: Context,
    endpoint: EndpointView,
    context_length: int | None,
    most_prompt: int | None,
    most_completion: int | None,
    parameters: list[str] | None,
    file: ModelFile | None,
) -> EndpointView:
    """An endpoint that says nothing of its own is as its model."""
    oddities = {*context.sources[endpoint.provider].wire.quirks, *endpoint.quirks}
    derived = served(file.capabilities, file.reasoning, endpoint.dialects, oddities) if file else None
    known = parameters if parameters is not None else derived
    own = endpoint.supported_parameters
    return replace(
        endpoint,
        context_length=endpoint.context_length or context_length,
        max_prompt_tokens=endpoint.max_prompt_tokens or most_prompt,
        max_completion_tokens=endpoint.max_completion_tokens or most_completion,
        supported_parameters=own if own is not None else tuple(known) if known is not None else None,
    )


def _own_price(document: Document, place: Place, endpoint: Endpoint, region: str) -> Price | None:
    """`region` is the provider's, for endpoints that name none."""
    usd_per_million = endpoint.usd_per_million or UsdPerMillion(prompt="0", completion="0")
    before = len(document.errors)
    check_prices(document, place, usd_per_million, endpoint.usd_each)
    check_overrides(document, place, endpoint.override)
    for name in ("prompt", "completion"):
        if getattr(usd_per_million, name) is None:
            document.report((*place, "usd_per_million"), f'"{name}" is missing')
    if len(document.errors) > before:
        return None
    for index, override in enumerate(endpoint.override):
        for name, problem in overrides.misplaced(override.when, endpoint.region or region):
            document.report((*place, "override", index, "when", name), problem, "warning")
    return overrides.price(usd_per_million, endpoint.usd_each, endpoint.override, endpoint.region or region)


def _price_of(prices: list[DatedPrice], today: date) -> DatedPrice:
    """The newest that is in force, of two from one day the later one; before the first of them, the first."""
    return max(
        (price for price in reversed(prices) if price.from_ <= today),
        key=lambda price: price.from_,
        default=min(prices, key=lambda price: price.from_),
    )


_NOT_REACHED = frozenset({"file_search"})
"""Searching files is no part of the dialects that are built."""


def _not_applied(price: DatedPrice) -> tuple[str, ...]:
    listed = [(price.usd_per_million, price.usd_each)]
    listed += [(override.usd_per_million or UsdPerMillion(), override.usd_each or UsdEach()) for override in price.override]
    prices = [table for tables in listed for table in tables]
    names = {name for table in prices for name in table.__struct_fields__ if getattr(table, name) is not None}
    return tuple(sorted(names - {*CHARGED_PER_MILLION, *CHARGED_EACH} - _NOT_REACHED))


def _reasoning(reasoning: Reasoning) -> ReasoningView | None:
    if reasoning.style == "none":
        return None
    return ReasoningView(
        mandatory=reasoning.style == "always" or reasoning.can_disable is False,
        supported_efforts=tuple(reasoning.efforts),
        default_effort=reasoning.default_effort or None,
        supports_max_tokens=reasoning.style == "budget",
    )


def _expiration(endpoints: list[EndpointView]) -> str | None:
    dates = [endpoint.shutdown_on for endpoint in endpoints]
    return max((day for day in dates if day), default=None) if all(dates) else None


def _check_names(context: Context, views: list[ModelView]) -> None:
    """Ids and aliases are one name space. A clash is reported where the configuration can resolve it."""
    owners: dict[str, str] = {view.id: view.id for view in views}
    own = context.loaded.config.models
    for view in sorted(views, key=lambda view: view.id in own):  # the catalogue first, so that the configuration is told
        for index, alias in enumerate(view.aliases):
            owner = owners.setdefault(alias, view.id)
            if owner == view.id:
                continue
            place: Place = ("models", view.id, "aliases", index) if view.id in own else ("models", owner)
            other = owner if view.id in own else view.id
            name = alias if view.id in own else owner
            context.loaded.document.report(place, f'the name "{name}" is taken by the model "{other}"')


def _unix(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def most_completion_tokens(view: ModelView) -> int | None:
    """The most that any of its endpoints gives; unknown as soon as one is."""
    known = [endpoint.max_completion_tokens for endpoint in view.endpoints]
    return None if None in known else max(count for count in known if count is not None)
