"""Export what the service needs of a run: the model, its contract, monitoring bins and metadata."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mlcicd.core.json_files import write_json
from mlcicd.core.yaml_io import read_yaml
from mlcicd.lifecycle.model_card import card
from mlcicd.rendering import markdown
from mlcicd.serving import monitoring_bins, serving_schema
from mlcicd.training.run import CONTRACT, MODEL, PACKED, Run, sha256
from mlcicd.validation.example_record import accepted_record

COVERAGE = 0.9  # of prediction intervals


def version_of(run: Run) -> str:
    """Return a model's version, made of its commit and its bytes: the same commit and lock give the same version."""
    dirty = "-dirty" if run.manifest["uncommitted_changes"] else ""
    return f"{(run.manifest['commit'] or '0000000')[:7]}-{str(sha256(run.path / MODEL))[:8]}{dirty}"


def export_run(run: Run, target: Path) -> Path:
    """Write the artefacts that the service reads to a new folder, and return it."""
    target.mkdir(parents=True)
    for name in PACKED:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, target / name)
    contract, holdout = run.contract, run.holdout_predictions
    columns, predicted = contract.table.features, holdout["prediction"]
    edges = run.task.bins(predicted)
    bins = {p.name: monitoring_bins.choose_bins(run.holdout[p.name], p) for p in columns}
    metadata: dict[str, Any] = {
        "schema": serving_schema.SCHEMA,
        "limits": run.params.service.model_dump(),
        "bins": bins,
        "shares": {p.name: monitoring_bins.bin_shares(run.holdout[p.name], bins[p.name], p) for p in columns},
        "outputs": edges,
        "predicted": run.task.reference(predicted, edges, run.metrics["classes"]),
        "example": accepted_record(contract.table),
        "purpose": contract.description.purpose or "",
        "model": {
            "name": contract.name or contract.id,
            "version": version_of(run),
            "commit": run.manifest["commit"],
            "target": contract.target.name,
            **{key: run.metrics[key] for key in ("task", "classes", "threshold", "holdout", "rows")},
            "contract": read_yaml(run.path / CONTRACT, "train the run again"),
            "card": markdown.render(card(run)),
        },
    }
    interval = run.task.interval(holdout["target"], predicted, COVERAGE)
    if interval is not None:
        metadata["interval"] = interval
    write_json(target / "serving.json", metadata)
    return target
