"""Fitting a pipeline to some of the rows; what cannot be fitted is said in words of the table, not of a library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from mlcicd.core.errors import InputError
from mlcicd.core.project import in_machinery, unexpected

SHOWN = 5


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
