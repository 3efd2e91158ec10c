"""OpenRouter's account API: `/keys`, `/key` with limits and budgets, `/credits`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from control_rig import NOW_MS, generation
from fairlead.config import Budget, ConfigTeam, ConfigUser, Limits
from fairlead.control.db.ledger import Entry
from fairlead.control.directory import NewKey, NewScope
from fairlead.control.windows import resets_at
from test_control import KEY, MANAGER, House, tell
from test_control_sdk import sdk

DOLLAR = 10**9
OTHER = {"x-fairlead-principal": "key=9;account=2;management=1"}


async def ask(house: House, method: str, path: str, body: str | None = None, status: int = 200, headers: Any = MANAGER) -> Any:
    response = await house.private.request(method, f"/api/v1{path}", headers=headers, content=body)
    assert response.status_code == status, response.text
    return response


def told(house: House) -> Any:
    return json.loads(house.journal.deltas[-1])


def test_a_management_key_keeps_its_accounts_keys(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        wanted = (
            '{"name":"ci","limit":12.345678901,"limit_reset":"weekly","include_byok_in_limit":true,"expires_at":"2026-01-01T00:00:00Z"}'
        )
        made = await ask(house, "POST", "/keys", wanted, 201)
        # The number has the digits that were sent, not those of a binary fraction.
        assert '"limit":12.345678901,"limit_remaining":12.345678901,"limit_reset":"weekly"' in made.text
        key, data = made.json()["key"], made.json()["data"]
        assert key.startswith("sk-fl-v1-") and key not in json.dumps(data)
        assert (data["name"], data["include_byok_in_limit"], data["workspace_id"]) == ("ci", True, "default")
        assert told(house)["scopes"][0]["budgets"] == [{"interval": "week", "limit_nanousd": 12_345_678_901, "soft": False}]
        path = f"/keys/{data['hash']}"
        house.journal.settle([generation(1, key_id=2, charged_nanousd=345_678_901)])
        assert '"limit_remaining":12,' in (await ask(house, "GET", path)).text
        changed = (await ask(house, "PATCH", path, '{"limit":1e-9,"limit_reset":null,"disabled":true,"name":"ci 2"}')).json()["data"]
        assert (changed["limit"], changed["limit_reset"], changed["disabled"], changed["name"]) == (1e-9, None, True, "ci 2")
        assert changed["updated_at"] is not None
        for query, names in [
            ("", ["first"]),
            ("?include_disabled=true", ["first", "ci 2"]),
            ("?include_disabled=true&offset=1", ["ci 2"]),
            ("?offset=2", []),
            ("?workspace_id=default", ["first"]),
        ]:
            listed = (await ask(house, "GET", f"/keys{query}")).json()["data"]
            assert [each["name"] for each in listed] == names, query
        await ask(house, "PATCH", path, '{"limit":null,"disabled":false}')
        assert told(house)["scopes"] == [{"kind": "key", "id": 2, "granted_nanousd": None}]
        assert (await ask(house, "DELETE", path)).json() == {"deleted": True}
        assert told(house)["delete"] == [2]
        await ask(house, "GET", path, status=404)

    tell(tmp_path, story)


def test_keys_of_others_and_management_keys_are_not_there(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        house.desk.directory.create_scope(NewScope("account", "acme"))
        theirs, _ = house.desk.directory.create(NewKey(name="theirs", account="acme"))
        boss, _ = house.desk.directory.create(NewKey(name="boss", management=True))
        mine, _ = house.desk.directory.create(NewKey(name="mine"))
        told_before = len(house.journal.deltas)
        for hash in (theirs.public_hash, boss.public_hash, "x", str(mine.id), mine.name):
            for method, body in (("GET", None), ("PATCH", '{"disabled":true}'), ("DELETE", None)):
                refused = (await ask(house, method, f"/keys/{hash}", body, 404)).json()
                assert refused["error"]["metadata"]["error_type"] == "not_found"
        assert len(house.journal.deltas) == told_before
        assert [key["name"] for key in (await ask(house, "GET", "/keys", headers=OTHER)).json()["data"]] == ["theirs"]
        await ask(house, "DELETE", f"/keys/{mine.public_hash}", status=404, headers=OTHER)
        for method, path in (("GET", "/keys?workspace_id=acme"), ("POST", "/keys")):
            body = '{"name":"x","workspace_id":"acme"}' if method == "POST" else None
            assert "there is no workspace 'acme'" in (await ask(house, method, path, body, 404)).text

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"name":"x","limit":-1}', "limit: -1 is negative; 0 or more is expected"),
        ('{"name":"x","limit":"5"}', 'limit: "5" is not a number of US dollars, such as 2.5'),
        ('{"name":"x","limit":true}', "limit: true is not a number"),
        ('{"name":"x","limit":0.0000000001}', "limit: 0.0000000001 has more than 9 decimals"),
        ('{"name":"x","limit":1e30}', "limit: 1e30 is more than 1000000000 dollars"),
        ('{"name":"x","limit":5,"limit_reset":"hourly"}', "limit_reset: daily, weekly, monthly or null is expected, got 'hourly'"),
        ('{"name":"x","limit_reset":"daily"}', "limit_reset: there is no limit that it could reset"),
        ('{"name":"x","colour":1}', "body: Object contains unknown field `colour`"),
        ('{"limit":5}', "body: Object missing required field `name`"),
        ('{"name":"x","creator_user_id":"nobody"}', "creator_user_id: there is no user 'nobody'"),
        ('{"name":"x","expires_at":"2020-01-01T00:00:00Z"}', "expires_at: this moment has passed"),
        ("{", "body: Input data was truncated"),
    ],
)
def test_mistakes_in_openrouters_shape(tmp_path: Path, body: str, message: str) -> None:
    async def story(house: House) -> None:
        refused = (await ask(house, "POST", "/keys", body, 400)).json()["error"]
        assert refused["message"].startswith(message), refused
        assert (refused["code"], refused["metadata"]["error_type"]) == (400, "invalid_request")

    tell(tmp_path, story)


def test_a_key_knows_all_budgets_of_its_calls(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        directory = house.desk.directory
        directory.sync_file(
            [],
            [ConfigTeam("red", limits=Limits(budgets=(Budget("month", 50 * DOLLAR), Budget("day", 1, soft=True))))],
            [ConfigUser("ann", team="red", limits=Limits(limit_nanousd=4 * DOLLAR, limit_interval="day"))],
        )
        limits = Limits(limit_nanousd=9 * DOLLAR, limit_interval="week", budgets=(Budget("total", 20 * DOLLAR),))
        key, _ = directory.create(NewKey(name="ann's", user="ann", limits=limits))
        house.journal.settle([generation(1, key_id=key.id, team_id=1, user_id=1, charged_nanousd=DOLLAR)])
        # Of the team the data plane has counted more than the database: another key's call, not yet stored.
        house.journal.counted["team", 1] = (0, 0, 48 * DOLLAR, 48 * DOLLAR, 5)
        principal = {"x-fairlead-principal": f"key={key.id};account=1;management=0"}
        data = (await ask(house, "GET", "/key", headers=principal)).json()["data"]
        assert (data["limit"], data["limit_remaining"], data["limit_reset"]) == (9, 8, "weekly")
        shown = [
            (each["scope"], each["limit_usd"], each["spend_usd"], each["remaining_usd"], each["resets_at"]) for each in data["budgets"]
        ]
        assert shown == [
            ("member", 4, 1, 3, "2025-11-22T00:00:00.000Z"),
            ("team", 50, 48, 2, "2025-12-01T00:00:00.000Z"),
            ("api_key", 20, 1, 19, None),
            ("key_limit", 9, 1, 8, "2025-11-24T00:00:00.000Z"),
        ]
        assert data["effective_budget"] == data["budgets"][1]
        assert data["creator_user_id"] == "ann"
        house.journal.counted["key", key.id] = (DOLLAR, 9 * DOLLAR, 9 * DOLLAR, 9 * DOLLAR, 0)
        data = (await ask(house, "GET", "/key", headers=principal)).json()["data"]
        assert (data["limit_remaining"], data["usage"], data["effective_budget"]["scope"]) == (0, 9, "key_limit")

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("moment", "interval", "expected"),
    [
        ("2025-12-31T23:59:59", "day", "2026-01-01T00:00:00.000Z"),
        ("2025-12-31T23:59:59", "week", "2026-01-05T00:00:00.000Z"),
        ("2025-12-31T23:59:59", "month", "2026-01-01T00:00:00.000Z"),
        ("2026-01-05T00:00:00", "week", "2026-01-12T00:00:00.000Z"),
        ("2028-02-29T12:00:00", "month", "2028-03-01T00:00:00.000Z"),
        ("2028-02-29T12:00:00", "total", None),
    ],
)
def test_when_budgets_begin_anew(moment: str, interval: str, expected: str | None) -> None:
    at_ms = round(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() * 1000)
    assert resets_at(interval, at_ms) == expected


@pytest.mark.filterwarnings("ignore:.*DEPRECATED:DeprecationWarning")
def test_openrouters_sdk_reads_and_writes_keys(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        manager: Any = sdk(house, MANAGER)
        expires_at = datetime.fromtimestamp(NOW_MS / 1000 + 90_000, UTC).replace(microsecond=0)
        made = await manager.api_keys.create_async(name="ci", limit=2.5, limit_reset="daily", expires_at=expires_at)
        assert (made.data.limit, made.data.limit_reset, made.data.expires_at) == (2.5, "daily", expires_at)
        hash = made.data.hash
        assert [key.hash for key in (await manager.api_keys.list_async()).data][-1] == hash
        assert (await manager.api_keys.get_async(hash=hash)).data.limit_remaining == 2.5
        assert (await manager.api_keys.update_async(hash=hash, limit=None)).data.limit is None
        assert (await manager.api_keys.delete_async(hash=hash)).DELETED is True
        limited, _ = house.desk.directory.create(NewKey(name="x", limits=Limits(limit_nanousd=DOLLAR)))
        client: Any = sdk(house, {"x-fairlead-principal": f"key={limited.id};account=1;management=0"})
        data = (await client.api_keys.get_current_key_metadata_async()).data
        assert (data.effective_budget.scope, data.effective_budget.remaining_usd, data.is_free_tier) == ("key_limit", 1, False)

    tell(tmp_path, story)


def test_who_has_bought_nothing_where_credit_is_needed_is_on_the_free_tier(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        assert (await ask(house, "GET", "/key", headers=KEY)).json()["data"]["is_free_tier"] is False
        house.desk.credits.enforce = True
        assert (await ask(house, "GET", "/key", headers=KEY)).json()["data"]["is_free_tier"] is True

    tell(tmp_path, story)


def test_requests_to_free_models_are_told(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        async def told() -> tuple[bool, dict[str, int]]:
            data = (await ask(house, "GET", "/key", headers=KEY)).json()["data"]
            return data["is_free_tier"], data["free_model_daily_requests"]

        assert await told() == (False, {"limit": -1, "used": 0, "remaining": -1})
        house.journal.free[1] = (50, 12)
        assert await told() == (True, {"limit": 50, "used": 12, "remaining": 38})
        # After a limit was lowered.
        house.journal.free[1] = (10, 12)
        assert await told() == (True, {"limit": 10, "used": 12, "remaining": 0})
        topup = Entry(account_id=1, at_ms=NOW_MS, kind="topup", amount_nanousd=1)
        house.desk.directory.enter(lambda connection: [topup])
        assert (await told())[0] is False

    tell(tmp_path, story)
