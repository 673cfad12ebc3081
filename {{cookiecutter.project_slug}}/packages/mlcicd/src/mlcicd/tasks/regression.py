"""Regression: a number. ``p`` (n,) is its predicted value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcicd.tasks.task import Skill, Task, TaskError


class Regression(Task):
    """A number, answered with an interval."""

    name = "regression"
    split = ("kfold", "a number is predicted and rows are independent: plain folds")
    skill = Skill("r2", "R²", guess=0.0)
    row_loss = "mae"
    outcome = "mean outcome"
    agreement = "inside the running version's interval"

    def unsuitable(self, logical_type: str, distinct: int) -> str | None:
        return None if logical_type in ("integer", "number") else f"is {logical_type}, not a number"

    def default_gate(self, target: pd.Series) -> tuple[str, float]:
        return "rmse", float(f"{0.02 * target.std():.1g}")

    def encode(self, target: pd.Series, positive: Any = None) -> tuple[np.ndarray, list[Any]]:
        if not pd.api.types.is_numeric_dtype(target) or pd.api.types.is_bool_dtype(target):
            raise TaskError(f"contract.yaml: target '{target.name}' is not a number, but params.yaml says {self.name}")
        return target.to_numpy("float64"), []

    def encode_known(self, target: pd.Series, classes: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        known = target.notna().to_numpy()
        return known, target[known].to_numpy()

    def score(self, model: Any, table: pd.DataFrame | np.ndarray, classes: int) -> np.ndarray:
        return np.asarray(model.predict(table), dtype="float64")

    def stored_target(self, predictions: pd.DataFrame, classes: list[Any]) -> np.ndarray:
        return predictions["target"].to_numpy("float64")

    def answers(self, p: np.ndarray, classes: list[Any], threshold: float | None) -> dict[str, np.ndarray]:
        return {"prediction": p}

    def bins(self, predictions: pd.Series) -> list[float]:
        return np.unique(np.quantile(predictions, np.linspace(0.05, 0.95, 19))).tolist()

    def interval(self, target: pd.Series, predictions: pd.Series, coverage: float) -> float | None:
        # Split conformal prediction: n + 1 instead of n gives the nominal coverage on finite samples.
        errors = np.sort((target - predictions).abs().to_numpy())
        return float(errors[min(len(errors), int(np.ceil(coverage * (len(errors) + 1)))) - 1])

    def agrees(self, running: dict[str, Any], other: dict[str, Any]) -> bool:
        low, high = running["interval"]
        return bool(low <= other["prediction"] <= high)

    def difference(self, running: dict[str, Any], other: dict[str, Any]) -> float:
        return float(other["prediction"] - running["prediction"])
