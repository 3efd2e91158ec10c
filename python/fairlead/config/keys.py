"""`[keys.x]`, `[teams.x]`, `[users.x]`: whom the file knows, and what they may spend."""

from msgspec import Struct

from fairlead.catalog.positions import Path
from fairlead.config.amounts import BadAmount, nanousd
from fairlead.config.limits import Budget, EndUserLimits, Limits, doubled, interval
from fairlead.config.load import Loaded
from fairlead.config.schema import EndUser, Key, Limited

DEFAULT_ACCOUNT = "default"
"""The account that there is from the start."""


class ConfigKey(Struct, frozen=True):
    """A gateway key that the file owns."""

    name: str
    secret: str
    models: tuple[str, ...]
    management: bool
    strict_translation: bool = False
    strict_budget: bool = False
    content: bool | None = None
    response_cache: bool | None = None
    account: str = DEFAULT_ACCOUNT
    team: str = ""
    user: str = ""
    """Names; empty: none."""
    limits: Limits = Limits()

    def __repr__(self) -> str:
        return f"ConfigKey({self.name!r})"


class ConfigTeam(Struct, frozen=True):
    """A team that the file owns."""

    name: str
    account: str = DEFAULT_ACCOUNT
    limits: Limits = Limits()


class ConfigUser(Struct, frozen=True):
    """A user that the file owns."""

    name: str
    account: str = DEFAULT_ACCOUNT
    team: str = ""
    """The team of its keys that name none; empty: none."""
    limits: Limits = Limits()


def teams(loaded: Loaded) -> tuple[ConfigTeam, ...]:
    """The file's teams. Mistakes are reported."""
    return tuple(
        ConfigTeam(name, team.account or DEFAULT_ACCOUNT, _limits(loaded, ("teams", name), team))
        for name, team in loaded.config.teams.items()
    )


def users(loaded: Loaded) -> tuple[ConfigUser, ...]:
    """The file's users. Mistakes are reported."""
    return tuple(
        ConfigUser(
            name,
            _account(loaded, ("users", name), user.account, user.team, None),
            user.team or "",
            _limits(loaded, ("users", name), user),
        )
        for name, user in loaded.config.users.items()
    )


def keys(loaded: Loaded) -> tuple[ConfigKey, ...]:
    """The file's keys. Mistakes are reported."""
    report = loaded.document.report
    owners: dict[str, str] = {}
    for name, key in loaded.config.keys.items():
        owner = owners.setdefault(key.secret, name)
        if owner != name:
            report(("keys", name, "secret"), f"is the same as that of [keys.{owner}]")
        if key.secret == loaded.config.server.admin_token:
            report(("keys", name, "secret"), "is the same as server.admin_token")
    return tuple(_key(loaded, name, key) for name, key in loaded.config.keys.items())


def _key(loaded: Loaded, name: str, key: Key) -> ConfigKey:
    place: Path = ("keys", name)
    user = loaded.config.users.get(key.user) if key.user else None
    return ConfigKey(
        name=name,
        secret=key.secret,
        models=tuple(key.models),
        management=key.management,
        strict_translation=key.strict_translation,
        strict_budget=key.strict_budget,
        content=key.content,
        response_cache=key.response_cache,
        account=_account(loaded, place, key.account, key.team, key.user),
        team=key.team or (user.team if user and user.team else ""),
        user=key.user or "",
        limits=_limits(loaded, place, key),
    )


def _account(loaded: Loaded, place: Path, account: str | None, team: str | None, user: str | None) -> str:
    """The account of something that names a team or a user: theirs. Reports those that there are not, and those of another account."""
    for kind, name in (("team", team), ("user", user)):
        if not name:
            continue
        owner = (loaded.config.teams if kind == "team" else loaded.config.users).get(name)
        if owner is None:
            loaded.document.report((*place, kind), f'there is no {kind} "{name}"; define it as [{kind}s.{name}]')
            continue
        theirs = owner.account
        if theirs is None and kind == "user":
            of_user = loaded.config.teams.get(loaded.config.users[name].team or "")
            theirs = of_user.account if of_user else None
        theirs = theirs or DEFAULT_ACCOUNT
        if account is not None and account != theirs:
            message = f'the {kind} "{name}" belongs to the account "{theirs}", not to "{account}"'
            loaded.document.report((*place, kind), message)
            continue
        account = theirs
    return account or DEFAULT_ACCOUNT


def _end_user(loaded: Loaded, place: Path, each: EndUser) -> EndUserLimits:
    if (each.limit_usd is None) != (each.limit_reset is None):
        message = "a limit_usd of end users needs a limit_reset (daily, weekly, monthly), and the other way round"
        loaded.document.report((*place, "limit_reset"), message)
    return EndUserLimits(
        limit_nanousd=None if each.limit_usd is None else _amount(loaded, (*place, "limit_usd"), each.limit_usd),
        limit_interval=interval(each.limit_reset or "daily"),
        rpm=each.rpm,
        tpm=each.tpm,
        max_concurrency=each.max_concurrency,
        required=each.required,
    )


def _amount(loaded: Loaded, path: Path, text: str) -> int:
    try:
        return nanousd(text)
    except BadAmount as error:
        loaded.document.report(path, str(error))
        return 0


def _limits(loaded: Loaded, place: Path, limited: Limited) -> Limits:
    def amount(path: Path, text: str) -> int:
        return _amount(loaded, path, text)

    if limited.limit_reset is not None and limited.limit_usd is None:
        loaded.document.report((*place, "limit_reset"), "there is no limit_usd that it could reset; add one")
    budgets = tuple(
        Budget(interval(budget.reset), amount((*place, "budgets", index, "limit_usd"), budget.limit_usd), budget.soft)
        for index, budget in enumerate(limited.budgets)
    )
    if (double := doubled(budgets)) is not None:
        loaded.document.report(
            (*place, "budgets", double), "another budget has the same reset; one of each, and one that is soft, is enough"
        )
    return Limits(
        limit_nanousd=None if limited.limit_usd is None else amount((*place, "limit_usd"), limited.limit_usd),
        limit_interval=interval(limited.limit_reset),
        rpm=limited.rpm,
        tpm=limited.tpm,
        max_concurrency=limited.max_concurrency,
        budgets=budgets,
        end_user=None if limited.end_user is None else _end_user(loaded, (*place, "end_user"), limited.end_user),
    )
