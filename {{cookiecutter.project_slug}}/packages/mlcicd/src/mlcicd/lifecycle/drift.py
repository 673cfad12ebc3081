"""Detect drift: compare new data with a run's holdout rows, column by column.

:mod:`mlcicd.evaluation.distances` compares the columns and decides which have drifted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.contract.schema import Contract
from mlcicd.core import params, project
from mlcicd.core.errors import InputError
from mlcicd.core.labels import unused
from mlcicd.core.yaml_edit import with_values
from mlcicd.core.yaml_io import parse_yaml, read_yaml
from mlcicd.data import load, readers, sampling
from mlcicd.evaluation import metrics, uncertainty
from mlcicd.evaluation.distances import PREDICTION, Found, compare
from mlcicd.lifecycle.drift_schema import SCHEMA
from mlcicd.training import model_io
from mlcicd.training.run import MODEL, Run
from mlcicd.validation import rules


def drift(run: Run, root: Path, table: Path | None = None) -> Found:
    """Compare new data with a run's holdout rows.

    Parameters
    ----------
    run, root : the run, and the project with its raw files
    table : a file with the columns of the contract's table; by default ``new_data`` of ``prepare.py`` is called

    Returns
    -------
    ``verdict`` (``stable``, ``drift`` or ``contract-broken``), ``columns``, ``prediction``, ``moved``, ``violations``,
    ``window`` (arguments of ``prepare`` that include the new data) and, if labels are known, ``performance``.

    Raises
    ------
    InputError
        The new data cannot be read, or ``new_data`` fails.
    """
    contract, settings = run.contract, run.params
    report: Found = {"schema": SCHEMA, "source": str(table or "new_data"), "window": {}, "violations": [], "moved": []}
    report |= {
        "columns": {},
        "prediction": None,
        "performance": None,
        "rows": {"reference": len(run.holdout), "new": 0},
    }
    new_table: pd.DataFrame | Path | None = table
    if new_table is None:
        raw, violations = load.read_raw(contract, root)
        if not violations:
            new_table, report["window"] = _new(raw, settings)
    if new_table is None:
        return report | {"verdict": "contract-broken", "violations": [str(v) for v in violations]}
    optional = [contract.target.name]
    if isinstance(new_table, Path):
        frame, mistyped = readers.read(new_table, contract.table, optional)
    else:
        where = f"{project.source('prepare.py')}: new_data()"
        frame, mistyped = readers.coerce_dtypes(new_table, contract.table, where, optional)
    if frame.empty:
        raise InputError(f"{report['source']}: has no rows; there is nothing to compare")
    report["violations"] = [str(v) for v in rules.check(frame, contract.table, mistyped) if _is_reported(v, contract)]
    model, classes = model_io.load(run.path / MODEL), run.metrics["classes"]
    p = run.task.score(model, frame[[c.name for c in contract.table.features]], len(classes))
    reference_rows = run.holdout_predictions
    new_rows = sampling.units(frame, contract.table, frame.index.to_series())
    new_predictions = pd.Series(run.task.stored_prediction(p, classes))
    columns = compare(
        run.holdout,
        frame,
        contract,
        settings.drift,
        (reference_rows["prediction"], new_predictions),
        (reference_rows, new_rows),
    )
    report |= {"prediction": columns.pop(PREDICTION), "columns": columns}
    report["performance"] = _performance(frame, p, contract, settings, run, sampling.sample(new_rows))
    report["rows"]["new"] = len(frame)
    report["moved"] = [name for name, column in columns.items() if column["drift"]]
    report["moved"] += [unused("prediction", columns)] * report["prediction"]["drift"]
    report["moved"] += [unused(name, columns) for name, m in (report["performance"] or {}).items() if m["worse"]]
    report["verdict"] = "contract-broken" if report["violations"] else "drift" if report["moved"] else "stable"
    return report


def _new(raw: dict[str, pd.DataFrame], settings: params.Params) -> tuple[pd.DataFrame | Path, dict[str, Any]]:
    where = f"{project.source('prepare.py')}: new_data()"
    try:
        returned = params.call(project.module("prepare").new_data, raw, section="prepare", values=settings.prepare)
    except (KeyError, ValueError, OSError) as error:
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error
    if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], pd.DataFrame | Path)):
        raise InputError(f"{where} must return a DataFrame or Path, and the arguments of prepare that changed")
    return returned


def _is_reported(violation: rules.Violation, contract: Contract) -> bool:
    """Return whether a violation is reported; a small batch and missing labels are not."""
    unlabelled = violation.column == contract.target.name and violation.rule == "required"
    return not unlabelled and "rowCount" not in violation.rule


def _performance(
    frame: pd.DataFrame, p: np.ndarray, contract: Contract, settings: params.Params, run: Run, sample: sampling.Sample
) -> dict[str, Found] | None:
    """Compute metrics on rows with labels; worse if the new interval is beyond the old one by more than the margin."""
    name = contract.target.name
    if name not in frame:
        return None
    target = frame[name]
    known, y = run.task.encode_known(target, run.metrics["classes"])
    if known.sum() < 2 or target[known].nunique() < 2:
        return None
    result = {}
    for metric in metrics.chosen(settings, run.metrics["threshold"]).values():
        current = uncertainty.interval(metric, y, p[known], settings.review.confidence, sample.take(known))
        at_training = run.metrics["holdout"][metric.name]
        gate = settings.gates.get(metric.name)
        best_now = max(metric.sign * current["low"], metric.sign * current["high"])
        worst_before = min(metric.sign * at_training["low"], metric.sign * at_training["high"])
        worse = gate is not None and best_now < worst_before - gate.margin
        result[metric.name] = {"label": metric.label, "before": at_training, "now": current, "worse": worse}
    return result


def update_window(path: Path, window: dict[str, Any]) -> str | None:
    """Return ``params.yaml`` with new arguments of ``prepare``, keeping comments; None if they are set already.

    Raises
    ------
    InputError
        The file does not set one of them, so that it cannot be edited in place.
    """
    document, text = read_yaml(path, "run this in the project's folder"), path.read_text(encoding="utf-8")
    before = document.get("prepare") or {}
    if all(str(before.get(name)) == str(value) for name, value in window.items()):
        return None
    edited = with_values(text, "prepare", window)
    after = parse_yaml(edited, str(path)).get("prepare") or {}
    for name, value in window.items():
        if str(after.get(name)) != str(value):
            raise InputError(f"{path}: prepare.{name} cannot be set to {value}; write it there as '{name}: VALUE'")
    return edited
