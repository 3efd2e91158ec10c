"""Reads and judges the TOML files of a catalogue."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.catalog.document import Document, Mistakes, did_you_mean
from fairlead.catalog.document import Struct as FileStruct
from fairlead.catalog.hours import BadHours, hours_of
from fairlead.catalog.prices import BadPrice, pico_per_token, pico_per_unit
from fairlead.catalog.schema import (
    PARAMETERS,
    QUIRKS,
    DatedPrice,
    ModelFile,
    Override,
    ProviderFacts,
    ProviderFile,
    UsdEach,
    UsdPerMillion,
    When,
)

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Catalogue:
    """Providers by slug and models by id, both in the order of their names."""

    providers: dict[str, ProviderFacts] = field(default_factory=dict)
    models: dict[str, ModelFile] = field(default_factory=dict)


def load(directory: Path) -> Catalogue:
    """Reads `providers/*.toml` and `models/**/*.toml` below a directory.

    Raises:
        Mistakes: with everything that is wrong in any of the files.
    """
    documents: list[Document] = []
    providers = _files(directory, "providers", ProviderFile, documents)
    models = _files(directory, "models", ModelFile, documents)
    catalogue = Catalogue(
        providers={file.provider.slug: file.provider for _, file in providers},
        models={file.model.id: file for _, file in models},
    )
    _check_names(providers, models)
    for document, provider in providers:
        check_quirks(document, ("provider", "quirks"), provider.provider.quirks)
        for dialect in provider.provider.auths:
            if dialect not in provider.provider.dialects:
                document.report(("provider", "auths", dialect), f'the provider does not list the dialect "{dialect}"')
    for document, file in models:
        _check_model(document, file, catalogue.providers)
    problems = [problem for document in documents for problem in document.problems]
    if problems:
        raise Mistakes(problems)
    return catalogue


def _files(directory: Path, folder: str, struct: type[FileStruct], documents: list[Document]) -> list[tuple[Document, FileStruct]]:
    found = []
    for path in sorted((directory / folder).rglob("*.toml")):
        name = path.relative_to(directory).as_posix()
        try:
            document = Document.parse(name, path.read_text(encoding="utf-8"))
        except Mistakes as mistakes:
            document = Document(name, {}, problems=[*mistakes.problems])
            documents.append(document)
            continue
        documents.append(document)
        if (file := document.decode(struct)) is not None:
            found.append((document, file))
    return found


def _check_names(providers: list[tuple[Document, ProviderFile]], models: list[tuple[Document, ModelFile]]) -> None:
    taken: dict[str, str] = {}
    for document, provider in providers:
        if document.file != (expected := f"providers/{provider.provider.slug}.toml"):
            document.report(("provider", "slug"), f'belongs into "{expected}"')
        facts = provider.provider
        if not facts.base_url and facts.environment and facts.on_by_environment:
            document.report(("provider", "base_url"), "is needed where an environment variable switches the provider on")
    for document, model in models:
        if document.file != (expected := f"models/{model.model.id}.toml"):
            document.report(("model", "id"), f'belongs into "{expected}"')
        for name in (model.model.id, *model.model.aliases):
            if name in taken:
                document.report(("model", "aliases"), f'"{name}" is taken by {taken[name]}')
            taken[name] = model.model.id


def _check_model(document: Document, file: ModelFile, providers: dict[str, ProviderFacts]) -> None:
    check_parameters(document, ("capabilities", "parameters_refused"), file.capabilities.parameters_refused if file.capabilities else [])
    seen = set()
    for index, endpoint in enumerate(file.endpoint):
        place: Place = ("endpoint", index)
        provider = providers.get(endpoint.provider)
        if provider is None:
            document.report((*place, "provider"), f'unknown provider "{endpoint.provider}"{did_you_mean(endpoint.provider, providers)}')
        for dialect in [endpoint.dialect] if endpoint.dialect else endpoint.dialects or []:
            if provider is not None and dialect not in provider.dialects:
                document.report((*place, "dialect"), f'provider "{endpoint.provider}" does not speak "{dialect}"')
        identity = (endpoint.provider, endpoint.upstream_model, endpoint.region)
        if identity in seen:
            document.report(place, f"the endpoint {endpoint.upstream_model} at {endpoint.provider} is listed twice")
        seen.add(identity)
        check_parameters(document, (*place, "supported_parameters"), endpoint.supported_parameters or [])
        check_quirks(document, (*place, "quirks"), endpoint.quirks)
        for number, price in enumerate(endpoint.price):
            _check_price(document, (*place, "price", number), price)


def _check_price(document: Document, place: Place, price: DatedPrice) -> None:
    check_prices(document, place, price.usd_per_million, price.usd_each)
    for name in ("prompt", "completion"):
        if getattr(price.usd_per_million, name) is None:
            document.report((*place, "usd_per_million"), f'"{name}" is missing')
    check_overrides(document, place, price.override)


def check_overrides(document: Document, place: Place, overrides: Iterable[Override]) -> None:
    """Reports conditions that no request meets, prices that cannot be carried, and overrides that say nothing."""
    for index, override in enumerate(overrides):
        here: Place = (*place, "override", index)
        check_prices(document, here, override.usd_per_million or UsdPerMillion(), override.usd_each or UsdEach())
        if override.multiplier is not None and not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", override.multiplier):
            message = f'expected a decimal number in quotes such as "0.5", at most six decimals, got "{override.multiplier[:40]}"'
            document.report((*here, "multiplier"), message)
        if override.when == When():
            document.report((*here, "when"), "names no condition: what always holds is the price itself")
        if override.when.days == []:
            document.report((*here, "when", "days"), "is empty: name ISO weekdays, 1 (Monday) to 7, or leave it out for every day")
        try:
            hours_of(override.when.utc, override.when.days)
        except BadHours as error:
            document.report((*here, "when", "utc"), str(error))
        if override.multiplier is None and not any(
            [*_written(prices)] for prices in (override.usd_per_million, override.usd_each) if prices
        ):
            document.report(here, "changes no price: give usd_per_million, usd_each or multiplier")


def check_prices(document: Document, place: Place, usd_per_million: UsdPerMillion, usd_each: UsdEach) -> None:
    """Reports every price that pico-dollars cannot carry exactly."""
    for table, prices, convert in (("usd_per_million", usd_per_million, pico_per_token), ("usd_each", usd_each, pico_per_unit)):
        for name, text in _written(prices):
            try:
                convert(text)
            except BadPrice as error:
                document.report((*place, table, name), str(error))


def check_parameters(document: Document, place: Place, names: Iterable[str]) -> None:
    """Reports every name that is not one of OpenRouter's parameters."""
    for index, name in enumerate(names):
        if name not in PARAMETERS:
            document.report((*place, index), f'unknown parameter "{name}"{did_you_mean(name, PARAMETERS)}')


def check_quirks(document: Document, place: Place, names: Iterable[str]) -> None:
    """Reports every name that is not one of the quirks."""
    for index, name in enumerate(names):
        if name not in QUIRKS:
            document.report((*place, index), f'unknown quirk "{name}"{did_you_mean(name, QUIRKS)}')


def _written(prices: UsdPerMillion | UsdEach) -> Iterator[tuple[str, str]]:
    for name in prices.__struct_fields__:
        text = getattr(prices, name)
        if text is not None:
            yield name, text
