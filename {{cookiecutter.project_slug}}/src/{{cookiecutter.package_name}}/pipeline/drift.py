"""Has the data moved since training? New data against the run's holdout rows, column by column.

At a million rows every difference is significant and most do not matter; at a hundred rows a large distance may be
chance. So a column has drifted only when its distance is both: large enough to matter (``drift.distance`` in
``params.yaml``) and beyond chance after Holm's correction over all columns and the prediction.

=========================  =======================================  ==================================
column                     distance, from 0 to 1                    test
=========================  =======================================  ==================================
numbers                    Kolmogorov–Smirnov: largest gap between  Kolmogorov–Smirnov
                           the two distribution functions
text, booleans             total variation: share of rows that      chi-squared on the shared levels
                           would have to change their value
missing values             difference of the shares                 chi-squared on the two counts
prediction                 as a number, or as a class               as above
=========================  =======================================  ==================================

Dates move on by themselves, so each is taken as the days before its row's latest date.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .. import prepare as user
from . import contract as contracts
from . import data, inference, metrics, models, params, rules, tables
from .errors import InputError
from .files import parse_yaml, read_yaml
from .labels import unused
from .odcs import TEMPORAL, Contract
from .runs import Run
from .train import score
from .yaml_edit import with_values

SHOWN = 20
PREDICTION = ""  # no column of a contract has this name
FEW = 5  # levels rarer than this in both samples are pooled: the chi-squared approximation needs counts
Found = dict[str, Any]


def drift(run: Run, root: Path, table: Path | None = None) -> Found:
    """Compare new data with the rows that judged a run.

    Parameters
    ----------
    run, root : the run, and the project with its raw files
    table : a file shaped like the contract's table; without one, ``new_data`` of ``prepare.py`` says what is new

    Returns
    -------
    ``verdict`` (``stable``, ``drift`` or ``contract-broken``), ``columns``, ``prediction``, ``moved``, ``violations``,
    ``window`` (arguments of ``prepare`` that take the new data in) and, where labels are known, ``performance``.

    Raises
    ------
    InputError
        The new data cannot be read, or ``new_data`` cannot make it.
    """
    contract = contracts.load(run.path / "contract.yaml")
    chosen = params.load(run.path / "params.yaml")
    found: Found = {"source": str(table or "new_data"), "window": {}, "violations": [], "columns": {}, "moved": []}
    found |= {"prediction": None, "performance": None, "rows": {"reference": len(run.holdout), "new": 0}}
    made: pd.DataFrame | Path | None = table
    if made is None:
        raw, violations = data.read_raw(contract, root)
        if not violations:
            made, found["window"] = _new(raw, chosen)
    if made is None:
        return found | {"verdict": "contract-broken", "violations": [str(v) for v in violations]}
    optional = [contract.target.name]
    if isinstance(made, Path):
        frame, mistyped = tables.read(made, contract.table, optional)
    else:
        frame, mistyped = tables.cast(made, contract.table, f"{data.PACKAGE}/prepare.py: new_data()", optional)
    if frame.empty:
        raise InputError(f"{found['source']}: has no rows; there is nothing to compare")
    found["violations"] = [str(v) for v in rules.check(frame, contract.table, mistyped) if _counts(v, contract)]
    model, classes = models.load(run.path / "model.skops"), run.metrics["classes"]
    p = score(model, frame[[c.name for c in contract.table.features]], chosen.task, len(classes))
    past = run.predictions.query("part == 'holdout' and seed == @run.manifest['seeds'][0]")["prediction"]
    now = pd.Series(p if p.ndim == 1 else np.asarray([str(c) for c in classes])[p.argmax(axis=1)])
    columns = compare(run.holdout, frame, contract, chosen.drift, (past, now))
    found |= {"prediction": columns.pop(PREDICTION), "columns": columns}
    found["performance"] = _performance(frame, p, contract, chosen, run)
    found["rows"]["new"] = len(frame)
    found["moved"] = [name for name, column in columns.items() if column["drift"]]
    found["moved"] += [unused("prediction", columns)] * found["prediction"]["drift"]
    found["moved"] += [unused(name, columns) for name, m in (found["performance"] or {}).items() if m["worse"]]
    found["verdict"] = "contract-broken" if found["violations"] else "drift" if found["moved"] else "stable"
    return found


def _new(raw: dict[str, pd.DataFrame], chosen: params.Params) -> tuple[pd.DataFrame | Path, dict[str, Any]]:
    where = f"{data.PACKAGE}/prepare.py: new_data()"
    try:
        made = params.call(user.new_data, raw, section="prepare", values=chosen.prepare)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], pd.DataFrame | Path)):
        raise InputError(f"{where} must return a DataFrame or Path, and the arguments of prepare that have moved")
    return made


def _counts(found: rules.Violation, contract: Contract) -> bool:
    """Whether a breach speaks of the new rows: a small batch, or a label not yet known, is no fault of theirs."""
    unlabelled = found.column == contract.target.name and found.rule == "required"
    return not unlabelled and "rowCount" not in found.rule


def compare(
    old: pd.DataFrame,
    new: pd.DataFrame,
    contract: Contract,
    limits: params.Drift,
    prediction: tuple[pd.Series, pd.Series] | None = None,
) -> dict[str, Found]:
    """Compare two samples of the features, and of the predictions under the name ``PREDICTION``."""
    dates = [p.name for p in contract.table.features if p.logicalType in TEMPORAL]
    left, right = (frame.assign(**_ages(frame[dates])) for frame in (old, new))
    columns = {
        p.name: _column(left[p.name], right[p.name], p.logicalType in ("string", "boolean"))
        for p in contract.table.features
    }
    if prediction is not None:
        columns[PREDICTION] = _column(*prediction, not pd.api.types.is_numeric_dtype(prediction[0]))
    adjusted = inference.holm([column["p"] for column in columns.values()])
    for column, p in zip(columns.values(), adjusted, strict=True):
        column["p_adjusted"] = p
        column["drift"] = bool(column["distance"] >= limits.distance and p < limits.significance)
    return columns


def _ages(dates: pd.DataFrame) -> dict[str, pd.Series]:
    latest = dates.max(axis=1)
    return {str(name): (latest - dates[name]).dt.total_seconds() / 86_400 for name in dates}


def _column(old: pd.Series, new: pd.Series, is_category: bool) -> Found:
    left, right = old.dropna(), new.dropna()
    missing = [float(old.isna().mean()), float(new.isna().mean())]
    p_missing = _chi_squared(np.asarray([[old.isna().sum(), new.isna().sum()], [len(left), len(right)]]))
    unseen = pd.Series(dtype="int64")
    if left.empty or right.empty:
        distance, p = 0.0, 1.0
    elif is_category:
        counts = pd.concat([left.value_counts(), right.value_counts()], axis=1).fillna(0).to_numpy().T
        distance, p = _total_variation(counts), _chi_squared(_pooled(counts))
        unseen = right[~right.isin(left.unique())].value_counts()
    else:
        test = stats.ks_2samp(left.to_numpy("float64"), right.to_numpy("float64"), method="asymp")
        distance, p = float(test.statistic), float(test.pvalue)
    return {
        "distance": max(distance, abs(missing[0] - missing[1])),
        "p": min(1.0, 2 * min(p, p_missing)),  # two looks at one column
        "missing": missing,
        "median": None if is_category else [_finite(left.median()), _finite(right.median())],
        "new_values": {str(level): int(count) for level, count in unseen.head(SHOWN).items()},
    }


def _finite(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _total_variation(counts: np.ndarray) -> float:
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _pooled(counts: np.ndarray) -> np.ndarray:
    rare = counts.sum(axis=0) < 2 * FEW
    return np.column_stack([counts[:, ~rare], counts[:, rare].sum(axis=1)])


def _chi_squared(counts: np.ndarray) -> float:
    filled = counts[:, counts.sum(axis=0) > 0]
    filled = filled[filled.sum(axis=1) > 0]
    if min(filled.shape) < 2:
        return 1.0
    return float(stats.chi2_contingency(filled, correction=False).pvalue)


def _performance(
    frame: pd.DataFrame, p: np.ndarray, contract: Contract, chosen: params.Params, run: Run
) -> dict[str, Found] | None:
    """Metrics where the label has arrived; worse where the new interval lies beyond the old one and its margin."""
    name, classes = contract.target.name, run.metrics["classes"]
    if name not in frame:
        return None
    target = frame[name]
    known = (target.isin(classes) if classes else target.notna()).to_numpy()
    if known.sum() < 2 or target[known].nunique() < 2:
        return None
    # Codes by the run's own classes: the new rows may lack one of them, or hold one that nobody has seen.
    # A dictionary finds True under 1.0, which is how a boolean column with gaps is typed.
    codes = {value: code for code, value in enumerate(classes)}
    y = np.asarray([codes[value] for value in target[known].tolist()]) if classes else target[known].to_numpy()
    result = {}
    for metric in metrics.chosen(chosen, run.metrics["threshold"]).values():
        now = inference.interval(metric, y, p[known], chosen.review.confidence)
        before = run.metrics["holdout"][metric.name]
        gate = chosen.gates.get(metric.name)
        best_now = max(metric.sign * now["low"], metric.sign * now["high"])
        worst_before = min(metric.sign * before["low"], metric.sign * before["high"])
        worse = gate is not None and best_now < worst_before - gate.margin
        result[metric.name] = {"label": metric.label, "before": before, "now": now, "worse": worse}
    return result


def move_window(path: Path, window: dict[str, Any]) -> str | None:
    """Return ``params.yaml`` with other arguments of ``prepare``, comments kept; None where it says so already.

    Raises
    ------
    InputError
        The file does not name one of them, so that nobody can tell where to write it.
    """
    document, text = read_yaml(path, "run this in the project's folder"), path.read_text(encoding="utf-8")
    before = document.get("prepare") or {}
    if all(str(before.get(name)) == str(value) for name, value in window.items()):
        return None
    moved = with_values(text, "prepare", window)
    after = parse_yaml(moved, str(path)).get("prepare") or {}
    for name, value in window.items():
        if str(after.get(name)) != str(value):
            raise InputError(f"{path}: prepare.{name} cannot be moved to {value}; write it there as '{name}: VALUE'")
    return moved
