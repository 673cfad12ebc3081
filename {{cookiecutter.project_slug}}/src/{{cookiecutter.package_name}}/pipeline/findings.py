"""What a careful colleague would say about a table's columns before any model is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from . import identity
from .odcs import TEMPORAL, SchemaObject
from .params import Task
from .sampling import ROWS, Sample

HIGH_MISSING = 0.3
SIGNIFICANCE = 0.01  # over all columns together (Bonferroni)
CLEAR = 0.1  # an association smaller than this is of no use, however sure it is
NAMED = 20


def missingness(inputs: pd.DataFrame, y: np.ndarray, task: Task, sample: Sample = ROWS) -> dict[str, dict[str, Any]]:
    """Return, by column with gaps, their share, and whether having a gap goes with the target.

    ``association`` is between 0 and 1: Cramér's V for classes, the correlation for a number; ``p`` is its test,
    over what was drawn.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, share in inputs.isna().mean().items():
        if share > 0:
            gone = inputs[name].isna().to_numpy()
            association, p = _association(gone, y, task, sample) if share < 1 else (0.0, 1.0)
            found[str(name)] = {"share": round(share, 4), "association": round(association, 4), "p": float(f"{p:.3g}")}
    for entry in found.values():
        entry["predicts"] = entry["p"] < SIGNIFICANCE / len(found) and entry["association"] >= CLEAR
    return found


def equal_rows(table: pd.DataFrame, obj: SchemaObject) -> list[str]:
    """Say that many rows are equal, where nothing tells whether they are one thing twice or two things alike."""
    if obj.id or obj.with_role("group"):
        return []
    rows = int(pd.Series(identity.content(table, obj)).duplicated(keep=False).sum())
    if rows < identity.MANY_EQUAL * len(table):
        return []
    return [
        f"Equal rows: {rows:,} of {len(table):,} rows equal another one in every column. The same thing twice? Then "
        "name an id or a group, else it may stand on both sides of the split."
    ]


def _association(gone: np.ndarray, y: np.ndarray, task: Task, sample: Sample) -> tuple[float, float]:
    if task == "regression":
        found = stats.spearmanr(gone, y)
        size = abs(float(found.statistic))
        if sample.alone or not 0 < size < 1:
            return size, float(found.pvalue)
        free = len(y) / sample.effect(_together(gone, stats.rankdata(y))) - 2
        return size, float(2 * special.stdtr(max(free, 1), -size * (max(free, 1) / (1 - size**2)) ** 0.5))
    table = pd.crosstab(gone, y).to_numpy()
    chi2, p, free, _ = stats.chi2_contingency(table, correction=False)
    if not sample.alone:  # Rao and Scott 1984
        effects = [sample.effect(_together(gone, y == k)) for k in np.unique(y)]
        p = special.chdtrc(free, chi2 / float(np.mean(effects)))
    return float(np.sqrt(chi2 / len(y))), float(p)


def _together(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What each row adds to the covariance."""
    return (a - a.mean()) * (b - b.mean())


def warnings(table: pd.DataFrame, obj: SchemaObject, gaps: dict[str, dict[str, Any]]) -> list[str]:
    """Say in a sentence each what stands out: gaps that tell of the target, dates from after the row's own time."""
    said = [
        f"Gaps tell: whether '{name}' is missing ({gap['share']:.0%} of the rows) goes with the target."
        for name, gap in gaps.items()
        if gap["predicts"]
    ]
    said += equal_rows(table, obj)
    time = obj.with_role("time")
    if time and time.logicalType in TEMPORAL:
        for prop in (p for p in obj.features if p.logicalType in TEMPORAL):
            late = float((table[prop.name] > table[time.name]).mean())
            if late > 0:
                said.append(
                    f"Leak? '{prop.name}' is later than '{time.name}' in {late:.1%} of the rows. "
                    "Is it known before the outcome?"
                )
    return said[:NAMED] + [f"and {len(said) - NAMED} more"] * (len(said) > NAMED)
