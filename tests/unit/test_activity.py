"""`GET /activity`, on a real database and read by OpenRouter's own SDK."""

from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, FakeBatch, attempt, generation
from test_control import KEY, MANAGER, House, tell
from test_control_sdk import sdk


def settle(house: House, number: int, age_days: int, tried: bool = True, **changes: Any) -> None:
    row = generation(number, settled_at_ms=NOW_MS - age_days * DAY_MS, **changes)
    house.journal.records.append((row, [attempt(number, endpoint_id=7)] if tried else []))


async def keys_of(house: House) -> list[str]:
    """The public hashes of two keys of account 1."""
    response = await house.private.post("/admin/keys", headers={"x-fairlead-principal": "operator"}, json={"name": "second"})
    assert response.status_code == 201, response.text
    listed = await house.get("/admin/keys", headers={"x-fairlead-principal": "operator"})
    return [key["hash"] for key in sorted(listed["data"], key=lambda key: key["id"])]


def test_days_that_are_over_by_model_and_endpoint(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        first, second = await keys_of(house)
        settle(house, 1, 0)
        settle(house, 2, 1)
        settle(house, 3, 1, key_id=2, charged_nanousd=9)
        settle(house, 4, 30, model="acme/old")
        settle(house, 5, 31)
        settle(house, 6, 1, account_id=2, key_id=9)
        settle(house, 7, 1, tried=False, provider="", outcome="failed", charged_nanousd=0)
        data = (await house.get("/api/v1/activity", headers=MANAGER))["data"]
        assert [(row["date"], row["model"], row["requests"]) for row in data] == [
            ("2025-11-20", "acme/fast", 2),
            ("2025-10-22", "acme/old", 1),
        ]
        assert data[0] == {
            "date": "2025-11-20", "model": "acme/fast", "model_permaslug": "acme/fast", "endpoint_id": "7", "provider_name": "The Lab",
            "usage": 1.00000001, "byok_usage_inference": 0, "requests": 2, "prompt_tokens": 254, "completion_tokens": 100,
            "reasoning_tokens": 20, "cached_tokens": 40,
        }  # fmt: skip
        for query, wanted in [
            ("date=2025-11-20", [2]),
            ("date=2025-11-19", []),
            (f"api_key_hash={first}", [1, 1]),
            (f"api_key_hash={second}&date=2025-11-20", [1]),
            ("workspace_id=default", [2, 1]),
        ]:
            found = (await house.get(f"/v1/activity?{query}", headers=MANAGER))["data"]
            assert [row["requests"] for row in found] == wanted, query
            assert not any("workspace_id" in row for row in found)
        found = (await house.get("/api/v1/activity?group_by=workspace", headers=MANAGER))["data"]
        assert {row["workspace_id"] for row in found} == {"default"}
        read = await sdk(house, MANAGER).analytics.get_user_activity_async(request={"date_": "2025-11-20"})
        assert [(item.date_, item.usage, item.cached_tokens) for item in read.data] == [("2025-11-20", 1.00000001, 40)]

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("date=2025-11-21", 400, "date: a UTC day from 2025-10-22 to 2025-11-20 is expected, got '2025-11-21'"),
        ("date=2025-10-21", 400, "date: "),
        ("date=yesterday", 400, "date: "),
        ("date=20251120", 400, "date: "),
        ("date=", 400, "date: "),
        ("group_by=model", 400, "group_by: workspace is expected"),
        ("user_id=7", 400, "user_id: accounts have no members here"),
        ("api_key_hash=ab", 404, "api_key_hash: there is no such key in this account"),
        ("workspace_id=other", 404, "workspace_id: "),
    ],
)
def test_mistakes(tmp_path: Path, query: str, status: int, message: str) -> None:
    async def story(house: House) -> None:
        refused = await house.get(f"/api/v1/activity?{query}", headers=MANAGER, status=status)
        assert refused["error"]["message"].startswith(message)

    tell(tmp_path, story)


def test_a_key_of_another_account_is_none(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        [first, _] = await keys_of(house)
        stranger = {"x-fairlead-principal": "key=9;account=2;management=1"}
        await house.get(f"/api/v1/activity?api_key_hash={first}", headers=stranger, status=404)
        await house.get("/api/v1/activity", headers=KEY, status=403)
        assert (await house.get("/api/v1/activity", headers=stranger))["data"] == []

    tell(tmp_path, story)


def test_a_shadow_is_not_the_callers(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        settle(house, 1, 1)
        shadow = generation(
            1, model="acme/copy", provider="two", flags=128, charged_nanousd=0, upstream_cost_nanousd=7, settled_at_ms=NOW_MS - DAY_MS
        )
        plain = house.journal.open_reader

        def open_reader(cursors: Any) -> Any:
            reader = plain(cursors)
            read = reader.read

            def with_shadow(most: int) -> FakeBatch:
                batch = read(most)
                batch.shadows = [shadow] if batch.generations else []
                return batch

            reader.read = with_shadow  # type: ignore[method-assign]
            return reader

        house.desk.drainer._open_reader = open_reader
        house.desk.drainer._reader = None
        data = (await house.get("/api/v1/activity", headers=MANAGER))["data"]
        assert [row["model"] for row in data] == ["acme/fast"]

    tell(tmp_path, story)
