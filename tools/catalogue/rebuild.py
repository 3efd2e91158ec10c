"""Rebuilds `python/fairlead/catalog/models` from a table of facts and the overlay. See README.md beside this file."""

import argparse
import difflib
import sys
import tomllib
from datetime import date
from pathlib import Path

from fairlead.catalog import compiled

from tools.catalogue import toml
from tools.catalogue.choose import HOMES, ORDER, Chosen, choose
from tools.catalogue.describe import Table, describe
from tools.catalogue.facts import Fact, read_table
from tools.catalogue.rules import read as read_rules

HERE = Path(__file__).parent
MODELS = HERE.parent.parent / "python/fairlead/catalog/models"
BY_HAND = "sim"
"""The author whose files no rebuild touches."""


def main(words: list[str] | None = None) -> int:
    """0: written, or nothing to write; 1: a new conflict among the flagships; 2: the input cannot be used."""
    arguments = _parser().parse_args(words)
    try:
        facts = read_table(arguments.table)
        overlay = _overlay(arguments.overlay)
        accepted = tomllib.loads((HERE / "accepted.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    chosen = choose(facts, arguments.as_of)
    conflicts = new_conflicts(chosen, accepted)
    for line in conflicts:
        sys.stderr.write(line + "\n")
    if conflicts:
        sys.stderr.write("Settle each on the vendor's page: put the right price into overlay/, or the conflict into accepted.toml.\n")
        return 1
    files = render(chosen, overlay, arguments.models)
    changed = show_changes(files, arguments.models)
    if not arguments.dry_run:
        _write(files, arguments.models)
        compiled.write(arguments.models.parent)
    sys.stderr.write(f"{len(files)} models, {changed} changed\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True, help="facts, as gather.py writes them")
    parser.add_argument("--as-of", type=date.fromisoformat, required=True, help="the day from which on a shutdown counts as past")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, write nothing")
    parser.add_argument("--models", type=Path, default=MODELS, help="the folder to write")
    parser.add_argument("--overlay", type=Path, default=HERE / "overlay", help="files that were checked by hand")
    return parser


def new_conflicts(chosen: dict[str, Chosen], accepted: Table) -> list[str]:
    """Flagships at their home whose sources disagree in a way that nobody has looked at."""
    known = {(row["model"], row["provider"], row["conflict"]) for row in accepted.get("accepted", ())}
    lines = []
    for id in accepted["flagships"]:
        if id not in chosen:
            lines.append(f"{id}: a flagship that no source lists any more")
            continue
        for fact in chosen[id].endpoints:
            own = fact.provider == HOMES.get(id.partition("/")[0])
            if own and fact.conflicts and (id, fact.provider, fact.conflicts) not in known:
                prices = ",".join(f"{key}={value}" for key, value in fact.prices.items())
                lines.append(f"{id} at {fact.provider}: {fact.source} says {prices}, but {fact.conflicts}")
    return lines


def render(chosen: dict[str, Chosen], overlay: dict[str, Table], models: Path) -> dict[str, str]:
    """The text of every file, by model id."""
    rules = read_rules(HERE / "rules.toml")
    files = {}
    taken = {name for checked in overlay.values() for name in checked["model"].get("aliases", ())}
    tables = {id: describe(model, rules) for id, model in chosen.items() if id not in taken}
    for id, checked in overlay.items():
        tables[id] = merge(tables.get(id), checked)
    _settle_names(tables, overlay)
    for id, table in sorted(tables.items()):
        known = _known(models, id)
        comments = {}
        for position, endpoint in enumerate(table["endpoint"]):
            keep_history(endpoint, known)
            fact = next((one for one in chosen[id].endpoints if one.provider == endpoint["provider"]), None) if id in chosen else None
            if fact is not None and fact.conflicts and fact.provider != "openrouter":
                comments[position] = f"Sources disagree: {_one_line(fact)}."
        files[id] = toml.write(table, comments)
    return files


def _one_line(fact: Fact) -> str:
    return "; ".join(fact.conflicts.split())


def merge(found: Table | None, checked: Table) -> Table:
    """A file that was checked by hand over what the sources say: its tables win key by key, its endpoints win for their providers, and
    endpoints at providers that it does not name are added."""
    if found is None:
        return checked
    merged = {name: found.get(name, {}) | checked.get(name, {}) for name in ("model", "capabilities", "reasoning")}
    for name in ("capabilities", "reasoning"):
        if name in checked:
            merged[name] = checked[name]
    merged["model"]["aliases"] = list(dict.fromkeys([*checked["model"].get("aliases", ()), *found["model"].get("aliases", ())]))
    named = {endpoint["provider"] for endpoint in checked["endpoint"]}
    endpoints = [*checked["endpoint"], *(endpoint for endpoint in found["endpoint"] if endpoint["provider"] not in named)]
    home = HOMES.get(merged["model"]["id"].partition("/")[0])
    merged["endpoint"] = sorted(endpoints, key=lambda endpoint: (endpoint["provider"] != home, ORDER.index(endpoint["provider"])))
    return merged


def _settle_names(tables: dict[str, Table], overlay: dict[str, Table]) -> None:
    """A name belongs to one model: to the one that a hand gave it to, else to nobody else than its first owner's."""
    owners = {name: id for id in tables for name in (id,)}
    for id in [*overlay, *tables]:
        for name in overlay.get(id, {}).get("model", {}).get("aliases", ()):
            owners.setdefault(name, id)
    for id, table in tables.items():
        table["model"]["aliases"] = [name for name in table["model"].get("aliases", ()) if owners.setdefault(name, id) == id]


def keep_history(endpoint: Table, known: dict[tuple[str, str], list[Table]]) -> None:
    """The prices that stand in the file already stay; the newest found becomes a block of its own only if it says something new."""
    old = known.get((endpoint["provider"], endpoint["upstream_model"]), [])
    if not old:
        return
    latest = max(old, key=lambda price: price["from"])
    (*_, found) = endpoint["price"]
    if says(found) == says(latest):
        endpoint["price"] = old
    elif found["from"] > latest["from"]:
        endpoint["price"] = [*old, found]
    elif found["checked"] > latest["checked"]:
        endpoint["price"] = [*old, found | {"from": found["checked"]}]
    else:
        endpoint["price"] = old if len(old) > 1 else endpoint["price"]


def says(price: Table) -> Table:
    """What a block charges, whoever said it and when."""
    return {key: price.get(key) for key in ("usd_per_million", "usd_each", "override")}


def _known(models: Path, id: str) -> dict[tuple[str, str], list[Table]]:
    path = models / f"{id}.toml"
    if not path.exists():
        return {}
    endpoints = tomllib.loads(path.read_text(encoding="utf-8"))["endpoint"]
    return {(endpoint["provider"], endpoint["upstream_model"]): endpoint["price"] for endpoint in endpoints}


def _overlay(folder: Path) -> dict[str, Table]:
    files = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.toml"))]
    return {file["model"]["id"]: file for file in files}


def show_changes(files: dict[str, str], models: Path) -> int:
    """Writes a diff to the standard output and gives the number of files that change."""
    changed = 0
    for id, text in files.items():
        path = models / f"{id}.toml"
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != text:
            changed += 1
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), f"a/{id}.toml", f"b/{id}.toml"))
    for id in _gone(files, models):
        changed += 1
        sys.stdout.write(f"--- {id}.toml is gone\n")
    return changed


def _gone(files: dict[str, str], models: Path) -> list[str]:
    there = (path.relative_to(models).as_posix().removesuffix(".toml") for path in sorted(models.rglob("*.toml")))
    return [id for id in there if id not in files and not id.startswith(f"{BY_HAND}/")]


def _write(files: dict[str, str], models: Path) -> None:
    for id in _gone(files, models):
        (models / f"{id}.toml").unlink()
    for id, text in files.items():
        path = models / f"{id}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
