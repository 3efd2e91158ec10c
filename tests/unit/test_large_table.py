"""`GET /admin/requests` over a large table: 200,000 rows, and ten million with FAIRLEAD_PROOF=1 (some 10 GB in the temporary folder, taken
away afterwards).

Every indexed filter answers within 300 ms from wherever one reads on, and never by reading the table; every other filter comes back with
what it has found, says how far it came, and goes on from there.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from control_rig import NOW_MS, generation
from fairlead.control import requests
from fairlead.control.db import Database, search
from fairlead.control.db.connection import open_reader
from fairlead.control.db.queries import GENERATION_COLUMNS
from fairlead.control.replies import rfc3339
from operator_rig import Port, tell

MOST_MS = 300
# A search that no index has ends after 200 ms with the window that it is in.
MOST_SEARCH_MS = 600
EVERY_MS = 500
"""Between two requests: ten million are two months."""
KEYS, TEAMS, USERS, MODELS, PROVIDERS, APPS, END_USERS = 1000, 20, 100, 200, 30, 50, 5000


def fill(path: Path, count: int) -> None:
    """Rows as traffic leaves them, written in SQL, the indexes made afterwards."""
    Database(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    # Nobody reads it before it is whole, and nobody needs it after a crash.
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -200000", "temp_store = FILE", "threads = 2"):
        connection.execute(f"PRAGMA {pragma}")
    indexes = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE tbl_name = 'generations' AND sql LIKE 'CREATE INDEX%'"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    template = dict(zip(GENERATION_COLUMNS, generation(0), strict=True))
    texts = {name: f"'{value}'" if isinstance(value, str) else str(int(value)) for name, value in template.items()}
    # Numbers that are strewn over the table: the upper bits of a product.
    strewn = lambda most: f"((((n * 2654435761) & 4294967295) >> 8) % {most})"  # noqa: E731
    texts |= {
        "id": "printf('gen-%08x-0000-7000-8000-000000000000', n)", "settled_at_ms": f"{NOW_MS - count * EVERY_MS} + n * {EVERY_MS}",
        "key_id": f"{strewn(KEYS)} + 1", "team_id": strewn(TEAMS), "user_id": strewn(USERS), "model": f"'acme/m' || {strewn(MODELS)}",
        "provider": f"'p' || {strewn(PROVIDERS)}", "end_user": f"'u' || {strewn(END_USERS)}", "session_id": "'s' || (n / 10)",
        "title": f"'app' || {strewn(APPS)}", "outcome": "CASE WHEN n % 500 = 7 THEN 'failed' ELSE 'completed' END",
        "error": "CASE WHEN n % 500 = 7 THEN 'timeout' ELSE '' END", "charged_nanousd": f"{strewn(10**6)}",
    }  # fmt: skip
    connection.execute(
        f"WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})"
        f" INSERT INTO generations ({', '.join(GENERATION_COLUMNS)}, retried)"
        f" SELECT {', '.join(texts[name] for name in GENERATION_COLUMNS)}, n % 300 = 3 FROM numbers"
    )
    for _, sql in indexes:
        connection.execute(sql)
    connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, counts: Callable[[int, int], int]) -> Iterator[tuple[Path, int]]:
    made, count = tmp_path_factory.mktemp("large"), counts(200_000, int(os.environ.get("FAIRLEAD_ROWS", 10_000_000)))
    fill(made / "fairlead.db", count)
    yield made, count
    for path in made.glob("fairlead.db*"):
        path.unlink()


INDEXED = {
    "session": "s777", "end_user": "u7", "retried": "true", "failed": "true", "app": "app7", "user": "7", "key": "8", "team": "7",
    "model": "acme/m7", "provider": "p7",
}  # fmt: skip
OTHERS = {
    "outcome": "recovered", "status": "599", "streamed": "false", "error": "nowhere", "least_usd": "1000", "least_tokens": "10000000",
    "least_ms": "10000000", "preset": "none", "split": "none", "arm": "none", "dialect": "none", "requested_model": "none",
}  # fmt: skip


async def timed(port: Port, query: str) -> tuple[float, Any]:
    """Milliseconds, and the page."""
    began = time.perf_counter()
    response: httpx.Response = await port.script.get(f"/admin/requests?{query}")
    took = (time.perf_counter() - began) * 1000
    assert response.status_code == 200, (query, response.text)
    return took, response.json()


@pytest.mark.proof
def test_every_indexed_filter_answers_at_once(folder: tuple[Path, int], proof: bool) -> None:
    path, count = folder
    middle = f"gen-{count // 2:08x}-0000-7000-8000-000000000000"
    from_, to = rfc3339(NOW_MS - count * EVERY_MS * 3 // 4), rfc3339(NOW_MS - count * EVERY_MS // 2)
    places = {"newest": "", "middle": f"&before={middle}", "past": f"&from={from_}&to={to}"}
    took: dict[str, list[float]] = {}

    async def story(port: Port) -> None:
        for name, value in {"all": "", **INDEXED}.items():
            for place, where in places.items():
                query = f"{name}={value}{where}" if value else where.lstrip("&")
                ms, page = await timed(port, query)
                took.setdefault(name, []).append(ms)
                rows = page["data"]
                assert len(rows) == 100 or name == "session" or count < 10**6, (name, place, len(rows))
                assert page["searched_to"] is None and [row["settled_at"] for row in rows] == sorted(
                    (row["settled_at"] for row in rows), reverse=True
                )
                if place == "newest":
                    assert rows, name
                if name in ("key", "team", "user"):
                    assert {str(row[f"{name}_id"]) for row in rows} <= {value}
                if name in ("model", "provider", "end_user"):
                    assert {row[name] for row in rows} <= {value}

    tell(path, story)
    print(
        f"indexed filters over {count:,} rows, ms (newest, middle, past):",
        {name: [round(ms, 1) for ms in all] for name, all in took.items()},
    )
    if proof:
        slow = {name: all for name, all in took.items() if max(all) >= MOST_MS}
        assert not slow, slow


@pytest.mark.proof
def test_other_filters_walk_back_and_say_how_far(folder: tuple[Path, int], proof: bool) -> None:
    path, count = folder
    took: dict[str, float] = {}

    async def story(port: Port) -> None:
        for query in (
            *(f"{name}={value}" for name, value in OTHERS.items()),
            "key=8&error=nowhere",
            "team=7&status=599",
            "key=8&model=acme/m9",
        ):
            ms, page = await timed(port, query)
            took[query] = ms
            assert page["data"] == []
            if page["searched_to"] is None:
                assert page["next"] is None
                continue
            # It goes on behind where it came to, and gets further.
            again, following = await timed(port, f"{query}&before={page['next']}")
            took[query] = max(ms, again)
            assert following["searched_to"] is None or following["searched_to"] < page["searched_to"], query
        # What is there is found, however rare.
        before, found = "", []
        for _ in range(10_000):
            _, page = await timed(port, f"error=timeout&least_usd=0.00099{before}")
            found += page["data"]
            if page["next"] is None or len(found) >= 5:
                break
            before = f"&before={page['next']}"
        assert found and all(float(row["charged_usd"]) >= 0.00099 for row in found)

    tell(path, story)
    print(f"other filters over {count:,} rows, ms:", {query: round(ms) for query, ms in took.items()})
    if proof:
        assert max(took.values()) < MOST_SEARCH_MS, took


def test_nothing_reads_the_whole_table(folder: tuple[Path, int]) -> None:
    """SQLite's plan of every statement that a page takes, each filter alone and with another."""
    path, _ = folder
    connection, said = open_reader(path / "fairlead.db"), list[str]()
    values = {"failed": "failed", "retried": 1, "endpoint": 7, "account": 1, "least_nanousd": 1, "least_tokens": 1, "least_ms": 1}
    try:
        for name in (None, *search.INDEXED, *search.OTHERS):
            for other in (None, "key", "error"):
                filters = {each: values.get(each, "x") for each in (name, other) if each}
                connection.set_trace_callback(said.append)
                found = search.page(connection, filters, 10, first_ms=NOW_MS - 10**9)
                requests.described(connection, found.rows)
                connection.set_trace_callback(None)
        assert len(said) > 100
        for statement in {each for each in said if each.startswith("SELECT")}:
            for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}"):
                # Keys are few, and are read by name as a whole.
                assert not step.startswith("SCAN") or step.startswith(("SCAN keys", "SCAN CONSTANT")), (step, statement)
                assert "TEMP B-TREE" not in step or "generations" not in statement, (step, statement)
    finally:
        connection.close()
