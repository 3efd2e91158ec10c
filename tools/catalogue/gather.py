"""Brings a table of facts up to date with the packages that publish prices.

Who a model is, what it can do and where it is served stays as it stands in the table; what it costs and how much it takes is asked of the
sources anew, in the order of trust: genai-prices, LiteLLM, pi-ai, models.dev (of OpenRouter's moving prices, pi-ai first). Where another
source says something else by more than half a percent, the row says so. A row that no source knows any more stays as it is.
Names at a row's provider that the table does not have are listed, for whoever adds rows.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

from tools.catalogue.facts import COLUMNS, TOKEN_PRICES
from tools.catalogue.sources import COMPARED, Key, Prices, View, feed, genai_prices, pi_ai

Row = dict[str, str]
Sources = dict[str, tuple[date, dict[Key, View]]]
"""Name → the day of its data and its views, the most trusted first."""

_HALF_A_PERCENT = Decimal("0.005")
_MOVING = "openrouter"


def main(words: list[str] | None = None) -> int:
    """0: written; 2: a source cannot be read."""
    arguments = _parser().parse_args(words)
    try:
        sources = _read(arguments)
        with arguments.onto.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, ValueError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    for row in rows:
        refresh(row, sources)
    _write(arguments.out, rows)
    for provider, names in sorted(unlisted(rows, sources).items()):
        sys.stdout.write(f"{provider}: {', '.join(sorted(names))}\n")
    counts = Counter(row["price_source"] for row in rows)
    sys.stderr.write(f"{len(rows)} rows; prices from {dict(counts)}; {sum(bool(row['conflicts']) for row in rows)} conflicts\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onto", type=Path, required=True, help="the table to bring up to date")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--as-of", type=date.fromisoformat, required=True)
    parser.add_argument("--genai-date", type=date.fromisoformat, help="genai-prices is installed, and its data are of this day")
    for name, what in (
        ("litellm", "model_prices_and_context_window.json"),
        ("pi-ai", "folder dist/providers/data"),
        ("models-dev", "api.json"),
    ):
        parser.add_argument(f"--{name}", type=Path, help=what)
        parser.add_argument(f"--{name}-date", type=date.fromisoformat, help="the day of its data")
    return parser


def _read(arguments: argparse.Namespace) -> Sources:
    sources: Sources = {}
    if arguments.genai_date:
        sources["genai-prices"] = (arguments.genai_date, genai_prices(arguments.as_of))
    readers: dict[str, Callable[[Path], dict[Key, View]]] = {"litellm": feed, "pi-ai": pi_ai, "models.dev": feed}
    for name, read in readers.items():
        option = name.replace("-", "_").replace(".", "_")
        if path := getattr(arguments, option):
            day = getattr(arguments, f"{option}_date")
            if day is None:
                raise ValueError(f"--{option.replace('_', '-')}-date is missing: a price without a day is none")
            sources[name] = (day, read(path))
    return sources


def refresh(row: Row, sources: Sources) -> None:
    """Brings one row up to date. A row whose price depends on the hour keeps it: only the table can say that."""
    key = (row["provider"], row["upstream_model"])
    views = {name: (day, found[key]) for name, (day, found) in sources.items() if key in found}
    if not views or row["windows"] or any(view.by_the_hour for _, view in views.values()):
        return
    order = sorted(views, key=lambda name: name != "pi-ai") if row["provider"] == _MOVING else [*views]
    winner = order[0]
    day, view = views[winner]
    prices, tiers = _completed([views[name][1] for name in order])
    if row["price_source_date"] and day < date.fromisoformat(row["price_source_date"]):
        return  # the table has newer ones
    row |= {name: _text(prices.get(name)) for name in TOKEN_PRICES}
    row["tiers"] = ";".join(f">{above}:{_pack(amounts)}" for above, amounts in sorted(tiers.items()))
    if view.variants:
        row["variants"] = ";".join(_variant(label, *variant) for label, variant in sorted(view.variants.items()))
    row["price_source"], row["price_source_date"] = winner, day.isoformat()
    row["price_since"] = view.since.isoformat() if view.since else ""
    row["price_url"] = view.url or row["price_url"]
    against = {name: _pack(_compared(other.prices)) for name, (_, other) in views.items() if differs(view.prices, other.prices)}
    row["conflicts"] = " ".join(f"{name}:{prices}" for name, prices in against.items())
    row["agree"] = f"{len(views) - len(against)}/{len(views)}"
    for column, known in (("context", "context"), ("max_output", "max_output")):
        figures = [figure for _, other in views.values() if (figure := getattr(other, known))]
        row[column] = row[column] or (str(max(figures)) if figures else "")


def _completed(views: list[View]) -> tuple[Prices, dict[int, Prices]]:
    """The first view's prices; what it does not speak of is taken from those that agree with it on the rest."""
    first, *others = views
    prices, tiers = dict(first.prices), first.tiers
    for other in others:
        if not differs(first.prices, other.prices):
            prices = other.prices | prices
            tiers = tiers or other.tiers
    return prices, tiers


def differs(one: Prices, other: Prices) -> bool:
    """By more than half a percent, in a price that both know."""
    both = [(one[name], other[name]) for name in COMPARED if name in one and name in other]
    return any(abs(left - right) > _HALF_A_PERCENT * max(left, right) for left, right in both)


def unlisted(rows: list[Row], sources: Sources) -> dict[str, set[str]]:
    """What two sources or more have at a provider of the table, and the table has not."""
    known = {(row["provider"], row["upstream_model"]) for row in rows}
    providers = {provider for provider, _ in known}
    seen = Counter(key for _, views in sources.values() for key in views if key[0] in providers and key not in known)
    found: dict[str, set[str]] = {}
    for (provider, name), count in seen.items():
        if count > 1:
            found.setdefault(provider, set()).add(name)
    return found


def _compared(prices: Prices) -> Prices:
    return {name: prices[name] for name in COMPARED if name in prices}


def _pack(prices: Prices) -> str:
    return ",".join(f"{name}={_text(value)}" for name, value in prices.items())


def _variant(label: str, prices: Prices, tiers: dict[int, Prices]) -> str:
    return "|".join([f"{label}:{_pack(prices)}", *(f">{above}:{_pack(amounts)}" for above, amounts in sorted(tiers.items()))])


def _text(value: Decimal | None) -> str:
    """A plain decimal; the dust of a binary float is beyond ten digits."""
    if value is None:
        return ""
    text = f"{Decimal(f'{value:.10g}'):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _write(path: Path, rows: list[Row]) -> None:
    lines = ["\t".join(COLUMNS), *("\t".join(row[column] for column in COLUMNS) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
