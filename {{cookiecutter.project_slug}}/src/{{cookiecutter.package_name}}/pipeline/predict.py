"""Predictions as they leave the project: one scorer for ``ml predict`` and for the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import contract, models, outputs, reserved, rules, tables
from .errors import InputError
from .marks import is_scored
from .odcs import SchemaObject
from .params import Task
from .predictions import PredictionsWriter
from .runs import read_json


class Scorer:
    """A run, ready to answer: the model, its contract, and what its predictions mean."""

    def __init__(self, run: Path) -> None:
        self.contract = contract.load(run / "contract.yaml")
        self.metrics = read_json(run / "metrics.json")
        self.model = models.load(run / "model.skops")
        self.task: Task = self.metrics["task"]
        self.threshold: float | None = self.metrics.get("threshold")
        self.classes: list[Any] = self.metrics["classes"]

    def score(self, frame: pd.DataFrame) -> dict[str, np.ndarray]:
        """Predict typed rows.

        Returns
        -------
        By column: ``prediction`` (most probable class, or value) for each row; for a binary target also ``probability``
        of the positive class and ``decision`` (the class that costs least), for a multiclass one ``p_<class>``.

        Raises
        ------
        ValueError
            The model cannot compute with a row, for example because a number overflows inside.
        """
        if self.task == "regression":
            answer = {"prediction": np.asarray(self.model.predict(frame), dtype="float64")}
            numbers = answer["prediction"]
        else:
            numbers = np.zeros((len(frame), len(self.classes)))  # the training rows may have lacked a rare class
            numbers[:, self.model.classes_] = self.model.predict_proba(frame)
            answer = self._classes(numbers)
        if not np.isfinite(numbers).all():
            raise ValueError("the prediction is not a finite number")
        return answer

    def _classes(self, p: np.ndarray) -> dict[str, np.ndarray]:
        labels = np.asarray(self.classes, dtype=object)
        if self.task == "multiclass":
            return {"prediction": labels[p.argmax(axis=1)]} | {f"p_{c}": p[:, i] for i, c in enumerate(self.classes)}
        positive = p[:, 1]
        chosen = (positive >= (0.5 if self.threshold is None else self.threshold)).astype(int)
        likely = (positive >= 0.5).astype(int)
        return {"prediction": labels[likely], "probability": positive, "decision": labels[chosen]}


def predict(table: Path, out: Path, run: Path, chunk: int = tables.CHUNK) -> int:
    """Score a table in bounded memory.

    Parameters
    ----------
    table : CSV or Parquet file shaped like the contract's table, or a folder of them; the target may be absent
    out : where the predictions go, with the id first; its name says in which kind of file
    run : the run whose model predicts
    chunk : rows in memory at a time

    Returns
    -------
    How many rows were scored.

    Raises
    ------
    InputError
        The table is missing or breaks the contract. Then ``out`` is as it was.
    """
    if out.resolve() == table.resolve():
        raise InputError(f"{out}: is the table that is to be scored; choose another --out")
    with outputs.atomic_file(out, is_scored) as work:
        return _write(table, PredictionsWriter(out, work), Scorer(run), chunk)


def _write(table: Path, writer: PredictionsWriter, scorer: Scorer, chunk: int) -> int:
    obj = rules.alone(scorer.contract.table)
    absent = [p.name for p in obj.properties if p.role is not None]
    features = [p.name for p in obj.features]
    reserved.check(obj, scorer.task, scorer.classes, "the run's contract.yaml")
    scored = 0
    try:
        for raw in tables.chunks(table, obj, chunk):
            if raw.empty:
                continue
            frame, mistyped = tables.cast(raw, obj, str(table), absent)
            if broken := rules.check(frame, obj, mistyped):
                where = f"{table}, counting from row {scored + 1:,}"
                raise InputError(f"{where}: {broken[0]}; see all with 'ml validate {table}'")
            ids = {obj.id: _as_given(raw[obj.id], frame[obj.id], obj)} if obj.id in frame else {}
            writer.write(pd.DataFrame(ids | scorer.score(frame[features])))
            scored += len(frame)
        if not scored:
            raise InputError(f"{table}: has no rows")
    finally:
        writer.close()
    return scored


def _as_given(raw: pd.Series, typed: pd.Series, obj: SchemaObject) -> pd.Series:
    """An id that is text only because no number type holds it goes out as the whole number that came in."""
    if obj.column(str(raw.name)).stored != "integer" or not pd.api.types.is_integer_dtype(raw.dtype):
        return typed
    return pd.Series(raw.to_numpy("uint64" if str(raw.dtype).lower() == "uint64" else "int64"))
