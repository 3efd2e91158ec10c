"""`fairlead models`: which models requests can name here, what they cost and where they are served; presets, splits and shadows; `sync`."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TypedDict

import msgspec
from msgspec import structs

from fairlead.catalog.prices import usd_per_million_text
from fairlead.cli import FAILED, FINE, MISUSE, sync
from fairlead.cli.configured import add_config_option, configured
from fairlead.cli.output import failed, mistaken, print_json
from fairlead.cli.table import table
from fairlead.config import Compiled, EndpointView, Mistakes, ModelView, PresetView, Price, ShadowView, SplitView
from fairlead.config.overrides import words
from fairlead.config.view import Rates

NAME = "models"
HELP = "list models with prices and endpoints, presets, splits and shadows"

_HEADINGS = ("MODEL", "PROVIDER", "PROMPT $/M", "COMPLETION $/M", "CACHE READ $/M", "CONTEXT", "DIALECTS", "NOTES")
_NUMBERS = frozenset({2, 3, 4, 5})
_NAME_HEADINGS = ("NAME", "STANDS FOR", "NOTES")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`, the query and what narrows it, and what `sync` needs."""
    add_config_option(parser)
    parser.add_argument(
        "query", nargs="?", metavar="QUERY|sync", help="only what has this in its id, name, alias, provider or models; or: sync"
    )
    narrow = parser.add_argument_group("to narrow the list to some models")
    narrow.add_argument("--provider", metavar="P", help="only endpoints at this provider")
    narrow.add_argument("--input", metavar="M", help="only models that take this: text, image, file, audio, video")
    narrow.add_argument("--parameter", metavar="P", help="only models that are known to support this, such as tools")
    narrow.add_argument("--context", metavar="N", type=int, help="only models with a context of N tokens or more")
    sync = parser.add_argument_group("models sync", "new prices and models of a feed, in the shape of models.dev, OpenRouter or LiteLLM")
    sync.add_argument("--from", dest="source", metavar="URL|FILE", help="the feed")
    sync.add_argument("--dry-run", action="store_true", help="show what is new, write nothing")
    sync.add_argument("--data-dir", metavar="D", help="the data folder, if not that of the configuration")


def run(arguments: argparse.Namespace) -> int:
    """0: listed; 1: nothing matches; 2: the configuration cannot be used. With `sync`: as `sync.run`."""
    if arguments.query == "sync":
        return sync.run(arguments, dict(os.environ))
    if arguments.source or arguments.dry_run or arguments.data_dir:
        return failed(arguments, "--from, --dry-run and --data-dir go with: fairlead models sync", MISUSE)
    try:
        compiled, _ = configured(arguments.config)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    found = _found(compiled, arguments)
    if arguments.json:
        print_json(found)
    elif any(found.values()):
        sys.stdout.write("\n".join(_tables(found)))
    else:
        sys.stderr.write("no model matches\n" if compiled.models else "no model is served here\n")
    return FINE if any(found.values()) else FAILED


class _Found(TypedDict):
    data: list[ModelView]
    presets: list[PresetView]
    splits: list[SplitView]
    shadows: list[ShadowView]


def _found(compiled: Compiled, arguments: argparse.Namespace) -> _Found:
    """Presets, splits and shadows are no models: where models are narrowed down, they are left out."""
    query = arguments.query or ""
    is_narrowed = any(option is not None for option in (arguments.provider, arguments.input, arguments.parameter, arguments.context))
    presets, splits, shadows = ((), (), ()) if is_narrowed else (compiled.presets, compiled.splits, compiled.shadows)
    return {
        "data": [narrowed for model in compiled.models if (narrowed := _narrowed(model, arguments)) is not None],
        "presets": [preset for preset in presets if _matches(query, f"@preset/{preset.name}", *preset.models)],
        "splits": [split for split in splits if _matches(query, split.name, *(arm.model for arm in split.arms))],
        "shadows": [shadow for shadow in shadows if _matches(query, shadow.model, shadow.shadow)],
    }


def _narrowed(model: ModelView, arguments: argparse.Namespace) -> ModelView | None:
    """The model with the endpoints that were asked for; none where nothing is left of it."""
    endpoints = tuple(endpoint for endpoint in model.endpoints if arguments.provider in (None, endpoint.provider))
    fits = (
        endpoints
        and _matches(arguments.query or "", *_words(model))
        and arguments.input in (None, *model.input_modalities)
        and arguments.parameter in (None, *(model.supported_parameters or ()))
        and (model.context_length or 0) >= (arguments.context or 0)
    )
    return structs.replace(model, endpoints=endpoints) if fits else None


def _matches(query: str, *words: str) -> bool:
    return any(query.lower() in word.lower() for word in words)


def _words(model: ModelView) -> Iterator[str]:
    yield from (model.id, model.name, *model.aliases, *(endpoint.provider for endpoint in model.endpoints))


def _tables(found: _Found) -> Iterator[str]:
    if found["data"]:
        yield table(_HEADINGS, [row for model in found["data"] for row in _rows(model)], _NUMBERS)
    names = [*map(_preset_row, found["presets"]), *map(_split_row, found["splits"]), *map(_shadow_row, found["shadows"])]
    if names:
        yield table(_NAME_HEADINGS, names)


def _preset_row(preset: PresetView) -> tuple[str, ...]:
    notes = [f"version {preset.version}"]
    if preset.provider:
        notes.append("provider " + msgspec.json.encode(preset.provider).decode())
    if preset.fields:
        notes.append("says " + ", ".join(preset.fields))
    notes += [switch for switch in ("strict_translation", "automatic_cache") if getattr(preset, switch)]
    return f"@preset/{preset.name}", ", then ".join(preset.models), "; ".join(notes)


def _split_row(split: SplitView) -> tuple[str, ...]:
    return split.name, ", ".join(f"{arm.model} ({arm.weight})" for arm in split.arms), ""


def _shadow_row(shadow: ShadowView) -> tuple[str, ...]:
    return shadow.model, shadow.shadow, f"shadow, gets a copy of {shadow.share * 100:.6g} % of the requests"


def _rows(model: ModelView) -> list[tuple[str, ...]]:
    """One row per endpoint, and below it one for each condition under which it costs something else; the id stands at the first."""
    rows = []
    for index, endpoint in enumerate(model.endpoints):
        shown = (str(endpoint.context_length or "-"), " ".join(endpoint.dialects), _notes(endpoint))
        rows.append((model.id if index == 0 else "", endpoint.provider, *_prices(endpoint.price), *shown))
        rows += [("", f"  {words(override)}", *_prices(override.rates), "", "", "") for override in endpoint.price.overrides]
    return rows


def _prices(price: Price | Rates) -> tuple[str, ...]:
    return tuple(usd_per_million_text(pico) if pico is not None else "-" for pico in (price.prompt, price.completion, price.cache_read))


def _notes(endpoint: EndpointView) -> str:
    notes = []
    if endpoint.shutdown_on:
        notes.append(f"shuts down {endpoint.shutdown_on}")
    elif endpoint.status != "ga":
        notes.append(endpoint.status)
    if endpoint.not_applied:
        notes.append("the usual price whatever " + ", ".join(endpoint.not_applied))
    return "; ".join(notes)
