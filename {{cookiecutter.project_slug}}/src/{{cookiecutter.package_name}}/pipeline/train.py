"""Contract → split → fit → evaluate: one training, from the raw files to a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .. import features as user_features
from .. import model as user_model
from . import (
    charts,
    data,
    findings,
    fitting,
    identity,
    inference,
    measures,
    metrics,
    models,
    params,
    plots,
    reserved,
    runs,
    sampling,
    search,
    split,
)
from . import contract as contracts
from .errors import InputError
from .logical_types import to_type
from .marks import MARK
from .odcs import SchemaObject
from .outputs import atomic_directory, warn
from .rules import Violation
from .runs import say
from .thresholds import best_threshold, draw_thresholds

HIGH_MISSING = 0.3
Say = Callable[[str], None]


class ContractBrokenError(Exception):
    """The data does not keep its contract; there is nothing to train on."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations


def build(chosen: params.Params, seed: int) -> Pipeline:
    """Return the unfitted pipeline: the user's features, then the user's model."""
    steps = {
        "features": params.call(user_features.make_features, section="features", values=chosen.features),
        "model": params.call(user_model.make_model, section="model", values=chosen.model, task=chosen.task, seed=seed),
    }
    return Pipeline(list(steps.items()))


def encode(target: pd.Series, chosen: params.Params) -> tuple[np.ndarray, list[Any]]:
    """Return the target as the model sees it and the classes by position (none for a regression).

    Raises
    ------
    InputError
        The target does not suit the task.
    """
    if chosen.task == "regression":
        if not pd.api.types.is_numeric_dtype(target) or pd.api.types.is_bool_dtype(target):
            raise InputError(f"contract.yaml: target '{target.name}' is not a number, but params.yaml says regression")
        return target.to_numpy("float64"), []
    classes = sorted(target.unique().tolist())
    if chosen.task == "binary":
        if len(classes) != 2:
            raise InputError(f"the target '{target.name}' has {len(classes)} values, but params.yaml says task binary")
        positive = classes[1] if chosen.positive is None else chosen.positive
        if positive not in classes:
            raise InputError(f"params.yaml: positive {positive!r} is no value of '{target.name}': {classes}")
        classes = [*(c for c in classes if c != positive), positive]
    if len(classes) < 2:
        raise InputError(f"the target '{target.name}' has one value only; there is nothing to learn")
    if chosen.costs and chosen.task == "multiclass" and sorted(chosen.costs.matrix) != classes:
        raise InputError(f"params.yaml: costs.matrix is for {sorted(chosen.costs.matrix)}; the classes are {classes}")
    return pd.Categorical(target, categories=classes).codes.astype("int64"), classes


def score(model: BaseEstimator, table: pd.DataFrame, task: params.Task, classes: int) -> np.ndarray:
    """Return P(positive) (n,), class probabilities (n, classes) or values (n,)."""
    if task == "regression":
        return np.asarray(model.predict(table), dtype="float64")
    found = np.asarray(model.predict_proba(table), dtype="float64")
    if found.shape[1] < classes:  # a fold may lack a rare class
        full = np.zeros((len(found), classes))
        full[:, model.classes_] = found
        found = full
    return found[:, 1] if task == "binary" else found


def tune(
    chosen: params.Params, rows: pd.DataFrame, obj: SchemaObject, method: str, y: np.ndarray, classes: int, say: Say
) -> search.Found:
    """Search the model's arguments on these rows alone, if params.yaml asks for a search."""
    if chosen.search is None:
        return search.Found(chosen, 0, {})
    if not hasattr(user_model, "search_space"):
        raise InputError(f"{data.PACKAGE}/model.py: params.yaml asks for a search, but there is no search_space()")
    inputs, metric = rows[[p.name for p in obj.features]], next(iter(metrics.metrics_for(chosen.task, 0.5).values()))
    inner = chosen.model_copy(update={"split": chosen.split.model_copy(update={"folds": chosen.search.folds})})

    def evaluate(candidate: params.Params, fit: np.ndarray, judge: np.ndarray) -> float:
        model = fitting.fit(build(candidate, candidate.seed), inputs.iloc[fit], y[fit], "a fold of the search")
        return metric.sign * metric.value(y[judge], score(model, inputs.iloc[judge], chosen.task, classes))

    folds = split.folds_of(rows, obj, method, inner)
    return search.tuned(chosen, user_model.search_space(), folds, evaluate, say)


def train(root: Path, out: Path, say: Say = say) -> dict[str, Any]:
    """Train on the project in ``root`` and write a run to ``out``.

    Returns
    -------
    The content of ``metrics.json``.

    Raises
    ------
    InputError
        Contract, params, data or user code are wrong.
    ContractBrokenError
        The data breaks its contract.
    """
    with atomic_directory(out, "run") as work:
        return _train(root, work, say)


def _train(root: Path, work: Path, say: Say) -> dict[str, Any]:
    """Train, and write the files of a run to an empty folder."""
    started = time.monotonic()
    contract = contracts.load(root / "contract.yaml")
    chosen = params.load(root / "params.yaml")
    texts = {name: (root / name).read_bytes() for name in ("contract.yaml", "params.yaml")}
    # A run names what it was trained with, not what lies there at its end.
    made = runs.provenance(root, [str(o.physicalName) for o in contract.raw])
    metrics.chosen(chosen, 0.5)  # a misspelt metric is refused now, not after the training
    say("reading and checking the data")
    loaded = data.load(contract, chosen, root)
    if changed := [name for name in runs.changes_since(root, made) if name in texts or name in made["data"]]:
        raise InputError(f"{changed[0]}: was changed while it was read; train again")
    if loaded.violations:
        raise ContractBrokenError(loaded.violations)
    obj, target = contract.table, contract.target.name
    table = loaded.table[loaded.table[target].notna()].reset_index(drop=True)
    # A whole number is one again once the rows without a target are gone.
    table[target], _ = to_type(table[target], contract.target.model_copy(update={"required": True}))
    y, classes = encode(table[target], chosen)
    reserved.check(obj, chosen.task, classes, "contract.yaml")
    ids = split.row_ids(table, obj)
    divided = split.plan(table, obj, chosen, ids)
    inputs = table[[p.name for p in obj.features]]
    holdout, rest = np.flatnonzero(divided.holdout), np.flatnonzero(divided.training)

    units = sampling.units(table, obj, ids)
    judging = sampling.sample(units.iloc[holdout])

    parts, oof = [], np.full((len(rest), max(len(classes), 1)) if chosen.task == "multiclass" else len(rest), np.nan)
    for number, (fit, judge) in enumerate(divided.folds, start=1):
        say(f"fold {number} of {len(divided.folds)}")
        own = tune(chosen, table.iloc[rest[fit]], obj, divided.method, y[rest[fit]], len(classes), say)
        # Each fold has a seed of its own, else the folds would share a part of the noise that they are there to show.
        where = f"fold {number} of {len(divided.folds)}"
        fold = fitting.fit(build(own.params, chosen.seed + number), inputs.iloc[rest[fit]], y[rest[fit]], where)
        asked = np.concatenate([rest[judge], holdout])  # in one call: each passes through the features anew
        both = score(fold, inputs.iloc[asked], chosen.task, len(classes))
        oof[judge], p = both[: len(judge)], both[len(judge) :]
        parts.append(_predictions(ids, y, classes, rest[judge], oof[judge], f"fold-{number}", chosen.seed))
        # How far the folds' models differ on the holdout is the noise of training: see inference.
        parts.append(_predictions(ids, y, classes, holdout, p, f"holdout-fold-{number}", chosen.seed))
    judged = ~np.isnan(oof if oof.ndim == 1 else oof[:, 0])
    threshold, draws = None, []
    if chosen.task == "binary":
        seen = sampling.draws(units.iloc[rest[judged]]), y[rest][judged], oof[judged]
        threshold, draws = best_threshold(*seen[1:], chosen.costs), draw_thresholds(*seen, chosen.costs)

    best = tune(chosen, table.iloc[rest], obj, divided.method, y[rest], len(classes), say)
    fitted, seeds = None, []
    for seed in range(chosen.seed, chosen.seed + chosen.review.seeds):
        say(f"model with seed {seed}, {len(rest):,} rows")
        model = fitting.fit(build(best.params, seed), inputs.iloc[rest], y[rest], "the training rows")
        p = score(model, inputs.iloc[holdout], chosen.task, len(classes))
        if fitted is None:
            fitted, judged_p = model, p
        elif np.array_equal(p, judged_p):
            break  # a learner that does not heed its seed: more trainings would tell nothing
        seeds.append(seed)
        parts.append(_predictions(ids, y, classes, holdout, p, "holdout", seed))

    say("evaluating")
    gaps = findings.missingness(inputs, y, chosen.task, sampling.sample(units))
    known = metrics.chosen(chosen, threshold)
    overall = measures.OVERALL[chosen.task]
    by_fold = _folds({overall: metrics.metrics_for(chosen.task)[overall]}, y[rest], oof, divided.folds)[overall]
    summary = {
        "task": chosen.task,
        "classes": classes,
        "threshold": threshold,
        "threshold_draws": draws,
        "split": {"method": divided.method, "reason": divided.reason, "cutoff": divided.cutoff},
        "rows": {"train": len(rest), "holdout": len(holdout)},
        "holdout": {
            name: inference.interval(metric, y[holdout], judged_p, chosen.review.confidence, judging)
            for name, metric in known.items()
        },
        "cross_validation": _folds(known, y[rest], oof, divided.folds),
        "checks": measures.measure(
            lambda frame: score(fitted, frame, chosen.task, len(classes)),
            *(fitted, inputs, y, rest, holdout, by_fold, chosen.task, chosen.seed, best.edges, judging),
        ),
        "missing": {c: share for c, share in inputs.isna().mean().round(4).items() if share > 0},
        "missingness": gaps,
        "warnings": findings.warnings(table, obj, gaps),
        "confidence": chosen.review.confidence,
        "search": {"model": best.params.model, "fits": best.fits} if chosen.search else None,
    }
    predictions = pd.concat(parts, ignore_index=True)
    for name in units.columns.drop("row"):  # what a comparison must take for one draw
        predictions[name] = predictions["row"].map(units.set_index("row")[name])
    runs.write_json(work / "metrics.json", summary)
    predictions.to_parquet(work / "predictions.parquet", index=False)
    inputs.iloc[holdout].assign(row=ids.iloc[holdout]).to_parquet(work / "holdout.parquet", index=False)
    identity.row_hashes(ids, table, obj).to_parquet(work / "rows.parquet", index=False)
    models.save(fitted, work / "model.skops")
    for name, content in texts.items():
        (work / name).write_bytes(content)
    side = charts.Side("holdout", y[holdout], judged_p, threshold)
    plots.draw(work / "plots", charts.draw(chosen.task, [side], chosen.costs))
    changed = runs.changes_since(root, made)
    if changed:
        warn(f"changed since the start, and the run names what it was trained with: {', '.join(changed)}")
    manifest = made | {
        "changed_meanwhile": changed,
        "seeds": seeds,
        "seconds": round(time.monotonic() - started, 2),
        "model_bytes": (work / "model.skops").stat().st_size,
        "files": {p.name: runs.sha256(p) for p in sorted(work.iterdir()) if p.is_file() and p.name != MARK},
    }
    runs.write_json(work / "manifest.json", manifest)
    return summary


def _predictions(
    ids: pd.Series, y: np.ndarray, classes: list[Any], rows: np.ndarray, p: np.ndarray, part: str, seed: int
) -> pd.DataFrame:
    names = np.asarray([str(c) for c in classes], dtype=object)
    frame = {"row": ids.iloc[rows].array, "part": part, "seed": seed}
    frame["target"] = names[y[rows]] if p.ndim > 1 else y[rows]
    frame["prediction"] = names[p.argmax(axis=1)] if p.ndim > 1 else p
    probabilities = {f"p_{name}": p[:, k] for k, name in enumerate(names)} if p.ndim > 1 else {}
    return pd.DataFrame(frame | probabilities)


def _folds(
    known: dict[str, metrics.Metric], y: np.ndarray, oof: np.ndarray, folds: list[split.Fold]
) -> dict[str, list[float | None]]:
    """Each metric on each fold's own rows; None where the fold cannot tell (one class only)."""
    found: dict[str, list[float | None]] = {}
    for name, metric in known.items():
        values = [metric.value(y[j], oof[j]) for _, j in folds]
        found[name] = [value if np.isfinite(value) else None for value in values]
    return found
