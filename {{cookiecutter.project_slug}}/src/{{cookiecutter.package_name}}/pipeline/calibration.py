"""The expected calibration error (ℓ2): how far outcomes are from predictions, over ten bins of equally many rows.

What chance alone would show is taken off the mean squared gap (Kumar et al. 2019), so that the error does not shrink
with the rows. Intervals follow Sun et al. 2024 (arXiv 2408.08998): they are made for the square, which has a normal
distribution when the model is calibrated and when it is not, and of which a root has none near zero.
``y`` are outcomes, ``p`` probabilities, both (n,); a side is such a pair.
"""

from __future__ import annotations

import itertools

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
DRAWN = 5_000
FEW = 10  # of one outcome, expected in a bin: below, the normal distribution is none


def gaps(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each row's bin; each bin's weight, mean of ``y - p`` and that mean's chance variance (NaN for one row)."""
    edges = np.unique(np.quantile(p, np.linspace(0, 1, 11)[1:-1]))
    member = np.searchsorted(edges, p, side="right")
    size, rest = np.bincount(member, w), y - p
    gap = np.bincount(member, w * rest) / np.where(size > 0, size, 1)
    spread = np.bincount(member, w * rest**2) / np.where(size > 0, size, 1) - gap**2
    return member, size, gap, np.divide(spread, size - 1, out=np.full(len(size), np.nan), where=size > 1)


def square(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    """Mean squared gap less what chance adds; negative where chance added less than it should."""
    _, size, gap, chance = gaps(y, p, w)
    return float(np.nansum(size * (gap**2 - chance)) / w.sum())


def influence(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Influences of rows on :func:`square`."""
    member, _, gap, _ = gaps(y, p, np.ones(len(y)))
    own = gap[member]
    return 2 * own * (y - p - own) + own**2 - np.mean(own**2)


def chance(sides: list[Pair]) -> np.ndarray:
    """Covariances (m, m) of the squares of m models if every gap were chance: the least that they can be.

    A bin's mean gap has a variance v, its square one of 4 gap² v + 2 v², bins of two models a share of it by the rows
    they share. Influences are made with the gap that was seen, whose square is gap² + v: they show 2 v² too much.
    """
    bins, rests = [], []
    for y, p in sides:
        member, size, gap, _ = gaps(y, p, np.ones(len(y)))
        bins.append(member)
        rests.append((y - p - gap[member]) / np.sqrt(np.maximum(size - 1, 1))[member])
    found = np.empty((len(sides), len(sides)))
    for i, j in itertools.combinations_with_replacement(range(len(sides)), 2):
        shared = np.bincount(bins[i] * (bins[j].max() + 1) + bins[j], rests[i] * rests[j])
        found[i, j] = found[j, i] = 2 * float(shared @ shared)
    return found / len(bins[0]) ** 2


def se(side: Pair) -> float:
    """Standard error of the square."""
    moved, least = influence(*side), float(chance([side])[0, 0])
    return max(float(moved @ moved) / len(moved) ** 2 - least, least) ** 0.5


def of_bins(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Influences of rows (bins, n) on the mean gaps of the bins."""
    member, size, gap, _ = gaps(y, p, np.ones(len(y)))
    share = np.where(size > 0, size, 1)[member] / len(y)
    return (member == np.arange(len(size))[:, None]) * ((y - p - gap[member]) / share)


def unsquare(squares: np.ndarray, noise: np.ndarray, freedom: float, confidence: float) -> tuple[float, float]:
    """Limits for the difference of two roots, from both squares (2,) and their covariances (2, 2).

    Quantiles of the difference, the squares being drawn as they might have been (Student's t, both by one draw): a
    fiducial interval, as of Weerahandi 1993. A square below zero counts as none.
    """
    rng, (values, vectors) = np.random.default_rng(0), np.linalg.eigh(noise)
    half = vectors @ np.diag(np.sqrt(np.maximum(values, 0))) @ vectors.T
    drawn = rng.normal(size=(DRAWN, 2)) * np.sqrt(freedom / rng.chisquare(freedom, (DRAWN, 1)))
    drawn = np.vstack([drawn, -drawn, drawn[:, ::-1], -drawn[:, ::-1]])  # so that swapped sides mirror the limits
    moved = np.sqrt(np.maximum(squares + drawn @ half, 0)) @ [-1, 1]
    low, high = np.quantile(moved, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def interval(side: Pair, quantile: float, clustered: np.ndarray | None = None) -> tuple[float, float]:
    """Limits of one model's calibration error.

    Parameters
    ----------
    clustered : covariances of the mean gaps of the bins, where rows were not drawn one by one
    """
    square_ = square(*side, np.ones(len(side[0])))
    clustered = _few(*side) if clustered is None else clustered
    if clustered is None:
        half = quantile * se(side)
        return _root(square_ - half), _root(square_ + half)
    low, high = _score(side, quantile, clustered)
    return min(_root(low), _root(square_)), max(_root(high), _root(square_))


def _few(y: np.ndarray, p: np.ndarray) -> np.ndarray | None:
    """Covariances of the mean gaps, if a bin is expected to have so few of one outcome that its gap is not normal.

    Of few outcomes what was seen says little of the variance: it is at least what is expected.
    """
    member, size, _, seen = gaps(y, p, np.ones(len(y)))
    filled = size > 0
    if all(np.bincount(member, chances)[filled].min() >= FEW for chances in (p, 1 - p)):
        return None
    return np.diag(np.fmax(seen, np.bincount(member, p * (1 - p)) / np.where(filled, size, 1) ** 2))


def _score(side: Pair, quantile: float, clustered: np.ndarray) -> tuple[float, float]:
    """Limits of the square: those that differ from what was seen by the quantile of the scatter that they would have.

    A square t of gaps with covariances V scatters with a variance of 4 a t + 2 tr(WVWV), where a is the variance along
    the gaps that were seen, and W the bins' weights. The standard error of a t that was seen is large by chance where
    t is, so that no calibrated model was ever called otherwise.
    """
    _, size, gap, _ = gaps(*side, np.ones(len(side[0])))
    weight = size / size.sum()
    weighted = clustered * np.sqrt(np.outer(weight, weight))
    seen = np.sqrt(weight) * gap
    total = float(seen @ seen)
    along = float(seen @ weighted @ seen) / total if total > 0 else 0.0
    least, square_ = 2 * float(np.sum(weighted**2)), total - float(np.trace(weighted))
    middle = square_ + 2 * along * quantile**2
    half = quantile * max(4 * along * (square_ + along * quantile**2) + least, 0.0) ** 0.5
    return middle - half, middle + half


def _root(value: float) -> float:
    return float(max(value, 0.0)) ** 0.5
