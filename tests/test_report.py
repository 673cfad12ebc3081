"""The report, the card and the checks: tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_escaping_size_planted_cases_contract_changes_and_checks(project: Project):
    passes_inside(project, "report.py")
