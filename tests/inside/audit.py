"""Records made by hand against `ml audit`: they reach no git, no other file, no terminal. See test_audit.py."""

from __future__ import annotations

import importlib
import json
import subprocess
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PACKAGE = next(iter(entry_points(group="console_scripts", name="ml"))).value.partition(".")[0]
audits = importlib.import_module(f"{PACKAGE}.pipeline.audit")
errors = importlib.import_module(f"{PACKAGE}.pipeline.errors")

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
    monkeypatch.setattr(audits.subprocess, "run", lambda command, **_: called.append(command))
    assert "commit" in broken(root, commit=commit)
    assert called == []


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("part", ["files", "data"])
def test_no_name_leads_out_of_its_folder(root: Path, part: str, name: str):
    assert "relative path" in broken(root, **{part: {name: DIGEST}})


def test_a_link_out_of_the_run_is_no_file_of_it(root: Path):
    (root / "secret").write_text("s", encoding="utf-8")
    (root / "run" / "metrics.json").symlink_to(root / "secret")
    assert broken(root).startswith("metrics.json is gone")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(list(HONEST)), VALUES, st.dictionaries(st.sampled_from(["files", "review", "approved_by"]), VALUES)
)
def test_any_record_is_an_answer_or_one_line(root: Path, part: str, value: Any, release: dict[str, Any]):
    (root / "run" / "release.json").write_text(json.dumps(release), encoding="utf-8")
    assert broken(root, **{part: value})


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, "[]", "1", '{"files": {}}', "\ufeff{}"])
def test_what_is_no_record_gets_one_line(root: Path, text: str):
    (root / "run" / "manifest.json").write_text(text, encoding="utf-8")
    with pytest.raises(errors.InputError) as caught:
        audits.audit(str(root / "run"), root)
    assert str(caught.value).isprintable()
