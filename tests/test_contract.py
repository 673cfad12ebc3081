"""The contract: tables and requests get one verdict, tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_two_engines_have_one_meaning(project: Project):
    passes_inside(project, "contract.py")
