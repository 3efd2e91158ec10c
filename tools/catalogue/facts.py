"""What the sources say about an endpoint: one `Fact` per model and provider, whatever form it was read from.

The form that every source is brought into, and that can be kept and compared, is a table of tab-separated values with the columns of
`COLUMNS`. Prices are US dollars per million tokens, or per what the key names.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

Prices = dict[str, Decimal]

TOKEN_PRICES = ("prompt", "completion", "cache_read", "cache_write", "cache_write_1h")
COLUMNS = (
    "model", "provider", "upstream_model", "mode", "dialect", "context", "max_prompt", "max_output", "input_modalities",
    "output_modalities",
    "capabilities", "reasoning", "efforts", *TOKEN_PRICES, "other_prices", "tiers", "windows", "variants", "price_since", "price_source",
    "price_source_date", "price_url", "agree", "conflicts", "deprecation_date", "knowledge", "released", "open_weights", "tokenizer",
    "sources",
)  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Prices at some hours of some days (UTC; ISO weekdays of the window's start)."""

    days: tuple[int, ...]
    hours: str
    prices: Prices


@dataclass
class Fact:
    """One endpoint, as the sources merged into one see it."""

    model: str
    """OpenRouter's spelling; empty: none was found."""
    guessed: bool
    """The id was inferred, not read."""
    provider: str
    upstream_model: str
    mode: str = "chat"
    context: int | None = None
    max_prompt: int | None = None
    max_output: int | None = None
    input: tuple[str, ...] = ()
    output: tuple[str, ...] = ()
    capabilities: frozenset[str] = frozenset()
    """`!x`: known not to."""
    reasoning: frozenset[str] = frozenset()
    efforts: tuple[str, ...] = ()
    prices: Prices = field(default_factory=dict)
    other_prices: Prices = field(default_factory=dict)
    tiers: dict[int, Prices] = field(default_factory=dict)
    """Above so many prompt tokens."""
    windows: tuple[Window, ...] = ()
    variants: dict[str, tuple[Prices, dict[int, Prices]]] = field(default_factory=dict)
    """Service tier → prices, and those above so many prompt tokens."""
    since: date | None = None
    source: str = ""
    source_date: date | None = None
    url: str = ""
    sources: int = 1
    """How many sources list it."""
    conflicts: str = ""
    """What other sources say of its price, as they say it; empty: they agree."""
    deprecated: bool = False
    shutdown_on: date | None = None
    knowledge: str = ""
    released: date | None = None
    open_weights: bool | None = None
    tokenizer: str = ""

    @property
    def slug(self) -> str:
        """The model's name without its author."""
        return self.model.partition("/")[2]


def read_table(path: Path) -> list[Fact]:
    """Reads the table form.

    Raises:
        ValueError: a cell cannot be read; the text names its line and column.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [_fact(number, row) for number, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 2)]


def _fact(line: int, row: dict[str, str]) -> Fact:
    column = ""
    try:
        fields: dict[str, Any] = {}
        for column, read in _READERS.items():
            fields |= read(row[column])
        return Fact(
            model=row["model"].rstrip("?"),
            guessed=row["model"].endswith("?"),
            provider=row["provider"],
            upstream_model=row["upstream_model"],
            prices={key: Decimal(row[key]) for key in TOKEN_PRICES if row[key]},
            **fields,
        )
    except (KeyError, ValueError, InvalidOperation) as error:
        raise ValueError(f"line {line}, {column or 'prices'}: {error}") from error


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)


def _count(text: str) -> int | None:
    return int(text) if text else None


def _day(text: str) -> date | None:
    return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None


def parse_prices(text: str) -> Prices:
    """`prompt=1.5,completion=9` → prices by name."""
    return {key: Decimal(value) for key, _, value in (part.partition("=") for part in _words(text))}


def _tiers(text: str) -> dict[int, Prices]:
    """`>272000:prompt=10,completion=45`, several joined by `;` or `|`."""
    tiers = {}
    for part in re.split(r"[;|]", text):
        if part:
            above, _, prices = part.removeprefix(">").partition(":")
            # A source that writes 199,999 or 128,001 means the round number: "above" is strict.
            tiers[round(int(above), -3)] = parse_prices(prices)
    return tiers


def _windows(text: str) -> tuple[Window, ...]:
    return tuple(window for part in text.split(";") if part.startswith("days") for window in _window(part))


def _window(text: str) -> Iterator[Window]:
    """`days12345 00:00-01:00 04:00-06:00:prompt=…`."""
    head, _, prices = text.rpartition(":")
    days, *hours = head.split()
    for span in hours:
        yield Window(tuple(int(day) for day in days.removeprefix("days")), span, parse_prices(prices))


def _variants(text: str) -> dict[str, tuple[Prices, dict[int, Prices]]]:
    """`batch:prompt=1|>272000:prompt=2;flex:…`."""
    variants = {}
    for part in text.split(";"):
        if part:
            name, _, rest = part.partition(":")
            prices, _, tiers = rest.partition("|")
            variants[name] = (parse_prices(prices), _tiers(tiers))
    return variants


_READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "mode": lambda text: {"mode": text},
    "context": lambda text: {"context": _count(text)},
    "max_prompt": lambda text: {"max_prompt": _count(text)},
    "max_output": lambda text: {"max_output": _count(text)},
    "input_modalities": lambda text: {"input": _words(text)},
    "output_modalities": lambda text: {"output": _words(text)},
    "capabilities": lambda text: {"capabilities": frozenset(_words(text))},
    "reasoning": lambda text: {"reasoning": frozenset(text.split("+")) - {""}},
    "efforts": lambda text: {"efforts": _words(text)},
    "other_prices": lambda text: {"other_prices": parse_prices(text)},
    "tiers": lambda text: {"tiers": _tiers(text)},
    "windows": lambda text: {"windows": _windows(text)},
    "variants": lambda text: {"variants": _variants(text)},
    "price_since": lambda text: {"since": _day(text)},
    "price_source": lambda text: {"source": text.rstrip("~")},
    "price_source_date": lambda text: {"source_date": _day(text)},
    "price_url": lambda text: {"url": text},
    "agree": lambda text: {"sources": int(text.partition("/")[2] or 1)},
    "conflicts": lambda text: {"conflicts": text},
    "deprecation_date": lambda text: {"deprecated": bool(text), "shutdown_on": _day(text)},
    "knowledge": lambda text: {"knowledge": text},
    "released": lambda text: {"released": _day(text)},
    "open_weights": lambda text: {"open_weights": {"yes": True, "no": False}.get(text)},
    "tokenizer": lambda text: {"tokenizer": text.rstrip("?")},
}

FIELDS = frozenset(field.name for field in dataclasses.fields(Fact))
