"""What the machinery costs on tables: `ml validate` against checks by hand, `ml train` against bare scikit-learn.

    python benchmarks/tables.py validate [ROWS]      10 million rows by default, reading excluded
    python benchmarks/tables.py train [ROWS ...]     20,000 and 1 million rows by default
    python benchmarks/tables.py size [ROWS]          5 million rows × 20 columns: init, validate, train; peak memory

Run it with the Python of a project that was baked with `example=none`. Both sides of a comparison run right after one
another, REPEATS times (3 by default); the fastest of each counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import table8
from mlcicd.core import project
from stopwatch import fastest

PACKAGE = project.package_name()
REPEATS = int(os.environ.get("REPEATS", "3"))
HEAD = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "t", "version": "1", "status": "draft"}
# The folds, fits, seeds and predictions of `ml train`, and nothing else.
BARE = """
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from {package}.features import make_features
from {package}.model import make_model

table = pd.read_csv("data/table.csv")
held = pd.util.hash_array(table["id"].to_numpy()) < 0.25 * 2.0**64
x, y = table.drop(columns=["id", "y"]), table["y"].to_numpy()
x["word"] = x["word"].astype("str")
train, labels = x[~held], y[~held]
for fit, judge in StratifiedKFold(5, shuffle=True, random_state=7).split(train, labels):
    fold = make_pipeline(make_features(), make_model(task="binary", seed=7)).fit(train.iloc[fit], labels[fit])
    print(roc_auc_score(labels[judge], fold.predict_proba(train.iloc[judge])[:, 1]))
    fold.predict_proba(x[held])
for seed in range(7, 7 + {seeds}):
    fitted = make_pipeline(make_features(), make_model(task="binary", seed=seed)).fit(train, labels)
    print(roc_auc_score(y[held], fitted.predict_proba(x[held])[:, 1]))
"""


# Linux counts what the parent held before the program began, so a small process is put between.
WATCH = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
open(sys.argv[1], "w").write(str(used.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


def validate(rows: int) -> None:
    """Eight columns with the usual rules, all of them kept; then with 10 % bad rows."""
    from mlcicd.contract import document as contracts
    from mlcicd.validation import rules

    bounds = {"logicalTypeOptions": {"minimum": 0, "maximum": 100}}
    kinds = {"id": "integer", "a": "number", "b": "number", "c": "integer", "d": "string", "e": "string", "f": "date"}
    more = {
        "id": {"primaryKey": True},
        **dict.fromkeys("abc", bounds),
        "d": {"enum": [{"value": v} for v in table8.LETTERS]},
        "e": {"logicalTypeOptions": {"pattern": table8.DIGITS}},
        "f": {"logicalTypeOptions": {"minimum": table8.FIRST_DAY}},
        "y": {"customProperties": [{"property": "role", "value": "target"}]},
    }
    kinds["y"] = "integer"
    properties = [{"name": n, "logicalType": k, "required": n != "b", **more[n]} for n, k in kinds.items()]
    obj = contracts.parse(HEAD | {"schema": [{"name": "t", "properties": properties}]}).table
    rng, frame = np.random.default_rng(1), table8.make(rows)
    print(f"| {rows:,} rows × 8 columns | by hand, s | rules.check, s | ratio |\n|---|--:|--:|--:|")
    for what in ("all rows good", "10 % bad rows"):
        hand = fastest(lambda: table8.by_hand(frame), REPEATS)
        ours = fastest(lambda: rules.check(frame, obj), REPEATS)
        print(f"| {what} | {hand:.2f} | {ours:.2f} | {ours / hand:.2f} |", flush=True)
        frame.loc[rng.random(rows) < 0.1, "a"] = 101.0


def piece(number: int, rows: int) -> pd.DataFrame:
    """Rows ``number * rows`` and on of an endless table: an id, eight numbers, a category and a binary target."""
    rng = np.random.default_rng(number)
    numbers = {f"x{i}": rng.normal(size=rows).round(4) for i in range(8)}
    word = rng.integers(0, 6, rows)
    chance = 1 / (1 + np.exp(-(numbers["x0"] + numbers["x1"] * numbers["x2"] + word / 3 - 1)))
    ids = np.arange(number * rows, (number + 1) * rows)
    table = pd.DataFrame({"id": ids, **numbers, "word": np.array(list("abcdef"))[word]})
    return table.assign(y=(rng.random(rows) < chance).astype(int))


def project(folder: Path, rows: int) -> None:
    """A project of so many rows, as `ml init` sees them."""
    (folder / "data").mkdir(parents=True)
    piece(0, rows).to_csv(folder / "data" / "table.csv", index=False)
    run(folder, "ml", "init", "data/table.csv", "--target", "y", "--id", "id")


def run(folder: Path, *command: str) -> tuple[float, float]:
    """Seconds and peak memory in GB of a command that must succeed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"OMP_WAIT_POLICY": "passive", **os.environ, "PATH": path}  # as `ml` sets it: the same for both sides
    with tempfile.TemporaryFile() as log, tempfile.NamedTemporaryFile("r+") as peak:
        watched = [sys.executable, "-ISc", WATCH, peak.name, *command]
        start = time.perf_counter()
        status = subprocess.run(watched, cwd=folder, env=environment, stdout=log, stderr=log, check=False).returncode
        seconds = time.perf_counter() - start
        if status:
            log.seek(0)
            sys.exit(f"{' '.join(command)}:\n{log.read().decode()[-2000:]}")
        return seconds, int(peak.read()) / 1e6


def train(sizes: list[int]) -> None:
    """The whole of `ml train`, imports included, against the bare script."""
    from mlcicd.core import params

    print("| rows | bare script, s | ml train, s | more |\n|--:|--:|--:|--:|")
    for rows in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "project"
            project(folder, rows)
            seeds = params.load(folder / "params.yaml").review.seeds
            (folder / "bare.py").write_text(BARE.format(package=PACKAGE, seeds=seeds), encoding="utf-8")
            pair = [(sys.executable, "bare.py"), ("ml", "train")]
            found = [[run(folder, *command)[0] for command in pair] for _ in range(REPEATS)]
        bare, ours = (min(column) for column in zip(*found, strict=True))
        print(f"| {rows:,} | {bare:.1f} | {ours:.1f} | {ours / bare - 1:+.0%} |", flush=True)


def size(rows: int) -> None:
    """Twenty columns: numbers, whole numbers, categories, a date, a target."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rng = np.random.default_rng(0)
        columns: dict[str, object] = {f"x{i}": rng.normal(size=rows).round(4) for i in range(12)}
        score = columns["x0"] + rng.normal(size=rows)  # type: ignore[operator]
        columns |= {f"n{i}": rng.integers(0, 100, rows) for i in range(3)}
        columns |= {f"c{i}": pd.Categorical.from_codes(rng.integers(0, 8, rows), list("abcdefgh")) for i in range(3)}
        columns["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1500, rows), "D")
        pd.DataFrame(columns | {"y": (score > 0).astype(int)}).to_parquet(folder / "table.parquet", index=False)
        del columns, score
        print(f"| {rows:,} rows × 20 columns | s | GB at most |\n|---|--:|--:|")
        for command in (("init", "table.parquet", "--target", "y"), ("validate",), ("train",)):
            seconds, memory = run(folder, "ml", *command)
            print(f"| ml {command[0]} | {seconds:.0f} | {memory:.1f} |", flush=True)


if __name__ == "__main__":
    what, *numbers = sys.argv[1:] or ["--help"]
    given = [int(number.replace("_", "")) for number in numbers]
    if what == "validate":
        validate(*given or [10_000_000])
    elif what == "train":
        train(given or [20_000, 1_000_000])
    elif what == "size":
        size(*given or [5_000_000])
    else:
        sys.exit(__doc__)
