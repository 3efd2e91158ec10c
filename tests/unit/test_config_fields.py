"""What a preset says for requests: what reaches the data plane, and every mistake with its line, path and words."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fairlead import _native, config
from fairlead.catalog import shipped
from fairlead.catalog.document import Mistakes
from fairlead.config import fields, report, schema
from fairlead.config.unbuilt import UNBUILT

ROOT = Path(__file__).parents[2]
EXTENSION_RS = (ROOT / "rust/formats/src/extension.rs").read_text()
START = "[presets.x]\nmodel = 'sim/echo'\n"
ALL = """
system_prompt = "file:prompt.txt"
max_tokens = 4000
temperature = 0.2
top_p = 1
top_k = 40
min_p = 0.05
top_a = 0.1
frequency_penalty = -2
presence_penalty = 2.0
repetition_penalty = 1.1
seed = -7
stop = ["one", "two"]
n = 2
logit_bias = { 50256 = -100, 11 = 2.5 }
logprobs = true
top_logprobs = 20
prediction = { type = "content", content = "x" }
tool_choice = { type = "function", function = { name = "look" } }
parallel_tool_calls = false
max_tool_calls = 30
structured_outputs = true
reasoning = { effort = "high", exclude = true, summary = "auto" }
reasoning_effort = "high"
include_reasoning = false
verbosity = "low"
modalities = ["text", "audio"]
audio = { voice = "x", format = "wav" }
image_config = { aspect_ratio = "1:1" }
service_tier = "flex"
cache_control = { type = "ephemeral", ttl = "1h" }
prompt_cache_key = "k"
prompt_cache_retention = "24h"
prompt_cache_options = { mode = "explicit" }
web_search_options = {}
metadata = { team = "a" }
store = true
[presets.x.response_format]
type = "json_schema"
json_schema = { name = "a", strict = true, schema = { type = "object", properties = { a = { type = ["string", "null"] } } } }
[[presets.x.tools]]
type = "function"
function = { name = "look", description = "d", parameters = { type = "object", minimum = 1 } }
[[presets.x.tools]]
type = "function"
function = { name = "see" }
[[presets.x.tools]]
type = "openrouter:web_search"
parameters = { engine = "auto" }
"""
"""Every field; but for one of two names for the same."""


def compiled(text: str, folder: Path = Path("/etc")) -> config.Compiled:
    return config.compile(config.read("[providers.sim]\n" + text, folder / "fairlead.toml", {}), shipped(), {})


def check(text: str, expected: list[str]) -> None:
    """Compiles a preset and compares what is said, with line numbers that begin at its first field."""
    try:
        said = compiled(START + text).warnings
    except Mistakes as mistakes:
        said = mistakes.problems
    lines = [report.line(problem).removeprefix("/etc/fairlead.toml:") for problem in said]
    assert [re.sub(r"^\d+", lambda line: str(int(line[0]) - 3), line) for line in lines] == expected


def test_every_field_reaches_the_data_plane_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Be brief.\n")
    result = compiled(START + ALL, tmp_path)
    assert not result.warnings
    said = json.loads(result.snapshot)["presets"][0]["fields"]
    assert {*said} == fields.NAMES - {"max_completion_tokens"}
    assert said["system_prompt"] == "Be brief."
    # Numbers stay what they are, so that nothing is sent that nobody wrote.
    assert json.dumps([said[name] for name in ("top_p", "presence_penalty", "temperature", "seed")]) == "[1, 2.0, 0.2, -7]"
    assert said["tools"][2] == {"type": "openrouter:web_search", "parameters": {"engine": "auto"}}
    assert said["response_format"]["json_schema"]["schema"]["properties"] == {"a": {"type": ["string", "null"]}}
    [view] = result.presets
    assert view.fields == said
    options = {"data": "127.0.0.1:0", "journal_dir": str(tmp_path), "control_socket": str(tmp_path / "s"), "secret": "00" * 32}
    engine = _native.Engine(json.dumps(options | {"handle_signals": False}).encode())
    try:
        assert engine.load_snapshot(result.snapshot) == 1
    finally:
        engine.stop()


def test_the_data_plane_refuses_what_no_request_can_say() -> None:
    snapshot = json.loads(compiled(START + "seed = 1").snapshot)
    for said, path in (
        ({"messages": []}, "presets.x.messages"),
        ({"plugins": [{"id": "web"}]}, "presets.x.plugins"),
        ({"tools": [{"function": {}}]}, "presets.x.tools[0]"),
        ({"reasoning": {"effort": "much"}}, "presets.x.reasoning.effort"),
    ):
        snapshot["presets"][0]["fields"] = said
        question = json.dumps({"body": {"model": "sim/echo", "messages": []}}).encode()
        with pytest.raises(ValueError, match=re.escape(f"{path}: ")):
            _native.explain(json.dumps(snapshot).encode(), question)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("temperature = 2.5", "1: presets.x.temperature: expected a number from 0 to 2, got 2.5"),
        ("temperature = nan", "1: presets.x.temperature: expected a number from 0 to 2, got nan"),
        ("temperature = '0.5'", '1: presets.x.temperature: expected a number from 0 to 2, got "0.5"'),
        ("top_p = -0.1", "1: presets.x.top_p: expected a number from 0 to 1, got -0.1"),
        ("presence_penalty = 3", "1: presets.x.presence_penalty: expected a number from -2 to 2, got 3"),
        ("max_tokens = 0", "1: presets.x.max_tokens: expected an integer of at least 1, got 0"),
        ("max_tokens = 1.5", "1: presets.x.max_tokens: expected an integer of at least 1, got 1.5"),
        (
            "max_tokens = 1\nmax_completion_tokens = 1",
            '2: presets.x.max_completion_tokens: says the same as "max_tokens": give one of them',
        ),
        ("seed = 9223372036854775808", "1: presets.x.seed: expected an integer, got 9223372036854775808"),
        ("stop = ['a', 'b', 'c', 'd', 'e']", "1: presets.x.stop: has more than 4 elements"),
        ("n = 129", "1: presets.x.n: expected an integer from 1 to 128, got 129"),
        ("logit_bias = { 5 = 101 }", "1: presets.x.logit_bias.5: expected a number from -100 to 100, got 101"),
        ("tools = []", "1: presets.x.tools: must not be empty"),
        ("tools = [{ function = { name = 'a' } }]", '1: presets.x.tools[0]: "type" is missing'),
        ("tools = [{ type = 'function' }]", '1: presets.x.tools[0]: "function" is missing'),
        ("tools = [{ type = 'function', function = {} }]", '1: presets.x.tools[0].function: "name" is missing'),
        (
            "tools = [{ type = 'function', function = { name = 'a' } }, { type = 'function', function = { name = 'a' } }]",
            '1: presets.x.tools[1].function.name: "a" is the name of another tool',
        ),
        (
            "tools = [{ type = 'function', function = { name = 'a', parameters = { const = inf, default = 2026-01-01 } } }]",
            "1: presets.x.tools[0].function.parameters.const: inf is no number that a request can hold\n"
            "1: presets.x.tools[0].function.parameters.default: a request holds no dates; write a string",
        ),
        ("tool_choice = 'any'", '1: presets.x.tool_choice: expected "auto" or "none" or "required" or a table, got "any"'),
        ("response_format = { type = 'json_schema' }", '1: presets.x.response_format: "json_schema" is missing'),
        (
            "reasoning = { effort = 'much' }",
            '1: presets.x.reasoning.effort: expected "high" or "low" or "max" or "medium" or "minimal" or "none" or "xhigh", got "much"',
        ),
        (
            "reasoning = { effort = 'low' }\nreasoning_effort = 'high'",
            '2: presets.x.reasoning_effort: differs from reasoning.effort, which is "low"',
        ),
        (
            "service_tier = 'batch'",
            '1: presets.x.service_tier: expected "auto" or "default" or "fast" or "flex" or "priority" or "scale" '
            'or "ultrafast", got "batch"',
        ),
        ("metadata = { a = 1 }", "1: presets.x.metadata.a: expected a string of at most 512 characters, got 1"),
        ("metadata = { " + ", ".join(f"k{number} = 'v'" for number in range(17)) + " }", "1: presets.x.metadata: has more than 16 keys"),
        (
            "messages = []",
            "1: presets.x.messages: is not for presets: what is said belongs to the request; instructions stand in system_prompt",
        ),
        ("stream = true", "1: presets.x.stream: is not for presets: how a reply is read is for each client to say"),
        (
            "session_id = 's'",
            "1: presets.x.session_id: is not for presets: it tells one request from another, and a preset stands for many",
        ),
        ("preset = 'y'", "1: presets.x.preset: is not for presets: a preset names no other one"),
        ("instructions = 'a'", "1: presets.x.instructions: is another dialect's name; write system_prompt"),
        ("max_output_tokens = 5", "1: presets.x.max_output_tokens: is another dialect's name; write max_tokens"),
        ("plugins = [{ id = 'web' }]", "1: presets.x.plugins: a plugin is not in this version"),
        ("automatic_cahce = true", '1: presets.x.automatic_cahce: unknown key "automatic_cahce"; did you mean "automatic_cache"?'),
    ],
)
def test_mistakes(text: str, expected: str) -> None:
    check(text, expected.split("\n"))


@pytest.mark.parametrize(("text", "hint"), [("tempreature = 1", '; did you mean "temperature"?'), ("raw_mode = true", "")])
def test_what_nobody_knows_may_be_a_providers_own(text: str, hint: str) -> None:
    name, _, value = text.partition(" = ")
    said = "no field of a request is known by this name; it is sent to providers of chat as it stands"
    check(text, [f"1: presets.x.{name}: warning: {said}{hint}"])
    assert json.loads(compiled(START + text).snapshot)["presets"][0]["fields"] == {name: json.loads(value)}


def test_all_that_is_wrong_is_told_at_once() -> None:
    """A field that does not fit does not hide the others, and what is not known stays a warning."""
    check(
        "top_p = 2\nsafe_prompt = 1\nseed = 'x'",
        ["1: presets.x.top_p: expected a number from 0 to 1, got 2", '3: presets.x.seed: expected an integer, got "x"'],
    )


def test_both_sides_know_the_same_words() -> None:
    """What the gateway keeps for itself is judged here, name by name."""
    rows: list[tuple[str, str]] = re.findall(r'row\("(\w+)",.*?Treatment::(\w+),', EXTENSION_RS)
    unbuilt = {row.pattern[2] for row in UNBUILT if row.pattern[:2] == ("presets", "*") and len(row.pattern) == 3}
    # A request may say one plugin, a preset none.
    assert unbuilt == {name for name, treatment in rows if treatment == "NotInThisVersion"} | {"plugins"}
    own = {*schema.Preset.__struct_fields__}
    known: set[Any] = own | unbuilt | {*fields.OWN_TO_REQUESTS}
    assert {name for name, _ in rows} <= known
    assert not fields.NAMES & ({*fields.OWN_TO_REQUESTS} | {*fields.OTHER_NAMES} | unbuilt)
