"""Writes a model's file: the same tables give the same bytes."""

from datetime import date
from typing import Any

Table = dict[str, Any]


def write(table: Table, comments: dict[int, str]) -> str:
    """The text of a file. `comments` stand above the prices of the endpoints with these positions."""
    parts = [_section("[model]", table["model"])]
    for name in ("capabilities", "reasoning"):
        if table.get(name):
            parts.append(_section(f"[{name}]", table[name]))
    for position, endpoint in enumerate(table["endpoint"]):
        parts.append(_endpoint(endpoint, comments.get(position, "")))
    return "\n".join(parts)


def _endpoint(endpoint: Table, comment: str) -> str:
    text = _section("[[endpoint]]", {key: value for key, value in endpoint.items() if key != "price"})
    if comment:
        text += f"# {comment}\n"
    for price in endpoint["price"]:
        text += _section("[[endpoint.price]]", {key: value for key, value in price.items() if key != "override"})
        for override in price.get("override", ()):
            text += _section("[[endpoint.price.override]]", override)
    return text


def _section(heading: str, table: Table) -> str:
    return heading + "\n" + "".join(f"{key} = {value(what)}\n" for key, what in table.items())


def value(what: Any) -> str:
    """A value as TOML, on one line."""
    match what:
        case bool():
            return str(what).lower()
        case int():
            return str(what)
        case date():
            return what.isoformat()
        case str():
            return '"' + what.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case list() | tuple():
            return "[" + ", ".join(value(one) for one in what) + "]"
        case dict():
            return "{ " + ", ".join(f"{key} = {value(one)}" for key, one in what.items()) + " }" if what else "{}"
    raise TypeError(f"no TOML for {type(what).__name__}")
