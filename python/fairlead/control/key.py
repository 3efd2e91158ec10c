"""`GET /key`: the calling key about itself, in OpenRouter's shape."""

import sqlite3
from typing import Any, NamedTuple

from starlette.responses import Response

from fairlead.config.limits import Budget, Limits
from fairlead.control import spending
from fairlead.control.db import ledger, queries, scopes
from fairlead.control.db.queries import Key, Usage
from fairlead.control.desk import Call
from fairlead.control.limits import openrouter_fields
from fairlead.control.money import usd_number
from fairlead.control.replies import reply, rfc3339, unauthenticated
from fairlead.control.windows import resets_at, window_starts


class Layer(NamedTuple):
    """One scope of a call and what it has spent."""

    kind: str
    id: int
    name: str
    limits: Limits
    usage: Usage


async def show(call: Call) -> Response:
    """The key's facts, usage and budgets, as of the call."""
    await call.caught_up()
    now_ms = call.desk.now_ms()
    days = window_starts(now_ms)

    def work(connection: sqlite3.Connection) -> tuple[Key | None, list[Layer], bool]:
        key = queries.key(connection, call.principal.key)
        if key is None:
            return None, [], False
        return key, _layers(connection, key, days), ledger.has_topup(connection, key.account_id)

    key, layers, has_paid = await call.desk.database.read(work)
    if key is None:
        # Deleted between the data plane's check and this one.
        raise unauthenticated("no such key")
    layers = [layer._replace(usage=spending.now(call.desk.engine, layer.kind, layer.id, layer.limits, layer.usage)) for layer in layers]
    free = call.desk.engine.free_requests(key.account_id)
    is_free_tier = (call.desk.credits.enforce or free is not None) and not has_paid
    return reply({"data": _facts(key, layers, now_ms, free, is_free_tier=is_free_tier)})


def usage_fields(usage: Usage) -> dict[str, Any]:
    """OpenRouter's eight usage fields. Keys of the caller's own at a provider do not exist here, so their part is 0."""
    return {
        "usage": usd_number(usage.total),
        "usage_daily": usd_number(usage.daily),
        "usage_weekly": usd_number(usage.weekly),
        "usage_monthly": usd_number(usage.monthly),
        "byok_usage": 0,
        "byok_usage_daily": 0,
        "byok_usage_weekly": 0,
        "byok_usage_monthly": 0,
    }


def _layers(connection: sqlite3.Connection, key: Key, days: tuple[int, int, int]) -> list[Layer]:
    """The scopes of the key's calls that are limited, in OpenRouter's order, and the key itself, which comes last."""
    found = []
    for kind, id, name in (
        (scopes.USER, key.user_id, key.user),
        (scopes.TEAM, key.team_id, key.team),
        (scopes.ACCOUNT, key.account_id, key.account),
    ):
        limits = scopes.limits(connection, kind, [id]).get(id) if id else None
        if limits is not None and limits.all_budgets():
            found.append(Layer(kind, id, name, limits, queries.usage_by(connection, days, spending.DIMS[kind], id).get(id, Usage())))
    own = queries.usage_by_key(connection, days, key.id).get(key.id, Usage())
    return [*found, Layer(scopes.KEY, key.id, key.name, key.limits, own)]


def _facts(key: Key, layers: list[Layer], now_ms: int, free: tuple[int, int] | None, *, is_free_tier: bool) -> dict[str, Any]:
    usage = layers[-1].usage
    budgets = [(budget, layer) for layer in layers for budget in _hard(layer.limits)]
    shown = [_budget(budget, layer, key, now_ms) for budget, layer in budgets]
    return {
        "label": key.label,
        "name": key.name,
        **openrouter_fields(key.limits, usage),
        "include_byok_in_limit": key.include_byok,
        **usage_fields(usage),
        "is_free_tier": is_free_tier,
        "is_management_key": key.management,
        "is_provisioning_key": key.management,
        "creator_user_id": key.user or None,
        "expires_at": rfc3339(key.expires_at_ms),
        # OpenRouter keeps this object for old clients and fills it like so.
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
        "budgets": shown,
        "effective_budget": _effective(budgets, shown),
        "free_model_daily_requests": _free_requests(free),
        "allowed_data_regions": [],
        "organization_id": None,
        "workspace_id": key.account,
    }


def _free_requests(free: tuple[int, int] | None) -> dict[str, int]:
    """What is left of the day's requests to free models; -1, as in `rate_limit`, where they are not limited."""
    if free is None:
        return {"limit": -1, "used": 0, "remaining": -1}
    limit, used = free
    return {"limit": limit, "used": used, "remaining": max(limit - used, 0)}


def _hard(limits: Limits) -> list[Budget]:
    """What refuses, its own limit last."""
    own = [] if limits.limit_nanousd is None else [Budget(limits.limit_interval, limits.limit_nanousd)]
    return [*(budget for budget in limits.budgets if not budget.soft), *own]


# OpenRouter's words for layers; a team is a word of ours, which its clients take.
_SCOPES = {scopes.USER: "member", scopes.TEAM: "team", scopes.ACCOUNT: "workspace", scopes.KEY: "api_key"}


def _budget(budget: Budget, layer: Layer, key: Key, now_ms: int) -> dict[str, Any]:
    spent = spending.spent(layer.usage, budget.interval)
    is_own = layer.kind == scopes.KEY and budget not in key.limits.budgets
    return {
        "scope": "key_limit" if is_own else _SCOPES[layer.kind],
        "budget_id": f"{layer.name}/{budget.interval}" if layer.kind == scopes.ACCOUNT else None,
        "guardrail_id": None,
        "limit_usd": usd_number(budget.limit_nanousd),
        "spend_usd": usd_number(spent),
        "remaining_usd": usd_number(budget.limit_nanousd - spent),
        "reset_interval": budget.reset,
        "resets_at": resets_at(budget.interval, now_ms),
        "include_byok": key.include_byok if is_own else False,
    }


def _effective(budgets: list[tuple[Budget, Layer]], shown: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The budget that refuses first: the first that is used up, else the one with the least left."""
    if not budgets:
        return None
    left = [spending.remaining(layer.usage, budget) for budget, layer in budgets]
    index = next((index for index, amount in enumerate(left) if amount <= 0), left.index(min(left)))
    return shown[index]
