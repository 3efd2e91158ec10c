"""`fairlead models`: which models requests can name here, what they cost and where they are served."""

import argparse
import sys

import msgspec

from fairlead.catalog.prices import usd_per_million_text
from fairlead.cli import FAILED, FINE, MISUSE
from fairlead.cli.configured import add_config_option, configured
from fairlead.cli.table import table
from fairlead.config import EndpointView, Mistakes, ModelView, report

NAME = "models"
HELP = "list models with prices and endpoints"

_HEADINGS = ("MODEL", "PROVIDER", "PROMPT $/M", "COMPLETION $/M", "CACHE READ $/M", "CONTEXT", "DIALECTS", "NOTES")
_NUMBERS = frozenset({2, 3, 4, 5})


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and the query."""
    add_config_option(parser)
    parser.add_argument("query", nargs="?", metavar="QUERY", help="only models with this in their id, name, alias or provider")


def run(arguments: argparse.Namespace) -> int:
    """0: listed; 1: no model matches; 2: the configuration cannot be used."""
    try:
        compiled, _ = configured(arguments.config)
    except Mistakes as mistakes:
        if arguments.json:
            sys.stdout.write(report.json(mistakes.problems).decode() + "\n")
        else:
            sys.stderr.write(report.text(mistakes.problems))
        return MISUSE
    found = [model for model in compiled.models if _matches(model, arguments.query or "")]
    if arguments.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode({"data": found}), indent=2).decode() + "\n")
    elif found:
        sys.stdout.write(table(_HEADINGS, [row for model in found for row in _rows(model)], _NUMBERS))
    else:
        sys.stderr.write(f'no model matches "{arguments.query}"\n' if arguments.query else "no model is served here\n")
    return FINE if found else FAILED


def _matches(model: ModelView, query: str) -> bool:
    words = (model.id, model.name, *model.aliases, *(endpoint.provider for endpoint in model.endpoints))
    return any(query.lower() in word.lower() for word in words)


def _rows(model: ModelView) -> list[tuple[str, ...]]:
    """One row per endpoint; the id stands at the first."""
    return [
        (
            model.id if index == 0 else "",
            endpoint.provider,
            usd_per_million_text(endpoint.price.prompt),
            usd_per_million_text(endpoint.price.completion),
            usd_per_million_text(endpoint.price.cache_read) if endpoint.price.cache_read is not None else "-",
            str(endpoint.context_length or "-"),
            " ".join(endpoint.dialects),
            _notes(endpoint),
        )
        for index, endpoint in enumerate(model.endpoints)
    ]


def _notes(endpoint: EndpointView) -> str:
    notes = []
    if endpoint.shutdown_on:
        notes.append(f"shuts down {endpoint.shutdown_on}")
    elif endpoint.status != "ga":
        notes.append(endpoint.status)
    if endpoint.not_applied:
        notes.append("base price whatever " + ", ".join(endpoint.not_applied))
    return "; ".join(notes)
