"""Convert numbers in local notation (decimal sign, thousands separator, minus signs, brackets) to Python's notation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pandas as pd

# Characters that a separator of the contract matches: ' ' is any space (no-break, thin, figure …), "'" any apostrophe.
VARIANTS = {" ": " \u00a0\u2007\u2008\u2009\u202f", "'": "'\u2019\u02bc`\u00b4"}
BLANK = rf"[\t{VARIANTS[' ']}]*"
MINUS = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"
EXPONENT = rf"(?:[eE][+{MINUS}-]?\d+)?"
# (decimal, thousands); if two styles parse the same number of columns, the first is chosen.
STYLES: tuple[tuple[str, str | None], ...] = (
    (".", None),
    (".", ","),
    (",", None),
    (",", "."),
    (".", " "),
    (",", " "),
    (".", "'"),
    (",", "'"),
)


def _separators(thousands: str) -> str:
    return f"[{re.escape(VARIANTS.get(thousands, thousands))}]"


def number_pattern(decimal: str, thousands: str | None) -> str:
    """Return a regular expression for numbers; the thousands separator is optional in each number.

    A negative number has any kind of minus sign before or after it, or is in brackets.
    """
    integer = r"\d+"
    if thousands:
        separator = _separators(thousands)
        lakhs = rf"|[1-9]\d?(?:{separator}\d\d)+{separator}\d{{3}}" if thousands == "," else ""
        integer = rf"(?:[1-9]\d{{0,2}}(?:{separator}\d{{3}})+{lakhs}|\d+)"
    point = re.escape(decimal)
    unsigned = rf"(?:{integer}(?:{point}\d*)?|{point}\d+){EXPONENT}"
    return rf"(?:[+{MINUS}-]?{BLANK}{unsigned}|{unsigned}{BLANK}[{MINUS}-]|\({BLANK}{unsigned}{BLANK}\))"


def normalize(text: pd.Series, decimal: str = ".", thousands: str | None = None) -> pd.Series:
    """Rewrite numbers in Python's notation.

    Other texts are unchanged, except for those that Python would parse as a number: these are marked as invalid.

    Parameters
    ----------
    text : a column of text
    decimal, thousands : the decimal sign and thousands separator
    """
    to_rewrite = text.notna()
    if decimal == "." and not thousands:
        to_rewrite &= pd.to_numeric(text, errors="coerce").isna()
    if not to_rewrite.any():
        return text
    rewrite = _rewriter(decimal, thousands)
    values = pd.Series([rewrite(value) for value in text[to_rewrite]], index=text.index[to_rewrite], dtype=text.dtype)
    return text.where(~to_rewrite, values.reindex(text.index))


def _rewriter(decimal: str, thousands: str | None) -> Callable[[str], str]:
    matches = re.compile(number_pattern(decimal, thousands), re.ASCII).fullmatch
    dropped = VARIANTS[" "] + "\t()" + VARIANTS.get(thousands or "", thousands or "")
    translation = str.maketrans(dict.fromkeys(dropped, "") | dict.fromkeys(MINUS, "-") | {decimal: "."})

    def rewrite(value: str) -> str:
        if value.isdecimal() and value.isascii():
            return value
        stripped = value.strip()
        if not matches(stripped):
            return f"{value} (not written with decimal {decimal!r})" if _is_number(value) else value
        number = stripped.translate(translation)
        if number.endswith("-"):
            number = number[:-1]
        elif stripped[0] != "(":
            return number
        return f"-{number}"

    return rewrite


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value)) and value.isascii() and "_" not in value
    except ValueError:
        return False


def has_unusual_minus(sample: pd.Series) -> bool:
    """Return whether negative numbers of a column are in brackets, or have a minus sign at the end."""
    return bool(sample.str.contains(rf"^{BLANK}\(|\d{BLANK}[{MINUS}-]{BLANK}$", regex=True).any())


def ambiguous_example(sample: pd.Series, mark: str) -> str:
    """Return an example if ``mark`` may be the thousands separator or the decimal sign in every number; else empty."""
    with_mark = sample[sample.str.contains(mark, regex=False)]
    ambiguous = with_mark.str.fullmatch(rf"\D*[1-9]\d{{0,2}}{re.escape(mark)}\d{{3}}\D*").astype("bool")
    return str(with_mark.iloc[0]).strip() if len(with_mark) and ambiguous.all() else ""
