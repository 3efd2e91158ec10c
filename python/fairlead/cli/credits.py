"""`fairlead credits`: gives accounts prepaid credit, shows what is left, adjusts it and takes it back. Whether credit is needed at all says
`[credits] enforce`."""

import argparse
import sys
from typing import Any

from fairlead.cli import FINE
from fairlead.cli.arguments import amount, count, moment, signed_amount
from fairlead.cli.output import print_json
from fairlead.cli.reach import Installation, add_options, options_of_actions, path_of
from fairlead.cli.reach import run as run_reached
from fairlead.cli.table import table
from fairlead.config.keys import DEFAULT_ACCOUNT

NAME = "credits"
HELP = "give accounts credit, show it, adjust it and take it back"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the actions."""
    add_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    shared = [options_of_actions()]
    add = actions.add_parser("add", help="give an account credit", parents=shared)
    add.add_argument("usd", type=amount, metavar="USD", help="US dollars, such as 25 or 0.50")
    add.add_argument("--expires-at", type=moment, metavar="T", help="when what is left of it is taken back, such as 2027-01-01T00:00:00Z")
    adjust = actions.add_parser("adjust", help="correct an account's credit, up or down", parents=shared)
    adjust.add_argument("usd", type=signed_amount, metavar="USD", help="US dollars; below zero it is taken away")
    for action in (add, adjust):
        action.add_argument("--account", metavar="A", default=DEFAULT_ACCOUNT, help="the account (default: default)")
    show = actions.add_parser("show", help="show how accounts stand, and their last entries", parents=shared)
    show.add_argument("--account", metavar="A", help="this account only")
    show.add_argument("--limit", type=count, metavar="N", default=20, help="so many entries at most (default: 20)")
    refund = actions.add_parser("refund", help="take an entry back, wholly or in part", parents=shared)
    refund.add_argument("entry", type=count, metavar="ENTRY", help="its number")
    refund.add_argument("usd", type=amount, metavar="USD", nargs="?", help="US dollars (default: all that is left of it)")
    for action in (add, adjust, refund):
        action.add_argument("--note", metavar="TEXT", default="", help="why, for people")
        action.add_argument("--external-id", metavar="ID", help="a name for the entry: said twice, it is entered once")


def run(arguments: argparse.Namespace) -> int:
    """0: done; 1: not."""
    return run_reached(arguments, lambda installation: _ACTIONS[arguments.action](installation, arguments))


def _give(kind: str) -> Any:
    def action(installation: Installation, arguments: argparse.Namespace) -> int:
        wanted = {"account": arguments.account, "usd": arguments.usd, "kind": kind, **_named(arguments)}
        if getattr(arguments, "expires_at", None) is not None:
            wanted["expires_at"] = arguments.expires_at
        return _said(installation, installation.request("POST", "/admin/credits", wanted), arguments)

    return action


def _refund(installation: Installation, arguments: argparse.Namespace) -> int:
    wanted = {"usd": arguments.usd, **_named(arguments)}
    return _said(installation, installation.request("POST", path_of("admin", "credits", str(arguments.entry), "refund"), wanted), arguments)


def _named(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"note": arguments.note, "external_id": arguments.external_id}


def _said(installation: Installation, reply: Any, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print_json(reply)
        return FINE
    entry = reply["data"]
    stands = installation.request("GET", path_of("admin", "credits", account=entry["account"], limit="1"))["accounts"][0]
    sys.stdout.write(f"entry {entry['id']}: {entry['usd']} $ for {entry['account']}, which has {stands['balance_usd']} $ left\n")
    return FINE


def _show(installation: Installation, arguments: argparse.Namespace) -> int:
    reply = installation.request("GET", path_of("admin", "credits", account=arguments.account, limit=str(min(arguments.limit, 1000))))
    if arguments.json:
        print_json(reply)
        return FINE
    stands = [(each["account"], each["credits_usd"], each["usage_usd"], each["balance_usd"]) for each in reply["accounts"]]
    sys.stdout.write(table(("ACCOUNT", "CREDIT $", "USED $", "LEFT $"), stands, frozenset({1, 2, 3})))
    if reply["data"]:
        headings = ("ENTRY", "AT", "ACCOUNT", "KIND", "$", "EXPIRES", "OF", "NOTE")
        rows = [
            (
                str(entry["id"]),
                entry["at"],
                entry["account"],
                entry["kind"],
                entry["usd"],
                entry["expires_at"] or "-",
                str(entry["reverses"] or "-"),
                entry["note"],
            )
            for entry in reply["data"]
        ]
        sys.stdout.write("\n" + table(headings, rows, frozenset({0, 4})))
    return FINE


_ACTIONS = {"add": _give("topup"), "adjust": _give("adjustment"), "show": _show, "refund": _refund}
