"""One cell of a request: the schema of a column for pydantic's core, with the meaning that ``logical_types`` has.

The core reads what is plain; a function of ours is called only where it refuses, or where the core has no such rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any

from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from . import patterns
from .column_checks import BOUNDS
from .date_formats import BLANKS, date_format
from .logical_types import EXACT, integer_limits, missing_words
from .odcs import TEMPORAL, Property, SchemaObject
from .rules import is_multiple, naive

LIMITS = dict(zip(BOUNDS, ("ge", "le", "gt", "lt"), strict=True))
ALSO = "also"  # the error of the second way to read a value: the first way's says what is wrong
Reader = Callable[[Any], Any]


class Cell:
    """Annotates a field of the record's model with a column of the contract."""

    def __init__(self, prop: Property, obj: SchemaObject) -> None:
        self.prop, self.schema = prop, cell_schema(prop, obj)

    def __get_pydantic_core_schema__(self, *_: Any) -> CoreSchema:
        return self.schema

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return json_schema(self.prop)


class IdCell(Cell):
    """The id, for those who want it back: it may be absent, and comes back as it went in."""

    def __init__(self, prop: Property, obj: SchemaObject) -> None:
        super().__init__(prop, obj)
        if prop.stored == "integer":  # no feature, so that no dtype matters
            self.schema = core_schema.no_info_wrap_validator_function(lambda v, read: (read(v), v)[1], self.schema)
        self.schema = core_schema.nullable_schema(self.schema)

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        return json_schema(self.prop.model_copy(update={"required": False, "primaryKey": False}))


def cell_schema(prop: Property, obj: SchemaObject) -> CoreSchema:
    """Return the schema that reads a JSON value as the column's logical type and checks its rules."""
    if prop.logicalType in TEMPORAL:
        return _time_schema(prop, missing_words(prop, obj))
    schema, other = {"string": _text, "integer": _integer, "number": _number, "boolean": _boolean}[prop.logicalType](
        prop
    )
    schema = _with_rules(schema, prop)
    if other is not None:
        again = core_schema.no_info_before_validator_function(other, _optional(schema, prop))
        schema = core_schema.union_schema([schema, (again, "other")], mode="left_to_right")
    schema = _optional(schema, prop)
    if prop.logicalType == "string" and (words := missing_words(prop)):
        schema = core_schema.no_info_before_validator_function(partial(_gone, frozenset(words)), schema)
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
        return schema, _digits
    return schema, None if prop.needed else _blank


def _blank(value: Any) -> None:
    """An empty text is a missing value."""
    if not isinstance(value, str) or value.strip(BLANKS):
        raise PydanticCustomError(ALSO, "")


def _digits(value: Any) -> str | None:
    """A column whose file has whole numbers, kept as text because no number type holds them."""
    return str(value) if type(value) is int else _blank(value)  # type: ignore[func-returns-value]


def _gone(words: frozenset[str], value: Any) -> Any:
    return None if isinstance(value, str) and value.strip(BLANKS) in words else value


def _integer(prop: Property) -> tuple[CoreSchema, Reader | None]:
    low, high = integer_limits(prop)
    bounds = {key: math.ceil(b) if key in ("ge", "lt") else math.floor(b) for key, b in _bounds(prop).items()}
    bounds |= {"ge": max(bounds.get("ge", low), low), "le": min(bounds.get("le", high), high)}
    return core_schema.int_schema(strict=True, **bounds), _whole


def _whole(value: Any) -> int:
    """3.0 is an integer to JSON Schema and in files; 3.5, "3" and true are none, and 1e300 has lost its digits."""
    if type(value) is not float or not value.is_integer() or abs(value) > EXACT:
        raise PydanticCustomError(ALSO, "")
    return int(value)


def _number(prop: Property) -> tuple[CoreSchema, Reader | None]:
    return core_schema.float_schema(strict=True, allow_inf_nan=False, **_bounds(prop)), None


def _boolean(_: Property) -> tuple[CoreSchema, Reader | None]:
    return core_schema.bool_schema(strict=True), _truth


def _truth(value: Any) -> bool:
    if type(value) not in (int, float) or value not in (0, 1):
        raise PydanticCustomError(ALSO, "")
    return bool(value)


def _time_schema(prop: Property, words: Iterable[str]) -> CoreSchema:
    bounds: dict[str, Any] = {key: naive(bound).to_pydatetime() for key, bound in _bounds(prop).items()}
    schema = _with_rules(core_schema.datetime_schema(strict=True, **bounds), prop)
    read = _time_reader(prop, frozenset(words))
    return core_schema.no_info_before_validator_function(read, _optional(schema, prop))


def _time_reader(prop: Property, words: frozenset[str]) -> Reader:
    options, kind = prop.logicalTypeOptions, prop.logicalType
    parse, whole_days = date_format(options.format, prop.latest_year).parse, kind == "date"
    shape = options.format or ("2026-01-31" if whole_days else "2026-01-31T12:00:00Z")
    text = {"text": f"must be a {kind} such as {shape}"}

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
                if plain in words:
                    return None
                stamp = parse(plain)
            if whole_days and (stamp.hour or stamp.minute or stamp.second or stamp.microsecond):
                raise ValueError
        except (ValueError, OverflowError):
            raise PydanticCustomError("type", "{text}", text) from None
        return stamp

    return read


def _with_rules(schema: CoreSchema, prop: Property) -> CoreSchema:
    """Add the rules that the core does not know."""
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
    """Describe the cell to clients, for the service's OpenAPI document."""
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
