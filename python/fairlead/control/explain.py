"""`POST /admin/explain`: which endpoints would serve a request, in what order, and why not the others. Nothing is sent."""

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from fairlead.control.desk import Call
from fairlead.control.directory import AmbiguousKey, UnknownKey
from fairlead.control.operator import sight
from fairlead.control.replies import Refusal, invalid, reply

MOST_SEED = 2**64 - 1


class Question(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall be explained."""

    body: msgspec.Raw
    """The request's body, as a client would send it."""
    dialect: str = "openai_chat"
    """What it is written in."""
    model: str | None = None
    """The model that the path names, of a Gemini request."""
    stream: bool = False
    """Whether a Gemini request is to be streamed."""
    key: str | None = None
    """A key by its id, hash, name or label: as if it asked. Absent: one that may use everything."""
    seed: int | None = None
    """Of the draw; the same one gives the same order as long as nothing changes."""


async def show(call: Call) -> Response:
    """The candidates in order, with their cost, chance and health, and those that are out, with the filter and what would let them in."""
    return reply({"data": await answered(call, await call.body(Question))})


async def answered(call: Call, question: Question) -> dict[str, Any]:
    """What the data plane says. Raises `Refusal` for what cannot be asked, or asked as this key."""
    if question.seed is not None and not 0 <= question.seed <= MOST_SEED:
        raise invalid(f"seed: a whole number from 0 to {MOST_SEED} is expected", path="seed")
    asked: dict[str, Any] = {name: getattr(question, name) for name in ("body", "dialect", "model", "stream", "seed")}
    if question.key is not None:
        try:
            key = await call.desk.database.read(sight.seen_key(call.principal, question.key[:200]))
        except (UnknownKey, AmbiguousKey) as unclear:
            raise invalid(f"key: {unclear}", path="key") from None
        asked |= {"models": key.models, "account": key.account_id}
    # A question about a long prompt is as long; counting it is done beside the loop.
    answer: dict[str, Any] = msgspec.json.decode(await asyncio.to_thread(call.desk.engine.explain, msgspec.json.encode(asked)))
    if (error := answer.get("error")) is not None:
        raise Refusal(error["status"], "invalid_request", error["message"])
    return answer
