"""SQL of keys, generations and usage; `scopes`, `ledger` and `alerts` have the rest of it. Each function takes a connection and runs inside
the caller's transaction.

The SQL keeps to what SQLite and PostgreSQL share; values are bound, never formatted in (column lists are our own constants).
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from fairlead.config.limits import Limits
from fairlead.control.db import scopes

NO_LIMITS = Limits()
DAY_MS = 86_400_000
# What SQLite can store. Providers have reported token counts above it.
MOST_INTEGER = 2**63 - 1

GENERATION_COLUMNS = (
    "id", "started_at_ms", "settled_at_ms", "account_id", "team_id", "user_id", "key_id", "end_user_id", "dialect", "manner",
    "streamed", "outcome", "flags", "status", "error", "requested_model", "model", "provider", "upstream_id", "finish_reason",
    "native_finish_reason", "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "completion_tokens", "reasoning_tokens", "web_searches", "reserved_nanousd", "charged_nanousd", "upstream_cost_nanousd",
    "price_version", "sent_us", "head_us", "content_us", "total_us", "own_us", "referer", "title", "user_agent", "end_user",
    "session_id", "upstream_dialect", "translation_losses_more", "split", "arm",
    "preset", "preset_version", "response_cache_source_id", "saved_nanousd", "api_type", "prompt_media", "prompt_sounds",
    "cache_discount_nanousd",
)  # fmt: skip
ATTEMPT_COLUMNS = (
    "generation_id", "n", "provider", "endpoint_id", "upstream_model", "upstream_id", "status", "error", "latency_us",
    "upstream_cost_nanousd", "flags", "service_tier",
)  # fmt: skip
LOSS_COLUMNS = ("generation_id", "n", "path", "severity", "reason")

SHADOW_FLAG = 1 << 7
"""Marks an attempt as a copy of the request that nobody waited for (`rust/ledger/src/record.rs`)."""

Cursor = tuple[int, int, int, int, int]
"""Node, epoch, worker, segment, byte offset."""


class Res:
    """How long the windows of a rollup are. Plain numbers: SQLite takes those several times faster than members of an enumeration."""

    MINUTE = 0
    QUARTER = 1
    HOUR = 2
    DAY = 3
    MONTH = 4
    ZONE_DAY = 5
    ZONE_MONTH = 6
    """Of the reporting zone, where that is not UTC."""


class Dim:
    """What the rows of `usage_rollup` are about."""

    TOTAL = 0
    PLACE = 1
    KEY = 2
    TEAM = 3
    USER = 4
    APP = 5
    ARM = 6
    PRESET = 7
    SHADOW = 8
    ALL = range(9)


Span = tuple[int, int, int]
"""Windows of a length that begin from one moment on and before another, in Unix milliseconds."""


class Key(msgspec.Struct, frozen=True):
    """A row of `keys`. Moments are Unix milliseconds; `models` are patterns, empty for all."""

    id: int
    hash: str
    public_hash: str
    label: str
    name: str
    source: str
    disabled: bool
    management: bool
    strict_translation: bool
    models: list[str]
    account_id: int
    account: str
    team_id: int
    user_id: int
    created_at_ms: int
    updated_at_ms: int | None
    last_used_at_ms: int | None
    expires_at_ms: int | None
    strict_budget: bool
    include_byok: bool
    content: bool | None
    response_cache: bool | None
    """Absent: as the file says of all."""
    team: str
    user: str
    """Names; empty where there is none."""
    previous_hash: str
    previous_label: str
    """Of the secret before the present one; empty: it was never rotated."""
    previous_until_ms: int | None
    """When that one stops, or stopped."""
    limits: Limits


class Usage(msgspec.Struct, frozen=True):
    """What a key was charged, in nano-dollars, in windows that begin at UTC midnight (weeks on Monday)."""

    total: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


class ActivityRow(msgspec.Struct, frozen=True):
    """What an account did in a day at a place. `prompt_tokens` includes those from and for the cache."""

    start_ms: int
    model: str
    provider: str
    endpoint_id: int
    requests: int
    charged_nanousd: int
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    cached_tokens: int


Row = dict[str, Any]

# --- meta -----------------------------------------------------------------------------------------------------------------


def meta(connection: sqlite3.Connection, name: str) -> str | None:
    """A named value, or None."""
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def set_meta(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Stores a named value."""
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def next_number(connection: sqlite3.Connection, name: str) -> int:
    """Counts the named value up by one and returns it; the first is 1."""
    number = int(meta(connection, name) or 0) + 1
    set_meta(connection, name, str(number))
    return number


# --- keys -----------------------------------------------------------------------------------------------------------------

_KEY_FIELDS = (
    "keys.id, keys.hash, public_hash, keys.label, keys.name, keys.source, disabled, management, strict_translation, models,"
    " keys.account_id, accounts.name, keys.team_id, keys.user_id, keys.created_at_ms, keys.updated_at_ms, last_used_at_ms, expires_at_ms,"
    " strict_budget, include_byok, content, response_cache, COALESCE(teams.name, ''), COALESCE(users.name, ''),"
    " COALESCE(before.hash, ''), COALESCE(before.label, ''), before.until_ms"
)
_SELECT_KEY = (
    f"SELECT {_KEY_FIELDS} FROM keys JOIN accounts ON accounts.id = keys.account_id LEFT JOIN teams ON teams.id = keys.team_id"  # noqa: S608
    " LEFT JOIN users ON users.id = keys.user_id LEFT JOIN key_secrets before ON before.hash ="
    " (SELECT hash FROM key_secrets WHERE key_id = keys.id ORDER BY replaced_at_ms DESC LIMIT 1) WHERE keys.deleted_at_ms IS NULL"
)


def account_id(connection: sqlite3.Connection, name: str) -> int | None:
    """The id of an account by its name."""
    row = connection.execute("SELECT id FROM accounts WHERE name = ? AND deleted_at_ms IS NULL", (name,)).fetchone()
    return None if row is None else int(row[0])


def account_name(connection: sqlite3.Connection, account: int) -> str:
    """The name of an account; its number as text when there is no such row."""
    row = connection.execute("SELECT name FROM accounts WHERE id = ?", (account,)).fetchone()
    return str(account) if row is None else str(row[0])


def keys(connection: sqlite3.Connection, account: int | None = None) -> list[Key]:
    """Every key that is not deleted, or those of one account, oldest first."""
    if account is None:
        return _keys(connection, "1 = 1", ())
    return _keys(connection, "keys.account_id = ?", (account,))


def key(connection: sqlite3.Connection, id: int) -> Key | None:
    """A key by its id, unless it is deleted."""
    found = _keys(connection, "keys.id = ?", (id,))
    return found[0] if found else None


def keys_named(connection: sqlite3.Connection, selector: str, sees: Callable[[Key], bool] = lambda _: True) -> list[Key]:
    """Of the keys that one sees those whose public hash is `selector`; if none, whose id is; if none, whose name or label is. More than one
    only for names."""
    for condition, value in (
        ("public_hash = ?", selector),
        ("keys.id = ?", int(selector) if selector.isascii() and selector.isdigit() and len(selector) < 19 else -1),
        ("(keys.name = ?1 OR keys.label = ?1)", selector),
    ):
        found = [key for key in _keys(connection, condition, (value,)) if sees(key)]
        if found:
            return found
    return []


def insert_key(connection: sqlite3.Connection, row: Row) -> int:
    """Adds a key and returns its id, which no key had before."""
    names = ", ".join(row)
    marks = ", ".join("?" for _ in row)
    cursor = connection.execute(f"INSERT INTO keys ({names}) VALUES ({marks}) RETURNING id", tuple(row.values()))  # noqa: S608
    return int(cursor.fetchall()[0][0])


def update_key(connection: sqlite3.Connection, id: int, changes: Row) -> None:
    """Sets columns of a key."""
    assignments = ", ".join(f"{name} = ?" for name in changes)
    connection.execute(f"UPDATE keys SET {assignments} WHERE id = ?", (*changes.values(), id))  # noqa: S608


def key_id_by_hash(connection: sqlite3.Connection, hash: str) -> int | None:
    """The id of the key with this stored hash, now or before it was rotated, deleted or not."""
    statement = "SELECT id FROM keys WHERE hash = ?1 UNION ALL SELECT key_id FROM key_secrets WHERE hash = ?1"
    row = connection.execute(statement, (hash,)).fetchone()
    return None if row is None else int(row[0])


def retire_secret(connection: sqlite3.Connection, key: Key, now_ms: int, until_ms: int) -> None:
    """Notes that a key's secret is replaced and good until then; the ones before it stop now."""
    connection.execute("UPDATE key_secrets SET until_ms = ?1 WHERE key_id = ?2 AND until_ms > ?1", (now_ms, key.id))
    statement = "INSERT INTO key_secrets (hash, key_id, label, replaced_at_ms, until_ms) VALUES (?, ?, ?, ?, ?)"
    connection.execute(statement, (key.hash, key.id, key.label, now_ms, until_ms))


def forget_secrets(connection: sqlite3.Connection, key: int) -> None:
    """A key begins anew, with one secret."""
    connection.execute("DELETE FROM key_secrets WHERE key_id = ?", (key,))


def key_of_account(connection: sqlite3.Connection, account: int, public_hash: str) -> int | None:
    """The id of a key of this account by its public hash, deleted or not."""
    row = connection.execute("SELECT id FROM keys WHERE account_id = ? AND public_hash = ?", (account, public_hash)).fetchone()
    return None if row is None else int(row[0])


def key_ids_of_source(connection: sqlite3.Connection, source: str) -> list[int]:
    """Ids of the keys of one origin that are not deleted."""
    return [int(row[0]) for row in connection.execute("SELECT id FROM keys WHERE source = ? AND deleted_at_ms IS NULL", (source,))]


def key_labels(connection: sqlite3.Connection) -> dict[int, tuple[str, str]]:
    """Id → (name, label) of every key there ever was."""
    return {int(id): (name, label) for id, name, label in connection.execute("SELECT id, name, label FROM keys")}


def _keys(connection: sqlite3.Connection, condition: str, values: Sequence[Any]) -> list[Key]:
    rows = connection.execute(f"{_SELECT_KEY} AND {condition} ORDER BY keys.id", tuple(values)).fetchall()
    if not rows:
        return []
    found = scopes.limits(connection, scopes.KEY, None if len(rows) > 1 else [rows[0][0]])
    return [_key(row, found.get(row[0], NO_LIMITS)) for row in rows]


def _key(row: Sequence[Any], limits: Limits) -> Key:
    id, hash, public_hash, label, name, source, disabled, management, strict_translation, models, *rest = row
    *belonging, strict_budget, include_byok, content, response_cache, team, user, before_hash, before_label, before_until_ms = rest
    patterns = msgspec.json.decode(models, type=list[str])
    flags = (bool(disabled), bool(management), bool(strict_translation))
    wishes = [None if wish is None else bool(wish) for wish in (content, response_cache)]
    rest = [*belonging, bool(strict_budget), bool(include_byok), *wishes, team, user, before_hash, before_label, before_until_ms, limits]
    return Key(id, hash, public_hash, label, name, source, *flags, patterns, *rest)


# --- endpoint ids ---------------------------------------------------------------------------------------------------------


def endpoints(connection: sqlite3.Connection) -> dict[tuple[str, str, str, str], int]:
    """The ids of all endpoints there ever were, by model, provider, upstream model and region."""
    rows = connection.execute("SELECT model, provider, upstream_model, region, id FROM endpoints")
    return {(model, provider, upstream_model, region): id for model, provider, upstream_model, region, id in rows}


def endpoint_id(connection: sqlite3.Connection, model: str, provider: str, upstream_model: str, region: str) -> int:
    """The stable id of an endpoint, allotted at its first sight and never given to another."""
    place = (model, provider, upstream_model, region)
    select = "SELECT id FROM endpoints WHERE model = ? AND provider = ? AND upstream_model = ? AND region = ?"
    row = connection.execute(select, place).fetchone()
    if row is None:
        insert = "INSERT INTO endpoints (model, provider, upstream_model, region) VALUES (?, ?, ?, ?) RETURNING id"
        row = connection.execute(insert, place).fetchall()[0]
    return int(row[0])


# --- the journal's way in -------------------------------------------------------------------------------------------------

_INSERT_GENERATION = (
    f"INSERT INTO generations ({', '.join(GENERATION_COLUMNS)}) VALUES ({', '.join('?' * len(GENERATION_COLUMNS))})"  # noqa: S608
    " ON CONFLICT (id) DO NOTHING"
)
_INSERT_ATTEMPT = (
    f"INSERT INTO attempts ({', '.join(ATTEMPT_COLUMNS)}) VALUES ({', '.join('?' * len(ATTEMPT_COLUMNS))})"  # noqa: S608
    " ON CONFLICT (generation_id, n) DO NOTHING"
)
_INSERT_LOSS = (
    f"INSERT INTO translation_losses ({', '.join(LOSS_COLUMNS)}) VALUES ({', '.join('?' * len(LOSS_COLUMNS))})"  # noqa: S608
    " ON CONFLICT (generation_id, n) DO NOTHING"
)
_MOVE_CURSOR = """INSERT INTO cursors (node, epoch, worker, segment, byte_offset) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (node, epoch, worker) DO UPDATE SET segment = excluded.segment, byte_offset = excluded.byte_offset
    WHERE excluded.segment > cursors.segment OR (excluded.segment = cursors.segment AND excluded.byte_offset > cursors.byte_offset)"""


def cursors(connection: sqlite3.Connection) -> list[Cursor]:
    """How far each chain has been applied."""
    rows = connection.execute("SELECT node, epoch, worker, segment, byte_offset FROM cursors ORDER BY node, epoch, worker")
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def move_cursors(connection: sqlite3.Connection, positions: Iterable[Cursor]) -> None:
    """Advances cursors; one that would go back stays."""
    connection.executemany(_MOVE_CURSOR, positions)


def known_generations(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Which of these generations are stored already."""
    marks = ", ".join("?" * len(ids))
    return {str(row[0]) for row in connection.execute(f"SELECT id FROM generations WHERE id IN ({marks})", tuple(ids))}  # noqa: S608


def insert_generations(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Stores generations in the order of `GENERATION_COLUMNS`; one that is known is left as it is."""
    connection.executemany(_INSERT_GENERATION, rows)


def insert_attempts(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Stores attempts in the order of `ATTEMPT_COLUMNS`; one that is known is left as it is."""
    connection.executemany(_INSERT_ATTEMPT, rows)


def insert_losses(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Stores losses in the order of `LOSS_COLUMNS`; one that is known is left as it is."""
    connection.executemany(_INSERT_LOSS, rows)


USAGE_SUMS = (
    "requests", "failed", "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens",
    "charged_nanousd", "upstream_cost_nanousd",
)  # fmt: skip
SUMMED = (*USAGE_SUMS, "retried")
ROLLUP_SUMS = (*SUMMED, "streamed_tokens", "streaming_us")
"""What rollups sum. `streamed_tokens` came in `streaming_us` microseconds after the first content of their streams."""


def _adding(table: str, place: Sequence[str], sums: Sequence[str]) -> str:
    """The statement that adds a row's sums to those that stand at its place."""
    columns = (*place, *sums)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        f" ON CONFLICT ({', '.join(place)}) DO UPDATE SET " + ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in sums)
    )


_ADD_ROLLUPS = _adding("usage_rollup", ("res", "account_id", "dim", "start_ms", "val"), ROLLUP_SUMS)
_ADD_PAIRS = _adding("usage_pair", ("res", "account_id", "dim", "start_ms", "val", "place_id"), ROLLUP_SUMS)
_ADD_ERRORS = _adding("error_rollup", ("res", "account_id", "start_ms", "place_id", "class"), ("n",))


def add_rollups(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Adds to `usage_rollup`: resolution, account, dimension, start, value, then `ROLLUP_SUMS`."""
    connection.executemany(_ADD_ROLLUPS, rows)


def add_pairs(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Adds to `usage_pair`: resolution, account, dimension, start, value, place, then `ROLLUP_SUMS`."""
    connection.executemany(_ADD_PAIRS, rows)


_WINDOW = ("res", "account_id", "dim", "start_ms", "val")
_SELECT_DURATIONS = f"SELECT first_content, whole FROM latency_hist WHERE {' AND '.join(f'{name} = ?' for name in _WINDOW)}"  # noqa: S608
_SET_DURATIONS = (
    f"INSERT INTO latency_hist ({', '.join(_WINDOW)}, first_content, whole) VALUES ({', '.join('?' * (len(_WINDOW) + 2))})"  # noqa: S608
    f" ON CONFLICT ({', '.join(_WINDOW)}) DO UPDATE SET first_content = excluded.first_content, whole = excluded.whole"
)


def durations(connection: sqlite3.Connection, window: Sequence[int]) -> tuple[bytes, bytes] | None:
    """The histograms of a window: resolution, account, dimension, start, value."""
    found: tuple[bytes, bytes] | None = connection.execute(_SELECT_DURATIONS, window).fetchone()
    return found


def set_durations(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Stores histograms in place of those that stand there: resolution, account, dimension, start, value, first content, whole."""
    connection.executemany(_SET_DURATIONS, rows)


def add_errors(connection: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    """Adds to `error_rollup`: resolution, account, start, place, class, count."""
    connection.executemany(_ADD_ERRORS, rows)


def usage_place_id(connection: sqlite3.Connection, model: str, provider: str, endpoint: int) -> int:
    """The number that rollups have for a place, allotted at its first sight."""
    place = (model, provider, endpoint)
    row = connection.execute("SELECT id FROM usage_places WHERE model = ? AND provider = ? AND endpoint_id = ?", place).fetchone()
    if row is None:
        insert = "INSERT INTO usage_places (model, provider, endpoint_id) VALUES (?, ?, ?) RETURNING id"
        row = connection.execute(insert, place).fetchall()[0]
    return int(row[0])


def known_usage_name(connection: sqlite3.Connection, kind: str, name: str, part: str) -> int | None:
    """The number that rollups have for an app or an arm."""
    row = connection.execute("SELECT id FROM usage_names WHERE kind = ? AND name = ? AND part = ?", (kind, name, part)).fetchone()
    return None if row is None else int(row[0])


def usage_name_id(connection: sqlite3.Connection, kind: str, name: str, part: str) -> int:
    """The same, allotted at its first sight."""
    if (known := known_usage_name(connection, kind, name, part)) is not None:
        return known
    insert = "INSERT INTO usage_names (kind, name, part) VALUES (?, ?, ?) RETURNING id"
    return int(connection.execute(insert, (kind, name, part)).fetchall()[0][0])


def count_usage_names(connection: sqlite3.Connection, kind: str) -> int:
    """How many apps or arms there are."""
    return int(connection.execute("SELECT COUNT(*) FROM usage_names WHERE kind = ?", (kind,)).fetchone()[0])


def prune_rollups(connection: sqlite3.Connection, res: int, before_ms: int) -> None:
    """Deletes the windows of a resolution that begin before a moment."""
    accounts = [int(row[0]) for row in connection.execute("SELECT id FROM accounts")]
    for account in accounts:
        for dim in Dim.ALL:
            for table in ("usage_rollup", "latency_hist"):
                connection.execute(
                    f"DELETE FROM {table} WHERE account_id = ? AND res = ? AND dim = ? AND start_ms < ?",  # noqa: S608
                    (account, res, dim, before_ms),
                )
        connection.execute("DELETE FROM error_rollup WHERE account_id = ? AND res = ? AND start_ms < ?", (account, res, before_ms))


def generations_after(connection: sqlite3.Connection, id: str, limit: int) -> list[tuple[Any, ...]]:
    """Generations in the order of their ids, beginning after one."""
    statement = f"SELECT {', '.join(GENERATION_COLUMNS)} FROM generations WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
    return connection.execute(statement, (id, limit)).fetchall()


def attempts_between(connection: sqlite3.Connection, first: str, last: str) -> list[tuple[Any, ...]]:
    """The attempts of generations with ids from one to another, in order."""
    statement = f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempts WHERE generation_id BETWEEN ? AND ? ORDER BY generation_id, n"  # noqa: S608
    return connection.execute(statement, (first, last)).fetchall()


def known_shadows(connection: sqlite3.Connection, ids: Sequence[str]) -> set[str]:
    """Which of these generations have a shadow stored already."""
    marks = ", ".join("?" * len(ids))
    rows = connection.execute(
        f"SELECT generation_id FROM attempts WHERE generation_id IN ({marks}) AND flags & ? <> 0",  # noqa: S608
        (*ids, SHADOW_FLAG),
    )
    return {str(row[0]) for row in rows}


def touch_keys(connection: sqlite3.Connection, last_used: Iterable[tuple[int, int]]) -> None:
    """Moves keys' `last_used_at_ms` forward: pairs of key id and moment."""
    connection.executemany(
        "UPDATE keys SET last_used_at_ms = ?2 WHERE id = ?1 AND (last_used_at_ms IS NULL OR last_used_at_ms < ?2)", last_used
    )


# --- usage ----------------------------------------------------------------------------------------------------------------


# Every account, so that the primary key serves where none is named.
_OF_ACCOUNTS = "FROM accounts CROSS JOIN {0} ON {0}.account_id = accounts.id"


def usage_by_key(connection: sqlite3.Connection, days: tuple[int, int, int], key_id: int | None = None) -> dict[int, Usage]:
    """What each key (or the one) was charged: in all, and since the days (`today`, `week`, `month`), which count from 1970."""
    return usage_by(connection, days, Dim.KEY, key_id)


def usage_by(connection: sqlite3.Connection, days: tuple[int, int, int], dim: int, val: int | None = None) -> dict[int, Usage]:
    """The same by the values of a dimension; of `Dim.TOTAL` by account."""
    today, week, month = (day * DAY_MS for day in days)
    cases = [(Res.MONTH, 0), (Res.DAY, today), (Res.DAY, week), (Res.MONTH, month)]
    sums = ", ".join(["COALESCE(SUM(CASE WHEN res = ? AND start_ms >= ? THEN charged_nanousd END), 0)"] * len(cases))
    who = "account_id" if dim == Dim.TOTAL else "val"
    where = "" if val is None else f" AND {who} = ?"
    values = [value for case in cases for value in case]
    rows = connection.execute(
        f"SELECT {who}, {sums} {_OF_ACCOUNTS.format('usage_rollup')} AND dim = ?"
        f" AND ((res = ? AND start_ms >= 0) OR (res = ? AND start_ms >= ?)){where} GROUP BY {who}",
        (*values, dim, Res.MONTH, Res.DAY, min(today, week), *([] if val is None else [val])),
    )
    return {int(id): Usage(*found) for id, *found in rows}


Begun = tuple[tuple[int | str, ...], int, int]


def begun_since(connection: sqlite3.Connection, since_ms: int) -> list[Begun]:
    """Generations that began since: account, team, user, key, end user and model, "" where no model was asked because the reply was in the
    response cache; how many; their prompt and completion tokens."""
    # Ids begin with the moment at which theirs began, so that only those of the time are looked at.
    first = f"gen-{since_ms >> 16:08x}-{since_ms & 0xFFFF:04x}"
    rows = connection.execute(
        "SELECT account_id, team_id, user_id, key_id, end_user_id,"
        " CASE response_cache_source_id WHEN '' THEN model ELSE '' END AS asked, COUNT(*),"
        " SUM(prompt_tokens + cache_read_tokens + cache_write_tokens + cache_write_1h_tokens + completion_tokens)"
        " FROM generations WHERE id >= ? AND started_at_ms >= ? GROUP BY account_id, team_id, user_id, key_id, end_user_id, asked",
        (first, since_ms),
    )
    return [(tuple(ids), count, tokens) for *ids, count, tokens in rows]


def free_requests(connection: sqlite3.Connection, day_ms: int, minute_ms: int) -> list[tuple[int, int, int]]:
    """Accounts with requests to free models since the first moment; how many since then, and since the second."""
    # The condition is the index's own (migration 9). Without statistics SQLite would rather read all rows in the order of another index.
    return connection.execute(
        "SELECT account_id, COUNT(*), SUM(started_at_ms >= ?) FROM generations INDEXED BY generations_free"
        " WHERE flags & 256 AND started_at_ms >= ? GROUP BY account_id",
        (minute_ms, day_ms),
    ).fetchall()


def usage_of_account(connection: sqlite3.Connection, account: int) -> int:
    """What an account was charged in all, in nano-dollars."""
    statement = "SELECT COALESCE(SUM(charged_nanousd), 0) FROM usage_rollup WHERE account_id = ? AND res = ? AND dim = ?"
    return int(connection.execute(statement, (account, Res.MONTH, Dim.TOTAL)).fetchone()[0])


_SUMMED = ", ".join(f"SUM({name}) AS {name}" for name in SUMMED)


def sums_by_value(connection: sqlite3.Connection, dim: int, spans: Sequence[Span]) -> dict[int, dict[str, int]]:
    """Value of a dimension → its sums over spans, of all accounts."""
    windows, values = _windows("usage_rollup", f"val, {', '.join(SUMMED)}", dim, spans)
    rows = connection.execute(f"SELECT val, {_SUMMED} FROM ({windows}) GROUP BY val", values)  # noqa: S608
    return {value: dict(zip(SUMMED, found, strict=True)) for value, *found in rows}


def sums_by_start(connection: sqlite3.Connection, dim: int, spans: Sequence[Span]) -> list[tuple[int, dict[str, int]]]:
    """Where windows begin and their sums, of all accounts and values, oldest first."""
    windows, values = _windows("usage_rollup", f"start_ms, {', '.join(SUMMED)}", dim, spans)
    rows = connection.execute(f"SELECT start_ms, {_SUMMED} FROM ({windows}) GROUP BY start_ms ORDER BY start_ms", values)  # noqa: S608
    return [(start_ms, dict(zip(SUMMED, found, strict=True))) for start_ms, *found in rows]


def durations_by(connection: sqlite3.Connection, column: str, dim: int, spans: Sequence[Span]) -> dict[int, list[tuple[bytes, bytes]]]:
    """Value of a dimension (`val`), or where windows begin (`start_ms`) → the histograms of the windows in spans, of all accounts."""
    windows, values = _windows("latency_hist", f"{column}, first_content, whole", dim, spans)
    found: dict[int, list[tuple[bytes, bytes]]] = {}
    for group, first_content, whole in connection.execute(windows, values):
        found.setdefault(group, []).append((first_content, whole))
    return found


def top_pairs(
    connection: sqlite3.Connection, dim: int, what: Sequence[str], spans: Sequence[Span], limit: int
) -> list[tuple[int, int, dict[str, int]]]:
    """Value of a dimension, a place that has its `what` (`model`, `provider`), and their sums over spans, of all accounts; the dearest."""
    same = " AND ".join(f"other.{name} = usage_places.{name}" for name in what)
    # By one number: that is cheaper to group by than two, or by names. Places are few. First those that are shown, by what they cost alone.
    heads = (
        f"WITH heads AS MATERIALIZED (SELECT id, (SELECT MIN(other.id) FROM usage_places AS other WHERE {same}) AS head FROM usage_places)"  # noqa: S608
    )
    windows, values = _windows("usage_pair", "val, place_id, charged_nanousd", dim, spans)
    dearest = connection.execute(
        f"{heads} SELECT val, head FROM ({windows}) JOIN heads ON heads.id = place_id"  # noqa: S608
        " GROUP BY val << 24 | head ORDER BY SUM(charged_nanousd) DESC, val, head LIMIT ?",
        (*values, limit),
    ).fetchall()
    if not dearest:
        return []
    # Then all that those did: looked up one by one where they are few.
    same_head = f"SELECT id, (SELECT MIN(other.id) FROM usage_places AS other WHERE {same}) FROM usage_places"  # noqa: S608
    places: dict[int, list[int]] = {}
    for place, head in connection.execute(same_head):
        places.setdefault(head, []).append(place)
    wanted = ", ".join(f"({value}, {place}, {head})" for value, head in dearest for place in places[head])
    of_total, values = _windows("usage_rollup", "res, start_ms", Dim.TOTAL, spans)
    found = connection.execute(f"SELECT DISTINCT res, start_ms FROM ({of_total})", values)  # noqa: S608
    windows = ", ".join(f"({res}, {start})" for res, start in found)
    rows = connection.execute(
        f"WITH wanted(value, place, head) AS (VALUES {wanted}), windows(of, start) AS (VALUES {windows})"  # noqa: S608
        f" SELECT value, head, {_SUMMED} FROM accounts CROSS JOIN wanted CROSS JOIN windows CROSS JOIN usage_pair"
        " WHERE account_id = accounts.id AND res = windows.of AND dim = ? AND start_ms = windows.start AND val = value AND place_id = place"
        " GROUP BY value, head",
        (dim,),
    )
    sums = {(value, head): dict(zip(SUMMED, found, strict=True)) for value, head, *found in rows}
    return [(value, head, sums[value, head]) for value, head in dearest]


def _windows(table: str, columns: str, dim: int, spans: Sequence[Span]) -> tuple[str, list[int]]:
    """The statement that selects the windows of spans, of all accounts, and its values. One SELECT for each span: with OR the key would
    serve for none."""
    select = f"SELECT {columns} {_OF_ACCOUNTS.format(table)} AND res = ? AND dim = ? AND start_ms >= ? AND start_ms < ?"
    if not spans:
        return f"SELECT {columns} FROM {table} WHERE 0", []  # noqa: S608
    return " UNION ALL ".join([select] * len(spans)), [value for res, start, end in spans for value in (res, dim, start, end)]


def durations_of(
    connection: sqlite3.Connection, account: int, dim: int, span: Span, only: Sequence[int] | None = None
) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Start, value and histograms of every window in a span, of these values unless None."""
    where, values = _span("latency_hist", account, dim, span)
    return connection.execute(f"SELECT start_ms, val, first_content, whole FROM latency_hist WHERE {where}{_among('val', only)}", values)  # noqa: S608


def activity_rows(connection: sqlite3.Connection, account: int, key: int | None, span: Span) -> list[ActivityRow]:
    """An account's days by place, or those of one key of it: newest first, then by model. Without shadows, and without calls for which
    nobody was asked."""
    table, place, where = (
        ("usage_rollup", "val", f"dim = {Dim.PLACE}") if key is None else ("usage_pair", "place_id", f"dim = {Dim.KEY} AND val = ?")
    )
    rows = connection.execute(
        "SELECT start_ms, model, provider, endpoint_id, requests, charged_nanousd,"  # noqa: S608
        " prompt_tokens + cache_read_tokens + cache_write_tokens, completion_tokens, reasoning_tokens, cache_read_tokens"
        f" FROM {table} JOIN usage_places ON id = {place}"
        f" WHERE account_id = ? AND res = ? AND start_ms >= ? AND start_ms < ? AND {where} AND requests > 0 AND provider <> ''"
        " ORDER BY start_ms DESC, model, provider, endpoint_id",
        (account, *span, *([] if key is None else [key])),
    )
    return [ActivityRow(*row) for row in rows]


def rollup_sums(
    connection: sqlite3.Connection,
    account: int,
    dim: int,
    span: Span,
    sums: Sequence[str],
    by_window: bool,
    only: Sequence[int] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Start, value and these sums of a dimension, of these values unless None; added up over the span, whose beginning is then the start,
    unless by window."""
    where, values = _span("usage_rollup", account, dim, span)
    return connection.execute(_selected("usage_rollup", ("val",), sums, where + _among("val", only), by_window), values)


def pair_sums(
    connection: sqlite3.Connection,
    account: int,
    dim: int,
    span: Span,
    sums: Sequence[str],
    by_window: bool,
    starts: Sequence[int],
    only: Sequence[int] | None = None,
    places: Sequence[int] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Start, value, place and these sums of pairs, as `rollup_sums`; of these values and places only, unless None. `starts` are where the
    windows of the span begin."""
    among = _among("val", only) + _among("place_id", places)
    if only is not None and starts:
        # Window by window: the planner would rather read all of a longer time than look these values up in each.
        windows = f"WITH windows(start) AS (VALUES {', '.join(f'({start})' for start in starts)})"
        where = f"account_id = ? AND res = ? AND dim = ? AND start_ms = windows.start{among}"
        of_windows = _selected("windows CROSS JOIN usage_pair", ("val", "place_id"), sums, where, by_window)
        return connection.execute(f"{windows} {of_windows}", (account, span[0], dim))
    source = "usage_pair"
    where, values = _span("usage_pair", account, dim, span)
    if dim == Dim.KEY and span[0] == Res.MONTH and places is not None:
        # With the index's own condition in words.
        source, where = "usage_pair INDEXED BY usage_pair_place", f"{where} AND dim = {Dim.KEY} AND res = {Res.MONTH}"
    return connection.execute(_selected(source, ("val", "place_id"), sums, where + among, by_window), values)


def _span(table: str, account: int, dim: int, span: Span) -> tuple[str, tuple[int, ...]]:
    where = f"{table}.account_id = ? AND res = ? AND dim = ? AND start_ms >= ? AND start_ms < ?"
    return where, (account, span[0], dim, *span[1:])


def _among(column: str, values: Sequence[int] | None) -> str:
    """Numbers of ours, as they are: there may be more than can be bound."""
    return "" if values is None else f" AND {column} IN ({', '.join(map(str, values))})"


def _selected(table: str, place: Sequence[str], sums: Sequence[str], where: str, by_window: bool) -> str:
    if by_window:
        return f"SELECT start_ms, {', '.join((*place, *sums))} FROM {table} WHERE {where}"  # noqa: S608
    added = ", ".join(f"SUM({name})" for name in sums)
    return f"SELECT MIN(start_ms), {', '.join(place)}, {added} FROM {table} WHERE {where} GROUP BY {', '.join(place)}"  # noqa: S608


def usage_places(connection: sqlite3.Connection) -> dict[int, tuple[str, str, int]]:
    """The number that rollups have for a place → model, provider, endpoint."""
    rows = connection.execute("SELECT id, model, provider, endpoint_id FROM usage_places")
    return {id: (model, provider, endpoint) for id, model, provider, endpoint in rows}


def usage_names(connection: sqlite3.Connection, kind: str) -> dict[int, tuple[str, str]]:
    """The number that rollups have for an app or an arm → name and part."""
    rows = connection.execute("SELECT id, name, part FROM usage_names WHERE kind = ?", (kind,))
    return {id: (name, part) for id, name, part in rows}


def owner_names(connection: sqlite3.Connection, who: str) -> dict[int, str]:
    """Id → name of every `team` or `user` there ever was."""
    return dict(connection.execute(f"SELECT id, name FROM {who}s").fetchall())  # noqa: S608


def keys_of_account(connection: sqlite3.Connection, account: int) -> list[tuple[int, str, str]]:
    """Id, name and public hash of an account's keys, deleted ones included."""
    return connection.execute("SELECT id, name, public_hash FROM keys WHERE account_id = ? ORDER BY id", (account,)).fetchall()


# --- generations ----------------------------------------------------------------------------------------------------------

_SELECT_GENERATION = f"SELECT {', '.join(GENERATION_COLUMNS)} FROM generations"  # noqa: S608
_SELECT_ATTEMPT = f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM attempts"  # noqa: S608


def generation(connection: sqlite3.Connection, account: int, id: str) -> Row | None:
    """A generation of this account by its id, else the newest one whose provider replied with that id."""
    for condition in ("id = ?", "upstream_id = ? ORDER BY settled_at_ms DESC, id DESC"):
        row = connection.execute(f"{_SELECT_GENERATION} WHERE account_id = ? AND {condition} LIMIT 1", (account, id)).fetchone()
        if row is not None:
            return dict(zip(GENERATION_COLUMNS, row, strict=True))
    return None


def generation_of_any_account(connection: sqlite3.Connection, id: str) -> Row | None:
    """A generation by its id."""
    row = connection.execute(f"{_SELECT_GENERATION} WHERE id = ?", (id,)).fetchone()
    return None if row is None else dict(zip(GENERATION_COLUMNS, row, strict=True))


END_COLUMNS = (
    "outcome", "flags", "charged_nanousd", "prompt_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "completion_tokens", "reasoning_tokens", "web_searches",
)  # fmt: skip
"""What a replay needs to know of how a generation ended."""


def ends(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Row]:
    """`END_COLUMNS` of those of these generations that are stored, `endpoints`: the ids of those that were asked, in order,
    and `tiers`: the service tiers that they were billed by."""
    marks = ", ".join("?" * len(ids))
    statement = f"SELECT id, {', '.join(END_COLUMNS)} FROM generations WHERE id IN ({marks})"  # noqa: S608
    found: dict[str, Row] = {}
    for id, *values in connection.execute(statement, tuple(ids)):
        found[id] = dict(zip(END_COLUMNS, values, strict=True)) | {"endpoints": [], "tiers": []}
    columns = "generation_id, endpoint_id, service_tier"
    statement = f"SELECT {columns} FROM attempts WHERE generation_id IN ({marks}) AND flags & ? = 0 ORDER BY generation_id, n"  # noqa: S608
    for id, endpoint, tier in connection.execute(statement, (*ids, SHADOW_FLAG)):
        found[id]["endpoints"].append(endpoint)
        found[id]["tiers"].append(tier)
    return found


CHARGE_COLUMNS = ("id", "settled_at_ms", "account_id", "key_id", "model", "provider", "outcome", "charged_nanousd", "upstream_cost_nanousd")


def charges_after(connection: sqlite3.Connection, id: str, first_ms: int, end_ms: int, limit: int) -> list[Row]:
    """`CHARGE_COLUMNS` of generations that were settled in a time, in the order of their ids, beginning after one."""
    statement = (
        f"SELECT {', '.join(CHARGE_COLUMNS)} FROM generations"  # noqa: S608
        " WHERE id > ? AND settled_at_ms >= ? AND settled_at_ms < ? ORDER BY id LIMIT ?"
    )
    return [dict(zip(CHARGE_COLUMNS, row, strict=True)) for row in connection.execute(statement, (id, first_ms, end_ms, limit))]


def newest_settled_at_ms(connection: sqlite3.Connection) -> int | None:
    """When the newest generation was settled; None when there is none."""
    row = connection.execute("SELECT settled_at_ms FROM generations ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else int(row[0])


def attempts(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Generation id → its attempts in order, shadows last."""
    found: dict[str, list[Row]] = {id: [] for id in ids}
    marks = ", ".join("?" * len(ids))
    for row in connection.execute(f"{_SELECT_ATTEMPT} WHERE generation_id IN ({marks}) ORDER BY generation_id, n", tuple(ids)):
        attempt = dict(zip(ATTEMPT_COLUMNS, row, strict=True))
        found[attempt["generation_id"]].append(attempt)
    return found


def losses(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, list[Row]]:
    """Generation id → what was lost, in order: path, severity, reason."""
    found: dict[str, list[Row]] = {id: [] for id in ids}
    marks = ", ".join("?" * len(ids))
    select = f"SELECT generation_id, path, severity, reason FROM translation_losses WHERE generation_id IN ({marks})"  # noqa: S608
    for id, path, severity, reason in connection.execute(f"{select} ORDER BY generation_id, n", tuple(ids)):
        found[id].append({"path": path, "severity": severity, "reason": reason})
    return found


# --- health ---------------------------------------------------------------------------------------------------------------


def quick_check(connection: sqlite3.Connection) -> str:
    """SQLite's own check of the file: `ok`, or what is wrong."""
    return "; ".join(str(row[0]) for row in connection.execute("PRAGMA quick_check(10)"))
