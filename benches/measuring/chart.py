"""One chart: what a gateway costs per small request, per frame and per 100 KB body."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .summary import Row
from .table import number

PANELS = (
    ("request_cpu", "small request"),
    ("frame_cpu", "stream frame"),
    ("body_100k_cpu", "request of 100 KB"),
)
COLOURS = {"floor-hand": "#8a8f98", "floor-hyper": "#b9bdc4", "fairlead": "#0b6e4f"}
PEER_COLOUR = "#d9a441"
CUT = 6.0
"""Bars longer than so many times the floor's are cut, and say so: else one peer would flatten all others."""


def draw(rows: Sequence[Row], targets: Sequence[str], footer: str, files: Sequence[Path]) -> bool:
    """Writes the chart to every file. False if matplotlib is not installed or there is nothing to show."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return False
    found = {row.figure.name: row for row in rows}
    panels = [(found[name], title) for name, title in PANELS if name in found]
    if not panels:
        return False
    shown = [target for target in targets if any(target in row.cells for row, _title in panels)]
    canvas = Canvas(figsize=(10, 1.3 + 0.42 * len(shown)), facecolor="white", layout="constrained")
    for axes, (row, title) in zip(canvas.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, row, title, shown)
    canvas.suptitle("CPU time that the gateway takes, µs (lower is better; // bar cut)", fontsize=12, color="#1d1f23")
    canvas.supxlabel(footer, fontsize=7.5, color="#55595f")
    for file in files:
        canvas.savefig(file, dpi=160, facecolor="white", metadata={"Date": None} if file.suffix == ".svg" else None)
    return True


def _panel(axes, row: Row, title: str, targets: Sequence[str]) -> None:  # type: ignore[no-untyped-def]
    values = {target: cell.value for target, cell in row.cells.items() if target in targets}
    reference = values.get("floor-hand") or min(values.values())
    limit = min(max(values.values()), reference * CUT)
    for place, target in enumerate(targets):
        value = values.get(target)
        if value is None:
            axes.text(limit * 0.02, place, "no valid run", va="center", fontsize=8, color="#55595f")
            continue
        length = min(value, limit)
        axes.barh(place, length, color=COLOURS.get(target, PEER_COLOUR), height=0.66)
        if value > limit:
            axes.text(limit * 0.9, place, "//", va="center", ha="center", fontsize=11, color="white", weight="bold")
        axes.text(length + limit * 0.02, place, number(value, row.figure.digits), va="center", fontsize=8.5, color="#1d1f23")
    axes.set_yticks(range(len(targets)), targets, fontsize=9, color="#1d1f23")
    axes.set_xlim(0, limit * 1.45)
    axes.set_ylim(-0.6, len(targets) - 0.4)
    axes.set_title(title, fontsize=10, color="#1d1f23", loc="left")
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(left=False)
