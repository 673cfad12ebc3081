"""A Jenkins for one project on this machine: `jenkins/harness.groovy` executes its Jenkinsfile, with real shells.

`Jenkins` keeps a bare repository (what was pushed), workspaces, which later builds find as they were left, and what
each build archived. Stand-ins in `jenkins/` take the places of uv (one prepared environment for all), of docker and its
registry, and of CML.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import clean_environ

TESTS = Path(__file__).parent
JVM = os.environ.get("JAVA_HOME") or next(map(str, sorted(Path("/usr/lib/jvm").glob("java-*-openjdk-*"))), "")
FOREIGN = ("GITHUB_", "GITLAB_", "CI_")
CREDENTIALS = {
    "cml-token": {"kind": "string", "value": "token-of-cml"},
    "registry": {"kind": "usernamePassword", "username": "robot", "password": "password-of-registry"},
}
NPX = """#!{python}
import os, sys
from pathlib import Path

package, noun, verb, target, publish, report = (sys.argv[2:] + [""] * 6)[:6]
if (sys.argv[1], package) != ("--yes", "@dvcorg/cml@0.20.6"):
    sys.exit(f"npx: another package than the pinned one: {{sys.argv}}")
if (noun, verb) != ("comment", "update"):
    sys.exit("cml: outside of their CIs there are no checks, and a new comment each time is one for each push")
if not target.startswith("--target=pr/") or not target.removeprefix("--target=pr/").isdecimal():
    sys.exit("cml: without the number of the pull request it does not know where it is")
if publish != "--publish=false" or os.environ.get("ITERATIVE_DO_NOT_TRACK") != "1":
    sys.exit("cml: pictures go to a public server, or telemetry is on")
if not os.environ.get("CML_REPO", "").startswith(("https://github.com/", "https://gitlab.com/")):
    sys.exit("cml: driver not set")
if os.environ.get("REPO_TOKEN") != "token-of-cml":
    sys.exit("cml: no token")
text = Path(report).read_text(encoding="utf-8")
if not text.strip():
    sys.exit("cml: the report is empty and would overwrite a good comment with nothing")
(Path(os.environ["STANDIN"]) / f"comment-{{target.rpartition('/')[2]}}").write_text(text, encoding="utf-8")
"""


def groovy(*pairs: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Execute Jenkinsfiles, each with its build."""
    flags = "-Xshare:auto -XX:TieredStopAtLevel=1 -Dfile.encoding=UTF-8"
    ours = {name: value for name, value in clean_environ().items() if not name.startswith(FOREIGN)}
    environment = ours | {"JAVA_HOME": JVM, "JAVA_OPTS": flags, "LC_ALL": "C.UTF-8"} | variables
    command = ["groovy", str(TESTS / "jenkins/harness.groovy"), *map(str, pairs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert "groovy.lang" not in done.stderr, done.stderr
    return done


def write_program(file: Path, text: str) -> None:
    """Write a program."""
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)


@dataclass
class Built:
    """What a build left behind."""

    folder: Path
    log: str
    result: str
    stages: dict[str, str]
    steps: list[dict[str, Any]]
    cron: str
    options: dict[str, Any]

    @property
    def archive(self) -> set[str]:
        """The names of archived files."""
        folder = self.folder / "archive"
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    def read(self, name: str) -> str:
        """The text of an archived file."""
        return (self.folder / "archive" / name).read_text(encoding="utf-8")


@dataclass
class Jenkins:
    """A multibranch project, what Jenkins keeps of it, and the repository that it builds."""

    root: Path
    environment: Path
    executed: set[int] = field(default_factory=set)

    @classmethod
    def open(cls, root: Path, project: Path, environment: Path) -> Jenkins:
        """Push a project, lock included, to a new repository."""
        own = cls(root, environment)
        for place in (own.state, root / "bin"):
            place.mkdir(parents=True)
        for name in ("uv", "docker"):
            write_program(root / "bin" / name, f'#!/bin/sh\nexec {sys.executable} {TESTS}/jenkins/{name}.py "$@"\n')
        write_program(root / "bin/npx", NPX.format(python=sys.executable))
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", root / "origin"], check=True)
        shutil.copytree(project, own.clone, ignore=shutil.ignore_patterns(".venv", "__pycache__"), symlinks=True)
        own.git("remote", "add", "origin", str(root / "origin"))
        own.git("add", "--all", "--force", "uv.lock")
        own.commit("main")
        return own

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    @property
    def state(self) -> Path:
        return self.root / "state"

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.clone, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, branch: str, edit: Callable[[Path], object] = lambda _: None, base: str = "main") -> str:
        """Commit an edit to a branch, and push it; a branch begins at its base."""
        switch = ["checkout", "--quiet"] + ([branch] if branch == "main" else ["-B", branch, base])
        self.git(*switch)
        edit(self.clone)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", "Change")
        self.git("push", "--quiet", "--force", "origin", branch)
        return self.git("rev-parse", "HEAD")

    def main(self, cause: str = "", **options: Any) -> Built:
        """Build main."""
        return self.build("main", {"BRANCH_NAME": "main"}, self.git("rev-parse", "main"), cause=cause, **options)

    def change(self, branch: str, number: int = 7, *, fork: bool = False, **options: Any) -> Built:
        """Build a pull request into main."""
        env = {
            "CHANGE_ID": str(number),
            "CHANGE_TARGET": "main",
            "CHANGE_BRANCH": branch,
            "BRANCH_NAME": f"PR-{number}",
        }
        env |= {"CHANGE_FORK": "mallory"} if fork else {}
        into = self.git("rev-parse", "main")
        return self.build(f"PR-{number}", env, self.git("rev-parse", branch), into=into, **options)

    def build(
        self, name: str, env: dict[str, str], commit: str, *, into: str = "", cause: str = "", killed: str = ""
    ) -> Built:
        """Build a commit, as the job of a branch or of a change."""
        job = self.root / "jobs/churn" / name
        number = 1 + len([path for path in job.glob("*") if path.is_dir()])
        folder = job / str(number)
        folder.mkdir(parents=True)
        of = {"JOB_NAME": f"churn/{name}", "BUILD_TAG": f"jenkins-churn-{name}-{number}", "BUILD_NUMBER": str(number)}
        of |= {"JENKINS_URL": "https://ci.example/", "BUILD_URL": f"https://ci.example/job/churn/{name}/{number}/"}
        places = {name: str(self.root / name) for name in ("jobs", "workspaces")}
        given = {
            **places, "env": env | of, "folder": str(folder), "remote": str(self.root / "origin"),
            "labels": ["ml", "ml-trusted"], "credentials": CREDENTIALS, "cause": cause, "commit": commit,
            "mergedInto": into, "killedAfter": killed,
        }  # fmt: skip
        (folder / "build.json").write_text(json.dumps(given), encoding="utf-8")
        # Whose Jenkinsfile it is: the change's own, but a stranger's is read from the target.
        file = folder / "Jenkinsfile"
        revision = into if "CHANGE_FORK" in env else commit
        file.write_text(self.git("show", f"{revision}:Jenkinsfile") + "\n", encoding="utf-8")
        path = os.pathsep.join([str(self.root / "bin"), os.environ["PATH"]])
        tools = str(TESTS / "actions/tools")
        variables = {"STANDIN": str(self.state), "STANDIN_TOOLS": tools, "ENVIRONMENT": str(self.environment)}
        variables["REAL_UV"] = shutil.which("uv") or ""
        done = groovy(file, folder / "build.json", PATH=path, OMP_WAIT_POLICY="passive", **variables)
        log = done.stdout + done.stderr
        assert (folder / "result.json").is_file(), log
        built = Built(folder, log, **json.loads((folder / "result.json").read_text(encoding="utf-8")))
        assert done.returncode == {"SUCCESS": 0, "FAILURE": 1, "KILLED": 9}[built.result], log
        self.executed |= {step["line"] for step in built.steps}
        return built

    def copy(self, folder: Path) -> Jenkins:
        """Another one with the same past, whose executed lines count for this one."""
        shutil.copytree(self.root, folder, symlinks=True)
        own = Jenkins(folder, self.environment, self.executed)
        own.git("remote", "set-url", "origin", str(folder / "origin"))
        return own

    def pretend(self) -> None:
        """Let what takes long only pretend."""
        (self.state / "pretends").touch()

    def asked(self) -> list[str]:
        """What uv was asked for, in order."""
        return (self.state / "asked").read_text(encoding="utf-8").splitlines()

    def pushed(self) -> list[str]:
        """The tags that were pushed, in order."""
        events = (self.state / "events.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in events]
        return [event["name"].rpartition(":")[2] for event in found if event["event"] == "push"]

    def comment(self, number: int = 7) -> str:
        """The comment on a pull request; empty where there is none."""
        file = self.state / f"comment-{number}"
        return file.read_text(encoding="utf-8") if file.is_file() else ""
