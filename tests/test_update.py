"""Template updates reach a project that has lived: its own files stay, the machinery is new, nothing is hidden."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from acting import GitHub, Outcome, git
from conftest import TEMPLATE, Project, clean_environ, copy_of_template

OWN = {
    "prepare.py": "\n\ndef ours() -> str:\n    return 'prepare'\n",
    "features.py": "\n\ndef ours() -> str:\n    return 'features'\n",
    "model.py": "\n\ndef ours() -> str:\n    return 'model'\n",
}
CHANGED = "pipeline/errors.py"  # what the newest state has in other words
ADDED = "docs/added.md"  # and what it has for the first time


class Lived(NamedTuple):
    """A template with an old and a new state, and a project made from the old one."""

    template: Path
    project: Path

    @property
    def package(self) -> Path:
        return next((self.project / "src").glob("*/pipeline")).parent


def cruft(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environ() | {"ML_CICD_SKIP_LOCK": "1", "PYTHONUTF8": "1"}
    return subprocess.run(["cruft", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def template_in(folder: Path) -> Path:
    """This template as a repository: its first tagged state (now, where no tag is known), then now and two changes."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    tags = git(TEMPLATE, "tag", "--list", "v*", "--sort=creatordate").splitlines()
    if tags:
        archive = subprocess.run(["git", "archive", tags[0]], cwd=TEMPLATE, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    else:
        copy_of_template(folder)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "The first state")
    git(folder, "tag", "old")
    for entry in folder.iterdir():
        if entry.name != ".git":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    copy_of_template(folder)
    reword(next(folder.glob(f"{{{{*/src/*/{CHANGED}")), "The newest words of this file.")
    (next(folder.glob("{{*/docs")) / Path(ADDED).name).write_text("New.\n", encoding="utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Now")
    return folder


def reword(file: Path, words: str) -> None:
    """Give a file another first line."""
    rest = file.read_text(encoding="utf-8").partition("\n")[2]
    file.write_text(f'"""{words}"""\n{rest}', encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """A project from the template's first state, which its people have changed since."""
    root = tmp_path_factory.mktemp("update")
    template = template_in(root / "template")
    done = cruft(root, "create", str(template), "--checkout", "old", "--no-input", "--output-dir", str(root))
    assert done.returncode == 0, done.stdout + done.stderr
    lived = Lived(template, root / "customer-churn")
    for name, text in OWN.items():
        with (lived.package / name).open("a", encoding="utf-8") as file:
            file.write(text)
    linked = json.loads((lived.project / ".cruft.json").read_text())
    linked["checkout"] = None  # follow the newest state
    (lived.project / ".cruft.json").write_text(json.dumps(linked, indent=2))
    git(lived.project, "add", "--all")
    git(lived.project, "commit", "--quiet", "--message", "Ours")
    return lived


@pytest.fixture
def lived(made: Lived, tmp_path: Path) -> Lived:
    """A copy of it to update."""
    git(tmp_path, "clone", "--quiet", str(made.project), str(tmp_path / "project"))
    return Lived(made.template, tmp_path / "project")


def update(lived: Lived) -> str:
    done = cruft(lived.project, "update", "--skip-apply-ask")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def marks(folder: Path) -> set[str]:
    """Files that hold a conflict, or the part of an update that did not fit."""
    texts = [p for p in folder.rglob("*") if p.is_file() and ".git" not in p.relative_to(folder).parts[:1]]
    found = {p.name for p in texts if p.suffix == ".rej"}
    return found | {p.name for p in texts if b"\n<<<<<<< " in b"\n" + p.read_bytes()}


def test_an_update_keeps_what_is_yours_and_the_pipeline_works(lived: Lived, project: Project) -> None:
    update(lived)
    assert marks(lived.project) == set()
    for name, text in OWN.items():
        assert (lived.package / name).read_text(encoding="utf-8").endswith(text)
    for new in next(lived.template.glob("{{*/src/*/pipeline")).glob("*.py"):
        assert (lived.package / "pipeline" / new.name).read_text(encoding="utf-8") == new.read_text(encoding="utf-8")
    assert (lived.project / ADDED).is_file()
    assert cruft(lived.project, "check").returncode == 0
    assert not (lived.project / "_churn").exists()
    updated = Project(lived.project, project.environment)
    done = updated.run("ml", "train")
    assert done.returncode == 0, done.stderr
    done = updated.run("pytest", "-q", "-x", "tests/test_data.py")
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_update_that_changes_nothing_of_yours_is_quiet(lived: Lived) -> None:
    update(lived)
    changed = set(git(lived.project, "status", "--porcelain").replace("?? ", "").split())
    assert not any(name.endswith(("prepare.py", "features.py", "model.py", "params.yaml")) for name in changed)


def test_a_conflict_is_left_for_a_person_to_see(lived: Lived, project: Project) -> None:
    file = lived.package / CHANGED
    reword(file, "Our own words.")
    git(lived.project, "commit", "--quiet", "--all", "--message", "Ours, in the machinery")
    update(lived)
    assert "Our own words" in file.read_text(encoding="utf-8")
    assert marks(lived.project) & {"errors.py", "errors.py.rej"}
    git(lived.project, "add", "--all")
    hooks = Project(lived.project, project.environment).run("pre-commit", "run", "--all-files")
    assert hooks.returncode != 0


# The workflow ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(lived: Lived, project: Project, tmp_path: Path) -> Iterator[GitHub]:
    """The project on a GitHub, with a lock."""
    shutil.copy(project.root / "uv.lock", lived.project)
    git(lived.project, "add", "--all")
    git(lived.project, "commit", "--quiet", "--message", "Lock")
    yield GitHub(tmp_path / "hub", lived.project)


def run(hub: GitHub, **secrets: str) -> Outcome:
    outcome = hub.on_push("template-update", event="workflow_dispatch", secrets=secrets)
    assert outcome.conclusion == "success", outcome.log[-6000:]
    return outcome


def items(hub: GitHub, kind: str) -> list[dict]:
    file = hub.state / "hub.json"
    found = json.loads(file.read_text(encoding="utf-8"))["items"] if file.exists() else []
    return [item for item in found if item["kind"] == kind]


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed: apt-get install jq")


@needs_jq
def test_with_a_token_an_update_is_one_pull_request_however_often(hub: GitHub) -> None:
    run(hub, TEMPLATE_UPDATE_TOKEN="of-a-person")
    run(hub, TEMPLATE_UPDATE_TOKEN="of-a-person")
    [pull] = items(hub, "pr")
    assert "Its CHANGELOG.md says what you must do" in pull["body"]
    assert "does not fit" not in pull["body"]
    changed = git(hub.origin, "diff", "--name-only", "main", pull["headRefName"]).splitlines()
    assert ".cruft.json" in changed and ADDED in changed
    assert not any(name.endswith(("prepare.py", "features.py", "model.py")) for name in changed)
    assert {e["token"] for e in hub.events("credentials")} == {"of-a-person"}
    assert items(hub, "issue") == []


@needs_jq
def test_other_peoples_pull_requests_are_no_proposals(hub: GitHub, lived: Lived) -> None:
    branch = "template-update/" + git(lived.template, "rev-parse", "HEAD")[:12]
    hub.add_item("pr", "mallory", repository="mallory/churn", headRefName=branch)
    hub.add_item("pr", "a-colleague", headRefName="template-update/by-hand")
    run(hub, TEMPLATE_UPDATE_TOKEN="of-a-person")
    found = {pull["author"]: (pull["headRefName"], pull["state"], pull["body"][:6]) for pull in items(hub, "pr")}
    assert found == {
        "owner-of-the-token": (branch, "OPEN", "A newe"),
        "mallory": (branch, "OPEN", "Theirs"),
        "a-colleague": ("template-update/by-hand", "OPEN", "Theirs"),
    }


@needs_jq
def test_a_branch_with_somebodys_commits_is_left_alone(hub: GitHub, lived: Lived) -> None:
    branch = "template-update/" + git(lived.template, "rev-parse", "HEAD")[:12]
    theirs = hub.commit(branch, lambda tree: (tree / "notes.txt").write_text("mine"))
    outcome = hub.on_push("template-update", event="workflow_dispatch", secrets={"TEMPLATE_UPDATE_TOKEN": "a-persons"})
    assert outcome.conclusion == "failure"
    assert f"The branch {branch} is somebody else's" in outcome.log
    assert hub.head(branch) == theirs


@needs_jq
def test_without_a_token_an_issue_says_what_to_do(hub: GitHub) -> None:
    run(hub)
    run(hub)
    [issue] = items(hub, "issue")
    assert "uvx cruft update" in issue["body"] and "TEMPLATE_UPDATE_TOKEN" in issue["body"]
    assert items(hub, "pr") == []


@needs_jq
def test_a_conflict_stands_in_the_pull_request(hub: GitHub) -> None:
    hub.commit("main", lambda tree: reword(next(tree.glob(f"src/*/{CHANGED}")), "Our own words."))
    run(hub, TEMPLATE_UPDATE_TOKEN="of-a-person")
    [pull] = items(hub, "pr")
    assert "**It does not fit what you changed in these files." in pull["body"]
    assert CHANGED in pull["body"]


def test_the_newest_version_proposes_nothing(hub: GitHub, lived: Lived) -> None:
    update(lived)
    git(lived.project, "add", "--all")
    git(lived.project, "commit", "--quiet", "--message", "Updated")
    git(lived.project, "push", "--quiet", "--force", str(hub.origin), "HEAD:main")
    assert run(hub).jobs["propose"] == "skipped"


def test_a_project_without_a_link_is_told_so(hub: GitHub) -> None:
    hub.commit("main", lambda tree: (tree / ".cruft.json").unlink())
    outcome = run(hub)
    assert "No .cruft.json" in outcome.log
    assert outcome.jobs["propose"] == "skipped"


def test_only_main_is_updated(hub: GitHub) -> None:
    outcome = hub.on_push("template-update", event="workflow_dispatch", branch="elsewhere")
    assert outcome.jobs["update"] == "skipped"
