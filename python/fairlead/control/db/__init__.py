"""The SQLite database: one writer connection, a few readers, numbered migrations, hand-written SQL in one module."""

from fairlead.control.db.connection import Database, TookLong
from fairlead.control.db.migrate import SchemaError

__all__ = ["Database", "SchemaError", "TookLong"]
