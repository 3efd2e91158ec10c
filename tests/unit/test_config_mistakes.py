"""Every mistake in `fairlead.toml`: its line, its path, its words."""

import os
from datetime import date
from pathlib import Path

import pytest
from fairlead import config
from fairlead.catalog import shipped
from fairlead.config import Mistakes, report
from fairlead.control.operator import configuration

FILE = Path("/etc/fairlead.toml")
LAB = """[providers.lab]
dialect = "openai_chat"
base_url = "http://127.0.0.1:9000/v1"
keys = ["secret"]
"""
FAST = """[models."acme/fast"]
[[models."acme/fast".endpoints]]
provider = "lab"
upstream_model = "gpt-x"
usd_per_million = { prompt = "3", completion = "15" }
"""


def check(text: str, expected: list[str], environ: dict[str, str] | None = None) -> None:
    """Compiles a text that must fail and compares what is said, without the file's name."""
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(text, FILE, environ or {}), shipped(), environ or {}, today=date(2026, 11, 21))
    said = [line.removeprefix("/etc/fairlead.toml:") for line in report.text(caught.value.problems).splitlines()]
    assert said == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server", "1: not valid TOML: Expected ']' at the end of a table declaration at the end of the file"),
        ("a = 1\na = 2", "2: not valid TOML: Cannot overwrite a value at the end of the file"),
        ("[server]\ndata = 8080", '2: server.data: expected an address such as "127.0.0.1:8080", got 8080'),
        ('[server]\ndata = "8080"', '2: server.data: expected an address such as "127.0.0.1:8080", got "8080"'),
        ('[server]\n\nadmn = "127.0.0.1:8081"', '3: server.admn: unknown key "admn"; did you mean "admin"?'),
        ('[server]\nwatch = "yes"', '2: server.watch: expected true or false, got "yes"'),
        ('[server]\ndata = "127.0.0.1:8081"', "1: server.admin: is the same address as server.data"),
        (
            '[storage]\nreporting_zone = "Mars/Olympus"',
            "2: storage.reporting_zone: is no time zone that this machine knows, such as Europe/Berlin or Asia/Kathmandu: 'Mars/Olympus'",
        ),
        ("[server]\nworkers = -1", "2: server.workers: expected an integer from 0 to 1024, got -1"),
        ("[server]\nworkers = true", "2: server.workers: expected an integer from 0 to 1024, got true"),
        ('[server]\ntls = "cert.pem"', '2: server.tls: expected a table, got "cert.pem"'),
        ('[server]\ntls = { cert = "/etc/hostname" }', '2: server.tls: "key" is missing'),
        (
            '[providers.lab]\ndialect = "openai_chat"\nbase_url = "http://h"\nkeys = []\nquirks = ["no_stream_option"]',
            '5: providers.lab.quirks[0]: unknown quirk "no_stream_option"; did you mean "no_stream_options"?',
        ),
        ('[server]\nca_file = "' + "n" * 300 + '"', "2: server.ca_file: no such file: /etc/" + "n" * 300),
        ('[server]\nca_file = "~nobody-of-this-name/x"', "2: server.ca_file: no such file: /etc/~nobody-of-this-name/x"),
        ('[server]\nca_file = "nope.pem"', "2: server.ca_file: no such file: /etc/nope.pem"),
        ('[server]\nsecret = "too short"', "2: server.secret: expected a secret of at least 16 visible ASCII characters, got a string"),
        ("[server]\nadmin_token = 12345", "2: server.admin_token: expected a secret of visible ASCII characters, got an integer"),
        ("[timeouts]\nconect_ms = 1", '2: timeouts.conect_ms: unknown key "conect_ms"; did you mean "connect_ms"?'),
        ("[timeouts]\nconnect_ms = 1.5", "2: timeouts.connect_ms: expected an integer from 1 to 86400000, got 1.5"),
        ("[limits]\njson_depth = 1", "2: limits.json_depth: expected an integer from 8 to 4096, got 1"),
        ("server = 1", "1: server: expected a table, got 1"),
        ("[provider.openai]", '1: provider: unknown key "provider"; did you mean "providers"?'),
        ("[preset.x]", '1: preset: unknown key "preset"; did you mean "presets"?'),
        ("[zebra]", '1: zebra: unknown key "zebra"'),
        ("[keys.a]\nsecret = 'x'\nlimit_usd = '-5'", "3: keys.a.limit_usd: is negative; 0 or more is expected"),
        ("[keys.a]\nsecret = 'x'\nlimit_usd = 5", '3: keys.a.limit_usd: expected a decimal number in quotes, such as "2.50", got 5'),
        (
            "[keys.a]\nsecret = 'x'\nlimit_usd = '1.0000000001'",
            "3: keys.a.limit_usd: has more than 9 decimals; a nano-dollar is the smallest amount",
        ),
        ("[keys.a]\nsecret = 'x'\nlimit_reset = 'daily'", "3: keys.a.limit_reset: there is no limit_usd that it could reset; add one"),
        (
            "[teams.a]\nlimit_usd = '1'\nlimit_reset = 'yearly'",
            '3: teams.a.limit_reset: expected "daily" or "monthly" or "weekly", got "yearly"',
        ),
        ("[users.a]\nrpm = -1", "2: users.a.rpm: expected an integer from 1 to 10000000000, got -1"),
        ("[keys.a]\nsecret = 'x'\nteam = 'y'", '3: keys.a.team: there is no team "y"; define it as [teams.y]'),
        ("[keys.a]\nsecret = 'x'\nuser = 'y'", '3: keys.a.user: there is no user "y"; define it as [users.y]'),
        (
            "[users.a]\nteam = 't'\naccount = 'acme'\n[teams.t]",
            '2: users.a.team: the team "t" belongs to the account "default", not to "acme"',
        ),
        (
            "[teams.a]\nbudgets = [{ limit_usd = '1' }, { limit_usd = '2' }]",
            "2: teams.a.budgets[1]: another budget has the same reset; one of each, and one that is soft, is enough",
        ),
        (
            "[credits]\nwebhook_secret = ''",
            "2: credits.webhook_secret: expected the signing secret of the webhook, 16 characters or more, got a string",
        ),
        ("[free_tier]\nrequests_per_minute = 0", "2: free_tier.requests_per_minute: expected an integer from 1 to 1000000, got 0"),
        ("[free_tier]\nrequests_per_day = -1", "2: free_tier.requests_per_day: expected an integer from 0 to 1000000000, got -1"),
        (
            "[free_tier]\ncredits_threshold_usd = 'ten'",
            '2: free_tier.credits_threshold_usd: is not a decimal number of US dollars, such as "2.50"',
        ),
        (
            "[free_tier]\nrequest_per_day = 5",
            '2: free_tier.request_per_day: unknown key "request_per_day"; did you mean "requests_per_day"?',
        ),
        ("[providers.Lab]", '1: providers.Lab: expected a name of a-z, 0-9 and - (64 at most), got "Lab"'),
        (
            "[providers.lab]\nkeys = []",
            '1: providers.lab: "lab" is not in the catalogue: say how to talk to it with dialect and base_url',
        ),
        (
            "[providers.opnai]\nkeys = ['k']",
            '1: providers.opnai: "opnai" is not in the catalogue: say how to talk to it with dialect and base_url; did you mean "openai"?',
        ),
        (
            "[providers.gemini]",
            '1: providers.gemini: "gemini" is not in the catalogue: say how to talk to it with dialect and base_url; '
            'did you mean "google-ai-studio"?',
        ),
        ("[providers.openai]", "1: providers.openai: no key: give keys = [ … ] or set OPENAI_API_KEY"),
        ("[providers.openai]\nkeys = 'k'", "2: providers.openai.keys: expected a list of strings or tables, got a string"),
        (
            "[providers.openai]\nkeys = ['a', 5]",
            "2: providers.openai.keys[1]: expected a secret of visible ASCII characters or a table, got an integer",
        ),
        ("[providers.openai]\nkeys = ['a',\n 'a']", "3: providers.openai.keys[1]: the same key is listed twice"),
        ("[providers.openai]\nkeys = [{ secrt = 'a' }]", '2: providers.openai.keys[0].secrt: unknown key "secrt"; did you mean "secret"?'),
        (
            "[providers.openai]\nkeys=['a b']",
            "2: providers.openai.keys[0]: expected a secret of visible ASCII characters or a table, got a string",
        ),
        (
            "[providers.openai]\nkeys=['a']\nauth='basic'",
            '3: providers.openai.auth: expected "bearer" or "google_service_account" or "sigv4" or a table, got "basic"',
        ),
        ("[providers.openai]\nkeys=['a']\nauth={headr='x'}", '3: providers.openai.auth.headr: unknown key "headr"; did you mean "header"?'),
        (
            "[providers.openai]\nkeys=['a']\nheaders={Host='x'}",
            "3: providers.openai.headers.Host: this header is written by the gateway itself",
        ),
        (
            "[providers.openai]\nkeys=['a']\nheaders={x='a\\nb'}".replace("'", '"'),
            "3: providers.openai.headers.x: expected a header value of printable ASCII characters, got a string",
        ),
        (LAB.replace("http", "ftp"), '3: providers.lab.base_url: expected a URL such as "https://host/v1", got "ftp://127.0.0.1:9000/v1"'),
        (LAB.replace("127.0.0.1", "me:pw@host"), "3: providers.lab.base_url: credentials do not belong into the URL; use keys"),
        (LAB.replace("/v1", "/v1?x=1"), "3: providers.lab.base_url: a query or fragment does not belong into a base URL"),
        (LAB.replace("9000", "90000"), '3: providers.lab.base_url: "127.0.0.1:90000" is not a host with an optional port'),
        (LAB.replace('base_url = "http://127.0.0.1:9000/v1"', ""), '1: providers.lab: "base_url" is missing for the dialect "openai_chat"'),
        (
            LAB.replace("openai_chat", "openai"),
            '2: providers.lab.dialect: expected "anthropic_messages" or "bedrock_converse" or "gemini_generate" or "openai_chat" '
            'or "openai_responses", got "openai"',
        ),
        (LAB + "dialects = ['openai_chat']", '5: providers.lab.dialects: give either "dialect" or "dialects"'),
        (
            LAB + "base_urls = { anthropic_messages = 'http://h' }",
            '5: providers.lab.base_urls.anthropic_messages: the provider does not list the dialect "anthropic_messages"',
        ),
        (LAB + FAST.replace('"lab"', '"lap"'), '7: models."acme/fast".endpoints[0].provider: unknown provider "lap"; did you mean "lab"?'),
        (
            LAB + FAST.replace('"lab"', '"openai"'),
            '7: models."acme/fast".endpoints[0].provider: provider "openai" is off: add [providers.openai]',
        ),
        (
            FAST.replace('"lab"', '"openai"'),
            '3: models."acme/fast".endpoints[0].provider: provider "openai" is off: set OPENAI_API_KEY or add [providers.openai]',
        ),
        (
            LAB + FAST.replace("upstream_model", "upstream"),
            '8: models."acme/fast".endpoints[0].upstream: unknown key "upstream"; did you mean "upstream_model"?',
        ),
        (
            LAB + FAST + "dialect = 'anthropic_messages'",
            '10: models."acme/fast".endpoints[0].dialect: provider "lab" does not speak "anthropic_messages" but openai_chat',
        ),
        (LAB + FAST + FAST[FAST.index("[[") :], '10: models."acme/fast".endpoints[1]: the endpoint gpt-x at lab is listed twice'),
        (
            LAB + FAST.replace('"3"', '"3.1234567"'),
            '9: models."acme/fast".endpoints[0].usd_per_million.prompt: "3.1234567" is too precise: '
            "at most six decimals (a pico-dollar per token)",
        ),
        (
            LAB + FAST.replace('"3"', "3"),
            '9: models."acme/fast".endpoints[0].usd_per_million.prompt: expected a decimal number in quotes, such as "2.50", got 3',
        ),
        (LAB + FAST.replace(', completion = "15"', ""), '9: models."acme/fast".endpoints[0].usd_per_million: "completion" is missing'),
        (LAB + FAST.replace("completion", "output"), '9: models."acme/fast".endpoints[0].usd_per_million.output: unknown key "output"'),
        (
            LAB + FAST + "supported_parameters = ['tool']",
            '10: models."acme/fast".endpoints[0].supported_parameters[0]: unknown parameter "tool"; did you mean "tools"?',
        ),
        (LAB + '[models."acme/fast"]\nendpoints = []', '6: models."acme/fast".endpoints: must not be empty'),
        (LAB + "[models.fast]", '5: models.fast: expected a model id such as "vendor/model", got "fast"'),
        (
            LAB + '[models."openai/gpt-5-mni"]\nname = "x"',
            '5: models."openai/gpt-5-mni": "openai/gpt-5-mni" is not in the catalogue: say where it is served with '
            '[[models."openai/gpt-5-mni".endpoints]]; did you mean "openai/gpt-5-mini"?',
        ),
        ('[keys.ci]\nmodels = ["acme/*"]', '1: keys.ci: "secret" is missing'),
        ('[keys.ci]\nsecret = "env:CI_KEY"', "2: keys.ci.secret: environment variable CI_KEY is not set"),
        ('[keys.ci]\nsecret = "env:EMPTY"', "2: keys.ci.secret: environment variable EMPTY is empty"),
        ('[keys.ci]\nsecret = "env:"', '2: keys.ci.secret: "env:" does not name an environment variable'),
        ('[keys.ci]\nsecret = "file:nope"', "2: keys.ci.secret: file /etc/nope cannot be read: No such file or directory"),
        ('[keys.ci]\nsecret = "file:/dev/null"', "2: keys.ci.secret: file /dev/null is no regular file"),
        ('[keys.ci]\nsecret = "file:/proc/self"', "2: keys.ci.secret: file /proc/self is no regular file"),
        ('[keys.ci]\nsecret = ""', "2: keys.ci.secret: expected a secret of visible ASCII characters, got a string"),
        ("[keys.ci]\nsecret = 'x'\nmodels = 'acme/*'", '3: keys.ci.models: expected a list of strings, got "acme/*"'),
        ("[keys.ci]\nsecret = 'x'\nmodels = ['a b']", '3: keys.ci.models[0]: expected a model id or a pattern such as "acme/*", got "a b"'),
        ("[keys.'c i']\nsecret = 'x'", '1: keys."c i": expected a name of letters, digits and _ . - (64 at most), got "c i"'),
        (
            LAB + FAST + "quirks = ['no_sed']",
            '10: models."acme/fast".endpoints[0].quirks[0]: unknown quirk "no_sed"; did you mean "no_seed"?',
        ),
        (
            LAB + FAST + "efforts = ['extreme']",
            '10: models."acme/fast".endpoints[0].efforts[0]: expected "high" or "low" or "max" or "medium" or "minimal" '
            'or "none" or "xhigh", got "extreme"',
        ),
        ("[presets.x]", '1: presets.x: says nothing: give "model", "models", "provider" or another field of a request'),
        (
            "[presets.x]\nmodel = 'sim/echo'\nprovider.ignore = ['aws-nobody']",
            '3: presets.x.provider.ignore[0]: unknown provider "aws-nobody"',
        ),
        ("[presets.x]\nmodel = 'sim/echo'\nmodels = ['sim/echo']", '1: presets.x: give either "model" or "models"'),
        ("[presets.x]\nmodels = []", "2: presets.x.models: must not be empty"),
        ("[presets.x]\nmodel = 'sim/ecko'", '2: presets.x.model: no model is called "sim/ecko" here; did you mean "sim/echo"?'),
        ("[presets.x]\nmodels = ['@preset/x']", '2: presets.x.models[0]: "@preset/x" is a preset: only models can stand here'),
        ("[presets.x]\nmodle = 'sim/echo'", '2: presets.x.modle: unknown key "modle"; did you mean "model"?'),
        ("[presets.'a b']\nmodel = 'sim/echo'", '1: presets."a b": expected a name of letters, digits and _ . - (64 at most), got "a b"'),
        ("[storage]\nretention_days = 0", "2: storage.retention_days: expected an integer from 1 to 36500, got 0"),
        ("[storage]\nurl = 'mysql://x'", '2: storage.url: expected "sqlite", got "mysql://x"'),
    ],
)
def test_one_mistake(text: str, expected: str) -> None:
    check(text, expected.split("\n"), {"EMPTY": ""})


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        (
            "[presets.x]\nmodel = 'sim/echo'\nprovider = { options = { lab = {} } }",
            "presets.x.provider.options",
            "an option for a single provider",
        ),
        (
            "[presets.x]\nmodel = 'sim/echo'\nprovider = { enforce_distillable_text = true }",
            "presets.x.provider.enforce_distillable_text",
            "a list of what may be distilled",
        ),
        ("[presets.x]\nmodel = 'sim/echo'\nplugins = []", "presets.x.plugins", "a plugin"),
        ("[storage]\nurl = 'postgresql://x'", "storage.url", "PostgreSQL"),
        ("[storage]\nlimits_url = 'redis://x'", "storage.limits_url", "a shared store of rate limits"),
        (
            LAB + FAST + "override = [{ when = { service_tier = 'batch' }, multiplier = '0.5' }]",
            'models."acme/fast".endpoints[0].override[0].when.service_tier',
            "a batch",
        ),
        (
            LAB + FAST + "override = [{ when = { prompt_tokens_above = 9 }, usd_each = { image = '1' }, multiplier = '2' }]",
            'models."acme/fast".endpoints[0].override[0].usd_each.image',
            "this price",
        ),
        (LAB + FAST + "usd_each = { image = '1' }", 'models."acme/fast".endpoints[0].usd_each.image', "this price"),
        (
            LAB + FAST.replace('"15"', '"15", audio_prompt = "1"'),
            'models."acme/fast".endpoints[0].usd_per_million.audio_prompt',
            "this price",
        ),
    ],
)
def test_what_is_not_built_is_refused(text: str, path: str, what: str) -> None:
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(text, FILE, {}), shipped(), {})
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (path, f"{what} is not in this version")
    assert problem.line is not None


@pytest.mark.parametrize(
    "text",
    [
        "[credits]\nenforce = false",
        "[storage]\nurl = 'sqlite'\nlimits_url = ''",
        "[logging]\ncontent = false",
        "[responses]\nstore = false",
    ],
)
def test_switched_off_is_fine(text: str) -> None:
    assert config.compile(config.read(text, FILE, {}), shipped(), {}).warnings == ()


def test_a_providers_keys() -> None:
    check("[providers.openai]\nkeys = ['x', { secret = 'x', rpm = 2 }]", ["2: providers.openai.keys[1]: the same key is listed twice"])
    check(
        "[providers.openai]\nkeys = [{ secret = 'x', weight = 0 }]",
        ["2: providers.openai.keys: every weight is 0: give at least one key a weight"],
    )
    check(
        "[providers.openai]\nkeys = [{ secret = 'x', weight = -1 }]",
        ["2: providers.openai.keys[0].weight: expected an integer from 0 to 1000000, got an integer"],
    )


def test_all_mistakes_come_at_once() -> None:
    text = (
        "[server]\nadmn = 1\nwatch = 'x'\nadmin_token = 'env:NOPE'\n"
        + LAB
        + FAST.replace('"lab"', '"lap"')
        + '[keys.a]\nsecret = "one-secret-for-both-of-us"\ncontent = true\n[keys.b]\nsecret = "one-secret-for-both-of-us"\n'
    )
    check(
        text,
        [
            '2: server.admn: unknown key "admn"; did you mean "admin"?',
            '3: server.watch: expected true or false, got "x"',
            "4: server.admin_token: environment variable NOPE is not set",
            '11: models."acme/fast".endpoints[0].provider: unknown provider "lap"; did you mean "lab"?',
            "18: keys.b.secret: is the same as that of [keys.a]",
        ],
    )


def test_a_broken_provider_is_not_called_unknown_as_well() -> None:
    check(LAB.replace("base_url", "base_ulr") + FAST, ['3: providers.lab.base_ulr: unknown key "base_ulr"; did you mean "base_url"?'])
    check(LAB.replace("9000", "90000") + FAST, ['3: providers.lab.base_url: "127.0.0.1:90000" is not a host with an optional port'])


@pytest.mark.parametrize(
    ("aliases", "other", "expected"),
    [
        ('["nick", "gpt-5-mini"]', "", '7: models."acme/fast".aliases[1]: the name "gpt-5-mini" is taken by the model "openai/gpt-5-mini"'),
        (
            '["openai/gpt-5-mini"]',
            "",
            '7: models."acme/fast".aliases[0]: the name "openai/gpt-5-mini" is taken by the model "openai/gpt-5-mini"',
        ),
        ('["nick"]', "slow", '15: models."acme/slow".aliases[0]: the name "nick" is taken by the model "acme/fast"'),
        ('["acme/slow"]', "slow", '7: models."acme/fast".aliases[0]: the name "acme/slow" is taken by the model "acme/slow"'),
    ],
)
def test_names_are_one_space(aliases: str, other: str, expected: str) -> None:
    fast = FAST.replace('[models."acme/fast"]\n', f'[models."acme/fast"]\naliases = {aliases}\n')
    slow = fast.replace("acme/fast", "acme/slow").replace(aliases, '["nick"]') if other else ""
    check(
        LAB.replace("lab", "openai", 1) + "\n" + fast.replace('"lab"', '"openai"') + "\n\n" + slow.replace('"lab"', '"openai"'), [expected]
    )


def test_no_secret_is_ever_shown() -> None:
    text = """[server]
admin_token = "super secret token"
secret = "super secret"
[providers.openai]
keys = ["super secret key", "super-secret", "super-secret", "env:BAD", { secret = "super secret" }, { access_key_id = "super secret" }]
headers = { authorization = "super\\u00e9secret" }
[keys.a]
secret = "super-secret"
[keys.b]
secret = "super-secret"
"""
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(text, FILE, {"BAD": "super secret"}), shipped(), {})
    assert len(caught.value.problems) >= 6
    assert "super" not in report.text(caught.value.problems)
    assert "super" not in str(report.tree(caught.value.problems))
    assert "super" not in str(caught.value)


def test_what_a_reference_held_is_not_shown() -> None:
    # Somebody may have named the wrong variable.
    check(
        "[server]\ndata = 'env:KEY'",
        ['2: server.data: expected an address such as "127.0.0.1:8080", got a string'],
        {"KEY": "sk-a-provider-key"},
    )


@pytest.mark.parametrize(("content", "line"), [(b"a = 1\nb = '\xff'\n", 2), (b"\xff", 1)])
def test_not_utf8(tmp_path: Path, content: bytes, line: int) -> None:
    path = tmp_path / "fairlead.toml"
    path.write_bytes(content)
    with pytest.raises(Mistakes) as caught:
        config.load(path, {})
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (line, f"not valid UTF-8 at byte {content.index(0xFF)}")


def test_unreadable_files(tmp_path: Path) -> None:
    for path, message in [(tmp_path / "nope", "cannot be read: No such file or directory"), (tmp_path, "is not a file")]:
        with pytest.raises(Mistakes) as caught:
            config.load(path, {})
        assert report.text(caught.value.problems) == f"{path}: {message}\n"


def test_a_pipe_holds_up_nothing(tmp_path: Path) -> None:
    path, empty = tmp_path / "fairlead.toml", tmp_path / "empty"
    os.mkfifo(tmp_path / "pipe")
    empty.touch()
    path.write_text('[keys.a]\nsecret = "file:pipe"\n[keys.b]\nsecret = "file:empty"\n')
    said = [problem.message for problem in config.load(path, {}).document.problems]
    assert said == [f"file {tmp_path / 'pipe'} is no regular file", f"file {empty} is empty"]


def test_depth_does_not_overflow() -> None:
    with pytest.raises(Mistakes) as caught:
        config.read("a = " + "[" * 50_000 + "]" * 50_000, FILE, {})
    assert caught.value.problems[0].message == "is nested too deeply"


ODD = {
    ".".join("a" * 5000) + " = 1": "is nested too deeply",
    "[" + ".".join("a" * 900) + "]": "is nested too deeply",
    "a = " + "{a = " * 3000 + "1" + "}" * 3000: "is nested too deeply",
    ".".join("a" * 5000) + ' = "«kept 000000000000»"': "is nested too deeply",
    "[timeouts]\nconnect_ms = " + "9" * 5000: "an integer has too many digits",
    '[server]\nca_file = "~nobody\\u0000/x"': "no such file",
    '[keys.x]\nsecret = "file:~nobody\\u0000/x"': "null byte",
}


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_what_nobody_writes_is_a_mistake_like_any_other(text: str) -> None:
    """Wherever texts go: judged, with their secrets hidden, or with marks in their places."""
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(text, FILE, {"HOME": "/root"}), shipped(), {})
    assert ODD[text] in str(caught.value) and (caught.value.problems[0].line == 2 or "deeply" in ODD[text])
    configuration.masked(text, b"key")
    assert configuration.unmasked(text, b"key", [text]) == text


def test_json_report() -> None:
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read("[server]\n  admn = 1", FILE, {}), shipped(), {})
    assert report.tree(caught.value.problems) == {
        "errors": [
            {
                "file": "/etc/fairlead.toml",
                "line": 2,
                "column": 3,
                "path": "server.admn",
                "message": 'unknown key "admn"; did you mean "admin"?',
            }
        ],
        "warnings": [],
    }


def test_no_message_tells_what_a_reference_stands_for() -> None:
    """A secret may be referred to from anywhere, by whoever may only have a text judged."""
    environ = {"TOKEN": "a-very-secret-token"}
    text = '[server]\nca_file = "env:TOKEN"\n[keys.a]\nsecret = "0123456789abcdef0"\nteam = "env:TOKEN"\n'
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(text, FILE, environ), shipped(), environ, today=date(2026, 11, 21))
    assert {problem.path for problem in caught.value.problems} == {"server.ca_file", "keys.a.team"}
    assert "secret-token" not in str(caught.value.problems)
