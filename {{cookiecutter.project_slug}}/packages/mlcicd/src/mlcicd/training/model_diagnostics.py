"""What mistakes of method leave behind: measured in every training, judged by :mod:`checks`.

Everything is measured on at most ``ROWS`` rows, so that it stays a small part of a training. Why not skore, which has
most of these checks: docs/decisions/0007 of the template.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mlcicd import tasks
from mlcicd.core.bins import quantile_edges
from mlcicd.data.readers import by_frequency
from mlcicd.data.sampling import ROWS as EACH_ROW
from mlcicd.data.sampling import Sample
from mlcicd.evaluation import metrics
from mlcicd.tasks.task import Task
from mlcicd.training.diagnostic_checks import ROWS

SHUFFLED = 2_000  # rows, for permutation importance
SHUFFLED_CELLS = 1_000_000  # fewer rows of a wide table
COLUMNS = 50  # the strongest ones by themselves, in tables as wide as one likes
BOOSTED = 200  # of them, in the small boosting
CELLS = 5_000_000  # copied at once
LEVELS = 254  # that a gradient boosting takes as categories
SHRINK = 10.0  # rows' worth of the overall mean in each level's mean
Predict = Callable[[pd.DataFrame], np.ndarray]


def measure(
    predict: Predict,
    model: BaseEstimator,
    inputs: pd.DataFrame,
    y: np.ndarray,
    train: np.ndarray,
    holdout: np.ndarray,
    folds: list[float | None],
    task: str,
    seed: int,
    edges: dict[str, float] | None = None,
    sample: Sample = EACH_ROW,
) -> dict[str, Any]:
    """Measure what the checks and the importances need; small, and the same in every repetition.

    Parameters
    ----------
    predict : the fitted model's prediction for a table
    model : the fitted pipeline
    train, holdout : positions of the rows that trained and that judge
    folds : the overall metric (the task's ``skill``) of each fold
    edges : what the search of params.yaml chose at the edge of its space
    sample : what was drawn into the holdout: rows, groups or stretches of time

    Returns
    -------
    Numbers to be judged by :func:`checks.fired`, for ``metrics.json``.
    """
    kind = tasks.of(task)
    metric = metrics.metrics_for(task)[kind.skill.metric]
    seen, judged, drawn = _evenly(train), _evenly(holdout), sample.take(_evenly(np.arange(len(holdout))))
    p = predict(inputs.iloc[judged])
    plain, levels = _plain(inputs.take(np.r_[seen, judged]))
    left, right, known = plain[: len(seen)], plain[len(seen) :], y[seen]
    alone = {
        column: kind.skill.of(metric.value(y[judged], _one_column(left[:, j], right[:, j], known, levels[j], p)))
        for j, column in enumerate(inputs.columns)
    }
    ranked = sorted(alone, key=lambda column: (-alone[column], column))
    strongest, shuffled = ranked[:COLUMNS], judged[: max(SHUFFLED // 4, min(SHUFFLED, SHUFFLED_CELLS // len(ranked)))]
    kept = np.flatnonzero(inputs.columns.isin(ranked[:BOOSTED]))
    small = _small_boosting(left[:, kept], known, right[:, kept], [levels[j] for j in kept], kind, seed, p)
    gain, moved = _gain(metric, y[judged], p, small, drawn)
    told = [fold for fold in folds if fold is not None]
    return {
        "metric": metric.name,
        "holdout": metric.value(y[judged], p),
        "holdout_error": _error(metric, y[judged], p, seed) * drawn.effect(metric.influence(y[judged], p)) ** 0.5,
        "train": metric.value(known, predict(inputs.iloc[seen])),
        "cross_validation": float(np.mean(told)) if told else None,
        "cross_validation_error": float(np.std(told, ddof=1) / len(told) ** 0.5) if len(told) > 1 else None,
        "small_boosting": metric.value(y[judged], small),
        "small_boosting_gain_low": gain - 1.96 * moved,
        "alone": {column: round(alone[column], 6) for column in strongest},
        "importance": _importance(predict, inputs.take(shuffled), y[shuffled], strongest, metric, seed),
        "edges": _edges(model) | (edges or {}),
        "twins": _twins(inputs, y, train, judged, p),
    }


def _error(metric: metrics.Metric, y: np.ndarray, p: np.ndarray, seed: int) -> float:
    """Return the metric's standard error, and no less than where y and p have nothing to do with one another.

    Of a few rows that all happen to be wrong, the influences alone say that there is hardly any.
    """
    rng = np.random.default_rng(seed)
    targets = [y, *(rng.permutation(y) for _ in range(5))]
    return max(float(np.linalg.norm(metric.influence(target, p))) for target in targets) / len(y)


def _gain(
    metric: metrics.Metric, y: np.ndarray, p: np.ndarray, other: np.ndarray, sample: Sample
) -> tuple[float, float]:
    """How much the other prediction is better, and its paired standard error."""
    influence = metric.influence(y, other) - metric.influence(y, p)
    error = float((influence @ influence * sample.effect(influence)) ** 0.5 / len(y))
    return metric.value(y, other) - metric.value(y, p), error


def _evenly(rows: np.ndarray) -> np.ndarray:
    return rows if len(rows) <= ROWS else rows[np.linspace(0, len(rows) - 1, ROWS).astype(int)]


def _plain(frame: pd.DataFrame) -> tuple[np.ndarray, list[int]]:
    """Columns as numbers, and how many levels each text column has (0: it is no text). The commonest level is 0."""
    columns, levels = [], []
    for _, values in frame.items():
        is_text = not pd.api.types.is_numeric_dtype(values.dtype) and values.dtype.kind != "M"
        levels.append(LEVELS * is_text)
        if is_text:
            codes, _ = by_frequency(values)
            columns.append(np.where(codes < 0, np.nan, np.minimum(codes, LEVELS - 1)))
        elif values.dtype.kind == "M":
            columns.append(values.astype("int64").to_numpy("float64") + np.where(values.isna(), np.nan, 0.0))
        else:
            columns.append(values.to_numpy("float64", na_value=np.nan))
    return np.column_stack(columns), levels


def _small_boosting(
    x: np.ndarray, y: np.ndarray, test: np.ndarray, levels: list[int], kind: Task, seed: int, like: np.ndarray
) -> np.ndarray:
    learner = HistGradientBoostingClassifier if kind.predicts_classes else HistGradientBoostingRegressor
    model = learner(
        max_iter=40,
        max_leaf_nodes=15,
        early_stopping=False,
        categorical_features=[count > 0 for count in levels],
        random_state=seed,
    ).fit(np.where(np.isnan(x).all(axis=0), 0.0, x), y)  # it refuses a column without any value
    return kind.score(model, test, like.shape[1] if like.ndim > 1 else 2)


def _one_column(x: np.ndarray, test: np.ndarray, y: np.ndarray, levels: int, like: np.ndarray) -> np.ndarray:
    """Predict from one column: the mean outcome of its level, or of its bin of equally many rows."""
    if levels:
        member, asked = (np.where(np.isnan(v), LEVELS, v).astype(int) for v in (x, test))
        count = LEVELS + 1
    else:
        known = x[~np.isnan(x)]
        edges = quantile_edges(known, 32) if len(known) else np.empty(0)
        count = len(edges) + 2
        member, asked = (np.where(np.isnan(v), count - 1, np.searchsorted(edges, v, side="right")) for v in (x, test))
    outcomes = _outcomes(y, like)
    rows = np.bincount(member, minlength=count)[:, None]
    sums = np.column_stack([np.bincount(member, weights=o, minlength=count) for o in outcomes.T])
    means = (sums + SHRINK * outcomes.mean(axis=0)) / (rows + SHRINK)
    return means[asked] if like.ndim > 1 else means[asked, 0]


def _outcomes(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return what a perfect model predicts, (n, columns of p)."""
    return np.eye(p.shape[1])[y.astype(int)] if p.ndim > 1 else y[:, None].astype("float64")


def _importance(
    predict: Predict, table: pd.DataFrame, y: np.ndarray, columns: list[str], metric: metrics.Metric, seed: int
) -> dict[str, float]:
    """How much of the overall metric is lost when a column is shuffled; several columns in one call of the model."""
    rng, n = np.random.default_rng(seed), len(table)
    whole = metric.value(y, predict(table))
    size = max(1, CELLS // max(table.size, 1))
    lost = {}
    for start in range(0, len(columns), size):
        names = columns[start : start + size]
        stacked = pd.concat([table.assign(**{c: table[c].to_numpy()[rng.permutation(n)]}) for c in names])
        p = predict(stacked.reset_index(drop=True))
        for k, column in enumerate(names):
            lost[column] = round(whole - metric.value(y, p[k * n : (k + 1) * n]), 6)
    return lost


def _edges(model: BaseEstimator) -> dict[str, Any]:
    """Numbers that a scikit-learn search chose at the end of what it tried."""
    found = {}
    for search in (step for _, step in getattr(model, "steps", []) if hasattr(step, "best_params_")):
        for name, best in search.best_params_.items():
            tried = {candidate[name] for candidate in search.cv_results_["params"] if name in candidate}
            numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in tried)
            if numeric and len(tried) > 2 and best in (min(tried), max(tried)):
                found[name] = float(best)
    return found


def _twins(inputs: pd.DataFrame, y: np.ndarray, train: np.ndarray, judged: np.ndarray, p: np.ndarray) -> dict[str, Any]:
    """Holdout rows with the features of a training row, and how well that row's outcome does as a prediction.

    Twins may be natural: many customers with one small purchase look alike. Then their outcomes predict worse than a
    model. Of copies they predict better.
    """
    hashed = pd.util.hash_pandas_object(inputs, index=False).to_numpy()
    outcomes = _outcomes(y, p)
    alike = train[np.isin(hashed[train], hashed[judged])]
    mine = pd.DataFrame(outcomes[alike]).groupby(hashed[alike]).mean()
    twin = np.isin(hashed[judged], mine.index)
    if not twin.any():
        return {"share": 0.0, "loss": 0.0, "model_loss": 0.0, "other_loss": None}
    own = ((outcomes[judged] - (p if p.ndim > 1 else p[:, None])) ** 2).sum(axis=1)
    guess = mine.loc[hashed[judged][twin]].to_numpy()
    return {
        "share": float(twin.mean()),
        "loss": float(((outcomes[judged][twin] - guess) ** 2).sum(axis=1).mean()),
        "model_loss": float(own[twin].mean()),
        "other_loss": float(own[~twin].mean()) if (~twin).any() else None,
    }
