"""Keep the one issue about roll-outs to an environment: it says why one failed, until one succeeds.

Usage: deploy_issue.py ENVIRONMENT RELEASE RESULT LOG. RESULT is the job's, ``success`` or ``failure``.
"""

import os
import subprocess
import sys
from pathlib import Path

from github_api import get
from log_report import last_lines
from machinery import load

AUTHOR = "github-actions[bot]"  # nobody can register this name


def main() -> None:
    """Open, update or close the issue."""
    environment, release, result, log = sys.argv[1:]
    server, repository, run = (os.environ[f"GITHUB_{name}"] for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    url = f"{server}/{repository}/actions/runs/{run}"
    label = f"deploy-{environment}"
    number = open_issue(label)
    if result == "success":
        if number:
            gh("issue", "close", number, "--comment", f"{release} is rolled out to {environment}: [the run]({url}).")
        return
    title = f"{release} was not rolled out to {environment}"
    body = Path(log).with_suffix(".md")
    body.write_bytes(report(title, Path(log), url))
    if number:
        gh("issue", "edit", number, "--title", title, "--body-file", str(body))
        return
    gh("label", "create", label, "--force", "--color", "D93F0B", "--description", "Why a roll-out failed")
    gh("issue", "create", "--title", title, "--body-file", str(body), "--label", label)


def open_issue(label: str) -> str:
    """Return the number of the open issue that this script made; empty where there is none."""
    found = get(f"issues?state=open&labels={label}&per_page=100")
    ours = (issue for issue in found if issue["user"]["login"] == AUTHOR and "pull_request" not in issue)
    return str(next((issue["number"] for issue in ours), ""))


def report(title: str, log: Path, url: str) -> bytes:
    """Return the issue's text: the last lines of the log, made safe by the machinery's renderer."""
    blocks, markdown = load("rendering.blocks"), load("rendering.markdown")
    said = blocks.Text("The version before has the traffic, if there was one. The next success closes this issue.")
    text: str = markdown.render(blocks.Report(title, [blocks.Code(last_lines(log)), said]))
    return f"{text}\n<sub>[The run]({url})</sub>\n".encode()


def gh(*arguments: str) -> None:
    """Run gh for this repository."""
    subprocess.run(["gh", *arguments, "--repo", os.environ["GITHUB_REPOSITORY"]], check=True)


if __name__ == "__main__":
    main()
