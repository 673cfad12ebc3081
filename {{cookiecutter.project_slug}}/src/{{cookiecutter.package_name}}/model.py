"""The estimator. This file is yours; its keyword arguments are the keys under ``model`` in ``params.yaml``."""

from __future__ import annotations

from typing import Any

from scipy.stats import loguniform, randint
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


def make_model(
    *,
    task: str,
    seed: int,
    learning_rate: float = 0.08,
    max_iter: int = 150,
    max_leaf_nodes: int = 15,
    min_samples_leaf: int = 20,
    l2_regularization: float = 1.0,
) -> BaseEstimator:
    """Build an unfitted estimator.

    Parameters
    ----------
    task : ``binary``, ``multiclass`` or ``regression``
    seed : given by the pipeline; pass it to whatever is random
    """
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(
        learning_rate=learning_rate,
        max_iter=max_iter,
        max_leaf_nodes=max_leaf_nodes,
        min_samples_leaf=min_samples_leaf,
        l2_regularization=l2_regularization,
        early_stopping=False,
        random_state=seed,
    )


def search_space() -> dict[str, Any]:
    """What ``search`` in ``params.yaml`` tries: by argument of ``make_model``, a list or a distribution."""
    return {
        "learning_rate": loguniform(0.02, 0.3),
        "max_iter": randint(50, 400),
        "max_leaf_nodes": randint(4, 48),
        "min_samples_leaf": randint(5, 100),
        "l2_regularization": loguniform(0.01, 30),
    }
