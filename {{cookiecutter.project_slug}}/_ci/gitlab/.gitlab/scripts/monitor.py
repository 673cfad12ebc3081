"""Has the data moved since the released model was trained? One issue says so, and one merge request retrains.

Usage: monitor.py look FOLDER      run `ml drift` on the run in runs/model; FOLDER holds what it found
       monitor.py tell FOLDER      open, update or close the issue; propose the retraining

`look` runs the project's code with the job's own token. `tell` runs none of it, and needs MONITOR_TOKEN: a project
access token with the role Developer and the scope api.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gitlab_api

LABEL = "model-monitor"
FINDING = "packages/generic/monitor/last/drift.json"
BRANCH = "retrain/"
TITLES = {
    "drift": "The data has moved since the model was trained",
    "contract-broken": "New data breaks its contract",
    "unreadable": "New data cannot be read",
}


def look(folder: Path) -> None:
    """Compare the new data with the training's; leave drift.md, state.json and, for a retraining, params.yaml."""
    done = subprocess.run(["ml", "drift", "--run", "runs/model", "--out", str(folder)], stderr=subprocess.PIPE)
    sys.stderr.buffer.write(done.stderr)
    state, branch, report = "unreadable", "", folder / "drift.json"
    if done.returncode in (0, 1) and report.is_file():
        found = json.loads(report.read_text(encoding="utf-8"))
        state = "healthy" if done.returncode == 0 else found["verdict"]
        if (folder / "params.yaml").is_file():
            # The window names the branch: one proposal for each.
            words = " ".join(f"{key} {value}" for key, value in found["window"].items())
            branch = BRANCH + re.sub("[^A-Za-z0-9]+", "-", words).strip("-")[:80]
        gitlab_api.call(FINDING, "PUT", report.read_bytes())
    else:
        folder.mkdir(exist_ok=True)
        (folder / "drift.md").write_text(unreadable(done.stderr.decode(errors="replace")), encoding="utf-8")
    (folder / "state.json").write_text(json.dumps({"state": state, "branch": branch}), encoding="utf-8")
    print(f"state: {state}")
    if state != "healthy" and not os.environ.get("MONITOR_TOKEN"):
        sys.exit(f"{TITLES[state]}: see the artifact {folder}/drift.md. With MONITOR_TOKEN an issue would say so.")


def unreadable(log: str) -> str:
    """Return a report of a look that failed, with the last lines that it printed."""
    from mlcicd.core.plain_text import last_lines
    from mlcicd.rendering import markdown
    from mlcicd.rendering.blocks import Code, Report, Text

    place = Text("Where new data comes from is new_data in src/*/prepare.py.")
    return markdown.render(Report("Data since training: could not be read ❌", [Code(last_lines(log)), place]))


def tell(folder: Path) -> None:
    """Say in one issue, and in one merge request, what was found."""
    token = os.environ["MONITOR_TOKEN"]
    found = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    me = gitlab_api.get("/user", token)["id"]
    report = (folder / "drift.md").read_text(encoding="utf-8")
    proposed = propose(folder, found["branch"], report, me, token) if found["branch"] else 0
    issues = gitlab_api.listed("issues", token, state="opened", labels=LABEL, author_id=me)
    issue = next(issues, None)
    job = f"[job {os.environ['CI_JOB_ID']}]({os.environ['CI_JOB_URL']})"
    if found["state"] == "healthy":
        if issue:
            say(f"issues/{issue['iid']}", f"All is well again: {job}.", token)
            gitlab_api.call(f"issues/{issue['iid']}", "PUT", {"state_event": "close"}, token)
        return
    if proposed:
        report += f"\nA retraining is proposed in !{proposed}.\n"
    report += f"\n`monitor` keeps this issue up to date and closes it when all is well: {job}\n"
    text = {"title": TITLES[found["state"]], "description": report}
    if issue:
        gitlab_api.call(f"issues/{issue['iid']}", "PUT", text, token)
    else:
        gitlab_api.call("issues", "POST", text | {"labels": LABEL}, token)


def propose(folder: Path, branch: str, report: str, me: int, token: str) -> int:
    """Open or update the merge request that moves the window; return its number, 0 where it was closed before."""
    target = os.environ["CI_DEFAULT_BRANCH"]
    ours = {"author_id": me, "target_branch": target}
    text = (
        "The data has moved since the released model was trained. This merge request moves the window of the training "
        "data in `params.yaml`; the review says what that does to the model. Merge it, or close it: this window is not "
        f"proposed again.\n\n{report}"
    )
    request: dict[str, Any] | None = next(
        gitlab_api.listed("merge_requests", token, source_branch=branch, state="all", **ours), None
    )
    if request and request["state"] != "opened":
        print(f"Merge request !{request['iid']} proposed this window already and is {request['state']}.")
        return 0
    if request:
        gitlab_api.call(f"merge_requests/{request['iid']}", "PUT", {"description": text}, token)
    else:
        make_branch(branch, target, (folder / "params.yaml").read_text(encoding="utf-8"), token)
        title = f"Train on newer data: {branch.removeprefix(BRANCH)}"
        made = {"source_branch": branch, "target_branch": target, "title": title, "description": text}
        made["remove_source_branch"] = "true"
        request = dict(json.loads(gitlab_api.call("merge_requests", "POST", made, token)))
    for other in gitlab_api.listed("merge_requests", token, state="opened", **ours):
        if other["source_branch"].startswith(BRANCH) and other["iid"] != request["iid"]:
            say(f"merge_requests/{other['iid']}", f"Superseded by !{request['iid']}, on newer data.", token)
            gitlab_api.call(f"merge_requests/{other['iid']}", "PUT", {"state_event": "close"}, token)
    return int(request["iid"])


def make_branch(branch: str, target: str, params: str, token: str) -> None:
    """Commit the new params.yaml to a new branch.

    A branch without a merge request was left by a job that was cut off, unless somebody else's commit is on it.
    """
    title = "Train on newer data"
    try:
        there = gitlab_api.get(f"repository/branches/{quote(branch, safe='')}", token)
    except gitlab_api.Refused as error:
        if error.status != 404:
            raise
    else:
        if there["commit"]["title"] != title:
            sys.exit(f"The branch {branch} is somebody else's: rename it, and the next run proposes the retraining.")
        gitlab_api.call(f"repository/branches/{quote(branch, safe='')}", "DELETE", token=token)
    change = {"action": "update", "file_path": "params.yaml", "content": params}
    commit = {"branch": branch, "start_branch": target, "commit_message": title, "actions": [change]}
    gitlab_api.call("repository/commits", "POST", commit, token)


def say(place: str, text: str, token: str) -> None:
    """Write a note."""
    gitlab_api.call(f"{place}/notes", "POST", {"body": text}, token)


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["look", folder]:
            look(Path(folder))
        case ["tell", folder]:
            tell(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    gitlab_api.run(main)
