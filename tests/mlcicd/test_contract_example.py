"""The example of a request keeps any contract that says enough, and holds no row's values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.contract import schema
from mlcicd.validation import example_record as examples
from mlcicd.validation import request_validation

WIDE = 10**6


@st.composite
def columns(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "date", "timestamp"]))
    options: dict[str, Any] = {}
    if kind in ("integer", "number"):
        low, high = sorted(draw(st.tuples(st.integers(-WIDE, WIDE), st.integers(-WIDE, WIDE))))
        options |= {draw(st.sampled_from(["minimum", "exclusiveMinimum"])): low} if draw(st.booleans()) else {}
        options |= {draw(st.sampled_from(["maximum", "exclusiveMaximum"])): high + 50} if draw(st.booleans()) else {}
        options |= {"multipleOf": draw(st.sampled_from([1, 5, 25]))} if draw(st.booleans()) else {}
    elif kind in ("date", "timestamp"):
        options |= {"minimum": "1990-01-31"} if draw(st.booleans()) else {}
        options |= {draw(st.sampled_from(["maximum", "exclusiveMaximum"])): "2020-02-29"} if draw(st.booleans()) else {}
        options |= {"format": "dd.MM.yyyy"} if kind == "date" and draw(st.booleans()) else {}
    elif kind == "string":
        options |= {"minLength": draw(st.integers(0, 9))} if draw(st.booleans()) else {}
        options |= {"maxLength": draw(st.integers(9, 20))} if draw(st.booleans()) else {}
    return {"logicalType": kind, "logicalTypeOptions": options, "required": draw(st.booleans())}


@settings(max_examples=200)
@given(st.lists(columns(), min_size=1, max_size=6))
def test_it_is_accepted(found: list[dict[str, Any]]):
    properties = [column | {"name": f"c{number}"} for number, column in enumerate(found)]
    obj = schema.SchemaObject.model_validate({"name": "t", "properties": properties})
    assert request_validation.RequestValidator(obj).read(json.dumps([examples.example_record(obj)]).encode())


@given(
    st.sampled_from(["integer", "number", "date"]),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["<", "<=", "=", "<>"]), st.integers(0, 3)), max_size=3),
)
def test_comparisons_of_columns_hold(kind: str, pairs: list[tuple[int, str, int]]):
    rules = [(min(a, b), sign, max(a, b)) for a, sign, b in pairs if a != b]
    rules = [(a, "<=" if sign in ("=", "<>") and len(rules) > 1 else sign, b) for a, sign, b in rules]
    quality = [
        {"type": "sql", "query": f"SELECT COUNT(*) FROM {{object}} WHERE NOT (c{a} {sign} c{b})", "mustBe": 0}
        for a, sign, b in rules
    ]
    properties = [{"name": f"c{n}", "logicalType": kind, "required": True} for n in range(4)]
    obj = schema.SchemaObject.model_validate({"name": "t", "properties": properties, "quality": quality})
    assert request_validation.RequestValidator(obj).read(json.dumps([examples.example_record(obj)]).encode())
