"""Say how long ago `monitor` last looked at new data: GitHub stops its clock without telling anybody.

Usage: last_look.py. Prints one line of Markdown, in red after two intervals of the schedule; nothing where it has never
looked, or where GitHub does not answer, since nothing else shall fail for that.
"""

import json
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

WORKFLOW = Path(__file__).parents[1] / "workflows" / "monitor.yml"
CRON = re.compile(r"""^ *- cron: ["']?\S+ \S+ (\S+) (\S+) (\S+?)["']?(?: |$)""", re.MULTILINE)
EVENTS = {"schedule", "workflow_dispatch"}  # a pull request can bring a `monitor` of its own
LATE = 2  # intervals


def main() -> None:
    """Print the line."""
    now = os.environ.get("NOW")
    print(line(datetime.fromisoformat(now) if now else datetime.now(UTC)))


def line(now: datetime) -> str:
    """What there is to say, as Markdown."""
    try:
        looked = last_look()
    except (subprocess.CalledProcessError, OSError, ValueError, KeyError):
        return ""
    if looked is None:
        return ""
    days = max((now - looked).days, 0)
    ago = {0: "today", 1: "yesterday"}.get(days, f"{days} days ago")
    every = interval(WORKFLOW.read_text(encoding="utf-8")) if WORKFLOW.is_file() else 7
    if days <= LATE * every:
        return f"`monitor` last looked at new data {ago}."
    return (
        f"🔴 **`monitor` last looked at new data {ago}**, and should every {every} days: has GitHub stopped it? "
        "See *When monitoring falls silent* in `docs/plans.md`."
    )


def interval(text: str) -> int:
    """The days between two runs of a workflow's schedule, rounded up; 7 where it has none that is understood."""
    found = CRON.search(text)
    if not found:
        return 7
    day, month, weekday = found.groups()
    if month != "*":
        return 366
    if day != "*":
        return 31
    return 1 if weekday == "*" else 7


def last_look() -> datetime | None:
    """When the newest good run on main was started; none where there is none."""
    command = ["gh", "run", "list", "--repo", os.environ["GITHUB_REPOSITORY"], "--workflow", "monitor.yml"]
    command += ["--branch", "main", "--status", "success", "--limit", "50", "--json", "event,createdAt"]
    runs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return max((datetime.fromisoformat(r["createdAt"]) for r in runs if r["event"] in EVENTS), default=None)


if __name__ == "__main__":
    main()
