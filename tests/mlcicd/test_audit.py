"""Records made by hand against `ml audit`: they reach no git, no other file, no terminal."""

from __future__ import annotations

import json
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlcicd.core import errors
from mlcicd.lifecycle import audit as audits
from mlcicd.system import git
from mlcicd.training.run import PACKED

DIGEST = "0" * 64
HONEST: dict[str, Any] = {
    "files": {"metrics.json": DIGEST},
    "data": {"data/table.csv": DIGEST},
    "commit": "a" * 40,
    "uncommitted_changes": False,
    "contract": DIGEST,
    "params": DIGEST,
    "lock": None,
}
COMMITS = [
    "--output=/tmp/pwned",
    "--output=pwned",
    "-O/etc/passwd",
    "HEAD",
    "main",
    "a" * 39,
    "A" * 40,
    "a" * 40 + "\n--output=pwned",
    "a" * 40 + ":x",
    "",
    7,
    ["a" * 40],
]
NAMES = ["../../etc/passwd", "/etc/passwd", "/dev/zero", "a/../../b", "..", "", "a\\..\\b", "a\x1b[2J", "a\n::error::x"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one commit, and a run folder in it."""
    (tmp_path / "run").mkdir()
    for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def broken(root: Path, **parts: Any) -> str:
    """Audit a run with these records; return the line that says what is wrong, and see that nothing was written."""
    (root / "run" / "manifest.json").write_text(json.dumps(HONEST | parts), encoding="utf-8")
    before = sorted(path for path in root.rglob("*") if ".git" not in path.parts)
    try:
        answers, links = audits.audit(str(root / "run"), root)
        line = next(f"{link.name} {link.problem}" for link in links if link.problem)
        assert all(text.isprintable() for text in answers.values())
    except errors.InputError as error:
        line = str(error)
    assert sorted(path for path in root.rglob("*") if ".git" not in path.parts) == before
    assert line.isprintable()
    return line


@pytest.mark.parametrize("commit", COMMITS, ids=range(len(COMMITS)))
def test_what_is_no_commit_never_reaches_git(root: Path, commit: Any, monkeypatch: pytest.MonkeyPatch):
    called = []
    monkeypatch.setattr(git.subprocess, "run", lambda command, **_: called.append(command))
    assert "commit" in broken(root, commit=commit)
    assert called == []


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("part", ["files", "data"])
def test_no_name_leads_out_of_its_folder(root: Path, part: str, name: str):
    assert "relative path" in broken(root, **{part: {name: DIGEST}})


def test_a_link_out_of_the_run_is_no_file_of_it(root: Path):
    (root / "secret").write_text("s", encoding="utf-8")
    (root / "run" / "metrics.json").symlink_to(root / "secret")
    assert broken(root).startswith("metrics.json is missing")


@pytest.mark.parametrize("name", ["model.skops", "contract.yaml", "metrics.json", "params.yaml"])
def test_a_bento_lacks_nothing_that_is_packed(root: Path, name: str):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout
    (root / "mlcicd").mkdir()  # beside the run, as in a bento
    assert name in PACKED
    said = broken(root, commit=head.strip(), files={"rows.parquet": DIGEST, name: DIGEST})
    assert said.startswith(f"{name} is missing")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(list(HONEST)), VALUES, st.dictionaries(st.sampled_from(["files", "review", "approved_by"]), VALUES)
)
def test_any_record_is_an_answer_or_one_line(root: Path, part: str, value: Any, release: dict[str, Any]):
    (root / "run" / "release.json").write_text(json.dumps(release), encoding="utf-8")
    assert broken(root, **{part: value})


def machinery_links(root: Path, lock: str) -> dict[str, str]:
    """Audit a bento whose machinery came from an index, where the commit has this lock; return what was said of it."""
    (root / "uv.lock").write_text(lock, encoding="utf-8")
    for command in (["add", "uv.lock"], ["commit", "--quiet", "--message", "lock"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout
    (root / "run" / "manifest.json").write_text(json.dumps(HONEST | {"commit": head.strip()}), encoding="utf-8")
    links = audits.audit(str(root / "run"), root)[1]
    return {link.name: link.problem for link in links if link.name.startswith("mlcicd")}


def test_a_machinery_from_an_index_is_the_one_that_the_lock_names(root: Path):
    packed = root / "mlcicd/core/errors.py"
    packed.parent.mkdir(parents=True)
    packed.write_bytes(Path(errors.__file__).read_bytes())
    lock = f'[[package]]\nname = "mlcicd"\nversion = "{version("mlcicd")}"\n'
    assert machinery_links(root, lock) == {"mlcicd/core/errors.py": ""}
    packed.write_text("# backdoor\n", encoding="utf-8")
    assert "is not what the installed mlcicd" in machinery_links(root, lock + "# again\n")["mlcicd/core/errors.py"]
    for other in (lock.replace(version("mlcicd"), "9.9"), "[[package", ""):
        assert "audit again" in machinery_links(root, other)["mlcicd"]


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "[]", "1", '{"files": {}}', "\ufeff{}"])
def test_what_is_no_record_gets_one_line(root: Path, text: str):
    (root / "run" / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(errors.InputError) as caught:
        audits.audit(str(root / "run"), root)
    assert str(caught.value).isprintable()
