"""A GitHub for one project on this machine: its generated workflows run under act, with stand-ins for what is not here.

`GitHub` keeps a bare repository (what was pushed), a folder of state (artifacts, caches, API answers, comments, checks,
releases, a registry: see `actions/`) and starts workflows on events, each in a fresh clone, as GitHub would.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from answers import without_answers

ACTIONS = Path(__file__).resolve().parent / "actions"
BOT = "github-actions[bot]"
USES = re.compile(r"uses: ([\w.-]+/[\w.-]+)((?:/[\w.-]+)*)@([0-9a-f]{40})\s")
# Colours and movements of a terminal, which act gives to every step.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
# What would make a job use the environment of whoever started the tests.
FOREIGN = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT", "UV_RUN_RECURSION_DEPTH", "UV_PYTHON"}


@dataclass
class Outcome:
    """What one run of a workflow left behind.

    `jobs` and `steps` hold "success", "failure" or "skipped"; a step is named by (job id, step id or index). A matrix
    job counts as failed when one of its legs did.
    """

    workflow: str
    id: int
    event: dict[str, Any]
    conclusion: str = ""
    jobs: dict[str, str] = field(default_factory=dict)
    steps: dict[tuple[str, str], str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    seconds: float = 0.0


@dataclass
class Pull:
    """An open pull request."""

    number: int
    branch: str
    title: str
    repository: str
    base: str = "main"


EXECUTED: list[Outcome] = []
Progress = Callable[[str, str, str, float], None]


def workflow(project: Path, name: str) -> dict[str, Any]:
    """A project's workflow, parsed; the template's as the default answers leave it."""
    text = (project / ".github/workflows" / f"{name}.yml").read_text(encoding="utf-8")
    loaded = yaml.safe_load(without_answers(text))
    loaded["on"] = loaded.pop(True, None)  # YAML 1.1 reads the key `on` as a boolean
    return loaded


def step_key(index: int, step: dict[str, Any]) -> str:
    """The name under which act reports a step."""
    return str(step.get("id", index))


class GitHub:
    """One repository, its pull requests and its workflows."""

    def __init__(
        self,
        root: Path,
        project: Path,
        *,
        repository: str = "acme/churn",
        environment: Path | None = None,
        engine: bool = False,
        progress: Progress | None = None,
        counted: bool = True,
    ) -> None:
        """Take over a project's repository, with its branch `main`.

        Parameters
        ----------
        root
            An empty folder for everything.
        project
            The project: a git repository with at least one commit on `main`.
        repository
            OWNER/NAME.
        environment
            A project folder with a finished `.venv` for the jobs to start from, which saves time.
        engine
            Use the machine's own docker and skopeo instead of the stand-ins.
        progress
            Called after each step with job, step name, result and seconds.
        counted
            Whether its runs stand in the table of what was executed, which is of the default answers' workflows.
        """
        self.root, self.repository, self.progress = root, repository, progress
        self.environment, self.engine, self.counted = environment, engine, counted
        self.state, self.origin, self.work = root / "state", root / "origin.git", root / "work"
        self.state.mkdir(parents=True)
        git(root, "clone", "--quiet", "--bare", str(project), str(self.origin))
        git(root, "clone", "--quiet", str(self.origin), str(self.work))
        self.pulls: dict[int, Pull] = {}
        self.plan = ""  # a row of actions/plans.json
        self.server = "https://github.com"
        self.runs = itertools.count(101)

    def copy(self, root: Path) -> GitHub:
        """The same GitHub in another folder, to go on from here."""
        shutil.copytree(self.root, root, ignore=shutil.ignore_patterns("act", "checkouts"), symlinks=True)
        twin = copy.copy(self)
        twin.root, twin.pulls = root, dict(self.pulls)
        twin.state, twin.origin, twin.work = root / "state", root / "origin.git", root / "work"
        git(twin.work, "remote", "set-url", "origin", str(twin.origin))
        return twin

    # What people do ---------------------------------------------------------------------------------------------------

    def commit(
        self,
        branch: str,
        edit: Callable[[Path], None],
        *,
        base: str = "main",
        message: str = "Change",
        force: bool = False,
    ) -> str:
        """Commit an edit of the whole tree to a branch, made from `base` where it is new; returns the commit."""
        git(self.work, "fetch", "--quiet", "--prune", "origin")
        known = git(self.work, "for-each-ref", f"refs/remotes/origin/{branch}")
        start = f"origin/{branch}" if known and not force else f"origin/{base}" if not _is_sha(base) else base
        git(self.work, "checkout", "--quiet", "--force", "-B", branch, start)
        git(self.work, "clean", "--quiet", "-fd")
        edit(self.work)
        git(self.work, "add", "--all")
        git(self.work, "commit", "--quiet", "--allow-empty", "--no-verify", "--no-gpg-sign", "--message", message)
        git(self.work, "push", "--quiet", "--force", "origin", f"{branch}:refs/heads/{branch}")
        for pull in self.pulls.values():
            if pull.branch == branch:
                self._answer_pull(pull)
        return git(self.work, "rev-parse", "HEAD")

    def open(self, branch: str, *, title: str = "A change", fork: str = "", base: str = "main") -> Pull:
        """Open a pull request for a branch; `fork` names the repository that it comes from."""
        pull = Pull(len(self.pulls) + 1, branch, title, fork or self.repository, base)
        self.pulls[pull.number] = pull
        self._answer_pull(pull)
        return pull

    def retarget(self, pull: Pull, base: str) -> None:
        """Point a pull request at another base."""
        pull.base = base
        self._answer_pull(pull)
        event = {"event": "base_ref_changed", "created_at": time_of(next(self.runs))}
        self.answer(f"issues/{pull.number}/events", [event])

    def close(self, pull: Pull) -> None:
        """Close a pull request."""
        self._answer_pull(pull, state="closed")

    def merge(self, pull: Pull) -> str:
        """Merge a pull request into main; returns the merge commit."""
        git(self.work, "fetch", "--quiet", "origin")
        git(self.work, "checkout", "--quiet", "--force", "-B", "main", "origin/main")
        git(self.work, "merge", "--quiet", "--no-ff", "--message", f"Merge #{pull.number}", f"origin/{pull.branch}")
        git(self.work, "push", "--quiet", "origin", "main")
        self._answer_pull(pull, state="closed")
        return git(self.work, "rev-parse", "HEAD")

    def head(self, branch: str = "main") -> str:
        """The newest commit of a branch."""
        return git(self.origin, "rev-parse", f"refs/heads/{branch}")

    # What GitHub does -------------------------------------------------------------------------------------------------

    def on_pull_request(
        self, name: str, pull: Pull, *, base: str = "", changes: dict[str, Any] | None = None, **options: Any
    ) -> Outcome:
        """Run a workflow for a pull request, on its merge into its base, or into a commit where that was when it began.

        With `changes` the pull request was edited.
        """
        head, base = self.head(pull.branch), base or self.head(pull.base)
        payload = {
            "action": "synchronize" if changes is None else "edited",
            "changes": changes or {},
            "number": pull.number,
            "pull_request": {
                "number": pull.number,
                "title": pull.title,
                "head": {"sha": head, "ref": pull.branch, "repo": {"full_name": pull.repository}},
                "base": {"sha": base, "ref": pull.base, "repo": {"full_name": self.repository}},
            },
        }
        tree = self._clone(base)
        git(tree, "merge", "--quiet", "--no-ff", "--no-edit", head)
        return self._run(name, "pull_request", payload, tree, **options)

    def on_merge_group(self, name: str, pull: Pull, **options: Any) -> Outcome:
        """Run a workflow for a merge queue's commit: the pull request merged into main as it is now."""
        tree, base = self._clone(self.head()), self.head()
        git(tree, "merge", "--quiet", "--no-ff", "--no-edit", self.head(pull.branch))
        head = git(tree, "rev-parse", "HEAD")
        group = {"head_sha": head, "head_ref": f"refs/heads/gh-readonly-queue/{pull.base}/pr-{pull.number}-{base}"}
        group |= {"base_sha": base, "base_ref": f"refs/heads/{pull.base}"}
        return self._run(name, "merge_group", {"action": "checks_requested", "merge_group": group}, tree, **options)

    def on_push(
        self, name: str, *, event: str = "push", branch: str = "main", commit: str = "", **options: Any
    ) -> Outcome:
        """Run a workflow for the newest commit on main, or again for an older one.

        `branch` gives that commit another branch's name; `inputs` are those of a `workflow_dispatch`.
        """
        commit = commit or self.head()
        payload = {"ref": f"refs/heads/{branch}", "after": commit, "inputs": options.pop("inputs", {})}
        tree = self._clone(commit)
        if branch != "main":
            git(tree, "checkout", "--quiet", "-b", branch)
        return self._run(name, event, payload, tree, **options)

    def on_completed(self, run: Outcome, *, name: str = "report", **options: Any) -> Outcome:
        """Run a workflow for a run that completed; its file is main's, as on GitHub."""
        payload: dict[str, Any] = {"action": "completed", "workflow_run": self.workflow_run(run)}
        return self._run(name, "workflow_run", payload, self._clone(self.head()), **options)

    def workflow_run(self, run: Outcome) -> dict[str, Any]:
        """A completed run in GitHub's words; pull requests from forks are not listed in it."""
        pull = run.event.get("pull_request")
        source = (
            pull["head"]
            if pull
            else {"sha": run.event.get("after"), "ref": "main", "repo": {"full_name": self.repository}}
        )
        group = run.event.get("merge_group")
        if group:
            source = {"sha": group["head_sha"], "ref": group["head_ref"].removeprefix("refs/heads/")}
            source["repo"] = {"full_name": self.repository}
        own = pull and source["repo"]["full_name"] == self.repository
        return {
            "id": run.id,
            "event": "pull_request" if pull else "merge_group" if group else "push",
            "created_at": time_of(run.id),
            "conclusion": run.conclusion,
            "head_sha": source["sha"],
            "head_branch": source["ref"],
            "head_repository": source["repo"],
            "pull_requests": [{"number": pull["number"]}] if own else [],
        }

    # What can be looked at --------------------------------------------------------------------------------------------

    def comment(self, number: int) -> str:
        """The one review that Actions wrote on a pull request, without its mark; empty when there is none."""
        found = [entry["body"] for entry in self.comments(number) if entry["user"]["login"] == BOT]
        assert len(found) <= 1, f"{len(found)} comments on pull request {number}"
        return found[0].partition("\n\n![](https://cml.dev/watermark.png#")[0] if found else ""

    def comments(self, number: int) -> list[dict[str, Any]]:
        """All comments on a pull request, oldest first."""
        file = self.state / "comments" / f"{number}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []

    def add_item(self, kind: str, author: str, **values: Any) -> int:
        """Somebody opens an issue (`issue`) or a pull request (`pr`) beside those that the workflows open."""
        file = self.state / "hub.json"
        hub = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"items": [], "labels": []}
        item = {"kind": kind, "number": 500 + len(hub["items"]), "state": "OPEN", "title": "Theirs", "labels": []}
        item |= {"author": author, "repository": self.repository, "baseRefName": "main", "headRefName": None}
        hub["items"].append(item | {"body": "Theirs", "comments": []} | values)
        file.write_text(json.dumps(hub, indent=1), encoding="utf-8")
        return item["number"]

    def add_comment(self, number: int, body: str, login: str = "someone") -> None:
        """Somebody comments on a pull request."""
        file = self.state / "comments" / f"{number}.json"
        file.parent.mkdir(exist_ok=True)
        entries = self.comments(number)
        entries.append({"id": 1000 * number + len(entries) + 1, "body": body, "user": {"login": login}})
        file.write_text(json.dumps(entries), encoding="utf-8")

    def artifact(self, run: Outcome, name: str) -> zipfile.ZipFile:
        """An artifact that a run uploaded."""
        listing = self._answered(f"actions/runs/{run.id}/artifacts")
        found = next(entry["id"] for entry in json.loads(listing.read_text())["artifacts"] if entry["name"] == name)
        return zipfile.ZipFile(self._answered(f"actions/artifacts/{found}/zip"))

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """What the stand-ins recorded, in order."""
        file = self.state / "events.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [event for event in map(json.loads, lines) if not kind or event["event"] == kind]

    def tags(self) -> dict[str, str]:
        """The image's tags in the registry, and their digests."""
        folder = self.state / "registry/ghcr.io" / self.repository.lower()
        return {file.name: file.read_text() for file in folder.iterdir()} if folder.is_dir() else {}

    def releases(self) -> list[dict[str, Any]]:
        """GitHub releases, drafts included, oldest first."""
        found = [json.loads(file.read_text()) for file in (self.state / "releases").glob("*/release.json")]
        return sorted(found, key=lambda release: release["order"])

    def answer(self, path: str, content: Any) -> None:
        """Set what GitHub's API answers for a path below the repository."""
        file = self._answered(path)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

    def set_artifact(self, run: Outcome, content: bytes, *, name: str = "review", size: int | None = None) -> None:
        """Put an archive of one's own in the place of a run's artifact."""
        entry = {
            "id": run.id * 100,
            "name": name,
            "size_in_bytes": len(content) if size is None else size,
            "expired": False,
        }
        self.answer(f"actions/runs/{run.id}/artifacts", {"total_count": 1, "artifacts": [entry]})
        self.answer(f"actions/artifacts/{run.id * 100}/zip", content)

    # How it is done ---------------------------------------------------------------------------------------------------

    def _answered(self, path: str) -> Path:
        return self.state / "api" / quote(f"repos/{self.repository}/{path}", safe="")

    def _answer_pull(self, pull: Pull, state: str = "open") -> None:
        head = self.head(pull.branch)
        changed = git(self.origin, "diff", "--name-only", f"{pull.base}...{head}").splitlines()
        source = {"sha": head, "ref": pull.branch, "repo": {"full_name": pull.repository}}
        body = {
            "number": pull.number,
            "state": state,
            "title": pull.title,
            "head": source,
            "base": {"sha": self.head(pull.base), "ref": pull.base, "repo": {"full_name": self.repository}},
            "changed_files": len(changed),
        }
        self.answer(f"pulls/{pull.number}", body)
        for page in range(1, len(changed) // 100 + 2):
            names = [{"filename": name} for name in changed[100 * page - 100 : 100 * page]]
            self.answer(f"pulls/{pull.number}/files" + (f"@{page}" if page > 1 else ""), names)

    def _clone(self, commit: str) -> Path:
        tree = self.root / "checkouts" / str(next(self.runs))
        git(self.root, "clone", "--quiet", "--no-checkout", str(self.origin), str(tree))
        git(tree, "checkout", "--quiet", "-B", "main", commit)
        return tree

    def _run(
        self,
        name: str,
        event: str,
        payload: dict[str, Any],
        tree: Path,
        *,
        matrix: str = "",
        stop_after: str = "",
        fakes: Path | None = None,
        secrets: dict[str, str] | None = None,
        variables: dict[str, str] | None = None,
    ) -> Outcome:
        """Run a workflow in a clone.

        `matrix` keeps one leg, `stop_after` (job/step) kills it after a step, `fakes` holds programs that take the
        place of real ones, and `secrets` and `variables` are those of the repository.
        """
        payload["repository"] = {"full_name": self.repository, "default_branch": "main"}
        if self.plan:
            (self.state / "plan").write_text(self.plan)
        outcome = Outcome(name, int(tree.name), payload)
        file = self.root / f"event-{outcome.id}.json"
        file.write_text(json.dumps(payload))
        source = (tree / ".github/workflows" / f"{name}.yml").read_text(encoding="utf-8")
        command = ["act", event, "--json", "--verbose", "--rm"]
        command += ["--workflows", f".github/workflows/{name}.yml", "--eventpath", str(file)]
        command += [
            "--platform",
            "ubuntu-latest=-self-hosted",
            "--secret",
            "GITHUB_TOKEN=ghs_stand_in",
            "--actor",
            "someone",
        ]
        command += ["--env", f"GITHUB_RUN_ID={outcome.id}", "--env", f"GITHUB_REPOSITORY={self.repository}"]
        command += ["--env", f"GITHUB_SERVER_URL={self.server}"]
        for name, value in (variables or {}).items():
            command += ["--var", f"{name}={value}"]
        for secret, value in (secrets or {}).items():
            command += ["--secret", f"{secret}={value}"]
        if matrix:
            command += ["--matrix", matrix]
        for action, _, sha in sorted(set(USES.findall(source))):
            if action != "actions/checkout":
                if not (ACTIONS / action).is_dir():
                    raise FileNotFoundError(f"tests/actions/{action}: no stand-in for an action that {name}.yml uses")
                command += ["--local-repository", f"{action}@{sha}={ACTIONS / action}"]
        began = time.monotonic()
        environment = self._environment(stop_after, fakes)
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace", start_new_session=True,
        )  # fmt: skip
        if stop_after:
            threading.Thread(target=self._kill_when_stopped, args=(process,), daemon=True).start()
        threading.Thread(target=release_terminal, args=(process,), daemon=True).start()
        self._read(outcome, _lines(process))
        outcome.seconds = time.monotonic() - began
        if process.wait() != 0:
            outcome.conclusion = "failure"
        else:
            outcome.conclusion = "success" if "success" in outcome.jobs.values() else "skipped"
        shutil.rmtree(tree)
        (self.root / "logs").mkdir(exist_ok=True)
        (self.root / "logs" / f"{outcome.id}-{name}.log").write_text(outcome.log, encoding="utf-8")
        if self.counted:
            EXECUTED.append(outcome)
        return outcome

    def _environment(self, stop_after: str, fakes: Path | None) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("GITHUB_")
        }
        cache = kept.get("UV_CACHE_DIR") or subprocess.check_output(["uv", "cache", "dir"], text=True).strip()
        folders = [fakes, ACTIONS / "bin", None if self.engine else ACTIONS / "engine"]
        return kept | {
            "PATH": os.pathsep.join([*(str(folder) for folder in folders if folder), kept["PATH"]]),
            "STANDIN": str(self.state),
            "STANDIN_TOOLS": str(ACTIONS / "tools"),
            "STANDIN_ENVIRONMENT": "" if fakes else str(self.environment or ""),
            "STANDIN_STOP_AFTER": stop_after,
            "XDG_CACHE_HOME": str(self.root / "act"),
            "UV_CACHE_DIR": cache,
            "BENTOML_HOME": str(self.root / "bentoml"),
            # Waiting threads of OpenMP would take the two cores from each other.
            "OMP_WAIT_POLICY": "passive",
            "GIT_PAGER": "cat",
            "NO_COLOR": "1",
        }

    def _read(self, outcome: Outcome, lines: Iterator[str]) -> None:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                outcome.log += line
                continue
            job, step = entry.get("jobID", ""), entry.get("stepID") or []
            if "jobResult" in entry and outcome.jobs.get(job) != "failure":
                outcome.jobs[job] = entry["jobResult"]
            if entry.get("command") == "summary":
                outcome.summary += entry.get("content", "")
            if entry.get("level") != "debug" and "LocalRepositoryCache" not in entry.get("msg", ""):
                outcome.log += f"[{job}] {CONTROL.sub('', entry.get('msg', '')).rstrip()}\n"
            if "stepResult" in entry and entry.get("stage") == "Main" and len(step) == 1:
                key = (job, step[0])
                if outcome.steps.get(key) != "failure":
                    outcome.steps[key] = entry["stepResult"]
                if self.progress and entry["stepResult"] != "skipped":
                    self.progress(job, entry["step"], entry["stepResult"], entry.get("executionTime", 0) / 1e9)

    def _kill_when_stopped(self, process: subprocess.Popen[str]) -> None:
        marker = self.state / "stopped"
        while process.poll() is None:
            if marker.exists():
                os.killpg(process.pid, signal.SIGKILL)
                marker.unlink()
                return
            time.sleep(0.02)

    def stop_containers(self) -> None:
        """End what a killed job left running."""
        for file in (self.state / "containers").glob("*.pid"):
            try:
                os.killpg(int(file.read_text()), signal.SIGKILL)
            except ProcessLookupError:
                continue


def release_terminal(process: subprocess.Popen[str], polls: int = 5) -> None:
    """Repeat the end-of-output mark where act has missed it, and would wait for ever.

    act gives each step a terminal, and reads it until a part of the output ends with ``\\x04``, which it writes when
    the step is over. Once a second it writes that sign as a sign of life, too: its echo in one part hides the mark.
    """
    quiet = 0
    while process.poll() is None:
        time.sleep(1)
        quiet = 0 if _children(process.pid) else quiet + 1
        if quiet < polls:
            continue
        for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()).startswith("/dev/pts/"):
                    descriptor.write_bytes(b"\x04")


def _children(pid: int) -> bool:
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if file.read_text(errors="replace").rpartition(")")[2].split()[1] == str(pid):
                return True
    return False


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout.readline, "")


def _is_sha(name: str) -> bool:
    return re.fullmatch("[0-9a-f]{40}", name) is not None


def time_of(number: int) -> str:
    """When something happened: runs and events count up together."""
    return f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"


def git(folder: Path, *arguments: str) -> str:
    """Run git; return what it printed."""
    identity = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)} in {folder}: {done.stderr.strip()}")
    return done.stdout.strip()
