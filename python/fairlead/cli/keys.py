"""`fairlead keys`: makes, lists, limits, rotates, disables, enables and deletes gateway keys. What it changes holds for the
very next request."""

import argparse
import sys
from typing import Any

from fairlead.cli import FINE
from fairlead.cli.arguments import amount, count, duration, moment
from fairlead.cli.output import print_json
from fairlead.cli.reach import Installation, add_options, options_of_actions, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.cli.table import table
from fairlead.config.limits import RESETS

NAME = "keys"
HELP = "create, list, limit, rotate, disable, enable and delete gateway keys"

_CONTENT = {"on": True, "off": False, "default": None}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions."""
    add_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = [options_of_actions()]
    create = actions.add_parser("create", help="make a key and show it, this once", parents=shared)
    create.add_argument("name", metavar="NAME", help="what it is for")
    create.add_argument("--models", metavar="M", action="append", default=[], help='a model or pattern such as "acme/*"; may be repeated')
    create.add_argument("--management", action="store_true", help="it administers and cannot run inference")
    create.add_argument("--strict-translation", action="store_true", help="refuse requests that would lose something in translation")
    create.add_argument(
        "--response-cache", choices=("on", "off"), help="whether replies are cached for requests that do not say so themselves"
    )
    create.add_argument("--expires-at", type=moment, metavar="T", help="a moment such as 2027-01-01T00:00:00Z")
    create.add_argument("--account", metavar="A", help="the account that pays (default: default)")
    _add_owners(create)
    _add_limits(create)
    _add_content(create)
    actions.add_parser("list", help="list all keys", parents=shared)
    limit = actions.add_parser("limit", help="set limits of a key; what is not named stays", parents=shared)
    limit.add_argument("key", metavar="KEY", help="its hash, id, name or label")
    _add_owners(limit)
    _add_limits(limit)
    _add_content(limit)
    limit.add_argument("--no-limits", action="store_true", help="take all limits away first")
    rotate = actions.add_parser("rotate", help="give a key another secret and show it, this once", parents=shared)
    rotate.add_argument("key", metavar="KEY", help="its hash, id, name or label")
    rotate.add_argument(
        "--overlap",
        type=duration,
        metavar="T",
        help="how long the present secret is good beside the new one, such as 30m or 7d; 0: it stops at once (default: 24h)",
    )
    for action, description in (("disable", "refuse a key"), ("enable", "accept it again"), ("delete", "remove a key")):
        command = actions.add_parser(action, help=description, parents=shared)
        command.add_argument("key", metavar="KEY", help="its hash, id, name or label")


def _add_owners(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--team", metavar="T", help="a team of the account")
    parser.add_argument("--user", metavar="U", help="a user of the account")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit-usd", type=amount, metavar="USD", help="most that it may spend, in US dollars")
    parser.add_argument("--limit-reset", choices=[*RESETS], help="when that begins anew, UTC (default: never)")
    parser.add_argument("--rpm", type=count, metavar="N", help="most requests per minute")
    parser.add_argument("--tpm", type=count, metavar="N", help="most tokens per minute")
    parser.add_argument("--max-concurrency", type=count, metavar="N", help="most requests at a time")
    parser.add_argument(
        "--budget",
        type=budget,
        metavar="USD[/RESET][/soft]",
        action="append",
        help='a further limit, such as "50/monthly"; may be repeated',
    )
    parser.add_argument(
        "--end-user",
        type=end_user,
        metavar="LIMITS",
        default=_UNSAID,
        help='limits of each end user (the body\'s "user"), such as "0.50/daily,20rpm,required"; "none" takes them away',
    )
    parser.add_argument(
        "--strict-budget", action="store_true", default=None, help="never spend more than a limit, not by an estimate either"
    )


def end_user(text: str) -> dict[str, Any] | None:
    """Limits of end users on the command line, as `keys list` shows them: `0.50/daily,20rpm,required`; `none` takes them away."""
    if text == "none":
        return None
    limits: dict[str, Any] = {}
    for part in text.split(","):
        limit, _, reset = part.partition("/")
        unit = next((unit for unit in _UNITS if part.endswith(unit) and part[: -len(unit)].isdigit()), None)
        if part == "required":
            limits["required"] = True
        elif unit is not None:
            limits[_UNITS[unit]] = count(part[: -len(unit)])
        elif reset in RESETS:
            limits |= {"limit_usd": amount(limit), "limit_reset": reset}
        else:
            raise argparse.ArgumentTypeError(f'expected limits such as "0.50/daily,20rpm,1000tpm,2at-once,required", got {part[:80]!r}')
    return limits


_UNITS = {"rpm": "rpm", "tpm": "tpm", "at-once": "max_concurrency"}
_UNSAID = object()


def _add_content(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--content", choices=[*_CONTENT], help="whether its prompts and replies are stored (default: as [logging] content says)"
    )


def budget(text: str) -> dict[str, Any]:
    """A budget on the command line: dollars, when it begins anew, and whether it is soft."""
    usd, *words = text.split("/")
    resets = [word for word in words if word in RESETS]
    if len(resets) > 1 or len(words) != len(resets) + words.count("soft") or words.count("soft") > 1:
        raise argparse.ArgumentTypeError(f'expected dollars such as "50", "50/monthly" or "50/monthly/soft", got {text[:80]!r}')
    return {"limit_usd": amount(usd), "reset": resets[0] if resets else None, "soft": "soft" in words}


def run(arguments: argparse.Namespace) -> int:
    """0: done; 1: not."""
    # A key may be made before the first start; everything else is about an installation that there is.
    return run_reached(arguments, lambda installation: _ACTIONS[arguments.action](installation, arguments), arguments.action == "create")


def _limits(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the options say, in the words of the route."""
    said = {name: getattr(arguments, name) for name in ("limit_usd", "limit_reset", "rpm", "tpm", "max_concurrency", "strict_budget")}
    said |= {"budgets": arguments.budget, "team": arguments.team, "user": arguments.user}
    said = {name: value for name, value in said.items() if value is not None}
    if arguments.end_user is not _UNSAID:
        said["end_user"] = arguments.end_user
    return said if arguments.content is None else said | {"content": _CONTENT[arguments.content]}


def _create(installation: Installation, arguments: argparse.Namespace) -> int:
    wanted = {
        "name": arguments.name,
        "models": arguments.models,
        "management": arguments.management,
        "strict_translation": arguments.strict_translation,
        **({} if arguments.response_cache is None else {"response_cache": arguments.response_cache == "on"}),
        "expires_at": arguments.expires_at,
        **({} if arguments.account is None else {"account": arguments.account}),
        **_limits(arguments),
    }
    made = installation.request("POST", "/admin/keys", wanted)
    if arguments.json:
        print_json(made)
    else:
        # The key alone on stdout, for `KEY=$(fairlead keys create ci)`.
        sys.stdout.write(made["key"] + "\n")
        sys.stderr.write(f"made key {made['data']['id']} ({made['data']['name']}); it is shown this once\n")
    return FINE


def _rotate(installation: Installation, arguments: argparse.Namespace) -> int:
    wanted = {} if arguments.overlap is None else {"overlap_seconds": arguments.overlap}
    made = installation.request("POST", path_of("admin", "keys", arguments.key, "rotate"), wanted)
    if arguments.json:
        print_json(made)
    else:
        # As with `create`.
        sys.stdout.write(made["key"] + "\n")
        key = made["data"]
        until = f"{key['previous_label']} is good until {key['previous_until']}"
        sys.stderr.write(f"key {key['id']} ({key['name']}) has another secret, shown this once; {until}\n")
    return FINE


def _list(installation: Installation, arguments: argparse.Namespace) -> int:
    listed = installation.request("GET", "/admin/keys")
    if arguments.json:
        print_json(listed)
        return FINE
    headings = ("ID", "NAME", "LABEL", "ACCOUNT", "STATE", "MODELS", "USED $", "LIMIT $", "LAST USED")
    sys.stdout.write(table(headings, [_row(key) for key in listed["data"]], frozenset({0, 6})))
    return FINE


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    state = "disabled" if key["disabled"] else "management" if key["management"] else "active"
    if key["source"] == "file":
        state += ", from the file"
    owner = "/".join(part for part in (key["account"], key["team"], key["user"]) if part)
    models, limited = " ".join(key["models"]) or "all", " ".join(limits_shown(key)) or "none"
    return str(key["id"]), key["name"], key["label"], owner, state, models, key["usage_usd"], limited, key["last_used_at"] or "never"


def limits_shown(row: dict[str, Any]) -> list[str]:
    """The limits of a key, an account, a team or a user in short: `5/daily`, `60rpm`."""
    shown = [] if row["limit_usd"] is None else ["/".join(filter(None, (row["limit_usd"], row["limit_reset"])))]
    for each in row["budgets"]:
        shown.append("/".join(filter(None, (each["limit_usd"], each["reset"], "soft" if each["soft"] else None))))
    shown += _rates_shown(row)
    if (each := row["end_user"]) is not None:
        limit = [f"{each['limit_usd']}/{each['limit_reset']}"] if each["limit_usd"] is not None else []
        shown.append("end-user:" + ",".join([*limit, *_rates_shown(each), *(["required"] if each["required"] else [])]))
    return shown


def _rates_shown(row: dict[str, Any]) -> list[str]:
    return [f"{row[name]}{unit}" for unit, name in _UNITS.items() if row[name]]


def _limit(installation: Installation, arguments: argparse.Namespace) -> int:
    wanted = _limits(arguments)
    if arguments.no_limits:
        nothing = dict.fromkeys(("limit_usd", "limit_reset", "rpm", "tpm", "max_concurrency"))
        wanted = {**nothing, "budgets": [], "end_user": None, "strict_budget": False} | wanted
    changed = installation.request("PATCH", path_of("admin", "keys", arguments.key), wanted)
    key = changed["data"]
    return _said(changed, f"key {key['id']} ({key['name']}): {' '.join(limits_shown(key)) or 'no limits'}", arguments)


def _set_disabled(disabled: bool) -> Any:
    def action(installation: Installation, arguments: argparse.Namespace) -> int:
        changed = installation.request("PATCH", path_of("admin", "keys", arguments.key), {"disabled": disabled})
        return _said(
            changed, f"key {changed['data']['id']} ({changed['data']['name']}) is {'disabled' if disabled else 'enabled'}", arguments
        )

    return action


def _delete(installation: Installation, arguments: argparse.Namespace) -> int:
    return _said(installation.request("DELETE", path_of("admin", "keys", arguments.key)), f"{arguments.key} is deleted", arguments)


def _said(reply: Any, text: str, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print_json(reply)
    else:
        sys.stdout.write(text + "\n")
    return FINE


_ACTIONS = {
    "create": _create,
    "list": _list,
    "limit": _limit,
    "rotate": _rotate,
    "disable": _set_disabled(True),
    "enable": _set_disabled(False),
    "delete": _delete,
}
