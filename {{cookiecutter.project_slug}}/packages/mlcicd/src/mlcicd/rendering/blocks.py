"""The blocks that reports consist of. All text in them is plain; each renderer escapes it.

Uses the standard library alone, like everything that the CI job `report` runs from the default branch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 20  # rows of a table in Markdown, since a table may have a row per column of the data
Cell = str | int | float | None  # numbers are formatted by the renderers


@dataclass(frozen=True)
class Text:
    """A paragraph; the first occurrence of ``bold`` in it is emphasised."""

    text: str
    bold: str = ""


@dataclass(frozen=True)
class Items:
    """A list."""

    items: list[str]


@dataclass(frozen=True)
class Code:
    """The output of a program, verbatim."""

    lines: list[str]


@dataclass(frozen=True)
class Table:
    """A table; ``align`` has one letter per column, l or r; ``more`` is the number of rows that were left out."""

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
    """A line chart; all series share the grid ``x`` and are NaN where they have no value.

    ``ideal`` is the line of a perfect or a random model; ``marks`` are points on the x axis, by series.
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
        """The range of the y axis, slightly wider than the values."""
        ideal = self.ideal[1] if self.ideal else []
        values = [v for line in [*self.series.values(), ideal] for v in line if math.isfinite(v)]
        low, high = min(values), max(values)
        room = (high - low or 1.0) * 0.02
        return (0.0 if 0 <= low < 0.1 * high else low - room), (1.0 if 0.9 < high <= 1 else high + room)


@dataclass(frozen=True)
class Links:
    """Pages of an outside system, by name; a path leads below the address that the reader's side trusts."""

    title: str
    paths: dict[str, str]


@dataclass(frozen=True)
class Section:
    """Blocks under a title: collapsed in a pull request, expanded in HTML."""

    title: str
    blocks: list[Block]


Block = Text | Items | Code | Table | Chart | Links | Section


@dataclass(frozen=True)
class Report:
    """A title and blocks."""

    title: str
    blocks: list[Block]

    @property
    def charts(self) -> list[Chart]:
        """All charts, including those in sections."""
        inner = [b for block in self.blocks for b in (block.blocks if isinstance(block, Section) else [block])]
        return [block for block in inner if isinstance(block, Chart)]


ADDRESS = re.compile(r"https?://[A-Za-z0-9.:\[\]_/-]{1,200}")
PATH = re.compile(r"[A-Za-z0-9#/._-]{1,300}")


def below(address: str, path: str) -> str:
    """Return the address of a page, or nothing where either is not of the plain kind."""
    if not ADDRESS.fullmatch(address) or not PATH.fullmatch(path):
        return ""
    return f"{address.rstrip('/')}/{path.lstrip('/')}"


NOISE = 1e-15  # smaller differences are rounding errors


def number(value: float | None, signed: bool = False) -> str:
    """Format a number with its significant digits and a typographic minus sign; a dash if it is missing or infinite."""
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
    """Format a cell of a table."""
    if isinstance(cell, str):
        return cell
    return f"{cell:,}" if isinstance(cell, int) else number(cell)


def money(value: float, currency: str, signed: bool = False) -> str:
    """Format an amount of money."""
    size = abs(value)
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return f"{sign}{currency}{size:,.{0 if size >= 1000 else 2 if size >= 0.1 or not size else 3}f}"


def interval(low: float | None, high: float | None, signed: bool = False) -> str:
    """Format an interval."""
    return f"{number(low, signed)} to {number(high, signed)}"
