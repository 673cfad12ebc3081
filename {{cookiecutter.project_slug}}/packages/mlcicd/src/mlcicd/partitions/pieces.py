"""Divide a Parquet table into pieces for independent work, and read one of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from mlcicd.contract.schema import SchemaObject
from mlcicd.core.errors import InputError
from mlcicd.data import readers
from mlcicd.data.table_files import translate_read_errors
from mlcicd.partitions import remote_parts
from mlcicd.remote.transfer import Found

HERE = Path()
ROWS = 500_000  # in a piece, where row groups are no larger


class Piece(NamedTuple):
    """Consecutive row groups of one Parquet file.

    Attributes
    ----------
    groups : the first row group, and the one after the last
    before, rows : the number of the table's rows before it, and in it
    part : the whole file in object storage, which is fetched to be read
    """

    file: Path
    groups: tuple[int, int]
    before: int
    rows: int
    part: Found | None = None

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.file}, rows {self.before + 1:,} to {self.before + self.rows:,} of the table"


class Divided(NamedTuple):
    """A table in pieces, at least one of each file, and the names of all columns that its files have."""

    pieces: list[Piece]
    names: frozenset[str]


def divide(files: Sequence[Path], rows: int = ROWS, root: Path = HERE) -> Divided:
    """Divide Parquet files into pieces of at most so many rows; only their footers are read.

    Parameters
    ----------
    root : the folder that file names are relative to, for a process that works in another one
    """
    pieces: list[Piece] = []
    names: set[str] = set()
    before = 0
    for file in files:
        with translate_read_errors(file):
            sizes, columns = _footer(root / file)
        names |= set(columns)
        first, held = 0, 0
        for group, size in enumerate(sizes):
            if held and held + size > rows:
                pieces.append(Piece(file, (first, group), before, held))
                first, before, held = group, before + held, 0
            held += size
        pieces.append(Piece(file, (first, len(sizes)), before, held))
        before += held
    return Divided(pieces, frozenset(names))


def divide_remote(location: str) -> Divided:
    """Make a piece of each part of a table in object storage; only their footers are read."""
    pieces: list[Piece] = []
    names: set[str] = set()
    before = 0
    for part, (groups, rows, columns) in remote_parts.footers(location):
        pieces.append(Piece(Path(part.location.rpartition("/")[2]), (0, groups), before, rows, part))
        names |= set(columns)
        before += rows
    return Divided(pieces, frozenset(names))


def _footer(file: Path) -> tuple[list[int], list[str]]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as opened:
        found = opened.metadata
        return [found.row_group(n).num_rows for n in range(found.num_row_groups)], list(opened.schema_arrow.names)


def read(
    piece: Piece, obj: SchemaObject, names: Collection[str], root: Path, rows: int = readers.CHUNK_ROWS
) -> Iterator[pd.DataFrame]:
    """Yield the rows of a piece in chunks, at least one; pass them to ``readers.coerce_dtypes``.

    Parameters
    ----------
    names : the columns of the whole table
    root : the folder that file names are relative to, for a process that works in another one

    Raises
    ------
    InputError
        The file is not there, as on a worker of another machine, or cannot be read.
    """
    if piece.part is not None:
        with remote_parts.fetched(piece.part) as file:
            for chunk in readers.chunks_of(Path(file.name), obj, rows, file.parent, piece.groups):
                yield readers.completed(chunk, obj, names)
        return
    if not (root / piece.file).is_file():
        raise InputError(f"{piece.file}: is not there; put the table where all workers see it under the same path")
    for chunk in readers.chunks_of(piece.file, obj, rows, root, piece.groups):
        yield readers.completed(chunk, obj, names)
