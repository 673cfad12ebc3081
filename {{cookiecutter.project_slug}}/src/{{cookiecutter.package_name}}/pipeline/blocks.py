"""What a report is made of. All in it is plain text: each way of showing it escapes everything, at the end.

Standard library alone, like all that `report` runs from the default branch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 20  # rows of a table that may be as long as the data is wide
Cell = str | int | float | None  # numbers are written by whoever shows them


@dataclass(frozen=True)
class Text:
    """A paragraph; the first place where it says ``bold`` stands out."""

    text: str
    bold: str = ""


@dataclass(frozen=True)
class Items:
    """A list."""

    items: list[str]


@dataclass(frozen=True)
class Code:
    """Lines as a program printed them."""

    lines: list[str]


@dataclass(frozen=True)
class Table:
    """A table; ``align`` has one letter a column, l or r; ``more`` rows are not in ``rows``."""

    caption: str
    align: str
    head: list[str]
    rows: Sequence[Sequence[Cell]]
    more: int = 0

    @property
    def hidden(self) -> int:
        return max(0, len(self.rows) - SHOWN) + self.more


@dataclass(frozen=True)
class Chart:
    """Lines over one grid, NaN where a line has no values.

    ``ideal`` is a perfect or a blind model's line; ``marks`` are points on the x axis.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    x: list[float]
    series: dict[str, list[float]]
    ideal: tuple[str, list[float]] | None = None
    marks: dict[str, float] | None = None

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest value to show, a little wider than the lines."""
        ideal = self.ideal[1] if self.ideal else []
        values = [v for line in [*self.series.values(), ideal] for v in line if math.isfinite(v)]
        low, high = min(values), max(values)
        room = (high - low or 1.0) * 0.02
        return (0.0 if 0 <= low < 0.1 * high else low - room), (1.0 if 0.9 < high <= 1 else high + room)


@dataclass(frozen=True)
class Section:
    """Blocks under a title: folded in a pull request, open on a page."""

    title: str
    blocks: list[Block]


Block = Text | Items | Code | Table | Chart | Section


@dataclass(frozen=True)
class Report:
    """A title and what stands below it."""

    title: str
    blocks: list[Block]

    @property
    def charts(self) -> list[Chart]:
        """Every chart, also those in sections."""
        inner = [b for block in self.blocks for b in (block.blocks if isinstance(block, Section) else [block])]
        return [block for block in inner if isinstance(block, Chart)]


NOISE = 1e-15  # a difference of rates below it is what adding floats leaves


def number(value: float | None, signed: bool = False) -> str:
    """Show a number with the digits that matter, a real minus sign, and a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(value)
    if (NOISE if signed else 0) < size < 0.00005:  # the RMSE of a target of 1e-12 is not zero
        return ("−" if value < 0 else "+" if signed else "") + f"{size:.2e}"
    digits = 4 if 0.00005 <= size < 0.00095 else 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    text = f"{size:,.{digits}f}"
    if not float(text.replace(",", "")):
        return text
    return ("−" if value < 0 else "+" if signed else "") + text


def cell_text(cell: Cell) -> str:
    """Write a cell of a table."""
    if isinstance(cell, str):
        return cell
    return f"{cell:,}" if isinstance(cell, int) else number(cell)


def money(value: float, currency: str, signed: bool = False) -> str:
    """Show an amount."""
    size = abs(value)
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}{currency}{size:,.{0 if size >= 1000 else 2 if size >= 0.1 or not size else 3}f}"


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """Show an interval."""
    return f"{number(low, signed)} to {number(high, signed)}"
