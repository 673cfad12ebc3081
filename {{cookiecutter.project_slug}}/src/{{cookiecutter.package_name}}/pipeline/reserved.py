"""Names of columns that runs and predictions make up, and that a column of the table may therefore not have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .errors import InputError
from .odcs import SchemaObject
from .params import Task

ROW = "row"  # what a run calls its rows, beside the features of its holdout
OUTPUTS: dict[Task, tuple[str, ...]] = {
    "binary": ("prediction", "probability", "decision"),
    "multiclass": ("prediction",),
    "regression": ("prediction",),
}


def check(obj: SchemaObject, task: Task, classes: Iterable[Any], where: str) -> None:
    """Refuse a table whose id would be overwritten in predictions, or a feature in a run.

    Raises
    ------
    InputError
        A column has a name that is made up beside it; the message says which and why.
    """
    if ROW in {p.name for p in obj.features}:
        raise InputError(f"{where}: the column name '{ROW}' is taken, for the name of each row in a run; rename it")
    by_class = [f"p_{name}" for name in classes] if task == "multiclass" else []
    if obj.id in OUTPUTS[task]:
        raise InputError(f"{where}: the id '{obj.id}' has the name of a column of the predictions; rename it")
    if obj.id in by_class:
        raise InputError(
            f"{where}: the id '{obj.id}' has the name of the column of probabilities of the class "
            f"'{str(obj.id).removeprefix('p_')}' in the predictions; rename it"
        )
