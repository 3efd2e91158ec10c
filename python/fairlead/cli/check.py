"""`fairlead check`: what a configuration would run, or everything that is wrong with it."""

import argparse
import sys
from collections.abc import Sequence

from fairlead import config
from fairlead.cli import FINE
from fairlead.cli.configured import add_config_option, configured
from fairlead.cli.output import mistaken, print_json
from fairlead.config import Compiled, Mistakes, PresetView, ShadowView, SplitView, report

NAME = "check"
HELP = "say what a configuration would run, or everything that is wrong with it"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`."""
    add_config_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """0: it can run; 2: it cannot."""
    try:
        compiled, path = configured(arguments.config)
    except Mistakes as mistakes:
        return mistaken(arguments, mistakes)
    name = str(path) if path else None
    if arguments.json:
        print_json(_summary(compiled, name))
    else:
        sys.stdout.write(_text(compiled, name))
        sys.stderr.write(report.text(compiled.warnings))
    return FINE


def _summary(compiled: Compiled, path: str | None) -> dict[str, object]:
    return {
        "ok": True,
        "config": path,
        "data": compiled.server.data,
        "admin": compiled.server.admin,
        "data_dir": compiled.server.data_dir,
        "simulator": compiled.simulator,
        "providers": compiled.providers,
        "models": [model.id for model in compiled.models],
        "presets": compiled.presets,
        "splits": compiled.splits,
        "shadows": compiled.shadows,
        "keys": [
            {"name": key.name, "models": key.models, "management": key.management, "strict_translation": key.strict_translation}
            for key in compiled.keys
        ],
        **report.tree(compiled.warnings),
    }


def _text(compiled: Compiled, path: str | None) -> str:
    lines = [
        f"configuration  {path or 'none found: defaults'}",
        f"traffic        {compiled.server.data}",
        f"admin          {compiled.server.admin}",
        f"data           {compiled.server.data_dir}",
        f"providers      {len(compiled.providers)} on",
        *(f"  {provider.slug:<18} {_credential(provider)}; speaks {', '.join(provider.dialects)}" for provider in compiled.providers),
        f"models         {len(compiled.models)}",
        *_names("presets", compiled.presets),
        *_names("splits", compiled.splits),
        *_shadows(compiled.shadows),
        f"keys           {len(compiled.keys)} in the configuration",
        *(f"  {key.name:<18} {'management' if key.management else ', '.join(key.models) or 'all models'}" for key in compiled.keys),
    ]
    return "\n".join(lines) + "\n"


def _names(kind: str, named: Sequence[PresetView | SplitView]) -> list[str]:
    return [f"{kind:<14} {', '.join(each.name for each in named)}"] if named else []


def _shadows(shadows: Sequence[ShadowView]) -> list[str]:
    return [f"{'shadows':<14} {', '.join(f'{each.shadow} of {each.model}' for each in shadows)}"] if shadows else []


def _credential(provider: config.ProviderView) -> str:
    if provider.key_source == "none":
        return "no credential needed" if provider.slug == "sim" else "no credential is sent"
    count = f"{provider.keys} key" + ("s" if provider.keys != 1 else "")
    return f"{count} from {'the configuration' if provider.key_source == 'configuration' else provider.key_source}"
