"""The pydantic-core schema of one column in a request; it converts values as ``logical_types`` does.

For speed, pydantic-core does the work; a Python function is called only where it fails or lacks the rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from mlcicd.contract import patterns
from mlcicd.contract.column_checks import BOUNDS
from mlcicd.contract.date_formats import BLANKS, date_format
from mlcicd.contract.schema import TEMPORAL, Property, SchemaObject
from mlcicd.validation.logical_types import EXACT, integer_limits, missing_tokens
from mlcicd.validation.rules import is_multiple, naive_utc

LIMITS = dict(zip(BOUNDS, ("ge", "le", "gt", "lt"), strict=True))
ALTERNATIVE = "alternative"  # error type of the second way to read a value; the error of the first one is reported
Reader = Callable[[Any], Any]


class Cell:
    """Annotation that gives a field of the record model the schema of a column."""

    def __init__(self, prop: Property, obj: SchemaObject) -> None:
        self.prop, self.schema = prop, cell_schema(prop, obj)

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return self.schema

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return json_schema(self.prop)


class IdCell(Cell):
    """The id column: optional in a request, and returned unchanged in the response."""

    def __init__(self, prop: Property, obj: SchemaObject) -> None:
        super().__init__(prop, obj)
        if prop.stored == "integer":  # the id is not a feature, so it needs no dtype
            self.schema = core_schema.no_info_wrap_validator_function(lambda v, read: (read(v), v)[1], self.schema)
        self.schema = core_schema.nullable_schema(self.schema)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return json_schema(self.prop.model_copy(update={"required": False, "primaryKey": False}))


def cell_schema(prop: Property, obj: SchemaObject) -> CoreSchema:
    """Return the schema that converts a JSON value to the column's logical type and checks its rules."""
    if prop.logicalType in TEMPORAL:
        return _time_schema(prop, missing_tokens(prop, obj))
    schema, alternative = {"string": _text, "integer": _integer, "number": _number, "boolean": _boolean}[
        prop.logicalType
    ](prop)
    schema = _with_rules(schema, prop)
    if alternative is not None:
        fallback = core_schema.no_info_before_validator_function(alternative, _optional(schema, prop))
        schema = core_schema.union_schema([schema, (fallback, "other")], mode="left_to_right")
    schema = _optional(schema, prop)
    if prop.logicalType == "string" and (tokens := missing_tokens(prop)):
        schema = core_schema.no_info_before_validator_function(partial(_drop_missing_token, frozenset(tokens)), schema)
    return schema


def _optional(schema: CoreSchema, prop: Property) -> CoreSchema:
    return schema if prop.needed else core_schema.nullable_schema(schema)


def _bounds(prop: Property) -> dict[str, Any]:
    options = prop.logicalTypeOptions
    return {LIMITS[k]: getattr(options, k) for k in LIMITS if getattr(options, k) is not None}


def _text(prop: Property) -> tuple[CoreSchema, Reader | None]:
    options = prop.logicalTypeOptions
    schema = core_schema.str_schema(
        strict=True,
        strip_whitespace=True,
        min_length=max(1, options.minLength or 0),
        max_length=options.maxLength,
        pattern=options.pattern and patterns.translate(options.pattern).rust,
    )
    if prop.stored == "integer":
        return schema, _integer_as_text
    return schema, None if prop.needed else _empty_text


def _empty_text(value: Any) -> None:
    """Read an empty text as a missing value."""
    if not isinstance(value, str) or value.strip(BLANKS):
        raise PydanticCustomError(ALTERNATIVE, "")


def _integer_as_text(value: Any) -> str | None:
    """Read an integer as text, for columns with integers that are too large for a number type."""
    return str(value) if type(value) is int else _empty_text(value)  # type: ignore[func-returns-value]


def _drop_missing_token(tokens: frozenset[str], value: Any) -> Any:
    return None if isinstance(value, str) and value.strip(BLANKS) in tokens else value


def _integer(prop: Property) -> tuple[CoreSchema, Reader | None]:
    low, high = integer_limits(prop)
    bounds = {key: math.ceil(b) if key in ("ge", "lt") else math.floor(b) for key, b in _bounds(prop).items()}
    bounds |= {"ge": max(bounds.get("ge", low), low), "le": min(bounds.get("le", high), high)}
    return core_schema.int_schema(strict=True, **bounds), _whole


def _whole(value: Any) -> int:
    """Accept 3.0 as an integer, as JSON Schema and files do; refuse 3.5, "3", true, and floats beyond 2**53."""
    if type(value) is not float or not value.is_integer() or abs(value) > EXACT:
        raise PydanticCustomError(ALTERNATIVE, "")
    return int(value)


def _number(prop: Property) -> tuple[CoreSchema, Reader | None]:
    return core_schema.float_schema(strict=True, allow_inf_nan=False, **_bounds(prop)), None


def _boolean(_: Property) -> tuple[CoreSchema, Reader | None]:
    return core_schema.bool_schema(strict=True), _truth


def _truth(value: Any) -> bool:
    if type(value) not in (int, float) or value not in (0, 1):
        raise PydanticCustomError(ALTERNATIVE, "")
    return bool(value)


def _time_schema(prop: Property, tokens: Iterable[str]) -> CoreSchema:
    bounds: dict[str, Any] = {key: naive_utc(bound).to_pydatetime() for key, bound in _bounds(prop).items()}
    schema = _with_rules(core_schema.datetime_schema(strict=True, **bounds), prop)
    read = _time_reader(prop, frozenset(tokens))
    return core_schema.no_info_before_validator_function(read, _optional(schema, prop))


def _time_reader(prop: Property, tokens: frozenset[str]) -> Reader:
    options, kind = prop.logicalTypeOptions, prop.logicalType
    parse, whole_days = date_format(options.format, prop.latest_year).parse, kind == "date"
    example = options.format or ("2026-01-31" if whole_days else "2026-01-31T12:00:00Z")
    text = {"text": f"must be a {kind} such as {example}"}

    def read(value: Any) -> datetime | None:
        if value is None:
            return None
        try:
            if not isinstance(value, str):
                raise ValueError
            try:
                stamp = parse(value)
            except ValueError:
                plain = value.strip(BLANKS)
                if plain in tokens:
                    return None
                stamp = parse(plain)
            if whole_days and (stamp.hour or stamp.minute or stamp.second or stamp.microsecond):
                raise ValueError
        except (ValueError, OverflowError):
            raise PydanticCustomError("type", "{text}", text) from None
        return stamp

    return read


def _with_rules(schema: CoreSchema, prop: Property) -> CoreSchema:
    """Add the rules that pydantic-core lacks."""
    step = prop.logicalTypeOptions.multipleOf
    if step is not None:
        schema = _rule(schema, "multipleOf", f"must be a multiple of {step:.15g}", partial(is_multiple, step=step))
    if prop.enum is not None:
        allowed = prop.allowed
        shown = ", ".join(map(repr, [a.value for a in prop.enum[:20]])) + ", …" * (len(prop.enum) > 20)
        schema = _rule(schema, "enum", f"must be one of {shown}", allowed.__contains__)
    return schema


def _rule(schema: CoreSchema, rule: str, text: str, holds: Callable[[Any], bool]) -> CoreSchema:
    def check(value: Any) -> Any:
        if not holds(value):
            raise PydanticCustomError(rule, "{text}", {"text": text})
        return value

    return core_schema.no_info_after_validator_function(check, schema)


def json_schema(prop: Property) -> dict[str, Any]:
    """Return the column's JSON Schema, for the service's OpenAPI document."""
    options, kind = prop.logicalTypeOptions, prop.logicalType
    schema: dict[str, Any] = {"type": "string" if kind in TEMPORAL else kind}
    if kind in TEMPORAL:
        schema |= {} if options.format else {"format": "date" if kind == "date" else "date-time"}
    elif kind == "integer":
        low, high = integer_limits(prop)
        schema |= {"minimum": low, "maximum": high}
    if kind in ("integer", "number"):
        given = {key: getattr(options, key) for key in (*BOUNDS, "multipleOf")}
        schema |= {key: value for key, value in given.items() if value is not None}
    if kind == "string":
        least = options.minLength or (1 if prop.needed else None)
        given = {"minLength": least, "maxLength": options.maxLength, "pattern": options.pattern}
        schema |= {key: value for key, value in given.items() if value is not None}
    if prop.enum is not None:
        schema["enum"] = [allowed.value for allowed in prop.enum]
    return schema if prop.needed else {"anyOf": [schema, {"type": "null"}]}
