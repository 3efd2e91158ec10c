"""Limits in bodies and replies: what a body says becomes `Limits`, and how those are shown with what was spent of them.

Ours are decimal strings of dollars (`limit_usd`); OpenRouter's routes have JSON numbers (`limit`), read from and written as their text.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from fairlead.catalog.schema import Count
from fairlead.config.amounts import BadAmount, nanousd, nanousd_of_number
from fairlead.config.limits import RESETS, Budget, EndUserLimits, Limits, doubled, interval, reset_word
from fairlead.config.schema import Concurrency
from fairlead.control.db.queries import Usage
from fairlead.control.money import usd, usd_number
from fairlead.control.replies import invalid
from fairlead.control.spending import remaining, spent

MOST_BUDGETS = 8


class BudgetBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One of `budgets` in a body."""

    limit_usd: str
    reset: str | None = None
    soft: bool = False


class EndUserBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`end_user` in a body: all of what holds for each end user."""

    limit_usd: str | None = None
    limit_reset: str | None = None
    rpm: Count | None = None
    tpm: Count | None = None
    max_concurrency: Concurrency | None = None
    required: bool = False


class LimitsBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The limits in a body: what is absent stays, null takes a limit away. `budgets` replaces all of them."""

    limit_usd: str | UnsetType | None = UNSET
    limit_reset: str | UnsetType | None = UNSET
    rpm: Count | UnsetType | None = UNSET
    tpm: Count | UnsetType | None = UNSET
    max_concurrency: Concurrency | UnsetType | None = UNSET
    budgets: Annotated[list[BudgetBody], msgspec.Meta(max_length=MOST_BUDGETS)] | UnsetType = UNSET
    end_user: EndUserBody | UnsetType | None = UNSET

    def says_limits(self) -> bool:
        """Whether it says anything of them."""
        return any(getattr(self, name) is not UNSET for name in LimitsBody.__struct_fields__)

    def revise(self, limits: Limits) -> Limits:
        """The limits as this body wants them. Raises a 400."""
        changes: dict[str, Any] = {
            name: getattr(self, name) for name in ("rpm", "tpm", "max_concurrency") if getattr(self, name) is not UNSET
        }
        if self.budgets is not UNSET:
            changes["budgets"] = _budgets(self.budgets)
        if self.end_user is not UNSET:
            changes["end_user"] = None if self.end_user is None else _end_user(self.end_user)
        limit: int | UnsetType | None = UNSET
        if self.limit_usd is not UNSET:
            limit = None if self.limit_usd is None else amount("limit_usd", self.limit_usd)
        return revised(msgspec.structs.replace(limits, **changes), limit, self.limit_reset)


def revised(limits: Limits, limit: int | UnsetType | None, reset: str | UnsetType | None) -> Limits:
    """With another own limit and another reset of it, where they are said. Raises a 400."""
    if limit is UNSET and reset is UNSET:
        return limits
    wanted = limits.limit_nanousd if limit is UNSET else limit
    span = limits.limit_interval if reset is UNSET else _interval("limit_reset", reset)
    if wanted is None:
        if reset is not UNSET and reset is not None:
            raise invalid("limit_reset: there is no limit that it could reset; say the limit too")
        span = "total"
    return msgspec.structs.replace(limits, limit_nanousd=wanted, limit_interval=span)


def amount(name: str, text: str, *, signed: bool = False) -> int:
    """Nano-dollars of a decimal string. Raises a 400 that names it."""
    try:
        return nanousd(text, signed=signed)
    except BadAmount as error:
        raise invalid(f"{name}: {text[:40]!r} {error}") from None


def number_amount(name: str, raw: msgspec.Raw) -> int | None:
    """Nano-dollars of a JSON number, by its text; None for null. Raises a 400 that names it."""
    text = bytes(raw).decode()
    if text == "null":
        return None
    try:
        if not (text[0].isdigit() or text[0] == "-"):
            raise BadAmount("is not a number of US dollars, such as 2.5")
        return nanousd_of_number(text)
    except BadAmount as error:
        raise invalid(f"{name}: {text[:40]} {error}") from None


def fields(limits: Limits, usage: Usage) -> dict[str, Any]:
    """Limits as our routes show them, with what is left of each, and what was spent."""
    own = None if limits.limit_nanousd is None else Budget(limits.limit_interval, limits.limit_nanousd)
    return {
        "limit_usd": None if own is None else usd(own.limit_nanousd),
        "limit_remaining_usd": None if own is None else usd(remaining(usage, own)),
        "limit_reset": reset_word(limits.limit_interval),
        "rpm": limits.rpm,
        "tpm": limits.tpm,
        "max_concurrency": limits.max_concurrency,
        "budgets": [_budget(budget, usage) for budget in limits.budgets],
        "end_user": None if limits.end_user is None else end_user_fields(limits.end_user),
        "usage_usd": usd(usage.total),
        "usage_daily_usd": usd(usage.daily),
        "usage_weekly_usd": usd(usage.weekly),
        "usage_monthly_usd": usd(usage.monthly),
    }


def end_user_fields(each: EndUserLimits) -> dict[str, Any]:
    """What holds for each end user, as `end_user` of a reply has it."""
    has_limit = each.limit_nanousd is not None
    return {
        "limit_usd": usd(each.limit_nanousd) if each.limit_nanousd is not None else None,
        "limit_reset": reset_word(each.limit_interval) if has_limit else None,
        "rpm": each.rpm,
        "tpm": each.tpm,
        "max_concurrency": each.max_concurrency,
        "required": each.required,
    }


def openrouter_fields(limits: Limits, usage: Usage) -> dict[str, Any]:
    """OpenRouter's three fields of a key's own limit."""
    if limits.limit_nanousd is None:
        return {"limit": None, "limit_remaining": None, "limit_reset": None}
    own = Budget(limits.limit_interval, limits.limit_nanousd)
    return {"limit": usd_number(own.limit_nanousd), "limit_remaining": usd_number(remaining(usage, own)), "limit_reset": own.reset}


def _budget(budget: Budget, usage: Usage) -> dict[str, Any]:
    return {
        "limit_usd": usd(budget.limit_nanousd),
        "reset": budget.reset,
        "soft": budget.soft,
        "spent_usd": usd(spent(usage, budget.interval)),
        "remaining_usd": usd(remaining(usage, budget)),
    }


def _end_user(body: EndUserBody) -> EndUserLimits:
    if (body.limit_usd is None) != (body.limit_reset is None):
        raise invalid("end_user.limit_reset: a limit_usd of end users needs a limit_reset, and the other way round")
    return EndUserLimits(
        limit_nanousd=None if body.limit_usd is None else amount("end_user.limit_usd", body.limit_usd),
        limit_interval=_interval("end_user.limit_reset", body.limit_reset or "daily"),
        rpm=body.rpm,
        tpm=body.tpm,
        max_concurrency=body.max_concurrency,
        required=body.required,
    )


def _budgets(bodies: list[BudgetBody]) -> tuple[Budget, ...]:
    found = tuple(
        Budget(_interval(f"budgets[{index}].reset", body.reset), amount(f"budgets[{index}].limit_usd", body.limit_usd), body.soft)
        for index, body in enumerate(bodies)
    )
    if (double := doubled(found)) is not None:
        raise invalid(f"budgets[{double}]: another budget has the same reset; one of each, and one that is soft, is enough")
    return found


def _interval(name: str, reset: str | None) -> str:
    if reset is not None and reset not in RESETS:
        raise invalid(f"{name}: {', '.join(RESETS)} or null is expected, got {reset[:40]!r}")
    return interval(reset)
