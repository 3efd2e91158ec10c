"""What came of each arm of the splits, since ever: how many requests, failures, what they cost, how long they took."""

import sqlite3
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any, NamedTuple

from fairlead.control.db import figures, queries
from fairlead.control.db.queries import Dim, Res
from fairlead.control.db.rollups import END_OF_TIME_MS, KINDS, Durations, quantiles
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.operator.shapes import Shape

ENOUGH = 100
"""Requests below which nothing is said of an arm."""
_Z = 1.959964


class ArmShown(Shape):
    """One side of a split, or a shadow, with what came of it since ever. What cannot be said is null."""

    model: str
    weight: int | None
    """Null: it is not in the configuration any more."""
    share: float | None
    """Of all weights."""
    requests: int
    enough: bool
    """At least a hundred requests: below that nothing can be said."""
    failed: int
    failed_share: float | None
    failed_low: float | None
    failed_high: float | None
    """Wilson's interval of 95 %."""
    cost_per_request_usd: str | None
    first_token_p50_ms: float | None
    """Medians, at most 5 % off: of streams, and of whole completed calls; with their intervals of 95 %."""
    first_token_low_ms: float | None
    first_token_high_ms: float | None
    total_p50_ms: float | None
    total_low_ms: float | None
    total_high_ms: float | None


class Outcome(NamedTuple):
    """What came of an arm."""

    requests: int = 0
    failed: int = 0
    charged_nanousd: int = 0
    durations: tuple[Durations, ...] = ()


Found = dict[tuple[str, str], Outcome]
"""By split and arm."""


async def outcomes(call: Call) -> Found:
    """What came of every arm of every split that the caller sees."""
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> Found:
        return _outcomes(connection, figures.accounts(connection) if call.principal.sees_all else [call.principal.account])

    return await call.desk.database.look(work)


def of_split(name: str, weights: Mapping[str, int], found: Found) -> list[dict[str, Any]]:
    """The arms of a split: those that it has, by model, and those that it had."""
    known = {arm: outcome for (split, arm), outcome in found.items() if split == name}
    return [_arm(model, weights.get(model), sum(weights.values()), known.get(model)) for model in {**weights, **known}]


def interval(part: int, whole: int) -> tuple[float, float]:
    """Wilson's interval of 95 % of a share."""
    share, z2 = part / whole, _Z * _Z
    centre = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return max(0.0, centre - half), min(1.0, centre + half)


def _outcomes(connection: sqlite3.Connection, accounts: list[int]) -> Found:
    """Split and arm → what came of it since ever."""
    found: dict[int, Outcome] = {}
    for account in accounts:
        for arm, *sums in figures.arms(connection, account):
            known = found.get(arm, Outcome())
            found[arm] = Outcome(known.requests + sums[0], known.failed + sums[1], known.charged_nanousd + sums[2], known.durations)
        for _, arm, *durations in queries.durations_of(connection, account, Dim.ARM, (Res.MONTH, 0, END_OF_TIME_MS)):
            known = found.get(arm, Outcome())
            found[arm] = known._replace(durations=(*known.durations, (durations[0], durations[1])))
    names = queries.usage_names(connection, KINDS[Dim.ARM])
    return {names[arm]: outcome for arm, outcome in found.items()}


def _arm(model: str, weight: int | None, weights: int, row: Outcome | None) -> dict[str, Any]:
    requests = row.requests if row else 0
    shown: dict[str, Any] = dict.fromkeys(ArmShown.__struct_fields__)
    shown |= {"model": model, "weight": weight, "share": weight / weights if weight is not None and weights else None}
    shown |= {"requests": requests, "enough": requests >= ENOUGH, "failed": row.failed if row else 0}
    if row is not None and requests:
        low, high = interval(row.failed, requests)
        shown |= {"failed_share": row.failed / requests, "failed_low": low, "failed_high": high}
        shown["cost_per_request_usd"] = usd(-(-row.charged_nanousd // requests))
        for at, name in enumerate(("first_token", "total")):
            shown |= zip((f"{name}_p50_ms", f"{name}_low_ms", f"{name}_high_ms"), _median(row.durations, at), strict=True)
    return shown


def _median(durations: Sequence[Durations], at: int) -> list[float | None]:
    """A median and its interval of 95 %: the times at the ranks between which it lies, whatever they are distributed like."""
    [(count, _), *_] = quantiles(durations, [0.5])[at:]
    half = _Z / (2 * sqrt(count)) if count else 0.0
    return quantiles(durations, [0.5, max(0.0, 0.5 - half), min(1.0, 0.5 + half)])[at][1]
