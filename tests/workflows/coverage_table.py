"""Which jobs and steps of the generated workflows were executed, and which of their conditions went both ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from acting import EXECUTED, step_key, workflow

PROJECT = next(Path(__file__).resolve().parents[2].glob("{{*}}"))
# Conditions that cannot go both ways, or steps that cannot run here; each with its reason.
REASONS = {
    ("ci", "passed", ""): "act looks at no further job where all of those before were skipped",
    ("model", "review", "7"): "act's own checkout copies a folder and cannot fail; nor is a run cancelled here",
    ("model", "review", "hand-over"): "act's own checkout copies a folder and cannot fail; nor is a run cancelled here",
}


class Row(NamedTuple):
    """One job (step "") or step: how often it ran and was skipped."""

    workflow: str
    job: str
    step: str
    name: str
    condition: str
    ran: int
    skipped: int

    @property
    def gap(self) -> str:
        """What no test has shown; empty when all has been shown or there is a reason why not."""
        if (self.workflow, self.job, self.step) in REASONS:
            return ""
        if not self.ran:
            return "never ran"
        return "" if self.skipped or not self.condition else "never skipped"


def names() -> list[str]:
    """The generated workflows."""
    return sorted(file.stem for file in (PROJECT / ".github/workflows").glob("*.yml"))


def rows() -> Iterator[Row]:
    """Every job and step of every generated workflow, in order."""
    for name in names():
        outcomes = [outcome for outcome in EXECUTED if outcome.workflow == name]
        for job, content in workflow(PROJECT, name)["jobs"].items():
            yield Row(name, job, "", "", condition(content), *count(outcome.jobs.get(job) for outcome in outcomes))
            for index, step in enumerate(content["steps"]):
                key = step_key(index, step)
                results = count(outcome.steps.get((job, key)) for outcome in outcomes)
                yield Row(name, job, key, step.get("name", key), condition(step), *results)


def condition(content: dict[str, Any]) -> str:
    """The `if:` of a job or step."""
    return " ".join(str(content.get("if", "")).split())


def count(results: Iterator[str | None]) -> tuple[int, int]:
    """How often something ran, and how often it was skipped."""
    found = list(results)
    return sum(result in ("success", "failure") for result in found), found.count("skipped")


def render() -> str:
    """The table as text."""
    lines = [f"{'workflow':9}{'job':10}{'step':44}{'ran':>4}{'skipped':>9}  if"]
    for row in rows():
        note = row.gap or REASONS.get((row.workflow, row.job, row.step), "")
        mark = "!!" if row.gap else "  "
        line = f"{row.workflow:9}{row.job:10}{row.name[:42]:44}{row.ran:4}{row.skipped:9}{mark}{row.condition[:60]}"
        lines.append(f"{line}  ({note})" if note else line)
    return "\n".join(lines)
