"""`/admin/presets` and `/admin/splits`: names for models with wishes, and what came of each arm. `fairlead.toml` owns both."""

import sqlite3
from math import sqrt
from typing import Any

from starlette.responses import Response

from fairlead.control.db import figures
from fairlead.control.db.queries import ArmRow
from fairlead.control.desk import Call
from fairlead.control.money import usd
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import Refusal, reply

ENOUGH = 100
"""Requests below which nothing is said of an arm."""
_Z = 1.959964


class PresetShown(Shape):
    """A preset."""

    name: str
    """Requests say `@preset/` before it."""
    version: str
    """A hash of what it says."""
    models: list[str]
    provider: dict[str, Any] | None
    route: str | None
    fields: dict[str, Any] | None
    strict_translation: bool
    automatic_cache: bool
    source: str


class PresetList(Shape):
    """A reply."""

    data: list[PresetShown]


class ArmShown(Shape):
    """One side of a split, or a shadow, with what came of it since ever. Means are null where there is nothing to divide by."""

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
    first_token_ms: float | None
    total_ms: float | None


class SplitShown(Shape):
    """A split."""

    name: str
    source: str
    arms: list[ArmShown]


class SplitList(Shape):
    """A reply."""

    data: list[SplitShown]


async def presets(call: Call) -> Response:
    """Every preset with what it says."""
    shown = [
        {
            "name": each.name, "version": each.version, "models": each.models, "provider": each.provider, "route": each.route,
            "fields": each.fields, "strict_translation": each.strict_translation, "automatic_cache": each.automatic_cache,
            "source": "file",
        }
        for each in _compiled(call).presets
    ]  # fmt: skip
    return reply({"data": shown})


async def splits(call: Call) -> Response:
    """Every split with its arms and what came of each."""
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> list[ArmRow]:
        return figures.arms(connection, None if call.principal.sees_all else call.principal.account)

    rows = await call.desk.database.look(work)
    shown = []
    for split in _compiled(call).splits:
        weights = {arm.model: arm.weight for arm in split.arms}
        known = {row.arm: row for row in rows if row.name == split.name}
        arms = [_arm(name, weights.get(name), sum(weights.values()), known.get(name)) for name in {**weights, **known}]
        shown.append({"name": split.name, "source": "file", "arms": arms})
    return reply({"data": shown})


def interval(part: int, whole: int) -> tuple[float, float]:
    """Wilson's interval of 95 % of a share."""
    share, z2 = part / whole, _Z * _Z
    centre = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z / (1 + z2 / whole) * sqrt(share * (1 - share) / whole + z2 / (4 * whole * whole))
    return max(0.0, centre - half), min(1.0, centre + half)


def _arm(model: str, weight: int | None, weights: int, row: ArmRow | None) -> dict[str, Any]:
    requests = row.requests if row else 0
    shown: dict[str, Any] = dict.fromkeys(ArmShown.__struct_fields__)
    shown |= {"model": model, "weight": weight, "share": weight / weights if weight is not None and weights else None}
    shown |= {"requests": requests, "enough": requests >= ENOUGH, "failed": row.failed if row else 0}
    if row is not None and requests:
        low, high = interval(row.failed, requests)
        shown |= {"failed_share": row.failed / requests, "failed_low": low, "failed_high": high}
        shown["cost_per_request_usd"] = usd(-(-row.charged_nanousd // requests))
        shown["first_token_ms"] = round(row.first_token_us / row.first_tokens / 1000, 3) if row.first_tokens else None
        shown["total_ms"] = round(row.completed_us / row.completed / 1000, 3) if row.completed else None
    return shown


def _compiled(call: Call) -> Any:
    if call.desk.configured is None:
        raise Refusal(503, "server", "no process runs on this data folder: there is no configuration in force")
    return call.desk.configured.compiled
