"""The expected calibration error (ℓ2): how far outcomes are from predictions, over ten bins of equally many rows.

What chance alone would show is taken off the mean squared gap (Kumar et al. 2019), so that the error does not shrink
with the rows. Intervals follow Sun et al. 2024 (arXiv 2408.08998): they are made for the square, which has a normal
distribution when the model is calibrated and when it is not, and of which a root has none near zero.
``y`` are outcomes, ``p`` probabilities, both (n,); a side is such a pair.
"""

from __future__ import annotations

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


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


def chance(*sides: Pair) -> float:
    """What influences do not see: the variance of the square where every gap is zero; of a paired difference of two."""
    seen, total = [], 0.0
    for y, p in sides:
        member, size, gap, variance = gaps(y, p, np.ones(len(y)))
        seen.append((member, len(size), y - p - gap[member]))
        total += 2 * float(np.nansum((size * variance) ** 2))
    if len(sides) == 2:
        (first, _, rest), (second, bins, other) = seen
        shared = np.bincount(first * bins + second, rest * other)
        total -= 4 * float(shared @ shared) if total else 0.0
    return max(total, 0.0) / len(sides[0][0]) ** 2


def se(side: Pair) -> float:
    """Standard error of the square."""
    moved = influence(*side)
    return float(moved @ moved / len(moved) ** 2 + chance(side)) ** 0.5


def unsquare(low: float, high: float, old: Pair, new: Pair) -> tuple[float, float]:
    """From limits for the difference of two squares to limits for the difference of their roots.

    b - a = sqrt(d + a²) - a falls as a grows, so the limits take a (or b) one standard error to the side that widens
    them, and the sign, which decides a verdict, hangs on the squares alone.
    """
    least, most = ([_root(square(*s, np.ones(len(s[0]))) + k * se(s)) for s in (old, new)] for k in (-1, 1))

    def gained(d: float, a: float) -> float:
        return (d + a * a) ** 0.5 - a

    return (
        gained(low, most[0]) if low > 0 else -gained(-low, least[1]),
        gained(high, least[0]) if high > 0 else -gained(-high, most[1]),
    )


def interval(side: Pair, quantile: float) -> tuple[float, float]:
    """Limits of one model's calibration error."""
    middle, half = square(*side, np.ones(len(side[0]))), quantile * se(side)
    return _root(middle - half), _root(middle + half)


def _root(value: float) -> float:
    return float(max(value, 0.0)) ** 0.5
