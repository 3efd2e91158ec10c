"""What stands behind a Router: its configuration, the native thread, and where it is asked for, a data folder.

Everything here blocks. What is opened goes on a stack, in the order in which it must not be closed.
"""

import logging
import sqlite3
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from fairlead import _native, config
from fairlead.catalog import Catalogue, current
from fairlead.config import Compiled, Loaded, Mistakes, report
from fairlead.config.models import EndpointIds
from fairlead.control import names, place, secret
from fairlead.control.db import Database, SchemaError, queries
from fairlead.control.directory import WrongSecret, check_secret
from fairlead.control.place import PlaceError
from fairlead.errors import ConfigurationError, OpeningError

log = logging.getLogger("fairlead")

NODE = "node"
ACCOUNT = "default"
ACCOUNT_WITHOUT_DATABASE = 1


class Opened(NamedTuple):
    """All of it."""

    compiled: Compiled
    calls: _native.Calls
    database: Database | None
    """Of the data folder, if there is one."""
    journal_dir: Path | None


def open_all(path: str | None, data_dir: Path | None, environ: Mapping[str, str], most_in_flight: int, stack: ExitStack) -> Opened:
    """Opens it. Raises `ConfigurationError` or `OpeningError`; what was opened by then is on the stack."""
    try:
        loaded = config.load(config.find(path, environ), environ)
        catalogue = current(data_dir or loaded.config.server.data_dir)
        if data_dir is not None:
            # A look at the whole configuration before the first folder is made. It is compiled once, so that it is read again.
            config.compile(loaded, catalogue, environ)
            loaded = config.load(config.find(path, environ), environ)
        opened = _open(loaded, catalogue, data_dir, environ, most_in_flight, stack)
    except Mistakes as mistakes:
        raise ConfigurationError(report.text(mistakes.problems).rstrip("\n"), mistakes.problems) from None
    except (PlaceError, SchemaError, WrongSecret, sqlite3.Error, OSError) as error:
        raise OpeningError(str(error)) from error
    for line in report.text(opened.compiled.warnings).splitlines():
        log.warning("%s", line)
    return opened


def _open(
    loaded: Loaded, catalogue: Catalogue, data_dir: Path | None, environ: Mapping[str, str], most_in_flight: int, stack: ExitStack
) -> Opened:
    configured = loaded.config.server.secret
    options: dict[str, object] = {"account": ACCOUNT_WITHOUT_DATABASE, "queue": 2 * most_in_flight}
    database = journal_dir = None
    if data_dir is None:
        server_secret = secret.new_secret() if configured is None else place.server_secret(Path(), configured)
    else:
        place.make_data_dir(data_dir)
        stack.callback(place.Lock(data_dir).release)
        server_secret = place.server_secret(data_dir, configured)
        database = Database(data_dir / place.DATABASE)
        stack.callback(database.close)
        check_secret(database, server_secret)
        journal_dir = data_dir / place.JOURNAL
        folders = {"journal_dir": str(journal_dir), "decisions_dir": str(data_dir / place.DECISIONS)}
        options |= folders | database.read_now(_stored)
    simulator_address = None
    if config.simulator_is_on(loaded, catalogue, environ):
        simulator = _native.Simulator()
        stack.callback(simulator.stop)
        simulator_address = simulator.address

    def compiled(endpoint_id: EndpointIds) -> Compiled:
        return config.compile(loaded, catalogue, environ, simulator_address=simulator_address, endpoint_id=endpoint_id)

    def with_stored(connection: sqlite3.Connection) -> Compiled:
        of_file = compiled(lambda *place: queries.endpoint_id(connection, *place))
        return names.completed(connection, of_file, loaded.document)

    found = compiled(config.hashed_endpoint_id) if database is None else database.write_now(with_stored)
    calls = _native.Calls(msgspec.json.encode(options | {"secret": server_secret.hex()}))
    stack.callback(calls.close)
    return Opened(found, calls, database, journal_dir)


def _stored(connection: sqlite3.Connection) -> dict[str, object]:
    """What the database says of the journal, and who pays."""
    return {
        "node": int(queries.meta(connection, NODE) or 0),
        "cursors": queries.cursors(connection),
        "account": queries.account_id(connection, ACCOUNT),
    }
