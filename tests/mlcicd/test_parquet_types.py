"""What `ml init` makes of every type that a Parquet file may hold."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adversarial import call
from mlcicd import cli
from mlcicd.contract import document as contracts
from mlcicd.data import readers
from mlcicd.onboarding import column_inference, init

ROWS = 120
SEVERAL = range(ROWS)


def some(values: Any, kind: pa.DataType | None = None) -> pa.Array:
    """The values over and over, every seventh missing."""
    return pa.array([None if i % 7 == 3 else values[i % len(values)] for i in SEVERAL], kind)


NUMBERS, WORDS, DAYS = [1, 2, 3, 5, 8], ["a", "b", "c"], [dt.date(2024, 1, 1), dt.date(2025, 2, 3)]
MOMENTS = [dt.datetime(2024, 1, 1, 12), dt.datetime(2025, 2, 3, 4, 5, 6)]
# Type → a column of it, what it becomes in the contract ("": left out), and the reason that is printed.
ARROW: dict[str, tuple[pa.Array, str, str]] = {
    "null": (pa.nulls(ROWS), "", "empty in every row"),
    "bool": (some([True, False, False]), "boolean", "stored as booleans"),
    **{f"int{n}": (some(NUMBERS, getattr(pa, f"int{n}")()), "integer", "stored as numbers") for n in (8, 16, 32, 64)},
    **{f"uint{n}": (some(NUMBERS, getattr(pa, f"uint{n}")()), "integer", "stored as numbers") for n in (8, 16, 32, 64)},
    "float16": (some([np.float16(v) for v in (0.5, 1, 2)], pa.float16()), "number", "stored as numbers"),
    "float32": (some([0.5, 1.25, 2], pa.float32()), "number", "stored as numbers"),
    "float64": (some([0.5, 1.25, 2], pa.float64()), "number", "stored as numbers"),
    **{
        f"decimal{n}": (some([Decimal("1.5"), Decimal("2.25")], getattr(pa, f"decimal{n}")(5, 2)), "number", "decimals")
        for n in (32, 64, 128, 256)
    },
    "string": (some(WORDS), "string", "text"),
    "large_string": (some(WORDS, pa.large_string()), "string", "text"),
    "string_view": (some(WORDS, pa.string_view()), "string", "text"),
    "dictionary of text": (some(WORDS).dictionary_encode(), "string", "text"),
    "dictionary of numbers": (some(NUMBERS).dictionary_encode(), "integer", "numbers"),
    "dictionary of bytes": (some([b"a", b"b"]).dictionary_encode(), "", "bytes (binary): write text"),
    "binary": (some([b"a", b"b"]), "", "bytes (binary): write text"),
    "large_binary": (some([b"a", b"b"], pa.large_binary()), "", "bytes (large_binary): write text"),
    "fixed_size_binary": (some([b"ab", b"bc"], pa.binary(2)), "", "bytes (fixed_size_binary[2]): write text"),
    "binary_view": (some([b"a", b"b"], pa.binary_view()), "", "bytes (binary_view): write text"),
    "date32": (some(DAYS), "date", "stored as dates"),
    "date64": (some(DAYS, pa.date64()), "date", "stored as dates"),
    **{
        f"timestamp {unit}": (some(MOMENTS, pa.timestamp(unit)), "timestamp", "stored as times")
        for unit in ("s", "ms", "us", "ns")
    },
    "timestamp with a zone": (some(MOMENTS, pa.timestamp("us", "Europe/Berlin")), "timestamp", "stored as times"),
    "timestamp of days": (some(DAYS).cast(pa.timestamp("us")), "date", "stored as times"),
    "nanoseconds that fit no microsecond": (some([1, 1001], pa.timestamp("ns")), "timestamp", "stored as times"),
    "time32": (some([1000, 2000], pa.time32("ms")), "", "times of day (time32[ms]): write them as hours"),
    "time64 us": (some([1, 2], pa.time64("us")), "", "times of day (time64[us]): write them as hours"),
    "time64 ns": (some([1, 2001], pa.time64("ns")), "", "times of day (time64[ns]): write them as hours"),
    **{
        f"duration {unit}": (some([1, 2], pa.duration(unit)), "", f"durations (duration[{unit}]): write them as days")
        for unit in ("s", "ms", "us", "ns")
    },
    "list": (some([[1], [2, 3]]), "", "lists (list): write counts or text"),
    "large_list": (some([[1]], pa.large_list(pa.int64())), "", "lists (large_list): write counts or text"),
    "fixed_size_list": (some([[1]], pa.list_(pa.int64(), 1)), "", "lists (fixed_size_list): write counts or text"),
    "list of structs": (some([[{"a": 1}]]), "", "lists (list): write counts or text"),
    "struct": (some([{"a": 1}, {"a": 2}]), "", "records (struct): write a column per field"),
    "map": (some([[("a", 1)]], pa.map_(pa.string(), pa.int64())), "", "maps (map): write a column per key"),
    "uuid": (some([uuid.UUID(int=i).bytes for i in (1, 2)], pa.uuid()), "", "stored as arrow.uuid: write it as text"),
    "json": (some(['{"a": 1}', '{"a": 2}'], pa.json_()), "string", "text"),
    "bool8": (
        pa.ExtensionArray.from_storage(pa.bool8(), some([0, 1], pa.int8())),
        "",
        "stored as arrow.bool8: write it as text",
    ),
}
TIMES = pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="D"))
PANDAS: dict[str, tuple[pd.Series, str, str]] = {
    "bool": (pd.Series([True, False] * (ROWS // 2)), "boolean", "stored as booleans"),
    "boolean": (pd.Series([True, False, None] * (ROWS // 3), dtype="boolean"), "boolean", "stored as booleans"),
    "object of bool": (pd.Series([True, False, None] * (ROWS // 3), dtype=object), "boolean", "stored as booleans"),
    "Int8": (pd.Series([1, 2, None] * (ROWS // 3), dtype="Int8"), "integer", "stored as numbers"),
    "Int64": (pd.Series([1, 2, None] * (ROWS // 3), dtype="Int64"), "integer", "stored as numbers"),
    "UInt64": (pd.Series([1, 2, None] * (ROWS // 3), dtype="UInt64"), "integer", "stored as numbers"),
    "Float64": (pd.Series([1.5, 2, None] * (ROWS // 3), dtype="Float64"), "number", "stored as numbers"),
    "str": (pd.Series(["a", "b", None] * (ROWS // 3), dtype="str"), "string", "text"),
    "string": (pd.Series(["a", "b", None] * (ROWS // 3), dtype="string"), "string", "text"),
    "object of str": (pd.Series(["a", "b", None] * (ROWS // 3), dtype=object), "string", "text"),
    "category of text": (pd.Series(["a", "b", None] * (ROWS // 3), dtype="category"), "string", "text"),
    "category of numbers": (pd.Series([1, 2, 3] * (ROWS // 3), dtype="category"), "integer", "numbers"),
    "category of booleans": (pd.Series([True, False] * (ROWS // 2), dtype="category"), "boolean", ""),
    "datetime64": (TIMES, "date", "stored as times"),
    "datetime64 with a zone": (TIMES.dt.tz_localize("Asia/Tokyo"), "timestamp", "stored as times"),
    "timedelta64": (TIMES - TIMES[0], "", "durations (duration["),
    "period": (TIMES.dt.to_period("M"), "", "stored as pandas.period: write it as text"),
    "interval": (pd.Series(pd.interval_range(0, ROWS)), "", "stored as pandas.interval: write it as text"),
    "object of times": (pd.Series([dt.time(1, 2), dt.time(3, 4)] * (ROWS // 2)), "", "times of day (time64[us])"),
    "object of bytes": (pd.Series([b"a", b"b"] * (ROWS // 2)), "", "bytes (binary): write text"),
    "object of lists": (pd.Series([[1], [2]] * (ROWS // 2)), "", "lists (list): write counts or text"),
    "object of dicts": (pd.Series([{"a": 1}] * ROWS), "", "records (struct): write a column per field"),
    "object of decimals": (pd.Series([Decimal("1.5"), None] * (ROWS // 2)), "number", "decimals"),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """A file for each type."""
    folder = tmp_path_factory.mktemp("types")
    paths = {}
    for name, (values, *_) in ARROW.items():
        paths[f"arrow {name}"] = folder / f"arrow {name}.parquet"
        pq.write_table(pa.table({"odd": values}), paths[f"arrow {name}"])
    for name, (values, *_) in PANDAS.items():
        paths[f"pandas {name}"] = folder / f"pandas {name}.parquet"
        values.to_frame("odd").to_parquet(paths[f"pandas {name}"])
    return paths


EXPECTED = {f"arrow {n}": row[1:] for n, row in ARROW.items()} | {f"pandas {n}": row[1:] for n, row in PANDAS.items()}


@pytest.mark.parametrize("name", EXPECTED)
def test_each_type_becomes_what_the_table_says(written: dict[str, Path], name: str) -> None:
    kind, why = EXPECTED[name]
    (column,), _, _ = column_inference.infer_columns(readers.read_parquet(written[name]), None)
    assert (column.type, why in column.why) == (kind, True), column.why
    assert len(column.why) <= 48  # as much as the table that `ml init` prints has room for


@pytest.mark.slow
def test_one_table_of_all_types_goes_all_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    columns = {name: values for name, (values, *_) in ARROW.items()}
    target = pa.array([None if i % 40 == 7 else bool(b) for i, b in enumerate(rng.integers(0, 2, ROWS))])
    pq.write_table(pa.table(columns | {"x": rng.normal(size=ROWS), "y": target}), tmp_path / "t.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init, "SHOWN", 100)
    code, out, err = call(cli, ("init", str(tmp_path / "t.parquet"), "--target", "y"))
    assert code == 0, err
    obj = contracts.load(tmp_path / "contract.yaml").table
    assert {p.name: p.logicalType for p in obj.features} == {"x": "number"} | {
        name: kind for name, (_, kind, _) in ARROW.items() if kind
    }
    assert obj.target is not None and obj.target.logicalType == "boolean"
    for name, (_, kind, why) in ARROW.items():
        assert kind or any(line.startswith(name) and why in line for line in out.splitlines()), name
    with (tmp_path / "params.yaml").open("a", encoding="utf-8") as file:
        file.write("\nmodel: {max_iter: 5}\n")
    run, scored = tmp_path / "run", tmp_path / "scored.parquet"
    for step in (
        ("validate",),
        ("train", "--out", str(run)),
        ("predict", str(tmp_path / "t.parquet"), "--run", str(run), "--out", str(scored)),
    ):
        code, _, err = call(cli, step)
        assert code == 0, err
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["classes"] == [False, True]
    assert len(pd.read_parquet(scored)) == ROWS
