"""Feeds of three shapes against a small catalogue: what is new, changed, gone, left alone; and what is refused."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fairlead.catalog import Catalogue, current, feeds, shipped, synced
from fairlead.catalog.document import Mistakes
from fairlead.catalog.schema import (
    CatalogueEndpoint,
    DatedPrice,
    ModelFacts,
    ModelFile,
    Override,
    ProviderFacts,
    UsdPerMillion,
    When,
)
from fairlead.catalog.sync import Outcome, compare
from msgspec import structs

TODAY = date(2026, 11, 22)
OLD = DatedPrice(
    from_=date(2026, 11, 1),
    source="https://x",
    checked=date(2026, 11, 1),
    usd_per_million=UsdPerMillion(prompt="2", completion="8", cache_read="0.2"),
    override=[
        Override(when=When(prompt_tokens_above=200_000), usd_per_million=UsdPerMillion(prompt="4", completion="12")),
        Override(when=When(service_tier="batch"), usd_per_million=UsdPerMillion(prompt="1", completion="4")),
    ],
)
HOURLY = DatedPrice(
    from_=date(2026, 11, 1),
    source="https://x",
    checked=date(2026, 11, 1),
    usd_per_million=UsdPerMillion(prompt="2", completion="4"),
    override=[Override(when=When(utc="10:00-01:00"), multiplier="0.5")],
)


def small() -> Catalogue:
    """Two providers; a model at both, and one whose price depends on the hour."""
    both = [
        CatalogueEndpoint(provider=slug, upstream_model=name, price=[OLD])
        for slug, name in (("openai", "gpt-9"), ("openrouter", "openai/gpt-9"))
    ]
    hourly = [CatalogueEndpoint(provider="openai", upstream_model="night", price=[HOURLY])]
    files = {
        id: ModelFile(model=ModelFacts(id=id, name=id, context_tokens=1000), endpoint=endpoints)
        for id, endpoints in (("openai/gpt-9", both), ("openai/night", hourly))
    }
    slugs = ("openai", "openrouter")
    return Catalogue({slug: ProviderFacts(slug=slug, name=slug, base_url="http://h", dialects=["openai_chat"]) for slug in slugs}, files)


def openrouter(**models: tuple[str, str]) -> dict[str, Any]:
    def row(id: str, prompt: str, completion: str) -> dict[str, Any]:
        pricing = {"prompt": prompt, "completion": completion, "input_cache_read": "0.0000002"}
        return {"id": id, "name": f"O: {id}", "pricing": pricing, "context_length": 5000, "architecture": {"output_modalities": ["text"]}}

    return {"data": [row(f"openai/{name.replace('_', '-')}", *prices) for name, prices in models.items()]}


def models_dev(prompt: float, completion: float = 8, **cost: Any) -> dict[str, Any]:
    row = {
        "name": "GPT 9",
        "cost": {"input": prompt, "output": completion, **cost},
        "limit": {"context": 5000},
        "modalities": {"output": ["text"]},
    }
    return {"openai": {"models": {"gpt-9": row}}}


def litellm(prompt: float, **more: Any) -> dict[str, Any]:
    row = {
        "litellm_provider": "openai",
        "mode": "chat",
        "input_cost_per_token": prompt,
        "output_cost_per_token": 8e-06,
        "max_input_tokens": 9,
    }
    return {"sample_spec": {"litellm_provider": "one of …", "mode": "chat"}, "gpt-9": row | more}


def found(feed: dict[str, Any], catalogue: Catalogue | None = None) -> Outcome:
    return compare(catalogue or small(), feeds.read(json.dumps(feed).encode()), "https://feed", TODAY)


def kinds(outcome: Outcome) -> list[str]:
    return [f"{change.kind} {change.model} at {change.provider}" for change in outcome.changes]


def check(feed: dict[str, Any], expected: list[str]) -> None:
    assert kinds(found(feed)) == expected


def test_every_shape_is_known_and_compared() -> None:
    check(openrouter(gpt_9=("0.000002", "0.000008")), [])
    check(openrouter(gpt_9=("0.0000015", "0.000008")), ["changed openai/gpt-9 at openrouter"])
    check(models_dev(2), ["gone openai/night at openai"])
    check(models_dev(1.5), ["changed openai/gpt-9 at openai", "gone openai/night at openai"])
    check(litellm(2e-06), ["gone openai/night at openai"])
    check(litellm(2.0000000000000003e-06), ["gone openai/night at openai"])  # the dust of binary floats
    check(litellm(2.5e-06), ["changed openai/gpt-9 at openai", "gone openai/night at openai"])


def test_tiers_are_prices_too() -> None:
    same = {"input": 4, "output": 12}
    check(models_dev(2, context_over_200k=same), ["gone openai/night at openai"])
    outcome = found(models_dev(2, context_over_200k={"input": 5, "output": 12}))
    assert kinds(outcome)[0] == "changed openai/gpt-9 at openai"
    (line,) = outcome.lines
    assert isinstance(line, synced.SyncedPrices)
    first, second = line.price[0].override
    assert (first.usd_per_million or UsdPerMillion()).prompt == "5"
    assert second.when.service_tier == "batch"  # what the feed does not speak of stays


def test_a_changed_price_is_a_further_dated_block() -> None:
    (line,) = found(models_dev(1.5)).lines
    catalogue = synced.laid_over(small(), [line])
    old, new = catalogue.models["openai/gpt-9"].endpoint[0].price
    assert (old.from_, old.usd_per_million.prompt) == (date(2026, 11, 1), "2")
    assert (new.from_, new.checked, new.source) == (TODAY, TODAY, "https://feed")
    assert (new.usd_per_million.prompt, new.usd_per_million.completion, new.usd_per_million.cache_read) == ("1.5", "8", "0.2")
    assert len(catalogue.models["openai/gpt-9"].endpoint[1].price) == 1
    assert found(models_dev(1.5), catalogue).lines == ()
    (again,) = found(models_dev(1.25), catalogue).lines
    (kept,) = synced.extended([line], [again])  # the same day: one block
    assert isinstance(kept, synced.SyncedPrices) and kept.price[0].usd_per_million.prompt == "1.25"


def test_a_price_that_depends_on_the_hour_is_left_alone() -> None:
    row = {"cost": {"input": 1, "output": 2}, "modalities": {"output": ["text"]}}
    outcome = found({"openai": {"models": {"night": row}}})
    assert kinds(outcome) == ["left openai/night at openai", "gone openai/gpt-9 at openai"]
    assert outcome.lines == ()


def test_new_models_are_taken_where_their_id_is_certain() -> None:
    outcome = found(openrouter(gpt_9=("0.000002", "0.000008"), gpt_10=("0.000003", "0.000009")))
    assert kinds(outcome) == ["new openai/gpt-10 at openrouter"]
    (line,) = outcome.lines
    catalogue = synced.laid_over(small(), [line])
    model = catalogue.models["openai/gpt-10"]
    assert (model.model.context_tokens, model.endpoint[0].price[0].usd_per_million.prompt) == (5000, "3")
    assert kinds(found(openrouter(gpt_9=("0.000002", "0.000008"), gpt_10=("0.000003", "0.000009")), catalogue)) == []
    row = {"cost": {"input": 1, "output": 2}, "limit": {"context": 9}, "modalities": {"output": ["text"]}}
    check(
        {"openai": {"models": {"gpt-11": row, "gpt-11-2026-01-01": row, "gpt-11-preview": row}}, "elsewhere": {"models": {"x": row}}},
        ["new openai/gpt-11 at openai", "gone openai/gpt-9 at openai", "gone openai/night at openai"],
    )


def test_zero_is_unknown_unless_the_id_says_free() -> None:
    check(openrouter(gpt_9=("0.000002", "0.000008"), gpt_10=("0", "0")), [])
    check(openrouter(gpt_9=("0.000002", "0.000008"), **{"gpt-10:free": ("0", "0")}), ["new openai/gpt-10:free at openrouter"])
    outcome = found(models_dev(1.5, cache_read=0))
    (line,) = outcome.lines
    assert isinstance(line, synced.SyncedPrices) and line.price[0].usd_per_million.cache_read == "0.2"
    check(openrouter(gpt_9=("0.000002", "0.000008"), auto=("-1", "-1")), [])


def refused(feed: dict[str, Any]) -> dict[str, str]:
    """Model → why, of what is refused; nothing of it is written, and the others are looked at as ever."""
    outcome = found(feed)
    why = {change.model: change.why for change in outcome.changes if change.kind == "refused"}
    assert not why.keys() & {line.model if isinstance(line, synced.SyncedPrices) else line.file.model.id for line in outcome.lines}
    return why


def named(id: str, prompt: str = "0.000003") -> dict[str, Any]:
    """OpenRouter's feed with the model that is known, unchanged, and this one."""
    feed = openrouter(gpt_9=("0.000002", "0.000008"), x=(prompt, "0.000009"))
    feed["data"][1]["id"] = id
    return feed


@pytest.mark.parametrize(
    ("feed", "expected"),
    [
        # Per token where per million is expected, and the reverse; a real fall in price is none of them.
        (models_dev(0.000002, 0.000008), {"openai/gpt-9": "prompt was 2 and would be 0.000002 $/M; is it in the wrong unit?"}),
        (models_dev(2, 900), {"openai/gpt-9": "completion was 8 and would be 900 $/M; is it in the wrong unit?"}),
        (openrouter(gpt_9=("0.03", "0.04")), {"openai/gpt-9": "prompt was 2 and would be 30000 $/M; is it in the wrong unit?"}),
        (models_dev(0.021, 0.081), {}),
        (models_dev(2, context_over_200k={"input": 0.000004, "output": 12}), {"openai/gpt-9": "prompt was 2 and would be 0.000004"}),
        (named("acme/new", "0.05"), {"acme/new": "prompt would be 50000 $/M, which no model costs"}),
        (named("acme/new", "0.000000000002"), {"acme/new": "prompt would be 0.000002 $/M, which no model costs"}),
        # A router's price is for routers.
        (named("acme/new", "-1"), {}),
        (named("openrouter/auto", "-1"), {}),
        ({"data": [*openrouter(gpt_9=("-1", "-1"))["data"], *named("acme/new")["data"][1:]]}, {"openai/gpt-9": "its price is -1"}),
        # Ids that are none.
        (named("no-author"), {"'no-author'": "its id is malformed"}),
        (named("a/b/c"), {"'a/b/c'": "its id is malformed"}),
        (named("a/b c"), {"'a/b c'": "its id is malformed"}),
        (named("a/\x1b[2J"), {"'a/\\x1b[2J'": "its id is malformed"}),
        (named(f"a/{'b' * 300}"), {f"'a/{'b' * 77}": "its id is malformed"}),
        (named("acme/new:thinking"), {}),
        ({"gpt-9": litellm(2e-06)["gpt-9"], "a b": litellm(2e-06)["gpt-9"]}, {"'a b'": "its id is malformed"}),
        # Two of a feed's names for one of ours.
        (litellm(2e-06) | {"openai/gpt-9": litellm(3e-06)["gpt-9"]}, {"openai/gpt-9": "it is in the feed twice, with other prices"}),
        (litellm(2e-06) | {"openai/gpt-9": litellm(2e-06)["gpt-9"]}, {}),
    ],
)
def test_what_cannot_be_right_is_refused(feed: dict[str, Any], expected: dict[str, str]) -> None:
    why = refused(feed)
    assert why.keys() == expected.keys() and all(said in why[model] for model, said in expected.items()), why


def test_what_is_refused_stops_nothing_else() -> None:
    feed = named("acme/new", "0.05")
    feed["data"][0]["pricing"]["prompt"] = "0.0000015"
    outcome = found(feed)
    assert kinds(outcome) == ["refused acme/new at openrouter", "changed openai/gpt-9 at openrouter"] and len(outcome.lines) == 1


def test_an_id_twice_in_openrouters_feed() -> None:
    feed = openrouter(gpt_9=("0.0000015", "0.000008"))
    feed["data"] *= 2
    check(feed, ["changed openai/gpt-9 at openrouter"])
    feed["data"][1] = openrouter(gpt_9=("0.000001", "0.000008"))["data"][0]
    with pytest.raises(feeds.BadFeed, match=r"data\[1\] \(openai/gpt-9\): is in the feed twice, with other prices"):
        found(feed)


def test_nothing_is_written_that_could_not_be_read() -> None:
    (line,) = found(named("acme/new")).lines
    synced.check(line)
    assert isinstance(line, synced.SyncedModel)
    line = synced.SyncedModel(file=structs.replace(line.file, model=structs.replace(line.file.model, id="no id")))
    with pytest.raises(ValueError, match=r"at `\$.file.model.id`"):
        synced.check(line)


def wrong(**members: Any) -> dict[str, Any]:
    """OpenRouter's feed with these members of its model, or of what it costs."""
    feed = openrouter(gpt_9=("0.000002", "0.000008"))
    row = feed["data"][0]
    for name, value in members.items():
        (row["pricing"] if name == "overrides" else row)[name] = value
    return feed


def test_a_modality_that_is_no_word_is_none_that_is_known() -> None:
    check(wrong(architecture={"input_modalities": ["image", ["text"], {}, 7], "output_modalities": ["text", []]}), [])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{}", "none of the shapes"),
        (b'[{"id": 1}]', "none of the shapes"),
        (json.dumps(openrouter(gpt_9=("cheap", "1"))).encode(), 'data[0] (openai/gpt-9).pricing.prompt: expected a price, got "cheap"'),
        (json.dumps(openrouter(gpt_9=("0.000001", "NaN"))).encode(), "data[0] (openai/gpt-9).pricing.completion: NaN is no price"),
        (json.dumps(openrouter(gpt_9=("0.000001", "2"))).encode(), "data[0] (openai/gpt-9).pricing.completion: 2 is no price"),
        (json.dumps(openrouter(gpt_9=("-0.5", "0"))).encode(), "data[0] (openai/gpt-9).pricing.prompt: -0.5 is no price"),
        (
            json.dumps(models_dev(2e-7)).encode(),
            "openai.models.gpt-9.cost.input: 2E-7 is less than can be charged; is it in the wrong unit?",
        ),
        (json.dumps(models_dev(-1)).encode(), "openai.models.gpt-9.cost.input: -1 is no price"),
        (json.dumps(models_dev(2, cache_read=[1])).encode(), "openai.models.gpt-9.cost.cache_read: expected a price"),
        (json.dumps(litellm(1e-06, max_input_tokens="many")).encode(), 'gpt-9.max_input_tokens: expected a number of tokens, got "many"'),
        (json.dumps(litellm(1e-06, max_input_tokens="1e999999999999")).encode(), "gpt-9.max_input_tokens: expected a number of tokens"),
        (json.dumps(wrong(top_provider=[])).encode(), "data[0] (openai/gpt-9).top_provider: expected a table"),
        (json.dumps(wrong(overrides=7)).encode(), "data[0] (openai/gpt-9).pricing.overrides: expected a list of tables"),
        (json.dumps(wrong(overrides=[None])).encode(), "data[0] (openai/gpt-9).pricing.overrides: expected a list of tables"),
        (json.dumps({"data": [{"id": "a/b", "pricing": {}}, {"pricing": {}}]}).encode(), 'data[1]: "id" is missing'),
        (json.dumps({"data": [{"id": "a/b", "pricing": {"prompt": "0"}}]}).encode(), "no model with a price"),
    ],
)
def test_a_feed_with_a_mistake_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(feeds.BadFeed) as caught:
        feeds.read(data)
    assert expected in str(caught.value)


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    lines = [*found(models_dev(1.5)).lines, *found(openrouter(gpt_9=("0.000002", "0.000008"), gpt_10=("0.000003", "0.000009"))).lines]
    synced.write(tmp_path / synced.NAME, lines)
    assert synced.read(tmp_path / synced.NAME) == lines
    assert current(tmp_path).models["openai/gpt-10"].model.name == "openai/gpt-10"
    assert current(tmp_path / "nowhere") is shipped()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "Input data was truncated"),
        ('{"kind":"prices","model":"a/b","provider":"x","upstream_model":"y","price":[]}', "length >= 1"),
        (
            '{"kind":"prices","model":"a/b","provider":"x","upstream_model":"y","price":[{"from":"2026-01-01","source":"s",'
            '"checked":"2026-01-01","usd_per_million":{"prompt":"1.23456789","completion":"1"}}]}',
            "too precise",
        ),
    ],
)
def test_a_damaged_file_says_where(tmp_path: Path, text: str, expected: str) -> None:
    good = found(models_dev(1.5)).lines
    path = tmp_path / synced.NAME
    synced.write(path, good)
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(Mistakes) as caught:
        current(tmp_path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line) == (str(path), 2)
    assert expected in problem.message and "fetch it anew" in problem.message
