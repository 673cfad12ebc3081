"""From which probability on a binary model says yes, chosen on predictions for the training folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, logit, pdtr

from mlcicd.core.params import Costs
from mlcicd.data.sampling import ROWS, Sample
from mlcicd.evaluation.metrics import case_costs
from mlcicd.evaluation.ranking_metrics import counts

DRAWS = 10
CELLS = 100  # in one unit of log odds
STEP = 0x9E3779B97F4A7C15  # of splitmix64, the generator whose last step is pandas' hash of a whole number


def best_threshold(y: np.ndarray, p: np.ndarray, costs: Costs | None, sample: Sample = ROWS) -> float:
    """Choose the threshold with the lowest cost, without costs the highest F1, on predictions for the training folds.

    The lowest point of a flat and ragged cost curve hangs on a few rows. So the threshold is where the probability,
    recalibrated (Platt 1999), makes both decisions cost the same, unless the lowest point is surely cheaper: by more
    than three standard errors over what was drawn, rows, groups or stretches of time.
    """
    costs = costs or _like_f1(y, p)
    lowest, smooth = _lowest(y, p, costs), _smooth(y, p, costs)
    lost = case_costs(y, p >= smooth, costs) - case_costs(y, p >= lowest, costs)
    surely = 3 * lost.std() / len(y) ** 0.5 * sample.effect(lost) ** 0.5
    return smooth if lost.mean() <= surely else lowest


def draw_thresholds(
    rows: pd.Series, y: np.ndarray, p: np.ndarray, costs: Costs | None, sample: Sample = ROWS
) -> list[float]:
    """Choose the threshold again on bootstrap samples: how far the choice itself scatters.

    How often a row is in a sample (Poisson, mean 1) is a hash of its name, so that two runs draw the same samples.
    """
    order = np.argsort(-p, kind="stable")  # once: what is in order already takes no time to order again
    rows, y, p, sample = rows.iloc[order], y[order], p[order], sample.take(order)
    costs = costs or _like_f1(y, p)
    choose = _smooth if best_threshold(y, p, costs, sample) == _smooth(y, p, costs) else _lowest
    found, limits = [], pdtr(np.arange(12), 1)
    # Names are hashed once, and their hashes once per draw: numbers are much quicker to hash than texts.
    named = pd.util.hash_array(rows.to_numpy(dtype=object), hash_key="threshold-000000", categorize=False)
    for number in range(DRAWS):
        times = np.searchsorted(limits, pd.util.hash_array(named + np.uint64(number * STEP % 2**64)) / 2**64)
        found.append(choose(np.repeat(y, times), np.repeat(p, times), costs))
    return found


def _like_f1(y: np.ndarray, p: np.ndarray) -> Costs:
    """Costs whose lowest point is the highest F1, F: F/2 for a false positive, 1 - F/2 for a false negative."""
    pos, neg, _ = counts(y, p, np.ones(len(y)))
    tp, fp = np.cumsum(pos), np.cumsum(neg)
    half = float((tp / np.maximum(tp[-1] + tp + fp, 1)).max())
    return Costs(false_positive=half, false_negative=1 - half)


def _lowest(y: np.ndarray, p: np.ndarray, costs: Costs) -> float:
    """The lowest point, in the middle between two predictions."""
    pos, neg, group = counts(y, p, np.ones(len(y)))
    tp, fp = np.r_[0.0, np.cumsum(pos)], np.r_[0.0, np.cumsum(neg)]
    best = int(np.argmin(costs.false_positive * fp + costs.false_negative * (tp[-1] - tp)))
    values = np.r_[1.0, pos, 0.0]
    values[group + 1] = p
    return float((values[best] + values[best + 1]) / 2) if 0 < best < len(tp) - 1 else float(best == 0) * 1.000001


def _smooth(y: np.ndarray, p: np.ndarray, costs: Costs) -> float:
    """Where both decisions cost the same; the lowest point where a probability cannot say."""
    if y.min() == y.max() or min(costs.false_positive, costs.false_negative) == 0:
        return _lowest(y, p, costs)
    from sklearn.linear_model import LogisticRegression  # a second that a comparison of other kinds can do without

    x = logit(np.clip(p, 1e-9, 1 - 1e-9))
    # Rows that are hardly apart are one, with their number as its weight: a million rows are as quick as a thousand.
    cell = 2 * ((x - x.min()) * CELLS).astype(int) + y
    rows = np.bincount(cell)
    cells = np.flatnonzero(rows)
    means = np.bincount(cell, x)[cells] / rows[cells]
    fitted = LogisticRegression(C=1e6).fit(means[:, None], cells % 2, sample_weight=rows[cells])
    slope, even = float(fitted.coef_[0, 0]), np.log(costs.false_positive / costs.false_negative)
    return float(expit((even - fitted.intercept_[0]) / slope)) if slope > 0 else _lowest(y, p, costs)
