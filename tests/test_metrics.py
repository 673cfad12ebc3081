"""The project's metrics: tested where scikit-learn is, inside the baked project."""

from __future__ import annotations

from pathlib import Path

from conftest import Project

INSIDE = Path(__file__).parent / "inside"


def passes_inside(project: Project, name: str) -> None:
    """Run a file of tests with the project's Python."""
    done = project.run("pytest", "-q", "-p", "no:cacheprovider", "-c", str(INSIDE / "pytest.ini"), str(INSIDE / name))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


def test_metrics_agree_with_scikit_learn_and_influences_with_derivatives(project: Project):
    passes_inside(project, "metrics.py")


def test_trees_walked_at_once_give_what_scikit_learn_gives(project: Project):
    passes_inside(project, "trees.py")
