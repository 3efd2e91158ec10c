"""Prices under conditions: from a file's tables to what is charged by, and to what is shown of it."""

from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fairlead import config
from fairlead.catalog import hours, shipped
from fairlead.catalog.schema import Override, UsdEach, UsdPerMillion
from fairlead.config import Mistakes, report
from fairlead.config.overrides import price, pricing, tiers, words

DAY, MONDAY_NOON = hours.DAY, 12 * 60
TODAY = date(2026, 11, 21)


def overrides(*rows: dict[str, Any]) -> list[Override]:
    """As a file has them."""
    return msgspec.convert(list(rows), list[Override])


def made(*rows: dict[str, Any], region: str = "", **base: str) -> Any:
    """The price of an endpoint at 3 and 15 dollars, with these overrides, as the data plane reads it."""
    tokens = UsdPerMillion(**({"prompt": "3", "completion": "15"} | base))
    read = msgspec.json.decode(msgspec.json.encode(price(tokens, UsdEach(request="0.001"), overrides(*rows), region)))
    return read.get("overrides", [])


PRICES = {"usd_per_million": {"prompt": "6"}}
SIX = {"prompt": 6_000_000}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"when": {"prompt_tokens_above": 200_000}, **PRICES}, {"rates": SIX, "prompt_tokens_above": 200_000}),
        ({"when": {"service_tier": "flex"}, **PRICES}, {"rates": SIX, "service_tier": "flex"}),
        ({"when": {"service_tier": "batch"}, **PRICES}, None),
        ({"when": {"utc": "10:00-12:30", "days": [1]}, **PRICES}, {"rates": SIX, "hours": [[600, 750]]}),
        ({"when": {"utc": "22:00-02:00", "days": [7]}, **PRICES}, {"rates": SIX, "hours": [[6 * DAY + 1320, 7 * DAY + 120]]}),
        ({"when": {"utc": "00:00-00:00", "days": [6, 7]}, **PRICES}, {"rates": SIX, "hours": [[5 * DAY, 6 * DAY], [6 * DAY, 7 * DAY]]}),
        ({"when": {"days": [2]}, **PRICES}, {"rates": SIX, "hours": [[DAY, 2 * DAY]]}),
        ({"when": {"region": "eu", "service_tier": "flex"}, **PRICES}, {"rates": SIX, "service_tier": "flex"}),
        ({"when": {"region": "us"}, **PRICES}, None),
        ({"when": {"outside_region": "us", "service_tier": "flex"}, **PRICES}, {"rates": SIX, "service_tier": "flex"}),
        ({"when": {"outside_region": "eu"}, **PRICES}, None),
        ({"when": {"outside_region": "us", "region": "us"}, **PRICES}, None),
        ({"when": {"days": [1]}, "usd_each": {"web_search": "0.01"}}, {"rates": {"web_search": 10**10}, "hours": [[0, DAY]]}),
        ({"when": {"service_tier": "flex"}, "usd_each": {"file_search": "1"}}, None),
    ],
)
def test_what_is_charged_by(row: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert [*made(row, region="eu")] == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("region", "rows", "prompt", "left"),
    [
        ("eu", [{"when": {"region": "eu"}, **PRICES}], 6_000_000, []),
        ("us", [{"when": {"region": "eu"}, **PRICES}], 3_000_000, []),
        ("eu", [{"when": {"outside_region": "global"}, **PRICES}], 6_000_000, []),
        ("global", [{"when": {"outside_region": "global"}, **PRICES}], 3_000_000, []),
        # What does not say where it is, is outside.
        ("", [{"when": {"outside_region": "global"}, **PRICES}], 6_000_000, []),
        # What came before it is no more, name by name; what comes after it stays.
        (
            "eu",
            [
                {"when": {"prompt_tokens_above": 9}, "usd_per_million": {"prompt": "5", "completion": "20"}},
                {"when": {"days": [1]}, "usd_per_million": {"prompt": "5"}},
                {"when": {"region": "eu"}, **PRICES},
                {"when": {"prompt_tokens_above": 99}, "usd_per_million": {"prompt": "7"}},
            ],
            6_000_000,
            [
                {"rates": {"completion": 20_000_000}, "prompt_tokens_above": 9},
                {"rates": {"prompt": 7_000_000}, "prompt_tokens_above": 99},
            ],
        ),
        ("eu", [{"when": {"region": "eu"}, "multiplier": "1.1"}], 3_300_000, []),
    ],
)
def test_what_always_holds_is_the_price_itself(region: str, rows: list[dict[str, Any]], prompt: int, left: list[Any]) -> None:
    made = price(UsdPerMillion(prompt="3", completion="15"), UsdEach(), overrides(*rows), region)
    assert made.prompt == prompt
    assert msgspec.json.decode(msgspec.json.encode(made)).get("overrides", []) == left


def test_multipliers_apply_after_all_others_and_round_up_once() -> None:
    """A third of three pico-dollars, twice: once rounded, not twice. Every other override gets its part of it, in their order."""
    rows = made(
        {"when": {"days": [1]}, "multiplier": "0.333333"},
        {"when": {"service_tier": "flex"}, **PRICES},
        {"when": {"prompt_tokens_above": 9}, "multiplier": "0.5"},
        prompt="0.000003",
    )
    third, half = 333_333, 500_000
    assert rows == [
        {"rates": SIX, "service_tier": "flex"},
        {"rates": {"prompt": 1, "completion": 5 * 10**6 - 5, "request": third * 1000}, "hours": [[0, DAY]]},
        {"rates": {"prompt": 6 * third}, "service_tier": "flex", "hours": [[0, DAY]]},
        {"rates": {"prompt": 2, "completion": 7_500_000, "request": half * 1000}, "prompt_tokens_above": 9},
        {"rates": {"prompt": 3_000_000}, "service_tier": "flex", "prompt_tokens_above": 9},
        {
            "rates": {"prompt": 1, "completion": 2_499_998, "request": 166_666_500},
            "prompt_tokens_above": 9,
            "hours": [[0, DAY]],
        },
        {"rates": {"prompt": 999_999}, "service_tier": "flex", "prompt_tokens_above": 9, "hours": [[0, DAY]]},
    ]
    # Tiers that exclude each other, and hours that never meet, make nothing.
    flex, priority = {"when": {"service_tier": "flex"}, **PRICES}, {"when": {"service_tier": "priority"}, "multiplier": "2"}
    assert [row["rates"] for row in made(flex, priority)] == [SIX, {"prompt": 6_000_000, "completion": 30_000_000, "request": 2 * 10**9}]
    monday, tuesday = {"when": {"days": [1]}, **PRICES}, {"when": {"days": [2]}, "multiplier": "2"}
    assert len(made(monday, tuesday)) == 2


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((), ((0, 60),), ((0, 60),)),
        (((0, 60),), ((30, 90),), ((30, 60),)),
        (((0, 60),), ((60, 90),), None),
        # Sunday night reaches into Monday.
        (((6 * DAY + 1320, 7 * DAY + 120),), ((60, 600),), ((60, 120),)),
        (((6 * DAY + 1320, 7 * DAY + 120),), ((6 * DAY, 7 * DAY),), ((6 * DAY + 1320, 7 * DAY),)),
    ],
)
def test_hours_that_both_hold(one: hours.Hours, other: hours.Hours, expected: hours.Hours | None) -> None:
    assert hours.both(one, other) == hours.both(other, one) == expected


def test_what_clients_are_shown() -> None:
    """OpenRouter's shape: its windows do not leave the day, and each of its tiers has prices of its own."""
    table = price(
        UsdPerMillion(prompt="3", completion="15", cache_read="0.3"),
        UsdEach(),
        overrides(
            {"when": {"prompt_tokens_above": 200_000}, "usd_per_million": {"prompt": "6", "completion": "22.5"}},
            {"when": {"service_tier": "flex"}, "usd_per_million": {"prompt": "1.5"}},
            {"when": {"utc": "22:30-01:00", "days": [1, 2]}, "usd_per_million": {"cache_read": "0.1"}},
            {"when": {"service_tier": "flex", "prompt_tokens_above": 200_000}, "usd_per_million": {"prompt": "4"}},
        ),
        "",
    )
    assert tiers(table) == ["flex"]
    night = [
        {"utc_days": ["tuesday", "wednesday"], "utc_start": 0, "utc_end": 100, "input_cache_read": "0.0000001"},
        {"utc_days": ["monday", "tuesday"], "utc_start": 2230, "utc_end": 0, "input_cache_read": "0.0000001"},
    ]
    assert pricing(table) == {
        "prompt": "0.000003", "completion": "0.000015", "input_cache_read": "0.0000003",
        "overrides": [{"min_prompt_tokens": 200_000, "prompt": "0.000006", "completion": "0.0000225"}, *night],
    }  # fmt: skip
    assert pricing(table, "flex") == {
        "prompt": "0.0000015", "completion": "0.000015", "input_cache_read": "0.0000003",
        "overrides": [
            # The prompt of flex does not become dearer by the usual tier's override, which stands before it.
            {"min_prompt_tokens": 200_000, "completion": "0.0000225"},
            *night,
            {"min_prompt_tokens": 200_000, "prompt": "0.000004"},
        ],
    }  # fmt: skip
    assert [words(row) for row in table.overrides] == [
        "prompt > 200000",
        "flex",
        "Tue,Wed 00:00-01:00 or Mon,Tue 22:30-24:00 UTC",
        "flex, prompt > 200000",
    ]
    weekdays = price(UsdPerMillion(prompt="1", completion="1"), UsdEach(), overrides({"when": {"days": [1, 2, 3, 4, 5]}, **PRICES}), "")
    assert words(weekdays.overrides[0]) == "Mon-Fri UTC"
    assert pricing(weekdays)["overrides"][0]["utc_days"] == ["monday", "tuesday", "wednesday", "thursday", "friday"]


LAB = """[providers.lab]
dialect = "openai_chat"
base_url = "http://127.0.0.1:9000/v1"
keys = ["secret"]
[models."acme/fast"]
[[models."acme/fast".endpoints]]
provider = "lab"
upstream_model = "gpt-x"
usd_per_million = { prompt = "3", completion = "15" }
[[models."acme/fast".endpoints.override]]
"""


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ('when = {}\nmultiplier = "2"', "11: {}.when: names no condition: what always holds is the price itself"),
        ("when = { prompt_tokens_above = 9 }", "10: {}: changes no price: give usd_per_million, usd_each or multiplier"),
        (
            'when = { prompt_tokens_over = 9 }\nmultiplier = "2"',
            '11: {}.when.prompt_tokens_over: unknown key "prompt_tokens_over"; did you mean "prompt_tokens_above"?',
        ),
        ('when = { utc = "10-11" }\nmultiplier = "2"', '11: {}.when.utc: expected hours such as "10:00-01:00", got "10-11"'),
        (
            'when = { utc = "10:00-24:00" }\nmultiplier = "2"',
            '11: {}.when.utc: "24:00" is no time of day: 00:00 to 23:59 are',
        ),
        (
            'when = { utc = "22:00-22:00" }\nmultiplier = "2"',
            '11: {}.when.utc: "22:00-22:00" ends when it begins: for whole days leave it out, or write "00:00-00:00"',
        ),
        ('when = { days = [0] }\nmultiplier = "2"', "11: {}.when.days[0]: expected an integer from 1 to 7, got 0"),
        (
            'when = { days = [] }\nmultiplier = "2"',
            "11: {}.when.days: is empty: name ISO weekdays, 1 (Monday) to 7, or leave it out for every day",
        ),
        (
            'when = { days = [1] }\nmultiplier = "1e3"',
            '12: {}.multiplier: expected a decimal number in quotes such as "0.5", at most six decimals, got "1e3"',
        ),
        (
            'when = { days = [1] }\nusd_per_million = { prompt = "0.0000001" }',
            '12: {}.usd_per_million.prompt: "0.0000001" is too precise: at most six decimals (a pico-dollar per token)',
        ),
    ],
)
def test_mistakes(rest: str, expected: str) -> None:
    file = Path("/etc/fairlead.toml")
    with pytest.raises(Mistakes) as caught:
        config.compile(config.read(LAB + rest, file, {}), shipped(), {}, today=TODAY)
    said = report.text(caught.value.problems).splitlines()
    assert said == ["/etc/fairlead.toml:" + expected.format('models."acme/fast".endpoints[0].override[0]')]


@pytest.mark.parametrize(
    ("where", "when", "said"),
    [
        (
            'region = "us"',
            'region = "eu"',
            'region: "eu" never holds: the endpoint is in "us"; correct one of the two, or leave this override out',
        ),
        (
            "",
            'region = "eu"',
            'region: "eu" never holds: neither the endpoint nor its provider says in which region it is; correct one of the two, or leave '
            "this override out",
        ),
        (
            'region = "us"',
            'outside_region = "us"',
            'outside_region: "us" never holds: the endpoint is in "us"; correct one of the two, or leave this override out',
        ),
        ('region = "eu"', 'region = "eu"', None),
        ('region = "eu"', 'outside_region = "us"', None),
        ("", 'outside_region = "us"', None),
        ('region = "us"', 'utc = "00:00-00:00"', None),
    ],
)
def test_a_place_where_the_endpoint_is_not(where: str, when: str, said: str | None) -> None:
    text = LAB.replace('upstream_model = "gpt-x"', f'upstream_model = "gpt-x"\n{where}') + f'when = {{ {when} }}\nmultiplier = "2"\n'
    compiled = config.compile(config.read(text, Path("/etc/fairlead.toml"), {}), shipped(), {}, today=TODAY)
    told = [(problem.path, problem.message) for problem in compiled.warnings]
    place = 'models."acme/fast".endpoints[0].override[0].when.'
    assert told == ([] if said is None else [(place + said.split(":")[0], said.split(": ", 1)[1])])


def test_a_file_is_charged_by_as_the_catalogue_is() -> None:
    text = LAB + 'when = { service_tier = "flex" }\nusd_per_million = { prompt = "1.5" }\n'
    compiled = config.compile(config.read(text, Path("/etc/fairlead.toml"), {}), shipped(), {}, today=TODAY)
    (endpoint,) = msgspec.json.decode(compiled.snapshot)["models"][0]["endpoints"]
    assert endpoint["price"]["overrides"] == [{"rates": {"prompt": 1_500_000}, "service_tier": "flex"}]
    assert compiled.models[0].endpoints[0].tier_pricing == {"flex": {"prompt": "0.0000015", "completion": "0.000015"}}


def test_the_catalogue_loses_no_override() -> None:
    """Every one that is in force and not about batches reaches the data plane, with its conditions."""
    environ = {"OPENAI_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "GEMINI_API_KEY": "k", "XAI_API_KEY": "k"}
    loaded = config.read("", Path("/etc/fairlead.toml"), environ)
    models = {model.id: model for model in config.compile(loaded, shipped(), environ, today=TODAY).models}
    (sol,) = (endpoint for endpoint in models["openai/gpt-5.6-sol"].endpoints if endpoint.provider == "openai")
    assert [(row.service_tier, row.prompt_tokens_above, row.rates.prompt) for row in sol.price.overrides] == [
        (None, 272_000, 8_000_000), ("fast", None, 8_000_000), ("fast", 272_000, 16_000_000), ("flex", None, 2_000_000),
        ("flex", 272_000, 4_000_000), ("priority", None, 8_000_000), ("priority", 272_000, 16_000_000),
    ]  # fmt: skip
    (pro,) = (endpoint for endpoint in models["deepseek/deepseek-v4-pro"].endpoints if endpoint.provider == "deepseek")
    assert len(pro.price.overrides) == 4 and all(row.hours and row.rates.prompt == 660_000 for row in pro.price.overrides)
