"""Generate the model card from a run (Mitchell et al., "Model Cards for Model Reporting", 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlcicd.contract.schema import Contract
from mlcicd.core.params import Params
from mlcicd.evaluation import metrics, slices
from mlcicd.rendering import curves
from mlcicd.rendering.blocks import Block, Items, Report, Section, Table, Text, money, number
from mlcicd.review import review_report
from mlcicd.tasks.task import Task
from mlcicd.training.run import Run

NOT_STATED = "not stated; write it under description in contract.yaml"
WORST = 10


def card(run: Run) -> Report:
    """Build the model card of a run."""
    contract, chosen = run.contract, run.params
    description, results = contract.description, run.metrics
    side = review_report.sides({"holdout": run})[0]
    uses = {"Intended use": description.purpose, "How it is used": description.usage, "Limits": description.limitations}
    rows = f"{results['rows']['train']:,} rows to train on, {results['rows']['holdout']:,} held out"
    blocks: list[Block] = [
        Items([f"{title}: {text or NOT_STATED}" for title, text in uses.items()]),
        review_report.measured(run),
        Text(f"{rows}. Split: {results['split']['reason']}."),
        *_decision(results, chosen),
        *_confusion(run.task, side, [str(c) for c in results["classes"]]),
        *_slices(run, side, chosen),
    ]
    warnings = review_report.warnings_of(run)
    blocks += [Items(warnings)] if warnings else []
    importance = [[name, number(lost)] for name, lost in results["checks"]["importance"].items()]
    importance.sort(key=lambda row: -results["checks"]["importance"][row[0]])
    blocks += [
        Section("Data", [_columns(contract, results["missing"])]),
        Section("Feature importance", [Table("Loss when a column is shuffled", "lr", ["column", "loss"], importance)]),
        Section("Curves", list(curves.draw(chosen.task, [side], chosen.costs))),
        Section("Provenance", [Table("Provenance", "ll", ["what", "which"], _provenance(run))]),
    ]
    return Report(f"Model card: {contract.name or contract.id}", blocks)


def _decision(results: dict[str, Any], chosen: Params) -> list[Block]:
    if results["threshold"] is None:
        return []
    text = f"From a probability of {results['threshold']:.3f} on, the answer is {results['classes'][1]}."
    if chosen.costs:
        costs, sign = chosen.costs, chosen.costs.currency
        text += f" A false positive costs {money(costs.false_positive, sign)}, "
        text += f"a false negative {money(costs.false_negative, sign)}."
    return [Text(text)]


def _confusion(task: Task, side: curves.Side, classes: list[str]) -> list[Block]:
    if not classes or len(classes) > WORST:
        return []
    predicted = task.decide(side.p, side.threshold)
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (side.y.astype(int), predicted), 1)
    rows = [[f"is {name}", *(f"{n:,}" for n in row)] for name, row in zip(classes, counts, strict=True)]
    return [
        Table("Decisions on the holdout", "l" + "r" * len(classes), ["", *(f"predicted {c}" for c in classes)], rows)
    ]


def _slices(run: Run, side: curves.Side, chosen: Params) -> list[Block]:
    """Tabulate the slices with the largest mean cost or loss per row."""
    known = metrics.metrics_for(chosen.task, side.threshold, chosen.costs)
    metric = next(known[name] for name in slices.losses() if name in known)
    assert metric.rows is not None  # true for all losses()
    loss, slices_found = metric.rows(side.y, side.p), []
    for column, codes, labels in slices.groupings(run.holdout.drop(columns="row")):
        for k, label in enumerate(labels):
            inside = codes == k
            if inside.sum() >= slices.LEAST:
                slices_found.append((float(loss[inside].mean()), [f"{column}: {label}", f"{inside.sum():,}"]))
    slices_found.sort(key=lambda item: (-item[0], item[1]))
    rows = [["all rows", f"{len(loss):,}", number(float(loss.mean()))]]
    rows += [[*row, number(mean)] for mean, row in slices_found[:WORST]]
    return [
        Table(f"Slices with the worst performance, by {metric.label}", "lrr", ["slice", "rows", metric.label], rows)
    ]


def _columns(contract: Contract, missing: dict[str, float]) -> Table:
    rows = [
        [p.name, p.role or "feature", p.logicalType, f"{missing.get(p.name, 0):.1%}", p.description or ""]
        for p in contract.table.properties
    ]
    return Table("Columns", "lllrl", ["column", "role", "type", "missing", "description"], rows)


def _provenance(run: Run) -> list[list[str]]:
    manifest = run.manifest
    facts = {
        "commit": f"{manifest['commit']}{' with uncommitted changes' if manifest['uncommitted_changes'] else ''}",
        **{f"data {name}": digest for name, digest in manifest["data"].items()},
        **{key: manifest[key] for key in ("contract", "params", "lock", "python")},
        **manifest["libraries"],
        "seeds": ", ".join(map(str, manifest["seeds"])),
    }
    return [[name, str(value)] for name, value in facts.items() if value]
