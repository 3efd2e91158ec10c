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
from fairlead import _native, sse, tokens, translate

ROOT = Path(__file__).resolve().parents[2]
PUBLIC: dict[Any, list[str]] = {
    fairlead: ["__version__", "sse", "tokens", "translate"],
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
