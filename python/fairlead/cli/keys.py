"""`fairlead keys`: makes, lists, disables, enables and deletes gateway keys. What it changes holds for the very next request."""

import argparse
import sys
from typing import Any

from fairlead.cli import FINE
from fairlead.cli.arguments import moment
from fairlead.cli.output import print_json
from fairlead.cli.reach import Installation, add_options, options_of_actions, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.cli.table import table

NAME = "keys"
HELP = "create, list, disable, enable and delete gateway keys"


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
    create.add_argument("--expires-at", type=moment, metavar="T", help="a moment such as 2027-01-01T00:00:00Z")
    actions.add_parser("list", help="list all keys", parents=shared)
    for action, description in (("disable", "refuse a key"), ("enable", "accept it again"), ("delete", "remove a key")):
        command = actions.add_parser(action, help=description, parents=shared)
        command.add_argument("key", metavar="KEY", help="its hash, id, name or label")


def run(arguments: argparse.Namespace) -> int:
    """0: done; 1: not."""
    # A key may be made before the first start; everything else is about an installation that there is.
    return run_reached(arguments, lambda installation: _ACTIONS[arguments.action](installation, arguments), arguments.action == "create")


def _create(installation: Installation, arguments: argparse.Namespace) -> int:
    wanted = {
        "name": arguments.name,
        "models": arguments.models,
        "management": arguments.management,
        "strict_translation": arguments.strict_translation,
        "expires_at": arguments.expires_at,
    }
    made = installation.request("POST", "/admin/keys", wanted)
    if arguments.json:
        print_json(made)
    else:
        # The key alone on stdout, for `KEY=$(fairlead keys create ci)`.
        sys.stdout.write(made["key"] + "\n")
        sys.stderr.write(f"made key {made['data']['id']} ({made['data']['name']}); it is shown this once\n")
    return FINE


def _list(installation: Installation, arguments: argparse.Namespace) -> int:
    listed = installation.request("GET", "/admin/keys")
    if arguments.json:
        print_json(listed)
        return FINE
    headings = ("ID", "NAME", "LABEL", "STATE", "MODELS", "USED $", "LAST USED")
    sys.stdout.write(table(headings, [_row(key) for key in listed["data"]], frozenset({0, 5})))
    return FINE


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    state = "disabled" if key["disabled"] else "management" if key["management"] else "active"
    if key["source"] == "file":
        state += ", from the file"
    used = f"{key['usage']:.9f}".rstrip("0").rstrip(".")
    return str(key["id"]), key["name"], key["label"], state, " ".join(key["models"]) or "all", used, key["last_used_at"] or "never"


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


_ACTIONS = {"create": _create, "list": _list, "disable": _set_disabled(True), "enable": _set_disabled(False), "delete": _delete}
