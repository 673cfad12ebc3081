"""Curves of one or two runs over a shared grid: one source for the pictures, the page and the pull request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlcicd import tasks
from mlcicd.core.bins import quantile_edges
from mlcicd.core.params import Costs
from mlcicd.rendering.blocks import Chart

GRID = np.linspace(0, 1, 101)
BINS = 10


@dataclass(frozen=True)
class Side:
    """What one run said of its holdout rows, shaped as in ``metrics``."""

    name: str
    y: np.ndarray
    p: np.ndarray
    threshold: float | None


def draw(task: str, sides: list[Side], costs: Costs | None) -> list[Chart]:
    """Return the charts that suit the task, but for those without a value: a ROC curve needs both classes."""
    first, last = THRESHOLD_CURVES.get(task, _no_curves)(sides, costs)
    found = [*first, _reliability(task, sides), *last]
    return [chart for chart in found if any(np.isfinite(line).any() for line in chart.series.values())]


def _no_curves(_: list[Side], __: Costs | None) -> tuple[list[Chart], list[Chart]]:
    return [], []


def _by_threshold(sides: list[Side], costs: Costs | None) -> tuple[list[Chart], list[Chart]]:
    roc = {s.name: _roc(s.y, s.p) for s in sides}
    labels = ("false positive rate", "true positive rate", GRID.tolist())
    first = [Chart("roc_curve", "ROC curve", *labels, roc, ("chance", GRID.tolist()))]
    if not costs:
        return first, []
    marks = {s.name: float(s.threshold) for s in sides if s.threshold is not None}
    curves = {s.name: _costs(s.y, s.p, costs) for s in sides}
    title = f"Cost per case by threshold, in {costs.currency}"
    return first, [Chart("cost_curve", title, "threshold", "cost per case", GRID.tolist(), curves, marks=marks)]


# By the task's name: what stands before and after the calibration curve, which every task has.
THRESHOLD_CURVES: dict[str, Callable[[list[Side], Costs | None], tuple[list[Chart], list[Chart]]]] = {
    "binary": _by_threshold
}


def _roc(y: np.ndarray, p: np.ndarray) -> list[float]:
    order = np.argsort(-p, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(p[order])), len(p) - 1]
    hits, alarms = np.cumsum(y[order] == 1)[last], np.cumsum(y[order] == 0)[last]
    if not (hits[-1] and alarms[-1]):
        return [float("nan")] * len(GRID)
    curve = np.interp(GRID, np.r_[0, alarms / alarms[-1]], np.r_[0, hits / hits[-1]])
    return [0.0, *curve[1:].tolist()]


def _costs(y: np.ndarray, p: np.ndarray, costs: Costs) -> list[float]:
    positives, negatives = np.sort(p[y == 1]), np.sort(p[y == 0])
    missed = np.searchsorted(positives, GRID)
    alarms = len(negatives) - np.searchsorted(negatives, GRID)
    return ((costs.false_negative * missed + costs.false_positive * alarms) / len(y)).tolist()


def _reliability(task: str, sides: list[Side]) -> Chart:
    """Mean prediction and mean outcome in bins of equally many rows, joined by lines."""
    kind = tasks.of(task)
    points = {s.name: _binned(*kind.calibration(s.y, s.p)) for s in sides}
    low, high = min(x[0] for x, _ in points.values()), max(x[-1] for x, _ in points.values())
    x = np.linspace(low, high if high > low else low + 1e-9 * max(1.0, abs(low)), len(GRID))
    series = {name: _on_grid(x, *pair).tolist() for name, pair in points.items()}
    labels = ("calibration", "Calibration", "mean prediction, by tenth of the rows", kind.outcome)
    return Chart(*labels, x.tolist(), series, ("perfect", x.tolist()))


def _on_grid(x: np.ndarray, at: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return a line's values on a grid, NaN beyond its ends; a line between two points of the grid is one point."""
    line = np.interp(x, at, values, left=np.nan, right=np.nan)
    if not np.isfinite(line).any():
        line[np.abs(x - at.mean()).argmin()] = values.mean()
    return line


def _binned(p: np.ndarray, outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = quantile_edges(p, BINS)
    member = np.searchsorted(edges, p, side="right")
    count = np.bincount(member)
    kept = count > 0
    return np.bincount(member, p)[kept] / count[kept], np.bincount(member, outcome)[kept] / count[kept]
