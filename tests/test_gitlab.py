"""The pipeline of the answer ci=gitlab: linted against GitLab's schema, and executed by gitlab-ci-local.

Each job runs in a copy of the commit with this machine's shell, without its image; stand-ins in tests/gitlab_standins
take the places of uv, CML, buildah, skopeo and GitLab's API.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import PYTHONS, TEMPLATE, Project
from gitlab_standins.project import EXECUTED, IMAGE, PUSH, GitLab, Pipeline, install, project_on_gitlab
from gitlab_standins.server import ACCOUNT, SOMEBODY
from workflows.conftest import drop_features

SCHEDULE = {"CI_PIPELINE_SOURCE": "schedule"}
PRETEND = {"PRETEND": "1"}

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and not all(map(shutil.which, ("npm", "rsync"))), reason="npm or rsync is not on PATH"
)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gitlab-ci-local, from npm."""
    return install(tmp_path_factory.mktemp("gitlab-ci-local"))


@pytest.fixture(scope="module")
def prepared(project: Project, program: Path, tmp_path_factory: pytest.TempPathFactory) -> GitLab:
    """A project on GitLab. Do not change it."""
    return project_on_gitlab(tmp_path_factory.mktemp("gitlab"), project, program)


@pytest.fixture
def gitlab(prepared: GitLab) -> Iterator[GitLab]:
    """The same project, on main, without what other tests left behind."""
    prepared.clean()
    yield prepared
    prepared.server.http.shutdown()


def learn_longer(tree: Path) -> None:
    """A change that a release is made of."""
    file = tree / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params["model"]["max_iter"] += 5
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def test_gitlabs_own_schema_accepts_the_file(gitlab: GitLab):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml"]
    done = subprocess.run(command, cwd=gitlab.root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


CHECKS = {"lint", *(f"test: [{version}]" for version in PYTHONS)}


def test_each_kind_of_pipeline_has_its_jobs(gitlab: GitLab):
    assert gitlab.jobs(**SCHEDULE) == {"monitor", "pages"}
    assert gitlab.jobs(**SCHEDULE, MONITOR_TOKEN=ACCOUNT) == {"monitor", "tell", "pages"}
    gitlab.commit(lambda tree: (tree / "docs/more.md").write_text("More.\n"))
    assert gitlab.jobs(**PUSH) == CHECKS | {"train"}
    gitlab.commit(learn_longer)
    assert gitlab.jobs(**PUSH) == CHECKS | {"train", "package", "smoke", "publish", "pages"}
    gitlab.branch(lambda tree: (tree / "contract.yaml").unlink())
    assert gitlab.jobs(**gitlab.merge_request()) == CHECKS | {"review", "report"}
    assert gitlab.jobs(**gitlab.merge_request(token="")) == CHECKS | {"review"}


def test_what_a_pipeline_may_not_share_or_lose(gitlab: GitLab):
    document = yaml.safe_load((gitlab.root / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    jobs = {name: job for name, job in document.items() if isinstance(job, dict) and "script" in job}
    assert document["default"]["timeout"] and document["default"]["interruptible"]
    shared = {name: job["resource_group"] for name, job in jobs.items() if "resource_group" in job}
    assert shared == {"package": "release", "publish": "release", "tell": "monitor", "pages": "pages"}
    stoppable = {name for name, job in jobs.items() if job.get("interruptible", True)}
    assert stoppable == {"lint", "test", "review", "report"}
    # A token of the project's own goes to the jobs that GitLab gives it to; no line of a script writes it.
    assert re.findall(r"[$]{?(?:REPO|MONITOR)_TOKEN", str([job["script"] for job in jobs.values()])) == []


def test_documentation_alone_is_said_to_be_so(gitlab: GitLab):
    gitlab.branch(lambda tree: (tree / "docs/Überblick.md").write_text("More.\n"))
    done = gitlab.pipeline("review", "report", **gitlab.merge_request())
    assert done.passed == {"review", "report"}, done.log
    assert "Only documentation changed" in gitlab.note


def worse_on_more_data(tree: Path) -> None:
    """Features are gone, and there is a file of data more, with a name of which a shell could make a command."""
    drop_features(tree)
    (tree / 'data/Umsätze "2024" $(touch pwned).csv').write_text("day,sum\n1,2\n", encoding="utf-8")


def test_a_worse_model_ends_red_with_its_review_posted_against_the_cached_run(gitlab: GitLab):
    assert gitlab.pipeline("train", **PUSH).passed == {"train"}
    cached = gitlab.root / f".gitlab-ci-local/cache/baseline-{gitlab.base}/runs/model"
    when = json.loads((cached / "manifest.json").read_text())["trained_at"]
    gitlab.branch(worse_on_more_data)
    hostile = {"CI_MERGE_REQUEST_TITLE": "$(touch pwned) `touch pwned` \"'; touch pwned", "CI_COMMIT_REF_NAME": "`id`"}
    done = gitlab.pipeline("review", "report", **gitlab.merge_request(), **hostile)
    assert (done.failed, done.passed) == ({"review"}, {"report"}), done.log
    assert gitlab.note.startswith("## Model review: worse ❌")
    review = gitlab.artifact("review", "review")
    assert json.loads((review / "baseline/manifest.json").read_text())["trained_at"] == when
    assert json.loads((review / "meta.json").read_text())["number"] == 7
    assert "<h2>Association with the target</h2>" in (review / "explore.html").read_text(encoding="utf-8")
    assert not list(gitlab.folder.rglob("pwned"))


def test_a_lost_cache_costs_a_training_and_a_later_push_updates_the_note(gitlab: GitLab):
    gitlab.branch(learn_longer)
    planted = gitlab.root / "runs/model/manifest.json"
    planted.parent.mkdir(parents=True)
    planted.write_text("{}")
    gitlab.git("add", "--force", "runs")
    gitlab.git("commit", "--quiet", "--no-verify", "--message", "a run that is none of main's")
    (gitlab.state / "notes").mkdir()
    (gitlab.state / "notes/7").write_text("## Model review: worse ❌\n")
    done = gitlab.pipeline("review", "report", **gitlab.merge_request())
    assert done.passed == {"review", "report"}, done.log
    assert re.match("## Model review: (same|unclear|better) ", gitlab.note), gitlab.note
    assert [file.name for file in (gitlab.state / "notes").iterdir()] == ["7"]


def test_a_fork_has_its_review_as_an_artifact_and_posts_nothing(gitlab: GitLab):
    gitlab.branch(lambda tree: (tree / "README.md").write_text("More.\n"))
    done = gitlab.pipeline(**gitlab.merge_request(token=""), **PRETEND)
    assert done.passed == CHECKS | {"review"}, done.log
    assert gitlab.artifact("review", "review/report.md").is_file()
    assert not (gitlab.state / "notes").exists()


RELEASE = ("package", "smoke", "publish", "pages")


def test_a_merge_releases_and_the_same_commit_never_twice(gitlab: GitLab):
    commit = gitlab.commit(learn_longer)
    done = gitlab.pipeline(**PUSH, **PRETEND)
    assert done.passed == CHECKS | {"train", *RELEASE}, done.log
    version = gitlab.server.releases[0]["tag_name"].removeprefix("model-")
    assert version.endswith(f"-{commit[:7]}")
    assert gitlab.tags() == {commit, version, "latest"}
    [release] = gitlab.server.releases
    assert release["ref"] == commit
    assert release["description"].startswith("# Model card\n")
    assert f"{IMAGE}@sha256:" in release["description"]
    assert gitlab.artifact("pages", "public/index.html").read_text().split()[0] == f"model-{version}"
    asked = gitlab.asked()
    order = [f"push {commit}", "ml smoke http://model:3000 --run runs/model", f"push {version}", "push latest"]
    assert [line for line in asked if line in order] == order
    assert any(line.startswith("service ") for line in asked[: asked.index(order[1])])
    (gitlab.state / "asked").unlink()
    again = gitlab.pipeline(*RELEASE, **PUSH, **PRETEND)
    assert again.passed == set(RELEASE), again.log
    assert len(gitlab.server.releases) == 1
    assert [line for line in gitlab.asked() if line.startswith("push")] == []
    # The next one is compared with it; an older one that is run again moves nothing back.
    gitlab.push()
    newer = gitlab.commit(learn_longer)
    gitlab.push()
    assert gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND).passed == {"train", *RELEASE}
    assert "ml compare runs/released runs/model --out review" in gitlab.asked()
    gitlab.server.releases.pop()  # somebody deleted the older one
    gitlab.git("checkout", "--quiet", "-B", "main", commit)
    late = gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND)
    assert "latest stays where it is" in late.log
    [latest] = (gitlab.state / "registry").rglob("latest.json")
    assert json.loads(latest.read_text())["commit"] == newer


@pytest.mark.parametrize("step", ["ml train --out runs/model", "ml smoke http://model:3000 --run runs/model"])
def test_what_fails_releases_nothing(gitlab: GitLab, step: str):
    commit = gitlab.commit(learn_longer)
    (gitlab.state / "fails").write_text(step)
    done = gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND)
    assert done.failed == {step.split()[1]}
    assert gitlab.tags() <= {commit}
    assert gitlab.server.releases == []


def test_a_model_worse_than_the_released_one_is_not_released(gitlab: GitLab):
    gitlab.commit(learn_longer)
    assert gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND).failed == set()
    gitlab.commit(learn_longer)
    (gitlab.state / "fails").write_text("ml compare runs/released runs/model --out review")
    tags = gitlab.tags()
    assert gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND).failed == {"package"}
    assert gitlab.tags() == tags
    assert len(gitlab.server.releases) == 1


@pytest.mark.parametrize("call", ["buildah push", "skopeo copy", ":latest"])
def test_a_release_that_was_killed_is_finished_by_running_it_again(gitlab: GitLab, call: str):
    gitlab.commit(learn_longer)
    (gitlab.state / "kill").write_text(call)
    done = gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND)
    assert done.failed & set(RELEASE), done.log
    assert gitlab.server.releases == []
    assert "latest" not in gitlab.tags()
    again = gitlab.pipeline("train", *RELEASE, **PUSH, **PRETEND)
    assert again.passed == {"train", *RELEASE}, again.log
    assert len(gitlab.server.releases) == 1
    assert len(gitlab.tags()) == 3


def test_what_gitlab_refuses_is_one_line(gitlab: GitLab):
    gitlab.commit(learn_longer)
    done = gitlab.pipeline("train", "package", **PUSH, **PRETEND, CI_REGISTRY_IMAGE="")
    assert "Switch the container registry on" in done.log
    gitlab.server.down = True
    done = gitlab.pipeline("train", "package", **PUSH, **PRETEND)
    assert done.failed == {"package"}
    assert "GitLab answers 503" in done.log
    assert "Traceback" not in done.log


WINDOW = {"as_of": "1998-03-31"}
DRIFT = {"verdict": "drift", "window": WINDOW}


def find(gitlab: GitLab, status: int, report: dict | None, params: str = "") -> None:
    """Let `ml drift` find something."""
    folder = gitlab.state / "drift"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "status").write_text(str(status))
    if report:
        (folder / "drift.json").write_text(json.dumps(report))
        (folder / "drift.md").write_text(f"## {report['verdict']}\n")
    if params:
        (folder / "params.yaml").write_text(params)


def look(gitlab: GitLab) -> Pipeline:
    """Let the clock start a pipeline."""
    return gitlab.pipeline(**SCHEDULE, **PRETEND, MONITOR_TOKEN=ACCOUNT)


def test_drift_is_one_issue_and_one_merge_request(gitlab: GitLab):
    find(gitlab, 1, DRIFT, "as_of: 1998-03-31\n")
    for _ in range(2):
        assert look(gitlab).passed == {"monitor", "tell", "pages"}
    assert "ml train --out runs/model" in gitlab.asked()  # nothing is released yet
    [issue], [request] = gitlab.server.lists["issues"], gitlab.server.lists["merge_requests"]
    assert (issue["title"], issue["labels"]) == ("The data has moved since the model was trained", "model-monitor")
    assert "A retraining is proposed in !1." in issue["description"]
    assert request["source_branch"] == "retrain/as-of-1998-03-31"
    [change] = gitlab.server.branches[request["source_branch"]]["actions"]
    assert (change["file_path"], change["content"]) == ("params.yaml", "as_of: 1998-03-31\n")
    # On newer data the older proposal is superseded; one that somebody closed is not made again.
    find(gitlab, 1, {"verdict": "drift", "window": {"as_of": "1998-06-30"}}, "as_of: 1998-06-30\n")
    look(gitlab)
    assert [item["state"] for item in gitlab.server.lists["merge_requests"]] == ["closed", "opened"]
    assert ("merge_requests/1", "Superseded by !2, on newer data.") in gitlab.server.notes
    find(gitlab, 1, DRIFT, "as_of: 1998-03-31\n")
    assert "proposed this window already and is closed" in look(gitlab).log
    find(gitlab, 0, {"verdict": "stable", "window": {}})
    assert look(gitlab).passed == {"monitor", "tell", "pages"}
    assert issue["state"] == "closed"


def test_other_peoples_issues_and_branches_stay_theirs(gitlab: GitLab):
    theirs = {"iid": 1, "state": "opened", "author": SOMEBODY, "labels": "model-monitor", "title": "Mine"}
    gitlab.server.lists["issues"].append(dict(theirs))
    gitlab.server.branches["retrain/as-of-1998-03-31"] = {"commit": {"title": "My work"}}
    find(gitlab, 1, DRIFT, "as_of: 1998-03-31\n")
    done = look(gitlab)
    assert done.failed == {"tell"}
    assert "is somebody else's" in done.log
    assert gitlab.server.lists == {"issues": [theirs], "merge_requests": []}
    # A branch of ours without a merge request was left by a job that was cut off.
    gitlab.server.branches["retrain/as-of-1998-03-31"]["commit"]["title"] = "Train on newer data"
    assert "tell" in look(gitlab).passed
    assert len(gitlab.server.lists["merge_requests"]) == 1


def test_data_that_cannot_be_read_is_said_and_without_a_token_the_job_is_red(gitlab: GitLab):
    find(gitlab, 2, None)
    assert look(gitlab).passed == {"monitor", "tell", "pages"}
    [issue] = gitlab.server.lists["issues"]
    assert issue["title"] == "New data cannot be read"
    assert "what ml drift says" in issue["description"]
    done = gitlab.pipeline("monitor", **SCHEDULE, **PRETEND)
    assert done.failed == {"monitor"}
    assert "With MONITOR_TOKEN an issue would say so" in done.log


def test_a_released_model_is_registered_where_there_is_a_tracker(
    project: Project, program: Path, tmp_path: Path, request: pytest.FixtureRequest
):
    gitlab = project_on_gitlab(tmp_path, project, program, tracking="mlflow")
    request.addfinalizer(gitlab.server.http.shutdown)
    commit = gitlab.commit(learn_longer)
    jobs = ("train", "package", "smoke", "publish", "register")
    done = gitlab.pipeline(*jobs, **PUSH, **PRETEND)
    assert done.passed == set(jobs), done.log
    [tag] = [release["tag_name"] for release in gitlab.server.releases]
    [line] = [line for line in gitlab.asked() if line.startswith("ml track")]
    digest = re.search(rf"{IMAGE}@sha256:[0-9a-f]{{64}}", line)
    assert digest and line == f"ml track runs/model --release {tag} --image {digest[0]} --champion"
    assert commit[:7] in tag
    synced = [row for row in (gitlab.state / "asked").read_text().splitlines() if row.startswith("sync")]
    assert sum("--group mlflow" in row for row in synced) == 3  # train, package, register


def test_each_line_of_each_job_was_executed(prepared: GitLab, request: pytest.FixtureRequest):
    module = [item for item in request.session.items if item.path == request.path]
    if request.config.option.keyword or len(module) < request.path.read_text(encoding="utf-8").count("\ndef test_"):
        pytest.skip("only some tests of the pipeline were asked for")
    document = yaml.safe_load((prepared.root / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    rows = []
    for name, job in document.items():
        if isinstance(job, dict) and "script" in job:
            how = [EXECUTED.get((name, line), set()) for line in job["script"]]
            assert all(how), (name, [line for line, ways in zip(job["script"], how, strict=True) if not ways])
            rows.append(f"| `{name}` | {len(how)} | {sum('really' in ways for ways in how)} |")
    assert "\n".join(rows) in (TEMPLATE / "docs/tested-workflows.md").read_text(encoding="utf-8"), "\n".join(rows)
