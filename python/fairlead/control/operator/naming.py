"""`/admin/presets` and `/admin/splits`: names for models with wishes, and for several models by shares.

Those of `fairlead.toml` are read-only. The others are in the database: every change is a version, an older one can be put in force again,
and what a name shall stand for is judged as if it stood in the file. Nothing is stored that the data plane does not take.
"""

import copy
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from fairlead.config import Compiled, Loaded, Mistakes
from fairlead.config.made import PRESET, SPLIT, TABLES, Definition, errors, owned_by_file
from fairlead.control import states, trail
from fairlead.control.credits import checked_note
from fairlead.control.db import names
from fairlead.control.db.names import Name, Version
from fairlead.control.db.queries import MOST_INTEGER
from fairlead.control.desk import Call
from fairlead.control.operator import arms
from fairlead.control.operator.configuration import Configured, ProblemShown, configured_of, problem_shown
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import Refusal, invalid, not_found, reply, rfc3339

MOST_NAMES = 500
"""Of a kind."""
MOST_DEFINITION_BYTES = 256 << 10
MOST_DEPTH = 64
"""Of objects and lists in one another."""
_ACTIONS = ("/versions", "/activate")
"""Ends of paths behind a name, which may have slashes in it."""
Answer = Callable[[Call], Awaitable[Response]]
Number = Annotated[int, Meta(ge=1, lt=MOST_INTEGER)]
"""Of a version. The one that follows is a number of the database, too."""


class NameCreation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A name, and what it shall stand for."""

    name: str
    definition: dict[str, Any]
    """What would stand in `fairlead.toml` as `[presets.NAME]` or `[splits.NAME]`."""
    note: str = ""
    """Why, for whoever looks at the versions."""


class NameChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it shall stand for from now on: all of it, in place of what it stood for."""

    definition: dict[str, Any] | UnsetType = UNSET
    note: str = ""


class Activation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which version shall be in force."""

    number: Number


class VersionsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which of them."""

    before: Number | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class NameShown(Shape):
    """What presets and splits have in common."""

    name: str
    source: Literal["file", "made"]
    """`file`: `fairlead.toml` has it, and it is read-only here; `made`: at run time."""
    in_force: bool
    """False: what is in force leaves no room for it any more; `problems` say why."""
    definition: dict[str, Any]
    """What stands in the file as its table, or would."""
    number: int | None
    """Which of its versions is in force; null for what the file has."""
    note: str | None
    by: str | None
    """Who made this version; null for what the file has, and for whoever may not see the audit log."""
    created_at: str | None
    updated_at: str | None
    etag: str | None
    problems: list[ProblemShown]


class PresetShown(NameShown):
    """A preset. Requests say `@preset/` before its name."""

    version: str | None
    """A hash of what it says, as records of requests have it; null where it is not in force."""
    models: list[str]


class SplitShown(NameShown):
    """A split."""

    arms: list[arms.ArmShown]
    """Also those that it had once."""


class PresetList(Shape):
    """A reply."""

    data: list[PresetShown]


class SplitList(Shape):
    """A reply."""

    data: list[SplitShown]


class PresetData(Shape):
    """A reply."""

    data: PresetShown


class SplitData(Shape):
    """A reply."""

    data: SplitShown


class VersionShown(Shape):
    """What a name stands for, or stood for."""

    number: int
    in_force: bool
    version: str | None
    """A preset's hash of what it says, as records of requests have it; null where it could not be used now."""
    at: str
    by: str
    note: str
    definition: dict[str, Any]


class VersionList(Shape):
    """A reply, the newest first."""

    data: list[VersionShown]
    next: int | None
    """`before` of the following page."""


# --- routes -----------------------------------------------------------------------------------------------------------


def listing(kind: str) -> Answer:
    """All of a kind, by name."""

    async def answer(call: Call) -> Response:
        configured = configured_of(call)
        rows = await call.desk.database.read(lambda connection: names.names(connection, kind))
        shown = [*_of_file(configured, kind), *(_made(configured.compiled, row, call) for row in rows)]
        return reply({"data": await _with_what_came(call, kind, sorted(shown, key=lambda each: str(each["name"])))})

    return answer


def show(kind: str) -> Answer:
    """One of them."""

    async def answer(call: Call) -> Response:
        return await _one(call, kind, call.place("name"))

    return answer


def create(kind: str) -> Answer:
    """Makes one; it holds for the very next request."""

    async def answer(call: Call) -> Response:
        wanted = await call.body(NameCreation)
        first, name = _version(call, wanted.definition, wanted.note), wanted.name
        if kind == SPLIT and name.endswith(_ACTIONS):
            raise invalid(f"name: it may not end with {' or '.join(_ACTIONS)}, which are paths here", path="name")

        def work(connection: sqlite3.Connection) -> None:
            if name in owned_by_file(configured_of(call).compiled, kind):
                raise Refusal(409, "invalid_request", f"the {kind} {name!r} is in fairlead.toml; choose another name", path="name")
            if names.name(connection, kind, name) is not None:
                raise Refusal(409, "invalid_request", f"the {kind} {name!r} is there already; choose another name", path="name")
            if len(names.names(connection, kind)) >= MOST_NAMES:
                raise Refusal(409, "invalid_request", f"there are {MOST_NAMES} {TABLES[kind]} already; delete one first")
            names.insert(connection, kind, name, first)
            made = _present(connection, kind, name)
            trail.note(connection, first.at_ms, f"{kind}.create", (kind, made.id, name), None, _state(made))

        await _done(call, kind, name, work)
        return await _one(call, kind, name, 201)

    return answer


def change(kind: str) -> Answer:
    """Makes another version of one and puts it in force."""

    async def answer(call: Call) -> Response:
        wanted = await call.body(NameChange)
        if wanted.definition is UNSET:
            raise invalid("nothing to change: definition is expected")
        version = _version(call, wanted.definition, wanted.note)

        def edit(connection: sqlite3.Connection, before: Name) -> None:
            if before.definition != version.definition:
                names.add(connection, before.id, version)

        return await _edited(call, kind, "change", edit)

    return answer


def activate(kind: str) -> Answer:
    """Puts a version in force that there was."""

    async def answer(call: Call) -> Response:
        number = (await call.body(Activation)).number

        def edit(connection: sqlite3.Connection, before: Name) -> None:
            if not (found := names.versions(connection, before.id, number + 1, 1)) or found[0].version != number:
                raise not_found(f"there is no version {number} of the {kind} {before.name!r}")
            names.put_in_force(connection, before.id, number, call.desk.now_ms())

        return await _edited(call, kind, "activate", edit)

    return answer


def delete(kind: str) -> Answer:
    """Deletes one; its versions stay, and go on when the name is made again."""

    async def answer(call: Call) -> Response:
        name, given = call.place("name"), call.if_match()

        def work(connection: sqlite3.Connection) -> None:
            before = _of_edit(call, connection, kind, given)
            names.delete(connection, before.id, call.desk.now_ms())
            trail.note(connection, call.desk.now_ms(), f"{kind}.delete", (kind, before.id, name), _state(before), None)

        await _done(call, kind, name, work)
        return reply({"data": {"id": name, "deleted": True}})

    return answer


def versions(kind: str) -> Answer:
    """What a name stood for, the newest first, with who said so and when."""

    async def answer(call: Call) -> Response:
        asked, compiled = call.asked(VersionsQuery), configured_of(call).compiled

        def work(connection: sqlite3.Connection) -> tuple[Name, list[Version]]:
            found = _named(call, connection, kind)
            return found, names.versions(connection, found.id, asked.before or MOST_INTEGER, asked.limit + 1)

        name, found = await call.desk.database.read(work)
        shown = [
            {
                "number": each.version, "in_force": each.version == name.version,
                "version": _hash(compiled, kind, name.name, each.definition),
                "at": rfc3339(each.at_ms), "by": each.actor, "note": each.note, "definition": each.definition,
            }
            for each in found[: asked.limit]
        ]  # fmt: skip
        return reply({"data": shown, "next": shown[-1]["number"] if len(found) > asked.limit else None})

    return answer


# --- changing ---------------------------------------------------------------------------------------------------------


async def _edited(call: Call, kind: str, what: str, edit: Callable[[sqlite3.Connection, Name], None]) -> Response:
    name, given = call.place("name"), call.if_match()

    def work(connection: sqlite3.Connection) -> None:
        before = _of_edit(call, connection, kind, given)
        edit(connection, before)
        after = _present(connection, kind, name)
        trail.note(connection, call.desk.now_ms(), f"{kind}.{what}", (kind, before.id, name), _state(before), _state(after))

    await _done(call, kind, name, work)
    return await _one(call, kind, name)


async def _done(call: Call, kind: str, name: str, work: Callable[[sqlite3.Connection], None]) -> None:
    try:
        await configured_of(call).change_names((kind, name), work)
    except Mistakes as mistakes:
        found = [problem_shown(each) for each in mistakes.problems]
        first = found[0]
        message = f"nothing was changed: {first['path']}: {first['message']}"
        raise Refusal(422, "unprocessable", message, path=first["path"], fix=first["fix"], problems=found) from None


def _version(call: Call, definition: Definition, note: str) -> Version:
    """A version that whoever calls makes now. What is null is not said."""
    said = {key: value for key, value in definition.items() if value is not None}
    if _is_deeper(said, MOST_DEPTH):
        raise invalid(f"definition: it is nested more than {MOST_DEPTH} deep", path="definition")
    if len(msgspec.json.encode(said)) > MOST_DEFINITION_BYTES:
        raise invalid(f"definition: it is longer than {MOST_DEFINITION_BYTES} bytes", path="definition")
    actor = trail.actor()
    return Version(0, call.desk.now_ms(), actor.kind, actor.name, checked_note(note), said)


def _is_deeper(value: Any, most: int) -> bool:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return children is not None and (most == 0 or any(_is_deeper(child, most - 1) for child in children))


def _of_edit(call: Call, connection: sqlite3.Connection, kind: str, given: str | None) -> Name:
    """The one of the path, if the caller has seen it as it is."""
    found = _named(call, connection, kind)
    states.check_match(given, _state(found))
    return found


def _named(call: Call, connection: sqlite3.Connection, kind: str) -> Name:
    """The one of the path, which is not the file's."""
    name = call.place("name")
    if name in owned_by_file(configured_of(call).compiled, kind):
        raise Refusal(409, "invalid_request", f"the {kind} {name!r} is in fairlead.toml; change it there")
    return _present(connection, kind, name)


def _present(connection: sqlite3.Connection, kind: str, name: str) -> Name:
    found = names.name(connection, kind, name)
    if found is None:
        raise not_found(f"there is no {kind} {name[:200]!r}")
    return found


def _state(name: Name) -> dict[str, Any]:
    """What there is to change about it."""
    return {"definition": name.definition, "number": name.version}


# --- showing ----------------------------------------------------------------------------------------------------------


async def _one(call: Call, kind: str, name: str, status: int = 200) -> Response:
    configured = configured_of(call)
    found = [each for each in _of_file(configured, kind) if each["name"] == name]
    if not found:
        row = await call.desk.database.read(lambda connection: _present(connection, kind, name))
        found = [_made(configured.compiled, row, call)]
    [shown] = await _with_what_came(call, kind, found)
    return reply({"data": shown}, status, {} if shown["etag"] is None else {"etag": shown["etag"]})


def _of_file(configured: Configured, kind: str) -> Iterable[dict[str, Any]]:
    table = TABLES[kind]
    for name in owned_by_file(configured.compiled, kind):
        shown: dict[str, Any] = dict.fromkeys(NameShown.__struct_fields__)
        shown |= {"name": name, "source": "file", "in_force": True, "definition": _written(configured.loaded, table, name), "problems": []}
        yield shown | _extra(configured.compiled, kind, name, shown["definition"])


def _made(compiled: Compiled, row: Name, call: Call) -> dict[str, Any]:
    problems = compiled.made.get((row.kind, row.name), ())
    shown = {
        "name": row.name, "source": "made", "in_force": not errors(problems), "definition": row.definition, "number": row.version,
        "note": row.note, "by": row.actor if call.principal.sees_all else None, "created_at": rfc3339(row.created_at_ms),
        "updated_at": rfc3339(row.updated_at_ms), "etag": states.tag(_state(row)), "problems": [problem_shown(each) for each in problems],
    }  # fmt: skip
    return shown | _extra(compiled, row.kind, row.name, row.definition)


def _extra(compiled: Compiled, kind: str, name: str, definition: Definition) -> dict[str, Any]:
    if kind == SPLIT:
        return {}
    view = next((each for each in compiled.presets if each.name == name), None)
    models = definition.get("models") or [model for model in [definition.get("model")] if model]
    return {"version": view.version if view else None, "models": models}


def _written(loaded: Loaded, table: str, name: str) -> Definition:
    """As it stands in the file: what is a reference there is one here."""
    shown: Definition = copy.deepcopy(loaded.document.tree[table][name])
    for place, reference in loaded.references.items():
        if place[:2] == (table, name):
            at: Any = shown
            for part in place[2:-1]:
                at = at[part]
            at[place[-1]] = reference
    return shown


def _hash(compiled: Compiled, kind: str, name: str, definition: Definition) -> str | None:
    judged, _ = compiled.routes.made(TABLES[kind], name, definition)
    return getattr(judged, "version", None)


async def _with_what_came(call: Call, kind: str, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Splits with what came of each arm."""
    if kind == PRESET or not shown:
        return shown
    found = await arms.outcomes(call)
    for split in shown:
        weights = {str(arm["model"]): int(arm["weight"]) for arm in split["definition"]["arms"]}
        split["arms"] = arms.of_split(split["name"], weights, found)
    return shown
