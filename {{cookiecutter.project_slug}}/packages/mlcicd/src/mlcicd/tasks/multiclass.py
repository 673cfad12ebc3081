"""Multiclass: one of several classes. ``p`` (n, classes) is the probability of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcicd.tasks.classification import Classification
from mlcicd.tasks.task import TaskError


class Multiclass(Classification):
    """One of several classes; the most probable one is predicted."""

    name = "multiclass"
    cost_fields = frozenset({"matrix"})
    outcome = "share that is right"
    monitored = None
    agreement = "same class"
    compared = "probability of the predicted class"

    def unsuitable(self, logical_type: str, distinct: int) -> str | None:
        return None

    def default_gate(self, target: pd.Series) -> tuple[str, float]:
        return "log_loss", 0.02

    def ordered_classes(self, values: list[Any], name: Any, positive: Any) -> list[Any]:
        if len(values) < 2:
            raise TaskError(f"the target '{name}' has one value only; there is nothing to learn")
        return values

    def score(self, model: Any, table: pd.DataFrame | np.ndarray, classes: int) -> np.ndarray:
        return self.probabilities(model, table, classes)

    def score_shape(self, rows: int, classes: int) -> tuple[int, ...]:
        return rows, classes

    def decide(self, p: np.ndarray, threshold: float | None) -> np.ndarray:
        return p.argmax(axis=1)

    def calibration(self, y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return p.max(axis=1), (p.argmax(axis=1) == y).astype("float64")

    def class_columns(self, classes: list[Any]) -> list[str]:
        return [f"p_{name}" for name in classes]

    def stored(self, y: np.ndarray, p: np.ndarray, classes: list[Any]) -> dict[str, np.ndarray]:
        names = np.asarray([str(name) for name in classes], dtype=object)
        by_class = dict(zip(self.class_columns(classes), p.T, strict=True))
        return {"target": names[y], "prediction": self.stored_prediction(p, classes), **by_class}

    def stored_prediction(self, p: np.ndarray, classes: list[Any]) -> np.ndarray:
        return np.asarray([str(name) for name in classes], dtype=object)[p.argmax(axis=1)]

    def stored_target(self, predictions: pd.DataFrame, classes: list[Any]) -> np.ndarray:
        names = [str(name) for name in classes]
        return pd.Categorical(predictions["target"].astype("str"), categories=names).codes.astype("int64")

    def stored_scores(self, predictions: pd.DataFrame, classes: list[Any]) -> np.ndarray:
        return predictions[self.class_columns(classes)].to_numpy("float64")

    def answers(self, p: np.ndarray, classes: list[Any], threshold: float | None) -> dict[str, np.ndarray]:
        labels = np.asarray(classes, dtype=object)
        by_class = dict(zip(self.class_columns(classes), p.T, strict=True))
        return {"prediction": labels[p.argmax(axis=1)], **by_class}

    def answer_fields(self, columns: dict[str, list[Any]], classes: list[Any]) -> dict[str, list[Any]]:
        by_class = zip(*(columns[name] for name in self.class_columns(classes)), strict=True)
        others = {name: columns[name] for name in self.output_columns}
        return {**others, "probability": [dict(zip(classes, row, strict=True)) for row in by_class]}

    def reference(self, predictions: pd.Series, bins: list[float], classes: list[Any]) -> dict[Any, float]:
        names = [str(name) for name in classes]  # also those that were never predicted, so that all sum to 1
        return predictions.value_counts(normalize=True).reindex(names, fill_value=0.0).to_dict()

    def agrees(self, running: dict[str, Any], other: dict[str, Any]) -> bool:
        return bool(running["prediction"] == other["prediction"])

    def difference(self, running: dict[str, Any], other: dict[str, Any]) -> float:
        # Of the probability of the class that the running version predicts.
        shares = running["probability"]
        predicted = max(shares, key=shares.get)
        return float(other["probability"][predicted] - shares[predicted])
