"""The schemas of a run's ``metrics.json`` and ``manifest.json``.

What every version wrote is required; what came later has a default or is None, so that older runs stay readable.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from mlcicd import tasks
from mlcicd.core.json_files import JsonFile

SCHEMA = 2  # of a run's files; another number where a comparison or a command could misread older ones


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
    threshold_draws: list[float] = []
    holdout: dict[str, Estimate] = {}
    cross_validation: dict[str, list[float | None]] = {}
    rows: dict[Literal["train", "holdout"], int] = {}
    split: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    missing: dict[str, float] = {}
    missingness: dict[str, Any] = {}
    warnings: list[str] = []
    confidence: float = 0.95
    search: dict[str, Any] | None = None

    @field_validator("task")
    @classmethod
    def _known(cls, task: str) -> str:
        if task not in tasks.KINDS:
            raise ValueError(f"must be one of {', '.join(tasks.KINDS)}")
        return task


class Manifest(JsonFile):
    """What a run is made of: commit, SHA-256 of files, libraries, seeds.

    Attributes
    ----------
    version : the schema of the run's files; runs from before there were versions have 1
    head : the commit that people know, where CI trained a merge of it
    commit_time : in seconds since 1970, as git writes it
    changed_meanwhile : files that were changed while the training ran
    seconds, model_bytes : how long the training took, and the size of the model's file
    """

    version: int = Field(1, alias="schema")
    commit: str | None = None
    head: str | None = None
    commit_time: str | None = None
    uncommitted_changes: bool = False
    data: dict[str, str | None] = {}
    contract: str | None = None
    params: str | None = None
    lock: str | None = None
    code: dict[str, str | None] = {}
    files: dict[str, str | None] = {}
    libraries: dict[str, str] = {}
    packages: dict[str, str] = {}
    python: str = ""
    changed_meanwhile: list[str] = []
    seeds: list[int] = Field(min_length=1)
    seconds: float = 0
    model_bytes: int = 0
