"""`ml ci`: what a job is to do, told from a CI's environment and a real git repository, without any CI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import MACHINERY
from hypothesis import given
from hypothesis import strategies as st
from mlcicd import cli
from mlcicd.ci import github, plan, systems
from mlcicd.ci.review import review
from mlcicd.core.errors import InputError
from mlcicd.integrations import records
from mlcicd.training import run
from test_review import commit, git
from typer.testing import CliRunner

MODEL = {
    "contract.yaml": "a",
    "pyproject.toml": '[project.entry-points.mlcicd]\npackage = "shop"\n',
    "src/shop/model.py": "",
}
ORIGIN = "refs/remotes/origin/main"
IMAGE = "registry.example/acme/churn"


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project on main, as a clone of it would be on a branch `change`."""
    folder = tmp_path_factory.mktemp("pristine") / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, MODEL)
    git(folder, "update-ref", ORIGIN, "HEAD")
    git(folder, "checkout", "--quiet", "-b", "change")
    return folder


@pytest.fixture
def repository(pristine: Path, tmp_path: Path) -> Path:
    """A clone of one's own."""
    return Path(shutil.copytree(pristine, tmp_path / "clone"))


def head(repository: Path, name: str = "HEAD") -> str:
    return git(repository, "rev-parse", name)


class OnGitHub:
    """The environment of a job of GitHub Actions."""

    image = "ghcr.io/acme/churn"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _env(self, name: str, event: dict, sha: str) -> dict[str, str]:
        file = self.folder / "event.json"
        file.write_text(json.dumps(event | {"repository": {"default_branch": "main"}}), encoding="utf-8")
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "Acme/Churn",
            "GITHUB_EVENT_NAME": name,
            "GITHUB_EVENT_PATH": str(file),
            "GITHUB_SHA": sha,
        }

    def change(self, base: str, branch: str, checked_out: str, fork: bool = False) -> dict[str, str]:
        repository = {"full_name": "mallory/churn" if fork else "Acme/Churn"}
        pull = {"number": 7, "head": {"sha": branch, "repo": repository}, "base": {"sha": base, "ref": "main"}}
        return self._env("pull_request", {"pull_request": pull}, checked_out)

    def main(self, sha: str) -> dict[str, str]:
        return self._env("push", {"ref": "refs/heads/main"}, sha)


class OnGitLab:
    """The predefined variables of a job of GitLab CI."""

    image = IMAGE

    def __init__(self, _: Path) -> None:
        self.common = {"GITLAB_CI": "true", "CI_DEFAULT_BRANCH": "main", "CI_REGISTRY_IMAGE": IMAGE}

    def change(self, base: str, branch: str, checked_out: str, fork: bool = False) -> dict[str, str]:
        return self.common | {
            "CI_PIPELINE_SOURCE": "merge_request_event",
            "CI_MERGE_REQUEST_IID": "7",
            "CI_MERGE_REQUEST_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2" if fork else "1",
            "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
            "CI_MERGE_REQUEST_DIFF_BASE_SHA": base,
            # Empty in a pipeline of the branch itself.
            "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "" if checked_out == branch else branch,
            "CI_COMMIT_SHA": checked_out,
        }

    def main(self, sha: str) -> dict[str, str]:
        return self.common | {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main", "CI_COMMIT_SHA": sha}


class OnJenkins:
    """What a multibranch pipeline sets; it names no base, and the Jenkinsfile the image."""

    image = IMAGE

    def __init__(self, _: Path) -> None:
        self.common = {"JENKINS_URL": "https://ci.example/", "ML_IMAGE": IMAGE}

    def change(self, _base: str, branch: str, _checked_out: str, fork: bool = False) -> dict[str, str]:
        of = {"CHANGE_ID": "7", "CHANGE_TARGET": "main", "BRANCH_NAME": "PR-7", "GIT_COMMIT": branch}
        return self.common | of | ({"CHANGE_FORK": "mallory"} if fork else {})

    def main(self, sha: str) -> dict[str, str]:
        return self.common | {"BRANCH_NAME": "main", "GIT_COMMIT": sha}


@pytest.fixture(params=[OnGitHub, OnGitLab, OnJenkins])
def ci(request: pytest.FixtureRequest, tmp_path: Path) -> OnGitHub | OnGitLab | OnJenkins:
    return request.param(tmp_path)


def changed(ci, repository: Path, files: Mapping[str, str | None]) -> plan.Plan:
    """The plan of a branch with one commit, checked out as it is."""
    base = head(repository)
    commit(repository, files)
    return plan.review(ci.change(base, head(repository), head(repository)), repository)


def test_there_is_an_environment_for_each_ci_that_is_known():
    assert {kind.VARIABLE for kind in systems.KINDS} == {"GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL"}


def test_a_change_of_code_is_trained_and_compared_with_where_it_left_main(ci, repository):
    base = head(repository)
    found = changed(ci, repository, {"src/shop/model.py": "new"})
    assert (found.base, found.head, found.number) == (base, head(repository), 7)
    assert (found.changed, found.data, found.train, found.fork) == (["src/shop/model.py"], False, True, False)


def test_a_merge_is_compared_with_what_it_was_merged_into(ci, repository):
    began = head(repository)
    commit(repository, {"src/shop/model.py": "new"})
    branch = head(repository)
    git(repository, "checkout", "--quiet", "main")
    commit(repository, {"data/newer.csv": "1"})
    into = head(repository)
    git(repository, "update-ref", ORIGIN, into)
    git(repository, "merge", "--quiet", "--no-ff", "--no-edit", "change")
    found = plan.review(ci.change(began, branch, head(repository)), repository)
    assert (found.base, found.head, found.changed) == (into, branch, ["src/shop/model.py"])


@pytest.mark.parametrize(
    "name",
    ["data/Umsätze 2024.csv", 'data/"quoted".csv', "data/two\nlines.csv", "data/ space .csv", "src/shop/prepare.py"],
)
def test_data_is_found_by_any_name(ci, repository, name):
    found = changed(ci, repository, {name: "1", "README.md": "more"})
    assert found.data and found.train
    assert name in (found.changed or [])


@pytest.mark.parametrize("name", ["docs/Überblick.md", 'docs/"1".png', "README.md", "LICENSE", "src/shop/notes.md"])
def test_documentation_alone_is_not_trained_on(ci, repository, name):
    found = changed(ci, repository, {name: "1"})
    assert found.skip == plan.ONLY_DOCUMENTATION and not found.train and not found.data


@pytest.mark.parametrize("name", ["a.md\nmodel.py", "src/docs/a.py", "LICENSE.py", "notes.md.py"])
def test_what_looks_like_documentation_at_a_glance_is_trained_on(ci, repository, name):
    assert changed(ci, repository, {name: "1"}).train


def test_data_that_becomes_documentation_was_data(ci, repository):
    commit(repository, {"data/a.csv": "1,2\n" * 50})
    git(repository, "update-ref", ORIGIN, "HEAD")
    found = changed(ci, repository, {"data/a.csv": None, "docs/a.csv": "1,2\n" * 50})
    assert found.data
    assert found.changed == ["data/a.csv", "docs/a.csv"]


def test_a_fork_is_known(ci, repository):
    base = head(repository)
    commit(repository, {"a.py": "1"})
    assert plan.review(ci.change(base, head(repository), head(repository), fork=True), repository).fork


def test_a_commit_on_main_is_trained_whatever_changed(ci, repository):
    commit(repository, {"README.md": "more"})
    found = plan.review(ci.main(head(repository)), repository)
    assert (found.base, found.changed, found.number, found.train) == ("", None, 0, True)


def test_without_a_contract_there_is_nothing_to_train(ci, repository):
    commit(repository, {"contract.yaml": None})
    git(repository, "update-ref", ORIGIN, "HEAD")
    assert changed(ci, repository, {"a.py": "1"}).skip == plan.NO_CONTRACT
    assert plan.review(ci.main(head(repository)), repository).skip == plan.NO_CONTRACT
    assert plan.release(ci.main(head(repository)), repository, []).skip == plan.NO_CONTRACT


def test_a_contract_that_is_deleted_is_reviewed(ci, repository):
    assert changed(ci, repository, {"contract.yaml": None}).train


def test_a_base_that_was_not_fetched_is_left_to_the_review(tmp_path, repository):
    found = plan.review(OnGitHub(tmp_path).change("0" * 40, head(repository), head(repository)), repository)
    assert (found.changed, found.data, found.train) == (None, False, True)


def test_a_target_that_was_not_fetched_is_refused(tmp_path, repository):
    git(repository, "update-ref", "-d", ORIGIN)
    with pytest.raises(InputError, match="where this change left origin/main: fetch that branch"):
        plan.review(OnJenkins(tmp_path).change("", head(repository), head(repository)), repository)


def test_a_project_in_a_subfolder_is_planned_there_and_refused_above(ci, repository):
    git(repository, "rm", "--quiet", "-r", ".")
    commit(repository, {f"models/churn/{name}": text for name, text in MODEL.items()})
    git(repository, "update-ref", ORIGIN, "HEAD")
    base = head(repository)
    commit(repository, {"models/churn/data/a.csv": "1", "web/index.js": "1"})
    env, folder = ci.change(base, head(repository), head(repository)), repository / "models/churn"
    found = plan.review(env, folder)
    assert (found.changed, found.data, found.train) == (["data/a.csv"], True, True)
    for wrong in (lambda: plan.review(env, repository), lambda: plan.release(env, repository, [])):
        with pytest.raises(InputError, match=r"^contract.yaml is not in this folder, but in models/churn: run this"):
            wrong()


def test_what_changed_elsewhere_in_a_larger_repository_trains_nothing(ci, repository):
    commit(repository, {f"models/churn/{name}": text for name, text in MODEL.items()})
    git(repository, "update-ref", ORIGIN, "HEAD")
    base = head(repository)
    commit(repository, {"web/index.js": "1"})
    env = ci.change(base, head(repository), head(repository))
    assert plan.review(env, repository / "models/churn").skip == plan.NOTHING_CHANGED


def test_a_contract_of_something_else_is_no_project(ci, repository):
    commit(repository, {"contract.yaml": None, "other/contract.yaml": "1"})
    assert plan.review(ci.main(head(repository)), repository).skip == plan.NO_CONTRACT


def test_a_release_is_named_after_its_commit_and_released_once(ci, repository, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-01T23:30:00-02:00")
    commit(repository, {"a.py": "1"})
    env, short = ci.main(head(repository)), head(repository)[:7]
    found = plan.release(env, repository, ["v1", "model-2025.12.24-0000000", "model-2025.12.23-0000000"])
    assert (found.tag, found.image, found.todo) == (f"model-2026.01.02-{short}", ci.image, True)
    assert found.previous == "model-2025.12.24-0000000"
    again = plan.release(env, repository, [found.tag])
    assert again.skip == f"{found.tag} is released already: nothing to do."
    assert plan.release(env, repository, []).previous == ""


@pytest.mark.parametrize(
    ("name", "released"),
    [
        ("README.md", False),
        ("tests/test_churn.py", False),
        ("docs/data/a.md", False),
        (".github/workflows/ci.yml", False),
        ("data/Umsätze 2024.csv", True),
        ("data/README.md", True),
        ("src/shop/model.py", True),
        ("packages/mlcicd/src/mlcicd/cli.py", True),
        ("params.yaml", True),
        ("uv.lock", True),
        (".python-version", True),
    ],
)
def test_where_asked_a_release_follows_a_change_of_the_model_alone(ci, repository, name, released):
    before = f"model-2026.01.01-{head(repository)[:7]}"
    commit(repository, {name: "1"})
    env = ci.main(head(repository))
    found = plan.release(env, repository, [before], changed=True)
    nothing = f"Nothing that the model is made of changed since {before}: nothing to release."
    assert (found.todo, found.skip) == (released, "" if released else nothing)
    assert plan.release(env, repository, [before]).todo
    assert plan.release(env, repository, [], changed=True).todo


def test_where_asked_what_is_older_than_the_release_before_is_not_released(ci, repository):
    older = head(repository)
    commit(repository, {"src/shop/model.py": "1"})
    newer = f"model-2026.01.01-{head(repository)[:7]}"
    git(repository, "checkout", "--quiet", older)
    assert plan.release(ci.main(older), repository, [newer], changed=True).skip.startswith(f"{newer} is newer than")
    assert plan.release(ci.main(older), repository, [newer]).todo


def test_a_release_whose_commit_is_gone_is_followed_by_another(ci, repository):
    assert plan.release(ci.main(head(repository)), repository, ["model-2026.01.01-0000000"], changed=True).todo


def test_what_a_merge_queue_names_is_the_base(tmp_path, repository):
    base = head(repository)
    commit(repository, {"a.py": "1"})
    group = {"base_sha": base, "base_ref": "refs/heads/main", "head_sha": head(repository)}
    env = OnGitHub(tmp_path)._env("merge_group", {"merge_group": group}, head(repository))
    found = plan.review(env, repository)
    assert (found.base, found.number, found.fork) == (base, 0, False)


def test_started_by_hand_the_base_is_where_the_branch_left_main(tmp_path, repository):
    base = head(repository)
    commit(repository, {"a.py": "1"})
    env = OnGitHub(tmp_path)._env("workflow_dispatch", {"inputs": {"number": "12"}}, head(repository))
    found = plan.review(env, repository)
    assert (found.base, found.number) == (base, 12)


@pytest.mark.parametrize("number", ["12; rm", "-1", "1" * 10, "１２"])
def test_a_number_that_is_none_is_refused(tmp_path, repository, number):
    env = OnGitHub(tmp_path)._env("workflow_dispatch", {"inputs": {"number": number}}, head(repository))
    with pytest.raises(InputError, match=r"^number: .* is no number of a pull request"):
        plan.review(env, repository)


@pytest.mark.parametrize(
    "server", ["https://github.example.org", "https://github.com.evil.example", "http://a.ghe.com"]
)
def test_an_enterprise_server_is_refused(tmp_path, repository, server):
    env = OnGitHub(tmp_path).main(head(repository)) | {"GITHUB_SERVER_URL": server}
    with pytest.raises(InputError, match=r"^GitHub Enterprise Server is not supported"):
        plan.review(env, repository)


def test_an_enterprise_cloud_is_not(tmp_path, repository):
    env = OnGitHub(tmp_path).main(head(repository)) | {"GITHUB_SERVER_URL": "https://acme.ghe.com"}
    assert plan.review(env, repository).train


@pytest.mark.parametrize("text", [None, "", "[]", "{"])
def test_an_event_that_cannot_be_read_is_refused(tmp_path, text):
    file = tmp_path / "event.json"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"GITHUB_EVENT_PATH: .* holds no event"):
        github.job({"GITHUB_EVENT_PATH": str(file)})


def test_a_branch_of_gitlab_without_a_merge_request_is_compared_with_main(tmp_path, repository):
    base = head(repository)
    commit(repository, {"a.py": "1"})
    env = OnGitLab(tmp_path).main(head(repository)) | {"CI_COMMIT_BRANCH": "change"}
    found = plan.review(env, repository)
    assert (found.base, found.changed, found.number) == (base, ["a.py"], 0)


@pytest.fixture
def shell(ci, repository, monkeypatch):
    """`ml` in the repository, as a job for a branch whose one file has a hostile name."""
    base = head(repository)
    commit(repository, {"data/x\ntrain=false\n::error::y": "1"})
    for name in {kind.VARIABLE for kind in systems.KINDS}:
        monkeypatch.delenv(name, raising=False)
    for name, value in ci.change(base, head(repository), head(repository)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(repository)
    return lambda *arguments, **options: CliRunner().invoke(cli.app, ["ci", *arguments], **options)


def test_the_command_prints_lines_that_no_name_of_a_file_can_add_to(shell, ci):
    done = shell("plan")
    assert done.exit_code == 0, done.output
    prefix = "" if isinstance(ci, OnGitHub) else "ML_"
    names = ["base", "head", "number", "fork", "data", "skip", "train"]
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert list(found) == [prefix + (name if not prefix else name.upper()) for name in names]
    assert [*found.values()][2:] == ["7", "false", "true", "", "true"]


def test_the_command_prints_json_with_the_names_of_files(shell):
    found = json.loads(shell("plan", "--json").stdout)
    assert found["changed"] == ["data/x\ntrain=false\n::error::y"]
    assert (found["train"], found["data"], found["number"]) == (True, True, 7)


def test_the_command_reads_the_tags_from_a_file_or_its_input(shell, tmp_path):
    tags = "model-2025.12.24-0000000\nv1\n"
    (tmp_path / "tags").write_text(tags, encoding="utf-8")
    found = json.loads(shell("release", "plan", "--json", "--released", "-", input=tags).stdout)
    assert (found["previous"], found["todo"]) == ("model-2025.12.24-0000000", True)
    assert json.loads(shell("release", "plan", "--json", "--released", str(tmp_path / "tags")).stdout) == found
    assert json.loads(shell("release", "plan", "--json").stdout)["previous"] == ""
    same = f"model-2025.12.24-{head(Path())}"
    assert json.loads(shell("release", "plan", "--json", "--changed", "--released", "-", input=same).stdout)["skip"]


@pytest.mark.parametrize("env", [{}, {"GITLAB_CI": "false"}, {"JENKINS_URL": ""}])
def test_outside_of_a_ci_the_command_says_what_to_run(env):
    with pytest.raises(InputError, match=r"no CI that is known: none of GITHUB_ACTIONS, .* 'ml review'"):
        systems.here(env)


def test_the_plan_needs_the_standard_library_alone():
    """A job makes its plan before anything is installed."""
    code = f"import sys; sys.path.append({str(MACHINERY / 'src')!r}); import mlcicd.ci.plan"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


WORDS = st.text(max_size=30) | st.sampled_from(["1", "true", "main", "0" * 40, "https://github.com"])


@pytest.mark.parametrize("kind", systems.KINDS[1:])
@given(data=st.data())
def test_whatever_the_environment_holds_is_one_job_or_one_refusal(kind, data):
    source = Path(str(kind.__file__)).read_text(encoding="utf-8")
    names = sorted({word for word in source.split('"') if word.isupper() or word.startswith(("CI_", "CHANGE_"))})
    env = data.draw(st.dictionaries(st.sampled_from(names), WORDS))
    try:
        found = kind.job(env)
    except InputError:
        return
    assert found.number >= 0


def reviewed(tmp_path: Path, repository: Path, files: Mapping[str, str | None]) -> tuple[int, str, dict]:
    """Review a branch with one commit on GitLab; returns status, report and meta."""
    base = head(repository)
    commit(repository, files)
    env, out = OnGitLab(tmp_path).change(base, head(repository), head(repository)), tmp_path / "review"
    code, report = review(env, repository, out, None)
    assert (out / "report.md").read_text(encoding="utf-8") == report
    assert (out / "review.json").is_file()
    meta = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    assert (meta["number"], meta["head"]) == (7, head(repository))
    return code, report, meta


def test_a_review_of_documentation_alone_says_so(tmp_path, repository):
    code, report, meta = reviewed(tmp_path, repository, {"README.md": "1"})
    assert (code, report) == (0, f"## Model review: skipped\n\n{plan.ONLY_DOCUMENTATION}\n")
    assert meta["outcome"] == "skipped"


def test_a_review_that_fails_has_its_status_and_its_report(tmp_path, repository):
    code, report, meta = reviewed(tmp_path, repository, {"src/shop/model.py": "new"})
    assert (code, meta["outcome"]) == (1, "reviewed")
    assert report.startswith("## Model review: failed ❌ in ml validate")


def test_a_review_that_dies_leaves_its_last_lines(tmp_path, repository, monkeypatch):
    early = tmp_path / "early"
    early.mkdir()
    (early / "sitecustomize.py").write_text("import os\nprint('\\x1b[31mno memory', flush=True)\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(early))
    code, report, _ = reviewed(tmp_path, repository, {"src/shop/model.py": "new"})
    assert code == 9
    assert report.startswith("## Model review: failed ❌\n\nIt failed before there was a review.")
    assert "no memory" in report


def test_a_review_without_a_plan_leaves_the_reason(tmp_path, repository):
    git(repository, "update-ref", "-d", ORIGIN)
    env = OnJenkins(tmp_path).change("", head(repository), head(repository))
    code, report = review(env, repository, tmp_path / "review", None)
    assert code == 2
    assert "git finds no commit where this change left origin/main" in report
    assert json.loads((tmp_path / "review/meta.json").read_text())["head"] == ""


def test_a_review_replaces_an_older_one_and_no_files_of_others(tmp_path, repository):
    reviewed(tmp_path, repository, {"README.md": "1"})
    reviewed(tmp_path, repository, {"README.md": "2"})
    (tmp_path / "review/mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine.txt"):
        review(OnGitLab(tmp_path).main(head(repository)), repository, tmp_path / "review", None)


def test_the_command_reviews_and_exits_with_its_status(shell, repository):
    commit(repository, {"data/x\ntrain=false\n::error::y": None, "README.md": "1"})
    done = shell("review", "--out", "out")
    assert done.exit_code == 0
    assert plan.ONLY_DOCUMENTATION in done.stdout
    assert (repository / "out/meta.json").is_file()


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ({"GITHUB_HEAD_REF": "new", "GITHUB_REF": "refs/pull/12/merge"}, {"branch": "new", "pull_request": "#12"}),
        (
            {"CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "new", "CI_MERGE_REQUEST_IID": "7"},
            {"branch": "new", "pull_request": "!7"},
        ),
        ({"CI_COMMIT_BRANCH": "main"}, {"branch": "main"}),
        ({"CI_MERGE_REQUEST_IID": "7; id"}, {"branch": "change"}),
        ({}, {"branch": "change"}),
    ],
)
def test_a_run_names_the_branch_and_the_request_of_its_ci(
    repository: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], place: dict[str, str]
):
    for name in [name for name in os.environ if name.startswith(("GITHUB_", "CI_"))]:
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert records._place(repository, {"commit": head(repository)}) == place


@pytest.mark.parametrize(("given", "of_branch"), [("", False), ("set", True)])
def test_a_run_knows_the_commit_of_the_branch_where_gitlab_checks_out_a_merge(
    repository: Path, monkeypatch: pytest.MonkeyPatch, given: str, of_branch: bool
):
    monkeypatch.delenv("GITHUB_EVENT_NAME", raising=False)
    monkeypatch.setenv("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", given)
    commit(repository, {"notes.md": "new"})
    branch = head(repository)
    git(repository, "checkout", "--quiet", "--detach", "HEAD^")
    git(repository, "merge", "--quiet", "--no-ff", "--no-edit", branch)
    assert run._head(repository) == (branch if of_branch else head(repository))
