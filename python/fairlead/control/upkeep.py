"""What is done from time to time, whether anybody asks or not: credit expires, alerts are raised and sent."""

import asyncio
import logging

from fairlead.control import alerts, credits
from fairlead.control.desk import Desk
from fairlead.control.drain import Behind
from fairlead.control.operator import drains

log = logging.getLogger("fairlead.upkeep")

EVERY_SECONDS = 20.0


class Upkeep:
    """A task of the process."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._failure: str | None = None

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
        desk = self._desk
        await drains.end(desk)
        await desk.drainer.catch_up()
        now_ms = desk.now_ms()
        if await desk.database.read(lambda connection: credits.is_due(connection, now_ms)):
            await asyncio.to_thread(credits.expire, desk.directory, now_ms)
        for alert in await alerts.raise_all(desk.database, desk.alerts, desk.credits.enforce, now_ms):
            desk.live.publish("alerts", {"kind": alert.kind, "text": alert.text, **alert.facts})
        await alerts.deliver(desk.database, desk.alerts, now_ms)
