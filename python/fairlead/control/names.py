"""Presets and splits that were made at run time, put beside those of a configuration file: a name is in one of the two places."""

import sqlite3
from collections.abc import Collection

from fairlead.catalog.document import Document
from fairlead.config import Compiled, Mistakes
from fairlead.config.made import TABLES, Made, errors, owned_by_file, with_made
from fairlead.control.db import names

Key = tuple[str, str]
"""Kind and name."""


def completed(
    connection: sqlite3.Connection, compiled: Compiled, document: Document, kept: Collection[Key] = (), version: int | None = None
) -> Compiled:
    """The configuration of a file with what the database has beside it.

    What has a mistake is left out and warned of, unless it is one of `kept`: what is in force now, or is being changed.

    Raises:
        Mistakes: the file has a name of the database's, or one of `kept` cannot be used with it.
    """
    made = names.made(connection)
    for each in made:
        if each.name in owned_by_file(compiled, each.kind):
            document.report((TABLES[each.kind], each.name), taken_by_database(each))
    found = with_made(compiled, made, version)
    lost = [problem for key, problems in found.made.items() if key in kept for problem in errors(problems)]
    if document.errors or lost:
        raise Mistakes([*document.problems, *lost])
    return found


def taken_by_database(made: Made) -> str:
    """Why the file cannot have a name."""
    return (
        f"a {made.kind} of this name was made at run time; give another, or first delete that one: "
        f"on the page Routing, or with DELETE /admin/{TABLES[made.kind]}/{made.name}"
    )
