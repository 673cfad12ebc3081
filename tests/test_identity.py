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


def days(folder: Path, columns: dict[str, str]) -> Path:
    """Three hundred days; each column is empty in the first third of them and then holds a value of its form."""
    lines = [",".join(["day", *columns, "sales"])]
    for i in range(300):
        day = f"2025-{i // 28 + 1:02}-{i % 28 + 1:02}"
        values = [form.format(n=i % 9, d=i % 27 + 1) if i >= 100 or form[0] == "!" else "" for form in columns.values()]
        lines.append(",".join([day, *(value.removeprefix("!") for value in values), str(100 + 7 * (i % 9) + i % 5)]))
    path = folder / "days.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_feature_without_a_value_in_early_folds_is_absent_there(copy: Project, tmp_path: Path) -> None:
    kinds = {"lag": "{n}.5", "word": "w{n}", "since": "2024-03-{d:02}", "known": "!{n}"}
    assert copy.run("ml", "init", str(days(tmp_path, kinds)), "--target", "sales", "--time", "day").returncode == 0
    done = copy.run("ml", "train", "--out", "runs/a", **ONE)
    assert done.returncode == 0, done.stderr
    assert copy.run("ml", "predict", "data/days.csv", "--run", "runs/a", "--out", "o.parquet").returncode == 0


def test_where_nothing_is_left_one_line_names_fold_feature_and_remedy(copy: Project, tmp_path: Path) -> None:
    table = days(tmp_path, {"lag": "{n}.5"})
    assert copy.run("ml", "init", str(table), "--target", "sales", "--time", "day").returncode == 0
    done = copy.run("ml", "train", "--out", "runs/a", **ONE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("ml: fold 1 of 5: the feature 'lag' has no value in these ")
    assert "take it out of contract.yaml" in done.stderr
    assert not any(word in done.stderr for word in ("ValueError", "dtype", ".py"))
    broken = copy.package / "features.py"
    text = (
        broken.read_text(encoding="utf-8")
        + "\n\ndef make_features():\n    from sklearn.preprocessing import FunctionTransformer\n"
    )
    broken.write_text(text + "    return FunctionTransformer(lambda table: table['nowhere'])\n", encoding="utf-8")
    done = copy.run("ml", "train", "--out", "runs/a", **ONE)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "fold 1 of 5: nothing can be fitted" in done.stderr and "features.py" in done.stderr
    assert not (copy.root / "runs/a").exists()
