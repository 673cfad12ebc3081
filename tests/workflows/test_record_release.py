"""What a release records of its approval: nothing that a stranger, an older commit or another branch brought about."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from acting import ACTIONS
from scripts import blocks, markdown

from workflows.coverage_table import PROJECT

COMMIT, HEAD, OLDER = "c" * 40, "a" * 40, "b" * 40
SCRIPT = PROJECT / ".github/scripts/record_release.py"


def pull(number: int = 7, **changes: Any) -> dict[str, Any]:
    """A merged pull request, in GitHub's words."""
    found = {"number": number, "title": "A change", "user": {"login": "author"}, "head": {"sha": HEAD}}
    found |= {"merged_at": "2026-01-02T00:00:00Z", "merge_commit_sha": COMMIT, "base": {"ref": "main"}}
    return found | changes


def approval(login: str, state: str = "APPROVED", commit: str = HEAD) -> dict[str, Any]:
    return {"user": {"login": login}, "state": state, "commit_id": commit}


@pytest.fixture
def answers() -> dict[str, Any]:
    """A pull request that was reviewed, approved and merged."""
    check = {"id": 3, "name": "Model review", "started_at": "2026-01-01T00:00:00Z", "app": {"id": 15368}}
    return {
        f"commits/{COMMIT}/pulls": [pull()],
        "pulls/7": pull(merged_by={"login": "maintainer"}),
        "pulls/7/reviews": [approval("writer")],
        f"commits/{HEAD}/check-runs": {"check_runs": [check | {"output": {"summary": "## Model review: better ✅\n"}}]},
        "collaborators/writer/permission": {"permission": "write"},
        "collaborators/owner/permission": {"permission": "admin"},
        "collaborators/reader/permission": {"permission": "read"},
    }


def record(answers: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the script as `release` does."""
    state, run = folder / "state", folder / "run"
    (state / "api").mkdir(parents=True)
    run.mkdir()
    (run / "manifest.json").write_text("{}")
    for path, answer in answers.items():
        (state / "api" / quote(f"repos/acme/churn/{path}", safe="")).write_text(json.dumps(answer))
    environment = os.environ | {
        "PATH": os.pathsep.join([str(ACTIONS / "bin"), os.environ["PATH"]]),
        "STANDIN": str(state), "STANDIN_TOOLS": str(ACTIONS / "tools"), "GH_TOKEN": "x",
        "GITHUB_REPOSITORY": "acme/churn", "GITHUB_SHA": COMMIT, "GITHUB_JOB": "build",
    }  # fmt: skip
    done = subprocess.run([sys.executable, SCRIPT, run], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((run / "release.json").read_text(encoding="utf-8"))
    assert ("review.md" in found["files"]) == (run / "review.md").exists() == bool(found["review"])
    return found


def test_it_records_the_approval_and_the_review(answers: dict[str, Any], tmp_path: Path) -> None:
    found = record(answers, tmp_path)
    assert (found["pull_request"], found["approved_by"], found["merged_by"]) == (7, ["writer"], "maintainer")
    assert found["review"] == "Model review: better ✅"


APPROVALS = {
    "a stranger": ([approval("stranger")], []),
    "a reader": ([approval("reader"), approval("owner")], ["owner"]),
    "an older commit": ([approval("writer", commit=OLDER)], []),
    "an older commit, then a comment": ([approval("writer", commit=OLDER), approval("writer", "COMMENTED")], []),
    "approved again": ([approval("writer", commit=OLDER), approval("writer")], ["writer"]),
    "taken back": ([approval("writer"), approval("writer", "CHANGES_REQUESTED")], []),
    "dismissed": ([approval("writer", "DISMISSED")], []),
    "a comment takes nothing back": ([approval("writer"), approval("writer", "COMMENTED")], ["writer"]),
    "an account that is gone": ([approval("x") | {"user": None}], []),
    "a commit that is gone": ([approval("writer") | {"commit_id": None}], []),
}


@pytest.mark.parametrize("case", APPROVALS)
def test_only_who_may_write_approves_and_only_what_was_merged(
    answers: dict[str, Any], tmp_path: Path, case: str
) -> None:
    reviews, approved = APPROVALS[case]
    answers["pulls/7/reviews"] = reviews
    assert record(answers, tmp_path)["approved_by"] == approved


def test_approvals_past_the_first_hundred_reviews_count(answers: dict[str, Any], tmp_path: Path) -> None:
    answers["pulls/7/reviews"] = [approval("writer", "COMMENTED")] * 100
    answers["pulls/7/reviews@2"] = [approval("owner")]
    assert record(answers, tmp_path)["approved_by"] == ["owner"]


PULLS = {
    "pushed directly, in a pull request to another branch": [pull(base={"ref": "release-1"})],
    "pushed directly, contained in a later merge": [pull(merge_commit_sha="d" * 40)],
    "still open": [pull(merged_at=None)],
    "none": [],
}


@pytest.mark.parametrize("case", PULLS)
def test_what_was_pushed_directly_is_credited_to_nobody(answers: dict[str, Any], tmp_path: Path, case: str) -> None:
    answers[f"commits/{COMMIT}/pulls"] = PULLS[case]
    found = record(answers, tmp_path)
    assert (found["pull_request"], found["approved_by"], found["review"]) == (None, [], None)


def test_of_several_the_one_that_brought_it_to_main_counts(answers: dict[str, Any], tmp_path: Path) -> None:
    answers[f"commits/{COMMIT}/pulls"] = [pull(5, base={"ref": "next"}), pull(6, merge_commit_sha="d" * 40), pull(7)]
    assert record(answers, tmp_path)["pull_request"] == 7


@pytest.mark.parametrize("event", ["base_ref_changed", "automatic_base_change_succeeded"])
def test_a_review_from_before_the_base_was_changed_is_no_review(
    answers: dict[str, Any], tmp_path: Path, event: str
) -> None:
    answers["issues/7/events"] = [
        {"event": "renamed", "created_at": "2026-01-03T00:00:00Z"},
        {"event": event, "created_at": "2026-01-01T12:00:00Z"},
    ]
    found = record(answers, tmp_path)
    assert (found["pull_request"], found["review"]) == (7, None)


def test_a_review_from_after_the_base_was_changed_counts(answers: dict[str, Any], tmp_path: Path) -> None:
    answers["issues/7/events"] = [{"event": "base_ref_changed", "created_at": "2025-12-31T00:00:00Z"}]
    assert record(answers, tmp_path)["review"] == "Model review: better ✅"


JOB = "https://github.com/acme/churn/actions/runs/9/job/10"


@pytest.mark.parametrize(
    "other",
    [
        {"app": {"id": 1, "slug": "somebody"}, "output": {"summary": "## Model review: forged\n"}},
        {"app": None, "output": {"summary": "## Model review: forged\n"}},
        {"app": {"slug": "github-actions"}, "details_url": JOB, "output": {"summary": None}},
        {"app": {"slug": "github-actions"}, "details_url": JOB, "output": {"summary": "## Model review: forged\n"}},
        {"name": "model review", "app": {"slug": "github-actions"}, "output": {"summary": "## Model review: forged\n"}},
    ],
)
def test_a_newer_check_that_report_did_not_set_is_not_recorded(
    answers: dict[str, Any], tmp_path: Path, other: dict[str, Any]
) -> None:
    newer = {"id": 99, "name": "Model review", "started_at": "2026-01-01T00:00:01Z", **other}
    answers[f"commits/{HEAD}/check-runs"]["check_runs"].append(newer)
    assert record(answers, tmp_path)["review"] == "Model review: better ✅"


def test_the_verdict_is_recorded_as_a_reader_sees_it(answers: dict[str, Any], tmp_path: Path) -> None:
    title = "Model review: worse ❌, costs $1.90 more per case (95 % CI $0.80 to $3.00), `x` <b> a_b 1234567 $x$ @y"
    summary = "> [!WARNING]\n> Look.\n\n" + markdown.render(blocks.Report(title, []))
    [check] = answers[f"commits/{HEAD}/check-runs"]["check_runs"]
    check["output"] = {"summary": summary}
    assert record(answers, tmp_path)["review"] == title
