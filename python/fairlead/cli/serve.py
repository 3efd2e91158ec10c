"""`fairlead serve`: starts the gateway."""

import argparse

from fairlead.cli.arguments import address
from fairlead.cli.configured import add_config_option

NAME = "serve"
HELP = "start the gateway"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds what may be said instead of in the configuration."""
    add_config_option(parser)
    parser.add_argument("--data-addr", type=address, metavar="A", help="host and port of the traffic (default: 127.0.0.1:8080)")
    parser.add_argument(
        "--admin-addr", type=address, metavar="A", help="host and port of console, operator API and metrics (default: 127.0.0.1:8081)"
    )
    parser.add_argument("--data-dir", metavar="D", help="folder of database, journal and secret (default: ~/.local/share/fairlead)")


def run(arguments: argparse.Namespace) -> int:
    """Returns when the gateway has stopped."""
    from fairlead.runtime import Options, serve

    return serve(Options(arguments.config, arguments.data_addr, arguments.admin_addr, arguments.data_dir, arguments.json))
