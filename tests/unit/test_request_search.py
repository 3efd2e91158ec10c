"""The search for requests: each filter against a plain reading of all rows, pages without gaps, windows that say how far they came."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_rig import NOW_MS, attempt, generation
from fairlead.config.view import PriceOverride, Rates
from fairlead.control.db import Database, queries, search
from fairlead.control.db.queries import GENERATION_COLUMNS
from fairlead.control.offer import Offer
from operator_rig import PASSWORD, Port, tell

NAMES = {name: index for index, name in enumerate(GENERATION_COLUMNS)}
PLAIN: dict[str, Callable[[dict[str, Any], Any], bool]] = {
    "session": lambda row, value: row["session_id"] == value,
    "end_user": lambda row, value: row["end_user"] == value,
    "failed": lambda row, value: row["outcome"] == "failed",
    "user": lambda row, value: row["user_id"] == value,
    "key": lambda row, value: row["key_id"] == value,
    "team": lambda row, value: row["team_id"] == value,
    "model": lambda row, value: row["model"] == value,
    "provider": lambda row, value: row["provider"] == value,
    "account": lambda row, value: row["account_id"] == value,
    "outcome": lambda row, value: row["outcome"] == value,
    "status": lambda row, value: row["status"] == value,
    "error": lambda row, value: value in row["error"],
    "least_nanousd": lambda row, value: row["charged_nanousd"] >= value,
    "least_ms": lambda row, value: row["total_us"] >= value * 1000,
    "split": lambda row, value: row["split"] == value,
}
VALUES: dict[str, Any] = {
    "session": "s2", "end_user": "u1", "failed": "failed", "user": 2, "key": 3, "team": 1, "model": "acme/b", "provider": "q", "account": 1,
    "outcome": "cancelled", "status": 502, "error": "time", "least_nanousd": 700, "least_ms": 70, "split": "x",
}  # fmt: skip


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows as they are stored: nearly in the order in which they were settled, with many in one millisecond."""
    pick = random.Random(seed)
    found = []
    for number in range(count):
        row = generation(
            number, settled_at_ms=NOW_MS + number // 4 - pick.choice((0, 0, 0, 9)), session_id=pick.choice(("", "s1", "s2")),
            end_user=pick.choice(("", "", "u1")), outcome=pick.choice(("completed", "completed", "failed", "cancelled")),
            user_id=pick.randrange(3), key_id=pick.randrange(1, 5), team_id=pick.randrange(3), model=pick.choice(("acme/a", "acme/b")),
            provider=pick.choice(("p", "q", "")), status=pick.choice((200, 502)), error=pick.choice(("", "timeout", "rate")),
            charged_nanousd=pick.randrange(1000), total_us=pick.randrange(100_000), split=pick.choice(("", "x")),
        )  # fmt: skip
        found.append(dict(zip(GENERATION_COLUMNS, row, strict=True)))
    return found


def stored(database: Database, found: list[dict[str, Any]]) -> None:
    database.write_now(lambda connection: queries.insert_generations(connection, [tuple(row.values()) for row in found]))


def in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for _, row in sorted(enumerate(found), key=lambda pair: (pair[1]["settled_at_ms"], pair[0]), reverse=True)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "fairlead.db")
    yield opened
    opened.close()


def all_pages(database: Database, filters: dict[str, Any], limit: int, **bounds: Any) -> list[str]:
    """Every page, one after the other."""
    seen: list[str] = []
    before: str | None = None
    while True:

        def work(connection: Any, before: str | None = before) -> search.Found:
            place = search.LAST if before is None else search.place(connection, before)
            assert place is not None
            return search.page(connection, filters, limit, before=place, **bounds)

        found = database.read_now(work)
        seen += [row["id"] for row in found.rows]
        if found.next is None:
            return seen
        before = found.next


@pytest.mark.parametrize("window", [7, 1000])
def test_every_filter_finds_what_a_plain_reading_finds(database: Database, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.SystemRandom().randrange(10**6)
    found, pick = rows(300, seed), random.Random(seed)
    stored(database, found)
    monkeypatch.setattr(search, "WINDOW_ROWS", window)
    # The time of a search is over at once: each page is one window.
    monkeypatch.setattr(search, "SEARCH_SECONDS", -1.0)
    for name in PLAIN:
        for other in (None, *pick.sample(sorted(PLAIN), 4)):
            filters = {each: VALUES[each] for each in (name, other) if each}
            expected = [row["id"] for row in in_order(found) if all(PLAIN[each](row, value) for each, value in filters.items())]
            assert all_pages(database, filters, 10) == expected, (seed, filters)
    whole = [row["id"] for row in in_order(found)]
    assert all_pages(database, {}, 7) == whole, seed
    first, end = NOW_MS + 20, NOW_MS + 50
    within = [row["id"] for row in in_order(found) if first <= row["settled_at_ms"] < end]
    assert all_pages(database, {}, 7, first_ms=first, end_ms=end) == within, seed


def test_all_filters_have_a_plain_reading_or_a_test_of_their_own() -> None:
    own = {"retried", "app", "endpoint", "streamed", "least_tokens", "preset", "arm", "dialect", "requested_model"}
    assert PLAIN.keys() | own == {*search.INDEXED, *search.OTHERS}


def test_what_an_index_has_is_read_from_it(database: Database) -> None:
    """SQLite says that it looks up, and neither scans nor sorts."""
    for name, (index, condition) in search.INDEXED.items():
        statement = (
            f"EXPLAIN QUERY PLAN SELECT id FROM generations INDEXED BY {index} WHERE {condition} AND settled_at_ms <= ? {search._ORDER}"
        )
        plan = " ".join(row[3] for row in database.read_now(lambda c, s=statement: c.execute(s, ("x", 1)).fetchall()))
        assert f"SEARCH generations USING INDEX {index}" in plan and "settled_at_ms<" in plan and "TEMP B-TREE" not in plan, (name, plan)


def test_a_search_without_an_index_says_how_far_it_came(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    found = rows(100, 1)
    stored(database, [row | {"error": ""} for row in found])
    monkeypatch.setattr(search, "WINDOW_ROWS", 10)
    ticks = iter(range(1000))
    page = database.read_now(lambda c: search.page(c, {"error": "x"}, 5, clock=lambda: next(ticks) * 0.09))
    assert page.rows == [] and page.next == in_order(found)[29]["id"]
    assert page.searched_to_ms == in_order(found)[29]["settled_at_ms"]


# --- through the door -------------------------------------------------------------------------------------------------


def test_the_route_takes_filters_and_shows_what_belongs_to_a_row(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        named = {"title": "My App", "referer": "https://Chat.Acme.example:8443/x?y"}
        ids = [port.database.write_now(lambda c, n=n: queries.endpoint_id(c, "acme/fast", f"p{n}", "x", "")) for n in range(5)]
        assert ids[-1] == 5
        port.journal.records += [
            (generation(1, **named), [attempt(1)]),
            (generation(2, title="My App", outcome="failed", status=502, error="timed out"), [attempt(2, 1, error="timeout")]),
            (generation(3), [attempt(3, 1, error="rate_limit", endpoint_id=5), attempt(3, 2)]),
            (generation(4), [attempt(4, 1), attempt(4, 2, error="server", flags=queries.SHADOW_FLAG)]),
            (generation(5), [attempt(5, 1, error="overtaken"), attempt(5, 2)]),
            (generation(6, preset="a,b", preset_version="1,2", streamed=False, charged_nanousd=5 * 10**9), [attempt(6)]),
        ]

        async def numbers(query: str) -> list[int]:
            page = (await port.script.get(f"/admin/requests?{query}")).json()
            return [int(row["id"][4:12], 16) for row in page["data"]]

        assert await numbers("") == [6, 5, 4, 3, 2, 1]
        assert await numbers("app=chat.acme.example:8443") == [1] and await numbers("app=My+App") == [2]
        assert await numbers("failed=true") == [2] and await numbers("error=timed") == [2] and await numbers("status=502") == [2]
        assert await numbers("retried=true") == [3] and await numbers("endpoint=5") == [3]
        assert await numbers("preset=b") == [6] and await numbers("preset=a,b") == [6] and await numbers("preset=c") == []
        assert await numbers("streamed=false") == [6] and await numbers("least_usd=5") == [6] and await numbers("least_usd=5.1") == []
        assert await numbers("key=1&model=acme/fast&limit=2") == [6, 5] and await numbers("key=2") == []
        assert await numbers("from=2025-11-21T16:20:00Z") == [6, 5, 4, 3, 2, 1] and await numbers("to=2025-11-21T16:20:00Z") == []
        third = generation(3)[0]
        assert await numbers(f"after={third}") == [6, 5, 4] and await numbers(f"before={third}") == [2, 1]
        shown = (await port.script.get(f"/admin/requests/{third}")).json()
        assert [each["error"] for each in shown["data"]["attempts"]] == ["rate_limit", ""]
        assert shown["timings"] == {"sent_ms": 1.0, "head_ms": 200.0, "content_ms": 250.4, "total_ms": 1500.6, "own_ms": 0.09}
        for query in ("failed=false", "key=x", "key=0", "after=zzz", "colour=red", "from=2025-11-21", "least_usd=-1", "outcome=gone"):
            assert (await port.script.get(f"/admin/requests?{query}")).status_code == 400, query
        table = (await port.script.get("/admin/requests?failed=true", headers={"accept": "text/csv"})).text.splitlines()
        assert table[0].startswith("settled_at,id,outcome") and len(table) == 2

    tell(tmp_path, story)


def test_cost_lines_add_up_to_what_was_recorded(tmp_path: Path) -> None:
    """At 3 and 15 dollars a million: 100 + 20 + 3 + 4 prompt tokens and 50 completion tokens."""

    async def story(port: Port) -> None:
        exact = 127 * 3_000 + 50 * 15_000
        port.journal.records += [
            (generation(1, upstream_cost_nanousd=exact), [attempt(1)]),
            (generation(2, upstream_cost_nanousd=exact + 1), [attempt(2)]),
            (generation(3, model="gone/model"), [attempt(3)]),
        ]
        costs = [(await port.script.get(f"/admin/requests/{generation(n)[0]}")).json()["cost"] for n in (1, 2, 3)]
        assert [cost["exact"] for cost in costs] == [True, False, False]
        lines = {line["what"]: (line["count"], line["usd_each"], line["usd"]) for line in costs[0]["lines"]}
        assert lines["prompt"] == (100, "0.000003", "0.0003") and lines["reasoning"] == (10, "0.000015", "0.00015")
        assert sum(line["count"] for line in costs[0]["lines"]) == 177 and costs[2]["lines"] == []

    tell(tmp_path, story)


def test_cost_lines_know_every_condition_that_held(tmp_path: Path) -> None:
    """A long prompt in a tier of its own: two conditions at once, of which the later one wins."""

    async def story(port: Port) -> None:
        first, *others = port.desk.offer.models
        overrides = (
            PriceOverride(Rates(prompt=9_000_000, completion=1_000_000), prompt_tokens_above=100),
            PriceOverride(Rates(prompt=2_000_000), service_tier="flex"),
        )
        endpoint = first.endpoints[0]
        dear = msgspec.structs.replace(endpoint, price=msgspec.structs.replace(endpoint.price, overrides=overrides))
        model = msgspec.structs.replace(first, endpoints=(dear, *first.endpoints[1:]))
        port.desk.offer = Offer([model, *others], tuple(port.desk.offer.providers.values()))
        exact = 127 * 2_000 + 50 * 1_000
        port.journal.records.append((generation(1, upstream_cost_nanousd=exact), [attempt(1, service_tier="flex")]))
        cost = (await port.script.get(f"/admin/requests/{generation(1)[0]}")).json()["cost"]
        assert cost["exact"] and {line["what"]: line["usd_each"] for line in cost["lines"]}["prompt"] == "0.000002"

    tell(tmp_path, story)


def test_others_requests_are_not_there(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        ann = await port.as_role("viewer")
        user = port.user("bob", "viewer")
        port.journal.records += [(generation(1, user_id=user), []), (generation(2, user_id=1), []), (generation(3, account_id=9), [])]
        bob = port.browser()
        await bob.log_in(name="bob", password=PASSWORD)
        seen = json.loads((await bob.send("GET", "/admin/requests")).text)["data"]
        assert [row["id"] for row in seen] == [generation(1)[0]]
        assert (await bob.send("GET", f"/admin/requests/{generation(2)[0]}")).status_code == 404
        assert (await bob.send("GET", f"/admin/requests/{generation(1)[0]}")).status_code == 200
        assert (await bob.send("GET", "/admin/requests?user=1")).status_code == 404
        assert (await bob.send("GET", "/admin/requests?account=9")).status_code == 404
        assert [row["id"] for row in (await ann.send("GET", "/admin/requests")).json()["data"]] == [generation(2)[0]]

    tell(tmp_path, story)


ODD = [
    "", "https://a.example/x", "https://A.Example", "https://a.example?q=1/2", "https://a.example#x", "https://u:p@a.example:8443/x",
    "https:///x", "//b.example/x", "//", "/", "a.example", "a.example/x", "HTTPS://Ä.Example/Ö", "android-app://com.acme.App", "x" * 120,
    f"https://{'y' * 120}/z", "about:blank", "https://a.example//c", " https://a.example ", "https://[::1]:80/", "https:/a.example",
]  # fmt: skip


def test_apps_are_found_by_the_names_that_they_are_summed_under(tmp_path: Path) -> None:
    """Whatever clients say: each name of a series finds as many requests as it counts."""

    async def story(port: Port) -> None:
        pick = random.Random(seed := random.SystemRandom().randrange(10**6))
        said = [(referer, title) for referer in ODD for title in ("", "Acme")]
        said += [("".join(pick.choices("/:@?#.aAÄé", k=pick.randrange(12))), pick.choice(("", "T/t"))) for _ in range(200)]
        for number, (referer, title) in enumerate(said):
            port.journal.records.append((generation(number, referer=referer, title=title, settled_at_ms=NOW_MS - 1), [attempt(number)]))
        query = "/admin/usage/series?metrics=requests&group=app&top=50"
        summed = {line["id"]: line["totals"]["requests"] for line in (await port.script.get(query)).json()["series"]}
        assert len(summed) == 50
        for name, count in summed.items():
            found = (await port.script.get("/admin/requests", params={"app": name, "limit": "1000"})).json()["data"]
            assert len(found) == count, (seed, name, [(row["referer"], row["title"]) for row in found])
        of_column = port.database.read_now(lambda c: dict(c.execute("SELECT app, COUNT(*) FROM generations WHERE app <> '' GROUP BY app")))
        whole = (await port.script.get("/admin/usage/series?metrics=requests&group=app&top=1")).json()["totals"]["requests"]
        assert sum(of_column.values()) == whole, seed

    tell(tmp_path, story)


def test_an_arm_is_found_by_the_name_that_it_is_summed_under(tmp_path: Path) -> None:
    """Names of splits and of models have slashes in them."""

    async def story(port: Port) -> None:
        for number, (split, arm) in enumerate([("acme/own", "lab/echo"), ("acme/own", "lab/fast"), ("acme", "own/lab/echo"), ("", "")]):
            row = generation(number, split=split, arm=arm, settled_at_ms=NOW_MS - 1)
            port.journal.records.append((row, [attempt(number)]))
        lines = (await port.script.get("/admin/usage/series?metrics=requests&group=arm")).json()["series"]
        assert {line["id"] for line in lines} == {"acme/own/lab/echo", "acme/own/lab/fast"}

        async def ids(query: str) -> set[int]:
            data = (await port.script.get(f"/admin/requests?{query}")).json()["data"]
            return {int(row["id"][4:12], 16) for row in data}

        assert await ids("arm=acme/own/lab/fast") == {1} and await ids("arm=lab/fast") == {1}
        assert await ids("split=acme/own&arm=lab/echo") == {0}

    tell(tmp_path, story)
