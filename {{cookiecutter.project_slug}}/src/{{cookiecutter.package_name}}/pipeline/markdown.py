"""Blocks as Markdown for a pull request: short enough to post, and harmless whatever names the data brings along."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator

import numpy as np

from .blocks import SHOWN, Block, Chart, Code, Items, Report, Section, Table, Text

LIMIT = 60_000  # bytes; GitHub and CML refuse 65,536, and CML adds a line of its own
JOINER = "\u2060"  # nobody sees it, and it breaks a word in two for a parser
HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}
ALIVE = (
    re.compile(r"([@#])()"),  # mentions, addresses, references
    re.compile(r"(?i)\b(gh)(-\d)"),  # GH-1
    re.compile(r"(?i)([a-z]:)(//)"),  # https://
    re.compile(r"(?i)\b(ww)(w\.)"),
    re.compile(r"(:)([\w+-]+:)"),  # :emoji:
    re.compile(r"(?i)\b([0-9a-f]{7})([0-9a-f]+)\b"),  # a commit
)
POINTS = 26  # of a line in a chart
SQUARES = {"🟦": "#1f77b4", "🟧": "#ff7f0e", "⬜": "#9a9a9a"}
CUT = "Cut here: the whole report is report.html, in the workflow's artifacts or beside this file."


def escape(text: object, limit: int = 80) -> str:
    """Make text harmless in Markdown: no HTML, cell, mention, link, reference or formatting comes alive."""
    visible = "".join(c if unicodedata.category(c) not in HIDDEN else " " for c in str(text)[: 4 * limit])
    flat = " ".join(visible.split())
    flat = flat if len(flat) <= limit else flat[: limit - 1] + "…"
    for pattern in ALIVE:
        flat = pattern.sub(rf"\1{JOINER}\2", flat)
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
    return re.sub(r"^(\d*)([-+=.])(?=[\s=-]|$)", r"\1\\\2", flat)


def render(report: Report) -> str:
    """Write a report; what does not fit is left out from the end, and the last line says so."""
    text = f"## {escape(report.title, 300)}\n"
    for place, block in enumerate(report.blocks):
        more = "\n" + "\n".join(_lines(block, captions=place > 0)) + "\n"
        if len((text + more + CUT).encode()) > LIMIT - 10:
            return f"{text}\n{CUT}\n"
        text += more
    return text


def _lines(block: Block, captions: bool = True) -> Iterator[str]:
    match block:
        case Text(text):
            yield escape(text, 2000)
        case Items(items):
            yield from (f"- {escape(item, 600)}" for item in items[:SHOWN])
        case Code(lines):
            clean = (re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).replace("`", "'") for line in lines)
            shown = ("".join(c for c in line if unicodedata.category(c) not in HIDDEN)[:300] for line in clean)
            yield from ("```text", *shown, "```")
        case Table():
            if captions:
                yield from (f"{escape(block.caption)}:", "")
            yield _row([escape(name) for name in block.head])
            yield _row(["--:" if side == "r" else "---" for side in block.align])
            yield from (_row([escape(cell) for cell in row]) for row in block.rows[:SHOWN])
            if block.hidden:
                yield from ("", f"… and {block.hidden:,} more.")
        case Chart():
            yield from _chart(block)
        case Section(title, blocks):
            yield f"<details><summary>{escape(title, 200)}</summary>"
            for inner in blocks:
                yield ""
                yield from _lines(inner, captions=len(blocks) > 1)
            yield from ("", "</details>")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _chart(chart: Chart) -> Iterator[str]:
    lines = chart.series | ({chart.ideal[0]: chart.ideal[1]} if chart.ideal else {})
    # Mermaid knows no gaps: it gets the part where every line has values.
    shared = [i for i in range(len(chart.x)) if all(math.isfinite(line[i]) for line in lines.values())]
    if len(shared) < 2:
        yield f"{escape(chart.title)}: the lines have no range in common; report.html shows them."
        return
    shown = shared[:: -(-(len(shared) - 1) // (POINTS - 1))]
    squares = [*list(SQUARES)[: len(chart.series)], *list(SQUARES)[2:]][: len(lines)]
    colours = [SQUARES[square] for square in squares]
    low, high = chart.span
    yield f"{escape(chart.title)}: " + ", ".join(f"{s} {escape(n)}" for s, n in zip(squares, lines, strict=True))
    look = {"plotColorPalette": ", ".join(colours), "backgroundColor": "transparent"}
    config = json.dumps({"xyChart": {"width": 640, "height": 340}, "themeVariables": {"xyChart": look}})
    yield from ("", "```mermaid", f"%%{{init: {config}}}%%", "xychart-beta")
    yield f'  x-axis "{_quoted(chart.x_label)}" {_digits(chart.x[shown[0]])} --> {_digits(chart.x[shown[-1]])}'
    yield f'  y-axis "{_quoted(chart.y_label)}" {_digits(low)} --> {_digits(high)}'
    yield from (f"  line [{', '.join(_digits(line[i]) for i in shown)}]" for line in lines.values())
    yield "```"


def _digits(value: float) -> str:
    """Four digits; never 8.917e+04, which Mermaid calls a syntax error."""
    return np.format_float_positional(value, precision=4, unique=False, fractional=False, trim="-")


def _quoted(text: str) -> str:
    return re.sub(r"[^\w .,%/()-]", "", text)[:80]
