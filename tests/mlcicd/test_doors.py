"""The same value gets the same answer by every door: training CSV, batch CSV, batch Parquet, request."""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlcicd.contract import date_formats as dates
from mlcicd.data import readers
from mlcicd.validation import request_validation, rules
from test_contract import table_of

EXAMPLES = settings(max_examples=120)

REFUSED = "refused"


def answer(frame: pd.DataFrame, mistyped: Any, obj: Any) -> Any:
    """What a door makes of the first row's value: refused, missing, or the value that the model sees."""
    if [v for v in rules.check(frame, obj, mistyped) if 1 in v.rows or not v.rows]:
        return REFUSED
    value = frame["c"].iloc[0]
    return None if pd.isna(value) else getattr(value, "item", lambda: value)()


def training_csv(path: Path, obj: Any, text: str | None) -> Any:
    return answer(*readers.read(write_csv(path, text), obj), obj)


def batch_csv(path: Path, obj: Any, text: str | None) -> Any:
    return by_parts(write_csv(path, text), obj)


def write_csv(path: Path, text: str | None) -> Path:
    with (path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerows([["c", "y"], ["" if text is None else text, 1]])
    return path / "t.csv"


def by_parts(path: Path, obj: Any) -> Any:
    """As ``ml predict`` reads."""
    single = rules.row_level_rules(obj)
    raw = next(readers.read_chunks(path, single))
    return answer(*readers.coerce_dtypes(raw, single, str(path)), single)


def batch_parquet(path: Path, obj: Any, value: Any, kind: Any = None) -> Any:
    table = pa.table({"c": pa.array([value], kind), "y": pa.array([1])})
    pq.write_table(table, path / "t.parquet")
    found = by_parts(path / "t.parquet", obj), answer(*readers.read(path / "t.parquet", obj), obj)
    assert same(*found)
    return found[0]


def request(_: Path, obj: Any, value: Any) -> Any:
    door = request_validation.RequestValidator(obj)
    try:
        rows = door.read(json.dumps({"records": [{"c": value}]}).encode())
    except request_validation.RequestError as refusal:
        assert refusal.status == 422
        assert {p["column"] for p in refusal.problems} == {"c"} and len(refusal.problems) == 1
        return REFUSED
    frame = door.frame(door.cells(rows))
    value = frame["c"].iloc[0]
    return None if pd.isna(value) else getattr(value, "item", lambda: value)()


def same(a: Any, b: Any) -> bool:
    return a == b and (a is None) == (b is None) and (a == REFUSED) == (b == REFUSED)


def column(kind: str, required: bool = True, **more: Any) -> Any:
    return table_of({"name": "c", "logicalType": kind, "required": required, **more})


NOON, MIDNIGHT = datetime(2026, 1, 31, 12), datetime(2026, 1, 31)
# Texts that mean the same in a file and in a request, and what every door makes of them.
TEXTS: list[tuple[str, str, Any]] = [
    *(("date", text, MIDNIGHT) for text in ("2026-01-31", "2026-1-31", " 2026-01-31", "2026-01-31 ", "2026-01-31T00")),
    *(("date", text, MIDNIGHT) for text in ("2026-01-31T00:00:00Z", "2026-01-31T02:00+02:00", "\t2026-01-31\xa0")),
    *(("date", text, REFUSED) for text in ("2026", "2026-01", "20260131", "2026-01-31T12", "2026-02-30", "0000-01-01")),
    *(("date", text, REFUSED) for text in ("now", "today", "31.01.2026", "2026/01/31", "2026-W05", "2026-031", "soon")),
    *(("date", text, REFUSED) for text in ("", "  ", "NA", "null", "２０２６-01-31", "12026-01-31", "2026-01-31Z")),
    *(
        ("timestamp", f"2026-01-31{text}", NOON)
        for text in ("T12", "T12:00", " 12:00", "T12:00:00", "T12:00Z", " 12+00")
    ),
    *(("timestamp", f"2026-01-31{text}", NOON) for text in ("T17+05", "T17:30+0530", "T07:00:00.000-05:00")),
    *(("timestamp", f"2026-01-31T12:00:00.{'0' * n}", NOON) for n in (1, 6, 7, 9, 12)),
    ("timestamp", "2024-03-14T15:43:15.459809990Z", datetime(2024, 3, 14, 15, 43, 15, 459809)),
    ("timestamp", "1969-12-31T23:59:59.999999999", datetime(1969, 12, 31, 23, 59, 59, 999999)),
    ("timestamp", "0900-01-01T00:00:00.123456789123+23:59", datetime(899, 12, 31, 0, 1, 0, 123456)),
    ("timestamp", "2026-1-31 12:00", NOON),
    *(
        ("timestamp", f"2026-01-31{text}", REFUSED)
        for text in ("T24:00", "T12:60", "T12:00:60", "T1:2:3", "T1200", "t12:00", "T12:00:00.")
    ),
    *(
        ("timestamp", f"2026-01-31{text}", REFUSED)
        for text in ("T12:00+24:00", "T12:00+05:60", "T12:00:00,5", "  12:00")
    ),
    *(
        ("timestamp", text, REFUSED)
        for text in ("0001-01-01T00:00+01:00", "9999-12-31T23:00-02:00", "", " ", "NaT", "None")
    ),
    *(("string", text, "item 5") for text in ("item 5", " item 5", "item 5 ", "\titem 5\xa0", "\u2009item 5\u3000")),
    *(("string", text, REFUSED) for text in ("", " ", "\t", "\xa0")),
    *(("string", text, text) for text in ("NA", "null", "0123", "1e5", "True", "nan", "a\tb", "é", "\u200bx")),
]


@pytest.mark.parametrize(("kind", "text", "expected"), TEXTS, ids=[f"{k} {t!r}" for k, t, _ in TEXTS])
@pytest.mark.parametrize("required", [True, False], ids=["required", "optional"])
def test_a_text_gets_one_answer_by_every_door(tmp_path: Path, kind: str, text: str, expected: Any, required: bool):
    obj = column(kind, required)
    gone = text.strip() in ("", "NA", "null", "None", "NaN", "nan") if kind != "string" else not text.strip()
    expected = None if gone and not required else expected
    for door in (training_csv, batch_csv, batch_parquet, request):
        assert same(door(tmp_path, obj, text), expected), door.__name__


BIG = 2**53 + 1
# JSON value, as a CSV writes it, and the answer in a required and in an optional column.
NUMBERS: list[tuple[str, Any, str, Any, Any]] = [
    *(
        ("boolean", value, text, True, 1.0)
        for value, text in ((True, "true"), (True, "True"), (True, "TRUE"), (1, "1"))
    ),
    *(("boolean", value, text, True, 1.0) for value, text in ((1.0, "1.0"), (True, " true "), (1, "+1"), (1.0, "1e0"))),
    *(
        ("boolean", value, text, False, 0.0)
        for value, text in ((False, "False"), (0, "0"), (0.0, "0.0"), (-0.0, "-0.0"))
    ),
    *(
        ("boolean", value, text, REFUSED, REFUSED)
        for value, text in ((2, "2"), (0.5, "0.5"), ("yes", "yes"), ("t", "t"))
    ),
    *(("integer", value, text, 3, 3.0) for value, text in ((3, "3"), (3.0, "3.0"), (3, "+3"), (3.0, "3."), (3, " 3 "))),
    *(("integer", value, text, 300, 300.0) for value, text in ((300.0, "3e2"), (300, "0300"))),
    *(
        ("integer", value, str(value), REFUSED, REFUSED)
        for value in (3.5, 2**63, -(2**63) - 1, 2**64, 10**30, 1e16, 1e300)
    ),
    *(
        ("integer", value, value, REFUSED, REFUSED)
        for value in ("x", "0x10", "1_000", "1 000", "true", "１", "--1", "inf")
    ),
    *(("integer", value, str(value), value, REFUSED) for value in (BIG, -BIG, 2**63 - 1, -(2**63), 2**60 + 1)),
    *(("integer", value, str(value), value, float(value)) for value in (2**53, -(2**53), 2**53 - 1)),
    *(("number", value, text, 0.5, 0.5) for value, text in ((0.5, "0.5"), (0.5, ".5"), (0.5, "+.5"), (0.5, "5e-1"))),
    *(
        ("number", value, repr(value), value, value)
        for value in (0.1 + 0.2, 1e-320, 1.7976931348623157e308, 123456789.12345679)
    ),
    *(("number", value, str(value), float(value), float(value)) for value in (BIG, 2**64, 10**30, 0, 1)),
    *(
        ("number", value, value, REFUSED, REFUSED)
        for value in ("True", "true", "1,5", "0x10", "1e", "1f", "∞", "Infinity")
    ),
    ("number", 10**400, "1e400", REFUSED, REFUSED),
]


@pytest.mark.parametrize(
    ("kind", "value", "text", "needed", "optional"), NUMBERS, ids=[f"{r[0]} {r[2]!r}" for r in NUMBERS]
)
def test_a_number_or_truth_gets_one_answer_by_every_door(tmp_path, kind, value, text, needed, optional):
    for required, expected in ((True, needed), (False, optional)):
        obj = column(kind, required)
        answers = {"request": request(tmp_path, obj, value), "texts": batch_parquet(tmp_path, obj, text)}
        answers |= {door.__name__: door(tmp_path, obj, text) for door in (training_csv, batch_csv)}
        answers["parquet"] = stored(tmp_path, obj, value)
        wrong = {door: got for door, got in answers.items() if not same(got, expected)}
        assert not wrong, expected


def stored(path: Path, obj: Any, value: Any) -> Any:
    """The value in the narrowest type that Parquet has for it."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        value = Decimal(value) if abs(value) < 10**38 else math.inf
    return batch_parquet(path, obj, value, pa.uint64() if isinstance(value, int) and value >= 2**63 else None)


texts = st.text(st.sampled_from("ab7é \t\xa0\u2009-.,'NA"), max_size=6) | st.sampled_from(
    ["NA", " ", "null", "a b", "\u200b"]
)
blanks = st.sampled_from(["", "", "", " ", "\t", "\xa0", "  "])
zones = st.sampled_from(["", "", "Z", "+02", "-0330", "+05:30", "+24:00", "z"])
fractions = st.just("") | st.text("0123456789", min_size=1, max_size=12).map(".{}".format)
clocks = st.builds("{}{:02d}{}{}".format, st.sampled_from("T "), st.integers(0, 25), zones, st.just("")) | st.builds(
    "{}{:02d}:{:02d}:{:02d}{}{}".format, st.sampled_from("T "), *[st.integers(0, 61)] * 3, fractions, zones
)
days = st.builds(
    "{:04d}-{:02d}-{:02d}".format, st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32)
) | st.builds("{}-{}-{}".format, st.integers(1990, 2030), st.integers(1, 12), st.integers(1, 31))
stamps = st.builds("{}{}{}{}".format, blanks, days, st.just("") | clocks, blanks)
words = st.sampled_from(
    ["", " ", "NA", "2026", "2026-01", "20260131", "now", "today", "31.01.2026", "1.2.2026", "1/2/99"]
)
FORMATS = [
    *("dd.MM.yyyy", "d.M.yyyy", "yyyyMMdd", "yyyy-MM-dd", "yyyy-M-d", "MM/dd/yy", "dd-MMM-yyyy", "d MMMM yyyy"),
    *("yyyy/MM/dd HH:mm", "yyyyMMddHHmmss", "dd.MM.yyyy hh:mm a", "yyyy-MM-dd'T'HH:mm:ss.SSS", "'am' d.M.yyyy h:m:sa"),
    *("yyyy-MM-dd HH:mm:ss", "yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd HH:mm:ss.SSSSSS", "HH:mm dd.MM.yy", "yyyy MM dd"),
]


@st.composite
def written(draw: st.DrawFn) -> tuple[str | None, str]:
    """A format, and a text that is nearly a date of it."""
    form = draw(st.none() | st.sampled_from(FORMATS))
    if form is None or draw(st.integers(0, 5)) == 0:
        return form, draw(stamps | words)
    moment = draw(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
    text = moment.strftime(dates.date_format(form).strptime)
    if draw(st.booleans()):  # without leading zeros, in another case, one letter off
        text = draw(st.sampled_from([text.replace(".0", ".").replace("/0", "/"), text.upper(), text[:-1], text + "0"]))
    return form, draw(blanks) + text + draw(blanks)


@EXAMPLES
@given(case=written(), latest=st.sampled_from([None, 2026, 1999]))
@example(case=(None, "0000-01-01"), latest=None)
@example(case=(None, "0001-01-01T00:00+01:00"), latest=None)
@example(case=("dd.MM.yy", "29.02.00"), latest=1999)
def test_a_text_is_one_date_to_arrow_to_pandas_and_to_python(case, latest):
    form, text = case
    read = dates.date_format(form, latest if form and "yy" in form and "yyyy" not in form else None)
    try:
        alone = read.parse(text)
    except (ValueError, OverflowError):
        alone = None
    together = read.parse_all(pa.array([text])), read.parse_all(pa.array([text, "2026-1-1", None]))
    assert {None if np.isnat(found[0]) else found[0].item() for found in together} == {alone}


BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
floats = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-20, 20) | st.integers(-(2**65), 2**65) | st.sampled_from([2**53, 2**53 + 1, 2**63, -(2**63)])


@st.composite
def contracts(draw: st.DrawFn) -> Any:
    """A column with rules, as the contract says them."""
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "date", "timestamp"]))
    options: dict[str, Any] = {}
    more: dict[str, Any] = {}
    if kind in ("integer", "number"):
        options = draw(st.dictionaries(st.sampled_from(BOUNDS), st.integers(-10, 10), max_size=1))
        options |= draw(st.sampled_from([{}, {}, {"multipleOf": 0.01}, {"multipleOf": 3}]))
    elif kind == "string":
        options = draw(
            st.sampled_from([{}, {"minLength": 2}, {"maxLength": 3}, {"pattern": "^[a-z]+$"}, {"pattern": "a"}])
        )
        if draw(st.booleans()):
            more["customProperties"] = [{"property": "missing", "value": ["NA"]}]
    elif kind in ("date", "timestamp"):
        options = draw(st.sampled_from([{}, {}, {"minimum": "1950-01-01"}, {"format": draw(st.sampled_from(FORMATS))}]))
    if kind in ("string", "integer") and draw(st.integers(0, 3)) == 0:
        more["enum"] = [{"value": v} for v in (["a", "7", "a b"] if kind == "string" else [1, 2, 3])]
    obj = column(kind, draw(st.booleans()), logicalTypeOptions=options, **more)
    return obj, draw(value_of(kind, options.get("format")))


def value_of(kind: str, form: str | None) -> st.SearchStrategy[Any]:
    if kind in ("date", "timestamp"):
        return st.none() | (written().map(lambda case: case[1]) if form else stamps | words)
    if kind == "string":
        return st.none() | texts
    return st.none() | {"boolean": st.booleans() | st.sampled_from([0, 1, 1.0, 0.0, 2, 0.5])}.get(
        kind, whole | floats | floats.map(lambda x: round(x, 2))
    )


@EXAMPLES
@given(case=contracts())
def test_any_value_of_any_contract_gets_one_answer_by_every_door(tmp_path_factory, case):
    obj, value = case
    path = tmp_path_factory.getbasetemp()
    text = None if value is None else value if isinstance(value, str) else json.dumps(value)
    answers = {"request": request(path, obj, value), "parquet text": batch_parquet(path, obj, text, pa.string())}
    answers |= {"training": training_csv(path, obj, text), "batch": batch_csv(path, obj, text)}
    if value is not None:
        answers["parquet"] = stored(path, obj, value)
    assert all(same(got, answers["request"]) for got in answers.values()), answers
