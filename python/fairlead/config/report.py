"""Renders problems for people and for programs."""

from collections.abc import Iterable

import msgspec

from fairlead.catalog.document import Problem


def line(problem: Problem) -> str:
    """`fairlead.toml:12: models."acme/fast".endpoints[0].provider: unknown provider "lap"; did you mean "lab"?`"""
    place = problem.file + (f":{problem.line}" if problem.line is not None else "")
    parts = [place, problem.path, ("warning: " if problem.severity == "warning" else "") + problem.message]
    return ": ".join(part for part in parts if part)


def text(problems: Iterable[Problem]) -> str:
    """One line per problem."""
    return "".join(line(problem) + "\n" for problem in problems)


def tree(problems: Iterable[Problem]) -> dict[str, list[dict[str, object]]]:
    """`{"errors": [...], "warnings": [...]}`; each with file, line, column, path, message."""
    found: dict[str, list[dict[str, object]]] = {"errors": [], "warnings": []}
    for problem in problems:
        fields = msgspec.structs.asdict(problem)
        fields.pop("severity")
        found["errors" if problem.severity == "error" else "warnings"].append(fields)
    return found
