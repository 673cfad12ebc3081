"""Record with a run who approved its release and what the review said, for `ml audit` and the page of releases.

Usage: record_release.py RUN. Asks GitHub about the pull request that brought this commit to main, and writes
`release.json` and, where there was a review, `review.md` into the run's folder. The hashes in `release.json` tie both
to the run's manifest.

What counts: the pull request that was merged into main as this very commit; approvals of what was merged, by people who
may write to the repository; a review made against main.
"""

import hashlib
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import base
from github_api import get

REVIEW = "Model review"
ACTIONS = "github-actions"  # the app that makes what GITHUB_TOKEN makes; its number on github.com is below
ACTIONS_ID = 15368
JOB = re.compile(r"/actions/runs/\d+/job/")
DEFAULT_BRANCH = "main"


def main() -> None:
    """Write the record."""
    run, commit = Path(sys.argv[1]), os.environ["GITHUB_SHA"]
    pull, review = find_pull(commit), ""
    record: dict[str, Any] = {"commit": commit, "pull_request": None, "approved_by": [], "review": None}
    if pull:
        number, head = pull["number"], pull["head"]["sha"]
        review = find_review(head, number)
        merged = get(f"pulls/{number}").get("merged_by") or {}
        record |= {
            "pull_request": number,
            "title": pull["title"],
            "author": pull["user"]["login"],
            "merged_by": merged.get("login"),
            "approved_by": approvers(list_reviews(number), head),
            "review": verdict(review),
        }
    files = ["manifest.json"]
    if review:
        (run / "review.md").write_text(review, encoding="utf-8")
        files.append("review.md")
    record["files"] = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in files}
    (run / "release.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


def find_pull(commit: str) -> dict[str, Any] | None:
    """The pull request that was merged into main as this commit.

    None for a commit that was pushed to main directly, also where a pull request brought it to another branch.
    """
    for pull in get(f"commits/{commit}/pulls"):
        merged = pull.get("merged_at") and pull.get("merge_commit_sha") == commit
        if merged and base.is_default(pull, DEFAULT_BRANCH):
            return dict(pull)
    return None


def find_review(head: str, number: int) -> str:
    """The text of the newest check that `report` set on the pull request's head; empty when there is none.

    One from before the pull request was pointed at main was made against another branch.
    """
    runs = get(f"commits/{head}/check-runs?check_name={REVIEW.replace(' ', '%20')}&per_page=100")["check_runs"]
    newest: dict[str, Any] = max(filter(is_reports, runs), key=lambda check: check["id"], default={})
    if newest and base.is_older(newest.get("started_at") or "", number, get):
        print(f"::warning::The review of pull request {number} was made against another branch: it is not recorded.")
        return ""
    return (newest.get("output") or {}).get("summary") or ""


def is_reports(check: dict[str, Any]) -> bool:
    """Whether a check may be the one that `report` sets.

    Not one of another app, and not a job that bears the name: GitHub makes a check of every job, under the same app.
    """
    app = check.get("app") or {}
    ours = app.get("slug") == ACTIONS or app.get("id") == ACTIONS_ID
    return check["name"] == REVIEW and ours and not JOB.search(check.get("details_url") or "")


def verdict(review: str) -> str | None:
    """The title of a review, as a reader sees it; a warning may stand above it."""
    title = next((line[3:] for line in review.splitlines() if line.startswith("## ")), "")
    plain = re.sub(r"</?(?:span|code)>|\u2060|(?<!\\)`", "", title)
    return html.unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", plain)) or None


def list_reviews(number: int) -> list[dict[str, Any]]:
    """All reviews of a pull request, oldest first."""
    found: list[dict[str, Any]] = []
    while len(page := get(f"pulls/{number}/reviews?per_page=100&page={len(found) // 100 + 1}")) == 100:
        found += page
    return found + list(page)


def approvers(reviews: list[dict[str, Any]], head: str) -> list[str]:
    """Who approves what was merged, by each one's last word, and may write; comments take nothing back."""
    last: dict[str, dict[str, Any]] = {}
    for review in reviews:
        if review["state"] in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            last[(review["user"] or {"login": "ghost"})["login"]] = review
    approved = [name for name, review in last.items() if (review["state"], review["commit_id"]) == ("APPROVED", head)]
    return sorted(filter(may_write, approved))


def may_write(login: str) -> bool:
    """Whether somebody may write to the repository; of a stranger GitHub says "read", or 404."""
    try:
        permission = get(f"collaborators/{quote(login, safe='')}/permission")["permission"]
    except subprocess.CalledProcessError:
        return False
    return permission in ("admin", "write")


if __name__ == "__main__":
    main()
