"""`GET /generation?id=`: one generation of the caller's account, all of OpenRouter's fields, exact to the nano-dollar."""

import re
import sqlite3
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.db.queries import Row
from fairlead.control.db.rollups import app_of
from fairlead.control.desk import Call
from fairlead.control.money import usd_number
from fairlead.control.replies import invalid, not_found, reply, rfc3339

MOST_ID = 512


async def show(call: Call) -> Response:
    """Takes our id or the provider's own reply id, as of the journal's position at the call. 404 for anybody else's."""
    id = asked_id(call)
    await call.caught_up()

    def work(connection: sqlite3.Connection) -> dict[str, Any] | None:
        row = queries.generation(connection, call.principal.account, id)
        if row is None:
            return None
        id_found = row["id"]
        # A shadow is the operator's, and no answer to this request.
        attempts = [attempt for attempt in queries.attempts(connection, [id_found])[id_found] if not attempt["flags"] & queries.SHADOW_FLAG]
        losses = queries.losses(connection, [id_found])[id_found]
        account, app = queries.account_name(connection, row["account_id"]), app_of(connection, row["referer"], row["title"])
        return describe(row, attempts, losses, account, app, call.desk.offer.provider_name)

    found = await call.desk.database.read(work)
    if found is None:
        raise not_found(f"there is no generation {id!r} of this account")
    return reply({"data": found})


def asked_id(call: Call) -> str:
    """The id in the query: ours or the provider's. 400 for none."""
    id = call.query("id")
    if not id or len(id) > MOST_ID:
        raise invalid(f"id: the id of a generation is expected, at most {MOST_ID} characters")
    return id


def describe(
    row: Row, attempts: list[Row], losses: list[Row], account: str, app: int | None, provider_name: Callable[[str], str]
) -> dict[str, Any]:
    """OpenRouter's record, then what it has no member for. What does not exist here is null or 0, never absent.

    `request_id` groups the generations of a request, of which there is one here. `router` is the split that the model was drawn from.
    """
    prompt = row["prompt_tokens"] + row["cache_read_tokens"] + row["cache_write_tokens"] + row["cache_write_1h_tokens"]
    return {
        "id": row["id"],
        "request_id": row["id"],
        "session_id": row["session_id"] or None,
        "upstream_id": row["upstream_id"] or None,
        "model": row["model"],
        "provider_name": provider_name(row["provider"]) or None,
        "router": row["split"] or None,
        "preset_id": row["preset"] or None,
        "api_type": row["api_type"],
        "created_at": rfc3339(row["started_at_ms"]),
        "origin": _origin(row["referer"]),
        "http_referer": row["referer"] or None,
        "user_agent": row["user_agent"] or None,
        "app_id": app,
        "external_user": row["end_user"] or None,
        "workspace_id": account,
        "data_region": "global",
        "streamed": bool(row["streamed"]),
        "cancelled": row["outcome"] == "cancelled",
        "finish_reason": row["finish_reason"] or None,
        "native_finish_reason": row["native_finish_reason"] or None,
        "service_tier": (attempts[-1]["service_tier"] or None) if attempts else None,
        "is_byok": False,
        "total_cost": usd_number(row["charged_nanousd"]),
        "usage": usd_number(row["charged_nanousd"]),
        "upstream_inference_cost": usd_number(row["upstream_cost_nanousd"]),
        "cache_discount": usd_number(row["cache_discount_nanousd"]) if row["cache_discount_nanousd"] else None,
        "tokens_prompt": prompt,
        "tokens_completion": row["completion_tokens"],
        "native_tokens_prompt": prompt,
        "native_tokens_completion": row["completion_tokens"],
        "native_tokens_reasoning": row["reasoning_tokens"],
        "native_tokens_cached": row["cache_read_tokens"],
        "native_tokens_completion_images": 0,
        "num_media_prompt": row["prompt_media"],
        "num_media_completion": 0,
        "num_input_audio_prompt": row["prompt_sounds"],
        "num_search_results": row["web_searches"],
        "num_fetches": 0,
        # Searches are the provider's own.
        "web_search_engine": "native" if row["web_searches"] else None,
        # As OpenRouter counts them: to the first content, and from the call at the provider to its end.
        "latency": _milliseconds(row["content_us"] or row["total_us"]),
        "generation_time": _milliseconds(max(0, row["total_us"] - row["sent_us"])),
        "moderation_latency": None,
        "response_cache_source_id": row["response_cache_source_id"] or None,
        "provider_responses": [_attempt(row, attempt, provider_name) for attempt in attempts],
        "preset_version": row["preset_version"] or None,
        "upstream_dialect": row["upstream_dialect"] or None,
        "translation_losses": losses,
        "translation_losses_more": row["translation_losses_more"],
    }


def _attempt(row: Row, attempt: Row, provider_name: Callable[[str], str]) -> dict[str, Any]:
    return {
        "id": attempt["upstream_id"],
        "endpoint_id": str(attempt["endpoint_id"]),
        "model_permaslug": row["model"],
        "provider_name": provider_name(attempt["provider"]),
        "status": attempt["status"] or None,
        "latency": _milliseconds(attempt["latency_us"]),
        "is_byok": False,
        "routed_service_tier": attempt["service_tier"] or None,
    }


def _origin(referer: str) -> str:
    """Scheme and host of a URL; empty where there are none."""
    scheme, colon, rest = referer.partition("://")
    return scheme + colon + re.split("[/?#]", rest, maxsplit=1)[0] if colon else ""


def _milliseconds(microseconds: int) -> int:
    return (microseconds + 500) // 1000
