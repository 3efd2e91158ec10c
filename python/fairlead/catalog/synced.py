"""Prices and models that came from a feed after the package was made: kept in the data folder, laid over the shipped catalogue.

The file has a line per endpoint with new prices, and one per new model. Prices there are dated blocks too: nothing is ever replaced, the
newest that is in force applies, whether it was shipped or synced.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, structs

from fairlead.catalog.compiled import shipped
from fairlead.catalog.document import Document, Mistakes, Problem
from fairlead.catalog.load import Catalogue, check_overrides, check_prices
from fairlead.catalog.schema import CatalogueEndpoint, DatedPrice, ModelFile

NAME = "catalogue.jsonl"
_MOST_BYTES = 64 << 20
_TO_DO = "take it away, which undoes every sync, and fetch it anew with `fairlead models sync`"


class SyncedPrices(Struct, tag_field="kind", tag="prices", forbid_unknown_fields=True, kw_only=True):
    """Further prices of an endpoint."""

    model: str
    provider: str
    upstream_model: str
    region: str = ""
    price: Annotated[list[DatedPrice], Meta(min_length=1)]


class SyncedModel(Struct, tag_field="kind", tag="model", forbid_unknown_fields=True, kw_only=True):
    """A model that the package does not have."""

    file: ModelFile


Line = SyncedPrices | SyncedModel
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(SyncedPrices | SyncedModel)


def current(data_dir: str | Path) -> Catalogue:
    """The shipped catalogue with what was synced into a data folder.

    Raises:
        Mistakes: the file there cannot be used.
    """
    lines = read(Path(data_dir) / NAME)
    return laid_over(shipped(), lines) if lines else shipped()


def read(path: Path) -> list[Line]:
    """The lines of a file; none where it is missing.

    Raises:
        Mistakes: a line cannot be used.
    """

    def unusable(number: int | None, why: object) -> Mistakes:
        return Mistakes([Problem(str(path), number, None, "", f"{why}; {_TO_DO}")])

    try:
        if path.exists() and not path.is_file():
            raise unusable(None, "is not a file")
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unusable(None, f"cannot be read: {error.strerror or error}") from None
    if len(data) > _MOST_BYTES:
        raise unusable(None, f"is longer than {_MOST_BYTES} bytes")
    lines: list[Line] = []
    for number, text in enumerate(data.splitlines(), 1):
        try:
            line = _DECODER.decode(text)
            check(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise unusable(number, error) from None
        lines.append(line)
    return lines


def write(path: Path, lines: Iterable[Line]) -> None:
    """Replaces the file as a whole: a reader sees the old one or the new one."""
    lines = [*lines]
    for line in lines:
        check(line)
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def extended(old: Iterable[Line], new: Iterable[Line]) -> list[Line]:
    """Old lines and new ones; of two prices of an endpoint from the same day the new one stays."""
    new = [*new]
    replaced = {(line.model, identity(line), line.price[0].from_) for line in new if isinstance(line, SyncedPrices)}
    kept = [line for line in old if not (isinstance(line, SyncedPrices) and (line.model, identity(line), line.price[0].from_) in replaced)]
    return [*kept, *new]


def laid_over(catalogue: Catalogue, lines: Iterable[Line]) -> Catalogue:
    """A catalogue with further prices and models. What the package has by now under the same name, or no longer has, is left out."""
    models = dict(catalogue.models)
    names = {name for id, file in models.items() for name in (id, *file.model.aliases)}
    for line in lines:
        if isinstance(line, SyncedPrices):
            if line.model in models:
                models[line.model] = _with_prices(models[line.model], line)
        elif line.file.model.id not in names and all(endpoint.provider in catalogue.providers for endpoint in line.file.endpoint):
            models[line.file.model.id] = line.file
            names.add(line.file.model.id)
    return Catalogue(providers=catalogue.providers, models=dict(sorted(models.items())))


def _with_prices(file: ModelFile, line: SyncedPrices) -> ModelFile:
    endpoints = [
        structs.replace(endpoint, price=[*endpoint.price, *line.price]) if identity(endpoint) == identity(line) else endpoint
        for endpoint in file.endpoint
    ]
    return structs.replace(file, endpoint=endpoints)


def identity(endpoint: CatalogueEndpoint | SyncedPrices) -> tuple[str, str, str]:
    """What tells endpoints of a model apart."""
    return endpoint.provider, endpoint.upstream_model, endpoint.region


def check(line: Line) -> None:
    """Looks at what the types of a line that was made here do not say.

    Raises:
        ValueError: it could not be charged by, or not be read again; the text says why.
    """
    try:
        _DECODER.decode(msgspec.json.encode(line))
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from None
    prices = line.price if isinstance(line, SyncedPrices) else [price for endpoint in line.file.endpoint for price in endpoint.price]
    document = Document("", {})
    for price in prices:
        check_prices(document, (), price.usd_per_million, price.usd_each)
        check_overrides(document, (), price.override)
        if price.usd_per_million.prompt is None or price.usd_per_million.completion is None:
            raise ValueError("a price without prompt or completion")
    if document.errors:
        raise ValueError(document.errors[0].message)
