"""What an account did, through the front door: sums that are the records', also of a database that never had any."""

import sqlite3
from contextlib import closing
from decimal import Decimal

from e2e.house import KEY, MANAGEMENT_KEY, Gateway, Provider, billed_nanousd, configuration
from e2e.wire import PATHS, body_of


def test_activity_and_analytics_add_up_to_what_was_billed(provider: Provider) -> None:
    mark = provider.mark()
    with Gateway(configuration(provider.address)) as gateway:
        for _ in range(3):
            assert gateway.post(PATHS["openai_chat"], body_of(model="lab/fast", sim={"tokens": 20})).status == 200
        billed = sum(map(billed_nanousd, provider.since(mark, expected=3)))
        query = {"metrics": ["total_usage", "request_count", "tokens_completion"], "dimensions": ["model"], "granularity": "day"}
        reply = gateway.post("/api/v1/analytics/query", query, key=MANAGEMENT_KEY)
        assert reply.status == 200, reply.body
        [row] = reply.json()["data"]["data"]
        assert (row["model"], row["request_count"], row["tokens_completion"]) == ("lab/fast", 3, 60)
        assert round(Decimal(str(row["total_usage"])) * 10**9) == billed > 0
        # Today is not over.
        assert gateway.get("/api/v1/activity", key=MANAGEMENT_KEY).json() == {"data": []}
        for path in ("/api/v1/activity", "/v1/activity", "/api/v1/analytics/meta"):
            assert gateway.get(path, key=KEY).status == 403
        mistaken = gateway.post("/api/v1/analytics/query", {"metrics": ["total_usage"], "limit": 0}, key=MANAGEMENT_KEY)
        assert (mistaken.status, mistaken.json()["error"]["message"].partition(":")[0]) == (400, "limit")

        # Yesterday's calls, in a database that has no rollups yet.
        gateway.stop()
        with closing(sqlite3.connect(gateway.data_dir / "fairlead.db")) as connection:
            connection.execute("UPDATE generations SET settled_at_ms = settled_at_ms - 86400000")
            for table in ("usage_rollup", "usage_pair", "latency_hist", "error_rollup"):
                connection.execute(f"DELETE FROM {table}")
            connection.execute("DELETE FROM meta WHERE name LIKE 'rollups%'")
            connection.commit()
        gateway.start()
        [row] = gateway.get("/v1/activity", key=MANAGEMENT_KEY).json()["data"]
        assert (row["model"], row["requests"], row["completion_tokens"]) == ("lab/fast", 3, 60)
        assert round(Decimal(str(row["usage"])) * 10**9) == billed
        assert int(row["endpoint_id"]) > 0
