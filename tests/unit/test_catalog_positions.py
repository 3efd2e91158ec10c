"""Lines and columns of TOML keys."""

import tomllib
from typing import Any

import pytest
from fairlead.catalog.positions import Path, nearest, scan, show
from hypothesis import given, settings
from hypothesis import strategies as st

SAMPLE = r'''# comment = [
a.b = 1
[s] # [x]
"q.\u0041" = """x
]] = [ "
"""
'lit eral' = '''
SAMPLE += "'''\n a = [\n''''"
SAMPLE += r"""
[[m."x/y".e]]
p = [ 1, # ]
 {z.y = 'a#', w = [[]]}, 2020-01-01 10:00:00
]
[m."x/y".e.sub]
k=true
[[m."x/y".e]]
  p = "\"]"
t = {}
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("a",), 2, 1),
        (("a", "b"), 2, 3),
        (("s",), 3, 2),
        (("s", "q.A"), 4, 1),
        (("s", "lit eral"), 7, 1),
        (("m", "x/y"), 10, 5),
        (("m", "x/y", "e", 0), 10, 11),
        (("m", "x/y", "e", 0, "p"), 11, 1),
        (("m", "x/y", "e", 0, "p", 0), 11, 7),
        (("m", "x/y", "e", 0, "p", 1), 12, 2),
        (("m", "x/y", "e", 0, "p", 1, "z", "y"), 12, 5),
        (("m", "x/y", "e", 0, "p", 1, "w", 0), 12, 20),
        (("m", "x/y", "e", 0, "p", 2), 12, 26),
        (("m", "x/y", "e", 0, "sub", "k"), 15, 1),
        (("m", "x/y", "e", 1), 16, 11),
        (("m", "x/y", "e", 1, "p"), 17, 3),
        (("m", "x/y", "e", 1, "t"), 18, 1),
    ],
)
def test_sample(path: Path, line: int, column: int) -> None:
    assert scan(SAMPLE)[path] == (line, column)


@pytest.mark.parametrize(
    "text", ["", "\n", "# only", 'a = ""', "a = ''", 'a = """"""', "a = [ ]", "a={ }", 'a = """"x""""', "x = 1 # \r\ny = 2\r\n"]
)
def test_every_path_is_found(text: str) -> None:
    assert {*paths(tomllib.loads(text))} <= {*scan(text)}


def test_line_ends_of_windows_move_nothing() -> None:
    text = 'a = 1\r\n[b]\r\nc = """x\r\ny"""\r\nd = 2\r\n'
    assert scan(text) == scan(text.replace("\r\n", "\n"))
    assert scan(text)["b", "d"] == (5, 1)


def test_nearest_written_ancestor() -> None:
    positions = scan("[a]\nb = {c = 1}\n")
    assert nearest(positions, ("a", "b", "nope", 3)) == (2, 1)
    assert nearest(positions, ("a", "nope")) == (1, 2)
    assert nearest(positions, ("nope",)) is None
    assert nearest(positions, ()) is None


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), ""),
        (("server", "data"), "server.data"),
        (("models", "acme/fast", "endpoints", 0, "provider"), 'models."acme/fast".endpoints[0].provider'),
        (("a", 'q"\\'), 'a."q\\"\\\\"'),
    ],
)
def test_show(path: Path, shown: str) -> None:
    assert show(path) == shown


def paths(tree: Any, path: Path = ()) -> list[Path]:
    """Every path of a parsed document."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else []
    return [found for key, child in children for found in [(*path, key), *paths(child, (*path, key))]]


KEYS = st.text(st.sampled_from("ab\"\\.#=[]{},'\t é\n"), max_size=4) | st.sampled_from(["key", "k-1", "a.b"])
STRINGS = st.text(st.sampled_from("ab\"\\#=[]{},\n' é"), max_size=8)
SCALARS = STRINGS | st.integers(-(2**63), 2**63 - 1) | st.booleans()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\u{ord(character):04x}" if character in '"\\\n\t' else character for character in text) + '"'


def written(value: Any, spread: bool) -> str:
    """A value as TOML; arrays over several lines with comments when `spread`."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str() if spread and "\\" not in value and '"' not in value:
            return '"""\n' + value + '"""'
        case str() if "'" not in value and "\n" not in value:
            return f"'{value}'"
        case str():
            return quoted(value)
        case list():
            gap = " # ] , [\n\t" if spread else " "
            return "[" + "".join(gap + written(item, spread) + "," for item in value) + gap + "]"
    return "{ " + ", ".join(f"{quoted(key)} = {written(item, False)}" for key, item in value.items()) + " }"


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3), st.booleans())
def test_scan_finds_what_tomllib_finds(table: dict[str, Any], tables: list[dict[str, Any]], spread: bool) -> None:
    lines: list[str] = []
    expected: dict[Path, int] = {}

    def add(base: Path, content: dict[str, Any]) -> None:
        for key, value in content.items():
            expected[(*base, key)] = sum(line.count("\n") + 1 for line in lines) + 1
            lines.append(f"  {quoted(key)} = {written(value, spread)} # =")

    lines.append("[table.inner]")
    add(("table", "inner"), table)
    for index, content in enumerate(tables):
        lines.append('[["list"]]')
        add(("list", index), content)
    text = "\n".join(lines)
    found = scan(text)
    assert {*paths(tomllib.loads(text))} <= {*found}
    assert {path: found[path].line for path in expected} == expected
    assert all(found[path].column == 3 for path in expected)
