"""Tables that nobody would call clean, written with the standard library alone.

Each is a function that writes one table into a folder; ``TABLES`` says how `ml init` is called on it, and either that
it
works or what the one line says. Run in a project's environment, this file tries them all and prints what happened.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROWS = 120


@dataclass(frozen=True)
class Table:
    """How one table is tried: its writer, what `ml init` is told, and what must come of it."""

    write: Callable[[Path], Path]
    arguments: tuple[str, ...] = ("--target", "y")
    says: str = ""  # what the one line says; empty: it works
    types: dict[str, str] = field(default_factory=dict)  # of some columns in the contract; "" is left out
    shows: str = ""  # what is printed when it works
    trains: bool = False  # with the command, not only in principle


TABLES: dict[str, Table] = {}


def table(*arguments: str, says: str = "", shows: str = "", trains: bool = False, **types: str):
    """Register a writer. It returns rows of text for a plain CSV, or the path of what it wrote itself."""

    def register(function: Callable[[Path], Iterable[list[object]] | Path]) -> Callable[[Path], Path]:
        def write(folder: Path) -> Path:
            made = function(folder)
            return made if isinstance(made, Path) else write_csv(folder / "table.csv", made)

        name = function.__name__.replace("_", " ")
        TABLES[name] = Table(write, arguments or ("--target", "y"), says, types, shows, trains)
        return write

    return register


def write_csv(path: Path, rows: Iterable[list[object]], encoding: str = "utf-8", **options: str) -> Path:
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, **{"lineterminator": "\n", **options}).writerows(rows)
    return path


def with_column(name: str, values: Callable[[int], object], target: Callable[[int], object] | None = None):
    """A learnable table: a number, one odd column, and a target that depends on the number."""
    rng = random.Random(7)
    yield ["x", name, "y"]
    for i in range(ROWS):
        x = rng.random()
        yield [f"{x:.4f}", values(i), target(i) if target else ("no", "yes")[x + rng.random() / 4 > 0.6]]


@table(says="is empty")
def empty(folder: Path) -> Path:
    (folder / "table.csv").write_bytes(b"")
    return folder / "table.csv"


@table(says="has 0 rows")
def header_only(_: Path):
    return [["x", "y"]]


@table(says="has 1 rows; at least 20")
def one_row(_: Path):
    return [["x", "y"], [1, 2]]


@table(says="has one column, 'y'")
def one_column(_: Path):
    return [["y"], *([i] for i in range(ROWS))]


@table(says="'x' is used twice (columns 1 and 3)")
def duplicate_names(_: Path):
    return [["x", "y", "x"], *([i, i % 2, i] for i in range(ROWS))]


@table(shows="Unnamed: 1", x="number")
def blank_names(_: Path):
    return with_column("", lambda i: i % 7)


@table(shows="has no name and counts the rows: left out", **{"Unnamed: 1": ""})
def an_index_without_name(_: Path):
    return with_column("", lambda i: i)


@table("--target", "class")
def names_that_python_keeps(_: Path):
    names = ["def", "import", "lambda", "None", "True", "self", "index", "columns", "class"]
    rows = list(with_column("", lambda i: i))[1:]
    return [names, *([r[0], *range(i, i + 7), r[2]] for i, r in enumerate(rows))]


@table("--target", "target", trains=True)
def names_that_a_run_uses(_: Path):
    names = ["group", "part", "seed", "prediction", "probability", "p_yes", "records", "target"]
    rows = list(with_column("", lambda i: i))[1:]
    return [names, *([r[0], *(i % k for k in range(2, 8)), r[2]] for i, r in enumerate(rows))]


@table(says="the column name 'row' is reserved")
def a_column_named_row(_: Path):
    return with_column("row", lambda i: i % 7)


@table("--target", "y: z", trains=True)
def names_that_yaml_reads_otherwise(_: Path):
    names = ["- a", "#b", "{c}", "null", "1", 'd"e', "f'g", "h\\i", "%j", "@k", "*l", "&m", "two\nlines", "y: z"]
    rows = list(with_column("", lambda i: i))[1:]
    return [names, *([r[0], *(i % k for k in range(2, 14)), r[2]] for i, r in enumerate(rows))]


@table()
def a_name_of_ten_thousand_letters(_: Path):
    return with_column("n" * 10_000, lambda i: i % 9)


@table(odd="string", shows="are numbers, but 'about 7' (row 51) is not: kept as text")
def mixed_types(_: Path):
    return with_column("odd", lambda i: "about 7" if i == 50 else i * 1.5)


@table(odd="string", shows="dates in more than one format: kept as text")
def dates_in_three_formats(_: Path):
    shapes = ("2026-01-{:02}", "{:02}.01.2026", "Jan {} 2026")
    return with_column("odd", lambda i: shapes[i % 3].format(i % 28 + 1))


@table(odd="date")
def dates_day_first(_: Path):
    return with_column("odd", lambda i: f"{i % 28 + 1:02}/{i % 12 + 1:02}/2026")


@table(odd="date", shows="may be MM/dd/yyyy or dd/MM/yyyy")
def dates_that_could_be_either(_: Path):
    return with_column("odd", lambda i: f"{i % 12 + 1:02}/{i % 11 + 1:02}/2026")


@table(odd="date")
def dates_with_names_of_months(_: Path):
    return with_column("odd", lambda i: f"Mar {i % 28 + 1} {1990 + i % 30}")


@table(odd="date")
def dates_long_gone_and_far_ahead(_: Path):
    return with_column("odd", lambda i: ("0001-01-01", "9999-12-31", "1900-02-28")[i % 3])


@table(odd="timestamp", shows="time zones become UTC")
def time_zones(_: Path):
    return with_column("odd", lambda i: f"2026-03-{i % 28 + 1:02}T23:30:00{('Z', '+02:00', '-0500')[i % 3]}")


@table(x="number", odd="number", shows="decimal ','")
def decimal_commas(folder: Path) -> Path:
    rows = [[str(v).replace(".", ",") for v in row] for row in with_column("odd", lambda i: i / 7)]
    return write_csv(folder / "table.csv", rows, delimiter=";")


@table(odd="number", shows="thousands '.'")
def thousands_with_points(folder: Path) -> Path:
    rows = [
        [str(v).replace(".", ",") if k == 0 else v for k, v in enumerate(row)]
        for row in with_column("odd", lambda i: f"{i * 1234567 / 100:,.2f}".translate({44: ".", 46: ","}))
    ]
    return write_csv(folder / "table.csv", rows, delimiter=";")


@table(odd="integer", shows="thousands ','")
def thousands_with_commas(_: Path):
    return with_column("odd", lambda i: f"{i * 12345:,}")


@table(odd="string")
def a_cell_of_ten_megabytes(_: Path):
    return with_column("odd", lambda i: "spam and eggs " * 714_286 if i == 3 else f"word {i % 50}")


@table(says="holds a NUL byte at position")
def nul_bytes(folder: Path) -> Path:
    path = write_csv(folder / "table.csv", with_column("odd", lambda i: i))
    path.write_bytes(path.read_bytes()[:500] + b"\0" + path.read_bytes()[500:])
    return path


@table(says="holds a NUL byte at position")
def a_picture(folder: Path) -> Path:
    (folder / "table.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 50)
    return folder / "table.csv"


@table(odd="string", shows="encoding 'utf-16'")
def utf_16(folder: Path) -> Path:
    return write_csv(folder / "table.csv", with_column("odd", lambda i: f"ü{i % 5}"), "utf-16")


@table(odd="string", shows="encoding 'utf-16-le'")
def utf_16_without_a_mark(folder: Path) -> Path:
    return write_csv(folder / "table.csv", with_column("odd", lambda i: f"ü{i % 5}"), "utf-16-le")


@table("--target", "y", x="number")
def utf_8_with_a_mark(folder: Path) -> Path:
    return write_csv(folder / "table.csv", with_column("odd", lambda i: f"ü{i % 5}"), "utf-8-sig")


@table(größe="string", shows="encoding 'cp1252'")
def windows_1252(folder: Path) -> Path:
    return write_csv(folder / "table.csv", with_column("größe", lambda i: f"€{i % 5}"), "cp1252")


@table(shows="delimiter '\\t'")
def tabs(folder: Path) -> Path:
    return write_csv(folder / "table.tsv", with_column("odd", lambda i: f"a, b; c|{i % 3}"), delimiter="\t")


@table(shows="delimiter '|'")
def pipes(folder: Path) -> Path:
    return write_csv(folder / "table.txt", with_column("odd", lambda i: f"{i % 3},{i % 4}"), delimiter="|")


@table()
def line_endings_of_windows(folder: Path) -> Path:
    return write_csv(folder / "table.csv", with_column("odd", lambda i: f"two\r\nlines {i % 4}"), lineterminator="\r\n")


@table()
def a_blank_after_each_comma(folder: Path) -> Path:
    lines = [", ".join(map(str, row)) for row in with_column("odd", lambda i: i % 5)]
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder / "table.csv"


@table()
def gz(folder: Path) -> Path:
    plain = write_csv(folder / "table.csv", with_column("odd", lambda i: i))
    (folder / "table.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return folder / "table.csv.gz"


@table(says="cannot be read (BadGzipFile")
def a_gz_that_is_none(folder: Path) -> Path:
    return write_csv(folder / "table.csv.gz", with_column("odd", lambda i: i))


@table(says="cannot be read (EOFError")
def half_a_gz(folder: Path) -> Path:
    plain = write_csv(folder / "table.csv", with_column("odd", lambda i: i * 7919))
    packed = gzip.compress(plain.read_bytes())
    (folder / "table.csv.gz").write_bytes(packed[: len(packed) // 2])
    return folder / "table.csv.gz"


@table(says="cannot be read (ParserError")
def a_row_that_is_too_long(_: Path):
    return [["x", "y"], *([i, i % 2] for i in range(ROWS)), [1, 2, 3]]


@table(says="rows have 3 fields and the header 2")
def rows_longer_than_the_header(_: Path):
    return [["x", "y"], *([i, i, i % 2] for i in range(ROWS))]


@table(says="cannot be read (ParserError")
def a_quote_that_never_ends(folder: Path) -> Path:
    path = write_csv(folder / "table.csv", with_column("odd", lambda i: i))
    path.write_bytes(path.read_bytes() + b'1,"2,no\n')
    return path


@table(says="cannot be read (ArrowInvalid")
def a_parquet_that_is_none(folder: Path) -> Path:
    return write_csv(folder / "table.parquet", with_column("odd", lambda i: i))


@table(shows="y: missing in 40 rows: training leaves them out", y="string")
def a_target_missing_in_some_rows(_: Path):
    return with_column("odd", lambda i: i, lambda i: ["no", "yes", ""][i % 3])


@table(shows="missing in 40 rows", trains=True, y="integer")
def a_numeric_target_missing_in_some_rows(_: Path):
    return with_column("odd", lambda i: i, lambda i: [0, 1, "NA"][i % 3])


@table(says="--target y: the column cannot be used: empty in every row")
def a_target_that_is_empty(_: Path):
    return with_column("odd", lambda i: i, lambda _: "")


@table(says="--target y: has the one value '1'; there is nothing to learn")
def a_constant_target(_: Path):
    return with_column("odd", lambda i: i, lambda _: 1)


@table(says="have 'y' = 0")
def a_target_with_one_case(_: Path):
    return with_column("odd", lambda i: i, lambda i: int(i == 7))


@table(shows="the rarest class has 9 rows")
def a_nearly_constant_target(_: Path):
    return with_column("odd", lambda i: i, lambda i: int(i % 14 == 0))


@table(shows="regression: numbers, 3 different ones", trains=True, y="number")
def a_continuous_target_with_three_values(_: Path):
    return with_column("odd", lambda i: i, lambda i: (0.5, 1.25, 3.75)[i % 3])


@table(says="has 5,000 classes in 10,000 rows; at most 100 can be learnt")
def five_thousand_classes(_: Path):
    return [["x", "y"], *([i, f"class {i % 5000}"] for i in range(10_000))]


@table(says="--target y: is a date")
def a_target_that_is_a_date(_: Path):
    return with_column("odd", lambda i: i, lambda i: f"2026-01-{i % 28 + 1:02}")


@table("--target", "Y", says="--target Y: no such column; known: odd, x, y")
def a_target_that_is_not_there(_: Path):
    return with_column("odd", lambda i: i)


@table("--target", "y", "--id", "odd", says="'4' is in rows 5 and 65: it does not identify a row")
def duplicated_ids(_: Path):
    return with_column("odd", lambda i: i % 60 + (i < 4) * 1000 * (i + 1))


@table("--target", "y", "--id", "odd", says="--id odd: row 8 has no value")
def an_id_with_a_gap(_: Path):
    return with_column("odd", lambda i: "" if i == 7 else i)


@table("--target", "y", "--id", "odd", odd="number")
def ids_that_are_fractions(_: Path):
    return with_column("odd", lambda i: i + 0.5)


@table("--target", "y", "--id", "y", says="cannot be the")
def one_column_for_two_roles(_: Path):
    return with_column("odd", lambda i: i)


@table("--target", "y", "--time", "odd", says="--time odd: a date or number in each row is needed")
def a_time_with_gaps(_: Path):
    return with_column("odd", lambda i: "" if i % 9 == 0 else f"2026-01-{i % 28 + 1:02}")


@table("--target", "y", "--id", "probability", says="the id 'probability' has the name of a column of the predictions")
def an_id_called_probability(_: Path):
    return [["probability", "x", "y"], *([f"K{i:04}", i * 7 % 13, i % 2] for i in range(ROWS))]


@table("--target", "y", "--id", "decision", says="the id 'decision' has the name of a column of the predictions")
def an_id_called_decision(_: Path):
    return [["decision", "x", "y"], *([f"K{i:04}", i * 7 % 13, i % 2] for i in range(ROWS))]


@table("--target", "y", "--id", "prediction", says="the id 'prediction' has the name of a column of the predictions")
def an_id_called_prediction(_: Path):
    return [["prediction", "x", "y"], *([f"K{i:04}", i * 7 % 13, i / 3] for i in range(ROWS))]


@table("--target", "y", says="has the name of the column of probabilities of the class 'id'")
def an_id_called_as_the_probability_of_a_class(_: Path):
    return [["p_id", "x", "y"], *([i, i * 7 % 13, ("id", "no", "yes")[i % 3]] for i in range(ROWS))]


@table(says="the column name 'row' is reserved")
def a_feature_called_row(_: Path):
    return [["row", "x", "y"], *([i % 9, i * 7 % 13, i % 2] for i in range(ROWS))]


@table("--target", "y", "--id", "row", trains=True, prediction="integer", p_a="integer")
def columns_called_as_those_of_a_run(_: Path):
    names = ["prediction", "probability", "decision", "p_a", "p_b", "id", "target", "part", "seed", "group", "fold"]
    rows = ([i, *(i * (k + 3) % 17 for k in range(len(names))), "ab"[i * i % 7 % 2]] for i in range(ROWS))
    return [["row", *names, "y"], *rows]


@table(empty="", odd="integer", shows="empty in every row: left out")
def a_column_that_is_empty(_: Path):
    return [["empty", *row] if i == 0 else ["", *row] for i, row in enumerate(with_column("odd", lambda i: i))]


@table(shows="odd: the same in every row", odd="integer")
def a_constant_column(_: Path):
    return with_column("odd", lambda _: 3)


@table(odd="number")
def infinities(_: Path):
    return with_column("odd", lambda i: ("inf", "-Infinity")[i % 2] if i % 40 == 0 else i / 3)


@table(odd="number")
def numbers_at_the_edge_of_float(_: Path):
    return with_column("odd", lambda i: ("1e308", "-1e308", "1e-320", "0")[i % 4])


@table(odd="integer")
def a_word_of_its_own_for_missing(_: Path):
    return with_column("odd", lambda i: "?" if i % 8 == 0 else i)


@table(odd="string", word="boolean")
def booleans_as_words(_: Path):
    rows = [
        [*row[:2], ("TRUE", "false")[i % 2], row[2]] for i, row in enumerate(with_column("odd", lambda i: "yn"[i % 2]))
    ]
    rows[0][2] = "word"
    return rows


@table(odd="string", shows="numbers with a sign or a unit, such as '0.0%' (row 1): kept as text")
def percent_signs(_: Path):
    return with_column("odd", lambda i: f"{i / 3:.1f}%")


@table(odd="string", shows="numbers with a sign")
def currency(_: Path):
    return with_column("odd", lambda i: f"${i * 1234.5:,.2f}")


@table(odd="string", shows="digits with leading zeros are a code")
def leading_zeros(_: Path):
    return with_column("odd", lambda i: f"{i % 40:05}")


@table(odd="string", shows="beyond 2**53")
def huge_integers(_: Path):
    return with_column("odd", lambda i: 10**30 + i)


@table(odd="string")
def formulas(_: Path):
    return with_column("odd", lambda i: ("=cmd|' /C calc'!A0", "@SUM(A1)", "+1+1", "-2+3")[i % 4])


@table("--target", "<script>alert(1)</script>", trains=True)
def html(_: Path):
    rows = list(with_column("<img src=x onerror=alert(1)>", lambda i: ("<b>", "</table>", "&amp;")[i % 3]))
    rows[0][2] = "<script>alert(1)</script>"
    return rows


@table("--target", "🎯", trains=True)
def emoji(_: Path):
    rows = list(with_column("👩‍🚀", lambda i: "🙂🙃🫠"[i % 3]))
    rows[0][2] = "🎯"
    return rows


@table("--target", "الهدف")
def arabic(_: Path):
    rows = list(with_column("العمر", lambda i: ("نعم", "لا", "ربما")[i % 3]))
    rows[0][2] = "الهدف"
    return rows


@table()
def free_text(_: Path):
    words = [
        "the",
        "quick",
        "brown",
        "fox",
        "jumps",
        "over",
        "a",
        "lazy",
        "dog",
        "while",
        "it",
        "rains",
        "and",
        "nobody",
        "minds",
    ]
    rng = random.Random(1)
    return with_column("odd", lambda _: " ".join(rng.choices(words, k=rng.randint(1, 60))))


@table(shows="… and 462 more columns", trains=True)
def five_hundred_columns(_: Path):
    rng = random.Random(2)
    head = [f"c{k}" for k in range(500)]
    rows = list(with_column("odd", lambda i: i))
    return [
        [*row[:2], *(head if i == 0 else (rng.randint(0, 9) for _ in head))][:-1] + row[2:]
        for i, row in enumerate(rows)
    ]


@table()
def the_parts_of_a_table_in_a_folder(folder: Path) -> Path:
    head, *rows = with_column("odd", lambda i: i % 5)
    (folder / "table").mkdir()
    for part in range(3):
        write_csv(folder / "table" / f"{part}.csv", [head, *rows[part::3]])
    return folder / "table"


@table(says="b.csv: has a column 'other', which the first file does not have")
def different_tables_in_a_folder(folder: Path) -> Path:
    (folder / "table").mkdir()
    write_csv(folder / "table" / "a.csv", with_column("odd", lambda i: i))
    write_csv(folder / "table" / "b.csv", with_column("other", lambda i: i))
    return folder / "table"


@table(says="no CSV or Parquet file in it")
def an_empty_folder(folder: Path) -> Path:
    (folder / "table").mkdir()
    return folder / "table"


@table(says="no such file")
def no_file(folder: Path) -> Path:
    return folder / "table.csv"


@table(n="integer", f="number", d="date", t="timestamp", b="boolean", c="string", m="number", s="string", lists="")
def every_type_of_parquet(folder: Path) -> Path:
    from datetime import UTC, date, datetime, timedelta
    from decimal import Decimal

    import pyarrow
    import pyarrow.parquet

    several = range(ROWS)
    columns = {
        "n": pyarrow.array([None if i % 9 == 0 else i for i in several], pyarrow.int64()),
        "f": [float("nan") if i % 7 == 0 else i / 3 for i in several],
        "d": [date(2026, 1, i % 28 + 1) for i in several],
        "t": [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=7 * i) for i in several],
        "b": [i % 3 == 0 for i in several],
        "c": pyarrow.array([f"c{i % 4}" for i in several]).dictionary_encode(),
        "m": [Decimal(i) / 4 for i in several],
        "s": [f"{i % 40:04}" for i in several],
        "lists": [[i] for i in several],
        "y": [i % 2 for i in several],
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "table.parquet")
    return folder / "table.parquet"


def main(work: Path, names: list[str]) -> dict[str, dict[str, object]]:
    """Try tables in the project that is the current folder, each in a folder of its own below ``work``."""
    from mlcicd import cli
    from mlcicd.contract import document

    results = {}
    for number, name in enumerate(names):
        root = work / str(number)
        (root / "in").mkdir(parents=True)
        tried = TABLES[name]
        path = tried.write(root / "in")
        cli.ROOT = root
        result: dict[str, object] = {}
        steps = [("init", str(path), *tried.arguments), ("validate",), ("explore", "--out", str(root / "page.html"))]
        steps += [("train", "--out", str(root / "run"))] if tried.trains else []
        for step in steps:
            result[step[0]] = call(cli, step)
            if result[step[0]][0]:
                break
        else:
            result["page"] = (root / "page.html").stat().st_size
            result["same"] = predicts_the_same(root)
        result["files"] = sorted(p.name for p in root.iterdir() if p.name != "in")
        contract = root / "contract.yaml"
        if contract.is_file():
            found = document.load(contract)
            result["types"] = {p.name: p.logicalType for p in found.table.properties}
        results[name] = result
    return results


def call(cli, arguments: tuple[str, ...]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["ml", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:
            err.write(traceback.format_exc())
            code = 99
    return code, out.getvalue(), err.getvalue()


def predicts_the_same(root: Path) -> bool:
    """A model of the table, saved and read again, predicts what it did; so it does where a value is missing."""
    import numpy
    from mlcicd.contract import document
    from mlcicd.core import params as parameters
    from mlcicd.data import load, split
    from mlcicd.training import model_io, train

    contract, params = document.load(root / "contract.yaml"), parameters.load(root / "params.yaml")
    table = load.load(contract, params, root).table
    table = table[table[contract.target.name].notna()].reset_index(drop=True)
    y, classes = train.encode(table[contract.target.name], params)
    rows = split.make_split(table, contract.table, params)
    inputs = table[[p.name for p in contract.table.features]]
    model = train.build(params, params.seed).fit(inputs[rows.training], y[rows.training])
    model_io.save(model, root / "model.skops")
    again = model_io.load(root / "model.skops")
    frames = [inputs[rows.holdout]]
    if optional := [prop.name for prop in contract.table.features if not prop.required]:
        frames.append(inputs.head(5).assign(**{name: inputs[name].where(inputs.index < 0) for name in optional}))
    scored = [[train.score(m, frame, params.task, len(classes)) for frame in frames] for m in (model, again)]
    return all(numpy.isfinite(b).all() and numpy.array_equal(a, b) for a, b in zip(*scored, strict=True))


if __name__ == "__main__":
    os.environ.pop("GITHUB_STEP_SUMMARY", None)
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2:] or list(TABLES))))
