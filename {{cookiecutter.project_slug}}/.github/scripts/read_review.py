"""Read the review that a pull request's run left behind, believing nothing in it, and write the text to post.

Runs in `report`, which may comment and set checks, from the default branch's copy. The artifact was made by a job that
ran the pull request's code, so everything in it is a claim: it is read within bounds, unpacked nowhere, and its pull
request number counts only when GitHub says that this pull request is open and its head is the commit that ran.

The text goes to the file named on the command line. The step's outputs: `head` (the commit; empty: post nothing),
`number` (the pull request for the comment; empty: no comment), `conclusion` (of the check; empty: no check, since the
base is not the default branch) and `problem` (one line; empty when all is well).
"""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import base
from defuse import defuse

MAX_ARCHIVE = 1_000_000  # bytes
MAX_META = 1_000  # bytes
MAX_BODY = 65_000  # bytes; GitHub refuses more than 65,535, and CML adds a watermark
DEFAULT_BRANCH = "main"
MAX_FILES = 300  # changed files of a pull request that are looked at
MACHINERY = re.compile(r"\.github/|src/[^/]+/pipeline/")


class Refused(Exception):
    """The artifact, or a claim in it, is not to be believed. The message says why and holds nothing from it."""


class Outdated(Exception):
    """There is nothing to post, and nothing is wrong."""


class Run(NamedTuple):
    """The completed run, in GitHub's own words."""

    repository: str
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
        repository=env["GITHUB_REPOSITORY"],
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
    confirmed, problem, counts, above = "", "", True, ""
    queue = run.event == "merge_group"
    if queue and not base.is_queue(run.head_branch, DEFAULT_BRANCH):
        raise Outdated("This is the merge queue of another branch: nothing to post.")
    try:
        archive = download(run)
        meta = read_meta(archive)
        if not queue:
            pull = confirm(run, meta.number)
            confirmed, counts = str(meta.number), base.is_default(pull, DEFAULT_BRANCH)
            above = base.note(pull, DEFAULT_BRANCH) + warning(run, pull)
        if meta.head != run.head:
            raise Refused("it was made for another commit")
        body = above + defuse(read_report(archive)).strip() + footer(run)
        if len(body.encode()) > MAX_BODY:
            raise Refused(f"it is longer than {MAX_BODY:,} bytes")
        skipped = meta.outcome == "skipped"
    except Refused as refusal:
        # GitHub itself names the pull request, unless it comes from a fork.
        if not confirmed and run.number:
            pull = confirm(run, int(run.number))
            confirmed, counts = run.number, base.is_default(pull, DEFAULT_BRANCH)
        problem, skipped = str(refusal), False
        body = f"## Model review: not shown ❌\n\nThe review of this run is not shown, because {problem}.{footer(run)}"
    passed = "neutral" if skipped else "success"
    conclusion = passed if run.conclusion == "success" and not problem else "failure"
    if not counts:
        conclusion = ""
    return {"head": run.head, "number": confirmed, "conclusion": conclusion, "problem": problem}, body


def download(run: Run) -> zipfile.ZipFile:
    """The newest artifact called `review`, in memory."""
    listing = get(f"repos/{run.repository}/actions/runs/{run.id}/artifacts?name=review&per_page=100")
    found = [a for a in listing["artifacts"] if a["name"] == "review" and not a["expired"]]
    if not found:
        raise Refused(f"the run left none (it ended with: {run.conclusion})")
    artifact = max(found, key=lambda a: a["id"])
    too_large = Refused(f"its artifact is larger than {MAX_ARCHIVE:,} bytes")
    if artifact["size_in_bytes"] > MAX_ARCHIVE:
        raise too_large
    content = api(f"repos/{run.repository}/actions/artifacts/{artifact['id']}/zip", limit=MAX_ARCHIVE + 1)
    if len(content) > MAX_ARCHIVE:
        raise too_large
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        raise Refused("its artifact is no archive") from None


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
    """The text of `report.md`, which is never empty."""
    text = read(archive, "report.md", MAX_BODY)
    if not text.strip():
        raise Refused("its report.md is empty")
    return text


def read(archive: zipfile.ZipFile, name: str, limit: int) -> str:
    """One small text file of the archive, whatever the archive says of its size."""
    entries = [entry for entry in archive.infolist() if entry.filename == name]
    if len(entries) != 1:
        raise Refused(f"its artifact holds {len(entries)} files called {name}")
    # The upper half of the attributes is the Unix mode; nought where the archive was not made on Unix.
    if (entries[0].external_attr >> 16) & 0o170000 not in (0, 0o100000):
        raise Refused(f"its {name} is no regular file")
    try:
        with archive.open(entries[0]) as file:
            content = file.read(limit + 1)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError):
        raise Refused(f"its {name} cannot be unpacked") from None
    if len(content) > limit:
        raise Refused(f"its {name} is larger than {limit:,} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Refused(f"its {name} is not UTF-8") from None


def confirm(run: Run, number: int) -> dict[str, Any]:
    """The pull request of this number, if it is the one whose commit ran."""
    try:
        pull: dict[str, Any] = get(f"repos/{run.repository}/pulls/{number}")
    except subprocess.CalledProcessError:
        raise Refused("it names a pull request that does not exist") from None
    head = pull["head"]
    # The repository of a fork may be gone.
    repository = (head["repo"] or {}).get("full_name", "")
    if (repository, head["ref"]) != (run.head_repository, run.head_branch):
        raise Refused("it names a pull request that comes from another branch")
    if pull["state"] != "open":
        raise Outdated(f"Pull request {number} is {pull['state']}: nothing to post.")
    if base.is_older(run.created, number, lambda path: get(f"repos/{run.repository}/{path}")):
        raise Outdated(f"Pull request {number} has another base since, whose own run reports: nothing to post.")
    if head["sha"] != run.head:
        raise Outdated(f"Pull request {number} has a newer commit, whose own run reports: nothing to post.")
    return pull


def warning(run: Run, pull: dict[str, Any]) -> str:
    """A note above the review when the pull request changes what wrote the review."""
    if pull["changed_files"] > MAX_FILES:
        return f"> [!WARNING]\n> More than {MAX_FILES} files change; what wrote this review may be among them.\n\n"
    touched = 0
    for page in range(1, (pull["changed_files"] + 99) // 100 + 1):
        files = get(f"repos/{run.repository}/pulls/{pull['number']}/files?per_page=100&page={page}")
        names = [name for file in files for name in (file["filename"], file.get("previous_filename", ""))]
        touched += sum(1 for name in names if MACHINERY.match(name))
    if not touched:
        return ""
    return (
        "> [!WARNING]\n> This pull request changes what wrote this review (files under `.github/` or "
        "`src/*/pipeline/`): read that change before you believe the verdict.\n\n"
    )


def footer(run: Run) -> str:
    """Where to find the rest; the one link of a comment."""
    return f"\n\n<sub>Plots, the whole report and the log: [artifacts of this run]({run.url})</sub>\n"


def get(path: str) -> Any:
    """The JSON that GitHub's API answers."""
    return json.loads(api(path))


def api(path: str, limit: int = 10_000_000) -> bytes:
    """At most `limit` bytes of what GitHub's API answers."""
    command = ["gh", "api", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        content = process.stdout.read(limit)
        more = process.stdout.read(1)
        if more:
            process.kill()
    if process.returncode != 0 and not more:
        raise subprocess.CalledProcessError(process.returncode, command)
    return content


if __name__ == "__main__":
    main()
