"""Clients on Node through the gateway: each SDK in its own dialect, every dialect behind. The cases are in `tests/node`, a file per SDK.

Every model is one of the simulator's families, which judge what they are sent: what the real provider refuses is refused, and so are seals
of reasoning that are missing or foreign.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fairlead import config
from fairlead.catalog import shipped

from e2e.house import KEY, PRICES, PROVIDER_SECRET, Gateway, billed_nanousd, configuration
from e2e.judge import Judge

NODE = Path(__file__).resolve().parents[1] / "node"
MOST_SECONDS = 120.0
# Providers: dialect, path of the base URL, which of the simulator's models they serve, and quirks where the catalogue knows none.
UPSTREAMS: dict[str, tuple[str, str, dict[str, list[str]]]] = {
    "chat": ("openai_chat", "/v1", {"agent-openrouter": ["openrouter_reasoning"], "deepseek": []}),
    "responses": ("openai_responses", "/v1", {"gpt-new": []}),
    "messages": ("anthropic_messages", "", {"claude": [], "claude-new": []}),
    "gemini": ("gemini_generate", "", {"gemini-new": []}),
    "converse": ("bedrock_converse", "", {"claude": [], "claude-new": []}),
}
MODELS = [f"{provider}/{name}" for provider, (_, _, names) in UPSTREAMS.items() for name in names]


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    """A simulator that judges everybody."""
    with Judge(seed=5) as running:
        running.judge()
        yield running


@pytest.fixture(scope="module")
def gateway(judge: Judge) -> Iterator[Gateway]:
    """A gateway with a provider for each dialect."""
    with Gateway(configuration(None, tables="\n".join(tables(judge.address)))) as running:
        yield running


def tables(address: str) -> Iterator[str]:
    """`[providers.…]` and `[models.…]`: the model `gemini/gemini-new` is the simulator's `gemini-new`, spoken to in Gemini's dialect."""
    compiled = config.compile(config.load(None, {}), shipped(), {}).models
    known = {model.id.removeprefix("sim/"): model.endpoints[0] for model in compiled}
    prices = ", ".join(f'{name} = "{usd}"' for name, usd in PRICES.items())
    for provider, (dialect, path, names) in UPSTREAMS.items():
        yield f'[providers.{provider}]\ndialect = "{dialect}"\nbase_url = "http://{address}{path}"\nkeys = ["{PROVIDER_SECRET}"]'
        yield "cancel_stops_billing = true"
        for name, unknown in names.items():
            facts = known.get(name)
            quirks, efforts = (facts.quirks, facts.efforts) if facts else (unknown, [])
            yield f'[models."{provider}/{name}"]\ncontext_length = 128000\nmax_completion_tokens = 16384'
            yield f'[[models."{provider}/{name}".endpoints]]\nprovider = "{provider}"\nupstream_model = "sim/{name}"'
            yield f"usd_per_million = {{ {prices} }}\nquirks = {json.dumps(quirks)}"
            if efforts:
                yield f"efforts = {json.dumps(efforts)}"


@pytest.mark.parametrize("sdk", ["openai_chat", "openai_responses", "openrouter", "anthropic", "google"])
def test_every_case_of(sdk: str, gateway: Gateway, judge: Judge) -> None:
    judge.forget_scripts()
    mark = judge.mark()
    run = node(f"{sdk}.test.mjs", gateway, judge)
    assert run.returncode == 0, run.stdout + run.stderr
    check_money(gateway, judge, mark)


def node(file: str, gateway: Gateway, judge: Judge) -> "subprocess.CompletedProcess[str]":
    """One of the files, to its end."""
    told = {"gateway": gateway.url, "key": KEY, "simulator": f"http://{judge.address}", "models": MODELS}
    return subprocess.run(
        ["node", file],
        cwd=NODE,
        env={"PATH": os.environ["PATH"], "HOME": str(gateway.folder), "FAIRLEAD_TESTED": json.dumps(told)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=False,
    )


def check_money(gateway: Gateway, judge: Judge, mark: int) -> None:
    """What every call of a file was charged is what the simulator billed for it, to the nano-dollar."""
    records: dict[str, Any] = {record["reply_id"]: record for record in judge.since(mark)}
    assert records
    rows = {row["upstream_id"]: row for row in gateway.generations("outcome = 'completed'") if row["upstream_id"] in records}
    assert rows
    for id, row in rows.items():
        assert row["charged_nanousd"] == row["upstream_cost_nanousd"] == billed_nanousd(records[id]), (row, records[id])
