"""How well predictions order the rows: areas under curves, and the influence of each row on them.

Rows with equal predictions form a group. ``y`` is 1 for a positive, ``p`` the prediction, ``w`` the weight of a row.
"""

from __future__ import annotations

import numpy as np


def _ties(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order from the highest prediction down, where each group of equal ones starts, and the group of each row."""
    order = np.argsort(-p, kind="stable")
    new = np.r_[True, np.diff(p[order]) != 0]
    group = np.empty(len(p), dtype=int)
    group[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), group


def counts(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight of positives and of negatives in each group of equal predictions, and the group of each row."""
    order, starts, group = _ties(p)
    hits = np.add.reduceat((w * (y == 1))[order], starts)
    return hits, np.add.reduceat((w * (y != 1))[order], starts), group


def roc_auc(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    """Probability that a positive ranks above a negative, ties counting half (Hanley and McNeil 1982)."""
    pos, neg, _ = counts(y, p, w)
    below = neg.sum() - np.cumsum(neg) + neg / 2
    return float(pos @ below / (pos.sum() * neg.sum())) if pos.sum() * neg.sum() > 0 else float("nan")


def roc_auc_influence(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Placement values, centred (DeLong et al. 1988)."""
    pos, neg, group = counts(y, p, np.ones(len(y)))
    below = (neg.sum() - np.cumsum(neg) + neg / 2) / neg.sum()
    above = (np.cumsum(pos) - pos / 2) / pos.sum()
    area = pos @ below / pos.sum()
    share = pos.sum() / len(y)
    return np.where(y == 1, (below[group] - area) / share, (above[group] - area) / (1 - share))


def average_precision(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    """Area under the precision-recall curve as a sum of steps, as in scikit-learn."""
    pos, neg, _ = counts(y, p, w)
    precision = np.cumsum(pos) / np.maximum(np.cumsum(pos + neg), 1e-300)
    return float(pos @ precision / pos.sum()) if pos.sum() > 0 else float("nan")


def average_precision_influence(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """A row moves the precision at each positive that is ranked no higher than itself."""
    pos, neg, group = counts(y, p, np.ones(len(y)))
    seen = np.cumsum(pos + neg)
    precision = np.cumsum(pos) / seen
    moved = np.cumsum((pos / seen)[::-1])[::-1]
    held = np.cumsum((pos * precision / seen)[::-1])[::-1]
    own = np.where(y == 1, precision[group] - pos @ precision / pos.sum() + moved[group], 0.0)
    return (own - held[group]) * len(y) / pos.sum()
