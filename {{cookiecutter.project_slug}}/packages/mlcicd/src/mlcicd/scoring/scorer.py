"""The scorer shared by ``ml predict`` and the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcicd import tasks
from mlcicd.contract import document
from mlcicd.core.json_files import read_json
from mlcicd.training import model_io
from mlcicd.training.run import CONTRACT, METRICS, MODEL, Metrics


class Scorer:
    """Computes predictions of a run's model, with its contract, classes and threshold."""

    def __init__(self, run: Path) -> None:
        self.contract = document.load(run / CONTRACT)
        self.metrics = read_json(run / METRICS, Metrics)
        self.model = model_io.load(run / MODEL)
        self.task = tasks.of(self.metrics["task"])
        self.threshold: float | None = self.metrics["threshold"]
        self.classes: list[Any] = self.metrics["classes"]

    def score(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Predict typed rows (n, features).

        Returns
        -------
        Arrays (n,) by column name: ``prediction``, the most probable class or the value; for a binary target also
        ``probability`` of the positive class and ``decision``, the class at the chosen threshold; for a multiclass
        target also ``p_<class>``.

        Raises
        ------
        ValueError
            The model cannot compute with a row, for example because a number overflows inside.
        """
        p = self.task.score(self.model, frame, len(self.classes))
        if not np.isfinite(p).all():
            raise ValueError("the prediction is not a finite number")
        return self.task.answers(p, self.classes, self.threshold)
