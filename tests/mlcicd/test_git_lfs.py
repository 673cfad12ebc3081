"""A base whose data Git LFS stores is trained on the data: the real git-lfs, with a repository on disk as remote."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from mlcicd.review import baseline
from mlcicd.sources import raw_files
from test_review import FILES, based, commit, git

ROWS = "id,y\n" + "".join(f"{i},{i % 2}\n" for i in range(50))
ATTRIBUTES = "*.csv filter=lfs diff=lfs merge=lfs -text\n"
UNREACHABLE = "https://someone:s3cret@127.0.0.1:9/none.git"  # nothing listens on this port

pytestmark = pytest.mark.skipif(
    not shutil.which("git-lfs") and "CI" not in os.environ,
    reason="git-lfs is not installed (Debian: apt install git-lfs)",
)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with pointers alone, as it is where nobody ran `git lfs install`; the files lie at its remote."""
    author, remote, folder = (tmp_path / name for name in ("author", "remote.git", "clone"))
    author.mkdir()
    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    git(author, "init", "--quiet")
    git(author, "lfs", "install", "--local")
    git(author, "remote", "add", "origin", f"file://{remote}")
    commit(author, FILES | {".gitattributes": ATTRIBUTES, "data/a.csv": ROWS, "data/b, c.csv": ROWS * 2})
    git(author, "push", "--quiet", "origin", "main")
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")
    git(tmp_path, "clone", "--quiet", f"file://{remote}", str(folder))
    assert (folder / "data/a.csv").read_text().startswith("version https://git-lfs")
    return folder


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The data that the training of a base finds; the training itself ends there."""
    found: dict[str, str] = {}
    true = baseline.run_step

    def step(command: list[str], folder: Path, **variables: str) -> tuple[int, str]:
        if "train" not in command:
            return true(command, folder, **variables)
        found.update({path.name: path.read_text() for path in (folder / "data").iterdir()})
        return 2, "ml: it ends here"

    monkeypatch.setattr(baseline, "run_step", step)
    return found


def test_a_base_is_trained_on_the_files_that_git_lfs_stores(clone, tmp_path, trained_on):
    assert "it ends here" in based(clone, tmp_path).why
    assert trained_on == {"a.csv": ROWS, "b, c.csv": ROWS * 2}
    assert (clone / "data/a.csv").read_text().startswith("version https://git-lfs"), "the user's own files stay"
    assert not git(clone, "status", "--porcelain")


def test_a_pull_fetches_the_files_whose_pointers_name_their_version(clone):
    names = ["data/a.csv", "data/b, c.csv"]
    first = raw_files.status(clone, names)[0]
    version = f"sha256:{hashlib.sha256(ROWS.encode()).hexdigest()}"
    assert (first.pin.store, first.pin.version) == ("git-lfs", version)
    assert first.problem.endswith("fetch the data with 'git lfs pull'")
    assert raw_files.pull(clone, names) == names
    assert [one.problem for one in raw_files.status(clone, names)] == ["", ""]
    assert raw_files.pull(clone, names) == []
    (clone / "data/a.csv").write_text(ROWS[:40], encoding="utf-8")
    changed = raw_files.status(clone, names)[0]
    assert changed.pin == first.pin and f"and data/a.csv names {raw_files.short(version)}" in changed.problem


def test_pointers_in_the_base_and_none_in_the_head(clone, tmp_path, trained_on):
    commit(clone, {"data/a.csv": None, "data/b, c.csv": None, ".gitattributes": None, "data/new.csv": ROWS})
    based(clone, tmp_path, "HEAD~1")
    assert trained_on == {"a.csv": ROWS, "b, c.csv": ROWS * 2}


def test_a_remote_that_is_gone_names_file_cause_and_remedy_and_no_credential(clone, tmp_path, trained_on):
    remote = git(clone, "remote", "get-url", "origin")
    git(clone, "remote", "set-url", "origin", UNREACHABLE)
    why = based(clone, tmp_path / "1").why
    head = git(clone, "rev-parse", "HEAD")
    assert "has data/a.csv in Git LFS" in why and "127.0.0.1:9" in why
    assert "s3cret" not in why and "someone" not in why and "\n" not in why
    assert f"run 'git lfs fetch origin {head}'" in why
    assert not trained_on
    assert git(clone, "worktree", "list").count("\n") == 0
    # The remedy holds: what was fetched once is not asked for again.
    git(clone, "remote", "set-url", "origin", remote)
    git(clone, "lfs", "fetch", "origin", head)
    git(clone, "remote", "set-url", "origin", UNREACHABLE)
    based(clone, tmp_path / "2")
    assert trained_on == {"a.csv": ROWS, "b, c.csv": ROWS * 2}


def test_a_pointer_without_its_object_is_named(clone, tmp_path, trained_on):
    shutil.rmtree(tmp_path / "remote.git" / "lfs")
    why = based(clone, tmp_path).why
    assert "has data/a.csv in Git LFS, and it could not be fetched" in why
    assert not trained_on


def test_a_machine_without_git_lfs_is_told_so(clone, tmp_path, trained_on, monkeypatch):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(tools))
    assert subprocess.run(["git", "lfs"], cwd=clone, capture_output=True).returncode
    assert "'lfs' is not a git command" in based(clone, tmp_path).why
    assert not trained_on
