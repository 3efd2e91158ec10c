"""`[storage] retention_days` through the front door: rows go, and the money that they were stays."""

import sqlite3
from collections.abc import Iterator

import pytest

from e2e.house import Gateway, Provider, configuration, until

DAY_MS = 86_400_000
ASK = {"model": "lab/fast", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def gateway(provider: Provider) -> Iterator[Gateway]:
    with Gateway(configuration(provider.address)) as running:
        yield running


def test_rows_go_and_the_books_are_right(gateway: Gateway, provider: Provider) -> None:
    old = [gateway.post("/v1/chat/completions", ASK).generation for _ in range(5)]
    assert {gateway.generation(id)["outcome"] for id in old} == {"completed"}
    assert gateway.stop() == 0
    with sqlite3.connect(gateway.data_dir / "fairlead.db") as database:
        # As if they had been asked for forty days ago.
        database.execute("UPDATE generations SET settled_at_ms = settled_at_ms - ?", (40 * DAY_MS,))
        for table in ("usage_rollup", "usage_pair", "latency_hist", "error_rollup"):
            database.execute(f"UPDATE {table} SET start_ms = start_ms - ?", (40 * DAY_MS,))
    gateway.start()
    fresh = gateway.post("/v1/chat/completions", ASK).generation
    gateway.generation(fresh)
    used = gateway.get("/api/v1/key").json()["data"]["usage"]

    text = gateway.config.read_text() if gateway.config else ""
    assert gateway.config is not None
    gateway.config.write_text(text + "\n[storage]\nretention_days = 1\n")
    reply = gateway.operate("POST", "/admin/reload")
    assert reply.status == 200 and "at the next start" not in reply.body.decode()
    until(lambda: [row["id"] for row in gateway.generations()] == [fresh], "old rows are gone")

    assert gateway.get(f"/api/v1/generation?id={old[0]}").status == 404
    assert gateway.get("/api/v1/key").json()["data"]["usage"] == used > 0
    verified = gateway.run("ledger", "verify")
    assert verified.returncode == 0, verified.stdout
    exported = gateway.run("ledger", "export", "--only", "charges")
    assert exported.stdout.count("charge,") == 1 and "storage.retention_days" in exported.stderr
    today = gateway.run("ledger", "export", "--only", "charges", "--from", "2999-01-01")
    assert today.returncode == 0 and today.stderr == ""
