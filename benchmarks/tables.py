"""Results as aligned plain text or Markdown. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Budget", "Table", "ratio"]


@dataclass
class Budget:
    """One line of the design's table and what this run measured."""

    what: str
    limit: float
    measured: float | None
    unit: str = "x"
    at_least: bool = False

    def row(self) -> list[str]:
        sign = ">=" if self.at_least else "<="
        if self.measured is None:
            return [self.what, f"{sign} {self.limit:g}{self.unit}", "-", "not measured"]
        held = self.measured >= self.limit if self.at_least else self.measured <= self.limit
        return [
            self.what,
            f"{sign} {self.limit:g}{self.unit}",
            f"{self.measured:.2f}{self.unit}",
            "held" if held else "MISSED",
        ]


@dataclass
class Table:
    """One bench's result: rows of cells, the first column left-aligned and the others right."""

    title: str
    columns: Sequence[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)

    def text(self) -> str:
        cells = [list(self.columns), *self.rows]
        whole = [
            row for row in cells if len(row) == len(self.columns)
        ]  # the others: a label and a reason
        widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
        widths[0] = max(len(row[0]) for row in cells)
        lines = [self.title, "=" * len(self.title)]
        for row in cells:
            padded = [
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=False))
            ]
            lines.append("  ".join(padded).rstrip())
        return "\n".join([*lines, *(f"  {note}" for note in self.notes), ""])

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", _pipes(self.columns)]
        lines.append(_pipes(["---", *["---:"] * (len(self.columns) - 1)]))
        lines += [_pipes([*row, *[""] * (len(self.columns) - len(row))]) for row in self.rows]
        return "\n".join([*lines, "", *self.notes, ""])


def ratio(value: float | None, base: float | None) -> float | None:
    """Divide, where both were measured."""
    return value / base if value is not None and base else None


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
