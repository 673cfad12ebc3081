"""Column names that runs and predictions use themselves, which columns of the table may not have."""

from __future__ import annotations

from typing import Any

from mlcicd import tasks
from mlcicd.contract.schema import SchemaObject
from mlcicd.core.errors import InputError

ROW = "row"  # the column with the row's name in a run's holdout


def check(obj: SchemaObject, task: str, classes: list[Any], where: str) -> None:
    """Refuse an id that predictions would overwrite, and a feature that a run would overwrite.

    Raises
    ------
    InputError
        A column has a reserved name.
    """
    if ROW in {p.name for p in obj.features}:
        raise InputError(f"{where}: the column name '{ROW}' is reserved for the name of each row in a run; rename it")
    if obj.id in tasks.of(task).output_columns:
        raise InputError(f"{where}: the id '{obj.id}' has the name of a column of the predictions; rename it")
    if obj.id in tasks.of(task).class_columns(classes):
        raise InputError(
            f"{where}: the id '{obj.id}' has the name of the column of probabilities of the class "
            f"'{str(obj.id).removeprefix('p_')}' in the predictions; rename it"
        )
