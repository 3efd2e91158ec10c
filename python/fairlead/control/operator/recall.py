"""`GET /admin/requests/{id}/explain`: why a past request would go where it would go now, and what was decided then, where that is logged.

Neither prompts nor whole bodies are kept, so the question is made of what is known: the name of the model, the dialect, the key, how long
the prompt was, whether it was streamed, its session. What was decided then comes from the log of decisions, made again by the present
configuration with the health of that moment (`fairlead replay` does the same for all of them).
"""

import asyncio
import importlib
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from starlette.responses import Response

from fairlead.control import explain, place, requests, sample
from fairlead.control.db import queries
from fairlead.control.db.queries import Row
from fairlead.control.desk import Call, Desk
from fairlead.control.explain import Question
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import Refusal, not_found, reply

MOST_TOKENS = 200_000
"""Of a prompt that is made up to have the length that it had."""
MOST_OF_A_MILLISECOND = 100_000


class Chosen(Shape):
    """An endpoint. Names are empty where it is not known any more."""

    endpoint: int
    model: str
    provider: str
    service_tier: str | None


class Then(Shape):
    """A logged decision."""

    name: str
    """What the request called its model."""
    first: Chosen | None
    """The endpoint that was to be asked first; null: nobody could be asked."""
    now: Chosen | None
    """The one that the present configuration would ask first, with the health of that moment and the same draw."""
    same: bool
    """Whether it comes to the same order, to its last endpoint."""
    reason: str | None
    """Why the present configuration has none."""


class Recalled(Shape):
    """Both."""

    asked: dict[str, Any]
    """What was asked about, in place of the request."""
    now: dict[str, Any] | None
    """As `POST /admin/explain` has it; null: it cannot be asked any more."""
    refused: str | None
    """Why not."""
    then: Then | None
    """Null: it is not in the log of decisions."""


class RecalledData(Shape):
    """A reply."""

    data: Recalled


async def show(call: Call) -> Response:
    """What would be decided now about a past request, from what is known of it, and what was decided then where that is logged."""
    id = call.place("id")
    await call.caught_up()
    row = await call.desk.database.look(lambda connection: queries.generation_of_any_account(connection, id))
    if row is None or not requests.sees(call.principal, row):
        raise not_found(f"there is no generation {id[:60]!r}")
    known, question = asked(row)
    now, refused = None, None
    try:
        now = await explain.answered(call, question)
    except Refusal as refusal:
        refused = refusal.message
    return reply(
        {"data": {"asked": known, "now": now, "refused": refused, "then": await _decided(call.desk, id, int(row["started_at_ms"]))}}
    )


def asked(row: Row) -> tuple[dict[str, Any], Question]:
    """What is known of a request, and a question of the same shape."""
    model = str(row["requested_model"] or row["model"])
    prompt = sum(int(row[name]) for name in ("prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"))
    tokens = min(max(prompt, 1), MOST_TOKENS)
    stream, dialect = bool(row["streamed"]), str(row["dialect"])
    # Completions are asked for as the chat that they are recorded as; embeddings are another kind of work.
    if row["api_type"] == "embeddings":
        dialect = "openai_embeddings"
    # Counted as one token each by every encoding.
    body = sample.body(dialect, " a" * tokens, model=model, stream=stream)
    if row["session_id"] and dialect != "gemini_generate":
        body["session_id"] = row["session_id"]
    question = Question(body=msgspec.Raw(msgspec.json.encode(body)), dialect=dialect)
    if dialect == "gemini_generate":
        question.model, question.stream = model, stream
    if row["key_id"]:
        question.key = str(row["key_id"])
    known = {"model": model, "dialect": dialect, "prompt_tokens": tokens, "streamed": stream, "key": row["key_id"]}
    return known | ({"session": row["session_id"]} if row["session_id"] else {}), question


class _Log(NamedTuple):
    folder: Path
    snapshot: bytes


async def _decided(desk: Desk, id: str, started_ms: int) -> dict[str, Any] | None:
    configured = desk.configured
    if configured is None or not (configured.data_dir / place.DECISIONS).is_dir():
        return None
    log = _Log(configured.data_dir / place.DECISIONS, configured.compiled.snapshot)
    # It is read from the moment of the request on, which may be all of it: one at a time.
    async with desk.recalling:
        told = await asyncio.to_thread(_found, log, id)
    if told is None:
        return None
    names = await desk.database.read(_names)
    return {
        "name": told["name"],
        "first": _chosen(told["then"], names),
        "now": _chosen(told["now"], names),
        "same": told["same"],
        "reason": told.get("reason"),
    }


def _found(log: _Log, id: str) -> dict[str, Any] | None:
    """The decision about a generation, made again. Blocks."""
    # An id says when it was made.
    at_ms = int(id.removeprefix("gen-").replace("-", "")[:12], 16)
    native = importlib.import_module("fairlead._native")
    try:
        replay = native.Replay(log.snapshot, str(log.folder), since_ms=at_ms, until_ms=at_ms + 1, most=MOST_OF_A_MILLISECOND)
        replay.read(MOST_OF_A_MILLISECOND)
        each: list[dict[str, Any]] = msgspec.json.decode(replay.settle(b"{}", True))
    except (OSError, ValueError):
        # A segment may make room while it is read.
        return None
    return next((one for one in each if one["id"] == id), None)


Names = dict[int, tuple[str, str, str]]


def _names(connection: sqlite3.Connection) -> Names:
    return {id: (model, provider, region) for (model, provider, _, region), id in queries.endpoints(connection).items()}


def _chosen(where: dict[str, Any] | None, names: Names) -> dict[str, Any] | None:
    if where is None:
        return None
    model, provider, region = names.get(where["endpoint"], ("", "", ""))
    return {
        "endpoint": where["endpoint"],
        "model": model,
        "provider": f"{provider}/{region}" if region else provider,
        "service_tier": where.get("tier"),
    }
