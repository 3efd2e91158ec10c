"""The catalogue: what ships, and what its reader refuses."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fairlead import _native
from fairlead.catalog import load, quirks, shipped
from fairlead.catalog.document import Mistakes
from fairlead.catalog.parameters import supported
from fairlead.catalog.schema import QUIRKS, Capabilities, Reasoning
from fairlead.config import report

PROVIDER = """[provider]
slug = "lab"
name = "Lab"
base_url = "http://127.0.0.1:1/v1"
dialects = ["openai_chat"]
"""
MODEL = """[model]
id = "acme/fast"
name = "Fast"
context_tokens = 1000
[[endpoint]]
provider = "lab"
upstream_model = "fast"
[[endpoint.price]]
from = 2026-01-01
source = "a list"
checked = 2026-01-02
usd_per_million = { prompt = "1", completion = "2" }
"""


def catalogue(folder: Path, files: dict[str, str]) -> Path:
    for name, text in ({"providers/lab.toml": PROVIDER, "models/acme/fast.toml": MODEL} | files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_what_ships_is_complete() -> None:
    found = shipped()
    assert {
        "anthropic",
        "openai",
        "openrouter",
        "groq",
        "deepseek",
        "mistral",
        "google-ai-studio",
        "ollama",
        "sim",
    } <= found.providers.keys()
    assert {f"sim/{name}" for name in ("echo", "fast", "slow", "flaky", "reason", "tools")} <= found.models.keys()
    assert len(found.models) >= 30
    served = {endpoint.provider for file in found.models.values() for endpoint in file.endpoint}
    assert served <= {slug for slug, facts in found.providers.items() if facts.environment or slug == "sim"}
    assert len(found.providers) >= 50
    for file in found.models.values():
        for endpoint in file.endpoint:
            for price in endpoint.price:
                assert price.source
                assert date(2026, 1, 1) < price.from_ <= price.checked <= date(2026, 11, 20)
                assert price.usd_per_million.prompt not in (None, "0")


def test_quirks_are_those_of_the_data_plane() -> None:
    assert tuple(name for name, _ in _native.QUIRKS) == QUIRKS


@pytest.mark.parametrize(
    ("capabilities", "reasoning", "expected", "efforts"),
    [
        (None, None, (), ()),
        ({}, {"style": "effort"}, (), ()),
        (
            {"sampling": True, "prefill": True, "tool_choice": ["auto", "named"]},
            {"style": "effort", "efforts": ["low", "max"]},
            (),
            ("low", "max"),
        ),
        ({"sampling": False}, None, ("no_sampling",), ()),
        ({"prefill": False, "system_in_messages": False}, None, ("no_prefill", "no_mid_system"), ()),
        ({"tool_choice": ["auto", "none"]}, None, ("no_forced_tool_choice",), ()),
        ({"strict_tools": False, "structured_outputs": False}, None, ("no_strict_tools", "no_json_schema"), ()),
        ({"parameters_refused": ["frequency_penalty"]}, None, (), ()),
        (
            {"parameters_refused": ["stop", "seed", "frequency_penalty", "presence_penalty"]},
            None,
            ("no_penalties", "no_stop", "no_seed"),
            (),
        ),
        (None, {"style": "none", "efforts": ["low"]}, (), ("none",)),
        (None, {"style": "always"}, ("always_thinking",), ()),
        (None, {"style": "adaptive", "can_disable": False, "efforts": ["low"]}, ("adaptive_thinking", "always_thinking"), ("low",)),
        (None, {"style": "budget", "can_disable": True}, (), ()),
    ],
)
def test_what_follows_from_a_models_capabilities(
    capabilities: dict[str, Any] | None, reasoning: dict[str, Any] | None, expected: tuple[str, ...], efforts: tuple[str, ...]
) -> None:
    able = Capabilities(**capabilities) if capabilities is not None else None
    thinks = Reasoning(**reasoning) if reasoning is not None else None
    assert (quirks.following(able, thinks), quirks.efforts(thinks)) == (expected, efforts)
    assert {*expected} <= {*QUIRKS}


def test_a_small_one_loads(tmp_path: Path) -> None:
    assert [*load(catalogue(tmp_path, {})).models] == ["acme/fast"]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "models/acme/fast.toml",
            "context_tokens",
            "context_length",
            'models/acme/fast.toml:4: model.context_length: unknown key "context_length"',
        ),
        ("models/acme/fast.toml", "context_tokens = 1000", "", 'models/acme/fast.toml:1: model: "context_tokens" is missing'),
        (
            "models/acme/fast.toml",
            '"lab"',
            '"lap"',
            'models/acme/fast.toml:6: endpoint[0].provider: unknown provider "lap"; did you mean "lab"?',
        ),
        ("models/acme/fast.toml", "acme/fast", "acme/quick", 'models/acme/fast.toml:2: model.id: belongs into "models/acme/quick.toml"'),
        ("models/acme/fast.toml", '"1"', '"1.1234567"', "too precise"),
        (
            "models/acme/fast.toml",
            '"1"',
            "1.5",
            'endpoint[0].price[0].usd_per_million.prompt: expected a decimal number in quotes, such as "2.50", got 1.5',
        ),
        ("models/acme/fast.toml", 'prompt = "1", ', "", 'endpoint[0].price[0].usd_per_million: "prompt" is missing'),
        ("models/acme/fast.toml", "from = 2026-01-01", 'from = "today"', 'price[0].from: expected a date, such as 2027-01-31, got "today"'),
        (
            "models/acme/fast.toml",
            "[[endpoint]]",
            '[[endpoint]]\ndialect = "anthropic_messages"',
            'provider "lab" does not speak "anthropic_messages"',
        ),
        (
            "models/acme/fast.toml",
            "[[endpoint]]",
            "[capabilities]\nparameters_refused = ['top']\n[[endpoint]]",
            'unknown parameter "top"; did you mean "stop"?',
        ),
        (
            "models/acme/fast.toml",
            MODEL[-70:],
            MODEL[-70:] + MODEL[MODEL.index("[[endpoint]]") :],
            "the endpoint fast at lab is listed twice",
        ),
        ("models/acme/fast.toml", MODEL, "x = 1\n\n[model\n", "models/acme/fast.toml:3: not valid TOML"),
        ("providers/lab.toml", '"lab"', '"lob"', 'providers/lab.toml:2: provider.slug: belongs into "providers/lob.toml"'),
        ("providers/lab.toml", '["openai_chat"]', "[]", "providers/lab.toml:5: provider.dialects: must not be empty"),
        ("providers/lab.toml", '"http://127.0.0.1:1/v1"', '""\nenvironment = ["LAB_KEY"]', "is needed where an environment variable"),
    ],
)
def test_mistakes(tmp_path: Path, file: str, old: str, new: str, expected: str) -> None:
    text = PROVIDER if file.startswith("providers") else MODEL
    assert old in text
    with pytest.raises(Mistakes) as caught:
        load(catalogue(tmp_path, {file: text.replace(old, new, 1)}))
    assert expected in report.text(caught.value.problems)


def test_names_are_one_space(tmp_path: Path) -> None:
    other = MODEL.replace('"acme/fast"', '"acme/slow"\naliases = ["acme/fast"]')
    with pytest.raises(Mistakes) as caught:
        load(catalogue(tmp_path, {"models/acme/slow.toml": other}))
    assert report.text(caught.value.problems) == 'models/acme/slow.toml:3: model.aliases: "acme/fast" is taken by acme/fast\n'


@pytest.mark.parametrize(
    ("capabilities", "reasoning", "expected"),
    [
        (None, None, None),
        (Capabilities(), None, ("max_tokens",)),
        (
            Capabilities(tools=True, tool_choice=["auto"], structured_outputs=True),
            None,
            ("max_tokens", "response_format", "structured_outputs", "tool_choice", "tools"),
        ),
        (Capabilities(sampling=True, parameters_refused=["top_p"]), Reasoning(style="none"), ("max_tokens", "temperature")),
        (
            Capabilities(parallel_tools=True),
            Reasoning(style="effort", efforts=["low"]),
            ("include_reasoning", "max_tokens", "parallel_tool_calls", "reasoning", "reasoning_effort"),
        ),
    ],
)
def test_supported_parameters(capabilities: Capabilities | None, reasoning: Reasoning | None, expected: tuple[str, ...] | None) -> None:
    assert supported(capabilities, reasoning) == expected
