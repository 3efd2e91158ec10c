"""What the package shows to importers: the listed names, one version, and stubs that are the native module's."""

import importlib.metadata
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import fairlead
import pytest
from fairlead import _native, errors, limits, router, sse, tokens, translate

ROOT = Path(__file__).resolve().parents[2]
PUBLIC: dict[Any, list[str]] = {
    fairlead: ["Router", "SyncRouter", "__version__", "errors", "limits", "router", "sse", "tokens", "translate"],
    errors: ["Availability", "CallError", "ClosedError", "ConfigurationError", "Constraint", "ForkedError", "OpeningError", "RouterError"],
    limits: ["Bucket", "Concurrency", "Refused", "Window", "take_all"],
    router: [
        *("Candidate", "Explanation", "Health", "Receipt", "Removed", "Reply", "Router", "Stream", "SyncRouter", "SyncStream", "ToolCalls"),
    ],
    sse: ["Decoder", "Event"],
    tokens: ["StreamCounter", "count", "count_request", "estimate"],
    translate: ["Loss", "Stream", "Translated", "Usage", "request", "response"],
}


@pytest.mark.parametrize("module", PUBLIC, ids=lambda module: module.__name__)
def test_the_public_names_are_these(module: Any) -> None:
    """A name that is added, renamed or lost shows here, and belongs in the change log."""
    assert sorted(module.__all__) == PUBLIC[module]
    assert module.__doc__
    for name in module.__all__:
        assert name == "__version__" or getattr(module, name).__doc__


def test_nothing_else_is_in_sight() -> None:
    assert dir(fairlead) == PUBLIC[fairlead]
    with pytest.raises(AttributeError, match="no attribute 'see'"):
        _ = fairlead.see  # type: ignore[attr-defined]


def test_the_native_half_is_loaded_on_first_use() -> None:
    script = (
        "import sys, fairlead\n"
        "assert 'fairlead._native' not in sys.modules\n"
        "print(fairlead.sse.Decoder().feed(b'data: {}\\n\\n')[0].data)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr


def test_there_is_one_version() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert fairlead.__version__ == _native.__version__ == importlib.metadata.version("fairlead") == workspace


def test_the_package_is_typed() -> None:
    assert (Path(fairlead.__file__).parent / "py.typed").is_file()


TYPED = """
import fairlead
from decimal import Decimal
from typing import Any, assert_type
from fairlead.errors import Availability
from fairlead.router import Explanation, Receipt, Reply, Stream, SyncStream

async def calls(router: fairlead.Router, wanted: dict[str, Any]) -> None:
    reply = await router.chat(model="a/b", messages=[])
    assert_type(reply, Reply)
    assert_type(reply.body, dict[str, Any])
    assert_type((reply.cost, reply.cost_nanousd, reply.model, reply.usage.prompt_tokens), tuple[Decimal, int, str, int])
    assert_type([loss.reason for loss in reply.losses], list[str])
    assert_type(await router.messages(wanted, stream=False), Reply)
    assert_type((await router.messages(wanted, explain=True)).explanation, Explanation | None)
    assert_type(await router.embeddings(b"{}", extra_headers={"x-title": "t"}), Reply)
    stream = await router.responses(model="a/b", input="x", stream=True)
    assert_type(stream, Stream)
    async with stream:
        assert_type([event async for event in stream], list[Any])
    assert_type(stream.receipt, Receipt | None)
    assert_type(await router.generate_content(model="a/b", contents=[], stream=True), Stream)
    await router.chat(5)  # wrong

def without_a_loop() -> None:
    with fairlead.SyncRouter("f.toml", data_dir="d") as router:
        assert_type(router.chat(model="a/b"), Reply)
        with router.messages(model="a/b", stream=True) as stream:
            assert_type(stream, SyncStream)
        try:
            router.close(grace_seconds=1)
        except fairlead.errors.CallError as error:
            assert_type((error.status, error.error_type, error.provider, error.receipt), tuple[int, str, str | None, Receipt | None])
            assert_type((error.availability, error.retry_after_ms), tuple[Availability | None, int | None])
            assert_type(error.explanation, Explanation | None)
"""


def test_calls_are_typed(tmp_path: Path) -> None:
    """As a program sees them that uses the package; what is wrong is found."""
    (tmp_path / "program.py").write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = TYPED.splitlines().index("    await router.chat(5)  # wrong") + 1
    found = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert found and all(line.startswith(f"program.py:{wrong}:") for line in found), done.stdout


def test_the_stubs_are_the_native_modules(tmp_path: Path) -> None:
    """Names, signatures, defaults and properties, as mypy's own tool compares them."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "fairlead._native", "--concise"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
