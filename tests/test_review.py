"""What a review compares with: tested inside the baked project, without a training."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_what_cannot_be_compared_is_said_and_decided(project: Project):
    passes_inside(project, "review.py")
