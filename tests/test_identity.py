"""Rows without a name: what repeats is judged as if it had ids, and what cannot be compared is decided by a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Project

ONE = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def copy(own_table: Project, tmp_path: Path) -> Project:
    return own_table.copy(tmp_path / "copy")


def survey(folder: Path, *, ids: bool = False) -> Path:
    """Passengers by class, sex and age: 1,600 rows, a dozen different ones, as in many a survey."""
    lines = ["class,sex,adult,survived" + ",id" * ids]
    for i in range(1600):
        cabin, sex, adult = ("first", "second", "crew")[i % 3], ("f", "m")[i // 3 % 2], ("no", "yes")[i % 7 > 0]
        chance = 15 + 45 * (sex == "f") + 20 * (cabin == "first") - 10 * (adult == "yes")
        lines.append(f"{cabin},{sex},{adult},{('no', 'yes')[i * 37 % 100 < chance]}" + f",p{i}" * ids)
    path = folder / "survey.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def trained(project: Project, table: Path, out: str) -> tuple[dict, str, str]:
    """What the run measured, and what `ml init` and `ml train` said."""
    said = project.run("ml", "init", str(table), "--target", "survived", "--force")
    assert said.returncode == 0, said.stderr
    assert project.run("ml", "validate").returncode == 0
    done = project.run("ml", "train", "--out", out, **ONE)
    assert done.returncode == 0, done.stderr
    assert project.run("ml", "predict", str(table), "--run", out, "--out", "o.parquet").returncode == 0
    return json.loads((project.root / out / "metrics.json").read_text(encoding="utf-8")), said.stdout, done.stderr


def test_a_survey_is_judged_alike_with_ids_and_without(copy: Project, tmp_path: Path) -> None:
    found, shown, warned = trained(copy, survey(tmp_path), "runs/plain")
    named, _, quiet = trained(copy, survey(tmp_path, ids=True), "runs/named")
    values = [run["holdout"]["roc_auc"]["value"] for run in (found, named)]
    assert values == pytest.approx([0.78, 0.78], abs=0.05)
    assert "1,600 rows equal another one" in shown
    assert "1,600 of 1,600 rows equal another one" in warned
    assert "equal" not in quiet
