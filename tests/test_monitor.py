"""`monitor` looks at the new data, and leads it to the one right issue and pull request, however often it runs."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acting import BOT, GitHub, Outcome, git
from conftest import Project
from workflows.conftest import replace

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed: apt-get install jq")
SMALLER = {"max_iter: 150": "max_iter: 20", "folds: 5": "folds: 2", "learning_rate: 0.03": "learning_rate: 0.2"}
BRANCH = "retrain/as-of-1998-03-31"


@pytest.fixture(scope="session")
def released(project: Project, tmp_path_factory: pytest.TempPathFactory) -> GitHub:
    """The example with a small model, released. Do not change it: take a `hub`."""
    hub = GitHub(tmp_path_factory.mktemp("monitor") / "hub", project.root, environment=project.root)
    hub.commit("main", lambda tree: replace(tree / "params.yaml", SMALLER), message="A smaller model")
    release(hub, project)
    return hub


@pytest.fixture
def hub(released: GitHub, tmp_path: Path) -> Iterator[GitHub]:
    """A GitHub of one's own with the released example."""
    yield released.copy(tmp_path / "hub")


def release(hub: GitHub, project: Project, tag: str = "model-1998.01.01-1234567", order: int = 1) -> None:
    """What `release` leaves behind: a run as an asset."""
    copy = Project(hub.work, project.environment)
    git(hub.work, "checkout", "--quiet", "--force", "main")
    done = copy.run("ml", "train", "--out", "runs/model")
    assert done.returncode == 0, done.stderr
    folder = hub.state / "releases" / tag
    folder.mkdir(parents=True)
    with tarfile.open(folder / "run.tar.gz", "w:gz") as archive:
        archive.add(hub.work / "runs/model", "model")
    entry = {"tagName": tag, "isDraft": False, "target": hub.head(), "body": "", "order": order}
    (folder / "release.json").write_text(json.dumps(entry))


def monitor(hub: GitHub, event: str = "schedule", **options: object) -> Outcome:
    """One run of the workflow."""
    outcome = hub.on_push("monitor", event=event, **options)
    assert outcome.conclusion != "failure", outcome.log[-6000:]
    return outcome


def items(hub: GitHub, kind: str, state: str = "OPEN") -> list[dict]:
    """Issues or pull requests."""
    file = hub.state / "hub.json"
    found = json.loads(file.read_text(encoding="utf-8"))["items"] if file.exists() else []
    return [item for item in found if (item["kind"], item["state"]) == (kind, state)]


def plain(item: dict) -> str:
    """A body without its escapes."""
    return item["body"].replace("\\", "").replace("\u2060", "")


def edit_new_data(answer: str) -> Callable[[Path], None]:
    """An edit of the user's function that says where new data comes from."""

    def edit(tree: Path) -> None:
        file = next(tree.glob("src/*/prepare.py"))
        replace(file, {"    covered =": f"    {answer}\n    covered ="})

    return edit


def break_contract(tree: Path) -> None:
    """New purchases arrive, with an amount below zero."""
    data = tree / "data/transactions.csv.gz"
    text = gzip.decompress(data.read_bytes()).decode()
    data.write_bytes(gzip.compress(f"{text.rstrip()}\n00001,1998-06-30,1,-5.00\n".encode(), mtime=0))


healthy = edit_new_data("return prepare(raw, as_of=as_of, horizon_days=horizon_days), {}")
unreachable = edit_new_data('raise ConnectionError("the warehouse @someone does not answer")')


def test_drift_opens_one_issue_and_one_pull_request_however_often(hub: GitHub) -> None:
    outcome = monitor(hub)
    [issue], [pull] = items(hub, "issue"), items(hub, "pr")
    assert issue["title"] == "The data has moved since the model was trained"
    assert issue["labels"] == ["model-monitor"]
    assert "## Data since training: drift" in issue["body"]
    assert f"A retraining is proposed in #{pull['number']}." in issue["body"]
    assert pull["headRefName"] == BRANCH
    assert "as_of 1998-03-31" in plain(pull) and "| last_purchase |" in plain(pull)
    assert "## Data since training: drift" in outcome.summary
    first = hub.head(BRANCH)
    assert git(hub.origin, "diff", "--stat", "--format=", "main", BRANCH).startswith("params.yaml | 2 +-")
    assert "+  as_of: 1998-03-31" in git(hub.origin, "diff", "main", BRANCH)

    monitor(hub, event="workflow_dispatch")
    assert [i["number"] for i in items(hub, "issue")] == [issue["number"]]
    assert [p["number"] for p in items(hub, "pr")] == [pull["number"]]
    assert hub.head(BRANCH) == first
    assert len(hub.events("pr create")) == len(hub.events("issue create")) == 1


def test_the_pull_request_gets_its_checks_by_dispatch(hub: GitHub) -> None:
    monitor(hub)
    [pull] = items(hub, "pr")
    started = [(e["workflow"], e["ref"], e["inputs"]) for e in hub.events("dispatch")]
    assert started == [
        ("ci", BRANCH, {}),
        ("model", BRANCH, {"number": str(pull["number"])}),
        ("pages", "main", {}),
    ]


def test_a_person_who_closed_the_proposal_is_not_asked_again(hub: GitHub) -> None:
    monitor(hub)
    file = hub.state / "hub.json"
    file.write_text(
        file.read_text().replace(
            '"kind": "pr",\n   "number": 1,\n   "state": "OPEN"', '"kind": "pr",\n   "number": 1,\n   "state": "CLOSED"'
        )
    )
    assert len(items(hub, "pr", "CLOSED")) == 1
    outcome = monitor(hub)
    assert "proposed this window already and is closed" in outcome.log
    assert items(hub, "pr") == []
    assert len(items(hub, "issue")) == 1


def test_an_older_proposal_is_superseded(hub: GitHub) -> None:
    monitor(hub)
    file = hub.state / "hub.json"
    file.write_text(file.read_text().replace(BRANCH, "retrain/as-of-1998-01-31"))
    monitor(hub)
    [old], [new] = items(hub, "pr", "CLOSED"), items(hub, "pr")
    assert new["headRefName"] == BRANCH
    assert old["comments"] == [f"Superseded by #{new['number']}, on newer data."]


def test_a_branch_left_by_a_run_that_was_cut_off_is_made_anew(hub: GitHub) -> None:
    git(hub.origin, "update-ref", f"refs/heads/{BRANCH}", hub.head())
    monitor(hub)
    assert len(items(hub, "pr")) == 1
    assert hub.head(BRANCH) != hub.head()


STRANGERS = {
    "a fork's branch of the same name": {"repository": "mallory/churn", "headRefName": BRANCH},
    "the same, closed": {"repository": "mallory/churn", "headRefName": BRANCH, "state": "CLOSED"},
    "a branch of a person here": {"headRefName": "retrain/by-hand"},
    "a fork's branch, said to be the bot's": {"author": "github-actions", "repository": "mallory/churn"},
}


@pytest.mark.parametrize("case", STRANGERS)
def test_other_peoples_pull_requests_are_no_proposals(hub: GitHub, case: str) -> None:
    """They block nothing, get no official body, and nobody closes them."""
    theirs = {"author": "mallory", "headRefName": "retrain/as-of-1997-12-31"} | STRANGERS[case]
    number = hub.add_item("pr", **theirs)
    monitor(hub)
    mine, foreign = ([p for p in all_pulls(hub) if (p["author"] == BOT) == own] for own in (True, False))
    assert [pull["headRefName"] for pull in mine] == [BRANCH]
    [pull] = foreign
    assert (pull["number"], pull["body"], pull["state"]) == (number, "Theirs", theirs.get("state", "OPEN"))
    assert pull["comments"] == []


def all_pulls(hub: GitHub) -> list[dict]:
    return items(hub, "pr") + items(hub, "pr", "CLOSED")


def test_a_branch_with_somebodys_commits_is_left_alone(hub: GitHub) -> None:
    theirs = hub.commit(BRANCH, lambda tree: replace(tree / "params.yaml", {"seed: ": "seed: 1"}))
    outcome = hub.on_push("monitor", event="schedule")
    assert (outcome.jobs["propose"], outcome.jobs["tell"]) == ("failure", "success")
    assert f"The branch {BRANCH} is somebody else's" in outcome.log
    assert hub.head(BRANCH) == theirs
    assert all_pulls(hub) == []


def test_an_issue_of_a_persons_is_not_written_over(hub: GitHub) -> None:
    number = hub.add_item("issue", "someone", labels=["model-monitor"])
    monitor(hub)
    [theirs] = [issue for issue in items(hub, "issue") if issue["number"] == number]
    [ours] = [issue for issue in items(hub, "issue") if issue["number"] != number]
    assert theirs["body"] == "Theirs"
    assert ours["title"] == "The data has moved since the model was trained"


def test_where_actions_may_not_open_pull_requests_the_issue_says_so(hub: GitHub) -> None:
    (hub.state / "no-pull-requests").touch()
    outcome = hub.on_push("monitor", event="schedule")
    assert outcome.conclusion == "failure"
    assert (outcome.jobs["look"], outcome.jobs["propose"], outcome.jobs["tell"]) == ("success", "failure", "success")
    [issue] = items(hub, "issue")
    assert "allow GitHub Actions to create pull requests" in issue["body"]


def test_healthy_data_opens_nothing_and_closes_the_issue(hub: GitHub) -> None:
    hub.commit("main", healthy)
    outcome = monitor(hub)
    assert (items(hub, "issue"), items(hub, "pr")) == ([], [])
    assert outcome.jobs["propose"] == "skipped"
    hub.commit("main", unreachable, base="main~1", force=True)
    monitor(hub)
    [issue] = items(hub, "issue")
    hub.commit("main", healthy, base="main~1", force=True)
    monitor(hub)
    monitor(hub)
    assert items(hub, "issue") == []
    [closed] = items(hub, "issue", "CLOSED")
    assert closed["number"] == issue["number"]
    assert len(closed["comments"]) == 1


def test_data_that_breaks_its_contract_is_one_issue_and_no_pull_request(hub: GitHub) -> None:
    hub.commit("main", break_contract)
    monitor(hub)
    monitor(hub)
    [issue] = items(hub, "issue")
    assert issue["title"] == "New data breaks its contract"
    assert "transactions.amount: minimum 0" in plain(issue)
    assert items(hub, "pr") == []


def test_data_that_cannot_be_read_is_the_same_one_issue(hub: GitHub) -> None:
    hub.commit("main", break_contract)
    monitor(hub)
    [before] = items(hub, "issue")
    hub.commit("main", unreachable, base="main~1", force=True)
    monitor(hub)
    monitor(hub)
    [issue] = items(hub, "issue")
    assert issue["number"] == before["number"]
    assert issue["title"] == "New data cannot be read"
    assert "new_data(): ConnectionError: the warehouse" in issue["body"]
    assert "```text\nml: " in issue["body"]  # a mention in code calls nobody


def test_without_a_contract_there_is_nothing_to_look_at(hub: GitHub) -> None:
    hub.commit("main", lambda tree: (tree / "contract.yaml").unlink())
    outcome = monitor(hub)
    assert "No contract.yaml yet" in outcome.log
    assert outcome.jobs["tell"] == "skipped"


def test_before_the_first_release_mains_own_model_is_looked_at(hub: GitHub) -> None:
    shutil.rmtree(hub.state / "releases")
    monitor(hub)
    assert len(items(hub, "issue")) == 1


def test_only_main_is_monitored(hub: GitHub) -> None:
    outcome = hub.on_push("monitor", event="workflow_dispatch", branch="elsewhere")
    assert outcome.jobs["look"] == "skipped"
