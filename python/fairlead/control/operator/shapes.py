"""The shapes of replies of the admin port that more than one route has, or whose routes are older than this description.

They describe; what is sent is made elsewhere. A test reads every reply as its route's shape and refuses what that does not have.
"""

from typing import Any, Literal

import msgspec

from fairlead.control.db.queries import ATTEMPT_COLUMNS, GENERATION_COLUMNS
from fairlead.control.health import Report

Number = int | float


class Shape(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is not said here is not in a reply."""


class ErrorFacts(msgspec.Struct, kw_only=True):
    """What is wrong, where, and what to do."""

    code: int
    """The HTTP status."""
    message: str
    metadata: dict[str, Any]
    """`error_type`: OpenRouter's word for it."""
    path: str | None = None
    """The member or key that is wrong."""
    line: int | None = None
    fix: str | None = None
    changed: list[str] | None = None
    """With 412: the members that have changed since."""
    current: Any = None
    """With 412: as it is now."""
    problems: list[Any] | None = None
    """With 422: every mistake of a configuration."""
    retry_after: int | None = None
    """Seconds."""
    request_id: str | None = None
    """With 500: what the log has the details under."""


class Error(Shape):
    """A refusal."""

    error: ErrorFacts


class Gone(Shape):
    """What was deleted."""

    deleted: Literal[True]
    id: int | str | None = None
    hash: str | None = None


class GoneData(Shape):
    """A reply."""

    data: Gone


class Said(Shape):
    """What happened, in words."""

    message: str


class SaidData(Shape):
    """A reply."""

    data: Said


class Status(msgspec.Struct, kw_only=True):
    """The process, its database and its journal."""

    version: str
    database: dict[str, Any]
    journal: dict[str, Any]
    sign_ins: list[dict[str, Any]]
    native_version: str | None = None
    pid: int | None = None
    started_at: int | None = None
    config: str | None = None
    admin: str | None = None
    data: str | None = None
    data_url: str | None = None


class StatusData(Shape):
    """A reply."""

    data: Status


class HealthList(Shape):
    """A reply."""

    data: list[Report]


class ExplanationData(Shape):
    """A reply: `candidates` in order and those `removed`, as `fairlead explain` has them."""

    data: dict[str, Any]


# --- limits, keys, accounts, teams, users -----------------------------------------------------------------------------


class BudgetShown(Shape):
    """A budget. Dollars in decimal strings."""

    limit_usd: str
    reset: Literal["daily", "weekly", "monthly"] | None
    soft: bool
    spent_usd: str
    remaining_usd: str


class EndUserShown(Shape):
    """What holds for each end user; null: no limit."""

    limit_usd: str | None
    limit_reset: Literal["daily", "weekly", "monthly"] | None
    rpm: int | None
    tpm: int | None
    max_concurrency: int | None
    required: bool
    """Whether requests have to name one."""


class LimitsShown(Shape):
    """What may be used and spent; null: no limit."""

    limit_usd: str | None
    limit_remaining_usd: str | None
    limit_reset: Literal["daily", "weekly", "monthly"] | None
    rpm: int | None
    tpm: int | None
    max_concurrency: int | None
    budgets: list[BudgetShown]
    end_user: EndUserShown | None
    usage_usd: str
    """What was spent, in all and in the windows of now, UTC."""
    usage_daily_usd: str
    usage_weekly_usd: str
    usage_monthly_usd: str


class KeyShown(LimitsShown):
    """A gateway key: OpenRouter's fields, whose money is in JSON numbers, and ours."""

    id: int
    hash: str
    """Its name in routes; not the stored hash."""
    label: str
    name: str
    disabled: bool
    limit: Number | None
    limit_remaining: Number | None
    include_byok_in_limit: bool
    usage: Number
    usage_daily: Number
    usage_weekly: Number
    usage_monthly: Number
    byok_usage: Number
    byok_usage_daily: Number
    byok_usage_weekly: Number
    byok_usage_monthly: Number
    created_at: str | None
    updated_at: str | None
    last_used_at: str | None
    expires_at: str | None
    creator_user_id: str | None
    external_user: None
    workspace_id: str
    source: Literal["made", "file"]
    """`file`: the configuration owns it, and here it is read-only."""
    management: bool
    strict_translation: bool
    strict_budget: bool
    content: bool | None
    """Whether prompts and replies are logged; null: as the configuration says of all. So `response_cache`."""
    response_cache: bool | None
    models: list[str]
    previous_label: str | None
    """Of the secret before the present one; null: it was never rotated."""
    previous_until: str | None
    """When that one stops, or stopped."""
    account: str
    team: str | None
    user: str | None
    etag: str


class KeyData(Shape):
    """A reply."""

    data: KeyShown


class KeyList(Shape):
    """A reply."""

    data: list[KeyShown]


class KeyMade(Shape):
    """A reply: the only one that shows `key`."""

    key: str
    data: KeyShown


class Spender(LimitsShown):
    """What accounts, teams and users have in common."""

    id: int
    name: str
    created_at: str | None
    updated_at: str | None
    etag: str


class AccountShown(Spender):
    """An account."""

    credits_usd: str
    balance_usd: str
    credit_left_usd: str | None
    """The balance less what is held for calls that run now; null where calls without credit are not refused."""


class TeamShown(Spender):
    """A team."""

    source: Literal["made", "file"]
    account: str


class UserShown(Spender):
    """A user, and whether one can log in."""

    source: Literal["made", "file"]
    account: str
    team: str | None
    role: Literal["viewer", "member", "admin", "owner"] | None
    """Null: no log-in."""
    has_password: bool
    has_oidc: bool
    """Whether the provider of `[oidc]` means somebody by this user."""


class AccountData(Shape):
    """A reply."""

    data: AccountShown


class AccountList(Shape):
    """A reply."""

    data: list[AccountShown]


class TeamData(Shape):
    """A reply."""

    data: TeamShown


class TeamList(Shape):
    """A reply."""

    data: list[TeamShown]


class UserData(Shape):
    """A reply."""

    data: UserShown


class UserList(Shape):
    """A reply."""

    data: list[UserShown]


# --- money ------------------------------------------------------------------------------------------------------------


class CreditEntry(Shape):
    """A movement of credit. It is never changed."""

    id: int
    account: str
    at: str
    kind: Literal["topup", "adjustment", "refund", "expiry"]
    usd: str
    credits_after_usd: str
    """What the account had been given in all, with this entry."""
    left_usd: str
    """What a refund can take back of it; 0 of what takes credit away itself."""
    note: str
    external_id: str | None
    expires_at: str | None
    reverses: int | None
    actor: str | None
    """Who entered it; null of what is older than the audit log."""


class Standing(Shape):
    """What an account has."""

    account: str
    credits_usd: str
    usage_usd: str
    balance_usd: str
    """Credits less usage."""
    reserved_usd: str
    """Of the balance, held for calls that run now."""


class CreditEntries(Shape):
    """A reply."""

    data: list[CreditEntry]
    next: int | None
    enforced: bool
    """Whether calls of an account without credit are refused."""
    accounts: list[Standing]


class CreditEntryData(Shape):
    """A reply."""

    data: CreditEntry


class CreditsQuery(msgspec.Struct, kw_only=True):
    """What to list."""

    account: str | None = None
    limit: int = 100
    before: int | None = None


class LedgerRow(Shape):
    """A movement of money, from credit or by a charge."""

    type: str
    id: str
    at: str
    account: str
    key: str | None
    model: str | None
    provider: str | None
    amount_usd: str
    upstream_cost_usd: str | None
    note: str | None
    external_id: str | None
    expires_at: str | None
    reverses: int | None


class LedgerPage(Shape):
    """A reply."""

    data: list[LedgerRow]
    next: str | None
    complete_from: str | None


class LedgerQuery(msgspec.Struct, kw_only=True):
    """Which movements; UTC days, both included."""

    of: Literal["credits", "charges"]
    after: str | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    limit: int = 2000


class UsageRow(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Sums of a group; which names it has, `by` says. Prompt tokens are without cached ones. Percentiles are in milliseconds, at most 5 %
    off, and null where nothing was measured; pairs, teams, users and apps have none."""

    requests: int
    failed: int
    retried: int
    """Tried again after a failure."""
    prompt_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    charged_usd: str
    upstream_cost_usd: str
    key_id: int | None = None
    key_name: str | None = None
    key_label: str | None = None
    model: str | None = None
    provider: str | None = None
    team_id: int | None = None
    team: str | None = None
    user_id: int | None = None
    user: str | None = None
    day: str | None = None
    app: str | None = None
    preset: str | None = None
    split: str | None = None
    arm: str | None = None
    shadow: str | None = None
    completed: int | None = None
    first_tokens: int | None = None
    """Streams with content."""
    first_token_p50_ms: float | None = None
    first_token_p90_ms: float | None = None
    first_token_p99_ms: float | None = None
    total_p50_ms: float | None = None
    total_p90_ms: float | None = None
    total_p99_ms: float | None = None


class UsageRows(Shape):
    """A reply."""

    data: list[UsageRow]
    other: UsageRow | None
    """What has no row here."""
    total: UsageRow
    zone: str
    """Whose days they were."""


class UsageQuery(msgspec.Struct, kw_only=True):
    """Days, both included."""

    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None
    by: str | None = None
    """One of `key`, `team`, `app` and `preset`, with `model`, `provider` or both behind it or not; one of these two, or both; `user`,
    `day`, `split` or `shadow`. Absent: `key,model,provider`."""
    limit: int = 200
    """How many rows at most, the dearest first."""
    zone: str | None = None
    """UTC, or the reporting zone, whose days are meant where it is absent."""


class AccountQuery(msgspec.Struct, kw_only=True):
    """Where several accounts have a team or user of this name."""

    account: str | None = None


# --- generations ------------------------------------------------------------------------------------------------------


def _in_units_of_people(columns: tuple[str, ...]) -> list[tuple[str, Any]]:
    texts = {
        "id", "generation_id", "dialect", "manner", "outcome", "error", "requested_model", "model", "provider", "upstream_id",
        "finish_reason", "native_finish_reason", "referer", "title", "user_agent", "end_user", "session_id", "upstream_dialect", "split",
        "arm", "preset", "preset_version", "upstream_model", "service_tier", "response_cache_source_id", "api_type",
    }  # fmt: skip
    found: list[tuple[str, Any]] = []
    for name in columns:
        if name.endswith("_nanousd"):
            found.append((name.removesuffix("_nanousd") + "_usd", str))
        elif name.endswith("_at_ms"):
            found.append((name.removesuffix("_ms"), str))
        elif name == "flags":
            found.append((name, list[str]))
        elif name == "prompt_sounds":
            # Null: nobody has counted them.
            found.append((name, int | None))
        elif name == "streamed":
            found.append((name, bool))
        else:
            found.append((name, str if name in texts else int))
    return found


Attempt = msgspec.defstruct("Attempt", _in_units_of_people(ATTEMPT_COLUMNS), kw_only=True)


class LossShown(Shape):
    """What a translation lost."""

    path: str
    severity: Literal["hint", "changed", "dropped"]
    reason: str


class ContentShown(Shape):
    """What a request asked and what it was told, as `GET /generation/content` has it."""

    input: dict[str, Any]
    """`messages`, or the `prompt` of completions and embeddings."""
    output: dict[str, Any]
    """`completion`, `reasoning`, and `tool_calls` where there were any."""
    error: dict[str, Any] | None
    """What the client was told of a failure."""
    truncated: list[Literal["input", "output"]]
    """Where something was left out."""


class ContentData(Shape):
    """A reply."""

    data: ContentShown


class KeyName(Shape):
    """Which key it was."""

    name: str
    label: str


GenerationRow = msgspec.defstruct(
    "GenerationRow",
    [
        *_in_units_of_people(GENERATION_COLUMNS),
        ("key", KeyName),
        ("attempts", list[Attempt]),  # type: ignore[valid-type]
        ("translation_losses", list[LossShown]),
    ],
    kw_only=True,
)
