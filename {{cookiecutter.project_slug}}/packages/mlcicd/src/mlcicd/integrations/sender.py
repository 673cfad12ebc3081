"""The process that talks to a tracker: ``python -m mlcicd.integrations.sender KIND EXPERIMENT FOLDER``.

It connects, then does the jobs that appear in the folder one after the other, and leaves an answer to each.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from mlcicd.core.errors import InputError
from mlcicd.core.json_files import read_json
from mlcicd.integrations import outbox, records
from mlcicd.integrations.trackers import KINDS, Release, Tracker, hidden
from mlcicd.training.run import MANIFEST, Manifest


def main() -> None:
    """Do jobs until the command that started this process ends it."""
    kind, experiment, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    try:
        tracker: Tracker | None = KINDS[kind].connect(experiment)
        problem = ""
    except Exception as error:  # a client may raise anything
        tracker, problem = None, described(error)
    while True:
        job = _next(folder / "job.json")
        try:
            answer = do(tracker, job) if tracker else {"error": problem}
        except Exception as error:
            answer = {"error": described(error)}
        outbox.put(folder / "answer.json", answer)


def do(tracker: Tracker, job: dict[str, Any]) -> dict[str, Any]:
    """Do one job and return its answer."""
    run = Path(job.get("run", ""))
    match job["do"]:
        case "log":
            return {"sent": tracker.send(records.of_run(run, Path()))}
        case "review":
            return {"pages": review(tracker, Path(job["folder"]))}
        case "tag":
            sent = tracker.find(records.key_of(run)) or tracker.send(records.of_run(run, Path()))
            tracker.tag(sent.id, job["tags"])
            return {}
        case "register":
            return {"version": tracker.register(records.of_run(run, Path()), Release(*job["release"]))}
        case "check":
            files = read_json(run / MANIFEST, Manifest)["files"]
            return {"problem": tracker.check(records.key_of(run), files, Path(sys.argv[3]) / "found")}
    raise ValueError(f"unknown job {job['do']!r}")


def review(tracker: Tracker, folder: Path) -> dict[str, str]:
    """Send a review, the candidate as its child, and the baseline, which has a story of its own on main."""
    sent = records.of_review(folder)
    parent = tracker.send(sent)
    candidate = tracker.send(records.of_run(folder / "candidate", Path()), parent.id)
    pages, tags = {}, {"candidate": candidate.id}
    if (folder / "baseline" / MANIFEST).is_file():
        record = records.of_run(folder / "baseline", Path())
        known = tracker.find(record.key)
        baseline = tracker.send(record, None if known else parent.id)
        tags["baseline"] = baseline.id
        pages["main"] = baseline.path
    tracker.tag(parent.id, tags)
    tracker.tag(candidate.id, {"verdict": sent.tags["verdict"], "review": parent.id})
    pages |= {"this branch": candidate.path, "this review": parent.path}
    return {name: path for name, path in pages.items() if path}


def described(error: Exception) -> str:
    """Return one line: what a client's exception says, without its chain of causes."""
    said = " ".join(str(error).split())
    said = said.partition(" (Caused by ")[0] if "Max retries exceeded" in said else said
    return hidden(said if isinstance(error, InputError) else f"{type(error).__name__}: {said}")


def _next(path: Path) -> dict[str, Any]:
    """Wait for a job and take it."""
    while not path.is_file():
        time.sleep(outbox.PATIENCE)
    job = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return dict(job)


if __name__ == "__main__":
    main()
