"""Render blocks as Markdown for comments, checks and job summaries, within their size limits.

This is the only module that writes Markdown. Each string is escaped for its position, so that it is shown verbatim:
GitHub does not turn it into a link, picture, mention, reference, checkbox, emoji or formula. Charts are Mermaid code.
Uses the standard library alone: the CI job `report` runs this file from the default branch on untrusted data.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from mlcicd.core.plain_text import cut, visible
from mlcicd.rendering.blocks import (
    SHOWN,
    Block,
    Cell,
    Chart,
    Code,
    Items,
    Links,
    Report,
    Section,
    Table,
    Text,
    below,
    cell_text,
)

LIMIT = 60_000  # bytes; GitHub and CML refuse 65,536, and CML adds a line of its own
TITLE, SUMMARY, TEXT, ITEM, CELL, LINE, NAME = 300, 200, 2000, 600, 80, 400, 60  # characters
LINES = 30  # of code
JOINER = "\u2060"  # an invisible character that splits a word for parsers
# Tokens with a meaning in Markdown or for GitHub. Each character belongs to one rule.
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
# The start of a list, a heading's underline or a table's delimiter row, at the start of a block.
START = re.compile(r"[-+=:](?=[\s:=+-]|$)|[0-9]{1,9}[.)](?=\s|$)")
POINTS = 26  # of a line in a chart
SQUARES = {"🟦": "#1f77b4", "🟧": "#ff7f0e", "🟩": "#2ca02c", "🟪": "#9467bd", "🟥": "#d62728"}
IDEAL = ("⬜", "#9a9a9a")
LARGEST = 1e15  # largest number in a chart
CUT = "Cut here: the whole report is report.html, in the workflow's artifacts or beside this file."


def escape(text: str, limit: int = CELL) -> str:
    """Escape text for a paragraph, heading, item or cell, on one line, truncated to ``limit`` characters."""
    written = TOKENS.sub(_in_markdown, cut(text, limit))
    start = START.match(written)
    return f"{written[: start.end() - 1]}\\{written[start.end() - 1 :]}" if start else written


def escape_html(text: str, limit: int = SUMMARY) -> str:
    """Escape text for the inside of an HTML element, where Markdown is not parsed."""
    return TOKENS.sub(_in_html, cut(text, limit))


def render(report: Report, limit: int = LIMIT, address: str = "") -> str:
    """Render a report in at most ``limit`` bytes; if blocks at the end do not fit, a note replaces them.

    ``address`` is where links lead; without it they are shown as text.
    """
    parts = [f"## {escape(report.title, TITLE)}\n"]
    remaining = limit - 10 - len((parts[0] + CUT).encode())
    for index, block in enumerate(report.blocks):
        rendered = "\n" + "\n".join(_lines(block, address, captions=index > 0)) + "\n"
        remaining -= len(rendered.encode())
        if remaining < 0:
            return "".join([*parts, f"\n{CUT}\n"])
        parts.append(rendered)
    return "".join(parts)


def _in_markdown(match: re.Match[str]) -> str:
    text, kind = match[0], match.lastgroup
    if kind == "hash":
        return f"`{text}`"
    return _escape_common(text, kind) or f"\\{text}{_joiner(text, kind)}"


def _in_html(match: re.Match[str]) -> str:
    text, kind = match[0], match.lastgroup
    if kind == "hash":
        return f"<code>{text}</code>"
    # Entities show the same text even if it is parsed as Markdown.
    return _escape_common(text, kind) or f"&#{ord(text)};{_joiner(text, kind)}"


def _joiner(text: str, kind: str | None) -> str:
    return JOINER if text == "#" or kind == "close" else ""


def _escape_common(text: str, kind: str | None) -> str:
    """Return the escaped token if it is the same in Markdown and HTML; else empty."""
    if kind == "html":
        return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}[text]
    if kind == "dollar":
        return "<span>$</span>"  # from GitHub's documentation, for a dollar sign that is not a formula
    return text + JOINER if kind == "break" and text != "#" else ""


def _lines(block: Block, address: str = "", captions: bool = True) -> Iterator[str]:
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
        case Links(title, paths):
            yield f"{escape(title)}: {', '.join(_link(name, path, address) for name, path in paths.items())}"
        case Section(title, blocks):
            yield f"<details><summary>{escape_html(title)}</summary>"
            for inner in blocks:
                yield ""
                yield from _lines(inner, address, captions=len(blocks) > 1)
            yield from ("", "</details>")


def _link(name: str, path: str, address: str) -> str:
    page = below(address, path)
    return f"[{escape(name, NAME)}]({page})" if page else f"{escape(name, NAME)} {escape(path)}"


def _text(text: str, bold: str) -> str:
    before, strong, after = text.partition(bold) if bold else (text, "", "")
    # Only between spaces, since Markdown does not recognise ** everywhere else.
    if not strong.strip() or not (f" {before}".endswith(" ") and f"{after} ".startswith(" ")):
        return escape(text, TEXT)
    parts = (escape(before, TEXT), f"**{escape(strong, NAME)}**", escape(after, TEXT))
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
    # Mermaid does not support missing values, so draw only where every line has a value.
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
    legend = [f"{square} {escape(name, NAME)}" for (square, _), (name, _) in zip(colours, lines, strict=True)]
    # Labels with special characters for Mermaid are written above the chart instead.
    axes = {"across": chart.x_label, "up": chart.y_label}
    legend += [f"{axis}: {escape(label, NAME)}" for axis, label in axes.items() if not _plain(label)]
    yield f"{title}: {', '.join(legend)}"
    theme = {"plotColorPalette": ", ".join(colour for _, colour in colours), "backgroundColor": "transparent"}
    config = json.dumps({"xyChart": {"width": 640, "height": 340}, "themeVariables": {"xyChart": theme}})
    yield from ("", "```mermaid", f"%%{{init: {config}}}%%", "xychart-beta")
    yield f"  x-axis {_label(chart.x_label)}{_digits(chart.x[shown[0]])} --> {_digits(chart.x[shown[-1]])}"
    yield f"  y-axis {_label(chart.y_label)}{_digits(low)} --> {_digits(high)}"
    yield from (f"  line [{', '.join(_digits(line[i]) for i in shown)}]" for _, line in lines)
    yield "```"


def _plain(label: str) -> bool:
    """Return whether a label has only letters, digits and characters without a meaning in Mermaid."""
    return len(label) <= NAME and visible(label) == label and all(c.isalnum() or c in " .,/()-" for c in label)


def _label(label: str) -> str:
    return f'"{label}" ' if label.strip() and _plain(label) else ""


def _digits(value: float) -> str:
    """Format a number with four digits and without an exponent, which Mermaid does not accept."""
    return f"{Decimal(f'{value:.4g}'):f}"
