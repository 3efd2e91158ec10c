"""`GET /models` and what lies around it, in the manner of whoever asks.

On `/api/v1` the list is OpenRouter's. On `/v1` it is Anthropic's when the client says `anthropic-version`, Google's when it brings
`x-goog-api-key` (as on `/v1beta`), Codex's beside OpenAI's when it says `client_version`, else OpenAI's. A key that may use some models
only sees those.
"""

import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from fairlead.catalog.document import did_you_mean
from fairlead.config.view import ModelView
from fairlead.control import health, model_query, model_shapes
from fairlead.control.db import queries
from fairlead.control.db.queries import DAY_MS, Dim
from fairlead.control.db.rollups import spans
from fairlead.control.desk import Call
from fairlead.control.replies import invalid, not_found, reply
from fairlead.control.windows import window_starts

WEEK_DAYS = 7
GEMINI_PREFIX = "/v1beta/"


async def listing(call: Call) -> Response:
    """Every model that the caller may use."""
    models = await _usable(call)
    if call.path.startswith(model_shapes.OPENROUTER_PREFIX):
        return _page(call, await _chosen(call, models))
    if call.path.startswith(GEMINI_PREFIX) or call.header("x-goog-api-key") is not None:
        return _gemini_page(call, models)
    if call.header("anthropic-version") is not None:
        return _anthropic_page(call, models)
    listed: dict[str, Any] = {"object": "list", "data": [model_shapes.openai_model(model) for model in models]}
    if call.query("client_version") is not None:
        listed["models"] = [model_shapes.codex_model(model, priority) for priority, model in enumerate(models)]
    return reply(listed)


async def user(call: Call) -> Response:
    """OpenRouter's list of what the caller's key may use: the same list, since every list here is."""
    return _page(call, await _chosen(call, await _usable(call)))


async def count(call: Call) -> Response:
    """How many the list would hold."""
    return reply({"data": {"count": len(await _chosen(call, await _usable(call)))}})


async def single(call: Call) -> Response:
    """One model, by its id or an alias, in the shape of the list."""
    model = await _named(call, call.place("name"))
    if call.path.startswith(model_shapes.OPENROUTER_PREFIX):
        return reply({"data": model_shapes.openrouter_model(model)})
    if call.path.startswith(GEMINI_PREFIX) or call.header("x-goog-api-key") is not None:
        return reply(model_shapes.gemini_model(model))
    if call.header("anthropic-version") is not None:
        return reply(model_shapes.anthropic_model(model))
    return reply(model_shapes.openai_model(model))


async def endpoints(call: Call) -> Response:
    """Where a model is served, by its id or an alias."""
    model = await _named(call, call.place("name"))
    known = _known(call)
    data = {
        "id": model.id,
        "name": model.name,
        "created": model.created,
        "description": model_shapes.description(model),
        "architecture": model_shapes.architecture(model),
        "endpoints": [shown for endpoint in model.endpoints for shown in model_shapes.openrouter_endpoints(model, endpoint, known)],
    }
    return reply({"data": data})


async def endpoints_without_retention(call: Call) -> Response:
    """Every endpoint whose provider is known to keep nothing (`/endpoints/zdr`)."""
    providers, known = call.desk.offer.providers, _known(call)
    data = [
        shown
        for model in await _usable(call)
        for endpoint in model.endpoints
        if model_query.keeps_nothing(providers.get(endpoint.provider))
        for shown in model_shapes.openrouter_endpoints(model, endpoint, known)
    ]
    return reply({"data": data})


async def providers(call: Call) -> Response:
    """The providers that are on."""
    return reply({"data": [model_shapes.openrouter_provider(provider) for provider in call.desk.offer.providers.values()]})


def _known(call: Call) -> health.Known:
    """Statistics are for those who have a key, as with OpenRouter."""
    return health.known(call) if call.principal.kind != "anonymous" else {}


async def _named(call: Call, name: str) -> ModelView:
    if not name:
        raise not_found(f"there is no GET {call.path} here")
    model, usable = call.desk.offer.model(name), await _usable(call)
    if model is None or model not in usable:
        name = name[:200]
        raise not_found(f"there is no model {name!r}{did_you_mean(name, (known.id for known in usable))}")
    return model


async def _usable(call: Call) -> Sequence[ModelView]:
    """The models that the caller's key may use; all of them for the operator, and for anybody where the catalogue is open."""
    models = call.desk.offer.models
    if call.principal.kind != "key":
        return models
    key = await call.desk.database.read(lambda connection: queries.key(connection, call.principal.key))
    if key is None or not key.models:
        return models
    # As the data plane reads them: `*` stands for any run of characters, nothing else is special.
    pattern = re.compile("|".join(".*".join(re.escape(part) for part in pattern.split("*")) for pattern in key.models))
    return [model for model in models if pattern.fullmatch(model.id)]


async def _chosen(call: Call, models: Sequence[ModelView]) -> list[ModelView]:
    return model_query.chosen(call, models, await _ranks(call, call.query("sort")))


async def _ranks(call: Call, sort: str | None) -> Mapping[str, float]:
    """What a sort by figures needs."""
    if sort is None:
        return {}
    if sort in model_query.BY_USE:
        today, _, _ = window_starts(call.desk.now_ms())
        first = today - WEEK_DAYS + 1 if sort == "top-weekly" else 0
        return await call.desk.database.read(lambda connection: _calls(connection, first, today))
    return model_query.ranks_by_health(sort, _known(call)) if sort in model_query.BY_HEALTH else {}


def _calls(connection: sqlite3.Connection, first_day: int, last_day: int) -> dict[str, float]:
    """How often each model was called."""
    calls: dict[str, float] = {}
    places = queries.usage_places(connection)
    for place, sums in queries.sums_by_value(
        connection, Dim.PLACE, spans(first_day * DAY_MS, (last_day + 1) * DAY_MS, (last_day + 1) * DAY_MS)
    ).items():
        model, _, _ = places[place]
        calls[model] = calls.get(model, 0) + sums["requests"]
    return calls


def _page(call: Call, chosen: list[ModelView]) -> Response:
    paged = any(call.query(name) is not None for name in model_query.PAGING)
    offset = call.number("offset", 0, 0, 10**9)
    limit = call.number("limit", 500, 1, 1000) if paged else max(1, len(chosen))
    after = offset + limit
    following = None
    if after < len(chosen):
        kept = {name: value for name, value in call.queries().items() if name not in model_query.PAGING}
        following = f"{call.path}?{urlencode(kept | {'offset': after, 'limit': limit})}"
    data = [model_shapes.openrouter_model(model) for model in chosen[offset:after]]
    return reply({"data": data, "links": {"next": following}, "total_count": len(chosen)})


def _anthropic_page(call: Call, models: Sequence[ModelView]) -> Response:
    """Anthropic's list and its pages: `limit` (20) after `after_id` or before `before_id`."""
    limit = call.number("limit", 20, 1, 1000)
    ids = [model.id for model in models]
    first, last = 0, len(models)
    if (after := call.query("after_id")) is not None:
        first = _position(ids, after, "after_id") + 1
    if (before := call.query("before_id")) is not None:
        last = _position(ids, before, "before_id")
    page = models[first:last][-limit:] if before is not None and after is None else models[first:last][:limit]
    more = len(models[first:last]) > limit
    ends = {"first_id": page[0].id if page else None, "last_id": page[-1].id if page else None}
    return reply({"data": [model_shapes.anthropic_model(model) for model in page], "has_more": more, **ends})


def _position(ids: list[str], id: str, parameter: str) -> int:
    try:
        return ids.index(id)
    except ValueError:
        raise invalid(f"{parameter}: there is no model {id[:200]!r}") from None


def _gemini_page(call: Call, models: Sequence[ModelView]) -> Response:
    """Google's list and its pages: `pageSize` (50), from `pageToken` on, which is the place of the next model."""
    size = call.number("pageSize", 50, 1, 1000)
    first = call.number("pageToken", 0, 0, 10**9)
    page: dict[str, Any] = {"models": [model_shapes.gemini_model(model) for model in models[first : first + size]]}
    if first + size < len(models):
        page["nextPageToken"] = str(first + size)
    return reply(page)
