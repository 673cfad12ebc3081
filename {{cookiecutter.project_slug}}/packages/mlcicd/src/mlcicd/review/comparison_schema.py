"""The schema of ``comparison.json``: what a comparison of two runs found, for programs and for the report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mlcicd.core.json_files import JsonFile

SCHEMA = 1
Verdict = Literal["better", "worse", "same", "unclear"]


class Result(JsonFile):
    """One metric, on both sides: see :func:`mlcicd.review.compare.compare` for the meaning of each number."""

    label: str
    family: Literal["gated", "other"]
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    noise: dict[Literal["rows", "training"], float | None]
    detectable: float
    rows_needed: int | None
    margin: float | None
    kind: str | None
    verdict: Verdict
    gate: Literal["pass", "fail"] | None


class Comparison(JsonFile):
    """A comparison; one that could not be made has no metrics, and its reason says why."""

    version: Literal[1] = Field(alias="schema")
    verdict: Verdict | Literal["not-comparable"]
    passed: bool
    reason: str
    metrics: dict[str, Result]
    rows: dict[str, int]
    notes: list[str] = Field(default_factory=list)
    changes: dict[str, Any] | None = None
