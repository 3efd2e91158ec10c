"""The invariants of the ledger, looked at while it runs: whether the books in memory hold by themselves, and against the database.

What is found wrong is counted (`fairlead_ledger_violations_total`), logged and told as an alert, once a day for each; nothing is mended
and nobody is refused. It means a defect in this program, or a database that somebody else has changed.
"""

import sqlite3
from typing import NamedTuple

from fairlead.control import spending
from fairlead.control.alerts import Alert
from fairlead.control.db import queries, scopes
from fairlead.control.db.queries import DAY_MS, Usage
from fairlead.control.desk import Desk
from fairlead.control.engine import Engine
from fairlead.control.money import usd
from fairlead.control.windows import window_starts

Scope = tuple[str, int]


class Difference(NamedTuple):
    """What a scope has spent in all, in nano-dollars, by the one and by the other."""

    memory: int
    database: int


class Auditor:
    """Looks now and then. It remembers what looked wrong the last time: a call that is being settled is in memory an instant before it is
    in the journal."""

    def __init__(self) -> None:
        self._suspects: set[Scope] = set()

    async def look(self, desk: Desk) -> list[Alert]:
        """What is wrong now. Brings the database up to the journal. Raises `Behind`."""
        now_ms = desk.now_ms()
        found = [_broken(kind, id, word, what, now_ms) for kind, id, word, what in desk.engine.audit()]
        differences = await _differences(desk, now_ms)
        wrong = {scope: difference for scope, difference in differences.items() if scope in self._suspects}
        self._suspects = set(differences)
        if wrong:
            desk.engine.count_database_violations(len(wrong))
        return found + [_differs(scope, difference, now_ms) for scope, difference in wrong.items()]


async def _differences(desk: Desk, now_ms: int) -> dict[Scope, Difference]:
    """Whose sums cannot both be right: the database, asked in between, has what memory had before, and no more than it has afterwards."""
    looked_at = await desk.database.read(_scopes)
    before = _counted(desk.engine, looked_at)
    await desk.drainer.catch_up()
    stored = await desk.database.read(lambda connection: _stored(connection, looked_at, now_ms))
    after = _counted(desk.engine, looked_at)
    return {
        scope: Difference(after[scope], stored[scope])
        for scope in looked_at
        if scope in before and scope in after and not before[scope] <= stored[scope] <= after[scope]
    }


def _scopes(connection: sqlite3.Connection) -> list[Scope]:
    """Every account, and whoever has limits."""
    accounts = [(scopes.ACCOUNT, account.id) for account in scopes.scopes(connection, scopes.ACCOUNT)]
    limited = (scopes.TEAM, scopes.USER, scopes.KEY)
    return accounts + [(kind, id) for kind in limited for id in scopes.limits(connection, kind)]


def _counted(engine: Engine, looked_at: list[Scope]) -> dict[Scope, int]:
    counted = {scope: engine.spending(*scope) for scope in looked_at}
    return {scope: amounts[3] for scope, amounts in counted.items() if amounts is not None}


def _stored(connection: sqlite3.Connection, looked_at: list[Scope], now_ms: int) -> dict[Scope, int]:
    kinds = {kind for kind, _ in looked_at}
    used = {kind: queries.usage_by(connection, window_starts(now_ms), spending.DIMS[kind]) for kind in kinds}
    return {(kind, id): used[kind].get(id, Usage()).total for kind, id in looked_at}


def _broken(kind: str, id: int, word: str, what: str, now_ms: int) -> Alert:
    text = f"the books of the {kind} {id} do not hold: {what}; please report this"
    return Alert(f"ledger/{word}/{kind}/{id}/{now_ms // DAY_MS}", "ledger", text, {"scope": kind, "scope_id": id, "invariant": word})


def _differs(scope: Scope, difference: Difference, now_ms: int) -> Alert:
    kind, id = scope
    memory, database = usd(difference.memory), usd(difference.database)
    text = f"the {kind} {id} has spent {memory} $ by the books in memory and {database} $ by the database; run fairlead ledger verify"
    facts = {"scope": kind, "scope_id": id, "invariant": "database", "memory_usd": memory, "database_usd": database}
    return Alert(f"ledger/database/{kind}/{id}/{now_ms // DAY_MS}", "ledger", text, facts)
