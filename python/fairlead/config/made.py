"""Presets and splits that were made at run time: judged as if they stood in `fairlead.toml`, and put beside those that do.

They are text, as they were given: `env:` and `file:` are references in the file alone.
"""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec
from msgspec import structs

from fairlead.catalog.document import Problem
from fairlead.config import wire
from fairlead.config.compile import Compiled
from fairlead.config.routing import MADE, preset_views, split_views

PRESET, SPLIT = "preset", "split"
TABLES = {PRESET: "presets", SPLIT: "splits"}
"""Kind → the table of the file in which such a name would stand."""

Definition = dict[str, Any]
"""What would stand in the file as the name's table."""


class Made(NamedTuple):
    """A name and what it stands for."""

    kind: str
    name: str
    definition: Definition


def with_made(compiled: Compiled, made: Iterable[Made], version: int | None = None) -> Compiled:
    """The configuration of a file with these beside what it says, as a snapshot of another version.

    What has a mistake is not in it: `Compiled.made` says why. Of a name that the file has the file's stays.
    """
    presets: list[wire.Preset] = []
    splits: list[wire.Split] = []
    found: dict[tuple[str, str], tuple[Problem, ...]] = {}
    for kind, name, definition in made:
        if name in owned_by_file(compiled, kind):
            continue
        judged, problems = compiled.routes.made(TABLES[kind], name, definition)
        found[kind, name] = tuple(problems)
        if isinstance(judged, wire.Preset):
            presets.append(judged)
        elif judged is not None:
            splits.append(judged)
    if not found and version is None:
        return compiled
    parts = msgspec.json.decode(compiled.snapshot, type=dict[str, msgspec.Raw])
    for table, more in (("presets", presets), ("splits", splits)):
        own = msgspec.json.decode(parts[table], type=list[msgspec.Raw])
        parts[table] = msgspec.Raw(msgspec.json.encode([*own, *more]))
    if version is not None:
        parts["version"] = msgspec.Raw(msgspec.json.encode(version))
    return structs.replace(
        compiled,
        snapshot=msgspec.json.encode(parts),
        presets=(*compiled.presets, *preset_views(presets, MADE)),
        splits=(*compiled.splits, *split_views(splits, MADE)),
        made=found,
    )


def owned_by_file(compiled: Compiled, kind: str) -> Collection[str]:
    """The names of a kind that the file has."""
    views = compiled.presets if kind == PRESET else compiled.splits
    return {view.name for view in views if view.source != MADE}


def in_force(compiled: Compiled) -> set[tuple[str, str]]:
    """Kind and name of what was made and has no mistake."""
    return {key for key, problems in compiled.made.items() if not errors(problems)}


def left_out(compiled: Compiled) -> list[Problem]:
    """Why some of what was made is not in force: warnings, since all else is."""
    return [structs.replace(problem, severity="warning") for problems in compiled.made.values() for problem in errors(problems)]


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those that keep a name from being used."""
    return [problem for problem in problems if problem.severity == "error"]
