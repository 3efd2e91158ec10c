"""How credentials travel: bearers, headers, key pairs of AWS; regions; and what does not fit together."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fairlead import config
from fairlead.catalog import shipped
from fairlead.config import Compiled, Mistakes, report

FILE = Path("/etc/fairlead.toml")
BEDROCK = "[providers.amazon-bedrock]\n"
PAIR = {"access_key_id": "AKID", "secret": "half"}
VARIABLES = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "half", "AWS_REGION": "eu-central-1"}
EU = "https://bedrock-runtime.eu-central-1.amazonaws.com"


def compiled(text: str | None, environ: dict[str, str] | None = None) -> Compiled:
    environ = {"HOME": "/home/somebody"} | (environ or {})
    loaded = config.load(None, environ) if text is None else config.read(text, FILE, environ)
    return config.compile(loaded, shipped(), environ, today=date(2026, 11, 21))


def provider(text: str | None, environ: dict[str, str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compiled(text, environ).snapshot)["providers"][0]
    return found


def sigv4(region: str) -> dict[str, str]:
    return {"scheme": "sigv4", "region": region}


@pytest.mark.parametrize(
    ("text", "environ", "auth", "keys", "url"),
    [
        (None, VARIABLES, sigv4("eu-central-1"), [PAIR], EU),
        (None, VARIABLES | {"AWS_SESSION_TOKEN": "token"}, sigv4("eu-central-1"), [PAIR | {"session_token": "token"}], EU),
        (None, VARIABLES | {"AWS_BEARER_TOKEN_BEDROCK": "ABSK"}, {"scheme": "bearer"}, [{"secret": "ABSK"}], EU),
        (None, {"AWS_BEARER_TOKEN_BEDROCK": "ABSK", "AWS_DEFAULT_REGION": "eu-central-1"}, {"scheme": "bearer"}, [{"secret": "ABSK"}], EU),
        (BEDROCK + "region = 'eu-central-1'", VARIABLES | {"AWS_REGION": "us-east-1"}, sigv4("eu-central-1"), [PAIR], EU),
        (BEDROCK + "region = 'eu-central-1'\nkeys = ['ABSK']", {}, {"scheme": "bearer"}, [{"secret": "ABSK"}], EU),
        (
            BEDROCK + "region = 'eu-central-1'\nkeys = [{ access_key_id = 'AKID', secret_access_key = 'half', session_token = 't' }]",
            {},
            sigv4("eu-central-1"),
            [PAIR | {"session_token": "t"}],
            EU,
        ),
        (
            "[providers.own]\ndialect = 'bedrock_converse'\nbase_url = 'http://127.0.0.1:9'\nauth = 'sigv4'\nregion = 'local'\n"
            "keys = [{ access_key_id = 'AKID', secret_access_key = 'half' }]",
            {},
            sigv4("local"),
            [PAIR],
            "http://127.0.0.1:9",
        ),
    ],
)
def test_bedrock(text: str | None, environ: dict[str, str], auth: object, keys: object, url: str) -> None:
    found = provider(text, environ)
    assert (found["auth"], found["dialect_auth"], found["keys"]) == (auth, {}, keys)
    assert found["dialects"] == {"bedrock_converse": url}


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"])
def test_half_a_setting_does_not_switch_it_on(missing: str) -> None:
    assert compiled(None, {name: value for name, value in VARIABLES.items() if name != missing}).simulator


@pytest.mark.parametrize(
    ("slug", "auth", "others"),
    [
        ("google-ai-studio", {"scheme": "header", "name": "x-goog-api-key"}, {"openai_chat": {"scheme": "bearer"}}),
        ("anthropic", {"scheme": "header", "name": "x-api-key"}, {}),
        ("openai", {"scheme": "bearer"}, {}),
    ],
)
def test_providers_of_the_catalogue(slug: str, auth: object, others: object) -> None:
    found = provider(f"[providers.{slug}]\nkeys = ['k']")
    assert (found["auth"], found["dialect_auth"]) == (auth, others)


@pytest.mark.parametrize(
    ("table", "auth", "others"),
    [
        ("dialect = 'gemini_generate'", {"scheme": "header", "name": "x-goog-api-key"}, {}),
        ("dialects = ['gemini_generate', 'openai_chat']", {"scheme": "bearer"}, {}),
        (
            "dialects = ['openai_chat', 'gemini_generate']\nauths = { gemini_generate = { header = 'X-Goog-Api-Key' } }",
            {"scheme": "bearer"},
            {"gemini_generate": {"scheme": "header", "name": "x-goog-api-key"}},
        ),
        (
            "dialects = ['openai_chat', 'anthropic_messages']\nauth = { header = 'api-key' }\nauths = { anthropic_messages = 'bearer' }",
            {"scheme": "header", "name": "api-key"},
            {"anthropic_messages": {"scheme": "bearer"}},
        ),
    ],
)
def test_dialects_may_differ(table: str, auth: object, others: object) -> None:
    found = provider(f"[providers.lab]\n{table}\nbase_url = 'http://h'\nkeys = ['k']")
    assert (found["auth"], found["dialect_auth"]) == (auth, others)


def pair(rest: str = "") -> str:
    return "{ access_key_id = 'AKID', secret_access_key = 'half'" + rest + " }"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            BEDROCK + "region = 'eu'",
            "1: providers.amazon-bedrock: no key: give keys = [ … ] or set AWS_BEARER_TOKEN_BEDROCK "
            "or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (BEDROCK + "keys = ['k']", '1: providers.amazon-bedrock: no region: give region = "…" or set AWS_REGION or AWS_DEFAULT_REGION'),
        (BEDROCK + "region = 'EU'\nkeys = ['k']", '2: providers.amazon-bedrock.region: expected a region such as "eu-central-1", got "EU"'),
        ("[providers.azure]\nkeys = ['k']", '1: providers.azure: no resource: give resource = "…" or set AZURE_RESOURCE_NAME'),
        (
            "[providers.azure]\nkeys = ['k']\nresource = 'a b'",
            '3: providers.azure.resource: expected a name of letters, digits and . _ - (128 at most), got "a b"',
        ),
        ("[providers.groq]\nkeys = ['k']\nauth = {}", '3: providers.groq.auth: give either "header" or "query"'),
        ("[providers.groq]\nkeys = ['k']\nauth = { header = 'a', query = 'b' }", '3: providers.groq.auth: give either "header" or "query"'),
        ("[providers.groq]\nkeys = ['k']\naccount = 'a'", '3: providers.groq.account: is of no use here: no base URL has "{account}"'),
        (
            BEDROCK + "region = 'eu'\nkeys = [{ access_key_id = 'A' }]",
            '3: providers.amazon-bedrock.keys[0]: give "secret", or "access_key_id" and "secret_access_key"',
        ),
        (
            BEDROCK + "region = 'eu'\nkeys = [{ secret = 's', session_token = 't' }]",
            '3: providers.amazon-bedrock.keys[0]: give "secret", or "access_key_id" and "secret_access_key"',
        ),
        (
            BEDROCK + f"region = 'eu'\nkeys = [{pair()}, {pair()}]",
            "3: providers.amazon-bedrock.keys[1]: the same key is listed twice",
        ),
        (
            BEDROCK + f"region = 'eu'\nkeys = [{pair()}, 'ABSK']",
            '3: providers.amazon-bedrock.keys: a key pair signs requests, so auth must be "sigv4"; here the key itself would be sent',
        ),
        (
            BEDROCK + f"region = 'eu'\nauth = 'bearer'\nkeys = [{pair()}]",
            '4: providers.amazon-bedrock.keys: a key pair signs requests, so auth must be "sigv4"; here the key itself would be sent',
        ),
        (
            BEDROCK + "region = 'eu'\nauth = 'sigv4'\nkeys = ['k']",
            "4: providers.amazon-bedrock.keys: requests are signed: every key needs access_key_id and secret_access_key",
        ),
        (
            BEDROCK + "region = 'eu'\nauth = 'sigv4'\nkeys = []",
            "1: providers.amazon-bedrock: requests are signed, and there is no key pair to sign them with",
        ),
        (
            "[providers.own]\ndialect = 'bedrock_converse'\nbase_url = 'http://h'\n" + f"keys = [{pair()}]",
            '1: providers.own: requests are signed for a region: give region = "…"',
        ),
        (
            "[providers.openai]\nkeys = ['k']\nregion = 'eu'",
            '3: providers.openai.region: is of no use here: nothing is signed, and no base URL has "{region}"',
        ),
        (
            "[providers.openai]\nkeys = ['k']\nauths = { gemini_generate = 'bearer' }",
            '3: providers.openai.auths.gemini_generate: the provider does not list the dialect "gemini_generate"',
        ),
        (
            "[providers.openai]\nregion = 'eu'\n" + f"auths = {{ openai_chat = 'bearer' }}\nkeys = [{pair()}]",
            "3: providers.openai.auths: a key pair signs requests, so every dialect must be signed",
        ),
    ],
)
def test_what_does_not_fit(text: str, expected: str) -> None:
    with pytest.raises(Mistakes) as caught:
        compiled(text)
    assert [line.removeprefix("/etc/fairlead.toml:") for line in report.text(caught.value.problems).splitlines()] == [expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"AWS_SECRET_ACCESS_KEY": ""}, "AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not"),
        ({"AWS_SECRET_ACCESS_KEY": "hid den"}, "AWS_SECRET_ACCESS_KEY holds characters that a header cannot carry"),
        ({"AWS_SESSION_TOKEN": "hid\nden"}, "AWS_SESSION_TOKEN holds characters that a header cannot carry"),
        ({"AWS_REGION": "Nowhere!"}, "AWS_REGION does not name a region"),
    ],
)
def test_variables_that_do_not_fit(changes: dict[str, str], expected: str) -> None:
    with pytest.raises(Mistakes) as caught:
        compiled(BEDROCK, VARIABLES | changes)
    assert expected in [problem.message for problem in caught.value.problems]
    assert "hid" not in str(caught.value)


def test_secrets_are_not_printed() -> None:
    text = BEDROCK + "region = 'eu'\nkeys = [{ access_key_id = 'AKID', secret_access_key = 'super-half', session_token = 'super-token' }]"
    result = compiled(text)
    assert "super" not in repr(result)
    assert b"super-half" in result.snapshot


def test_what_an_installation_says_fills_base_urls() -> None:
    def url(text: str, environ: dict[str, str] | None = None) -> list[str]:
        return [provider.dialects["openai_chat"] for provider in compiled(text, environ or {}).providers]

    assert url("[providers.azure]\nkeys = ['k']\nresource = 'acme-east'") == ["https://acme-east.openai.azure.com/openai/v1"]
    assert url("[providers.azure]\nkeys = ['k']", {"AZURE_RESOURCE_NAME": "acme"}) == ["https://acme.openai.azure.com/openai/v1"]
    vertex = "[providers.google-vertex]\nkeys = ['ya29.x']\nauth = 'bearer'\nregion = 'us-east5'\nproject = 'acme-1'"
    assert url(vertex) == ["https://us-east5-aiplatform.googleapis.com/v1/projects/acme-1/locations/us-east5/endpoints/openapi"]


def test_a_provider_that_needs_more_than_a_key_waits_for_it() -> None:
    def on(environ: dict[str, str]) -> list[str]:
        return [provider.slug for provider in config.compile(config.load(None, environ), shipped(), environ).providers]

    assert on({"AZURE_OPENAI_API_KEY": "k"}) == ["sim"]
    assert on({"AZURE_OPENAI_API_KEY": "k", "AZURE_RESOURCE_NAME": "acme"}) == ["azure"]
    assert on({"GITHUB_TOKEN": "k", "HF_TOKEN": "k"}) == ["sim"]
    assert on({"GITHUB_TOKEN": "k", "GROQ_API_KEY": "k"}) == ["groq"]


def test_a_credential_may_travel_in_the_query() -> None:
    assert provider("[providers.groq]\nkeys = ['k']\nauth = { query = 'key' }")["auth"] == {"scheme": "query", "name": "key"}
