"""`GET /credits`: what the caller's account was given and what it used."""

from starlette.responses import Response

from fairlead.control.db import queries
from fairlead.control.desk import Call
from fairlead.control.money import usd_number
from fairlead.control.replies import reply


async def show(call: Call) -> Response:
    """Totals as of the journal's position at the call. Nothing can be given yet, so `total_credits` is 0."""
    await call.caught_up()
    used = await call.desk.database.read(lambda connection: queries.usage_of_account(connection, call.principal.account))
    return reply({"data": {"total_credits": 0, "total_usage": usd_number(used)}})
