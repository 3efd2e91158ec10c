"""`deploy/`: what can be known without systemd and a container engine."""

import argparse
import configparser
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from fairlead.cli import COMMANDS, MISUSE, serve
from fairlead.config.schema import Server

ROOT = Path(__file__).resolve().parents[2]


def served(words: list[str]) -> argparse.Namespace:
    """What `fairlead serve` makes of these words; misuse ends the test."""
    program, command, *options = words
    assert Path(program).name == "fairlead" and command in COMMANDS and command == serve.NAME
    parser = argparse.ArgumentParser(exit_on_error=False)
    serve.configure(parser)
    return parser.parse_args(options)


# --- fairlead.service -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "deploy/fairlead.service")
    assert parser.sections() == ["Unit", "Service", "Install"]
    return parser["Service"]


def test_the_unit_starts_the_gateway_in_its_own_folder(unit: configparser.SectionProxy) -> None:
    options = served(shlex.split(unit["ExecStart"]))
    assert options.config == "/etc/fairlead/fairlead.toml"
    assert options.data_dir == f"/var/lib/{unit['StateDirectory']}"
    assert unit["Environment"] == f"XDG_RUNTIME_DIR=/run/{unit['RuntimeDirectory']}"


def test_the_unit_knows_signals_and_exits(unit: configparser.SectionProxy) -> None:
    assert unit["KillSignal"] == "SIGTERM" and "-HUP" in unit["ExecReload"]
    assert int(unit["TimeoutStopSec"]) * 1000 > Server().drain_ms
    assert unit["RestartPreventExitStatus"] == str(MISUSE)


# --- Containerfile ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """(instruction, rest) of each line."""
    lines = (ROOT / "deploy/Containerfile").read_text().splitlines()
    split = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return [(instruction, rest) for instruction, _, rest in split]


def test_the_image_starts_the_gateway(steps: list[tuple[str, str]]) -> None:
    [entry] = [rest for instruction, rest in steps if instruction == "ENTRYPOINT"]
    options = served(json.loads(entry))
    usual = Server()
    ports = [usual.data.rpartition(":")[2], usual.admin.rpartition(":")[2]]
    assert options.data_addr == f"0.0.0.0:{ports[0]}" and options.admin_addr is None
    assert ("EXPOSE", " ".join(ports)) in steps
    assert ("VOLUME", options.data_dir) in steps
    assert ("USER", "fairlead") in steps


def test_the_image_copies_what_the_build_needs(steps: list[tuple[str, str]]) -> None:
    copied = {word for instruction, rest in steps if instruction == "COPY" for word in rest.split()[:-1]}
    for path in copied:
        assert (ROOT / path).exists(), path
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    assert {"Cargo.toml", "Cargo.lock", "pyproject.toml", "python", *(member.removesuffix("/*") for member in members)} <= copied
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= copied


def test_the_image_has_the_versions_that_the_project_needs(steps: list[tuple[str, str]]) -> None:
    images = dict(
        re.findall(r"docker\.io/library/(\w+):(\d+\.\d+)-", " ".join(rest for instruction, rest in steps if instruction == "FROM"))
    )
    rust = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert images["rust"] == rust

    def number(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert number(images["python"]) >= number(python)


# --- grafana.json -----------------------------------------------------------------------------------------------------


def documented() -> dict[str, str]:
    """Name → type of every figure, as `docs/metrics.md` has them; `e2e/test_metrics.py` compares that with a running gateway."""
    return dict(re.findall(r"^\| `(fairlead_\w+)` \| (\w+) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))


def test_the_dashboard_asks_for_figures_that_there_are() -> None:
    board, known = json.loads((ROOT / "deploy/grafana.json").read_text()), documented()
    assert len(known) > 20
    asked: set[str] = set()
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 20
    for expression in expressions:
        for name in re.findall(r"fairlead_\w+", expression):
            family = name.removesuffix("_bucket") if known.get(name) is None else name
            assert family in known, f"{name} is not a figure: {expression}"
            is_rate = re.search(rf"rate\({name}{{", expression) is not None
            assert is_rate == (known[family] != "gauge"), expression
            assert (name != family) == (known[family] == "histogram"), expression
            assert f'{name}{{instance=~"$instance"' in expression, f"one instance cannot be chosen: {expression}"
            asked.add(family)
    # Those that nobody plots are plotted by whoever needs them; what is worth an alarm is here.
    assert {"fairlead_ready", "fairlead_journal_healthy", "fairlead_journal_failures_total", "fairlead_replies_total"} <= asked
    for variable in board["templating"]["list"]:
        for name in re.findall(r"fairlead_\w+", json.dumps(variable)):
            assert name in known
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24 and panel["title"]
