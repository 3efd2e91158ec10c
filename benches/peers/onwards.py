"""onwards from crates.io: forwards, with a key check and the model's name replaced."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from measuring.targets import KEY, MODEL, UPSTREAM_MODEL, Launch


def install(home: Path) -> None:
    subprocess.run(["cargo", "install", "--locked", "--root", str(home), "onwards"], check=True)


def is_installed(home: Path) -> bool:
    return (home / "bin/onwards").exists()


def launch(home: Path, port: int, upstream: str, run: Path) -> Launch:
    target = {
        "url": f"http://{upstream}/",
        "onwards_key": "upstream-secret",
        "onwards_model": UPSTREAM_MODEL,
        "keys": [KEY],
    }
    config = run / "config.json"
    config.write_text(json.dumps({"targets": {MODEL: target}}))
    return Launch([str(home / "bin/onwards"), "--targets", str(config), "--port", str(port)], exact_frames=False)
