"""Where in a TOML text each key stands.

`tomllib` says what a document means and forgets where; an error message without a line number makes the reader search. This scanner walks a
text that `tomllib` has already accepted and notes line and column of every key and array element. It therefore need not judge the text: it
only has to find the same structure.
"""

import re
import tomllib
from typing import NamedTuple

Path = tuple[str | int, ...]
"""Keys and array indices from the document's root to a value."""


class Position(NamedTuple):
    """A place in a text; both count from 1."""

    line: int
    column: int


def scan(text: str) -> dict[Path, Position]:
    """Maps every path of a valid TOML text to where its key (or array element) is first written.

    Raises nothing for a text that `tomllib.loads` accepts; for any other text the result is meaningless.
    """
    return _Scanner(text).run()


def nearest(positions: dict[Path, Position], path: Path) -> Position | None:
    """The position of `path`, or of the nearest ancestor that is written in the text."""
    for length in range(len(path), 0, -1):
        if found := positions.get(path[:length]):
            return found
    return None


def show(path: Path) -> str:
    """A path as TOML would write it: `models."acme/fast".endpoints[0].provider`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return text


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|' + r"'''.*?'{3,5}(?!')|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}\n#]+")


class _Scanner:
    def __init__(self, text: str) -> None:
        # tomllib reads CRLF as LF too; the replacement moves no line and no column before it.
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line = 1
        self._line_start = 0
        self._counted_to = 0
        self._found: dict[Path, Position] = {}
        self._tables: dict[Path, int] = {}
        """How many elements each array of tables has so far."""

    def run(self) -> dict[Path, Position]:
        base: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                base = self._header()
            else:
                self._pair(base)
            self._skip(_BLANK)
        return self._found

    def _header(self) -> Path:
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        path: Path = ()
        keys = self._key()
        for index, (key, position) in enumerate(keys):
            path = (*path, key)
            self._found.setdefault(path, position)
            if index < len(keys) - 1 and path in self._tables:
                path = (*path, self._tables[path] - 1)
        if array:
            count = self._tables.get(path, 0)
            self._tables[path] = count + 1
            path = (*path, count)
            self._found[path] = keys[-1][1]
        self._at += 2 if array else 1
        return path

    def _pair(self, base: Path) -> None:
        path = base
        for key, position in self._key():
            path = (*path, key)
            self._found.setdefault(path, position)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(path)

    def _key(self) -> list[tuple[str, Position]]:
        """Reads a dotted key and the blanks after it."""
        parts = []
        while True:
            self._skip(_SPACE)
            position = self._position()
            raw = self._take(_KEY)
            parts.append((_unquote(raw), position))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._take(_STRING)
            case _:
                self._take(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == "]":
                break
            self._found[(*path, index)] = self._position()
            self._value((*path, index))
            index += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == "}":
                break
            self._pair(path)
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
        self._at += 1

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        taken = match.group() if match else self._text[self._at : self._at + 1]
        self._at += max(len(taken), 1)  # never stands still, whatever the text
        return taken

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()

    def _position(self) -> Position:
        lines = self._text.count("\n", self._counted_to, self._at)
        if lines:
            self._line += lines
            self._line_start = self._text.rfind("\n", 0, self._at) + 1
        self._counted_to = self._at
        return Position(self._line, self._at - self._line_start + 1)


def _unquote(raw: str) -> str:
    if raw.startswith('"') and "\\" in raw:
        return next(iter(tomllib.loads(f"{raw} = 0")))
    return raw[1:-1] if raw[:1] in ('"', "'") else raw
