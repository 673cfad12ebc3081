"""A project that was made with `data=dvc`, as somebody who knows DVC uses it: the real DVC, a folder as remote."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from conftest import Project, bake

DVC = ("uvx", "--from", "dvc==3.67.1", "dvc")
TABLE = "data/table.csv"


@pytest.fixture(scope="module")
def own(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a table of its own, in DVC, and trained by `dvc repro` on main."""
    folder = tmp_path_factory.mktemp("dvc")
    root = bake(folder, data="dvc", example="none")
    shutil.copyfile(project.root / "uv.lock", root / "uv.lock")
    made = Project(root, project.environment)
    draw = random.Random(0)
    rows = [(n, draw.randint(18, 90), draw.random()) for n in range(400)]
    lines = ["number,age,left", *(f"{n},{age},{int(age / 100 + chance > 1)}" for n, age, chance in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    did(made, "ml", "init", str(folder / "table.csv"), "--target", "left", "--id", "number")
    did(made, *DVC, "remote", "add", "--default", "storage", str(folder / "remote"))
    did(made, *DVC, "add", TABLE)
    assert "Running stage 'train'" in did(made, *DVC, "repro")
    did(made, *DVC, "push")
    commit(made)
    return made


def did(project: Project, *command: str) -> str:
    done = project.run(*command, DVC_NO_ANALYTICS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(project: Project) -> None:
    did(project, "git", "add", "--all")
    did(project, "git", "commit", "--quiet", "--message", "change")


def metric(project: Project) -> float:
    metrics = json.loads((project.root / "runs/model/metrics.json").read_text(encoding="utf-8"))
    return metrics["holdout"]["log_loss"]["value"]


def test_git_has_pointer_and_lock_and_neither_data_nor_run(own: Project):
    tracked = did(own, "git", "ls-files").splitlines()
    assert {f"{TABLE}.dvc", "dvc.lock", "dvc.yaml", ".dvc/config"} <= set(tracked)
    assert TABLE not in tracked and not [name for name in tracked if name.startswith("runs/")]
    manifest = json.loads((own.root / "runs/model/manifest.json").read_text(encoding="utf-8"))
    assert manifest["sources"][TABLE]["store"] == "dvc"
    assert manifest["sources"][TABLE]["version"] in (own.root / f"{TABLE}.dvc").read_text().replace("md5: ", "md5:")


def test_a_second_repro_does_nothing_and_metrics_and_params_compare_with_main(own: Project):
    again = did(own, *DVC, "repro")
    assert "Stage 'validate' didn't change, skipping" in again and "Stage 'train' didn't change, skipping" in again
    before = metric(own)
    params = own.root / "params.yaml"
    did(own, "git", "switch", "--quiet", "--create", "other")
    text = params.read_text(encoding="utf-8")
    assert "  holdout: 0.25" in text
    params.write_text(text.replace("  holdout: 0.25", "  holdout: 0.4"), encoding="utf-8")
    assert "Running stage 'train'" in did(own, *DVC, "repro")
    found = json.loads(did(own, *DVC, "metrics", "diff", "main", "--json"))["runs/model/metrics.json"]
    assert (found["holdout.log_loss.value"]["old"], found["holdout.log_loss.value"]["new"]) == (before, metric(own))
    changed = json.loads(did(own, *DVC, "params", "diff", "main", "--json"))
    assert (changed["params.yaml"]["split.holdout"]["old"], changed["params.yaml"]["split.holdout"]["new"]) == (
        0.25,
        0.4,
    )


def test_the_data_is_pulled_by_the_dvc_of_the_machine_and_a_lost_file_is_one_line(own: Project, tmp_path: Path):
    copy = own.copy(tmp_path / "copy")
    missing = copy.run("ml", "validate")
    assert missing.returncode == 2
    said = f"ml: {TABLE}: is stored in DVC, and is not here; fetch it with 'dvc pull {TABLE}.dvc'"
    assert missing.stderr.strip() == said
    status = copy.run("ml", "data", "status")
    assert (status.returncode, status.stderr.strip()) == (1, said)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dvc").write_text(f'#!/bin/sh\nexec {" ".join(DVC)} "$@"\n', encoding="utf-8")
    (tools / "dvc").chmod(0o755)
    path = f"{tools}:{copy.environ()['PATH']}"
    pulled = copy.run("ml", "data", "pull", PATH=path)
    assert (pulled.returncode, pulled.stdout.strip()) == (0, f"fetched: {TABLE}"), pulled.stderr
    assert copy.run("ml", "validate").returncode == 0
    assert f"{TABLE}  DVC" in did(copy, "ml", "data", "status")
