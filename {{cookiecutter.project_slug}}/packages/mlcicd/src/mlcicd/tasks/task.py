"""The protocol of a kind of task: everything that the rooms ask which depends on what is predicted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd


class TaskError(ValueError):
    """The target does not suit the task. The message is one line for people."""


@dataclass(frozen=True)
class Skill:
    """A primary metric and its label, on a scale where guessing is 0 and a perfect model is 1.

    Attributes
    ----------
    guess : the metric's value for a guess
    """

    metric: str
    label: str
    guess: float

    @property
    def unit(self) -> float:
        """Units of skill in one unit of the metric."""
        return 1 / (1 - self.guess)

    def of(self, value: float) -> float:
        """Return the skill of a model with this value of the metric."""
        return (value - self.guess) * self.unit


class Task(ABC):
    """A kind of task.

    ``y`` (n,) is the target as the model sees it: class positions, or values. ``p`` are a model's scores of the rows,
    in the shape that the kind's metrics take. ``classes`` are the target's values by position, none for numbers.

    Attributes
    ----------
    name : as ``params.yaml`` spells it
    predicts_classes : whether the model is a classifier, so that classes are stratified, counted and listed
    has_threshold : whether a threshold on the score makes the decision
    needs_both_values : whether a side of the split with one value of the target cannot be used
    split : the method of ``split.method: auto`` for independent rows, and the reason
    skill : the primary metric, which the diagnostics use
    row_loss : the metric, a mean over rows, that slices are judged by where no costs are given
    cost_fields : the keys of ``costs`` that are needed, beside the currency
    costs_example : what ``ml init`` writes as an example of them
    outcome : how the calibration curve names what the prediction is compared with
    output_columns : the columns of every prediction that leaves the project
    agreement, compared : how a comparison of two versions names what is the same in both, and what differs
    monitored : the column whose values the service puts in a histogram; None where it counts classes alone
    """

    name: ClassVar[str]
    predicts_classes: ClassVar[bool] = False
    has_threshold: ClassVar[bool] = False
    needs_both_values: ClassVar[bool] = False
    split: ClassVar[tuple[str, str]]
    skill: ClassVar[Skill]
    row_loss: ClassVar[str]
    cost_fields: ClassVar[frozenset[str]] = frozenset()
    costs_example: ClassVar[str] = ""
    outcome: ClassVar[str]
    output_columns: ClassVar[tuple[str, ...]] = ("prediction",)
    agreement: ClassVar[str]
    compared: ClassVar[str] = "prediction"
    monitored: ClassVar[str | None] = "prediction"

    # a new table, in ``ml init``

    @abstractmethod
    def unsuitable(self, logical_type: str, distinct: int) -> str | None:
        """Say why a column of this type with so many distinct values cannot be the target; None where it can."""

    @abstractmethod
    def default_gate(self, target: pd.Series) -> tuple[str, float]:
        """Return the gated metric of a new project and its margin."""

    def rarest(self, target: pd.Series) -> int:
        """Return the number of rows that limits the number of folds."""
        return len(target)

    def positive_case(self, values: list[Any]) -> Any:
        """Return which of the values, the most frequent first, is the case to find; None where there is none."""
        return None

    # targets

    @abstractmethod
    def encode(self, target: pd.Series, positive: Any = None) -> tuple[np.ndarray, list[Any]]:
        """Return ``y`` and the classes of a training's target, which has no missing values.

        Raises
        ------
        TaskError
            The target does not suit the task.
        """

    @abstractmethod
    def encode_known(self, target: pd.Series, classes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return which rows of new data have a target that a run knows (n,), and ``y`` of these rows."""

    def average_outcome(self, y: np.ndarray, classes: list[Any]) -> tuple[np.ndarray, str]:
        """Return what ``ml explore`` takes means of (n,), and what such a mean is called."""
        return y, "mean"

    # scores

    @abstractmethod
    def score(self, model: Any, table: pd.DataFrame | np.ndarray, classes: int) -> np.ndarray:
        """Return ``p`` for each row, from a model that may have been fitted to fewer classes."""

    def score_shape(self, rows: int, classes: int) -> tuple[int, ...]:
        """Return the shape of ``p``."""
        return (rows,)

    def decide(self, p: np.ndarray, threshold: float | None) -> np.ndarray:
        """Return what is decided for each row: a class position, or the value itself."""
        return p

    def calibration(self, y: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the model expects of each row (n,), and what came of it (n,)."""
        return p, y.astype("float64")

    # the run's file of predictions

    def stored(self, y: np.ndarray, p: np.ndarray, classes: list[Any]) -> dict[str, np.ndarray]:
        """Return the columns of ``predictions.parquet``: ``target``, ``prediction`` and what the kind adds."""
        return {"target": y, "prediction": self.stored_prediction(p, classes)}

    def stored_prediction(self, p: np.ndarray, classes: list[Any]) -> np.ndarray:
        """Return the column ``prediction``, by which drift compares new predictions with a run's."""
        return p

    @abstractmethod
    def stored_target(self, predictions: pd.DataFrame, classes: list[Any]) -> np.ndarray:
        """Return ``y`` of rows of ``predictions.parquet``."""

    def stored_scores(self, predictions: pd.DataFrame, classes: list[Any]) -> np.ndarray:
        """Return ``p`` of rows of ``predictions.parquet``."""
        return predictions["prediction"].to_numpy("float64")

    # predictions that leave the project

    @abstractmethod
    def answers(self, p: np.ndarray, classes: list[Any], threshold: float | None) -> dict[str, np.ndarray]:
        """Return the columns of a table of predictions: ``output_columns``, then ``class_columns``."""

    def class_columns(self, classes: list[Any]) -> list[str]:
        """Return the names of the columns that hold a probability for each class."""
        return []

    def answer_fields(self, columns: dict[str, list[Any]], classes: list[Any]) -> dict[str, list[Any]]:
        """Return the columns of :meth:`answers` as fields of the service's JSON."""
        return columns

    # two versions of the service that answer the same request; answers as their JSON

    @abstractmethod
    def agrees(self, running: dict[str, Any], other: dict[str, Any]) -> bool:
        """Return whether another version's answer for a row leads to the same as the running one's."""

    @abstractmethod
    def difference(self, running: dict[str, Any], other: dict[str, Any]) -> float:
        """Return by how much another version's answer for a row is above the running one's."""

    # monitoring of the service

    def bins(self, predictions: pd.Series) -> list[float]:
        """Return the upper edges of the histogram of ``monitored``, from the holdout's stored predictions."""
        return np.linspace(0.05, 0.95, 19).round(2).tolist()

    def reference(self, predictions: pd.Series, bins: list[float], classes: list[Any]) -> dict[Any, float]:
        """Return the holdout's shares, as Prometheus counts: the share up to each edge, or of each class."""
        return {edge: float((predictions <= edge).mean()) for edge in bins}

    def interval(self, target: pd.Series, predictions: pd.Series, coverage: float) -> float | None:
        """Return half the width of a prediction interval from the holdout; None where answers have none."""
        return None
