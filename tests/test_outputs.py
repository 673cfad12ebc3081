"""Outputs: whole or absent, replaced only by their own kind, and nobody else's files touched."""

from __future__ import annotations

from conftest import Project
from test_metrics import passes_inside


def test_each_command_replaces_only_its_own_outputs_and_leaves_nothing_half(own_table: Project):
    passes_inside(own_table, "outputs.py")
