"""Infer each column's type, range, categories and missing values, with the reason for each decision."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from mlcicd.data.arrow_types import unsupported_reason
from mlcicd.onboarding import number_inference
from mlcicd.onboarding.csv_dialect import Dialect, is_missing_token
from mlcicd.onboarding.date_inference import parse_times
from mlcicd.onboarding.number_inference import ParseResult, parse_booleans, parse_numbers
from mlcicd.validation.logical_types import EXACT, MISSING

MIN_ROWS_REQUIRED = 100  # with fewer rows, a column without missing values is not declared required
# A column becomes a closed list of categories if it has at most 20, each in 20 rows and 1 % of the rows.
MAX_CATEGORIES, MIN_CATEGORY_ROWS, MIN_CATEGORY_SHARE = 20, 20, 0.01
MAX_MAGNITUDE = 1e300  # widening a larger range would overflow
# A range is widened by MARGIN times its length, or by HEAVY_TAIL_MARGIN times where the largest deviation from the
# median exceeds HEAVY_TAIL times its 95 % quantile.
MARGIN, HEAVY_TAIL, HEAVY_TAIL_MARGIN = 1, 6, 10
MAX_LENGTHS = [m * 10**e for e in range(1, 9) for m in (1, 2, 5)]


@dataclass
class Column:
    """The inferred properties of one column. A column without a ``type`` is left out of the contract."""

    name: str
    type: str = ""
    why: str = ""
    missing: float = 0.0
    distinct: int = 0
    seen: str = ""  # observed range or most frequent values
    options: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)  # the contract's custom properties
    enum: list[Any] = field(default_factory=list)
    missing_tokens: list[str] = field(default_factory=list)  # texts that mean "no value", in a column of text
    note: str = ""  # a comment in the contract
    warning: str = ""  # shown by `ml init` and in the contract
    required: bool = False


def infer_columns(frame: pd.DataFrame, dialect: Dialect | None) -> tuple[list[Column], pd.DataFrame, Dialect]:
    """Infer the properties of every column.

    Parameters
    ----------
    frame : the raw table
    dialect : how the CSV is written; None for Parquet, which marks missing values itself

    Returns
    -------
    The inferred columns, the parsed values, and the dialect with the missing-value tokens of the file.
    """
    inferred, values, missing_tokens = [], {}, set[str]()
    for position, name in enumerate(frame, start=1):
        column, values[name], tokens = _column(frame[name], dialect)
        _describe(column, values[name], position)
        inferred.append(column)
        missing_tokens |= tokens
    return inferred, pd.DataFrame(values), replace(dialect or Dialect(), missing=tuple(sorted(missing_tokens)))


def _column(raw: pd.Series, dialect: Dialect | None) -> tuple[Column, pd.Series, set[str]]:
    column, types = Column(str(raw.name)), pd.api.types
    if isinstance(raw.dtype, pd.ArrowDtype):
        column.why = unsupported_reason(raw.dtype.pyarrow_dtype)
    elif types.is_bool_dtype(raw.dtype):
        column.type, column.why = "boolean", "stored as booleans"
        return column, raw.astype("float64" if raw.isna().any() else "bool"), set()
    elif types.is_numeric_dtype(raw.dtype) and not types.is_complex_dtype(raw.dtype):
        whole = types.is_integer_dtype(raw.dtype)
        column.type, column.why = ("integer" if whole else "number"), "stored as numbers"
        if whole and (raw.max() >= EXACT or raw.min() <= -EXACT):  # pandas compares these without converting to float
            return _as_text_integer(column), raw.astype("string[python]").astype("str"), set()
    elif types.is_datetime64_any_dtype(raw.dtype):
        times = pd.to_datetime(raw, utc=True).dt.tz_localize(None)
        column.type, column.why = _date_or_time(times), "stored as times"
        return column, times, set()
    elif types.infer_dtype(raw.dropna(), skipna=True) in ("string", "empty", "categorical"):
        return _text(column, raw.astype("str"), dialect)
    elif (stored := types.infer_dtype(raw, skipna=True)) in ("decimal", "integer"):
        column.type, column.why = ("number" if stored == "decimal" else "integer"), f"stored as {stored}s"
        numbers = pd.to_numeric(raw, errors="coerce").astype("float64")
        if stored == "integer" and numbers.abs().max() >= EXACT:
            return _as_text_integer(column), raw.map(str, na_action="ignore").astype("str"), set()
        return column, numbers, set()
    elif stored == "date":
        column.type, column.why = "date", "stored as dates"
        return column, pd.to_datetime(raw, errors="coerce"), set()
    else:
        column.why = "holds lists, bytes or other values that cannot be a feature"
    return column, raw, set()


def _as_text_integer(column: Column) -> Column:
    """Keep integers that are too large for a float as text."""
    column.type, column.why, column.custom = "string", number_inference.TOO_LARGE, {"stored": "integer"}
    return column


def _text(column: Column, text: pd.Series, dialect: Dialect | None) -> tuple[Column, pd.Series, set[str]]:
    sample = text.drop_duplicates().dropna()
    missing_tokens: set[str] = set()
    if dialect:
        missing_tokens = {
            w for w in sample if is_missing_token(w) or (dialect.escape and w == "N")
        }  # \\N without its escape character
        absent = {*missing_tokens, *(w for w in sample if w in MISSING)}
        sample = sample[~sample.isin(absent)]
        present = text.mask(text.isin(absent)) if absent else text
    else:
        present = text
    attempts: list[ParseResult] = []
    if len(sample):
        style = (dialect.decimal, dialect.thousands) if dialect else None
        attempts = [parse_numbers(column.name, present, sample, style), parse_booleans(present, sample)]
        attempts = attempts if any(r.type for r in attempts) else [*attempts, parse_times(column.name, present, sample)]
    for result in attempts:
        if result.type and result.data is not None:
            column.type, column.why, column.warning = result.type, result.why, result.warning
            column.options, column.custom = result.options, result.custom
            return column, result.data, missing_tokens
    column.type, column.why = "string", next((r.why for r in attempts if r.why), "text")
    column.warning = next((r.warning for r in reversed(attempts) if r.warning), "")
    column.custom = next((r.custom for r in attempts if r.custom), {})
    if dialect and len(sample) and not sample.str.fullmatch("[A-Z]{2}").mean() > 0.5:  # in country codes, NA is Namibia
        column.missing_tokens = sorted(w for w in MISSING if w and (text == w).any())
    return column, text.mask(text.isin(column.missing_tokens)) if column.missing_tokens else text, set()


def _date_or_time(times: pd.Series) -> str:
    return "date" if (times.dropna() == times.dropna().dt.normalize()).all() else "timestamp"


def _describe(column: Column, values: pd.Series, position: int) -> None:
    """Add the missing share, range and categories, wide enough for valid future data."""
    if not column.type:
        return
    known = values.dropna()
    column.missing = 1 - len(known) / max(len(values), 1)
    column.distinct = int(known.nunique())
    if not len(known):
        column.type, column.why = "", "empty in every row: left out"
        return
    if re.fullmatch(r"Unnamed: \d+", column.name) or column.name == "__index_level_0__":
        if column.type == "integer" and (np.abs(np.diff(known.to_numpy("float64"))) == 1).all():
            column.type, column.why = "", "has no name and counts the rows: left out"
            return
        column.warning = (
            column.warning or f"column {position} has no name in the file; 'Unnamed: {position - 1}' was made up"
        )
    column.required = not column.missing and len(values) >= MIN_ROWS_REQUIRED
    if column.type in ("integer", "number"):
        bounds, note = number_range(known.to_numpy("float64"), whole=column.type == "integer")
        column.options |= bounds
        column.seen = f"{known.min():.6g} to {known.max():.6g}"
        column.note = note
    elif column.type in ("date", "timestamp"):
        first, last = known.min(), known.max()
        column.options["minimum"] = f"{max(1, (2 * first.year - last.year - 1) // 10 * 10):04d}-01-01"
        column.seen = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    elif column.type == "string":
        _categories(column, known)
    if column.distinct == 1:
        column.warning = "the same in every row: nothing to learn from"
    elif not column.missing and not column.required:
        column.note = column.note or f"no gaps in {len(values)} rows, too few to require a value"


def _categories(column: Column, present: pd.Series) -> None:
    counts = present.value_counts()
    column.seen = _first_values(counts.index[:4], len(counts))
    if column.missing_tokens:
        column.note = f"{column.missing_tokens[0]} means missing"
    if 1 < len(counts) <= MAX_CATEGORIES and counts.min() >= max(MIN_CATEGORY_ROWS, MIN_CATEGORY_SHARE * len(present)):
        column.enum = sorted(counts.index)
        column.why += ", a closed list: each value is common"
        return
    longest = int(present.str.len().max())
    column.options["maxLength"] = next(length for length in MAX_LENGTHS if length >= min(4 * longest, MAX_LENGTHS[-1]))
    if column.distinct == len(present) > 1 and not column.warning:
        column.warning = "differs in every row: an identifier teaches nothing"


def _first_values(values: Iterable[str], total: int) -> str:
    shown = ", ".join(value if len(value) <= 20 else value[:19] + "…" for value in values)
    return shown + (f", … ({total:,})" if total > 4 else "")


def number_range(values: np.ndarray, *, whole: bool) -> tuple[dict[str, float], str]:
    """Choose bounds that valid future data will stay within.

    The observed range is widened by its own length, or by ten times its length if the tail is heavy, and rounded
    outward. A column without negative values keeps 0 as its minimum. If the second half of the rows leaves the range
    of the first half, there is no bound on that side.
    """
    low, high = float(values.min()), float(values.max())
    if low == high or max(-low, high) > MAX_MAGNITUDE:
        return {}, ""
    if set(np.unique(values[:1000])) <= {0.0, 1.0} and set(np.unique(values)) == {0.0, 1.0} and whole:
        return {"minimum": 0, "maximum": 1}, ""
    deviation = np.abs(values - np.median(values))
    heavy = deviation.max() > HEAVY_TAIL * np.quantile(deviation, 0.95)
    margin = (high - low) * (HEAVY_TAIL_MARGIN if heavy else MARGIN)
    step = 10.0 ** math.floor(math.log10(margin))
    bounds = {"minimum": math.floor((low - margin) / step) * step, "maximum": math.ceil((high + margin) / step) * step}
    if low >= 0 > bounds["minimum"]:
        bounds["minimum"] = 0
    if high <= 0 < bounds["maximum"]:
        bounds["maximum"] = 0
    earlier, later = np.array_split(values, 2)
    tolerance = (earlier.max() - earlier.min()) / 2
    note = ""
    if later.max() > earlier.max() + tolerance:
        del bounds["maximum"]
        note = "grew over the rows: no maximum"
    if later.min() < earlier.min() - tolerance:
        bounds.pop("minimum")
        note = note or "fell over the rows: no minimum"
    rounded = {
        key: (int(bound) if whole or bound == int(bound) else float(f"{bound:.6g}")) for key, bound in bounds.items()
    }
    return rounded, note
