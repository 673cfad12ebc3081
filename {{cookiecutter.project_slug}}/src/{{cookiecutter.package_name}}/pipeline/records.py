"""Requests through the contract: a pydantic model built from ``contract.yaml``, and refusals that say what to mend."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic_core import SchemaValidator, from_json

from . import request_limits
from .cells import ALSO, Cell, IdCell, cell_schema
from .date_formats import BLANKS
from .errors import Refusal, did_you_mean
from .logical_types import EXACT, integer_limits
from .odcs import COMPARISON, TEMPORAL, Property, SchemaObject
from .rules import COMPARE, PUBLIC

SHOWN, SUGGESTED = 100, 10
Problem = dict[str, Any]
JSON = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
RULES = {  # pydantic's names → the contract's; what is not here is a wrong type
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
    """Build the model of one record: every feature, and the id for those who want it back.

    Every feature must be named, so that a misspelt column never passes as a missing value; where the column is not
    ``required`` its value may be null.
    """
    fields: dict[str, Any] = {f"f{i}": (Annotated[Any, Cell(p, obj)], _field(p)) for i, p in enumerate(obj.features)}
    if obj.id:
        prop = obj.column(obj.id)
        fields["id"] = (Annotated[Any, IdCell(prop, obj)], _field(prop, default=None))
    return create_model("Record", __config__=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False), **fields)


def _field(prop: Property, **more: Any) -> Any:
    return Field(alias=prop.name, title=prop.name, description=prop.description, **more)


class Door:
    """The contract's door for requests: JSON in; checked rows, or a ``Refusal``, out."""

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
        """Read ``{"records": [{…}, …]}``, a list of records, one bare record, or ``{"columns": {"a": [1, 2]}}``."""
        if not request_limits.at_most(body, self.max_values):
            text = f"more than {self.max_values:,} values in one request, which is more than its records may hold"
            raise Refusal(413, text)
        try:
            records = _unwrap(from_json(body))
        except ValueError as error:
            raise Refusal(400, f"the body is not valid JSON: {str(error)[:200]}") from None
        if not records:
            raise Refusal(422, "no records: send at least one")
        if len(records) > self.max_records:
            raise Refusal(413, f"{len(records):,} records in one request; at most {self.max_records:,} are taken")
        if any(isinstance(record, dict) and len(record) > len(self._columns) for record in records):
            raise self._refusal(records)  # some names are unknown, and nobody wants to hear of thousands of them
        try:
            rows = self._records.validate_python(records)
        except ValidationError:
            raise self._refusal(records) from None
        if problems := [p for i, row in enumerate(rows) for p in self._across(i, row.__dict__, self._fields)]:
            raise Refusal(422, "", problems[:SHOWN], len(problems))
        return rows

    def cells(self, rows: list[BaseModel]) -> list[list[Any]]:
        """Turn checked rows into one list of values a feature."""
        return [
            list(c) for _, c in zip(self.features, zip(*(r.__dict__.values() for r in rows), strict=True), strict=False)
        ]

    def frame(self, cells: list[list[Any]]) -> pd.DataFrame:
        """Give checked cells the dtypes that ``tables.cast`` gives a file, without its search for bad values."""
        columns = [_column(c, p) for p, c in zip(self.features, cells, strict=True)]
        frame = pd.DataFrame(dict(enumerate(columns)), copy=False)
        frame.columns = self._index  # made once: a new one, with its hash table, was 6 % of a request's time
        return frame

    def _problem(self, row: int, error: Any, suggest: bool) -> Problem:
        """Describe one problem. A value is echoed only where the contract calls its column public."""
        value, rule = error["input"], RULES.get(error["type"], "type")
        column = str(error["loc"][0])[:80] if error["loc"] else None
        where, kind = f"records[{row}]" + (f".{column}" if column else ""), JSON.get(type(value), "null")
        found: Problem = {"row": row, "column": column, "rule": rule, "message": f"{where} is missing"}
        if rule == "missing column":
            return found
        if rule == "unknown column":
            hint = did_you_mean(column or "", self._columns) if suggest else ""
            return found | {"message": f"{where} is no column of the contract{hint}", "type": kind}
        prop = self._columns.get(column or "")
        if prop and (value is None or _is_blank(value, prop)):
            return found | {"rule": "required", "message": f"{where} must not be empty", "type": kind}
        text = "must be an object with one key a column" if prop is None else error["msg"]
        if prop and rule == "pattern":
            text = f"must match {prop.logicalTypeOptions.pattern}"
        elif prop and getattr(prop.logicalTypeOptions, rule, None) is None and _too_large(value, prop):
            found["rule"], text = "type", f"is beyond 2**{63 if prop.needed else 53}, where digits are lost"
        public = prop is not None and prop.classification in PUBLIC
        got = f", not {kind}" + (f" {_start(value)!r}"[:60] if public and isinstance(value, str | int | float) else "")
        text = text.replace("Input should be", "must be").replace("String should", "must")
        return found | {"message": f"{where} {text}{got}", "type": kind}

    def _across(self, row: int, values: dict[str, Any], keys: dict[str, str]) -> list[Problem]:
        """Comparisons of two columns, in SQL's three-valued logic: an unknown side breaks nothing."""
        found = []
        for name, left, sign, right in self._comparisons:
            sides = [side if isinstance(side, float) else values.get(keys[side]) for side in (left, right)]
            if None not in sides and not COMPARE[sign](*sides):
                columns = [side for side in (left, right) if not isinstance(side, float)]
                text = f"records[{row}]: {left} {sign} {right} does not hold"
                found.append({"row": row, "column": columns[0], "columns": columns, "rule": name, "message": text})
        return found

    def _refusal(self, records: list[Any]) -> Refusal:
        """Look for problems record by record, and for no more once there are enough to show."""
        problems: list[Problem] = []
        total = 0
        for row, record in enumerate(records):
            found, count = self._problems_of(row, record, suggest=len(problems) < SUGGESTED)
            problems, total = problems + found, total + count
            if len(problems) >= SHOWN:
                break
        return Refusal(422, "", problems[:SHOWN], total, more=row + 1 < len(records))

    def _problems_of(self, row: int, record: Any, suggest: bool) -> tuple[list[Problem], int]:
        """Return what is wrong with one record, and how much that is with the unknown names that are not listed."""
        unlisted = 0
        if isinstance(record, dict) and len(record) > len(self._columns) + SHOWN:
            unknown = [name for name in record if name not in self._columns]
            unlisted = max(len(unknown) - SHOWN, 0)
            record = {name: record[name] for name in [*filter(record.__contains__, self._columns), *unknown[:SHOWN]]}
        try:
            values = self._record.validate_python(record).__dict__
            problems, broken = [], set[str]()
        except ValidationError as refused:
            # Where a value may be read in two ways, the later one's error is the closer one.
            errors = {e["loc"][:1]: e for e in refused.errors(include_url=False) if e["type"] != ALSO}
            problems = [self._problem(row, error, suggest) for error in errors.values()]
            broken = {str(place[0]) for place in errors if place}
            values = {}
        if not isinstance(record, dict) or not self._comparisons:
            return problems, len(problems) + unlisted
        for name in self._compared if broken or not values else ():  # the same where other columns are bad
            if name in record and name not in broken:
                values[self._fields[name]] = self._cells[name].validate_python(record[name], strict=True)
        problems += self._across(row, values, self._fields)
        return problems, len(problems) + unlisted


def _is_blank(value: Any, prop: Property) -> bool:
    textual = prop.logicalType == "string" or prop.logicalType in TEMPORAL
    return textual and isinstance(value, str) and not value.strip(BLANKS)


def _start(value: str | float) -> str | float:
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
                raise Refusal(422, f"'{key}' stands alone; there are {len(document) - 1} other keys beside it")
            document = _rows(document[key]) if key == "columns" else document[key]
            break
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        return [document] if document else []
    raise Refusal(422, f'send {{"records": [{{…}}, …]}}; the body is of type {JSON.get(type(document), "null")}')


def _rows(columns: Any) -> list[dict[str, Any]]:
    if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
        raise Refusal(422, "'columns' must map each column to a list of values")
    lengths = {name[:80]: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise Refusal(422, f"'columns' differ in length: {dict(list(lengths.items())[:20])}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def comparisons(obj: SchemaObject) -> list[tuple[str, Any, str, Any]]:
    """The rules across columns of which a request has both sides; one on the target is for tables alone."""
    known, absent = {p.name for p in obj.features}, {p.name for p in obj.properties if p.role}
    found = []
    for quality in obj.quality:
        match = COMPARISON.match(quality.query or "") if quality.type == "sql" else None
        sides = [s if s in known else float(s) for s in match.group(1, 3) if s not in absent] if match else []
        if match and len(sides) == 2:
            name = quality.name or "{} {} {}".format(*match.group(1, 2, 3))
            found.append((name, sides[0], match["op"], sides[1]))
    return found


def _column(values: list[Any], prop: Property) -> Any:
    if prop.logicalType == "string":
        return pd.array(values, dtype="str")
    if prop.logicalType in TEMPORAL:
        return np.array(values, dtype="datetime64[us]")
    dtype = {"integer": "int64", "boolean": "bool"}.get(prop.logicalType, "float64") if prop.needed else "float64"
    return np.array(values, dtype=dtype)
