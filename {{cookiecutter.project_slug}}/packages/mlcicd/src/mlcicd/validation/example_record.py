"""Build an example record from the contract alone, so that the service never shows a row of the data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import Any

from mlcicd.contract.schema import TEMPORAL, Property, SchemaObject
from mlcicd.core.errors import RequestError
from mlcicd.validation.request_validation import RequestValidator, comparisons
from mlcicd.validation.rules import COMPARE, naive_utc

DAY = timedelta(days=1)
START = datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None)


def example_record(obj: SchemaObject) -> dict[str, Any]:
    """Return a valid record of the features, as JSON values.

    Each value is the first of the column's ``examples``, or else the smallest that its bounds allow, adjusted until the
    comparisons of columns hold. A text with a pattern is null, or ``"text"`` if the column is required.
    """
    values = {p.name: _value(p) for p in obj.features}
    kinds = {p.name: p for p in obj.features}
    rules = comparisons(obj)
    for _ in rules:
        for _, left, sign, right in rules:
            _satisfy(values, kinds, left, sign, right)
    return {p.name: _to_json(values[p.name], p) for p in obj.features}


def accepted_record(obj: SchemaObject) -> dict[str, Any] | None:
    """Return an example record that a request may hold, or None if the contract is too loose to generate one."""
    record = example_record(obj)
    try:
        RequestValidator(obj).read(json.dumps([record]).encode())
    except RequestError:
        return None
    return record


def _value(prop: Property) -> Any:
    options, kind = prop.logicalTypeOptions, prop.logicalType
    if prop.examples or prop.enum:
        value = prop.examples[0] if prop.examples else prop.enum[0].value  # type: ignore[index]
        return naive_utc(value).to_pydatetime() if kind in TEMPORAL and not prop.examples else value
    if kind == "boolean":
        return True
    if kind == "string":
        if options.pattern is not None:
            return "text" if prop.required else None
        return ("text" if options.maxLength is None else "text"[: options.maxLength]).ljust(options.minLength or 0, "x")
    if kind in TEMPORAL:
        bounds = (options.minimum, options.exclusiveMinimum, options.maximum, options.exclusiveMaximum)
        candidates = ((bound, move) for bound, move in zip(bounds, (0, 1, 0, -1), strict=True) if bound is not None)
        return next((naive_utc(bound).to_pydatetime() + move * DAY for bound, move in candidates), START)
    return _number(prop)


def _number(prop: Property) -> float:
    options, step = prop.logicalTypeOptions, prop.logicalTypeOptions.multipleOf or 1
    low: Any = options.minimum if options.minimum is not None else options.exclusiveMinimum
    high: Any = options.maximum if options.maximum is not None else options.exclusiveMaximum
    if low is not None and high is not None and prop.logicalType == "number" and options.multipleOf is None:
        return float(low) if options.minimum is not None else (float(low) + float(high)) / 2
    if low is not None:
        value = ceil(low / step) * step
        value = value + step if value == options.exclusiveMinimum else value
    elif high is not None:
        value = floor(high / step) * step
        value = value - step if value == options.exclusiveMaximum else value
    else:
        value = step
    return int(value) if prop.logicalType == "integer" else float(value)


def _satisfy(
    values: dict[str, Any], kinds: dict[str, Property], left: str | float, sign: str, right: str | float
) -> None:
    """Change one side of a comparison that does not hold by the smallest amount that makes it hold."""
    sides = [values[side] if isinstance(side, str) else side for side in (left, right)]
    if None in sides or COMPARE[sign](*sides):
        return
    moved, other = (right, sides[0]) if sign in ("<", "<=", "=", "<>") and isinstance(right, str) else (left, sides[1])
    if not isinstance(moved, str):
        return
    step: Any = DAY if kinds[moved].logicalType in TEMPORAL else 1
    distance = 0 * step if sign in ("<=", ">=", "=") else step
    values[moved] = other - distance if sign in ("<", "<=") and moved == left else other + distance


def _to_json(value: Any, prop: Property) -> Any:
    if not isinstance(value, datetime):
        return value
    if prop.date_format:
        return value.strftime(prop.date_format)
    return value.date().isoformat() if prop.logicalType == "date" else f"{value.isoformat()}Z"
