"""`POST /admin/providers/{id}/probe`: a real request to an endpoint, as small as one can be, and what came of it.

It goes through the traffic port like any client's, so that it finds what clients would find: the credential, the network, the model, and
our own limits. It is billed to a key of its own, counts in health and sums, and stands in the audit log.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import Response

from fairlead.config import Limits
from fairlead.config.view import EndpointView, ModelView
from fairlead.control import trail
from fairlead.control.db.queries import MOST_INTEGER
from fairlead.control.desk import Call, Desk
from fairlead.control.directory import NewKey
from fairlead.control.operator import drains, playground
from fairlead.control.operator.playground import Head, Lane
from fairlead.control.operator.shapes import Shape
from fairlead.control.replies import Refusal, invalid, not_found, reply

NAME, TITLE = "probes", "Probe"
LIMIT = Limits(limit_nanousd=10**9, limit_interval="day")
MOST_SECONDS = 30.0
MOST_PROBES = 4
PROMPT, MOST_TOKENS = "Reply with the word ok.", 16


class ProbeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which endpoint of the provider; absent: the one whose words cost least."""

    endpoint: Annotated[int, Meta(ge=1, le=MOST_INTEGER)] | None = None


class Probe(Shape):
    """What came of it."""

    provider: str
    endpoint: int
    model: str
    ok: bool
    status: int
    """As a client got it; 504: nothing within the time that a probe has."""
    error: str | None
    latency_ms: float
    """Until the reply was whole, or the failure told."""
    first_content_ms: float | None
    generation: str | None
    charged_usd: str
    """To the key `probes`."""
    upstream_cost_usd: str


class ProbeData(Shape):
    """A reply."""

    data: Probe


async def run(call: Call) -> Response:
    """Sends an endpoint a request of a few tokens and says how it went, how long that took and what it cost."""
    wanted, desk, slug = await call.body(ProbeBody), call.desk, call.place("id")
    if slug not in desk.offer.providers:
        raise not_found(f"there is no provider {slug[:60]!r} that is on; GET /admin/providers lists them")
    aside = drains.ids(await desk.database.read(drains.stored), desk.now_ms())
    model, endpoint = _chosen(desk.offer.models, slug, wanted.endpoint, aside)
    address = desk.facts.get("data_url")
    if not address:
        raise Refusal(503, "server", "the traffic port is not open yet")
    if slug in desk.probing or len(desk.probing) >= MOST_PROBES:
        raise Refusal(429, "rate_limit_exceeded", "a probe is on its way there already", retry_after=5)
    desk.probing.add(slug)
    try:
        found = await _sent(desk, str(address), model, endpoint)
    finally:
        desk.probing.discard(slug)
    said = {name: found[name] for name in ("endpoint", "model", "status", "error", "generation", "charged_usd")}
    at_ms = desk.now_ms()
    await desk.database.write(lambda connection: trail.note(connection, at_ms, "provider.probe", ("provider", slug, slug), None, said))
    return reply({"data": found})


def _chosen(models: Sequence[ModelView], slug: str, id: int | None, aside: frozenset[int]) -> tuple[ModelView, EndpointView]:
    own = [(model, each) for model in models for each in model.endpoints if each.provider == slug]
    if id is not None:
        found = next(((model, each) for model, each in own if each.id == id), None)
        if found is None:
            raise not_found(f"endpoint: the provider {slug!r} has no endpoint {id}")
        if id in aside:
            raise Refusal(409, "invalid_request", "the endpoint is set aside: let it in again first, nothing is sent there")
        if not _talks(found[0]):
            raise invalid(f"endpoint: {found[0].id} does not answer with text, and a probe is a chat", path="endpoint")
        return found
    talking = [(model, each) for model, each in own if _talks(model) and each.id not in aside]
    if not talking:
        raise Refusal(409, "invalid_request", f"the provider {slug!r} has no endpoint that answers with text and is not set aside")
    return min(talking, key=lambda pair: (pair[1].price.completion, pair[1].price.prompt, pair[0].id))


def _talks(model: ModelView) -> bool:
    return "text" in model.output_modalities


async def _sent(desk: Desk, address: str, model: ModelView, endpoint: EndpointView) -> dict[str, Any]:
    _, secret = await asyncio.to_thread(playground.derived_key, desk, NewKey(name=NAME, limits=LIMIT), "probe", 0)
    place = f"{endpoint.provider}/{endpoint.region}" if endpoint.region else endpoint.provider
    body = {
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": MOST_TOKENS,
        "provider": {"only": [place], "allow_fallbacks": False},
    }
    began, head, error = time.perf_counter(), Head(504, None, None, None), None
    try:
        async with asyncio.timeout(MOST_SECONDS):
            async with contextlib.aclosing(playground.called(address, secret, Lane(model=model.id, body=body), TITLE)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Head):
                        head = piece
                        if head.status != 200:
                            error = playground.error_of(await playground.rest_of(pieces))["message"]
                            break
                    elif (said := _failure(piece)) is not None:
                        error = said
    except TimeoutError:
        head, error = msgspec.structs.replace(head, status=504), f"no answer within {MOST_SECONDS:.0f} s"
    except (OSError, ValueError, EOFError) as failure:
        head, error = msgspec.structs.replace(head, status=502), str(failure)
    latency_ms = (time.perf_counter() - began) * 1000
    settled = await playground.settled(desk, head.generation) or {}
    return {
        "provider": endpoint.provider,
        "endpoint": endpoint.id,
        "model": model.id,
        "ok": error is None and head.status == 200,
        "status": head.status,
        "error": None if error is None else str(error)[:1000],
        "latency_ms": round(settled["total_us"] / 1000 if settled.get("total_us") else latency_ms, 1),
        "first_content_ms": settled["content_us"] / 1000 if settled.get("content_us") else None,
        "generation": head.generation,
        "charged_usd": settled.get("charged_usd", "0"),
        "upstream_cost_usd": settled.get("upstream_cost_usd", "0"),
    }


def _failure(event: bytes) -> str | None:
    """What a stream says of a failure after its head."""
    if b'"error"' not in event:
        return None
    with contextlib.suppress(msgspec.DecodeError):
        found = msgspec.json.decode(event)
        if isinstance(found, dict) and found.get("error"):
            return str(playground.error_of(event)["message"])
    return None
