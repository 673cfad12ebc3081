"""Convert the stored values of a column to its logical type; ``request_cells`` does the same for requests.

Whitespace around a value is ignored, and an empty text is a missing value. Integers are never rounded: beyond 2**63,
or beyond 2**53 in a column with missing values (whose dtype is float64), they are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.contract.date_formats import BLANKS, date_format
from mlcicd.contract.schema import TEMPORAL, Property, SchemaObject

# Missing-value tokens of spreadsheets and databases. They do not apply to text columns, where NA may be Namibia.
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"]
INT64 = (-(2**63), 2**63 - 1)
EXACT = 2**53  # beyond it, float64 does not represent every integer
INTEGER = "^[+-]?[0-9]+$"
NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
BOOLEANS = {"true": 1.0, "false": 0.0}
Typed = tuple[pd.Series, np.ndarray | None]  # the values, and a mask of those of the wrong type; None if there are none


def missing_tokens(prop: Property, obj: SchemaObject | None = None) -> list[str]:
    """Return a column's missing-value tokens: for text those it declares, else the usual ones and those of the file."""
    owner = prop if prop.logicalType == "string" else obj
    custom = owner.customProperties if owner else []
    declared: list[str] = next((c.value for c in custom if c.property == "missing"), [])
    return declared if prop.logicalType == "string" else [*MISSING, *declared]


def integer_limits(prop: Property) -> tuple[int, int]:
    """Return the range of integers that the dtype of a column represents exactly."""
    return INT64 if prop.needed else (-EXACT, EXACT)


def convert(values: pd.Series, prop: Property, obj: SchemaObject | None = None) -> Typed:
    """Convert a column to its logical type.

    Returns
    -------
    The converted series, and a mask of the values that are present but of the wrong type, or None if there are none.
    """
    kind, tokens = values.dtype, missing_tokens(prop, obj)
    if isinstance(kind, pd.CategoricalDtype):
        values = values.astype(kind.categories.dtype)
    if prop.logicalType == "string":
        return _to_text(values, prop, tokens)
    if values.dtype == object:
        values = values.map(_as_text, na_action="ignore").astype("str")
    if isinstance(values.dtype, pd.StringDtype):
        values = _strip_missing(values, tokens)
    if prop.logicalType in TEMPORAL:
        return _to_time(values, prop)
    convert = {"integer": _integers, "number": _numbers, "boolean": _booleans}[prop.logicalType]
    converted, valid = convert(values, prop)
    missing = values.isna().to_numpy()
    if prop.logicalType != "number" and prop.needed and valid.all():
        dtype = "bool" if prop.logicalType == "boolean" else "int64"
        return pd.Series(converted.astype(dtype), index=values.index), None
    floats = converted.astype("float64")
    floats[~valid] = np.nan
    return pd.Series(floats, index=values.index), ~valid & ~missing


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _strip_missing(values: pd.Series, tokens: Sequence[str]) -> pd.Series:
    """Strip whitespace, and mask empty texts and missing-value tokens."""
    stripped = values.astype("str").str.strip(BLANKS)
    missing = (stripped == "").to_numpy(dtype=bool)
    if tokens := [w for w in tokens if w]:
        missing = missing | stripped.isin(tokens).to_numpy(dtype=bool)
    return stripped.mask(missing) if missing.any() else stripped


def _to_text(values: pd.Series, prop: Property, tokens: Sequence[str]) -> Typed:
    wrong: np.ndarray | None = None
    if prop.stored == "integer" and pd.api.types.is_integer_dtype(values.dtype):
        values = values.astype("string[python]").astype("str")
    elif not isinstance(values.dtype, pd.StringDtype):
        allowed = (str, int) if prop.stored == "integer" else (str,)
        fits = (isinstance(v, allowed) and not isinstance(v, bool) for v in values)
        wrong = ~np.fromiter(fits, bool, len(values)) & values.notna().to_numpy()
        values = values.mask(wrong).map(str, na_action="ignore").astype("str")
    return _strip_missing(values, tokens), wrong


def _to_time(values: pd.Series, prop: Property) -> Typed:
    kind, missing = values.dtype, values.isna().to_numpy()
    if isinstance(kind, pd.StringDtype):
        stamps = date_format(prop.logicalTypeOptions.format, prop.latest_year).parse_all(arrow(values))
    elif pd.api.types.is_datetime64_any_dtype(kind):
        times = values.dt.tz_convert(None) if isinstance(kind, pd.DatetimeTZDtype) else values
        stamps = times.to_numpy().astype("datetime64[us]")  # truncates nanoseconds, as for texts
    else:
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]"), ~missing
    if prop.logicalType == "date":
        stamps = np.where(stamps == stamps.astype("datetime64[D]"), stamps, np.datetime64("NaT", "us"))
    return pd.Series(stamps, index=values.index), np.isnat(stamps) & ~missing


def arrow(values: pd.Series) -> Any:
    """Return texts as one Arrow array, without a copy if pandas stores them as Arrow already."""
    import pyarrow as pa

    array = pa.array(values, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _numbers(values: pd.Series, _: Property) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(values.dtype, pd.StringDtype):
        numbers = _floats(arrow(values))
    elif _is_number(values):
        numbers = values.to_numpy(dtype="float64", na_value=np.nan)
    else:
        numbers = np.full(len(values), np.nan)
    return numbers, np.isfinite(numbers)


def _is_number(values: pd.Series) -> bool:
    kind = pd.api.types
    return (kind.is_integer_dtype(values.dtype) or kind.is_float_dtype(values.dtype)) and not kind.is_bool_dtype(
        values.dtype
    )


def _floats(texts: Any) -> np.ndarray:
    """Parse texts as floats with Arrow; NaN where a text is not a number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        floats = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
        if np.isfinite(floats).sum() == len(texts) - texts.null_count:  # no "nan", no "inf"
            return floats
    except pa.ArrowInvalid:
        pass
    numeric = pc.match_substring_regex(texts, NUMBER)
    return pc.cast(pc.if_else(numeric, texts, None), pa.float64()).to_numpy(zero_copy_only=False)


def _integers(values: pd.Series, prop: Property) -> tuple[np.ndarray, np.ndarray]:
    low, high = integer_limits(prop)
    if isinstance(values.dtype, pd.StringDtype):
        integers, valid = _parse_integers(arrow(values))
    elif _is_number(values) and pd.api.types.is_integer_dtype(values.dtype):
        valid = values.notna().to_numpy()
        dtype = "uint64" if str(values.dtype).lower() == "uint64" else "int64"
        integers = values.to_numpy(dtype=dtype, na_value=0)
        if dtype == "uint64":
            valid = valid & (integers <= np.uint64(INT64[1]))
            integers = np.where(valid, integers, 0).astype("int64")
    else:
        return _from_floats(_numbers(values, prop)[0])
    if not prop.needed:
        valid = valid & (integers >= low) & (integers <= high)
    return integers, valid


def _from_floats(floats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return floats as integers, and which of them are integers up to 2**53, beyond which floats are inexact."""
    with np.errstate(invalid="ignore"):
        valid = (np.abs(floats) <= EXACT) & (floats == np.floor(floats))
    return np.where(valid, floats, 0).astype("int64"), valid


def _parse_integers(texts: Any) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = pc.fill_null(pc.match_substring_regex(texts, INTEGER), False)
    unsigned = pc.utf8_ltrim(pc.if_else(digits, texts, None), "+")
    try:
        parsed = pc.cast(unsigned, pa.int64())
    except pa.ArrowInvalid:  # more than an int64 holds
        # A number with more than 40 digits exceeds an int64 anyway.
        numbers = (None if t is None else int(t[:40]) for t in unsigned.to_pylist())
        parsed = pa.array([n if n is not None and INT64[0] <= n <= INT64[1] else None for n in numbers], pa.int64())
    valid = pc.is_valid(parsed).to_numpy(zero_copy_only=False)
    integers = pc.fill_null(parsed, 0).to_numpy(zero_copy_only=False)
    if pc.sum(digits).as_py() == len(texts) - texts.null_count:
        return integers, valid
    other, fits = _from_floats(_floats(pc.if_else(digits, None, texts)))
    return np.where(valid, integers, other), valid | fits


def _booleans(values: pd.Series, prop: Property) -> tuple[np.ndarray, np.ndarray]:
    if pd.api.types.is_bool_dtype(values.dtype):
        flags = values.to_numpy(dtype="float64", na_value=np.nan)
    elif isinstance(values.dtype, pd.StringDtype):
        flags = values.str.lower().map(BOOLEANS).to_numpy(dtype="float64", na_value=np.nan)
        if (np.isnan(flags) & values.notna().to_numpy()).any():  # 1, 0, 1.0 and 0.0
            flags = np.where(np.isnan(flags), _numbers(values, prop)[0], flags)
    else:
        flags = _numbers(values, prop)[0]
    return flags, (flags == 0) | (flags == 1)
