"""The operator's routes about the process itself."""

import sqlite3
from typing import Any

from starlette.responses import Response

from fairlead.control.db import migrate, queries
from fairlead.control.desk import Call
from fairlead.control.replies import Refusal, reply, text_reply


async def healthz(call: Call) -> Response:
    """The control plane answers."""
    return text_reply("ok\n")


async def metrics(call: Call) -> Response:
    """The data plane's figures, as Prometheus reads them."""
    return text_reply(call.desk.engine.metrics(), "text/plain; version=0.0.4; charset=utf-8")


async def reload(call: Call) -> Response:
    """Reads the configuration again. 422 with every mistake when it is bad; the running one then stays in force."""
    try:
        return reply({"data": {"message": await call.desk.reload()}})
    except ValueError as error:
        raise Refusal(422, "unprocessable", f"the running configuration stays in force: {error}") from None


async def status(call: Call) -> Response:
    """What `fairlead doctor` asks of a running process."""

    def work(connection: sqlite3.Connection) -> dict[str, Any]:
        return {
            "schema": migrate.version(connection),
            "integrity": queries.quick_check(connection),
            "newest_settled_at_ms": queries.newest_settled_at_ms(connection),
            "cursors": queries.cursors(connection),
        }

    desk = call.desk
    stored = await desk.database.read(work)
    journal = {
        "position": desk.engine.position(),
        "applied": stored.pop("cursors"),
        "failure": desk.drainer.failure,
        "problems": desk.drainer.problems,
    }
    return reply({"data": {**desk.facts, "database": stored, "journal": journal, "sign_ins": desk.sign_ins()}})
