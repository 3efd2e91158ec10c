"""What accounts, teams, users and keys have spent: as the database has it, and as the data plane counts it now."""

import sqlite3
from collections import Counter

import msgspec

from fairlead.config.limits import Budget, Limits
from fairlead.control.db import end_users, queries, scopes
from fairlead.control.db.queries import DAY_MS, Dim, Usage
from fairlead.control.engine import Engine
from fairlead.control.windows import window_starts

MINUTE_MS = 60_000
END_USER, MODEL = "end user", "model"
"""What has rates or budgets of its own and is no scope of the books."""
DIMS = {scopes.ACCOUNT: Dim.TOTAL, scopes.TEAM: Dim.TEAM, scopes.USER: Dim.USER, scopes.KEY: Dim.KEY}


def stored(connection: sqlite3.Connection, now_ms: int) -> bytes:
    """What the data plane begins with, as the database has it: the charges of every scope in the day, week and month of the moment and in
    all; what was taken of rates in the last minute; and the requests to free models of the day."""
    days = window_starts(now_ms)
    rows = [
        {"kind": kind, "id": id, "day": usage.daily, "week": usage.weekly, "month": usage.monthly, "total": usage.total}
        for kind, dim in DIMS.items()
        for id, usage in queries.usage_by(connection, days, dim).items()
        if id
    ]
    requests, tokens = Counter[tuple[str, int | str]](), Counter[tuple[str, int | str]]()
    for ids, count, used in queries.begun_since(connection, now_ms - MINUTE_MS):
        for kind, of in zip((*DIMS, END_USER, MODEL), ids, strict=True):
            requests[kind, of] += count
            tokens[kind, of] += used
    recent = [
        {"kind": kind, "id": id, "requests": requests[kind, id], "tokens": tokens[kind, id]} for kind, id in requests if id and kind in DIMS
    ]
    models = [
        {"model": model, "requests": requests[kind, model], "tokens": tokens[kind, model]}
        for kind, model in requests
        if kind == MODEL and model
    ]
    free = [
        {"id": account, "day": day, "minute": minute}
        for account, day, minute in queries.free_requests(connection, days[0] * DAY_MS, now_ms - MINUTE_MS)
    ]
    sums = end_users.spent(connection, days[:3])
    named = sums.keys() | {id for kind, id in requests if kind == END_USER and isinstance(id, int) and id}
    of_end_users = [
        sums.get(id, end_users.Spent(0, 0, 0))._asdict() | {"id": id, "requests": requests[END_USER, id], "tokens": tokens[END_USER, id]}
        for id in named
    ]
    return msgspec.json.encode(
        {"scopes": rows, "at_ms": now_ms, "recent": recent, "free": free, "models": models, "end_users": of_end_users}
    )


def now(engine: Engine, kind: str, id: int, limits: Limits, in_database: Usage) -> Usage:
    """What a scope has spent, as of this moment where it has limits that the data plane counts for, else as the database has it."""
    counted = engine.spending(kind, id) if limits.all_budgets() else None
    if counted is None:
        return in_database
    day, week, month, total, _ = counted
    return Usage(total, day, week, month)


def reserved(engine: Engine, kind: str, id: int) -> int:
    """What is held for calls that run now; 0 where nobody counts."""
    counted = engine.spending(kind, id)
    return counted[4] if counted else 0


def spent(usage: Usage, interval: str) -> int:
    """The part of it in the current interval."""
    return {"day": usage.daily, "week": usage.weekly, "month": usage.monthly, "total": usage.total}[interval]


def remaining(usage: Usage, budget: Budget) -> int:
    """What may still be spent; below zero where more was."""
    return budget.limit_nanousd - spent(usage, budget.interval)
