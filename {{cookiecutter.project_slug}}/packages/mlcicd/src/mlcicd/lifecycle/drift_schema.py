"""The schema of ``drift.json``: how far each column has moved since training, and whether that is drift."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mlcicd.core.json_files import JsonFile

SCHEMA = 1


class Column(JsonFile):
    """One column, then and now.

    Attributes
    ----------
    distance : 0, the same distribution, to 1, no overlap
    p, adjusted : of no difference, before and after the correction for the number of columns
    missing, median : then and now; a category has no median
    new_values : categories that training never saw, and how many rows have them
    """

    distance: float
    p: float
    missing: list[float]
    median: list[float | None] | None
    new_values: dict[str, int]
    drift: bool


class Drift(JsonFile):
    """A comparison of new data with a run's holdout rows: see :func:`mlcicd.lifecycle.drift.drift`."""

    version: Literal[1] = Field(1, alias="schema")
    verdict: Literal["stable", "drift", "contract-broken"]
    source: str
    rows: dict[Literal["reference", "new"], int]
    columns: dict[str, Column]
    prediction: Column | None
    performance: dict[str, dict[str, Any]] | None
    moved: list[str]
    violations: list[str]
    window: dict[str, Any]
