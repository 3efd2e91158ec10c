"""`GET /models` and what lies below it, in the manner of whoever asks.

On `/api/v1` the list is OpenRouter's. On `/v1` it is Anthropic's when the client says `anthropic-version`, else OpenAI's.
"""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from fairlead.config.view import EndpointView, ModelView
from fairlead.control.desk import Call
from fairlead.control.replies import invalid, not_found, reply, rfc3339

OPENROUTER_PREFIX = "/api/v1/"

# OpenRouter's parameters of the list that are not built. To ignore a filter would be to answer another question.
UNBUILT = {
    "category", "context", "min_price", "max_price", "min_output_price", "max_output_price", "arch", "model_authors", "providers",
    "distillable", "zdr", "region", "min_age_days", "max_age_days", "min_intelligence_index", "max_intelligence_index",
    "min_coding_index", "max_coding_index", "min_agentic_index", "max_agentic_index", "min_tool_success_rate",
    "max_tool_success_rate", "use_rss", "use_rss_chat_links",
}  # fmt: skip
SORTS: dict[str, Any] = {
    "newest": lambda model: -model.created,
    "pricing-low-to-high": lambda model: _prices(model),
    "pricing-high-to-low": lambda model: tuple(-price for price in _prices(model)),
    "context-high-to-low": lambda model: -(model.context_length or 0),
}


async def listing(call: Call) -> Response:
    """Every model of this configuration."""
    if call.path.startswith(OPENROUTER_PREFIX):
        return _openrouter_list(call)
    if call.header("anthropic-version") is not None:
        return _anthropic_list(call)
    data = [
        {"id": model.id, "object": "model", "created": model.created, "owned_by": model.id.partition("/")[0]}
        for model in call.desk.offer.models
    ]
    return reply({"object": "list", "data": data})


async def count(call: Call) -> Response:
    """How many the list would hold."""
    return reply({"data": {"count": len(_chosen(call))}})


async def endpoints(call: Call) -> Response:
    """Where a model is served. It may be named by an alias of the form `vendor/model`."""
    name = f"{call.place('author')}/{call.place('slug')}"
    model = call.desk.offer.model(name)
    if model is None:
        raise not_found(f"there is no model {name!r}")
    data = {
        "id": model.id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "architecture": _architecture(model),
        "endpoints": [describe_endpoint(model, endpoint) for endpoint in model.endpoints],
    }
    return reply({"data": data})


def _openrouter_list(call: Call) -> Response:
    chosen = _chosen(call)
    paged = call.query("offset") is not None or call.query("limit") is not None
    offset = call.number("offset", 0, 0, 10**9)
    limit = call.number("limit", 500, 1, 1000) if paged else max(1, len(chosen))
    after = offset + limit
    following = None
    if after < len(chosen):
        kept = {name: value for name, value in call.queries().items() if name not in ("offset", "limit")}
        following = f"{call.path}?{urlencode(kept | {'offset': after, 'limit': limit})}"
    data = [describe(model) for model in chosen[offset:after]]
    return reply({"data": data, "links": {"next": following}, "total_count": len(chosen)})


def _chosen(call: Call) -> list[ModelView]:
    """The models that OpenRouter's parameters ask for, in the order they ask for."""
    if unbuilt := sorted(UNBUILT & call.queries().keys()):
        raise invalid(f"{unbuilt[0]}: this filter is not in this version")
    words = (call.query("q") or "").lower()
    wanted = {
        "supported_parameters": _names(call, "supported_parameters"),
        "input_modalities": _names(call, "input_modalities"),
        "output_modalities": _names(call, "output_modalities"),
    }
    if "all" in wanted["output_modalities"]:
        wanted["output_modalities"] = set()
    chosen = [
        model
        for model in call.desk.offer.models
        if all(names <= set(getattr(model, field) or ()) for field, names in wanted.items())
        and (words in model.id.lower() or words in model.name.lower())
    ]
    if sort := call.query("sort"):
        if sort not in SORTS:
            raise invalid(f"sort: one of {', '.join(SORTS)} is expected")
        chosen.sort(key=SORTS[sort])
    return chosen


def _names(call: Call, parameter: str) -> set[str]:
    return {name.strip() for name in (call.query(parameter) or "").split(",") if name.strip()}


def _prices(model: ModelView) -> tuple[int, int]:
    price = model.endpoints[0].price
    return price.prompt, price.completion


def describe(model: ModelView) -> dict[str, Any]:
    """OpenRouter's model object. Prices and bounds are those of the preferred endpoint."""
    best = model.endpoints[0]
    shown: dict[str, Any] = {
        "id": model.id,
        "canonical_slug": model.id,
        "name": model.name,
        "created": model.created,
        "description": model.description,
        "context_length": model.context_length,
        "hugging_face_id": model.hugging_face_id or None,
        "knowledge_cutoff": model.knowledge_cutoff or None,
        "expiration_date": model.expiration_date,
        "architecture": _architecture(model),
        "pricing": best.pricing,
        "top_provider": {
            "context_length": best.context_length or model.context_length,
            "max_completion_tokens": best.max_completion_tokens or model.max_completion_tokens,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": list(model.supported_parameters or ()),
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"{OPENROUTER_PREFIX}models/{model.id}/endpoints"},
    }
    if model.reasoning is not None:
        shown["reasoning"] = {
            "mandatory": model.reasoning.mandatory,
            "supported_efforts": list(model.reasoning.supported_efforts) or None,
            "default_effort": model.reasoning.default_effort,
            "supports_max_tokens": model.reasoning.supports_max_tokens,
        }
    return shown


def describe_endpoint(model: ModelView, endpoint: EndpointView) -> dict[str, Any]:
    """OpenRouter's endpoint object. Nothing is measured yet, so uptime, latency and throughput are null."""
    parameters = endpoint.supported_parameters if endpoint.supported_parameters is not None else model.supported_parameters
    chooses = "tool_choice" in (parameters or ())
    return {
        "name": f"{endpoint.provider_name} | {model.id}",
        "model_id": model.id,
        "model_name": model.name,
        "context_length": endpoint.context_length or model.context_length or 0,
        "pricing": endpoint.pricing,
        "provider_name": endpoint.provider_name,
        "tag": f"{endpoint.provider}/{endpoint.region}" if endpoint.region else endpoint.provider,
        "quantization": endpoint.quantization,
        "max_completion_tokens": endpoint.max_completion_tokens or model.max_completion_tokens,
        "max_prompt_tokens": endpoint.max_prompt_tokens or model.max_prompt_tokens,
        "supported_parameters": list(parameters or ()),
        # OpenRouter's number for an endpoint that works.
        "status": 0,
        "uptime_last_5m": None,
        "uptime_last_30m": None,
        "uptime_last_1d": None,
        "latency_last_30m": None,
        "throughput_last_30m": None,
        "perf_last_30m_by_workload": None,
        "supports_implicit_caching": endpoint.supports_implicit_caching,
        "supports_voice_cloning": False,
        "supports_diarization": False,
        "native_tools": {},
        "service_tier": None,
        "supports_tool_choice": dict.fromkeys(("auto", "function", "none", "required"), chooses),
    }


def _architecture(model: ModelView) -> dict[str, Any]:
    return {
        "modality": f"{'+'.join(model.input_modalities)}->{'+'.join(model.output_modalities)}",
        "input_modalities": list(model.input_modalities),
        "output_modalities": list(model.output_modalities),
        "tokenizer": model.tokenizer or "Other",
        "instruct_type": None,
    }


def _anthropic_list(call: Call) -> Response:
    """Anthropic's list and its pages: `limit` (20) after `after_id` or before `before_id`."""
    models = call.desk.offer.models
    limit = call.number("limit", 20, 1, 1000)
    ids = [model.id for model in models]
    first, last = 0, len(models)
    if (after := call.query("after_id")) is not None:
        first = _position(ids, after, "after_id") + 1
    if (before := call.query("before_id")) is not None:
        last = _position(ids, before, "before_id")
    page = models[first:last][-limit:] if before is not None and after is None else models[first:last][:limit]
    more = len(models[first:last]) > limit
    data = [{"type": "model", "id": model.id, "display_name": model.name, "created_at": rfc3339(model.created * 1000)} for model in page]
    ends = {"first_id": page[0].id if page else None, "last_id": page[-1].id if page else None}
    return reply({"data": data, "has_more": more, **ends})


def _position(ids: list[str], id: str, parameter: str) -> int:
    try:
        return ids.index(id)
    except ValueError:
        raise invalid(f"{parameter}: there is no model {id[:200]!r}") from None
