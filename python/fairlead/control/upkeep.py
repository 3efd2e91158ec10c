"""What is done from time to time, whether anybody asks or not: credit expires, old rows go, the books are audited, alerts are raised and
sent."""

import asyncio
import logging

from fairlead.control import alerts, credits
from fairlead.control.audit import Auditor
from fairlead.control.db import end_users, retention
from fairlead.control.db.queries import DAY_MS
from fairlead.control.desk import Desk
from fairlead.control.drain import Behind
from fairlead.control.operator import drains

log = logging.getLogger("fairlead.upkeep")

EVERY_SECONDS = 20.0
# What writes meanwhile waits for one transaction of so many rows; the rest of a backlog waits for the next round.
REMOVED_AT_ONCE, MOST_REMOVALS = 500, 200


class Upkeep:
    """A task of the process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._failure: str | None = None
        self._auditor = Auditor()

    async def run(self) -> None:
        """Until cancelled. What fails is logged once and tried again."""
        while True:
            try:
                await self.once()
                self._failure = None
            except Behind:
                # Whoever brings the records into the database says why.
                pass
            except Exception as error:
                text = f"{type(error).__name__}: {error}"
                if text != self._failure:
                    log.error("expiry of credit and alerts wait: %s", text)
                self._failure = text
            await asyncio.sleep(EVERY_SECONDS)

    async def once(self) -> None:
        """One round, by what was settled until now."""
        desk, expired_ms = self._desk, self._desk.now_ms()
        # Before the rest: what was held and is settled by now counts twice then, rather than not at all.
        held = await desk.database.read(lambda connection: credits.held(connection, desk.engine, expired_ms))
        await drains.end(desk)
        wrong = await self._auditor.look(desk)
        now_ms = desk.now_ms()
        if held:
            await asyncio.to_thread(credits.expire, desk.directory, held, expired_ms)
        if await desk.database.read(lambda connection: end_users.is_due(connection, now_ms)):
            await desk.database.write(lambda connection: end_users.forget(connection, now_ms))
        await self._remove_rows(now_ms)
        for alert in await alerts.raise_all(desk.database, desk.alerts, desk.credits.enforce, now_ms, wrong):
            desk.live.publish("alerts", {"kind": alert.kind, "text": alert.text, **alert.facts})
        await alerts.deliver(desk.database, desk.alerts, now_ms)

    async def _remove_rows(self, now_ms: int) -> None:
        """Lets go of rows that are older than they are kept."""
        database, days = self._desk.database, self._desk.retention_days
        if days is None:
            return
        before_ms = (now_ms // DAY_MS - days) * DAY_MS
        for _ in range(MOST_REMOVALS):
            if not await database.read(lambda connection: retention.is_due(connection, before_ms)):
                return
            await database.write(lambda connection: retention.remove(connection, before_ms, REMOVED_AT_ONCE))
