"""The route of `live`."""

import msgspec
from starlette.responses import Response

from fairlead.control import requests
from fairlead.control.desk import Call
from fairlead.control.operator import live, session


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What to hear of: `now`, `requests`, `health`, `config`, `alerts`, separated by commas."""

    topics: str | None = None
    last_event_id: str | None = None
    """As the header `Last-Event-ID`, for who cannot set it."""


async def stream(call: Call) -> Response:
    """What happens now, as server-sent events; `Last-Event-ID` brings what was missed within a minute."""
    desk, principal = call.desk, call.principal
    topics = live.topics_of(call.asked(EventsQuery).topics, principal)
    listener, resumed = desk.live.join(principal, topics, live.last_id(call.request))
    desk.live.look_on(desk.engine, desk.database.read, requests.described)

    async def is_alive() -> bool:
        return await session.is_alive(desk, principal)

    return live.EventStream(desk.live, listener, resumed, is_alive, requests.sees)
