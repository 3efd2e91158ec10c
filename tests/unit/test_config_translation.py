"""What the configuration says for translation: quirks, efforts, presets, strictness, the store. And the data plane takes it."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fairlead import _native, config
from fairlead.catalog import shipped
from fairlead.catalog.schema import GOOGLE_SERVICE_ACCOUNT, PLACEHOLDERS, ProviderFacts
from fairlead.config import Compiled

FILE = Path("/etc/fairlead.toml")
OWN = """[[models."{model}".endpoints]]
provider = "{provider}"
upstream_model = "x"
usd_per_million = {{ prompt = "1", completion = "1" }}
{rest}
"""


def compiled(text: str, environ: dict[str, str] | None = None) -> Compiled:
    environ = {"HOME": "/home/somebody"} | (environ or {})
    return config.compile(config.read(text, FILE, environ), shipped(), environ, today=date(2026, 11, 21))


def snapshot(text: str, environ: dict[str, str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compiled(text, environ).snapshot)
    return found


def endpoint(found: dict[str, Any], model: str, provider: str) -> dict[str, Any]:
    (one,) = [
        endpoint for each in found["models"] if each["id"] == model for endpoint in each["endpoints"] if endpoint["provider"] == provider
    ]
    one |= {"provider_quirks": next(each["quirks"] for each in found["providers"] if each["slug"] == provider)}
    return one


@pytest.mark.parametrize(
    ("model", "provider", "quirks", "efforts"),
    [
        (
            "anthropic/claude-opus-5.5",
            "anthropic",
            "no_sampling no_prefill no_forced_tool_choice adaptive_thinking always_thinking native_schema block_binding",
            "low medium high xhigh max",
        ),
        ("anthropic/claude-sonnet-4.5", "anthropic", "no_mid_system native_schema", ""),
        ("anthropic/claude-sonnet-4.5", "amazon-bedrock", "no_mid_system budget_thinking", ""),
        ("google/gemini-2.5-flash", "google-ai-studio", "no_media_results schema_without_tools", ""),
        ("google/gemini-3.8-flash", "google-ai-studio", "no_sampling thinking_level thought_signatures", "low medium high"),
        ("openai/gpt-4.1-mini", "openai", "no_encrypted_reasoning", "none"),
        (
            "openai/gpt-6-luna",
            "openai",
            "no_sampling no_penalties no_stop no_thinking_chat_tools cache_breakpoints",
            "none low medium high xhigh max",
        ),
        (
            "mistralai/mistral-large-4-0",
            "mistral",
            "random_seed legacy_max_tokens no_stream_options no_developer_role no_custom_tools content_lists",
            "none high",
        ),
    ],
)
def test_facts_of_the_catalogue(model: str, provider: str, quirks: str, efforts: str) -> None:
    region = "region = 'eu-1'" if provider == "amazon-bedrock" else ""
    found = endpoint(snapshot(f"[providers.{provider}]\nkeys = ['k']\n{region}"), model, provider)
    assert {*found["quirks"], *found["provider_quirks"]} == {*quirks.split()}
    assert found["efforts"] == efforts.split()


@pytest.mark.parametrize(
    ("model", "rest", "quirks", "efforts"),
    [
        ("acme/fast", "", [], []),
        ("acme/fast", "quirks = ['think_tags', 'no_seed']\nefforts = ['low', 'high']", ["think_tags", "no_seed"], ["low", "high"]),
        ("google/gemini-3.8-flash", "", ["no_sampling"], ["low", "medium", "high"]),
        ("google/gemini-3.8-flash", "quirks = []\nefforts = []", [], []),
    ],
)
def test_own_endpoints(model: str, rest: str, quirks: list[str], efforts: list[str]) -> None:
    """What the catalogue's model implies holds for them too, unless they say something themselves."""
    text = '[providers.lab]\ndialect = "openai_chat"\nbase_url = "http://h/v1"\nkeys = []\n' + OWN.format(
        model=model, provider="lab", rest=rest
    )
    found = endpoint(snapshot(text), model, "lab")
    assert (found["quirks"], found["efforts"]) == (quirks, efforts)


def test_dialects_are_in_the_order_of_preference() -> None:
    found = snapshot("[providers.openai]\nkeys = ['k']\n[providers.google-ai-studio]\nkeys = ['k']")
    assert endpoint(found, "openai/gpt-5.5", "openai")["dialects"] == ["openai_responses", "openai_chat"]
    assert endpoint(found, "google/gemini-2.5-flash", "google-ai-studio")["dialects"] == ["gemini_generate", "openai_chat"]


def test_presets() -> None:
    text = (
        "[presets.careful]\nmodel = 'sim/echo'\nstrict_translation = true\n"
        "[presets.cached]\nmodels = ['sim/fast']\nautomatic_cache = true\n[presets.plain]\nmodel = 'nick'\n"
        "[models.'sim/slow']\naliases = ['nick']\n"
    )
    switches = [(preset["name"], preset["strict_translation"], preset["automatic_cache"]) for preset in snapshot(text)["presets"]]
    assert switches == [("careful", True, False), ("cached", False, True), ("plain", False, False)]
    assert snapshot("")["presets"] == []


def test_switches() -> None:
    result = compiled("[keys.a]\nsecret = '0123456789012345678901'\nstrict_translation = true\n[keys.b]\nsecret = '1123456789012345678901'")
    assert [key.strict_translation for key in result.keys] == [True, False]
    assert snapshot("[responses]\nstore = true")["settings"]["responses_store"] is True
    assert snapshot("")["settings"]["responses_store"] is False
    bounds = snapshot("[responses]\nttl_seconds = 60\nstore_bytes = 2_000_000")["settings"]
    assert (bounds["responses_ttl_seconds"], bounds["responses_store_bytes"]) == (60, 2_000_000)
    names = ("decisions", "decisions_ttl_seconds", "decisions_bytes")
    assert [snapshot("")["settings"][name] for name in names] == [True, 30 * 86_400, 1 << 30]
    quiet = snapshot("[logging]\ndecisions = false\ndecisions_ttl_seconds = 60\ndecisions_bytes = 20_000_000")["settings"]
    assert [quiet[name] for name in names] == [False, 60, 20_000_000]


def _places(facts: ProviderFacts) -> str:
    """What a provider cannot be called without, beside its keys."""
    urls = (facts.base_url, *facts.base_urls.values())
    places = "".join(f"{name} = 'x1'\n" for name in PLACEHOLDERS if any(f"{{{name}}}" in url for url in urls))
    auth = "auth = 'bearer'\n" if facts.auth == GOOGLE_SERVICE_ACCOUNT else ""
    return places + auth + ("" if facts.base_url or facts.slug == "sim" else "base_url = 'https://h.example/v1'\n")


def test_the_data_plane_takes_all_of_it(tmp_path: Path) -> None:
    """Every provider and model of the catalogue, and everything above: what Python lets through, Rust does not refuse."""
    providers = "".join(
        f"[providers.{slug}]\nkeys = ['key-{slug}']\n{_places(facts)}"
        for slug, facts in shipped().providers.items()
        if slug != "amazon-bedrock"
    )
    signed = "[providers.amazon-bedrock]\nregion = 'eu-central-1'\nkeys = [{ access_key_id = 'AKID', secret_access_key = 's' }]\n"
    own = OWN.format(model="acme/fast", provider="groq", rest="quirks = ['no_seed']\nefforts = ['none', 'max']")
    rest = "[presets.x]\nmodel = 'acme/fast'\nautomatic_cache = true\n[responses]\nstore = true\n"
    options = {"data": "127.0.0.1:0", "journal_dir": str(tmp_path), "control_socket": str(tmp_path / "s"), "secret": "00" * 32}
    engine = _native.Engine(json.dumps(options | {"handle_signals": False}).encode())
    try:
        assert engine.load_snapshot(compiled(providers + signed + own + rest).snapshot) == 1
        with pytest.raises(ValueError, match='"no_sed" is no quirk; did you mean "no_seed"'):
            engine.load_snapshot(compiled(providers + signed + own + rest).snapshot.replace(b'"no_seed"', b'"no_sed"'))
    finally:
        engine.stop()
