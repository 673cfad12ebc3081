"""From which probability on a binary model says yes, chosen on predictions for the training folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from .metrics import case_costs
from .params import Costs
from .ranking import counts

DRAWS = 10


def best_threshold(y: np.ndarray, p: np.ndarray, costs: Costs | None) -> float:
    """Choose the threshold with the lowest cost, without costs the highest F1, on predictions for the training folds.

    The lowest point of a flat and ragged cost curve hangs on a few rows. So the threshold is where the probability,
    recalibrated (Platt 1999), makes both decisions cost the same, unless the lowest point is cheaper by more than a
    standard error. The highest F1, F, is the lowest cost at F/2 for a false positive, 1 - F/2 for a false negative.
    """
    pos, neg, _ = counts(y, p, np.ones(len(y)))
    tp, fp = np.r_[0.0, np.cumsum(pos)], np.r_[0.0, np.cumsum(neg)]
    if costs is None:
        half = float((tp / np.maximum(tp[-1] + tp + fp, 1)).max())
        costs = Costs(false_positive=half, false_negative=1 - half)
    best = int(np.argmin(costs.false_positive * fp + costs.false_negative * (tp[-1] - tp)))
    values = np.r_[1.0, np.unique(p)[::-1], 0.0]
    lowest = (values[best] + values[best + 1]) / 2 if 0 < best < len(tp) - 1 else float(best == 0) * 1.000001
    if not 0 < tp[-1] < len(y) or min(costs.false_positive, costs.false_negative) == 0:
        return float(lowest)
    log_odds = logit(np.clip(p, 1e-9, 1 - 1e-9))[:, None]
    fitted = LogisticRegression(C=1e6).fit(log_odds, y)
    even, slope = np.log(costs.false_positive / costs.false_negative), float(fitted.coef_[0, 0])
    smooth = expit((even - fitted.intercept_[0]) / slope) if slope > 0 else lowest
    lost = case_costs(y, p >= smooth, costs) - case_costs(y, p >= lowest, costs)
    return float(smooth if lost.mean() <= lost.std() / len(y) ** 0.5 else lowest)


def draw_thresholds(rows: pd.Series, y: np.ndarray, p: np.ndarray, costs: Costs | None) -> list[float]:
    """Choose the threshold again on bootstrap samples: how far the choice itself scatters.

    How often a row is in a sample (Poisson, mean 1) is a hash of its name, so that two runs draw the same samples.
    """
    found = []
    for number in range(DRAWS):
        hashed = pd.util.hash_array(rows.to_numpy(dtype=object), hash_key=f"threshold-{number:06}")
        times = np.searchsorted(stats.poisson.cdf(np.arange(12), 1), hashed / 2**64)
        found.append(best_threshold(np.repeat(y, times), np.repeat(p, times), costs))
    return found
