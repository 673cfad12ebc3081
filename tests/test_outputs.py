"""Outputs: whole or absent, replaced only by their own kind, and nobody else's files touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project

TABLE = ["age,city,bought", *(f"{i % 60 + 18},{'ABC'[i % 3]},{('no', 'yes')[i * 7 % 60 > 30]}" for i in range(200))]
POLLS = 6000  # of a twentieth of a second


@pytest.fixture(scope="module")
def begun(own_table: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on a small table, committed."""
    folder = tmp_path_factory.mktemp("begun")
    project = own_table.copy(folder / "project")
    (folder / "tmp").mkdir()
    (folder / "visits.csv").write_text("\n".join(TABLE) + "\n", encoding="utf-8")
    project.variables["TMPDIR"] = str(folder / "tmp")
    for command in (
        ("ml", "init", str(folder / "visits.csv"), "--target", "bought"),
        ("git", "add", "--all"),
        ("git", "commit", "--quiet", "--message", "our table"),
    ):
        assert project.run(*command).returncode == 0
    return project


def until(what: Callable[[], object]) -> None:
    """Wait for something that has to come."""
    for _ in range(POLLS):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come")


def running(variable: str) -> list[int]:
    """The processes that have a text among their variables, whoever started them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if variable.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stopped_review_leaves_no_process_and_nothing_that_the_next_does_not_remove(begun: Project):
    temporary = Path(begun.variables["TMPDIR"])
    command = ("ml", "review", "--base", "HEAD", "--out", "review")

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(command, cwd=begun.root, env=begun.environ(), text=True, stderr=subprocess.PIPE)
        until(lambda: list(temporary.glob("ml-baseline-*/work/tree/params.yaml")) or process.poll() is not None)
        return process

    first = start()
    (left,) = temporary.glob("ml-baseline-*")
    second = begun.run(*command)
    assert second.returncode == 2
    assert second.stderr == "ml: review: is being written by another 'ml'; wait for it, or choose another --out\n"
    first.kill()
    first.communicate()
    until(lambda: not running(f"TMPDIR={temporary}"))  # the training of the base included
    assert left.exists()

    def alone() -> bool:
        return not left.exists()

    third = subprocess.Popen(command, cwd=begun.root, env=begun.environ(), text=True, stderr=subprocess.PIPE)
    until(alone)
    until(lambda: list(temporary.glob("ml-baseline-*/work/tree/params.yaml")))
    assert begun.run("git", "worktree", "list").stdout.count("\n") == 2
    third.terminate()
    assert third.communicate()[1] == "ml: stopped\n"
    assert third.returncode == 128 + signal.SIGTERM
    assert list(temporary.iterdir()) == []
    assert not [path.name for path in begun.root.iterdir() if "review" in path.name]
    assert begun.run("git", "worktree", "list").stdout.count("\n") == 1
    assert running(f"TMPDIR={temporary}") == []
    assert begun.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.skipif(os.name == "nt", reason="git's hooks are shell scripts here")
def test_a_review_that_is_stopped_while_git_checks_out_leaves_no_worktree(begun: Project, tmp_path: Path):
    copy = begun.copy(tmp_path / "copy")
    hook = copy.root / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/reached'\nsleep 60\n", encoding="utf-8")
    hook.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    environment = copy.environ() | {"TMPDIR": str(tmp_path / "tmp")}
    command = ("ml", "review", "--base", "HEAD", "--out", "review")
    stopped = subprocess.Popen(command, cwd=copy.root, env=environment, text=True, stderr=subprocess.PIPE)
    until((tmp_path / "reached").exists)
    stopped.terminate()
    assert stopped.communicate()[1] == "ml: stopped\n"
    assert stopped.returncode == 128 + signal.SIGTERM
    assert copy.run("git", "worktree", "list").stdout.count("\n") == 1
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_run_is_the_same_bytes_wherever_it_is_trained(begun: Project, tmp_path: Path):
    copy = begun.copy(tmp_path / "copy")
    here = {"TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    there = {"TZ": "Asia/Kolkata", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"}
    there |= {"OMP_NUM_THREADS": "3", "PYTHONOPTIMIZE": "2", "PYTHONUTF8": "0"}
    for name, variables in {"here": here, "there": there}.items():
        done = copy.run("ml", "train", "--out", f"runs/{name}", **variables)
        assert done.returncode == 0, done.stderr
    for file in ("metrics.json", "predictions.parquet"):
        assert (copy.root / "runs/here" / file).read_bytes() == (copy.root / "runs/there" / file).read_bytes()


def test_a_run_records_what_it_was_trained_with(begun: Project, tmp_path: Path):
    """An edit and a commit while it trains: once the folds begin, everything has been read."""
    copy = begun.copy(tmp_path / "copy")
    script = (
        "import pathlib, subprocess, sys\n"
        "from mlcicd import cli; from mlcicd.data import split\n"
        "make = split.make_split\n"
        "def edited(*given, **more):\n"
        "    path = pathlib.Path('params.yaml')\n"
        "    path.write_text(path.read_text() + '# another\\n')\n"
        "    subprocess.run(['git', 'commit', '--quiet', '--all', '--message', 'meanwhile'], check=True)\n"
        "    return make(*given, **more)\n"
        "setattr(split, make.__name__, edited)\n"
        "sys.argv = ['ml', 'train']\n"
        "cli.main()\n"
    )
    before, commit = (copy.root / "params.yaml").read_bytes(), copy.run("git", "rev-parse", "HEAD").stdout.strip()
    done = copy.run("python", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "warning: changed since the start" in done.stderr and "the commit, params.yaml" in done.stderr
    assert (copy.root / "runs/model/params.yaml").read_bytes() == before
    assert f'"commit": "{commit}"' in (copy.root / "runs/model/manifest.json").read_text(encoding="utf-8")
    audited = copy.run("ml", "audit", "runs/model")
    assert audited.returncode == 0, audited.stdout + audited.stderr


@pytest.mark.skipif(os.name == "nt", reason="no such streams on Windows")
@pytest.mark.parametrize("ending", ["| head -c 1", ">&- 2>&-", "2> /dev/full"])
def test_a_stream_that_nobody_reads_does_not_decide_the_exit_status(begun: Project, ending: str):
    script = f"set -o pipefail; ml validate {ending}"
    assert begun.run("bash", "-c", script).returncode == 0
    script = f"set -o pipefail; ml validate no-such.csv {ending}"
    assert begun.run("bash", "-c", script).returncode == 2
