"""How far two samples are apart, column by column, and whether that is more than chance.

At a million rows every difference is significant and most do not matter; at a hundred rows a large distance may be
chance. So a column has drifted only when its distance is both: large enough to matter (``drift.distance`` in
``params.yaml``) and beyond chance after Holm's correction over all columns and the prediction.

=========================  =======================================  ==================================
column                     distance, from 0 to 1                    test
=========================  =======================================  ==================================
numbers                    Kolmogorov–Smirnov: largest gap between  Kolmogorov–Smirnov
                           the two distribution functions
text, booleans             total variation: share of rows that      chi-squared on the shared levels
                           would have to change their value
missing values             difference of the shares                 chi-squared on the two counts
prediction                 as a number, or as a class               as above
=========================  =======================================  ==================================

Dates move on by themselves, so each is taken as the days before the row's time or, without a time column, before its
latest date; that one may move on, but not back. A single date has nothing to be relative to and is taken as it is.
Rows of a group, and of a day, count as what was drawn together (see :mod:`sampling`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from mlcicd.contract.schema import TEMPORAL, Contract
from mlcicd.core import params
from mlcicd.data import sampling
from mlcicd.data.sampling import ROWS
from mlcicd.evaluation import uncertainty

SHOWN = 20
PREDICTION = ""  # no column of a contract has this name
FEW = 5  # levels rarer than this in both samples are pooled: the chi-squared approximation needs counts
Found = dict[str, Any]
Samples = tuple[sampling.Sample, sampling.Sample]


def compare(
    old: pd.DataFrame,
    new: pd.DataFrame,
    contract: Contract,
    limits: params.Drift,
    prediction: tuple[pd.Series, pd.Series] | None = None,
    drawn: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> dict[str, Found]:
    """Compare two samples of the features, and of the predictions under the name ``PREDICTION``.

    Parameters
    ----------
    drawn : of both samples the columns that say which rows were drawn together, and when (see :func:`sampling.units`)
    """
    samples = (sampling.sample(drawn[0]), sampling.sample(drawn[1])) if drawn else (ROWS, ROWS)
    dates = [p.name for p in contract.table.features if p.logicalType in TEMPORAL]
    times = [_time(frame, contract) for frame in drawn or ()]
    known = len(times) == 2 and all(time is not None for time in times)
    ages = [_ages(frame[dates], times[k] if known else None) for k, frame in enumerate((old, new))]
    left, right = (frame.assign(**age) for frame, age in zip((old, new), ages, strict=True))
    columns = {
        p.name: _column(left[p.name], right[p.name], p.logicalType in ("string", "boolean"), samples)
        for p in contract.table.features
    }
    if not known and len(dates) > 1:
        for name in dates:
            columns[name] |= _moved_back(old[dates], new[dates], name, columns[name], samples)
    if prediction is not None:
        columns[PREDICTION] = _column(*prediction, not pd.api.types.is_numeric_dtype(prediction[0]), samples)
    adjusted = uncertainty.holm([column["p"] for column in columns.values()])
    for column, p in zip(columns.values(), adjusted, strict=True):
        column["p_adjusted"] = p
        column["drift"] = bool(column["distance"] >= limits.distance and p < limits.significance)
    return columns


def between(old: pd.Series, new: pd.Series) -> Found:
    """Compare two samples of predictions, classes or numbers, whose rows were drawn one by one."""
    return _column(old, new, not pd.api.types.is_numeric_dtype(old))


def _time(drawn: pd.DataFrame, contract: Contract) -> pd.Series | None:
    """When each row was drawn, where the contract has a time column that holds dates and the rows have it."""
    role = contract.table.with_role("time")
    return drawn["time"] if role and role.logicalType in TEMPORAL and "time" in drawn else None


def _ages(dates: pd.DataFrame, time: pd.Series | None) -> dict[str, pd.Series]:
    """Days before the row's time, without one before its latest date; a single date as it is, in days since 1970."""
    if time is None and dates.shape[1] == 1:
        start = pd.Series(pd.Timestamp(0), index=dates.index)
        return {str(name): _days(values, start) for name, values in dates.items()}
    latest = dates.max(axis=1) if time is None else time.set_axis(dates.index)
    return {str(name): _days(latest, values) for name, values in dates.items()}


def _days(late: pd.Series, early: pd.Series) -> pd.Series:
    return (late - early).dt.total_seconds() / 86_400


def _moved_back(old: pd.DataFrame, new: pd.DataFrame, name: str, column: Found, samples: Samples) -> Found:
    """A date that is most rows' latest has no age; it may be later than it was, but not earlier."""
    latest = [frame[name] >= frame.max(axis=1) for frame in (old, new)]
    if min(rows.mean() for rows in latest) <= 0.5:
        return {}
    sides = [frame[name][rows].astype("int64").to_numpy() for frame, rows in zip((old, new), latest, strict=True)]
    kept = samples[0].take(latest[0].to_numpy()), samples[1].take(latest[1].to_numpy())
    distance, p = _apart(sides[0], sides[1], kept, back=True)
    return {"distance": max(column["distance"], distance), "p": min(1.0, 2 * min(column["p"], p))}


def _column(old: pd.Series, new: pd.Series, is_category: bool, samples: Samples = (ROWS, ROWS)) -> Found:
    left, right = old.dropna(), new.dropna()
    gone = old.isna().to_numpy(), new.isna().to_numpy()
    kept = samples[0].take(~gone[0]), samples[1].take(~gone[1])
    missing = [float(side.mean()) for side in gone]
    counts = np.asarray([[gone[0].sum(), gone[1].sum()], [len(left), len(right)]])
    p_missing = _chi_squared(counts, _effect(gone, samples))
    unseen = pd.Series(dtype="int64")
    if left.empty or right.empty:
        distance, p = 0.0, 1.0
    elif is_category:
        both = pd.concat([left.value_counts(), right.value_counts()], axis=1).fillna(0)
        counts = both.to_numpy().T
        distance = _total_variation(counts)
        effects = [
            _effect(((left == level).to_numpy(), (right == level).to_numpy()), kept) for level in both.index[:SHOWN]
        ]
        p = _chi_squared(_pooled(counts), float(np.mean(effects)))
        unseen = right[~right.isin(left.unique())].value_counts()
    else:
        distance, p = _apart(left.to_numpy("float64"), right.to_numpy("float64"), kept)
    return {
        "distance": max(distance, abs(missing[0] - missing[1])),
        "p": min(1.0, 2 * min(p, p_missing)),  # two looks at one column
        "missing": missing,
        "median": None if is_category else [_finite(left.median()), _finite(right.median())],
        "new_values": {str(level): int(count) for level, count in unseen.head(SHOWN).items()},
    }


def _apart(old: np.ndarray, new: np.ndarray, samples: Samples, back: bool = False) -> tuple[float, float]:
    """Distance of Kolmogorov and Smirnov and its p-value; ``back`` looks only for smaller values than before."""
    test = stats.ks_2samp(new, old, alternative="greater" if back else "two-sided", method="asymp")
    if samples[0].alone and samples[1].alone:
        return float(test.statistic), float(test.pvalue)
    ranks = stats.rankdata(np.r_[old, new])
    effect = _effect((ranks[: len(old)], ranks[len(old) :]), samples)
    rows = len(old) * len(new) / (len(old) + len(new)) / effect
    if back:
        return float(test.statistic), float(np.exp(-2 * rows * test.statistic**2))
    return float(test.statistic), float(stats.kstwo.sf(test.statistic, max(1, round(rows))))


def _effect(sides: tuple[np.ndarray, np.ndarray], samples: Samples) -> float:
    """How many times larger the variance of a difference of means is than that of as many rows drawn one by one.

    New rows of one day, or of one group, cannot show how days differ: the rows that judged the model show it.
    """
    if samples[0].alone and samples[1].alone:
        return 1.0
    sizes = np.asarray([max(len(side), 1) for side in sides])
    draws = np.asarray([max(s.count(np.ones(len(v), dtype=bool)), 1) for v, s in zip(sides, samples, strict=True)])
    effects = np.asarray([s.effect(v) if len(v) else 1.0 for v, s in zip(sides, samples, strict=True)])
    each = sizes / draws
    alike = min((effects[0] - 1) / (each[0] - 1), 1.0) if each[0] > 1 else 0.0
    if draws[1] < sampling.FEWEST:
        effects[1] = max(effects[1], 1 + (each[1] - 1) * alike)
    return float((effects / sizes).sum() / (1 / sizes).sum())


def _finite(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _total_variation(counts: np.ndarray) -> float:
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _pooled(counts: np.ndarray) -> np.ndarray:
    rare = counts.sum(axis=0) < 2 * FEW
    return np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])


def _chi_squared(counts: np.ndarray, effect: float = 1.0) -> float:
    filled = counts[:, counts.sum(axis=0) > 0]
    filled = filled[filled.sum(axis=1) > 0]
    if min(filled.shape) < 2:
        return 1.0
    found = stats.chi2_contingency(filled, correction=False)
    return float(found.pvalue if effect == 1 else stats.chi2.sf(found.statistic / effect, found.dof))
