"""A Parquet table checked part by part: what ``rules.check`` says of the whole, in memory that does not grow."""

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

from . import rules, table_files, tables
from .odcs import SchemaObject
from .rules import Mistyped, Violation

DIVISIONS = 32  # of the hashes; one at a time is in memory
ENTRY = 16  # bytes of a hash and its row
GAP = np.uint64(0x9E3779B97F4A7C15)  # the hash of a missing value
Part = tuple[int, pd.DataFrame, Mistyped]  # how many rows came before, and as tables.read returns it


def check(path: Path, obj: SchemaObject, optional: Sequence[str] = ()) -> tuple[list[Violation], int]:
    """Check a file or a folder of files: Parquet in parts, anything else as a whole.

    Parameters
    ----------
    path, obj, optional : as for ``tables.read``, which says what is raised

    Returns
    -------
    The broken rules, as ``rules.check`` returns them, and how many rows there are.
    """
    files = table_files.parts(path, f"the contract's '{obj.name}' expects it", whole=False)
    if not all(map(table_files.is_parquet, files)):
        frame, mistyped = tables.read(path, obj, optional)
        return rules.check(frame, obj, mistyped), len(frame)
    single, rows, counts = rules.alone(obj), 0, Counter[tuple[str, str]]()
    found: dict[tuple[str, str], Violation] = {}
    with tempfile.TemporaryFile() as file:
        for before, frame, mistyped in _typed(path, obj, optional):
            if not found:  # the first part: now the columns are known
                found = {(v.column, v.rule): v for v in rules.by_row(frame.iloc[:0], obj, {})}
                asked = rules.counted(obj, frame)
                names = {name for name, metric in asked if metric == "duplicateValues"}
                names |= {column for column, rule in found if rule == "unique"}
                repeats = {name: Repeats(file) for name in names}
            for v in rules.by_row(frame, single, mistyped):
                found[v.column, v.rule] = _together(found[v.column, v.rule], v, before)
            for name, metric in asked:
                counts[name, metric] += rules.count(frame, name, metric)
            for name, seen in repeats.items():
                seen.add(_hashes(frame[[name] if name else list(frame)], obj), before)
            rows = before + len(frame)
        for name, seen in repeats.items():
            counts[name, "duplicateValues"], count, first = seen.found()
            if count and (name, "unique") in found:
                found[name, "unique"] = _unique(path, obj, name, count, first)
    return rules.broken(obj, found.values(), {key: counts[key] for key in asked}, rows), rows


def _typed(path: Path, obj: SchemaObject, optional: Sequence[str]) -> Iterator[Part]:
    before = 0
    for raw in tables.chunks(path, obj):
        yield before, *tables.cast(raw, obj, str(path), optional)
        before += len(raw)


def _together(old: Violation, new: Violation, before: int) -> Violation:
    rows = (*old.rows, *(before + row for row in new.rows))[: rules.SHOWN_ROWS]
    return replace(old, count=old.count + new.count, rows=rows, example=old.example or new.example)


def _unique(path: Path, obj: SchemaObject, name: str, count: int, rows: np.ndarray) -> Violation:
    """Describe values that repeat. The first is read again, since only its hash was kept."""
    parts = _typed(path, obj, [p.name for p in obj.properties])
    before, frame, _ = next(part for part in parts if rows[0] < part[0] + len(part[1]))
    said = rules.violation(obj, obj.column(name), "unique", frame[name].iloc[[rows[0] - before]])
    return replace(said, count=count, rows=tuple((rows + 1).tolist()))


def _hashes(frame: pd.DataFrame, obj: SchemaObject) -> np.ndarray:
    """One hash a row. Two numbers or dates never share one, ten million texts with a chance of one in 400,000."""
    total = np.zeros(len(frame), dtype=np.uint64)
    for name, values in frame.items():
        known, found = values.dropna(), np.full(len(values), GAP)
        if pd.api.types.is_numeric_dtype(known.dtype):  # a gap in one part of the table makes its integers floats
            whole = obj.column(str(name)).logicalType == "integer"
            known = known.astype("int64" if whole else "float64") + 0  # -0.0 is 0.0
        found[values.notna().to_numpy()] = pd.util.hash_array(known.to_numpy(), categorize=False)
        total = found if frame.shape[1] == 1 else pd.util.hash_array(total + found)
    return total


class Repeats:
    """Which of many hashes come more than once. They lie on disk, divided so that equal ones share a division.

    All columns share one file: a process may have about a thousand files open, and a contract may have more columns.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.places: list[tuple[int, np.ndarray]] = []  # of each call of ``add``: start, division lengths

    def add(self, hashes: np.ndarray, before: int) -> None:
        """Take the hashes of consecutive rows, the first of which is row ``before``."""
        entries = np.column_stack([hashes, np.arange(before, before + len(hashes), dtype=np.uint64)])
        division = (hashes % np.uint64(DIVISIONS)).astype(np.uint8)
        self.places.append((self.file.seek(0, os.SEEK_END), np.bincount(division, minlength=DIVISIONS)))
        self.file.write(entries[np.argsort(division, kind="stable")].tobytes())

    def _division(self, number: int) -> np.ndarray:
        """Read a division's hashes and rows."""
        pieces = []
        for start, lengths in self.places:
            self.file.seek(start + ENTRY * int(lengths[:number].sum()))
            pieces.append(self.file.read(ENTRY * int(lengths[number])))
        return np.frombuffer(b"".join(pieces), dtype=np.uint64).reshape(-1, 2)

    def found(self) -> tuple[int, int, np.ndarray]:
        """How many repeat an earlier one; how many, gaps aside, are not unique, and the first few rows of these."""
        extra, repeated, first = 0, 0, np.empty(0, dtype=np.int64)
        for entries in map(self._division, range(DIVISIONS)):
            hashes, rows = entries[np.argsort(entries[:, 0])].T
            same = hashes[1:] == hashes[:-1]
            twice = (np.append(same, False) | np.append(False, same))[: len(hashes)] & (hashes != GAP)
            extra, repeated = extra + int(same.sum()), repeated + int(twice.sum())
            first = np.sort(np.append(first, rows[twice].astype(np.int64)))[: rules.SHOWN_ROWS]
        return extra, repeated, first
