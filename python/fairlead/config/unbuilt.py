"""Names that the contract fixes and this version does not have.

They are refused, never ignored: a limit that is written and not enforced costs money. Whoever builds one removes its row here and adds the
key to `schema`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fairlead.catalog.document import Document
from fairlead.catalog.positions import Path
from fairlead.catalog.schema import CHARGED_EACH, CHARGED_PER_MILLION, UsdEach, UsdPerMillion


class Row(NamedTuple):
    """A name that is not built, or some values of one that is."""

    pattern: Path
    """`*` stands for any name or index."""
    what: str
    """What it would do."""
    refused: Callable[[Any], bool] = lambda _: True
    """Whether this value asks for it. By default every value does."""
    stand_in: object = None
    """What takes its place where its absence would be a mistake too."""


def refuse(document: Document) -> None:
    """Reports every use of an unbuilt name and takes it out of the tree, so that it is not called unknown as well."""
    for row in UNBUILT:
        for path, table, key in [*_matches(document.tree, row.pattern)]:
            if row.refused(table[key]):
                document.report(path, f"{row.what} is not in this version")
                if row.stand_in is None:
                    del table[key]
                else:
                    table[key] = row.stand_in


def names_in(path: Path) -> Iterator[str]:
    """The unbuilt names of the table at `path`, for messages about misspelt keys."""
    for row in UNBUILT:
        *table, name = row.pattern
        if isinstance(name, str) and name != "*" and len(table) == len(path) and all(map(_fits, table, path)):
            yield name


def _is_true(value: object) -> bool:
    return value is True


def _is_batch(value: object) -> bool:
    return value == "batch"


def _is_set(value: object) -> bool:
    return value != ""


def _is_other_database(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("postgres://", "postgresql://"))


_REQUEST_FIELDS = {
    "plugins": "a plugin",
    "transforms": "a prompt transform",
    "deferred_tools": "tool search",
    "stop_server_tools_when": "a server tool",
    "debug": "an echo of the upstream body",
}
"""What no request may say in this version (`rust/formats/src/extension.rs`), so that no preset may say it for one → what it would do."""


def _prices(table: str, struct: type[UsdPerMillion] | type[UsdEach], charged: tuple[str, ...]) -> list[Row]:
    uncharged = [name for name in struct.__struct_fields__ if name not in charged]
    places: list[Path] = [("models", "*", "endpoints", "*"), ("models", "*", "endpoints", "*", "override", "*")]
    return [Row((*place, table, name), "this price") for place in places for name in uncharged]


UNBUILT: tuple[Row, ...] = (
    *(Row(("presets", "*", name), what) for name, what in _REQUEST_FIELDS.items()),
    Row(("presets", "*", "provider", "options"), "an option for a single provider"),
    Row(("presets", "*", "provider", "enforce_distillable_text"), "a list of what may be distilled", _is_true),
    Row(("storage", "url"), "PostgreSQL", _is_other_database),
    Row(("storage", "limits_url"), "a shared store of rate limits", _is_set),
    *_prices("usd_per_million", UsdPerMillion, CHARGED_PER_MILLION),
    *_prices("usd_each", UsdEach, CHARGED_EACH),
    Row(("models", "*", "endpoints", "*", "override", "*", "when", "service_tier"), "a batch", _is_batch, "flex"),
)


def _fits(pattern: str | int, part: str | int) -> bool:
    return pattern in ("*", part)


def _matches(tree: object, pattern: Path, path: Path = ()) -> Iterator[tuple[Path, Any, str | int]]:
    """Every place of the tree that a pattern names: its path, the table or list that holds it, and its key there."""
    first, *rest = pattern
    keys: list[str | int] = []
    if isinstance(tree, dict):
        keys = [key for key in tree if _fits(first, key)]
    elif isinstance(tree, list) and first == "*":
        keys = [*range(len(tree))]
    for key in keys:
        if rest:
            yield from _matches(tree[key], tuple(rest), (*path, key))  # type: ignore[index]
        else:
            yield (*path, key), tree, key
