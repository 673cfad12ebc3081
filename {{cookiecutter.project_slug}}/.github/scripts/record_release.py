"""Record with a run who approved its release and what the review said, for `ml audit` and the page of releases.

Usage: record_release.py RUN. Asks GitHub about the pull request that brought this commit to main, and writes
`release.json` and, where there was a review, `review.md` into the run's folder. The hashes in `release.json` tie both
to the run's manifest.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REVIEW = "Model review"


def main() -> None:
    """Write the record."""
    run, commit = Path(sys.argv[1]), os.environ["GITHUB_SHA"]
    pull, review = find_pull(commit), ""
    record: dict[str, Any] = {"commit": commit, "pull_request": None, "approved_by": [], "review": None}
    if pull:
        number = pull["number"]
        review = find_review(pull["head"]["sha"])
        merged = get(f"pulls/{number}").get("merged_by") or {}
        record |= {
            "pull_request": number,
            "title": pull["title"],
            "author": pull["user"]["login"],
            "merged_by": merged.get("login"),
            "approved_by": approvers(get(f"pulls/{number}/reviews?per_page=100")),
            "review": review.partition("\n")[0].strip("# ") or None,
        }
    files = ["manifest.json"]
    if review:
        (run / "review.md").write_text(review, encoding="utf-8")
        files.append("review.md")
    record["files"] = {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in files}
    (run / "release.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=2))


def find_pull(commit: str) -> dict[str, Any] | None:
    """The merged pull request that this commit came with; none for a commit pushed to main directly."""
    merged = [pull for pull in get(f"commits/{commit}/pulls") if pull.get("merged_at")]
    exact = [pull for pull in merged if pull.get("merge_commit_sha") == commit]
    return next(iter(exact + merged), None)


def find_review(head: str) -> str:
    """The text of the newest check that `report` set on the pull request's head; empty when there is none."""
    runs = get(f"commits/{head}/check-runs?check_name={REVIEW.replace(' ', '%20')}&per_page=100")["check_runs"]
    newest = max((check for check in runs if check["name"] == REVIEW), key=lambda check: check["id"], default={})
    return (newest.get("output") or {}).get("summary") or ""


def approvers(reviews: list[dict[str, Any]]) -> list[str]:
    """Who approves, by each one's last word; comments take nothing back."""
    last: dict[str, str] = {}
    for review in reviews:
        if review["state"] in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            last[(review["user"] or {"login": "ghost"})["login"]] = review["state"]
    return sorted(name for name, state in last.items() if state == "APPROVED")


def get(path: str) -> Any:
    """What GitHub's API answers for a path below the repository."""
    command = ["gh", "api", f"repos/{os.environ['GITHUB_REPOSITORY']}/{path}"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


if __name__ == "__main__":
    main()
