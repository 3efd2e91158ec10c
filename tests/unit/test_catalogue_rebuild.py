"""The rebuild of the catalogue: what is taken, what wins, what stops it, and that the same input gives the same bytes."""

import json
import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fairlead.catalog import shipped

from tools.catalogue import gather, rebuild
from tools.catalogue.choose import choose
from tools.catalogue.describe import describe
from tools.catalogue.facts import COLUMNS, read_table
from tools.catalogue.rules import read as read_rules
from tools.catalogue.sources import View, feed, pi_ai

TODAY = date(2026, 11, 21)
RULES = read_rules(rebuild.HERE / "rules.toml")
ROW = {
    "model": "openai/gpt-9", "provider": "openai", "upstream_model": "gpt-9", "mode": "chat", "context": "100000", "max_output": "8000",
    "capabilities": "tools,structured_outputs,!sampling", "reasoning": "effort", "efforts": "none,low,high",
    "prompt": "2", "completion": "8", "cache_read": "0.2",
    "price_source": "genai-prices", "price_source_date": "2026-11-10", "price_url": "https://openai.com/p", "agree": "3/3",
}  # fmt: skip


def table(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "facts.tsv"
    lines = ["\t".join(COLUMNS), *("\t".join((ROW | row).get(column, "") for column in COLUMNS) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def described(folder: Path, *rows: dict[str, str]) -> dict[str, Any]:
    """The one model that these rows make; nothing where they make none."""
    chosen = choose(read_table(table(folder, *rows)), TODAY)
    return describe(*chosen.values(), RULES) if chosen else {}


def test_a_model_as_its_home_describes_it(tmp_path: Path) -> None:
    found = described(
        tmp_path,
        {"tiers": ">200000:prompt=4,completion=12", "variants": "batch:prompt=1,completion=4|>200000:prompt=2"},
        {"upstream_model": "gpt-9-2026-10-01", "model": "openai/gpt-9-2026-10-01"},
        {"provider": "openrouter", "upstream_model": "openai/gpt-9", "prompt": "1", "conflicts": "models.dev:prompt=3 litellm:prompt=2.5"},
    )
    assert found["model"]["aliases"] == ["gpt-9", "gpt-9-2026-10-01", "openai/gpt-9-2026-10-01"]
    assert (found["model"]["context_tokens"], found["model"]["max_completion_tokens"]) == (100_000, 8_000)
    assert found["capabilities"]["parameters_refused"] == ["temperature", "top_p", "top_k"]
    assert found["reasoning"] == {"style": "effort", "efforts": ["none", "low", "high"], "can_disable": True}
    home, router = found["endpoint"]
    assert home["price"][0]["usd_per_million"] == {"prompt": "2", "completion": "8", "cache_read": "0.2"}
    assert [override["when"] for override in home["price"][0]["override"]] == [
        {"prompt_tokens_above": 200_000},
        {"service_tier": "batch"},
        {"service_tier": "batch", "prompt_tokens_above": 200_000},
    ]
    assert router["price"][0]["usd_per_million"]["prompt"] == "3"  # its price moves: the dearest bounds a reservation


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "0", "completion": "0"},  # unknown, unless the id says free
        {"prompt": "0"},
        {"prompt": "", "completion": ""},
        {"deprecation_date": "2026-11-20"},  # gone
        {"mode": "image_generation"},
        {"model": "openai/other?", "upstream_model": "something-else"},  # a guess that nothing confirms
        {"model": "openai/gpt-9-latest", "upstream_model": "gpt-9-latest"},
        {"agree": "1/1"},  # one list alone
        {"provider": "nobody"},
    ],
)
def test_what_is_not_taken(tmp_path: Path, row: dict[str, str]) -> None:
    assert described(tmp_path, {}) != {}
    assert described(tmp_path, row) == {}


def test_free_models_are_free(tmp_path: Path) -> None:
    row = {
        "model": "acme/x:free",
        "provider": "openrouter",
        "upstream_model": "acme/x:free",
        "prompt": "0",
        "completion": "0",
        "cache_read": "",
    }
    assert described(tmp_path, row)["endpoint"][0]["price"][0]["usd_per_million"] == {"prompt": "0", "completion": "0"}


@pytest.mark.parametrize(
    ("row", "quirks"),
    [
        ({"reasoning": "none", "efforts": ""}, ["no_encrypted_reasoning"]),
        ({"model": "openai/gpt-6.2-x", "upstream_model": "gpt-6.2-x"}, ["no_thinking_chat_tools", "cache_breakpoints"]),
        (
            {"model": "google/gemini-3.9", "provider": "google-ai-studio", "upstream_model": "gemini-3.9"},
            ["thinking_level", "thought_signatures"],
        ),
        (
            {"model": "google/gemini-2.6", "provider": "google-ai-studio", "upstream_model": "gemini-2.6"},
            ["no_media_results", "schema_without_tools"],
        ),
        (
            {"model": "anthropic/claude-ode-5.5", "provider": "anthropic", "upstream_model": "claude-ode-5-5"},
            ["native_schema", "block_binding"],
        ),
    ],
)
def test_quirks_follow_from_rules(tmp_path: Path, row: dict[str, str], quirks: list[str]) -> None:
    assert described(tmp_path, row)["endpoint"][0]["quirks"] == quirks


def test_an_uplift_is_a_price_of_every_token_once_more(tmp_path: Path) -> None:
    row = {
        "model": "anthropic/claude-ode-5.5", "provider": "google-vertex", "upstream_model": "claude-ode-5-5",
        "tiers": ">100000:prompt=4", "other_prices": "per_1000_web_searches=10",
    }  # fmt: skip
    home = row | {"provider": "anthropic"}
    _, endpoint = described(tmp_path, home, row)["endpoint"]
    assert (endpoint["dialect"], endpoint["quirks"]) == ("anthropic_messages", ["block_binding"])
    assert endpoint["price"][0]["override"] == [
        {"when": {"prompt_tokens_above": 100_000}, "usd_per_million": {"prompt": "4"}},
        {"when": {"outside_region": "global"}, "usd_per_million": {"prompt": "2.2", "completion": "8.8", "cache_read": "0.22"}},
        {"when": {"prompt_tokens_above": 100_000, "outside_region": "global"}, "usd_per_million": {"prompt": "4.4"}},
    ]
    assert "usd_each" in endpoint["price"][0]


def run(folder: Path, overlay: Path | None = None, *rows: dict[str, str]) -> int:
    words = ["--table", str(table(folder, *rows)), "--as-of", "2026-11-21", "--models", str(folder / "catalog/models")]
    return rebuild.main([*words, "--overlay", str(overlay or folder / "none")])


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rebuild with one flagship and a catalogue of its own."""
    (tmp_path / "accepted.toml").write_text('flagships = ["openai/gpt-9"]\n')
    (tmp_path / "rules.toml").write_text((rebuild.HERE / "rules.toml").read_text())
    monkeypatch.setattr(rebuild, "HERE", tmp_path)
    (tmp_path / "catalog/providers").mkdir(parents=True)
    (tmp_path / "catalog/models").mkdir(parents=True)
    text = '[provider]\nslug = "openai"\nname = "O"\nbase_url = "http://h/v1"\ndialects = ["openai_chat"]\n'
    (tmp_path / "catalog/providers/openai.toml").write_text(text)
    return tmp_path


def test_a_new_conflict_among_the_flagships_stops_it(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"conflicts": "litellm:prompt=3"}
    assert run(house, None, row) == 1
    assert "openai/gpt-9 at openai: genai-prices says prompt=2,completion=8,cache_read=0.2, but litellm:prompt=3" in capsys.readouterr().err
    assert not (house / "catalog/models/openai").exists()
    accepted = '[[accepted]]\nmodel = "openai/gpt-9"\nprovider = "openai"\nconflict = "litellm:prompt=3"\nreason = "old"\non = 2026-11-21\n'
    (house / "accepted.toml").write_text('flagships = ["openai/gpt-9"]\n' + accepted)
    assert run(house, None, row) == 0
    assert run(house, None, {"conflicts": "litellm:prompt=4"}) == 1
    assert run(house, None, {"model": "openai/gpt-8", "upstream_model": "gpt-8"}) == 1
    assert "openai/gpt-9: a flagship that no source lists any more" in capsys.readouterr().err


def test_old_prices_stay_and_the_same_input_gives_the_same_bytes(house: Path) -> None:
    path = house / "catalog/models/openai/gpt-9.toml"
    assert run(house, None, {}) == 0
    first = path.read_bytes()
    assert run(house, None, {}) == 0
    assert path.read_bytes() == first
    assert run(house, None, {"price_source_date": "2026-11-15"}) == 0
    assert path.read_bytes() == first  # checked again, nothing new
    assert run(house, None, {"prompt": "1.5", "price_source_date": "2026-11-15"}) == 0
    old, new = tomllib.loads(path.read_text())["endpoint"][0]["price"]
    assert (old["from"], old["usd_per_million"]["prompt"]) == (date(2026, 11, 10), "2")
    assert (new["from"], new["usd_per_million"]["prompt"]) == (date(2026, 11, 15), "1.5")
    assert run(house, None, {"prompt": "9", "price_source_date": "2026-11-01"}) == 0  # older than what is known
    assert len(tomllib.loads(path.read_text())["endpoint"][0]["price"]) == 2


def test_what_was_checked_by_hand_wins(house: Path) -> None:
    run(house, None, {})
    overlay = house / "overlay"
    overlay.mkdir()
    text = (house / "catalog/models/openai/gpt-9.toml").read_text()
    checked = text.replace('prompt = "2"', 'prompt = "7"').replace('aliases = ["gpt-9"]', 'aliases = ["gpt-9", "openai/gpt-8"]')
    (overlay / "x.toml").write_text(checked.replace('"gpt-9"\n[[', '"gpt-9"\nquirks = ["no_seed"]\n[['))
    (house / "catalog/models/openai/gpt-9.toml").unlink()
    assert run(house, overlay, {}, {"model": "openai/gpt-8", "upstream_model": "gpt-8"}) == 0
    found = tomllib.loads((house / "catalog/models/openai/gpt-9.toml").read_text())
    (endpoint,) = found["endpoint"]
    assert (endpoint["quirks"], endpoint["price"][0]["usd_per_million"]["prompt"]) == (["no_seed"], "7")
    assert found["model"]["aliases"] == ["gpt-9", "openai/gpt-8"]
    assert not (house / "catalog/models/openai/gpt-8.toml").exists()


def test_nothing_that_was_checked_by_hand_is_lost() -> None:
    for path in sorted((rebuild.HERE / "overlay").rglob("*.toml")):
        checked = tomllib.loads(path.read_text())
        model = shipped().models[checked["model"]["id"]]
        assert {*checked["model"]["aliases"]} <= {*model.model.aliases}
        served = {(endpoint.provider, endpoint.upstream_model): endpoint for endpoint in model.endpoint}
        for endpoint in checked["endpoint"]:
            kept = served[endpoint["provider"], endpoint["upstream_model"]]
            assert kept.quirks == endpoint.get("quirks", []), path
            assert kept.price[0].usd_per_million.prompt == endpoint["price"][0]["usd_per_million"]["prompt"], path


def test_a_bad_cell_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 3, context: "):
        read_table(table(tmp_path, {}, {"context": "many"}))
    with pytest.raises(ValueError, match="line 2, "):
        read_table(table(tmp_path, {"prompt": "cheap"}))


# --- gathering --------------------------------------------------------------------------------------------------------


def view(prompt: str, completion: str, **more: Any) -> View:
    rest = {name: Decimal(text) for name, text in more.pop("rest", {}).items()}
    return View({"prompt": Decimal(prompt), "completion": Decimal(completion)} | rest, **more)


def refreshed(row: dict[str, str], **views: View) -> dict[str, str]:
    """A row after the sources, each of 2026-11-15."""
    full = dict.fromkeys(COLUMNS, "") | ROW | row
    key = (full["provider"], full["upstream_model"])
    gather.refresh(full, {name.replace("_", "-"): (date(2026, 11, 15), {key: found}) for name, found in views.items()})
    return full


def test_the_most_trusted_source_wins_and_others_are_heard() -> None:
    row = refreshed({}, genai_prices=view("1", "8"), litellm=view("1.003", "8"), pi_ai=view("2", "8"))
    assert (row["prompt"], row["price_source"], row["price_source_date"]) == ("1", "genai-prices", "2026-11-15")
    assert (row["conflicts"], row["agree"]) == ("pi-ai:prompt=2,completion=8", "2/3")
    moving = refreshed({"provider": "openrouter"}, genai_prices=view("1", "8"), pi_ai=view("2", "8"))
    assert (moving["prompt"], moving["price_source"]) == ("2", "pi-ai")


def test_what_one_source_leaves_out_another_says() -> None:
    tiers = {200_000: {"prompt": Decimal(2)}}
    row = refreshed({}, genai_prices=view("1", "8"), litellm=view("1", "8", rest={"cache_write": "1.25"}, tiers=tiers))
    assert (row["cache_write"], row["tiers"]) == ("1.25", ">200000:prompt=2")
    assert refreshed({}, genai_prices=view("1", "8"), litellm=view("3", "8", rest={"cache_write": "4"}))["cache_write"] == ""


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"windows": "days12345 00:00-01:00:prompt=1"}, view("9", "9")),
        ({}, view("9", "9", by_the_hour=True)),
        ({"price_source_date": "2026-11-16"}, view("9", "9")),
    ],
)
def test_rows_that_stay(row: dict[str, str], found: View) -> None:
    assert refreshed(row, litellm=found)["prompt"] == "2"


def test_sources_are_read(tmp_path: Path) -> None:
    (tmp_path / "zai.json").write_text(
        json.dumps(
            {"openai-completions": {"chat:glm": {"type": "chat", "id": "glm", "cost": {"input": 1.4, "output": 4.4, "cacheRead": 0}}}}
        )
    )
    (found,) = pi_ai(tmp_path).items()
    assert found == (("z-ai", "glm"), View({"prompt": Decimal("1.4"), "completion": Decimal("4.4")}))
    row = {"litellm_provider": "zai", "mode": "chat", "input_cost_per_token": 1.4e-06, "output_cost_per_token": 4.4e-06}
    (tmp_path / "litellm").write_text(
        json.dumps({"zai/glm": row, "zai/none": row | {"input_cost_per_token": 0, "output_cost_per_token": 0}})
    )
    assert [*feed(tmp_path / "litellm")] == [("z-ai", "glm")]


def test_a_gathered_table_is_read_again(tmp_path: Path) -> None:
    source = tmp_path / "litellm.json"
    row = {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 3e-06, "output_cost_per_token": 8e-06}
    source.write_text(json.dumps({"gpt-9": row}))
    words = ["--onto", str(table(tmp_path, {})), "--out", str(tmp_path / "out.tsv"), "--as-of", "2026-11-21", "--litellm", str(source)]
    assert gather.main(words) == 2  # a price without a day
    assert gather.main([*words, "--litellm-date", "2026-11-20"]) == 0
    (fact,) = read_table(tmp_path / "out.tsv")
    assert (fact.prices["prompt"], fact.source, fact.source_date) == (Decimal(3), "litellm", date(2026, 11, 20))


def test_the_shipped_files_are_what_a_rebuild_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert rebuild.main(["--table", str(rebuild.HERE / "facts.tsv"), "--as-of", "2026-11-21", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert out == "" and err.endswith(" models, 0 changed\n")
