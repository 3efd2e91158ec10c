"""Accounts, teams, users, gateway keys and credit: changed in the database, and known to the data plane before anyone is told so.

The order is always SQL commit → delta → acknowledgement → answer, on the database's one writer thread, so the deltas' numbers follow
the order of the commits and a change holds for the very next request.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from fairlead.config import ConfigKey, ConfigTeam, ConfigUser, Limits
from fairlead.config.keys import DEFAULT_ACCOUNT
from fairlead.control import delta, states, trail
from fairlead.control import secret as secrets
from fairlead.control.db import Database, ledger, operators, queries, scopes
from fairlead.control.db.ledger import Entry
from fairlead.control.db.queries import Key, Row
from fairlead.control.db.scopes import ACCOUNT, KEY, TEAM, USER, Scope
from fairlead.control.delta import Change, ScopeLimits

MADE = "made"
"""What was created at run time."""
FILE = "file"
"""What `fairlead.toml` defines: the file owns it, here it is read-only."""

EPOCH = "key_epoch"
SECRET_CHECK = "secret_check"  # noqa: S105 - the name of a mark, not a secret

Find = Callable[[sqlite3.Connection], Key]
"""Finds the one key that is meant."""
FindScope = Callable[[sqlite3.Connection], Scope]
Revise = Callable[[Limits], Limits]
"""Old limits → new ones; may refuse by raising."""


class WrongSecret(Exception):
    """The server secret is not the one that the database's keys were made under."""


class UnknownKey(LookupError):
    """No key has this hash, id, name or label."""


class AmbiguousKey(LookupError):
    """Several keys, teams or users have this name; the text lists them."""


class UnknownScope(LookupError):
    """No account, team or user has this name or id."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name!r}")
        self.kind = kind


class OwnedByFile(Exception):
    """It is defined in `fairlead.toml` and changed there."""


class Taken(Exception):
    """The name is in use, or what shall go is; the text says by what."""


class NewKey(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What a caller says about a key to be made."""

    name: str
    account: str = DEFAULT_ACCOUNT
    team: str = ""
    user: str = ""
    """Names or ids within the account; empty: none. A user's team is the key's where none is named."""
    management: bool = False
    strict_translation: bool = False
    strict_budget: bool = False
    include_byok: bool = False
    content: bool | None = None
    response_cache: bool | None = None
    models: list[str] = []
    expires_at_ms: int | None = None
    limits: Limits = Limits()


class NewScope(msgspec.Struct, frozen=True):
    """What a caller says about an account, a team or a user to be made."""

    kind: str
    name: str
    account: str = DEFAULT_ACCOUNT
    team: str = ""
    limits: Limits = Limits()


class Taker(Protocol):
    """Who must know the keys and limits: the engine."""

    def apply_keys(self, delta: bytes) -> int:
        """Applies a delta and returns the sequence number now in force."""
        ...


class Directory:
    """Accounts, teams, users, keys and credit of one installation. Without a taker (a command, no server) changes only go to the database.
    Every method blocks."""

    def __init__(self, database: Database, secret: bytes, taker: Taker | None = None, now_ms: Callable[[], int] | None = None) -> None:
        self._database = database
        self._secret = secret
        self._taker = taker
        self._now_ms = now_ms or _wall_ms
        self._epoch = 0
        self._seq = 0
        # Whether accounts need credit. Read and written on the writer's thread alone.
        self._enforce_credits = False

    # --- everything ---------------------------------------------------------------------------------------------------

    def publish_all(
        self,
        file_keys: Sequence[ConfigKey] = (),
        file_teams: Sequence[ConfigTeam] = (),
        file_users: Sequence[ConfigUser] = (),
        enforce_credits: bool = False,
    ) -> int:
        """Begins a new epoch: makes what the configuration owns that of the database, as `sync_file` does, and tells the taker all keys
        and limits there are, in place of whatever it knew. Returns the number of keys.
        """

        def work(connection: sqlite3.Connection) -> Change:
            self._enforce_credits = enforce_credits
            self._sync(connection, file_keys, file_teams, file_users)
            self._epoch, self._seq = queries.next_number(connection, EPOCH), 0
            keys = queries.keys(connection)
            return Change(len(keys), keys, scopes=self._all_limits(connection))

        return int(self._commit(work, replace=True))

    def sync_file(
        self,
        file_keys: Sequence[ConfigKey],
        file_teams: Sequence[ConfigTeam] = (),
        file_users: Sequence[ConfigUser] = (),
        enforce_credits: bool = False,
    ) -> None:
        """Makes the keys (by their hash), teams and users of the configuration those of the database, and credit needed or not.

        What left the file is deleted; what comes back has its old id, and with it its usage. An account that the file names and that
        there is not yet is made.
        """

        def work(connection: sqlite3.Connection) -> Change:
            credits_changed = enforce_credits != self._enforce_credits
            self._enforce_credits = enforce_credits
            change = self._sync(connection, file_keys, file_teams, file_users)
            if credits_changed:
                accounts = [self._account_limits(connection, account.id) for account in scopes.scopes(connection, ACCOUNT)]
                change = change._replace(scopes=(*change.scopes, *accounts))
            return change

        self._commit(work)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def create(self, new: NewKey) -> tuple[Key, str]:
        """Makes a key; the second part is the key itself, which is shown once and kept nowhere. Raises `UnknownScope`."""
        text = secrets.new_key()
        key: Key = self._commit(lambda connection: _told(self._insert(connection, new, text)))
        return key, text

    def derived(self, new: NewKey, texts: Iterator[str]) -> tuple[Key, str]:
        """The key with the first of these texts that is neither a deleted key's nor a replaced secret; made where there is none.
        Raises `UnknownScope`."""
        found: list[str] = []

        def work(connection: sqlite3.Connection) -> Change:
            for text in texts:
                found[:] = [text]
                id = queries.key_id_by_hash(connection, secrets.stored_hash(self._secret, text))
                if id is None:
                    return _told(self._insert(connection, new, text))
                key = queries.key(connection, id)
                # A secret that was replaced is passed over like that of a deleted key.
                if key is not None and key.hash == secrets.stored_hash(self._secret, text):
                    return Change(key)
            raise ValueError("there are no more texts")

        key: Key = self._commit(work)
        return key, found[0]

    def change(self, find: Find, changes: Row, revise: Revise | None = None) -> Key:
        """Sets `name`, `disabled`, `strict_translation`, `strict_budget`, `include_byok`, `content`, `response_cache`,
        `models` (a list), `expires_at_ms`, `team`, `user` (names) and limits. Raises what `find` and `revise` raise,
        `UnknownScope`, `OwnedByFile`."""
        key: Key = self._commit(lambda connection: _told(self._update(connection, find, changes, revise)))
        return key

    def rotate(self, find: Find, overlap_ms: int) -> tuple[Key, str]:
        """Gives a key another secret, the second part, which is shown once and kept nowhere. The present one is good for so long yet, the
        one before it no more; id, public hash, limits and what was spent stay. Raises what `find` raises, `OwnedByFile`."""
        text = secrets.new_key()

        def work(connection: sqlite3.Connection) -> Change:
            key, now_ms = find(connection), self._now_ms()
            _key_is_writable(key)
            described = self._described(text, key.name, key.source)
            queries.retire_secret(connection, key, now_ms, now_ms + overlap_ms)
            queries.update_key(connection, key.id, {"hash": described["hash"], "label": described["label"], "updated_at_ms": now_ms})
            changed = _present(connection, key.id)
            self._note_key(connection, "key.rotate", key, changed)
            return _told(changed)

        key: Key = self._commit(work)
        return key, text

    def delete(self, find: Find) -> Key:
        """Deletes a key; its generations stay. Raises what `find` raises, `OwnedByFile`."""

        def work(connection: sqlite3.Connection) -> Change:
            key = find(connection)
            _key_is_writable(key)
            queries.update_key(connection, key.id, {"deleted_at_ms": self._now_ms(), "disabled": 1})
            self._note_key(connection, "key.delete", key, None)
            return Change(key, gone=[key.id])

        key: Key = self._commit(work)
        return key

    # --- accounts, teams, users ---------------------------------------------------------------------------------------

    def create_scope(self, new: NewScope) -> Scope:
        """Makes an account, a team or a user. Raises `UnknownScope`, `Taken`."""

        def work(connection: sqlite3.Connection) -> Change:
            row = {"name": new.name, "created_at_ms": self._now_ms()}
            if new.kind != ACCOUNT:
                account = one_scope(connection, ACCOUNT, new.account)
                row |= {"account_id": account.id, "source": MADE}
                if new.kind == USER:
                    row["team_id"] = _team_id(connection, new.team, account.id)
            try:
                id = scopes.insert(connection, new.kind, row)
            except sqlite3.IntegrityError:
                raise Taken(_taken_name(connection, new.kind, new.name)) from None
            scopes.set_limits(connection, new.kind, id, new.limits)
            change = self._told_scope(connection, new.kind, id)
            self._note_scope(connection, f"{new.kind}.create", None, change.value)
            return change

        made: Scope = self._commit(work)
        return made

    def change_scope(self, find: FindScope, changes: Row, revise: Revise | None = None) -> Scope:
        """Sets `name`, a user's `team` (a name) and limits. Raises what `find` and `revise` raise, `UnknownScope`, `OwnedByFile`,
        `Taken`."""

        def work(connection: sqlite3.Connection) -> Change:
            scope = find(connection)
            _scope_is_writable(scope)
            columns: Row = {"updated_at_ms": self._now_ms()}
            if "name" in changes:
                columns["name"] = changes["name"]
            if "team" in changes:
                columns["team_id"] = _team_id(connection, changes["team"], scope.account_id)
            try:
                scopes.update(connection, scope.kind, scope.id, columns)
            except sqlite3.IntegrityError:
                raise Taken(_taken_name(connection, scope.kind, changes["name"])) from None
            if revise is not None:
                scopes.set_limits(connection, scope.kind, scope.id, revise(scope.limits))
            change = self._told_scope(connection, scope.kind, scope.id)
            self._note_scope(connection, f"{scope.kind}.change", scope, change.value)
            return change

        changed: Scope = self._commit(work)
        return changed

    def delete_scope(self, find: FindScope) -> Scope:
        """Deletes one that nothing belongs to. Raises what `find` raises, `OwnedByFile`, `Taken`."""

        def work(connection: sqlite3.Connection) -> Change:
            scope = find(connection)
            _scope_is_writable(scope)
            if scope.kind == ACCOUNT and scope.name == DEFAULT_ACCOUNT:
                raise Taken(f"the account {DEFAULT_ACCOUNT!r} is there from the start and stays")
            if members := scopes.members(connection, scope.kind, scope.id):
                raise Taken(f"the {scope.kind} {scope.name!r} still has {_listed(members)}; delete these first, or give them to another")
            scopes.update(connection, scope.kind, scope.id, {"deleted_at_ms": self._now_ms()})
            if scope.kind == USER:
                operators.delete_login(connection, scope.id)
            self._note_scope(connection, f"{scope.kind}.delete", scope, None)
            return Change(scope)

        gone: Scope = self._commit(work)
        return gone

    # --- credit -------------------------------------------------------------------------------------------------------

    def enter(self, work: Callable[[sqlite3.Connection], Sequence[Entry]]) -> list[Entry]:
        """Adds the entries that `work` makes to the credit ledger, and returns them with their ids; one that has an id is there already
        and only returned. Raises what `work` raises, and then nothing has changed."""

        def entering(connection: sqlite3.Connection) -> Change:
            wanted = work(connection)
            entries = [entry if entry.id else self._added(connection, entry) for entry in wanted]
            accounts = sorted({entry.account_id for entry in wanted if not entry.id})
            return Change(entries, scopes=[self._account_limits(connection, account) for account in accounts])

        entries: list[Entry] = self._commit(entering)
        return entries

    # --- inside a transaction -----------------------------------------------------------------------------------------

    def _insert(self, connection: sqlite3.Connection, new: NewKey, text: str) -> Key:
        account = one_scope(connection, ACCOUNT, new.account)
        row = self._described(text, new.name, MADE) | {
            "management": int(new.management),
            "strict_translation": int(new.strict_translation),
            "strict_budget": int(new.strict_budget),
            "include_byok": int(new.include_byok),
            "content": new.content,
            "response_cache": new.response_cache,
            "models": _patterns(new.models),
            "account_id": account.id,
            "created_at_ms": self._now_ms(),
            "expires_at_ms": new.expires_at_ms,
        }
        id = queries.insert_key(connection, row | _belonging(connection, account.id, new.team, new.user))
        scopes.set_limits(connection, KEY, id, new.limits)
        key = _present(connection, id)
        self._note_key(connection, "key.create", None, key)
        return key

    def _update(self, connection: sqlite3.Connection, find: Find, changes: Row, revise: Revise | None) -> Key:
        key = find(connection)
        _key_is_writable(key)
        columns = {name: value for name, value in changes.items() if name not in ("team", "user")}
        if "models" in columns:
            columns["models"] = _patterns(columns["models"])
        if "team" in changes or "user" in changes:
            columns |= _belonging(connection, key.account_id, changes.get("team", key.team), changes.get("user", key.user))
        queries.update_key(connection, key.id, columns | {"updated_at_ms": self._now_ms()})
        if revise is not None:
            scopes.set_limits(connection, KEY, key.id, revise(key.limits))
        changed = _present(connection, key.id)
        self._note_key(connection, "key.change", key, changed)
        return changed

    def _added(self, connection: sqlite3.Connection, entry: Entry) -> Entry:
        added = ledger.add(connection, entry)
        account = queries.account_name(connection, added.account_id)
        trail.note(connection, self._now_ms(), f"credit.{added.kind}", ("credit", added.id, account), None, states.of_entry(added, account))
        return added

    # --- the audit log ------------------------------------------------------------------------------------------------

    def _note_key(self, connection: sqlite3.Connection, action: str, before: Key | None, after: Key | None) -> None:
        key = after or before
        assert key is not None
        was, now = (None if each is None else states.of_key(each) for each in (before, after))
        trail.note(connection, self._now_ms(), action, (KEY, key.id, key.name), was, now)

    def _note_scope(self, connection: sqlite3.Connection, action: str, before: Scope | None, after: Scope | None) -> None:
        scope = after or before
        assert scope is not None
        was, now = (None if each is None else states.of_scope(each) for each in (before, after))
        trail.note(connection, self._now_ms(), action, (scope.kind, scope.id, scope.name), was, now)

    def _sync(
        self,
        connection: sqlite3.Connection,
        file_keys: Sequence[ConfigKey],
        file_teams: Sequence[ConfigTeam],
        file_users: Sequence[ConfigUser],
    ) -> Change:
        named = {key.account for key in file_keys} | {team.account for team in file_teams} | {user.account for user in file_users}
        accounts = self._accounts(connection, named)
        teams = {team.name: self._sync_scope(connection, TEAM, team, accounts[team.account], {}) for team in file_teams}
        users = {
            user.name: self._sync_scope(connection, USER, user, accounts[user.account], {"team_id": teams.get(user.team, 0)})
            for user in file_users
        }
        kept: list[Key] = []
        for file_key in file_keys:
            row = self._described(file_key.secret, file_key.name, FILE) | {
                "management": int(file_key.management),
                "strict_translation": int(file_key.strict_translation),
                "strict_budget": int(file_key.strict_budget),
                "content": file_key.content,
                "response_cache": file_key.response_cache,
                "models": _patterns(file_key.models),
                "account_id": accounts[file_key.account],
                "team_id": teams.get(file_key.team, 0),
                "user_id": users.get(file_key.user, 0),
                "disabled": 0,
                "expires_at_ms": None,
                "deleted_at_ms": None,
            }
            known = queries.key_id_by_hash(connection, row["hash"])
            if known is None:
                known = queries.insert_key(connection, row | {"created_at_ms": self._now_ms()})
            else:
                queries.update_key(connection, known, row)
                queries.forget_secrets(connection, known)
            scopes.set_limits(connection, KEY, known, file_key.limits)
            kept.append(_present(connection, known))
        gone = sorted(set(queries.key_ids_of_source(connection, FILE)) - {key.id for key in kept})
        for id in gone:
            queries.update_key(connection, id, {"deleted_at_ms": self._now_ms()})
        for kind, ids in ((TEAM, teams), (USER, users)):
            for id in set(scopes.ids_of_source(connection, kind, FILE)) - {*ids.values()}:
                scopes.update(connection, kind, id, {"deleted_at_ms": self._now_ms()})
        told = [ScopeLimits(KEY, key.id, key.limits) for key in kept]
        told += [ScopeLimits(TEAM, teams[team.name], team.limits) for team in file_teams]
        told += [ScopeLimits(USER, users[user.name], user.limits) for user in file_users]
        if self._enforce_credits:
            told += [self._account_limits(connection, id) for id in accounts.values()]
        return Change(None, kept, gone, told)

    def _accounts(self, connection: sqlite3.Connection, names: set[str]) -> dict[str, int]:
        """The ids of the accounts that the file names; those that there are not are made."""
        ids: dict[str, int] = {}
        for name in sorted(names):
            known = scopes.account_row(connection, name)
            if known is None:
                ids[name] = scopes.insert(connection, ACCOUNT, {"name": name, "created_at_ms": self._now_ms()})
                continue
            ids[name], is_deleted = known
            if is_deleted:
                scopes.update(connection, ACCOUNT, ids[name], {"deleted_at_ms": None})
        return ids

    def _sync_scope(self, connection: sqlite3.Connection, kind: str, owned: ConfigTeam | ConfigUser, account: int, columns: Row) -> int:
        id = scopes.id_of_file(connection, kind, account, owned.name)
        if id is None:
            row = {"name": owned.name, "account_id": account, "source": FILE, "created_at_ms": self._now_ms()}
            id = scopes.insert(connection, kind, row | columns)
        else:
            scopes.update(connection, kind, id, {"deleted_at_ms": None} | columns)
        scopes.set_limits(connection, kind, id, owned.limits)
        return id

    def _described(self, text: str, name: str, source: str) -> Row:
        stored = secrets.stored_hash(self._secret, text)
        return {
            "hash": stored,
            "public_hash": secrets.public_hash(stored),
            "label": secrets.label(text),
            "name": name,
            "source": source,
        }

    # --- telling ------------------------------------------------------------------------------------------------------

    def _all_limits(self, connection: sqlite3.Connection) -> list[ScopeLimits]:
        """Every scope that has limits, every account that has bought credit, and every account where credit is needed."""
        told = [ScopeLimits(kind, id, limits) for kind in (TEAM, USER, KEY) for id, limits in scopes.limits(connection, kind).items()]
        limited = scopes.limits(connection, ACCOUNT)
        granted = ledger.granted_by_account(connection) if self._enforce_credits else {}
        bought = ledger.bought_by_account(connection)
        enforced = {account.id for account in scopes.scopes(connection, ACCOUNT)} if self._enforce_credits else set()
        for id in sorted(enforced | limited.keys() | bought.keys()):
            needed = granted.get(id, 0) if self._enforce_credits else None
            told.append(ScopeLimits(ACCOUNT, id, limited.get(id, Limits()), needed, bought.get(id, 0)))
        return told

    def _account_limits(self, connection: sqlite3.Connection, id: int) -> ScopeLimits:
        granted = ledger.granted(connection, id) if self._enforce_credits else None
        limits = scopes.limits(connection, ACCOUNT, [id]).get(id, Limits())
        return ScopeLimits(ACCOUNT, id, limits, granted, ledger.bought(connection, id))

    def _told_scope(self, connection: sqlite3.Connection, kind: str, id: int) -> Change:
        scope = scopes.scope(connection, kind, id)
        if scope is None:
            raise UnknownScope(kind, str(id))
        told = self._account_limits(connection, id) if kind == ACCOUNT else ScopeLimits(kind, id, scope.limits)
        return Change(scope, scopes=[told])

    def _commit(self, work: Callable[[sqlite3.Connection], Change], replace: bool = False) -> Any:
        return self._database.write_now(work, lambda change: self._tell(change, replace)).value

    def _tell(self, change: Change, replace: bool) -> None:
        """On the writer's thread, after the commit: the data plane has taken the change when this returns."""
        if self._taker is None or (change.is_empty() and not replace):
            return
        self._seq += 1
        in_force = self._taker.apply_keys(delta.encoded(self._epoch, self._seq, change, replace))
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


def conflicts(
    connection: sqlite3.Connection,
    secret: bytes,
    file_keys: Sequence[ConfigKey],
    file_teams: Sequence[ConfigTeam],
    file_users: Sequence[ConfigUser],
) -> list[tuple[tuple[str | int, ...], str]]:
    """What in the database stands in the way of a configuration: paths in the file and what is wrong there."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    for file_key in file_keys:
        id = queries.key_id_by_hash(connection, secrets.stored_hash(secret, file_key.secret))
        key = None if id is None else queries.key(connection, id)
        if key is not None and key.source == MADE:
            # The file would take it over and one day delete it.
            message = f'is that of the key "{key.name}", made at run time; give another, or first: fairlead keys delete {key.id}'
            found.append((("keys", file_key.name, "secret"), message))
    for kind, owned in ((TEAM, file_teams), (USER, file_users)):
        kept: set[int] = set()
        for each in owned:
            account = scopes.account_row(connection, each.account)
            if account is None:
                continue
            for scope in scopes.scopes_named(connection, kind, each.name, account[0]):
                if scope.name == each.name and scope.source == MADE:
                    message = f"a {kind} of this name was made at run time; give another, or first: DELETE /admin/{kind}s/{scope.id}"
                    found.append(((f"{kind}s", each.name), message))
            if (id := scopes.id_of_file(connection, kind, account[0], each.name)) is not None:
                kept.add(id)
        for id in sorted(set(scopes.ids_of_source(connection, kind, FILE)) - kept):
            if members := scopes.members(connection, kind, id, MADE):
                gone = scopes.scope(connection, kind, id)
                name = gone.name if gone else str(id)
                message = f'the {kind} "{name}" is no longer here, but {_listed(members)} belong to it: put it back, or delete them'
                found.append(((f"{kind}s",), message))
    return found


def select(connection: sqlite3.Connection, selector: str, sees: Callable[[Key], bool] = lambda _: True) -> Key:
    """Of the keys that one sees the one with this public hash, id, name or label. Raises `UnknownKey` or `AmbiguousKey`."""
    found = queries.keys_named(connection, selector, sees)
    if not found:
        raise UnknownKey(f"there is no key {selector!r}")
    if len(found) > 1:
        raise AmbiguousKey(f"several keys are called {selector!r}: " + ", ".join(f"{key.public_hash} ({key.label})" for key in found))
    return found[0]


def one_scope(
    connection: sqlite3.Connection, kind: str, selector: str, account: int | None = None, sees: Callable[[Scope], bool] = lambda _: True
) -> Scope:
    """The one account, team or user that one sees with this name or id, within an account or anywhere. Raises `UnknownScope` or
    `AmbiguousKey`."""
    found = scopes.scopes_named(connection, kind, selector, account, sees)
    if not found:
        raise UnknownScope(kind, selector)
    if len(found) > 1:
        listed = ", ".join(f"{scope.id} (account {scope.account})" for scope in found)
        raise AmbiguousKey(f"several {kind}s are called {selector!r}: {listed}")
    return found[0]


def _belonging(connection: sqlite3.Connection, account: int, team: str, user: str) -> Row:
    """The columns of a key that say whose it is."""
    of_user = one_scope(connection, USER, user, account) if user else None
    team_id = _team_id(connection, team, account) or (of_user.team_id if of_user else 0)
    return {"team_id": team_id, "user_id": of_user.id if of_user else 0}


def _team_id(connection: sqlite3.Connection, team: str, account: int) -> int:
    return one_scope(connection, TEAM, team, account).id if team else 0


def _told(key: Key) -> Change:
    return Change(key, [key], scopes=[ScopeLimits(KEY, key.id, key.limits)])


def _present(connection: sqlite3.Connection, id: int) -> Key:
    key = queries.key(connection, id)
    if key is None:
        raise UnknownKey(f"there is no key {id}")
    return key


def _key_is_writable(key: Key) -> None:
    if key.source == FILE:
        raise OwnedByFile(f"the key {key.name!r} is defined in the configuration file as [keys.{key.name}]; change it there")


def _scope_is_writable(scope: Scope) -> None:
    if scope.source == FILE:
        table = f"[{scope.kind}s.{scope.name}]"
        raise OwnedByFile(f"the {scope.kind} {scope.name!r} is defined in the configuration file as {table}; change it there")


def _taken_name(connection: sqlite3.Connection, kind: str, name: str) -> str:
    known = scopes.account_row(connection, name) if kind == ACCOUNT else None
    if known is not None and known[1]:
        return f"an account {name!r} was deleted, and its name stays with what it did; choose another"
    return f"the {kind} {name!r} is there already; choose another name"


def _listed(members: Sequence[str]) -> str:
    shown = ", ".join(members[:5])
    return shown if len(members) <= 5 else f"{shown} and {len(members) - 5} more"


def _patterns(models: Sequence[str]) -> str:
    return msgspec.json.encode(list(models)).decode()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
