"""The estimator. This file is yours; its keyword arguments are the keys under ``model`` in ``params.yaml``."""

from __future__ import annotations

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
