"""The pipeline of the answer ci=gitlab: linted against GitLab's schema, and executed by gitlab-ci-local.

Jobs run in the project's folder with this machine's shell, without their images; a stand-in takes CML's place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PYTHONS, Project, bake, clean_environ

VERSION = "4.70.1"  # the newest for Node 20
CML = """#!{python}
import os, sys
from pathlib import Path

package, noun, verb, target, publish, report = (arguments := sys.argv[2:] + [""] * 6)[:6]
if sys.argv[1] != "--yes" or package != "@dvcorg/cml@0.20.6":
    sys.exit(f"npx: another package than the pinned one: {{sys.argv}}")
if (noun, verb) != ("comment", "update"):
    sys.exit("cml: GitLab has no checks, and a comment that is created each time is one for each push")
if not target.startswith("--target=pr/") or not target.removeprefix("--target=pr/").isdecimal():
    sys.exit("cml: without the number of the merge request the target is a commit, whose notes cannot be updated")
if publish != "--publish=false" or os.environ.get("ITERATIVE_DO_NOT_TRACK") != "1":
    sys.exit("cml: pictures go to a public server, or telemetry is on")
if not os.environ.get("REPO_TOKEN"):
    sys.exit("cml: no token")
text = Path(report).read_text(encoding="utf-8")
if not text.strip():
    sys.exit("cml: the report is empty and would overwrite a good note with nothing")
note = Path(os.environ["NOTES"]) / target.rpartition("/")[2]
note.write_text(text, encoding="utf-8")
"""

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not all(map(shutil.which, ("npm", "rsync"))), reason="npm or rsync is not on PATH"
)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gitlab-ci-local, from npm."""
    folder = tmp_path_factory.mktemp("gitlab-ci-local")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run([*command, f"gitlab-ci-local@{VERSION}"], check=True, timeout=300)
    return folder / "node_modules/.bin/gitlab-ci-local"


class GitLab:
    """A project on GitLab, and what its merge requests show."""

    def __init__(self, folder: Path, project: Project, program: Path) -> None:
        self.root, self.program, self.notes = project.copy(folder / "project").root, program, folder / "notes"
        self.fakes = folder / "bin"
        for place in (self.notes, self.fakes):
            place.mkdir()
        (self.fakes / "npx").write_text(CML.format(python=sys.executable), encoding="utf-8")
        (self.fakes / "npx").chmod(0o755)
        self.git("remote", "set-url", "origin", "https://gitlab.example.org/acme/churn.git")
        self.base = self.git("rev-parse", "HEAD")
        self.git("update-ref", "refs/remotes/origin/main", self.base)

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, edit: Callable[[Path], object]) -> None:
        """Commit an edit."""
        edit(self.root)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", "change")

    def branch(self, edit: Callable[[Path], object]) -> None:
        """Commit an edit to a new branch."""
        self.git("checkout", "--quiet", "-B", "change", self.base)
        self.commit(edit)

    def pipeline(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run gitlab-ci-local on the commit that is checked out."""
        command = [str(self.program), "--force-shell-executor", *arguments]
        # It says `false` by default, to be told from GitLab.
        for name, value in ({"GITLAB_CI": "true", "NOTES": str(self.notes)} | variables).items():
            command += ["--variable", f"{name}={value}"]
        environment = {
            name: value for name, value in clean_environ().items() if not name.startswith(("GITHUB_", "GITLAB_", "CI_"))
        }
        environment["PATH"] = os.pathsep.join([str(self.fakes), environment["PATH"]])
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=600)

    def merge_request(
        self, *arguments: str, token: str = "glpat", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the pipeline of merge request 7; a fork's has no token."""
        of = {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1" if token else "2",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.base,
        }
        return self.pipeline(*arguments, **of, **({"REPO_TOKEN": token} if token else {}), **variables)

    def jobs(self, listed: subprocess.CompletedProcess[str]) -> set[str]:
        """The names in a list of jobs."""
        assert listed.returncode == 0, listed.stdout + listed.stderr
        return {row.partition(";")[0] for row in listed.stdout.splitlines() if ";" in row} - {"name"}


@pytest.fixture(scope="module")
def prepared(project: Project, program: Path, tmp_path_factory: pytest.TempPathFactory) -> GitLab:
    """A project on GitLab. Do not change it."""
    folder = tmp_path_factory.mktemp("gitlab")
    root = bake(folder / "bake", ci="gitlab")
    shutil.copyfile(project.root / "uv.lock", root / "uv.lock")
    baked = Project(root, project.environment)
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "lock"]):
        assert baked.run("git", *command).returncode == 0
    return GitLab(folder, baked, program)


@pytest.fixture
def gitlab(prepared: GitLab) -> GitLab:
    """The same project, on main, without what other tests left behind."""
    prepared.git("checkout", "--quiet", "main")
    shutil.rmtree(prepared.root / "review", ignore_errors=True)
    for note in prepared.notes.iterdir():
        note.unlink()
    return prepared


def test_gitlabs_own_schema_accepts_the_file(gitlab: GitLab):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml"]
    done = subprocess.run(command, cwd=gitlab.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


CHECKS = {"lint", *(f"test: [{version}]" for version in PYTHONS)}


def test_each_kind_of_pipeline_has_its_jobs(gitlab: GitLab):
    assert gitlab.jobs(gitlab.pipeline("--list-csv", CI_PIPELINE_SOURCE="push")) == CHECKS | {"baseline"}
    gitlab.branch(lambda tree: (tree / "contract.yaml").unlink())
    assert gitlab.jobs(gitlab.merge_request("--list-csv")) == CHECKS | {"review", "report"}
    assert gitlab.jobs(gitlab.merge_request("--list-csv", token="")) == CHECKS | {"review"}
    gitlab.git("checkout", "--quiet", "--detach")
    assert "baseline" not in gitlab.pipeline("--list-csv", CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main").stdout


def test_documentation_alone_is_said_to_be_so(gitlab: GitLab):
    gitlab.branch(lambda tree: (tree / "docs/Überblick.md").write_text("More.\n"))
    done = gitlab.merge_request("review", "report")
    assert done.returncode == 0, done.stdout
    assert "Only documentation changed" in (gitlab.notes / "7").read_text(encoding="utf-8")
