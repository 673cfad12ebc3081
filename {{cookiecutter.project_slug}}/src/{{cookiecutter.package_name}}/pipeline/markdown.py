"""Blocks as Markdown, for a comment, a check, a job summary: short enough to post, and text stays text.

This is the only place that writes Markdown. Each string is escaped for the one place where it stands, so that a reader
sees it as it is, and GitHub makes no link, picture, mention, reference, box, emoji or formula of it. Charts are drawn
from numbers. Standard library alone: `report` runs this file from the default branch, on data that it does not trust.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from .blocks import SHOWN, Block, Cell, Chart, Code, Items, Report, Section, Table, Text, cell_text
from .plain_text import cut, visible

LIMIT = 60_000  # bytes; GitHub and CML refuse 65,536, and CML adds a line of its own
TITLE, SUMMARY, TEXT, ITEM, CELL, LINE, NAME = 300, 200, 2000, 600, 80, 400, 60  # characters
LINES = 30  # of code
JOINER = "\u2060"  # nobody sees it, and it breaks a word in two for a parser
# What means something to Markdown or to what GitHub does with the text afterwards. Each character belongs to one rule.
TOKENS = re.compile(
    r"""
      (?P<hash>(?<![0-9A-Za-z])[0-9A-Fa-f]{7,}(?![0-9A-Za-z]))  # perhaps a commit
    | (?P<money>(?<![0-9A-Fa-f$`])\$(?=\d)(?![0-9A-Fa-f]{7}))   # an amount: it can neither open nor close a formula
    | (?P<dollar>\$)
    | (?P<html>[&<>])
    | (?P<break>[@#]                                            # a mention, an address, a reference
        | (?<=[A-Za-z])-(?=\d) | (?i:(?<=ghsa)-)                # GH-1, TICKET-1, an advisory
        | :(?=//|[\w+-]+(?::|$))                                 # https://, :emoji:, also with what comes after
        | (?i:ww(?=w\.)) )
    | (?P<close>\](?=[(:\[]))                                   # the middle of a link, a picture, a definition
    | (?P<mark>[\\`*_\[\]|~])
    """,
    re.VERBOSE,
)
# What begins a list, a line under a heading or a table's second line, where a block may begin.
START = re.compile(r"[-+=:](?=[\s:=+-]|$)|[0-9]{1,9}[.)](?=\s|$)")
POINTS = 26  # of a line in a chart
SQUARES = {"🟦": "#1f77b4", "🟧": "#ff7f0e", "🟩": "#2ca02c", "🟪": "#9467bd", "🟥": "#d62728"}
IDEAL = ("⬜", "#9a9a9a")
LARGEST = 1e15  # that a chart shows
CUT = "Cut here: the whole report is report.html, in the workflow's artifacts or beside this file."


def escape(text: str, limit: int = CELL) -> str:
    """Write text for a paragraph, a heading, an item or a cell, on one line; what is longer than ``limit`` is cut."""
    written = TOKENS.sub(_in_markdown, cut(text, limit))
    start = START.match(written)
    return f"{written[: start.end() - 1]}\\{written[start.end() - 1 :]}" if start else written


def escape_html(text: str, limit: int = SUMMARY) -> str:
    """Write text for the inside of an HTML element, where Markdown means nothing."""
    return TOKENS.sub(_in_html, cut(text, limit))


def render(report: Report, limit: int = LIMIT) -> str:
    """Write a report in at most ``limit`` bytes; what does not fit is left out from the end, which says so."""
    parts = [f"## {escape(report.title, TITLE)}\n"]
    left = limit - 10 - len((parts[0] + CUT).encode())
    for place, block in enumerate(report.blocks):
        more = "\n" + "\n".join(_lines(block, captions=place > 0)) + "\n"
        left -= len(more.encode())
        if left < 0:
            return "".join([*parts, f"\n{CUT}\n"])
        parts.append(more)
    return "".join(parts)


def _in_markdown(match: re.Match[str]) -> str:
    found, kind = match[0], match.lastgroup
    if kind == "hash":
        return f"`{found}`"
    return _alike(found, kind) or f"\\{found}{_joiner(found, kind)}"


def _in_html(match: re.Match[str]) -> str:
    found, kind = match[0], match.lastgroup
    if kind == "hash":
        return f"<code>{found}</code>"
    # Entities, so that the text is the same if it were read as Markdown after all.
    return _alike(found, kind) or f"&#{ord(found)};{_joiner(found, kind)}"


def _joiner(found: str, kind: str | None) -> str:
    return JOINER if found == "#" or kind == "close" else ""


def _alike(found: str, kind: str | None) -> str:
    """What is written in the same way in Markdown and in HTML; empty for what is not."""
    if kind == "html":
        return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}[found]
    if kind == "dollar":
        return "<span>$</span>"  # as GitHub's own documentation has it, for a dollar that is no formula
    return found + JOINER if kind == "break" and found != "#" else ""


def _lines(block: Block, captions: bool = True) -> Iterator[str]:
    match block:
        case Text(text, bold):
            yield _text(text, bold)
        case Items(items):
            yield from (f"- {escape(item, ITEM)}" for item in items[:SHOWN])
        case Code(lines):
            yield from _code(lines)
        case Table():
            if captions:
                yield from (f"{escape(block.caption)}:", "")
            yield _row(block.head)
            yield f"| {' | '.join('--:' if side == 'r' else '---' for side in block.align)} |"
            yield from (_row(row) for row in block.rows[:SHOWN])
            if block.hidden:
                yield from ("", f"… and {block.hidden:,} more.")
        case Chart():
            yield from _chart(block)
        case Section(title, blocks):
            yield f"<details><summary>{escape_html(title)}</summary>"
            for inner in blocks:
                yield ""
                yield from _lines(inner, captions=len(blocks) > 1)
            yield from ("", "</details>")


def _text(text: str, bold: str) -> str:
    before, found, after = text.partition(bold) if bold else (text, "", "")
    # Between blanks alone: elsewhere Markdown would not always take the stars as marks.
    if not found.strip() or not (f" {before}".endswith(" ") and f"{after} ".startswith(" ")):
        return escape(text, TEXT)
    parts = (escape(before, TEXT), f"**{escape(found, NAME)}**", escape(after, TEXT))
    return " ".join(part for part in parts if part)


def _code(lines: list[str]) -> Iterator[str]:
    shown = [visible(line[:LINE]) for line in lines[-LINES:]]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (f"{fence}text", *shown, fence)


def _row(cells: Sequence[Cell]) -> str:
    return f"| {' | '.join(escape(cell_text(cell)) for cell in cells)} |"


def _chart(chart: Chart) -> Iterator[str]:
    lines = [*chart.series.items(), *([chart.ideal] if chart.ideal else [])]
    # Mermaid knows no gaps: it gets the part where every line has values.
    shared = [i for i in range(len(chart.x)) if all(math.isfinite(line[i]) for _, line in lines)]
    title = escape(chart.title)
    if len(shared) < 2:
        yield f"{title}: the lines have no range in common; report.html shows them."
        return
    low, high = chart.span
    if max(map(abs, (low, high, *chart.x))) > LARGEST or len(chart.series) > len(SQUARES):
        yield f"{title}: report.html shows it."
        return
    shown = shared[:: -(-(len(shared) - 1) // (POINTS - 1))]
    colours = [*list(SQUARES.items())[: len(chart.series)], *([IDEAL] if chart.ideal else [])]
    named = [f"{square} {escape(name, NAME)}" for (square, _), (name, _) in zip(colours, lines, strict=True)]
    # A label that Mermaid might read as more than text stands in the line above instead.
    axes = {"across": chart.x_label, "up": chart.y_label}
    named += [f"{way}: {escape(label, NAME)}" for way, label in axes.items() if not _plain(label)]
    yield f"{title}: {', '.join(named)}"
    look = {"plotColorPalette": ", ".join(colour for _, colour in colours), "backgroundColor": "transparent"}
    config = json.dumps({"xyChart": {"width": 640, "height": 340}, "themeVariables": {"xyChart": look}})
    yield from ("", "```mermaid", f"%%{{init: {config}}}%%", "xychart-beta")
    yield f"  x-axis {_label(chart.x_label)}{_digits(chart.x[shown[0]])} --> {_digits(chart.x[shown[-1]])}"
    yield f"  y-axis {_label(chart.y_label)}{_digits(low)} --> {_digits(high)}"
    yield from (f"  line [{', '.join(_digits(line[i]) for i in shown)}]" for _, line in lines)
    yield "```"


def _plain(label: str) -> bool:
    """Whether a label has nothing but letters, digits and signs that mean nothing to Mermaid."""
    return len(label) <= NAME and visible(label) == label and all(c.isalnum() or c in " .,/()-" for c in label)


def _label(label: str) -> str:
    return f'"{label}" ' if label.strip() and _plain(label) else ""


def _digits(value: float) -> str:
    """Four digits; never 8.917e+04, which Mermaid calls a syntax error."""
    return f"{Decimal(f'{value:.4g}'):f}"
