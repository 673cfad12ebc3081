"""What binary and multiclass share: a target of classes, and a model with ``predict_proba``."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.tasks.task import Skill, Task


class Classification(Task):
    """A kind of task that predicts one of several classes."""

    predicts_classes = True
    split = ("stratified", "classes are predicted and rows are independent: each fold has each class's share")
    skill = Skill("roc_auc", "ROC AUC", guess=0.5)
    row_loss = "log_loss"

    @abstractmethod
    def ordered_classes(self, values: list[Any], name: Any, positive: Any) -> list[Any]:
        """Return the sorted values of a target by position, or raise ``TaskError``."""

    def rarest(self, target: pd.Series) -> int:
        return int(target.value_counts().min())

    def encode(self, target: pd.Series, positive: Any = None) -> tuple[np.ndarray, list[Any]]:
        classes = self.ordered_classes(sorted(target.unique().tolist()), target.name, positive)
        return pd.Categorical(target, categories=classes).codes.astype("int64"), classes

    def encode_known(self, target: pd.Series, classes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        # By the run's own classes: the new rows may lack one of them, or hold one that nobody has seen.
        # A dictionary finds True under 1.0, which is how a boolean column with gaps is typed.
        known, positions = target.isin(classes).to_numpy(), {value: k for k, value in enumerate(classes)}
        return known, np.asarray([positions[value] for value in target[known].tolist()])

    def average_outcome(self, y: np.ndarray, classes: list[Any]) -> tuple[np.ndarray, str]:
        if len(classes) == 2:
            return y, f"share of {classes[1]}"
        commonest = np.bincount(y).argmax()
        return (y == commonest).astype("float64"), f"share of {classes[commonest]}"

    def probabilities(self, model: Any, table: pd.DataFrame | np.ndarray, classes: int) -> np.ndarray:
        """Return the probability of each class, (n, classes): 0 for a class that the training rows lacked."""
        found = np.asarray(model.predict_proba(table), dtype="float64")
        if found.shape[1] == classes:
            return found
        full = np.zeros((len(found), classes))
        full[:, model.classes_] = found
        return full
