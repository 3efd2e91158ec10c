"""Gateway keys: made, changed and deleted in the database, and known to the data plane before anyone is told so.

The order is always SQL commit → delta → acknowledgement → answer, on the database's one writer thread, so the deltas' numbers follow
the order of the commits and a change holds for the very next request.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from fairlead.config import ConfigKey
from fairlead.control import secret as secrets
from fairlead.control.db import Database, queries
from fairlead.control.db.queries import Key, Row

MADE = "made"
"""A key that was created at run time."""
FILE = "file"
"""A key that `fairlead.toml` defines: the file owns it, here it is read-only."""

EPOCH = "key_epoch"
SECRET_CHECK = "secret_check"  # noqa: S105 - the name of a mark, not a secret


class WrongSecret(Exception):
    """The server secret is not the one that the database's keys were made under."""


class UnknownKey(LookupError):
    """No key has this hash, id, name or label."""


class AmbiguousKey(LookupError):
    """Several keys have this name; the text lists their hashes."""


class OwnedByFile(Exception):
    """The key is defined in `fairlead.toml` and changed there."""


class UnknownAccount(LookupError):
    """No account has this name."""


class NewKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What a caller says about a key to be made."""

    name: str
    account: str = "default"
    management: bool = False
    strict_translation: bool = False
    models: list[str] = []
    expires_at_ms: int | None = None


class Taker(Protocol):
    """Who must know the keys: the engine."""

    def apply_keys(self, delta: bytes) -> int:
        """Applies a delta and returns the sequence number now in force."""
        ...


class Directory:
    """The keys of one installation. Without a taker (a command, no server) changes only go to the database. Every method blocks."""

    def __init__(self, database: Database, secret: bytes, taker: Taker | None = None, now_ms: Callable[[], int] | None = None) -> None:
        self._database = database
        self._secret = secret
        self._taker = taker
        self._now_ms = now_ms or _wall_ms
        self._epoch = 0
        self._seq = 0

    def publish_all(self, file_keys: Sequence[ConfigKey] = ()) -> int:
        """Begins a new epoch: makes the configuration's keys those of the database, as `sync_file` does, and tells the taker all keys
        there are, in place of whatever it knew. Returns their number.
        """

        def work(connection: sqlite3.Connection) -> list[Key]:
            self._sync(connection, file_keys)
            self._epoch, self._seq = queries.next_number(connection, EPOCH), 0
            return queries.keys(connection)

        return len(self._database.write_now(work, lambda keys: self._tell(keys, [], replace=True)))

    def create(self, new: NewKey) -> tuple[Key, str]:
        """Makes a key; the second part is the key itself, which is shown once and kept nowhere. Raises `UnknownAccount`."""
        text = secrets.new_key()
        return self._database.write_now(lambda connection: self._insert(connection, new, text), self._tell_one), text

    def change(self, selector: str, changes: Row) -> Key:
        """Sets `name`, `disabled`, `strict_translation`, `models` (a list) or `expires_at_ms`. Raises `UnknownKey`, `AmbiguousKey`,
        `OwnedByFile`."""
        return self._database.write_now(lambda connection: self._update(connection, selector, changes), self._tell_one)

    def delete(self, selector: str) -> Key:
        """Deletes a key; its generations stay. Raises as `change` does."""
        return self._database.write_now(lambda connection: self._delete(connection, selector), self._tell_gone)

    def sync_file(self, file_keys: Sequence[ConfigKey]) -> None:
        """Makes the keys of the configuration those of the database, by their hash.

        One that left the file is deleted; one that comes back has its old id, and with it its usage.
        """
        self._database.write_now(
            lambda connection: self._sync(connection, file_keys),
            lambda told: self._tell(told[0], told[1]) if told[0] or told[1] else None,
        )

    def _insert(self, connection: sqlite3.Connection, new: NewKey, text: str) -> Key:
        account = queries.account_id(connection, new.account)
        if account is None:
            raise UnknownAccount(new.account)
        row = self._described(text, new.name, MADE) | {
            "management": int(new.management),
            "strict_translation": int(new.strict_translation),
            "models": _patterns(new.models),
            "account_id": account,
            "created_at_ms": self._now_ms(),
            "expires_at_ms": new.expires_at_ms,
        }
        return _present(connection, queries.insert_key(connection, row))

    def _update(self, connection: sqlite3.Connection, selector: str, changes: Row) -> Key:
        key = select(connection, selector)
        _writable(key)
        columns = dict(changes)
        if "models" in columns:
            columns["models"] = _patterns(columns["models"])
        queries.update_key(connection, key.id, columns | {"updated_at_ms": self._now_ms()})
        return _present(connection, key.id)

    def _delete(self, connection: sqlite3.Connection, selector: str) -> Key:
        key = select(connection, selector)
        _writable(key)
        queries.update_key(connection, key.id, {"deleted_at_ms": self._now_ms(), "disabled": 1})
        return key

    def _sync(self, connection: sqlite3.Connection, file_keys: Sequence[ConfigKey]) -> tuple[list[Key], list[int]]:
        kept: list[Key] = []
        for file_key in file_keys:
            row = self._described(file_key.secret, file_key.name, FILE) | {
                "management": int(file_key.management),
                "strict_translation": int(file_key.strict_translation),
                "models": _patterns(file_key.models),
                "disabled": 0,
                "expires_at_ms": None,
                "deleted_at_ms": None,
            }
            known = queries.key_id_by_hash(connection, row["hash"])
            if known is None:
                known = queries.insert_key(connection, row | {"account_id": 1, "created_at_ms": self._now_ms()})
            else:
                queries.update_key(connection, known, row)
            kept.append(_present(connection, known))
        gone = sorted(set(queries.key_ids_of_source(connection, FILE)) - {key.id for key in kept})
        for id in gone:
            queries.update_key(connection, id, {"deleted_at_ms": self._now_ms()})
        return kept, gone

    def _described(self, text: str, name: str, source: str) -> Row:
        stored = secrets.stored_hash(self._secret, text)
        return {
            "hash": stored,
            "public_hash": secrets.public_hash(stored),
            "label": secrets.label(text),
            "name": name,
            "source": source,
        }

    def _tell_one(self, key: Key) -> None:
        self._tell([key], [])

    def _tell_gone(self, key: Key) -> None:
        self._tell([], [key.id])

    def _tell(self, upsert: Sequence[Key], delete: Sequence[int], replace: bool = False) -> None:
        """On the writer's thread, after the commit: the data plane has taken the change when this returns."""
        if self._taker is None:
            return
        self._seq += 1
        delta = {
            "epoch": self._epoch,
            "seq": self._seq,
            "replace": replace,
            "upsert": [_wire(key) for key in upsert],
            "delete": list(delete),
        }
        in_force = self._taker.apply_keys(msgspec.json.encode(delta))
        if in_force < self._seq:
            raise RuntimeError(f"the data plane is at key delta {in_force}, {self._seq} was sent")


def check_secret(database: Database, server_secret: bytes) -> None:
    """Marks a new database with the secret; raises `WrongSecret` when a marked one was made under another. Blocks."""
    mark = secrets.secret_check(server_secret)

    def work(connection: sqlite3.Connection) -> str:
        known = queries.meta(connection, SECRET_CHECK)
        if known is None:
            queries.set_meta(connection, SECRET_CHECK, mark)
        return known or mark

    if database.write_now(work) != mark:
        raise WrongSecret(
            "the server secret is not the one that this database's keys were made under, so no key would work; "
            "put back secret.key or [server] secret"
        )


def made_already(connection: sqlite3.Connection, secret: bytes, file_keys: Sequence[ConfigKey]) -> list[tuple[ConfigKey, Key]]:
    """Which keys of the configuration were made at run time and still exist: the file would take them over and one day delete them."""
    found = []
    for file_key in file_keys:
        id = queries.key_id_by_hash(connection, secrets.stored_hash(secret, file_key.secret))
        key = None if id is None else queries.key(connection, id)
        if key is not None and key.source == MADE:
            found.append((file_key, key))
    return found


def select(connection: sqlite3.Connection, selector: str) -> Key:
    """The one key with this public hash, id, name or label. Raises `UnknownKey` or `AmbiguousKey`."""
    found = queries.keys_named(connection, selector)
    if not found:
        raise UnknownKey(selector)
    if len(found) > 1:
        raise AmbiguousKey(f"several keys are called {selector!r}: " + ", ".join(f"{key.public_hash} ({key.label})" for key in found))
    return found[0]


def _present(connection: sqlite3.Connection, id: int) -> Key:
    key = queries.key(connection, id)
    if key is None:
        raise UnknownKey(str(id))
    return key


def _writable(key: Key) -> None:
    if key.source == FILE:
        raise OwnedByFile(f"the key {key.name!r} is defined in the configuration file as [keys.{key.name}]; change it there")


def _patterns(models: Sequence[str]) -> str:
    return msgspec.json.encode(list(models)).decode()


def _wire(key: Key) -> Row:
    """As the data plane reads it."""
    return {
        "id": key.id,
        "hash": key.hash,
        "account": key.account_id,
        "team": key.team_id,
        "user": key.user_id,
        "disabled": key.disabled,
        "management": key.management,
        "strict_translation": key.strict_translation,
        "expires_at_ms": key.expires_at_ms or 0,
        "models": key.models,
    }


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
