"""What a tracker is given of a run or a review: plain values, the same for each tracker."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlcicd.core.json_files import read_json
from mlcicd.core.params import flatten
from mlcicd.core.yaml_io import read_yaml
from mlcicd.system.git import git
from mlcicd.system.marks import MARK
from mlcicd.training.run import MANIFEST, METRICS, MODEL, PARAMS, Manifest, Metrics, sha256

COMPARISON = "comparison.json"
KEY = "mlcicd.key"  # the tag that finds a run again


@dataclass(frozen=True)
class Record:
    """What is sent.

    Attributes
    ----------
    key : SHA-256 of the file that names all others; whoever sends the same run again, and whenever, has the same key
    at : when it was finished
    folds : each metric on each fold's own rows; None: the fold cannot tell
    inputs : SHA-256 of raw data, by file
    files : by their path in the tracker
    run : the run's folder, if it holds a model
    """

    key: str
    name: str
    at: datetime
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    folds: dict[str, list[float | None]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    run: Path | None = None


def key_of(run: Path) -> str:
    """Return the key of a run."""
    return str(sha256(run / MANIFEST))


def of_run(run: Path, root: Path) -> Record:
    """Return what a tracker is given of a run.

    Raises
    ------
    InputError
        The folder is no run, or its files are not what ``ml train`` writes.
    """
    manifest, summary = read_json(run / MANIFEST, Manifest), read_json(run / METRICS, Metrics)
    made = manifest["trained_at"]
    at = datetime.fromisoformat(made) if made else datetime.fromtimestamp((run / MANIFEST).stat().st_mtime, UTC)
    commit = str(manifest["head"] or manifest["commit"] or "")
    counted = {f"rows_{part}": count for part, count in summary["rows"].items()}
    counted |= {name: manifest[name] for name in ("seconds", "model_bytes")} | {"threshold": summary["threshold"]}
    tags = {
        "commit": commit,
        "uncommitted_changes": str(manifest["uncommitted_changes"]).lower(),
        "task": summary["task"],
        "split": str(summary["split"].get("method", "")),
        "contract": str(manifest["contract"] or ""),
        "data": ", ".join(f"{name} {str(digest)[:12]}" for name, digest in manifest["data"].items()),
        **_place(root, manifest),
    }
    names = sorted(path for path in run.rglob("*") if path.is_file() and path.name != MARK)
    return Record(
        key_of(run),
        f"{commit[:7] or 'run'}{'+' * manifest['uncommitted_changes']} {at:%Y-%m-%d %H:%M}",
        at,
        flatten(read_yaml(run / PARAMS, "train the run again")),
        _finite(_with_ends(summary["holdout"]) | counted),
        summary["cross_validation"],
        {name: value for name, value in tags.items() if value},
        {name: str(digest) for name, digest in manifest["data"].items() if digest},
        {_within(path.relative_to(run)): path for path in names},
        run if (run / MODEL).is_file() else None,
    )


def of_review(folder: Path) -> Record:
    """Return what a tracker is given of a review, whose folder holds ``comparison.json`` and the candidate."""
    path = folder / COMPARISON
    found = read_json(path, remedy="review again")
    metrics: dict[str, Any] = {}
    for name, result in found.get("metrics", {}).items():
        metrics |= {f"{name}_{part}": result[part] for part in ("baseline", "candidate", "difference", "low", "high")}
    manifest = read_json(folder / "candidate" / MANIFEST, Manifest)
    tags = {
        "verdict": str(found["verdict"]),
        "passed": str(found["passed"]).lower(),
        "reason": str(found.get("reason", "")),
        "commit": str(manifest["head"] or manifest["commit"] or ""),
        **_place(Path(), manifest),
    }
    at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    name = f"review {tags['pull_request'] if 'pull_request' in tags else tags['commit'][:7]}"
    return Record(str(sha256(path)), name, at, {}, _finite(metrics), {}, tags, {}, {COMPARISON: path})


def _within(path: Path) -> str:
    return path.as_posix() if path.parts[0] == "plots" else f"run/{path.as_posix()}"


def _with_ends(holdout: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        f"{name}{end}": measured[part]
        for name, measured in holdout.items()
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }


def _finite(values: dict[str, Any]) -> dict[str, float]:
    """Leave out what is not known: NaN where the rows cannot tell, None where there is no threshold."""
    return {name: float(v) for name, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}


def _place(root: Path, manifest: dict[str, Any]) -> dict[str, str]:
    """Return branch and pull request, if the run is of the commit that is checked out here."""
    if not manifest["commit"] or git(root, "rev-parse", "HEAD") != manifest["commit"]:
        return {}
    env = os.environ
    named = ("GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH")
    branch = next(filter(None, map(env.get, named)), "") or git(root, "branch", "--show-current") or ""
    pull = re.fullmatch(r"refs/pull/(\d+)/merge", env.get("GITHUB_REF", ""))
    merge = re.fullmatch(r"\d+", env.get("CI_MERGE_REQUEST_IID", ""))
    number = f"#{pull[1]}" if pull else f"!{merge[0]}" if merge else ""
    return ({"branch": branch} if branch else {}) | ({"pull_request": number} if number else {})
