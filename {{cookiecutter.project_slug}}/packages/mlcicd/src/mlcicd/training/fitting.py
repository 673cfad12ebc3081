"""Fitting a pipeline to some of the rows: what a fit needs and answers, so that any process can do it.

What cannot be fitted is said in words of the table, not of a library.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from mlcicd import tasks
from mlcicd.core import params, project
from mlcicd.core.errors import InputError
from mlcicd.core.project import in_machinery, unexpected
from mlcicd.evaluation import metrics

SHOWN = 5


class Rows(NamedTuple):
    """The rows that all fits draw from: features, encoded target, kind of task and number of classes."""

    inputs: pd.DataFrame
    y: np.ndarray
    task: str
    classes: int

    def at(self, positions: np.ndarray) -> Rows:
        """Return some of the rows."""
        return self._replace(inputs=self.inputs.iloc[positions], y=self.y[positions])


class Fit(NamedTuple):
    """One fit.

    Attributes
    ----------
    name : what it is called while it runs
    where : which rows these are, in messages about rows that cannot be fitted
    model : the unfitted pipeline
    fit, judge : positions of the rows to fit and to predict
    keep : whether the fitted pipeline is asked for
    """

    name: str
    where: str
    model: BaseEstimator
    fit: np.ndarray
    judge: np.ndarray
    keep: bool = False


def build(chosen: params.Params, seed: int) -> Pipeline:
    """Return the unfitted pipeline: the user's features, then the user's model."""
    steps = {
        "features": params.call(project.module("features").make_features, section="features", values=chosen.features),
        "model": params.call(
            project.module("model").make_model, section="model", values=chosen.model, task=chosen.task, seed=seed
        ),
    }
    return Pipeline(list(steps.items()))


def predictions(rows: Rows, work: Fit) -> tuple[np.ndarray, Any]:
    """Fit, and return the scores of the rows to predict, and the fitted pipeline if it is to be kept."""
    fitted = fit(work.model, rows.inputs.iloc[work.fit], rows.y[work.fit], work.where)
    scores = score(fitted, rows.inputs.iloc[work.judge], rows.task, rows.classes)
    return scores, fitted if work.keep else None


def quality(rows: Rows, work: Fit) -> float:
    """Fit, and return how well the rows to predict are predicted, by the task's first metric; higher is better."""
    metric = next(iter(metrics.metrics_for(rows.task, 0.5).values()))
    scores, _ = predictions(rows, work)
    return float(metric.sign * metric.value(rows.y[work.judge], scores))


def score(model: BaseEstimator, table: pd.DataFrame, task: str, classes: int) -> np.ndarray:
    """Return P(positive) (n,), class probabilities (n, classes) or values (n,).

    On one thread: a forest with ``n_jobs`` adds up its trees as its threads come to an end, and the sums would differ
    in their last digit from one training to the next.
    """
    with joblib.parallel_config("sequential"):
        return tasks.of(task).score(model, table, classes)


def fit(model: BaseEstimator, inputs: pd.DataFrame, y: np.ndarray, where: str) -> Any:
    """Fit a model to rows and return it.

    Parameters
    ----------
    where : which rows these are, for people

    Raises
    ------
    InputError
        The model, or the features before it, cannot be fitted to them.
    """
    try:
        return model.fit(inputs, y)
    except InputError:
        raise
    except Exception as error:
        said, empty = unexpected(error), inputs.columns[inputs.isna().all()].tolist()
        rows = f"these {len(inputs):,} rows"
        if empty and in_machinery(said):  # not a mistake in features.py or model.py
            more = f" and {len(empty) - SHOWN} more" if len(empty) > SHOWN else ""
            raise InputError(
                f"{where}: the feature {', '.join(map(repr, empty[:SHOWN]))}{more} has no value in {rows}, and without "
                "it nothing can be fitted; take it out of contract.yaml, leave out the rows from before it has values, "
                "or change 'split' in params.yaml (ML_TRACEBACK=1 shows the whole traceback)"
            ) from error
        raise InputError(f"{where}: nothing can be fitted to {rows}: {said}") from error
