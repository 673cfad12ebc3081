"""`ml runs`: a table of the runs of a folder, and two runs side by side."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlcicd import cli
from mlcicd.core.errors import InputError
from mlcicd.lifecycle import run_table
from mlcicd.training.run import FILES
from typer.testing import CliRunner

DIGEST = "0" * 64
PARAMS = "seed: {seed}\ntask: binary\nmodel: {{depth: {depth}}}\ngates: {{roc_auc: {{margin: 0.01}}}}\n"


def measured(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value}


def write(folder: Path, auc: float, day: int, seed: Any = 1, depth: Any = 3, **manifest: Any) -> Path:
    """Write the files of a run that a table reads; the others are empty."""
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    holdout = {"log_loss": measured(0.5), "roc_auc": measured(auc), "cost": measured(1.25)}
    (folder / "metrics.json").write_text(
        json.dumps({"task": "binary", "classes": [0, 1], "holdout": holdout}), encoding="utf-8"
    )
    made = {"commit": "abcdef0" + "1" * 33, "uncommitted_changes": False, "contract": DIGEST, "seeds": [1]}
    made |= {"data": {"data/a.csv": DIGEST}, "trained_at": f"2026-11-{day:02}T10:30:00+00:00"} | manifest
    (folder / "manifest.json").write_text(json.dumps(made), encoding="utf-8")
    (folder / "params.yaml").write_text(PARAMS.format(seed=seed, depth=depth), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three runs; one of them deeper, one without a value of its metric."""
    write(tmp_path / "runs/old", 0.8, 1)
    write(tmp_path / "runs/branch/new", 0.7, 3, seed=2, depth="deep", uncommitted_changes=True)
    write(tmp_path / "runs/none", math.nan, 2, depth=10)
    return tmp_path / "runs"


def names(folder: Path, key: str, reverse: bool = False) -> list[str]:
    return [row.name for row in run_table.order(run_table.find(folder)[0], key, reverse)]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("when", ["branch/new", "none", "old"]),
        ("name", ["branch/new", "none", "old"]),
        ("roc_auc", ["old", "branch/new", "none"]),
        ("model.depth", ["old", "none", "branch/new"]),
    ],
)
def test_runs_are_sorted_newest_or_best_first(folder: Path, key: str, expected: list[str]):
    assert names(folder, key) == expected


def test_what_has_no_value_is_last_in_either_order(folder: Path):
    assert names(folder, "roc_auc", reverse=True) == ["branch/new", "old", "none"]


def test_a_metric_where_less_is_better_is_sorted_upwards(tmp_path: Path):
    for name, loss in (("a", 0.9), ("b", 0.1)):
        path = write(tmp_path / name, 0.8, 1) / "metrics.json"
        path.write_text(path.read_text(encoding="utf-8").replace("1.25", str(loss)), encoding="utf-8")
    assert names(tmp_path, "cost") == ["b", "a"]


def test_an_unknown_key_is_refused_with_the_closest(folder: Path):
    with pytest.raises(InputError, match="nothing is called 'roc_au'; did you mean 'roc_auc'"):
        names(folder, "roc_au")


def test_the_table_shows_gated_metrics_and_only_what_differs(folder: Path):
    head, first, *_ = run_table.table(run_table.order(run_table.find(folder)[0], "when"))
    assert head == ["run", "when", "commit", "roc_auc", "cost", "params"]
    assert first[:3] == ["branch/new", "2026-11-03 10:30", "abcdef0+"]
    assert first[3:] == ["0.700 (0.600 to 0.700)", "1.250 (1.150 to 1.250)", "seed=2, model.depth=deep"]


def test_a_damaged_run_is_a_warning_and_the_others_are_listed(folder: Path):
    shutil.copytree(folder / "old", folder / "torn")
    (folder / "torn/metrics.json").write_text("{", encoding="utf-8")
    shutil.copytree(folder / "old", folder / "half")
    (folder / "half/model.skops").unlink()
    shutil.copytree(folder / "old", folder / ".model.ml-work")
    rows, problems = run_table.find(folder)
    assert len(rows) == 3
    assert [str(folder / name) in line for name, line in zip(("half", "torn"), problems, strict=True)] == [True, True]


def test_a_run_of_an_older_version_is_dated_by_its_file(tmp_path: Path):
    write(tmp_path / "a", 0.8, 1, trained_at=None)
    made = (tmp_path / "a/manifest.json").stat().st_mtime
    assert run_table.read(tmp_path / "a", "a").when.timestamp() == pytest.approx(made, abs=1e-3)


@pytest.mark.parametrize("manifest", [{"commit": []}, {"trained_at": "yesterday"}, {"trained_at": [1]}, {"seeds": []}])
def test_what_is_no_record_gets_one_line(tmp_path: Path, manifest: dict[str, Any]):
    write(tmp_path / "a", 0.8, 1, **manifest)
    with pytest.raises(InputError, match="train the run again"):
        run_table.read(tmp_path / "a", "a")


def test_two_runs_stand_side_by_side(tmp_path: Path):
    first = run_table.read(write(tmp_path / "a", 0.8, 1), "a")
    second = run_table.read(write(tmp_path / "b", 0.7, 2, depth=4, data={"data/a.csv": "1" * 64}), "b")
    lines = {line[0]: line[1:] for line in run_table.side_by_side(first, second)}
    assert lines["roc_auc"] == ["0.800 (0.700 to 0.800)", "0.700 (0.600 to 0.700)", "−0.100"]
    assert lines["model.depth"] == ["3", "4", ""]
    assert lines["data.data/a.csv"] == ["0" * 12, "1" * 12, ""]
    assert not {"seed", "contract", "lock"} & lines.keys()


def test_the_command_prints_a_table_or_json(folder: Path):
    printed = CliRunner().invoke(cli.app, ["runs", "--in", str(folder), "--sort", "roc_auc"]).output.splitlines()
    assert [line.split()[0] for line in printed] == ["run", "old", "branch/new", "none"]
    document = json.loads(CliRunner().invoke(cli.app, ["runs", "--in", str(folder), "--json"]).output)
    assert document[0]["differs"] == {"seed": 2, "model.depth": "deep"}
    assert document[0]["metrics"]["roc_auc"] == {"value": 0.7, "low": pytest.approx(0.6), "high": 0.7}
    pair = [str(folder / "old"), str(folder / "none")]
    assert "model.depth" in CliRunner().invoke(cli.app, ["runs", *pair]).output


@pytest.mark.parametrize("count", [1, 3])
def test_other_than_two_runs_are_refused(folder: Path, count: int):
    caught = CliRunner().invoke(cli.app, ["runs", *[str(folder / "old")] * count]).exception
    assert isinstance(caught, InputError) and "two runs" in str(caught)


def test_a_folder_without_runs_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no run; make one with 'ml train'"):
        run_table.find(tmp_path)
