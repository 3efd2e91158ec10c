"""What there is to change about a key, an account, a team, a user or a credit entry, as plain data: what the audit log keeps, and what the
ETags of edits are made of. Figures that move by themselves are not in it, and neither is any secret.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fairlead.config.limits import Limits, reset_word
from fairlead.control.db.ledger import Entry
from fairlead.control.db.queries import Key
from fairlead.control.db.scopes import ACCOUNT, USER, Scope
from fairlead.control.limits import end_user_fields
from fairlead.control.money import usd
from fairlead.control.replies import Refusal, rfc3339

State = dict[str, Any]

_DIGEST_BYTES, _DIGEST_CHARACTERS = 3, 4
_TAG = re.compile(r'(?:W/)?"([A-Za-z0-9_-]*)"')


def of_key(key: Key) -> State:
    """A key."""
    return {
        "name": key.name,
        "account": key.account,
        "team": key.team or None,
        "user": key.user or None,
        "disabled": key.disabled,
        "management": key.management,
        "strict_translation": key.strict_translation,
        "strict_budget": key.strict_budget,
        "content": key.content,
        "response_cache": key.response_cache,
        "include_byok_in_limit": key.include_byok,
        "models": key.models,
        "expires_at": rfc3339(key.expires_at_ms),
        "label": key.label,
        "previous_until": rfc3339(key.previous_until_ms),
        **_limits(key.limits),
    }


def of_scope(scope: Scope) -> State:
    """An account, a team or a user."""
    owner = {} if scope.kind == ACCOUNT else {"account": scope.account}
    if scope.kind == USER:
        owner["team"] = scope.team or None  # type: ignore[assignment]
    return {"name": scope.name, **owner, **_limits(scope.limits)}


def of_entry(entry: Entry, account: str) -> State:
    """A credit entry."""
    return {
        "account": account,
        "kind": entry.kind,
        "usd": usd(entry.amount_nanousd),
        "note": entry.note,
        "external_id": entry.external_id,
        "expires_at": rfc3339(entry.expires_at_ms),
        "reverses": entry.reverses_id,
    }


def _limits(limits: Limits) -> State:
    return {
        "limit_usd": None if limits.limit_nanousd is None else usd(limits.limit_nanousd),
        "limit_reset": reset_word(limits.limit_interval),
        "rpm": limits.rpm,
        "tpm": limits.tpm,
        "max_concurrency": limits.max_concurrency,
        "budgets": [{"limit_usd": usd(each.limit_nanousd), "reset": each.reset, "soft": each.soft} for each in limits.budgets],
        "end_user": None if limits.end_user is None else end_user_fields(limits.end_user),
    }


# --- tags -----------------------------------------------------------------------------------------------------------------


def tag(state: Mapping[str, Any]) -> str:
    """The ETag of a state: a short digest of each member, in the order of their names. So an edit that comes too late can be told which
    members have changed since, and nobody has to remember what it saw."""
    return f'"{"".join(_digests(state).values())}"'


def check_match(given: str | None, state: Mapping[str, Any]) -> None:
    """Raises a 412 with what changed unless `If-Match` is absent, `*` or the state's tag. A list of tags is refused with a 400."""
    if given is None or given.strip() in ("*", tag(state)):
        return
    match = _TAG.fullmatch(given.strip())
    if match is None:
        raise Refusal(400, "invalid_request", "If-Match: one ETag, or *, is expected")
    changed = _changed(match[1], _digests(state))
    message = f"this has been changed meanwhile ({', '.join(changed)}): look at it again" if changed else "this has been changed meanwhile"
    raise Refusal(412, "precondition_failed", message, changed=changed, current=dict(state))


def _digests(state: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name in sorted(state):
        digest = hashlib.blake2b(msgspec.json.encode(state[name]), digest_size=_DIGEST_BYTES).digest()
        found[name] = base64.urlsafe_b64encode(digest).decode()
    return found


def _changed(seen: str, present: Mapping[str, str]) -> Sequence[str]:
    """The members whose digests differ; all of them where the tag is of another shape."""
    if len(seen) != _DIGEST_CHARACTERS * len(present):
        return list(present)
    pairs = zip(present.items(), range(0, len(seen), _DIGEST_CHARACTERS), strict=True)
    return [name for (name, digest), at in pairs if seen[at : at + _DIGEST_CHARACTERS] != digest]
