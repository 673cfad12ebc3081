"""Baseline against candidate on the same holdout rows: which is better, by how much, and how sure are we?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.core import params
from mlcicd.data import sampling
from mlcicd.data.row_identity import GAP, same_rows
from mlcicd.data.sampling import ROWS, Sample
from mlcicd.evaluation import metrics, slices, uncertainty
from mlcicd.evaluation.metrics import Metric
from mlcicd.evaluation.thresholds import best_threshold, draw_thresholds
from mlcicd.evaluation.uncertainty import Difference, Side
from mlcicd.review.comparison_schema import SCHEMA
from mlcicd.training.run import Run

DECISION = {
    True: "It passes all the same, as 'review.not_comparable' in params.yaml says.",
    False: "So nothing says whether this branch's model is worse than main's: a person has to decide. Mend the cause "
    "and review again, or let the branch pass with 'not_comparable: pass' under 'review' in params.yaml.",
}


def compare(baseline: Run, candidate: Run) -> dict[str, Any]:
    """Compare two runs on the holdout rows that both predicted.

    Returns
    -------
    The content of ``comparison.json``:

    verdict, reason : ``better``, ``worse``, ``same``, ``unclear`` or ``not-comparable``, and why
    passed : False when a gate fails
    metrics : by name: ``label``, ``arrow``, ``sign`` (1: higher is better), ``baseline``, ``candidate``, ``difference``
        (candidate minus baseline) with its interval ``low`` to ``high``; ``p`` and, after Holm's correction over its
        ``family`` (gated metrics, or the others), ``adjusted``; ``noise``: the standard errors from ``rows`` and from
        ``training`` (None: unknown, not counted); ``detectable``: the smallest true difference that would be called
        four times in five; ``rows_needed``: how many holdout rows would make an unclear difference clear, if it stays;
        ``margin`` and ``kind`` of the gate; ``verdict``; ``gate``: ``pass``, ``fail`` or None
    rows : how many were compared, and how many not, and why
    seeds : trainings a side
    thresholds, costs_changed : what each side decides by; with other costs both sides are priced at the candidate's,
        and the baseline's threshold is chosen again on its own folds
    slices : see :func:`slices.find`
    method, confidence, currency : for the reader
    """
    chosen = candidate.params
    why = _not_comparable(baseline, candidate)
    if why:
        return undecided(candidate, why)
    left, right = (run.holdout_predictions.set_index("row") for run in (baseline, candidate))
    theirs, shared, notes = _pairs(baseline, candidate, left, right)
    same_target = left.loc[theirs, "target"].to_numpy() == right.loc[shared, "target"].to_numpy()
    theirs, rows = theirs[same_target], shared[same_target]
    rows_note = {
        "compared": len(rows),
        "only_baseline": len(left) - len(shared),
        "only_candidate": len(right) - len(shared),
        "target_changed": int((~same_target).sum()),
    }
    if len(rows) < 2 or right.loc[rows, "target"].nunique() < 2:
        why = f"the two runs share {len(rows)} holdout rows with the same target; a comparison needs more"
        named = candidate.contract.table.id
        unnamed = ". Rows are known by their content, since no column has the role id" if named is None else ""
        return undecided(candidate, why + unnamed, rows_note)

    y, old, new = candidate.target(right.loc[rows]), _side(baseline, theirs), _side(candidate, rows)
    costs_changed = baseline.params.costs != chosen.costs
    thresholds = [run.metrics["threshold"] for run in (baseline, candidate)]
    draws = [run.metrics.get("threshold_draws", []) for run in (baseline, candidate)]
    if costs_changed and candidate.task.has_threshold:
        thresholds[0], draws[0] = _thresholds(baseline, chosen.costs)
    before, after = (metrics.chosen(chosen, threshold) for threshold in thresholds)
    again = [(metrics.chosen(chosen, a), metrics.chosen(chosen, b)) for a, b in zip(*draws, strict=False)]
    sample = sampling.sample(right.loc[rows])
    found = judge(y, (before, old), (after, new), chosen, sample, again)
    verdict, reason = _overall({n: r for n, r in found.items() if r["gate"]} or found)
    if thresholds[0] != thresholds[1] and all(map(np.array_equal, old.seeds, new.seeds)):
        reason += (
            f"; the predictions are the same, only the threshold moved from {thresholds[0]:.3f} to {thresholds[1]:.3f}"
        )
    features = candidate.holdout.set_index("row").loc[rows]
    return {
        "schema": SCHEMA,
        "verdict": verdict,
        "passed": all(r["gate"] != "fail" for r in found.values()),
        "reason": reason,
        "metrics": found,
        "rows": rows_note,
        "notes": notes,
        "seeds": {"baseline": len(old.seeds), "candidate": len(new.seeds)},
        "thresholds": dict(zip(("baseline", "candidate"), thresholds, strict=True)),
        "costs_changed": costs_changed,
        "slices": slices.find(features, y, (before, old), (after, new), 1 - chosen.review.confidence, sample),
        "method": "paired on the same rows; noise of rows and of training; Holm's correction over the gated metrics",
        "confidence": chosen.review.confidence,
        "currency": chosen.costs.currency if chosen.costs else None,
    }


def undecided(candidate: Run, why: str, rows: dict[str, int] | None = None) -> dict[str, Any]:
    """Return the comparison of runs that cannot be compared; params.yaml says whether that passes."""
    chosen = candidate.params
    return {
        "schema": SCHEMA,
        "verdict": "not-comparable",
        "passed": chosen.review.not_comparable == "pass",
        "reason": why,
        "metrics": {},
        "rows": rows or {"compared": 0},
    }


def judge(
    y: np.ndarray,
    old: slices.Judged,
    new: slices.Judged,
    chosen: params.Params,
    sample: Sample = ROWS,
    again: Sequence[tuple[dict[str, Metric], dict[str, Metric]]] = (),
) -> dict[str, dict[str, Any]]:
    """Judge each metric and its gate.

    Parameters
    ----------
    old, new : the metrics and predictions of the two sides
    sample, again : see :func:`inference.difference`; ``again`` are both sides' metrics at other thresholds
    """
    confidence, found = chosen.review.confidence, {}
    for family in ("gated", "other"):
        names = [name for name in new[0] if (name in chosen.gates) == (family == "gated")]
        draws = {n: [(a[n], b[n]) for a, b in again] if n in metrics.THRESHOLD_DEPENDENT else [] for n in names}
        moved = [
            uncertainty.difference(old[0][n], new[0][n], y, old[1], new[1], confidence, sample, draws[n]) for n in names
        ]
        adjusted = uncertainty.holm([d.p for d in moved])
        for name, difference, p in zip(names, moved, adjusted, strict=True):
            alpha = (1 - confidence) / len(names)
            found[name] = {"family": family, **_result(new[0][name], difference, p, chosen, alpha, len(y))}
    return {name: found[name] for name in new[0]}


def _result(
    metric: Metric, found: Difference, adjusted: float, chosen: params.Params, alpha: float, n: int
) -> dict[str, Any]:
    gate, confidence = chosen.gates.get(metric.name), chosen.review.confidence
    margin = gate.margin if gate else 0.0
    low, high = sorted((metric.sign * found.low, metric.sign * found.high))
    verdict = _verdict(low, high, adjusted <= 1 - confidence, margin)
    passes = {
        "not-worse": verdict != "worse",
        "non-inferior": low >= -margin,
        "superior": verdict == "better",
    }
    return {
        "label": metric.label,
        "arrow": metric.arrow,
        "sign": metric.sign,
        "baseline": found.baseline,
        "candidate": found.candidate,
        "difference": found.candidate - found.baseline,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "adjusted": adjusted,
        "noise": {"rows": found.rows**0.5, "training": None if np.isnan(found.training) else found.training**0.5},
        "detectable": uncertainty.detectable(found, margin, alpha, confidence),
        "rows_needed": uncertainty.rows_needed(found, margin, alpha, n) if verdict == "unclear" else None,
        "margin": gate.margin if gate else None,
        "kind": gate.kind if gate else None,
        "verdict": verdict,
        "gate": None if gate is None else "pass" if passes[gate.kind] else "fail",
    }


def _verdict(low: float, high: float, sure: bool, margin: float) -> str:
    """Same when the interval stays inside the margin; else better or worse when a difference is sure.

    ``low`` to ``high`` is the interval of the gain.
    """
    if -margin <= low and high <= margin:
        return "same"
    if not sure:
        return "unclear"
    return "worse" if low + high < 0 else "better"


def _not_comparable(baseline: Run, candidate: Run) -> str | None:
    for key in ("task", "classes"):
        if baseline.metrics[key] != candidate.metrics[key]:
            return f"the {key} changed from {baseline.metrics[key]} to {candidate.metrics[key]}"
    targets = [run.contract.target.name for run in (baseline, candidate)]
    return None if targets[0] == targets[1] else f"the target changed from '{targets[0]}' to '{targets[1]}'"


def _pairs(
    baseline: Run, candidate: Run, left: pd.DataFrame, right: pd.DataFrame
) -> tuple[pd.Index, pd.Index, list[str]]:
    """Return the names of the same held-out rows in both runs, in one order, and what a reviewer has to know of it.

    A column that came, went or was renamed gives each row without an id another name. Such rows are paired by the
    columns that both runs have.
    """
    shared = left.index.intersection(right.index).sort_values()
    named = any(run.contract.table.id for run in (baseline, candidate))
    columns = [set(run.holdout.columns) for run in (baseline, candidate)]
    if named or (columns[0] == columns[1] and baseline.schema == candidate.schema):
        return shared, shared, []
    sides = ((baseline, left), (candidate, right))
    tables = [run.holdout.set_index("row").loc[side.index].assign(**{GAP: side["target"]}) for run, side in sides]
    theirs, ours = same_rows(*tables)
    note = "Rows without an id have other names where columns changed: paired by the columns that both have"
    return theirs, ours, [f"{note}; few are held out on both sides. Name a column with the role id."]


def _side(run: Run, rows: pd.Index) -> Side:
    """The run's predictions for the holdout, in the order of ``rows``: one array a seed and one a fold."""
    frame = run.predictions[run.predictions["part"].str.startswith("holdout")]
    parts = frame.groupby(["part", "seed"])
    found = {key: run.scores(part.set_index("row").loc[rows]) for key, part in parts}
    seeds = [found["holdout", seed] for seed in run.manifest["seeds"]]
    return Side(seeds, [p for (part, _), p in found.items() if part != "holdout"])


def _thresholds(run: Run, costs: params.Costs | None) -> tuple[float, list[float]]:
    """The threshold that the run would have chosen on its folds, had it known these costs; and its draws."""
    folds = run.predictions[run.predictions["part"].str.startswith("fold")]
    choice = run.target(folds), run.scores(folds), costs, sampling.sample(folds)
    return best_threshold(*choice), draw_thresholds(sampling.draws(folds), *choice)


def _overall(gated: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """The worst gated metric decides; better needs one that is better and none that is worse."""
    for verdict in ("worse", "better", "unclear"):
        of = {r["label"]: r for r in gated.values() if r["verdict"] == verdict}
        if verdict == "unclear" and of:
            rows = [r["rows_needed"] for r in of.values()]
            needed = (
                f"about {max(r for r in rows if r):,} holdout rows would tell" if all(rows) else "training is too noisy"
            )
            return verdict, f"these rows cannot tell for {', '.join(of)}; {needed}"
        if of:
            return verdict, f"{verdict} in {', '.join(of)}"
    return "same", "every gated metric stays inside its margin"
