"""The configuration that a command looks at, found as `serve` finds it."""

import argparse
import os
from pathlib import Path

from fairlead import config
from fairlead.catalog import current
from fairlead.config import Compiled


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--config F`."""
    parser.add_argument(
        "--config", metavar="F", help="configuration file; otherwise FAIRLEAD_CONFIG, ./fairlead.toml, ~/.config/fairlead/fairlead.toml"
    )


def configured(option: str | None) -> tuple[Compiled, Path | None]:
    """The compiled configuration and the file it came from.

    Raises:
        Mistakes: it cannot be used.
    """
    path = config.find(option, os.environ)
    loaded = config.load(path, os.environ)
    return config.compile(loaded, current(loaded.config.server.data_dir), os.environ), path
