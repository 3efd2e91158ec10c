"""The rules of `rules.toml`: what follows from who made a model and who serves it."""

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One row. Absent patterns fit everything."""

    models: tuple[str, ...]
    providers: tuple[str, ...]
    when: dict[str, Any]
    quirks: tuple[str, ...]
    refuses: tuple[str, ...]
    capabilities: dict[str, Any]
    reasoning: dict[str, Any]
    uplift: dict[str, Any]

    def fits_model(self, id: str, capabilities: dict[str, Any], style: str) -> bool:
        """Whether it is about this model."""
        known = {**capabilities, "style": style, "thinks": style != "none"}
        return any(fnmatchcase(id, pattern) for pattern in self.models) and all(known.get(key) == value for key, value in self.when.items())

    def fits_provider(self, provider: str) -> bool:
        """Whether it is about this provider."""
        return not self.providers or provider in self.providers


def read(path: Path) -> list[Rule]:
    """The rules of a file.

    Raises:
        ValueError: a rule has a key that there is not.
    """
    rules = []
    known = {"models", "providers", "when", "quirks", "refuses", "capabilities", "reasoning", "uplift"}
    for row in tomllib.loads(path.read_text(encoding="utf-8"))["rule"]:
        if unknown := row.keys() - known:
            raise ValueError(f"{path.name}: unknown key {sorted(unknown)[0]!r}")
        rules.append(
            Rule(
                models=tuple(row.get("models", ["*"])),
                providers=tuple(row.get("providers", ())),
                when=row.get("when", {}),
                quirks=tuple(row.get("quirks", ())),
                refuses=tuple(row.get("refuses", ())),
                capabilities=row.get("capabilities", {}),
                reasoning=row.get("reasoning", {}),
                uplift=row.get("uplift", {}),
            )
        )
    return rules
