"""The table that a run prints."""

from __future__ import annotations

from collections.abc import Sequence

from .summary import Cell, Row


def render(rows: Sequence[Row], targets: Sequence[str]) -> str:
    """Figures down, targets across: value, its range over the windows, ratio to the floor; goals at the right."""
    lines = [["figure", *targets, "goal", ""]]
    for row in rows:
        cells = [_cell(row.cells.get(target), row.figure.digits) for target in targets]
        lines.append([f"{row.figure.title} [{row.figure.unit}]", *cells, *_verdict(row)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rendered = []
    for line in lines:
        first = line[0].ljust(widths[0])
        rest = (text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))
        rendered.append("  ".join([first, *rest]).rstrip())
    rendered.insert(1, "─" * max(map(len, rendered)))
    return "\n".join(rendered)


def number(value: float, digits: int) -> str:
    """A number with thousands separated; no digits behind the point where they would say nothing."""
    return f"{value:,.{0 if abs(value) >= 1000 else digits}f}"


def _cell(cell: Cell | None, digits: int) -> str:
    if cell is None:
        return "-"
    text = number(cell.value, digits)
    if cell.highest > cell.lowest:
        text += f" ({number(cell.lowest, digits)}…{number(cell.highest, digits)})"
    return text if cell.ratio is None else f"{text} {cell.ratio:.2f}x"


def _verdict(row: Row) -> tuple[str, str]:
    if row.verdict is None:
        return "", ""
    return row.verdict.goal, "pass" if row.verdict.passed else "MISSED"
