"""Read the review that a pull request's run left behind, believing nothing in it, and write the text to post.

Runs in `report`, which may comment and set checks, from the default branch's copy. The artifact was made by a job that
ran the pull request's code, so everything in it is a claim: it is read within bounds, unpacked nowhere, and its pull
request number counts only when GitHub says that this pull request is open and its head is the commit that ran. It holds
no text to post but data, under a strict schema, of which main's own renderer makes the text.

The text goes to the file named on the command line. The step's outputs: `head` (the commit; empty: post nothing),
`number` (the pull request for the comment; empty: no comment), `conclusion` (of the check; empty: no check, since the
base is not the default branch) and `problem` (one line; empty when all is well).
"""

import json
import os
import subprocess
import sys
import traceback
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import base
import github_api
import last_look
from artifact import MAX_ARCHIVE, Refused, has, open_archive, read
from machinery import load
from under_review import can_change_the_review

markdown, plain_text, report_json = load("rendering.markdown"), load("core.plain_text"), load("rendering.review_json")

MAX_META = 1_000  # bytes
MAX_REVIEW: int = report_json.MAX_BYTES
MAX_BODY = 65_000  # bytes; GitHub refuses more than 65,535, and CML adds a watermark
DEFAULT_BRANCH = "main"
MAX_FILES = 300  # changed files of a pull request that are looked at
OLD = "it was made by version 0.1 of the pipeline, which left text instead of data; push again to have it made anew"


class Outdated(Exception):
    """There is nothing to post, and nothing is wrong."""


class Run(NamedTuple):
    """The completed run, in GitHub's own words."""

    id: str
    url: str
    conclusion: str
    head: str
    head_repository: str
    head_branch: str
    number: str
    event: str
    created: str


class Meta(NamedTuple):
    """What the artifact claims."""

    number: int
    head: str
    outcome: str


def main() -> None:
    """Write the text, the step's outputs and the job's summary."""
    env = os.environ
    run = Run(
        id=env["RUN_ID"],
        url=f"{env['GITHUB_SERVER_URL']}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['RUN_ID']}",
        conclusion=env["RUN_CONCLUSION"],
        head=env["HEAD_SHA"],
        head_repository=env["HEAD_REPOSITORY"],
        head_branch=env["HEAD_BRANCH"],
        number=env["NUMBER"],
        event=env["RUN_EVENT"],
        created=env["RUN_CREATED"],
    )
    outputs: dict[str, str] = {}
    try:
        outputs, body = review(run)
    except Outdated as reason:
        print(f"::notice::{reason}")
        body = f"{reason}\n"
    Path(sys.argv[1]).write_text(body, encoding="utf-8")
    with Path(env["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(body)
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in outputs.items())


def review(run: Run) -> tuple[dict[str, str], str]:
    """The step's outputs and the text to post.

    Raises
    ------
    Outdated
        When the pull request has moved on.
    """
    pull: dict[str, Any] | None = None
    problem, body, above, skipped = "", "", "", False
    queue = run.event == "merge_group"
    if queue and not base.is_queue(run.head_branch, DEFAULT_BRANCH):
        raise Outdated("This is the merge queue of another branch: nothing to post.")
    try:
        archive = open_archive(download(run))
        meta = read_meta(archive)
        if not queue:
            pull = confirm(run, meta.number)
            above = base.note(pull, DEFAULT_BRANCH) + warning(pull)
        if meta.head != run.head:
            raise Refused("it was made for another commit")
        body = above + read_report(archive).strip() + footer(run)
        if len(body.encode()) > MAX_BODY:
            raise Refused(f"it is longer than {MAX_BODY:,} bytes")
        skipped = meta.outcome == "skipped"
    except Refused as refusal:
        problem = str(refusal)
    except Outdated:
        raise
    except Exception as error:  # whatever a stranger's file, or GitHub, brings about: the answer is never silence
        print(plain_text.harmless(traceback.format_exc()), file=sys.stderr)
        problem = f"reading it ended in an error ({type(error).__name__})"
    if problem:
        pull = pull or (None if queue else find_pull(run))
        body = f"## Model review: not shown ❌\n\nThe review of this run is not shown, because {problem}.{footer(run)}"
    passed = "neutral" if skipped else "success"
    conclusion = passed if run.conclusion == "success" and not problem else "failure"
    if pull and not base.is_default(pull, DEFAULT_BRANCH):
        conclusion = ""
    number = str(pull["number"]) if pull else ""
    return {"head": run.head, "number": number, "conclusion": conclusion, "problem": problem}, body


def download(run: Run) -> bytes:
    """The newest artifact called `review`."""
    listing = github_api.get(f"actions/runs/{run.id}/artifacts?name=review&per_page=100")
    found = [a for a in listing["artifacts"] if a["name"] == "review" and not a["expired"]]
    if not found:
        raise Refused(
            f"the run left none (it ended with: {run.conclusion}); where there was no room for artifacts, its summary "
            "holds the review, and its log says what to do"
        )
    artifact = max(found, key=lambda a: a["id"])
    if artifact["size_in_bytes"] > MAX_ARCHIVE:
        raise Refused(f"its artifact is larger than {MAX_ARCHIVE:,} bytes")
    return github_api.call(f"actions/artifacts/{artifact['id']}/zip", limit=MAX_ARCHIVE + 1)


def read_meta(archive: zipfile.ZipFile) -> Meta:
    """The claims of `meta.json`, of the right shape but not yet believed."""
    try:
        claims = json.loads(read(archive, "meta.json", MAX_META))
        number, head, outcome = claims["number"], claims["head"], claims["outcome"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Refused("its meta.json is not what this project writes") from None
    if type(number) is not int or number < 0 or outcome not in ("reviewed", "skipped") or not isinstance(head, str):
        raise Refused("its meta.json is not what this project writes")
    return Meta(number, head, outcome)


def read_report(archive: zipfile.ZipFile) -> str:
    """The text of `review.json`, as main writes it."""
    if has(archive, "report.md") and not has(archive, "review.json"):
        raise Refused(OLD)
    try:
        report = report_json.load(read(archive, "review.json", MAX_REVIEW))
        # Links of a review lead below the address that this repository's owners named, or nowhere.
        return str(markdown.render(report, address=os.environ.get("TRACKER", "")))
    except report_json.SchemaError as error:
        raise Refused(f"its review.json is not what this project writes: {error}") from error


def confirm(run: Run, number: int) -> dict[str, Any]:
    """The pull request of this number, if it is the one whose commit ran."""
    try:
        pull: dict[str, Any] = github_api.get(f"pulls/{number}")
    except subprocess.CalledProcessError:
        raise Refused("it names a pull request that does not exist") from None
    if not comes_from(run, pull):
        raise Refused("it names a pull request that comes from another branch")
    problem = ""
    if pull["state"] != "open":
        problem = f"Pull request {number} is {pull['state']}: nothing to post."
    elif base.is_older(run.created, number, github_api.get):
        problem = f"Pull request {number} has another base since, whose own run reports: nothing to post."
    elif pull["head"]["sha"] != run.head:
        problem = f"Pull request {number} has a newer commit, whose own run reports: nothing to post."
    if problem and find_pull(run, but=number):
        raise Refused("it names a pull request that is closed, or has moved on")
    if problem:
        raise Outdated(problem)
    return pull


def comes_from(run: Run, pull: dict[str, Any]) -> bool:
    """Whether a pull request comes from the repository and branch that ran."""
    head = pull["head"]
    # The repository of a fork may be gone.
    return ((head["repo"] or {}).get("full_name", ""), head["ref"]) == (run.head_repository, run.head_branch)


def find_pull(run: Run, but: int = 0) -> dict[str, Any] | None:
    """The open pull request whose head is the commit that ran, in GitHub's own words; none where it knows of none."""
    source = quote(f"{run.head_repository.partition('/')[0]}:{run.head_branch}", safe=":")
    try:
        listed = github_api.get(f"pulls?state=open&head={source}&per_page=100")
    except (subprocess.CalledProcessError, ValueError):
        listed = []
    for pull in listed:
        fresh = pull["state"] == "open" and pull["head"]["sha"] == run.head
        if fresh and comes_from(run, pull) and pull["number"] != but:
            return dict(pull)
    # GitHub names the pull request itself, unless it comes from a fork.
    if run.number and int(run.number) != but:
        try:
            return confirm(run, int(run.number))
        except Refused:
            return None
    return None


def warning(pull: dict[str, Any]) -> str:
    """A note above the review when the pull request changes what wrote the review."""
    if pull["changed_files"] > MAX_FILES:
        return f"> [!WARNING]\n> More than {MAX_FILES} files change; what wrote this review may be among them.\n\n"
    names: set[str] = set()
    for page in range(1, (pull["changed_files"] + 99) // 100 + 1):
        files = github_api.get(f"pulls/{pull['number']}/files?per_page=100&page={page}")
        names |= {name for file in files for name in (file["filename"], file.get("previous_filename"))}
    touched = sorted(name for name in names if name and can_change_the_review(name))
    if not touched:
        return ""
    shown = ", ".join(markdown.escape(name) for name in touched[:3])
    more = f" and {len(touched) - 3} more" if len(touched) > 3 else ""
    return (
        f"> [!WARNING]\n> This pull request changes what wrote this review ({shown}{more}): "
        "read that change before you believe the verdict.\n\n"
    )


def footer(run: Run) -> str:
    """Where to find the rest; the one link of a comment."""
    looked = last_look.line(datetime.now(UTC))
    said = f"\n\n{looked}" if looked else ""
    return f"{said}\n\n<sub>Plots, the whole report and the log: [artifacts of this run]({run.url})</sub>\n"


if __name__ == "__main__":
    main()
