"""Binary: one of two classes. ``p`` (n,) is the probability of the second one, the positive class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlcicd.tasks.classification import Classification
from mlcicd.tasks.task import TaskError

YES = ("true", "yes", "y", "t", "1", "positive", "pos", "bad", "fraud", "churned", "default")


class Binary(Classification):
    """One of two classes, with a threshold on the probability of the positive class."""

    name = "binary"
    has_threshold = True
    needs_both_values = True
    cost_fields = frozenset({"false_positive", "false_negative"})
    costs_example = "{currency: $, false_positive: 1, false_negative: 5}"
    outcome = "observed share"
    output_columns = ("prediction", "probability", "decision")
    monitored = "probability"
    agreement = "same decision"
    compared = "probability"

    def unsuitable(self, logical_type: str, distinct: int) -> str | None:
        return None if distinct == 2 else f"has {distinct:,} values"

    def default_gate(self, target: pd.Series) -> tuple[str, float]:
        return "roc_auc", 0.01

    def positive_case(self, values: list[Any]) -> Any:
        return next((v for v in values if str(v).lower() in YES or v == 1), values[-1])

    def ordered_classes(self, values: list[Any], name: Any, positive: Any) -> list[Any]:
        if len(values) != 2:
            raise TaskError(f"the target '{name}' has {len(values)} values, but params.yaml says task binary")
        positive = values[1] if positive is None else positive
        if positive not in values:
            raise TaskError(f"params.yaml: positive {positive!r} is no value of '{name}': {values}")
        return [*(value for value in values if value != positive), positive]

    def score(self, model: Any, table: pd.DataFrame | np.ndarray, classes: int) -> np.ndarray:
        return self.probabilities(model, table, classes)[:, 1]

    def decide(self, p: np.ndarray, threshold: float | None) -> np.ndarray:
        return (p >= (0.5 if threshold is None else threshold)).astype(int)

    def stored_target(self, predictions: pd.DataFrame, classes: list[Any]) -> np.ndarray:
        return predictions["target"].to_numpy("int64")

    def answers(self, p: np.ndarray, classes: list[Any], threshold: float | None) -> dict[str, np.ndarray]:
        labels = np.asarray(classes, dtype=object)
        decision = labels[self.decide(p, threshold)]
        return {"prediction": labels[self.decide(p, 0.5)], "probability": p, "decision": decision}

    def agrees(self, running: dict[str, Any], other: dict[str, Any]) -> bool:
        return bool(running["decision"] == other["decision"])

    def difference(self, running: dict[str, Any], other: dict[str, Any]) -> float:
        return float(other["probability"] - running["probability"])
