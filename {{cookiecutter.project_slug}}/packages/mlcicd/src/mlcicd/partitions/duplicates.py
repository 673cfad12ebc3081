"""Find what is repeated among more values than fit in memory, by their hashes."""

from __future__ import annotations

import os
from typing import IO

import numpy as np
import pandas as pd

from mlcicd.contract.schema import SchemaObject
from mlcicd.validation import rules

PARTITIONS = 64  # of the hashes; only one of them is in memory at a time
ENTRY_BYTES = 16  # bytes of a hash and its row number
MISSING_HASH = np.uint64(0x9E3779B97F4A7C15)  # the hash of a missing value


def hashes(frame: pd.DataFrame, obj: SchemaObject) -> np.ndarray:
    """Hash each row. Numbers and dates never collide; ten million texts do with a probability of 1 in 400,000."""
    total = np.zeros(len(frame), dtype=np.uint64)
    for name, values in frame.items():
        present, hashed = values.dropna(), np.full(len(values), MISSING_HASH)
        if pd.api.types.is_numeric_dtype(present.dtype):  # missing values in a chunk make its integers floats
            is_integer = obj.column(str(name)).logicalType == "integer"
            present = present.astype("int64" if is_integer else "float64") + 0  # -0.0 is 0.0
        hashed[values.notna().to_numpy()] = pd.util.hash_array(present.to_numpy(), categorize=False)
        total = hashed if frame.shape[1] == 1 else pd.util.hash_array(total + hashed)
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
