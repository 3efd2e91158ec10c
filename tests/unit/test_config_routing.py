"""Presets and splits: what reaches the data plane, what is shown, and every mistake with its line, path and words."""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from fairlead import _native, config
from fairlead.catalog import shipped
from fairlead.catalog.document import Mistakes
from fairlead.catalog.schema import Quantization
from fairlead.cli import main
from fairlead.config import Compiled, report, routing
from fairlead.config.schema import MaxPrice, Percentiles, ProviderWishes, Sort, SortBy
from fairlead.config.unbuilt import UNBUILT
from fairlead.control.offer import Offer

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/routing.toml"
FILE = Path("/etc/fairlead.toml")
LAB = """[providers.sim]
[providers.lab]
dialect = "openai_chat"
base_url = "http://127.0.0.1:9000/v1"
keys = []
name = "The Lab"
[models."acme/fast"]
aliases = ["nick"]
[[models."acme/fast".endpoints]]
provider = "lab"
upstream_model = "gpt-x"
region = "eu"
usd_per_million = { prompt = "3", completion = "15" }
[[models."acme/fast:big".endpoints]]
provider = "lab"
upstream_model = "gpt-big"
usd_per_million = { prompt = "0", completion = "0" }
"""


def compiled(text: str) -> Compiled:
    return config.compile(config.read(text, FILE, {}), shipped(), {}, today=date(2026, 11, 21))


def snapshot(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(compiled(text).snapshot)
    return found


# --- what reaches the data plane ------------------------------------------------------------------------------------------


def test_presets_and_splits_reach_the_snapshot() -> None:
    found = snapshot(
        LAB + "[presets.resilient]\nmodels = ['nick:nitro', 'acme/fast:big', 'sim/echo']\nprovider = { sort = 'price' }\n"
        "[presets.plain]\nmodel = 'acme/fast:big:free'\nautomatic_cache = true\n"
        "[splits.'acme/assistant']\narms = [{ model = 'acme/fast:floor', weight = 90 }, { model = 'sim/fast', weight = 0 }]\n"
    )
    assert all(re.fullmatch("[0-9a-f]{12}", preset.pop("version")) for preset in found["presets"])
    assert found["presets"] == [
        {
            "name": "resilient",
            "model": "nick:nitro",
            "models": ["acme/fast:big", "sim/echo"],
            "provider": {"sort": "price"},
            "route": None,
            "fields": None,
            "strict_translation": False,
            "automatic_cache": False,
            "cache_enabled": None,
            "cache_ttl_seconds": None,
        },
        {
            "name": "plain",
            "model": "acme/fast:big:free",
            "models": [],
            "provider": None,
            "route": None,
            "fields": None,
            "strict_translation": False,
            "automatic_cache": True,
            "cache_enabled": None,
            "cache_ttl_seconds": None,
        },
    ]
    assert found["splits"] == [
        {"name": "acme/assistant", "arms": [{"model": "acme/fast:floor", "share": 90}, {"model": "sim/fast", "share": 0}]}
    ]
    assert (snapshot("")["presets"], snapshot("")["splits"]) == ([], [])


def test_shadows_reach_the_snapshot() -> None:
    found = snapshot(LAB + "[shadows.nick]\nmodel = 'sim/fast'\nshare = 0.1\n[shadows.'sim/echo']\nmodel = 'nick'\nshare = 1\n")
    assert found["shadows"] == [
        {"of": "acme/fast", "model": "sim/fast", "share_millionths": 100_000},
        {"of": "sim/echo", "model": "acme/fast", "share_millionths": 1_000_000},
    ]
    assert snapshot("")["shadows"] == []


WISHES: list[tuple[str, dict[str, Any]]] = [
    ("order = ['lab/eu', 'The Lab', 'SIM']", {"order": ["lab/eu", "The Lab", "SIM"]}),
    ("only = []", {"only": []}),
    ("ignore = ['openai', 'groq/eu']", {"ignore": ["openai", "groq/eu"]}),
    ("allow_fallbacks = false\nzdr = true", {"allow_fallbacks": False, "zdr": True}),
    ("enforce_distillable_text = false", {"enforce_distillable_text": False}),
    ("sort = { by = 'latency', partition = 'none' }", {"sort": {"by": "latency", "partition": "none"}}),
    ("preferred_max_latency = { p50 = 2, p99 = 0.5 }", {"preferred_max_latency": {"p50": 2, "p99": 0.5}}),
    ("preferred_min_throughput = 20", {"preferred_min_throughput": 20}),
    (
        "max_price = { prompt = 1, completion = 2.50, request = '0.010', image = 0.0000005, audio = 0 }",
        {"max_price": {"prompt": "1", "completion": "2.5", "request": "0.01", "image": "0.0000005", "audio": "0"}},
    ),
    ("max_price = { prompt = 0.0005, completion = '0' }", {"max_price": {"prompt": "0.0005", "completion": "0"}}),
]


@pytest.mark.parametrize(("given", "expected"), WISHES)
def test_wishes_are_passed_on(given: str, expected: dict[str, Any]) -> None:
    (preset,) = snapshot(f"{LAB}[presets.x]\nmodel = 'acme/fast'\n[presets.x.provider]\n{given}")["presets"]
    assert preset["provider"] == expected


def test_the_data_plane_takes_the_example(tmp_path: Path) -> None:
    result = config.compile(config.load(EXAMPLE, {}), shipped(), {}, today=date(2026, 11, 21))
    assert result.warnings == ()
    (frugal,) = [preset for preset in result.presets if preset.name == "frugal"]
    assert frugal.provider is not None
    left_out = {"only", "enforce_distillable_text"}
    assert {*frugal.provider} == {*get_type_hints(ProviderWishes)} - left_out
    options = {"data": "127.0.0.1:0", "journal_dir": str(tmp_path), "control_socket": str(tmp_path / "s"), "secret": "00" * 32}
    engine = _native.Engine(json.dumps(options | {"handle_signals": False}).encode())
    try:
        assert engine.load_snapshot(result.snapshot) == 1
        for given, _ in WISHES:
            assert engine.load_snapshot(compiled(f"{LAB}[presets.x]\nmodel = 'nick'\n[presets.x.provider]\n{given}").snapshot) == 1
        with pytest.raises(ValueError, match=r"presets\.frugal\.provider\.order\.0: there is no provider \"lap/eu\""):
            engine.load_snapshot(result.snapshot.replace(b'"lab/eu"', b'"lap/eu"'))
        with pytest.raises(ValueError, match="sim/clade:floor"):
            engine.load_snapshot(result.snapshot.replace(b"sim/claude:floor", b"sim/clade:floor"))
    finally:
        engine.stop()


# --- what is shown --------------------------------------------------------------------------------------------------------


def test_a_presets_version_is_that_of_its_content() -> None:
    def version(text: str) -> str:
        (preset,) = compiled(f"{LAB}[presets.{text}").presets
        return preset.version

    first = version("x]\nmodel = 'nick'\nprovider = { zdr = true, max_price = { prompt = 1, completion = '2' } }")
    assert re.fullmatch("[0-9a-f]{12}", first)
    assert version("y]\nmodels = ['nick']\n[presets.y.provider]\nmax_price = { completion = 2.0, prompt = '1.0' }\nzdr = true") == first
    assert version("x]\nmodel = 'nick'") != first
    said = version("x]\nmodel = 'nick'\nseed = 1\nreasoning = { effort = 'low', exclude = true }")
    assert version("y]\nreasoning = { exclude = true, effort = 'low' }\nseed = 1\nmodel = 'nick'") == said
    assert version("x]\nmodel = 'nick'\nseed = 2\nreasoning = { effort = 'low', exclude = true }") != said


def test_lists_for_clients_have_models_only() -> None:
    result = compiled(LAB + "[presets.x]\nmodel = 'nick'\n[splits.'a/b']\narms = [{ model = 'nick', weight = 1 }]")
    offer = Offer(result.models, result.providers)
    assert {model.id for model in offer.models} >= {"acme/fast", "sim/echo"}
    assert not {"@preset/x", "x", "a/b"} & {name for model in offer.models for name in (model.id, *model.aliases)}
    assert offer.model("a/b") is None


def test_commands_list_them(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", str(EXAMPLE)]
    assert main(["models", "acme/assistant", *arguments]) == 0
    assert capsys.readouterr().out == (
        "NAME            STANDS FOR                             NOTES\nacme/assistant  acme/fast (90), sim/claude:floor (10)\n"
    )
    assert main(["models", "resilient", *arguments]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert re.fullmatch(
        r"@preset/resilient  acme/fast:nitro, then sim/claude, then sim/echo  "
        r"version [0-9a-f]{12}; says system_prompt, max_tokens, temperature; strict_translation",
        row,
    )
    assert main(["models", *arguments]) == 0
    models, names = capsys.readouterr().out.split("\n\n")
    assert models.startswith("MODEL") and len(names.splitlines()) == 1 + 2 + 1 + 1
    assert re.fullmatch(r"acme/fast +sim/claude +shadow, gets a copy of 10 % of the requests", names.splitlines()[-1])
    assert main(["models", "acme/assistant", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    arms = [{"model": "acme/fast", "weight": 90}, {"model": "sim/claude:floor", "weight": 10}]
    assert found == {"data": [], "presets": [], "splits": [{"name": "acme/assistant", "arms": arms}], "shadows": []}
    assert main(["models", "acme", "--provider", "lab", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert ([model["id"] for model in found["data"]], found["presets"], found["splits"]) == (["acme/fast"], [], [])
    assert main(["check", "--json", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [preset["name"] for preset in found["presets"]] == ["resilient", "frugal"]
    assert found["presets"][1]["provider"]["max_price"] == {"prompt": "5", "completion": "20", "request": "0.01"}
    assert found["splits"][0]["arms"] == arms
    assert main(["check", *arguments]) == 0
    assert found["shadows"] == [{"model": "acme/fast", "shadow": "sim/claude", "share": 0.1}]
    lines = "presets        resilient, frugal\nsplits         acme/assistant\nshadows        sim/claude of acme/fast\n"
    assert lines in capsys.readouterr().out


# --- mistakes -------------------------------------------------------------------------------------------------------------


PRESET = "[presets.x]\nmodel = 'acme/fast'\nprovider = "
START = LAB.count("\n")


def check(text: str, expected: list[str]) -> None:
    """Compiles a text behind `LAB` and compares what is said, with line numbers that begin behind `LAB`."""
    try:
        said = compiled(LAB + text).warnings
    except Mistakes as mistakes:
        said = mistakes.problems
    lines = [report.line(problem).removeprefix("/etc/fairlead.toml:") for problem in said]
    assert [re.sub(r"^\d+", lambda line: str(int(line[0]) - START), line) for line in lines] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models = ['acme/fats']", '2: presets.x.models[0]: no model is called "acme/fats" here; did you mean "acme/fast"?'),
        ("models = ['nick', 'acme/fast']", '2: presets.x.models[1]: "acme/fast" is listed twice'),
        ("models = ['nick:free:nitro', 'nick']", '2: presets.x.models[0]: "nick:free:nitro": no endpoint of it is free'),
        ("model = 'nick:nitr'", '2: presets.x.model: "nick:nitr": there is no variant :nitr; did you mean "nitro"?'),
        ("model = 'nick:nitro:floor'", '2: presets.x.model: "nick:nitro:floor": :nitro and :floor want different orders'),
        (
            "model = 'nick:online'",
            '2: presets.x.model: "nick:online": there is no variant :online of it; ask for the model\'s own search with web_search_options',
        ),
        ("model = 'openrouter/auto'", '2: presets.x.model: "openrouter/auto" is a router: only models can stand here'),
        ("models = ['a/b']", '2: presets.x.models[0]: "a/b" is a split: only models can stand here'),
        ("models = ['@preset/y']", '2: presets.x.models[0]: "@preset/y" is a preset: only models can stand here'),
        (
            "models = ['openai/gpt-5-mini:nitro']",
            '2: presets.x.models[0]: "openai/gpt-5-mini:nitro" is not served here: none of its providers is on: openai, azure, openrouter',
        ),
        ("models = 'nick'", '2: presets.x.models: expected a list of strings, got "nick"'),
    ],
)
def test_models_of_a_preset(text: str, expected: str) -> None:
    check(f"[presets.x]\n{text}\n[splits.'a/b']\narms = [{{ model = 'nick', weight = 1 }}]", [expected])


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ("'price'", ': expected a table, got "price"'),
        ("{ ordr = ['lab'] }", '.ordr: unknown key "ordr"; did you mean "order"?'),
        ("{ option = {} }", '.option: unknown key "option"; did you mean "options"?'),
        ("{ order = 'lab' }", '.order: expected a list of strings, got "lab"'),
        ("{ order = ['lba'] }", '.order[0]: unknown provider "lba"; did you mean "lab"?'),
        ("{ order = ['sim', 'openai'] }", '.order[1]: provider "openai" is off: add [providers.openai]'),
        ("{ order = ['groq/eu'] }", '.order[0]: provider "groq" is off: add [providers.groq]'),
        ("{ only = ['gemini'] }", '.only[0]: unknown provider "gemini"; did you mean "google-ai-studio"?'),
        ("{ only = ['lab/us'] }", '.only[0]: no endpoint is at "lab/us"; did you mean "lab/eu"?'),
        ("{ only = ['sim'] }", ".only: warning: leaves nothing: its models are served at lab/eu"),
        ("{ ignore = ['opnai'] }", '.ignore[0]: unknown provider "opnai"; did you mean "openai"?'),
        ("{ zdr = 'yes' }", '.zdr: expected true or false, got "yes"'),
        ("{ data_collection = 'denny' }", '.data_collection: expected "allow" or "deny", got "denny"'),
        (
            "{ quantizations = ['fp9'] }",
            '.quantizations[0]: expected "bf16" or "fp16" or "fp32" or "fp4" or "fp6" or "fp8" or "int4" or "int8" or "mxfp4" '
            'or "mxfp8" or "nvfp4" or "unknown", got "fp9"',
        ),
        ("{ sort = 'prize' }", '.sort: expected "exacto" or "latency" or "price" or "throughput" or a table, got "prize"'),
        ("{ sort = { by = 'price', partitions = 'none' } }", '.sort.partitions: unknown key "partitions"; did you mean "partition"?'),
        ("{ sort = { partition = 'all' } }", '.sort.partition: expected "model" or "none", got "all"'),
        ("{ preferred_max_latency = -1 }", ".preferred_max_latency: expected a number from 0 to 1000000 or a table, got -1"),
        ("{ preferred_max_latency = nan }", ".preferred_max_latency: expected a number from 0 to 1000000 or a table, got nan"),
        ("{ preferred_min_throughput = { p50 = true } }", ".preferred_min_throughput.p50: expected a number from 0 to 1000000, got true"),
        ("{ preferred_min_throughput = { p95 = 1 } }", '.preferred_min_throughput.p95: unknown key "p95"; did you mean "p99"?'),
        ("{ max_price = '1' }", '.max_price: expected a table, got "1"'),
        ("{ max_price = { promt = 1 } }", '.max_price.promt: unknown key "promt"; did you mean "prompt"?'),
        (
            "{ max_price = { prompt = true } }",
            '.max_price.prompt: expected an amount of US dollars, such as "2.50" or 2.5, got true',
        ),
        (
            "{ max_price = { prompt = 0.0000025 } }",
            ".max_price.prompt: 0.0000025 is too small for US dollars per million tokens: multiply a price per token by 1000000",
        ),
        (
            "{ max_price = { completion = '0.000499' } }",
            ".max_price.completion: 0.000499 is too small for US dollars per million tokens: multiply a price per token by 1000000",
        ),
        (
            "{ max_price = { completion = '1.2345678' } }",
            '.max_price.completion: "1.2345678" is too precise: at most six decimals (a pico-dollar per token)',
        ),
        ("{ max_price = { request = inf } }", '.max_price.request: expected a decimal number in quotes, such as "2.50", got "Infinity"'),
        ("{ max_price = { prompt = '$1' } }", '.max_price.prompt: expected a decimal number in quotes, such as "2.50", got "$1"'),
        ("{ max_price = { prompt = -1 } }", '.max_price.prompt: expected a decimal number in quotes, such as "2.50", got "-1"'),
    ],
)
def test_wishes_of_a_preset(wishes: str, expected: str) -> None:
    check(PRESET + wishes, ["3: presets.x.provider" + expected])


@pytest.mark.parametrize(
    ("name", "arms", "expected"),
    [
        ("a/b", "[]", '2: splits."a/b".arms: must not be empty'),
        ("a/b", "[{ model = 'nick', weight = 0 }]", '2: splits."a/b".arms: no arm has a weight above 0'),
        ("a/b", "[{ model = 'nick' }]", '2: splits."a/b".arms[0]: "weight" is missing'),
        (
            "a/b",
            "[{ model = 'nick', weight = 0.5 }]",
            '2: splits."a/b".arms[0].weight: expected an integer from 0 to 1000000, got 0.5',
        ),
        (
            "a/b",
            "[{ model = 'nick', share = 1 }]",
            '2: splits."a/b".arms[0]: "weight" is missing\n2: splits."a/b".arms[0].share: unknown key "share"',
        ),
        (
            "a/b",
            "[{ model = 'nick', weight = 1 }, { model = 'acme/fast', weight = 1 }]",
            '2: splits."a/b".arms[1].model: "acme/fast" is listed twice',
        ),
        ("a/b", "[{ model = 'a/b', weight = 1 }]", '2: splits."a/b".arms[0].model: "a/b" is a split: only models can stand here'),
        (
            "a/b",
            "[{ model = '@preset/x', weight = 1 }]",
            '2: splits."a/b".arms[0].model: "@preset/x" is a preset: only models can stand here',
        ),
        (
            "a/b",
            "[{ model = 'acme/fsat:nitro', weight = 1 }]",
            '2: splits."a/b".arms[0].model: no model is called "acme/fsat:nitro" here; did you mean "acme/fast"?',
        ),
        ("nick", "[{ model = 'nick', weight = 1 }]", '1: splits.nick: the name "nick" is taken by the model "acme/fast"'),
        ("sim/echo", "[{ model = 'nick', weight = 1 }]", '1: splits."sim/echo": the name "sim/echo" is taken by the model "sim/echo"'),
        (
            "openrouter/nick",
            "[{ model = 'nick', weight = 1 }]",
            '1: splits."openrouter/nick": the name "openrouter/nick" is taken by the model "acme/fast"',
        ),
        (
            "openrouter/auto",
            "[{ model = 'nick', weight = 1 }]",
            '1: splits."openrouter/auto": the name "openrouter/auto" is taken by a router',
        ),
        (
            "nick:nitro",
            "[{ model = 'nick', weight = 1 }]",
            '1: splits."nick:nitro": expected a name such as "vendor/model", of letters, digits and _ . / -, got "nick:nitro"',
        ),
    ],
)
def test_splits(name: str, arms: str, expected: str) -> None:
    check(f"[splits.'{name}']\narms = {arms}", expected.split("\n"))


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("[models.'acme/bad']\naliases = ['worse']\nendpoints = [{ provider = 'bad', upstream_model = 'x' }]", []),
        (
            "[models.'acme/bad']\naliases = ['worse']\nendpoints = [{ provider = 'lap', upstream_model = 'x' }]",
            ['5: models."acme/bad".endpoints[0].provider: unknown provider "lap"; did you mean "lab"?'],
        ),
        (
            "[models.'openai/gpt-5.5']\naliases = ['worse']\nendpoints = [{ provider = 'lap', upstream_model = 'x' }]",
            ['5: models."openai/gpt-5.5".endpoints[0].provider: unknown provider "lap"; did you mean "lab"?'],
        ),
        (
            "[models.'openai/gpt-5-mini']\naliases = ['worse']\n",
            [
                '3: models."openai/gpt-5-mini": warning: none of its providers is on: openai, azure, openrouter',
                '7: presets.x.models[1]: "worse:nitro" is not served here: none of its providers is on: openai, azure, openrouter',
            ],
        ),
    ],
)
def test_a_mistake_is_said_once(models: str, expected: list[str]) -> None:
    """A provider or model that is no good itself is not called unknown as well."""
    text = f"[providers.bad]\nkeys = []\n{models}\n[presets.x]\nmodels = ['nick', 'worse:nitro']\nprovider = {{ order = ['bad'] }}"
    check(text, ['1: providers.bad: "bad" is not in the catalogue: say how to talk to it with dialect and base_url', *expected])


def test_a_key_cannot_be_allowed_a_split() -> None:
    text = "[splits.'a/b']\narms = [{ model = 'nick', weight = 1 }]\n[keys.k]\nsecret = '0123456789012345678901'\nmodels = ['a/b']"
    check(text, ['5: keys.k.models[0]: warning: "a/b" is a split: a key names the models of its arms'])


# --- the mirror of rust/router ----------------------------------------------------------------------------------------------

READ_RS = (ROOT / "rust/router/src/wishes/read.rs").read_text()
WISHES_RS = (ROOT / "rust/router/src/wishes.rs").read_text()
NAMES_RS = (ROOT / "rust/router/src/names.rs").read_text()


def words(source: str, pattern: str) -> list[str]:
    """The texts of what a pattern finds first."""
    found = re.search(pattern, source, re.DOTALL)
    assert found, pattern
    return re.findall(r'"(\w+)"', found[1])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (get_type_hints(ProviderWishes), words(READ_RS, r"const PROVIDER: \[&str; \d+\] = \[(.*?)\];")),
        (get_args(SortBy), words(WISHES_RS, r"\[\(&'static str, By\); \d+\] =(.*?);")),
        (get_type_hints(Sort), words(READ_RS, r'unknown\(&path, key, &\[("by".*?)\]\)')),
        (get_type_hints(Percentiles), words(WISHES_RS, r"pub const NAMES: \[&'static str; 4\] = \[(.*?)\];")),
        (get_type_hints(MaxPrice), words(READ_RS, r'unknown\(&path, key, &\[("prompt".*?)\]\)')),
        (get_args(Quantization), words((ROOT / "rust/snapshot/src/facts.rs").read_text(), r'(&\["unknown", "int4".*?\])')),
        (routing.VARIANTS, words(NAMES_RS, r"let known = \[(.*?)\];")),
    ],
)
def test_both_sides_know_the_same_words(ours: Any, theirs: list[str]) -> None:
    assert {*ours} == {*theirs}


def test_both_sides_refuse_the_same() -> None:
    arms = [
        name for name, message in re.findall(r'^        "(\w+)" => (?:\{\s+)?(Err|Ok|sorted)', NAMES_RS, re.MULTILINE) if message == "Err"
    ]
    assert {*routing.NO_VARIANTS} == {*arms}
    assert [f"{name}" for name in re.findall(r'"(openrouter/\w+)" => Some', NAMES_RS)] == [*routing.ROUTERS]
    least = re.search(r"LEAST_PER_MILLION: PicoUsd = PicoUsd\((\d+)\)", READ_RS)
    assert least and int(least[1]) == routing.LEAST_PICO_PER_TOKEN
    refused = {row.pattern[-1] for row in UNBUILT if row.pattern[:3] == ("presets", "*", "provider")}
    assert refused == {*re.findall(r'"(\w+)" => (?:not_yet|return Err)\(', READ_RS)}


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("nick", "model = 'sim/fast'", '1: shadows.nick: "share" is missing'),
        ("nick", "model = 'sim/fast'\nshare = 0", "3: shadows.nick.share: expected a number from 0.000001 to 1, got 0"),
        ("nick", "model = 'sim/fast'\nshare = 1.5", "3: shadows.nick.share: expected a number from 0.000001 to 1, got 1.5"),
        ("nick", "model = 'acme/fast'\nshare = 1", '2: shadows.nick.model: "acme/fast" is the model itself: a shadow is another one'),
        (
            "nick",
            "model = 'sim/fsat'\nshare = 1",
            '2: shadows.nick.model: no model is called "sim/fsat" here; did you mean "sim/fast"?',
        ),
        (
            "acme/fsat",
            "model = 'sim/fast'\nshare = 1",
            '1: shadows."acme/fsat": no model is called "acme/fsat" here; did you mean "acme/fast"?',
        ),
        (
            "nick",
            "model = 'sim/fast:nitro'\nshare = 1",
            '2: shadows.nick.model: "sim/fast:nitro": a model is named here without suffixes, as "sim/fast"',
        ),
        (
            "nick",
            "model = 'sim/fast'\nshare = 1\n[shadows.'acme/fast']\nmodel = 'sim/echo'\nshare = 1",
            '4: shadows."acme/fast": the model "acme/fast" has a shadow already: "sim/fast"',
        ),
    ],
)
def test_mistakes_of_shadows(name: str, lines: str, expected: str) -> None:
    check(f"[shadows.'{name}']\n{lines}", [expected])
