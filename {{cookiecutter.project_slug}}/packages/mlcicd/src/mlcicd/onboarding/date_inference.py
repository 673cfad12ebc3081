"""Parse columns of text as dates and times, in the formats that the contract supports."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

import pandas as pd

from mlcicd.contract.date_formats import date_format
from mlcicd.onboarding.number_inference import ParseResult
from mlcicd.validation.logical_types import arrow

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
MAX_YEARS_AHEAD = 50  # two-digit years may be this far in the future if that makes the column's date range shorter


def parse_times(name: str, present: pd.Series, sample: pd.Series) -> ParseResult:
    """Parse a column as dates or times; the arguments are those of ``number_inference.parse_numbers``."""
    examples = sample.iloc[:: max(1, len(sample) // 50)].str.strip()
    date_like = examples.map(lambda value: bool(DATE_LIKE.fullmatch(value)))
    if not date_like.all():
        close_fits = [
            p for p in PATTERNS if sum(_matches_format(value, p) for value in examples[date_like]) > 0.5 * len(examples)
        ]
        return ParseResult(warning=_explain_text(present, sample, close_fits) if close_fits else "")
    if all(ISO.fullmatch(value) for value in examples):
        times = _parse(present, None)
        if (times.notna() == present.notna()).all():
            has_time = bool(examples.str.len().gt(10).any())
            has_zones = has_time and examples.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).any()
            warning = "time zones become UTC" if has_zones else ""
            return ParseResult("timestamp" if has_time else "date", times, "ISO dates", warning)
    partial_fits = [p for p in PATTERNS if any(_matches_format(value, p) for value in examples)]
    fits = [p for p in partial_fits if all(_matches_format(value, p) for value in examples)]
    fits = [p for p in fits if _parse(sample, p).notna().all()]
    if not fits:
        several = bool(partial_fits) or any(ISO.fullmatch(value) for value in examples)
        return ParseResult(warning=_explain_text(present, sample, partial_fits) if several else "")
    chosen = fits[0]
    warning = ""
    if len(fits) > 1:
        warning = (
            f"{examples.iloc[0]} may be {' or '.join(fits[:2])}: the first was taken; change 'format' if it is wrong"
        )
    written = chosen
    if examples.str.contains(UNPADDED, regex=True).any():
        written = re.sub(r"(?<!M)MM(?!M)", "M", chosen).replace("dd", "d").replace("HH", "H").replace("hh", "h")
    kind = "date" if chosen in DATES else "timestamp"
    result = ParseResult(kind, _parse(present, chosen), f"dates written {written}", warning, {"format": written})
    return _with_century(name, present, result) if "yyyy" not in chosen else result


def _explain_text(present: pd.Series, sample: pd.Series, patterns: list[str]) -> str:
    """Explain why a column with dates stays text: a value that is no date, or dates in several formats."""
    candidates = {p: _parse(sample, p).notna() for p in patterns}
    candidates["ISO"] = _parse(sample, None).notna()
    parsed = pd.concat(candidates, axis=1)
    unparsed = sample[~parsed.any(axis=1)]
    if len(unparsed) and not any(_matches_format(unparsed.iloc[0].strip(), p) for p in (None, *PATTERNS)):
        row = int((present == unparsed.iloc[0]).to_numpy().argmax()) + 1
        return f"dates, but {unparsed.iloc[0][:20]!r} (row {row}) is not: kept as text; correct it in the file"
    return "dates in more than one format: kept as text; write them as 2026-01-31"


def _matches_format(value: str, pattern: str | None) -> bool:
    try:
        date_format(pattern).parse(value)
    except (ValueError, OverflowError):
        return False
    return True


def _parse(values: pd.Series, pattern: str | None, latest: int | None = None) -> pd.Series:
    """Parse dates as the readers do."""
    stamps = date_format(pattern, latest).parse_all(arrow(values.astype("str").str.strip()))
    return pd.Series(stamps, index=values.index)


def _with_century(name: str, present: pd.Series, result: ParseResult) -> ParseResult:
    """Choose the century of two-digit years and parse the dates with it."""
    pattern, today = result.options["format"], datetime.now(tz=UTC).date()
    latest = infer_latest_year(present.dropna(), pattern, today, only_past=bool(PAST.search(name)))
    times = _parse(present, pattern, latest)
    result.data, result.custom = times, {"latestYear": latest}
    first, last = int(times.dt.year.min()), int(times.dt.year.max())
    if not result.warning and not today.year - 30 <= first <= last <= today.year:
        result.warning = f"years of two digits were read as {first} to {last}; change 'latestYear' if that is wrong"
    return result


def infer_latest_year(dates: pd.Series, pattern: str, today: date, *, only_past: bool) -> int:
    """Choose the century of two-digit years; return its last year.

    Dates such as births are never in the future; other dates get the century that makes their range shortest.
    """
    past, ahead = (_parse(dates, pattern, today.year + years) for years in (0, MAX_YEARS_AHEAD))
    if only_past:
        return today.year - int(past.max().date() > today)
    return today.year if past.max() - past.min() <= ahead.max() - ahead.min() else today.year + MAX_YEARS_AHEAD
