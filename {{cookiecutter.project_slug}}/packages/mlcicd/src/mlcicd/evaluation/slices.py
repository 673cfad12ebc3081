"""Where did it get better or worse? Per category, quarter of the values, missing or not, and period of time.

Slices are judged by what is a mean over rows: the cost, and a loss for each kind of task. Of the many differences only
those are returned that survive Holm's correction over all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types
from scipy import special

from mlcicd import tasks
from mlcicd.core.labels import number_names, time_names, unused
from mlcicd.data.readers import by_frequency
from mlcicd.data.sampling import ROWS, Sample
from mlcicd.evaluation.metrics import Metric
from mlcicd.evaluation.uncertainty import Side, holm

LEAST = 50  # rows in a slice, and outside it: nearly all rows are no slice
LEVELS = 20  # categories of a column, the most frequent ones
SHOWN = 12
Judged = tuple[dict[str, Metric], Side]  # a side's metrics, each at the side's own threshold, and predictions


def losses() -> list[str]:
    """Return the metrics that slices are judged by, means over rows: the cost, and each kind of task's loss."""
    return ["cost", *dict.fromkeys(kind.row_loss for kind in tasks.KINDS.values())]


def find(
    frame: pd.DataFrame, y: np.ndarray, old: Judged, new: Judged, alpha: float, sample: Sample = ROWS
) -> dict[str, Any]:
    """Return how many slices were judged and, of those whose difference is sure, the surest dozen.

    Parameters
    ----------
    frame : the feature columns of the rows of ``y``
    alpha : the chance, over all slices together, that a difference is shown where there is none
    sample : what was drawn: rows, groups or stretches of time
    """
    ways = [way for way in groupings(frame) if len(way[2]) > 1]
    found: list[dict[str, Any]] = []
    for name in (name for name in losses() if name in old[0] and name in new[0]):
        before, before_folds = _losses(old[0][name], y, old[1])
        after, after_folds = _losses(new[0][name], y, new[1])
        paired = after_folds - before_folds if after_folds.shape == before_folds.shape else np.zeros((0, len(y)))
        drawn = sample.partitions(after - before - np.mean(after - before))
        for column, codes, labels in ways:
            rows, means, errors = _judge(codes, len(labels), before, after, paired, drawn)
            found += [
                {
                    "metric": name,
                    "label": new[0][name].label,
                    "column": column,
                    "slice": labels[k],
                    "rows": int(rows[k]),
                    "baseline": float(means[0][k]),
                    "candidate": float(means[1][k]),
                    "difference": float(means[1][k] - means[0][k]),
                    "p": float(2 * special.stdtr(errors[k][1], -abs(means[1][k] - means[0][k]) / errors[k][0])),
                    "verdict": "worse" if means[1][k] > means[0][k] else "better",
                }
                for k in np.flatnonzero((rows >= LEAST) & (len(y) - rows >= LEAST))
                if errors[k][0] > 0
            ]
    adjusted = holm([f["p"] for f in found])
    sure = [f | {"adjusted": p} for f, p in zip(found, adjusted, strict=True) if p <= alpha]
    return {"judged": len(found), "sure": len(sure), "shown": sorted(sure, key=lambda f: f["p"])[:SHOWN]}


def _losses(metric: Metric, y: np.ndarray, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """One loss a row: the mean over seeds, and for each fold's model."""
    assert metric.rows is not None  # losses() holds only such
    folds = np.reshape([metric.rows(y, p) for p in side.folds], (-1, len(y)))
    return np.mean([metric.rows(y, p) for p in side.seeds], axis=0), folds


def _judge(
    codes: np.ndarray, size: int, before: np.ndarray, after: np.ndarray, paired: np.ndarray, drawn: list[np.ndarray]
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], list[tuple[float, float]]]:
    """Rows, both means, standard error and degrees of freedom for each slice; as in ``inference.difference``."""
    kept = codes >= 0
    codes, before, after, paired = codes[kept], before[kept], after[kept], paired[:, kept]
    ways = [_within(codes, size, way[kept]) for way in drawn]

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(codes, values, minlength=size) / np.maximum(rows, 1)

    def noise_of(values: np.ndarray) -> np.ndarray:
        rest = values - mean(values)[codes]
        return np.max([_noise(rest, rows, size, way) for way in ways], axis=0)

    rows = np.bincount(codes, minlength=size)
    draws = np.min([rows, *(np.bincount(way[1], minlength=size) for way in ways)], axis=0)
    moved, folds = after - before, len(paired)
    noise = noise_of(moved) if ways else (mean(moved**2) - mean(moved) ** 2).clip(0) / np.maximum(rows - 1, 1)
    spread, by_rows = np.zeros((2, size))
    if folds > 1:  # how far the folds' models scatter, and what these rows alone would make of it
        spread = np.var([mean(fold) for fold in paired], axis=0, ddof=1)
        by_rows = (mean(np.var(paired, axis=0, ddof=1)) - spread) / np.maximum(rows - 1, 1)
    if folds > 1 and ways:
        together = np.sum([noise_of(fold) for fold in paired], axis=0)
        by_rows = (together - folds * noise_of(paired.mean(axis=0))) / (folds - 1)
    total = np.where(draws > 1, noise + (spread - by_rows).clip(0), 0)
    parts = noise**2 / np.maximum(draws - 1, 1) + spread**2 / max(folds - 1, 1)
    freedom = np.divide(total**2, parts, out=np.ones(size), where=parts > 0).clip(max(folds - 1, 1))
    freedom = np.minimum(freedom, np.maximum(draws - 1, 1)) if drawn else freedom
    return rows, (mean(before), mean(after)), list(zip(np.sqrt(total), freedom, strict=True))


def _within(codes: np.ndarray, size: int, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's draw within its slice, and the slice of each draw."""
    both, found = np.unique(way.astype("int64") * size + codes, return_inverse=True)
    return found, both % size


def _noise(rest: np.ndarray, rows: np.ndarray, size: int, way: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Variance of each slice's mean over what was drawn, from how far its rows are from the mean."""
    sums, draws = np.bincount(way[0], rest), np.bincount(way[1], minlength=size)
    return np.bincount(way[1], sums**2, minlength=size) / np.maximum(rows, 1) ** 2 * draws / np.maximum(draws - 1, 1)


def groupings(frame: pd.DataFrame) -> Iterator[tuple[str, np.ndarray, list[str]]]:
    """Yield each way to divide the rows: a column's name, each row's group (-1 for none), the groups' names."""
    for name, column in frame.items():
        codes, names = _quarters(column) if _is_scale(column) else _levels(column)
        missing = column.isna()
        if missing.any():
            yield str(name), missing.to_numpy().astype(int), [unused(n, names) for n in ("not missing", "missing")]
        yield str(name), codes, names


def _levels(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    codes, values = by_frequency(column)
    return np.where(codes < LEVELS, codes, -1), [str(value) for value in values[:LEVELS]]


def _quarters(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    codes, edges = pd.qcut(column, 4, labels=False, retbins=True, duplicates="drop")
    dates = types.is_datetime64_any_dtype(column)
    names = time_names(list(pd.DatetimeIndex(edges))) if dates else number_names(edges.tolist())
    return codes.fillna(-1).to_numpy("int64"), [f"{low} to {high}" for low, high in pairwise(names)]


def _is_scale(column: pd.Series) -> bool:
    number = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    return bool((number or types.is_datetime64_any_dtype(column)) and column.nunique() > LEVELS)
