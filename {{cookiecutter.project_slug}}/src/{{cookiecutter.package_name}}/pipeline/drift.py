"""Has the data moved since training? New data against the run's holdout rows, column by column.

How columns are compared, and when one counts as moved, is in :mod:`distances`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .. import prepare as user
from . import contract as contracts
from . import data, inference, metrics, models, params, rules, sampling, tables
from .distances import PREDICTION, Found, compare
from .errors import InputError
from .files import parse_yaml, read_yaml
from .labels import unused
from .odcs import Contract
from .runs import Run
from .train import score
from .yaml_edit import with_values


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
    past = run.judged
    fresh = sampling.units(frame, contract.table, frame.index.to_series())
    now = pd.Series(p if p.ndim == 1 else np.asarray([str(c) for c in classes])[p.argmax(axis=1)])
    columns = compare(run.holdout, frame, contract, chosen.drift, (past["prediction"], now), (past, fresh))
    found |= {"prediction": columns.pop(PREDICTION), "columns": columns}
    found["performance"] = _performance(frame, p, contract, chosen, run, sampling.sample(fresh))
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


def _performance(
    frame: pd.DataFrame, p: np.ndarray, contract: Contract, chosen: params.Params, run: Run, sample: sampling.Sample
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
        now = inference.interval(metric, y, p[known], chosen.review.confidence, sample.take(known))
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
