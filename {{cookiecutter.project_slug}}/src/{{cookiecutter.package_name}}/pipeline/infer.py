"""What each column of an unknown table holds: type, range, categories, gaps, and why that was decided."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from .logical_types import MISSING
from .sniff import STAND_INS, Dialect

ENOUGH_ROWS = 100  # fewer cannot show that a column never has gaps
COMMON, FEW, COMMON_SHARE = 20, 20, 0.01  # a closed list: few categories, each seen often
LARGEST = 1e300  # no wider range can be computed
EXACT = 2**53  # beyond it, neighbouring integers are one float
WIDER, HEAVY_TAIL, WIDER_TAIL = 1, 6, 10
LENGTHS = [m * 10**e for e in range(1, 9) for m in (1, 2, 5)]
DATES = (
    *("yyyy/MM/dd", "yyyy.MM.dd", "dd.MM.yyyy", "dd.MM.yy", "MM/dd/yyyy", "dd/MM/yyyy", "MM/dd/yy", "dd/MM/yy"),
    *("dd-MM-yyyy", "MM-dd-yyyy", "dd MMM yyyy", "dd-MMM-yyyy", "dd-MMM-yy", "MMM dd yyyy", "MMM dd, yyyy", "yyyyMMdd"),
)
TIMES = ("", " HH:mm", " HH:mm:ss", "'T'HH:mm:ss", " hh:mm a", " hh:mm:ss a")
CODES = {"yyyy": "%Y", "yy": "%y", "MMM": "%b", "MM": "%m", "dd": "%d", "HH": "%H", "hh": "%I", "mm": "%M", "ss": "%S"}
DATE_LIKE = re.compile(r"(?=.*\d)[\w]{1,9}[-/., ]\s?\w{1,9}[-/., ]\s?\d{1,4}(?!\d).*|(19|20)\d{6}")
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")


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
    if kind.is_bool_dtype(raw.dtype):
        column.type, column.why = "boolean", "stored as booleans"
    elif kind.is_numeric_dtype(raw.dtype) and not kind.is_complex_dtype(raw.dtype):
        whole = kind.is_integer_dtype(raw.dtype)
        column.type, column.why = ("integer" if whole else "number"), "stored as numbers"
    elif kind.is_datetime64_any_dtype(raw.dtype):
        times = pd.to_datetime(raw, utc=True).dt.tz_localize(None)
        column.type, column.why = _date_or_time(times), "stored as times"
        return column, times, set()
    elif kind.infer_dtype(raw.dropna(), skipna=True) in ("string", "empty", "categorical"):
        return _text(column, raw.astype("str"), dialect)
    elif (stored := kind.infer_dtype(raw, skipna=True)) in ("decimal", "integer"):
        column.type, column.why = ("number" if stored == "decimal" else "integer"), f"stored as {stored}s"
        return column, pd.to_numeric(raw, errors="coerce").astype("float64"), set()
    elif stored == "date":
        column.type, column.why = "date", "stored as dates"
        return column, pd.to_datetime(raw, errors="coerce"), set()
    else:
        column.why = "holds lists, bytes or other things that are no feature"
    return column, raw, set()


def _text(column: Column, text: pd.Series, dialect: Dialect | None) -> tuple[Column, pd.Series, set[str]]:
    sample = text.drop_duplicates().dropna()
    words: set[str] = set()
    if dialect:
        words = {w for w in sample if w.strip().lower() in STAND_INS}
        gone = {*words, *(w for w in sample if w in MISSING)}
        sample = sample[~sample.isin(gone)]
        plain = text.mask(text.isin(gone)) if gone else text
    else:
        plain = text
    if len(sample):
        for read in (_as_numbers, _as_booleans, _as_times):
            values = read(column, plain, sample, dialect or Dialect())
            if values is not None:
                return column, values, words
    column.type, column.why = "string", column.why or "text"
    if dialect and len(sample) and not sample.str.fullmatch("[A-Z]{2}").mean() > 0.5:  # NA is Namibia among US and DE
        column.words = sorted(w for w in MISSING if w and (text == w).any())
    return column, text.mask(text.isin(column.words)) if column.words else text, set()


def _as_numbers(column: Column, plain: pd.Series, sample: pd.Series, dialect: Dialect) -> pd.Series | None:
    text = plain.str.strip()
    if dialect.thousands:
        text = text.str.replace(dialect.thousands, "", regex=False)
    if dialect.decimal != ".":
        text = text.str.replace(dialect.decimal, ".", regex=False)
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    wrong = ~numbers.abs().lt(np.inf) & plain.notna()  # inf and 1e999 are no number that a contract could bound
    if wrong.any():
        share = 1 - wrong.sum() / plain.notna().sum()
        example = f"{plain[wrong].iloc[0][:20]!r} (row {int(wrong.to_numpy().argmax()) + 1})"
        if share > 0.5:
            column.doubt = f"{100 * share:.3g} % are numbers, but {example} is none: kept as text; mend it in the file"
        elif sample.str.fullmatch(r"[$€£¥]?\s?[+-]?[\d.,' ]+\s?[%$€£¥]?").all():
            column.doubt = (
                f"numbers with a sign, such as {example}: kept as text; without the sign they would be numbers"
            )
        return None
    digits = sample.str.strip()
    if digits.str.contains(r"^[+-]?0\d", regex=True).any():
        column.why = "digits with leading zeros are a code"
        return None
    whole = bool(
        digits.str.fullmatch(r"[+-]?\d+" if not dialect.thousands else rf"[+-]?[\d{dialect.thousands}]+").all()
    )
    if whole and numbers.abs().max() > EXACT:
        column.why = "whole numbers of more than 15 digits lose digits as numbers"
        return None
    if whole and digits.str.fullmatch(r"(19|20)\d{6}").all() and re.search("date|day|time", column.name, re.IGNORECASE):
        return None  # 20260131
    column.type, column.why = ("integer", "whole numbers") if whole else ("number", "numbers")
    return numbers


def _as_booleans(column: Column, plain: pd.Series, sample: pd.Series, _: Dialect) -> pd.Series | None:
    if not sample.str.lower().isin(["true", "false"]).all():
        return None
    column.type, column.why = "boolean", "true and false"
    return plain.str.lower().map({"true": 1.0, "false": 0.0}).astype("float64")


def _as_times(column: Column, plain: pd.Series, sample: pd.Series, _: Dialect) -> pd.Series | None:
    spread = sample.iloc[:: max(1, len(sample) // 50)]
    if not all(DATE_LIKE.fullmatch(v.strip()) for v in spread):
        return None
    if all(ISO.fullmatch(v) for v in spread):
        times = pd.to_datetime(plain, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None)
        if (times.notna() == plain.notna()).all():
            clock = spread.str.len().gt(10).any()
            column.type, column.why = ("timestamp" if clock else "date"), "ISO dates"
            if spread.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).any() and clock:
                column.doubt = "time zones become UTC"
            return times
    fits = [d + t for d in DATES for t in TIMES if _parse(spread, d + t).notna().all()]
    fits = [f for f in fits if _parse(sample, f).notna().all()]
    if not fits:
        some = [f for f in map("".join, ((d, t) for d in DATES for t in TIMES)) if _parse(spread, f).notna().any()]
        if some or any(ISO.fullmatch(v) for v in spread):
            column.doubt = "dates in more than one format: kept as text; write them as 2026-01-31"
        return None
    chosen = fits[0]
    if len(fits) > 1:
        column.doubt = (
            f"{spread.iloc[0]} may be {' or '.join(fits[:2])}: the first was taken; change 'format' if it is wrong"
        )
    unpadded = spread.str.contains(r"(?:^|\D)\d(?:\D|$)", regex=True).any()
    written = re.sub(r"(?<!M)MM(?!M)", "M", chosen).replace("dd", "d") if unpadded else chosen
    column.type = "date" if chosen in DATES else "timestamp"
    column.why, column.options = f"dates written {written}", {"format": written}
    return _parse(plain, chosen)


def _parse(values: pd.Series, pattern: str) -> pd.Series:
    code = re.sub("yyyy|yy|MMM|MM|dd|HH|hh|mm|ss", lambda m: CODES[m[0]], pattern).replace("'T'", "T")
    return pd.to_datetime(values, format=code.replace(" a", " %p"), errors="coerce")


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
