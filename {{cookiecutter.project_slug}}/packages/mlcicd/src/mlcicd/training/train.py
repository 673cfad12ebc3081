"""Contract → split → fit → evaluate: one training, from the raw files to a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcicd import tasks
from mlcicd.compute import places
from mlcicd.compute.places import Place
from mlcicd.contract import document as contracts
from mlcicd.contract import reserved_names
from mlcicd.contract.schema import SchemaObject
from mlcicd.core import params, project
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import write_json
from mlcicd.data import load, row_identity, sampling, split
from mlcicd.data.target import encode as encode
from mlcicd.evaluation import metrics, uncertainty
from mlcicd.evaluation.thresholds import best_threshold, draw_thresholds
from mlcicd.rendering import curves, png
from mlcicd.system.marks import MARK
from mlcicd.system.outputs import atomic_directory, warn
from mlcicd.tasks.task import Task
from mlcicd.training import data_diagnostics, fitting, model_diagnostics, model_io, run, search
from mlcicd.training.fitting import Fit, Rows
from mlcicd.training.fitting import build as build
from mlcicd.training.fitting import score as score  # a project's tests call them here
from mlcicd.training.run import say
from mlcicd.validation.logical_types import convert
from mlcicd.validation.rules import Violation

Say = Callable[[str], None]


class ContractBrokenError(Exception):
    """The data does not keep its contract; there is nothing to train on."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations


def tune(
    chosen: params.Params,
    table: pd.DataFrame,
    obj: SchemaObject,
    method: str,
    rows: Rows,
    positions: np.ndarray,
    place: Place,
    say: Say,
) -> search.Found:
    """Search the model's arguments on the rows at these positions alone, if params.yaml asks for a search."""
    if chosen.search is None:
        return search.Found(chosen, 0, {})
    user_model = project.module("model")
    if not hasattr(user_model, "search_space"):
        raise InputError(f"{project.source('model.py')}: params.yaml asks for a search, but there is no search_space()")
    inner = chosen.model_copy(update={"split": chosen.split.model_copy(update={"folds": chosen.search.folds})})
    jobs, own_rows = chosen.search.jobs, rows.at(positions)

    def evaluate(trials: Sequence[search.Trial]) -> Generator[float, None, None]:
        work = [
            Fit(f"trial {number}", "a fold of the search", build(own, own.seed), fit, judge)
            for number, (own, fit, judge) in enumerate(trials, start=1)
        ]
        return place.run(fitting.quality, own_rows, work, lambda one: one.name, jobs)

    folds = split.folds_of(table.iloc[positions], obj, method, inner)
    return search.search_hyperparameters(chosen, user_model.search_space(), folds, evaluate, say)


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
    for name in ("prepare", "features", "model"):  # what changes in these files from now on plays no part
        project.module(name)
    contract = contracts.load(root / "contract.yaml")
    chosen = params.load(root / "params.yaml")
    texts = {name: (root / name).read_bytes() for name in ("contract.yaml", "params.yaml")}
    # A run names what it was trained with, not what lies there at its end.
    made = run.provenance(root, [str(o.physicalName) for o in contract.raw])
    metrics.chosen(chosen, 0.5)  # a misspelt metric is refused now, not after the training
    say("reading and checking the data")
    loaded = load.load(contract, chosen, root)
    if changed := [name for name in run.changes_since(root, made) if name in texts or name in made["data"]]:
        raise InputError(f"{changed[0]}: was changed while it was read; train again")
    if loaded.violations:
        raise ContractBrokenError(loaded.violations)
    obj, target = contract.table, contract.target.name
    table = loaded.table[loaded.table[target].notna()].reset_index(drop=True)
    # A whole number is one again once the rows without a target are gone.
    table[target], _ = convert(table[target], contract.target.model_copy(update={"required": True}))
    kind, (y, classes) = tasks.of(chosen.task), encode(table[target], chosen)
    reserved_names.check(obj, chosen.task, classes, "contract.yaml")
    ids = split.row_ids(table, obj)
    divided = split.make_split(table, obj, chosen, ids)
    inputs = table[[p.name for p in obj.features]]
    holdout, rest = np.flatnonzero(divided.holdout), np.flatnonzero(divided.training)

    units = sampling.units(table, obj, ids)
    judging = sampling.sample(units.iloc[holdout])

    rows = Rows(inputs, y, chosen.task, len(classes))
    with places.opened(chosen.compute, say) as place:
        found = [tune(chosen, table, obj, divided.method, rows, rest[fit], place, say) for fit, _ in divided.folds]
        best = tune(chosen, table, obj, divided.method, rows, rest, place, say)
        # Each fold has a seed of its own, else the folds would share a part of the noise that they are there to show.
        planned = [
            Fit(name, name, build(own.params, chosen.seed + number), rest[fit], np.concatenate([rest[judge], holdout]))
            for number, (own, (fit, judge)) in enumerate(zip(found, divided.folds, strict=True), start=1)
            for name in [f"fold {number} of {len(divided.folds)}"]
        ]
        planned += [
            Fit(
                f"model with seed {seed}, {len(rest):,} rows",
                *("the training rows", build(best.params, seed), rest, holdout, seed == chosen.seed),
            )
            for seed in range(chosen.seed, chosen.seed + chosen.review.seeds)
        ]
        parts, oof = [], np.full(kind.score_shape(len(rest), len(classes)), np.nan)
        with closing(place.run(fitting.predictions, rows, planned, lambda one: one.name)) as results:
            for number, (_, judge) in enumerate(divided.folds, start=1):
                both, _ = next(results)
                oof[judge], p = both[: len(judge)], both[len(judge) :]
                parts.append(
                    _predictions(kind, ids, y, classes, rest[judge], oof[judge], f"fold-{number}", chosen.seed)
                )
                # How far the folds' models differ on the holdout is the noise of training: see inference.
                parts.append(_predictions(kind, ids, y, classes, holdout, p, f"holdout-fold-{number}", chosen.seed))
            judged_p, fitted = next(results)
            seeds = [chosen.seed]
            parts.append(_predictions(kind, ids, y, classes, holdout, judged_p, "holdout", chosen.seed))
            for seed, (p, _) in enumerate(results, start=chosen.seed + 1):
                if np.array_equal(p, judged_p):
                    break  # a learner that does not heed its seed: more trainings would tell nothing
                seeds.append(seed)
                parts.append(_predictions(kind, ids, y, classes, holdout, p, "holdout", seed))
    judged = ~np.isnan(oof.reshape(len(oof), -1)[:, 0])
    threshold, draws = None, []
    if kind.has_threshold:
        folded = units.iloc[rest[judged]]
        choice = y[rest][judged], oof[judged], chosen.costs, sampling.sample(folded)
        threshold, draws = best_threshold(*choice), draw_thresholds(sampling.draws(folded), *choice)

    say("evaluating")
    hashes = row_identity.row_hashes(ids, table, obj)
    gaps = data_diagnostics.missingness(inputs, y, chosen.task, sampling.sample(units))
    known = metrics.chosen(chosen, threshold)
    overall = kind.skill.metric
    by_fold = _folds({overall: metrics.metrics_for(chosen.task)[overall]}, y[rest], oof, divided.folds)[overall]
    summary = {
        "task": chosen.task,
        "classes": classes,
        "threshold": threshold,
        "threshold_draws": draws,
        "split": {"method": divided.method, "reason": divided.reason, "cutoff": divided.cutoff},
        "rows": {"train": len(rest), "holdout": len(holdout)},
        "holdout": {
            name: uncertainty.interval(metric, y[holdout], judged_p, chosen.review.confidence, judging)
            for name, metric in known.items()
        },
        "cross_validation": _folds(known, y[rest], oof, divided.folds),
        "checks": model_diagnostics.measure(
            lambda frame: score(fitted, frame, chosen.task, len(classes)),
            *(fitted, inputs, y, rest, holdout, by_fold, chosen.task, chosen.seed, best.edges, judging),
        ),
        "missing": {c: share for c, share in inputs.isna().mean().round(4).items() if share > 0},
        "missingness": gaps,
        "warnings": data_diagnostics.warnings(table, hashes["content"], obj, gaps),
        "confidence": chosen.review.confidence,
        "search": {"model": best.params.model, "fits": best.fits} if chosen.search else None,
    }
    predictions = pd.concat(parts, ignore_index=True)
    for name in units.columns.drop("row"):  # what a comparison must take for one draw
        predictions[name] = predictions["row"].map(units.set_index("row")[name])
    write_json(work / run.METRICS, summary)
    predictions.to_parquet(work / run.PREDICTIONS, index=False)
    inputs.iloc[holdout].assign(row=ids.iloc[holdout]).to_parquet(work / run.HOLDOUT, index=False)
    hashes.to_parquet(work / run.ROWS, index=False)
    model_io.save(fitted, work / run.MODEL)
    for name, content in texts.items():
        (work / name).write_bytes(content)
    side = curves.Side("holdout", y[holdout], judged_p, threshold)
    png.draw(work / "plots", curves.draw(chosen.task, [side], chosen.costs))
    changed = run.changes_since(root, made)
    if changed:
        warn(f"changed since the start, and the run names what it was trained with: {', '.join(changed)}")
    manifest = made | {
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "changed_meanwhile": changed,
        "seeds": seeds,
        "seconds": round(time.monotonic() - started, 2),
        "model_bytes": (work / run.MODEL).stat().st_size,
        "files": {p.name: run.sha256(p) for p in sorted(work.iterdir()) if p.is_file() and p.name != MARK},
    }
    write_json(work / run.MANIFEST, manifest)
    return summary


def _predictions(
    kind: Task, ids: pd.Series, y: np.ndarray, classes: list[Any], rows: np.ndarray, p: np.ndarray, part: str, seed: int
) -> pd.DataFrame:
    return pd.DataFrame({"row": ids.iloc[rows].array, "part": part, "seed": seed, **kind.stored(y[rows], p, classes)})


def _folds(
    known: dict[str, metrics.Metric], y: np.ndarray, oof: np.ndarray, folds: list[split.Fold]
) -> dict[str, list[float | None]]:
    """Each metric on each fold's own rows; None where the fold cannot tell (one class only)."""
    found: dict[str, list[float | None]] = {}
    for name, metric in known.items():
        values = [metric.value(y[j], oof[j]) for _, j in folds]
        found[name] = [value if np.isfinite(value) else None for value in values]
    return found
