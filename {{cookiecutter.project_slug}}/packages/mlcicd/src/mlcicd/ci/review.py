"""The whole review of a change in a CI's job: a report is left behind, whatever fails on the way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from mlcicd.ci import plan as plans
from mlcicd.core.errors import InputError
from mlcicd.core.json_files import write_json
from mlcicd.core.plain_text import last_lines
from mlcicd.rendering.blocks import Code, Report, Text
from mlcicd.rendering.review_json import write_review
from mlcicd.system import processes
from mlcicd.system.outputs import atomic_directory

FAILED = "Model review: failed ❌"


def review(env: Mapping[str, str], root: Path, out: Path, baseline: Path | None) -> tuple[int, str]:
    """Plan and review; return the exit status and the report.

    Leaves ``report.md``, ``review.json`` and ``meta.json`` in ``out``; and where data changed, a page about it.

    Parameters
    ----------
    root : the project
    out : the folder for the review, as ``ml review`` writes it
    baseline : the base commit's run, where a cache had it
    """
    with atomic_directory(out, "review") as work:
        code, meta = 0, {"number": 0, "head": "", "outcome": "reviewed"}
        try:
            plan = plans.review(env, root)
        except InputError as error:
            code = 2
            write_review(Report(FAILED, [Text("What to review is not known:"), Code([str(error)])]), work)
        else:
            meta |= {"number": plan.number, "head": plan.head}
            if plan.skip:
                meta["outcome"] = "skipped"
                write_review(Report("Model review: skipped", [Text(plan.skip)]), work)
            else:
                code = _run(root, plan, work, baseline)
        write_json(work / "meta.json", meta)
        return code, (work / "report.md").read_text(encoding="utf-8")


def _run(root: Path, plan: plans.Plan, work: Path, baseline: Path | None) -> int:
    """Run `ml review`, and `ml explore` where data changed; return the status of the former."""
    inner = work / "review"
    cached = ["--baseline", str(baseline)] if baseline else []
    code, log = _ml(root, "review", "--base", plan.base, "--out", str(inner.resolve()), *cached)
    if (inner / "review.json").is_file():
        for path in list(inner.iterdir()):
            path.replace(work / path.name)
        inner.rmdir()
    else:
        said = Text("It failed before there was a review. Its last lines:")
        write_review(Report(FAILED, [said, Code(last_lines(log))]), work)
        return code or 1
    if plan.data:
        # Data that breaks its contract has no page; the report says why.
        _ml(root, "explore", "--out", str((work / "explore.html").resolve()))
    return code


def _ml(root: Path, *arguments: str) -> tuple[int, str]:
    """Run a command in a process of its own, whose summary of the job is this one's."""
    command = [sys.executable, "-m", "mlcicd.cli", *arguments]
    done = processes.run(command, root, {"GITHUB_STEP_SUMMARY": ""}, merge_streams=True)
    return done.returncode, done.stdout
