"""Instructions of translating: 40 KB of a chat request into each dialect, and a frame of a stream from each dialect into each other one.
And of routing, a decision between one endpoint and between twenty; and of limits, four of them at once.

    python benches/icount/icount.py

Runs `fairlead-icount` under valgrind's callgrind, which counts what each case executes: the same on every run, whatever else the machine
does. Two things are demanded, and the exit status is 1 where one is missed: the goals below, and that no case takes 15 % more than in
`benches/results/icount.json` if compiler and valgrind are the same. `--bless` writes that file anew; `--time` prints nanoseconds of the
clock beside the counts; `--if-there` is content where there is no valgrind.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "benches/results/icount.json"
PARSES = 4.0
"""A request costs at most so many parses of it into a `serde_json::Value`."""
INSTRUCTIONS_OF_A_FRAME = 12_000
"""What 2 µs are at 3 GHz with two instructions in a cycle."""
NS_OF_A_FRAME = 2000
DECISIONS = ("route.", "attempt.", "limits.")
INSTRUCTIONS_OF_A_DECISION = {"route.1": 1_200, "route.20": 21_000, "limits.4": 600}
"""What 200 ns, 3 µs and 100 ns are, counted the same way; by the beginning of the name."""
COUNTED = "fairlead_icount::counted"
DRIFT = 1.15
DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate", "bedrock_converse")


def program() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / "release/fairlead-icount"


def counted() -> dict[str, float]:
    """Instructions per item of each case."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "counts")
        counted_only = ["--collect-atstart=no", f"--toggle-collect={COUNTED}", f"--dump-after={COUNTED}"]
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *counted_only, str(program())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}{done.stdout}")
        cases = [line.split("\t") for line in done.stdout.splitlines()]
        totals = [
            re.search(r"^(?:totals|summary): (\d+)", Path(f"{out}.{number}").read_text(), re.M) for number in range(1, len(cases) + 1)
        ]
    return {name: int(total[1]) / int(items) for (name, items), total in zip(cases, totals, strict=True) if total}


def timed() -> dict[str, float]:
    """Nanoseconds per item of each case, the lowest of many windows."""
    said = subprocess.run([program(), "--time"], capture_output=True, text=True, check=True).stdout
    return {name: float(ns) for name, ns in (line.split("\t") for line in said.splitlines())}


def tools() -> dict[str, str]:
    """What counts depend on beside the sources."""
    said = {name: subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout for name in ("rustc", "valgrind")}
    return {name: text.split(" (")[0].strip() for name, text in said.items()} | {"machine": platform.machine()}


def tables(figures: dict[str, float], unit: str, form: str) -> None:
    parse = figures["request.parse"]
    say(f"\n40 KB of a chat request, {unit}; one parse into a tree: {parse:{form}}")
    for dialect in DIALECTS:
        say(f"  to {dialect:20} {figures[f'request.{dialect}']:>12{form}}   {figures[f'request.{dialect}'] / parse:5.2f} parses")
    for kind, title in (("text", "a frame of text"), ("arguments", "a frame of a call's arguments")):
        say(f"\n{title}, {unit}; from (rows) to (columns)")
        say(f"  {'':20}" + "".join(f"{dialect:>20}" for dialect in DIALECTS))
        for source in DIALECTS:
            row = [figures.get(f"{kind}.{source}.{target}") for target in DIALECTS]
            if any(row):
                say(f"  {source:20}" + "".join(f"{'·' if cell is None else format(cell, form):>20}" for cell in row))


def frames(figures: dict[str, float]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if not name.startswith(("request.", *DECISIONS))}


def decisions(figures: dict[str, float]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if name.startswith(DECISIONS)}


def goals_missed(figures: dict[str, float], most_of_a_frame: float) -> list[str]:
    """A line for each goal that `figures` miss."""
    parse = figures["request.parse"]
    requests = {name: figure / parse for name, figure in figures.items() if name.startswith("request.")}
    missed = [f"{name} costs {parses:.2f} parses, the goal is {PARSES:g}" for name, parses in requests.items() if parses > PARSES]
    dear = {name: figure for name, figure in frames(figures).items() if figure > most_of_a_frame}
    return missed + [f"{name} costs {figure:.0f}, the goal is {most_of_a_frame:g}" for name, figure in dear.items()]


def drifted(figures: dict[str, float], record: dict[str, Any]) -> list[str]:
    """A line for each case that takes more than it did."""
    before = record["instructions"]
    more = {name: figure for name, figure in figures.items() if figure > DRIFT * before.get(name, float("inf"))}
    return [f"{name} took {before[name]:.0f} instructions and takes {figure:.0f}" for name, figure in more.items()]


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bless", action="store_true", help=f"write {RECORD.relative_to(ROOT)} anew")
    parser.add_argument("--time", action="store_true", help="nanoseconds too")
    parser.add_argument("--if-there", action="store_true", help="without valgrind, count nothing and be content")
    wishes = parser.parse_args()
    if not shutil.which("valgrind"):
        say("valgrind is not installed: instructions are not counted")
        return int(not wishes.if_there)
    figures = counted()
    tables(figures, "instructions", ",.0f")
    wrong = goals_missed(figures, INSTRUCTIONS_OF_A_FRAME)
    if wishes.time:
        clock = timed()
        tables(clock, "ns", ",.0f")
        wrong += goals_missed(clock, NS_OF_A_FRAME)
    if wishes.bless:
        rounded = {name: round(figure, 1) for name, figure in figures.items()}
        RECORD.write_text(json.dumps({"tools": tools(), "instructions": rounded}, indent=1) + "\n")
    elif RECORD.exists() and (record := json.loads(RECORD.read_text()))["tools"] == tools():
        wrong += drifted(figures, record)
    else:
        say("\nother tools than those of the record: drift is not judged")
    dearest = max(frames(figures).values())
    for name, figure in decisions(figures).items():
        goal = INSTRUCTIONS_OF_A_DECISION.get(".".join(name.split(".")[:2]))
        say(f"  {name:20}{figure:>12,.0f}" + (f"   goal {goal:,}" if goal else ""))
        if goal and figure > goal:
            wrong.append(f"{name} costs {figure:.0f}, the goal is {goal}")
    say(f"\ngoals: a request at most {PARSES:g} parses, a frame at most {INSTRUCTIONS_OF_A_FRAME} instructions (dearest: {dearest:.0f})")
    say("\n".join(wrong) or "all met, nothing drifted")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
