"""`/analytics/meta` and `/analytics/query`, on a real database and read by OpenRouter's own SDK."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, attempt, generation
from fairlead.control.db import rollups
from fairlead.control.db.queries import Res
from test_control import KEY, MANAGER, House, tell
from test_control_sdk import sdk

DAY = {"start": "2025-11-20T00:00:00Z", "end": "2025-11-22T00:00:00Z"}


async def ask(house: House, status: int = 200, **body: Any) -> Any:
    response = await house.private.post("/api/v1/analytics/query", headers=MANAGER, json={"metrics": ["request_count"]} | body)
    assert response.status_code == status, response.text
    return response.json()["data"] if status == 200 else response.json()["error"]["message"]


def settle(house: House) -> None:
    rows = [
        generation(1),
        generation(2, model="acme/slow", charged_nanousd=5, outcome="failed", title="App"),
        generation(3, key_id=2, settled_at_ms=NOW_MS - DAY_MS),
        generation(4, key_id=2, settled_at_ms=NOW_MS - 3_600_000, referer="https://app.example/x", charged_nanousd=0),
        generation(5, account_id=2, key_id=9),
        generation(6, settled_at_ms=NOW_MS - 40 * DAY_MS),
    ]
    house.journal.records += [(row, [attempt(number, endpoint_id=7)]) for number, row in enumerate(rows, 1)]


async def first_hash(house: House) -> str:
    return str((await house.get("/admin/keys", headers={"x-fairlead-principal": "operator"}))["data"][0]["hash"])


def test_sums_by_time_and_dimension(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        settle(house)
        hash = await first_hash(house)
        everything = ["total_usage", "request_count", "tokens_total", "cache_hit_rate", "error_rate", "throughput"]
        [row] = (await ask(house, metrics=everything))["data"]
        assert row == {
            "total_usage": 2.000000007, "request_count": 4, "tokens_total": 708, "cache_hit_rate": 80 / 508, "error_rate": 0.25,
            "throughput": 200 * 10**6 / (4 * 1_250_200),
        }  # fmt: skip
        for body, wanted in [
            ({"dimensions": ["model"]}, [{"model": "acme/fast", "request_count": 3}, {"model": "acme/slow", "request_count": 1}]),
            ({"dimensions": ["endpoint", "provider"]}, [{"endpoint": "7", "provider": "The Lab", "request_count": 4}]),
            ({"granularity": "day"}, [{"date": "2025-11-20", "request_count": 1}, {"date": "2025-11-21", "request_count": 3}]),
            ({"granularity": "week"}, [{"date": "2025-11-17", "request_count": 4}]),
            ({"granularity": "month"}, [{"date": "2025-11-01", "request_count": 4}]),
            ({"granularity": "hour", "time_range": DAY}, [
                {"date": "2025-11-20T16:00:00Z", "request_count": 1},
                {"date": "2025-11-21T15:00:00Z", "request_count": 1},
                {"date": "2025-11-21T16:00:00Z", "request_count": 2},
            ]),
            ({"granularity": "minute", "time_range": {"start": "2025-11-21T16:20:00Z", "end": "2025-11-21T16:21:00Z"}}, [
                {"date": "2025-11-21T16:20:00Z", "request_count": 2}]),
            ({"time_range": {"start": "2025-11-21T15:30:00Z", "end": "2025-11-21T16:20:00Z"}}, [{"request_count": 0}]),
            ({"time_range": {"start": "2030-01-01T00:00:00Z", "end": "2030-01-02T00:00:00Z"}}, [{"request_count": 0}]),
            ({"granularity": "day", "time_range": {"start": "9998-01-01T00:00:00Z", "end": "9999-12-31T23:59:59-05:00"}}, []),
            ({"time_range": {"start": "0001-01-01T00:00:00+05:00", "end": "2025-11-21T00:00:00Z"}}, [{"request_count": 2}]),
            ({"dimensions": ["app"], "order_by": {"field": "app", "direction": "desc"}}, [
                {"app": "app.example", "request_count": 1}, {"app": "App", "request_count": 1}]),
            ({"dimensions": ["workspace", "api_key_id"]}, [
                {"workspace": "default", "api_key_id": "first", "request_count": 2},
                {"workspace": "default", "api_key_id": "2", "request_count": 2}]),
            ({"dimensions": ["api_key_id", "model"], "filters": [{"field": "api_key_id", "operator": "eq", "value": hash}]}, [
                {"api_key_id": "first", "model": "acme/fast", "request_count": 1},
                {"api_key_id": "first", "model": "acme/slow", "request_count": 1}]),
            ({"filters": [{"field": "model", "operator": "not_in", "value": ["acme/slow"]}]}, [{"request_count": 3}]),
            ({"dimensions": ["model"], "limit": 1}, [{"model": "acme/fast", "request_count": 3}]),
            ({"dimensions": ["model"], "granularity": "day", "group_limit": 1, "order_by": {"field": "date", "direction": "desc"}}, [
                {"date": "2025-11-21", "model": "acme/fast", "request_count": 2},
                {"date": "2025-11-21", "model": "acme/slow", "request_count": 1}]),
        ]:  # fmt: skip
            data = await ask(house, **body)
            key = json.dumps(body)
            if "workspace" in key:
                data["data"].sort(key=lambda row: row["api_key_id"], reverse=True)
            assert data["data"] == wanted, body
            assert data["metadata"]["row_count"] == len(wanted)
            assert data["metadata"]["truncated"] == ("limit" in body)
        unknown = await ask(house, filters=[{"field": "api_key_id", "operator": "in", "value": ["0" * 64]}])
        assert unknown["warnings"] == [f"filters[0].value: there is no key {'0' * 64!r} in this account"]
        assert unknown["data"] == [{"request_count": 0}]
        old = await ask(house, time_range={"start": "2025-10-12T16:25:00Z", "end": "2025-10-13T00:00:00Z"})
        assert old["data"] == [{"request_count": 1}] and "2025-10-12T16:00:00Z to 2025-10-13T00:00:00Z" in old["warnings"][0]

    tell(tmp_path, story)


def test_who_by_what(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        team = house.desk.database.write_now(
            lambda connection: connection.execute(
                "INSERT INTO teams (account_id, name, source, created_at_ms) VALUES (1, 'blue', 'made', 0) RETURNING id"
            ).fetchone()[0]
        )
        arm = {"split": "acme/any", "arm": "acme/slow"}
        rows = [
            generation(1, team_id=team, preset="resilient", content_us=100_000, total_us=1_000_000),
            generation(2, team_id=team, model="acme/slow", content_us=100_000, total_us=8_000_000, **arm),
            generation(3, preset="resilient", content_us=400_000, total_us=1_000_000, title="App"),
        ]
        house.journal.records += [(row, [attempt(number, endpoint_id=7)]) for number, row in enumerate(rows, 1)]
        for body, wanted in [
            ({"dimensions": ["team"]}, [("blue", 2)]),
            ({"dimensions": ["preset"]}, [("resilient", 2)]),
            ({"dimensions": ["split", "arm"]}, [("acme/any", "acme/slow", 1)]),
            ({"dimensions": ["arm", "model"]}, [("acme/slow", "acme/slow", 1)]),
            ({"dimensions": ["team", "model"]}, [("blue", "acme/fast", 1), ("blue", "acme/slow", 1)]),
            ({"dimensions": ["preset", "model"]}, [("resilient", "acme/fast", 2)]),
            (
                {"dimensions": ["model"], "filters": [{"field": "team", "operator": "eq", "value": "blue"}]},
                [("acme/fast", 1), ("acme/slow", 1)],
            ),
            ({"dimensions": ["model"], "filters": [{"field": "app", "operator": "eq", "value": "App"}]}, [("acme/fast", 1)]),
            ({"dimensions": ["model"], "filters": [{"field": "app", "operator": "eq", "value": "other"}]}, []),
        ]:
            assert [tuple(row.values()) for row in (await ask(house, **body))["data"]] == wanted, body
        percentiles = {"metrics": ["latency_p50", "latency_p99", "time_to_first_token_p50", "time_to_first_token_p90"]}
        for body, wanted_ms in [
            ({}, [(1000, 8000, 100, 400)]),
            ({"dimensions": ["model"]}, [(8000, 8000, 100, 100), (1000, 1000, 100, 400)]),
            ({"dimensions": ["preset"]}, [(1000, 1000, 100, 400)]),
            ({"dimensions": ["arm"], "granularity": "day"}, [(8000, 8000, 100, 100)]),
            ({"filters": [{"field": "model", "operator": "eq", "value": "acme/slow"}], "granularity": "hour"}, [(8000, 8000, 100, 100)]),
        ]:
            found = [[row[name] for name in percentiles["metrics"]] for row in (await ask(house, **percentiles, **body))["data"]]
            assert [pytest.approx(row, rel=0.05) for row in wanted_ms] == found, body
        [empty] = (await ask(house, **percentiles, time_range={"start": "2025-10-01T00:00:00Z", "end": "2025-10-02T00:00:00Z"}))["data"]
        assert set(empty.values()) == {None}

    tell(tmp_path, story)


def test_those_that_have_none(tmp_path: Path) -> None:
    """`include_unset`: what has no team, app, preset or arm is what is left of everything."""

    async def story(house: House) -> None:
        team = house.desk.database.write_now(
            lambda connection: connection.execute(
                "INSERT INTO teams (account_id, name, source, created_at_ms) VALUES (1, 'blue', 'made', 0) RETURNING id"
            ).fetchone()[0]
        )
        rows = [
            generation(1, team_id=team, preset="resilient", title="App"),
            generation(2, model="acme/slow", charged_nanousd=5, title="Other"),
            generation(3, settled_at_ms=NOW_MS - DAY_MS, split="acme/any", arm="acme/slow"),
            generation(4, model="acme/slow", settled_at_ms=NOW_MS - DAY_MS, charged_nanousd=7),
        ]
        house.journal.records += [(row, [attempt(number, endpoint_id=7)]) for number, row in enumerate(rows, 1)]

        def filters(field: str, operator: str, value: Any, include_unset: bool = True) -> dict[str, Any]:
            return {"filters": [{"field": field, "operator": operator, "value": value, "include_unset": include_unset}]}

        for body, wanted in [
            (filters("team", "eq", "blue", False), [(1,)]),
            (filters("team", "eq", "blue"), [(4,)]),
            (filters("team", "neq", "blue"), [(3,)]),
            (filters("team", "neq", "blue", False), [(0,)]),
            (filters("user", "eq", "nobody"), [(4,)]),
            (filters("app", "not_in", ["App"]), [(3,)]),
            (filters("preset", "in", ["resilient", "other"]), [(4,)]),
            (filters("split", "neq", "acme/any"), [(3,)]),
            ({"dimensions": ["team"], **filters("team", "eq", "blue")}, [("", 3), ("blue", 1)]),
            ({"granularity": "day", **filters("team", "neq", "blue")}, [("2025-11-20", 2), ("2025-11-21", 1)]),
            ({"dimensions": ["model"], **filters("team", "neq", "blue")}, [("acme/slow", 2), ("acme/fast", 1)]),
            (
                {"dimensions": ["model"], "granularity": "day", **filters("app", "eq", "App")},
                [("2025-11-20", "acme/fast", 1), ("2025-11-20", "acme/slow", 1), ("2025-11-21", "acme/fast", 1)],
            ),
            (
                {"filters": filters("team", "neq", "blue")["filters"] + [{"field": "model", "operator": "eq", "value": "acme/slow"}]},
                [(2,)],
            ),
        ]:
            answer = await ask(house, **body)
            assert [tuple(row.values()) for row in answer["data"]] == wanted, body
        [row] = (await ask(house, metrics=["total_usage"], **filters("team", "neq", "blue")))["data"]
        assert row == {"total_usage": 1.000000013}
        refused = await ask(house, 400, metrics=["latency_p50"], **filters("preset", "neq", "resilient"))
        assert refused.startswith("filters: latency_p50 is not known of requests that have no such value")

    tell(tmp_path, story)


def test_one_moment_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of a range that nobody gave, however long the answer takes."""

    async def story(house: House) -> None:
        settle(house)
        clock = house.desk.now_ms
        late = itertools.count(step=5)
        monkeypatch.setattr(house.desk, "now_ms", lambda: clock() + next(late))
        for _ in range(3):
            assert "warnings" not in await ask(house)

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"metrics": []}, "metrics: one or more of total_usage"),
        ({"metrics": ["requests"]}, "metrics[0]: one of"),
        ({"metrics": "requests"}, "body: Expected `array`, got `str` - at `$.metrics`"),
        ({"colour": 1}, "body: Object contains unknown field `colour`"),
        ({"dimensions": ["model", "model"]}, "dimensions[1]: one of"),
        ({"dimensions": ["model", "provider", "endpoint"]}, "dimensions: at most 2"),
        ({"dimensions": ["api_key_id", "app"]}, "dimensions: these are not summed together"),
        ({"dimensions": ["model"], "filters": [{"field": "user", "operator": "eq", "value": "x"}]}, "dimensions: these are not summed"),
        ({"metrics": ["latency_p50"], "dimensions": ["app"]}, "metrics: latency_p50 is known by model"),
        ({"metrics": ["latency_p50"], "dimensions": ["model", "api_key_id"]}, "metrics: latency_p50 is known by model"),
        ({"metrics": ["latency_p50"], "granularity": "minute"}, "granularity: latency_p50 is known by hour, day, week or month"),
        ({"metrics": ["latency_p50"], "dimensions": ["preset"], "granularity": "hour"}, "granularity: latency_p50 is known by day"),
        ({"dimensions": ["model", "api_key_id"], "granularity": "hour"}, "granularity: day, week or month"),
        ({"granularity": "year"}, "granularity: one of"),
        ({"granularity": "minute"}, "granularity: minute is kept for 3 days"),
        ({"filters": [{"field": "colour", "operator": "eq", "value": "x"}]}, "filters[0].field: one of"),
        ({"filters": [{"field": "model", "operator": "gt", "value": "x"}]}, "filters[0].operator: one of"),
        ({"filters": [{"field": "model", "operator": "in", "value": "x"}]}, "filters[0].value: an array"),
        ({"filters": [{"field": "model", "operator": "eq", "value": ["x"]}]}, "filters[0].value: one value"),
        ({"time_range": {"start": "2025-11-21T00:00:00Z", "end": "2025-11-21T00:00:00Z"}}, "time_range.end: "),
        ({"time_range": {"start": "2025-11-21T00:00:00", "end": "2025-11-22T00:00:00Z"}}, "time_range.start: an offset"),
        ({"time_range": {"start": "2025-11-21T00:00Z", "end": "2025-11-22T00:00:00Z"}}, "body: Invalid RFC3339"),
        ({"order_by": {"field": "date", "direction": "asc"}}, "order_by.field: one of request_count is expected"),
        ({"limit": 0}, "limit: "),
        ({"group_limit": 10**6}, "group_limit: "),
        ({"classifier_dimensions": {}}, "classifier_dimensions: there are no classifiers here"),
    ],
)
def test_mistakes_name_the_member(tmp_path: Path, body: dict[str, Any], message: str) -> None:
    async def story(house: House) -> None:
        assert (await ask(house, 400, **body)).startswith(message)

    tell(tmp_path, story)


def test_the_sdk_reads_it_and_meta_lists_what_is_taken(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        settle(house)
        meta = (await house.get("/api/v1/analytics/meta", headers=MANAGER))["data"]
        for metric in meta["metrics"]:
            await ask(house, metrics=[metric["name"]])
        for dimension in meta["dimensions"]:
            await ask(house, dimensions=[dimension["name"]])
        client = sdk(house, MANAGER).analytics
        assert len((await client.get_analytics_meta_async()).data.metrics) == len(meta["metrics"])
        read = await client.query_analytics_async(metrics=["total_usage"], dimensions=["model"], granularity="day")
        assert read.data.metadata.row_count == 3
        await house.get("/api/v1/analytics/meta", headers=KEY, status=403)

    tell(tmp_path, story)


@pytest.mark.parametrize("seed", range(50))
def test_windows_make_up_the_range_once(seed: int) -> None:
    chance = random.Random(seed)
    first = NOW_MS - chance.randint(0, 500 * DAY_MS)
    end = first + chance.choice([1, 60_000, 3_600_000, DAY_MS, 90 * DAY_MS]) * chance.randint(1, 3)
    finest = chance.randint(Res.MINUTE, Res.MONTH)
    coarsest = chance.randint(finest, Res.MONTH)
    spans = rollups.windows(first, end, finest, coarsest)
    reached = spans[0][1]
    for res, start, stop in spans:
        assert finest <= res <= coarsest and start == reached < stop
        assert (rollups._start(res, start), rollups._start(res, stop)) == (start, stop)
        reached = stop
    assert spans[0][1] == rollups._start(finest, first) and reached == rollups._next(finest, end)
