"""Files and records into typed data frames. The contract, not the content, decides each column's dtype,
so a batch of one request and the whole training table look the same to the model.

===========  =====================================================
logical      dtype
===========  =====================================================
string       str
integer      int64 when required, else float64 (missing is NaN)
number       float64
boolean      bool when required, else float64 (1, 0, missing NaN)
date, time   datetime64[us], without a zone (zones become UTC)
===========  =====================================================
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import numerals
from .arrow_types import pandas_type
from .errors import InputError
from .logical_types import EXACT, missing_words, to_type
from .odcs import NUMERIC, Property, SchemaObject
from .rules import Mistyped
from .table_files import is_parquet, open_bytes, parts, readable

CHUNK = 50_000  # rows in memory, where a table is read in parts
SEP_LINE = re.compile(r'\ufeff?"?sep=(.)"?[^\S\r\n]*\r?\n', re.IGNORECASE)  # for Excel: which delimiter follows


def read(path: str | Path, obj: SchemaObject, optional: Sequence[str] = ()) -> tuple[pd.DataFrame, Mistyped]:
    """Read a CSV or Parquet file, or a folder of such files, as the contract says.

    Parameters
    ----------
    path : CSV (also ``.gz``) or Parquet file; of a folder, all files, in the order of their names
    obj : the schema object that describes it
    optional : columns that may be absent (the target, when a table is to be scored)

    Returns
    -------
    The typed columns in the contract's order, and by column the values that do not have its type: missing in the frame.

    Raises
    ------
    InputError
        The file is missing, unreadable, too large for this machine or lacks a column.
    """
    path = Path(path)
    frames = []
    for part in parts(path, f"the contract's '{obj.name}' expects it"):
        with readable(part):
            frames.append(read_parquet(part) if is_parquet(part) else _read_csv(part, obj))
    return cast(frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True), obj, str(path), optional)


def read_parquet(path: Path, **options: bool) -> pd.DataFrame:
    """Read a Parquet file with all its columns: what was an index to pandas is a column to everybody else."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, partitioning=None).to_pandas(**_pandas(), **options)


def _pandas() -> dict[str, Any]:
    """How Arrow's columns become pandas'."""
    return {"ignore_metadata": True, "types_mapper": pandas_type}


def chunks(path: Path, obj: SchemaObject, rows: int = CHUNK) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file, or of a folder's files, in parts, one at least, to be ``cast``.

    Their memory does not grow with the table. CSV comes as text, so that a value which is not a number is found and
    named, wherever in the file it stands.

    Raises
    ------
    InputError
        The file is missing or unreadable.
    """
    files = parts(path, f"the contract's '{obj.name}' expects it", whole=False)
    known = {name for file in files for name in _header(file, obj)} if len(files) > 1 else set()
    for file in files:
        for chunk in _chunks_of(file, obj, rows):
            gone = [p.name for p in obj.properties if p.name in known and p.name not in chunk]
            # What another file of the folder has is missing here, as in a table of both.
            yield chunk.reindex(columns=[*chunk, *gone]) if gone else chunk


def _header(path: Path, obj: SchemaObject) -> list[str]:
    import pyarrow.parquet

    with readable(path):
        if is_parquet(path):
            return list(pyarrow.parquet.read_schema(path).names)
        return list(pd.read_csv(path, dtype="str", nrows=0, **csv_options(obj, path)).columns)


def _chunks_of(path: Path, obj: SchemaObject, rows: int) -> Iterator[pd.DataFrame]:
    with readable(path):
        if is_parquet(path):
            reader = _parquet_chunks(path, {p.name for p in obj.properties}, rows)
        else:
            texts = pd.read_csv(path, dtype="str", chunksize=rows, **csv_options(obj, path))
            reader = (with_points(part, obj) for part in texts)
    while True:
        with readable(path):
            part = next(reader, None)
        if part is None:
            return
        yield part


def _parquet_chunks(path: Path, columns: set[str], rows: int) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet

    # A buffer: else the whole of a row group is in memory, which in some files is the whole file.
    with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20) as file:
        kept = [name for name in file.schema_arrow.names if name in columns]
        if not file.metadata.num_rows:
            yield file.read(kept).to_pandas(**_pandas())
        for group in range(file.num_row_groups):  # one at a time: a reader of all holds what it has read of each
            for batch in file.iter_batches(rows, [group], kept):
                yield batch.to_pandas(**_pandas())


def by_frequency(values: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Return a column's values as codes, 0 for the commonest and -1 for a gap, and the values in that order."""
    codes, levels = pd.factorize(values)
    order = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(levels)), kind="stable")
    place = np.full(len(levels) + 1, -1)  # whose last entry is what -1 finds
    place[order] = np.arange(len(order))
    return place[codes], pd.Index(levels)[order]


def cast(
    frame: pd.DataFrame, obj: SchemaObject, where: str, optional: Sequence[str] = ()
) -> tuple[pd.DataFrame, Mistyped]:
    """Give each declared column its dtype; a value that does not fit becomes missing and is reported."""
    wanted = [p for p in obj.properties if p.name in frame.columns or p.name not in optional]
    for gone in [p.name for p in wanted if p.name not in frame.columns]:
        raise InputError(f"{where}: column '{gone}' is gone; the contract's '{obj.name}' declares it")
    frame = frame.reset_index(drop=True)
    columns, mistyped = {}, {}
    for prop in wanted:
        columns[prop.name], bad = to_type(frame[prop.name], prop, obj)
        if bad is not None and bad.any():
            mistyped[prop.name] = frame[prop.name][bad]
    return pd.DataFrame(columns, index=frame.index), mistyped


def csv_options(obj: SchemaObject, path: Path) -> dict[str, Any]:
    """How pandas reads a CSV, by the object's custom properties and by a first line that names the delimiter."""
    custom = _custom(obj)
    options = {
        "sep": custom.get("delimiter", ","),
        "quotechar": custom.get("quote", '"'),
        "escapechar": custom.get("escape"),
        "encoding": custom.get("encoding", "utf-8-sig"),
        "keep_default_na": False,
        "na_values": {p.name: ["", *missing_words(p, obj)] for p in obj.properties},
        "index_col": False,
        "skipinitialspace": True,
    }
    return options | said_delimiter(path, options["encoding"])


def said_delimiter(path: Path, encoding: str) -> dict[str, Any]:
    """What a first line such as ``sep=;`` changes in how pandas reads a CSV."""
    with readable(path), io.TextIOWrapper(open_bytes(path), encoding, errors="replace", newline="") as file:
        said = SEP_LINE.match(file.read(20))
    return {"sep": said[1], "skiprows": 1} if said else {}


def _custom(node: SchemaObject | Property) -> dict[str, Any]:
    return {p.property: p.value for p in node.customProperties}


def _style(obj: SchemaObject, prop: Property) -> tuple[str, str | None]:
    """The decimal sign and the separator of thousands of a column: its own, if it has a ``decimal``, or the file's."""
    own = _custom(prop)
    found = own if "decimal" in own else _custom(obj)
    return found.get("decimal", "."), found.get("thousands")


def _read_csv(path: Path, obj: SchemaObject) -> pd.DataFrame:
    options = csv_options(obj, path)
    decimal = _custom(obj).get("decimal", ".")
    types = dict.fromkeys((p.name for p in obj.properties), "str")
    fast = {p.name: "Int64" if p.logicalType == "integer" else "float64" for p in obj.properties if _is_fast(obj, p)}
    try:
        with np.errstate(invalid="ignore"):  # 1e300 is no Int64
            frame = pd.read_csv(path, dtype=types | fast, decimal=decimal, **options)
        if doubtful := [name for name in fast if name in frame and _is_doubtful(frame[name])]:
            frame[doubtful] = pd.read_csv(path, dtype="str", usecols=doubtful, **options)[doubtful]
        return with_points(frame, obj)
    except (ValueError, TypeError, OverflowError):
        # Something is not a number to pandas: read all as text, so that it is rewritten, or found and named.
        return with_points(pd.read_csv(path, dtype=types, **options), obj)


def _is_fast(obj: SchemaObject, prop: Property) -> bool:
    """Whether pandas itself can read a column's numbers: of separators of thousands it would take any."""
    return prop.logicalType in NUMERIC and _style(obj, prop) == (_custom(obj).get("decimal", "."), None)


def _is_doubtful(values: pd.Series) -> bool:
    """Whether pandas may have read another number than was written: True as 1.0, 9007199254740993.0 as …992."""
    if values.dtype == "Int64":
        known = values.dropna()
        return len(known) > 0 and bool(known.max() >= EXACT or known.min() <= -EXACT)
    return values.dtype == "float64" and bool((values.isin([0, 1]) | values.isna()).all())


def with_points(frame: pd.DataFrame, obj: SchemaObject) -> pd.DataFrame:
    """Write numbers that were read as text as Python does, so that they convert."""
    written = [p for p in obj.properties if p.logicalType in NUMERIC and p.name in frame]
    written = [p for p in written if isinstance(frame[p.name].dtype, pd.StringDtype)]
    return frame.assign(**{p.name: numerals.rewritten(frame[p.name], *_style(obj, p)) for p in written})
