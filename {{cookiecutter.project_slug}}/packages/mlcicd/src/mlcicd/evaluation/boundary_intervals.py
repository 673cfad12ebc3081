"""Intervals where few rows speak: shares near 0 and 1, areas over few positives, sums of few large losses.

What counts is a metric's own number of trials: positives for a recall, positives called for a precision, hits and
mistakes for an F1, rows of the rarer class for an area under a curve, draws instead of rows where rows come in groups.
Which way was chosen by measurement: the template's docs/decisions/0014-few-rows.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from mlcicd.data.sampling import Sample

FEW = 10  # mistakes or hits, and three times as many trials: below, the normal distribution is none
MANY = 50  # trials: above, degrees of freedom hardly matter
FEW_EVENTS = 30  # of equal size that would make a mean loss as unsure
PRIOR = 4.0  # trials' worth of what the worst case would show, in the variance of an area


@dataclass(frozen=True)
class Share:
    """A number between 0 and 1 that is, or behaves like, a share of trials.

    Attributes
    ----------
    value, influence : as of a metric
    trials : bool (n,), the rows that speak
    counts : True where each trial is yes or no, False for areas, whose trials are themselves between 0 and 1
    back : from the share to what is shown; of an F1 the share is hits among hits and mistakes
    """

    value: float
    influence: np.ndarray
    trials: np.ndarray
    counts: bool = True
    back: Callable[[float], float] = float


def of_trials(hits: np.ndarray, trials: np.ndarray, back: Callable[[float], float] = float) -> Share:
    """Return the share of the trials, bool (n,), that are hits."""
    count = max(int(trials.sum()), 1)
    value = float((hits & trials).sum() / count)
    return Share(value, ((hits & trials) - value * trials) * (len(hits) / count), trials, back=back)


def of_area(value: float, influence: np.ndarray, trials: np.ndarray) -> Share:
    """Return an area under a curve as the mean over trials, which the rows that there are fewer of are."""
    return Share(value, influence, trials, counts=False)


def f1_of(share: float) -> float:
    """F1 of the share of hits among hits and mistakes."""
    return 2 * share / (1 + share)


def few(shares: list[Share], sample: Sample) -> bool:
    """Whether one of the shares rests on so few trials that it needs an interval of its own kind."""
    counts = [(_trials(share, sample)[0], min(share.value, 1 - share.value)) for share in shares]
    return any(count < 3 * FEW or count * rarer < FEW for count, rarer in counts)


def combined(shares: list[Share], confidence: float, sample: Sample) -> tuple[float, float]:
    """Limits of the mean of shares: each one's own, put together as squares (MOVER, Zou and Donner 2008)."""
    limits = np.asarray([exact(share, confidence, sample) for share in shares])
    values = np.asarray([share.back(share.value) for share in shares])
    low, high = (float(np.sqrt(np.sum((values - limits[:, side]) ** 2)) / len(shares)) for side in (0, 1))
    middle = float(values.mean())
    return max(middle - low, 0.0), min(middle + high, 1.0)


def exact(share: Share, confidence: float, sample: Sample) -> tuple[float, float]:
    """Limits of Clopper and Pearson 1934 over an effective number of trials (Korn and Graubard 1998)."""
    count, freedom = _trials(share, sample)
    if count <= 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    if not sample.alone:  # the design effect is itself an estimate
        count *= (special.stdtrit(1e9, tail) / special.stdtrit(max(freedom, 1.0), tail)) ** 2
    hits = share.value * count
    low = 0.0 if share.value <= 0 else float(special.betaincinv(hits, count - hits + 1, tail))
    high = 1.0 if share.value >= 1 else float(special.betaincinv(hits + 1, count - hits, 1 - tail))
    return share.back(low), share.back(high)


def _trials(share: Share, sample: Sample) -> tuple[float, float]:
    """The number of independent trials that would make the share as unsure, and degrees of freedom."""
    rows, value = int(share.trials.sum()), share.value
    draws = sample.count(share.trials)
    worst = rows / max(draws, 1)  # each draw one trial
    if rows == 0:
        return 0.0, 1.0
    if not 0 < value < 1:
        return float(draws), draws - 1
    if share.counts and sample.alone:
        return float(rows), draws - 1
    variance, freedom = sample.covariance(share.influence[None])
    seen = float(variance[0, 0]) * rows / (value * (1 - value))
    if share.counts:
        told = min(value, 1 - value) * rows  # what is seen of few mistakes is itself chance
        ratio = (told * max(seen, 1.0) + worst) / (told + 1)
    else:
        ratio = ((draws - 1) * seen + PRIOR * worst) / (draws - 1 + PRIOR)
    return rows / ratio, min(freedom, draws - 1)


def unseen(
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray], y: np.ndarray, p: np.ndarray, always: bool, sample: Sample
) -> float:
    """Return how large a loss a class of few rows makes, seen or not, as the model expects it; 0 where none is rare."""
    largest = 0.0
    for k in range(p.shape[1] if p.ndim > 1 else 2):
        if always or sample.count(y == k) < 3 * FEW:
            losses = rows(np.full(len(y), k), p)
            chance = p[:, k] if p.ndim > 1 else p if k else 1 - p
            expected = float(chance @ losses)
            largest = max(largest, float(chance @ losses**2) / expected if expected > 0 else 0.0)
    return largest


def loss(value: float, variance: float, largest: float, confidence: float) -> tuple[float, float]:
    """Limits of a mean of losses of which few are large, as a sum of weighted Poisson counts (Fay and Feuer 1997).

    Parameters
    ----------
    largest : what the largest loss, or the largest sum of a group, adds to the mean
    """
    tail, low = (1 - confidence) / 2, 0.0
    if value > 0:
        low = variance / value * float(special.gammaincinv(value**2 / variance, tail))
    more, wider = value + largest, variance + largest**2
    return low, wider / more * float(special.gammaincinv(more**2 / wider, 1 - tail)) if more > 0 else 0.0
