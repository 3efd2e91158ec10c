"""LiteLLM's proxy from PyPI: one worker, a key, no database, logging quiet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from measuring.targets import KEY, MODEL, UPSTREAM_MODEL, Launch


def install(home: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([str(home / "bin/pip"), "install", "--quiet", "litellm[proxy]"], check=True)


def is_installed(home: Path) -> bool:
    return (home / "bin/litellm").exists()


def launch(home: Path, port: int, upstream: str, run: Path) -> Launch:
    config = run / "config.yaml"
    config.write_text(f"""\
model_list:
  - model_name: {MODEL}
    litellm_params:
      model: openai/{UPSTREAM_MODEL}
      api_base: http://{upstream}/v1
      api_key: upstream-secret
general_settings:
  master_key: {KEY}
litellm_settings:
  request_timeout: 60
""")
    command = [str(home / "bin/litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return Launch([*command, "--num_workers", "1"], environment, exact_frames=False)
