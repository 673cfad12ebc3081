"""Render blocks as a self-contained HTML page: light and dark mode, keyboard navigation, print layout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape

from mlcicd.core.plain_text import visible
from mlcicd.rendering.blocks import Block, Chart, Code, Items, Links, Report, Section, Table, Text, below, cell_text
from mlcicd.system.marks import GENERATOR

STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --dim: #57606a; --paper: #ffffff; --line: #d0d7de; --band: #f6f8fa;
  --s0: #0a5ea8; --s1: #b3480a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --dim: #9da7b1; --paper: #0d1117; --line: #30363d;
  --band: #161b22; --s0: #6cb6ff; --s1: #f0a35e; } }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
.scroll { overflow-x: auto; margin: 1rem 0; } .scroll:focus-visible { outline: 3px solid var(--s0); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--dim); padding-bottom: .3rem; }
.short { white-space: nowrap; }
.quiet caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: .3rem .55rem; border: 1px solid var(--line); text-align: left; overflow-wrap: normal; }
thead th { background: var(--band); } tbody th { font-weight: 500; } .r { text-align: right; white-space: nowrap; }
pre { background: var(--band); padding: 1rem; white-space: pre-wrap; }
figure { margin: 1rem 0; max-width: 44rem; } figcaption { color: var(--dim); }
svg { width: 100%; height: auto; font: 13px system-ui, sans-serif; fill: var(--ink); }
svg path { fill: none; stroke-width: 2.2; } .grid { stroke: var(--line); stroke-width: 1 !important; }
.ideal { stroke: var(--dim); stroke-dasharray: 2 5; } .s0 { stroke: var(--s0); stroke-dasharray: 9 4; }
.s1 { stroke: var(--s1); } circle.s0, circle.s1 { stroke-dasharray: none; stroke-width: 2; fill: var(--paper); }
.key { display: inline-block; width: 2.4em; height: .7em; margin: 0 .4em 0 1.2em; }
@media print { body { max-width: none; padding: 0; } figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 62, 46, 12, 24


def render(report: Report, *, policy: str = POLICY, last: str = "", address: str = "") -> str:
    """Render a report as an HTML page without external resources.

    ``last`` is trusted HTML to append; ``address`` is where links lead.
    """
    title = _text(report.title)
    body = "\n".join(line for block in report.blocks for line in _lines(block, address))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{GENERATOR}\n"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n{last}</main>\n</body>\n</html>\n"
    )


def _text(text: str, limit: int = 1000) -> str:
    """Escape text, and make invisible characters visible."""
    return escape(visible(text[:limit]))


def _lines(block: Block, address: str = "") -> Iterator[str]:
    match block:
        case Text(text, bold):
            before, strong, after = text.partition(bold) if bold else (text, "", "")
            yield f"<p>{_text(before, 5000)}{f'<b>{_text(strong)}</b>' if strong else ''}{_text(after, 5000)}</p>"
        case Items(items):
            yield f"<ul>{''.join(f'<li>{_text(item, 400)}</li>' for item in items)}</ul>"
        case Code(lines):
            yield f'<pre tabindex="0">{chr(10).join(_text(line) for line in lines[-200:])}</pre>'
        case Table():
            yield from _table(block)
        case Chart():
            yield from _figure(block)
        case Links(title, paths):
            pages = {name: (below(address, path), path) for name, path in paths.items()}
            named = [
                f'<a href="{page}">{_text(name)}</a>' if page else _text(f"{name} {path}")
                for name, (page, path) in pages.items()
            ]
            yield f"<p>{_text(title)}: {', '.join(named)}</p>"
        case Section(title, blocks):
            quiet = ' class="quiet"' if len(blocks) == 1 else ""  # hide the caption, since the title says the same
            yield f"<section{quiet}>\n<h2>{_text(title)}</h2>"
            for inner in blocks:
                yield from _lines(inner, address)
            yield "</section>"


def _table(table: Table) -> Iterator[str]:
    caption = _text(table.caption)
    sides = ["r" if side == "r" else "short" for side in table.align]
    head = "".join(
        f'<th scope="col" class="{side}">{_text(name)}</th>' if name else "<td></td>"
        for side, name in zip(sides, table.head, strict=True)
    )
    yield f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>'
    yield f"<thead><tr>{head}</tr></thead><tbody>"
    for first, *rest in ([cell_text(cell) for cell in row] for row in table.rows):
        cells = "".join(
            f'<td class="{side if len(cell) < 50 else "long"}">{_text(cell, 200)}</td>'
            for side, cell in zip(sides[1:], rest, strict=True)
        )
        kind = "short" if len(first) < 30 else "long"
        yield f'<tr><th scope="row" class="{kind}">{_text(first, 200)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _ticks(low: float, high: float) -> list[float]:
    """Return about six round numbers between two limits."""
    wide = (high - low) / 5 or 1.0
    size = 10 ** math.floor(math.log10(wide))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= wide * 0.8)
    return [step * i for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _figure(chart: Chart) -> Iterator[str]:
    (low, high), (first, last) = chart.span, (chart.x[0], chart.x[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)
        return LEFT + across, HEIGHT - BOTTOM - (y - low) / ((high - low) or 1) * (HEIGHT - BOTTOM - TOP)

    def drawn(kind: str, values: list[float]) -> str:
        points = [place(x, y) for x, y in zip(chart.x, values, strict=True) if math.isfinite(y)]
        if len(points) == 1:  # a line with a single point would be invisible
            return '<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>'.format(kind, *points[0])
        path = " L".join(f"{across:.1f},{down:.1f}" for across, down in points)
        return f'<path class="{kind}" d="M{path}"/>' if points else ""

    label = _text(f"{chart.title}: {chart.y_label} by {chart.x_label}")
    yield f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    for y in _ticks(low, high):
        down = place(first, y)[1]
        yield f'<path class="grid" d="M{LEFT},{down:.1f} H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{y:.6g}</text>'
    for x in chart.x if len(chart.x) <= 8 else _ticks(first, last):
        yield f'<text x="{place(x, low)[0]:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:.6g}</text>'
    yield f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{_text(chart.x_label)}</text>'
    turned = f'transform="translate(14 {HEIGHT / 2 - 10}) rotate(-90)"'
    yield f'<text {turned} text-anchor="middle">{_text(chart.y_label)}</text>'
    keys = []
    if chart.ideal:
        yield drawn("ideal", chart.ideal[1])
        keys.append(("ideal", chart.ideal[0]))
    for index, (name, values) in enumerate(chart.series.items()):
        kind = f"s{index}" if len(chart.series) > 1 else "s1"  # s0 is the baseline, s1 the candidate
        yield drawn(kind, values)
        mark = (chart.marks or {}).get(name)
        if mark is not None:
            nearest = min(range(len(chart.x)), key=lambda i: abs(chart.x[i] - mark))
            across, down = place(mark, values[nearest])
            yield f'<circle class="{kind}" cx="{across:.1f}" cy="{down:.1f}" r="5"/>'
        keys.append((kind, name + (f" (threshold {mark:.3f})" if mark is not None else "")))
    yield f"</svg><figcaption>{_text(chart.title)}"
    for kind, name in keys:
        line = f'<svg class="key" viewBox="0 0 34 10" aria-hidden="true"><path class="{kind}" d="M0,5 H34"/></svg>'
        yield f"{line}{_text(name)}"
    yield "</figcaption></figure>"
