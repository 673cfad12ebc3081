"""Model files: hostile ones run nothing and get one line, usual ones load and predict. Inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_hostile_model_files_run_nothing_and_usual_ones_predict(project: Project):
    passes_inside(project, "models.py")


def test_a_bento_holds_what_git_tracks_of_the_package(project: Project):
    passes_inside(project, "package.py")
