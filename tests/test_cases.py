"""Tables as people send them: encodings, dialects, numbers, dates, folders, pointers; each through the whole chain."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_each_kind_of_table_reaches_the_model_as_what_it_says(own_table: Project):
    passes_inside(own_table, "cases.py")
