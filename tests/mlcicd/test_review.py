"""What a review compares with, and what becomes of a branch that nothing can be compared with; nothing is trained."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from mlcicd.review import baseline, compare, environment, review, review_report, run_diff
from mlcicd.training import run
from test_report import logistic, made

LOCK = '[[package]]\nname = "numpy"\nversion = "{}"\n'
PROJECT = '[project]\nname = "p"\nentry-points.mlcicd.package = "declared"\n'
BEFORE_0_2 = '[project]\nname = "p"\nscripts.ml = "declared.pipeline.cli:main"\n'


def git(root: Path, *arguments: str) -> str:
    own = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *own, *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(root: Path, files: dict[str, str | None]) -> str:
    """Write or delete files and commit."""
    for name, text in files.items():
        if text is None:
            (root / name).unlink()
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "change")
    return git(root, "rev-parse", "HEAD")


FILES = {
    **{
        "params.yaml": "seed: 7\n",
        "contract.yaml": "id: x\n",
        "pyproject.toml": PROJECT,
        "uv.lock": LOCK.format("2.0"),
    },
    **{"src/declared/__init__.py": "", "src/a stray folder/notes.txt": "", "src/zz.egg-info/PKG-INFO": ""},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a project's files on main."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, FILES)
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[run.Run, run.Run]:
    """Two runs of equal models."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=400)})
    y = (rng.random(400) < logistic(frame["a"])).astype(int)
    return tuple(made(tmp_path / side, frame, y, logistic(frame["a"])) for side in ("old", "new"))


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch, pair: tuple[run.Run, run.Run]) -> list[tuple[list[str], Path, dict]]:
    """Trainings that copy a run; returns what was asked for of the base: command, folder and variables."""
    asked: list[tuple[list[str], Path, dict]] = []
    true = baseline.run_step

    @contextmanager
    def candidate(command: list[str], *_: object, **__: object) -> Iterator[SimpleNamespace]:
        shutil.copytree(pair[1].path, command[-1])
        yield SimpleNamespace(communicate=lambda: ("", None), returncode=0)

    monkeypatch.setattr(review, "started", candidate)

    def step(command: list[str], folder: Path, **variables: str) -> tuple[int, str]:
        if "train" not in command:
            return true(command, folder, **variables)
        asked.append((command, folder, variables))
        shutil.copytree(pair[0].path, command[-1])
        return 0, ""

    monkeypatch.setattr(baseline, "run_step", step)
    return asked


def based(root: Path, out: Path, base: str = "main", cached: Path | None = None):
    return baseline.find(root, base, out / "baseline", cached)


def program(folder: Path, text: str) -> str:
    """A PATH with git and a uv of one's own."""
    folder.mkdir()
    (folder / "git").symlink_to(shutil.which("git"))
    if text:
        (folder / "uv").write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / "uv").chmod((folder / "uv").stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin" if text else str(folder)


# What is compared with


@pytest.mark.parametrize(
    ("declared", "module"), [(PROJECT, "mlcicd.cli"), (BEFORE_0_2, "declared.pipeline.cli")], ids=["now", "0.1"]
)
def test_the_command_is_found_by_declaration_whatever_else_lies_in_src(root, tmp_path, training, declared, module):
    commit(root, {"pyproject.toml": declared, "packages/mlcicd/src/mlcicd/cli.py": "", "packages/ours/src/o.py": ""})
    found = based(root, tmp_path)
    assert found.run is not None, found.why
    [(command, tree, variables)] = training
    assert command[:4] == [sys.executable, "-m", module, "train"]
    sources = ("src", "packages/mlcicd/src", "packages/ours/src")
    assert variables["PYTHONPATH"].split(os.pathsep) == [str(tree / place) for place in sources]


SPEAKS = "import sys\nsys.exit('ml: the base speaks')\n"


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": BEFORE_0_2, "src/declared/pipeline/cli.py": SPEAKS},
        {"packages/mlcicd/src/mlcicd/__init__.py": "", "packages/mlcicd/src/mlcicd/cli.py": SPEAKS},
    ],
    ids=["0.1", "now"],
)
def test_a_base_is_trained_by_its_own_machinery(root, tmp_path, monkeypatch, files):
    commit(root, files)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "mlcicd").mkdir(parents=True)
    (elsewhere / "mlcicd/__init__.py").write_text("raise SystemExit('ml: another machinery speaks')")
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    assert based(root, tmp_path).why.endswith("could not be trained: the base speaks")


def test_an_environment_of_the_base_sees_no_sources_of_this_tree(root, tmp_path, monkeypatch):
    old = git(root, "rev-parse", "HEAD")
    commit(root, {"uv.lock": LOCK.format("2.1")})
    monkeypatch.setenv("PATH", program(tmp_path / "bin", 'echo "error: sources [$PYTHONPATH]" >&2; exit 2'))
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    assert based(root, tmp_path, old).why.endswith("from its uv.lock: sources []")


@pytest.mark.parametrize("text", [None, "[project]\nname = 'p'\n", "not = = TOML"])
def test_a_base_that_declares_no_command_says_so(root, tmp_path, training, text):
    commit(root, {"pyproject.toml": text})
    found = based(root, tmp_path)
    assert (found.run, found.first, training) == (None, False, [])
    assert "pyproject.toml has no [project.entry-points.mlcicd] that declares a package" in found.why


@pytest.mark.usefixtures("training")
def test_a_base_of_another_name_is_named(root, tmp_path):
    git(root, "branch", "--move", "main", "master")
    found = based(root, tmp_path)
    assert (found.run, found.first) == (None, False)
    assert found.why == "there is no commit 'main' to compare with; name one with --base, such as master"
    assert based(root, tmp_path, "master").run is not None


@pytest.mark.parametrize("base", ["--output=x", "-h", "no such thing", ""])
def test_what_is_no_commit_is_none(root, tmp_path, base):
    found = based(root, tmp_path, base)
    assert (found.run, found.first) == (None, False) and f"no commit '{base}'" in found.why
    assert sorted(p.name for p in root.iterdir()) == sorted({name.split("/")[0] for name in FILES} | {".git"})


def test_a_folder_in_no_repository_says_so(tmp_path):
    (tmp_path / "plain").mkdir()
    assert "in no git repository" in based(tmp_path / "plain", tmp_path).why


@pytest.mark.usefixtures("training")
def test_a_branch_that_was_only_fetched_is_found(root, tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    git(clone, "switch", "--quiet", "--create", "feature")
    git(clone, "branch", "--delete", "--force", "main")
    assert based(clone, tmp_path).run is not None


@pytest.mark.usefixtures("training")
def test_only_a_base_without_a_model_needs_nobodys_decision(root, tmp_path):
    with_model = git(root, "rev-parse", "HEAD")
    bare = commit(root, {"params.yaml": None, "contract.yaml": None})
    commit(root, {name: FILES[name] for name in ("params.yaml", "contract.yaml")})
    found = based(root, tmp_path, bare)
    assert found.first and "has no model yet: this is the candidate alone" in found.why
    assert based(root, tmp_path, with_model).run is not None
    half = commit(root, {"params.yaml": None})
    assert not based(root, tmp_path / "half", half).first  # a training says what is missing


@pytest.mark.usefixtures("training")
def test_a_project_that_was_moved_has_a_model(root, tmp_path):
    git(root, "mv", "contract.yaml", "other.yaml")
    for name in ("params.yaml", "pyproject.toml", "uv.lock", "src"):
        (root / "sub").mkdir(exist_ok=True)
        git(root, "mv", name, f"sub/{name}")
    git(root, "mv", "other.yaml", "sub/contract.yaml")
    git(root, "commit", "--quiet", "--message", "move")
    found = based(root / "sub", tmp_path, "HEAD^")
    assert (found.run, found.first) == (None, False)
    assert "has its model in the repository's top folder, which this branch has moved" in found.why


def test_a_project_in_a_subfolder_beside_another_one(root, tmp_path, training):
    first = commit(root, {"notes.txt": "more"})
    commit(root, {f"teams/größe/{name}": text for name, text in FILES.items()})
    sub = root / "teams" / "größe"
    new = based(sub, tmp_path, first)  # the project above is where it was
    assert new.first, new.why
    assert based(sub, tmp_path, "HEAD").run is not None
    tree = training[0][1]
    assert (tree.name, tree.parent.name) == ("größe", "teams")
    assert based(root, tmp_path / "top", "HEAD").run is not None
    assert training[1][1].name == "tree"


# Its environment


def test_without_uv_another_lock_cannot_be_honoured(root, tmp_path, training, monkeypatch):
    old = git(root, "rev-parse", "HEAD")
    commit(root, {"uv.lock": LOCK.format("2.1")})
    monkeypatch.setenv("PATH", program(tmp_path / "bin", ""))
    found = based(root, tmp_path, old)
    assert (found.run, found.first, training) == (None, False, [])
    assert "without uv no environment is made for its uv.lock" in found.why


def test_a_base_that_pins_another_python_is_trained_by_it(root, tmp_path, training, monkeypatch):
    unpinned = git(root, "rev-parse", "HEAD")
    old = commit(root, {".python-version": "3.11\n"})
    assert based(root, tmp_path / "same", old).run is not None
    commit(root, {".python-version": "3.12\n"})
    assert based(root, tmp_path / "unpinned", unpinned).run is not None
    monkeypatch.setenv("PATH", program(tmp_path / "bin", f'echo "$PWD: $*" >> "{tmp_path}/uv"'))
    assert based(root, tmp_path / "other", old).run is not None
    assert [command[:2] for command, *_ in training] == [[sys.executable, "-m"]] * 2 + [["uv", "run"]]
    folder, _, asked = (tmp_path / "uv").read_text().strip().partition(": ")
    assert (Path(folder).name, asked) == ("tree", "sync --locked --no-default-groups")


def test_an_environment_that_cannot_be_made_names_the_cause(root, tmp_path, training, monkeypatch):
    old = git(root, "rev-parse", "HEAD")
    commit(root, {"uv.lock": LOCK.format("2.1")})
    says = "error: Failed to fetch: `https://packages.example/simple/numpy/`\n  Caused by: dns error\n"
    monkeypatch.setenv(
        "PATH", program(tmp_path / "bin", f"cat >&2 <<'END'\nResolving\n{says}hint: try again\nEND\nexit 2")
    )
    found = based(root, tmp_path, old)
    assert found.run is None and training == []
    assert (
        "cannot be made from its uv.lock: Failed to fetch: `https://packages.example/simple/numpy/`: dns error"
        in found.why
    )
    assert len(found.why.splitlines()) == 1


@pytest.mark.usefixtures("training")
def test_a_base_without_a_lock_was_trained_with_what_is_here(root, tmp_path):
    old = commit(root, {"uv.lock": None})
    commit(root, {"uv.lock": LOCK.format("2.0")})
    found = based(root, tmp_path, old)
    assert found.notes == ["The base has no uv.lock: it was trained with the libraries that are installed here."]


@pytest.mark.usefixtures("training")
def test_other_libraries_than_the_locks_are_named(root, tmp_path, pair):
    packages = pair[0].manifest["packages"]  # numpy 2.0
    assert based(root, tmp_path).notes == []
    commit(root, {"uv.lock": LOCK.format("2.1")})
    found = based(root, tmp_path / "again")
    assert found.notes == ["Main was trained in another environment than its uv.lock: numpy 2.0 instead of 2.1."]
    two = LOCK.format("1.9") + LOCK.format("2.0").replace("numpy", "NumPy") + '[[package]]\nname = "own_project"\n'
    assert environment.differing(two, packages | {"own-project": "0.1"}) == []


def test_a_training_that_fails_says_why_in_a_sentence(root, tmp_path, monkeypatch):
    true = baseline.run_step
    log = "reading\nml: contract broken: t.a: required: row 3\nml: contract broken: t.b: unique: row 4\n"
    fails = lambda c, f, **v: (1, log) if "train" in c else true(c, f, **v)  # noqa: E731
    monkeypatch.setattr(baseline, "run_step", fails)
    found = based(root, tmp_path)
    assert found.why.endswith("could not be trained: contract broken: t.a: required: row 3 (and 1 more)")
    assert not found.first
    assert git(root, "worktree", "list").count("\n") == 0


# Cached runs


def test_a_cached_run_of_another_version_or_commit_is_trained_anew(root, tmp_path, training, pair):
    head, cached = git(root, "rev-parse", "HEAD"), pair[1].path

    def manifest(**values: object) -> None:
        (cached / "manifest.json").write_text(json.dumps(pair[0].manifest | values), encoding="utf-8")

    kept = {}
    for name, values in {
        "good": {"schema": run.SCHEMA, "commit": head},
        "older": {"schema": run.SCHEMA - 1, "commit": head},
        "without": {"commit": head},
        "elsewhere": {"schema": run.SCHEMA, "commit": "0" * 40},
    }.items():
        manifest(**values)
        before = len(training)
        found = based(root, tmp_path / name, cached=cached)
        assert found.run is not None, found.why
        kept[name] = len(training) == before
    assert kept == {"good": True, "older": False, "without": False, "elsewhere": False}
    (cached / "manifest.json").write_text("{", encoding="utf-8")
    assert based(root, tmp_path / "broken", cached=cached).run is not None


# The report is there, whatever fails


def reviewed(root: Path, out: Path, **options: object) -> tuple[int, str, dict]:
    out.mkdir()
    code = review.review(root, "main", out, **options)
    text = (out / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert (out / "report.html").is_file()
    return code, text, json.loads((out / "comparison.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.usefixtures("training")
def test_what_cannot_be_compared_is_decided_by_params(root, tmp_path, pair, lenient):
    if lenient:
        with (pair[1].path / "params.yaml").open("a", encoding="utf-8") as file:
            file.write("review: {not_comparable: pass}\n")
    git(root, "branch", "--move", "main", "master")
    code, text, found = reviewed(root, tmp_path / "out")
    first = text.partition("<details>")[0]
    assert (code, found["verdict"], found["passed"]) == (0 if lenient else 1, "not-comparable", lenient)
    assert text.startswith(f"## Model review: not-comparable {'⚪' if lenient else '❌'}")
    assert "There is no commit 'main'" in first
    assert ("It passes all the same" if lenient else "a person has to decide") in first


@pytest.mark.parametrize("step", ["compare", "changes", "report"])
@pytest.mark.usefixtures("training")
def test_what_fails_after_both_trainings_is_in_the_report(root, tmp_path, monkeypatch, step):
    def fail(*_: object) -> None:
        raise TypeError("text and a date have no order")

    module, name = {
        "compare": (compare, "compare"),
        "changes": (run_diff, "between"),
        "report": (review_report, "review"),
    }[step]
    monkeypatch.setattr(module, name, fail)
    code, text, found = reviewed(root, tmp_path / "out")
    first = text.partition("<details>")[0]
    assert "text and a date have no order" in first
    assert (code, found["verdict"]) == {
        "compare": (1, "not-comparable"),
        "changes": (0, "same"),
        "report": (1, "same"),
    }[step]
    if step == "changes":
        assert "What changed beside the numbers cannot be told" in first
        assert "Changed:" not in first


def test_files_of_a_subfolder_are_named_from_there_and_as_they_are(root, pair):
    sub = root / "teams" / "größe"
    old = commit(root, {"teams/größe/src/grün und rot.py": "a = 1\n", "elsewhere.py": "b = 1\n"})
    commit(root, {"teams/größe/src/grün und rot.py": "a = 2\n", "elsewhere.py": "b = 2\n", "teams/größe/neu.py": "c\n"})
    manifests = [pair[0].manifest | {"commit": c} for c in (old, git(root, "rev-parse", "HEAD"))]
    found = run_diff._code(*manifests, sub)
    assert found == [
        {"file": "neu.py", "plus": "1", "minus": "0"},
        {"file": "src/grün und rot.py", "plus": "1", "minus": "1"},
    ]
