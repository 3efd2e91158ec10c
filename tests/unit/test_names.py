"""Presets and splits that are made at run time: judged as the file's are, beside them, and kept with all their versions."""

import copy
import json
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fairlead import config
from fairlead.catalog import shipped
from fairlead.catalog.document import Mistakes
from fairlead.config import Compiled, Loaded, made
from fairlead.config.made import Made, with_made
from fairlead.control import names as beside
from fairlead.control.db import Database, names
from fairlead.control.db.names import Version
from hypothesis import given
from hypothesis import strategies as st
from test_config_routing import FILE, LAB

PRESETS = {
    "plain": "model = 'nick:nitro'",
    "chain": "models = ['acme/fast', 'acme/fast:big', 'sim/echo']\nprovider = { sort = 'price', max_price = { prompt = '2.50' } }",
    "fields": "temperature = 0.5\nsystem_prompt = 'Be short.'\nmetadata = { team = 'red' }",
    "own": "model = 'sim/echo'\nroute = 'fallback'\nstrict_translation = true\ncache_enabled = false\ncache_ttl_seconds = 60",
    "unknown field": "model = 'sim/echo'\nrepetition_depth = 3",
    "unknown model": "model = 'acme/fats'",
    "unknown model in a list": "models = ['acme/fast', 'acme/fats']",
    "twice": "models = ['acme/fast', 'nick']",
    "model and models": "model = 'acme/fast'\nmodels = ['acme/fast']",
    "no models": "models = []",
    "nothing": "",
    "misspelt": "modle = 'acme/fast'",
    "a preset": "model = '@preset/plain'",
    "a router": "model = 'openrouter/auto'",
    "suffix": "model = 'acme/fast:nitr'",
    "suffixes": "model = 'acme/fast:nitro:floor'",
    "not free": "model = 'acme/fast:free'",
    "provider": "model = 'acme/fast'\nprovider = { only = ['lap'] }",
    "provider key": "provider = { onyl = ['lab'] }",
    "provider type": "provider = { zdr = 'yes' }",
    "leaves nothing": "model = 'acme/fast'\nprovider = { only = ['sim'] }",
    "price": "provider = { max_price = { prompt = 'cheap' } }",
    "tiny price": "provider = { max_price = { prompt = 0.000001 } }",
    "range": "temperature = 3",
    "several": "temperature = 3\ntop_p = -1\nseed = 'x'",
    "type": "model = 5",
    "of requests": "messages = []",
    "of other dialects": "max_output_tokens = 5",
    "not built": "transforms = ['middle-out']",
    "not built in provider": "provider = { options = { x = 1 } }",
    "together": "max_tokens = 5\nmax_completion_tokens = 5",
    "tools": "tools = [{ type = 'function' }]",
    "large": "seed = 99999999999999999999",
    "ttl": "cache_ttl_seconds = 0",
}
SPLITS = {
    "fine": "arms = [{ model = 'acme/fast:floor', weight = 90 }, { model = 'sim/fast', weight = 0 }]",
    "no arms": "arms = []",
    "nothing": "",
    "no weight": "arms = [{ model = 'acme/fast', weight = 0 }]",
    "negative": "arms = [{ model = 'acme/fast', weight = -1 }]",
    "share": "arms = [{ model = 'acme/fast', weight = 0.5 }]",
    "text": "arms = [{ model = 'acme/fast', weight = '5' }]",
    "unknown": "arms = [{ model = 'acme/fats', weight = 1 }]",
    "twice": "arms = [{ model = 'acme/fast', weight = 1 }, { model = 'nick', weight = 1 }]",
    "a split": "arms = [{ model = 'acme/x', weight = 1 }]",
    "key": "arms = [{ modle = 'acme/fast', weight = 1 }]",
    "more": "arms = [{ model = 'acme/fast', weight = 1 }]\nname = 'x'",
}
NAMES = {
    "presets": ["x y", "", "x" * 65, "é"],
    "splits": ["acme/fast", "nick", "openrouter/acme/fast", "openrouter/auto", "a b", "-x", "x" * 201],
}


def compiled(text: str = "") -> tuple[Loaded, Compiled]:
    loaded = config.read(LAB + text, FILE, {})
    return loaded, config.compile(loaded, shipped(), {}, today=date(2026, 11, 21))


def said(problems: Any) -> list[tuple[str, str, str]]:
    return sorted((problem.path, problem.message, problem.severity) for problem in problems)


def of_file(text: str) -> list[tuple[str, str, str]]:
    try:
        return said(compiled(text)[1].warnings)
    except Mistakes as mistakes:
        return said(mistakes.problems)


def cases() -> Iterator[tuple[str, str, str]]:
    for table, found in (("presets", PRESETS), ("splits", SPLITS)):
        for text in found.values():
            yield table, "acme/x" if table == "splits" else "x", text
    for name in NAMES["presets"]:
        yield "presets", name, PRESETS["plain"]
    for name in NAMES["splits"]:
        yield "splits", name, SPLITS["fine"]


BASE = compiled()[1]


@pytest.mark.parametrize(("table", "name", "text"), [*cases()])
def test_what_is_made_is_judged_as_what_is_written(table: str, name: str, text: str) -> None:
    """The same words at the same paths, and the same for the data plane."""
    written = f"[{table}.{json.dumps(name, ensure_ascii=False)}]\n{text}\n"
    definition = tomllib.loads(text)
    before = copy.deepcopy(definition)
    judged, problems = BASE.routes.made(table, name, definition)
    expected = of_file(written)
    common = said(BASE.warnings)
    assert said(problems) == [line for line in expected if line not in common]
    assert definition == before
    if judged is not None:
        [own] = json.loads(compiled(written)[1].snapshot)[table]
        kind = "preset" if table == "presets" else "split"
        [other] = json.loads(with_made(BASE, [Made(kind, name, definition)]).snapshot)[table]
        assert other == own
    else:
        assert any(line[2] == "error" for line in expected)


def test_the_table_has_both() -> None:
    """Good ones, doubtful ones and wrong ones; so that the test above compares something."""
    found = [BASE.routes.made(table, name, tomllib.loads(text)) for table, name, text in cases()]
    assert sum(judged is not None for judged, _ in found) == 7 and sum(judged is not None and bool(p) for judged, p in found) == 2
    assert all(made.errors(problems) for judged, problems in found if judged is None)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_keys = st.sampled_from(["model", "models", "provider", "route", "temperature", "tools", "arms", "max_tokens", "reasoning", "x"])


@given(st.sampled_from(["presets", "splits"]), st.dictionaries(_keys | st.text(max_size=5), _json, max_size=4))
def test_whatever_json_it_is_there_is_a_verdict(table: str, definition: dict[str, Any]) -> None:
    before = copy.deepcopy(definition)
    judged, problems = BASE.routes.made(table, "acme-x", definition)
    assert (judged is None) == bool(made.errors(problems))
    assert definition == before


def test_null_is_not_said_and_references_are_the_files_alone() -> None:
    judged, problems = BASE.routes.made("presets", "x", {"model": "sim/echo", "route": None, "system_prompt": "env:HOME"})
    assert judged is not None and not problems
    assert judged.fields == {"system_prompt": "env:HOME"} and judged.route is None  # type: ignore[union-attr]


# --- beside the file ------------------------------------------------------------------------------------------------------


def test_the_snapshot_has_both_and_says_which() -> None:
    _, base = compiled("[presets.own]\nmodel = 'sim/echo'\n")
    more = [Made("preset", "x", {"model": "acme/fast"}), Made("split", "acme/x", {"arms": [{"model": "sim/echo", "weight": 1}]})]
    whole = with_made(base, [*more, Made("preset", "bad", {"model": "no/such"}), Made("preset", "own", {"model": "acme/fast"})], 7)
    snapshot = json.loads(whole.snapshot)
    assert snapshot["version"] == 7 and [each["name"] for each in snapshot["presets"]] == ["own", "x"]
    assert [each["name"] for each in snapshot["splits"]] == ["acme/x"]
    # Of a name that the file has the file's stays.
    assert [(view.name, view.source, view.models) for view in whole.presets] == [
        ("own", "file", ("sim/echo",)),
        ("x", "made", ("acme/fast",)),
    ]
    assert made.in_force(whole) == {("preset", "x"), ("split", "acme/x")} and len(made.left_out(whole)) == 1
    assert json.loads(base.snapshot)["version"] == 1 and len(base.presets) == 1
    assert with_made(base, []) is base


def version(definition: dict[str, Any], note: str = "") -> Version:
    return Version(0, 1_000, "user", "ann", note, definition)


def test_a_name_is_in_one_place_and_what_is_in_force_is_not_lost(tmp_path: Path) -> None:
    database = Database(tmp_path / "fairlead.db")
    try:
        database.write_now(lambda c: names.insert(c, "preset", "x", version({"model": "acme/fast"})))

        def completed(text: str, kept: set[tuple[str, str]]) -> Compiled:
            loaded, base = compiled(text)
            return database.read_now(lambda c: beside.completed(c, base, loaded.document, kept))

        assert made.in_force(completed("", set())) == {("preset", "x")}
        with pytest.raises(Mistakes) as refused:
            completed("[presets.x]\nmodel = 'sim/echo'\n", set())
        [problem] = [problem for problem in refused.value.problems if problem.severity == "error"]
        assert (problem.path, problem.line) == ("presets.x", LAB.count("\n") + 1)
        assert "DELETE /admin/presets/x" in problem.message and problem.file == str(FILE)
        # A name of another kind is another name.
        arms = "[splits.x]\narms = [{ model = 'sim/echo', weight = 1 }]\n"
        assert made.in_force(completed(arms, {("preset", "x")})) == {("preset", "x")}
        database.write_now(lambda c: names.insert(c, "split", "acme/new", version({"arms": [{"model": "sim/echo", "weight": 1}]})))
        taking = "[models.'acme/new']\n[[models.'acme/new'.endpoints]]\nprovider = 'lab'\n"
        taking += "upstream_model = 'x'\nusd_per_million = { prompt = '1', completion = '1' }\n"
        # At a start the rest is served; a reload would take something away.
        assert made.in_force(completed(taking, set())) == {("preset", "x")}
        with pytest.raises(Mistakes, match=r"made at run time.*taken by the model"):
            completed(taking, {("split", "acme/new")})
    finally:
        database.close()


# --- versions -------------------------------------------------------------------------------------------------------------


def test_versions_are_kept_activated_and_outlive_a_deletion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(tmp_path / "fairlead.db")
    try:

        def work(c: Any) -> None:
            def present() -> tuple[int, dict[str, Any]]:
                found = names.name(c, "preset", "x")
                assert found is not None
                return found.version, found.definition

            names.insert(c, "preset", "x", version({"temperature": 0}, "first"))
            found = names.name(c, "preset", "x")
            assert found is not None and found.note == "first" and found.actor == "ann"
            names.add(c, found.id, version({"temperature": 1}))
            assert present() == (2, {"temperature": 1})
            names.put_in_force(c, found.id, 1, 5)
            assert present() == (1, {"temperature": 0})
            # The next one gets a number of its own.
            names.add(c, found.id, version({"temperature": 2}))
            assert present() == (3, {"temperature": 2})
            assert [each.version for each in names.versions(c, found.id, 1 << 62, 10)] == [3, 2, 1]
            assert [each.version for each in names.versions(c, found.id, 3, 1)] == [2]
            names.delete(c, found.id, 6)
            assert names.name(c, "preset", "x") is None and names.names(c, "preset") == [] and names.made(c) == []
            names.insert(c, "preset", "x", version({"temperature": 3}))
            assert present() == (4, {"temperature": 3}) and len(names.versions(c, found.id, 1 << 62, 10)) == 4
            names.insert(c, "split", "x", version({"arms": []}))
            assert [(each.kind, each.name) for each in names.made(c)] == [("preset", "x"), ("split", "x")]
            monkeypatch.setattr(names, "MOST_VERSIONS", 3)
            for number in range(5):
                names.add(c, found.id, version({"temperature": number / 10}))
            assert [each.version for each in names.versions(c, found.id, 1 << 62, 10)] == [9, 8, 7]

        database.write_now(work)
    finally:
        database.close()


def test_a_database_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    database = Database(tmp_path / "fairlead.db")
    try:
        database.write_now(lambda c: (c.execute("DROP TABLE name_versions"), c.execute("DROP TABLE names")))
        assert database.read_now(names.made) == []
    finally:
        database.close()
