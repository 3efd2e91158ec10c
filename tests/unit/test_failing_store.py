"""The Nth statement of a change fails, N = 1, 2, … until none does: 503 with Retry-After, nothing half done, nothing told to the data
plane; and the same change, made again, is made once."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from control_rig import generation
from fairlead.control import drain
from test_account_keys import MANAGER as MANAGEMENT
from test_control import BEARER, House, tell
from test_credits import event, shop, signed

TABLES = ("accounts", "teams", "users", "keys", "budgets", "credit_entries", "payment_events", "meta", "audit")
Change = Callable[[House], Awaitable[httpx.Response]]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the database to take records again does not wait for long."""
    monkeypatch.setattr(drain, "BACKOFF_SECONDS", (0.01,))
    monkeypatch.setattr(drain.Drainer.catch_up, "__defaults__", (1.0,))


class Failing(sqlite3.Connection):
    """The disk fails at the statement with this index, and at every later one but a rollback."""

    left = 1_000_000

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._count(sql)
        return super().execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self._count(sql)
        return super().executemany(sql, *values)

    def _count(self, sql: str) -> None:
        self.left -= 1
        if self.left < 0 and sql != "ROLLBACK":
            raise sqlite3.OperationalError("disk I/O error")


def replaced(house: House) -> Failing:
    """The house's writer, which now fails when it is told to."""
    database = house.desk.database

    def work() -> Failing:
        database._connection.close()
        connection = sqlite3.connect(database.path, isolation_level=None, check_same_thread=False, factory=Failing)
        connection.execute("PRAGMA foreign_keys = ON")
        database._connection = connection
        return connection

    return database._writer.submit(work).result()


def state(house: House) -> dict[str, list[tuple[Any, ...]]]:
    with sqlite3.connect(house.desk.database.path) as plain:
        return {table: sorted(plain.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}


def operate(method: str, path: str, body: Any = None) -> Change:
    return lambda house: house.admin.request(method, path, json=body, headers=BEARER)


def paid(body: bytes) -> Change:
    return lambda house: house.admin.post("/webhooks/stripe", content=body, headers=signed(body))


CREDIT = {"account": "default", "usd": "10", "note": "paid", "external_id": "invoice-1"}
KEY = {"name": "ci", "limit": 5, "limit_reset": "monthly"}
LIMITS = {"rpm": 60, "budgets": [{"limit_usd": "5", "reset": "daily"}, {"limit_usd": "3", "reset": "monthly", "soft": True}]}
CHANGES: dict[str, tuple[list[Change], Change]] = {
    "a top-up": ([], operate("POST", "/admin/credits", CREDIT)),
    "a refund": (
        [operate("POST", "/admin/credits", CREDIT)],
        operate("POST", "/admin/credits/1/refund", {"usd": "4", "external_id": "back"}),
    ),
    "a key": ([], operate("POST", "/admin/keys", {"name": "ci"} | LIMITS)),
    "a key's limits": ([operate("POST", "/admin/keys", {"name": "ci"})], operate("PATCH", "/admin/keys/ci", LIMITS)),
    "a key that goes": ([operate("POST", "/admin/keys", {"name": "ci"} | LIMITS)], operate("DELETE", "/admin/keys/ci")),
    "a key, OpenRouter's way": ([], lambda house: house.private.post("/api/v1/keys", json=KEY, headers=MANAGEMENT)),
    "a team": ([], operate("POST", "/admin/teams", {"name": "blue"} | LIMITS)),
    "a team's limits": ([operate("POST", "/admin/teams", {"name": "blue"})], operate("PATCH", "/admin/teams/blue", LIMITS)),
    "an account": ([], operate("POST", "/admin/accounts", {"name": "other"} | LIMITS)),
    "a payment": ([], paid(event())),
    "a payment paid back": ([paid(event())], paid(event("evt_2", "charge.refunded", amount_refunded=200))),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_nth_statement_of_a_change_fails(tmp_path: Path, name: str) -> None:
    before, change = CHANGES[name]

    async def story(house: House) -> None:
        await shop(house)
        for first in before:
            assert (await first(house)).is_success
        connection = replaced(house)
        whole, told, failures = state(house), len(house.journal.deltas), 0
        while True:
            connection.left = failures
            reply = await change(house)
            connection.left = 1_000_000
            if reply.status_code != 503:
                break
            assert "disk I/O error" in reply.text and reply.headers["retry-after"] == "5"
            assert not connection.in_transaction, failures
            assert state(house) == whole, f"statement {failures} left something"
            assert len(house.journal.deltas) == told, f"statement {failures}: the data plane was told of what was not kept"
            failures += 1
        assert reply.is_success and failures > 3, (failures, reply.text)
        assert state(house) != whole and len(house.journal.deltas) == told + 1

    tell(tmp_path, story)


def test_reading_a_store_that_fails(tmp_path: Path) -> None:
    """Its readers fail, and then the writer that brings the records in: never a 401, an empty list, or a sum that lacks something."""

    async def story(house: House) -> None:
        def broken(*_: Any) -> Any:
            raise sqlite3.OperationalError("unable to open database file")

        working = house.desk.database._read
        house.desk.database._read = broken  # type: ignore[method-assign]
        for path in ("/admin/keys", "/admin/usage", "/admin/credits", "/admin/requests"):
            reply = await house.admin.get(path, headers=BEARER)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5"), path
        house.desk.database._read = working  # type: ignore[method-assign]
        connection = replaced(house)
        connection.left = 0
        house.journal.settle([generation(1)])
        house.desk.drainer.wake()
        reply = await house.admin.get("/admin/usage", headers=BEARER)
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
        connection.left = 1_000_000
        reply = await house.admin.get("/admin/usage", headers=BEARER)
        assert reply.json()["total"]["requests"] == 1

    tell(tmp_path, story)
