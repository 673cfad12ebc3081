"""How sure is a metric, and how sure is the difference between two models that judged the same rows?

Two sources of noise are counted. Which rows fell into the holdout: from the influence of each row on the difference
(see :mod:`metrics`), paired, without resampling. What training happened to make of the data: each fold's model, trained
on the other folds, predicts the holdout too; how far the paired differences of the fold models scatter is the noise of
one training on each side. Several seeds a side show it again and take a part of it away. Degrees of freedom follow
Satterthwaite (1946). Why this and not a bootstrap or corrected cross-validation: measured in the template's
docs/decisions/0006-inference.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from . import calibration
from .metrics import Metric

POWER = 0.8


@dataclass(frozen=True)
class Side:
    """One run's predictions for the same holdout rows: a model a seed, and a model a fold."""

    seeds: list[np.ndarray]
    folds: list[np.ndarray]


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline, with its interval and the two-sided p-value of no difference.

    Attributes
    ----------
    rows, training : variances of the difference, by source; training is NaN where nothing could measure it
    freedom : degrees of freedom of their sum
    """

    baseline: float
    candidate: float
    low: float
    high: float
    p: float
    rows: float
    training: float
    freedom: float


def difference(
    before: Metric,
    after: Metric,
    y: np.ndarray,
    old: Side,
    new: Side,
    confidence: float,
    groups: np.ndarray | None = None,
    draws: list[tuple[Metric, Metric]] | None = None,
) -> Difference:
    """Estimate how a metric differs.

    Parameters
    ----------
    before, after : the metric of each side, since each decides at its own threshold
    draws : ``before`` and ``after`` at thresholds that might as well have been chosen, for metrics that hang on them
    groups : the number of each row's group, where rows of a group resemble each other: groups are then what was drawn
    """
    sides, drawn = ((before, old), (after, new)), len(y) if groups is None else int(groups.max()) + 1
    estimates = [[m.estimate(y, p) for p in side.seeds] for m, side in sides]
    values = [
        [m.value(y, p) for p in side.seeds] if m.reliability else e
        for (m, side), e in zip(sides, estimates, strict=True)
    ]
    folds = [[m.estimate(y, p) for p in side.folds] for m, side in sides]
    chosen = [b.value(y, new.seeds[0]) - a.value(y, old.seeds[0]) for a, b in draws or []]
    influences = [np.mean([m.influence(y, p) for p in side.seeds], axis=0) for m, side in sides]
    rows = _variance(influences[1] - influences[0], groups)
    pairs = [m.reliability(y, side.seeds[0]) for m, side in sides if m.reliability]
    rows += calibration.chance(*pairs) if pairs else 0.0
    training, freedom = _training(*estimates, *folds)
    choice = float(np.var(chosen, ddof=1)) if len(chosen) > 1 else 0.0
    parts = [(rows, drawn - 1), (np.nan_to_num(training), freedom), (choice, max(len(chosen) - 1, 1))]
    total = float(sum(variance for variance, _ in parts))
    if total > 0:
        freedom = total**2 / sum(variance**2 / free for variance, free in parts)
    training += choice
    moved, se = float(np.mean(estimates[1]) - np.mean(estimates[0])), total**0.5
    half = se * stats.t.ppf((1 + confidence) / 2, freedom)
    low, high = moved - half, moved + half
    if pairs:
        low, high = calibration.unsquare(low, high, *pairs)
        scale = ((high - low) / (2 * half)) ** 2 if half else 0.0
        rows, training = rows * scale, training * scale
    p = 2 * stats.t.sf(abs(moved) / se, freedom) if se else float(moved == 0)
    means = [float(np.mean(v)) for v in values]
    return Difference(means[0], means[1], float(low), float(high), float(p), rows, training, float(freedom))


def _variance(influence: np.ndarray, groups: np.ndarray | None = None) -> float:
    drawn = influence if groups is None else np.bincount(groups, influence)
    return float(drawn @ drawn) / len(influence) ** 2 * len(drawn) / max(len(drawn) - 1, 1)


def _training(
    old: list[float], new: list[float], old_folds: list[float], new_folds: list[float]
) -> tuple[float, float]:
    """Variance of the difference from training, and its degrees of freedom.

    Folds and seeds both show the noise of one training on each side. Where they agree they are pooled, and k seeds
    leave a k-th. Where folds scatter more than seeds explain (F-test at 5 %), or there is one seed, the folds' word is
    taken, and averaging seeds takes away no more than the seeds' own share.
    """
    seeds = [(float(np.var(side, ddof=1)), len(side)) for side in (old, new) if len(side) > 1]
    between, averaged, free = sum(v for v, _ in seeds), sum(v / k for v, k in seeds), sum(k - 1 for _, k in seeds)
    if not len(old_folds) == len(new_folds) > 1:
        return (averaged, free) if len(seeds) == 2 else (float("nan"), 1)
    scatter, folds = float(np.var(np.subtract(new_folds, old_folds), ddof=1)), len(new_folds) - 1
    if len(seeds) < 2 or between == 0 or scatter / between > stats.f.ppf(0.95, folds, free):
        return max(scatter - between + averaged, averaged), folds
    return (folds * scatter + free * between) / (folds + free) * averaged / between, folds + free


def interval(metric: Metric, y: np.ndarray, p: np.ndarray, confidence: float) -> dict[str, float]:
    """Return a metric's value, low and high over which rows fell into the holdout.

    A share gets its interval on the logit scale, so that it stays between 0 and 1 (Agresti 2013).
    """
    value, tail = metric.value(y, p), (1 + confidence) / 2
    if np.isnan(value):
        return {"value": value, "low": value, "high": value}
    half = _variance(metric.influence(y, p)) ** 0.5 * stats.t.ppf(tail, len(y) - 1)
    low, high = value - half, value + half
    if metric.reliability:
        low, high = calibration.interval(metric.reliability(y, p), stats.t.ppf(tail, len(y) - 1))
    elif metric.unit and 0 < value < 1:
        low, high = (1 / (1 + (1 / value - 1) * np.exp(k * half / (value * (1 - value)))) for k in (1, -1))
    elif metric.unit:  # no row speaks against none or all: the rule of three
        least = (1 - tail) ** (1 / len(y))
        low, high = (0.0, 1 - least) if value == 0 else (least, 1.0)
    return {"value": value, "low": float(low), "high": float(high)}


def holm(p: list[float]) -> list[float]:
    """Adjust p-values so that a false call is among all calls no more often than agreed (Holm 1979)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    found = np.empty(len(p))
    found[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in found]


def detectable(found: Difference, margin: float, alpha: float, confidence: float) -> float:
    """Return the smallest true difference that is called better or worse four times in five."""
    se = (found.rows + np.nan_to_num(found.training)) ** 0.5
    surely = se * stats.t.ppf(1 - alpha / 2, found.freedom)
    outside = margin - se * stats.t.ppf((1 + confidence) / 2, found.freedom)
    return float(max(surely, outside) + se * stats.norm.ppf(POWER))


def rows_needed(found: Difference, margin: float, alpha: float, n: int) -> int | None:
    """Return how many holdout rows would decide, should the difference stay; None where no number would."""
    size = abs(found.candidate - found.baseline)
    se = max(size, margin - size) / stats.t.ppf(1 - alpha / 2, found.freedom)
    left = se**2 - np.nan_to_num(found.training)
    return int(np.ceil(n * max(found.rows / left, 1.1))) if left > 0 else None  # a nearly sure one: a tenth more
