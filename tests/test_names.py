"""Made-up names beside the data's own, and bins that are one rule everywhere: tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_made_up_names_never_meet_values(project: Project):
    passes_inside(project, "names.py")
