"""Says what does not fit a struct: everywhere in a document, in words, with the nearest valid names.

Follows the types that `msgspec.inspect` describes, so that there is one schema and not a second one for messages.
"""

import datetime
import re

import msgspec
from msgspec import inspect

from fairlead.catalog.document import Document, did_you_mean, nearest_name
from fairlead.catalog.positions import Path


def walk(document: Document, struct: type[msgspec.Struct]) -> None:
    """Reports every place where the document's tree does not fit the struct."""
    _Walk(document).check(document.tree, inspect.type_info(struct), ())


class _Walk:
    """Says what msgspec found wrong, everywhere, in words. Follows the types that `inspect` describes."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def check(self, value: object, kind: inspect.Type, path: Path, expected: str = "") -> None:
        if path in self._document.unresolved:
            return
        match kind:
            case inspect.Metadata():
                described = (kind.extra_json_schema or {}).get("description", "")
                self.check(value, kind.type, path, expected or str(described))
            case inspect.StructType():
                self._struct(value, kind, path, expected)
            case inspect.DictType():
                self._dict(value, kind, path, expected)
            case inspect.ListType():
                self._list(value, kind, path, expected)
            case inspect.UnionType():
                self._union(value, kind, path, expected)
            case _:
                if not _fits(value, kind):
                    self._expect(value, path, expected or _describe(kind))

    def _struct(self, value: object, kind: inspect.StructType, path: Path, expected: str) -> None:
        if not isinstance(value, dict):
            self._expect(value, path, expected or "a table")
            return
        known = {member.encode_name: member for member in kind.fields}
        meant = set()
        for name, child in value.items():
            if name in known:
                self.check(child, known[name].type, (*path, name))
            elif kind.cls.__struct_config__.forbid_unknown_fields:
                names = [*known, *self._document.other_names(path)]
                meant.add(nearest_name(name, names))
                self._document.report((*path, name), f'unknown key "{name}"{did_you_mean(name, names)}')
        for name, member in known.items():
            if member.required and name not in value and name not in meant:
                self._document.report(path, f'"{name}" is missing')

    def _dict(self, value: object, kind: inspect.DictType, path: Path, expected: str) -> None:
        if not isinstance(value, dict):
            self._expect(value, path, expected or "a table")
            return
        if kind.max_length is not None and len(value) > kind.max_length:
            self._document.report(path, f"has more than {kind.max_length} keys")
        for name, child in value.items():
            before = len(self._document.problems)
            self.check(name, kind.key_type, (*path, name), "")
            if len(self._document.problems) == before:
                self.check(child, kind.value_type, (*path, name))

    def _list(self, value: object, kind: inspect.ListType, path: Path, expected: str) -> None:
        if not isinstance(value, list):
            self._expect(value, path, expected or f"a list of {_plural(kind.item_type)}")
            return
        if len(value) < (kind.min_length or 0):
            self._document.report(path, "must not be empty")
        if kind.max_length is not None and len(value) > kind.max_length:
            self._document.report(path, f"has more than {kind.max_length} elements")
        for index, child in enumerate(value):
            self.check(child, kind.item_type, (*path, index))

    def _union(self, value: object, kind: inspect.UnionType, path: Path, expected: str) -> None:
        members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        tables = [member for member in members if isinstance(_bare(member), inspect.StructType | inspect.DictType)]
        if isinstance(value, dict) and len(tables) == 1:
            self.check(value, tables[0], path)
        elif isinstance(value, list) and (lists := [member for member in members if isinstance(_bare(member), inspect.ListType)]):
            self.check(value, lists[0], path)
        elif not any(_fits(value, _bare(member)) for member in members):
            self._expect(value, path, expected or " or ".join(_describe(member) for member in members))

    def _expect(self, value: object, path: Path, expected: str) -> None:
        shown = _kind_of(value)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and path not in self._document.secret_paths:
            shown = f'"{value}"' if isinstance(value, str) else f"{value}"
            shown = shown if len(shown) <= 80 else _kind_of(value)
        self._document.report(path, f"expected {expected}, got {shown}")


def _bare(kind: inspect.Type) -> inspect.Type:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _fits(value: object, kind: inspect.Type) -> bool:
    match kind:
        case inspect.AnyType():
            return True
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool) and _within(value, kind)
        case inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool) and _within(value, kind)
        case inspect.StrType():
            return isinstance(value, str) and _text_fits(value, kind)
        case inspect.LiteralType():
            return value in kind.values
        case inspect.UnionType():
            return any(_fits(value, _bare(member)) for member in kind.types)
        case inspect.DateTimeType():
            return isinstance(value, datetime.datetime) and value.tzinfo is not None
        case inspect.DateType():
            return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
        case inspect.DictType() | inspect.StructType():
            return isinstance(value, dict)
        case inspect.ListType():
            return isinstance(value, list)
    return False


def _within(value: float, kind: inspect.IntType | inspect.FloatType) -> bool:
    return (kind.ge is None or value >= kind.ge) and (kind.le is None or value <= kind.le)


def _text_fits(value: str, kind: inspect.StrType) -> bool:
    if len(value) < (kind.min_length or 0) or (kind.max_length is not None and len(value) > kind.max_length):
        return False
    return kind.pattern is None or re.search(kind.pattern, value) is not None


def _describe(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            described = (kind.extra_json_schema or {}).get("description")
            return str(described) if described else _describe(kind.type)
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return _describe_integer(kind)
        case inspect.FloatType():
            return "a number"
        case inspect.StrType():
            return "a string that is not empty" if kind.min_length else "a string"
        case inspect.LiteralType():
            return " or ".join(f'"{value}"' for value in kind.values)
        case inspect.DateTimeType():
            return "a date and time with offset, such as 2027-01-31T00:00:00Z"
        case inspect.DateType():
            return "a date, such as 2027-01-31"
        case inspect.ListType():
            return f"a list of {_plural(kind.item_type)}"
    return "a table"


def _describe_integer(kind: inspect.IntType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f"an integer from {kind.ge} to {kind.le}"
    return "an integer" if kind.ge is None else f"an integer of at least {kind.ge}"


def _plural(kind: inspect.Type) -> str:
    match _bare(kind):
        case inspect.StrType() | inspect.LiteralType():
            return "strings"
        case inspect.IntType():
            return "integers"
        case inspect.UnionType():
            return "strings or tables"
    return "tables"


def _kind_of(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return "a string"
        case int():
            return "an integer"
        case float():
            return "a float"
        case list():
            return "a list"
        case dict():
            return "a table"
    return "a date or time"
