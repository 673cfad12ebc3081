"""What CI says of a pull request, in one command: train, train the base, compare, report.

Each step is a process of its own. One that fails, however it fails, ends in a report that names the step and shows its
last lines, not in silence.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlcicd.core.errors import InputError
from mlcicd.core.json_files import write_json
from mlcicd.core.project import unexpected
from mlcicd.integrations.outbox import Outbox
from mlcicd.rendering import html, png, review_json
from mlcicd.rendering.blocks import Report
from mlcicd.review import baseline as baselines
from mlcicd.review.baseline import Base, run_step
from mlcicd.system import processes
from mlcicd.system.processes import started
from mlcicd.training.run import Run, say

NO_TRACKER = Outbox()


def review(root: Path, base: str, out: Path, cached: Path | None = None, tracker: Outbox = NO_TRACKER) -> int:
    """Review the working tree against a commit and write the report and ``comparison.json`` to ``out``.

    Parameters
    ----------
    root : the project
    base : any name git knows for the commit to compare with
    out : an empty folder for the report, the comparison and both runs
    cached : the base commit's run, if a cache had it; trained in a worktree where it is missing
    tracker : where the review is sent; the report links to its pages

    Returns
    -------
    0 when every gate passes, 1 when one fails, the candidate could not be trained, or nothing can be compared and
    params.yaml does not let that pass.
    """
    here = [sys.executable, "-m", "mlcicd.cli"]
    say("ml train")
    command = [*here, "train", "--out", str(out.resolve() / "candidate")]
    with started(command, root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as training:
        # Seconds of imports, while the training's process imports much the same on another core.
        import matplotlib.figure  # noqa: F401

        from mlcicd.review import review_report

        log, code = training.communicate()[0], training.returncode
    log += processes.killed(code)
    if code:
        # It checks the data itself. Where that is what failed, `ml validate` says no more than that.
        checked, said = run_step([*here, "validate"], root)
        publish(review_report.failed("ml validate", said) if checked else review_report.failed("ml train", log), out)
        return 1
    candidate = Run(out / "candidate")
    found = baselines.find(root, base, out / "baseline", cached)
    if found.run is None:
        return 0 if _alone(candidate, found, out, tracker) else 1
    return 0 if write(found.run, candidate, out, root, found.notes, tracker) else 1


def write(
    baseline: Run,
    candidate: Run,
    out: Path,
    root: Path,
    notes: Sequence[str] = (),
    tracker: Outbox = NO_TRACKER,
) -> bool:
    """Compare two runs, write ``comparison.json`` and the report, and say whether every gate passes.

    What cannot be compared, for whatever reason, ends in a report that says so.

    Parameters
    ----------
    root : the project: its git knows which files changed
    notes : what a reviewer has to know of how the baseline was made
    """
    # Loads the project's own code, which the steps before have run: what is broken there is reported, not raised here.
    from mlcicd.review import compare, review_report, run_diff

    try:
        found = compare.compare(baseline, candidate)
    except Exception as error:
        found = compare.undecided(candidate, f"the two runs cannot be compared: {_told(error)}")
    try:
        found["changes"] = run_diff.between(baseline, candidate, root)
    except Exception as error:
        found["changes"] = None
        notes = [*notes, f"What changed beside the numbers cannot be told: {_told(error)}."]
    if baseline.schema != candidate.schema:
        notes = [*notes, "Main's run was written by another version of the pipeline."]
    found["notes"] = [*found.get("notes", []), *notes]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", found)
    try:
        report = review_report.review(found, baseline, candidate)
        publish(_with_links(report, out, tracker), out, tracker.address)
    except Exception as error:
        publish(review_report.failed("the report", _told(error)), out)
        return False
    return bool(found["passed"])


def _alone(candidate: Run, found: Base, out: Path, tracker: Outbox) -> bool:
    """Report a candidate that has nothing to be compared with; say whether it passes."""
    from mlcicd.review import compare, review_report

    comparison = compare.undecided(candidate, found.why)
    comparison["passed"] |= found.first
    write_json(out / "comparison.json", comparison)
    report = review_report.alone(candidate, found.why, None if found.first else comparison["passed"])
    publish(_with_links(report, out, tracker), out, tracker.address)
    return bool(comparison["passed"])


def _with_links(report: Report, out: Path, tracker: Outbox) -> Report:
    links = tracker.review(out)
    return replace(report, blocks=[*report.blocks, links]) if links else report


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else unexpected(error)


def keep(run: Run, out: Path, work: Path) -> Run:
    """Copy a run that lies in the folder which this review replaces, so that it is still there afterwards."""
    path, place = run.path.resolve(), out.resolve()
    if path.is_relative_to(place):
        shutil.copytree(path, work / path.relative_to(place), dirs_exist_ok=True)
    return run


def publish(content: Report, out: Path, address: str = "") -> None:
    """Write a report for the pull request, ``review.json``, and for people: ``report.md``, a page, pictures."""
    review_json.write_review(content, out, address)
    (out / "report.html").write_text(html.render(content, address=address), encoding="utf-8")
    png.draw(out / "plots", content.charts)
