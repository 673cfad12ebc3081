"""What a release says of itself, without any CI: its notes, and the statement of where it comes from."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import TEMPLATE
from scripts import SCRIPTS, script

notes, provenance = script("release_notes"), script("provenance")
SHA = "a" * 40
ENV = {
    "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "acme/churn", "GITHUB_REF": "refs/heads/main",
    "GITHUB_EVENT_NAME": "push", "GITHUB_SHA": SHA, "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "2",
    "REPOSITORY_ID": "1", "OWNER_ID": "2", "RUNNER": "github-hosted", "IMAGE": "ghcr.io/acme/churn",
}  # fmt: skip
PREVIOUS = "model-2026.01.01-bbbbbbb"


def program(folder: Path, name: str, code: str) -> None:
    """A program on PATH, in Python; it notes what it was asked."""
    file = folder / name
    asked = f"import json, sys\nopen({str(folder / 'asked')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    file.write_text(f"#!{sys.executable}\n{asked}{code}\n", encoding="utf-8")
    file.chmod(0o755)


def run(name: str, folder: Path, **variables: str) -> str:
    """Run a script as `release` does, with the programs in the folder's parent; returns what it prints."""
    path = os.pathsep.join([str(folder.parent), os.environ["PATH"]])
    env = os.environ | ENV | {"PATH": path, "GITHUB_STEP_SUMMARY": str(folder.parent / "summary"), "PYTHONUTF8": "1"}
    command = [sys.executable, SCRIPTS / f"{name}.py", folder]
    done = subprocess.run(command, env=env | variables, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The folder that `build` hands over: a model card, and a packed run with its record."""
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "card.md").write_text("# Model card\n\nIt predicts.\n", encoding="utf-8")
    record = b'{"approved_by": ["a"]}'
    with tarfile.open(folder / "run.tar.gz", "w:gz") as packed:
        entry = tarfile.TarInfo("model/release.json")
        entry.size = len(record)
        packed.addfile(entry, io.BytesIO(record))
    return folder


def test_the_statement_names_image_run_and_record(release: Path) -> None:
    program(release.parent, "skopeo", "print('sha256:' + 'c' * 64)")
    printed = run("provenance", release)
    assert json.loads((release.parent / "asked").read_text()) == [
        "inspect", "--format", "{{.Digest}}", f"dir:{release}/image"
    ]  # fmt: skip
    assert (release / "provenance.json").read_text(encoding="utf-8") == printed
    found = json.loads(printed)
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in found["subject"]}
    assert list(digests) == ["ghcr.io/acme/churn", "run.tar.gz", "release.json"]
    assert digests["ghcr.io/acme/churn"] == "c" * 64
    assert digests["run.tar.gz"] == hashlib.sha256((release / "run.tar.gz").read_bytes()).hexdigest()
    assert digests["release.json"] == hashlib.sha256(b'{"approved_by": ["a"]}').hexdigest()
    ran = found["predicate"]["runDetails"]
    assert ran["metadata"]["invocationId"] == "https://github.com/acme/churn/actions/runs/7/attempts/2"
    assert ran["builder"]["id"] == "https://github.com/acme/churn/.github/workflows/release.yml@refs/heads/main"


def test_a_run_without_its_record_is_not_stated(release: Path) -> None:
    with tarfile.open(release / "run.tar.gz", "w:gz"):
        pass
    with pytest.raises(KeyError, match=r"release\.json"):
        provenance.digests_of_run(release / "run.tar.gz")


GH = """
if sys.argv[1] == "api":
    {answer}
print("[]")
"""


@pytest.mark.parametrize("previous", ["", PREVIOUS])
def test_the_notes_are_written_for_both_ends(release: Path, previous: str) -> None:
    answer = f"assert sys.argv[2].endswith('bbbbbbb...{SHA}'); print(json.dumps(['b' * 40, 'd' * 40])); sys.exit()"
    program(release.parent, "gh", GH.format(answer=answer))
    run("release_notes", release, PREVIOUS=previous)
    signed, unsigned = ((release / name).read_text(encoding="utf-8") for name in ("signed.md", "unsigned.md"))
    card, rest = signed.split("\n\n**Provenance**: ")
    assert card == "# Model card\n\nIt predicts."
    first, *more = rest.splitlines()
    assert first.startswith("signed by GitHub. `gh attestation verify run.tar.gz --repo acme/churn --signer-workflow ")
    assert more == (["", f"**Since {PREVIOUS}**: bbbbbbb, ddddddd"] if previous else [])
    other = unsigned.replace(notes.UNSIGNED, first)
    assert (other, signed) == (signed, other) and notes.UNSIGNED in unsigned


def test_what_github_does_not_know_stops_no_release(release: Path) -> None:
    program(release.parent, "gh", GH.format(answer="sys.exit('gh: Not Found (HTTP 404)')"))
    assert f"::notice::What came since {PREVIOUS} is not known." in run("release_notes", release, PREVIOUS=PREVIOUS)
    assert "Since" not in (release / "signed.md").read_text(encoding="utf-8")


def test_of_many_commits_the_newest_are_named() -> None:
    commits = [f"{n:040d}" for n in range(1000, 1100)]
    assert notes.since("x", commits).count(",") == 49 and notes.since("x", []) == ""


def test_when_monitor_last_looked_stands_below_and_in_the_summary(release: Path) -> None:
    looked = [{"event": "schedule", "createdAt": "2020-01-06T05:17:00Z"}]
    program(release.parent, "gh", f"print({json.dumps(json.dumps(looked))})")
    run("release_notes", release, PREVIOUS="")
    for text in (
        (release / "unsigned.md").read_text(encoding="utf-8"),
        (release.parent / "summary").read_text("utf-8"),
    ):
        assert "🔴 **`monitor` last looked at new data" in text


def test_the_statement_reads_nothing_but_what_the_step_gives() -> None:
    found: dict[str, Any] = provenance.statement({"a": "b"}, ENV)
    assert found["subject"] == [{"name": "a", "digest": {"sha256": "b"}}]
    assert (TEMPLATE / "{{cookiecutter.project_slug}}" / provenance.WORKFLOW).is_file()
