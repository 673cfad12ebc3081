"""Monitoring that has stopped is said aloud, since GitHub stops it without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from acting import ACTIONS

from workflows.coverage_table import PROJECT

SCRIPT = PROJECT / ".github/scripts/last_look.py"
SAID = "`monitor` last looked at new data"


def look(folder: Path, runs: list[dict[str, Any]], *, now: str, cron: str = "17 5 * * 1") -> str:
    """Run the script beside a `monitor` with this schedule."""
    scripts, state = folder / ".github/scripts", folder / "state"
    for path in (scripts, state, folder / ".github/workflows"):
        path.mkdir(parents=True)
    (scripts / SCRIPT.name).write_bytes(SCRIPT.read_bytes())
    text = (PROJECT / ".github/workflows/monitor.yml").read_text(encoding="utf-8")
    assert '- cron: "17 5 * * 1" # ' in text
    (folder / ".github/workflows/monitor.yml").write_text(text.replace("17 5 * * 1", cron), encoding="utf-8")
    kept = [{"id": n, "workflow": "monitor", "conclusion": "success", **run} for n, run in enumerate(runs)]
    (state / "runs.json").write_text(json.dumps(kept))
    environment = os.environ | {
        "PATH": os.pathsep.join([str(ACTIONS / "bin"), os.environ["PATH"]]), "NOW": now, "STANDIN": str(state),
        "STANDIN_TOOLS": str(ACTIONS / "tools"), "GH_TOKEN": "x", "GITHUB_REPOSITORY": "acme/churn",
        "GITHUB_JOB": "build", "PYTHONUTF8": "1",
    }  # fmt: skip
    command = [sys.executable, scripts / SCRIPT.name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOOKED = {"created_at": "2026-11-02T05:17:00Z", "event": "schedule"}
STRANGER = {"created_at": "2026-11-30T05:17:00Z", "event": "pull_request"}
ELSEWHERE = {"created_at": "2026-11-30T05:17:00Z", "event": "workflow_dispatch", "branch": "elsewhere"}


@pytest.mark.parametrize(
    ("now", "cron", "said"),
    [
        ("2026-11-02T06:00:00Z", "17 5 * * 1", f"{SAID} today."),
        ("2026-11-16T06:00:00Z", "17 5 * * 1", f"{SAID} 14 days ago."),
        ("2026-11-17T06:00:00Z", "17 5 * * 1", f"🔴 **{SAID} 15 days ago**, and should every 7 days"),
        ("2026-11-05T06:00:00Z", "17 5 * * *", f"🔴 **{SAID} 3 days ago**, and should every 1 days"),
        ("2026-11-30T06:00:00Z", "17 5 1 * *", f"{SAID} 28 days ago."),
    ],
)
def test_it_is_red_after_two_intervals(tmp_path: Path, now: str, cron: str, said: str) -> None:
    assert look(tmp_path, [LOOKED, STRANGER, ELSEWHERE], now=now, cron=cron).startswith(said)


def test_where_it_never_looked_nothing_is_said(tmp_path: Path) -> None:
    assert look(tmp_path, [STRANGER, ELSEWHERE], now="2026-11-30T06:00:00Z") == ""
