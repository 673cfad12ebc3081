"""Tables as people send them, through the whole chain: init, validate, train, predict.

Each test makes its tables in code and stands for a kind. What the model gets is asserted, not only that nothing fails.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import yaml
from adversarial import call
from hypothesis import given
from hypothesis import strategies as st
from mlcicd import cli
from mlcicd.compute import places
from mlcicd.contract import document as contracts
from mlcicd.core import errors, params, yaml_edit
from mlcicd.data import load, numerals, readers
from mlcicd.partitions import validation as streams
from mlcicd.rendering import blocks
from mlcicd.validation import request_validation

# No test may depend on how busy the machine is.
ROWS = 120
DAYS = [date(1994, 3, 3) + timedelta(days=97 * i) for i in range(ROWS)]  # to January 2026


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
    loaded = load.load(contract, chosen, root)
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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), [("x.parquet", "parquet"), ("x.csv", "csv"), ("x", "csv.gz")])
def test_a_folder_is_scored_as_it_is_learnt_from(root, tmp_path, name, kind):
    frame = frame_of(rows())
    read, scored = chain(root, spark(tmp_path / name, frame, kind))
    assert sorted(read["x"]) == sorted(frame["x"])
    assert len(scored) == ROWS
    ml("drift", tmp_path / name, "--run", root / "run", "--out", root / "drift")


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t/a.csv", b"x,odd,y\n1,2,0\n", "holds files of two kinds, b.parquet is Parquet and a.csv is text"),
        ("t.xlsx", b"PK\x03\x04rest of a zip", "is a zip archive or an Excel workbook"),
        ("t.csv", b"PAR1 and so on", "is a Parquet file by its content; name it t.parquet"),
        ("t/month=2/a.csv", b"x,odd,y\n1,2,0\n", "is partitioned into folders such as month=2"),
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


@pytest.mark.slow
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
    found, _ = streams.check(tmp_path / "t.parquet", obj, partial(places.opened, None, print))
    assert [(v.column, v.rule, v.rows) for v in found] == [("k7", "unique", (4, 500))]
    assert len(made) == 1


# ---- where output goes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "printed"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, b"? ?"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "🎈 Ω".encode()),
    ],
)
def test_a_pipe_gets_utf_8_unless_somebody_chose_another_encoding(variables, printed):
    script = "from mlcicd.rendering import console; console.open_streams(); print('\\U0001f388 \\u03a9')"
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONIO", "PYTHONUTF", "LC_"))}
    done = subprocess.run([sys.executable, "-c", script], env=plain | variables, capture_output=True)
    assert (done.returncode, done.stdout.split(b"\n")[0]) == (0, printed), done.stderr


@pytest.mark.slow
def test_no_letter_ends_a_command_whose_output_is_in_a_code_page(root, tmp_path, monkeypatch):
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
            assert "Größe ?" in said[0].decode("cp1252")


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
    validator = request_validation.RequestValidator(obj)
    return validator.cells(validator.read(json.dumps({"d": text}).encode()))[0][0]


@given(day=st.dates(date(1900, 1, 1), date(2099, 12, 31)), ahead=st.integers(0, 99))
def test_two_digits_of_a_year_are_read_in_the_hundred_years_of_the_contract(day, ahead):
    obj = of_two_digits(day.year + ahead)
    times, bad = readers.convert(pd.Series([f"{day:%d.%m.%y}", None]), obj.column("d"))
    assert [times[0].date(), pd.isna(times[1])] == [day, True]
    assert not bad.any()
    assert asked(obj, f"{day:%d.%m.%y}").date() == day


def test_a_leap_day_that_its_century_lacks_is_refused_by_both_doors():
    obj = of_two_digits(1950)  # so 00 is 1900, which had no 29 February
    assert readers.convert(pd.Series(["29.02.00"]), obj.column("d"))[1].all()
    with pytest.raises(request_validation.RequestError) as refused:
        asked(obj, "29.02.00")
    assert "must be a date" in refused.value.problems[0]["message"]


@pytest.mark.parametrize("year", ["2026", 26, True])
def test_a_latest_year_that_is_none_is_refused(year):
    with pytest.raises(contracts.InputError, match="latestYear"):
        of_two_digits(year)


# ---- numbers as people write them ----------------------------------------------------------------------------------

MINUSES = st.sampled_from(["-", "\u2212", "\u2013", "\uff0d"])
SIGNS = st.sampled_from([("{}{}", 1), ("{} {}", 1), ("({1})", 0), ("( {1} )", 0), ("{1}{0}", 1)])
SEPARATORS = {
    " ": [" ", "\u00a0", "\u2009", "\u202f", "\u2007"],
    "'": ["'", "\u2019"],
    ",": [","],
    ".": ["."],
    None: [""],
}


@st.composite
def numbers_as_written(draw):
    """A number, how somebody writes it, and what the contract says about it."""
    decimal, thousands = draw(st.sampled_from(numerals.STYLES))
    value = draw(st.decimals(-(10**9), 10**9, places=draw(st.integers(0, 3)), allow_nan=False))
    grouped, _, places = f"{abs(value):,f}".partition(".")
    mark = draw(st.sampled_from(SEPARATORS[thousands]))
    text = grouped.replace(",", mark) + (decimal + places if places else "")
    if value < 0:
        text = draw(SIGNS)[0].format(draw(MINUSES), text)
    return float(value), draw(st.sampled_from(["{}", " {}", "{} "])).format(text), decimal, thousands


@given(numbers_as_written())
def test_a_number_is_what_its_writer_meant(case):
    value, text, decimal, thousands = case
    found = numerals.normalize(pd.Series([text, None, "about 7"], dtype="str"), decimal, thousands)
    assert float(found[0]) == value
    assert found[1:].isna().tolist() == [True, False]


@given(
    st.from_regex(r"[0-9]{1,4}([.,' ][0-9]{1,4}){0,3}", fullmatch=True),
    st.sampled_from(numerals.STYLES),
)
def test_what_is_not_written_as_the_contract_says_is_no_number(text, style):
    decimal, thousands = style
    found = pd.to_numeric(numerals.normalize(pd.Series([text], dtype="str"), *style), errors="coerce")[0]
    whole, *places = text.split(decimal)
    groups = whole.split(thousands) if thousands else [whole]
    grouped = len(groups) == 1 or (all(len(g) == 3 for g in groups[1:]) and 0 < len(groups[0]) <= 3)
    plain = all(g.isdigit() for g in groups) and len(places) < 2 and all(p.isdigit() for p in places)
    indian = thousands == "," and len(groups) > 2 and len(groups[-1]) == 3 and all(len(g) <= 2 for g in groups[:-1])
    starts = len(groups) == 1 or not groups[0].startswith("0")
    if plain and grouped and starts:
        assert found == float("".join(groups) + "." + (places[0] if places else "0"))
    elif not indian:
        assert pd.isna(found)


def comma(value, places=2):
    return f"{value:,.{places}f}".translate({44: ".", 46: ","})


WRITTEN = {
    "no-break blanks in Windows-1252": ("cp1252", ";", lambda v: f"{v:,.2f}".translate({44: "\u00a0", 46: ","})),
    "narrow no-break blanks": ("utf-8", ";", lambda v: f"{v:,.2f}".translate({44: "\u202f", 46: ","})),
    "thin blanks and points": ("utf-8", "\t", lambda v: f"{v:,.2f}".replace(",", "\u2009")),
    "a true minus": ("utf-8", ",", lambda v: f"{v:.2f}".replace("-", "\u2212")),
    "a true minus and points in threes": (
        "utf-16",
        ";",
        lambda v: f"{v:,.2f}".translate({44: ".", 46: ",", 45: "\u2212"}),
    ),
    "brackets of accountants": ("utf-8", ",", lambda v: f'"({-v:,.2f})"' if v < 0 else f'"{v:,.2f}"'),
    "brackets and decimal commas": ("utf-8", ";", lambda v: (f"({-v:.2f})" if v < 0 else f"{v:.2f}").replace(".", ",")),
    "a minus at the end": ("utf-8", "|", lambda v: f"{abs(v):.2f}{'-' * (v < 0)}"),
    "apostrophes of Switzerland": ("utf-8", ";", lambda v: f"{v:,.2f}".replace(",", "\u2019")),
    "lakhs and crores": ("utf-8", ",", lambda v: f'"{lakhs(v)}"'),
}


def lakhs(value: float) -> str:
    whole, _, places = f"{abs(value):.2f}".partition(".")
    head, tail = whole[:-3], whole[-3:]
    pairs = [head[max(0, i - 2) : i] for i in range(len(head), 0, -2)][::-1]
    return "-" * (value < 0) + ",".join([*pairs, tail]) + "." + places


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITTEN)
def test_numbers_as_people_write_them_are_read_by_every_command(root, tmp_path, name):
    encoding, delimiter, write = WRITTEN[name]
    amounts = [round((-1) ** i * 1.37 ** (i % 40) * 7, 2) for i in range(ROWS)]
    lines = [[str(i % 9), write(amount), str(y)] for i, (_, amount, y) in enumerate(rows(lambda i: amounts[i]))]
    lines = [delimiter.join(line) for line in [["x", "odd", "y"], *lines]]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
    init(tmp_path / "t.csv")
    assert typed(root)["odd"].tolist() == amounts
    obj = contracts.load(root / "contract.yaml").table
    (chunk,) = readers.read_chunks(tmp_path / "t.csv", obj)
    assert readers.coerce_dtypes(chunk, obj, "t")[0]["odd"].tolist() == amounts


@pytest.mark.slow
def test_one_column_may_be_written_otherwise_than_the_others(root, tmp_path):
    lines = ["amount;lat;price;y", *(f"{comma(i * 999.5)};48.{i:02};{comma(i / 7)};{i % 2}" for i in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "decimal ',', thousands '.'" in init(tmp_path / "t.csv")
    found = typed(root)
    assert found["lat"].tolist() == [float(f"48.{i:02}") for i in range(ROWS)]
    assert found["amount"].tolist() == [i * 999.5 for i in range(ROWS)]
    # What a comma would change is refused later on, not read as another number.
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([lines[0], "3.14;48,01;1,5;0", *lines[2:]]), encoding="utf-8")
    code, _, err = call(cli, ("validate", str(bad)))
    assert code == 1
    assert all(name in err for name in ("'amount'", "'lat'")) or err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("delimiter", "value", "option", "first", "second"),
    [(";", "{},{:03}", ".", 1.001, 1001), (";", "{}.{:03}", ",", 1.001, 1001), (",", '"{},{:03}"', ",", 1001, 1.001)],
)
def test_a_mark_that_may_mean_either_is_said_and_can_be_decided(
    root, tmp_path, delimiter, value, option, first, second
):
    lines = [f"x{delimiter}y", *(f"{value.format(i % 9 + 1, i + 1)}{delimiter}{i % 2}" for i in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    said = init(tmp_path / "t.csv")
    assert f"if it is otherwise, --decimal '{option}'" in said
    assert typed(root)["x"][0] == first
    assert "unsure: 1" not in init(tmp_path / "t.csv", "--decimal", option, "--force")
    assert typed(root)["x"][0] == second


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda i: f"{i}.5 €", "numbers with a sign or a unit, such as '0.5 €' (row 1)"),
        (lambda i: f"{i} %", "numbers with a sign or a unit, such as '0 %' (row 1)"),
        (lambda i: f"({i}.50 €)" if i % 3 else f"-${i}", "numbers with a sign or a unit, such as '-$0' (row 1)"),
        (lambda i: "2024-02-30" if i == 7 else DAYS[i], "dates, but '2024-02-30' (row 8) is not"),
        (lambda i: "unclear" if i == 7 else DAYS[i], "dates, but 'unclear' (row 8) is not"),
        (lambda i: f"{DAYS[i]:%d.%m.%Y}" if i % 2 else DAYS[i], "dates in more than one format"),
        (lambda i: f"EUR {i}.50", "numbers with a sign or a unit, such as 'EUR 0.50' (row 1)"),
        (lambda i: f"{i} kg", "numbers with a sign or a unit, such as '0 kg' (row 1)"),
        (lambda i: "<5" if i == 7 else i, "are numbers, but '<5' (row 8) is not"),
        (lambda i: f"{i % 28 + 1:02}.01.20{i % 20:02}", ""),
        (lambda i: f"192.168.{i}.7", ""),
        (lambda i: f"{i}-{i + 5}", ""),
        (lambda i: f"10:{i % 60:02}", ""),
    ],
)
@pytest.mark.usefixtures("root")
def test_what_stays_text_has_a_true_reason(tmp_path, write, says):
    frame_of(rows(write)).to_csv(tmp_path / "t.csv", index=False)
    said = init(tmp_path / "t.csv")
    assert says in said
    assert says or not any(w in said for w in ("with a sign", "numbers, but", "more than one format"))


# ---- delimiters, quotes, encodings ---------------------------------------------------------------------------------


def texts(i):
    return (f"Miller, {'ABC'[i % 3]}; Sons", 'says "no", \\ twice', f"C:\\new\\{i}", "a|b\tc", "it's")[i % 5]


DIALECTS = {
    "semicolons, commas in the header": ("utf-8", {"delimiter": ";"}, ["Preis, EUR", "Text, frei", "y"], ""),
    "a line for Excel": ("utf-8-sig", {"delimiter": ";"}, ["x", "odd", "y"], "sep=;\r\n"),
    "a line for Excel with a tab": ("utf-16", {"delimiter": "\t"}, ["x", "odd", "y"], "sep=\t\r\n"),
    "escapes with a backslash": ("utf-8", {"escapechar": "\\", "doublequote": False}, ["x", "odd", "y"], ""),
    "single quotes": ("utf-8", {"quotechar": "'"}, ["x", "odd", "y"], ""),
    "carets": ("utf-8", {"delimiter": "^"}, ["x", "odd", "y"], ""),
    "Hive's control letters": ("utf-8", {"delimiter": "\x01"}, ["x", "odd", "y"], ""),
    "all quoted, old Mac line ends": (
        "cp1252",
        {"quoting": csv.QUOTE_ALL, "lineterminator": "\r"},
        ["x", "ödd", "y"],
        "",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_is_found_and_read_by_every_command(root, tmp_path, name):
    encoding, options, names, first = DIALECTS[name]
    table = rows(texts)
    with (tmp_path / "t.csv").open("w", encoding=encoding, newline="") as file:
        file.write(first)
        csv.writer(file, **{"lineterminator": "\n", **options}).writerows([names, *table])
    read, scored = chain(root, tmp_path / "t.csv")
    assert read.columns.tolist() == names
    assert read.to_numpy().tolist() == table
    assert len(scored) == ROWS


@pytest.mark.slow
def test_a_backslash_before_a_quote_is_no_escape_where_rows_come_out_without(root, tmp_path):
    lines = ["dir,x,y", *(f'"C:\\d{i % 5}\\",{i},{i % 2}' for i in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    init(tmp_path / "t.csv")
    assert typed(root)["dir"][3] == "C:\\d3\\"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (
            "Report of May\n\nx;odd;y\n" + "1;2;0\n" * 50,
            [],
            "the column names seem to be in line 2, after 'Report of May'",
        ),
        (
            "x::odd::y\n" + "1::2::0\n" * 50,
            ["--delimiter", "::"],
            ": give one character or one of bar,",
        ),
        ("x,y\n" + "1,0\n" * 50, ["--decimal", "x"], "--decimal 'x': '.' or ','"),
        ("x,y\n" + "1,0\n" * 50, ["--encoding", "utf-9"], "--encoding 'utf-9': Python knows no such encoding"),
        ("x,y\n" + "1,0\n" * 50, ["--encoding", "hex"], "--encoding 'hex': Python knows no such encoding"),
        ("x,y\n" + "ü,0\n" * 50, ["--encoding", "ascii"], "is not in the encoding"),
        ("x,y\n" + "1,0\n" * 50, ["--delimiter", "tab"], "read with the delimiter '\\t'; --delimiter names another"),
    ],
)
def test_what_cannot_be_read_says_why_and_what_to_do(root, tmp_path, text, options, says):
    (tmp_path / "t.csv").write_text(text, encoding="cp1252" if "ascii" in options else "utf-8")
    assert says in ml("init", tmp_path / "t.csv", "--target", "y", *options, code=2)
    assert list(root.iterdir()) == []


@pytest.mark.slow
def test_what_is_said_by_hand_is_kept_for_every_command(root, tmp_path):
    # By commas these are three columns as well.
    lines = ["x,a y,z", *(f"{i},{i * 3 % 11} {i % 2},{i % 7}" for i in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="cp1252")
    ml("init", tmp_path / "t.csv", "--target", "y,z", "--delimiter", "space", "--decimal", ",", "--encoding", "cp1252")
    ml("validate", tmp_path / "t.csv")
    assert typed(root)["x,a"].tolist() == [float(f"{i}.{i * 3 % 11}") for i in range(ROWS)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "words", "doubtful"),
    [
        ("cp1252", ["Orléans", "Nîmes", "Besançon", "Zürich", "Ærø"], False),
        ("cp1252", ["5 €", "20 °C", "m²", "l’été", "«oui»", "¿Qué?"], False),
        ("cp1251", ["Москва", "Казань", "Пермь"], True),
        ("koi8-r", ["Москва", "Казань", "Пермь"], True),
        ("cp1253", ["Αθήνα", "Πάτρα", "Λάρισα"], True),
        ("cp1250", ["Łódź", "Kraków", "Wrocław", "Świdnica"], True),
        ("mac-roman", ["Orléans", "Nîmes", "Besançon"], True),
        ("cp850", ["Orléans", "Zürich", "Besançon"], True),
        ("shift_jis", ["東京", "大阪", "かな"], True),
        ("gb18030", ["北京", "上海", "广州"], True),
    ],
)
def test_a_code_page_is_read_as_it_was_meant_or_doubted(root, tmp_path, encoding, words, doubtful):
    frame = frame_of(rows(lambda i: words[i % len(words)]))
    frame.to_csv(tmp_path / "t.csv", index=False, encoding=encoding)
    said = init(tmp_path / "t.csv")
    assert typed(root)["odd"].tolist() == frame["odd"].tolist()
    assert ("unsure: the file is not UTF-8" in said) is doubtful


@pytest.mark.slow
def test_a_last_byte_may_be_a_letter_with_a_mark(root, tmp_path):
    lines = ["x,y,note", *(f"{i},{i % 2},word {i % 3}" for i in range(ROWS - 1)), "7,1,café"]
    (tmp_path / "t.csv").write_bytes("\n".join(lines).encode("cp1252"))
    init(tmp_path / "t.csv")
    assert typed(root)["note"].iloc[-1] == "café"


@pytest.mark.slow
def test_commas_in_names_and_numbers_are_no_delimiter(root, tmp_path):
    lines = ["Preis, EUR;Note, 1-6", *(f"{i},{i % 10};{i % 6},{i * 7 % 10}" for i in range(ROWS))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "delimiter ';', decimal ','" in ml("init", tmp_path / "t.csv", "--target", "Note, 1-6")
    assert typed(root)["Preis, EUR"].tolist() == [float(f"{i}.{i % 10}") for i in range(ROWS)]


# ---- dates as people write them ------------------------------------------------------------------------------------

DATES = {
    "unpadded ISO": lambda d: f"{d.year}-{d.month}-{d.day}",
    "unpadded, with slashes": lambda d: f"{d.year}/{d.month}/{d.day}",
    "of Germany": lambda d: f"{d:%d.%m.%Y}",
    "of Germany, unpadded": lambda d: f"{d.day}.{d.month}.{d.year}",
    "of Germany, two digits": lambda d: f"{d:%d.%m.%y}",
    "of America, two digits, unpadded": lambda d: f"{d.month}/{d.day}/{d:%y}",
    "of Oracle": lambda d: f"{d:%d-%b-%y}".upper(),
    "in words": lambda d: f"{d:%B} {d.day}, {d.year}",
    "in words, day first": lambda d: f"{d.day} {d:%B} {d.year}",
    "in eight digits": lambda d: f"{d:%Y%m%d}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DATES)
@pytest.mark.parametrize("zero", [False, True], ids=["", "zeros"])
def test_dates_as_people_write_them_are_read_by_every_door(root, tmp_path, name, zero):
    write = DATES[name]
    gap = "00.00.0000" if "Germany" in name else "00/00/0000" if "slashes" in name else "0000-00-00"
    frame = frame_of(rows(lambda i: gap if zero and i % 9 == 0 else write(DAYS[i])), ["x", "date", "y"])
    frame.to_csv(tmp_path / "t.csv", index=False)
    said = init(tmp_path / "t.csv")
    assert not any(words in said for words in ("more than one format", "with a sign", "is not: kept"))
    found = typed(root)["date"]
    expected = [None if zero and i % 9 == 0 else day for i, day in enumerate(DAYS)]
    assert [None if pd.isna(t) else t.date() for t in found] == expected
    prop = contracts.load(root / "contract.yaml").table.column("date")
    assert prop.logicalType == "date"


# ---- params.yaml, edited by the monitor ----------------------------------------------------------------------------

TRICKY = st.one_of(
    st.text(st.characters(exclude_categories=["C"]), min_size=1).map(str.strip).filter(bool),
    st.sampled_from(
        ["\\g<1>", "C:\\new\\1", "a, b]", "{x: 1}", "# no comment", "1998-03-31", "'", "yes: no", "~", "- a"]
    ),
    st.integers(),
    st.dates().map(str),
)


@given(value=TRICKY, old=TRICKY, flow=st.booleans())
def test_a_value_is_moved_whatever_it_holds_and_nothing_else_is(value, old, flow):
    old = json.dumps(old)
    head, tail = ("prepare: {a: 1, ", "} # b\n") if flow else ("prepare:\n  # as_of: 0\n  ", " # a\n  x: [1,  2]\n")
    text = f"seed: 7 # s\n\n{head}as_of: {old}{tail}model: {{as_of: 1}}\n"
    moved = yaml_edit.with_values(text, "prepare", {"as_of": value})
    start, end = text.index(old, len("seed: 7 # s\n\n") + len(head)), len(tail) + len("model: {as_of: 1}\n")
    assert (moved[:start], moved[-end:]) == (text[:start], text[-end:])
    assert str(yaml.safe_load(moved)["prepare"]["as_of"]) == str(value)
    assert yaml.safe_load(moved)["model"] == {"as_of": 1}


# ---- true reasons --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("root")
def test_few_groups_are_named_as_few_groups(tmp_path):
    frame_of(rows(lambda i: "ABC"[i % 3]), ["x", "team", "y"]).to_csv(tmp_path / "t.csv", index=False)
    said = ml("init", tmp_path / "t.csv", "--target", "y", "--group", "team", code=2)
    assert "the group column 'team': its 3 groups are too few" in said
    assert "rows" not in said


@pytest.mark.parametrize(
    ("value", "signed", "shown"),
    [
        (2.5e-13, False, "2.50e-13"),
        (-2.5e-13, True, "−2.50e-13"),
        (1e-17, True, "0.000"),  # what adding rates leaves
        (0.0, False, "0.000"),
        (0.00006, False, "0.0001"),
    ],
)
def test_small_numbers_are_not_shown_as_zero(value, signed, shown):
    assert blocks.number(value, signed) == shown


@pytest.mark.parametrize("value", ["null", '""', '" "'])
def test_a_missing_value_is_said_once(value):
    obj = one_column(logicalType="string", required=True)
    with pytest.raises(errors.RequestError) as refused:
        request_validation.RequestValidator(obj).read(f'{{"records": [{{"d": {value}}}]}}'.encode())
    assert [p["message"] for p in refused.value.problems] == ["records[0].d must not be empty"]
