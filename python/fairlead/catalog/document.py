"""A TOML document that knows where its keys stand, and the check of such a document against msgspec structs.

msgspec stops at the first mistake and names it by a path. Whoever edits a file wants all mistakes at once, with lines and the nearest valid
name; so a document that msgspec refuses is walked once more, by the same types, only to say why.
"""

import copy
import difflib
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec

from fairlead.catalog import positions
from fairlead.catalog.positions import Path

Struct = TypeVar("Struct", bound=msgspec.Struct)

HIDDEN = "«hidden»"
_LEAST_SECRET = 8
"""Characters. Shorter ones would make holes in messages that are not about them."""

_MOST_DEPTH = 64
"""Tables and lists in one another: more than any file has, and little enough for whatever walks through them."""
_LONG_INTEGER = re.compile(r"[0-9][0-9_]{4300,}")


class Problem(msgspec.Struct, frozen=True, omit_defaults=False):
    """One mistake, or one warning, in a file."""

    file: str
    """As the user named it; empty when the mistake is in no file (an environment variable of the zero configuration)."""
    line: int | None
    column: int | None
    path: str
    """The key, as TOML would write it; empty for the document itself."""
    message: str
    """What is wrong and, where it is known, what would be right. Never holds a secret."""
    severity: Literal["error", "warning"] = "error"


class Mistakes(Exception):
    """A file, or several, could not be used. Carries every mistake found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.file}:{problem.line or 0}: {problem.path}: {problem.message}" for problem in self.problems))


@dataclass
class Document:
    """A parsed file and everything found wrong with it so far."""

    file: str
    tree: dict[str, Any]
    text: str = ""
    problems: list[Problem] = field(default_factory=list)
    other_names: Callable[[Path], Iterable[str]] = lambda _: ()
    """Names that are known in the table at a path but not in the structs: offered as nearest names too."""
    secret_paths: set[Path] = field(default_factory=set)
    """Values that no message may show: what stands in a secret's place, and what a reference stands for."""
    unresolved: set[Path] = field(default_factory=set)
    """Values that stand in for a reference that was reported already: nothing is said about them."""
    _positions: dict[Path, positions.Position] | None = None
    _misfits: list[Path] = field(default_factory=list)
    """Where errors were reported, in their order."""
    _judged: set[Path] = field(default_factory=set)
    """Tables of which `decode` left something out."""

    @classmethod
    def parse(cls, file: str, text: str) -> "Document":
        """Parses TOML.

        Raises:
            Mistakes: the text is not TOML; one problem with its line.
        """
        try:
            tree: dict[str, Any] | None = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise Mistakes([_syntax_problem(file, text, str(error))]) from None
        except RecursionError:
            tree = None
        except ValueError:
            # Python's own limit for integers.
            digits = _LONG_INTEGER.search(text)
            line = None if digits is None else text.count("\n", 0, digits.start()) + 1
            raise Mistakes([Problem(file, line, None, "", "not valid TOML: an integer has too many digits")]) from None
        # Keys with many dots are deep as well.
        if tree is None or _is_deeper(tree, _MOST_DEPTH):
            raise Mistakes([Problem(file, None, None, "", "is nested too deeply")])
        return cls(file, tree, text)

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep the document from being used."""
        return [problem for problem in self.problems if problem.severity == "error"]

    def report(self, path: Path, message: str, severity: Literal["error", "warning"] = "error") -> None:
        """Adds a problem at a key; a key that is not written is reported at its nearest written ancestor.

        After `decode`, nothing more is said about tables of which it left something out: what is wrong there may be its own doing.
        """
        if path[:2] in self._judged or path in self.unresolved:
            return
        if severity == "error":
            self._misfits.append(path)
        if self._positions is None:
            self._positions = positions.scan(self.text)
        at = positions.nearest(self._positions, path)
        line, column = at or (None, None)
        self.problems.append(Problem(self.file, line, column, positions.show(path), self._without_secrets(message), severity))

    def _without_secrets(self, message: str) -> str:
        values = {value for path in self.secret_paths if isinstance(value := _value_at(self.tree, path), str)}
        for value in sorted(values, key=len, reverse=True):
            # A reference is no secret as long as it is not resolved.
            if len(value) >= _LEAST_SECRET and not value.startswith(("env:", "file:")):
                message = message.replace(value, HIDDEN)
        return message

    def decode(self, struct: type[Struct]) -> Struct | None:
        """Turns the tree into a struct.

        What does not fit is reported, all of it, and left out, so that the rest can be judged too. `None` when too little is left.
        """
        try:
            return msgspec.convert(self.tree, struct)
        except msgspec.ValidationError as error:
            from fairlead.catalog.walk import walk  # only a broken document pays for it

            before = len(self.problems)
            self._misfits = [*self.unresolved]
            walk(self, struct)
            if len(self.problems) == before and not self.unresolved:
                # Not reached by any known document: msgspec saw something that the walk has no words for.
                self.report((), str(error))
            self._judged = {path[:2] for path in self._misfits}
            return self._remainder(struct)

    def _remainder(self, struct: type[Struct]) -> Struct | None:
        from fairlead.catalog.walk import walk

        rest = Document(self.file, copy.deepcopy(self.tree), unresolved=self.unresolved, _misfits=[*self._misfits])
        for _ in range(16):
            for path in reversed(rest._misfits):
                _prune(rest.tree, path)
            try:
                return msgspec.convert(rest.tree, struct)
            except msgspec.ValidationError:
                rest._misfits.clear()
                walk(rest, struct)
        return None


def _is_deeper(tree: Any, most: int) -> bool:
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return any(most == 0 or _is_deeper(child, most - 1) for child in children)


def _value_at(tree: Any, path: Path) -> Any:
    for part in path:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _prune(tree: Any, path: Path) -> None:
    """Takes a value out; a list that holds it goes as a whole, so that no index changes its meaning."""
    for depth, part in enumerate(path):
        if not isinstance(tree, dict) or part not in tree:
            return
        if depth == len(path) - 1 or isinstance(tree[part], list):
            del tree[part]
            return
        tree = tree[part]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or nothing when no known name is near."""
    near = nearest_name(name, known)
    return f'; did you mean "{near}"?' if near else ""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one is likely to mean."""
    return next(iter(difflib.get_close_matches(name.lower(), sorted({*known}), n=1, cutoff=0.62)), None)


_DECODE_ERROR = re.compile(r"^(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)$", re.DOTALL)


def _syntax_problem(file: str, text: str, error: str) -> Problem:
    match = _DECODE_ERROR.match(error)
    if match is None:
        return Problem(file, None, None, "", f"not valid TOML: {error}")
    if match["line"] is None:
        return Problem(file, text.count("\n", 0, -1) + 1, None, "", f"not valid TOML: {match['what']} at the end of the file")
    return Problem(file, int(match["line"]), int(match["column"]), "", f"not valid TOML: {match['what']}")
