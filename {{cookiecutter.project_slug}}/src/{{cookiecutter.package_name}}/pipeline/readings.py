"""What a column of text can be understood as: numbers in one of several styles, or true and false; see also datings."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from . import numerals
from .logical_types import EXACT

TOO_LARGE = "beyond 2**53 numbers lose digits: text"
SIGNED = re.compile(
    r"(?P<before>[$€£¥₹₽%#~≈<>≤≥]|[A-Z]{2,3}\$?)?\s*(?P<number>.*?\d.*?)\s*(?P<after>[$€£¥₹₽%‰°]|[^\W\d_]{1,4}[²³]?)?"
)


@dataclass
class Reading:
    """A column of text, understood or not: without a ``type`` it stays text, and ``why`` and ``doubt`` say why."""

    type: str = ""
    data: pd.Series | None = None
    why: str = ""
    doubt: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    custom: dict[str, Any] = field(default_factory=dict)  # of the column in the contract


def as_numbers(name: str, plain: pd.Series, sample: pd.Series, style: tuple[str, str | None] | None) -> Reading:
    """Understand a column as numbers.

    Parameters
    ----------
    name, plain, sample : the column's name, its values without what stands for none, and the different ones of these
    style : decimal sign and separator of thousands of most columns; None where nothing rewrites numbers for the reader
    """
    chosen = _style(sample, style)
    if chosen is None:
        return _no_numbers(plain, sample, style or (".", None))
    text = numerals.rewritten(plain, *chosen).str.strip() if style else plain.str.strip()
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    if not numbers.dropna().abs().lt(math.inf).all():  # 1e999 is no number that a contract could bound
        return _no_numbers(plain, sample, style or (".", None))
    digits = sample.str.strip()
    if digits.str.contains(r"^[+-]?0\d", regex=True).any():
        return Reading(why="digits with leading zeros are a code")
    whole = bool(text.dropna().str.fullmatch(r"[+-]?\d+").all())
    if whole and numbers.abs().max() >= EXACT:
        as_written = bool(sample.str.fullmatch(r"\s*-?\d+\s*").all())
        return Reading(why=TOO_LARGE, custom={"stored": "integer"} if as_written else {})
    if whole and digits.str.fullmatch(r"(19|20)\d{6}").all() and re.search("date|day|time", name, re.IGNORECASE):
        return Reading()  # 20260131
    found = Reading("integer" if whole else "number", numbers, "whole numbers" if whole else "numbers")
    if numerals.is_signed_oddly(sample):
        found.why += "; brackets and a minus at the end are negative"
    if style and chosen != style:
        found.custom = {"decimal": chosen[0]} | ({"thousands": chosen[1]} if chosen[1] else {})
        found.why += f", with decimal {chosen[0]!r}" + (f" and thousands {chosen[1]!r}" if chosen[1] else "")
        mark = chosen[1] if chosen[1] in (".", ",") else chosen[0]
        if example := numerals.either(sample, mark):
            read = numerals.rewritten(pd.Series([example]), *chosen)[0]
            found.doubt = f"{example!r} was read as {read}; give the column another decimal sign if that is wrong"
    return found


def _style(sample: pd.Series, style: tuple[str, str | None] | None) -> tuple[str, str | None] | None:
    """The style that reads all of a column: the file's, else one with its decimal sign, else another."""
    if style is None or style[0] == ".":
        if pd.to_numeric(sample, errors="coerce").notna().all():
            return style or (".", None)
        if style is None:
            return None
    others = sorted((s for s in numerals.STYLES if s != style), key=lambda s: s[0] != style[0])
    return next((s for s in (style, *others) if sample.str.strip().str.fullmatch(numerals.pattern(*s)).all()), None)


def _no_numbers(plain: pd.Series, sample: pd.Series, style: tuple[str, str | None]) -> Reading:
    """Why a column holds no numbers, where it nearly does."""
    numbers = pd.to_numeric(numerals.rewritten(plain, *style), errors="coerce")
    wrong = ~numbers.abs().lt(math.inf) & plain.notna()
    share = 1 - wrong.sum() / plain.notna().sum()
    example = f"{plain[wrong].iloc[0][:20]!r} (row {int(wrong.to_numpy().argmax()) + 1})" if wrong.any() else ""
    if example and share > 0.5:
        shown = min(100 * share, 99.9) if share < 1 else 100
        return Reading(doubt=f"{shown:.3g} % are numbers, but {example} is none: kept as text; mend it in the file")
    found = [SIGNED.fullmatch(value.strip(" ()+-\u2212")) for value in sample]
    if all(m and (m["before"] or m["after"]) for m in found) and example:
        inner = pd.Series([m["number"] for m in found if m], dtype="str")
        if _style(inner, style):
            what = f"numbers with a sign or a unit, such as {example}"
            return Reading(doubt=f"{what}: kept as text; without it they would be numbers")
    return Reading()


def as_booleans(plain: pd.Series, sample: pd.Series) -> Reading:
    """Understand a column as true and false."""
    if not sample.str.lower().isin(["true", "false"]).all():
        return Reading()
    values = plain.str.lower().map({"true": 1.0, "false": 0.0}).astype("float64")
    return Reading("boolean", values, "true and false")
