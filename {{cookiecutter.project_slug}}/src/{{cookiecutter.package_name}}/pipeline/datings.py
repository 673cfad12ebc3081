"""What a column of text can be understood as: dates and times, in the patterns that the contract knows."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pandas as pd

from .date_formats import date_format
from .logical_types import arrow
from .readings import Reading

DATES = (
    *("yyyy-MM-dd", "yyyy/MM/dd", "yyyy.MM.dd", "dd.MM.yyyy", "dd.MM.yy", "MM/dd/yyyy", "dd/MM/yyyy", "MM/dd/yy"),
    *("dd/MM/yy", "dd-MM-yyyy", "MM-dd-yyyy", "dd-MM-yy", "MM-dd-yy", "dd MMM yyyy", "dd-MMM-yyyy", "dd-MMM-yy"),
    *("dd/MMM/yyyy", "dd MMM yy", "MMM dd yyyy", "MMM dd, yyyy", "dd MMMM yyyy", "MMMM dd, yyyy", "MMMM dd yyyy"),
    *("dd. MMMM yyyy", "dd. MMM yyyy", "yyyyMMdd"),
)
TIMES = (
    "",
    " HH:mm:ss.SSSSSSSSS",
    " HH:mm",
    " HH:mm:ss",
    "'T'HH:mm",
    "'T'HH:mm:ss",
    " hh:mm a",
    " hh:mm:ss a",
    ", HH:mm:ss",
    ", hh:mm:ss a",
)
PATTERNS = [day + time for day in DATES for time in TIMES]
DATE_LIKE = re.compile(r"(?=.*\d)[\w]{1,9}[-/., ]{1,2}\w{1,9}[-/., ]{1,2}\d{1,4}(?!\d).*|(19|20)\d{6}")
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?")
UNPADDED = re.compile(r"(?:^|\D)\d(?:\D|$)")
PAST = re.compile(r"birth|born|dob|bday|died|death|geb|naiss|nacim|nasc|founded|built|since", re.IGNORECASE)
FUTURE = 50  # years that a date may lie ahead where that keeps the column's dates together


def as_times(name: str, plain: pd.Series, sample: pd.Series) -> Reading:
    """Understand a column as dates or times; the arguments are those of ``readings.as_numbers``."""
    spread = sample.iloc[:: max(1, len(sample) // 50)].str.strip()
    like = spread.map(lambda value: bool(DATE_LIKE.fullmatch(value)))
    if not like.all():
        near = [p for p in PATTERNS if sum(_reads(value, p) for value in spread[like]) > 0.5 * len(spread)]
        return Reading(doubt=_odd_one(plain, sample, near) if near else "")
    if all(ISO.fullmatch(value) for value in spread):
        times = _parse(plain, None)
        if (times.notna() == plain.notna()).all():
            clock = bool(spread.str.len().gt(10).any())
            zones = clock and spread.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).any()
            doubt = "time zones become UTC" if zones else ""
            return Reading("timestamp" if clock else "date", times, "ISO dates", doubt)
    some = [p for p in PATTERNS if any(_reads(value, p) for value in spread)]
    fits = [p for p in some if all(_reads(value, p) for value in spread)]
    fits = [p for p in fits if _parse(sample, p).notna().all()]
    if not fits:
        several = bool(some) or any(ISO.fullmatch(value) for value in spread)
        return Reading(doubt=_odd_one(plain, sample, some) if several else "")
    chosen = fits[0]
    doubt = ""
    if len(fits) > 1:
        doubt = f"{spread.iloc[0]} may be {' or '.join(fits[:2])}: the first was taken; change 'format' if it is wrong"
    written = chosen
    if spread.str.contains(UNPADDED, regex=True).any():
        written = re.sub(r"(?<!M)MM(?!M)", "M", chosen).replace("dd", "d").replace("HH", "H").replace("hh", "h")
    kind = "date" if chosen in DATES else "timestamp"
    found = Reading(kind, _parse(plain, chosen), f"dates written {written}", doubt, {"format": written})
    return _with_century(name, plain, found) if "yyyy" not in chosen else found


def _odd_one(plain: pd.Series, sample: pd.Series, patterns: list[str]) -> str:
    """Say why text with dates in it is none: one value that is no date, or several ways of writing."""
    candidates = {p: _parse(sample, p).notna() for p in patterns}
    candidates["ISO"] = _parse(sample, None).notna()
    known = pd.concat(candidates, axis=1)
    none = sample[~known.any(axis=1)]
    if len(none) and not any(_reads(none.iloc[0].strip(), p) for p in (None, *PATTERNS)):
        row = int((plain == none.iloc[0]).to_numpy().argmax()) + 1
        return f"dates, but {none.iloc[0][:20]!r} (row {row}) is none: kept as text; mend it in the file"
    return "dates in more than one format: kept as text; write them as 2026-01-31"


def _reads(value: str, pattern: str | None) -> bool:
    try:
        date_format(pattern).parse(value)
    except (ValueError, OverflowError):
        return False
    return True


def _parse(values: pd.Series, pattern: str | None, latest: int | None = None) -> pd.Series:
    """Read dates as the contract's readers will."""
    found = date_format(pattern, latest).parse_all(arrow(values.astype("str").str.strip()))
    return pd.Series(found, index=values.index)


def _with_century(name: str, plain: pd.Series, found: Reading) -> Reading:
    """Add the century of two-digit years: no birth lies in the future, other dates as close together as can be."""
    pattern, today = found.options["format"], datetime.now(tz=UTC).date()
    latest = latest_year(plain.dropna(), pattern, today, only_past=bool(PAST.search(name)))
    times = _parse(plain, pattern, latest)
    found.data, found.custom = times, {"latestYear": latest}
    first, last = int(times.dt.year.min()), int(times.dt.year.max())
    if not found.doubt and not today.year - 30 <= first <= last <= today.year:
        found.doubt = f"years of two digits were read as {first} to {last}; change 'latestYear' if that is wrong"
    return found


def latest_year(dates: pd.Series, pattern: str, today: date, *, only_past: bool) -> int:
    """Choose the hundred years that two digits stand for, by their last year."""
    past, ahead = (_parse(dates, pattern, today.year + years) for years in (0, FUTURE))
    if only_past:
        return today.year - int(past.max().date() > today)
    return today.year if past.max() - past.min() <= ahead.max() - ahead.min() else today.year + FUTURE
