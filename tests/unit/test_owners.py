"""Accounts, teams, users and limits: through the operator's routes, in the deltas, from the configuration file."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from control_rig import DAY_MS, NOW_MS, FakeJournal, generation
from fairlead.config import Budget, ConfigKey, ConfigTeam, ConfigUser, Limits
from fairlead.config.amounts import BadAmount, nanousd, nanousd_of_number
from fairlead.control import spending
from fairlead.control.db import Database, ledger, scopes
from fairlead.control.db.ledger import Entry
from fairlead.control.db.queries import GENERATION_COLUMNS
from fairlead.control.directory import Directory, NewKey, conflicts
from hypothesis import given
from hypothesis import strategies as st
from test_control import BEARER, KEY, SECRET, House, tell

DOLLAR = 10**9


def told(house: House) -> Any:
    return json.loads(house.journal.deltas[-1])


async def ask(house: House, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    response = await house.admin.request(method, path, headers=BEARER, content=content)
    assert response.status_code == status, response.text
    return response.json()


# --- amounts --------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**18))
def test_every_amount_of_nano_dollars_survives_its_text(value: int) -> None:
    text = f"{value // DOLLAR}.{value % DOLLAR:09d}"
    assert nanousd(text) == nanousd_of_number(text) == value
    assert nanousd_of_number(f"{value}e-9") == value
    assert nanousd(f"-{text}", signed=True) == -value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-1", "is negative"),
        ("0.0000000001", "has more than 9 decimals"),
        ("1000000000.000000001", "is more than 1000000000 dollars"),
        ("", "is not a"),
        ("1.", "is not a"),
        (".5", "is not a"),
        ("1,5", "is not a"),
        ("1e3", "is not a"),
        ("NaN", "is not a"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "is not a"),
        ("$5", "is not a"),
        (" 5", "is not a"),
    ],
)
def test_what_is_no_amount_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadAmount, match=why):
        nanousd(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("-0.5", "is negative"),
        ("1e-10", "has more than 9 decimals"),
        ("1e-999999999", "has more than 9 decimals"),
        ("1e999999999", "is more than"),
        ("1000000001", "is more than"),
        ("Infinity", "is not a number"),
    ],
)
def test_what_is_no_number_of_dollars_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadAmount, match=why):
        nanousd_of_number(text)


@pytest.mark.parametrize(("text", "value"), [("0e9999999", 0), ("-0", 0), ("1.50000000000", 1_500_000_000), ("5E-1", 500_000_000)])
def test_numbers_that_look_odd_are_exact(text: str, value: int) -> None:
    assert nanousd_of_number(text) == value


# --- the operator's routes ------------------------------------------------------------------------------------------------


def test_limits_of_a_key_are_told_before_it_is_answered_for(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        wanted = {
            "name": "ci", "limit_usd": "5", "limit_reset": "daily", "rpm": 60, "tpm": 100_000, "max_concurrency": 8, "strict_budget": True,
            "budgets": [{"limit_usd": "3.5", "reset": "daily"}, {"limit_usd": "100", "reset": "monthly", "soft": True}],
        }  # fmt: skip
        made = (await ask(house, "POST", "/admin/keys", wanted, 201))["data"]
        assert told(house)["upsert"][0]["strict_budget"] is True
        # Of two hard limits of a day the smaller binds.
        assert told(house)["scopes"] == [
            {
                "kind": "key", "id": 2, "rpm": 60, "tpm": 100_000, "max_concurrency": 8, "granted_nanousd": None,
                "budgets": [
                    {"interval": "day", "limit_nanousd": 3_500_000_000, "soft": False},
                    {"interval": "month", "limit_nanousd": 100 * DOLLAR, "soft": True},
                ],
            }
        ]  # fmt: skip
        shown = {name: made[name] for name in ("limit_usd", "limit_reset", "rpm", "tpm", "max_concurrency", "strict_budget", "limit")}
        assert shown == {
            "limit_usd": "5", "limit_reset": "daily", "rpm": 60, "tpm": 100_000, "max_concurrency": 8, "strict_budget": True, "limit": 5
        }  # fmt: skip
        house.journal.settle([generation(1, key_id=2, charged_nanousd=1_250_000_001)])
        shown = (await ask(house, "GET", "/admin/keys/ci"))["data"]
        assert shown["limit_remaining_usd"] == "3.749999999"
        assert shown["budgets"][1] == {
            "limit_usd": "100", "reset": "monthly", "soft": True, "spent_usd": "1.250000001", "remaining_usd": "98.749999999"
        }  # fmt: skip
        # What the data plane counts is ahead of the database.
        house.journal.counted["key", 2] = (2 * DOLLAR, 2 * DOLLAR, 2 * DOLLAR, 2 * DOLLAR, 0)
        assert (await ask(house, "GET", "/admin/keys/ci"))["data"]["limit_remaining_usd"] == "3"
        changed = await ask(house, "PATCH", "/admin/keys/ci", {"limit_usd": None, "limit_reset": None, "rpm": None, "budgets": []})
        assert (changed["data"]["limit_usd"], changed["data"]["rpm"], changed["data"]["tpm"]) == (None, None, 100_000)
        assert told(house)["scopes"] == [{"kind": "key", "id": 2, "tpm": 100_000, "max_concurrency": 8, "granted_nanousd": None}]

    tell(tmp_path, story)


def test_accounts_teams_and_users_live_and_are_told(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        account = (await ask(house, "POST", "/admin/accounts", {"name": "acme", "rpm": 100}, 201))["data"]
        assert told(house)["scopes"] == [{"kind": "account", "id": 2, "rpm": 100, "granted_nanousd": None}]
        assert (account["id"], account["balance_usd"]) == (2, "0")
        team = (await ask(house, "POST", "/admin/teams", {"name": "red", "account": "acme", "limit_usd": "9"}, 201))["data"]
        assert told(house)["scopes"][0]["budgets"] == [{"interval": "total", "limit_nanousd": 9 * DOLLAR, "soft": False}]
        user = (await ask(house, "POST", "/admin/users", {"name": "ann", "account": "acme", "team": "red"}, 201))["data"]
        assert (team["account"], user["team"], user["source"]) == ("acme", "red", "made")
        key = (await ask(house, "POST", "/admin/keys", {"name": "k", "account": "acme", "user": "ann"}, 201))["data"]
        assert (key["account"], key["team"], key["user"]) == ("acme", "red", "ann")
        assert [told(house)["upsert"][0][name] for name in ("account", "team", "user")] == [2, 1, 1]
        house.journal.settle([generation(1, account_id=2, team_id=1, user_id=1, key_id=key["id"], charged_nanousd=7)])
        assert (await ask(house, "GET", "/admin/teams/red"))["data"]["limit_remaining_usd"] == "8.999999993"
        assert (await ask(house, "GET", "/admin/users/1"))["data"]["usage_daily_usd"] == "0.000000007"
        assert [each["name"] for each in (await ask(house, "GET", "/admin/accounts"))["data"]] == ["default", "acme"]
        # What still has members stays.
        for path in ("accounts/acme", "teams/red", "users/ann"):
            refused = await ask(house, "DELETE", f"/admin/{path}", status=409)
            assert "still has" in refused["error"]["message"] and "key 2 (k)" in refused["error"]["message"]
        await ask(house, "PATCH", "/admin/keys/k", {"team": "", "user": ""})
        assert [told(house)["upsert"][0][name] for name in ("team", "user")] == [0, 0]
        assert (await ask(house, "DELETE", "/admin/users/ann"))["data"] == {"id": 1, "deleted": True}
        await ask(house, "DELETE", "/admin/teams/red")
        # The name is free again, the id is not.
        assert (await ask(house, "POST", "/admin/teams", {"name": "red", "account": "acme"}, 201))["data"]["id"] == 2
        assert (await ask(house, "PATCH", "/admin/teams/red", {"name": "blue"}))["data"]["name"] == "blue"

    tell(tmp_path, story)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/admin/keys", {"name": "x", "limit_usd": "-1"}, 400, "limit_usd: '-1' is negative; 0 or more is expected"),
        ("POST", "/admin/keys", {"name": "x", "limit_usd": "five"}, 400, "limit_usd: 'five' is not a decimal number of US dollars"),
        ("POST", "/admin/keys", {"name": "x", "limit_usd": 5}, 400, "body: Expected `str | null`, got `int` - at `$.limit_usd`"),
        ("POST", "/admin/keys", {"name": "x", "limit_usd": "1.0000000001"}, 400, "limit_usd: '1.0000000001' has more than 9 decimals"),
        ("POST", "/admin/keys", {"name": "x", "limit_reset": "daily"}, 400, "limit_reset: there is no limit that it could reset"),
        (
            "POST",
            "/admin/keys",
            {"name": "x", "limit_usd": "1", "limit_reset": "yearly"},
            400,
            "limit_reset: daily, weekly, monthly or null is expected, got 'yearly'",
        ),
        (
            "POST",
            "/admin/keys",
            {"name": "x", "max_concurrency": 1_000_001},
            400,
            "body: Expected `int` <= 1000000 - at `$.max_concurrency`",
        ),
        ("POST", "/admin/keys", {"name": "x", "rpm": 0}, 400, "body: Expected `int` >= 1 - at `$.rpm`"),
        ("POST", "/admin/keys", {"name": "x", "team": "none"}, 400, "team: there is no team 'none'"),
        ("POST", "/admin/keys", {"name": "x", "team": "foreign"}, 400, "team: there is no team 'foreign'"),
        ("PATCH", "/admin/keys/1", {"user": "foreign"}, 400, "user: there is no user 'foreign'"),
        ("POST", "/admin/keys", {"name": "x", "budgets": [{"limit_usd": "x"}]}, 400, "budgets[0].limit_usd: 'x' is not a decimal"),
        ("POST", "/admin/keys", {"name": "x", "budgets": [{"limit_usd": "1", "reset": "day"}]}, 400, "budgets[0].reset: daily, weekly"),
        ("POST", "/admin/keys", {"name": "x", "budgets": [{"limit_usd": "1"}] * 2}, 400, "budgets[1]: another budget has the same reset"),
        ("POST", "/admin/teams", {"name": "file"}, 409, "the team 'file' is there already; choose another name"),
        ("POST", "/admin/teams", {"name": "x", "account": "y"}, 400, "account: there is no account 'y'"),
        ("POST", "/admin/users", {"name": "x", "team": "foreign"}, 400, "team: there is no team 'foreign'"),
        ("POST", "/admin/accounts", {"name": "default"}, 409, "the account 'default' is there already"),
        ("PATCH", "/admin/teams/file", {"rpm": 5}, 409, "the team 'file' is defined in the configuration file as [teams.file]; change it"),
        ("DELETE", "/admin/users/file", None, 409, "the user 'file' is defined in the configuration file as [users.file]; change it"),
        ("DELETE", "/admin/accounts/default", None, 409, "the account 'default' is there from the start and stays"),
        ("PATCH", "/admin/teams/foreign", {}, 400, "nothing to change: one of limit_usd, "),
        ("PATCH", "/admin/teams/gone", {"rpm": 5}, 404, "there is no team 'gone'"),
        ("GET", "/admin/users/77", None, 404, "there is no user '77'"),
        ("GET", "/admin/teams/foreign?account=default", None, 404, "there is no team 'foreign'"),
        ("GET", "/admin/teams/twin", None, 409, "several teams are called 'twin': "),
        ("GET", "/admin/teams/foreign?account=nobody", None, 400, "account: there is no account 'nobody'"),
    ],
)
def test_mistakes_with_limits_and_owners(tmp_path: Path, method: str, path: str, body: Any, status: int, message: str) -> None:
    async def story(house: House) -> None:
        house.desk.directory.sync_file([], [ConfigTeam("file")], [ConfigUser("file")])
        await ask(house, "POST", "/admin/accounts", {"name": "acme"}, 201)
        for kind in ("teams", "users"):
            await ask(house, "POST", f"/admin/{kind}", {"name": "foreign", "account": "acme"}, 201)
        for account in ("acme", "default"):
            await ask(house, "POST", "/admin/teams", {"name": "twin", "account": account}, 201)
        before = len(house.journal.deltas)
        refused = await ask(house, method, path, body, status)
        assert refused["error"]["message"].startswith(message), refused
        assert len(house.journal.deltas) == before, "what was refused is told to nobody"

    tell(tmp_path, story)


# --- the configuration file -----------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(tmp_path / "fairlead.db")
    yield database
    database.close()


OWNED = Limits(limit_nanousd=5 * DOLLAR, limit_interval="day", rpm=9, budgets=(Budget("month", 7, soft=True),))
FILE_KEY = ConfigKey("ci", "s" * 40, (), False, account="acme", team="red", user="ann", limits=OWNED, strict_budget=True)
FILE_TEAM, FILE_USER = ConfigTeam("red", "acme", Limits(tpm=5)), ConfigUser("ann", "acme", "red", Limits(max_concurrency=2))


def test_what_the_file_owns_is_made_told_and_comes_back_under_its_id(database: Database) -> None:
    journal = FakeJournal()
    directory = Directory(database, SECRET, journal, lambda: NOW_MS)
    assert directory.publish_all([FILE_KEY], [FILE_TEAM], [FILE_USER]) == 1
    first = json.loads(journal.deltas[-1])
    assert [first["upsert"][0][name] for name in ("account", "team", "user", "strict_budget")] == [2, 1, 1, True]
    assert {(scope["kind"], scope["id"]) for scope in first["scopes"]} == {("team", 1), ("user", 1), ("key", 1)}
    directory.sync_file([])
    assert json.loads(journal.deltas[-1])["delete"] == [1]
    assert database.read_now(lambda connection: scopes.scopes(connection, "team")) == []
    directory.sync_file([FILE_KEY], [FILE_TEAM], [FILE_USER])
    again = json.loads(journal.deltas[-1])
    assert (again["upsert"], {scope["id"] for scope in again["scopes"]}) == (first["upsert"], {1})
    assert {scope["kind"]: scope for scope in again["scopes"]}["key"]["budgets"][0]["limit_nanousd"] == 5 * DOLLAR


def test_what_stands_in_the_way_of_a_file_is_said(database: Database) -> None:
    directory = Directory(database, SECRET, None, lambda: NOW_MS)
    directory.publish_all([], [FILE_TEAM], [FILE_USER])
    directory.create(NewKey(name="mine", account="acme", team="red"))

    def found(teams: list[ConfigTeam], users: list[ConfigUser]) -> list[tuple[tuple[str | int, ...], str]]:
        return database.read_now(lambda connection: conflicts(connection, SECRET, [], teams, users))

    assert found([FILE_TEAM], [FILE_USER]) == []
    assert found([], []) == [(("teams",), 'the team "red" is no longer here, but key 1 (mine) belong to it: put it back, or delete them')]


def test_credit_is_told_where_it_is_needed(database: Database) -> None:
    journal = FakeJournal()
    directory = Directory(database, SECRET, journal, lambda: NOW_MS)
    directory.publish_all()
    entry = Entry(account_id=1, at_ms=NOW_MS, kind="topup", amount_nanousd=5 * DOLLAR)
    directory.enter(lambda connection: [entry])
    assert json.loads(journal.deltas[-1])["scopes"] == [{"kind": "account", "id": 1, "bought_nanousd": 5 * DOLLAR, "granted_nanousd": None}]
    directory.sync_file([], enforce_credits=True)
    assert json.loads(journal.deltas[-1])["scopes"] == [
        {"kind": "account", "id": 1, "bought_nanousd": 5 * DOLLAR, "granted_nanousd": 5 * DOLLAR}
    ]
    directory.enter(lambda connection: [entry])
    assert json.loads(journal.deltas[-1])["scopes"][0]["granted_nanousd"] == 10 * DOLLAR
    directory.publish_all(enforce_credits=True)
    whole = json.loads(journal.deltas[-1])
    account = {"kind": "account", "id": 1, "bought_nanousd": 10 * DOLLAR, "granted_nanousd": 10 * DOLLAR}
    assert (whole["replace"], whole["scopes"]) == (True, [account])
    told = len(journal.deltas)
    directory.sync_file([], enforce_credits=True)
    assert len(journal.deltas) == told, "nothing changed, so nothing is told"
    assert ledger.granted(sqlite3.connect(database.path), 1) == 10 * DOLLAR


# --- what was spent -------------------------------------------------------------------------------------------------------


def test_the_data_plane_begins_with_what_was_spent(tmp_path: Path) -> None:
    async def story(house: House) -> None:
        last_month = NOW_MS - 30 * DAY_MS
        house.journal.settle([
            generation(1, key_id=1, team_id=3, charged_nanousd=1),
            generation(2, key_id=2, settled_at_ms=NOW_MS - 4 * DAY_MS, charged_nanousd=20),
            generation(3, key_id=2, account_id=1, user_id=4, settled_at_ms=last_month, charged_nanousd=300),
        ])  # fmt: skip
        await house.get("/v1/key", KEY)
        stored = json.loads(await house.desk.database.read(lambda connection: spending.stored(connection, NOW_MS)))
        rows = {(row["kind"], row["id"]): (row["day"], row["week"], row["month"], row["total"]) for row in stored["scopes"]}
        assert rows == {
            ("account", 1): (1, 21, 21, 321),
            ("team", 3): (1, 1, 1, 1),
            ("user", 4): (0, 0, 0, 300),
            ("key", 1): (1, 1, 1, 1),
            ("key", 2): (0, 20, 20, 320),
        }
        assert stored["at_ms"] == NOW_MS

    tell(tmp_path, story)


def test_the_data_plane_begins_with_what_was_taken_of_rates(tmp_path: Path) -> None:
    def begun(number: int, ago_ms: int, **more: Any) -> tuple[Any, ...]:
        at_ms = NOW_MS - ago_ms
        id = f"gen-{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}-7000-8000-{number:012x}"
        unused = dict.fromkeys((name for name in GENERATION_COLUMNS if name.endswith("_tokens")), 0)
        return generation(number, **(unused | {"id": id, "started_at_ms": at_ms, "settled_at_ms": NOW_MS} | more))

    async def story(house: House) -> None:
        free, today_ms = 256, NOW_MS % DAY_MS
        used = {
            "prompt_tokens": 1,
            "cache_read_tokens": 20,
            "cache_write_tokens": 300,
            "cache_write_1h_tokens": 4000,
            "completion_tokens": 50_000,
        }
        house.journal.settle([
            begun(1, 60_000, key_id=1, team_id=3, **used),
            begun(2, 0, key_id=2, user_id=4, flags=free | 1, prompt_tokens=7),
            begun(3, 60_001, key_id=2, flags=free, prompt_tokens=9),
            begun(4, today_ms, key_id=1, flags=free),
            begun(5, today_ms + 1, key_id=1, flags=free),
            begun(6, 1000, key_id=2, account_id=2),
        ])  # fmt: skip
        await house.get("/v1/key", KEY)
        stored = json.loads(await house.desk.database.read(lambda connection: spending.stored(connection, NOW_MS)))
        assert {(row["kind"], row["id"]): (row["requests"], row["tokens"]) for row in stored["recent"]} == {
            ("account", 1): (2, 54_328),
            ("account", 2): (1, 0),
            ("team", 3): (1, 54_321),
            ("user", 4): (1, 7),
            ("key", 1): (1, 54_321),
            ("key", 2): (2, 7),
        }
        assert stored["free"] == [{"id": 1, "day": 3, "minute": 1}]

    tell(tmp_path, story)
