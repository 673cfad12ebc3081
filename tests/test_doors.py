"""One value, one answer by every door, and contracts that are refused at load; tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_hostile_contracts_are_refused_in_one_line(project: Project):
    passes_inside(project, "hostile.py")
