"""What was drawn: rows one by one, groups of rows, or stretches of time. The one place that knows it.

Rows of one group, and rows of one day, resemble each other: 200 groups of 25 alike rows say what 200 rows say. Every
standard error, test and interval of this package asks :class:`Sample` for covariances, design effects and parts to
leave out, and none counts rows by itself.

Time has no natural unit. The moments of the time column, days where it has hours, are put in order; as many of them
make a stretch as it takes until one stretch says little of the next, by how fast their autocorrelation dies:
measured in the template's docs/decisions/0014-few-rows.md. With groups and with time, both count (Cameron, Gelbach and
Miller 2011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mlcicd.contract.schema import SchemaObject
from mlcicd.data.row_identity import group_codes, names

MOMENTS = 400  # more are joined: neighbours in time
ENOUGH = 10  # days or hours of which a table must have so many, to be counted instead of moments
CHANCE = 0.5  # standard errors of an autocorrelation: below, moments count as drawn one by one
SURELY = 2  # standard errors of an autocorrelation: above, the pace at which it dies is seen in later ones
FEWEST = 6  # stretches, where there are as many moments: fewer tell too little of how they differ

Sums = Callable[[np.ndarray], np.ndarray]  # from the number of each row's part (n,) to sums (m, parts)


@dataclass(frozen=True)
class Sample:
    """What was drawn.

    Attributes
    ----------
    group : the number of each row's group, (n,); None where rows have none
    moment : the number of each row's moment in order of time, (n,); None where rows have no time
    """

    group: np.ndarray | None = None
    moment: np.ndarray | None = None

    @property
    def alone(self) -> bool:
        """Whether each row was drawn by itself."""
        return not self.ways()

    def ways(self) -> list[np.ndarray]:
        """Return the number of each row's group and of its moment, of those that there are."""
        return [codes for codes in (self.group, self.moment) if codes is not None and codes.max(initial=0) > 0]

    def take(self, rows: np.ndarray) -> Sample:
        """Return what was drawn of some rows, by position or mask."""
        parts = (None if codes is None else _numbered(codes[rows]) for codes in (self.group, self.moment))
        return Sample(*parts)

    def coarse(self, limit: int) -> Sample:
        """Return at most so many parts of groups and of neighbouring moments: what to leave out one after another."""
        group = self.group
        if group is not None and group.max() >= limit:
            group = np.random.default_rng(0).permutation(group.max() + 1)[group] % limit
        return Sample(group, None if self.moment is None else _joined(self.moment, limit))

    def partitions(self, series: np.ndarray) -> list[np.ndarray]:
        """Return the ways in which rows belong together: the number of each row's group, and of its stretch of time.

        Parameters
        ----------
        series : what is to be summed, (n,); it says how long a stretch must be
        """
        return [codes for codes, _ in self._parted(series)]

    def _parted(self, series: np.ndarray) -> list[tuple[np.ndarray, float]]:
        """The partitions, each with the part of the variance that its parts show by how they differ."""
        found = [] if self.group is None else [(self.group, 1.0)]
        if self.moment is not None:
            summed = np.bincount(self.moment, series)
            count = stretches(summed)
            found.append((_joined(self.moment, count), shown(summed, count)))
        return [way for way in found if way[0].max(initial=0) > 0]  # one group alone says nothing of others

    def covariance(self, influences: np.ndarray, lead: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """Return covariances (m, m) of m metrics over what was drawn, from influences (m, n), and degrees of freedom.

        Parameters
        ----------
        lead : the combination of the influences that matters most, (n,); without it the first one
        """
        n = influences.shape[1]
        lead = influences[0] if lead is None else lead
        if not self.ways():
            return influences @ influences.T / n**2 * n / max(n - 1, 1), n - 1
        return self.covariance_of_sums(lambda codes: np.stack([np.bincount(codes, i) for i in influences]), lead)

    def covariance_of_sums(self, sums: Sums, lead: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the same where rows were not drawn one by one, from what sums the influences over numbered parts."""
        ways = self._parted(lead)
        found, freedom = map(list, zip(*(_clustered(sums, codes, lead, part) for codes, part in ways), strict=True))
        if len(ways) == 1:
            return found[0], freedom[0]
        (first, _), (second, _) = ways
        both = pd.factorize(first.astype("int64") * (second.max() + 1) + second)[0]
        values, vectors = np.linalg.eigh(found[0] + found[1] - _clustered(sums, both, lead)[0])
        joint = (vectors * np.maximum(values, 0)) @ vectors.T
        # The difference of three estimates may fall below each of them, which none of them means.
        return max((joint, *found), key=np.trace), min(freedom)

    def effect(self, series: np.ndarray) -> float:
        """Return how many times larger the variance of a mean is than that of as many rows drawn one by one."""
        if self.alone:
            return 1.0
        centred = np.asarray(series, dtype="float64") - np.mean(series)
        by_rows = float(centred @ centred) / len(centred) ** 2
        return max(float(self.covariance(centred[None])[0][0, 0]) / by_rows, 1.0) if by_rows > 0 else 1.0

    def count(self, rows: np.ndarray) -> int:
        """Return how many draws these rows are at least: the fewest of rows, groups and moments."""
        found = [int(rows.sum())]
        found += [len(np.unique(codes[rows])) for codes in self.ways()]
        return min(found)


ROWS = Sample()


def units(table: pd.DataFrame, obj: SchemaObject, ids: pd.Series) -> pd.DataFrame:
    """Return the columns ``row`` and, where the contract has such roles, ``group`` and ``time`` of a table's rows."""
    found = pd.DataFrame({"row": ids.array})
    if (group := obj.with_role("group")) and group.name in table:
        found["group"] = names(table[group.name]).mask(table[group.name].isna()).array
    if (time := obj.with_role("time")) and time.name in table:
        found["time"] = table[time.name].array
    return found


def sample(frame: pd.DataFrame) -> Sample:
    """Return what was drawn, from the columns ``group`` and ``time`` of rows, as a run's predictions have them.

    Runs of before there were such columns have neither: their rows count one by one.
    """
    group = group_codes(frame["group"]) if "group" in frame else None
    return Sample(group, moments(frame["time"]) if "time" in frame else None)


def moments(times: pd.Series) -> np.ndarray:
    """Number the moments in order of time: days where a table has hours, neighbours together where there are many."""
    return _joined(_numbered(_plain(times)), MOMENTS)


def draws(frame: pd.DataFrame) -> pd.Series:
    """Return the name of what each row was drawn with, for samples that are drawn again: group, moment or ``row``."""
    if "group" in frame:
        return frame["group"].astype("str")
    if "time" not in frame:
        return frame["row"]
    codes, moments_of = pd.factorize(_plain(frame["time"]))
    return pd.Series(names(pd.Series(moments_of)).to_numpy()[codes], index=frame.index)


def stretches(series: np.ndarray) -> int:
    """Return into how many stretches of equally many moments a series (t,) falls that say little of each other.

    The length is the one that serves a series whose autocorrelation dies at a steady pace (Carlstein 1986), twice over:
    what neighbouring stretches still share makes intervals too short.
    """
    count, (first, pace) = len(series), _memory(series)
    if first == 0:
        return count
    # Sums over all lags, of first * pace**(lag - 1): weighted by the lag, and of the variance of a mean.
    longer = 2 * first / (1 - pace) ** 2 / (1 + 2 * first / (1 - pace))
    length = 2 * longer ** (2 / 3) * count ** (1 / 3)
    return max(FEWEST, int(count / max(length, 1.0)))


def shown(series: np.ndarray, count: int) -> float:
    """Return the part of the variance of a sum that so many stretches show by how they differ, were there many.

    A stretch's sum varies by less than its length says, since some of what it shares is with its neighbours: by how
    much less follows from the same autocorrelations (as where a series is prewhitened, Andrews and Monahan 1992).
    """
    first, pace = _memory(series)
    if first == 0:
        return 1.0
    lags = np.arange(1, len(series))
    alike = first * pace ** (lags - 1.0)

    def variance(length: float) -> float:
        return length + 2 * float(np.maximum(length - lags, 0) @ alike)

    return count * variance(len(series) / count) / variance(len(series))


def _memory(series: np.ndarray) -> tuple[float, float]:
    """The first autocorrelation of a series (t,), 0 if moments count as drawn one by one, and the pace of later ones.

    What each moment adds of its own lowers all lags, and makes none die faster: where the first lag is no chance, the
    pace is what comes after it.
    """
    count, centred = len(series), series - series.mean()
    total = float(centred @ centred)
    if count < FEWEST or total <= 0:
        return 0.0, 0.0
    first = float(centred[1:] @ centred[:-1]) / total
    if first < CHANCE / count**0.5:  # moments that make up for each other do no harm
        return 0.0, 0.0
    first = min(first + 3 / count, 0.97)  # seen around its own mean, a series looks less alike than it is
    if first <= SURELY / count**0.5:
        return first, first
    second, third = (float(centred[k:] @ centred[:-k]) / total + 3 / count for k in (2, 3))
    return first, min(max((second + third) / (first + max(second, 0.0)), first), 0.97)


def _clustered(sums: Sums, codes: np.ndarray, lead: np.ndarray, part: float = 1.0) -> tuple[np.ndarray, float]:
    """Covariances from sums over groups, and degrees of freedom: the number of groups that say as much, less one.

    A variance from groups of several sizes is as sure as from fewer of one size (Satterthwaite 1946). How many fewer is
    taken half from sizes and how alike rows of a group are (Carter, Schnepel and Steigerwald 2017), half from the
    fourth powers of the sums that were seen (Lipsitz, Ibrahim and Parzen 1999).
    """
    n, within = len(lead), float(lead @ lead)
    drawn, own = sums(codes), np.bincount(codes, lead)
    sizes, speaking = np.bincount(codes), np.bincount(codes, lead != 0)
    pairs = float(speaking @ (speaking - 1))
    # How alike rows of a group are says whether a large group tells more than a small one.
    total = float(own @ own)
    alike = min(max((total - within) / within * speaking.sum() / pairs, 0.0), 1.0) if pairs > 0 and within > 0 else 0.0
    noise, weight = sizes * (1 + (sizes - 1) * alike), sizes / n
    seen = part - 2 * float(weight @ noise) / float(noise.sum()) + float(weight @ weight)  # the mean being taken off
    told = speaking * (1 + (speaking - 1) * alike)
    # One over the number of groups of one size: as expected, and as the fourth powers of sums say, at most all groups.
    expected = float(told @ told) / max(float(told.sum()), 1.0) ** 2
    found = max(float(own**2 @ own**2) / (3 * total**2), 1 / len(sizes)) if total > 0 else expected
    freedom = 2 / (expected + found) - 1 if within > 0 else len(sizes) - 1.0
    return drawn @ drawn.T / n**2 / max(seen, 0.1), max(freedom, 1.0)


def _plain(times: pd.Series) -> np.ndarray:
    """Times as numbers or, where there are days or hours enough, as the day or the hour."""
    values = times.to_numpy()
    if values.dtype.kind != "M":
        return pd.to_numeric(times, errors="coerce").to_numpy("float64", na_value=np.nan)
    for unit in ("D", "h"):
        whole = values.astype(f"datetime64[{unit}]")
        if len(np.unique(whole)) >= ENOUGH:
            return whole.astype(values.dtype)
    return values


def _numbered(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _joined(codes: np.ndarray, limit: int) -> np.ndarray:
    """Join neighbours, so that at most so many are left."""
    count = int(codes.max(initial=0)) + 1
    return codes if count <= limit else codes * limit // count
