"""The expected calibration error (ℓ2): how far outcomes are from predictions, over ten bins of equally many rows.

What chance alone would show is taken off the mean squared gap (Kumar et al. 2019), so that the error does not shrink
with the rows. Intervals follow Sun et al. 2024 (arXiv 2408.08998): they are made for the square, which has a normal
distribution when the model is calibrated and when it is not, and of which a root has none near zero.
``y`` are outcomes, ``p`` probabilities, both (n,); a side is such a pair.

Where groups or stretches of time were drawn, chance is what *they* add, and all is made from the covariances of the
bins' mean gaps: :class:`Squares`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy import special

from mlcicd.core.bins import quantile_edges
from mlcicd.data.sampling import Sample

Pair = tuple[np.ndarray, np.ndarray]
DRAWN = 5_000
LEAST = 1e-20  # variance of a square: where a model has none, a likelihood has none either
ROOTS = np.linspace(0, 1, 201) ** 2  # calibration errors that are tried: closer near zero
FEW = 10  # of one outcome, expected in a bin: below, the normal distribution is none


def gaps(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Each row's bin; each bin's weight, mean of ``y - p`` and that mean's chance variance (NaN for one row)."""
    edges = quantile_edges(p, 10)
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


@dataclass(frozen=True)
class Squares:
    """The squares of m models over the same rows, where rows were not drawn one by one.

    The square of gaps g, weighted and with covariances V, less tr V, scatters with a variance of 4 g'Vg + 2 tr V².

    Attributes
    ----------
    values : less what chance adds, (m,); negative where it added less than it should
    along : g'Vg over the lengths of both gaps, (m, m)
    chance : 2 tr V², of each two models (m, m): the least that their covariances can be
    freedom : degrees of freedom of V
    """

    values: np.ndarray
    along: np.ndarray
    chance: np.ndarray
    freedom: float

    def covariances(self) -> np.ndarray:
        """Return covariances (m, m), the gaps being as large as the values say: those seen are large by chance."""
        length = np.sqrt(np.maximum(self.values, 0))
        return 4 * self.along * np.outer(length, length) + self.chance

    def moved(
        self, means: np.ndarray, training: float, freedom: float, confidence: float
    ) -> tuple[float, float, float]:
        """Return limits of the difference of two roots, and the p-value of none.

        A difference lies within the limits if two roots that are apart by it make the squares that were seen nearly as
        likely as the best two roots do, each two with the scatter that they would have (a profile likelihood; Venzon
        and Moolgavkar 1988).

        Parameters
        ----------
        means : from all models to the mean over seeds of each side, (2, m)
        training : variance of the difference of squares from training
        """
        from scipy import optimize  # only where groups or time need it: it takes a while to load

        seen = means @ self.values
        along, chance_ = (means @ part @ means.T for part in (self.along, self.chance))
        chance_ = chance_ + np.eye(2) * (training / 2 + LEAST)

        def unlikely(difference: float) -> float:
            """Twice the negative logarithm of the likelihood, at the best of all pairs with this difference."""
            first, second = ROOTS + max(-difference, 0.0), ROOTS + max(difference, 0.0)
            a, b = (4 * along[k, k] * root**2 + chance_[k, k] for k, root in enumerate((first, second)))
            both = 4 * along[0, 1] * first * second + chance_[0, 1]
            det = np.maximum(a * b - both**2, 1e-12 * a * b)
            left, right = seen[0] - first**2, seen[1] - second**2
            return float(((b * left**2 + a * right**2 - 2 * both * left * right) / det + np.log(det)).min())

        shown = float(np.diff(np.sqrt(np.maximum(seen, 0)))[0])
        tried = [shown, 0.0, *ROOTS, *-ROOTS]
        best = min(tried, key=unlikely)
        least = unlikely(best)
        most = least + float(special.stdtrit(freedom, (1 + confidence) / 2)) ** 2
        low, high = (
            optimize.brentq(lambda d: unlikely(d) - most, best, end) if unlikely(end) > most else end
            for end in (-1.0, 1.0)
        )
        p = 2 * float(special.stdtr(freedom, -(max(unlikely(0.0) - least, 0.0) ** 0.5)))
        return min(low, shown), max(high, shown), p


def squares(sides: list[Pair], sample: Sample) -> Squares:
    """Return the squares of models over the same rows, with covariances by what was drawn."""
    n, cut = len(sides[0][0]), [gaps(y, p, np.ones(len(y))) for y, p in sides]
    # Mean gaps times the root of their bin's weight, and the influences of rows on them.
    gap = [np.sqrt(size / n) * mean for _, size, mean, _ in cut]
    added = [
        (y - p - mean[member]) * np.sqrt(n / np.maximum(size, 1))[member]
        for (y, p), (member, size, mean, _) in zip(sides, cut, strict=True)
    ]

    def sums(codes: np.ndarray) -> np.ndarray:
        parts = int(codes.max()) + 1
        cells = [member * parts + codes for member, _, _, _ in cut]
        found = [np.bincount(c, a, parts * len(g)) for c, a, g in zip(cells, added, gap, strict=True)]
        return np.concatenate(found).reshape(-1, parts)

    cov, freedom = sample.covariance_of_sums(sums, np.sum([y - p for y, p in sides], axis=0))
    lengths = [float(g @ g) ** 0.5 for g in gap]
    unit = [g / length if length > 0 else g for g, length in zip(gap, lengths, strict=True)]
    bins = np.cumsum([0, *map(len, gap)])
    along, chance_ = np.empty((2, len(sides), len(sides)))
    for i, j in itertools.product(range(len(sides)), repeat=2):
        block = cov[bins[i] : bins[i + 1], bins[j] : bins[j + 1]]
        along[i, j], chance_[i, j] = unit[i] @ block @ unit[j], 2 * float(np.sum(block**2))
    chances = [float(np.trace(cov[a:b, a:b])) for a, b in itertools.pairwise(bins)]
    return Squares(np.square(lengths) - chances, along, chance_, freedom)


def root_difference_limits(
    squares: np.ndarray, noise: np.ndarray, freedom: float, confidence: float
) -> tuple[float, float]:
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


def interval(side: Pair, confidence: float, sample: Sample) -> tuple[float, float, float]:
    """Return one model's calibration error and its limits."""
    tail = (1 + confidence) / 2
    if not sample.alone:
        found = squares([side], sample)
        value, along, least = (float(part.item()) for part in (found.values, found.along, found.chance))
        limits = _score(value, along, least, float(special.stdtrit(found.freedom, tail)))
    else:
        value, quantile = square(*side, np.ones(len(side[0]))), float(special.stdtrit(len(side[0]) - 1, tail))
        half = quantile * se(side)
        limits = _of_few(side, quantile) or (value - half, value + half)
    return _root(value), min(_root(limits[0]), _root(value)), max(_root(limits[1]), _root(value))


def _of_few(side: Pair, quantile: float) -> tuple[float, float] | None:
    """Limits of the square over rows, if a bin is expected to have so few of one outcome that its gap is not normal.

    Of few outcomes what was seen says little of the variance: it is at least what is expected.
    """
    y, p = side
    member, size, gap, seen = gaps(y, p, np.ones(len(y)))
    filled = size > 0
    if all(np.bincount(member, chances)[filled].min() >= FEW for chances in (p, 1 - p)):
        return None
    variance = np.fmax(seen, np.bincount(member, p * (1 - p)) / np.where(filled, size, 1) ** 2)
    weight = size / size.sum()
    weighted, gap = np.diag(variance) * np.sqrt(np.outer(weight, weight)), np.sqrt(weight) * gap
    total = float(gap @ gap)
    along = float(gap @ weighted @ gap) / total if total > 0 else 0.0
    return _score(total - float(np.trace(weighted)), along, 2 * float(np.sum(weighted**2)), quantile)


def _score(square_: float, along: float, least: float, quantile: float) -> tuple[float, float]:
    """Limits of the square: those that differ from what was seen by the quantile of the scatter that they would have.

    A square t of gaps with covariances V scatters with a variance of 4 a t + 2 tr V², where a is the variance along the
    gaps that were seen. The standard error of a t that was seen is large by chance where t is, so that no calibrated
    model was ever called otherwise.
    """
    middle = square_ + 2 * along * quantile**2
    half = quantile * max(4 * along * (square_ + along * quantile**2) + least, 0.0) ** 0.5
    return middle - half, middle + half


def _root(value: float) -> float:
    return float(max(value, 0.0)) ** 0.5
