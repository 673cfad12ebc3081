"""Template updates reach a project that has lived: its own files stay, the machinery is new, nothing is hidden.

One project was made from the state before the newest, another from version 0.1.0, whose machinery lay in
``src/*/pipeline/``. The second needs this repository's history: a shallow clone skips its tests, a whole one does not.
"""

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

OWN = {f"{name}.py": f'\n\ndef ours() -> str:\n    return "{name}"\n' for name in ("prepare", "features", "model")}
FIRST = "0.1.0"  # the first version that was released
CHANGED = "service.py"  # a file of the template beside one's own; the newest state has it in other words
ADDED = "docs/added.md"  # and what it has for the first time


class Lived(NamedTuple):
    """A template with an old and a new state, and a project made from the old one."""

    template: Path
    project: Path

    @property
    def package(self) -> Path:
        return next((self.project / "src").glob("*/service.py")).parent


def cruft(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environ() | {"ML_CICD_SKIP_LOCK": "1", "PYTHONUTF8": "1"}
    return subprocess.run(["cruft", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def release(version: str) -> str | None:
    """The commit of a release: its tag, or the commit in which the changelog first dates it. None: not in this clone.

    Fails where the whole history is here and does not hold it.
    """
    if git(TEMPLATE, "tag", "--list", f"v{version}"):
        return f"v{version}"
    dated = ("log", "--reverse", "--format=%H", f"-S## {version} (20", "--", "CHANGELOG.md")
    try:
        found = git(TEMPLATE, *dated).split()
        whole = git(TEMPLATE, "rev-parse", "--is-shallow-repository") == "false"
    except RuntimeError:
        return None  # no repository: an archive of this one
    assert found or not whole, f"no commit dates {version} in CHANGELOG.md"
    # The commit at which a shallow history is cut off seems to add every line.
    return found[0] if whole else None


def template_in(folder: Path, first: str | None = None) -> Path:
    """This template as a repository: a commit of its history, or now; then now and two changes."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    if first:
        archive = subprocess.run(["git", "archive", first], cwd=TEMPLATE, capture_output=True, check=True).stdout
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


def made_from(template: Path, root: Path) -> Lived:
    """A project from the template's first state, which its people have changed since."""
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    root = tmp_path_factory.mktemp("update")
    return made_from(template_in(root / "template"), root)


@pytest.fixture(scope="module")
def made_with_0_1(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    first = release(FIRST)
    if first is None:
        pytest.skip(f"this clone lacks the history that holds {FIRST}: git fetch --unshallow")
    root = tmp_path_factory.mktemp("update-0.1")
    return made_from(template_in(root / "template", first), root)


def copied(made: Lived, folder: Path) -> Lived:
    git(folder, "clone", "--quiet", str(made.project), str(folder / "project"))
    return Lived(made.template, folder / "project")


@pytest.fixture
def lived(made: Lived, tmp_path: Path) -> Lived:
    """A copy of a project from the state before the newest."""
    return copied(made, tmp_path)


@pytest.fixture
def older(made_with_0_1: Lived, tmp_path: Path) -> Lived:
    """A copy of a project from version 0.1.0."""
    return copied(made_with_0_1, tmp_path)


def update(lived: Lived) -> str:
    done = cruft(lived.project, "update", "--skip-apply-ask")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def marks(folder: Path) -> set[str]:
    """Files that hold a conflict, or the part of an update that did not fit."""
    texts = [p for p in folder.rglob("*") if p.is_file() and ".git" not in p.relative_to(folder).parts[:1]]
    found = {p.name for p in texts if p.suffix == ".rej"}
    return found | {p.name for p in texts if b"\n<<<<<<< " in b"\n" + p.read_bytes()}


def check_updated(lived: Lived) -> None:
    """What is yours is there, nothing is left to decide, and all that is the template's is the newest."""
    assert marks(lived.project) == set()
    for name, text in OWN.items():
        assert (lived.package / name).read_text(encoding="utf-8").endswith(text)
    packages = next(lived.template.glob("{{*/packages"))
    for new in packages.rglob("*.py"):
        own = lived.project / "packages" / new.relative_to(packages)
        assert own.read_text(encoding="utf-8") == new.read_text(encoding="utf-8")
    assert (lived.project / ADDED).is_file()
    assert cruft(lived.project, "check").returncode == 0
    assert not (lived.project / "_churn").exists()


def test_an_update_keeps_what_is_yours_and_the_project_works(lived: Lived, project: Project) -> None:
    update(lived)
    check_updated(lived)
    updated = Project(lived.project, project.environment)
    done = updated.run("ml", "train")
    assert done.returncode == 0, done.stderr
    done = updated.run("pytest", "-q", "-x", "tests/test_data.py")
    assert done.returncode == 0, done.stdout[-3000:]


def run_all(project: Project, *commands: str) -> None:
    for command in commands:
        done = project.run(*command.split())
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]} {done.stderr[-3000:]}"


def test_a_project_of_version_0_1_moves_into_two_packages_and_works(older: Lived) -> None:
    """As docs/update.md tells it, in the environment that is there, with what Python compiled of the old machinery."""
    pipeline = older.package / "pipeline"
    compiled = pipeline / "__pycache__/cli.cpython-311.pyc"
    assert (pipeline / "cli.py").is_file()
    compiled.parent.mkdir()
    compiled.write_bytes(b"")
    project = Project(older.project, older.project / ".venv", {"PYTHONPATH": ""})
    run_all(project, "uv lock --quiet", "uv sync --quiet", "git add --all", "git commit --quiet --message Lock")
    update(older)
    check_updated(older)
    assert {path for path in pipeline.rglob("*") if path.is_file()} <= {compiled}, "git leaves what it ignores"
    settings = (older.project / "pyproject.toml").read_text(encoding="utf-8")
    assert f'package = "{older.package.name}"' in settings and "pipeline" not in settings
    run_all(project, "uv lock --quiet", "uv sync --quiet", "git add --all", "ml train")
    run_all(project, "pytest -q -x tests/test_data.py tests/test_churn.py", "pre-commit run --all-files")


def test_a_dependency_that_you_added_stays_between_marks(older: Lived) -> None:
    """The one question that an update from 0.1 asks: the machinery's own dependencies around yours are gone."""
    file = older.project / "pyproject.toml"
    last = '    "typer>=0.29",\n'
    file.write_text(file.read_text(encoding="utf-8").replace(last, f'{last}    "xgboost>=3",\n'), encoding="utf-8")
    git(older.project, "commit", "--quiet", "--all", "--message", "A library of ours")
    update(older)
    assert marks(older.project) == {"pyproject.toml"}
    text = file.read_text(encoding="utf-8")
    conflict = text[text.index("<<<<<<< ") : text.index(">>>>>>> ")]
    assert '"xgboost>=3"' in conflict and "mlcicd" not in conflict
    rest = text.replace(conflict, "")
    assert '    "mlcicd",\n' in rest and "[project.scripts]" not in rest


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
    assert marks(lived.project) & {CHANGED, f"{CHANGED}.rej"}
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
