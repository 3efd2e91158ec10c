"""The architecture as tests: who may use whom, where `unsafe` may stand, what no file may be called or contain.

The tables below are the rules; `rust/README.md` and `CONTRIBUTING.md` say them in words. A new crate, part or exception is a new line here,
with its reason.
"""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What a crate may depend on, of ours. What is not listed, it may not.
CRATES: dict[str, set[str]] = {
    "ir": set(),
    "http1": set(),
    "formats": {"ir"},
    "snapshot": {"ir"},
    "tokens": {"ir"},
    "router": {"ir", "snapshot"},
    "ledger": {"ir"},
    "limits": {"ir"},
    "journal": {"ir", "ledger"},
    "gateway": {"ir", "http1", "formats", "snapshot", "router", "tokens", "ledger", "limits", "journal"},
    "py": {"ir", "formats", "snapshot", "tokens", "ledger", "limits", "journal", "gateway", "sim"},
    # The judges use none of what they judge.
    "sim": set(),
    "icount": {"ir", "formats", "limits", "router", "snapshot"},
    "rig": {"sim"},
}
# What its tests may use beside that.
CRATES_OF_TESTS: dict[str, set[str]] = {"gateway": {"sim"}}

# Inside the gateway: server → pipeline → {upstream, telemetry}. Whoever is above may use everything below.
GATEWAY: dict[str, set[str]] = {
    "lib": {"gateway", "library", "pipeline", "events", "options"},
    # The library is beside the server: calls of the process instead of a client's.
    "library": {"gateway", "server", "pipeline", "worker", "events"},
    "gateway": {
        "server",
        "pipeline",
        "worker",
        "upstream",
        "telemetry",
        "responses",
        "content",
        "repeats",
        "decisions",
        "tenants",
        "events",
        "options",
    },
    "server": {"gateway", "pipeline", "worker", "routes", "upstream", "telemetry", "options"},
    "pipeline": {"worker", "routes", "upstream", "telemetry", "responses", "content", "repeats", "decisions", "tenants"},
    "worker": {"gateway", "upstream", "telemetry", "decisions"},
    "routes": set(),
    "upstream": set(),
    "telemetry": {"responses", "content", "repeats", "decisions"},
    "responses": set(),
    # What is logged is kept in files of the same kind.
    # The same sealed files.
    "repeats": {"responses"},
    "content": {"responses", "worker"},
    "decisions": set(),
    "tenants": set(),
    "events": set(),
    "options": set(),
}
# How a dialect would come into `upstream`, which moves bytes.
DIALECT_WORDS = ("fairlead_formats", "Dialect", "openai", "anthropic", "gemini", "bedrock")

# The Python package: cli → runtime → {control, config, hooks, _native}; control → {config, catalog}; config → catalog. Of what is imported,
# the router is beside the runtime; errors name what they hold, for the checker of types only.
PYTHON: dict[str, set[str]] = {
    "cli": {"runtime", "control", "config", "catalog", "_native"},
    "runtime": {"control", "config", "catalog", "_native"},
    # By name, where sums are made or read, so that all of it can be imported without.
    "control": {"config", "catalog", "console", "_native"},
    "console": set(),
    "config": {"catalog"},
    "catalog": set(),
    "sse": {"_native"},
    "tokens": {"_native"},
    "translate": {"_native"},
    "router": {"control", "config", "catalog", "errors", "_native"},
    "limits": {"_native"},
    "errors": {"config", "router"},
    "__init__": {"errors", "limits", "router", "sse", "tokens", "translate"},
    "_native": set(),
}
WITHOUT_NATIVE = ("control", "config", "catalog", "console")

# The only sources with `unsafe`, and what for.
UNSAFE: dict[str, str] = {
    "rust/formats/src/json/simd.rs": "the choice between them at run time",
    "rust/formats/src/json/simd/arm.rs": "vector instructions",
    "rust/formats/src/json/simd/x86.rs": "vector instructions",
    "rust/gateway/src/events.rs": "eventfd and poll",
    "rust/gateway/src/gateway.rs": "_exit, when the interpreter hangs",
    "rust/gateway/src/server/accept.rs": "poll",
    "rust/gateway/src/server/signals.rs": "a signal handler of our own, which counts",
    "rust/journal/src/segment.rs": "fallocate",
    "benches/rig/src/load/timer.rs": "timerfd",
}
# Crates that meet hostile bytes or money and promise to have none, so that not even a table here could allow it.
WITHOUT_UNSAFE = ("rust/http1", "rust/ir", "rust/ledger", "rust/limits", "rust/router", "rust/sim", "rust/snapshot", "rust/tokens")

NAMELESS = {"core", "common", "utils", "util", "helpers", "helper", "types", "misc"}
# Split, so that this file does not contain them.
UNFINISHED = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", r"\bto" + r"do!", r"\bunimple" + r"mented!"]))
SET_ASIDE = re.compile("|".join([r"#\[ign" + "ore", r"mark\.ski" + r"p\b", r"mark\.xfa" + r"il\b"]))
MOST_LINES = 900

GENERATED_FOLDERS = {"target", "node_modules", "__pycache__", "dist", "results", "corpus", "artifacts", "vectors", "proptest-regressions"}


@cache
def files(*endings: str) -> tuple[Path, ...]:
    """Every file that somebody wrote, with one of these endings."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in GENERATED_FOLDERS and (not name.startswith(".") or name == ".ci"))
        found += [Path(folder, name) for name in sorted(names) if name.endswith(endings)]
    return tuple(found)


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# --- reading Rust -----------------------------------------------------------------------------------------------------

_COMMENT_OR_TEXT = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | b?r(?P<hashes>\#*)".*?"(?P=hashes) | b?"(?:\\.|[^"\\])*" | b?'(?:\\[^']+|\\'|[^\\'])'""",
    re.VERBOSE | re.DOTALL,
)
_RENAMED = re.compile(r"\s+as\s+\w+")
_WORD = re.compile(r"\w+|\*")


def code(rust: str) -> str:
    """Rust without comments and literals."""
    return _COMMENT_OR_TEXT.sub(" ", rust)


def own_paths(rust: str) -> set[str]:
    """Every path of code that begins with `crate::`, such as `server::worker::Worker`, `use` trees taken apart."""
    text = _RENAMED.sub("", code(rust))
    return {path for start in re.finditer(r"\bcrate::", text) for path in _expanded(text, start.end(), "")[0]}


def _expanded(text: str, at: int, prefix: str) -> tuple[set[str], int]:
    """The paths of the tree that begins at `at`, and where it ends."""
    if text[at] == "{":
        found: set[str] = set()
        at += 1
        while text[at] != "}":
            if text[at].isspace() or text[at] == ",":
                at += 1
                continue
            more, at = _expanded(text, at, prefix)
            found |= more
        return found, at + 1
    word = _WORD.match(text, at)
    if word is None:  # a turbofish ends the path
        return {prefix}, at + 1
    path = f"{prefix}::{word[0]}" if prefix else word[0]
    return _expanded(text, word.end() + 2, path) if text.startswith("::", word.end()) else ({path}, word.end())


@pytest.mark.parametrize(
    ("rust", "paths"),
    [
        ("use crate::a::B;", {"a::B"}),
        ("use crate::{a::{self, B as C}, d};", {"a::self", "a::B", "d"}),
        ("fn f() -> crate::a::B { crate::c::d::<u8>() }", {"a::B", "c::d"}),
        ('// crate::a\nlet text = "crate::b"; /* crate::c */ let quote = \'"\'; crate::d::E', {"d::E"}),
        ('let raw = r#" " crate::a "#; crate::b::*', {"b::*"}),
    ],
)
def test_paths_are_found(rust: str, paths: set[str]) -> None:
    assert own_paths(rust) == paths


# --- crates -----------------------------------------------------------------------------------------------------------


@cache
def packages() -> dict[str, dict[str, Any]]:
    """Cargo's own view of the workspace, by the crates' short names."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--locked", "--offline"]
    listed = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    return {package["name"].removeprefix("fairlead-"): package for package in listed["packages"]}


def ours(package: dict[str, Any], *, tests: bool) -> set[str]:
    """Crates of ours that a package depends on; `tests`: in its tests and benches."""
    return {
        dependency["name"].removeprefix("fairlead-")
        for dependency in package["dependencies"]
        if (dependency["kind"] == "dev") == tests and (dependency.get("path") or dependency["name"].startswith("fairlead-"))
    }


def test_every_crate_has_its_place() -> None:
    assert packages().keys() == CRATES.keys()


@pytest.mark.parametrize("crate", CRATES)
def test_crates_use_what_they_may(crate: str) -> None:
    assert ours(packages()[crate], tests=False) <= CRATES[crate]
    assert ours(packages()[crate], tests=True) <= CRATES[crate] | CRATES_OF_TESTS.get(crate, set())


@pytest.mark.parametrize("crate", CRATES)
def test_crates_share_lints_and_say_what_they_are(crate: str) -> None:
    manifest = Path(packages()[crate]["manifest_path"])
    assert tomllib.loads(manifest.read_text())["lints"] == {"workspace": True}
    roots = [Path(target["src_path"]) for target in packages()[crate]["targets"] if {"lib", "rlib", "cdylib", "bin"} & {*target["kind"]}]
    assert roots
    for root in roots:
        assert root.read_text().startswith("//! "), f"{shown(root)} does not begin with the crate's documentation"


def test_the_lint_table_forbids_what_it_must() -> None:
    lints = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["lints"]
    assert {"missing_docs", "unreachable_pub", "unsafe_op_in_unsafe_fn"} <= lints["rust"].keys()
    wanted = {"unwrap_used", "expect_used", "panic", "todo", "unimplemented", "dbg_macro", "allow_attributes", "undocumented_unsafe_blocks"}
    assert wanted <= lints["clippy"].keys()


def test_fuzzing_is_a_workspace_of_its_own() -> None:
    assert "workspace" in tomllib.loads((ROOT / "rust/fuzz/Cargo.toml").read_text())
    assert "rust/fuzz" in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["exclude"]


# --- inside the gateway -----------------------------------------------------------------------------------------------

GATEWAY_SOURCES = ROOT / "rust/gateway/src"


def parts_used(sources: Path) -> Iterator[tuple[str, str, Path]]:
    """(part, path it uses, file) of every `crate::` path that leaves its own part."""
    for path in sorted(sources.rglob("*.rs")):
        part = path.relative_to(sources).parts[0].removesuffix(".rs")
        text = path.read_text()
        assert "super::super" not in code(text), f"{shown(path)}: write crate:: where a path leaves its folder"
        for used in own_paths(text):
            if used.partition("::")[0] != part:
                yield part, used, path


def test_parts_of_the_gateway_use_what_they_may() -> None:
    for part, used, path in parts_used(GATEWAY_SOURCES):
        # The vocabulary that everything shares (`Shared`) stands in `gateway`.
        assert used.partition("::")[0] in GATEWAY[part], f"{shown(path)} uses crate::{used}"


# Work that grows with a body: on a worker it would hold up everybody, so that it is only handed to `aside`, which knows where to do it.
GROWING = (r"\bjob\.run\(", r"\bback\.reply\(", r"\bcount_request\(", r"\bscan\.finish\(&body\)", r"\bspliced\(&\[body\]")
# What works on one event at a time is handed over from this size on.
EVENTS = {"relay/weave.rs", "relay/sieve.rs"}


def test_work_that_grows_is_done_beside_the_worker() -> None:
    """Each such call stands in what is handed to `aside`: on its line or the few before it."""
    found = []
    for path in sorted((GATEWAY_SOURCES / "pipeline").rglob("*.rs")):
        if str(path.relative_to(GATEWAY_SOURCES / "pipeline")) in EVENTS:
            continue
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            for call in GROWING:
                if re.search(call, line):
                    around = "\n".join(lines[max(0, number - 4) : number + 1])
                    assert re.search(r"\baside\(", around), f"{path.name}:{number + 1} works on the worker: {line.strip()}"
                    found.append(call)
    assert {*found} == {*GROWING}, "a pattern that finds nothing guards nothing"


def test_upstream_knows_no_dialect() -> None:
    for path in sorted((GATEWAY_SOURCES / "upstream").glob("*.rs")):
        text = code(path.read_text())
        for word in DIALECT_WORDS:
            assert word.lower() not in text.lower(), f"{shown(path)} speaks of {word}"


# --- the Python package -----------------------------------------------------------------------------------------------

PACKAGE = ROOT / "python/fairlead"


def imports(source: str) -> Iterator[str]:
    """The parts of the package that a module imports, wherever in it; also by name through importlib."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "fairlead":
                yield from (alias.name for alias in node.names if alias.name != "__version__")
            elif node.module and node.module.startswith("fairlead."):
                yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("fairlead."))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value).split(".")[1]


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("from fairlead import config, __version__", ["config"]),
        ("def f():\n    from fairlead.control.db import queries", ["control"]),
        ("import fairlead.cli.serve, os", ["cli"]),
        ("import importlib\nimportlib.import_module('fairlead._native')", ["_native"]),
    ],
)
def test_imports_are_found(source: str, parts: list[str]) -> None:
    assert [*imports(source)] == parts


def test_parts_of_the_package_use_what_they_may() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        assert part in PYTHON, f"{shown(path)}: a new part needs its place in the table"
        for used in imports(path.read_text()):
            assert used == part or used in PYTHON[part], f"{shown(path)} uses fairlead.{used}"


def test_control_and_config_work_without_the_native_half() -> None:
    script = f"""
import importlib, pkgutil, sys
sys.modules["fairlead._native"] = None
for part in {WITHOUT_NATIVE!r}:
    package = importlib.import_module("fairlead." + part)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- unsafe -----------------------------------------------------------------------------------------------------------


def test_unsafe_stands_where_it_may() -> None:
    """In sources; tests and examples answer to clippy alone, which wants a reason beside each block everywhere."""
    found = {
        shown(path) for path in files(".rs") if "src" in path.relative_to(ROOT).parts and re.search(r"\bunsafe\b", code(path.read_text()))
    }
    assert found == UNSAFE.keys()


@pytest.mark.parametrize("crate", WITHOUT_UNSAFE)
def test_who_promised_to_have_no_unsafe_keeps_it(crate: str) -> None:
    assert "#![forbid(unsafe_code)]" in (ROOT / crate / "src/lib.rs").read_text()


# --- every file -------------------------------------------------------------------------------------------------------


def test_names_say_something() -> None:
    for path in files(".rs", ".py"):
        names = {part.removesuffix(".rs").removesuffix(".py") for part in path.relative_to(ROOT).parts}
        names |= set(re.findall(r"\bmod\s+(\w+)", code(path.read_text()))) if path.suffix == ".rs" else set()
        assert not names & NAMELESS, f"{shown(path)}: {', '.join(names & NAMELESS)} says nothing about what is in it"
    assert not packages().keys() & NAMELESS


def test_nothing_is_left_for_later() -> None:
    for path in files(".rs", ".py", ".pyi", ".toml", ".md", ".sql", "Makefile"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not UNFINISHED.search(line), f"{shown(path)}:{number}: {line.strip()}"


def test_no_test_is_set_aside() -> None:
    for path in files(".rs", ".py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not SET_ASIDE.search(line), f"{shown(path)}:{number}: {line.strip()}"


def test_no_file_is_too_long() -> None:
    for path in files(".rs", ".py", ".pyi"):
        lines = path.read_text().count("\n")
        assert lines <= MOST_LINES, f"{shown(path)} has {lines} lines; {MOST_LINES} are the most"


# --- what a clone brings ----------------------------------------------------------------------------------------------


def test_dependencies_are_locked() -> None:
    for name in ("Cargo.lock", "rust/fuzz/Cargo.lock"):
        locked = {package["name"] for package in tomllib.loads((ROOT / name).read_text())["package"]}
        # ring is the one provider of cryptography: a second one needs more than a C compiler, and rustls then has to be told which.
        assert not {package for package in locked if "aws-lc" in package or package == "openssl-sys"}, name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [each for named in project["project"]["optional-dependencies"].values() for each in named]
    wanted = [*project["project"]["dependencies"], *extras, *project["dependency-groups"]["dev"], *project["build-system"]["requires"]]
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "requirements.lock").read_text().splitlines()}
    for requirement in wanted:
        name = re.split(r"[^A-Za-z0-9_.-]", requirement)[0].lower()
        assert name in pinned, f"{name} is not in requirements.lock; run make lock"


def test_the_ci_script_is_sound() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)
