"""The schema of ``serving.json``: what the service knows beside the model and its contract."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mlcicd.core.json_files import JsonFile

SCHEMA = 1


class About(JsonFile):
    """The model as ``/model`` shows it, with what the run measured."""

    name: str
    version: str
    commit: str | None
    target: str
    task: str
    classes: list[bool | int | float | str]
    threshold: float | None


class Serving(JsonFile):
    """What ``ml package`` writes beside a model.

    Attributes
    ----------
    limits : of requests, as ``service`` in ``params.yaml`` sets them
    bins, shares : for each feature, bins and the shares of the holdout in them
    outputs, predicted : bounds of the predictions' bins, and the holdout's shares
    interval : half its width: how far a value lies from its prediction nine times in ten; for a regression
    example : a record that the contract allows
    """

    version: Literal[1] = Field(alias="schema")
    limits: dict[str, Any]
    bins: dict[str, list[Any]]
    shares: dict[str, list[float]]
    outputs: list[float]
    predicted: dict[str, float]
    interval: float | None = None
    example: dict[str, Any] | None
    purpose: str
    model: About
