"""The model card: written from the run, not by hand (Mitchell et al., "Model Cards for Model Reporting", 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import charts, metrics, params, report, slices
from . import contract as contracts
from .blocks import Block, Items, Report, Section, Table, Text, money, number
from .odcs import Contract
from .params import Params
from .runs import Run

OPEN = "not stated; write it under description in contract.yaml"
WORST = 10


def card(run: Run) -> Report:
    """Lay out the model card of a run."""
    contract = contracts.load(run.path / "contract.yaml")
    chosen = params.load(run.path / "params.yaml")
    about, found = contract.description, run.metrics
    side = report.sides({"holdout": run})[0]
    uses = {"Intended use": about.purpose, "How it is used": about.usage, "Limits": about.limitations}
    rows = f"{found['rows']['train']:,} rows to train on, {found['rows']['holdout']:,} held out"
    blocks: list[Block] = [
        Items([f"{title}: {text or OPEN}" for title, text in uses.items()]),
        report.measured(run),
        Text(f"{rows}. Split: {found['split']['reason']}."),
        *_decision(found, chosen),
        *_confusion(side, [str(c) for c in found["classes"]]),
        *_slices(run, side, chosen),
    ]
    odd = report.noticed(run)
    blocks += [Items(odd)] if odd else []
    importance = [[name, number(lost)] for name, lost in found["checks"]["importance"].items()]
    importance.sort(key=lambda row: -found["checks"]["importance"][row[0]])
    blocks += [
        Section("Data", [_columns(contract, found["missing"])]),
        Section("What it looks at", [Table("Lost when a column is shuffled", "lr", ["column", "lost"], importance)]),
        Section("Curves", list(charts.draw(chosen.task, [side], chosen.costs))),
        Section("Made from", [Table("Provenance", "ll", ["what", "which"], _provenance(run))]),
    ]
    return Report(f"Model card: {contract.name or contract.id}", blocks)


def _decision(found: dict[str, Any], chosen: Params) -> list[Block]:
    if found["threshold"] is None:
        return []
    text = f"From a probability of {found['threshold']:.3f} on, the answer is {found['classes'][1]}."
    if chosen.costs:
        costs, sign = chosen.costs, chosen.costs.currency
        text += f" A false positive costs {money(costs.false_positive, sign)}, "
        text += f"a false negative {money(costs.false_negative, sign)}."
    return [Text(text)]


def _confusion(side: charts.Side, classes: list[str]) -> list[Block]:
    if not classes or len(classes) > WORST:
        return []
    guess = side.p.argmax(axis=1) if side.p.ndim > 1 else (side.p >= side.threshold).astype(int)
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (side.y.astype(int), guess), 1)
    rows = [[f"is {name}", *(f"{n:,}" for n in row)] for name, row in zip(classes, counts, strict=True)]
    return [Table("Decisions on the holdout", "l" + "r" * len(classes), ["", *(f"said {c}" for c in classes)], rows)]


def _slices(run: Run, side: charts.Side, chosen: Params) -> list[Block]:
    """The slices that the model serves worst, by what one row costs or loses."""
    known = metrics.metrics_for(chosen.task, side.threshold, chosen.costs)
    metric = next(known[name] for name in slices.LOSSES if name in known)
    assert metric.rows is not None  # LOSSES holds only such
    loss, found = metric.rows(side.y, side.p), []
    for column, codes, labels in slices.groupings(run.holdout.drop(columns="row")):
        for k, label in enumerate(labels):
            inside = codes == k
            if inside.sum() >= slices.LEAST:
                found.append((float(loss[inside].mean()), [f"{column}: {label}", f"{inside.sum():,}"]))
    found.sort(key=lambda item: (-item[0], item[1]))
    rows = [["all rows", f"{len(loss):,}", number(float(loss.mean()))]]
    rows += [[*row, number(mean)] for mean, row in found[:WORST]]
    return [Table(f"Where it serves worst, by {metric.label}", "lrr", ["slice", "rows", metric.label], rows)]


def _columns(contract: Contract, missing: dict[str, float]) -> Table:
    rows = [
        [p.name, p.role or "feature", p.logicalType, f"{missing.get(p.name, 0):.1%}", p.description or ""]
        for p in contract.table.properties
    ]
    return Table("Columns", "lllrl", ["column", "part", "type", "missing", "meaning"], rows)


def _provenance(run: Run) -> list[list[str]]:
    made = run.manifest
    facts = {
        "commit": f"{made['commit']}{' with uncommitted changes' if made['uncommitted_changes'] else ''}",
        **{f"data {name}": digest for name, digest in made["data"].items()},
        **{key: made[key] for key in ("contract", "params", "lock", "python")},
        **made["libraries"],
        "seeds": ", ".join(map(str, made["seeds"])),
    }
    return [[name, str(value)] for name, value in facts.items() if value]
