"""Portkey's gateway from npm: provider and address come with each request; it knows no keys of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from measuring.targets import UPSTREAM_MODEL, Launch

_SCRIPT = "node_modules/@portkey-ai/gateway/build/start-server.js"


def install(home: Path) -> None:
    command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "@portkey-ai/gateway"]
    subprocess.run(command, check=True)


def is_installed(home: Path) -> bool:
    return (home / _SCRIPT).exists()


def launch(home: Path, port: int, upstream: str, _run: Path) -> Launch:
    command = ["node", str(home / _SCRIPT), f"--port={port}", "--headless"]
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://{upstream}/v1")
    return Launch(command, {"NODE_ENV": "production"}, headers, UPSTREAM_MODEL, exact_frames=False)
