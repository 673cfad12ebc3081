"""The split: properties that hold for any table, tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_no_group_or_future_row_straddles_and_new_rows_move_no_old_one(project: Project):
    passes_inside(project, "split.py")
