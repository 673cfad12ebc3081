"""A contract says what it means, or is refused at load in one line that names the place."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mlcicd.contract import contract_diff as changes
from mlcicd.contract import document as contracts
from mlcicd.core import errors
from mlcicd.validation import request_validation
from test_contract import table_of

KINDS = {
    "string": ["a", "7", "true", "2026-01-31"],
    "integer": [7, -1, 2**60],
    "number": [7, 0.5, -1e300],
    "boolean": [True, False],
    "date": [date(2026, 1, 31), "2026-01-31", "2026-1-31"],
    "timestamp": [date(2026, 1, 31), datetime(2026, 1, 31, 12), "2026-01-31T12:00:00Z", "2026-01-31 12:00"],
}
FAMILY = {"integer": "number", "timestamp": "date"}
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def load(path: Path, column: dict[str, Any], **of_table: Any) -> Any:
    """Write a contract with this column as a person does, and load it."""
    target = {"name": "y", "logicalType": "integer", "customProperties": [{"property": "role", "value": "target"}]}
    top = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1", "status": "draft"}
    table = {"name": "t", **of_table, "properties": [{"name": "c", **column}, target]}
    (path / "contract.yaml").write_text(yaml.safe_dump(top | {"schema": [table]}), encoding="utf-8")
    return contracts.load(path / "contract.yaml")


def refused(path: Path, column: dict[str, Any], **of_table: Any) -> str:
    with pytest.raises(errors.InputError) as caught:
        load(path, column, **of_table)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 400 and "contract.yaml: " in text
    return text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_bounds_and_allowed_values_have_the_type_of_their_column(tmp_path: Path, kind: str, other: str):
    fits = FAMILY.get(kind, kind) == FAMILY.get(other, other)
    for value in KINDS[other]:
        enum = {"logicalType": kind, "enum": [{"value": value}]}
        # A text such as 2026-01-31 is a date as well as a text.
        if fits or (FAMILY.get(kind, kind), value) == ("date", "2026-01-31") or (kind, type(value)) == ("string", str):
            assert load(tmp_path, enum).table.column("c").enum
        else:
            assert "column 'c': enum value" in refused(tmp_path, enum)
        for bound in BOUNDS:
            column = {"logicalType": kind, "logicalTypeOptions": {bound: value}}
            if kind in ("string", "boolean") or not (
                fits or (FAMILY.get(kind, kind) == "date" and value == "2026-01-31")
            ):
                assert bound in refused(tmp_path, column)
            else:
                request_validation.RequestValidator(load(tmp_path, column).table)


@given(day=st.dates(date(1, 1, 1)), bound=st.sampled_from(BOUNDS), kind=st.sampled_from(["date", "timestamp"]))
def test_a_date_is_the_same_with_and_without_quotes(tmp_path_factory, day, bound, kind):
    path = tmp_path_factory.getbasetemp()
    written = [day, day.isoformat(), f"{day.isoformat()}T00:00:00Z", f" {day.isoformat()} "]
    found = [load(path, {"logicalType": kind, "logicalTypeOptions": {bound: value}}) for value in written]
    assert all(one == found[0] for one in found)
    assert all(changes.diff_contracts(found[0], one) == [] for one in found)


@given(days=st.tuples(*[st.datetimes(datetime(1, 1, 1)) | st.dates(date(1, 1, 1))] * 2), bound=st.sampled_from(BOUNDS))
def test_a_moved_bound_is_wider_or_narrower_however_it_is_written(tmp_path_factory, days, bound):
    path = tmp_path_factory.getbasetemp()
    column = {"logicalType": "timestamp"}
    old, new = (load(path, column | {"logicalTypeOptions": {bound: day}}) for day in days)
    moments = [datetime(d.year, d.month, d.day) if type(d) is date else d for d in days]
    found = changes.diff_contracts(old, new)
    if moments[0] == moments[1]:
        assert found == []
    else:
        narrower = (moments[1] > moments[0]) is (bound in ("minimum", "exclusiveMinimum"))
        assert [c["requests"] for c in found] == ["breaking" if narrower else "compatible"]


@given(
    kinds=st.tuples(*[st.sampled_from(["integer", "number", "date", "timestamp"])] * 2), bound=st.sampled_from(BOUNDS)
)
def test_a_column_of_another_type_is_compared_without_an_error(tmp_path_factory, kinds, bound):
    path = tmp_path_factory.getbasetemp()
    sides = [load(path, {"logicalType": k, "logicalTypeOptions": {bound: KINDS[k][0]}}) for k in kinds]
    assert (changes.diff_contracts(*sides) == []) is (kinds[0] == kinds[1])


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a bound that is no date": ({"logicalType": "date", "logicalTypeOptions": {"minimum": "soon"}}, "minimum 'soon'"),
    "a day that is none": ({"logicalType": "date", "logicalTypeOptions": {"maximum": "2026-02-30"}}, "2026-02-30"),
    "true as a bound": ({"logicalType": "integer", "logicalTypeOptions": {"minimum": True}}, "true and false"),
    "no number": ({"logicalType": "number", "logicalTypeOptions": {"maximum": float("inf")}}, "maximum inf"),
    "a pattern for numbers": (
        {"logicalType": "integer", "logicalTypeOptions": {"pattern": ""}},
        "pattern is for string",
    ),
    "a length for numbers": ({"logicalType": "integer", "logicalTypeOptions": {"minLength": 0}}, "minLength is for"),
    "a step for text": ({"logicalType": "string", "logicalTypeOptions": {"multipleOf": 2}}, "multipleOf is for"),
    "a format for text": ({"logicalType": "string", "logicalTypeOptions": {"format": "email"}}, "format is for"),
    "nothing allowed": ({"logicalType": "string", "enum": []}, "empty enum"),
    **{
        f"format {form!r}": (
            {"logicalType": "date", "logicalTypeOptions": {"format": form}},
            "format" if not form else form[:4],
        )
        for form in (
            "dd.QQ.yyyy",
            "dd.MM.YYYY",
            "DD.MM.yyyy",
            "yyyy-MM",
            "dd.MM.yyyy dd",
            "yyyy-MM-dd'T",
            "%d.%m.%Y",
            "iso",
            "yyyyy-MM-dd",
        )
    },
    "no role": ({"logicalType": "date", "customProperties": [{"property": "role", "value": "index"}]}, "role 'index'"),
    "two roles": (
        {
            "logicalType": "date",
            "customProperties": [{"property": "role", "value": "time"}, {"property": "role", "value": "id"}],
        },
        "twice",
    ),
    "letters for a list": (
        {"logicalType": "string", "customProperties": [{"property": "missing", "value": "none"}]},
        "missing 'none'",
    ),
    "no text in a list": (
        {"logicalType": "string", "customProperties": [{"property": "missing", "value": [False]}]},
        "missing [False]",
    ),
    "stored as text": (
        {"logicalType": "string", "customProperties": [{"property": "stored", "value": "text"}]},
        "stored 'text'",
    ),
    "stored in a number": (
        {"logicalType": "number", "customProperties": [{"property": "stored", "value": "integer"}]},
        "stored",
    ),
    **{
        f"misspelt {name}": ({"logicalType": "string", "customProperties": [{"property": name, "value": "id"}]}, name)
        for name in ("rolle", "Role", "roles", "missng", "Missing", "na_values", "latestyear", "latest_year", "store")
    },
}


@pytest.mark.parametrize(("column", "names"), WRONG.values(), ids=WRONG.keys())
def test_a_careless_column_is_refused_by_name(tmp_path: Path, column: dict[str, Any], names: str):
    text = refused(tmp_path, column)
    assert names in text and "'c'" in text.replace("schema.0.properties.0", "'c'")


FILES = {
    **{
        name: [{"property": name, "value": ";"}]
        for name in ("delimeter", "delimter", "Delimiter", "sep", "separator", "decimals")
    },
    **{
        f"{name} of two": [{"property": name, "value": ";;"}]
        for name in ("delimiter", "decimal", "thousands", "quote", "escape")
    },
    "encoding": [{"property": "encoding", "value": "utf9"}],
    "no text encoding": [{"property": "encoding", "value": "hex"}],
    "missing": [{"property": "missing", "value": "none"}],
    "delimiter twice": [{"property": "delimiter", "value": value} for value in ";,"],
}


@pytest.mark.parametrize("custom", FILES.values(), ids=FILES.keys())
def test_a_careless_file_is_refused_by_name(tmp_path: Path, custom: list[dict[str, Any]]):
    assert custom[0]["property"] in refused(tmp_path, {"logicalType": "string"}, customProperties=custom)


@pytest.mark.parametrize(
    "name", ["/dev/zero", "../t.csv", "a/../../t.csv", "C:\\t.csv", "\\\\host\\t.csv", "a\0.csv", " ", ".git/config"]
)
def test_a_path_out_of_the_project_is_refused_at_load(tmp_path: Path, name: str):
    assert "physicalName" in refused(tmp_path, {"logicalType": "string"}, physicalName=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_compares_what_can_be_compared(tmp_path: Path, kind: str):
    rule = {"type": "sql", "mustBe": 0}
    for other in ("y", "5"):
        quality = [rule | {"query": f"SELECT COUNT(*) FROM {{object}} WHERE NOT (c <= {other})"}]
        if kind in ("integer", "number", "boolean"):
            load(tmp_path, {"logicalType": kind}, quality=quality)
        else:
            assert "compares" in refused(tmp_path, {"logicalType": kind}, quality=quality)


def test_another_tools_property_passes_and_what_nobody_enforces_is_named(tmp_path: Path):
    own = [{"property": "owner", "value": "x"}]
    rule = {
        "metric": "nullValues",
        "mustBe": 0,
        "severity": "warning",
        "dimension": "x",
        "engine": "y",
        "implementation": 1,
    }
    load(
        tmp_path,
        {"logicalType": "string", "customProperties": own, "quality": [rule]},
        quality=[rule | {"metric": "rowCount"}],
    )
    said = contracts.warnings(tmp_path / "contract.yaml")
    for key in ("severity", "dimension", "engine", "implementation"):
        assert len([line for line in said if f"quality.{key}" in line]) == 2


def test_a_yaml_date_and_its_text_make_one_contract():
    with_quotes = {"name": "c", "logicalType": "date", "logicalTypeOptions": {"minimum": "1997-01-01"}}
    without = {"name": "c", "logicalType": "date", "logicalTypeOptions": {"minimum": date(1997, 1, 1)}}
    assert table_of(with_quotes) == table_of(without)
