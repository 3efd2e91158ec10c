"""The catalogue: what ships, and what its reader refuses."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fairlead import _native
from fairlead.catalog import compiled, load, quirks, shipped
from fairlead.catalog.document import Mistakes
from fairlead.catalog.parameters import served, supported
from fairlead.catalog.schema import QUIRKS, Capabilities, CatalogueEndpoint, DatedPrice, Reasoning
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
    assert len(found.providers) >= 50
    assert len(found.models) >= 400
    assert {slug for slug, facts in found.providers.items() if facts.environment and facts.on_by_environment} <= served


def test_the_compiled_file_is_that_of_the_toml_files() -> None:
    """After editing one: `python -m fairlead.catalog`."""
    folder = Path(compiled.__file__).parent
    assert (folder / compiled.NAME).read_bytes() == compiled.text(load(folder))
    assert shipped() == load(folder)


def prices() -> Iterator[tuple[str, CatalogueEndpoint, DatedPrice]]:
    for id, file in shipped().models.items():
        for endpoint in file.endpoint:
            for price in endpoint.price:
                yield f"{id} at {endpoint.provider}", endpoint, price


def test_every_price_has_a_source_and_a_day() -> None:
    for where, endpoint, price in prices():
        assert price.source.startswith("https://") or endpoint.provider == "sim", where
        assert price.from_ <= price.checked <= date(2026, 11, 21), where
        assert [one.from_ for one in endpoint.price] == sorted({one.from_ for one in endpoint.price}), where


def test_prices_are_in_the_right_unit() -> None:
    """Per million tokens, not per token or thousand; zero only where the name says so."""
    for where, endpoint, price in prices():
        prompt, completion = (Decimal(text or "nan") for text in (price.usd_per_million.prompt, price.usd_per_million.completion))
        cached = Decimal(price.usd_per_million.cache_read or prompt)
        if endpoint.upstream_model.endswith(":free"):
            assert prompt == completion == 0, where
            continue
        assert Decimal("0.001") < prompt <= 150, where
        assert completion <= 600, where
        assert completion > 0 or "embed" in where or "voyage" in where, where
        assert 0 < cached <= prompt, where
        for text in (price.usd_each.request, price.usd_each.web_search):
            assert text is None or Decimal(text) <= Decimal("0.05"), where


def test_limits_are_plausible() -> None:
    for id, file in shipped().models.items():
        assert 512 <= file.model.context_tokens <= 20_000_000, id
        for endpoint in file.endpoint:
            assert (endpoint.max_completion_tokens or 1) <= (endpoint.context_tokens or file.model.context_tokens), id
            assert endpoint.shutdown_on is None or endpoint.shutdown_on >= date(2026, 11, 21), id


@pytest.mark.parametrize(
    ("model", "provider", "expected"),
    [
        ("anthropic/claude-opus-5.5", "anthropic", "prompt=4 completion=20 cache_read=0.2 cache_write=5 cache_write_1h=8"),
        ("anthropic/claude-sonnet-5.5", "anthropic", "prompt=2 completion=10 cache_read=0.1 cache_write=2.5 cache_write_1h=4"),
        ("anthropic/claude-haiku-5.5", "anthropic", "prompt=0.1 completion=0.5 cache_read=0.01 cache_write=0.125 cache_write_1h=0.2"),
        ("openai/gpt-5.5", "openai", "prompt=5 completion=30 cache_read=0.5"),
        ("openai/gpt-5-mini", "openai", "prompt=0.25 completion=2 cache_read=0.025"),
        ("google/gemini-4-argon", "google-ai-studio", "prompt=2 completion=10 cache_read=0.1"),
        ("deepseek/deepseek-v4-pro", "deepseek", "prompt=1.32 completion=3.96 cache_read=0.044"),
        ("z-ai/glm-5.3", "z-ai", "prompt=1.4 completion=4.4 cache_read=0.26"),
        ("mistralai/mistral-large-4-0", "mistral", "prompt=0.7 completion=2.1 cache_read=0.07"),
        ("openai/gpt-oss-120b", "groq", "prompt=0.15 completion=0.6 cache_read=0.075"),
        ("openai/text-embedding-3-small", "openai", "prompt=0.02 completion=0"),
    ],
)
def test_prices_of_flagships(model: str, provider: str, expected: str) -> None:
    (endpoint,) = [endpoint for endpoint in shipped().models[model].endpoint if endpoint.provider == provider]
    charged = endpoint.price[-1].usd_per_million
    assert " ".join(f"{name}={text}" for name in charged.__struct_fields__ if (text := getattr(charged, name))) == expected


@pytest.mark.parametrize(
    ("alias", "model"),
    [
        ("claude-opus-4-7", "anthropic/claude-opus-4.7"),
        ("~anthropic/claude-opus-latest", "anthropic/claude-opus-5.5"),
        ("gpt-5.5-2026-04-23", "openai/gpt-5.5"),
        ("openai/gpt-5.4-2026-03-05", "openai/gpt-5.4"),
        ("mistralai/mistral-large-4", "mistralai/mistral-large-4-0"),
        ("text-embedding-3-small", "openai/text-embedding-3-small"),
    ],
)
def test_other_names(alias: str, model: str) -> None:
    assert [id for id, file in shipped().models.items() if alias in file.model.aliases] == [model]


def test_where_the_authors_own_provider_serves_a_model_it_comes_first() -> None:
    first = {id: file.endpoint[0].provider for id, file in shipped().models.items()}
    assert (first["z-ai/glm-5.3"], first["openai/gpt-5.5"], first["openai/gpt-oss-120b"]) == ("z-ai", "openai", "groq")
    for id, file in shipped().models.items():
        assert "openrouter" not in [endpoint.provider for endpoint in file.endpoint[:-1]], id


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


@pytest.mark.parametrize(
    ("dialects", "quirks", "able", "more", "less"),
    [
        (["openai_chat"], [], {"sampling": True}, {"stop", "seed", "frequency_penalty", "max_completion_tokens"}, {"top_k", "min_p"}),
        (["openai_chat"], ["open_sampling", "no_seed"], {"sampling": True}, {"top_k", "min_p"}, {"seed"}),
        (["openai_responses"], [], {"sampling": True}, {"temperature"}, {"stop", "seed", "top_k"}),
        (["openai_responses", "openai_chat"], [], {"sampling": True}, {"stop", "seed"}, set()),
        (["anthropic_messages"], [], {"sampling": True}, {"top_k", "stop"}, {"seed", "presence_penalty"}),
        (["anthropic_messages"], ["no_sampling"], {"sampling": True}, {"stop"}, {"temperature", "top_k"}),
        (["gemini_generate"], ["no_stop"], {"sampling": False}, {"seed"}, {"stop", "temperature"}),
        (["openai_chat"], [], {"sampling": True, "parameters_refused": ["stop"]}, {"seed"}, {"stop"}),
        (["openai_chat"], ["no_parallel_tool_calls"], {"tools": True, "parallel_tools": True}, {"tools"}, {"parallel_tool_calls"}),
    ],
)
def test_what_an_endpoint_supports(dialects: list[str], quirks: list[str], able: dict[str, Any], more: set[str], less: set[str]) -> None:
    names = {*(served(Capabilities(**able), None, dialects, quirks) or ())}
    assert more <= names and not less & names
    assert served(None, None, dialects, quirks) is None
