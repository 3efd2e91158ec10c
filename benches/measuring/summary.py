"""From windows to figures: pick, range, ratio, verdict."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .figures import FIGURES, JUDGED, Figure, Window

DIRECT = "direct"

Windows = Mapping[str, Mapping[str, Sequence[Window | None]]]
"""By target, then by load; None where a window failed."""


@dataclass(frozen=True)
class Cell:
    """One figure of one target."""

    value: float
    median: float
    lowest: float
    highest: float
    ratio: float | None = None
    """To the floor of the same run."""


@dataclass(frozen=True)
class Verdict:
    """A goal beside what was measured."""

    goal: str
    limit: float
    passed: bool


@dataclass(frozen=True)
class Row:
    """One figure of all targets."""

    figure: Figure
    cells: dict[str, Cell]
    verdict: Verdict | None


def summarise(windows: Windows, figures: Sequence[Figure] = FIGURES) -> list[Row]:
    """The rows that have at least one value, in the order of the figures."""
    picked: dict[str, dict[str, Cell]] = {}
    for figure in figures:
        cells = {}
        for target, loads in windows.items():
            values = _values(figure, loads, windows.get(DIRECT, {}))
            if values and not (figure.minus_direct and target == DIRECT):
                cells[target] = _cell(figure, values)
        picked[figure.name] = cells
    rows = []
    for figure in figures:
        reference = picked.get(figure.reference or figure.name, {}).get(figure.reference_target)
        cells = {name: _with_ratio(figure, cell, reference) for name, cell in picked[figure.name].items()}
        if cells:
            rows.append(Row(figure, cells, _verdict(figure, cells.get(JUDGED), reference)))
    return rows


def _values(figure: Figure, loads: Mapping[str, Sequence[Window | None]], direct: Mapping[str, Sequence[Window | None]]) -> list[float]:
    values = []
    for index, window in enumerate(loads.get(figure.load, ())):
        value = figure.read(window) if window else None
        if value is not None and figure.minus_direct:
            others = direct.get(figure.load, ())
            other = others[index] if index < len(others) else None
            base = figure.read(other) if other else None
            value = None if base is None else value - base
        if value is not None:
            values.append(value)
    return values


def _cell(figure: Figure, values: Sequence[float]) -> Cell:
    median, lowest, highest = statistics.median(values), min(values), max(values)
    value = {"lowest": lowest, "median": median, "highest": highest}[figure.pick]
    return Cell(value, median, lowest, highest)


def _with_ratio(figure: Figure, cell: Cell, reference: Cell | None) -> Cell:
    # Only CPU times have a ratio that means something on a machine that is shared.
    if reference is None or figure.pick != "lowest" or reference.value <= 0:
        return cell
    return Cell(cell.value, cell.median, cell.lowest, cell.highest, cell.value / reference.value)


def _verdict(figure: Figure, cell: Cell | None, reference: Cell | None) -> Verdict | None:
    if figure.goal is None or cell is None:
        return None
    limit = figure.goal.limit(reference.value if reference else None)
    if limit is None:
        return None
    return Verdict(figure.goal.text(figure.unit), limit, cell.value <= limit)


def to_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows as plain data."""
    return [
        {
            "name": row.figure.name,
            "title": row.figure.title,
            "unit": row.figure.unit,
            "pick": row.figure.pick,
            "targets": {name: _rounded(asdict(cell)) for name, cell in row.cells.items()},
            "goal": _rounded(asdict(row.verdict)) if row.verdict else None,
        }
        for row in rows
    ]


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}
