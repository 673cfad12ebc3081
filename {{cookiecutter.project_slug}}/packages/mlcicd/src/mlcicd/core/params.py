"""``params.yaml``: every choice a person makes, typed, with no unknown keys.

``prepare``, ``features`` and ``model`` are passed as keyword arguments to the functions of the same files, whose
signatures are their schema: a new argument there is a new key here, and a misspelt key is refused by name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator, validate_call

from mlcicd import tasks
from mlcicd.core.errors import InputError, did_you_mean, explain
from mlcicd.core.yaml_io import read_yaml


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Strict):
    """How rows are divided. ``auto`` decides by the data and says why."""

    method: Literal["auto", "time", "group", "time-group", "stratified", "kfold"] = "auto"
    folds: int = Field(5, ge=2, le=50)
    holdout: float = Field(0.25, gt=0, lt=1)
    salt: int = Field(0, ge=0, lt=10_000)  # another number draws another holdout
    cutoff: float | datetime | None = None  # a number where the time column holds numbers, such as years


HALVING = 3  # so many times fewer candidates see so many times more rows, in each of three rounds


class Search(Strict):
    """A search for the model's arguments, in each fold anew; the budget, in fits and minutes, is for one of them."""

    method: Literal["random", "halving"] = "random"
    fits: int = Field(60, ge=4)
    minutes: float | None = Field(None, gt=0)  # how far it comes then depends on the machine
    folds: int = Field(3, ge=2, le=20)
    jobs: int | None = Field(None, ge=-1)  # threads; -1: every core

    @model_validator(mode="after")
    def _enough(self) -> Search:
        least = self.folds * (2 if self.method == "random" else HALVING**2 + HALVING + 1)
        if self.fits < least:
            raise ValueError(f"{self.method} with {self.folds} folds needs at least {least} fits")
        if self.jobs == 0:
            raise ValueError("jobs: 0 would do nothing; -1 takes every core")
        return self


class Costs(Strict):
    """The cost of a wrong decision: two numbers for a binary target, else a matrix by true, then predicted class."""

    currency: str = Field("$", max_length=4)
    false_positive: float = Field(0, ge=0)
    false_negative: float = Field(0, ge=0)
    matrix: dict[str | int | bool, dict[str | int | bool, float]] = {}


class Review(Strict):
    """How sure a review wants to be, and what becomes of a branch that nothing can be compared with.

    ``not_comparable: fail`` leaves to a person what no comparison decides: a base that cannot be trained, other rows,
    another target. Only where the base has no model yet, nothing is to be decided.
    """

    seeds: int = Field(3, ge=1, le=50)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    not_comparable: Literal["fail", "pass"] = "fail"


class Gate(Strict):
    """What a metric must show. ``margin`` is the largest change that nobody would mind, in the metric's own unit.

    ``not-worse`` fails what is surely worse, ``non-inferior`` what may have lost more than the margin, ``superior``
    what is not surely better.
    """

    margin: float = Field(ge=0)
    kind: Literal["not-worse", "non-inferior", "superior"] = "not-worse"


class Drift(Strict):
    """When new data counts as moved: a distance between 0 and 1 that matters, beyond chance at this significance."""

    distance: float = Field(0.06, gt=0, lt=1)
    significance: float = Field(0.05, gt=0, lt=1)


LOCAL = "local"  # the word for a cluster of this machine's own processes
SCHEDULER = re.compile(r"[a-z]+://\S+")


class Compute(Strict):
    """Where fits and partitions run: a Dask scheduler's address, or ``local`` for processes of this machine.

    ``workers`` and ``memory`` (of each of them) are for ``local``; a cluster has its own.
    """

    scheduler: str
    workers: int | None = Field(None, ge=1)
    memory: str | None = Field(None, pattern=r"^\d+(\.\d+)? ?[kMGT]i?B$")

    @model_validator(mode="after")
    def _local(self) -> Compute:
        if self.scheduler != LOCAL and not SCHEDULER.fullmatch(self.scheduler):
            raise ValueError(f"scheduler: {self.scheduler!r} is no address such as tcp://10.0.0.5:8786, nor {LOCAL}")
        if self.scheduler != LOCAL and (self.workers or self.memory):
            raise ValueError("workers and memory are for 'scheduler: local'; a cluster's own are set where it starts")
        return self


class Service(Strict):
    """Limits of the service."""

    max_records: int = Field(1000, ge=1)
    max_bytes: int = Field(5_000_000, ge=1000)


class Shadow(Strict):
    """When a release may take the traffic over, after it has answered copies of ``requests``, in so many ``minutes``.

    Gates: at least this ``agreement`` of the rows; predictions that drift by less than ``distance``; p50 and p99 of the
    ``latency`` at most so many times as long; at most this share of ``errors``.
    """

    requests: int = Field(200, ge=1)
    minutes: float = Field(10, gt=0, le=30)
    agreement: float = Field(0.9, ge=0, le=1)
    distance: float = Field(0.1, gt=0, le=1)
    latency: float = Field(2, gt=0)
    errors: float = Field(0.01, ge=0, lt=1)


TRACKERS = ("mlflow", "wandb")


class Tracking(Strict):
    """Where finished runs are sent; addresses and tokens come from the environment alone.

    ``experiment`` is the project's name where it is not given. What could not be sent is a warning, and fails the
    command if it is ``required``.
    """

    to: Literal["mlflow", "wandb"]
    experiment: str | None = Field(None, min_length=1, max_length=128)
    required: bool = False


class Params(Strict):
    """The whole file. Read it with :func:`load`."""

    seed: int = Field(ge=0, lt=2**31)
    task: str = Field(json_schema_extra={"enum": list(tasks.KINDS)})
    positive: str | int | bool | None = None
    prepare: dict[str, Any] = {}
    features: dict[str, Any] = {}
    model: dict[str, Any] = {}
    split: Split = Split()
    search: Search | None = None
    costs: Costs | None = None
    metrics: list[str] = []
    gates: dict[str, Gate] = {}
    review: Review = Review()
    drift: Drift = Drift()
    service: Service = Service()
    shadow: Shadow = Shadow()
    compute: Compute | None = None
    tracking: Tracking | None = None

    @field_validator("task", mode="before")
    @classmethod
    def _known(cls, name: object) -> object:
        *others, last = map(repr, tasks.KINDS)
        if not isinstance(name, str) or name not in tasks.KINDS:
            raise ValueError(f"Input should be {', '.join(others)} or {last}")
        return name


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check the parameters.

    Raises
    ------
    InputError
        The file is missing, not YAML, has an unknown key or a value of the wrong kind.
    """
    document = read_yaml(path, "write one with 'ml init TABLE --target COLUMN'")
    if not isinstance(document, dict):
        raise InputError(f"{path}: a mapping such as 'seed: 7' is expected at the top")
    try:
        params = Params.model_validate(document)
    except ValidationError as error:
        models = (Params, Search, Split, Costs, Review, Gate, Drift, Service, Shadow, Compute, Tracking)
        raise explain(error, str(path), {name for model in models for name in model.model_fields}) from None
    if params.costs:
        _check_costs(params.costs, params.task, path)
    return params


def flatten(value: object, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots; an empty mapping stays."""
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= flatten(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _check_costs(costs: Costs, task: str, path: str | Path) -> None:
    needed = tasks.of(task).cost_fields
    given = costs.model_fields_set - {"currency"}
    if given != needed or not needed:
        raise InputError(f"{path}: costs: task {task} takes {' and '.join(sorted(needed)) or 'none'}, not {given}")
    for true, row in costs.matrix.items():
        for guess in (set(costs.matrix) | set(row)) - {true}:
            if guess not in row or guess not in costs.matrix:
                raise InputError(f"{path}: costs.matrix: no cost for true {true!r} and predicted {guess!r}")


def call(function: Callable[..., Any], *given: Any, section: str, values: dict[str, Any], **context: Any) -> Any:
    """Call a function of the user's with one section of ``params.yaml`` as its keyword arguments.

    ``given``, and of ``context`` what the function asks for, come from the pipeline and are not the user's to set.
    """
    parameters = inspect.signature(function).parameters
    settable = [n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY and n not in context]
    for key in values:
        if key not in settable:
            raise InputError(f"params.yaml: unknown key '{section}.{key}'{did_you_mean(key, settable)}")
    wanted = {key: value for key, value in context.items() if key in parameters}
    checked = validate_call(config=ConfigDict(arbitrary_types_allowed=True))(function)
    try:
        return checked(*given, **wanted, **values)
    except ValidationError as error:
        raise explain(error, f"params.yaml: {section}") from None
