"""What a run leaves for its service to read: the model, its contract, bins for monitoring, what may be said of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from . import bins, markdown, params
from . import contract as contracts
from .card import card
from .files import read_yaml
from .rules import PUBLIC
from .runs import Run, sha256, write_json
from .smoke import sample

COVERAGE = 0.9
# What the service reads, and what `ml audit` asks for later.
PACKED = ("model.skops", "contract.yaml", "metrics.json", "params.yaml", "manifest.json", "release.json", "review.md")


def version_of(run: Run) -> str:
    """Name a model by its commit and its bytes: the same commit and lock give the same version."""
    dirty = "-dirty" if run.manifest["uncommitted_changes"] else ""
    return f"{(run.manifest['commit'] or '0000000')[:7]}-{str(sha256(run.path / 'model.skops'))[:8]}{dirty}"


def stage(run: Run, target: Path) -> Path:
    """Lay out what the service reads: the model, its contract, and what may be said about them."""
    target.mkdir(parents=True)
    for name in PACKED:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, target / name)
    contract, chosen = contracts.load(run.path / "contract.yaml"), params.load(run.path / "params.yaml")
    seed = run.manifest["seeds"][0]  # noqa: F841 - the query reads it
    held = run.predictions.query("part == 'holdout' and seed == @seed")
    row = sample(run, 1)[0][0]
    columns = contract.table.features
    public = {p.name: row[p.name] if p.classification in PUBLIC else None for p in columns}
    chosen_bins = {p.name: bins.choose(run.holdout[p.name], p) for p in columns}
    about = {
        "limits": chosen.service.model_dump(),
        "bins": chosen_bins,
        "shares": {p.name: bins.shares(run.holdout[p.name], chosen_bins[p.name], p) for p in columns},
        "outputs": np.linspace(0.05, 0.95, 19).round(2).tolist(),
        "example": {p.name: p.examples[0] if p.examples else public[p.name] for p in columns},
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
