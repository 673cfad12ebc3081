"""A project on GitLab, whose pipelines gitlab-ci-local runs on this machine with the stand-ins of this folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from conftest import BIN, Project, bake, clean_environ
from workflows.conftest import shrink

from gitlab_standins.server import JOB, Server

STANDINS = Path(__file__).with_name("bin")
VERSION = "4.70.1"  # the newest for Node 20
IMAGE = "registry.example.org/acme/churn"
PUSH = {"CI_PIPELINE_SOURCE": "push"}
EXECUTED: dict[tuple[str, str], set[str]] = {}  # how each line of each job ran


def install(folder: Path) -> Path:
    """Install gitlab-ci-local from npm; return the program."""
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run([*command, f"gitlab-ci-local@{VERSION}"], check=True, timeout=300)
    return folder / "node_modules/.bin/gitlab-ci-local"


class Pipeline:
    """What became of a pipeline: the log, and how each job ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.log = re.sub("\x1b\\[[0-9;]*m", "", done.stdout + done.stderr)
        self.passed = set(re.findall(r"^ ?PASS *(.+?) *$", self.log, re.MULTILINE))
        self.failed = set(re.findall(r"^ ?FAIL *(\S+).*$", self.log, re.MULTILINE))
        assert (done.returncode == 0) is not bool(self.failed), self.log


class GitLab:
    """A project on GitLab, the state of the stand-ins, and what its merge requests show."""

    def __init__(
        self, folder: Path, project: Project, program: Path, change: Callable[[Path], object] = shrink
    ) -> None:
        self.project, self.program, self.folder = project, program, folder
        self.root = project.copy(folder / "project").root
        self.state, self.server = folder / "state", Server()
        self.bin = folder / "bin"
        shutil.copytree(STANDINS, self.bin)
        for name in ("buildah", "skopeo"):
            shutil.copy(self.bin / "images", self.bin / name)
        self.commit(change)
        self.base = self.git("rev-parse", "HEAD")
        self.git("clone", "--quiet", "--bare", ".", str(folder / "origin.git"))
        self.git("remote", "set-url", "origin", "https://gitlab.example.org/acme/churn.git")
        self.git("config", f"url.{folder}/origin.git.insteadOf", "https://gitlab.example.org/acme/churn.git")
        with (self.root / ".git/info/exclude").open("a") as file:
            file.write("/.gitlab-ci-local/\n")
        self.clean()

    def clean(self) -> None:
        """Forget what earlier pipelines left behind."""
        self.git("checkout", "--quiet", "--force", "-B", "main", self.base)
        self.git("clean", "-ffdxq")
        self.git("update-ref", "refs/remotes/origin/main", self.base)
        shutil.rmtree(self.state, ignore_errors=True)
        self.state.mkdir()
        self.server.http.shutdown()
        self.server = Server()

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.root, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, edit: Callable[[Path], object], message: str = "change") -> str:
        """Commit an edit."""
        edit(self.root)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--no-verify", "--message", message)
        return self.git("rev-parse", "HEAD")

    def branch(self, edit: Callable[[Path], object]) -> str:
        """Commit an edit to a new branch."""
        self.git("checkout", "--quiet", "-B", "change", self.base)
        return self.commit(edit)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run gitlab-ci-local on the commit that is checked out."""
        command = [str(self.program), "--force-shell-executor", "--shell-isolation", *arguments]
        command.append("--artifacts-to-source=false")
        command += ["--json-schema-validation=false"]  # a test of its own does it
        given = {
            "GITLAB_CI": "true",  # it says `false` by default, to be told from GitLab
            "CI_API_V4_URL": self.server.url,
            "CI_PROJECT_ID": "1",
            "CI_PROJECT_URL": "https://gitlab.example.org/acme/churn",
            "CI_JOB_TOKEN": JOB,
            "CI_REGISTRY": IMAGE.split("/")[0],
            "CI_REGISTRY_IMAGE": IMAGE,
            "CI_REGISTRY_USER": "gitlab-ci-token",
            "CI_REGISTRY_PASSWORD": JOB,
        }
        for name, value in (given | variables).items():
            command += ["--variable", f"{name}={value}"]
        foreign = ("GITHUB_", "GITLAB_", "CI_")
        environment = {name: value for name, value in clean_environ().items() if not name.startswith(foreign)}
        environment |= {
            "PATH": os.pathsep.join([str(self.bin), environment["PATH"]]),
            "STANDIN": str(self.state),
            "PROJECT_BIN": str(self.project.environment / BIN),
        }
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=600)

    def pipeline(self, *jobs: str, **variables: str) -> Pipeline:
        """Run a pipeline, or some of its jobs."""
        done = Pipeline(self.run(*jobs, **variables))
        how = "pretended" if "PRETEND" in variables else "really"
        for job, line in re.findall(r"^(\S+)(?:: \[[^]]*\])? +\$ (.*)$", done.log, re.MULTILINE):
            EXECUTED.setdefault((job, line), set()).add(how)
        return done

    def artifact(self, job: str, path: str) -> Path:
        """What a job left behind."""
        return self.root / ".gitlab-ci-local/artifacts" / job / path

    def push(self) -> None:
        """Let GitLab know what is checked out as main; the clone here knows main as it was, as `changes` needs it."""
        self.git("push", "--quiet", "--force", str(self.folder / "origin.git"), "HEAD:main")

    def jobs(self, **variables: str) -> set[str]:
        """The names of the jobs that a pipeline has."""
        listed = self.run("--list-csv", **variables)
        assert listed.returncode == 0, listed.stdout + listed.stderr
        return {row.partition(";")[0] for row in listed.stdout.splitlines() if ";" in row} - {"name"}

    def merge_request(self, token: str = "glpat") -> dict[str, str]:
        """The variables of the pipeline of merge request 7; a fork's has no token."""
        return {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1" if token else "2",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": self.base,
            **({"REPO_TOKEN": token} if token else {}),
        }

    def asked(self) -> list[str]:
        """What the stand-ins were asked to do, without the installations."""
        lines = (self.state / "asked").read_text().splitlines() if (self.state / "asked").exists() else []
        return [line.removeprefix("run --no-sync ") for line in lines if not line.startswith("sync ")]

    @property
    def note(self) -> str:
        """The note on merge request 7."""
        return (self.state / "notes/7").read_text(encoding="utf-8")

    def tags(self) -> set[str]:
        """The tags in the registry."""
        return {file.stem for file in (self.state / "registry").rglob("*.json")}


def project_on_gitlab(folder: Path, project: Project, program: Path, **answers: str) -> GitLab:
    """Bake a project for GitLab; it borrows the environment and the lock of another."""
    root = bake(folder / "bake", ci="gitlab", **answers)
    shutil.copyfile(project.root / "uv.lock", root / "uv.lock")
    baked = Project(root, project.environment)
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "lock"]):
        assert baked.run("git", *command).returncode == 0
    return GitLab(folder, baked, program)
