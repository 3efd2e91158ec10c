"""The PEP 517 backend: maturin, after the console was built where it is not yet.

A source archive has the built files inside and needs no Node. A clone needs Node 20.19 or newer with npm; `FAIRLEAD_CONSOLE=skip` leaves
the console out instead, and `/` of the admin port then says so.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from maturin import (
    build_editable as _build_editable,
)
from maturin import (
    build_sdist as _build_sdist,
)
from maturin import (
    build_wheel as _build_wheel,
)
from maturin import (
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

SOURCE = Path(__file__).parent
BUILT = SOURCE.parent / "fairlead/console/dist/index.html"
LEAST_NODE = (20, 19)


def build_wheel(*arguments: Any, **options: Any) -> str:
    """A wheel, with the console inside."""
    build_console()
    return str(_build_wheel(*arguments, **options))


def build_sdist(*arguments: Any, **options: Any) -> str:
    """A source archive, with the built console inside."""
    build_console()
    return str(_build_sdist(*arguments, **options))


def build_editable(*arguments: Any, **options: Any) -> str:
    """For the edit loop: the console is built by `make build` or `npm run build`, not here."""
    return str(_build_editable(*arguments, **options))


def build_console() -> None:
    """Builds the console where it is not yet. Raises `SystemExit` with one line where that is not possible."""
    if BUILT.exists() or os.environ.get("FAIRLEAD_CONSOLE") == "skip":
        return
    if (lacking := what_is_lacking()) is not None:
        raise SystemExit(f"the console cannot be built: {lacking}; FAIRLEAD_CONSOLE=skip builds without it")
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"], cwd=SOURCE, check=True)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=SOURCE, check=True)


def what_is_lacking() -> str | None:
    """What the build needs and does not find."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node 20.19 or newer with npm is needed"
    text = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    found = tuple(int(part) for part in text.removeprefix("v").split(".")[:2])
    return None if found >= LEAST_NODE else f"Node 20.19 or newer is needed, this is {text}"


if __name__ == "__main__":
    build_console()
