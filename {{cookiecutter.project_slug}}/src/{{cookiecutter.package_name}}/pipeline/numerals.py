"""Numbers as people write them: decimal sign, separator of thousands, kinds of minus and brackets; read as Python's."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pandas as pd

# A separator stands for its kind: in the contract ' ' is any blank (no-break, thin, figure …) and "'" any apostrophe.
KINDS = {" ": " \u00a0\u2007\u2008\u2009\u202f", "'": "'\u2019\u02bc`\u00b4"}
BLANK = rf"[\t{KINDS[' ']}]*"
MINUS = "\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d"
EXPONENT = rf"(?:[eE][+{MINUS}-]?\d+)?"
# (decimal, thousands); where two read the same number of columns, the first wins.
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
    return f"[{re.escape(KINDS.get(thousands, thousands))}]"


def pattern(decimal: str, thousands: str | None) -> str:
    """Return the pattern of a number; with a separator, thousands are in threes and need not be separated.

    A negative number has a minus of any kind, before or after it, or stands in brackets.
    """
    whole = r"\d+"
    if thousands:
        mark = _separators(thousands)
        indian = rf"|[1-9]\d?(?:{mark}\d\d)+{mark}\d{{3}}" if thousands == "," else ""
        whole = rf"(?:[1-9]\d{{0,2}}(?:{mark}\d{{3}})+{indian}|\d+)"
    point = re.escape(decimal)
    plain = rf"(?:{whole}(?:{point}\d*)?|{point}\d+){EXPONENT}"
    return rf"(?:[+{MINUS}-]?{BLANK}{plain}|{plain}{BLANK}[{MINUS}-]|\({BLANK}{plain}{BLANK}\))"


def rewritten(text: pd.Series, decimal: str = ".", thousands: str | None = None) -> pd.Series:
    """Write numbers as Python does. What is no number stays as it is, or is marked where Python would read another one.

    Parameters
    ----------
    text : a column of text
    decimal, thousands : as the contract names them
    """
    asked = text.notna()
    if decimal == "." and not thousands:
        asked &= pd.to_numeric(text, errors="coerce").isna()
    if not asked.any():
        return text
    one = _rewriter(decimal, thousands)
    found = pd.Series([one(value) for value in text[asked]], index=text.index[asked], dtype=text.dtype)
    return text.where(~asked, found.reindex(text.index))


def _rewriter(decimal: str, thousands: str | None) -> Callable[[str], str]:
    fits = re.compile(pattern(decimal, thousands), re.ASCII).fullmatch
    drop = KINDS[" "] + "\t()" + KINDS.get(thousands or "", thousands or "")
    table = str.maketrans(dict.fromkeys(drop, "") | dict.fromkeys(MINUS, "-") | {decimal: "."})

    def one(value: str) -> str:
        if value.isdecimal() and value.isascii():
            return value
        stripped = value.strip()
        if not fits(stripped):
            return f"{value} (not written with decimal {decimal!r})" if _is_number(value) else value
        plain = stripped.translate(table)
        if plain.endswith("-"):
            plain = plain[:-1]
        elif stripped[0] != "(":
            return plain
        return f"-{plain}"

    return one


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value)) and value.isascii() and "_" not in value
    except ValueError:
        return False


def is_signed_oddly(sample: pd.Series) -> bool:
    """Whether a number of a column stands in brackets, or has its minus at the end."""
    return bool(sample.str.contains(rf"^{BLANK}\(|\d{BLANK}[{MINUS}-]{BLANK}$", regex=True).any())


def either(sample: pd.Series, mark: str) -> str:
    """Return a number whose ``mark`` may divide thousands as well as be the decimal sign, if no other decides it."""
    marked = sample[sample.str.contains(mark, regex=False)]
    doubtful = marked.str.fullmatch(rf"\D*[1-9]\d{{0,2}}{re.escape(mark)}\d{{3}}\D*").astype("bool")
    return str(marked.iloc[0]).strip() if len(marked) and doubtful.all() else ""
