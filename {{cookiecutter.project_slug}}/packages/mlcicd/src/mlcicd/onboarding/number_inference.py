"""Parse columns of text as numbers, in one of several styles, or as booleans; dates are in ``date_inference``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mlcicd.data import numerals
from mlcicd.validation.logical_types import EXACT

TOO_LARGE = "beyond 2**53 numbers lose digits: text"
SIGNED = re.compile(
    r"(?P<before>[$€£¥₹₽%#~≈<>≤≥]|[A-Z]{2,3}\$?)?\s*(?P<number>.*?\d.*?)\s*(?P<after>[$€£¥₹₽%‰°]|[^\W\d_]{1,4}[²³]?)?"
)


@dataclass
class ParseResult:
    """The result of parsing a column of text.

    Without a ``type`` the column stays text; ``why`` and ``warning`` explain the decision.
    """

    type: str = ""
    data: pd.Series | None = None
    why: str = ""
    warning: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)  # the column's custom properties in the contract


def parse_numbers(
    name: str, present: pd.Series, sample: pd.Series, style: tuple[str, str | None] | None
) -> ParseResult:
    """Parse a column as numbers.

    Parameters
    ----------
    name : the column's name
    present : its values, with missing-value tokens masked
    sample : the distinct values of ``present``
    style : decimal sign and thousands separator of most columns; None for Parquet, whose texts are not rewritten
    """
    best = _style(sample, style)
    if best is None:
        return _no_numbers(present, sample, style or (".", None))
    text = numerals.normalize(present, *best).str.strip() if style else present.str.strip()
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    if not numbers.dropna().abs().lt(math.inf).all():  # 1e999 overflows to infinity
        return _no_numbers(present, sample, style or (".", None))
    digits = sample.str.strip()
    if digits.str.contains(r"^[+-]?0\d", regex=True).any():
        return ParseResult(why="digits with leading zeros are a code")
    whole = bool(text.dropna().str.fullmatch(r"[+-]?\d+").all())
    if whole and numbers.abs().max() >= EXACT:
        as_written = bool(sample.str.fullmatch(r"\s*-?\d+\s*").all())
        return ParseResult(why=TOO_LARGE, custom={"stored": "integer"} if as_written else {})
    if whole and digits.str.fullmatch(r"(19|20)\d{6}").all() and re.search("date|day|time", name, re.IGNORECASE):
        return ParseResult()  # 20260131
    result = ParseResult("integer" if whole else "number", numbers, "whole numbers" if whole else "numbers")
    if numerals.has_unusual_minus(sample):
        result.why += "; brackets and a minus at the end are negative"
    if style and best != style:
        result.custom = {"decimal": best[0]} | ({"thousands": best[1]} if best[1] else {})
        result.why += f", with decimal {best[0]!r}" + (f" and thousands {best[1]!r}" if best[1] else "")
        mark = best[1] if best[1] in (".", ",") else best[0]
        if example := numerals.ambiguous_example(sample, mark):
            parsed = numerals.normalize(pd.Series([example]), *best)[0]
            result.warning = f"{example!r} was read as {parsed}; give the column another decimal sign if that is wrong"
    return result


def _style(sample: pd.Series, style: tuple[str, str | None] | None) -> tuple[str, str | None] | None:
    """Return a style that parses the whole column: the file's own, else one with its decimal sign, else any other."""
    if style is None or style[0] == ".":
        if pd.to_numeric(sample, errors="coerce").notna().all():
            return style or (".", None)
        if style is None:
            return None
    others = sorted((s for s in numerals.STYLES if s != style), key=lambda s: s[0] != style[0])
    stripped = sample.str.strip()
    return next((s for s in (style, *others) if stripped.str.fullmatch(numerals.number_pattern(*s)).all()), None)


def _no_numbers(present: pd.Series, sample: pd.Series, style: tuple[str, str | None]) -> ParseResult:
    """Warn about a column that almost holds numbers: a few other values, or numbers with a unit."""
    numbers = pd.to_numeric(numerals.normalize(present, *style), errors="coerce")
    unparsed = ~numbers.abs().lt(math.inf) & present.notna()
    share = 1 - unparsed.sum() / present.notna().sum()
    first = int(unparsed.to_numpy().argmax())
    example = f"{present.iloc[first][:20]!r} (row {first + 1})" if unparsed.any() else ""
    if example and share > 0.5:
        shown = min(100 * share, 99.9) if share < 1 else 100
        return ParseResult(
            warning=f"{shown:.3g} % are numbers, but {example} is not: kept as text; correct it in the file"
        )
    signed = [SIGNED.fullmatch(value.strip(" ()+-\u2212")) for value in sample]
    if all(m and (m["before"] or m["after"]) for m in signed) and example:
        inner = pd.Series([m["number"] for m in signed if m], dtype="str")
        if _style(inner, style):
            problem = f"numbers with a sign or a unit, such as {example}"
            return ParseResult(warning=f"{problem}: kept as text; without it they would be numbers")
    return ParseResult()


def parse_booleans(plain: pd.Series, sample: pd.Series) -> ParseResult:
    """Parse a column as booleans."""
    if not sample.str.lower().isin(["true", "false"]).all():
        return ParseResult()
    values = plain.str.lower().map({"true": 1.0, "false": 0.0}).astype("float64")
    return ParseResult("boolean", values, "true and false")
