"""What each column of an unknown table holds: type, range, categories, gaps, and why that was decided."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from . import readings
from .arrow_types import why_left_out
from .datings import as_times
from .logical_types import EXACT, MISSING
from .readings import Reading, as_booleans, as_numbers
from .sniff import Dialect, is_stand_in

ENOUGH_ROWS = 100  # fewer cannot show that a column never has gaps
COMMON, FEW, COMMON_SHARE = 20, 20, 0.01  # a closed list: few categories, each seen often
LARGEST = 1e300  # no wider range can be computed
WIDER, HEAVY_TAIL, WIDER_TAIL = 1, 6, 10
LENGTHS = [m * 10**e for e in range(1, 9) for m in (1, 2, 5)]


@dataclass
class Column:
    """What was found out about one column. Without a ``type`` it is left out of the contract."""

    name: str
    type: str = ""
    why: str = ""
    missing: float = 0.0
    distinct: int = 0
    seen: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)  # the contract's custom properties
    enum: list[Any] = field(default_factory=list)
    words: list[str] = field(default_factory=list)  # for "no value", in a column of text
    note: str = ""  # for the contract's reader
    doubt: str = ""  # for everybody
    required: bool = False


def columns(frame: pd.DataFrame, dialect: Dialect | None) -> tuple[list[Column], pd.DataFrame, Dialect]:
    """Infer every column; ``dialect`` is None where the file itself says what is missing.

    Returns
    -------
    What was found, the values by column as they were understood, and the dialect with the file's words for "no value".
    """
    found, values, stand_ins = [], {}, set[str]()
    for position, name in enumerate(frame, start=1):
        column, values[name], words = _column(frame[name], dialect)
        _describe(column, values[name], position)
        found.append(column)
        stand_ins |= words
    return found, pd.DataFrame(values), replace(dialect or Dialect(), missing=tuple(sorted(stand_ins)))


def _column(raw: pd.Series, dialect: Dialect | None) -> tuple[Column, pd.Series, set[str]]:
    column, kind = Column(str(raw.name)), pd.api.types
    if isinstance(raw.dtype, pd.ArrowDtype):
        column.why = why_left_out(raw.dtype.pyarrow_dtype)
    elif kind.is_bool_dtype(raw.dtype):
        column.type, column.why = "boolean", "stored as booleans"
        return column, raw.astype("float64" if raw.isna().any() else "bool"), set()
    elif kind.is_numeric_dtype(raw.dtype) and not kind.is_complex_dtype(raw.dtype):
        whole = kind.is_integer_dtype(raw.dtype)
        column.type, column.why = ("integer" if whole else "number"), "stored as numbers"
        if whole and (raw.max() >= EXACT or raw.min() <= -EXACT):  # by pandas without a detour through floats
            return _digits(column), raw.astype("string[python]").astype("str"), set()
    elif kind.is_datetime64_any_dtype(raw.dtype):
        times = pd.to_datetime(raw, utc=True).dt.tz_localize(None)
        column.type, column.why = _date_or_time(times), "stored as times"
        return column, times, set()
    elif kind.infer_dtype(raw.dropna(), skipna=True) in ("string", "empty", "categorical"):
        return _text(column, raw.astype("str"), dialect)
    elif (stored := kind.infer_dtype(raw, skipna=True)) in ("decimal", "integer"):
        column.type, column.why = ("number" if stored == "decimal" else "integer"), f"stored as {stored}s"
        numbers = pd.to_numeric(raw, errors="coerce").astype("float64")
        if stored == "integer" and numbers.abs().max() >= EXACT:
            return _digits(column), raw.map(str, na_action="ignore").astype("str"), set()
        return column, numbers, set()
    elif stored == "date":
        column.type, column.why = "date", "stored as dates"
        return column, pd.to_datetime(raw, errors="coerce"), set()
    else:
        column.why = "holds lists, bytes or other things that are no feature"
    return column, raw, set()


def _digits(column: Column) -> Column:
    """Whole numbers that no number type of a model holds stay the text that they are written as."""
    column.type, column.why, column.custom = "string", readings.TOO_LARGE, {"stored": "integer"}
    return column


def _text(column: Column, text: pd.Series, dialect: Dialect | None) -> tuple[Column, pd.Series, set[str]]:
    sample = text.drop_duplicates().dropna()
    words: set[str] = set()
    if dialect:
        words = {w for w in sample if is_stand_in(w) or (dialect.escape and w == "N")}  # \\N, after the escape
        gone = {*words, *(w for w in sample if w in MISSING)}
        sample = sample[~sample.isin(gone)]
        plain = text.mask(text.isin(gone)) if gone else text
    else:
        plain = text
    passed: list[Reading] = []
    if len(sample):
        style = (dialect.decimal, dialect.thousands) if dialect else None
        passed = [as_numbers(column.name, plain, sample, style), as_booleans(plain, sample)]
        passed = passed if any(r.type for r in passed) else [*passed, as_times(column.name, plain, sample)]
    for found in passed:
        if found.type and found.data is not None:
            column.type, column.why, column.doubt = found.type, found.why, found.doubt
            column.options, column.custom = found.options, found.custom
            return column, found.data, words
    column.type, column.why = "string", next((r.why for r in passed if r.why), "text")
    column.doubt = next((r.doubt for r in reversed(passed) if r.doubt), "")
    column.custom = next((r.custom for r in passed if r.custom), {})
    if dialect and len(sample) and not sample.str.fullmatch("[A-Z]{2}").mean() > 0.5:  # NA is Namibia among US and DE
        column.words = sorted(w for w in MISSING if w and (text == w).any())
    return column, text.mask(text.isin(column.words)) if column.words else text, set()


def _date_or_time(times: pd.Series) -> str:
    return "date" if (times.dropna() == times.dropna().dt.normalize()).all() else "timestamp"


def _describe(column: Column, values: pd.Series, position: int) -> None:
    """Add gaps, range and categories, wide enough for what the next month may honestly bring."""
    if not column.type:
        return
    present = values.dropna()
    column.missing = 1 - len(present) / max(len(values), 1)
    column.distinct = int(present.nunique())
    if not len(present):
        column.type, column.why = "", "empty in every row: left out"
        return
    if re.fullmatch(r"Unnamed: \d+", column.name) or column.name == "__index_level_0__":
        if column.type == "integer" and (np.abs(np.diff(present.to_numpy("float64"))) == 1).all():
            column.type, column.why = "", "has no name and counts the rows: left out"
            return
        column.doubt = (
            column.doubt or f"column {position} has no name in the file; 'Unnamed: {position - 1}' was made up"
        )
    column.required = not column.missing and len(values) >= ENOUGH_ROWS
    if column.type in ("integer", "number"):
        bounds, note = number_range(present.to_numpy("float64"), whole=column.type == "integer")
        column.options |= bounds
        column.seen = f"{present.min():.6g} to {present.max():.6g}"
        column.note = note
    elif column.type in ("date", "timestamp"):
        first, last = present.min(), present.max()
        column.options["minimum"] = f"{max(1, (2 * first.year - last.year - 1) // 10 * 10):04d}-01-01"
        column.seen = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
    elif column.type == "string":
        _categories(column, present)
    if column.distinct == 1:
        column.doubt = "the same in every row: nothing to learn from"
    elif not column.missing and not column.required:
        column.note = column.note or f"no gaps in {len(values)} rows, too few to require a value"


def _categories(column: Column, present: pd.Series) -> None:
    counts = present.value_counts()
    column.seen = _words(counts.index[:4], len(counts))
    if column.words:
        column.note = f"{column.words[0]} is no value"
    if len(counts) <= FEW and counts.min() >= max(COMMON, COMMON_SHARE * len(present)) and len(counts) > 1:
        column.enum = sorted(counts.index)
        column.why += ", a closed list: each value is common"
        return
    longest = int(present.str.len().max())
    column.options["maxLength"] = next(length for length in LENGTHS if length >= min(4 * longest, LENGTHS[-1]))
    if column.distinct == len(present) > 1 and not column.doubt:
        column.doubt = "differs in every row: an identifier teaches nothing"


def _words(values: Iterable[str], total: int) -> str:
    shown = ", ".join(value if len(value) <= 20 else value[:19] + "…" for value in values)
    return shown + (f", … ({total:,})" if total > 4 else "")


def number_range(values: np.ndarray, *, whole: bool) -> tuple[dict[str, float], str]:
    """Choose bounds that next month's honest data will keep.

    The range seen is widened by its own length, by ten times that where the tail is heavy, and rounded outward. What
    never was negative stays so. Where the later half of the rows left the range of the earlier half, a side stays open.
    """
    low, high = float(values.min()), float(values.max())
    if low == high or max(-low, high) > LARGEST:
        return {}, ""
    if set(np.unique(values[:1000])) <= {0.0, 1.0} and set(np.unique(values)) == {0.0, 1.0} and whole:
        return {"minimum": 0, "maximum": 1}, ""
    away = np.abs(values - np.median(values))
    heavy = away.max() > HEAVY_TAIL * np.quantile(away, 0.95)
    margin = (high - low) * (WIDER_TAIL if heavy else WIDER)
    step = 10.0 ** math.floor(math.log10(margin))
    bounds = {"minimum": math.floor((low - margin) / step) * step, "maximum": math.ceil((high + margin) / step) * step}
    if low >= 0 > bounds["minimum"]:
        bounds["minimum"] = 0
    if high <= 0 < bounds["maximum"]:
        bounds["maximum"] = 0
    earlier, later = np.array_split(values, 2)
    reach = (earlier.max() - earlier.min()) / 2
    note = ""
    if later.max() > earlier.max() + reach:
        del bounds["maximum"]
        note = "grew over the rows: no maximum"
    if later.min() < earlier.min() - reach:
        bounds.pop("minimum")
        note = note or "fell over the rows: no minimum"
    tidy = {
        key: (int(bound) if whole or bound == int(bound) else float(f"{bound:.6g}")) for key, bound in bounds.items()
    }
    return tidy, note
