"""`GET /admin/usage`: exact sums, by anything, with percentiles."""

from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, generation
from test_control import BEARER, House, tell


def test_usage_is_summed_exactly(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        rows = [generation(1), generation(2), generation(3, model="acme/other", charged_nanousd=1, settled_at_ms=NOW_MS - 2 * DAY_MS)]
        house.journal.settle(rows)
        report = (await house.admin.get("/admin/usage", headers=BEARER)).json()
        assert [(row["key_name"], row["model"], row["requests"], row["charged_usd"]) for row in report["data"]] == [
            ("first", "acme/fast", 2, "2.000000002"),
            ("first", "acme/other", 1, "0.000000001"),
        ]
        assert (report["total"]["charged_usd"], report["total"]["completion_tokens"]) == ("2.000000003", 150)
        report = (await house.admin.get("/admin/usage?from=2025-11-21&to=2025-11-21", headers=BEARER)).json()
        assert [row["requests"] for row in report["data"]] == [2]
        for query, message in (
            ("from=yesterday", "from: a date"),
            ("to=2025-02-30", "to: a date"),
            ("from=2025-11-22&to=2025-11-21", "to: a day that is not before from"),
        ):
            refused = await house.admin.get(f"/admin/usage?{query}", headers=BEARER)
            assert refused.status_code == 400 and refused.json()["error"]["message"].startswith(message)
        for late in ("2030-01-01", "9999-12-31"):
            for by in ("key", "day", "key,model"):
                none = (await house.admin.get(f"/admin/usage?from={late}&by={by}", headers=BEARER)).json()
                assert (none["data"], none["total"]["requests"]) == ([], 0)

    tell(tmp_path, story)


def test_usage_by_anything_adds_up(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.journal.settle(
            [
                generation(1, preset="resilient", title="App", charged_nanousd=5),
                generation(2, preset="resilient", model="acme/slow", user_id=4, charged_nanousd=3),
                generation(3, provider="two", team_id=3, charged_nanousd=2),
                generation(4, key_id=2, charged_nanousd=1, split="s", arm="a"),
            ]
        )

        async def ask(query: str) -> Any:
            return (await house.admin.get(f"/admin/usage?{query}", headers=BEARER)).json()

        for by, wanted in {
            "key": [("first", 3), ("", 1)],
            "model": [("acme/fast", 3), ("acme/slow", 1)],
            "provider": [("lab", 3), ("two", 1)],
            "preset": [("resilient", 2), ("", 2)],
            "app": [("App", 1), ("", 3)],
            "team": [("", 1), ("", 3)],
            "user": [("", 1), ("", 3)],
            "day": [("2025-11-21", 4)],
            "preset,model": [("resilient", 1), ("resilient", 1)],
            "model,provider": [("acme/fast", 2), ("acme/slow", 1), ("acme/fast", 1)],
            "key,provider": [("first", 2), ("first", 1), ("", 1)],
        }.items():
            report = await ask(f"by={by}")
            column = {"key": "key_name"}.get(by.split(",")[0], by.split(",")[0])
            assert [(row[column], row["requests"]) for row in report["data"]] == wanted, by
            assert report["total"]["charged_usd"] == "0.000000011", by
            rest = report["other"] or {"requests": 0}
            assert sum(row["requests"] for row in report["data"]) + rest["requests"] == 4, by
        assert (await ask("by=preset,model"))["other"]["requests"] == 2
        report = await ask("by=model&limit=1")
        assert ([row["model"] for row in report["data"]], report["other"]["charged_usd"]) == (["acme/fast"], "0.000000003")
        report = await ask("by=key,model&limit=1")
        assert ([(row["key_name"], row["model"]) for row in report["data"]], report["other"]["requests"]) == ([("first", "acme/fast")], 2)
        assert (await ask("limit=0"))["error"] and (await ask("zone=Mars"))["error"]

    tell(tmp_path, story)


def test_usage_by_arm(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        arm = {"split": "acme/assistant", "arm": "acme/fast:nitro"}
        house.journal.settle([generation(1, **arm), generation(2, **arm, total_us=500_000), generation(3)])
        report = (await house.admin.get("/admin/usage?by=split", headers=BEARER)).json()
        [row] = report["data"]
        assert (row["split"], row["arm"], row["requests"], row["completed"], row["failed"], row["retried"]) == (*arm.values(), 2, 2, 0, 0)
        assert (row["prompt_tokens"], row["charged_usd"], report["total"]["requests"]) == (200, "2.000000002", 2)
        assert row["first_token_p50_ms"] == pytest.approx(250.4, rel=0.05)
        assert (row["total_p50_ms"], row["total_p99_ms"]) == (pytest.approx(500, rel=0.05), pytest.approx(1500.6, rel=0.05))
        assert (await house.admin.get("/admin/usage?by=split&from=2025-11-22", headers=BEARER)).json()["data"] == []
        assert (await house.admin.get("/admin/usage?by=shadow", headers=BEARER)).json()["data"] == []
        for by, message in (
            ("colour", "by: one of key, team, user, app, preset, split, shadow, model, provider, day is expected"),
            ("key,key", "each once"),
            ("key,team", "by: only model and provider can be combined"),
            ("day,model", "by: day has rows of its own"),
        ):
            refused = await house.admin.get(f"/admin/usage?by={by}", headers=BEARER)
            assert (refused.status_code, message in refused.text) == (400, True), refused.text
        shown = (await house.admin.get("/admin/requests?limit=1", headers=BEARER)).json()["data"][0]
        assert (shown["split"], shown["arm"], shown["preset"], shown["preset_version"]) == ("", "", "", "")

    tell(tmp_path, story)
