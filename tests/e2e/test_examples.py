"""The examples run as they stand, and what they print is what the simulator billed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.house import KEY, Gateway, Provider, billed_nanousd

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
# What each says, in order; one generation each.
SAYS = {
    "openai_sdk.py": ["Good morning", "Good night"],
    "openai_responses.py": ["called: weather ['city']", "The tool said: sunny"],
    "anthropic_sdk.py": ["Good morning", "Good night"],
    "google_sdk.py": ["Good morning", "Good night"],
    "in_process.py": ["Good morning", "Good night"],
    "openrouter_sdk.py": ["Good morning"],
    "read_stream.py": ["Good morning"],
}


def test_every_example_is_run() -> None:
    """Configurations are loaded by `unit/test_config_routing`."""
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file() and path.suffix != ".toml"} == SAYS.keys()


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str, gateway: Gateway, provider: Provider) -> None:
    mark = provider.mark()
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env={
            **os.environ,
            "FAIRLEAD_URL": gateway.url,
            "FAIRLEAD_CONFIG": str(gateway.config),
            "FAIRLEAD_KEY": KEY,
            "FAIRLEAD_MODEL": "lab/echo",
            "FAIRLEAD_TOOL_MODEL": "lab/tools",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in SAYS[name]] == SAYS[name]
    told = {round(float(usd) * 10**9) for line in lines for usd in re.findall(r"dollars: (\S+)|(\S+) dollars$", line) for usd in usd if usd}
    assert told == {billed_nanousd(record) for record in provider.since(mark, len(SAYS[name]))}
