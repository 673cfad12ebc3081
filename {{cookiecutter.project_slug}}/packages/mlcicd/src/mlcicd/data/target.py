"""The target of a table as models see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcicd import tasks
from mlcicd.core.errors import InputError
from mlcicd.core.params import Params
from mlcicd.tasks.task import TaskError


def encode(target: pd.Series, chosen: Params) -> tuple[np.ndarray, list[Any]]:
    """Return the target as the model sees it, (n,), and the classes by position (none where a number is predicted).

    Raises
    ------
    InputError
        The target does not suit the task, or the costs are of other classes.
    """
    try:
        y, classes = tasks.of(chosen.task).encode(target, chosen.positive)
    except TaskError as error:
        raise InputError(str(error)) from None
    if chosen.costs and "matrix" in chosen.costs.model_fields_set and sorted(chosen.costs.matrix) != classes:
        raise InputError(f"params.yaml: costs.matrix is for {sorted(chosen.costs.matrix)}; the classes are {classes}")
    return y, classes
