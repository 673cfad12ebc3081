"""A record that keeps the contract, drawn from the contract alone: what the service shows is nobody's row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Any

from .odcs import TEMPORAL, Property, SchemaObject
from .records import comparisons
from .rules import COMPARE, naive

DAY = timedelta(days=1)
START = datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None)


def example_record(obj: SchemaObject) -> dict[str, Any]:
    """Return a record of the features, as JSON.

    Where the contract gives ``examples``, the first of them; else the least value that its bounds allow, moved until
    the comparisons of columns hold. A text whose pattern nothing can be guessed from is null or ``"text"``.
    """
    values = {p.name: _value(p) for p in obj.features}
    kinds = {p.name: p for p in obj.features}
    rules = comparisons(obj)
    for _ in rules:
        for _, left, sign, right in rules:
            _settle(values, kinds, left, sign, right)
    return {p.name: _written(values[p.name], p) for p in obj.features}


def _value(prop: Property) -> Any:
    options, kind = prop.logicalTypeOptions, prop.logicalType
    if prop.examples or prop.enum:
        found = prop.examples[0] if prop.examples else prop.enum[0].value  # type: ignore[index]
        return naive(found).to_pydatetime() if kind in TEMPORAL and not prop.examples else found
    if kind == "boolean":
        return True
    if kind == "string":
        if options.pattern is not None:
            return "text" if prop.required else None
        return ("text" if options.maxLength is None else "text"[: options.maxLength]).ljust(options.minLength or 0, "x")
    if kind in TEMPORAL:
        bounds = (options.minimum, options.exclusiveMinimum, options.maximum, options.exclusiveMaximum)
        moved = ((bound, move) for bound, move in zip(bounds, (0, 1, 0, -1), strict=True) if bound is not None)
        return next((naive(bound).to_pydatetime() + move * DAY for bound, move in moved), START)
    return _number(prop)


def _number(prop: Property) -> float:
    options, step = prop.logicalTypeOptions, prop.logicalTypeOptions.multipleOf or 1
    low: Any = options.minimum if options.minimum is not None else options.exclusiveMinimum
    high: Any = options.maximum if options.maximum is not None else options.exclusiveMaximum
    if low is not None and high is not None and prop.logicalType == "number" and options.multipleOf is None:
        return float(low) if options.minimum is not None else (float(low) + float(high)) / 2
    if low is not None:
        found = ceil(low / step) * step
        found = found + step if found == options.exclusiveMinimum else found
    elif high is not None:
        found = floor(high / step) * step
        found = found - step if found == options.exclusiveMaximum else found
    else:
        found = step
    return int(found) if prop.logicalType == "integer" else float(found)


def _settle(
    values: dict[str, Any], kinds: dict[str, Property], left: str | float, sign: str, right: str | float
) -> None:
    """Move one side of a comparison that does not hold, by as little as makes it hold."""
    sides = [values[side] if isinstance(side, str) else side for side in (left, right)]
    if None in sides or COMPARE[sign](*sides):
        return
    moved, other = (right, sides[0]) if sign in ("<", "<=", "=", "<>") and isinstance(right, str) else (left, sides[1])
    if not isinstance(moved, str):
        return
    step: Any = DAY if kinds[moved].logicalType in TEMPORAL else 1
    away = 0 * step if sign in ("<=", ">=", "=") else step
    values[moved] = other - away if sign in ("<", "<=") and moved == left else other + away


def _written(value: Any, prop: Property) -> Any:
    if not isinstance(value, datetime):
        return value
    if prop.date_format:
        return value.strftime(prop.date_format)
    return value.date().isoformat() if prop.logicalType == "date" else f"{value.isoformat()}Z"
