"""`report` posts the right text in the right place, whatever the artifact claims."""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
from pathlib import Path

import pytest
from acting import GitHub, Outcome, Pull
from scripts import blocks, report_json

from workflows.conftest import archive, finished, nothing, write


@pytest.fixture
def pull(hub: GitHub) -> Pull:
    """An open pull request with one commit."""
    hub.commit("change", write("src/new.py", "x = 1\n"))
    return hub.open("change", title="A change")


def full() -> str:
    """A report as large as the schema lets one be."""
    table = blocks.Table("caption", "l" * 5, ["head"] * 5, [["@x #1 | cell " * 6] * 5] * 20)
    return report_json.dump(blocks.Report("Model review: same ✅", [table] * 100))


def posted(hub: GitHub) -> list[tuple[str, object]]:
    """Where comments and checks went, in order."""
    places = []
    for event in hub.events():
        if event["event"] in ("comment", "comment by gh"):
            places.append((event["event"], event["number"]))
        elif event["event"] == "check":
            places.append((f"check {event['conclusion']}", event["sha"]))
        elif event["event"] == "api":
            places.append((f"check {event['fields']['conclusion']} by gh", event["fields"]["head_sha"]))
    return places


@pytest.mark.parametrize(
    ("conclusion", "outcome", "check"),
    [
        ("success", "reviewed", "success"),
        ("failure", "reviewed", "failure"),
        ("success", "skipped", "neutral"),
        ("failure", "skipped", "failure"),
    ],
)
def test_the_check_is_the_gate(hub: GitHub, pull: Pull, conclusion: str, outcome: str, check: str) -> None:
    run = finished(hub, pull, conclusion=conclusion, outcome=outcome)
    report = hub.on_completed(run)
    assert report.conclusion == "success", report.log
    assert posted(hub) == [(f"check {check}", hub.head("change")), ("comment", 1)]
    assert hub.comment(1).startswith("## Model review: same ✅")
    assert "## Model review: same ✅" in report.summary
    assert f"https://github.com/acme/churn/actions/runs/{run.id}" in hub.comment(1)


def test_posting_takes_under_five_seconds_of_work(hub: GitHub, pull: Pull) -> None:
    run = finished(hub, pull, review=full())
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    hub.on_completed(run)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert posted(hub)[-1] == ("comment", 1)
    # Of the processor, act included: by the clock it would be what else this machine does.
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime <= 5


def test_a_later_push_updates_the_one_comment(hub: GitHub, pull: Pull) -> None:
    hub.on_completed(finished(hub, pull, title="first"))
    hub.commit("change", nothing)
    hub.on_completed(finished(hub, pull, title="second"))
    assert hub.comment(1).startswith("## second")
    assert [event["number"] for event in hub.events("comment")] == [1, 1]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_pushes_within_a_second_the_newer_one_is_shown(hub: GitHub, pull: Pull, order: tuple[int, int]) -> None:
    older = finished(hub, pull, title="older")
    hub.commit("change", nothing)
    newer = finished(hub, pull, title="newer")
    for index in order:
        assert hub.on_completed([older, newer][index]).conclusion == "success"
    assert posted(hub) == [("check success", hub.head("change")), ("comment", 1)]
    assert hub.comment(1).startswith("## newer")


def test_a_run_that_a_newer_push_replaced_posts_nothing(hub: GitHub, pull: Pull) -> None:
    assert hub.on_completed(finished(hub, pull, conclusion="cancelled")).conclusion == "skipped"
    assert posted(hub) == []


def test_a_closed_pull_request_is_left_alone(hub: GitHub, pull: Pull) -> None:
    run = finished(hub, pull)
    hub.close(pull)
    assert hub.on_completed(run).conclusion == "success"
    assert posted(hub) == []


def test_a_fork_gets_its_comment(hub: GitHub) -> None:
    hub.commit("main-of-a-fork", write("src/new.py", "x = 1\n"))
    pull = hub.open("main-of-a-fork", fork="mallory/churn")
    run = finished(hub, pull)
    assert hub.workflow_run(run)["pull_requests"] == []
    assert hub.on_completed(run).conclusion == "success"
    assert posted(hub) == [("check success", hub.head("main-of-a-fork")), ("comment", 1)]


def test_the_machinery_is_pointed_at_when_the_pull_request_changes_it(hub: GitHub, pull: Pull) -> None:
    hub.commit("change", write(".github/workflows/model.yml", "name: model\n"))
    hub.on_completed(finished(hub, pull))
    assert hub.comment(1).startswith("> [!WARNING]\n> This pull request changes what wrote this review")


def test_many_files_are_not_looked_through(hub: GitHub, pull: Pull) -> None:
    def edit(tree: Path) -> None:
        for index in range(301):
            (tree / f"file-{index}.txt").write_text("x")

    hub.commit("change", edit)
    hub.on_completed(finished(hub, pull))
    assert hub.comment(1).startswith("> [!WARNING]\n> More than 300 files change")


def test_files_past_the_first_hundred_are_looked_at(hub: GitHub, pull: Pull) -> None:
    def edit(tree: Path) -> None:
        for index in range(150):
            (tree / f"file-{index}.txt").write_text("x")
        (tree / "packages/mlcicd").mkdir(parents=True, exist_ok=True)
        (tree / "packages/mlcicd/metrics.py").write_text("x")

    hub.commit("change", edit)
    hub.on_completed(finished(hub, pull))
    assert "changes what wrote this review" in hub.comment(1)


# Against which base ---------------------------------------------------------------------------------------------------


def test_a_review_against_another_branch_sets_no_check(hub: GitHub) -> None:
    """Nor does it when the pull request is pointed at main afterwards: the check would stand on the same commit."""
    hub.commit("weak", write("src/weak.py", "x = 0\n"))
    hub.commit("change", write("src/new.py", "x = 1\n"))
    pull = hub.open("change", base="weak")
    won = finished(hub, pull)
    assert hub.on_completed(won).conclusion == "success"
    assert posted(hub) == [("comment", 1)]
    assert hub.comment(1).startswith("> [!IMPORTANT]\n> This is a comparison with `weak`")

    hub.retarget(pull, "main")
    assert hub.on_completed(won).conclusion == "success"  # the same run, reported late or run again
    assert posted(hub) == [("comment", 1)]

    assert hub.on_completed(finished(hub, pull, conclusion="failure", title="worse")).conclusion == "success"
    assert posted(hub) == [("comment", 1), ("check failure", hub.head("change")), ("comment", 1)]
    assert hub.comment(1).startswith("## worse")


@pytest.mark.parametrize("outcome", ["reviewed", "skipped"])
def test_a_second_pull_request_from_the_same_branch_wins_nothing(hub: GitHub, pull: Pull, outcome: str) -> None:
    hub.commit("weak", write("src/weak.py", "x = 0\n"))
    second = hub.open("change", base="weak")
    hub.on_completed(finished(hub, pull, conclusion="failure", title="worse"))
    hub.on_completed(finished(hub, second, outcome=outcome))
    checks = [place for place in posted(hub) if str(place[0]).startswith("check")]
    assert checks == [("check failure", hub.head("change"))]


def test_what_is_not_shown_sets_no_check_against_another_branch_either(hub: GitHub) -> None:
    hub.commit("weak", write("src/weak.py", "x = 0\n"))
    hub.commit("change", write("src/new.py", "x = 1\n"))
    run = finished(hub, hub.open("change", base="weak"))
    hub.set_artifact(run, b"no archive")
    assert hub.on_completed(run).conclusion == "failure"
    assert posted(hub) == [("comment", 1)]


def test_a_branch_with_a_hostile_name_is_text(hub: GitHub) -> None:
    name = "`@everyone`](evil)<b>"
    hub.commit(name, nothing)
    hub.commit("change", write("src/new.py", "x = 1\n"))
    hub.on_completed(finished(hub, hub.open("change", base=name)))
    assert "> This is a comparison with `??everyone???evil??b?`, which" in hub.comment(1)


def test_monitoring_that_has_stopped_stands_in_the_review(hub: GitHub, pull: Pull) -> None:
    looked = {"id": 1, "workflow": "monitor", "conclusion": "success", "created_at": "2020-01-06T05:17:00Z"}
    (hub.state / "runs.json").write_text(json.dumps([looked]))
    hub.on_completed(finished(hub, pull))
    assert "🔴 **`monitor` last looked at new data" in hub.comment(1)


# In a merge queue -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("conclusion", "check"), [("success", "success"), ("failure", "failure")])
def test_a_merge_queue_gets_its_check_and_no_comment(hub: GitHub, pull: Pull, conclusion: str, check: str) -> None:
    run = queued(hub, pull, conclusion=conclusion)
    assert hub.on_completed(run).conclusion == "success"
    assert posted(hub) == [(f"check {check}", hub.workflow_run(run)["head_sha"])]


def test_the_queue_of_another_branch_gets_none(hub: GitHub) -> None:
    hub.commit("weak", nothing)
    hub.commit("change", write("src/new.py", "x = 1\n"))
    assert hub.on_completed(queued(hub, hub.open("change", base="weak"))).conclusion == "success"
    assert posted(hub) == []


def queued(hub: GitHub, pull: Pull, conclusion: str = "success") -> Outcome:
    """A run of `model` for a merge queue's commit."""
    run = finished(hub, pull, conclusion=conclusion, number=0, head="e" * 40)
    branch = f"refs/heads/gh-readonly-queue/{pull.base}/pr-{pull.number}-{'b' * 40}"
    run.event = {"merge_group": {"head_sha": "e" * 40, "head_ref": branch, "base_sha": hub.head(pull.base)}}
    return run


# Claims that are not true ---------------------------------------------------------------------------------------------


def test_another_pull_requests_number_is_refused(hub: GitHub, pull: Pull) -> None:
    """From a fork, so that nothing but the artifact names a pull request."""
    hub.commit("hostile", write("src/new.py", "x = 2\n"))
    hostile = hub.open("hostile", fork="mallory/churn")
    report = hub.on_completed(finished(hub, hostile, number=pull.number, title="approve me"))
    assert report.conclusion == "failure"
    assert posted(hub) == [("check failure", hub.head("hostile"))]
    assert hub.comment(pull.number) == ""
    assert "names a pull request that comes from another branch" in hub.events("check")[0]["body"]


def test_another_number_from_this_repository_ends_at_ones_own(hub: GitHub, pull: Pull) -> None:
    hub.commit("other", write("src/new.py", "x = 2\n"))
    other = hub.open("other")
    assert hub.on_completed(finished(hub, other, number=pull.number)).conclusion == "failure"
    assert posted(hub) == [("check failure", hub.head("other")), ("comment", other.number)]
    assert "not shown" in hub.comment(other.number)


def test_the_same_commit_in_another_fork_is_another_branch(hub: GitHub, pull: Pull) -> None:
    hub.commit("copy", nothing, base="change")
    hostile = Pull(7, "change", "", "mallory/churn")
    assert hub.on_completed(finished(hub, hostile, number=pull.number)).conclusion == "failure"
    assert hub.comment(pull.number) == ""


def test_a_pull_request_that_does_not_exist_is_refused(hub: GitHub, pull: Pull) -> None:
    stranger = Pull(pull.number, pull.branch, "", "mallory/churn")
    assert hub.on_completed(finished(hub, stranger, number=999)).conclusion == "failure"
    assert posted(hub) == [("check failure", hub.head("change"))]


class Bomb:
    """Whoever unpickles it leaves a file behind."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/pwned-by-a-pickle",)


BAD_ARCHIVES = {
    "no report": (archive({"meta.json": "{}"}), "meta.json is not what this project writes"),
    "no archive": (b"PK\x03\x04 not really", "artifact is no archive"),
    "a million bytes": (b"\0" * 1_000_001, "artifact is larger than 1,000,000 bytes"),
}


@pytest.mark.parametrize("case", BAD_ARCHIVES)
def test_an_artifact_of_another_shape_is_refused(hub: GitHub, pull: Pull, case: str) -> None:
    content, message = BAD_ARCHIVES[case]
    run = finished(hub, pull)
    hub.set_artifact(run, content)
    assert hub.on_completed(run).conclusion == "failure"
    assert posted(hub) == [("check failure", hub.head("change")), ("comment", 1)]
    assert message in hub.comment(1)


def test_a_lie_about_the_size_is_found_out(hub: GitHub, pull: Pull) -> None:
    run = finished(hub, pull)
    hub.set_artifact(run, b"\0" * 1_000_001, size=10)
    assert hub.on_completed(run).conclusion == "failure"
    assert "larger than 1,000,000 bytes" in hub.comment(1)


def test_a_report_of_ten_megabytes_is_refused(hub: GitHub, pull: Pull) -> None:
    """Zipped it is small, as a bomb is."""
    assert hub.on_completed(finished(hub, pull, review="x" * 10_000_000)).conclusion == "failure"
    assert "its review.json is larger than 1,000,000 bytes" in hub.comment(1)


def test_a_link_in_the_artifact_is_refused(hub: GitHub, pull: Pull) -> None:
    run = finished(hub, pull, review="/etc/passwd", links=("review.json",))
    assert hub.on_completed(run).conclusion == "failure"
    assert "its review.json is no regular file" in hub.comment(1)
    assert "root:" not in hub.comment(1)


def test_an_empty_report_does_not_overwrite_a_good_comment_with_nothing(hub: GitHub, pull: Pull) -> None:
    hub.on_completed(finished(hub, pull, title="good"))
    assert hub.on_completed(finished(hub, pull, review=" \n")).conclusion == "failure"
    assert "its review.json is not what this project writes: it is not JSON" in hub.comment(1)


def test_a_pickle_in_place_of_the_model_is_never_touched(hub: GitHub, pull: Pull) -> None:
    run = finished(hub, pull, files={"candidate/model.skops": pickle.dumps(Bomb()), "../../evil.sh": "touch pwned"})
    assert hub.on_completed(run).conclusion == "success"
    assert not list(hub.root.rglob("evil.sh"))
    assert not Path("/tmp/pwned-by-a-pickle").exists()


def test_a_run_without_an_artifact_is_not_silent(hub: GitHub, pull: Pull) -> None:
    run = finished(hub, pull, conclusion="timed_out")
    hub.answer(f"actions/runs/{run.id}/artifacts", {"total_count": 0, "artifacts": []})
    assert hub.on_completed(run).conclusion == "failure"
    assert "the run left none (it ended with: timed_out)" in hub.comment(1)


def test_a_hostile_text_comes_out_harmless(hub: GitHub, pull: Pull) -> None:
    text = (
        "| <img src=x onerror=alert(1)> @everyone closes #1 | [click](https://evil.example) |\n"
        "<!-- hidden --> &#64;someone GH-1 acme/churn#1 www.evil.example ![x](http://evil.example/p.png)\n"
        "[ref]: https://evil.example\n"
    )
    hub.on_completed(finished(hub, pull, title=text, text=text))
    comment = hub.comment(1).partition("\n\n<sub>")[0]
    for alive in ("@everyone", "#1", "GH-1", "<img", "<!--", "![x](", "]:", "://", "www.", "&#64;"):
        assert alive not in comment, alive
    assert "everyone closes" in comment


# CML is one replaceable step ------------------------------------------------------------------------------------------


def test_without_cml_the_same_comment_is_posted_and_cml_updates_it_later(hub: GitHub) -> None:
    """From a fork, as the issue has it."""
    hub.commit("theirs", write("src/new.py", "x = 1\n"))
    fork = hub.open("theirs", fork="mallory/churn")
    (hub.state / "cml-is-down").touch()
    report = hub.on_completed(finished(hub, fork, conclusion="failure", title="Model review: worse ❌"))
    assert report.conclusion == "success", report.log
    assert posted(hub) == [("check failure by gh", hub.head("theirs")), ("comment by gh", fork.number)]
    [check] = hub.events("api")
    assert check["path"] == "repos/acme/churn/check-runs"
    assert check["fields"]["output[summary]"].startswith("## Model review: worse ❌")
    assert check["fields"]["name"] == "Model review"
    assert "## Model review: worse ❌" in report.summary
    [first] = hub.comments(fork.number)

    (hub.state / "cml-is-down").unlink()
    hub.commit("theirs", nothing)
    assert hub.on_completed(finished(hub, fork, title="Model review: same ✅")).conclusion == "success"
    [second] = hub.comments(fork.number)
    assert (second["id"], posted(hub)[-1]) == (first["id"], ("comment", fork.number))
    assert hub.comment(fork.number).startswith("## Model review: same ✅")


@pytest.mark.parametrize("way", ["cml-fails", "cml-dies-late"])
def test_when_cml_fails_gh_posts_and_there_is_one_comment(hub: GitHub, pull: Pull, way: str) -> None:
    """Also where it fails after it has posted."""
    (hub.state / way).touch()
    report = hub.on_completed(finished(hub, pull))
    assert report.conclusion == "success", report.log
    assert len(hub.comments(pull.number)) == 1
    assert hub.comment(pull.number).startswith("## Model review: same ✅")


def test_when_nothing_can_post_the_job_is_red_and_the_check_is_there(hub: GitHub, pull: Pull) -> None:
    for name in ("cml-is-down", "gh-comments-fail"):
        (hub.state / name).touch()
    report = hub.on_completed(finished(hub, pull))
    assert report.conclusion == "failure"
    assert posted(hub) == [("check success by gh", hub.head("change"))]
    assert "## Model review: same ✅" in report.summary


def test_there_is_one_comment_in_a_long_discussion(hub: GitHub, pull: Pull) -> None:
    """CML looks at the first thirty comments alone: left to itself it would add one at each push."""
    for index in range(130):
        hub.add_comment(pull.number, f"remark {index}")
    for text in ("first", "second", "third"):
        assert hub.on_completed(finished(hub, pull, title=text)).conclusion == "success"
        hub.commit("change", nothing)
        assert hub.comment(pull.number).startswith(f"## {text}")
    assert len(hub.comments(pull.number)) == 131


MARK = '![](https://cml.dev/watermark.png#abc "CML watermark Model review")'


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_a_strangers_comment_under_our_mark_stays_theirs(hub: GitHub, pull: Pull, early: bool) -> None:
    """They could edit it afterwards, if the review were written into it."""
    if early:
        hub.add_comment(pull.number, f"better!\n\n{MARK}")
    hub.on_completed(finished(hub, pull, title="first"))
    if not early:
        hub.add_comment(pull.number, f"better!\n\n{MARK}")
    hub.commit("change", nothing)
    hub.on_completed(finished(hub, pull, title="second"))
    assert hub.comment(pull.number).startswith("## second")
    [theirs] = [entry for entry in hub.comments(pull.number) if entry["user"]["login"] == "someone"]
    assert theirs["body"] == f"better!\n\n{MARK}"


def test_the_mark_is_the_one_that_cml_looks_for(hub: GitHub, pull: Pull) -> None:
    hub.on_completed(finished(hub, pull))
    (hub.state / "cml-is-down").touch()
    hub.commit("change", nothing)
    hub.on_completed(finished(hub, pull))
    by_cml, by_gh = (hub.events(kind)[0]["body"].splitlines()[-1] for kind in ("comment", "comment by gh"))
    assert re.sub("#[0-9a-f]{40}", "", by_cml) == re.sub("#[0-9a-f]{40}", "", by_gh) == MARK.replace("#abc", "")
