"""How sure is a metric, and how sure is the difference between two models that judged the same rows?

Two sources of noise are counted. Which rows fell into the holdout: from the influence of each row on the difference
(see :mod:`metrics`), paired, without resampling. What training happened to make of the data: each fold's model,
trained on the other folds, predicts the holdout too; how far the paired differences of the fold models scatter, beyond
what these rows alone would make of them, is the noise of one training on each side. Several seeds a side show it again
and take a part of it away. Degrees of freedom follow Satterthwaite (1946). Why this and not a bootstrap or corrected
cross-validation: measured in the template's docs/decisions/0006-inference.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from mlcicd.data.sampling import ROWS, Sample
from mlcicd.evaluation import boundary_intervals, calibration_error, user_metrics
from mlcicd.evaluation.metrics import Metric

POWER = 0.8
ROUNDING = 1e-12


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
    sample: Sample = ROWS,
    draws: list[tuple[Metric, Metric]] | None = None,
) -> Difference:
    """Estimate how a metric differs.

    Parameters
    ----------
    before, after : the metric of each side, since each decides at its own threshold
    draws : ``before`` and ``after`` at thresholds that might as well have been chosen, for metrics that hang on them
    sample : what was drawn: rows one by one, groups or stretches of time
    """
    models = [*old.seeds, *new.seeds, *old.folds, *new.folds]
    sizes = [len(part) for part in (old.seeds, new.seeds, old.folds, new.folds)]
    metrics = [m for m, size in zip((before, after) * 2, sizes, strict=True) for _ in range(size)]
    seen = np.asarray([m.estimate(y, p) for m, p in zip(metrics, models, strict=True)])
    first, second = len(old.seeds), len(old.seeds) + len(new.seeds)
    means = np.zeros((2, len(models)))  # from all models to the mean over seeds of each side
    means[0, :first], means[1, first:second] = 1 / first, 1 / (second - first)
    cov, drawn, apart = _covariance(metrics, y, models, sample, means[1] - means[0])
    least, squares = np.zeros_like(cov), None
    if before.reliability:
        pairs = [m.reliability(y, p) for m, p in zip(metrics, models, strict=True) if m.reliability]
        if sample.alone:
            least = calibration_error.chance(pairs)
            cov -= least
        else:
            squares = calibration_error.squares(pairs, sample)
            seen, cov, least, drawn = squares.values, squares.covariances(), squares.chance, squares.freedom
    sides = max((means @ part @ means.T for part in (cov, least)), key=_apart)
    moved = float(seen[first:second].mean() - seen[:first].mean())
    rows = _apart(sides)
    rows = rows if rows > ROUNDING * np.trace(sides) else 0.0
    training, spread, freedom = _training(seen, cov, first, second, len(old.folds), len(new.folds))
    choice, chosen = _choice(y, old.seeds[0], new.seeds[0], draws or [], sample)
    if not all(map(np.array_equal, old.seeds, new.seeds)):
        added, most = _few([(before, old.seeds[0]), (after, new.seeds[0])], y, apart, sample)
        rows, drawn = rows + added, min(drawn, most)
    total = float(rows + np.nan_to_num(training) + choice)
    # What scatters and was measured few times makes the sum unsure, also the part of it that is then taken off.
    parts = [(rows, drawn), (np.nan_to_num(spread), freedom), (chosen, len(draws or []) - 1)]
    if parts := [(variance, free) for variance, free in parts if variance > 0]:
        unsure = sum(variance**2 / free for variance, free in parts)
        freedom = max(total**2 / unsure, min(free for _, free in parts))
    half = total**0.5 * special.stdtrit(freedom, (1 + confidence) / 2)
    low, high = moved - half, moved + half
    p = 2 * special.stdtr(freedom, -abs(moved) / total**0.5) if total else float(moved == 0)
    values = seen[:second]
    if before.reliability:
        values = np.maximum(values, 0) ** 0.5
        if squares and total:
            low, high, p = squares.moved(means, float(np.nan_to_num(training)), freedom, confidence)
        elif total:
            noise = sides + np.eye(2) * (np.nan_to_num(training) / 2)
            low, high = calibration_error.root_difference_limits(means @ seen, noise, freedom, confidence)
        scale = ((high - low) / (2 * half)) ** 2 if half else 0.0
        rows, training = rows * scale, training * scale
    ends = float(values[:first].mean()), float(values[first:].mean())
    return Difference(*ends, float(low), float(high), float(p), rows, training + choice, float(freedom))


def _apart(cov: np.ndarray) -> float:
    """Variance of the difference of two, from their covariances (2, 2)."""
    return float(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])


def _covariance(
    metrics: list[Metric], y: np.ndarray, models: list[np.ndarray], sample: Sample, lead: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Covariances (m, m) of models' metrics over what was drawn, degrees of freedom, and the influences on the lead.

    ``lead`` (m,) is the combination of the models that is asked for: how long a stretch of time must be is seen in it.
    """
    pairs = list(zip(metrics, models, strict=True))
    found = []
    if not sample.alone and any(m.left_out for m in metrics):
        for way in (Sample(group=sample.group), Sample(moment=sample.moment)):
            parts = way.coarse(user_metrics.GROUPS)
            codes = parts.moment if parts.group is None else parts.group
            if codes is not None and codes.max() > 0:
                influences = np.stack([m.left_out(y, p, codes) if m.left_out else m.influence(y, p) for m, p in pairs])
                found.append((*parts.covariance(influences, lead @ influences), lead @ influences))
    if found:
        return max(found, key=lambda way: float(np.trace(way[0])))
    influences = np.stack([m.influence(y, p) for m, p in pairs])
    return (*sample.covariance(influences, lead @ influences), lead @ influences)


def _few(
    sides: list[tuple[Metric, np.ndarray]], y: np.ndarray, moved: np.ndarray, sample: Sample
) -> tuple[float, float]:
    """What is to be added to the variance where few trials differ, and the most degrees of freedom of so few.

    Two models that agree on three positives may differ on the fourth: where few rows tell them apart, two more trials
    are added, one each way (Agresti and Min 2005). ``moved`` are the influences on the difference.
    """
    draws = [
        [max(sample.count(share.trials), 1) for share in metric.shares(y, p)] for metric, p in sides if metric.shares
    ]
    least = min((count for side in draws for count in side), default=boundary_intervals.MANY)
    freedom = np.inf if least >= boundary_intervals.MANY else max(least - 1.0, 1.0)
    squares = [moved**2, *(np.bincount(codes, moved**2) for codes in sample.ways())]
    apart = min(float(each.sum()) ** 2 / float(each @ each) for each in squares) if moved.any() else 0.0
    if apart >= boundary_intervals.FEW or not draws:
        return 0.0, freedom
    return max(2 * sum(1 / count**2 for count in side) / len(side) ** 2 for side in draws if side), freedom


def _scatter(values: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """Variance of values that were seen on the same rows: as it is, and less what these rows alone would make of it."""
    by_rows = (np.trace(cov) - cov.sum() / len(values)) / (len(values) - 1)
    found = float(np.var(values, ddof=1))
    return np.asarray([found, found - max(by_rows, 0.0)])


def _training(
    seen: np.ndarray, cov: np.ndarray, first: int, second: int, old_folds: int, new_folds: int
) -> tuple[float, float, float]:
    """Variance of the difference from training; the same with the rows' part still in it, and degrees of freedom.

    Folds and seeds both show the noise of one training on each side. Where they agree they are pooled, and k seeds
    leave a k-th. Where folds scatter more than seeds explain (F-test at 5 %), or there is one seed, the folds' word is
    taken, and averaging seeds takes away no more than the seeds' own share.

    Parameters
    ----------
    seen, cov : of all models, their metric (m,) and its covariances over rows (m, m): the baseline's seeds up to
        ``first``, the candidate's up to ``second``, then the folds of both
    """
    seeds = [
        (_scatter(seen[part], cov[part, part]), part.stop - part.start)
        for part in (slice(0, first), slice(first, second))
        if part.stop - part.start > 1
    ]
    between, averaged = sum((v for v, _ in seeds), np.zeros(2)), sum((v / k for v, k in seeds), np.zeros(2))
    free = sum(k - 1 for _, k in seeds)
    if not old_folds == new_folds > 1:
        return (max(float(averaged[1]), 0.0), float(averaged[0]), free) if len(seeds) == 2 else (np.nan, np.nan, 1)
    pair = np.hstack([np.zeros((old_folds, second)), -np.eye(old_folds), np.eye(old_folds)])
    scatter, folds = _scatter(pair @ seen, pair @ cov @ pair.T), old_folds - 1
    if len(seeds) < 2 or between[0] == 0 or scatter[0] / between[0] > special.fdtri(folds, free, 0.95):
        found, free = np.maximum(scatter - between + averaged, averaged), folds
    else:
        found, free = (folds * scatter + free * between) / (folds + free) * averaged[0] / between[0], folds + free
    return max(float(found[1]), 0.0), float(found[0]), free


def _choice(
    y: np.ndarray, old: np.ndarray, new: np.ndarray, draws: list[tuple[Metric, Metric]], sample: Sample
) -> tuple[float, float]:
    """Variance of the difference from the choice of thresholds, without and with the rows' part in it."""
    if len(draws) < 2:
        return 0.0, 0.0
    values = np.asarray([b.value(y, new) - a.value(y, old) for a, b in draws])
    influences = np.stack([b.influence(y, new) - a.influence(y, old) for a, b in draws])
    found = _scatter(values, sample.covariance(influences, influences.mean(axis=0))[0])
    return max(float(found[1]), 0.0), float(found[0])


def interval(
    metric: Metric, y: np.ndarray, p: np.ndarray, confidence: float, sample: Sample = ROWS
) -> dict[str, float]:
    """Return a metric's value, low and high over what was drawn into the holdout.

    A share gets its interval on the logit scale, so that it stays between 0 and 1 (Agresti 2013); where few rows speak
    see :mod:`boundaries`. Sums over groups or stretches of time are few and skewed: there the distance of a loss, or of
    an R², from its best is taken on the logarithmic scale.
    """
    value, tail = metric.value(y, p), (1 + confidence) / 2
    if np.isnan(value):
        return {"value": value, "low": value, "high": value}
    cov, freedom, _ = _covariance([metric], y, [p], sample, np.ones(1))
    variance, shares = float(cov[0, 0]), metric.shares(y, p) if metric.shares else []
    quantile = float(special.stdtrit(freedom, tail))
    half = variance**0.5 * quantile
    low, high = value - half, value + half
    if metric.reliability:
        value, low, high = calibration_error.interval(metric.reliability(y, p), confidence, sample)
    elif boundary_intervals.few(shares, sample):
        low, high = boundary_intervals.combined(shares, confidence, sample)
    elif (
        metric.rows and not shares and (limits := _of_few_losses(metric, y, p, variance, quantile, confidence, sample))
    ):
        low, high = limits
    elif metric.unit:
        low, high = (1 / (1 + (1 / value - 1) * np.exp(k * half / (value * (1 - value)))) for k in (1, -1))
    elif not sample.alone and metric.best is not None and half < abs(away := value - metric.best):
        # Not where two or three groups hardly tell how they differ: the limits would be nothing like the metric.
        low, high = sorted(metric.best + away * np.exp(k * half / abs(away)) for k in (1, -1))
    return {"value": value, "low": float(low), "high": float(high)}


def _of_few_losses(
    metric: Metric, y: np.ndarray, p: np.ndarray, variance: float, quantile: float, confidence: float, sample: Sample
) -> tuple[float, float] | None:
    """Limits of a mean loss that few rows make; None where many rows speak."""
    assert metric.rows is not None
    losses = metric.rows(y, p).astype("float64")
    mean = float(losses.mean())
    if metric.root:  # the variance is the root's
        variance *= 4 * mean
    unseen = (
        0.0 if metric.root or metric.name == "mae" else boundary_intervals.unseen(metric.rows, y, p, mean == 0, sample)
    )
    if not unseen and mean**2 >= boundary_intervals.FEW_EVENTS * variance:
        return None
    largest = max(unseen, float(losses.max()))
    for codes in sample.partitions(losses - mean):
        largest = max(largest, float(np.bincount(codes, losses).max()))
    certain = (quantile / special.ndtri((1 + confidence) / 2)) ** 2
    low, high = boundary_intervals.loss(mean, variance * certain, largest / len(y), confidence)
    if metric.root:
        return low**0.5, high**0.5
    return low, min(high, 1.0) if metric.unit else high


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
    surely = se * special.stdtrit(found.freedom, 1 - alpha / 2)
    outside = margin - se * special.stdtrit(found.freedom, (1 + confidence) / 2)
    return float(max(surely, outside) + se * special.ndtri(POWER))


def rows_needed(found: Difference, margin: float, alpha: float, n: int) -> int | None:
    """Return how many holdout rows would decide, should the difference stay; None where no number would."""
    size = abs(found.candidate - found.baseline)
    se = max(size, margin - size) / special.stdtrit(found.freedom, 1 - alpha / 2)
    left = se**2 - np.nan_to_num(found.training)
    return int(np.ceil(n * max(found.rows / left, 1.1))) if left > 0 else None  # a nearly sure one: a tenth more
