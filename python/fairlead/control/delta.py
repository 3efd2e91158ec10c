"""What the data plane is told of keys and of the limits of accounts, teams, users and keys: the rows of a delta."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from fairlead.config.limits import EndUserLimits, Limits
from fairlead.control.db.queries import Key

Row = dict[str, Any]


class ScopeLimits(NamedTuple):
    """The limits of one scope, in place of what was known of them."""

    kind: str
    id: int
    limits: Limits
    granted_nanousd: int | None = None
    """Of an account: all its credit before use; None: it need not have any."""
    bought_nanousd: int = 0
    """Of an account: what it has bought in all its time, whether or not credit is needed."""


class Change(NamedTuple):
    """What a transaction did that the data plane must know. `value` is for whoever asked for it."""

    value: Any = None
    keys: Sequence[Key] = ()
    gone: Sequence[int] = ()
    scopes: Sequence[ScopeLimits] = ()

    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.keys or self.gone or self.scopes)


def encoded(epoch: int, seq: int, change: Change, replace: bool) -> bytes:
    """The delta as the data plane reads it."""
    return msgspec.json.encode(
        {
            "epoch": epoch,
            "seq": seq,
            "replace": replace,
            "upsert": [_key(key) for key in change.keys],
            "delete": list(change.gone),
            "scopes": [_scope(scope) for scope in change.scopes],
        }
    )


def _key(key: Key) -> Row:
    before = {"hash": key.previous_hash, "until_ms": key.previous_until_ms} if key.previous_hash else None
    return {
        "id": key.id,
        "hash": key.hash,
        "account": key.account_id,
        "team": key.team_id,
        "user": key.user_id,
        "disabled": key.disabled,
        "management": key.management,
        "strict_translation": key.strict_translation,
        "strict_budget": key.strict_budget,
        "content": key.content,
        "response_cache": key.response_cache,
        "expires_at_ms": 0 if key.expires_at_ms is None else max(1, key.expires_at_ms),
        "models": key.models,
        **({"previous": before} if before else {}),
    }


def _scope(scope: ScopeLimits) -> Row:
    limits = scope.limits
    row: Row = {"kind": scope.kind, "id": scope.id}
    rates = {"rpm": limits.rpm, "tpm": limits.tpm, "max_concurrency": limits.max_concurrency}
    row |= {name: value for name, value in rates.items() if value is not None}
    if budgets := _budgets(limits):
        row["budgets"] = budgets
    if limits.end_user is not None:
        row["end_user"] = _end_user(limits.end_user)
    if scope.bought_nanousd:
        row["bought_nanousd"] = scope.bought_nanousd
    return row | {"granted_nanousd": scope.granted_nanousd}


def _end_user(each: EndUserLimits) -> Row:
    rates = {"rpm": each.rpm, "tpm": each.tpm, "max_concurrency": each.max_concurrency}
    row: Row = {name: value for name, value in rates.items() if value is not None}
    if each.limit_nanousd is not None:
        row["budget"] = {"interval": each.limit_interval, "limit_nanousd": each.limit_nanousd}
    return row | {"required": each.required}


def _budgets(limits: Limits) -> list[Row]:
    """One per interval and kind: of a scope's own limit and a budget of the same interval, the smaller one binds."""
    least: dict[tuple[str, bool], int] = {}
    for budget in limits.all_budgets():
        place = (budget.interval, budget.soft)
        least[place] = min(budget.limit_nanousd, least.get(place, budget.limit_nanousd))
    return [{"interval": interval, "limit_nanousd": amount, "soft": soft} for (interval, soft), amount in least.items()]
