"""What a stored value means, by the logical type of its column: one reading for all files; ``records`` has the same.

Blanks around a value say nothing, and an empty text is a missing value. Whole numbers keep their digits: beyond 2**63,
or beyond 2**53 in a column with gaps (whose dtype is float64), they are refused instead of rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .date_formats import BLANKS, date_format
from .odcs import TEMPORAL, Property, SchemaObject

# What spreadsheets and databases write for "no value". In a text column only the empty field is missing: NA is Namibia.
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"]
INT64 = (-(2**63), 2**63 - 1)
EXACT = 2**53  # beyond it, neighbouring whole numbers are one float64
INTEGER = "^[+-]?[0-9]+$"
NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
TRUTH = {"true": 1.0, "false": 0.0}
Typed = tuple[pd.Series, np.ndarray | None]  # and which values are present and do not fit; None when all do


def missing_words(prop: Property, obj: SchemaObject | None = None) -> list[str]:
    """What a column holds for "no value", beside an empty text: of text its own list, else the usual and the file's."""
    owner = prop if prop.logicalType == "string" else obj
    custom = owner.customProperties if owner else []
    own: list[str] = next((c.value for c in custom if c.property == "missing"), [])
    return own if prop.logicalType == "string" else [*MISSING, *own]


def integer_limits(prop: Property) -> tuple[int, int]:
    """The whole numbers that the dtype of an integer column holds exactly."""
    return INT64 if prop.needed else (-EXACT, EXACT)


def to_type(values: pd.Series, prop: Property, obj: SchemaObject | None = None) -> Typed:
    """Return the typed series and a mask of the values that are present and do not fit (None when all do)."""
    kind, words = values.dtype, missing_words(prop, obj)
    if isinstance(kind, pd.CategoricalDtype):
        values = values.astype(kind.categories.dtype)
    if prop.logicalType == "string":
        return _to_text(values, prop, words)
    if values.dtype == object:
        values = values.map(_as_text, na_action="ignore").astype("str")
    if isinstance(values.dtype, pd.StringDtype):
        values = _plain(values, words)
    if prop.logicalType in TEMPORAL:
        return _to_time(values, prop)
    read = {"integer": _integers, "number": _numbers, "boolean": _booleans}[prop.logicalType]
    found, known = read(values, prop)
    missing = values.isna().to_numpy()
    if prop.logicalType != "number" and prop.needed and known.all():
        return pd.Series(found.astype("bool" if prop.logicalType == "boolean" else "int64"), index=values.index), None
    floats = found.astype("float64")
    floats[~known] = np.nan
    return pd.Series(floats, index=values.index), ~known & ~missing


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _plain(values: pd.Series, words: Sequence[str]) -> pd.Series:
    """Texts without blanks around them; those that stand for no value are missing."""
    plain = values.astype("str").str.strip(BLANKS)
    gone = (plain == "").to_numpy(dtype=bool)
    if words := [w for w in words if w]:
        gone = gone | plain.isin(words).to_numpy(dtype=bool)
    return plain.mask(gone) if gone.any() else plain


def _to_text(values: pd.Series, prop: Property, words: Sequence[str]) -> Typed:
    bad: np.ndarray | None = None
    if prop.stored == "integer" and pd.api.types.is_integer_dtype(values.dtype):
        values = values.astype("string[python]").astype("str")
    elif not isinstance(values.dtype, pd.StringDtype):
        allowed = (str, int) if prop.stored == "integer" else (str,)
        fits = (isinstance(v, allowed) and not isinstance(v, bool) for v in values)
        bad = ~np.fromiter(fits, bool, len(values)) & values.notna().to_numpy()
        values = values.mask(bad).map(str, na_action="ignore").astype("str")
    return _plain(values, words), bad


def _to_time(values: pd.Series, prop: Property) -> Typed:
    kind, missing = values.dtype, values.isna().to_numpy()
    if isinstance(kind, pd.StringDtype):
        found = date_format(prop.logicalTypeOptions.format, prop.latest_year).parse_all(arrow(values))
    elif pd.api.types.is_datetime64_any_dtype(kind):
        times = values.dt.tz_convert(None) if isinstance(kind, pd.DatetimeTZDtype) else values
        found = times.to_numpy().astype("datetime64[us]")  # what is smaller is cut, as in texts
    else:
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]"), ~missing
    if prop.logicalType == "date":
        found = np.where(found == found.astype("datetime64[D]"), found, np.datetime64("NaT", "us"))
    return pd.Series(found, index=values.index), np.isnat(found) & ~missing


def arrow(values: pd.Series) -> Any:
    """Texts as one Arrow array, without a copy where pandas holds them so."""
    import pyarrow as pa

    found = pa.array(values, from_pandas=True)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _numbers(values: pd.Series, _: Property) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(values.dtype, pd.StringDtype):
        found = _floats(arrow(values))
    elif _is_number(values):
        found = values.to_numpy(dtype="float64", na_value=np.nan)
    else:
        found = np.full(len(values), np.nan)
    return found, np.isfinite(found)


def _is_number(values: pd.Series) -> bool:
    kind = pd.api.types
    return (kind.is_integer_dtype(values.dtype) or kind.is_float_dtype(values.dtype)) and not kind.is_bool_dtype(
        values.dtype
    )


def _floats(texts: Any) -> np.ndarray:
    """The numbers that texts spell, NaN where they spell none: read by Arrow, to the nearest float."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        found = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
        if np.isfinite(found).sum() == len(texts) - texts.null_count:  # no "nan", no "inf"
            return found
    except pa.ArrowInvalid:
        pass
    fits = pc.match_substring_regex(texts, NUMBER)
    return pc.cast(pc.if_else(fits, texts, None), pa.float64()).to_numpy(zero_copy_only=False)


def _integers(values: pd.Series, prop: Property) -> tuple[np.ndarray, np.ndarray]:
    low, high = integer_limits(prop)
    if isinstance(values.dtype, pd.StringDtype):
        found, known = _whole(arrow(values))
    elif _is_number(values) and pd.api.types.is_integer_dtype(values.dtype):
        known = values.notna().to_numpy()
        dtype = "uint64" if str(values.dtype).lower() == "uint64" else "int64"
        found = values.to_numpy(dtype=dtype, na_value=0)
        if dtype == "uint64":
            known = known & (found <= np.uint64(INT64[1]))
            found = np.where(known, found, 0).astype("int64")
    else:
        return _from_floats(_numbers(values, prop)[0])
    if not prop.needed:
        known = known & (found >= low) & (found <= high)
    return found, known


def _from_floats(floats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers that were written as 3.0 or 3e2; beyond 2**53 nobody knows which was meant."""
    with np.errstate(invalid="ignore"):
        known = (np.abs(floats) <= EXACT) & (floats == np.floor(floats))
    return np.where(known, floats, 0).astype("int64"), known


def _whole(texts: Any) -> tuple[np.ndarray, np.ndarray]:
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = pc.fill_null(pc.match_substring_regex(texts, INTEGER), False)
    plain = pc.utf8_ltrim(pc.if_else(digits, texts, None), "+")
    try:
        read = pc.cast(plain, pa.int64())
    except pa.ArrowInvalid:  # more than an int64 holds
        numbers = (None if t is None else int(t[:40]) for t in plain.to_pylist())  # 40 digits are too many already
        read = pa.array([n if n is not None and INT64[0] <= n <= INT64[1] else None for n in numbers], pa.int64())
    known = pc.is_valid(read).to_numpy(zero_copy_only=False)
    found = pc.fill_null(read, 0).to_numpy(zero_copy_only=False)
    if pc.sum(digits).as_py() == len(texts) - texts.null_count:
        return found, known
    other, fits = _from_floats(_floats(pc.if_else(digits, None, texts)))
    return np.where(known, found, other), known | fits


def _booleans(values: pd.Series, prop: Property) -> tuple[np.ndarray, np.ndarray]:
    if pd.api.types.is_bool_dtype(values.dtype):
        found = values.to_numpy(dtype="float64", na_value=np.nan)
    elif isinstance(values.dtype, pd.StringDtype):
        found = values.str.lower().map(TRUTH).to_numpy(dtype="float64", na_value=np.nan)
        if (np.isnan(found) & values.notna().to_numpy()).any():  # 1, 0, 1.0 and 0.0
            found = np.where(np.isnan(found), _numbers(values, prop)[0], found)
    else:
        found = _numbers(values, prop)[0]
    return found, (found == 0) | (found == 1)
