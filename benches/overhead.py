"""What a gateway costs: Fairlead beside the floor, the direct call and the peers that are installed, in one run.

    overhead.py                         everything, three windows each
    overhead.py --quick                 one short window each: does it work?
    overhead.py --targets floor,fairlead --only body_100k
    overhead.py --install-peers         installs peers from the registries into .bench/

Measures with Linux's own accounting of CPU time per thread. README.md beside this file says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measuring import chart, facts, summary, table, targets
from measuring.figures import FIGURES, LOADS, Load
from measuring.run import Bench
from measuring.targets import Target

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "results"
PEERS = ROOT / "benches" / "peers"
INSTALLED = ROOT / ".bench"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    # The default action would end us without the clean-up that stops every process we started.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if options.install_peers:
        return install_peers()
    rig = build_rig() if options.rig is None else Path(options.rig).resolve()
    chosen = choose_targets(options.targets, available_targets(rig, options.fairlead_cmd, options.console))
    loads, lifecycle = choose_loads(options.only)
    INSTALLED.mkdir(exist_ok=True)
    gateway_cores, other_cores = cores()
    with tempfile.TemporaryDirectory(prefix="run-", dir=INSTALLED) as folder:
        bench = Bench(
            rig=rig,
            folder=Path(folder),
            gateway_cores=gateway_cores,
            other_cores=other_cores,
            seconds=options.seconds or (0.3 if options.quick else 1.5),
            windows=options.windows or (1 if options.quick else 3),
            say=lambda text: print(text, file=sys.stderr),
        )
        machine = facts.collect(ROOT)
        bench.run(chosen, loads, lifecycle=lifecycle)
    return report(bench, chosen, machine, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one short window each; writes no result files")
    parser.add_argument("--only", metavar="NAME", help="the figures whose name or load begins so")
    parser.add_argument("--targets", metavar="A,B", help="names or their beginnings: direct, floor, fairlead, a peer")
    parser.add_argument("--windows", type=int, help="windows per figure (3)")
    parser.add_argument("--seconds", type=float, help="length of a window (1.5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--fairlead-cmd", default=str(ROOT / ".venv/bin/fairlead"), help="another build of Fairlead")
    parser.add_argument("--console", action="store_true", help="and Fairlead once more with its console open in a browser")
    parser.add_argument("--rig", metavar="FILE", help="a rig that is built already")
    parser.add_argument("--results", metavar="FOLDER", type=Path, help="write results there, even partial ones")
    parser.add_argument("--install-peers", action="store_true", help="install the peers and stop")
    return parser.parse_args(arguments)


def build_rig() -> Path:
    """The release build of the rig."""
    command = ["cargo", "build", "--release", "--quiet", "--package", "fairlead-rig", "--message-format", "json"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    for line in built.stdout.splitlines():
        executable = json.loads(line).get("executable")
        if executable and Path(executable).name == "fairlead-rig":
            return Path(executable)
    raise SystemExit("cargo built no fairlead-rig")


def cores() -> tuple[set[int], set[int]]:
    """One core for the gateway, another for load and provider, where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) == 1:
        print("only one core: gateway, load and provider share it", file=sys.stderr)
    return {usable[0]}, {usable[1 % len(usable)]}


def available_targets(rig: Path, fairlead_cmd: str, console: bool) -> list[Target]:
    """Every target that can run here; what cannot is said once."""
    found = [targets.direct(), targets.floor(rig, "hand"), targets.floor(rig, "hyper")]
    if Path(fairlead_cmd.split()[0]).exists():
        found.append(targets.fairlead(fairlead_cmd))
        if console:
            found.append(targets.fairlead(fairlead_cmd, is_watched=True))
    else:
        print(f"left out: fairlead ({fairlead_cmd} does not exist; make build)", file=sys.stderr)
    for name, target in targets.peers(PEERS, INSTALLED):
        if target is None:
            print(f"left out: {name} (not installed; --install-peers)", file=sys.stderr)
        else:
            found.append(target)
    return found


def choose_targets(names: str | None, available: Sequence[Target]) -> list[Target]:
    """Those that were asked for, and always the direct call, which added latency is measured against."""
    if names is None:
        return list(available)
    wanted = ["direct", *names.split(",")]
    for name in wanted:
        if not any(target.name.startswith(name) for target in available):
            raise SystemExit(f"no target {name}; there are {', '.join(target.name for target in available)}")
    return [target for target in available if any(target.name.startswith(name) for name in wanted)]


def choose_loads(only: str | None) -> tuple[list[Load], bool]:
    """The loads that the wanted figures need, and whether starts and memory are wanted."""
    wanted = {figure.load for figure in FIGURES if not only or figure.name.startswith(only) or figure.load == only}
    if not wanted:
        raise SystemExit(f"no figure {only}; there are {', '.join(figure.name for figure in FIGURES)}")
    return [load for load in LOADS if load.name in wanted], "lifecycle" in wanted


def report(bench: Bench, chosen: Sequence[Target], machine: dict[str, Any], options: argparse.Namespace) -> int:
    """Prints and writes what was found. 1 if a goal was missed or Fairlead or the floor gave wrong answers."""
    rows = summary.summarise(bench.found)
    names = [target.name for target in chosen]
    result = {
        "facts": {**machine, "seconds": bench.seconds, "windows": bench.windows},
        "figures": summary.to_json(rows),
        "errors": bench.errors,
        "windows": {
            target: {load: [asdict(window) if window else None for window in list_] for load, list_ in loads.items()}
            for target, loads in bench.found.items()
        },
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(table.render(rows, names))
        for name, errors in bench.errors.items():
            for text in dict.fromkeys(errors):
                print(f"{name}: {text}")
    whole = not (options.quick or options.only or options.targets)
    if whole or options.results:
        write_results(result, rows, names, options.results or RESULTS)
    missed = [row for row in rows if row.verdict and not row.verdict.passed]
    wrong = [name for name in bench.errors if name in ("fairlead", "direct") or name.startswith("floor")]
    return 1 if missed or wrong else 0


def write_results(result: dict[str, Any], rows: Sequence[summary.Row], names: Sequence[str], folder: Path) -> None:
    """The JSON under its date and revision and as `latest`, and the chart."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = result["facts"]
    text = json.dumps(result, indent=1) + "\n"
    for stem in (f"{machine['date'][:10]}-{machine['revision'] or 'unknown'}", "latest"):
        (folder / f"{stem}.json").write_text(text)
    footer = (
        f"lowest of {machine['windows']} windows of {machine['seconds']:g} s · gateway on one core of "
        f"{machine['processor']} · {machine['date'][:10]} · revision {machine['revision']}"
    )
    if not chart.draw(rows, names, footer, [folder / "overhead.png", folder / "overhead.svg"]):
        print("no chart: matplotlib is not installed here, or nothing to show", file=sys.stderr)


def install_peers() -> int:
    """Installs every peer that can be had; one that fails does not stop the others."""
    failed = 0
    for file in sorted(PEERS.glob("*.py")):
        home = INSTALLED / file.stem
        home.mkdir(parents=True, exist_ok=True)
        try:
            targets.load_adapter(file).install(home)
            print(f"{file.stem}: installed")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{file.stem}: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
