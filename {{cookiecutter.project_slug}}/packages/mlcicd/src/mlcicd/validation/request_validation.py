"""Validate requests with a pydantic model built from ``contract.yaml``; errors say what to correct."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import SchemaValidator, from_json

from mlcicd.contract.date_formats import BLANKS
from mlcicd.contract.schema import COMPARISON, TEMPORAL, Property, SchemaObject
from mlcicd.core.errors import RequestError, did_you_mean
from mlcicd.validation import request_limits
from mlcicd.validation.logical_types import EXACT, integer_limits
from mlcicd.validation.request_cells import ALTERNATIVE, Cell, IdCell, cell_schema
from mlcicd.validation.rules import COMPARE, PUBLIC

SHOWN, SUGGESTED = 100, 10
Problem = dict[str, Any]
JSON = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
RULES = {  # pydantic's error types → the contract's rules; other errors are of type
    "greater_than_equal": "minimum",
    "less_than_equal": "maximum",
    "greater_than": "exclusiveMinimum",
    "less_than": "exclusiveMaximum",
    "string_too_short": "minLength",
    "string_too_long": "maxLength",
    "finite_number": "finite",
    "string_pattern_mismatch": "pattern",
    "extra_forbidden": "unknown column",
    "missing": "missing column",
} | {rule: rule for rule in ("multipleOf", "enum")}


def record_model(obj: SchemaObject) -> type[BaseModel]:
    """Build the model of one record: all features, and optionally the id, which is returned with the prediction.

    Every feature must be present, so that a misspelt column is not read as a missing value; unless the column is
    ``required``, its value may be null.
    """
    fields: dict[str, Any] = {f"f{i}": (Annotated[Any, Cell(p, obj)], _field(p)) for i, p in enumerate(obj.features)}
    if obj.id:
        prop = obj.column(obj.id)
        fields["id"] = (Annotated[Any, IdCell(prop, obj)], _field(prop, default=None))
    return create_model("Record", __config__=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False), **fields)


def _field(prop: Property, **more: Any) -> Any:
    return Field(alias=prop.name, title=prop.name, description=prop.description, **more)


class RequestValidator:
    """Parse and validate JSON requests; return rows or raise ``RequestError``."""

    def __init__(self, obj: SchemaObject, max_records: int = 1000) -> None:
        self.model, self.features, self.max_records = record_model(obj), obj.features, max_records
        self._columns = {p.name: p for p in obj.properties if p.role in (None, "id")}
        self._records: TypeAdapter[list[BaseModel]] = TypeAdapter(list[self.model])  # type: ignore[name-defined]
        self._cells = {p.name: SchemaValidator(cell_schema(p, obj)) for p in obj.features}
        self._record: TypeAdapter[BaseModel] = TypeAdapter(self.model)
        self._fields = {p.name: f"f{i}" for i, p in enumerate(obj.features)}
        self._comparisons = comparisons(obj)
        self._compared = sorted({side for c in self._comparisons for side in (c[1], c[3]) if isinstance(side, str)})
        self.max_values = request_limits.values_allowed(max_records, len(self._columns))
        self._index = pd.Index([p.name for p in obj.features])

    def read(self, body: bytes) -> list[BaseModel]:
        """Parse ``{"records": [{…}, …]}``, a list of records, one bare record, or ``{"columns": {"a": [1, 2]}}``."""
        if not request_limits.has_at_most(body, self.max_values):
            text = f"more than {self.max_values:,} values in one request"
            raise RequestError(413, text)
        try:
            records = _unwrap(from_json(body))
        except ValueError as error:
            raise RequestError(400, f"the body is not valid JSON: {str(error)[:200]}") from None
        if not records:
            raise RequestError(422, "no records: send at least one")
        if len(records) > self.max_records:
            raise RequestError(
                413, f"{len(records):,} records in one request; at most {self.max_records:,} are allowed"
            )
        if any(isinstance(record, dict) and len(record) > len(self._columns) for record in records):
            raise self._request_error(records)  # with unknown columns, perhaps thousands: list only some
        try:
            rows = self._records.validate_python(records)
        except ValidationError:
            raise self._request_error(records) from None
        if problems := [
            p for i, row in enumerate(rows) for p in self._check_comparisons(i, row.__dict__, self._fields)
        ]:
            raise RequestError(422, "", problems[:SHOWN], len(problems))
        return rows

    def cells(self, rows: list[BaseModel]) -> list[list[Any]]:
        """Return one list of values per feature."""
        return [
            list(c) for _, c in zip(self.features, zip(*(r.__dict__.values() for r in rows), strict=True), strict=False)
        ]

    def frame(self, cells: list[list[Any]]) -> pd.DataFrame:
        """Return validated cells as a frame with the dtypes that ``readers`` give files, without checking again."""
        columns = [_column(c, p) for p, c in zip(self.features, cells, strict=True)]
        frame = pd.DataFrame(dict(enumerate(columns)), copy=False)
        frame.columns = self._index  # built once: creating the index took 6 % of a request's time
        return frame

    def _problem(self, row: int, error: Any, suggest: bool) -> Problem:
        """Describe one problem; the value is included only if the contract classifies its column as public."""
        value, rule = error["input"], RULES.get(error["type"], "type")
        column = str(error["loc"][0])[:80] if error["loc"] else None
        where, kind = f"records[{row}]" + (f".{column}" if column else ""), JSON.get(type(value), "null")
        problem: Problem = {"row": row, "column": column, "rule": rule, "message": f"{where} is missing"}
        if rule == "missing column":
            return problem
        if rule == "unknown column":
            hint = did_you_mean(column or "", self._columns) if suggest else ""
            return problem | {"message": f"{where} is not a column of the contract{hint}", "type": kind}
        prop = self._columns.get(column or "")
        if prop and (value is None or _is_blank(value, prop)):
            return problem | {"rule": "required", "message": f"{where} must not be empty", "type": kind}
        text = "must be an object with one key per column" if prop is None else error["msg"]
        if prop and rule == "pattern":
            text = f"must match {prop.logicalTypeOptions.pattern}"
        elif prop and getattr(prop.logicalTypeOptions, rule, None) is None and _too_large(value, prop):
            problem["rule"], text = "type", f"is beyond 2**{63 if prop.needed else 53}, where digits are lost"
        public = prop is not None and prop.classification in PUBLIC
        actual = f", not {kind}" + (
            f" {_shorten(value)!r}"[:60] if public and isinstance(value, str | int | float) else ""
        )
        text = text.replace("Input should be", "must be").replace("String should", "must")
        return problem | {"message": f"{where} {text}{actual}", "type": kind}

    def _check_comparisons(self, row: int, values: dict[str, Any], keys: dict[str, str]) -> list[Problem]:
        """Check the comparisons of columns; as in SQL, a missing value on either side breaks no rule."""
        problems = []
        for name, left, sign, right in self._comparisons:
            sides = [side if isinstance(side, float) else values.get(keys[side]) for side in (left, right)]
            if None not in sides and not COMPARE[sign](*sides):
                columns = [side for side in (left, right) if not isinstance(side, float)]
                text = f"records[{row}]: {left} {sign} {right} does not hold"
                problems.append({"row": row, "column": columns[0], "columns": columns, "rule": name, "message": text})
        return problems

    def _request_error(self, records: list[Any]) -> RequestError:
        """Collect problems record by record until there are enough to show."""
        problems: list[Problem] = []
        total = 0
        for row, record in enumerate(records):
            new, count = self._problems_of(row, record, suggest=len(problems) < SUGGESTED)
            problems, total = problems + new, total + count
            if len(problems) >= SHOWN:
                break
        return RequestError(422, "", problems[:SHOWN], total, more=row + 1 < len(records))

    def _problems_of(self, row: int, record: Any, suggest: bool) -> tuple[list[Problem], int]:
        """Return the problems of one record, and their number including unknown columns that are not listed."""
        unlisted = 0
        if isinstance(record, dict) and len(record) > len(self._columns) + SHOWN:
            unknown = [name for name in record if name not in self._columns]
            unlisted = max(len(unknown) - SHOWN, 0)
            record = {name: record[name] for name in [*filter(record.__contains__, self._columns), *unknown[:SHOWN]]}
        try:
            values = self._record.validate_python(record).__dict__
            problems, broken = [], set[str]()
        except ValidationError as refused:
            # If a value may be read in two ways, both fail: report the first one's error.
            errors = {e["loc"][:1]: e for e in refused.errors(include_url=False) if e["type"] != ALTERNATIVE}
            problems = [self._problem(row, error, suggest) for error in errors.values()]
            broken = {str(place[0]) for place in errors if place}
            values = {}
        if not isinstance(record, dict) or not self._comparisons:
            return problems, len(problems) + unlisted
        for name in (
            self._compared if broken or not values else ()
        ):  # comparisons are checked even if other columns are wrong
            if name in record and name not in broken:
                values[self._fields[name]] = self._cells[name].validate_python(record[name], strict=True)
        problems += self._check_comparisons(row, values, self._fields)
        return problems, len(problems) + unlisted


def _is_blank(value: Any, prop: Property) -> bool:
    textual = prop.logicalType == "string" or prop.logicalType in TEMPORAL
    return textual and isinstance(value, str) and not value.strip(BLANKS)


def _shorten(value: str | float) -> str | float:
    return value[:60] if isinstance(value, str) else value


def _too_large(value: Any, prop: Property) -> bool:
    if prop.logicalType != "integer" or type(value) not in (int, float):
        return False
    low, high = integer_limits(prop)
    return not (low <= value <= high and (type(value) is int or abs(value) <= EXACT))


def _unwrap(document: Any) -> list[Any]:
    for key in ("records", "columns"):
        if isinstance(document, dict) and isinstance(document.get(key), list | dict):
            if len(document) > 1:
                raise RequestError(422, f"'{key}' must be the only key; there are {len(document) - 1} others")
            document = _rows(document[key]) if key == "columns" else document[key]
            break
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        return [document] if document else []
    raise RequestError(422, f'send {{"records": [{{…}}, …]}}; the body is of type {JSON.get(type(document), "null")}')


def _rows(columns: Any) -> list[dict[str, Any]]:
    if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
        raise RequestError(422, "'columns' must map each column to a list of values")
    lengths = {name[:80]: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise RequestError(422, f"'columns' differ in length: {dict(list(lengths.items())[:20])}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def comparisons(obj: SchemaObject) -> list[tuple[str, Any, str, Any]]:
    """Return the comparisons of columns that a request contains, as (name, left, operator, right)."""
    known, other = {p.name for p in obj.features}, {p.name for p in obj.properties if p.role}
    rules = []
    for quality in obj.quality:
        match = COMPARISON.match(quality.query or "") if quality.type == "sql" else None
        sides = [s if s in known else float(s) for s in match.group(1, 3) if s not in other] if match else []
        if match and len(sides) == 2:
            name = quality.name or "{} {} {}".format(*match.group(1, 2, 3))
            rules.append((name, sides[0], match["op"], sides[1]))
    return rules


def _column(values: list[Any], prop: Property) -> Any:
    if prop.logicalType == "string":
        return pd.array(values, dtype="str")
    if prop.logicalType in TEMPORAL:
        return np.array(values, dtype="datetime64[us]")
    dtype = {"integer": "int64", "boolean": "bool"}.get(prop.logicalType, "float64") if prop.needed else "float64"
    return np.array(values, dtype=dtype)
