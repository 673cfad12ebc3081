"""What Git LFS and DVC fetched is saved by main alone, and restored by a pull request's review; uv only pretends."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from acting import GitHub
from conftest import bake

from workflows.conftest import write

POINTER = "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  hash: md5\n  path: more.csv\n"


@pytest.mark.parametrize(("answer", "folder"), [("git-lfs", ".git/lfs"), ("dvc", ".dvc/cache")])
def test_main_saves_and_a_review_restores(answer: str, folder: str, tmp_path: Path, fakes: Path) -> None:
    root = bake(tmp_path / "baked", data=answer)
    hub = GitHub(tmp_path / "hub", root, counted=False)
    if answer == "git-lfs":
        shutil.copytree(root / ".git/lfs/objects", hub.origin / "lfs/objects")
    else:
        hub.commit("main", write("data/more.csv.dvc", POINTER))
    pushed = hub.on_push("model", fakes=fakes)
    assert pushed.conclusion == "success", pushed.log
    kind = answer.removeprefix("git-")
    [key] = re.findall(rf"Cache not found for key: ({kind}-[0-9a-f]{{64}})", pushed.log)
    [ref] = (hub.state / "cache").iterdir()
    assert ref.name == "refs%2Fheads%2Fmain"
    [saved] = ref.glob(f"{kind}-*")
    assert [path for path in saved.rglob("*") if path.is_file()]

    shutil.rmtree(hub.origin / "lfs", ignore_errors=True)  # nothing more can be fetched
    hub.commit("change", write("src/other.py", "OTHER = 1\n"))
    pull = hub.open("change")
    reviewed = hub.on_pull_request("model", pull, fakes=fakes)
    assert f"Cache restored from key: {key}" in reviewed.log, reviewed.log
    assert list((hub.state / "cache").iterdir()) == [ref], "a pull request saves nothing"
    assert f" {folder}" in "".join(path.name for path in ref.iterdir()).replace("%2F", "/").replace("%20", " ")
