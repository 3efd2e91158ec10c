"""A database that does not answer under a running gateway: paid work goes on by the journal, within its limits; whoever asks the store is
told to come again; and afterwards everything is there once."""

import contextlib
import sqlite3
from collections.abc import Iterator
from decimal import Decimal

from e2e.house import Gateway, ProviderProcess, configuration
from e2e.wire import body_of

SMALL = "sk-fl-v1-" + "5a11" * 16
LIMIT_USD = "0.005"
KEYS = f"""
[keys.small]
secret = "{SMALL}"
limit_usd = "{LIMIT_USD}"
strict_budget = true
"""


@contextlib.contextmanager
def locked(gateway: Gateway) -> Iterator[None]:
    """Another process has the database for itself."""
    with contextlib.closing(sqlite3.connect(gateway.data_dir / "fairlead.db", isolation_level=None, timeout=20)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_store_that_does_not_answer() -> None:
    with ProviderProcess() as provider, Gateway(configuration(provider.address, tables=KEYS)) as gateway:
        body = body_of("Hello", model="lab/fast", sim={"tag": 1, "tokens": 20}, max_tokens=20)
        assert gateway.post("/v1/chat/completions", body, key=SMALL).status == 200
        paid = 1
        with locked(gateway):
            statuses = [gateway.post("/v1/chat/completions", body).status for _ in range(5)]
            assert statuses == [200] * 5, "traffic needs no database"
            while (reply := gateway.post("/v1/chat/completions", body, key=SMALL)).status == 200:
                paid += 1
                assert paid < 1000
            assert reply.status == 402 and paid > 1, "a limit holds without it, too"
            for reply in (
                gateway.get("/api/v1/key"),
                gateway.get("/api/v1/generation?id=gen-1"),
                gateway.operate("GET", "/admin/usage"),
                gateway.operate("POST", "/admin/keys", {"name": "new"}),
                gateway.operate("POST", "/admin/credits", {"account": "default", "usd": "1"}),
            ):
                assert (reply.status, int(reply.headers["retry-after"]) > 0) == (503, True), reply.body
            assert gateway.get("/api/v1/key", key="sk-fl-v1-" + "0" * 64).status == 401, "a key that is none stays one"
        rows = gateway.generations()
        assert len(rows) == paid + 5
        key = gateway.get("/api/v1/key", key=SMALL).json()["data"]
        assert 0 < Decimal(str(key["usage"])) <= Decimal(LIMIT_USD)
        assert gateway.operate("POST", "/admin/keys", {"name": "new"}).status == 201, "what was refused was not done"
        assert gateway.operate("GET", "/admin/credits").json()["data"] == []
        assert gateway.stop() == 0
