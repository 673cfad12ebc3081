"""Render charts as PNG files."""

from __future__ import annotations

import math
from pathlib import Path

from mlcicd.rendering.blocks import Chart

COLOURS = {2: ("#0a5ea8", "#b3480a"), 1: ("#0a5ea8",)}
STYLES = {2: ("--", "-"), 1: ("-",)}


def draw(folder: Path, charts: list[Chart]) -> None:
    """Write one PNG file per chart to ``folder``."""
    # Figure instead of pyplot, which keeps global state and needs a display on desktops.
    from matplotlib.figure import Figure

    folder.mkdir(exist_ok=True)
    for chart in charts:
        figure = Figure(figsize=(6.4, 4.4), dpi=100, layout="constrained")
        axes = figure.add_subplot()
        if chart.ideal:
            axes.plot(chart.x, chart.ideal[1], ":", color="#57606a", label=chart.ideal[0])
        count = len(chart.series)
        for (name, values), colour, style in zip(chart.series.items(), COLOURS[count], STYLES[count], strict=True):
            mark = (chart.marks or {}).get(name)
            label = name if mark is None else f"{name} (threshold {mark:.3f})"
            dot = "o" if sum(map(math.isfinite, values)) == 1 else None  # a line with a single point would be invisible
            axes.plot(chart.x, values, style, color=colour, linewidth=2, label=label, marker=dot)
            if mark is not None:
                axes.axvline(mark, color=colour, linestyle=style, linewidth=1, alpha=0.6)
        axes.set(title=chart.title.replace("$", r"\$"), xlabel=chart.x_label, ylabel=chart.y_label, ylim=chart.span)
        axes.grid(color="#d0d7de", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(folder / f"{chart.name}.png")
