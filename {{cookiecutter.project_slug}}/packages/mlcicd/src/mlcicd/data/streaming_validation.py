"""Validate a Parquet table in chunks: the result of ``rules.check``, in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from mlcicd.contract.schema import SchemaObject
from mlcicd.data import readers, table_files
from mlcicd.validation import rules
from mlcicd.validation.rules import Mistyped, Violation

PARTITIONS = 32  # of the hashes; only one of them is in memory at a time
ENTRY_BYTES = 16  # bytes of a hash and its row number
MISSING_HASH = np.uint64(0x9E3779B97F4A7C15)  # the hash of a missing value
Part = tuple[int, pd.DataFrame, Mistyped]  # the number of rows before it, and what readers.read returns


def check(path: Path, obj: SchemaObject, optional: Sequence[str] = ()) -> tuple[list[Violation], int]:
    """Validate a file or a folder of files: Parquet in chunks, CSV as a whole.

    Parameters
    ----------
    path, obj, optional : as in ``readers.read``, which also documents the errors

    Returns
    -------
    The violations, as ``rules.check`` returns them, and the number of rows.
    """
    files = table_files.parts(path, f"the contract's '{obj.name}' expects it", whole=False)
    if not all(map(table_files.is_parquet, files)):
        frame, mistyped = readers.read(path, obj, optional)
        return rules.check(frame, obj, mistyped), len(frame)
    row_level, rows, counts = rules.row_level_rules(obj), 0, Counter[tuple[str, str]]()
    violations: dict[tuple[str, str], Violation] = {}
    with tempfile.TemporaryFile() as file:
        for before, frame, mistyped in _typed(path, obj, optional):
            if not violations:  # the first chunk: now the columns are known
                violations = {(v.column, v.rule): v for v in rules.row_violations(frame.iloc[:0], obj, {})}
                metrics = rules.needed_counts(obj, frame)
                names = {name for name, metric in metrics if metric == "duplicateValues"}
                names |= {column for column, rule in violations if rule == "unique"}
                finders = {name: DuplicateFinder(file) for name in names}
            for v in rules.row_violations(frame, row_level, mistyped):
                violations[v.column, v.rule] = _merge(violations[v.column, v.rule], v, before)
            for name, metric in metrics:
                counts[name, metric] += rules.count(frame, name, metric)
            for name, finder in finders.items():
                finder.add(_hashes(frame[[name] if name else list(frame)], obj), before)
            rows = before + len(frame)
        for name, finder in finders.items():
            counts[name, "duplicateValues"], count, first = finder.result()
            if count and (name, "unique") in violations:
                violations[name, "unique"] = _unique(path, obj, name, count, first)
    return rules.all_violations(obj, violations.values(), {key: counts[key] for key in metrics}, rows), rows


def _typed(path: Path, obj: SchemaObject, optional: Sequence[str]) -> Iterator[Part]:
    before = 0
    for raw in readers.read_chunks(path, obj):
        yield before, *readers.coerce_dtypes(raw, obj, str(path), optional)
        before += len(raw)


def _merge(old: Violation, new: Violation, before: int) -> Violation:
    rows = (*old.rows, *(before + row for row in new.rows))[: rules.SHOWN_ROWS]
    return replace(old, count=old.count + new.count, rows=rows, example=old.example or new.example)


def _unique(path: Path, obj: SchemaObject, name: str, count: int, rows: np.ndarray) -> Violation:
    """Describe duplicate values. The first one is read again, since only its hash was stored."""
    parts = _typed(path, obj, [p.name for p in obj.properties])
    before, frame, _ = next(part for part in parts if rows[0] < part[0] + len(part[1]))
    violation = rules.describe_violation(obj, obj.column(name), "unique", frame[name].iloc[[rows[0] - before]])
    return replace(violation, count=count, rows=tuple((rows + 1).tolist()))


def _hashes(frame: pd.DataFrame, obj: SchemaObject) -> np.ndarray:
    """Hash each row. Numbers and dates never collide; ten million texts do with a probability of 1 in 400,000."""
    total = np.zeros(len(frame), dtype=np.uint64)
    for name, values in frame.items():
        present, hashes = values.dropna(), np.full(len(values), MISSING_HASH)
        if pd.api.types.is_numeric_dtype(present.dtype):  # missing values in a chunk make its integers floats
            is_integer = obj.column(str(name)).logicalType == "integer"
            present = present.astype("int64" if is_integer else "float64") + 0  # -0.0 is 0.0
        hashes[values.notna().to_numpy()] = pd.util.hash_array(present.to_numpy(), categorize=False)
        total = hashes if frame.shape[1] == 1 else pd.util.hash_array(total + hashes)
    return total


class DuplicateFinder:
    """Find duplicates among many hashes, which are stored on disk in partitions.

    All columns share one file, since a contract may have more columns than a process may have open files.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.places: list[tuple[int, np.ndarray]] = []  # for each call of ``add``: start, and length of each partition

    def add(self, hashes: np.ndarray, before: int) -> None:
        """Add the hashes of consecutive rows; the first one is row number ``before``."""
        entries = np.column_stack([hashes, np.arange(before, before + len(hashes), dtype=np.uint64)])
        partition = (hashes % np.uint64(PARTITIONS)).astype(np.uint8)
        self.places.append((self.file.seek(0, os.SEEK_END), np.bincount(partition, minlength=PARTITIONS)))
        self.file.write(entries[np.argsort(partition, kind="stable")].tobytes())

    def _read_partition(self, number: int) -> np.ndarray:
        """Read the hashes and row numbers of a partition."""
        pieces = []
        for start, lengths in self.places:
            self.file.seek(start + ENTRY_BYTES * int(lengths[:number].sum()))
            pieces.append(self.file.read(ENTRY_BYTES * int(lengths[number])))
        return np.frombuffer(b"".join(pieces), dtype=np.uint64).reshape(-1, 2)

    def result(self) -> tuple[int, int, np.ndarray]:
        """Return how many rows repeat an earlier one, how many present values are not unique, and their first rows."""
        extra, repeated, first_rows = 0, 0, np.empty(0, dtype=np.int64)
        for entries in map(self._read_partition, range(PARTITIONS)):
            hashes, rows = entries[np.argsort(entries[:, 0])].T
            same = hashes[1:] == hashes[:-1]
            repeated_mask = (np.append(same, False) | np.append(False, same))[: len(hashes)] & (hashes != MISSING_HASH)
            extra, repeated = extra + int(same.sum()), repeated + int(repeated_mask.sum())
            first_rows = np.sort(np.append(first_rows, rows[repeated_mask].astype(np.int64)))[: rules.SHOWN_ROWS]
        return extra, repeated, first_rows
