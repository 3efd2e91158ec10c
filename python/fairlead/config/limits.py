"""What accounts, teams, users and keys may use and spend, as plain data, and the words of its intervals."""

from msgspec import Struct

INTERVALS = ("day", "week", "month", "total")
"""When a budget begins anew: at midnight UTC, on Mondays, on the first of the month, never."""
RESETS = {"daily": "day", "weekly": "week", "monthly": "month"}
"""OpenRouter's words, which people write → ours. `total` is said by leaving it out."""
_WORDS = {interval: word for word, interval in RESETS.items()}


class Budget(Struct, frozen=True):
    """Most that may be spent in an interval."""

    interval: str
    """One of `INTERVALS`."""
    limit_nanousd: int
    soft: bool = False
    """Nothing is refused; alerts tell of it."""

    @property
    def reset(self) -> str | None:
        """The interval in OpenRouter's word; None where it never begins anew."""
        return reset_word(self.interval)


class EndUserLimits(Struct, frozen=True):
    """The limits of each end user of somebody: of whom requests name in their body's `user` field. Absent: no such limit."""

    limit_nanousd: int | None = None
    limit_interval: str = "day"
    """`day`, `week` or `month`: nobody is remembered for ever."""
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    required: bool = False
    """A request has to name one."""


class Limits(Struct, frozen=True):
    """The limits of one account, team, user or key. Absent: no such limit."""

    limit_nanousd: int | None = None
    """Its own hard limit, OpenRouter's `limit`."""
    limit_interval: str = "total"
    rpm: int | None = None
    """Requests per minute."""
    tpm: int | None = None
    """Tokens per minute."""
    max_concurrency: int | None = None
    """Requests at a time."""
    budgets: tuple[Budget, ...] = ()
    """Further ones, at most one per interval and kind."""
    end_user: EndUserLimits | None = None
    """What holds for each of its end users."""

    def all_budgets(self) -> tuple[Budget, ...]:
        """Its own limit, as a budget, and the further ones."""
        own = () if self.limit_nanousd is None else (Budget(self.limit_interval, self.limit_nanousd),)
        return (*own, *self.budgets)


def interval(reset: str | None) -> str:
    """The interval of OpenRouter's word; None: `total`."""
    return "total" if reset is None else RESETS[reset]


def reset_word(interval: str) -> str | None:
    """OpenRouter's word for an interval; None for `total`."""
    return _WORDS.get(interval)


def doubled(budgets: tuple[Budget, ...]) -> int | None:
    """The index of the first budget whose interval and kind an earlier one has already."""
    seen: set[tuple[str, bool]] = set()
    for index, budget in enumerate(budgets):
        if (budget.interval, budget.soft) in seen:
            return index
        seen.add((budget.interval, budget.soft))
    return None
