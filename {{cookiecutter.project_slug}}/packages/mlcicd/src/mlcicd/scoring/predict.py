"""Batch scoring of tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from mlcicd.contract import reserved_names
from mlcicd.contract.schema import SchemaObject
from mlcicd.core.errors import InputError
from mlcicd.data import readers
from mlcicd.scoring.prediction_files import PredictionsWriter
from mlcicd.scoring.scorer import Scorer
from mlcicd.system import outputs
from mlcicd.system.marks import is_scored
from mlcicd.validation import rules


def predict(table: Path, out: Path, run: Path, chunk: int = readers.CHUNK_ROWS) -> int:
    """Score a table in bounded memory.

    Parameters
    ----------
    table : CSV or Parquet file with the columns of the contract's table, or a folder of them; the target is optional
    out : file of the predictions, with the id as its first column; the suffix decides its format
    run : the run whose model predicts
    chunk : number of rows in memory at a time

    Returns
    -------
    The number of scored rows.

    Raises
    ------
    InputError
        The table is missing or breaks the contract; ``out`` is left unchanged.
    """
    if out.resolve() == table.resolve():
        raise InputError(f"{out}: is the table that is to be scored; choose another --out")
    with outputs.atomic_file(out, is_scored) as work:
        scorer = Scorer(run)
        rows = readers.read_chunks(table, row_rules(scorer), chunk)
        return write(rows, PredictionsWriter(out, work), scorer, table, table)


def row_rules(scorer: Scorer) -> SchemaObject:
    """Return the rules that each row must keep to be scored.

    Raises
    ------
    InputError
        A column of the contract has the name of a column of predictions.
    """
    obj = rules.row_level_rules(scorer.contract.table)
    reserved_names.check(obj, scorer.task.name, scorer.classes, "the run's contract.yaml")
    return obj


def write(
    chunks: Iterable[pd.DataFrame], writer: PredictionsWriter, scorer: Scorer, file: Path, table: Path, least: int = 1
) -> int:
    """Score rows as they are read, and return how many there are.

    Parameters
    ----------
    file, table : where the rows are from, and the table that this file is a part of, for messages
    least : how many rows there must be

    Raises
    ------
    InputError
        A row breaks the contract, or there are too few.
    """
    obj, scored = row_rules(scorer), 0
    absent = [p.name for p in obj.properties if p.role is not None]
    features = [p.name for p in obj.features]
    try:
        for raw in chunks:
            if raw.empty:
                continue
            frame, mistyped = readers.coerce_dtypes(raw, obj, str(file), absent)
            if broken := rules.check(frame, obj, mistyped):
                where = f"{file}, counting from row {scored + 1:,}"
                raise InputError(f"{where}: {broken[0]}; see all with 'ml validate {table}'")
            ids = {obj.id: _as_given(raw[obj.id], frame[obj.id], obj)} if obj.id in frame else {}
            writer.write(pd.DataFrame(ids | scorer.score(frame[features])))
            scored += len(frame)
        if scored < least:
            raise InputError(f"{file}: has no rows")
    finally:
        writer.close()
    return scored


def _as_given(raw: pd.Series, typed: pd.Series, obj: SchemaObject) -> pd.Series:
    """Return ids as they were read: integers that the contract stores as text, for their range, stay integers."""
    if obj.column(str(raw.name)).stored != "integer" or not pd.api.types.is_integer_dtype(raw.dtype):
        return typed
    return pd.Series(raw.to_numpy("uint64" if str(raw.dtype).lower() == "uint64" else "int64"))
