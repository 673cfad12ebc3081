"""Read files into typed data frames. The contract decides each column's dtype, not the values, so a single request
and the whole training table have the same dtypes for the model.

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
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.contract.schema import NUMERIC, Property, SchemaObject
from mlcicd.core.errors import InputError
from mlcicd.data import numerals
from mlcicd.data.arrow_types import pandas_type
from mlcicd.data.table_files import is_parquet, open_bytes, parts, translate_read_errors
from mlcicd.validation.logical_types import EXACT, convert, missing_tokens
from mlcicd.validation.rules import Mistyped

HERE = Path()
CHUNK_ROWS = 50_000  # rows in memory when a table is read in chunks
SEP_LINE = re.compile(
    r'\ufeff?"?sep=(.)"?[^\S\r\n]*\r?\n', re.IGNORECASE
)  # a first line that tells Excel the delimiter


def read(path: str | Path, obj: SchemaObject, optional: Sequence[str] = ()) -> tuple[pd.DataFrame, Mistyped]:
    """Read a CSV or Parquet file, or a folder of such files, with the dtypes of the contract.

    Parameters
    ----------
    path : CSV (also ``.gz``) or Parquet file, or a folder, whose files are read in the order of their names
    obj : the schema object that describes it
    optional : columns that may be absent, such as the target of a table to score

    Returns
    -------
    The typed columns in the contract's order, and by column the values of the wrong type, which are missing in them.

    Raises
    ------
    InputError
        The file is missing, unreadable, too large for this machine or lacks a column.
    """
    path = Path(path)
    frames = []
    for part in parts(path, f"the contract's '{obj.name}' expects it"):
        with translate_read_errors(part):
            frames.append(read_parquet(part) if is_parquet(part) else _read_csv(part, obj))
    return coerce_dtypes(
        frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True), obj, str(path), optional
    )


def read_parquet(path: Path, **options: bool) -> pd.DataFrame:
    """Read all columns of a Parquet file; what pandas stored as an index is a column, too."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, partitioning=None).to_pandas(**_pandas(), **options)


def _pandas() -> dict[str, Any]:
    """Return the options for converting Arrow tables to pandas."""
    return {"ignore_metadata": True, "types_mapper": pandas_type}


def read_chunks(path: Path, obj: SchemaObject, rows: int = CHUNK_ROWS) -> Iterator[pd.DataFrame]:
    """Yield the rows of a file or folder in chunks, at least one, in bounded memory; pass them to ``coerce_dtypes``.

    CSV values are read as text, so that values that are not numbers can be reported.

    Raises
    ------
    InputError
        The file is missing or unreadable.
    """
    files = parts(path, f"the contract's '{obj.name}' expects it", whole=False)
    names = {name for file in files for name in _header(file, obj)} if len(files) > 1 else set()
    for file in files:
        for chunk in chunks_of(file, obj, rows):
            yield completed(chunk, obj, names)


def completed(chunk: pd.DataFrame, obj: SchemaObject, names: Collection[str]) -> pd.DataFrame:
    """Add columns that only other files of the folder have: missing here, as if the files were concatenated."""
    missing = [p.name for p in obj.properties if p.name in names and p.name not in chunk]
    return chunk.reindex(columns=[*chunk, *missing]) if missing else chunk


def _header(path: Path, obj: SchemaObject) -> list[str]:
    import pyarrow.parquet

    with translate_read_errors(path):
        if is_parquet(path):
            return list(pyarrow.parquet.read_schema(path).names)
        return list(pd.read_csv(path, dtype="str", nrows=0, **csv_options(obj, path)).columns)


def chunks_of(
    path: Path, obj: SchemaObject, rows: int, root: Path = HERE, groups: tuple[int, int] | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the rows of one file in chunks, at least one.

    Parameters
    ----------
    root : the folder that the file's name is relative to, in a process that works elsewhere
    groups : of a Parquet file, the first row group to read, and the one after the last
    """
    with translate_read_errors(path):
        if groups is not None or is_parquet(path):
            reader = _parquet_chunks(root / path, {p.name for p in obj.properties}, rows, groups)
        else:
            texts = pd.read_csv(path, dtype="str", chunksize=rows, **csv_options(obj, path))
            reader = (normalize_decimals(part, obj) for part in texts)
    while True:
        with translate_read_errors(path):
            part = next(reader, None)
        if part is None:
            return
        yield part


def _parquet_chunks(
    path: Path, columns: set[str], rows: int, groups: tuple[int, int] | None = None
) -> Iterator[pd.DataFrame]:
    import pyarrow.parquet

    # Without a buffer, a whole row group is in memory, which may be the whole file.
    with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20) as file:
        kept = [name for name in file.schema_arrow.names if name in columns]
        if not file.metadata.num_rows:
            yield file.read(kept).to_pandas(**_pandas())
        for group in range(*groups or (file.num_row_groups,)):  # a reader of all groups would keep what it has read
            for batch in file.iter_batches(rows, [group], kept):
                yield batch.to_pandas(**_pandas())


def by_frequency(values: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Encode a column: codes (0 is the most frequent value, -1 a missing one), and the values in the order of codes."""
    codes, levels = pd.factorize(values)
    order = np.argsort(-np.bincount(codes[codes >= 0], minlength=len(levels)), kind="stable")
    rank = np.full(len(levels) + 1, -1)  # the last entry is for the code -1
    rank[order] = np.arange(len(order))
    return rank[codes], pd.Index(levels)[order]


def coerce_dtypes(
    frame: pd.DataFrame, obj: SchemaObject, where: str, optional: Sequence[str] = ()
) -> tuple[pd.DataFrame, Mistyped]:
    """Convert each declared column to its dtype; values of the wrong type become missing and are returned."""
    declared = [p for p in obj.properties if p.name in frame.columns or p.name not in optional]
    for missing in [p.name for p in declared if p.name not in frame.columns]:
        raise InputError(f"{where}: column '{missing}' is missing; the contract's '{obj.name}' declares it")
    frame = frame.reset_index(drop=True)
    columns, mistyped = {}, {}
    for prop in declared:
        columns[prop.name], wrong = convert(frame[prop.name], prop, obj)
        if wrong is not None and wrong.any():
            mistyped[prop.name] = frame[prop.name][wrong]
    return pd.DataFrame(columns, index=frame.index), mistyped


def csv_options(obj: SchemaObject, path: Path) -> dict[str, Any]:
    """Return the options for reading a CSV with pandas, from the contract and a first line such as ``sep=;``."""
    custom = _custom(obj)
    options = {
        "sep": custom.get("delimiter", ","),
        "quotechar": custom.get("quote", '"'),
        "escapechar": custom.get("escape"),
        "encoding": custom.get("encoding", "utf-8-sig"),
        "keep_default_na": False,
        "na_values": {p.name: ["", *missing_tokens(p, obj)] for p in obj.properties},
        "index_col": False,
        "skipinitialspace": True,
    }
    return options | declared_delimiter(path, options["encoding"])


def declared_delimiter(path: Path, encoding: str) -> dict[str, Any]:
    """Return the options that a first line such as ``sep=;`` sets; empty if there is none."""
    with (
        translate_read_errors(path),
        io.TextIOWrapper(open_bytes(path), encoding, errors="replace", newline="") as file,
    ):
        line = SEP_LINE.match(file.read(20))
    return {"sep": line[1], "skiprows": 1} if line else {}


def _custom(node: SchemaObject | Property) -> dict[str, Any]:
    return {p.property: p.value for p in node.customProperties}


def _style(obj: SchemaObject, prop: Property) -> tuple[str, str | None]:
    """Return a column's decimal sign and thousands separator: its own if it has a ``decimal``, else the file's."""
    column_settings = _custom(prop)
    settings = column_settings if "decimal" in column_settings else _custom(obj)
    return settings.get("decimal", "."), settings.get("thousands")


def _read_csv(path: Path, obj: SchemaObject) -> pd.DataFrame:
    options = csv_options(obj, path)
    decimal = _custom(obj).get("decimal", ".")
    types = dict.fromkeys((p.name for p in obj.properties), "str")
    fast = {p.name: "Int64" if p.logicalType == "integer" else "float64" for p in obj.properties if _is_fast(obj, p)}
    try:
        with np.errstate(invalid="ignore"):  # 1e300 overflows Int64
            frame = pd.read_csv(path, dtype=types | fast, decimal=decimal, **options)
        if altered := [name for name in fast if name in frame and _may_be_altered(frame[name])]:
            frame[altered] = pd.read_csv(path, dtype="str", usecols=altered, **options)[altered]
        return normalize_decimals(frame, obj)
    except (ValueError, TypeError, OverflowError):
        # A value is not a number for pandas: read text, to normalize the number or to report it.
        return normalize_decimals(pd.read_csv(path, dtype=types, **options), obj)


def _is_fast(obj: SchemaObject, prop: Property) -> bool:
    """Return whether pandas can parse a column's numbers; it cannot check thousands separators."""
    return prop.logicalType in NUMERIC and _style(obj, prop) == (_custom(obj).get("decimal", "."), None)


def _may_be_altered(values: pd.Series) -> bool:
    """Return whether pandas may have changed values: it reads True as 1.0 and 9007199254740993.0 as …992."""
    if values.dtype == "Int64":
        known = values.dropna()
        return len(known) > 0 and bool(known.max() >= EXACT or known.min() <= -EXACT)
    return values.dtype == "float64" and bool((values.isin([0, 1]) | values.isna()).all())


def normalize_decimals(frame: pd.DataFrame, obj: SchemaObject) -> pd.DataFrame:
    """Rewrite numbers that were read as text in Python's notation."""
    texts = [p for p in obj.properties if p.logicalType in NUMERIC and p.name in frame]
    texts = [p for p in texts if isinstance(frame[p.name].dtype, pd.StringDtype)]
    return frame.assign(**{p.name: numerals.normalize(frame[p.name], *_style(obj, p)) for p in texts})
