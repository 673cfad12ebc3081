"""Which rows train and which judge.

Membership of the holdout is a hash of what names the row (:mod:`identity`), or of its group: new rows never move an old
row, so two runs share their test rows. With a time column the holdout is what came after a cut-off, which ``ml init``
pins in ``params.yaml``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, TimeSeriesSplit

from mlcicd import tasks
from mlcicd.contract.schema import TEMPORAL, SchemaObject
from mlcicd.core.errors import InputError
from mlcicd.core.params import Params
from mlcicd.data.row_identity import HASH_KEY, group_codes, names
from mlcicd.data.row_identity import row_ids as row_ids
from mlcicd.validation.rules import naive_utc

MANY_GROUPS = 5000  # stratifying more takes longer than the training
Fold = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Split:
    """A division of the table's rows, by position.

    Attributes
    ----------
    method, reason : what was chosen and why, for people
    holdout, training : bool arrays of shape (n,); with time and groups some rows are in neither
    folds : (train, test) positions within the training rows
    cutoff : the last moment of the training rows, for a split by time
    """

    method: str
    reason: str
    holdout: np.ndarray
    training: np.ndarray
    folds: list[Fold]
    cutoff: Any = None


def in_holdout(keys: np.ndarray, share: float, salt: int = 0) -> np.ndarray:
    """Say of each key, a text, whether it is in the holdout; depends on nothing but key, share and salt."""
    # Each text by itself: to look for equal ones first takes longer than to hash them all.
    hashed = pd.util.hash_array(keys, hash_key=HASH_KEY.format(salt), categorize=False)
    return hashed < np.uint64(share * (2**64 - 1))


def make_split(table: pd.DataFrame, obj: SchemaObject, params: Params, ids: pd.Series | None = None) -> Split:
    """Divide a table's rows by the data, or as ``params.split`` says.

    Parameters
    ----------
    ids : the names of the rows, where whoever asks has them already: see :func:`identity.row_ids`

    Raises
    ------
    InputError
        The chosen method needs a column that the contract does not have, or one side would be empty.
    """
    assert obj.target is not None  # contract.has_one_table
    method, reason = _choose(params, obj)
    late = chosen = None
    cutoff = None
    if "time" in method:
        times = table[_needed(obj, "time", method)]
        cutoff = _cutoff(times, obj, params)
        late = (times > cutoff).to_numpy()
        shown = f"{cutoff:.15g}" if isinstance(cutoff, float) else f"{cutoff}".removesuffix(" 00:00:00")
        reason += f"; the holdout is what came after {shown}"
    if "group" in method:
        groups = names(table[_needed(obj, "group", method)])
        chosen = in_holdout(groups.to_numpy(dtype=object), params.split.holdout, params.split.salt)
    if late is None and chosen is None:
        keys = row_ids(table, obj) if ids is None else ids
        chosen = in_holdout(keys.to_numpy(dtype=object), params.split.holdout, params.split.salt)
    sides = [side for side in (late, chosen) if side is not None]
    holdout, training = np.logical_and.reduce(sides), ~np.logical_or.reduce(sides)
    if chosen is not None and "group" in method and min(chosen.sum(), (~chosen).sum()) == 0:
        raise InputError(
            f"the group column '{_needed(obj, 'group', method)}': its {groups.nunique()} groups are too few: none is "
            f"left to {'train on' if chosen.all() else 'judge'}; name a column with more groups, or another split"
        )
    _two_sides(table[obj.target.name], holdout, training, params)
    folds = folds_of(table[training], obj, method, params)
    return Split(method, reason, holdout, training, folds, cutoff)


def _choose(params: Params, obj: SchemaObject) -> tuple[str, str]:
    time, group = obj.with_role("time"), obj.with_role("group")
    if params.split.method != "auto":
        return params.split.method, "as params.yaml says"
    if time and group:
        return (
            "time-group",
            f"'{time.name}' is the time and '{group.name}' the group: judge on the future of groups never seen",
        )
    if time:
        return "time", f"'{time.name}' is the time: train on the past, judge on the future"
    if group:
        return "group", f"'{group.name}' is the group: no group is on both sides"
    return tasks.of(params.task).split


def _needed(obj: SchemaObject, role: Any, method: str) -> str:
    found = obj.with_role(role)
    if found is None:
        raise InputError(f"params.yaml: split.method {method} needs a column with the role {role} in contract.yaml")
    return found.name


def _cutoff(times: pd.Series, obj: SchemaObject, params: Params) -> Any:
    """The last moment of the past: as pinned, else the one that leaves the wanted share of rows to the future."""
    pinned, kind = params.split.cutoff, obj.column(str(times.name)).logicalType
    if pinned is None:
        return default_cutoff(times, params.split.holdout)
    if (kind in TEMPORAL) is isinstance(pinned, float):
        raise InputError(f"params.yaml: split.cutoff {pinned} does not fit '{times.name}', which is a {kind}")
    return pinned if isinstance(pinned, float) else naive_utc(pinned)


def default_cutoff(times: pd.Series, holdout: float) -> Any:
    """Return the moment after which about ``holdout`` of the rows lie, and never none of them."""
    ordered = times.sort_values()
    found = ordered.iloc[int((1 - holdout) * (len(ordered) - 1))]
    found = found if found < ordered.iloc[-1] else ordered[ordered < found].max()
    return float(found) if pd.api.types.is_numeric_dtype(times.dtype) else found


def _two_sides(target: pd.Series, holdout: np.ndarray, training: np.ndarray, params: Params) -> None:
    for rows, verb, least in ((training, "train on", 2 * params.split.folds), (holdout, "judge", 2)):
        if rows.sum() < least:
            raise InputError(
                f"the table: {rows.sum()} rows to {verb} are too few for {params.split.folds} folds and a holdout of "
                f"{params.split.holdout:.0%}; bring more rows, or change 'split' in params.yaml"
            )
        found = target[rows].value_counts()
        if len(found) < 2 and tasks.of(params.task).needs_both_values:
            raise InputError(
                f"the table: all {rows.sum():,} rows to {verb} have '{target.name}' = {found.index[0]}; with so few of "
                "the other value nothing can be learnt or judged: bring more of them, or change 'split' in params.yaml"
            )


def folds_of(training: pd.DataFrame, obj: SchemaObject, method: str, params: Params) -> list[Fold]:
    """Return (train, test) positions within the rows that train.

    Raises
    ------
    InputError
        Too few groups, moments or rows for ``params.split.folds``.
    """
    y = training[obj.target.name].to_numpy()  # type: ignore[union-attr]
    least = 2 if tasks.of(params.task).predicts_classes else 1  # an early fold of a series may know one class only
    drawn = _folds(training, obj, method, params)
    folds = [(fit, judge) for fit, judge in drawn if len(judge) and len(fit) and len(pd.unique(y[fit])) >= least]
    if not folds:
        raise InputError(
            "the table: no fold has rows to train on and rows to judge; bring more rows or lower the number of folds"
        )
    return folds


def _folds(training: pd.DataFrame, obj: SchemaObject, method: str, params: Params) -> Iterator[Fold]:
    k, seed = params.split.folds, params.seed
    target = training[obj.target.name].to_numpy()  # type: ignore[union-attr]
    groups = group_codes(training[_needed(obj, "group", method)]) if "group" in method else np.zeros(0, int)
    if "group" in method and len(np.unique(groups)) < k:
        raise InputError(
            f"the group column: {len(np.unique(groups))} groups to train on are too few for {k} folds; name a column "
            "with more groups, or lower 'split.folds' in params.yaml"
        )
    stratify = tasks.of(params.task).predicts_classes and len(np.unique(groups)) <= MANY_GROUPS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # a rare class is not in every fold
        if "time" in method:
            yield from _time_folds(training[_needed(obj, "time", method)].to_numpy(), groups, k)
        elif method == "group" and stratify:
            yield from StratifiedGroupKFold(k, shuffle=True, random_state=seed).split(target, target, groups)
        elif method == "group":
            yield from GroupKFold(k).split(target, target, groups)
        elif method == "stratified":
            k = max(2, min(k, int(pd.Series(target).value_counts().max())))
            yield from StratifiedKFold(k, shuffle=True, random_state=seed).split(target, target.astype(str))
        else:
            yield from KFold(k, shuffle=True, random_state=seed).split(target)


def _time_folds(times: np.ndarray, groups: np.ndarray, k: int) -> Iterator[Fold]:
    """TimeSeriesSplit over distinct moments, so that rows of one moment never stand on both sides; nor does a group."""
    moments = np.unique(times)
    if len(moments) <= k:
        raise InputError(
            f"the time column: {len(moments)} distinct moments are too few for {k} folds; lower split.folds"
        )
    for number, (past, future) in enumerate(TimeSeriesSplit(k).split(moments)):
        before = times <= moments[past[-1]]
        after = (times >= moments[future[0]]) & (times <= moments[future[-1]])
        judging = groups % k == number if len(groups) else np.ones(len(times), dtype=bool)
        yield (
            np.flatnonzero(before & ~judging if len(groups) else before),
            np.flatnonzero(after & judging),
        )
