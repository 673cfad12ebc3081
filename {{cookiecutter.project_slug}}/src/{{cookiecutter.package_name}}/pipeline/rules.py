"""The contract's rules on a table: one small vectorised function a rule, all failures at once."""

from __future__ import annotations

import math
import operator
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import patterns
from .column_checks import BOUNDS
from .logical_types import arrow
from .odcs import COMPARISON, NUMERIC, TEMPORAL, Property, Quality, SchemaObject

SHOWN_ROWS = 5
PUBLIC = (None, "public")
Mistyped = dict[str, pd.Series]  # by column, the values that do not have its type, by position
NONE = pd.Series([], dtype=object)
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "<>": operator.ne,
}
LIMITS = {
    "mustBe": "=",
    "mustBeLessThan": "<",
    "mustBeLessOrEqualTo": "<=",
    "mustBeGreaterThan": ">",
    "mustBeGreaterOrEqualTo": ">=",
}


@dataclass(frozen=True)
class Violation:
    """One rule that the data breaks: where, which, how often, in which rows first (1 is the first row of data)."""

    object: str
    column: str
    rule: str
    count: int
    rows: tuple[int, ...] = ()
    example: str = ""

    def __str__(self) -> str:
        where = f"{self.object}.{self.column}" if self.column else self.object
        first = ", ".join(map(str, self.rows))
        rows = f": {self.count:,} rows; first {first}" if self.count > 1 else f": row {first}"
        rows = rows if self.rows else ""
        return f"{where}: {self.rule}{rows}{f', for example {self.example}' if self.example else ''}"


def check(frame: pd.DataFrame, obj: SchemaObject, mistyped: Mistyped | None = None) -> list[Violation]:
    """Check a typed frame against every rule of its schema object.

    Parameters
    ----------
    frame, mistyped : as ``tables.read`` returns them; absent columns, such as a target yet unknown, are passed over
    obj : the schema object

    Returns
    -------
    The broken rules in the contract's order, those across columns last; none when the contract is kept.
    """
    counts = {(name, metric): count(frame, name, metric) for name, metric in counted(obj, frame)}
    return broken(obj, by_row(frame, obj, mistyped or {}), counts, len(frame))


def by_row(frame: pd.DataFrame, obj: SchemaObject, mistyped: Mistyped) -> Iterator[Violation]:
    """Yield each rule that single rows break, in the contract's order; with a count of 0 where none does."""
    for prop in (p for p in obj.properties if p.name in frame.columns):
        values, wrong = frame[prop.name], mistyped.get(prop.name, NONE)
        yield violation(obj, prop, f"logicalType {prop.logicalType}{_hint(prop, wrong)}", wrong)
        for rule, bad in masks(values, prop):
            if rule == "required" and len(wrong):
                bad = bad.copy()
                bad[wrong.index] = False  # there is a value, of the wrong type
            # Without the question, each rule would copy a mask of all rows to find none.
            yield violation(obj, prop, rule, values[bad] if bad.any() else NONE)
    for quality in obj.quality:
        if quality.type == "sql":
            yield from _across(frame, obj, quality)


def _hint(prop: Property, wrong: pd.Series) -> str:
    """Why a whole number is no integer: the column's dtype would change its digits."""
    if prop.logicalType != "integer" or wrong.empty or not re.fullmatch(r"\s*[+-]?\d{16,}\s*", str(wrong.iloc[0])):
        return ""
    remedy = "make it a string" if prop.needed else "require a value, or make it a string"
    return f": beyond 2**{63 if prop.needed else 53}, where digits are lost ({remedy})"


def violation(obj: SchemaObject, prop: Property, rule: str, bad: pd.Series) -> Violation:
    """Describe bad values, by position. Those of columns that are classified as other than public are not shown."""
    shown, example = prop.classification in PUBLIC and len(bad) and pd.notna(bad.iloc[0]), ""
    if shown:
        example = repr(getattr(bad.iloc[0], "item", lambda: bad.iloc[0])())
    rows = tuple((bad.index[:SHOWN_ROWS].to_numpy(dtype="int64") + 1).tolist())
    return Violation(obj.name, prop.name, rule, len(bad), rows, example[:60])


def broken(
    obj: SchemaObject, found: Iterable[Violation], counts: dict[tuple[str, str], int], rows: int
) -> list[Violation]:
    """Return what is broken, given what single rows break and what was counted, as ``counted`` names it."""
    said = [v for v in found if v.count]
    for name, quality in _metrics(obj):
        if (key := (name, str(quality.metric))) in counts:
            said += _judged(obj, name, quality, counts[key], rows)
    place = {p.name: i for i, p in enumerate(obj.properties)}
    return sorted(said, key=lambda v: place.get(v.column, len(place)))


def masks(values: pd.Series, prop: Property) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each row rule of a column with the mask of rows that break it. Missing values break only ``required``."""
    missing = values.isna().to_numpy()
    if prop.needed:
        yield "required", missing
    if prop.unique or prop.primaryKey:
        yield "unique", values.duplicated(keep=False).to_numpy() & ~missing
    if prop.enum is not None:
        yield "enum", ~values.isin(list(prop.allowed)).to_numpy() & ~missing
    options = prop.logicalTypeOptions
    if prop.logicalType in NUMERIC + TEMPORAL:
        for name, sign in BOUNDS.items():
            bound = getattr(options, name)
            if bound is not None:
                limit = naive(bound) if prop.logicalType in TEMPORAL else bound
                shown = f"{bound:.15g}" if isinstance(bound, float) else bound
                yield f"{name} {shown}", ~COMPARE[sign](values, limit).to_numpy(dtype=bool) & ~missing
        if options.multipleOf is not None:
            yield (
                f"multipleOf {options.multipleOf:.15g}",
                ~missing & ~are_multiples(values.to_numpy(), options.multipleOf),
            )
    if options.minLength is not None:
        yield f"minLength {options.minLength}", (values.str.len() < options.minLength).to_numpy(dtype=bool) & ~missing
    if options.maxLength is not None:
        yield f"maxLength {options.maxLength}", (values.str.len() > options.maxLength).to_numpy(dtype=bool) & ~missing
    if options.pattern is not None:
        yield f"pattern {options.pattern}", ~_matches(values, options.pattern) & ~missing


def _matches(values: pd.Series, pattern: str) -> np.ndarray:
    import pyarrow.compute as pc

    found = pc.match_substring_regex(arrow(values), patterns.translate(pattern).re2)
    return found.fill_null(False).to_numpy(zero_copy_only=False)


# Of a quotient: a value, a step such as 0.01 and their division are each rounded to the nearest float.
NEAR, ROUNDED = 1e-9, 2 * sys.float_info.epsilon


def are_multiples(values: np.ndarray, step: float) -> np.ndarray:
    """Which numbers are whole multiples of a step, as far as floats can tell; see ``is_multiple``."""
    if values.dtype.kind == "i" and step.is_integer() and step < 2**63:
        return values % int(step) == 0
    with np.errstate(over="ignore", invalid="ignore"):
        floats = values.astype("float64")
        rest = np.fmod(floats, step) if step.is_integer() else floats  # without rounding
        parts = rest / step
        return ~(np.abs(parts - np.rint(parts)) > np.maximum(NEAR, ROUNDED * np.abs(parts)))


def is_multiple(value: float, step: float) -> bool:
    """Whether one number is a whole multiple of a step: the same computation for requests."""
    if type(value) is int and step.is_integer() and step < 2**63:
        return value % int(step) == 0
    parts = (math.fmod(value, step) if step.is_integer() else value) / step
    return math.isinf(parts) or abs(parts - round(parts)) <= max(NEAR, ROUNDED * abs(parts))


def naive(bound: Any) -> pd.Timestamp:
    """A date bound without its zone, in UTC, as ``tables`` stores times."""
    stamp = pd.Timestamp(bound)
    return stamp.tz_convert(None) if stamp.tzinfo else stamp


def _metrics(obj: SchemaObject) -> Iterator[tuple[str, Quality]]:
    """The rules on a count, by column; "" stands for the whole table."""
    owners = [*((p.name, p.quality) for p in obj.properties), ("", obj.quality)]
    return ((name, q) for name, qualities in owners for q in qualities if q.type == "library")


def counted(obj: SchemaObject, frame: pd.DataFrame) -> set[tuple[str, str]]:
    """Which columns' metrics the rules ask for."""
    return {(name, str(q.metric)) for name, q in _metrics(obj) if not name or name in frame}


def count(frame: pd.DataFrame, column: str, metric: str) -> int:
    """Count what a metric counts in a column, or in whole rows."""
    values = frame[column] if column else frame
    if metric == "rowCount":
        return len(frame)
    if metric == "nullValues":
        return int(pd.DataFrame(values).isna().any(axis=1).sum())
    return int(values.duplicated().sum())


def _judged(obj: SchemaObject, column: str, quality: Quality, counted: int, rows: int) -> list[Violation]:
    share = 100 * counted / max(rows, 1)
    measured = share if quality.unit == "percent" else counted
    for limit, bound in quality.limits.items():
        kept = bound[0] <= measured <= bound[1] if limit == "mustBeBetween" else COMPARE[LIMITS[limit]](measured, bound)
        if not kept:
            unit = " %" if quality.unit == "percent" else ""
            rule = f"{quality.metric} {limit} {bound}{unit}, but is {measured:,.6g}{unit}"
            return [Violation(obj.name, column, rule, counted)]
    return []


def _across(frame: pd.DataFrame, obj: SchemaObject, quality: Quality) -> list[Violation]:
    """A comparison of two columns, with SQL's three-valued logic: a row with a missing side is not a bad row."""
    match = COMPARISON.match(quality.query or "")
    assert match is not None  # odcs.Quality refuses other forms
    left, sign, right = match["left"], match["op"], match["right"]
    if any(side in {p.name for p in obj.properties} and side not in frame for side in (left, right)):
        return []
    sides = [frame[side] if side in frame else float(side) for side in (left, right)]
    known = np.logical_and.reduce([pd.notna(side) & np.ones(len(frame), dtype=bool) for side in sides])
    where = np.flatnonzero(~np.asarray(COMPARE[sign](*sides), dtype=bool) & known)
    rows = tuple(int(r) + 1 for r in where[:SHOWN_ROWS])
    return [Violation(obj.name, "", quality.name or f"{left} {sign} {right}", len(where), rows)]


def alone(obj: SchemaObject) -> SchemaObject:
    """The rules that one row can break alone, as in a request: nothing of uniqueness, counts or shares."""
    single = {"unique": False, "primaryKey": False, "quality": []}
    columns = [p.model_copy(update=single | {"required": p.needed}) for p in obj.properties]
    return obj.model_copy(update={"properties": columns, "quality": [q for q in obj.quality if q.type == "sql"]})
