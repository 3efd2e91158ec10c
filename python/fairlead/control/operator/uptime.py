"""How requests ended at each endpoint in the last day, by half hours: from the sums, never from rows.

A request counts where it ended. What failed at an endpoint and was answered by another counts there, as good; what attempts told of an
endpoint is its `health`.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from fairlead.control.db import queries
from fairlead.control.db.queries import Dim, Res
from fairlead.control.db.rollups import QUARTER_MS
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import rfc3339

CELLS, CELL_MS = 48, 2 * QUARTER_MS
_SUMS = ("requests", "failed")


class Strip(Shape):
    """Half hours, the oldest first; the last one is not over yet."""

    from_: str = msgspec.field(name="from")
    step_ms: int
    requests: list[int]
    """0: no traffic, of which nothing follows."""
    failed: list[int]


Cells = tuple[list[int], list[int]]
"""Requests and failures of each half hour."""


def begins(now_ms: int) -> int:
    """Where the first cell begins."""
    return now_ms - now_ms % CELL_MS - (CELLS - 1) * CELL_MS


def strips(connection: sqlite3.Connection, accounts: Iterable[int], now_ms: int) -> dict[int, Cells]:
    """Endpoint → its cells; those without a request are not in it."""
    first_ms = begins(now_ms)
    span = (Res.QUARTER, first_ms, first_ms + CELLS * CELL_MS)
    places = queries.usage_places(connection)
    found: dict[int, Cells] = {}
    for account in accounts:
        for start_ms, place, requests, failed in queries.rollup_sums(connection, account, Dim.PLACE, span, _SUMS, by_window=True):
            endpoint, cell = places[place][2], (start_ms - first_ms) // CELL_MS
            counts = found.setdefault(endpoint, ([0] * CELLS, [0] * CELLS))
            counts[0][cell] += requests
            counts[1][cell] += failed
    return {endpoint: cells for endpoint, cells in found.items() if endpoint and any(cells[0])}


def shown(cells: Cells | None, now_ms: int) -> dict[str, Any]:
    """As `Strip` has it."""
    requests, failed = cells or ([0] * CELLS, [0] * CELLS)
    return {"from": rfc3339(begins(now_ms)), "step_ms": CELL_MS, "requests": requests, "failed": failed}
