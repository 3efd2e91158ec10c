"""The bench's arithmetic: picks, differences to the direct call, ratios, verdicts, the table and the chart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))

import overhead  # noqa: E402
from measuring import chart, processes, summary, table, targets  # noqa: E402
from measuring.figures import FIGURES, LOADS, Goal, Window  # noqa: E402
from measuring.run import trouble  # noqa: E402


def unary(p50_us: float, cpu_us: float = 0.0, other_us: float = 0.0) -> Window:
    """A window of 1,000 requests in one second."""
    latency = {"count": 1000, "p50": p50_us * 1e3, "p90": p50_us * 1e3, "p99": p50_us * 2e3, "max": p50_us * 3e3}
    report = {"requests": 1000, "errors": 0, "frames": 0, "duration_ns": 10**9, "latency_ns": latency}
    return Window(report, int(cpu_us * 1e6), int(other_us * 1e6))


def rows_of(windows: summary.Windows) -> dict[str, summary.Row]:
    return {row.figure.name: row for row in summary.summarise(windows)}


def test_cpu_takes_the_lowest_window_and_keeps_the_range() -> None:
    rows = rows_of(
        {
            "floor-hand": {"unary_32": [unary(90, 12.0), unary(90, 10.0), unary(90, 15.0)]},
            "fairlead": {"unary_32": [unary(90, 14.0, 30.0), unary(90, 12.5, 20.0), unary(90, 13.0, 25.0)]},
        }
    )
    cell = rows["request_cpu"].cells["fairlead"]
    assert (cell.value, cell.median, cell.lowest, cell.highest, cell.ratio) == (12.5, 13.0, 12.5, 14.0, 1.25)
    assert rows["request_cpu"].verdict == summary.Verdict("≤ 1.3 x floor", 13.0, True)
    assert rows["control_cpu"].cells["fairlead"].value == 25.0
    assert rows["per_core"].cells["floor-hand"].value == pytest.approx(100_000)
    assert rows["observed_rate"].cells["fairlead"].value == 1000


def test_added_latency_is_the_median_of_differences_within_a_window() -> None:
    rows = rows_of(
        {
            "direct": {"unary_1": [unary(50), unary(70), unary(60)]},
            "floor-hand": {"unary_1": [unary(80), unary(100), unary(95)]},
            "fairlead": {"unary_1": [unary(95), unary(110), None]},
        }
    )
    added = rows["added_p50"]
    assert "direct" not in added.cells
    assert added.cells["floor-hand"].value == 30
    assert added.cells["fairlead"].value == 42.5
    assert added.cells["fairlead"].ratio is None
    assert added.verdict == summary.Verdict("≤ floor + 10 µs", 40, False)


def test_a_figure_without_reference_has_no_verdict() -> None:
    rows = rows_of({"fairlead": {"unary_32": [unary(90, 12.0)]}})
    assert rows["request_cpu"].verdict is None
    assert rows["request_cpu"].cells["fairlead"].ratio is None


def test_the_spliced_path_is_compared_with_the_floors_plain_frames() -> None:
    window = Window({"requests": 10, "errors": 0, "frames": 1000}, 5_000_000)
    spliced = Window({"requests": 10, "errors": 0, "frames": 1000}, 6_000_000)
    rows = rows_of({"floor-hand": {"stream_steady": [window]}, "fairlead": {"stream_steady_api": [spliced]}})
    assert rows["frame_cpu_api"].cells["fairlead"].ratio == pytest.approx(1.2)
    assert rows["frame_cpu_api"].verdict == summary.Verdict("≤ 1.3 x floor", 6.5, True)


@pytest.mark.parametrize(
    ("goal", "reference", "limit", "text"),
    [
        (Goal("floor", 1.3), 10.0, 13.0, "≤ 1.3 x floor"),
        (Goal("floor", plus=10.0), 30.0, 40.0, "≤ floor + 10 µs"),
        (Goal(plus=64.0), None, 64.0, "≤ 64 µs"),
        (Goal("floor", 1.3), None, None, "≤ 1.3 x floor"),
    ],
)
def test_goals(goal: Goal, reference: float | None, limit: float | None, text: str) -> None:
    assert goal.limit(reference) == limit
    assert goal.text("µs") == text


def test_every_figure_has_its_load_and_names_are_unique() -> None:
    loads = {load.name for load in LOADS} | {"lifecycle"}
    names = [figure.name for figure in FIGURES]
    assert all(figure.load in loads for figure in FIGURES)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("report", "least_stream_ms", "expected"),
    [
        ({"requests": 5, "errors": 0}, 0, None),
        ({"requests": 5, "errors": 1, "first_error": "wrong text"}, 0, "1 wrong replies, the first: wrong text"),
        ({"requests": 0, "errors": 0}, 0, "no reply"),
        ({"requests": 5, "errors": 0, "latency_ns": {"p50": 1_990_000_000}}, 1800, None),
        ({"requests": 5, "errors": 0, "latency_ns": {"p50": 12_000_000}}, 1800, "the pace did not reach"),
    ],
)
def test_void_windows_are_known(report: dict[str, object], least_stream_ms: float, expected: str | None) -> None:
    found = trouble(report, least_stream_ms)
    assert found is expected or (expected is not None and found is not None and found.startswith(expected))


def test_paced_loads_know_how_long_a_stream_takes() -> None:
    least = {load.name: load.least_stream_ms for load in LOADS}
    assert least["stream_paced"] == 1800
    assert least["unary_1"] == least["stream"] == 0


def test_the_table_shows_value_range_ratio_and_verdict() -> None:
    rows = summary.summarise(
        {
            "floor-hand": {"unary_32": [unary(90, 10.0), unary(90, 11.0)]},
            "fairlead": {"unary_32": [unary(90, 14.0)]},
            "slow": {"unary_32": [unary(90, 6800.0)]},
        }
    )
    text = table.render(rows, ["floor-hand", "fairlead", "slow", "absent"])
    line = next(line for line in text.splitlines() if line.startswith("CPU per small request"))
    assert "10.0 (10.0…11.0) 1.00x" in line
    assert "14.0 1.40x" in line
    assert "6,800 680.00x" in line
    assert "-" in line
    assert line.endswith("≤ 1.3 x floor  MISSED")


def test_the_chart_is_drawn_with_a_cut_bar(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the chart is an extra of the bench")
    rows = summary.summarise(
        {
            "floor-hand": {"unary_32": [unary(90, 10.0)]},
            "fairlead": {"unary_32": [unary(90, 14.0)]},
            "slow": {"unary_32": [unary(90, 6800.0)]},
        }
    )
    file = tmp_path / "chart.svg"
    assert chart.draw(rows, ["floor-hand", "fairlead", "slow"], "footer", [file, tmp_path / "chart.png"])
    assert file.stat().st_size > 1000
    assert not chart.draw([], [], "", [file])


def test_cpu_time_is_read_from_the_scheduler() -> None:
    # A process that takes 200 ms of CPU, then waits for us to look.
    script = "import time\nwhile time.process_time() < 0.2: pass\nprint('done', flush=True)\ninput()"
    child = processes.Managed([sys.executable, "-c", script], {min(os.sched_getaffinity(0))}, talk=True)
    try:
        assert child.read_line() == "done\n"
        sample = processes.sample(child.pid)
        spent = processes.spent_ns({}, sample, lambda name: True)
        assert 190e6 < spent < 400e6
        assert processes.spent_ns({}, sample, lambda name: name == "another") == 0
        assert processes.spent_ns(sample, sample, lambda name: True) == 0
        assert processes.resident_bytes(child.pid) > 2**20
        pid = child.pid
    finally:
        child.stop()
    assert processes.tree(pid) == set()


def test_stopping_takes_grandchildren_along() -> None:
    script = "import subprocess,sys\nsubprocess.Popen(['sleep','600'])\nprint('up', flush=True)\ninput()"
    child = processes.Managed([sys.executable, "-c", script], {0}, talk=True)
    assert child.read_line() == "up\n"
    assert len(processes.tree(child.pid)) == 2
    child.stop()
    assert processes.tree(child.pid) == set()


def test_targets_are_chosen_by_beginning_and_direct_always_comes() -> None:
    rig = Path("rig")
    available = [targets.direct(), targets.floor(rig, "hand"), targets.floor(rig, "hyper"), targets.fairlead("fairlead")]
    names = [target.name for target in overhead.choose_targets("floor,fair", available)]
    assert names == ["direct", "floor-hand", "floor-hyper", "fairlead"]
    assert [target.name for target in overhead.choose_targets("fairlead", available)] == ["direct", "fairlead"]
    with pytest.raises(SystemExit, match="no target nonsense"):
        overhead.choose_targets("nonsense", available)


def test_loads_follow_from_the_wanted_figures() -> None:
    loads, lifecycle = overhead.choose_loads("body")
    assert [load.name for load in loads] == ["body_100k", "body_400k"]
    assert not lifecycle
    assert overhead.choose_loads("idle_mib") == ([], True)
    assert overhead.choose_loads(None) == (list(LOADS), True)
    with pytest.raises(SystemExit, match="no figure"):
        overhead.choose_loads("nonsense")


def test_the_configuration_is_toml_with_everything_on() -> None:
    import tomllib

    config = tomllib.loads(targets.fairlead_config(1, 2, "127.0.0.1:3", Path('/data "x"')))
    assert config["providers"]["lab"]["base_url"] == "http://127.0.0.1:3/v1"
    assert config["models"]["bench/model"]["endpoints"][0]["usd_per_million"]["completion"] == "15"
    assert config["keys"]["bench"]["secret"] == targets.KEY
    assert config["server"]["data_dir"] == '/data "x"'


def test_every_peer_has_an_adapter_that_can_be_asked(tmp_path: Path) -> None:
    for name, target in targets.peers(ROOT / "benches/peers", tmp_path):
        assert target is None, name
        adapter = targets.load_adapter(ROOT / f"benches/peers/{name}.py")
        launch = adapter.launch(tmp_path, 1, "127.0.0.1:2", tmp_path)
        assert launch.command and "127.0.0.1:2" in str(launch) + "".join(file.read_text() for file in tmp_path.iterdir() if file.is_file())


def test_help_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benches/overhead.py"), "--help"]
    assert "--install-peers" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
