"""Figures over time: parts that add up to the rows in every zone, groups, the time before, percentiles, what is refused."""

import random
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from control_rig import DAY_MS, NOW_MS, attempt, generation
from fairlead.control.db.queries import Res
from fairlead.control.directory import NewKey, NewScope
from fairlead.control.offer import Offer
from fairlead.control.operator import span
from fairlead.control.replies import Refusal, rfc3339
from operator_rig import PASSWORD, Port, tell

HOUR_MS = 3_600_000
ZONES = ("UTC", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "Pacific/Apia")


def moment(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", ["2026-03-28", "2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-07-01"])
def test_days_begin_at_midnight_there(zone: str, day: str) -> None:
    first = moment(day, zone)
    edges = span.cut(first + 5 * HOUR_MS, first + 3 * DAY_MS, "day", ZoneInfo(zone))
    expected, at = [], datetime.fromisoformat(day)
    while not expected or expected[-1] < first + 3 * DAY_MS:
        expected.append(moment(at.isoformat(), zone))
        at += timedelta(days=1)
    assert edges == expected
    lengths = {(b - a) // HOUR_MS for a, b in pairwise(edges)}
    assert lengths <= {23, 24, 25}


def test_days_of_the_switch_have_their_length() -> None:
    for day, hours in (("2026-03-29", 23), ("2026-10-25", 25)):
        first = moment(day, "Europe/Berlin")
        edges = span.cut(first, first + HOUR_MS, "day", ZoneInfo("Europe/Berlin"))
        assert (edges[1] - edges[0]) == hours * HOUR_MS


def test_steps_fit_what_is_kept() -> None:
    def asked(days: float, step: str = "auto", zone: str = "UTC") -> span.Range:
        first = datetime.fromtimestamp((NOW_MS - days * DAY_MS) / 1000, ZoneInfo("UTC"))
        return span.asked(first, None, step, zone, NOW_MS, 0)

    assert [asked(days).step for days in (0.01, 1, 4, 30, 90, 3000)] == ["minute", "quarter", "hour", "day", "day", "month"]
    assert asked(30, "day", "Asia/Kathmandu").zone == "Asia/Kathmandu"
    assert asked(90, "day", "Asia/Kathmandu").zone == "UTC" and asked(90, "day", "Europe/Berlin").zone == "Europe/Berlin"
    for days, step in ((10, "minute"), (60, "quarter"), (500, "hour")):
        with pytest.raises(Refusal) as refused:
            asked(days, step)
        assert refused.value.status in (400, 422)
    with pytest.raises(Refusal):
        span.asked(None, None, "auto", "Europe/Nowhere", NOW_MS, 0)


@pytest.mark.parametrize("finest", [Res.MINUTE, Res.HOUR, Res.DAY])
def test_windows_reach_no_further_than_their_buckets(finest: int) -> None:
    """Nor does the time before, and nothing is asked for that is no longer kept."""
    pick = random.Random(finest)
    cases = [
        (NOW_MS - back * DAY_MS, length) for back in (0.01, 1, 2.999, 20, 30, 34.99, 60, 399, 450, 900) for length in (0.01, 0.04, 1, 30)
    ]
    cases += [(NOW_MS - pick.randrange(500 * DAY_MS), pick.random() * 40) for _ in range(200)]
    for zone in (*ZONES, "Asia/Kolkata", "Asia/Kathmandu", "UTC"):
        for first_ms, days in cases:
            first, end = (datetime.fromtimestamp(at_ms / 1000, ZoneInfo("UTC")) for at_ms in (first_ms, first_ms + days * DAY_MS))
            found = span.asked(first, end, "auto", zone, NOW_MS, finest)
            for range_ in (found, found.whole, span.before(found)):
                for bucket in range_.buckets:
                    spans = range_.spans(bucket)
                    assert (spans[0][1], spans[-1][2]) == tuple(range_.edges[bucket : bucket + 2]), (zone, first, end, found)
                assert span.kept(range_.edges[0], NOW_MS, finest) <= range_.finest
            previous = span.before(found)
            assert abs(previous.edges[1] - found.edges[0]) < DAY_MS


def filled(port: Port, count: int, days: int, seed: int) -> list[dict[str, Any]]:
    """Generations over some days; what they should add up to."""
    pick, found = random.Random(seed), []
    for number in range(count):
        changes = {
            "settled_at_ms": NOW_MS - pick.randrange(days * DAY_MS), "key_id": pick.randrange(1, 6), "model": f"acme/{pick.randrange(12)}",
            "provider": pick.choice(("lab", "other")), "charged_nanousd": pick.randrange(10**9),
            "outcome": pick.choice(("completed", "failed")),
            "error": "", "team_id": pick.randrange(3), "title": pick.choice(("", "a", "b")),
        }  # fmt: skip
        if changes["outcome"] == "failed":
            changes["error"] = pick.choice(("timeout", "rate_limit"))
        found.append(changes)
        port.journal.records.append((generation(number, **changes), [attempt(number, provider=changes["provider"])]))
    return found


def nano(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0") or 0)


def test_parts_add_up_to_the_rows_in_every_zone(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        seed = random.SystemRandom().randrange(10**6)
        rows = filled(port, 300, 20, seed)
        first = rfc3339(NOW_MS - 20 * DAY_MS)
        for zone in ZONES:
            for group in ("", "&group=model&top=5", "&group=key&top=2", "&group=team", "&group=app", "&group=provider", "&group=account"):
                query = f"metrics=cost,requests,errors&from={first}&zone={zone}&step=day{group}"
                shown = (await port.script.get(f"/admin/usage/series?{query}")).json()
                edges = [moment(at, "UTC") for at in (p[0].rstrip("Z") for p in shown["series"][0]["points"])]
                lines = [*shown["series"], *([shown["other"]] if shown["other"] else [])]
                if group not in ("&group=team", "&group=app"):
                    assert nano(shown["totals"]["cost"]) == sum(row["charged_nanousd"] for row in rows), (seed, zone, group)
                assert shown["range"]["zone"] == zone
                for index, start in enumerate(edges):
                    end = edges[index + 1] if index + 1 < len(edges) else NOW_MS + DAY_MS
                    inside = [row for row in rows if start <= row["settled_at_ms"] < end]
                    if group == "&group=team":
                        inside = [row for row in inside if row["team_id"]]
                    if group == "&group=app":
                        inside = [row for row in inside if row["title"]]
                    points = [line["points"][index] for line in lines]
                    assert sum(nano(point[1]) for point in points) == sum(row["charged_nanousd"] for row in inside), (seed, zone, group)
                    assert sum(point[2] for point in points) == len(inside)
                    assert sum(point[3] for point in points) == sum(row["outcome"] == "failed" for row in inside)
                assert sum(line["totals"]["requests"] for line in lines) == shown["totals"]["requests"]

    tell(tmp_path, story)


def test_filters_groups_and_the_time_before(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        rows = filled(port, 200, 2, 7)
        await port.script.get("/admin/usage/series")

        async def totals(query: str) -> Any:
            response = await port.script.get(f"/admin/usage/series?metrics=requests&{query}")
            assert response.status_code == 200, response.text
            return response.json()

        day = [row for row in rows if row["settled_at_ms"] >= NOW_MS - DAY_MS + 15 * 60_000]
        before = (await totals("compare=previous"))["previous"]["requests"]
        whole = (await totals("compare=previous"))["totals"]["requests"]
        assert whole + before == len(rows) and abs(whole - len(day)) <= 10
        since = f"from={rfc3339(NOW_MS - 2 * DAY_MS)}&step=hour"
        for name, filter in (("key", "key=3"), ("model", "model=acme/3"), ("provider", "provider=lab")):
            value: Any = {"key": 3, "model": "acme/3", "provider": "lab"}[name]
            wanted = sum(row["key_id" if name == "key" else name] == value for row in rows)
            assert (await totals(f"{since}&{filter}"))["totals"]["requests"] == wanted
        both = await totals(f"from={rfc3339(NOW_MS - 2 * DAY_MS)}&step=day&key=3&group=model&top=3")
        assert both["totals"]["requests"] == sum(row["key_id"] == 3 for row in rows) and len(both["series"]) == 3 and both["other"]
        keys = (await totals(f"{since}&group=key"))["series"]
        assert {line["label"] for line in keys} >= {"first"}
        for query, status in (
            ("group=team&model=x", 422), ("group=key&model=x&step=hour", 422), ("metrics=cots", 400), ("group=colour", 400), ("top=0", 400),
            ("from=2026-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", 400), ("zone=Mars", 400), ("from=2025-10-01T00:00:00Z&step=minute", 400),
        ):  # fmt: skip
            query = query if query.startswith("metrics") else f"metrics=requests&{query}"
            assert (await port.script.get(f"/admin/usage/series?{query}")).status_code == status, query
        table = (await port.script.get(f"/admin/usage/series?{since}&group=provider", headers={"accept": "text/csv"})).text.splitlines()
        assert table[0] == "at,id,label,cost,requests" and len(table) == 1 + 2 * 49

    tell(tmp_path, story)


def test_what_the_cache_saved(tmp_path: Path) -> None:
    """By place; what is summed by anything else knows nothing of prices, which is null and not nothing."""

    async def story(port: Port) -> None:
        first = port.desk.offer.models[0]
        price = msgspec.structs.replace(first.endpoints[0].price, cache_read=300_000)
        endpoint = msgspec.structs.replace(first.endpoints[0], id=7, price=price)
        model = msgspec.structs.replace(first, endpoints=(endpoint,))
        port.desk.offer = Offer([model], tuple(port.desk.offer.providers.values()))
        # 3 dollars a million, and 0.3 from the cache.
        cached = {"cache_read_tokens": 1000, "cache_write_tokens": 0, "cache_write_1h_tokens": 0}
        port.journal.records.append((generation(1, **cached, settled_at_ms=NOW_MS - 1000, title="a"), [attempt(1)]))

        async def saved(query: str) -> list[Any]:
            shown = (await port.script.get(f"/admin/usage/series?metrics=cache_saved,requests&compare=previous{query}")).json()
            assert shown["totals"]["requests"] == 1, query
            return [shown["totals"]["cache_saved"], shown["series"][0]["totals"]["cache_saved"], shown["series"][0]["points"][-1][1]]

        for query in ("", "&group=model", "&group=provider", "&group=endpoint", "&group=account", "&group=key&step=day&model=acme/fast"):
            totals, series, *_ = await saved(query)
            assert totals == series == "0.0027", query
        for query in ("&group=key", "&group=app", "&group=team", "&group=user", "&group=arm"):
            if query in ("&group=key", "&group=app"):
                assert await saved(query) == [None, None, None], query
            shown = (await port.script.get(f"/admin/usage/series?metrics=cache_saved{query}")).json()
            assert shown["totals"] == {"cache_saved": None}, query

    tell(tmp_path, story)


def test_percentiles_and_errors(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        for number in range(100):
            times = {"content_us": (number + 1) * 10_000, "total_us": (number + 1) * 20_000, "settled_at_ms": NOW_MS - 1000}
            port.journal.records.append((generation(number, **times), [attempt(number)]))
        filled_errors = generation(200, outcome="failed", error="timeout"), [attempt(200, error="timeout")]
        port.journal.records.append(filled_errors)
        shown = (await port.script.get("/admin/usage/latency?p=50,90&group=model")).json()
        [line] = shown["series"]
        p50, p90, count = line["totals"]
        assert abs(p50 - 500) <= 50 and abs(p90 - 900) <= 90 and count >= 100 and line["label"] == "acme/fast"
        whole = (await port.script.get("/admin/usage/latency?metric=total&p=50&step=day")).json()["series"][0]
        assert abs(whole["totals"][0] - 1000) <= 100
        found = (await port.script.get("/admin/usage/errors?group=provider")).json()["data"]
        assert found == [{"id": "lab", "error": "timeout", "count": 1}]
        for path in ("latency?p=0", "latency?p=x", "latency?step=minute", "latency?key=1", "errors?team=1", "latency?metric=mean"):
            assert (await port.script.get(f"/admin/usage/{path}")).status_code in (400, 422), path

    tell(tmp_path, story)


def test_who_sees_less_is_shown_others_together(tmp_path: Path) -> None:
    async def story(port: Port) -> None:
        user = port.user("bob", "viewer")
        own, _ = port.directory.create(NewKey(name="own", user="bob"))
        port.journal.records += [
            (generation(1, key_id=own.id, user_id=user), [attempt(1)]),
            (generation(2, key_id=1), [attempt(2)]),
            (generation(3, key_id=own.id, account_id=9), [attempt(3)]),
        ]
        bob = port.browser()
        await bob.log_in(name="bob", password=PASSWORD)
        shown = (await bob.send("GET", "/admin/usage/series?metrics=requests&group=key")).json()
        assert [(line["label"], line["totals"]["requests"]) for line in shown["series"]] == [("own", 1)]
        assert shown["other"]["totals"]["requests"] == 1 and shown["totals"]["requests"] == 2
        for query in ("key=1", "account=9", "user=99"):
            assert (await bob.send("GET", f"/admin/usage/series?metrics=requests&{query}")).status_code == 404, query

    tell(tmp_path, story)


def test_apps_of_others_are_not_told_apart(tmp_path: Path) -> None:
    """What an app is called is said by requests, and those of another team are not seen."""

    async def story(port: Port) -> None:
        teams = [port.directory.create_scope(NewScope("team", name)).id for name in ("red", "blue")]
        users = [port.user("ann", "viewer", "red"), port.user("bob", "viewer", "blue"), port.user("eve", "member")]
        long_ago = NOW_MS - 3 * DAY_MS
        red, blue, eve, now = (teams[0], users[0]), (teams[1], users[1]), (0, users[2]), NOW_MS - 1
        asked = [
            (*red, "red's", now), (*blue, "blue's", now), (*blue, "common", now), (*red, "common", now), (*eve, "eve's", now),
            (*red, "old", long_ago), (*red, "", now), (*red, "foreign", now),
        ]  # fmt: skip
        for number, (team, user, title, at_ms) in enumerate(asked, 1):
            account = {"account_id": 9} if title == "foreign" else {}
            facts = {"team_id": team, "user_id": user, "title": title, "settled_at_ms": at_ms, "key_id": 1, **account}
            port.journal.records.append((generation(number, **facts), [attempt(number)]))
        path = "/admin/usage/series?metrics=requests&group=app"
        told = {}
        for name in ("ann", "bob", "eve"):
            browser = port.browser()
            await browser.log_in(name=name, password=PASSWORD)
            shown = (await browser.send("GET", path)).json()
            told[name] = {line["label"]: line["totals"]["requests"] for line in shown["series"]} | {
                "": shown["other"]["totals"]["requests"]
            }
            table = await browser.client.get(path, headers={"accept": "text/csv"})
            for title in ("red's", "blue's", "eve's"):
                is_own = title in told[name]
                assert (title in table.text) == is_own, (name, title)
                only = await browser.send("GET", f"/admin/usage/series?metrics=requests&app={title}")
                assert only.status_code == (200 if is_own else 404), (name, title)
        assert told == {
            "ann": {"red's": 1, "common": 2, "": 2},
            "bob": {"blue's": 1, "common": 2, "": 2},
            "eve": {"eve's": 1, "": 4},
        }
        # An app is named in the times in which it was used; admins see all.
        week = f"{path}&from={rfc3339(NOW_MS - 7 * DAY_MS)}"
        browser = port.browser()
        await browser.log_in(name="ann", password=PASSWORD)
        assert "old" in {line["label"] for line in (await browser.send("GET", week)).json()["series"]}
        assert len((await port.script.get(path)).json()["series"]) == 4 and (await port.script.get(path)).json()["other"] is None

    tell(tmp_path, story)
