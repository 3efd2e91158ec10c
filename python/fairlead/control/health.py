"""What attempts have told about endpoints: shown to the operator, and put into the lists of endpoints."""

from typing import Any

import msgspec
from starlette.responses import Response

from fairlead.control import trail
from fairlead.control.desk import Call
from fairlead.control.replies import reply


class Quantiles(msgspec.Struct, frozen=True):
    """Of the last thirty minutes."""

    p50: float
    p75: float
    p90: float
    p99: float


class ToolCalls(msgspec.Struct, frozen=True):
    """Replies of the last two hours that called tools, of models with a choice of endpoints."""

    sound: int
    """Every call was of a tool on offer, with arguments that fit it."""
    unsound: int
    """Some call was not."""


class Report(msgspec.Struct, frozen=True):
    """What is known of an endpoint that was used, as the data plane tells it."""

    endpoint: int
    """Stable id."""
    model: str
    provider: str
    """The slug, with the region behind a slash where one is named, and a tier."""
    service_tier: str | None
    """The tier that it was asked for, where the endpoint sells that beside its usual one; each has a health of its own."""
    breaker: str
    """`closed`; `open`: shut out; `due`: one request may try."""
    outage: bool
    """Failures weighed in the last thirty seconds."""
    standing: str
    """By its uptime: `normal`, `degraded` or `down`."""
    uptime: tuple[float | None, float | None, float | None]
    """Percent, of five minutes, thirty minutes and a day; None below a hundred attempts."""
    first_token_ms: Quantiles | None
    tokens_per_second: Quantiles | None
    tool_calls: ToolCalls | None
    """None before the first."""
    keys: tuple[int, int]
    """Provider keys that may be used now, and all of them."""


Known = dict[tuple[int, str | None], Report]
"""By the endpoints' ids, and the tier that they sell beside the usual one."""


async def show(call: Call) -> Response:
    """Every endpoint that was used, and every tier of one."""
    return reply({"data": [msgspec.to_builtins(report) for report in known(call).values()]})


async def forget(call: Call) -> Response:
    """Nothing is known any more: for who has mended a provider, or changed a key there."""
    call.desk.engine.forget_health()
    at_ms = call.desk.now_ms()
    await call.desk.database.write(lambda connection: trail.note(connection, at_ms, "health.forget", ("health", 0, ""), None, None))
    return reply({"data": []})


def known(call: Call) -> Known:
    """What there is."""
    reports = msgspec.json.decode(call.desk.engine.health(), type=list[Report])
    return {(report.endpoint, report.service_tier): report for report in reports}


def openrouter_fields(report: Report | None) -> dict[str, Any]:
    """OpenRouter's statistics of an endpoint; null where nothing is known."""
    if report is None:
        return dict.fromkeys(FIELDS) | {"status": 0}
    quantiles = {"latency_last_30m": report.first_token_ms, "throughput_last_30m": report.tokens_per_second}
    return {
        "status": STATUS[report.standing if report.breaker == "closed" else "down"],
        **dict(zip(FIELDS[:3], report.uptime, strict=True)),
        **{name: msgspec.to_builtins(value) if value else None for name, value in quantiles.items()},
    }


FIELDS = ("uptime_last_5m", "uptime_last_30m", "uptime_last_1d", "latency_last_30m", "throughput_last_30m")
STATUS = {"normal": 0, "degraded": -1, "down": -2}
"""OpenRouter's numbers: it works, it is used less, it is a fallback only."""
