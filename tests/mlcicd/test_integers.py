"""Whole numbers beyond 2**53 and 2**63 keep their digits from init to the predictions, or are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from adversarial import call
from mlcicd import cli
from mlcicd.contract import document as contracts
from mlcicd.data import readers
from mlcicd.validation import request_validation
from test_contract import table_of

ROWS = 160


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cli, "ROOT", tmp_path / "project")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    cli.ROOT.mkdir()
    return cli.ROOT


def ml(*arguments: Any, code: int = 0) -> str:
    got, out, err = call(cli, tuple(map(str, arguments)))
    assert got == code, out + err
    return out if code == 0 else err


def numbers(kind: str) -> list[int]:
    start = {"int64 below zero": -(2**60), "int64": 2**60, "uint64": 2**63, "just beyond": 2**53 - 3}[kind]
    return [start + i for i in range(ROWS)]


def table(kind: str, gaps: bool = False) -> pd.DataFrame:
    """Shops whose numbers are neighbours; odd shops buy."""
    values = numbers(kind)
    dtype = "uint64" if kind == "uint64" else "int64"
    shop = pd.Series([values[i % 6] for i in range(ROWS)], dtype=dtype)
    if gaps:
        shop = shop.astype(dtype.replace("i", "I").replace("uI", "UI")).mask(np.arange(ROWS) % 11 == 0)
    rng = np.random.default_rng(7)
    y = [int(rng.random() < (0.9 if i % 2 else 0.1)) for i in range(ROWS)]
    return pd.DataFrame({"key": pd.Series(values, dtype=dtype), "shop": shop, "x": rng.random(ROWS).round(3), "y": y})


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["int64 below zero", "int64", "uint64", "just beyond"])
def test_neighbours_stay_apart_and_ids_come_back(root: Path, kind: str, suffix: str):
    frame = table(kind)
    path = write(frame, root.parent / f"t.{suffix}")
    said = ml("init", path, "--target", "y", "--id", "key")
    assert "beyond 2**53 numbers lose digits: text" in said
    ml("validate")
    obj = contracts.load(root / "contract.yaml").table
    typed, _ = readers.read(path, obj)
    if kind != "just beyond":
        assert obj.column("shop").logicalType == "string"
        assert typed["shop"].nunique() == 6
    assert typed["key"].astype("str").tolist() == [str(v) for v in frame["key"]]
    asked = [{"key": int(r.key), "shop": int(r.shop), "x": r.x} for r in frame.itertuples()]
    rows = request_validation.RequestValidator(obj).read(json.dumps({"records": asked}).encode())
    assert [row.__dict__["id"] for row in rows] == frame["key"].tolist()
    cells = dict(zip([p.name for p in obj.features], request_validation.RequestValidator(obj).cells(rows), strict=True))
    assert list(map(str, cells["shop"])) == [str(v) for v in frame["shop"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_predictions_name_rows_as_the_table_does(root: Path, kind: str):
    frame = table(kind)
    ml("init", write(frame, root.parent / "t.parquet"), "--target", "y", "--id", "key")
    ml("train", "--out", root / "runs" / "a")
    for batch in (write(frame, root.parent / "b.csv"), write(frame, root.parent / "b.parquet")):
        ml("predict", batch, "--run", root / "runs" / "a", "--out", root / "p.parquet")
        predicted = pd.read_parquet(root / "p.parquet")
        assert predicted["key"].map(int).tolist() == frame["key"].tolist()
        if batch.suffix == ".parquet":
            assert predicted["key"].dtype == frame["key"].dtype


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["int64", "uint64"])
def test_gaps_beside_large_numbers_round_nothing(root: Path, kind: str, suffix: str):
    frame = table(kind, gaps=True).drop(columns="key")
    path = write(frame, root.parent / f"t.{suffix}")
    ml("init", path, "--target", "y")
    obj = contracts.load(root / "contract.yaml").table
    typed, mistyped = readers.read(path, obj)
    known = frame["shop"].notna().to_numpy()
    assert typed["shop"][known].tolist() == [str(v) for v in frame["shop"][known]]
    assert typed["shop"].isna().tolist() == (~known).tolist()
    assert not mistyped


@pytest.mark.parametrize(
    ("value", "required"), [(2**63, True), (2**64 - 1, True), (-(2**63) - 1, True), (2**53 + 1, False)]
)
def test_a_number_that_no_column_holds_is_refused_by_name(tmp_path: Path, value: int, required: bool):
    obj = table_of({"name": "c", "logicalType": "integer", "required": required})
    path = tmp_path / "t.csv"
    path.write_text(f"c,y\n{value},1\n", encoding="utf-8")
    frame, mistyped = readers.read(path, obj)
    from mlcicd.validation import rules

    said = [str(v) for v in rules.check(frame, obj, mistyped)]
    assert len(said) == 1 and "beyond" in said[0] and str(value) in said[0]
    with pytest.raises(request_validation.RequestError) as refused:
        request_validation.RequestValidator(obj).read(json.dumps({"c": value}).encode())
    assert "beyond" in refused.value.problems[0]["message"]
