"""Key files of service accounts: which are good, what is said about those that are not, and where tokens go."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fairlead import config
from fairlead.catalog import shipped
from fairlead.config import Compiled, Mistakes, report
from fairlead.config.google import TOKEN_URI
from token_server import EMAIL, key_file, pem

VERTEX = "[providers.google-vertex]\nregion = 'us-east5'\n"
KEYS = "keys = ['file:sa.json']\n"


def compiled(folder: Path, text: str, environ: dict[str, str] | None = None) -> Compiled:
    loaded = config.read(text, folder / "fairlead.toml", environ or {})
    return config.compile(loaded, shipped(), environ or {}, today=date(2026, 11, 21))


def first_provider(result: Compiled) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.snapshot)["providers"][0]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a good key file."""
    (tmp_path / "sa.json").write_text(key_file(TOKEN_URI) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("lines", "limits"),
    [
        (KEYS, {}),
        ("keys = [{ secret = 'file:sa.json', weight = 3, rpm = 60 }]\n", {"weight": 3, "rpm": 60}),
        ("keys = ['env:KEY']\n", {}),
        ("", {}),
    ],
)
def test_a_key_file_signs_in(folder: Path, lines: str, limits: dict[str, int]) -> None:
    text = (folder / "sa.json").read_text()
    environ = {"KEY": text, "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "sa.json")}
    result = compiled(folder, VERTEX + lines, environ)
    provider = first_provider(result)
    assert (provider["auth"], provider["dialect_auth"]) == ({"scheme": "bearer"}, {})
    assert provider["keys"] == [{"secret": "", "identity": EMAIL} | limits]
    assert provider["dialects"]["gemini_generate"] == (
        "https://us-east5-aiplatform.googleapis.com/v1/projects/acme-1/locations/us-east5/publishers/google"
    )
    (sign_in,) = result.sign_ins
    assert (sign_in.provider, sign_in.account, sign_in.key.token_uri) == ("google-vertex", EMAIL, TOKEN_URI)
    assert result.providers[0].key_source == ("configuration" if lines else "GOOGLE_APPLICATION_CREDENTIALS")
    secret = pem().splitlines()[1]
    assert secret not in repr(result.sign_ins) + repr(sign_in.key)
    assert secret.encode() not in result.snapshot


def test_the_file_that_a_variable_names_is_watched(folder: Path) -> None:
    loaded = config.read(VERTEX, folder / "fairlead.toml", {})
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / "sa.json")}
    config.compile(loaded, shipped(), environ)
    assert loaded.watched == (folder / "fairlead.toml", folder / "sa.json")


@pytest.mark.parametrize(
    ("lines", "environ", "project"),
    [
        ("project = 'own'\n", {"GOOGLE_CLOUD_PROJECT": "variable"}, "own"),
        ("", {"GOOGLE_CLOUD_PROJECT": "variable"}, "variable"),
        ("", {}, "acme-1"),
    ],
)
def test_the_project_is_that_of_the_key_where_none_is_named(folder: Path, lines: str, environ: dict[str, str], project: str) -> None:
    url = first_provider(compiled(folder, VERTEX + KEYS + lines, environ))["dialects"]["openai_chat"]
    assert f"/projects/{project}/" in url


@pytest.mark.parametrize(
    ("lines", "host"),
    [
        ("region = 'us-east5'", "https://us-east5-aiplatform.googleapis.com/v1/projects/acme-1/locations/us-east5/"),
        ("region = 'global'", "https://aiplatform.googleapis.com/v1/projects/acme-1/locations/global/"),
        ("region = 'eu'", "https://aiplatform.eu.rep.googleapis.com/v1/projects/acme-1/locations/eu/"),
        ("region = 'us'", "https://aiplatform.us.rep.googleapis.com/v1/projects/acme-1/locations/us/"),
        ("region = 'global'\nbase_url = 'https://{region}.acme.com'", "https://global.acme.com"),
    ],
)
def test_some_regions_have_a_host_of_their_own(folder: Path, lines: str, host: str) -> None:
    found = first_provider(compiled(folder, "[providers.google-vertex]\n" + KEYS + lines))["dialects"]
    assert found.keys() == {"gemini_generate", "openai_chat", "anthropic_messages"}
    assert all(url.startswith(host) for url in found.values()), found


def claude(folder: Path, lines: str) -> Any:
    """The catalogue's endpoint of a Claude there, as the data plane has it."""
    wire = json.loads(compiled(folder, f"[providers.google-vertex]\n{KEYS}\n{lines}").snapshot)
    [model] = [model for model in wire["models"] if model["id"] == "anthropic/claude-opus-5.5"]
    [endpoint] = model["endpoints"]
    return endpoint


def test_claude_is_called_in_a_way_of_its_own_and_costs_more_where_it_is_held(folder: Path) -> None:
    everywhere, held = claude(folder, "region = 'global'"), claude(folder, "region = 'us-east5'")
    assert (everywhere["upstream_model"], everywhere["dialects"]) == ("claude-opus-5-5", ["anthropic_messages"])
    assert everywhere["price"]["prompt"] == 4_000_000
    assert held["price"] == {
        "prompt": 4_400_000,
        "completion": 22_000_000,
        "cache_read": 220_000,
        "cache_write": 5_500_000,
        "cache_write_1h": 8_800_000,
        "web_search": everywhere["price"]["web_search"],
    }
    provider = first_provider(compiled(folder, "[providers.google-vertex]\nregion = 'eu'\n" + KEYS))
    assert provider["dialects"]["anthropic_messages"] == (
        "https://aiplatform.eu.rep.googleapis.com/v1/projects/acme-1/locations/eu/publishers/anthropic"
    )
    assert "raw_predict" in provider["quirks"]


def test_an_own_provider_may_sign_in_too(folder: Path) -> None:
    own = "[providers.own]\ndialect = 'openai_chat'\nbase_url = 'http://h/v1'\nauth = 'google_service_account'\n"
    result = compiled(folder, own + KEYS)
    assert [sign_in.provider for sign_in in result.sign_ins] == ["own"]
    assert first_provider(result)["auth"] == {"scheme": "bearer"}


def test_an_access_token_of_ones_own_is_sent_as_it_is(folder: Path) -> None:
    result = compiled(folder, VERTEX + "project = 'p'\nauth = 'bearer'\n", {"GOOGLE_VERTEX_ACCESS_TOKEN": "ya29.x"})
    assert first_provider(result)["keys"] == [{"secret": "ya29.x"}]
    assert result.sign_ins == ()


def elliptic() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


MAKE = "; make one with: gcloud iam service-accounts keys create FILE --iam-account EMAIL"
ONLY = f'not "service_account": only the key of a service account can sign in here{MAKE}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n  "type": x', f"is not valid JSON (its line 2, column 11: Expecting value){MAKE}"),
        (key_file("x", type="authorized_user"), f'says that it is of the type "authorized_user", {ONLY}'),
        (key_file("x", type=None), f"does not say its type, {ONLY}"),
        (key_file("x", private_key=None, client_email=None), f"has no client_email and no private_key{MAKE}"),
        (key_file("x", client_email=7), "is not a key file of Google's: Expected `str`, got `int` - at `$.client_email`"),
        (key_file("x", client_email="a\nb"), "has no usable client_email"),
        (key_file("token"), "has a token_uri that is no URL"),
        (key_file("https://h:port/"), "has a token_uri that is no URL"),
        (key_file("http://oauth2.googleapis.com/token"), f"has a token_uri that is not https (usually {TOKEN_URI})"),
        (key_file(TOKEN_URI, private_key="-----BEGIN"), f"cannot sign: its private_key is not a key in PEM form{MAKE}"),
        (key_file(TOKEN_URI, private_key=elliptic()), f"cannot sign: its private_key is not an RSA key{MAKE}"),
        ("{" * 60_000, "is not valid JSON (its line 1, column 2: Expecting property name enclosed in double quotes)" + MAKE),
        (
            "ya29.token",
            'is not the text of a service account\'s key file; write "file:PATH", or, for access tokens of your own, auth = "bearer"',
        ),
    ],
)
def test_what_is_wrong_with_a_key_file(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "sa.json"
    file.write_text(text)
    with pytest.raises(Mistakes) as caught:
        compiled(tmp_path, VERTEX + KEYS + "project = 'p'\n")
    assert report.text(caught.value.problems) == f"{tmp_path}/fairlead.toml:3: providers.google-vertex.keys[0]: file:sa.json {expected}\n"
    with pytest.raises(Mistakes) as caught:
        compiled(tmp_path, VERTEX + "project = 'p'\n", {"GOOGLE_APPLICATION_CREDENTIALS": str(file)})
    place = f"{tmp_path}/fairlead.toml:1: providers.google-vertex: GOOGLE_APPLICATION_CREDENTIALS: {file}: "
    assert report.text(caught.value.problems) == f"{place}{expected}\n"


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (
            VERTEX + "project = 'p'",
            {},
            '1: providers.google-vertex: no key to sign in with: give keys = ["file:service-account.json"]'
            " or set GOOGLE_APPLICATION_CREDENTIALS",
        ),
        (
            VERTEX + "project = 'p'",
            {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/sa.json"},
            "1: providers.google-vertex: GOOGLE_APPLICATION_CREDENTIALS: /nowhere/sa.json: cannot be read: No such file or directory",
        ),
        (
            VERTEX + "project = 'p'\nkeys = ['file:missing.json']",
            {},
            "4: providers.google-vertex.keys[0]: file {folder}/missing.json cannot be read: No such file or directory",
        ),
        (
            VERTEX + "project = 'p'\nkeys = ['service-account.json']",
            {},
            '4: providers.google-vertex.keys[0]: is not the text of a service account\'s key file; write "file:PATH", '
            'or, for access tokens of your own, auth = "bearer"',
        ),
        (
            VERTEX + "project = 'p'\nkeys = [{ access_key_id = 'a', secret_access_key = 'b' }]",
            {},
            '4: providers.google-vertex.keys[0]: a service account\'s key stands in "secret" alone, '
            'such as { secret = "file:service-account.json" }',
        ),
        (
            VERTEX + "keys = ['file:sa.json', 'file:sa.json']",
            {},
            f"3: providers.google-vertex.keys: the service account {EMAIL} is listed twice",
        ),
        (
            VERTEX + "keys = ['file:sa.json', 'file:other.json']",
            {},
            '1: providers.google-vertex: no project: give project = "…" or set GOOGLE_CLOUD_PROJECT or GOOGLE_VERTEX_PROJECT',
        ),
        (
            VERTEX + KEYS + "auths = { openai_chat = 'bearer' }",
            {},
            "4: providers.google-vertex.auths: a service account signs in for every dialect or for none",
        ),
        (
            "[providers.openai]\nkeys = ['file:sa.json']",
            {},
            "2: providers.openai.keys[0]: is no secret that a header can carry; the key of a service account needs "
            'auth = "google_service_account"',
        ),
    ],
)
def test_what_does_not_fit(folder: Path, text: str, environ: dict[str, str], expected: str) -> None:
    (folder / "other.json").write_text(key_file(TOKEN_URI, client_email="other@acme", project_id="acme-2"))
    with pytest.raises(Mistakes) as caught:
        compiled(folder, text, environ)
    told = [line.removeprefix(f"{folder}/fairlead.toml:") for line in report.text(caught.value.problems).splitlines()]
    assert [line for line in told if "warning" not in line] == [expected.replace("{folder}", str(folder))]


def test_tokens_take_their_places(folder: Path) -> None:
    (folder / "other.json").write_text(key_file(TOKEN_URI, client_email="other@acme"))
    lines = (
        "keys = [{ secret = 'file:sa.json', weight = 2 }, { secret = 'file:other.json', weight = 3 }]\n[providers.openai]\nkeys = ['k']\n"
    )
    result = compiled(folder, VERTEX + lines)
    before = json.loads(result.snapshot)

    def keys(tokens: dict[tuple[str, str], str]) -> list[Any]:
        found = json.loads(config.with_tokens(result.snapshot, 7, tokens))
        assert found["version"] == 7
        assert [found[part] for part in before if part not in ("version", "providers")] == [
            before[part] for part in before if part not in ("version", "providers")
        ]
        assert found["providers"][1] == before["providers"][1]
        return [{**key} for key in found["providers"][0]["keys"]]

    first, second = {"secret": "", "identity": EMAIL, "weight": 0}, {"secret": "", "identity": "other@acme", "weight": 0}
    assert keys({}) == [first, second]
    assert keys({("google-vertex", "other@acme"): "ya29.b", ("openai", EMAIL): "no"}) == [first, second | {"secret": "ya29.b", "weight": 3}]
    assert keys({("google-vertex", EMAIL): "ya29.a"}) == [first | {"secret": "ya29.a", "weight": 2}, second]
