"""Leave what `report` posts: `ml review`'s own review, or why there is none.

Runs at the end of `model`, also where nothing could be installed. Usage: hand_over.py FOLDER. Writes `meta.json`, and
where `ml review` left no `review.json`, that and `report.md`.
"""

import json
import os
import sys
from pathlib import Path

from log_report import last_lines
from machinery import load


def main() -> None:
    """Write the files and, where there is no review, the job's summary."""
    folder, env = Path(sys.argv[1]), os.environ
    folder.mkdir(exist_ok=True)
    outcome = "reviewed"
    if env["SKIP"] or not (folder / "review.json").is_file():
        outcome = "skipped" if env["SKIP"] else "reviewed"
        publish(folder)
    meta = {"number": int(env["NUMBER"] or 0), "head": env["HEAD"], "outcome": outcome}
    (folder / "meta.json").write_text(json.dumps(meta) + "\n", encoding="utf-8")


def publish(folder: Path) -> None:
    """Write a report of why there is no review."""
    blocks, report_json = load("rendering.blocks"), load("rendering.review_json")
    if os.environ["SKIP"]:
        report = blocks.Report("Model review: skipped", [blocks.Text(os.environ["SKIP"])])
    else:
        step, log = failed_step()
        said = f"The step {step} failed before there was a review. Its last lines:"
        report = blocks.Report("Model review: failed ❌", [blocks.Text(said, bold=step), blocks.Code(log)])
    text = report_json.write_review(report, folder)
    with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(text)


def failed_step() -> tuple[str, list[str]]:
    """The step before the review that failed, or the review itself; and its last lines."""
    if os.environ["CHANGES"] != "success":
        return "Find the base and what changed", []
    installed = os.environ["SETUP"] == "success"
    name, log = ("Review", "review.log") if installed else ("Install what the lock says", "setup.log")
    return name, last_lines(Path(os.environ["RUNNER_TEMP"]) / log)


if __name__ == "__main__":
    main()
