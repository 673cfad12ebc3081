"""Metrics, each written once: its value, and the influence of each row on it.

``y`` holds 0 and 1, class positions, or values. ``p`` is P(positive) of shape (n,) for a binary target, class
probabilities (n, classes) for a multiclass one, the value (n,) for a regression. ``w`` (n,) are weights of the rows.

The influence of a row is n times the derivative of the metric by the row's weight (Hampel 1974). The mean square of
influences over n is the metric's variance, and the influence of a difference is the difference of influences: so
:mod:`inference` pairs two models without resampling a row. For the ROC AUC this is the method of DeLong et al. 1988.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlcicd.core.errors import InputError, did_you_mean
from mlcicd.core.params import Costs, Params
from mlcicd.evaluation import calibration_error, user_metrics
from mlcicd.evaluation.boundary_intervals import Share, f1_of, of_area, of_trials
from mlcicd.evaluation.ranking_metrics import average_precision, average_precision_influence, roc_auc, roc_auc_influence

Value = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
PerRow = Callable[[np.ndarray, np.ndarray], np.ndarray]
Shares = Callable[[np.ndarray, np.ndarray], list[Share]]
AtThreshold = Callable[[float | None, Costs | None], "list[Metric]"]
# Binary metrics that move with the threshold. Not the cost: it is lowest there, so that it hardly moves at all.
THRESHOLD_DEPENDENT = ("accuracy", "precision", "recall", "f1")


@dataclass(frozen=True)
class Metric:
    """One metric and how to show it.

    Attributes
    ----------
    sign : 1 when higher is better, else -1
    function : its value, given y, p and w
    influence : its influences, given y and p
    rows : for a metric that is a mean over rows, what it is the mean of
    unit : True for a metric between 0 and 1
    reliability : for calibration errors, outcome and probability given y and p; influences are those on the square
    shares : for a metric between 0 and 1 that is a share, or a mean of shares, those shares given y and p
    root : True for the root of a mean of losses
    left_out : for a function known by its values alone: influences from leaving out numbered parts of the rows
    best : what a model without an error has, of a metric that is bounded there and nowhere else
    """

    name: str
    label: str
    sign: int
    function: Value
    influence: PerRow
    rows: PerRow | None = None
    unit: bool = False
    reliability: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    shares: Shares | None = None
    root: bool = False
    left_out: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] | None = None
    best: float | None = None

    @property
    def arrow(self) -> str:
        return "↑" if self.sign > 0 else "↓"

    def value(self, y: np.ndarray, p: np.ndarray) -> float:
        """Return the metric of unweighted rows."""
        return float(self.function(y, p, np.ones(len(y))))

    def estimate(self, y: np.ndarray, p: np.ndarray) -> float:
        """Return what the influences belong to: the metric, of a calibration error its square."""
        if self.reliability is None:
            return self.value(y, p)
        return calibration_error.square(*self.reliability(y, p), np.ones(len(y)))


def _mean(name: str, label: str, sign: int, rows: PerRow, unit: bool = False) -> Metric:
    def influence(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        found = rows(y, p).astype("float64")
        return found - found.mean()

    def value(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
        return float(np.average(rows(y, p), weights=w))

    return Metric(name, label, sign, value, influence, rows, unit, best=None if unit else 0.0)


def _of_means(
    name: str, label: str, sign: int, moments: PerRow, combine: Callable[[np.ndarray], Any], unit: bool = False
) -> Metric:
    """A smooth function of means over rows: ``combine`` takes the means of the m columns of ``moments``, as (m, b)."""

    def value(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
        return float(combine((w @ moments(y, p) / w.sum())[:, None])[0])

    def influence(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        found = moments(y, p).astype("float64")
        means = found.mean(axis=0)
        step = 1e-4 * found.std(axis=0) + 1e-300
        nudged = means[:, None] + np.diag(step)
        slope = (combine(nudged) - combine(means[:, None] - np.diag(step))) / (2 * step)
        return (found - means) @ np.where(found.std(axis=0) > 0, slope, 0.0)

    return Metric(name, label, sign, value, influence, unit=unit)


def _ratio(top: np.ndarray, bottom: np.ndarray, empty: float = 0.0) -> np.ndarray:
    return np.divide(top, bottom, out=np.full(np.shape(top), empty), where=bottom > 0)


def log_loss_rows(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Negative log-likelihood; probabilities are kept one rounding step away from 0 and 1, as in scikit-learn."""
    eps = np.finfo(p.dtype).eps
    own = np.where(y == 1, p, 1 - p) if p.ndim == 1 else p[np.arange(len(y)), y.astype(int)]
    return -np.log(np.clip(own, eps, 1 - eps))


def case_costs(y: np.ndarray, chosen: np.ndarray, costs: Costs) -> np.ndarray:
    """Cost of each decision of a binary model, shape (n,)."""
    return np.where(chosen & (y == 0), costs.false_positive, 0.0) + np.where(
        ~chosen & (y == 1), costs.false_negative, 0.0
    )


def cheapest(p: np.ndarray, costs: Costs) -> np.ndarray:
    """Return the class with the lowest expected cost for each row (Elkan 2001)."""
    return np.argmin(p @ cost_table(costs), axis=1)


def cost_table(costs: Costs) -> np.ndarray:
    """Return the cost of each true class (row) and predicted class (column), in the order of a run's classes."""
    names = sorted(costs.matrix)
    return np.asarray([[costs.matrix[true].get(guess, 0.0) for guess in names] for true in names])


def _binary(given: float | None, costs: Costs | None) -> list[Metric]:
    threshold = 0.5 if given is None else given

    def hits(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        chosen = p >= threshold
        return np.column_stack([chosen & (y == 1), chosen & (y != 1), ~chosen & (y == 1)])

    def counted(of: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], back: Any = float) -> Shares:
        return lambda y, p: [of_trials(*of(y == 1, p >= threshold), back=back)]

    found = [
        Metric("roc_auc", "ROC AUC", 1, roc_auc, roc_auc_influence, unit=True, shares=lambda y, p: [_area(y, p)]),
        Metric("average_precision", "PR AUC", 1, average_precision, average_precision_influence, unit=True),
        _mean("log_loss", "log loss", -1, log_loss_rows),
        _mean("brier", "Brier score", -1, lambda y, p: (p - y) ** 2, unit=True),
        _calibration(lambda y, p: (y, p)),
        _mean("accuracy", "accuracy", 1, lambda y, p: (p >= threshold) == (y == 1), unit=True),
        _of_means("precision", "precision", 1, hits, lambda m: _ratio(m[0], m[0] + m[1]), unit=True),
        _of_means("recall", "recall", 1, hits, lambda m: _ratio(m[0], m[0] + m[2]), unit=True),
        _of_means("f1", "F1", 1, hits, lambda m: _ratio(2 * m[0], 2 * m[0] + m[1] + m[2]), unit=True),
    ]
    shares: dict[str, Shares] = {
        "average_precision": lambda y, p: [
            of_area(average_precision(y, p, np.ones(len(y))), average_precision_influence(y, p), y == 1)
        ],
        "accuracy": counted(lambda truth, guess: (truth == guess, np.ones(len(truth), dtype=bool))),
        "precision": counted(lambda truth, guess: (truth, guess)),
        "recall": counted(lambda truth, guess: (guess, truth)),
        "f1": counted(lambda truth, guess: (truth & guess, truth | guess), f1_of),
    }
    found = [replace(metric, shares=shares.get(metric.name, metric.shares)) for metric in found]
    if costs and given is not None:
        found.insert(1, _mean("cost", "cost per case", -1, lambda y, p: case_costs(y, p >= threshold, costs)))
    return found


def _area(y: np.ndarray, p: np.ndarray) -> Share:
    """The ROC AUC as a mean over the rows of the rarer class."""
    rarer = (y == 1) == (np.sum(y == 1) <= np.sum(y != 1))
    return of_area(roc_auc(y, p, np.ones(len(y))), roc_auc_influence(y, p), rarer)


def _calibration(reliability: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Metric:
    """The expected calibration error (ℓ2): the root of :func:`calibration_error.square`."""
    return Metric(
        "calibration_error",
        "calibration error",
        -1,
        lambda y, p, w: max(calibration_error.square(*reliability(y, p), w), 0.0) ** 0.5,
        lambda y, p: calibration_error.influence(*reliability(y, p)),
        reliability=reliability,
    )


def _multiclass(_: float | None, costs: Costs | None) -> list[Metric]:
    def hits(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        truth, guess = np.eye(p.shape[1])[y.astype(int)], np.eye(p.shape[1])[p.argmax(axis=1)]
        return np.column_stack([truth * guess, truth, guess])

    def recalls(m: np.ndarray) -> np.ndarray:
        hit, truth, _ = np.split(m, 3)
        return np.nanmean(_ratio(hit, truth, np.nan), axis=0)

    def f1s(m: np.ndarray) -> np.ndarray:
        hit, truth, guess = np.split(m, 3)
        return np.nanmean(_ratio(2 * hit, truth + guess, np.nan), axis=0)

    def areas(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
        return float(np.nanmean([roc_auc(y == k, p[:, k], w) for k in range(p.shape[1])]))

    def areas_influence(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.mean([roc_auc_influence((y == k).astype(int), p[:, k]) for k in occurring(y, p)], axis=0)

    def occurring(y: np.ndarray, p: np.ndarray) -> list[int]:
        return [k for k in range(p.shape[1]) if 0 < np.sum(y == k) < len(y)]

    def each_f1(y: np.ndarray, p: np.ndarray) -> list[Share]:
        guess = p.argmax(axis=1)
        classes = [k for k in range(p.shape[1]) if np.any((y == k) | (guess == k))]
        return [of_trials((y == k) & (guess == k), (y == k) | (guess == k), f1_of) for k in classes]

    shares: dict[str, Shares] = {
        "balanced_accuracy": lambda y, p: [of_trials(p.argmax(axis=1) == k, y == k) for k in np.unique(y)],
        "accuracy": lambda y, p: [of_trials(p.argmax(axis=1) == y, np.ones(len(y), dtype=bool))],
        "f1_macro": each_f1,
        "roc_auc": lambda y, p: [_area((y == k).astype(int), p[:, k]) for k in occurring(y, p)],
    }

    found = [
        _mean("log_loss", "log loss", -1, log_loss_rows),
        _of_means("balanced_accuracy", "balanced accuracy", 1, hits, recalls, unit=True),
        _mean("accuracy", "accuracy", 1, lambda y, p: p.argmax(axis=1) == y, unit=True),
        _of_means("f1_macro", "F1 (macro)", 1, hits, f1s, unit=True),
        Metric("roc_auc", "ROC AUC (one against rest)", 1, areas, areas_influence, unit=True),
        _calibration(lambda y, p: (p.argmax(axis=1) == y, p.max(axis=1))),
    ]
    found = [replace(metric, shares=shares.get(metric.name)) for metric in found]
    if costs:
        table = cost_table(costs)
        found.insert(1, _mean("cost", "cost per case", -1, lambda y, p: table[y.astype(int), cheapest(p, costs)]))
    return found


def _regression(_: float | None, __: Costs | None) -> list[Metric]:
    def squares(y: np.ndarray, p: np.ndarray) -> np.ndarray:
        centred = y - y.mean()  # the variance from moments: exact enough once the values are near zero
        return np.column_stack([(y - p) ** 2, centred**2, centred])

    rmse = _of_means("rmse", "RMSE", -1, squares, lambda m: np.sqrt(m[0]))
    r2 = _of_means("r2", "R²", 1, squares, lambda m: 1 - _ratio(m[0], m[1] - m[2] ** 2, np.nan))
    return [
        replace(rmse, rows=lambda y, p: (y - p) ** 2, root=True, best=0.0),
        _mean("mae", "MAE", -1, lambda y, p: np.abs(y - p)),
        replace(r2, best=1.0),
    ]


def _from(name: str, function: user_metrics.Function) -> Metric:
    def value(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
        times = w.astype(int)
        return float(function(np.repeat(y, times), np.repeat(p, times, axis=0)))

    sign = -1 if name.endswith(user_metrics.LOWER) else 1
    return Metric(
        name,
        name.replace("_", " "),
        sign,
        value,
        lambda y, p: user_metrics.jackknife(function, y, p),
        left_out=lambda y, p, parts: user_metrics.leave_out(function, y, p, parts),
    )


# Of a task, its metrics at a threshold and costs.
BY_TASK: dict[str, AtThreshold] = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}


def metrics_for(task: str, threshold: float | None = None, costs: Costs | None = None) -> dict[str, Metric]:
    """Return every metric of a task by name, in the order in which reports show them."""
    found = BY_TASK[task](threshold, costs)
    return {metric.name: metric for metric in [*found, *(_from(*own) for own in user_metrics.functions().items())]}


def labels(task: str) -> dict[str, str]:
    """Return each metric's name as people read it."""
    return {name: metric.label for name, metric in metrics_for(task, 0.5, Costs()).items()}


def chosen(params: Params, threshold: float | None) -> dict[str, Metric]:
    """Return the metrics that ``params.yaml`` names (all of the task's when it names none) and those that it gates.

    Raises
    ------
    InputError
        A metric or a gate is unknown for this task.
    """
    known = metrics_for(params.task, threshold, params.costs)
    for section, names in (("metrics", params.metrics), ("gates", list(params.gates))):
        for name in (n for n in names if n not in known):
            raise InputError(f"params.yaml: {section}: no metric '{name}' for this task{did_you_mean(name, known)}")
    wanted = [*(params.metrics or known), *(n for n in params.gates if n not in (params.metrics or known))]
    return {name: known[name] for name in wanted}
