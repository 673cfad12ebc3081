"""Two engines, one meaning: what a table may not hold, a request may not carry."""

from __future__ import annotations

import csv
import itertools
import json
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.compute import places
from mlcicd.contract import document as contracts
from mlcicd.data import readers
from mlcicd.partitions import pieces, validation
from mlcicd.validation import request_validation, rules

EXAMPLES = settings(max_examples=200)

numbers = st.integers(-20, 20) | st.floats(-20, 20, allow_nan=False).map(lambda x: round(x, 3))
days = st.dates(date(2026, 1, 1), date(2026, 3, 1)).map(str)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=6)
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
VALUES = {
    "integer": st.integers(-20, 20) | st.just("abc") | st.just(2.5),
    "number": numbers | st.just("abc"),
    "boolean": st.booleans() | st.just("maybe"),
    "string": texts | st.sampled_from(["a", "ab", "NA", "null", "7"]),
    "date": days | st.sampled_from(["2026-02-30", "31.01.2026", "soon"]),
    "timestamp": days.map(lambda d: f"{d}T10:00:00") | days.map(lambda d: f"{d}T23:30:00+02:00") | st.just("soon"),
}


def table_of(*properties: dict[str, Any], quality: Sequence[dict[str, Any]] = ()) -> Any:
    """The schema object of a contract with these columns and a target y."""
    target = {"name": "y", "logicalType": "integer", "customProperties": [{"property": "role", "value": "target"}]}
    document = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1", "status": "draft"}
    schema = [{"name": "t", "properties": [*properties, target], "quality": list(quality)}]
    return contracts.parse(document | {"schema": schema}).table


@st.composite
def columns(draw: st.DrawFn, name: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(list(VALUES)))
    options: dict[str, Any] = {}
    found: dict[str, Any] = {"name": name, "logicalType": kind, "required": draw(st.booleans())}
    if kind in ("integer", "number"):
        options = draw(st.dictionaries(st.sampled_from(BOUNDS), st.integers(-10, 10), max_size=2))
        options |= draw(st.sampled_from([{}, {}, {"multipleOf": 0.5}, {"multipleOf": 3}]))
    elif kind in ("date", "timestamp"):
        options = draw(st.dictionaries(st.sampled_from(BOUNDS), days, max_size=2))
    elif kind == "string":
        options = draw(
            st.sampled_from([{}, {"minLength": 2}, {"maxLength": 3}, {"pattern": "^[a-z]+$"}, {"pattern": "a|7"}])
        )
    if kind in ("string", "integer") and draw(st.booleans()):
        allowed = ["a", "ab", "7"] if kind == "string" else [1, 2, 3]
        found["enum"] = [{"value": value} for value in allowed]
    return found | {"logicalTypeOptions": options}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    properties = [draw(columns(f"c{i}")) for i in range(draw(st.integers(1, 4)))]
    comparable = [p["name"] for p in properties if p["logicalType"] in ("integer", "number")]
    quality = []
    if len(comparable) > 1:
        sign = draw(st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]))
        query = f"SELECT COUNT(*) FROM {{object}} WHERE NOT ({comparable[0]} {sign} {comparable[1]})"
        quality = [{"name": "rule", "type": "sql", "query": query, "mustBe": 0}]
    rows = draw(
        st.lists(
            st.fixed_dictionaries({p["name"]: st.none() | VALUES[p["logicalType"]] for p in properties}),
            min_size=1,
            max_size=rules.SHOWN_ROWS,
        )
    )
    return table_of(*properties, quality=quality), rows


def by_table(path: Path, obj: Any, rows: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """Broken (row, column) of the rows as a CSV file; a rule across columns counts as the column ''."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        names = [p.name for p in obj.properties if p.role is None]
        writer.writerow([*names, "y"])
        for row in rows:
            values = [row[name] for name in names]
            cells = ["" if v is None else str(v).lower() if isinstance(v, bool) else v for v in values]
            writer.writerow([*cells, 1])
    frame, mistyped = readers.read(path, obj)
    return {(row - 1, v.column) for v in rules.check(frame, obj, mistyped) for row in v.rows}


def by_request(obj: Any, rows: list[dict[str, Any]]) -> set[tuple[int, str]]:
    """The same of the rows as a request."""
    try:
        request_validation.RequestValidator(obj).read(json.dumps({"records": rows}).encode())
    except request_validation.RequestError as refusal:
        assert refusal.status == 422
        return {(p["row"], "" if p["rule"] == "rule" else p["column"]) for p in refusal.problems}
    return set()


@EXAMPLES
@given(case=cases())
def test_a_table_and_a_request_get_one_verdict(tmp_path_factory, case):
    obj, rows = case
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    table, request = by_table(path, obj, rows), by_request(obj, rows)
    # Whether a value that is bad by itself also breaks a rule across columns may be said or not.
    assert one_reason_is_enough(table) == one_reason_is_enough(request)


def one_reason_is_enough(broken: set[tuple[int, str]]) -> set[tuple[int, str]]:
    alone = {row for row, column in broken if column}
    return {(row, column) for row, column in broken if column or row not in alone}


@EXAMPLES
@given(case=cases())
def test_checked_requests_look_to_the_model_as_a_file_does(tmp_path_factory, case):
    obj, rows = case
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    if by_request(obj, rows) or by_table(path, obj, rows):
        return
    validator = request_validation.RequestValidator(obj)
    asked = validator.frame(validator.cells(validator.read(json.dumps({"records": rows}).encode())))
    read, _ = readers.read(path, obj)
    assert asked.dtypes.to_dict() == read[asked.columns].dtypes.to_dict()
    assert asked.equals(read[list(asked.columns)])


STEPS = [0.01, 0.1, 0.05, 0.25, 1e-4, 0.3, 1, 3, 7, 1e3]


@EXAMPLES
@given(st.sampled_from(STEPS), st.integers(-(2**46), 2**46))
def test_every_written_multiple_is_one_and_half_a_step_beside_it_is_none(step, times):
    """The value as a person writes it, 1234567.89, which is no float."""
    exact = Decimal(str(step)) * times
    values = np.array([float(exact), float(exact + Decimal(str(step)) / 2)])
    assert rules.are_multiples(values, float(step)).tolist() == [True, False]
    assert [rules.is_multiple(float(v), float(step)) for v in values] == [True, False]


@EXAMPLES
@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1), st.floats(1e-300, 1e300))
def test_what_a_multiple_is_does_not_depend_on_the_engine(value, step):
    for size in (step, float(max(1, int(min(step, 2**62))))):
        asked = bool(rules.are_multiples(np.array([value]), size)[0])
        assert asked == rules.is_multiple(value, size)


def test_the_day_after_the_maximum_is_one_too_many(tmp_path):
    last = date(2026, 1, 31)
    prop = {"name": "c", "logicalType": "date", "logicalTypeOptions": {"maximum": str(last)}}
    obj = table_of(prop)
    rows = [{"c": str(last)}, {"c": str(last + timedelta(days=1))}]
    assert by_table(tmp_path / "t.csv", obj, rows) == by_request(obj, rows) == {(1, "c")}


@st.composite
def large(draw: st.DrawFn) -> tuple[Any, pd.DataFrame]:
    """Rules on single rows, on uniqueness and on counts, and a table of columns with one type each."""
    obj, _ = draw(cases())
    limits = st.sampled_from([{"mustBeLessThan": 3}, {"mustBe": 0}, {"mustBeGreaterThan": 20, "unit": "percent"}])
    metrics = st.lists(
        st.builds(
            lambda metric, limit: {"metric": metric, **limit},
            st.sampled_from(["rowCount", "nullValues", "duplicateValues"]),
            limits,
        ),
        max_size=2,
    )
    document = obj.model_dump(exclude_none=True)
    for prop in document["properties"]:
        prop |= {"unique": draw(st.booleans()), "quality": draw(metrics)}
    document["quality"] += draw(metrics)
    size, frame = draw(st.integers(0, 9)), pd.DataFrame()
    for prop in (p for p in obj.properties if p.role is None):
        natural = [type(v) for v in ("a", 1, 1.5, True)]
        kind = draw(st.sampled_from(natural)) if prop.logicalType not in ("date", "timestamp") else str
        values = draw(st.lists(st.none() | VALUES[prop.logicalType], min_size=size, max_size=size))
        fits = [v if kind is str or type(v) is kind else None for v in values]
        cells = [None if v is None else str(v) if kind is str else v for v in fits]
        dtype = {str: "str", int: "Int64", float: "Float64", bool: "boolean"}[kind]
        frame[prop.name] = pd.Series(cells, dtype=dtype)
    return type(obj).model_validate(document), frame


def in_pieces(path: Path, obj: Any, optional: Sequence[str] = ("y",)) -> tuple[list[Any], int]:
    return validation.check(path, obj, lambda parts: places.opened(None, print, parts), optional)


@settings(max_examples=50)
@given(case=large(), cuts=st.lists(st.integers(0, 9), max_size=3), rows=st.integers(1, 4), group=st.integers(1, 5))
def test_a_table_in_any_parts_gets_the_findings_of_the_whole(tmp_path_factory, case, cuts, rows, group):
    obj, frame = case
    folder = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp()))
    whole = pa.Table.from_pandas(frame, preserve_index=False)
    (folder / "parts").mkdir()
    pq.write_table(whole, folder / "whole.parquet")
    ends = sorted([0, *(min(cut, len(frame)) for cut in cuts), len(frame)])
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        file = folder / "parts" / f"part-{number}.parquet"
        pq.write_table(whole.slice(start, end - start), file, row_group_size=group)
    with mock.patch.object(pieces, "read", partial(pieces.read, rows=rows)):
        found, count = in_pieces(folder / "parts", obj)
    assert count == len(frame)
    whole_frame, mistyped = readers.read(folder / "whole.parquet", obj, ["y"])
    assert found == rules.check(whole_frame, obj, mistyped)
    assert found == in_pieces(folder / "whole.parquet", obj)[0]


def test_repeats_far_apart_and_in_other_files_are_found(tmp_path):
    obj = table_of({"name": "k", "logicalType": "string", "unique": True}, {"name": "b", "logicalType": "number"})
    keys = pd.Series([f"k{i}" for i in range(120_000)])
    (tmp_path / "t").mkdir()
    pd.DataFrame({"k": keys, "y": 1}).to_parquet(tmp_path / "t" / "1.parquet")  # without b
    pd.DataFrame({"k": ["new", "k7", "k119999", None, None], "y": 1, "b": 2.5}).to_parquet(tmp_path / "t" / "2.parquet")
    found, count = in_pieces(tmp_path / "t", obj, [])
    assert count == 120_005
    assert [(v.column, v.rule, v.count, v.rows, v.example) for v in found] == [
        ("k", "unique", 4, (8, 120_000, 120_002, 120_003), "'k7'")
    ]
    assert found == rules.check(*readers.read(tmp_path / "t", obj)[:1], obj)


def test_a_column_that_is_gone_is_named_before_anything_else(tmp_path):
    obj = table_of({"name": "a", "logicalType": "integer"})
    pd.DataFrame({"y": pd.Series([], dtype="int64")}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(readers.InputError, match="column 'a' is missing"):
        in_pieces(tmp_path / "t.parquet", obj, [])


def role(name: str) -> list[dict[str, str]]:
    return [{"property": "role", "value": name}]


@EXAMPLES
@given(
    kind=st.sampled_from(["integer", "string"]),
    said=st.dictionaries(st.sampled_from(["required", "unique", "primaryKey"]), st.just(True)),
    keys=st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=1, max_size=8),
)
def test_the_role_id_names_each_row_whatever_else_the_contract_says(kind, said, keys):
    obj = table_of({"name": "k", "logicalType": kind, "customProperties": role("id"), **said})
    values = [key if key is None or kind == "integer" else f"k{key}" for key in keys]
    frame, mistyped = readers.coerce_dtypes(pd.DataFrame({"k": pd.Series(values, dtype=object), "y": 1}), obj, "a test")
    broken = {v.rule: v.count for v in rules.check(frame, obj, mistyped)}
    gaps, present = values.count(None), [v for v in values if v is not None]
    twice = sum(present.count(v) > 1 for v in present)
    assert broken == {r: n for r, n in {"required": gaps, "unique": twice}.items() if n}
    if not gaps and kind == "integer":
        assert frame["k"].dtype == "int64"


@pytest.mark.parametrize(("name", "key"), [("id", "required"), ("id", "unique"), ("time", "required")])
def test_a_role_that_is_denied_what_it_implies_is_refused(name: str, key: str):
    with pytest.raises(Exception, match=f"column 'k' has the role {name}, so it cannot be '{key}: false'"):
        table_of({"name": "k", "logicalType": "integer", "customProperties": role(name), key: False})
    assert table_of({"name": "k", "logicalType": "date", "customProperties": role("time")}).column("k").required
