"""What a table's columns are for, and what there is to predict."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from .errors import InputError, did_you_mean
from .infer import Column
from .params import Task

FEWEST_ROWS = 20
MOST_CLASSES = 100
NUMBERED_CLASSES = 10  # so many whole numbers may be classes; more are an amount
ID_NAME = re.compile(r"(?i:id|key|uuid|guid|.*[_ .-](id|key|uuid))|.*[a-z]I[dD]")


def roles_of(
    by_name: dict[str, Column], values: pd.DataFrame, given: dict[str, str | None], frame: pd.DataFrame
) -> dict[str, str]:
    """Return the column of each role: those that were named, an id by its name, the time rows are sorted by."""
    roles = {role: name for role, name in given.items() if name is not None}
    for role, name in roles.items():
        if name not in by_name:
            raise InputError(f"--{role} {name}: no such column{did_you_mean(name, by_name)}")
        if not by_name[name].type:
            raise InputError(f"--{role} {name}: the column cannot be used: {by_name[name].why}")
        twice = [other for other, column in roles.items() if column == name and other != role]
        if twice:
            raise InputError(f"--{role} {name}: the column cannot be the {twice[0]} as well")
    if "id" in roles:
        _must_name_rows(frame[roles["id"]])
    if "time" in roles:
        column = by_name[roles["time"]]
        if column.type in ("string", "boolean") or column.missing:
            what = (
                f"has gaps in {column.missing:.1%} of the rows"
                if column.missing
                else column.doubt or f"is {column.type}"
            )
            raise InputError(f"--time {column.name}: a date or number in each row is needed, but the column {what}")
    free = [c for c in by_name.values() if c.type and not c.missing and c.name not in roles.values()]
    unique = [
        c for c in free if c.distinct == len(values) and c.type in ("string", "integer") and ID_NAME.fullmatch(c.name)
    ]
    if "id" not in roles and unique:
        roles["id"] = unique[0].name
    dates = [c for c in free if c.type in ("date", "timestamp") and c.name not in roles.values()]
    left = [c for c in by_name.values() if c.type and c.name not in roles.values()]
    if not {"time", "group"} & roles.keys() and len(dates) == 1 < len(left) and dates[0].distinct > FEWEST_ROWS:
        times = values[dates[0].name]
        if times.is_monotonic_increasing or times.is_monotonic_decreasing:
            roles["time"] = dates[0].name
    return roles


def _must_name_rows(ids: pd.Series) -> None:
    gaps = ids.isna()
    if gaps.any():
        raise InputError(f"--id {ids.name}: row {int(gaps.to_numpy().argmax()) + 1} has none; leave --id out")
    again = ids.duplicated(keep=False)
    if again.any():
        rows = np.flatnonzero(ids == ids[again].iloc[0])[:2] + 1
        raise InputError(
            f"--id {ids.name}: {str(ids[again].iloc[0])[:40]!r} stands in rows {rows[0]} and {rows[1]}: it names no "
            "row; leave --id out, or name the column with --group if its rows belong together"
        )


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)[:40]


def task_of(column: Column, values: pd.Series, given: str | None) -> tuple[Task, str]:
    """Decide what is predicted, and say why."""
    name, classes, numeric = column.name, column.distinct, column.type in ("integer", "number")
    present = values.dropna()
    if classes < 2:
        raise InputError(f"--target {name}: has the one value {_plain(present.iloc[0])!r}; there is nothing to learn")
    if column.type in ("date", "timestamp"):
        raise InputError(f"--target {name}: is a date; predict a number, such as the days until it")
    whole = numeric and bool((present == present.round()).all())
    if given == "regression" and not numeric:
        raise InputError(f"--task regression: the target '{name}' is {column.type}, not a number")
    if given == "binary" and classes != 2:
        raise InputError(f"--task binary: the target '{name}' has {classes:,} values")
    if given == "regression" or (
        given is None and numeric and classes > 2 and not (whole and classes <= NUMBERED_CLASSES)
    ):
        if classes <= NUMBERED_CLASSES:
            column.doubt = f"only {classes} different numbers: if they are classes, --task multiclass"
        return "regression", "as you said" if given else f"numbers, {classes:,} different ones"
    if numeric and not whole:
        raise InputError(
            f"--target {name}: {classes} numbers such as {_plain(present.iloc[0])} are no classes; write classes "
            "as words or whole numbers, or say --task regression"
        )
    if classes > MOST_CLASSES:
        raise InputError(
            f"--target {name}: has {classes:,} classes in {len(present):,} rows; at most {MOST_CLASSES} can be learnt: "
            "group the rare ones, or predict something coarser"
        )
    if whole:
        column.type = "integer"
    if whole and classes > 2 and not given:
        column.doubt = f"{classes} whole numbers were taken for classes: if they are amounts, --task regression"
    rarest = int(present.value_counts().min())
    if rarest < FEWEST_ROWS:
        column.doubt = f"the rarest class has {rarest} rows: it will hardly be learnt or judged"
    return (
        "binary" if classes == 2 and given != "multiclass" else "multiclass"
    ), "as you said" if given else f"{classes} different values"


def adapt(column: Column, role: str, values: pd.Series, task: Task) -> None:
    """What a role changes in a column's rules."""
    if role == "group":
        column.options, column.enum = {k: v for k, v in column.options.items() if k == "format"}, []
    elif role == "id":
        column.options, column.enum, column.seen, column.required = {}, [], "", True
        column.type = "string" if column.type == "boolean" else column.type
    elif role == "time":
        column.options = {k: v for k, v in column.options.items() if k in ("format", "minimum")}
        column.required = True
    elif task != "regression":
        column.options = {}
        counts = values.value_counts()
        closed = column.type != "boolean" and (len(counts) == 2 or counts.min() >= FEWEST_ROWS)
        column.enum = sorted(counts.index) if closed else []
        column.enum = [int(v) if column.type == "integer" else v for v in column.enum]
    if role == "target":
        column.required = not column.missing
        if column.missing:
            column.doubt = f"missing in {round(column.missing * len(values)):,} rows: training leaves them out"
    column.doubt = "" if role != "target" and "identifier" in column.doubt else column.doubt
