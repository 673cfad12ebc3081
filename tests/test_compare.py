"""The review's inference and verdicts: tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_differences_verdicts_gates_and_slices(project: Project):
    passes_inside(project, "compare.py")
