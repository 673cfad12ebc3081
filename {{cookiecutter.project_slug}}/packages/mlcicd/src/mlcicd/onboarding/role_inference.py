"""Infer the roles of a table's columns (id, target, time, group) and the task."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from mlcicd import tasks
from mlcicd.core.errors import InputError, did_you_mean
from mlcicd.onboarding.column_inference import Column

MIN_ROWS = 20
MAX_CLASSES = 100
MAX_INTEGER_CLASSES = 10  # with more distinct integers, the target is an amount
ID_NAME = re.compile(r"(?i:id|key|uuid|guid|.*[_ .-](id|key|uuid))|.*[a-z]I[dD]")


def infer_roles(
    by_name: dict[str, Column], values: pd.DataFrame, given: dict[str, str | None], frame: pd.DataFrame
) -> dict[str, str]:
    """Return the column of each role: given, or inferred for an id (by name) and a time (the rows' order)."""
    roles = {role: name for role, name in given.items() if name is not None}
    for role, name in roles.items():
        if name not in by_name:
            raise InputError(f"--{role} {name}: no such column{did_you_mean(name, by_name)}")
        if not by_name[name].type:
            raise InputError(f"--{role} {name}: the column cannot be used: {by_name[name].why}")
        other_roles = [other for other, column in roles.items() if column == name and other != role]
        if other_roles:
            raise InputError(f"--{role} {name}: the column cannot be the {other_roles[0]} as well")
    if "id" in roles:
        _check_unique_ids(frame[roles["id"]])
    if "time" in roles:
        column = by_name[roles["time"]]
        if column.type in ("string", "boolean") or column.missing:
            problem = (
                f"has gaps in {column.missing:.1%} of the rows"
                if column.missing
                else column.warning or f"is {column.type}"
            )
            raise InputError(f"--time {column.name}: a date or number in each row is needed, but the column {problem}")
    candidates = [c for c in by_name.values() if c.type and not c.missing and c.name not in roles.values()]
    unique = [
        c
        for c in candidates
        if c.distinct == len(values) and c.type in ("string", "integer") and ID_NAME.fullmatch(c.name)
    ]
    if "id" not in roles and unique:
        roles["id"] = unique[0].name
    dates = [c for c in candidates if c.type in ("date", "timestamp") and c.name not in roles.values()]
    unassigned = [c for c in by_name.values() if c.type and c.name not in roles.values()]
    if not {"time", "group"} & roles.keys() and len(dates) == 1 < len(unassigned) and dates[0].distinct > MIN_ROWS:
        times = values[dates[0].name]
        if times.is_monotonic_increasing or times.is_monotonic_decreasing:
            roles["time"] = dates[0].name
    return roles


def _check_unique_ids(ids: pd.Series) -> None:
    """Raise InputError unless every row has an id of its own."""
    missing = ids.isna()
    if missing.any():
        raise InputError(f"--id {ids.name}: row {int(missing.to_numpy().argmax()) + 1} has no value; leave --id out")
    duplicates = ids.duplicated(keep=False)
    if duplicates.any():
        rows = np.flatnonzero(ids == ids[duplicates].iloc[0])[:2] + 1
        raise InputError(
            f"--id {ids.name}: {str(ids[duplicates].iloc[0])[:40]!r} is in rows {rows[0]} and {rows[1]}: it does not "
            "identify a row; leave --id out, or name the column with --group if its rows belong together"
        )


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)[:40]


def infer_task(column: Column, values: pd.Series, given: str | None) -> tuple[str, str]:
    """Infer the task from the target; return it with the reason."""
    name, classes, numeric = column.name, column.distinct, column.type in ("integer", "number")
    present = values.dropna()
    if classes < 2:
        raise InputError(f"--target {name}: has the one value {_plain(present.iloc[0])!r}; there is nothing to learn")
    if column.type in ("date", "timestamp"):
        raise InputError(f"--target {name}: is a date; predict a number, such as the days until it")
    integral = numeric and bool((present == present.round()).all())
    amount = numeric and classes > 2 and not (integral and classes <= MAX_INTEGER_CLASSES)
    task = given or ("regression" if amount else "binary" if classes == 2 else "multiclass")
    if given and (problem := tasks.of(task).unsuitable(column.type, classes)):
        raise InputError(f"--task {task}: the target '{name}' {problem}")
    if not tasks.of(task).predicts_classes:
        if classes <= MAX_INTEGER_CLASSES:
            column.warning = f"only {classes} different numbers: if they are classes, --task multiclass"
        return task, "as given" if given else f"numbers, {classes:,} different ones"
    if numeric and not integral:
        raise InputError(
            f"--target {name}: {classes} numbers such as {_plain(present.iloc[0])} are not classes; write classes "
            "as words or whole numbers, or choose --task regression"
        )
    if classes > MAX_CLASSES:
        raise InputError(
            f"--target {name}: has {classes:,} classes in {len(present):,} rows; at most {MAX_CLASSES} can be learnt: "
            "group the rare ones, or predict something coarser"
        )
    if integral:
        column.type = "integer"
    if integral and classes > 2 and not given:
        column.warning = f"{classes} whole numbers were read as classes: if they are amounts, --task regression"
    rarest = int(present.value_counts().min())
    if rarest < MIN_ROWS:
        column.warning = f"the rarest class has {rarest} rows: too few to learn or evaluate it well"
    return task, "as given" if given else f"{classes} different values"


def apply_role(column: Column, role: str, values: pd.Series, task: str) -> None:
    """Adapt a column's rules to its role."""
    if role == "group":
        column.options, column.enum = {k: v for k, v in column.options.items() if k == "format"}, []
    elif role == "id":
        column.options, column.enum, column.seen, column.required = {}, [], "", True
        column.type = "string" if column.type == "boolean" else column.type
    elif role == "time":
        column.options = {k: v for k, v in column.options.items() if k in ("format", "minimum")}
        column.required = True
    elif tasks.of(task).predicts_classes:
        column.options = {}
        counts = values.value_counts()
        closed = column.type != "boolean" and (len(counts) == 2 or counts.min() >= MIN_ROWS)
        column.enum = sorted(counts.index) if closed else []
        column.enum = [int(v) if column.type == "integer" else v for v in column.enum]
    if role == "target":
        column.required = not column.missing
        if column.missing:
            column.warning = f"missing in {round(column.missing * len(values)):,} rows: training leaves them out"
    column.warning = "" if role != "target" and "identifier" in column.warning else column.warning
