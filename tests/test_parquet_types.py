"""Every type of a Parquet file, and what `ml init` makes of it: tested inside the baked project."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_every_type_of_parquet_has_a_place_or_a_reason(own_table: Project):
    passes_inside(own_table, "parquet_types.py")
