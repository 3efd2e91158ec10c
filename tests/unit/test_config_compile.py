"""From a configuration to the snapshot."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from fairlead import config
from fairlead.catalog import load, shipped
from fairlead.catalog.schema import DataPolicy
from fairlead.config import Compiled, report, wire
from fairlead.config.schema import Limits, Timeouts
from fairlead.config.view import Price

TODAY = date(2026, 11, 21)
ROOT = Path(__file__).parents[2]
WIRE_RS = (ROOT / "rust/snapshot/src/wire.rs").read_text()

CONTRACT = """
[server]
data = "127.0.0.1:8080"
admin = "127.0.0.1:8081"
data_dir = "~/.local/share/fairlead"
admin_token = "env:FAIRLEAD_ADMIN_TOKEN"

[providers.openai]
keys = ["env:OPENAI_API_KEY"]

[providers.lab]
dialect = "openai_chat"
base_url = "http://127.0.0.1:9000/v1"
keys = ["secret"]

[models."acme/fast"]
context_length = 128000
max_completion_tokens = 16384
supported_parameters = ["tools", "temperature", "max_tokens"]
[[models."acme/fast".endpoints]]
provider = "lab"
upstream_model = "gpt-x"
usd_per_million = { prompt = "3", completion = "15", cache_read = "0.3", cache_write = "3.75" }
usd_each = { request = "0.001" }

[keys.ci]
secret = "env:FAIRLEAD_CI_KEY"
models = ["acme/*"]
management = false

[credits]
enforce = false
[free_tier]
requests_per_minute = 20
requests_per_day = 50
requests_per_day_with_credits = 1000
credits_threshold_usd = "10"

[storage]
url = "sqlite"
limits_url = ""
[logging]
content = false
"""
"""The contract's sample without what this version refuses. Presets and splits: `test_config_routing`."""


def compiled(text: str | None, environ: dict[str, str] | None = None, **options: Any) -> Compiled:
    environ = {"HOME": "/home/somebody"} | (environ or {})
    loaded = config.load(None, environ) if text is None else config.read(text, Path("/etc/fairlead.toml"), environ)
    return config.compile(loaded, shipped(), environ, today=TODAY, **options)


def snapshot(result: Compiled) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.snapshot)
    return found


def test_the_free_tier() -> None:
    contracts = {
        "requests_per_minute": 20,
        "requests_per_day": 50,
        "requests_per_day_with_credits": 1000,
        "credits_threshold_nanousd": 10 * 10**9,
    }
    for text, expected in (
        ("", None),
        ("[free_tier]", contracts),
        (
            '[free_tier]\nrequests_per_day = 0\ncredits_threshold_usd = "0.5"',
            contracts | {"requests_per_day": 0, "credits_threshold_nanousd": 5 * 10**8},
        ),
    ):
        assert snapshot(compiled(text))["settings"]["free_tier"] == expected, text


def test_the_contracts_sample() -> None:
    environ = {"FAIRLEAD_ADMIN_TOKEN": "t" * 30, "OPENAI_API_KEY": "sk-openai", "FAIRLEAD_CI_KEY": "k" * 30}
    result = compiled(CONTRACT, environ, version=7)
    assert result.warnings == ()
    assert result.server.admin_token == "t" * 30
    assert [(key.name, key.secret, key.models, key.management) for key in result.keys] == [("ci", "k" * 30, ("acme/*",), False)]
    assert not result.simulator
    assert not result.zero_configuration
    found = snapshot(result)
    assert (found["version"], found["admin_token_hash"]) == (7, "")
    assert [provider["slug"] for provider in found["providers"]] == ["openai", "lab"]
    assert found["providers"][1] == {
        "slug": "lab",
        "name": "lab",
        "dialects": {"openai_chat": "http://127.0.0.1:9000/v1"},
        "auth": {"scheme": "bearer"},
        "dialect_auth": {},
        "keys": [{"secret": "secret"}],
        "headers": {},
        "cancel_stops_billing": False,
        "reports_cost": False,
        "ca_file": None,
        "quirks": [],
        "data_policy": {},
        "headquarters": None,
        "datacenters": [],
    }
    (model,) = [model for model in found["models"] if model["id"] == "acme/fast"]
    assert model == {
        "rpm": None,
        "tpm": None,
        "max_concurrency": None,
        "id": "acme/fast",
        "aliases": [],
        "max_completion_tokens": 16384,
        "endpoints": [
            {
                "id": config.hashed_endpoint_id("acme/fast", "lab", "gpt-x", ""),
                "provider": "lab",
                "upstream_model": "gpt-x",
                "dialects": ["openai_chat"],
                "price": {
                    "prompt": 3_000_000,
                    "completion": 15_000_000,
                    "cache_read": 300_000,
                    "cache_write": 3_750_000,
                    "request": 1_000_000_000,
                },
                "max_completion_tokens": 16384,
                "quirks": [],
                "efforts": [],
                "region": "",
                "quantization": "unknown",
                "status": "ga",
                "context_tokens": 128_000,
                "max_prompt_tokens": None,
                "input_modalities": [],
                "output_modalities": [],
                "supported_parameters": ["tools", "temperature", "max_tokens"],
                "deprecated_on": None,
                "shutdown_on": None,
                "implicit_caching": False,
                "cache_ttl_seconds": [],
            }
        ],
    }
    (view,) = [model for model in result.models if model.id == "acme/fast"]
    assert (view.context_length, view.supported_parameters, view.source) == (
        128000,
        ("tools", "temperature", "max_tokens"),
        "configuration",
    )
    assert view.endpoints[0].context_length == 128000
    assert view.endpoints[0].pricing == {
        "prompt": "0.000003",
        "completion": "0.000015",
        "request": "0.001",
        "input_cache_read": "0.0000003",
        "input_cache_write": "0.00000375",
    }
    assert "openai/gpt-5-mini" in {model.id for model in result.models}


@pytest.mark.parametrize(
    ("environ", "slugs"),
    [
        ({}, ["sim"]),
        ({"OPENAI_API_KEY": ""}, ["sim"]),
        ({"OPENAI_API_KEY": "k"}, ["openai"]),
        ({"ANTHROPIC_API_KEY": "a", "GOOGLE_API_KEY": "g"}, ["anthropic", "google-ai-studio"]),
        ({"TOGETHERAI_API_KEY": "k"}, ["together"]),
        ({"OLLAMA_API_KEY": "k"}, ["sim"]),
    ],
)
def test_zero_configuration(environ: dict[str, str], slugs: list[str]) -> None:
    result = compiled(None, environ, simulator_address="127.0.0.1:4444")
    assert [provider.slug for provider in result.providers] == slugs
    assert result.simulator == ("sim" in slugs)
    assert config.simulator_is_on(config.load(None, environ), shipped(), environ) == result.simulator
    assert {endpoint.provider for model in result.models for endpoint in model.endpoints} == {*slugs}
    assert result.zero_configuration
    assert result.warnings == ()


def test_zero_configuration_has_the_simulator_in_every_dialect() -> None:
    found = snapshot(compiled(None, simulator_address="127.0.0.1:4444"))
    assert found["providers"][0]["dialects"] == {
        "openai_chat": "http://127.0.0.1:4444/v1",
        "openai_responses": "http://127.0.0.1:4444/v1",
        "anthropic_messages": "http://127.0.0.1:4444",
        "gemini_generate": "http://127.0.0.1:4444",
        "bedrock_converse": "http://127.0.0.1:4444",
    }
    assert {"echo", "agent", "claude-new", "gemini-new", "xai"} < {model["id"].removeprefix("sim/") for model in found["models"]}
    assert all(model["id"].startswith("sim/") for model in found["models"])
    found["models"] = [model for model in found["models"] if model["id"] == "sim/echo"]
    [key] = found["providers"][0]["keys"]
    assert re.fullmatch("sim-[0-9a-f]{16}", key["secret"]), "nothing that could stand in a sentence, where it would be redacted"
    assert found["models"][0]["endpoints"][0]["price"]["prompt"] == 1_000_000


def test_the_simulator_beside_a_real_provider() -> None:
    result = compiled("[providers.sim]\n[providers.openai]\n", {"OPENAI_API_KEY": " k\n"})
    assert [provider.slug for provider in result.providers] == ["sim", "openai"]
    assert [(provider.keys, provider.key_source) for provider in result.providers] == [(1, "none"), (1, "OPENAI_API_KEY")]
    assert snapshot(result)["providers"][1]["keys"] == [{"secret": "k"}]


def test_a_file_without_providers_is_as_no_file() -> None:
    assert [provider.slug for provider in compiled("[server]\nworkers = 2", {"GROQ_API_KEY": "k"}).providers] == ["groq"]
    assert compiled("[providers]", {"GROQ_API_KEY": "k"}).providers == ()


@pytest.mark.parametrize(
    ("table", "dialects"),
    [
        ("dialect = 'anthropic_messages'\nbase_url = 'https://h/v1/'", {"anthropic_messages": "https://h"}),
        ("dialect = 'anthropic_messages'\nbase_url = 'https://h'", {"anthropic_messages": "https://h"}),
        ("dialect = 'openai_chat'\nbase_url = 'https://h/v1/'", {"openai_chat": "https://h/v1"}),
        (
            "dialects = ['anthropic_messages', 'openai_chat']\nbase_url = 'http://[::1]:8/v1'",
            {"anthropic_messages": "http://[::1]:8", "openai_chat": "http://[::1]:8/v1"},
        ),
        (
            "dialects = ['openai_chat', 'anthropic_messages']\nbase_url = 'http://h/v1'\n"
            "base_urls = { anthropic_messages = 'http://other/x/v1' }",
            {"openai_chat": "http://h/v1", "anthropic_messages": "http://other/x"},
        ),
    ],
)
def test_base_urls(table: str, dialects: dict[str, str]) -> None:
    assert snapshot(compiled(f"[providers.lab]\n{table}\nkeys = []"))["providers"][0]["dialects"] == dialects


@pytest.mark.parametrize(("table", "quirks"), [("", []), ("quirks = ['no_stream_options']", ["no_stream_options"]), ("quirks = []", [])])
def test_quirks_of_a_provider(table: str, quirks: list[str]) -> None:
    for name in ("lab", "openai"):
        text = f"[providers.{name}]\ndialect = 'openai_chat'\nbase_url = 'http://h/v1'\nkeys = []\n{table}"
        assert snapshot(compiled(text))["providers"][0]["quirks"] == quirks


def test_a_catalogue_provider_is_overridden_key_by_key() -> None:
    text = "[providers.anthropic]\nbase_url = 'http://127.0.0.1:1'\nheaders = { Anthropic-Version = '2026-10-21', x-team = 'a' }\n"
    (provider,) = snapshot(compiled(text, {"ANTHROPIC_API_KEY": "k"}))["providers"]
    assert provider["dialects"] == {"anthropic_messages": "http://127.0.0.1:1"}
    assert provider["auth"] == {"scheme": "header", "name": "x-api-key"}
    assert provider["headers"] == {"anthropic-version": "2026-10-21", "x-team": "a"}
    assert provider["cancel_stops_billing"] is True


@pytest.mark.parametrize(
    ("table", "auth", "headers"),
    [
        ("dialect = 'anthropic_messages'", {"scheme": "header", "name": "x-api-key"}, {"anthropic-version": "2023-06-01"}),
        ("dialects = ['anthropic_messages', 'openai_chat']", {"scheme": "bearer"}, {"anthropic-version": "2023-06-01"}),
        ("dialect = 'openai_chat'\nauth = { header = 'Api-Key' }", {"scheme": "header", "name": "api-key"}, {}),
        ("dialect = 'anthropic_messages'\nauth = 'bearer'", {"scheme": "bearer"}, {"anthropic-version": "2023-06-01"}),
    ],
)
def test_credentials_travel_as_the_dialect_wants(table: str, auth: object, headers: object) -> None:
    (provider,) = snapshot(compiled(f"[providers.lab]\n{table}\nbase_url = 'http://h'\nkeys = ['k']"))["providers"]
    assert (provider["auth"], provider["headers"]) == (auth, headers)


def test_a_catalogue_model_is_overridden_key_by_key() -> None:
    text = (
        "[providers.openai]\nkeys = ['k']\n"
        '[models."openai/gpt-5-mini"]\naliases = ["mini"]\nmax_completion_tokens = 5\n'
        '[models."openai/gpt-5.5"]\n[[models."openai/gpt-5.5".endpoints]]\nprovider = "openai"\nupstream_model = "own"\n'
        'usd_per_million = { prompt = "1", completion = "1" }\n'
    )
    result = compiled(text)
    models = {model.id: model for model in result.models}
    mini = models["openai/gpt-5-mini"]
    assert (mini.aliases, mini.name, mini.source) == (("mini",), "GPT-5 Mini", "catalogue+configuration")
    assert mini.endpoints[0].max_completion_tokens == 5
    assert [endpoint.upstream_model for endpoint in models["openai/gpt-5.5"].endpoints] == ["own"]
    assert models["openai/gpt-5.5"].context_length == 1_050_000
    assert {model["id"]: model["max_completion_tokens"] for model in snapshot(result)["models"]}["openai/gpt-5-mini"] == 5


def test_endpoints_follow_the_providers_that_are_on() -> None:
    models = {model.id: model for model in compiled("[providers.openrouter]\nkeys=['k']\n[providers.groq]\nkeys=['k']").models}
    assert [endpoint.provider for endpoint in models["openai/gpt-oss-120b"].endpoints] == ["groq", "openrouter"]
    assert models["anthropic/claude-opus-5.5"].endpoints[0].dialects == ("openai_chat", "openai_responses", "anthropic_messages")


def test_a_deprecated_model_stays_to_its_last_day_and_says_so() -> None:
    def sonnet(today: date, text: str) -> tuple[list[tuple[str, str | None]], list[str]]:
        result = config.compile(config.read(text, Path("fairlead.toml"), {}), shipped(), {}, today=today)
        found = [(model.endpoints[0].status, model.expiration_date) for model in result.models if model.id == "anthropic/claude-sonnet-4.5"]
        return found, [problem.message for problem in result.warnings]

    text = "[providers.anthropic]\nkeys=['k']\n"
    assert sonnet(date(2026, 11, 30), text) == ([("deprecated", "2026-11-30")], [])
    assert sonnet(date(2026, 12, 1), text) == ([], [])
    named = text + '[models."anthropic/claude-sonnet-4.5"]\n'
    assert sonnet(date(2026, 12, 1), named)[1] == ["none of its providers is on: amazon-bedrock, azure, gmicloud, venice, openrouter"]


def one_endpoint(folder: Path, rest: str) -> None:
    """A catalogue of one model at one provider; `rest` ends its endpoint's table."""
    (folder / "providers").mkdir()
    (folder / "models/acme").mkdir(parents=True)
    (folder / "providers/lab.toml").write_text(
        '[provider]\nslug = "lab"\nname = "Lab"\nbase_url = "http://h/v1"\ndialects = ["openai_chat"]\nenvironment = ["LAB_KEY"]\n'
    )
    (folder / "models/acme/fast.toml").write_text(
        '[model]\nid = "acme/fast"\nname = "Fast"\ncontext_tokens = 9\n[[endpoint]]\nprovider = "lab"\nupstream_model = "f"\n' + rest
    )


def test_a_model_that_is_gone_everywhere_says_since_when(tmp_path: Path) -> None:
    one_endpoint(
        tmp_path,
        'shutdown_on = 2026-11-01\n[[endpoint.price]]\nfrom = 2026-01-01\nsource = "s"\nchecked = 2026-01-01\n'
        'usd_per_million = { prompt = "1", completion = "1" }\n',
    )
    text = "[providers.lab]\nkeys=['k']\n[models.'acme/fast']\n"
    warnings = config.compile(config.read(text, Path("fairlead.toml"), {}), load(tmp_path), {}, today=TODAY).warnings
    assert "was shut down: at lab on 2026-11-01" in [problem.message for problem in warnings]


def test_what_routing_needs_to_know_reaches_the_snapshot() -> None:
    text = (
        "[providers.openai]\ndata_policy = { zdr = true, retention_days = 0 }\nheadquarters = 'US'\ndatacenters = ['US', 'IE']\n"
        "keys = ['a', { secret = 'b', weight = 3, rpm = 60, tpm = 1000, max_concurrency = 4 }]\n"
    )
    compiled_snapshot = snapshot(compiled(text))
    (provider,) = compiled_snapshot["providers"]
    assert provider["keys"] == [{"secret": "a"}, {"secret": "b", "weight": 3, "rpm": 60, "tpm": 1000, "max_concurrency": 4}]
    assert provider["data_policy"] == {"zdr": True, "retention_days": 0}
    assert (provider["headquarters"], provider["datacenters"]) == ("US", ["US", "IE"])
    models = {model["id"]: model["endpoints"][0] for model in compiled_snapshot["models"]}
    endpoint = models["openai/gpt-5.5"]
    assert (endpoint["context_tokens"], endpoint["max_prompt_tokens"], endpoint["status"]) == (1_050_000, 922_000, "ga")
    assert (endpoint["input_modalities"], endpoint["output_modalities"]) == (["text", "image", "file"], ["text"])
    assert {"tools", "reasoning"} <= {*endpoint["supported_parameters"]} and "temperature" not in endpoint["supported_parameters"]


def test_prices_that_are_not_applied_are_named() -> None:
    models = {model.id: model for model in compiled(None, {"OPENAI_API_KEY": "k", "GEMINI_API_KEY": "k"}).models}
    assert models["openai/gpt-6-luna"].endpoints[0].not_applied == ()
    assert "audio_prompt" in models["google/gemini-2.5-flash"].endpoints[0].not_applied


@pytest.mark.parametrize(
    ("today", "prompt"),
    [(date(2025, 12, 31), 1), (date(2026, 1, 1), 1), (date(2026, 6, 30), 1), (date(2026, 7, 1), 2), (date(2027, 1, 1), 2)],
)
def test_the_newest_price_in_force_applies(tmp_path: Path, today: date, prompt: int) -> None:
    def price(start: str, usd: str) -> str:
        prices = f'{{ prompt = "{usd}", completion = "9" }}'
        return f'[[endpoint.price]]\nfrom = {start}\nsource = "s"\nchecked = {start}\nusd_per_million = {prices}\n'

    one_endpoint(tmp_path, price("2026-07-01", "2") + price("2026-01-01", "1"))
    environ = {"LAB_KEY": "k"}
    result = config.compile(config.load(None, environ), load(tmp_path), environ, today=today)
    assert result.models[0].endpoints[0].price.prompt == prompt * 1_000_000


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[providers.ollama]", "1: providers.ollama: warning: is on, but no model is served by it"),
        (
            "[providers.lab]\ndialect='openai_chat'\nbase_url='https://h/v1'\n[models.'a/b']\nendpoints=[{provider='lab',upstream_model='x',"
            "usd_per_million={prompt='1',completion='1'}}]",
            "1: providers.lab: warning: has no keys: requests go out without a credential",
        ),
        (
            "[providers.openai]\nkeys=['k']\n[models.'a/b']\nendpoints=[{provider='openai',upstream_model='x'}]",
            '4: models."a/b".endpoints[0]: warning: has no usd_per_million: its tokens are charged nothing',
        ),
        (
            "[models.'openai/gpt-5-mini']\nname='x'",
            '1: models."openai/gpt-5-mini": warning: none of its providers is on: openai, azure, openrouter',
        ),
        ("[keys.a]\nsecret='short'", "2: keys.a.secret: warning: is short: 20 random characters or more resist guessing"),
        (
            "[keys.a]\nsecret='0123456789012345678901'\nmodels=['sim/*','sim/ecko']",
            '3: keys.a.models[1]: warning: no model is called "sim/ecko" here',
        ),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    assert [report.line(problem).removeprefix("/etc/fairlead.toml:") for problem in compiled(text).warnings] == [warning]


def test_a_local_server_is_free_without_a_warning() -> None:
    text = "[providers.ollama]\n[models.'ollama/llama']\nendpoints=[{provider='ollama',upstream_model='llama3'}]"
    result = compiled(text)
    assert result.warnings == ()
    assert result.models[0].endpoints[0].price == Price(prompt=0, completion=0)
    assert snapshot(result)["providers"][0]["keys"] == []


def test_endpoint_ids_come_from_whoever_keeps_them() -> None:
    asked: list[tuple[str, str, str, str]] = []

    def allot(model: str, provider: str, upstream_model: str, region: str) -> int:
        asked.append((model, provider, upstream_model, region))
        return len(asked)

    result = compiled(None, endpoint_id=allot)
    assert ("sim/echo", "sim", "sim/echo", "") in asked
    assert sorted(endpoint.id for model in result.models for endpoint in model.endpoints) == [*range(1, len(asked) + 1)]


def test_hashed_endpoint_ids_never_change() -> None:
    assert config.hashed_endpoint_id("sim/echo", "sim", "sim/echo", "") == 77094827063970
    environ = {name: "k" for facts in shipped().providers.values() for name in (*facts.environment[:1], *facts.environment_region[:1])}
    ids = [endpoint.id for model in compiled(None, environ).models for endpoint in model.endpoints]
    assert len(ids) == len({*ids}) > 40
    assert max(ids) < 2**48


def test_settings_reach_the_snapshot() -> None:
    text = "[server]\nopen_catalogue = true\n[timeouts]\nconnect_ms = 5\n[limits]\nheaders = 9\nreserve_completion_tokens = 7\n"
    text += "[routing]\nattempts = 5"
    settings = snapshot(compiled(text))["settings"]
    assert (settings["timeouts"]["connect_ms"], settings["limits"]["headers"]) == (5, 9)
    assert (settings["reserve_completion_tokens"], settings["open_catalogue"], settings["attempts"]) == (7, True, 5)


def test_secrets_are_not_printed() -> None:
    text = "[providers.openai]\nkeys=['super-secret']\n[keys.a]\nsecret='super-secret-of-the-gateway'"
    result = compiled(text)
    assert "super" not in repr(result)
    assert "super" not in repr(result.keys)


# --- the mirror of wire.rs ------------------------------------------------------------------------------------------------


def rust_fields(struct: str) -> list[str]:
    body = re.search(rf"pub struct {struct} \{{\n(.*?)\n\}}", WIRE_RS, re.DOTALL)
    assert body is not None
    return re.findall(r"^    pub (\w+):", body[1], re.MULTILINE)


def rust_defaults(struct: str) -> dict[str, int]:
    body = re.search(rf"impl Default for {struct} .*?{struct} \{{\n(.*?)\n        \}}", WIRE_RS, re.DOTALL)
    assert body is not None
    return {name: eval(value.replace("_", "")) for name, value in re.findall(r"(\w+): ([0-9_< ]+)", body[1])}


@pytest.mark.parametrize(
    "struct",
    [
        DataPolicy,
        wire.Snapshot,
        wire.Settings,
        wire.Provider,
        wire.ProviderKey,
        wire.Model,
        wire.Endpoint,
        wire.Preset,
        wire.Split,
        wire.Arm,
        Price,
    ],
)
def test_both_sides_know_the_same_fields(struct: type) -> None:
    assert {*get_type_hints(struct)} == {*rust_fields(struct.__name__)}


@pytest.mark.parametrize("struct", [Timeouts, Limits])
def test_both_sides_have_the_same_defaults(struct: type[Timeouts] | type[Limits]) -> None:
    defaults = {name: getattr(struct(), name) for name in struct.__struct_fields__ if not name.startswith("reserve_")}
    assert defaults == rust_defaults(struct.__name__)
    assert [*defaults] == rust_fields(struct.__name__)
