"""Check a table against the contract's rules; every violation is reported, not only the first."""

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

from mlcicd.contract import patterns
from mlcicd.contract.column_checks import BOUNDS
from mlcicd.contract.schema import COMPARISON, NUMERIC, TEMPORAL, Property, Quality, SchemaObject
from mlcicd.validation.logical_types import arrow

SHOWN_ROWS = 5
PUBLIC = (None, "public")
Mistyped = dict[str, pd.Series]  # by column, the values of the wrong type, indexed by row position
NO_VALUES = pd.Series([], dtype=object)
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
    """A rule that the data breaks: column, rule, number of bad rows, and the first of them, counted from 1."""

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
    frame, mistyped : as ``readers.read`` returns them; absent columns, such as an unknown target, are skipped
    obj : the schema object

    Returns
    -------
    The violations in the contract's order, those of comparisons last; empty if the table is valid.
    """
    counts = {(name, metric): count(frame, name, metric) for name, metric in needed_counts(obj, frame)}
    return all_violations(obj, row_violations(frame, obj, mistyped or {}), counts, len(frame))


def row_violations(frame: pd.DataFrame, obj: SchemaObject, mistyped: Mistyped) -> Iterator[Violation]:
    """Yield one result per rule on single rows, in the contract's order; its count is 0 if no row breaks it."""
    for prop in (p for p in obj.properties if p.name in frame.columns):
        values, wrong = frame[prop.name], mistyped.get(prop.name, NO_VALUES)
        yield describe_violation(obj, prop, f"logicalType {prop.logicalType}{_hint(prop, wrong)}", wrong)
        for rule, mask in rule_masks(values, prop):
            if rule == "required" and len(wrong):
                mask = mask.copy()
                mask[wrong.index] = False  # a value of the wrong type is not a missing one
            # Skip indexing when no row is bad; it copies the column.
            yield describe_violation(obj, prop, rule, values[mask] if mask.any() else NO_VALUES)
    for quality in obj.quality:
        if quality.type == "sql":
            yield from _check_comparison(frame, obj, quality)


def _hint(prop: Property, wrong: pd.Series) -> str:
    """Explain why a large integer is refused: the column's dtype would round it."""
    if prop.logicalType != "integer" or wrong.empty or not re.fullmatch(r"\s*[+-]?\d{16,}\s*", str(wrong.iloc[0])):
        return ""
    remedy = "make it a string" if prop.needed else "require a value, or make it a string"
    return f": beyond 2**{63 if prop.needed else 53}, where digits are lost ({remedy})"


def describe_violation(obj: SchemaObject, prop: Property, rule: str, bad: pd.Series) -> Violation:
    """Describe the values that break a rule; an example is included only if the column is public."""
    shown, example = prop.classification in PUBLIC and len(bad) and pd.notna(bad.iloc[0]), ""
    if shown:
        example = repr(_plain(bad.iloc[0], prop))
    rows = tuple((bad.index[:SHOWN_ROWS].to_numpy(dtype="int64") + 1).tolist())
    return Violation(obj.name, prop.name, rule, len(bad), rows, example[:60])


def _plain(value: Any, prop: Property) -> Any:
    """Return a value as it would be written, whatever type gaps elsewhere in its column gave it."""
    plain = getattr(value, "item", lambda: value)()
    if isinstance(plain, float) and plain.is_integer() and prop.logicalType in ("integer", "boolean"):
        return bool(plain) if prop.logicalType == "boolean" and plain in (0, 1) else int(plain)
    return plain


def all_violations(
    obj: SchemaObject, row_level: Iterable[Violation], counts: dict[tuple[str, str], int], rows: int
) -> list[Violation]:
    """Combine the violations of single rows with those of counts, in the contract's order."""
    violations = [v for v in row_level if v.count]
    for name, quality in _metrics(obj):
        if (key := (name, str(quality.metric))) in counts:
            violations += _check_metric(obj, name, quality, counts[key], rows)
    position = {p.name: i for i, p in enumerate(obj.properties)}
    return sorted(violations, key=lambda v: position.get(v.column, len(position)))


def rule_masks(values: pd.Series, prop: Property) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each rule of a column with a mask of the rows that break it; missing values break only ``required``."""
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
                limit = naive_utc(bound) if prop.logicalType in TEMPORAL else bound
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

    matches = pc.match_substring_regex(arrow(values), patterns.translate(pattern).re2)
    return matches.fill_null(False).to_numpy(zero_copy_only=False)


# Tolerances of a quotient: the value, a step such as 0.01 and their division are each rounded to a float.
ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE = 1e-9, 2 * sys.float_info.epsilon


def are_multiples(values: np.ndarray, step: float) -> np.ndarray:
    """Return which numbers are multiples of a step, up to rounding errors of floats; see ``is_multiple``."""
    if values.dtype.kind == "i" and step.is_integer() and step < 2**63:
        return values % int(step) == 0
    with np.errstate(over="ignore", invalid="ignore"):
        floats = values.astype("float64")
        remainder = np.fmod(floats, step) if step.is_integer() else floats  # without rounding
        quotients = remainder / step
        return ~(
            np.abs(quotients - np.rint(quotients))
            > np.maximum(ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * np.abs(quotients))
        )


def is_multiple(value: float, step: float) -> bool:
    """Return whether a number is a multiple of a step, as ``are_multiples`` does for arrays."""
    if type(value) is int and step.is_integer() and step < 2**63:
        return value % int(step) == 0
    quotient = (math.fmod(value, step) if step.is_integer() else value) / step
    return math.isinf(quotient) or abs(quotient - round(quotient)) <= max(
        ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE * abs(quotient)
    )


def naive_utc(bound: Any) -> pd.Timestamp:
    """Convert a date bound to UTC without a zone, as the readers store times."""
    stamp = pd.Timestamp(bound)
    return stamp.tz_convert(None) if stamp.tzinfo else stamp


def _metrics(obj: SchemaObject) -> Iterator[tuple[str, Quality]]:
    """Yield the quality rules with a metric, by column; "" is the whole table."""
    owners = [*((p.name, p.quality) for p in obj.properties), ("", obj.quality)]
    return ((name, q) for name, qualities in owners for q in qualities if q.type == "library")


def needed_counts(obj: SchemaObject, frame: pd.DataFrame) -> set[tuple[str, str]]:
    """Return which metrics the rules need, as (column, metric)."""
    return {(name, str(q.metric)) for name, q in _metrics(obj) if not name or name in frame}


def count(frame: pd.DataFrame, column: str, metric: str) -> int:
    """Compute a metric of a column, or of whole rows if ``column`` is empty."""
    values = frame[column] if column else frame
    if metric == "rowCount":
        return len(frame)
    if metric == "nullValues":
        return int(pd.DataFrame(values).isna().any(axis=1).sum())
    return int(values.duplicated().sum())


def _check_metric(obj: SchemaObject, column: str, quality: Quality, counted: int, rows: int) -> list[Violation]:
    share = 100 * counted / max(rows, 1)
    measured = share if quality.unit == "percent" else counted
    for limit, bound in quality.limits.items():
        holds = (
            bound[0] <= measured <= bound[1] if limit == "mustBeBetween" else COMPARE[LIMITS[limit]](measured, bound)
        )
        if not holds:
            unit = " %" if quality.unit == "percent" else ""
            rule = f"{quality.metric} {limit} {bound}{unit}, but is {measured:,.6g}{unit}"
            return [Violation(obj.name, column, rule, counted)]
    return []


def _check_comparison(frame: pd.DataFrame, obj: SchemaObject, quality: Quality) -> list[Violation]:
    """Check a comparison of two columns; as in SQL, rows with a missing value on either side are skipped."""
    match = COMPARISON.match(quality.query or "")
    assert match is not None  # Quality refuses other forms
    left, sign, right = match["left"], match["op"], match["right"]
    if any(side in {p.name for p in obj.properties} and side not in frame for side in (left, right)):
        return []
    sides = [frame[side] if side in frame else float(side) for side in (left, right)]
    known = np.logical_and.reduce([pd.notna(side) & np.ones(len(frame), dtype=bool) for side in sides])
    failing = np.flatnonzero(~np.asarray(COMPARE[sign](*sides), dtype=bool) & known)
    rows = tuple(int(r) + 1 for r in failing[:SHOWN_ROWS])
    return [Violation(obj.name, "", quality.name or f"{left} {sign} {right}", len(failing), rows)]


def row_level_rules(obj: SchemaObject) -> SchemaObject:
    """Return the object with only the rules that apply to single rows: without uniqueness, counts or shares."""
    single = {"unique": False, "primaryKey": False, "quality": []}
    columns = [p.model_copy(update=single | {"required": p.needed}) for p in obj.properties]
    return obj.model_copy(update={"properties": columns, "quality": [q for q in obj.quality if q.type == "sql"]})
