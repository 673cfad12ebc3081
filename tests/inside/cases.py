"""Tables as people send them, through the whole chain: init, validate, train, predict. Runs inside a project.

Each test makes its tables in code and stands for a kind. What the model gets is asserted, not only that nothing fails.
"""

from __future__ import annotations

import gzip
import importlib
import io
import json
import random
import sys
from datetime import date
from importlib.metadata import entry_points
from pathlib import Path

import pandas as pd
import pytest
from adversarial import call
from hypothesis import given
from hypothesis import strategies as st

PACKAGE = next(iter(entry_points(group="console_scripts", name="ml"))).value.partition(".")[0]
cli, contracts, data, params, records, streams, tables = (
    importlib.import_module(f"{PACKAGE}.pipeline.{name}")
    for name in ("cli", "contract", "data", "params", "records", "streams", "tables")
)
ROWS = 120


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty project."""
    monkeypatch.setattr(cli, "ROOT", tmp_path / "project")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    cli.ROOT.mkdir()
    return cli.ROOT


def rows(odd=lambda i: i % 7, n=ROWS):
    """Rows of a learnable table: x, odd, y."""
    rng = random.Random(7)
    xs = [round(rng.random(), 4) for _ in range(n)]
    return [[x, odd(i), int(x + rng.random() / 4 > 0.6)] for i, x in enumerate(xs)]


def frame_of(found, names=("x", "odd", "y")):
    return pd.DataFrame(found, columns=list(names))


def ml(*arguments, code=0):
    got, out, err = call(cli, tuple(map(str, arguments)))
    assert got == code, out + err
    assert "Traceback" not in err
    if code == 2:
        assert len(err.splitlines()) == 1, err
    return out if code == 0 else err


def init(table, *more):
    return ml("init", table, "--target", "y", *more)


def typed(root):
    """The table as the contract reads it."""
    contract, chosen = contracts.load(root / "contract.yaml"), params.load(root / "params.yaml")
    loaded = data.load(contract, chosen, root)
    assert not loaded.violations
    return loaded.table


def chain(root, table, *more):
    """Run the chain on a table; return the table as it was read, and the predictions."""
    init(table, *more)
    ml("validate")
    ml("train", "--out", root / "run")
    ml("predict", table, "--run", root / "run", "--out", root / "out.parquet")
    return typed(root), pd.read_parquet(root / "out.parquet")


# ---- folders, names and kinds of files -----------------------------------------------------------------------------


def spark(folder: Path, frame: pd.DataFrame, kind: str, parts: int = 3) -> Path:
    """Write what Spark writes: parts, markers, checksums, an empty part."""
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").write_bytes(b"crc\0")
    for number in range(parts):
        path = folder / f"part-{number:05}-0a1b-c000.{'snappy.parquet' if kind == 'parquet' else kind}"
        part = frame.iloc[number::parts]
        part.to_parquet(path, index=False) if kind == "parquet" else part.to_csv(path, index=False)
        path.with_name(f".{path.name}.crc").write_bytes(b"crc\0\0\0\1")
    if kind != "parquet":
        (folder / f"part-{parts:05}-0a1b-c000.{kind}").touch()
    return folder


@pytest.mark.parametrize(("name", "kind"), [("x.parquet", "parquet"), ("x.csv", "csv"), ("x", "csv.gz")])
def test_a_folder_is_scored_as_it_is_learnt_from(root, tmp_path, name, kind):
    frame = frame_of(rows())
    read, scored = chain(root, spark(tmp_path / name, frame, kind))
    assert sorted(read["x"]) == sorted(frame["x"])
    assert len(scored) == ROWS
    ml("drift", tmp_path / name, "--run", root / "run", "--out", root / "drift")


def test_parts_may_have_their_columns_in_another_order(root, tmp_path):
    frame = frame_of(rows(lambda i: i % 7 + 100))
    (tmp_path / "t").mkdir()
    frame[:60].to_csv(tmp_path / "t" / "1.csv", index=False)
    frame[60:][["y", "odd", "x"]].to_csv(tmp_path / "t" / "2.csv", index=False)
    read, scored = chain(root, tmp_path / "t")
    assert list(read["x"]) == list(frame["x"])
    assert len(scored) == ROWS
    frame.drop(columns="odd").to_csv(tmp_path / "t" / "3.csv", index=False)
    assert "3.csv: lacks the column 'odd', which the first file has" in ml(
        "init", tmp_path / "t", "--target", "y", "--force", code=2
    )


def test_kinds_are_known_by_name_whatever_the_case_of_its_letters(root, tmp_path):
    frame = frame_of(rows())
    frame.to_parquet(tmp_path / "X.PARQUET", index=False)
    chain(root, tmp_path / "X.PARQUET")
    frame.to_csv(tmp_path / "P.CSV", index=False)
    (tmp_path / "P.CSV.GZ").write_bytes(gzip.compress((tmp_path / "P.CSV").read_bytes()))
    for table in ("P.CSV", "P.CSV.GZ"):
        ml("init", tmp_path / table, "--target", "y", "--force")
        ml("validate", tmp_path / table)
    expected = pd.read_parquet(root / "out.parquet")
    for name in ("p.CSV", "p.csv.gz", "p.tsv", "p.PARQUET", "p.pq", "p.TSV.GZ"):
        ml("predict", tmp_path / "P.CSV.GZ", "--run", root / "run", "--out", root / name)
        if "SV" in name.upper():
            assert (root / name).read_bytes().startswith(b"\x1f\x8b") is name.lower().endswith("gz")
            found = pd.read_csv(root / name, sep="," if "CSV" in name.upper() else "\t")
        else:
            found = pd.read_parquet(root / name)
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    said = ml("predict", tmp_path / "P.CSV", "--run", root / "run", "--out", root / "p.xlsx", code=2)
    assert "p.xlsx: end the name in .parquet, .csv, .csv.gz or .tsv" in said
    assert not (root / "p.xlsx").exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t/a.csv", b"x,odd,y\n1,2,0\n", "holds files of two kinds, b.parquet is Parquet and a.csv is text"),
        ("t.xlsx", b"PK\x03\x04rest of a zip", "is a zip archive or an Excel workbook"),
        ("t.csv", b"PAR1 and so on", "is a Parquet file by its content; name it t.parquet"),
        ("t/month=2/a.csv", b"x,odd,y\n1,2,0\n", "is divided into folders such as month=2"),
    ],
)
def test_what_is_no_table_is_named_as_what_it_is(root, tmp_path, name, content, says):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if path.parent.name == "t":
        frame_of(rows()).to_parquet(path.parent / "b.parquet", index=False)
    table = tmp_path / "t" if name.startswith("t/") else path
    assert says in ml("init", table, "--target", "y", code=2)
    assert list(root.iterdir()) == []


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{:064}\nsize 12345\n"


@pytest.mark.parametrize("name", ["größe der häuser.csv", "表.parquet", "t.csv.gz", "t"])
def test_a_pointer_of_git_lfs_is_named_with_the_command_that_fetches(root, tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    table = spark(folder / "t", frame_of(rows()), "csv") if name == "t" else folder / name
    if name.endswith("parquet"):
        frame_of(rows()).to_parquet(table, index=False)
    elif name != "t":
        frame_of(rows()).to_csv(table, index=False)
    init(table)
    ml("validate")
    ml("train", "--out", root / "run")
    place = next(iter(contracts.load(root / "contract.yaml").raw)).physicalName
    for path in (table, root / place):
        (path / "part-00001-0a1b-c000.csv" if path.is_dir() else path).write_text(POINTER.format(1), encoding="utf-8")
    commands = [
        ("init", table, "--target", "y", "--force"),
        ("validate",),
        ("validate", table),
        ("train", "--out", root / "again"),
        ("predict", table, "--run", root / "run", "--out", root / "out.csv"),
        ("drift", table, "--run", root / "run", "--out", root / "drift"),
        ("explore", "--out", root / "page.html"),
    ]
    for command in commands:
        assert "git lfs pull" in ml(*command, code=2)
    assert not (root / "again").exists()
    assert not (root / "out.csv").exists()


def test_forty_unique_columns_need_no_thousand_files(tmp_path, monkeypatch):
    made, real = [], streams.tempfile.TemporaryFile
    monkeypatch.setattr(streams.tempfile, "TemporaryFile", lambda: made.append(1) or real())
    names = [f"k{i}" for i in range(40)]
    columns = [{"name": name, "logicalType": "integer", "unique": True} for name in names]
    document = {
        **{"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "draft"},
        "schema": [
            {
                "name": "t",
                "properties": [
                    *columns,
                    {
                        "name": "y",
                        "logicalType": "integer",
                        "customProperties": [{"property": "role", "value": "target"}],
                    },
                ],
            }
        ],
    }
    obj = contracts.parse(document).table
    frame = pd.DataFrame({name: range(500) for name in names}).assign(k7=[*range(499), 3], y=0)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    found, _ = streams.check(tmp_path / "t.parquet", obj)
    assert [(v.column, v.rule, v.rows) for v in found] == [("k7", "unique", (4, 500))]
    assert len(made) == 1


# ---- where output goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", ["cp1252", ""], ids=["chosen by a variable", "of the system"])
def test_no_letter_ends_a_command_whose_output_is_in_a_code_page(root, tmp_path, monkeypatch, chosen):
    monkeypatch.setenv("PYTHONIOENCODING", chosen)
    names = ["Größe 🎈", "город", "y"]
    frame = frame_of(rows(lambda i: ("Ωmega", "Ελλάδα", "日本")[i % 3]), names)
    frame.to_csv(tmp_path / "πίνακας.csv", index=False)
    run = root / "run"
    commands = [
        ("init", tmp_path / "πίνακας.csv", "--target", "y"),
        ("validate",),
        ("train", "--out", run),
        ("card", "--run", run),
        ("compare", run, run, "--out", root / "review"),
        ("drift", tmp_path / "πίνακας.csv", "--run", run, "--out", root / "drift"),
        ("predict", tmp_path / "πίνακας.csv", "--run", run, "--out", root / "προβλέψεις.csv"),
        ("explore", "--out", root / "σελίδα.html"),
        ("audit", run),
        ("releases", root, "--out", root / "site.html"),
        ("predict", "日本.csv", "--run", run, "--out", root / "out.csv"),
        ("init", tmp_path / "πίνακας.csv", "--target", "χ", "--force"),
    ]
    for command in commands:
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="cp1252") for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            patch.setattr(sys, "argv", ["ml", *map(str, command)])
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        said = [stream.buffer.getvalue() for stream in streams if stream.flush() is None]
        expected = 2 if {"日本.csv", "χ"} & set(command) else int(command[0] == "audit")
        assert stopped.value.code == expected, said
        assert "Traceback" not in said[1].decode("utf-8", "replace")
        if command[0] == "init" and not expected:
            assert ("?", "🎈")[not chosen] in said[0].decode(chosen or "utf-8")


# ---- dates ---------------------------------------------------------------------------------------------------------


def one_column(**property_):
    """The contract of a table with one column ``d`` and the target."""
    target = {"name": "y", "logicalType": "integer", "customProperties": [{"property": "role", "value": "target"}]}
    top = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1.0.0", "status": "draft"}
    return contracts.parse({**top, "schema": [{"name": "t", "properties": [{"name": "d", **property_}, target]}]}).table


def of_two_digits(latest):
    return one_column(
        logicalType="date",
        logicalTypeOptions={"format": "dd.MM.yy"},
        customProperties=[{"property": "latestYear", "value": latest}],
    )


def asked(obj, text):
    """What a request with this ``d`` gives to the model."""
    door = records.Door(obj)
    return door.cells(door.read(json.dumps({"d": text}).encode()))[0][0]


@given(day=st.dates(date(1900, 1, 1), date(2099, 12, 31)), ahead=st.integers(0, 99))
def test_two_digits_of_a_year_are_read_in_the_hundred_years_of_the_contract(day, ahead):
    obj = of_two_digits(day.year + ahead)
    times, bad = tables.to_type(pd.Series([f"{day:%d.%m.%y}", None]), obj.column("d"))
    assert [times[0].date(), pd.isna(times[1])] == [day, True]
    assert not bad.any()
    assert asked(obj, f"{day:%d.%m.%y}").date() == day


def test_a_leap_day_that_its_century_lacks_is_refused_by_both_doors():
    obj = of_two_digits(1950)  # so 00 is 1900, which had no 29 February
    assert tables.to_type(pd.Series(["29.02.00"]), obj.column("d"))[1].all()
    with pytest.raises(records.Refusal) as refused:
        asked(obj, "29.02.00")
    assert "must be a date" in refused.value.problems[0]["message"]


@pytest.mark.parametrize("year", ["2026", 26, True])
def test_a_latest_year_that_is_none_is_refused(year):
    with pytest.raises(contracts.InputError, match="latestYear"):
        of_two_digits(year)
