"""What a run leaves for its service to read: the model, its contract, bins for monitoring, what may be said of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from . import bins, markdown, params
from . import contract as contracts
from .card import card
from .contract_example import example_record
from .errors import Refusal
from .files import read_yaml
from .odcs import SchemaObject
from .records import Door
from .runs import Run, sha256, write_json

COVERAGE = 0.9
# What the service reads, and what `ml audit` asks for later.
PACKED = ("model.skops", "contract.yaml", "metrics.json", "params.yaml", "manifest.json", "release.json", "review.md")


def version_of(run: Run) -> str:
    """Name a model by its commit and its bytes: the same commit and lock give the same version."""
    dirty = "-dirty" if run.manifest["uncommitted_changes"] else ""
    return f"{(run.manifest['commit'] or '0000000')[:7]}-{str(sha256(run.path / 'model.skops'))[:8]}{dirty}"


def _example(obj: SchemaObject) -> dict[str, Any] | None:
    """A record that the service accepts, or None where the contract does not say enough to draw one."""
    record = example_record(obj)
    try:
        Door(obj).read(json.dumps([record]).encode())
    except Refusal:
        return None
    return record


def stage(run: Run, target: Path) -> Path:
    """Lay out what the service reads: the model, its contract, and what may be said about them."""
    target.mkdir(parents=True)
    for name in PACKED:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, target / name)
    contract, chosen = contracts.load(run.path / "contract.yaml"), params.load(run.path / "params.yaml")
    seed = run.manifest["seeds"][0]  # noqa: F841 - the query reads it
    held = run.predictions.query("part == 'holdout' and seed == @seed")
    columns = contract.table.features
    chosen_bins = {p.name: bins.choose(run.holdout[p.name], p) for p in columns}
    about = {
        "limits": chosen.service.model_dump(),
        "bins": chosen_bins,
        "shares": {p.name: bins.shares(run.holdout[p.name], chosen_bins[p.name], p) for p in columns},
        "outputs": np.linspace(0.05, 0.95, 19).round(2).tolist(),
        "example": _example(contract.table),
        "purpose": contract.description.purpose or "",
        "model": {
            "name": contract.name or contract.id,
            "version": version_of(run),
            "commit": run.manifest["commit"],
            "target": contract.target.name,
            **{key: run.metrics[key] for key in ("task", "classes", "threshold", "holdout", "rows")},
            "contract": read_yaml(run.path / "contract.yaml", "train the run again"),
            "card": markdown.render(card(run)),
        },
    }
    if run.metrics["task"] == "regression":
        # Split conformal prediction: the rank is raised so that the interval keeps its promise on finite samples.
        errors = np.sort((held["target"] - held["prediction"]).abs().to_numpy())
        about["interval"] = float(errors[min(len(errors), int(np.ceil(COVERAGE * (len(errors) + 1)))) - 1])
        about["outputs"] = np.unique(np.quantile(held["prediction"], np.linspace(0.05, 0.95, 19))).tolist()
    predicted = held["prediction"]
    if run.metrics["task"] == "multiclass":
        names = [str(c) for c in run.metrics["classes"]]  # also those that were never predicted, so that all sum to 1
        about["predicted"] = predicted.value_counts(normalize=True).reindex(names, fill_value=0.0).to_dict()
    else:  # as in a histogram of Prometheus: the share up to each edge
        about["predicted"] = {edge: float((predicted <= edge).mean()) for edge in about["outputs"]}
    write_json(target / "serving.json", about)
    return target
