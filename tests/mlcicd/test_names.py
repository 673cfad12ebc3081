"""Bins, slices and levels: made-up names never meet a value's own, and every way to a bin is one."""

from __future__ import annotations

import json
import math
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlcicd.contract import document as contracts
from mlcicd.core import labels, params
from mlcicd.data import readers
from mlcicd.evaluation import slices
from mlcicd.lifecycle import drift, drift_report, explore
from mlcicd.onboarding import config_drafts, init
from mlcicd.rendering import blocks, curves, html, markdown, png
from mlcicd.serving import monitoring_bins
from mlcicd.validation import request_validation

EXAMPLES = settings(max_examples=80)

HOSTILE = ["missing", "other", "(missing)", "(other)", "((other))", "above", "<= 1", "= other", "not missing", "None"]
HOSTILE += ["nan", "True", "true", "1", "1.0", "01", "prediction", "p_1", "row", "decision", "probability", 'a"b\\n']
WORDS = st.one_of(st.sampled_from(HOSTILE), st.text("abcxyzäß0123456789", min_size=1, max_size=6))
VALUES = {
    "string": WORDS,
    "integer": st.one_of(st.integers(-3, 12), st.integers(-(2**53), 2**53)),
    "number": st.one_of(
        st.integers(-3, 3).map(float), st.floats(-1e6, 1e6), st.sampled_from([0.1, 1e-300, 1e300, -0.0])
    ),
    "boolean": st.booleans(),
    "date": st.integers(-20_000, 20_000).map(lambda days: date(1999, 1, 1) + timedelta(days=days)),
}


@st.composite
def columns(draw) -> tuple[dict[str, Any], list[Any]]:
    """A column of a contract and values that keep it."""
    kind = draw(st.sampled_from(list(VALUES)))
    values = draw(st.lists(VALUES[kind], min_size=1, max_size=30))
    prop: dict[str, Any] = {"name": "x", "logicalType": kind}
    if draw(st.booleans()):
        prop["required"] = True
    else:
        values = draw(st.permutations([*values, *[None] * draw(st.integers(0, 5))]))
    if kind in ("string", "integer") and draw(st.booleans()):
        prop["enum"] = [{"value": v} for v in dict.fromkeys([*filter(lambda v: v is not None, values)])]
    return prop, values


def table_of(prop: dict[str, Any]):
    target = {"name": "y", "logicalType": "string", "customProperties": [{"property": "role", "value": "target"}]}
    table = {"name": "t", "physicalName": "t.csv", "properties": [prop, target]}
    top = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "draft"}
    return contracts.parse(top | {"schema": [table]}).table


def by_file(values: list[Any], obj, path: Path) -> pd.Series:
    """The values as training reads them from a file, and as a run keeps them."""
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object), "y": "a"})
    if path.suffix == ".csv":
        frame["x"] = frame["x"].map(lambda v: str(v).lower() if isinstance(v, bool) else v)
        frame.to_csv(path, index=False)
    else:
        frame.convert_dtypes().to_parquet(path)
    typed, mistyped = readers.read(path, obj)
    assert not mistyped, mistyped
    typed.to_parquet(path.with_name("holdout.parquet"), index=False)
    return pd.read_parquet(path.with_name("holdout.parquet"))["x"]


@EXAMPLES
@given(column=columns(), kind=st.sampled_from(["csv", "parquet"]))
def test_requests_fall_into_the_bins_that_training_counted(tmp_path_factory, column, kind: str) -> None:
    prop, values = column
    obj = table_of(prop)
    trained = by_file(values, obj, tmp_path_factory.mktemp("door") / f"table.{kind}")
    chosen = json.loads(json.dumps(monitoring_bins.choose_bins(trained, obj.features[0])))  # as serving.json keeps them
    place, names = monitoring_bins.bin_lookup(chosen, obj.features[0])
    assert len(names) == len(set(names)) == len(chosen) + 2

    door = request_validation.RequestValidator(obj)
    sent = [{"x": v.isoformat() if isinstance(v, date) else v} for v in values]
    (cells,) = door.cells(door.read(json.dumps({"records": sent}).encode()))
    counted = Counter(map(place, cells))
    assert counted[0] == sum(v is None for v in values)
    if prop.get("enum"):
        assert not counted[len(names) - 1], "a category that the contract lists is among the others"
    reference = monitoring_bins.bin_shares(trained, chosen, obj.features[0])
    if prop["logicalType"] == "date":
        assert reference == []
    else:
        assert math.isclose(sum(reference), 1)
        assert reference == pytest.approx([counted[i] / len(values) for i in range(len(names))])


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    ("kind", "listed"), [("integer", [1, 2, 3]), ("number", [0.5, 1, 2]), ("boolean", [True, False])]
)
def test_numbers_in_a_closed_list_are_the_same_with_and_without_gaps(kind: str, listed: list[Any], required: bool):
    prop = {"name": "x", "logicalType": kind, "required": required, "enum": [{"value": v} for v in listed]}
    obj, values = table_of(prop), listed * 3 + ([] if required else [None])
    trained = readers.coerce_dtypes(pd.DataFrame({"x": pd.Series(values, dtype=object)}), obj, "test", ["y"])[0]["x"]
    chosen = monitoring_bins.choose_bins(trained, obj.features[0])
    place, names = monitoring_bins.bin_lookup(chosen, obj.features[0])
    assert [names[place(v)] for v in listed] == [str(v) for v in listed]
    assert monitoring_bins.bin_shares(trained, chosen, obj.features[0]) == pytest.approx(
        [values.count(None) / len(values), *[3 / len(values)] * len(listed), 0.0]
    )


@EXAMPLES
@given(st.text(max_size=5), st.sets(WORDS))
def test_an_unused_name_is_none_of_the_values(name: str, taken: set[str]) -> None:
    found = labels.unused(name, taken)
    assert found not in taken and (found == name or name in taken)


numbers = st.one_of(st.floats(-1e9, 1e9), st.integers(10**14, 10**15).map(float), st.floats(1e-12, 1e-11))


@EXAMPLES
@given(st.lists(numbers, min_size=1, max_size=200), st.sampled_from([1.0, 1e12, 1e-12]))
def test_slices_and_levels_of_numbers_have_different_names(values: list[float], size: float) -> None:
    column = pd.Series(values) * size
    for _, codes, names in slices.groupings(column.to_frame("x")):
        assert len(names) == len(set(names)) and codes.max() < len(names)
    level, names = explore._levels(column, ordered=True)
    assert len(set(names)) == len(names) and set(level) <= set(range(len(names)))


@EXAMPLES
@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=200), st.sampled_from(["s", "ms", "us"]))
def test_slices_of_times_have_different_names(values: list[int], unit: str) -> None:
    column = pd.Series(pd.Timestamp("2024-02-03") + pd.to_timedelta(values, unit=unit)).dt.as_unit("us")
    for _, codes, names in slices.groupings(column.to_frame("x")):
        assert len(names) == len(set(names)) and codes.max() < len(names)


@EXAMPLES
@given(st.lists(st.one_of(st.none(), WORDS), min_size=1, max_size=80))
def test_a_gap_is_not_named_as_a_category(values: list[str | None]) -> None:
    column = pd.Series(values, dtype="str")
    ways = list(slices.groupings(column.to_frame("x")))
    named = [name for _, _, names in ways for name in names]
    assert len(named) == len(set(named))
    _, names = explore._levels(column, ordered=False)
    assert len(names) == len(set(names))


def test_columns_named_as_the_outputs_of_drift_keep_their_own_line() -> None:
    names = ["prediction", "(prediction)", "roc_auc", "row"]
    target = {"name": "y", "logicalType": "string", "customProperties": [{"property": "role", "value": "target"}]}
    properties = [{"name": name, "logicalType": "number"} for name in names]
    top = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "draft"}
    contract = contracts.parse(top | {"schema": [{"name": "t", "properties": [*properties, target]}]})
    rng = np.random.default_rng(0)
    old, new = (pd.DataFrame(rng.normal(size=(500, 4)), columns=names) for _ in range(2))
    moved = pd.Series(rng.normal(3, 1, 500))
    found = drift.compare(old, new, contract, params.Drift(), (pd.Series(rng.normal(size=500)), moved))
    prediction = found.pop(drift.PREDICTION)
    assert prediction["drift"] and list(found) == names and not any(c["drift"] for c in found.values())
    shown = drift_report.report(
        {
            "verdict": "drift",
            "violations": [],
            "columns": found,
            "prediction": prediction,
            "performance": None,
            "rows": {"new": 500, "reference": 500},
            "window": {},
            "source": "t",
        },
        params.Drift().model_dump(),
    )
    text = markdown.render(shown)
    assert "((prediction))" in text and all(f"| {name} |" in text.replace("\\", "") for name in names)


@pytest.mark.parametrize("level", [0.0, 0.3137, 1e-12, 1e12, -1e15])
@pytest.mark.parametrize("alone", [True, False])
def test_a_model_that_always_says_the_same_is_seen_in_every_chart(tmp_path, level: float, alone: bool) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300) * abs(level or 1)
    sides = [curves.Side("main", y, np.full(300, level), None)]
    sides += [] if alone else [curves.Side("branch", y, y * 0.9, None)]
    (chart,) = curves.draw("regression", sides, None)
    assert all(np.isfinite(line).any() for line in chart.series.values())
    png.draw(tmp_path, [chart])
    page, text = (render.render(blocks.Report("r", [chart])) for render in (html, markdown))
    assert "nan" not in page + text and '<circle class="s' in page


def test_a_curve_of_one_class_is_left_out() -> None:
    sides = [curves.Side("main", np.ones(50, dtype=int), np.linspace(0, 1, 50), 0.5)]
    with np.errstate(all="raise"):
        assert [chart.name for chart in curves.draw("binary", sides, None)] == ["calibration"]


def test_what_init_shows_of_a_table_has_its_invisible_characters_written_out():
    assert init._clip("a\u202eb\x1b[2Jc  d") == r"a\u202eb\x1b[2Jc d"
    assert config_drafts._comment("a\u202eb\nc") == r" # a\u202eb c"
    assert init._clip("x" * 50) == "x" * 47 + "…"
