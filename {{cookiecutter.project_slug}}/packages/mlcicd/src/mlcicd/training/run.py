"""A run: the folder with everything that one training left behind, written atomically."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from mlcicd import tasks
from mlcicd.contract import document as contracts
from mlcicd.contract.schema import Contract
from mlcicd.core import params
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import JsonFile, read_json
from mlcicd.sources import raw_files
from mlcicd.sources.pins import sha256 as sha256
from mlcicd.system import outputs
from mlcicd.system.git import git
from mlcicd.tasks.task import Task

SCHEMA = 2  # of a run's files; another number where a comparison or a command could misread older ones
LIBRARIES = ("scikit-learn", "pandas", "numpy", "scipy", "skrub", "skops", "pyarrow")
SOURCES = ("src/**/*.py", "packages/*/src/**/*.py", "pyproject.toml", "packages/*/pyproject.toml")

# The files of a run.
METRICS, MANIFEST, MODEL, RELEASE = "metrics.json", "manifest.json", "model.skops", "release.json"
CONTRACT, PARAMS = "contract.yaml", "params.yaml"
PREDICTIONS, HOLDOUT, ROWS = "predictions.parquet", "holdout.parquet", "rows.parquet"
FILES = (METRICS, PREDICTIONS, HOLDOUT, MODEL, MANIFEST)  # a folder without one of these is not a run
PACKED = (MODEL, CONTRACT, METRICS, PARAMS, MANIFEST, RELEASE, "review.md")  # copied into a bento if present


class Estimate(JsonFile):
    """A metric on the holdout, with its interval; NaN where the rows cannot tell."""

    value: float
    low: float
    high: float


class Metrics(JsonFile):
    """What a training measured.

    Attributes
    ----------
    classes : in the order of probabilities; empty for a regression
    threshold, threshold_draws : where a probability becomes the positive class, and other choices as good
    holdout, cross_validation : each metric on the holdout, and on each fold's own rows (None: the fold cannot tell)
    rows : how many train, and how many are held out
    checks, missing, missingness, warnings : what the diagnostics found
    search : the model's arguments that a search chose
    """

    task: str
    classes: list[bool | int | float | str]
    threshold: float | None = None
    threshold_draws: list[float] = Field(default_factory=list)
    holdout: dict[str, Estimate] = Field(default_factory=dict)
    cross_validation: dict[str, list[float | None]] = Field(default_factory=dict)
    rows: dict[Literal["train", "holdout"], int] = Field(default_factory=dict)
    split: dict[str, Any] = Field(default_factory=dict)
    checks: dict[str, Any] = Field(default_factory=dict)
    missing: dict[str, float] = Field(default_factory=dict)
    missingness: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    confidence: float = 0.95
    search: dict[str, Any] | None = None

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in tasks.KINDS:
            raise ValueError(f"must be one of {', '.join(tasks.KINDS)}")
        return task


class Source(JsonFile):
    """Where a raw file is stored, and the version that the commit names; None where it is in no commit as it was."""

    store: str
    version: str | None


class Manifest(JsonFile):
    """What a run is made of: commit, SHA-256 of files, libraries, seeds.

    Attributes
    ----------
    version : the schema of the run's files; runs from before there were versions have 1
    head : the commit that people know, where CI trained a merge of it
    commit_time : in seconds since 1970, as git writes it
    trained_at : when the training ended, in UTC
    changed_meanwhile : files that were changed while the training ran
    seconds, model_bytes : how long the training took, and the size of the model's file
    """

    version: int = Field(1, alias="schema")
    commit: str | None = None
    head: str | None = None
    commit_time: str | None = None
    uncommitted_changes: bool = False
    data: dict[str, str | None] = Field(default_factory=dict)
    sources: dict[str, Source] = Field(default_factory=dict)
    contract: str | None = None
    params: str | None = None
    lock: str | None = None
    code: dict[str, str | None] = Field(default_factory=dict)
    files: dict[str, str | None] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)
    python: str = ""
    trained_at: str | None = None
    changed_meanwhile: list[str] = Field(default_factory=list)
    seeds: list[int] = Field(min_length=1)
    seconds: float = 0
    model_bytes: int = 0


@dataclass(frozen=True)
class Run:
    """Reads a finished run; each file once."""

    path: Path

    def __post_init__(self) -> None:
        outputs.recover(self.path)
        missing = [name for name in FILES if not (self.path / name).is_file()]
        if missing:
            raise InputError(f"{self.path}: not a run (no {missing[0]}); make one with 'ml train --out {self.path}'")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        return read_json(self.path / METRICS, Metrics)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return read_json(self.path / MANIFEST, Manifest)

    @cached_property
    def contract(self) -> Contract:
        return contracts.load(self.path / CONTRACT)

    @cached_property
    def params(self) -> params.Params:
        return params.load(self.path / PARAMS)

    @property
    def schema(self) -> int:
        """The version of the run's files; runs from before there were versions have 1."""
        return int(self.manifest["schema"])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Columns ``row`` (text), ``part``, ``seed``, ``target``, ``prediction``.

        With a group or a time column in the contract, also ``group`` and ``time``, but for older runs. Parts are
        ``holdout``, ``fold-1`` …, and the holdout as a fold's model sees it, ``holdout-fold-1`` ….
        """
        return pd.read_parquet(self.path / PREDICTIONS)

    @property
    def task(self) -> Task:
        """The kind of task."""
        return tasks.of(self.metrics["task"])

    def target(self, predictions: pd.DataFrame) -> np.ndarray:
        """Return the target of rows of :attr:`predictions` as metrics take it, (n,)."""
        return self.task.stored_target(predictions, self.metrics["classes"])

    def scores(self, predictions: pd.DataFrame) -> np.ndarray:
        """Return the model's scores of rows of :attr:`predictions` as metrics take them, (n,) or (n, classes)."""
        return self.task.stored_scores(predictions, self.metrics["classes"])

    @cached_property
    def holdout_predictions(self) -> pd.DataFrame:
        """The predictions of :attr:`holdout`'s rows, in their order, by the first seed's model."""
        frame = self.predictions
        first = frame[(frame["part"] == "holdout") & (frame["seed"] == self.manifest["seeds"][0])]
        return first.set_index("row").loc[self.holdout["row"]].reset_index()

    @cached_property
    def rows(self) -> pd.DataFrame | None:
        """Hashes of each row, by row id: see :func:`row_identity.row_hashes`; None in runs of older versions."""
        path = self.path / ROWS
        return pd.read_parquet(path).set_index("row") if path.is_file() else None

    @cached_property
    def holdout(self) -> pd.DataFrame:
        """The feature columns of the holdout rows, with ``row`` first."""
        return pd.read_parquet(self.path / HOLDOUT)


def say(message: str) -> None:
    """Show progress on a terminal; stay quiet in CI."""
    if sys.stderr.isatty():
        print(message, file=sys.stderr)


def _packages() -> dict[str, str]:
    """Every installed package and its version, by the names of folders: reading their metadata takes half a second."""
    folders = (path.stem for place in sys.path for path in Path(place).glob("*.dist-info"))
    named = (stem.rpartition("-") for stem in folders)
    return {name.replace("_", "-").lower(): version for name, _, version in named}


def _head(root: Path) -> str | None:
    """The commit that people know: on a pull request a CI may check out a merge of it, whose second parent it is."""
    on_github = os.environ.get("GITHUB_EVENT_NAME") == "pull_request"
    on_gitlab = bool(os.environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"))  # a pipeline for merged results
    merged = on_github or on_gitlab
    return (merged and git(root, "rev-parse", "--verify", "HEAD^2")) or git(root, "rev-parse", "HEAD")


def provenance(root: Path, data: list[str]) -> dict[str, Any]:
    """Return which commit, data, contract, params, lock, code and libraries a run is made of."""
    packages = _packages()
    return _inputs(root, data) | {
        "schema": SCHEMA,
        "sources": {name: _source(root, name) for name in data},
        "head": _head(root),
        "commit_time": git(root, "show", "--no-patch", "--format=%ct", "HEAD"),
        "uncommitted_changes": bool(git(root, "status", "--porcelain", "--untracked-files=no", "--", ".")),
        "libraries": {name: packages[name] for name in LIBRARIES if name in packages},
        "packages": packages,
        "python": platform.python_version(),
    }


def _source(root: Path, name: str) -> dict[str, str | None]:
    pin = raw_files.pin_of(root, name)
    at = {"location": pin.location, "revision": pin.revision} if pin.location else {}
    return {"store": pin.store, "version": pin.version} | at


def _inputs(root: Path, data: list[str]) -> dict[str, Any]:
    sources = sorted(path for pattern in SOURCES for path in root.glob(pattern))
    return {
        "commit": git(root, "rev-parse", "HEAD"),
        "data": {name: sha256(root / name) for name in data},
        "contract": sha256(root / CONTRACT),
        "params": sha256(root / PARAMS),
        "lock": sha256(root / "uv.lock"),
        "code": {path.relative_to(root).as_posix(): sha256(path) for path in sources},
    }


def changes_since(root: Path, made: dict[str, Any]) -> list[str]:
    """Return the names of what a run is made of that is no longer as :func:`provenance` found it."""
    now = _inputs(root, list(made["data"]))
    names = {"commit": "the commit", "contract": CONTRACT, "params": PARAMS, "lock": "uv.lock"}
    changed = [name for key, name in names.items() if now[key] != made[key]]
    for files in ("data", "code"):
        changed += [n for n in sorted(now[files].keys() | made[files]) if now[files].get(n) != made[files].get(n)]
    return changed
